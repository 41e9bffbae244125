//! Mistakes in a profile, each of which is told when a group is set up.

use crate::altered::{Altered, desk_of};
use ace_groupcomm::config::{Parameter, Parameters};
use ace_groupcomm::kdc::SetupError;
use ace_groupcomm::testkit::toy::TALKER;
use ace_groupcomm::traits::profile::{KeyAudience, NamedRole, ProfileFault, ProfileRoute, ProfileWho, Roles};
use ace_groupcomm::{Method, Secret};
use ace_groupcomm_messages::RawCbor;
use std::time::Duration;

const fn route(name: &'static str) -> ProfileRoute {
    ProfileRoute {
        name,
        is_below: false,
        method: Method::Get,
        who: ProfileWho::Member,
        takes: None,
        gives: None,
        is_observable: false,
    }
}

fn routed(routes: &[ProfileRoute]) -> Altered {
    Altered { routes: Some(routes.to_vec().leak()), ..Altered::default() }
}

const fn named(name: &'static str, roles: u64) -> NamedRole {
    NamedRole { name, roles: Roles(roles) }
}

fn roles(named_roles: &[NamedRole]) -> Altered {
    Altered { named_roles: Some(named_roles.to_vec().leak()), ..Altered::default() }
}

fn lifetime(seconds: u64) -> Altered {
    Altered { lifetime: Some(Duration::from_secs(seconds)), ..Altered::default() }
}

fn one_more(parameters: &Parameters) -> Parameters {
    let Some(Parameter::Uint(number)) = parameters.get("max_id") else { return parameters.clone() };
    parameters.clone().with("max_id", Parameter::Uint(number + 1))
}

fn faulty() -> Vec<(Altered, ProfileFault)> {
    let as_it_is = Altered::default;
    let len = |len| Altered { identifier_len: Some(len), ..as_it_is() };
    let length = |start, end| (len(start..=end), ProfileFault::IdentifierLen(start..=end));
    let seconds = |seconds| (lifetime(seconds), ProfileFault::Lifetime(Duration::from_secs(seconds)));
    let twice = [route("a"), route("b"), route("a")];
    let no_key = |key| Altered { key: Some(key), ..as_it_is() };
    let fresh = |fresh| Altered { fresh: Some(fresh), ..as_it_is() };
    let mut faulty = vec![
        (Altered { resource_type: Some(""), ..as_it_is() }, ProfileFault::ResourceType("")),
        (Altered { resource_type: Some("a b"), ..as_it_is() }, ProfileFault::ResourceType("a b")),
        length(0, 7),
        length(2, 1),
        length(1, 256),
        seconds(0),
        seconds(0x1_0000_0000),
        seconds(u64::MAX),
        (routed(&twice), ProfileFault::RouteTwice("a", Method::Get)),
        (roles(&[]), ProfileFault::NoRoles),
        (roles(&[named("talker", 1), named("talker", 2)]), ProfileFault::RoleName("talker")),
        (roles(&[named("", 1)]), ProfileFault::RoleName("")),
        (roles(&[named("a+b", 1)]), ProfileFault::RoleName("a+b")),
        (roles(&[named("nobody", 0)]), ProfileFault::RoleName("nobody")),
        (
            Altered { permissions: Some(|roles| RawCbor::uint(roles.0 << 1)), ..as_it_is() },
            ProfileFault::Permissions { made: TALKER, read: Some(Roles(2)) },
        ),
        (
            Altered { permissions: Some(|_| RawCbor::bytes(&[1])), ..as_it_is() },
            ProfileFault::Permissions { made: TALKER, read: None },
        ),
        (no_key(|_| None), ProfileFault::NoKey("the group")),
        (
            no_key(|audience| (audience == KeyAudience::Group).then(|| RawCbor::uint(1))),
            ProfileFault::NoKey("a rekeying message"),
        ),
        (
            no_key(|audience| {
                [KeyAudience::Group, KeyAudience::Rekeying].contains(&audience).then(|| RawCbor::uint(1))
            }),
            ProfileFault::NoKey("a member"),
        ),
        (
            no_key(|audience| match audience {
                KeyAudience::Node { sender_id: Some(_), .. } => None,
                _ => Some(RawCbor::uint(1)),
            }),
            ProfileFault::NoKey("a member"),
        ),
        (fresh(|_| Secret::new(vec![])), ProfileFault::NoSecret),
        (fresh(|_| Secret::new(vec![7; 32])), ProfileFault::NotFresh),
        (
            // There is one for short identifiers alone.
            no_key(|audience| match audience {
                KeyAudience::Node { sender_id: Some(id), .. } if id.as_bytes().len() > 6 => None,
                _ => Some(RawCbor::uint(1)),
            }),
            ProfileFault::NoKey("a member"),
        ),
        (fresh(|random| Secret::new([random("a"), random("b"), random("a")].concat())), ProfileFault::LabelTwice("a")),
        (
            // What is stored is read as one more, each time.
            Altered { parameters: Some(one_more), ..as_it_is() },
            ProfileFault::Parameters("\"max_id\" is another".into()),
        ),
        (
            Altered { parameters: Some(|it| it.clone().with("rekey_delay", Parameter::Uint(1))), ..as_it_is() },
            ProfileFault::ParameterTaken("rekey_delay"),
        ),
        (
            Altered { parameters: Some(|it| it.clone().with("x", Parameter::Uint(1))), ..as_it_is() },
            ProfileFault::Parameters("x: is not known here".into()),
        ),
    ];
    for name in ["creds", "kdc-cred", "policies", "num", "nodes"] {
        faulty.push((routed(&[route("a"), route(name)]), ProfileFault::RouteTaken(name)));
    }
    for name in ["", "a/b", "a b", "ä", "%61"] {
        faulty.push((routed(&[route(name)]), ProfileFault::RouteName(name)));
    }
    faulty
}

#[test]
fn a_mistake_in_a_profile_is_told_at_setup_with_what_to_change() {
    for (altered, expected) in faulty() {
        match desk_of(altered).map(|_| ()) {
            Err(SetupError::Unfit { gname, profile, fault }) => {
                assert_eq!((gname.as_str(), profile), ("g1", "toy"));
                assert_eq!(fault, expected);
                let told = SetupError::Unfit { gname, profile, fault }.to_string();
                assert!(told.contains("\"g1\"") && told.contains('`'), "{told}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn what_is_at_the_edge_is_taken() {
    let below = [route("active"), ProfileRoute { is_below: true, ..route("a.b-c_d~1") }, route("a.b-c_d~1")];
    let posts = [route("x"), ProfileRoute { method: Method::Post, ..route("x") }];
    let many: Vec<NamedRole> = (0..20).map(|bit| named(format!("role-{bit}").leak(), 1 << bit)).collect();
    for altered in [
        Altered::default(),
        routed(&[]),
        routed(&below),
        routed(&posts),
        lifetime(1),
        lifetime(0xffff_ffff),
        Altered { identifier_len: Some(255..=255), ..Altered::default() },
        roles(&many),
    ] {
        assert_eq!(desk_of(altered).map(|_| ()), Ok(()));
    }
}
