//! Whom a Group Manager does not take, and what it says then.

mod bench;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::keys::{self, GroupId};
use ace_groupcomm::records::{Association, ChallengeOrigin, Head, NamedGroup, SenderIdRecord};
use ace_groupcomm::testkit::build::{group_request, join_post};
use ace_groupcomm::testkit::{Desk, TestStore};
use ace_groupcomm::traits::storage::{Key, Sharing};
use ace_groupcomm::{Caller, Method, Response, Roles, Status};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::{CoseKey, CredsResponse, GroupcommError, JoinRefusal, JoinRequest, JoinResponse, RawCbor};
use ace_profile_group_oscore::member;
use ace_profile_group_oscore::scope::{MONITOR, REQUESTER, RESPONDER};
use bench::{admitted, desk, desk_on, error_of, joined, request};

fn head(store: &TestStore, gname: &str) -> (GroupId, Key, Head) {
    let NamedGroup { id, .. } = store.record(&keys::name(gname)).unwrap();
    let key = keys::head(id);
    let head = store.record(&key).unwrap();
    (id, key, head)
}

fn refused(response: &Response) -> (Status, Option<GroupcommError>) {
    (response.status, error_of(response))
}

// Covers: GO-6.2-10, GO-6.2-11
#[test]
fn a_group_that_is_not_active_takes_nobody_for_now() {
    let store = TestStore::new(Sharing::Exclusive);
    drop(desk_on(store.clone()));
    let (_, key, now) = head(&store, "lamps");
    store.plant(&key, &Head { active: false, ..now.clone() });
    let join = |store: &TestStore, number| {
        let mut desk = desk_on(store.clone());
        let (caller, challenge) = admitted(&mut desk, number, "lamps", REQUESTER);
        desk.ask(&caller, join_post("lamps", &request(number, "lamps", REQUESTER, &challenge)))
    };
    assert_eq!(refused(&join(&store, 1)), (Status::ServiceUnavailable, Some(GroupcommError::GroupInactive)));
    store.plant(&key, &now);
    assert_eq!(join(&store, 2).status, Status::Created);
}

#[test]
fn a_free_sender_id_is_found_behind_more_neighbours_than_are_looked_at_once() {
    let store = TestStore::new(Sharing::Exclusive);
    drop(desk_on(store.clone()));
    let (id, _, now) = head(&store, "lamps");
    // All identifiers of one byte, and many of two bytes, were held under this Gid.
    for place in 0_u16..3_000 {
        let name = if place < 256 { vec![place as u8] } else { (place - 256).to_be_bytes().to_vec() };
        store.plant(&keys::sender_id(id, &name.into()), &SenderIdRecord { holder: None, epoch: now.epoch });
    }
    let mut desk = desk_on(store.clone());
    let (caller, challenge) = admitted(&mut desk, 1, "lamps", REQUESTER);
    let mut join = || desk.ask(&caller, join_post("lamps", &request(1, "lamps", REQUESTER, &challenge)));
    // The group is not full: whoever asks again a second later comes further.
    for _ in 0..2 {
        let refused = join();
        assert_eq!((refused.status, refused.max_age), (Status::ServiceUnavailable, Some(1)));
        assert!(refused.payload.is_empty(), "it is not said that none is free");
    }
    let joined = join();
    assert_eq!(joined.status, Status::Created);
    let joined =
        member::joined(&AwsLc, JoinResponse::decode(&joined.payload).unwrap(), REQUESTER, &bench::N_C).unwrap();
    assert_eq!(joined.material.group_sender_id, Some((3_000_u16 - 256).to_be_bytes().to_vec()));
}

