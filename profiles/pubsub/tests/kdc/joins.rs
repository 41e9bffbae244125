//! Joining (section 4.1 of the profile).

use super::*;
use ace_groupcomm_messages::labels::{cose_alg, groupcomm_profile, key_type};
use ace_groupcomm_messages::{JoinRefusal, Label, RawCbor, ScopeEntry};

// Covers: PS-4.1.2-02, PS-4.1.2-03, PS-4.1.2-05, PS-4.1.2-07, PS-4.1.2-08, PS-4.1.2-09, PS-4.1.2-10, PS-4.1.2-11, PS-4.1.2-14
// Covers: PS-4.1.2-15, PS-4.1.2-16, PS-4.1.2-18, PS-4.1.2-19, PS-4.1.2-20
#[test]
fn a_join_gives_the_group_key_and_to_publishers_a_sender_id() {
    let mut desk = desk();
    for (gname, profile, sign_alg) in GROUPS {
        let publisher = joined(&mut desk, 1, gname, PUBLISHER);
        let material = &publisher.response.material;
        assert_eq!(material.gkty, Label::Int(key_type::GROUP_PUBSUB_KEYING_MATERIAL));
        assert_eq!((material.num, material.exi.is_some()), (0, true));
        assert_eq!(material.ace_groupcomm_profile, Some(profile.number));
        assert_eq!(material.rekeying_scheme, None, "point to point");
        let key = publisher.material();
        assert_eq!((key.group_key.k.len(), key.group_key.base_iv.len()), (16, 13));
        assert_eq!(key.group_key.alg, Label::Int(cose_alg::AES_CCM_16_64_128));
        let number = if sign_alg == "EdDSA" { cose_alg::EDDSA } else { cose_alg::ES256 };
        let sign = key.sign.as_ref().unwrap();
        assert_eq!((&sign.algorithm, sign.parameters.len(), key.cred_fmt), (&Label::Int(number), 2, Some(14)));
        assert_eq!(publisher.sender_id().len(), 1);
        assert!(publisher.response.peers.is_none(), "nobody asked");
        assert!(publisher.response.group_policies.is_none() && publisher.response.kdc_cred.is_some());

        let subscriber = joined(&mut desk, 2, gname, SUBSCRIBER);
        let shared = subscriber.material();
        assert_eq!((&shared.group_key, &shared.group_sender_id), (&key.group_key, &None));
        let peers = subscriber.response.peers.clone().unwrap();
        assert_eq!((peers.len(), &peers[0].id), (1, &publisher.sender_id()));
        assert_eq!(peers[0].cred, publisher.rules.identity().unwrap().cred);
        let both = joined(&mut desk, 3, gname, BOTH);
        assert!(both.sender_id() != publisher.sender_id());
        assert_eq!(both.response.peers.as_ref().unwrap().len(), 1, "of the others that publish");
    }
    assert_eq!(
        (COAP.number, MQTT.number),
        (groupcomm_profile::COAP_GROUP_PUBSUB_APP, groupcomm_profile::MQTT_PUBSUB_APP)
    );
}

fn refused(desk: &mut Desk, caller: &Caller, join: &JoinRequest) -> (Status, Option<u16>) {
    let answer = desk.ask(caller, join_post("weather", join));
    (answer.status, answer.content_format)
}

