//! A member gets another Sender ID, or another credential (RFC 9594 sections 4.8.2 and 4.9).

use super::*;
use ace_groupcomm::command::Command;
use ace_groupcomm::records::Association;
use ace_groupcomm::testkit::toy::TOY_ID;
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::{CredsResponse, JoinRefusal, JoinRequest, RawCbor};
use std::time::Duration;

fn new_id(response: &Response) -> Vec<u8> {
    assert_eq!((response.status, response.content_format), (Status::Content, Some(ACE_GROUPCOMM_CBOR)), "{response:?}");
    let map = RawCbor::new(&response.payload).unwrap().to_map().unwrap();
    assert_eq!((map.len(), &map[0].0), (1, &TOY_ID), "the Sender ID, and nothing else");
    map[0].1.to_byte_string().unwrap()
}

/// The credentials that others see, each with its identifier.
fn creds(desk: &mut Desk, member: &Joined) -> Vec<(Vec<u8>, Vec<u8>)> {
    let answer = desk.ask(&member.caller, group_request(Method::Get, "g1", &["creds"]));
    let peers = CredsResponse::decode(&answer.payload).unwrap().unwrap().peers;
    peers.into_iter().map(|peer| (peer.id, peer.cred)).collect()
}

#[test]
fn a_member_gets_another_sender_id_under_the_same_keys() {
    let mut desk = desk_with(&[]);
    let (one, two) = (join(&mut desk, 1), join(&mut desk, 2));
    desk.notices.clear();
    let id = new_id(&one.renew(&mut desk));
    assert!(id != one.sender_id && id != two.sender_id);
    let own = AssociationNotice::Changed { path: one.request(Method::Get, &[]).path };
    assert_eq!(desk.notices, [own], "its own resource is another");
    let node = desk.ask(&one.caller, one.request(Method::Get, &[]));
    let node = KeyDistribution::decode(&node.payload).unwrap();
    assert_eq!((toy::id_in(&node.key), node.num), (Some(id.clone()), 0));
    let listed = creds(&mut desk, &two);
    assert!(listed.iter().any(|(known, _)| *known == id) && !listed.iter().any(|(known, _)| *known == one.sender_id));
    // The former one goes stale: with the next version the others drop what belongs to it.
    desk.command(Command::Rekey("g1".into())).unwrap();
    assert_eq!(two.notified(&mut desk).stale_node_ids, Some(vec![one.sender_id.clone()]));
    assert_clean(&desk);
}

#[test]
fn who_asks_while_a_rekeying_is_due_is_rekeyed_at_once_and_keeps_its_sender_id() {
    let mut desk = desk_with(&[]);
    let (one, two, three) = (join(&mut desk, 1), join(&mut desk, 2), join(&mut desk, 3));
    three.leave(&mut desk);
    let answer = one.renew(&mut desk);
    assert_eq!((answer.status, answer.content_format), (Status::Content, Some(ACE_GROUPCOMM_CBOR)));
    let message = RekeyingMessage::decode(&answer.payload).unwrap();
    assert_eq!((message.material.num, message.stale_node_ids), (1, Some(vec![three.sender_id.clone()])));
    assert_eq!(two.keys(&mut desk).0, 1, "with all others");
    let node = desk.ask(&one.caller, one.request(Method::Get, &[]));
    assert_eq!(toy::id_in(&KeyDistribution::decode(&node.payload).unwrap().key), Some(one.sender_id.clone()));
    desk.pass(Duration::from_secs(600));
    assert_eq!(head(&desk).num, 1);
    assert_clean(&desk);
}

// Covers: KG-4.8-01, KG-4.8-02, KG-4.8-03, KG-4.8.2-01, KG-4.8.2-02, KG-4.8.2-03
#[test]
fn a_renewal_has_its_errors() {
    let mut desk = desk_with(&[]);
    let (one, two) = (join(&mut desk, 1), join(&mut desk, 2));
    let with_payload = one.request(Method::Post, &[]).with_payload(261, vec![0xa0]);
    assert_eq!(desk.ask(&one.caller, with_payload).status, Status::BadRequest);
    let others = desk.ask(&one.caller, two.request(Method::Post, &[]));
    assert_eq!((others.status, error_id(&others)), (Status::Forbidden, None));
    let (client, caller, _) = admitted(&mut desk, 3);
    let stranger = desk.ask(&caller, one.request(Method::Post, &[]));
    assert_eq!((stranger.status, error_id(&stranger)), (Status::Forbidden, Some(0)));
    let listener = desk.ask(&caller, join_post("g1", &client.join("g1", LISTENER, &[], &[7; 8])));
    let renewal = group_request(Method::Post, "g1", &["nodes", &listener.location_path[3]]);
    let answer = desk.ask(&caller, renewal.clone());
    assert_eq!((answer.status, error_id(&answer)), (Status::BadRequest, Some(1)));
    desk.command(Command::Deactivate("g1".into())).unwrap();
    for (caller, request) in [(&caller, renewal), (&one.caller, one.request(Method::Post, &[]))] {
        let answer = desk.ask(caller, request);
        assert_eq!((answer.status, error_id(&answer)), (Status::ServiceUnavailable, Some(9)));
    }
    let put = desk.ask(&one.caller, one.request(Method::Put, &[]));
    assert_eq!(put.status, Status::MethodNotAllowed, "as the draft had it");
}