// Covers: GO-6.2-18, GO-6.2-19, GO-6.2.1-01
// Covers: GO-6.2.1-05
// Covers: TH-2-06/posted-token, TH-2-06/later-challenge
#[test]
fn who_has_no_challenge_any_more_gets_a_new_one_and_joins_with_it() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_on(store.clone());
    let (caller, challenge) = admitted(&mut desk, 1, "lamps", REQUESTER);
    desk.ask(&caller, group_request(Method::Get, "lamps", &["num"]));
    let Caller::Peer(id, _) = &caller else { panic!("{caller:?}") };
    let key = keys::association(id);
    let origin = |store: &TestStore| store.record::<Association>(&key).unwrap().kdcchallenge.unwrap().origin;
    assert_eq!(origin(&store), ChallengeOrigin::TokenTransfer);
    store.plant(&key, &Association { kdcchallenge: None, ..store.record(&key).unwrap() });

    let mut desk = desk_on(store.clone());
    let mut refusal = |challenge: &[u8]| {
        let response = desk.ask(&caller, join_post("lamps", &request(1, "lamps", REQUESTER, challenge)));
        assert_eq!(response.content_format, Some(ACE_GROUPCOMM_CBOR), "{response:?}");
        (response.status, response.payload)
    };
    let (status, payload) = refusal(&challenge);
    let refused = JoinRefusal::decode(&payload).unwrap();
    let new = refused.kdcchallenge.unwrap();
    assert_eq!((status, new.len()), (Status::BadRequest, 8));
    assert!(refused.info.sign_info.len() == 1 && refused.info.ecdh_info.len() == 1);
    assert_ne!(new, challenge);
    let kept = store.record::<Association>(&key).unwrap().kdcchallenge.unwrap();
    assert_eq!((kept.value.as_slice(), kept.origin), (&new[..], ChallengeOrigin::JoinRefusal), "it is stored");
    let (status, payload) = refusal(&new);
    assert_eq!(status, Status::Created);
    member::joined(&AwsLc, JoinResponse::decode(&payload).unwrap(), REQUESTER, &bench::N_C).unwrap();
    // The former one is good no more.
    let old = desk.ask(&caller, join_post("lamps", &request(1, "lamps", REQUESTER, &challenge)));
    assert_eq!(error_of(&old), Some(GroupcommError::InvalidProof));
}

// Covers: GO-6.2-13, GO-6.2.1-03, GO-6.2.1-04
// Covers: GO-9.4-03
#[test]
fn credentials_that_the_groups_algorithms_cannot_use_are_refused() {
    let mut desk = desk();
    let (caller, challenge) = admitted(&mut desk, 1, "lamps", REQUESTER);
    let good = request(1, "lamps", REQUESTER, &challenge);
    let point = |first: u8, rest: u8, last: u8| [vec![first], vec![rest; 30], vec![last]].concat();
    let ccs = |kty: i64, crv: i64, x: Vec<u8>, y: Option<Vec<u8>>| {
        let mut key = CoseKey::default();
        (key.kty, key.crv, key.x, key.y) = (kty, Some(crv), Some(x), y.map(|y| RawCbor::bytes(&y)));
        let cnf = Some(ace_groupcomm_messages::Confirmation::CoseKey(key));
        ace_groupcomm_messages::Claims { sub: Some("x".into()), cnf, ..Default::default() }.encode()
    };
    for (what, cred) in [
        ("a certificate", b"\x30\x82\x01\x00".to_vec()),
        ("claims without a key", vec![0xa1, 0x02, 0x61, 0x78]),
        ("a key for ECDH", ccs(1, 4, vec![9; 32], None)),
        ("a key of P-256", ccs(2, 1, vec![9; 32], Some(vec![9; 32]))),
        ("the neutral element, which has no Montgomery form", ccs(1, 6, point(1, 0, 0), None)),
        ("the point of order two", ccs(1, 6, point(0xec, 0xff, 0x7f), None)),
        ("a point of order four", ccs(1, 6, point(0, 0, 0), None)),
        ("the neutral element in another encoding", ccs(1, 6, point(0xee, 0xff, 0x7f), None)),
        ("a key that is too long", ccs(1, 6, vec![9; 33], None)),
    ] {
        let join = JoinRequest { client_cred: Some(cred), ..good.clone() };
        let response = desk.ask(&caller, join_post("lamps", &join));
        let expected = (Status::BadRequest, Some(GroupcommError::IncompatibleCredential));
        assert_eq!(refused(&response), expected, "{what}");
    }
    let joined = desk.ask(&caller, join_post("lamps", &good));
    assert_eq!(joined.status, Status::Created);
    // Nor is one of these taken in the place of another.
    for cred in [point(1, 0, 0), point(0xec, 0xff, 0x7f), point(0, 0, 0), point(0xee, 0xff, 0x7f)] {
        let update = JoinRequest { scope: None, client_cred: Some(ccs(1, 6, cred, None)), ..good.clone() };
        let path = ["nodes", joined.location_path[3].as_str(), "cred"];
        let request = group_request(Method::Post, "lamps", &path).with_payload(ACE_GROUPCOMM_CBOR, update.encode());
        let expected = (Status::BadRequest, Some(GroupcommError::IncompatibleCredential));
        assert_eq!(refused(&desk.ask(&caller, request)), expected);
    }
}

