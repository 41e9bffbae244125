//! What tokens bring about: associations and their proof, updates of rights, expiry, revocation, replays.

mod associations;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::TokenHash;
use ace_groupcomm::command::Command;
use ace_groupcomm::engine::Machine;
use ace_groupcomm::kdc::Kdc;
use ace_groupcomm::records::{Association, Head, Principal, RekeyReason};
use ace_groupcomm::testkit::build::{self, TestClient, group_request, join_post, token, token_post_with, update_post};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm::{Caller, Method, RecordType, Registration, Request, Response, Status};
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{
    Claims, Confirmation, CreationHints, JoinRefusal, JoinRequest, RawCbor, ScopeValue, TokenTransferResponse,
    retrieval,
};
use std::sync::Arc;
use std::time::Duration;

const TALKER: u64 = 1;
const LISTENER: u64 = 2;
const LATER: u64 = 2_000_000;

fn desk() -> Desk {
    Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), desk::config(&["g1", "g2"])).unwrap()
}

fn client(number: u16) -> TestClient {
    TestClient::new(&AwsLc, number).unwrap()
}

fn join(desk: &mut Desk, client: &TestClient, caller: &Caller, challenge: &[u8], gname: &str, roles: u64) -> Response {
    desk.ask(caller, join_post(gname, &client.join(gname, roles, challenge, &[7; 8])))
}

fn member(desk: &mut Desk, client: &TestClient, scope: &[(&str, u64)], expires: u64) -> Caller {
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(scope, expires))).unwrap();
    for (gname, roles) in scope {
        assert_eq!(join(desk, client, &caller, &challenge, gname, *roles).status, Status::Created);
    }
    caller
}

fn num(desk: &mut Desk, caller: &Caller, gname: &str) -> Response {
    desk.ask(caller, group_request(Method::Get, gname, &["num"]))
}

/// Those of one kind, by what their keys hold.
fn records<T: RecordType>(desk: &Desk, part: &[u8]) -> Vec<T> {
    let all = desk.store.dump().into_iter().filter(|(key, _)| key.as_bytes().windows(part.len()).any(|w| w == part));
    all.filter_map(|(_, record)| T::decode(&record.value).ok()).collect()
}

fn rekey_reasons(desk: &Desk) -> Vec<RekeyReason> {
    records::<Head>(desk, b"/head")
        .into_iter()
        .flat_map(|head| head.rekey_due.into_iter().flat_map(|due| due.reasons))
        .collect()
}

fn post(token: &[u8]) -> Request {
    token_post_with(token, &[1; 8])
}