fn update(desk: &mut Desk, member: &Joined, request: &JoinRequest) -> Response {
    let request = member.request(Method::Post, &["cred"]).with_payload(ACE_GROUPCOMM_CBOR, request.encode());
    desk.ask(&member.caller, request)
}

/// An update to the credential of this client, proven by its key over what the member knows.
fn to_credential_of(other: &TestClient, member: &Joined) -> JoinRequest {
    JoinRequest { scope: None, ..other.join("g1", TALKER, &member.challenge, &[5; 8]) }
}

// Covers: GO-9.4-09
#[test]
fn a_member_gets_another_credential_and_keeps_its_sender_id() {
    let mut desk = desk_with(&[]);
    let (one, two) = (join(&mut desk, 1), join(&mut desk, 2));
    let (former, next) = (one.client.key.public().to_vec(), client(50));
    assert!(creds(&mut desk, &two).contains(&(one.sender_id.clone(), former.clone())));
    let answer = update(&mut desk, &one, &to_credential_of(&next, &one));
    assert_eq!((answer.status, answer.payload.len()), (Status::Changed, 0), "{answer:?}");
    let listed = creds(&mut desk, &two);
    assert!(listed.contains(&(one.sender_id.clone(), next.key.public().to_vec())));
    assert!(!listed.iter().any(|(_, cred)| *cred == former));
    assert_eq!((head(&desk).num, head(&desk).rekey_due.clone()), (0, None), "and the group its keys");
    // It is the member's now, and the former one is free.
    let (_, caller, challenge) = admitted(&mut desk, 3);
    for (credential, status) in [(50, Status::BadRequest), (1, Status::Created)] {
        let join = client(credential).join("g1", TALKER, &challenge, &[6; 8]);
        assert_eq!(desk.ask(&caller, join_post("g1", &join)).status, status, "{credential}");
    }
    assert_clean(&desk);
}

// Covers: KG-4.9.1-05
#[test]
fn an_update_is_proven_over_the_scope_of_the_latest_join() {
    let mut desk = desk_with(&[]);
    let one = join(&mut desk, 1);
    // ["g1", 1], with 1 in two bytes.
    let long = vec![0x82, 0x62, b'g', b'1', 0x18, 0x01];
    let proven = |client: &TestClient, scope: &[u8]| {
        let input = ace_groupcomm_messages::pop::client_input(scope, &one.challenge, &[5; 8]);
        let join = client.join("g1", TALKER, &one.challenge, &[5; 8]);
        JoinRequest { scope: Some(scope.to_vec()), client_cred_verify: client.key.sign(&input), ..join }
    };
    let again = desk.ask(&one.caller, join_post("g1", &proven(&client(1), &long)));
    assert_eq!(again.status, Status::Changed);
    let without_scope = |request: JoinRequest| JoinRequest { scope: None, ..request };
    let former = update(&mut desk, &one, &to_credential_of(&client(50), &one));
    assert_eq!(error_id(&former), Some(3), "that of the first join");
    let latest = update(&mut desk, &one, &without_scope(proven(&client(50), &long)));
    assert_eq!(latest.status, Status::Changed);
}