// Covers: KG-4.3.1-28
// Covers: GO-4-01, GO-6.1-07, GO-6.1-08, GO-6.3-05
#[test]
fn a_member_need_not_show_its_credential_again_and_may_show_another() {
    let mut desk = desk();
    let (caller, challenge) = admitted(&mut desk, 1, "lamps", REQUESTER);
    let full = request(1, "lamps", REQUESTER, &challenge);
    assert_eq!(desk.ask(&caller, join_post("lamps", &full)).status, Status::Created);
    let own = full.client_cred.clone();
    for (what, cred, verify) in
        [("no proof", own.clone(), None), ("neither", Some(vec![]), None), ("an empty proof", own, Some(vec![]))]
    {
        let again = JoinRequest { client_cred: cred, client_cred_verify: verify, ..full.clone() };
        assert_eq!(desk.ask(&caller, join_post("lamps", &again)).status, Status::Changed, "{what}");
    }
    // Another credential, with a proof of its own, over the same challenge.
    let other = request(9, "lamps", REQUESTER, &challenge);
    let response = desk.ask(&caller, join_post("lamps", &other));
    assert_eq!(response.status, Status::Changed);
    let joined =
        member::joined(&AwsLc, JoinResponse::decode(&response.payload).unwrap(), REQUESTER, &bench::N_C).unwrap();
    let creds = desk.ask(&caller, group_request(Method::Get, "lamps", &["creds"]));
    let peers = CredsResponse::decode(&creds.payload).unwrap().unwrap().peers;
    let found: Vec<_> = peers.iter().map(|peer| (Some(peer.id.clone()), Some(peer.cred.clone()))).collect();
    assert_eq!(found, [(joined.material.group_sender_id.clone(), other.client_cred)], "one member, as it is now");
}

// Covers: GO-6.2-01, GO-6.2-02, GO-6.2-12
#[test]
fn a_credential_that_the_group_manager_does_not_have_needs_a_proof() {
    let mut desk = desk();
    let (caller, challenge) = admitted(&mut desk, 1, "lamps", REQUESTER);
    let full = request(1, "lamps", REQUESTER, &challenge);
    assert_eq!(desk.ask(&caller, join_post("lamps", &full)).status, Status::Created);
    let refuse = |desk: &mut Desk, caller: &Caller, join: &JoinRequest| {
        let response = desk.ask(caller, join_post("lamps", join));
        assert_eq!((response.status, response.content_format), (Status::BadRequest, Some(ACE_GROUPCOMM_CBOR)));
    };
    // It has another one of this member, and none in the same format.
    for cred in [bench::client(9).1.cred, vec![0xa0]] {
        refuse(&mut desk, &caller, &JoinRequest { client_cred: Some(cred), client_cred_verify: None, ..full.clone() });
    }
    let creds = desk.ask(&caller, group_request(Method::Get, "lamps", &["creds"]));
    let peers = CredsResponse::decode(&creds.payload).unwrap().unwrap().peers;
    assert_eq!(peers.iter().map(|peer| Some(&peer.cred)).collect::<Vec<_>>(), [full.client_cred.as_ref()]);
    // Of who has only monitored it has none.
    let (monitor, challenge) = admitted(&mut desk, 2, "lamps", Roles(REQUESTER.0 | MONITOR.0));
    let monitors = request(2, "lamps", MONITOR, &challenge);
    assert_eq!(desk.ask(&monitor, join_post("lamps", &monitors)).status, Status::Created);
    let talks = request(2, "lamps", REQUESTER, &challenge);
    refuse(&mut desk, &monitor, &JoinRequest { client_cred: Some(vec![]), client_cred_verify: None, ..talks });
}

// Covers: GO-9.5.1-01, GO-9.5.1-02, GO-9.5.1-03
#[test]
fn the_group_managers_credential_is_for_members() {
    let mut desk = desk();
    let (member, ..) = joined(&mut desk, 1, "lamps", RESPONDER);
    let get = || group_request(Method::Get, "lamps", &["kdc-cred"]);
    assert_eq!(desk.ask(&member, get()).status, Status::Content);
    let (outsider, _) = admitted(&mut desk, 2, "lamps", RESPONDER);
    assert_eq!(refused(&desk.ask(&outsider, get())), (Status::Forbidden, Some(GroupcommError::NotAMember)));
}

// Covers: GO-5.3-02, GO-6.3-24
#[test]
fn challenges_and_nonces_have_8_bytes_and_none_comes_twice() {
    let mut desk = desk();
    let mut seen = std::collections::BTreeSet::new();
    for number in 1..20 {
        let (caller, challenge) = admitted(&mut desk, number, "lamps", REQUESTER);
        let response = desk.ask(&caller, join_post("lamps", &request(number, "lamps", REQUESTER, &challenge)));
        let answer = JoinResponse::decode(&response.payload).unwrap();
        let nonce = answer.kdc_cred.unwrap().kdc_nonce;
        assert_eq!((challenge.len(), nonce.len()), (8, 8));
        assert!(seen.insert(challenge) && seen.insert(nonce));
    }
    // All of the 8 bytes vary, as those of a counter do not.
    for place in 0..8 {
        let bytes: std::collections::BTreeSet<u8> = seen.iter().map(|value: &Vec<u8>| value[place]).collect();
        assert!(bytes.len() > 16, "byte {place}");
    }
}