// Covers: OP-4.2-01, KG-3.3-02, AF-5.10.1-04, AF-5.10.1-09, AF-5.10.1.1-01, AF-5.10.1.1-04, AF-5.10.1.1-05
// Covers: AF-5.10.1.1-06, AF-5.10.1.1-10, AF-5.10.1.1-11, AF-5.10.1.1-12, AF-5.10.1.1-13, AF-5.10.1.1-14
// Covers: AF-5.10.1.1-15, TH-2-02/issuer-groups
// Covers: AF-5.10.1-06
#[test]
fn tokens_that_are_not_good_get_the_codes_of_rfc9200() {
    let mut desk = desk();
    let before = desk.store.dump();
    let good = client(1).claims(&[("g1", TALKER)], LATER);
    let with = |change: &dyn Fn(&mut Claims)| {
        let mut claims = good.clone();
        change(&mut claims);
        token(1, &claims)
    };
    let tagged = |tag: u64| ScopeValue::Extended { tag, bytes: build::scope(&[("g1", TALKER)]).encode() };
    for (what, status, bytes) in [
        ("no token", Status::BadRequest, vec![]),
        ("bytes", Status::BadRequest, vec![0xff; 40]),
        ("wrong key", Status::Unauthorized, token(3, &good)),
        ("another issuer's group", Status::Unauthorized, token(2, &good)),
        ("expired", Status::Unauthorized, with(&|c| c.exp = Some(1_000_000))),
        ("other audience", Status::Forbidden, with(&|c| c.aud = vec!["x".into()])),
        ("no cnf", Status::BadRequest, with(&|c| c.cnf = None)),
        ("no scope", Status::BadRequest, with(&|c| c.scope = None)),
        (
            "roles unknown",
            Status::BadRequest,
            with(&|c| c.scope = Some(ScopeValue::Bytes(build::scope(&[("g1", 64)]).encode()))),
        ),
        ("scope of another meaning", Status::BadRequest, with(&|c| c.scope = Some(tagged(5)))),
        ("key for another profile", Status::BadRequest, with(&|c| c.cnf = Some(Confirmation::Kid(vec![1])))),
        ("other transport profile", Status::BadRequest, with(&|c| c.ace_profile = Some(1))),
        ("osc with an unknown field", Status::BadRequest, {
            let mut claims = good.clone();
            claims.cnf = None;
            let osc = RawCbor::new(&[0xa1, 4, 0xa3, 0, 0x41, 1, 2, 0x41, 1, 9, 0]).unwrap();
            claims.extra = vec![(ace_groupcomm_messages::Label::Int(8), osc)];
            token(1, &claims)
        }),
    ] {
        let response = desk.ask(&Caller::anonymous(), post(&bytes));
        assert_eq!(response.status, status, "{what}");
    }
    let mut bare = post(&token(1, &good));
    bare.content_format = Some(61);
    assert_eq!(desk.ask(&Caller::anonymous(), bare).status, Status::UnsupportedContentFormat);
    for payload in [vec![], vec![0x80], vec![0xa0], vec![0xa1, 0x01, 0x01]] {
        let request = Request::new(Method::Post, ["authz-info"]).with_payload(ACE_CBOR, payload);
        assert_eq!(desk.ask(&Caller::anonymous(), request).status, Status::BadRequest);
    }
    assert_eq!(desk.ask(&Caller::anonymous(), update_post(&token(1, &good))).status, Status::BadRequest, "no nonce");
    assert_eq!((desk.kdc.pending(), desk.store.dump()), (0, before));
}

// Covers: OP-4.2-07, OP-4.2-09, OP-4.2-10, AF-5.10.1-08, TH-2-04/dropped-role, TH-2-05/kept-challenge
// Covers: TH-2-05/update-answer
// Covers: TH-2-04/dropped-group
#[test]
fn an_update_replaces_the_token_and_ends_what_it_no_longer_covers() {
    let mut desk = desk();
    let client = client(1);
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", TALKER)], LATER))).unwrap();
    assert_eq!(join(&mut desk, &client, &caller, &challenge, "g1", TALKER).status, Status::Created);
    let wider = token(1, &client.update(&[("g1", TALKER), ("g2", TALKER)], LATER + 1));
    let response = desk.ask(&caller, update_post(&wider));
    assert_eq!((response.status, response.payload.len(), response.unprotected), (Status::Created, 0, false));
    assert_eq!(
        join(&mut desk, &client, &caller, &challenge, "g2", TALKER).status,
        Status::Created,
        "N_S is carried over"
    );
    // Nonce and identifier are ignored where they are sent.
    let narrower = token(1, &client.update(&[("g1", LISTENER), ("g2", TALKER)], LATER + 2));
    desk.notices.clear();
    assert_eq!(desk.ask(&caller, post(&narrower)).status, Status::Created);
    let Caller::Peer(id, _) = &caller else { panic!("a peer") };
    let restricted = AssociationNotice::Restricted { id: id.clone() };
    assert_eq!(desk.notices, [restricted], "what is kept for it is dropped");
    assert_eq!(num(&mut desk, &caller, "g1").status, Status::Forbidden, "its role is gone, and its membership");
    assert_eq!(num(&mut desk, &caller, "g2").status, Status::Content);
    desk.due();
    assert_eq!(rekey_reasons(&desk), [RekeyReason::Narrowed]);
    let commit = desk.kdc.stats().commits;
    let none = token(1, &client.update(&[("g1", LISTENER)], LATER + 3));
    assert_eq!(desk.ask(&caller, update_post(&none)).status, Status::Created);
    assert_eq!(desk.kdc.stats().commits - commit, 1, "the token, and the end of what it no longer covers");
    assert_eq!(num(&mut desk, &caller, "g2").status, Status::Forbidden);
    desk.due();
    assert_eq!(rekey_reasons(&desk).len(), 2);
}