// Covers: PS-4.1.1-02, PS-4.1.1-04, PS-4.1.1-05, PS-4.1.1.1-01, PS-4.1.3-01
#[test]
fn a_request_that_can_be_mended_is_answered_with_the_algorithms() {
    let mut desk = desk();
    let (caller, challenge) = admitted(&mut desk, 1, "weather", BOTH);
    let good = || request(1, "weather", BOTH, &challenge);
    let scope = |tperm: u64| {
        let entry = ScopeEntry { gname: "weather".into(), permissions: RawCbor::uint(tperm) };
        JoinRequest { scope: Some(entry.encode()), ..good() }
    };
    let filter = GetCreds::Filter { inclusive: true, roles: vec![RawCbor::uint(PUBLISHER.0)], ids: vec![] };
    let publisher = || request(1, "weather", PUBLISHER, &challenge);
    for (what, join) in [
        ("no scope", JoinRequest { scope: None, ..good() }),
        ("no permission", scope(0)),
        ("to delete alone", scope(16)),
        ("an administrator", scope(5)),
        ("a topic", scope(6)),
        ("what is no permission", scope(36)),
        ("no cnonce", JoinRequest { cnonce: None, ..good() }),
        ("neither cnonce nor proof", JoinRequest { cnonce: None, client_cred_verify: None, ..good() }),
        ("no proof", JoinRequest { client_cred_verify: None, ..good() }),
        ("no credential, and none is known", JoinRequest { client_cred: None, client_cred_verify: None, ..good() }),
        ("a proof of nothing", JoinRequest { client_cred: None, ..good() }),
        ("a part of the credentials", JoinRequest { get_creds: Some(filter), ..good() }),
        ("credentials for who does not read", JoinRequest { get_creds: Some(GetCreds::All), ..publisher() }),
    ] {
        assert_eq!(refused(&mut desk, &caller, &join), (Status::BadRequest, Some(ACE_GROUPCOMM_CBOR)), "{what}");
    }
    let answer = desk.ask(&caller, join_post("weather", &scope(0)));
    assert_eq!(JoinRefusal::decode(&answer.payload).unwrap().info.sign_info.len(), 1);
    let other =
        JoinRequest { client_cred: Some(rules(1, "alarm", PUBLISHER).identity().unwrap().cred.clone()), ..good() };
    let answer = desk.ask(&caller, join_post("weather", &other));
    assert_eq!(told(&answer), (Status::BadRequest, Some(GroupcommError::IncompatibleCredential)));
    let wrong = JoinRequest { client_cred_verify: Some(vec![1; 64]), ..good() };
    assert_eq!(
        told(&desk.ask(&caller, join_post("weather", &wrong))),
        (Status::BadRequest, Some(GroupcommError::InvalidProof))
    );
    // To delete is ignored beside the others.
    let scope = ScopeEntry { gname: "weather".into(), permissions: RawCbor::uint(BOTH.0 | 16) }.encode();
    let identity = rules(1, "weather", BOTH).identity().unwrap().clone();
    let proof = identity.key.sign(&ace_groupcomm_messages::pop::client_input(&scope, &challenge, &N_C));
    let join = JoinRequest { scope: Some(scope), client_cred_verify: proof, ..good() };
    assert_eq!(refused(&mut desk, &caller, &join).0, Status::Created);
}

// Covers: PS-4.1.1.1-02
#[test]
fn a_publisher_that_joins_again_may_leave_its_credential_out_and_gets_another_sender_id() {
    let mut desk = desk();
    let one = joined(&mut desk, 1, "weather", PUBLISHER);
    let bare = JoinRequest { client_cred: None, client_cred_verify: None, ..request(1, "weather", PUBLISHER, &[]) };
    let again = desk.ask(&one.caller, join_post("weather", &bare));
    assert_eq!((again.status, again.location_path[3].as_str()), (Status::Changed, one.node.as_str()));
    let response = JoinResponse::decode(&again.payload).unwrap();
    one.rules.joined(response.clone(), &N_C).unwrap();
    let material = PubsubKeyingMaterial::decode(&response.material.key).unwrap();
    assert!(material.group_sender_id.is_some() && material.group_sender_id != Some(one.sender_id()));
    assert_eq!(material.group_key, one.material().group_key);
    let reader = joined(&mut desk, 2, "weather", SUBSCRIBER);
    assert_eq!(reader.response.peers.unwrap()[0].cred, one.rules.identity().unwrap().cred);
    assert!(!one.challenge.is_empty());
}

