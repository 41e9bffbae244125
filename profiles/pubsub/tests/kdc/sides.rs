//! What the two sides of the profile say of themselves, and how a group changes.

use super::*;
use ace_groupcomm::Secret;
use ace_groupcomm::traits::member::KeyPart;
use ace_groupcomm::traits::profile::ParameterChange;
use ace_groupcomm_messages::{Label, RawCbor, RekeyingMessage, ScopeEntry};

#[test]
fn a_group_says_what_it_is_and_who_joins() {
    for (_, profile, sign_alg) in GROUPS {
        let mut parameters = ConfigMap::default();
        parameters.insert("kdc_key", text(&"11".repeat(32)));
        parameters.insert("sign_alg", text(sign_alg));
        let rules = profile.profile.configure("weather", parameters, &AwsLc).unwrap();
        assert_eq!(rules.resource_type(), "core.ps.gm");
        for (roles, joins) in [(0, false), (2, false), (4, true), (8, true), (12, true), (16, false), (20, false)] {
            assert_eq!(rules.may_join_with(Roles(roles)), joins, "{roles}");
        }
        let again = profile.profile.configure("weather", rules.parameters().to_config(), &AwsLc).unwrap();
        assert_eq!(again.parameters(), rules.parameters());
        for (parameter, change) in [
            ("key_lifetime", ParameterChange::None),
            ("alg", ParameterChange::NextVersion),
            ("sign_alg", ParameterChange::AnotherGroup),
            ("kdc_key", ParameterChange::AnotherGroup),
            ("cred_fmt", ParameterChange::AnotherGroup),
        ] {
            assert_eq!(profile.profile.change(parameter), change, "{parameter}");
        }
    }
    for (name, value) in [("alg", "AES"), ("sign_alg", "ES512"), ("cred_fmt", "x5chain"), ("kdc_key", "11")] {
        let mut parameters = ConfigMap::default();
        parameters.insert("kdc_key", text(&"11".repeat(32)));
        parameters.insert(name, text(value));
        assert_eq!(
            COAP.profile.configure("weather", parameters, &AwsLc).err().map(|error| error.key),
            Some(name.into())
        );
    }
}

#[test]
fn a_member_has_the_roles_that_it_is_granted() {
    let both = rules(1, "weather", BOTH);
    let granted = |tperm: u64| ScopeEntry { gname: "weather".into(), permissions: RawCbor::uint(tperm) };
    let reads = both.narrowed(&granted(SUBSCRIBER.0)).unwrap();
    assert_eq!(
        (reads.roles(), reads.identity().is_some(), reads.get_creds()),
        (SUBSCRIBER, false, Some(GetCreds::All))
    );
    let publishes = both.narrowed(&granted(PUBLISHER.0)).unwrap();
    assert_eq!((publishes.roles(), publishes.identity().is_some(), publishes.get_creds()), (PUBLISHER, true, None));
    assert_eq!(publishes.scope(), granted(PUBLISHER.0));
    for other in [granted(16), granted(2), granted(64)] {
        assert!(both.narrowed(&other).is_err());
    }
    let mut config = ConfigMap::default();
    config.insert("subject", text("x"));
    config.insert("key", text(&"11".repeat(32)));
    config.insert("sign_alg", text("RS256"));
    let refused = COAP.profile.member("weather", BOTH, config, Arc::new(AwsLc)).err();
    assert_eq!(refused.map(|error| error.key), Some("sign_alg".into()));
}

#[test]
fn keying_material_comes_apart_and_only_key_and_base_iv_are_secret() {
    let mut desk = desk();
    let one = joined(&mut desk, 1, "weather", PUBLISHER);
    let two = joined(&mut desk, 2, "weather", SUBSCRIBER);
    let parts = |member: &Member| member.rules.key_parts(&member.response.material.key).unwrap();
    let part = |member: &Member, wanted: &str| parts(member).into_iter().find(|(name, _)| *name == wanted).unwrap().1;
    let material = one.material();
    assert_eq!(part(&one, "gid"), KeyPart::Bytes(material.group_key.kid.clone()));
    assert_eq!(part(&one, "k"), KeyPart::Secret(Secret::from(material.group_key.k.as_slice())));
    assert_eq!(part(&one, "base_iv"), KeyPart::Secret(Secret::from(material.group_key.base_iv.as_slice())));
    assert_eq!(part(&one, "sender_id"), KeyPart::Bytes(one.sender_id()));
    assert_eq!([part(&one, "alg"), part(&one, "sign_alg")], [KeyPart::Int(10), KeyPart::Int(-8)]);
    assert_eq!(part(&one, "cred"), KeyPart::Bytes(one.rules.identity().unwrap().cred.clone()));
    assert_eq!([part(&two, "cred"), part(&two, "sender_id")], [KeyPart::Absent, KeyPart::Absent]);
    assert_eq!(part(&one, "key_digest"), part(&two, "key_digest"), "of all members");
    let is_secret = |part: &KeyPart| matches!(part, KeyPart::Secret(_));
    let secret: Vec<_> = parts(&one).into_iter().filter(|(_, part)| is_secret(part)).map(|(name, _)| name).collect();
    assert_eq!(secret, ["base_iv", "k"]);
    // The name of what numbers belong to.
    let key = &one.response.material.key;
    let name = one.rules.key_name(key).unwrap();
    assert_eq!(
        (name.len(), two.rules.key_name(&two.response.material.key)),
        (16, None),
        "who only reads sends nothing"
    );
    let renamed = |change: &dyn Fn(&mut PubsubKeyingMaterial)| {
        let mut changed = material.clone();
        change(&mut changed);
        one.rules.key_name(&changed.encode()).unwrap() != name
    };
    assert!(renamed(&|changed| changed.group_key.k[0] ^= 1) && renamed(&|changed| changed.group_key.kid.push(1)));
    assert!(
        renamed(&|changed| changed.group_sender_id = Some(vec![9])) && !renamed(&|changed| changed.cred_fmt = None)
    );
    let shown = format!(
        "{:?}",
        ace_profile_pubsub::member::PubsubMember {
            profile: ace_profile_pubsub::Pubsub::COAP,
            gname: "weather".into(),
            roles: BOTH,
            sign_alg: ace_groupcomm::traits::crypto::SignatureAlgorithm::Ed25519,
            identity: one.rules.identity().unwrap().clone(),
            crypto: Arc::new(AwsLc),
        }
    );
    assert!(shown.contains("weather"), "{shown}");
}

#[test]
fn another_encryption_comes_with_the_group_key() {
    let mut desk = desk();
    let one = joined(&mut desk, 1, "weather", PUBLISHER);
    let mut desk = restarted(&desk, &[("alg", text("ChaCha20/Poly1305"))]);
    let notified =
        Request { purpose: ace_groupcomm::Purpose::Notification, ..group_request(Method::Get, "weather", &[]) };
    let told = RekeyingMessage::decode(&desk.ask(&one.caller, notified).payload).unwrap();
    let held = one.rules.rekeyed(&one.response.material.key, &told.material).unwrap();
    let material = PubsubKeyingMaterial::decode(&held).unwrap();
    assert_eq!((told.material.num, &material.group_key.alg, material.group_key.k.len()), (1, &Label::Int(24), 32));
    assert_eq!(material.group_sender_id, Some(one.sender_id()));
    assert_eq!(one.own(&mut desk).key, held);
}