// Covers: OP-4.2-11, OP-4.2-08
#[test]
fn an_update_that_does_not_verify_gets_4_01_and_changes_nothing() {
    let mut desk = desk();
    let (one, two) = (client(1), client(2));
    let caller = member(&mut desk, &one, &[("g1", TALKER)], LATER);
    let before = desk.store.dump();
    let scope = [("g1", TALKER), ("g2", TALKER)];
    for (what, bytes) in [
        ("a new key", token(1, &one.claims(&scope, LATER))),
        ("another key", token(1, &Claims { cnf: Some(Confirmation::Kid(vec![9])), ..one.update(&scope, LATER) })),
        ("another client", token(1, &Claims { sub: Some(two.name.clone()), ..one.update(&scope, LATER) })),
        ("another issuer", token(2, &one.update(&[("other", TALKER)], LATER))),
        ("expired", token(1, &one.update(&scope, 5))),
        ("wrong key", token(3, &one.update(&scope, LATER))),
        ("bytes", vec![1, 2, 3]),
    ] {
        let response = desk.ask(&caller, update_post(&bytes));
        assert_eq!((response.status, response.unprotected), (Status::Unauthorized, false), "{what}");
    }
    let malformed = Request::new(Method::Post, ["authz-info"]).with_payload(ACE_CBOR, vec![0x80]);
    assert_eq!(desk.ask(&caller, malformed).status, Status::Unauthorized);
    let mut other_form = update_post(&token(1, &one.update(&scope, LATER)));
    other_form.content_format = Some(60);
    assert_eq!(desk.ask(&caller, other_form.clone()).status, Status::Unauthorized);
    assert_eq!(desk.store.dump(), before);
    // What is ignored may be anything: {1: token, 40: 0}.
    other_form.content_format = Some(ACE_CBOR);
    let mut payload = other_form.payload.to_vec();
    payload[0] = 0xa2;
    payload.extend_from_slice(&[0x18, 0x28, 0x00]);
    other_form.payload = payload.into();
    assert_eq!(desk.ask(&caller, other_form).status, Status::Created);
}

// Covers: TH-2-02/keyed-by-issuer, TH-2-02/update-issuer, TH-2-03/identity
#[test]
fn one_name_at_two_issuers_is_two_clients_and_neither_issuer_updates_the_others() {
    let config = desk::config(&["g1", "g2", "other"]);
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config).unwrap();
    let one = client(1);
    let first = member(&mut desk, &one, &[("g1", TALKER)], LATER);
    // The same subject and the same kid, of another issuer.
    let of_other = token(2, &one.claims(&[("other", TALKER)], LATER));
    let (second, challenge) = desk.post_token(&of_other).unwrap();
    assert_eq!(join(&mut desk, &one, &second, &challenge, "other", TALKER).status, Status::Created);
    let mut issuers: Vec<String> = records::<Principal>(&desk, b"p/").into_iter().map(|p| p.issuer).collect();
    issuers.sort();
    assert_eq!(issuers, ["as1", "as2"]);
    let before = desk.store.dump();
    let update = token(2, &one.update(&[("other", TALKER)], LATER));
    assert_eq!(desk.ask(&first, update_post(&update)).status, Status::Unauthorized);
    assert_eq!(desk.store.dump(), before, "an update comes from the issuer of the token that it takes the place of");
    assert_eq!(desk.ask(&second, update_post(&update)).status, Status::Created);
    desk.revoke(&TokenHash::of(&update));
    assert_eq!(num(&mut desk, &second, "other").status, Status::Unauthorized);
    assert_eq!(num(&mut desk, &first, "g1").status, Status::Content);
}