#[test]
fn who_only_reads_shows_no_credential_and_one_that_it_shows_is_ignored() {
    let mut desk = desk();
    let (caller, challenge) = admitted(&mut desk, 1, "weather", SUBSCRIBER);
    assert!(challenge.is_empty(), "nothing is to be proven");
    let join = request(1, "weather", SUBSCRIBER, &[]);
    assert_eq!((&join.client_cred, &join.client_cred_verify), (&None, &None));
    let shows = JoinRequest { client_cred: Some(vec![1, 2, 3]), client_cred_verify: Some(vec![9]), ..join };
    let answer = desk.ask(&caller, join_post("weather", &shows));
    assert_eq!(answer.status, Status::Created);
    let creds = desk.ask(&caller, group_request(Method::Get, "weather", &["creds"]));
    let creds = ace_groupcomm_messages::CredsResponse::decode(&creds.payload).unwrap();
    assert!(creds.is_none_or(|creds| creds.peers.is_empty()));
}

#[test]
fn key_and_sender_ids_have_the_lengths_that_the_algorithm_asks_for() {
    for (alg, number, key, nonce) in [
        ("AES-CCM-16-64-128", 10, 16, 13),
        ("A128GCM", 1, 16, 12),
        ("A256GCM", 3, 32, 12),
        ("ChaCha20/Poly1305", 24, 32, 12),
    ] {
        let mut desk = desk_with(&[("alg", text(alg))]);
        let one = joined(&mut desk, 1, "weather", PUBLISHER);
        let material = one.material();
        assert_eq!(material.group_key.alg, Label::Int(number), "{alg}");
        assert_eq!((material.group_key.k.len(), material.group_key.base_iv.len()), (key, nonce), "{alg}");
        // A member refuses a Sender ID that would not fit the nonce.
        for (length, fits) in [(nonce - 6, true), (nonce - 5, false), (0, false)] {
            let mut told = one.response.material.clone();
            let mut other = material.clone();
            other.group_sender_id = Some(vec![1; length]);
            told.key = other.encode();
            assert_eq!(one.rules.key(&told).is_ok(), fits, "{alg} {length}");
        }
    }
}

// Covers: PS-4.1.2-24, PS-4.1.3-05
#[test]
fn a_member_takes_nothing_that_is_not_of_its_profile_or_has_no_end() {
    let mut desk = desk();
    let one = joined(&mut desk, 1, "weather", PUBLISHER);
    let with = |change: &dyn Fn(&mut JoinResponse)| {
        let mut response = one.response.clone();
        change(&mut response);
        one.rules.joined(response, &N_C).map(|_| ())
    };
    assert_eq!(with(&|_| ()), Ok(()));
    let material = |change: &dyn Fn(&mut PubsubKeyingMaterial)| {
        with(&|response| {
            let mut material = PubsubKeyingMaterial::decode(&response.material.key).unwrap();
            change(&mut material);
            response.material.key = material.encode();
        })
    };
    for refused in [
        with(&|response| response.kdc_cred = None),
        with(&|response| response.kdc_cred.as_mut().unwrap().kdc_cred_verify[0] ^= 1),
        with(&|response| response.material.gkty = Label::Int(1)),
        with(&|response| response.material.ace_groupcomm_profile = Some(MQTT.number)),
        with(&|response| response.material.ace_groupcomm_profile = None),
        with(&|response| (response.material.exi, response.material.exp) = (None, None)),
        material(&|material| material.group_sender_id = None),
        material(&|material| material.group_key.k.push(0)),
        material(&|material| material.group_key.base_iv.truncate(12)),
        material(&|material| material.group_key.alg = Label::Int(99)),
        material(&|material| material.group_key.alg = Label::Text("x".into())),
        material(&|material| material.sign = None),
        material(&|material| material.sign.as_mut().unwrap().algorithm = Label::Int(cose_alg::ES256)),
    ] {
        assert!(refused.is_err());
    }
    assert!(one.rules.joined(one.response.clone(), &[8; 8]).is_err(), "the KDC's proof is over N_C");
    // Who does not publish has no Sender ID.
    let reader = joined(&mut desk, 2, "weather", SUBSCRIBER);
    let mut told = reader.response.material.clone();
    told.key = one.response.material.key.clone();
    assert!(reader.rules.key(&told).is_err());
}