// Covers: KG-4.9.1-02, KG-4.9.1-03, KG-4.9.1-04, KG-4.9.1-07, KG-4.9.1-08, KG-4.9.1-09, KG-4.9.1-10, KG-4.9.1-11, KG-4.9.1-12
// Covers: GO-9.4-02, GO-9.4-04, GO-9.4-05, GO-9.4-06, GO-9.4-07, GO-9.4-08
#[test]
fn an_update_of_a_credential_has_its_errors() {
    let mut desk = desk_with(&[]);
    let (one, two) = (join(&mut desk, 1), join(&mut desk, 2));
    let good = to_credential_of(&client(50), &one);
    let other_key = client(51).join("g1", TALKER, &one.challenge, &[5; 8]).client_cred_verify;
    for (what, request, error) in [
        ("no credential", JoinRequest { client_cred: None, ..good.clone() }, None),
        ("no nonce", JoinRequest { cnonce: None, ..good.clone() }, None),
        ("an empty nonce", JoinRequest { cnonce: Some(vec![]), ..good.clone() }, None),
        ("a long nonce", JoinRequest { cnonce: Some(vec![1; 65]), ..good.clone() }, None),
        ("no proof", JoinRequest { client_cred_verify: None, ..good.clone() }, None),
        ("an empty proof", JoinRequest { client_cred_verify: Some(vec![]), ..good.clone() }, Some(3)),
        ("the proof of another key", JoinRequest { client_cred_verify: other_key, ..good.clone() }, Some(3)),
        ("a credential that is none", JoinRequest { client_cred: Some(vec![1; 7]), ..good.clone() }, Some(2)),
        ("another member's", to_credential_of(&client(2), &one), Some(2)),
    ] {
        let mut desk = Desk::at(&AwsLc, desk.store.clone(), config(&[]), desk.now).unwrap();
        let answer = update(&mut desk, &one, &request);
        assert_eq!((answer.status, error_id(&answer)), (Status::BadRequest, error), "{what}");
        assert!(creds(&mut desk, &two).contains(&(one.sender_id.clone(), one.client.key.public().to_vec())), "{what}");
    }
    let malformed = one.request(Method::Post, &["cred"]).with_payload(ACE_GROUPCOMM_CBOR, vec![0x80]);
    assert_eq!(desk.ask(&one.caller, malformed).status, Status::BadRequest);
    let others = two.request(Method::Post, &["cred"]).with_payload(ACE_GROUPCOMM_CBOR, good.encode());
    let answer = desk.ask(&one.caller, others);
    assert_eq!((answer.status, error_id(&answer)), (Status::Forbidden, None));
    // Who only listens has no credential to replace.
    let (listener, caller, _) = admitted(&mut desk, 3);
    let joined = desk.ask(&caller, join_post("g1", &listener.join("g1", LISTENER, &[], &[7; 8])));
    let path = ["nodes", &joined.location_path[3], "cred"];
    let request = group_request(Method::Post, "g1", &path).with_payload(ACE_GROUPCOMM_CBOR, good.encode());
    let answer = desk.ask(&caller, request);
    assert_eq!((answer.status, error_id(&answer)), (Status::BadRequest, Some(1)));
    desk.command(Command::Deactivate("g1".into())).unwrap();
    let answer = update(&mut desk, &one, &good);
    assert_eq!((answer.status, error_id(&answer)), (Status::ServiceUnavailable, Some(9)));
}

#[test]
fn an_update_is_proven_over_the_challenge_that_a_refused_join_has_brought() {
    let mut desk = desk_with(&[]);
    // The first association's N_S is gone with it: a token for a role without credential brings none.
    let client = client(1);
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", LISTENER)], LATER))).unwrap();
    assert!(challenge.is_empty());
    desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    let wider = token(1, &client.update(&[("g1", LISTENER | TALKER)], LATER));
    desk.ask(&caller, ace_groupcomm::testkit::build::update_post(&wider));
    let refused = desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &[0; 8], &[7; 8])));
    let challenge = JoinRefusal::decode(&refused.payload).unwrap().kdcchallenge.unwrap();
    let joined = desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8])));
    let node = joined.location_path[3].clone();
    let one = Joined { client, caller, challenge, node, num: 0, sender_id: vec![], key: vec![] };
    assert_eq!(update(&mut desk, &one, &to_credential_of(&super::client(50), &one)).status, Status::Changed);
}

// Covers: KG-4.9.1-05, KG-4.9.1-06
#[test]
fn an_update_without_a_challenge_brings_a_new_one_which_takes_its_place() {
    let mut desk = desk_with(&[]);
    let one = join(&mut desk, 1);
    let Caller::Peer(id, _) = &one.caller else { panic!("a peer") };
    let (key, store) = (keys::association(id), desk.store.clone());
    store.plant(&key, &Association { kdcchallenge: None, ..store.record(&key).unwrap() });
    let mut desk = Desk::at(&AwsLc, store.clone(), config(&[]), desk.now).unwrap();
    let refused = update(&mut desk, &one, &to_credential_of(&client(50), &one));
    assert_eq!((refused.status, refused.content_format), (Status::BadRequest, Some(ACE_GROUPCOMM_CBOR)));
    let new = JoinRefusal::decode(&refused.payload).unwrap().kdcchallenge.unwrap();
    assert!(new.len() == 8 && new != one.challenge);
    let kept = store.record::<Association>(&key).unwrap().kdcchallenge.unwrap();
    assert_eq!(kept.value.as_slice(), new);
    let old = update(&mut desk, &one, &to_credential_of(&client(50), &one));
    assert_eq!(error_id(&old), Some(3), "the former one proves nothing any more");
    desk.pass(Duration::from_secs(70));
    let one = Joined { challenge: new, ..one };
    assert_eq!(update(&mut desk, &one, &to_credential_of(&client(50), &one)).status, Status::Changed);
}