// Covers: OP-4.3-17, OP-6-02, KG-4.1.2-01, TH-3-07/unused-context, TH-4-02/due-in-commit
#[test]
fn expiry_ends_what_a_token_allowed_in_one_commit_and_each_group_puts_its_member_out() {
    let mut desk = desk();
    let caller = member(&mut desk, &client(1), &[("g1", TALKER), ("g2", LISTENER)], 1_000_100);
    member(&mut desk, &client(2), &[("g1", TALKER)], LATER);
    assert_eq!(desk.kdc.pending(), 0);
    desk.now = desk.now.plus(Duration::from_secs(99));
    assert_eq!(num(&mut desk, &caller, "g1").status, Status::Content);
    // At its time it is refused, before any timer.
    desk.now = desk.now.plus(Duration::from_secs(1));
    let late = num(&mut desk, &caller, "g1");
    assert_eq!((late.status, late.unprotected), (Status::Unauthorized, true));
    let commits = desk.kdc.stats().commits;
    desk.pass(Duration::ZERO);
    assert_eq!(desk.kdc.stats().commits - commits, 3);
    assert_eq!(rekey_reasons(&desk), [RekeyReason::Expired; 2]);
    let heads = records::<Head>(&desk, b"/head");
    assert_eq!(heads.iter().map(|head| head.members).sum::<u64>(), 1);
    assert_eq!(records::<Principal>(&desk, b"p/").len(), 1, "nothing is left of the one");
    assert!(desk.notices.iter().any(|notice| matches!(notice, AssociationNotice::Ended { .. })));
}

#[test]
fn tokens_that_expire_together_go_together() {
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Shared), desk::config(&["g1"])).unwrap();
    for number in 1..=40 {
        member(&mut desk, &client(number), &[("g1", TALKER)], 1_000_100);
    }
    let commits = desk.kdc.stats().commits;
    desk.pass(Duration::from_secs(100));
    assert!(desk.kdc.stats().commits - commits <= 2, "{}", desk.kdc.stats().commits - commits);
    assert_eq!(desk.kdc.stats().conflicts, 0);
    assert_eq!(records::<Head>(&desk, b"/head").iter().map(|head| head.members).sum::<u64>(), 0);
    assert_eq!(records::<Principal>(&desk, b"p/").len(), 0);
}

#[test]
fn a_later_token_moves_the_expiry() {
    let mut desk = desk();
    let client = client(1);
    let caller = member(&mut desk, &client, &[("g1", TALKER)], 1_000_100);
    let longer = token(1, &client.update(&[("g1", TALKER)], 1_000_200));
    assert_eq!(desk.ask(&caller, update_post(&longer)).status, Status::Created);
    desk.pass(Duration::from_secs(150));
    assert_eq!(num(&mut desk, &caller, "g1").status, Status::Content);
    desk.pass(Duration::from_secs(50));
    assert_eq!(num(&mut desk, &caller, "g1").status, Status::Unauthorized);
    assert_eq!(rekey_reasons(&desk), [RekeyReason::Expired]);
}

#[test]
fn an_expiry_is_not_lost_when_storage_is_away() {
    let mut desk = desk();
    member(&mut desk, &client(1), &[("g1", TALKER)], 1_000_100);
    desk.store.fail_next(Fault::NotDone);
    desk.pass(Duration::from_secs(100));
    assert!(rekey_reasons(&desk).is_empty(), "it came to nothing");
    desk.pass(Duration::from_secs(1));
    assert_eq!(rekey_reasons(&desk), [RekeyReason::Expired]);
}

#[test]
fn a_revoked_token_is_good_for_nothing() {
    let mut desk = desk();
    let client = client(1);
    let claims = client.claims(&[("g1", TALKER)], LATER);
    let bytes = token(1, &claims);
    let (caller, challenge) = desk.post_token(&bytes).unwrap();
    assert_eq!(join(&mut desk, &client, &caller, &challenge, "g1", TALKER).status, Status::Created);
    let (pending, _) = desk.post_token(&bytes).unwrap();
    desk.revoke(&TokenHash::of(&bytes));
    assert_eq!(num(&mut desk, &caller, "g1").status, Status::Unauthorized);
    assert_eq!(num(&mut desk, &pending, "g1").status, Status::Unauthorized, "nor one that waits for its proof");
    assert_eq!(desk.ask(&Caller::anonymous(), post(&bytes)).status, Status::Unauthorized);
    assert_eq!(rekey_reasons(&desk), [RekeyReason::Revoked]);
    // A token that nobody has posted yet is refused when it comes.
    let other = token(1, &client.claims(&[("g1", TALKER)], LATER + 1));
    desk.revoke(&TokenHash::of(&other));
    assert_eq!(desk.ask(&Caller::anonymous(), post(&other)).status, Status::Unauthorized);
}

