//! Every row of the table of routes, for every kind of caller.

use crate::{LATER, TALKER, admitted, client, desk, member};
use ace_groupcomm::access::{Resource, Route, Who};
use ace_groupcomm::kdc::routes;
use ace_groupcomm::testkit::Desk;
use ace_groupcomm::testkit::build::{group_request, join_post, token, token_post};
use ace_groupcomm::{Caller, Method, Request, Status};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::{GetCreds, GroupNamesRequest, JoinRequest, RawCbor};

const READER: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stranger,
    OfAnotherGroup,
    Authorised,
    Reader,
    Member,
    Owner,
}

const KINDS: [Kind; 6] =
    [Kind::Stranger, Kind::OfAnotherGroup, Kind::Authorised, Kind::Reader, Kind::Member, Kind::Owner];

/// Whether such a caller may use a row.
fn may(kind: Kind, who: Who) -> bool {
    let from = |first: Kind| KINDS.iter().position(|k| *k == kind) >= KINDS.iter().position(|k| *k == first);
    match who {
        Who::Anyone => true,
        Who::TokenHolder => kind != Kind::Stranger,
        // Who only reads credentials cannot join.
        Who::Authorised => from(Kind::Authorised) && kind != Kind::Reader,
        Who::CredsReader => from(Kind::Reader),
        Who::Member => from(Kind::Member),
        Who::Owner => kind == Kind::Owner,
        other => panic!("{other:?} is tried by nobody"),
    }
}

/// A request for the row, as good as this caller can make it.
fn request(route: &Route, node: &str, number: u16, challenge: &[u8]) -> Request {
    let of_group = |resource: &[&str]| group_request(route.method, "g1", resource);
    match (route.resource, route.method) {
        (Resource::AuthzInfo, _) => token_post(&token(1, &client(90).claims(&[("g1", TALKER)], LATER))),
        (Resource::Groups, _) => {
            let gids = GroupNamesRequest { gids: vec![RawCbor::bytes(&[9])] };
            Request::new(route.method, ["ace-group"]).with_payload(ACE_GROUPCOMM_CBOR, gids.encode())
        }
        (Resource::Group, Method::Post) => join_post("g1", &client(number).join("g1", TALKER, challenge, &[7; 8])),
        (Resource::Group, _) => of_group(&[]),
        (Resource::Creds, Method::Fetch) => {
            let filter = GetCreds::Filter { inclusive: true, roles: vec![RawCbor::uint(TALKER)], ids: vec![] };
            of_group(&["creds"]).with_payload(ACE_GROUPCOMM_CBOR, filter.encode_request())
        }
        (Resource::Creds, _) => of_group(&["creds"]),
        (Resource::KdcCred, _) => of_group(&["kdc-cred"]),
        (Resource::Policies, _) => of_group(&["policies"]),
        (Resource::Num, _) => of_group(&["num"]),
        (Resource::Node(_), _) => of_group(&["nodes", node]),
        (Resource::NodeCred(_), _) => {
            let update = JoinRequest { scope: None, ..client(number).join("g1", TALKER, challenge, &[9; 8]) };
            of_group(&["nodes", node, "cred"]).with_payload(ACE_GROUPCOMM_CBOR, update.encode())
        }
        _ => panic!("{route}"),
    }
}

/// The caller of a kind, its number, and N_S.
fn caller(desk: &mut Desk, kind: Kind) -> (Caller, u16, Vec<u8>) {
    let (number, scope) = match kind {
        Kind::Stranger => return (Caller::anonymous(), 1, vec![]),
        Kind::OfAnotherGroup => (2, ("g2", TALKER)),
        Kind::Authorised => (3, ("g1", TALKER)),
        Kind::Reader => (4, ("g1", READER)),
        Kind::Member => (5, ("g1", TALKER)),
        Kind::Owner => (6, ("g1", TALKER)),
    };
    let (caller, challenge) = admitted(desk, &client(number), &[scope]);
    if [Kind::Member, Kind::Owner].contains(&kind) {
        let join = join_post("g1", &client(number).join("g1", TALKER, &challenge, &[7; 8]));
        assert_eq!(desk.ask(&caller, join).status, Status::Created);
    }
    (caller, number, challenge)
}

// Covers: AF-5.2-01
#[test]
fn each_row_is_for_those_that_it_names() {
    for route in routes() {
        for kind in KINDS {
            let mut desk = desk();
            let (caller, number, challenge) = caller(&mut desk, kind);
            // The node of the owner; for all others it is that of another member.
            let node = match kind {
                Kind::Owner => {
                    let join = join_post("g1", &client(number).join("g1", TALKER, &challenge, &[8; 8]));
                    desk.ask(&caller, join).location_path[3].clone()
                }
                _ => member(&mut desk, 7, "g1", TALKER).2.location_path[3].clone(),
            };
            // A token that comes protected is an update, which this one is none of.
            if route.resource == Resource::AuthzInfo && kind != Kind::Stranger {
                continue;
            }
            let response = desk.ask(&caller, request(&route, &node, number, &challenge));
            let status = response.status;
            match (may(kind, route.who), kind) {
                (true, _) => assert!(status.is_success(), "{route} {kind:?}: {response:?}"),
                (false, Kind::Stranger) => assert_eq!(status, Status::Unauthorized, "{route}"),
                (false, _) => assert_eq!(status, Status::Forbidden, "{route} {kind:?}"),
            }
        }
    }
}

#[test]
fn other_forms_than_a_row_has_are_refused() {
    for route in routes().filter(|route| route.resource != Resource::AuthzInfo) {
        let mut desk = desk();
        let (caller, number, challenge) = caller(&mut desk, Kind::Owner);
        let again = join_post("g1", &client(number).join("g1", TALKER, &challenge, &[8; 8]));
        let node = desk.ask(&caller, again).location_path[3].clone();
        let good = || request(&route, &node, number, &challenge);
        if route.gives.is_some() {
            let other = Request { accept: Some(60), ..good() };
            assert_eq!(desk.ask(&caller, other).status, Status::NotAcceptable, "{route}");
        }
        if route.takes.is_some() {
            let other = Request { content_format: Some(60), ..good() };
            assert_eq!(desk.ask(&caller, other).status, Status::UnsupportedContentFormat, "{route}");
        }
        let accepted = Request { accept: route.gives, ..good() };
        assert!(desk.ask(&caller, accepted).status.is_success(), "{route}");
    }
}

#[test]
fn a_method_that_no_row_has_is_not_allowed() {
    let mut desk = desk();
    let (caller, ..) = caller(&mut desk, Kind::Owner);
    let paths: [&[&str]; 7] = [&[], &["creds"], &["kdc-cred"], &["policies"], &["num"], &["nodes", "x"], &["active"]];
    let all = [Method::Get, Method::Post, Method::Put, Method::Delete, Method::Fetch, Method::Patch, Method::IPatch];
    for path in paths {
        for method in all {
            let asked = group_request(method, "g1", path);
            let (resource, _) = Resource::of(&asked.path).unwrap();
            let has_row = routes().any(|route| route.resource.is_kind_of(resource) && route.method == method);
            if has_row || (path == ["active"] && method == Method::Get) {
                continue;
            }
            assert_eq!(desk.ask(&caller, asked).status, Status::MethodNotAllowed, "{method:?} {path:?}");
        }
    }
}