#[test]
fn nothing_is_said_before_it_is_durable() {
    for (fault, happened) in [(Fault::NotDone, false), (Fault::UnknownLost, false), (Fault::UnknownDone, true)] {
        let mut desk = desk();
        let client = client(1);
        let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", TALKER)], LATER))).unwrap();
        desk.store.fail_next(fault);
        let proof = num(&mut desk, &caller, "g1");
        assert_eq!((proof.status, proof.max_age), (Status::ServiceUnavailable, Some(5)), "{fault:?}");
        assert_eq!(num(&mut desk, &caller, "g1").status, Status::Forbidden, "{fault:?}: proven at the second try");
        desk.store.fail_next(fault);
        let first = join(&mut desk, &client, &caller, &challenge, "g1", TALKER);
        assert_eq!(first.status, Status::ServiceUnavailable);
        let again = join(&mut desk, &client, &caller, &challenge, "g1", TALKER);
        assert_eq!(again.status, if happened { Status::Changed } else { Status::Created }, "{fault:?}");
        assert_eq!(records::<Head>(&desk, b"/head").iter().map(|head| head.members).sum::<u64>(), 1);
    }
}

#[test]
fn storage_that_cannot_be_read_is_said_so_and_comes_back() {
    let mut desk = desk();
    let client = client(1);
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", TALKER)], LATER))).unwrap();
    desk.store.set_unreadable(true);
    assert_eq!(join(&mut desk, &client, &caller, &challenge, "g1", TALKER).status, Status::ServiceUnavailable);
    desk.store.set_unreadable(false);
    assert_eq!(join(&mut desk, &client, &caller, &challenge, "g1", TALKER).status, Status::Created);
}

#[test]
fn another_form_than_the_one_there_is_is_not_acceptable() {
    let mut desk = desk();
    let client = client(1);
    let caller = member(&mut desk, &client, &[("g1", TALKER)], LATER);
    for (request, fits, other) in [
        (group_request(Method::Get, "g1", &["num"]), 261, 60),
        (group_request(Method::Get, "g1", &["active"]), 60, 261),
        (
            join_post(
                "g1",
                &JoinRequest {
                    client_cred: Some(vec![]),
                    client_cred_verify: None,
                    ..client.join("g1", 1, &[], &[1; 8])
                },
            ),
            261,
            60,
        ),
    ] {
        let with = |accept| Request { accept: Some(accept), ..request.clone() };
        assert!(desk.ask(&caller, with(fits)).status.is_success());
        assert_eq!(desk.ask(&caller, with(other)).status, Status::NotAcceptable);
    }
    let mut wrong = post(&token(1, &client.claims(&[("g1", TALKER)], LATER)));
    wrong.accept = Some(60);
    assert_eq!(desk.ask(&Caller::anonymous(), wrong).status, Status::NotAcceptable);
}

#[test]
fn a_kdc_says_when_it_is_ready_and_when_something_is_due() {
    let store = TestStore::new(Sharing::Exclusive);
    let config = desk::config(&["g1", "g2"]);
    let validator = Box::new(build::validator(&["g1", "g2"]));
    let kdc = Kdc::new(config.clone(), &toy::registry(), validator, Sharing::Exclusive, Arc::new(AwsLc)).unwrap();
    assert!(!kdc.is_ready(), "its groups have not been looked for");
    let mut desk = Desk::new(&AwsLc, store, config).unwrap();
    assert!(desk.kdc.is_ready());
    // Once an hour it notes the time.
    let near = desk.now.mono + Duration::from_secs(3_600);
    assert_eq!((desk.kdc.waiting(), desk.kdc.next_timeout(desk.now)), (0, Some(near)));

    // An association that nobody uses is dropped; a member's token expires.
    let lifetime = desk::config(&[]).pending.lifetime;
    desk.post_token(&token(1, &client(1).claims(&[("g1", TALKER)], LATER))).unwrap();
    assert_eq!(desk.kdc.next_timeout(desk.now), Some(desk.now.mono + lifetime));
    desk.pass(lifetime);
    assert_eq!((desk.kdc.pending(), desk.kdc.next_timeout(desk.now)), (0, Some(near)));
    let expires = desk.now.unix.seconds() + 40;
    member(&mut desk, &client(1), &[("g1", TALKER)], expires);
    assert_eq!(
        desk.kdc.next_timeout(desk.now),
        Some(desk.now.mono + Duration::from_secs(36)),
        "then its membership ends"
    );
}
