//! The engine under what users see of it: batches, bounds, figures, and time that runs out.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::engine::{Completion, Effect, Limits, Machine, Reply};
use ace_groupcomm::keys;
use ace_groupcomm::records::{Head, MemberRecord, NamedGroup};
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::traits::transport::AssociationNeed;
use ace_groupcomm::{Caller, Method, RecordType, Response, Status};
use ace_groupcomm_messages::{CredsResponse, GetCreds, JoinRequest, JoinResponse};
use std::time::Duration;

const TALKER: u64 = 1;
const LATER: u64 = 2_000_000;

fn desk() -> Desk {
    Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), desk::config(&["g1"])).unwrap()
}

fn limited(sharing: Sharing, limits: Limits) -> Desk {
    let config = ace_groupcomm::kdc::KdcConfig { limits, ..desk::config(&["g1"]) };
    Desk::new(&AwsLc, TestStore::new(sharing), config).unwrap()
}

fn client(number: u16) -> TestClient {
    TestClient::new(&AwsLc, number).unwrap()
}

fn admitted(desk: &mut Desk, number: u16) -> (Caller, Vec<u8>) {
    desk.post_token(&token(1, &client(number).claims(&[("g1", TALKER)], LATER))).unwrap()
}

fn member(desk: &mut Desk, number: u16) -> (Caller, Response) {
    let (caller, challenge) = admitted(desk, number);
    let response = desk.ask(&caller, join_post("g1", &client(number).join("g1", TALKER, &challenge, &[7; 8])));
    assert_eq!(response.status, Status::Created);
    (caller, response)
}

fn sender_id(response: &Response) -> Vec<u8> {
    let joined = JoinResponse::decode(&response.payload).unwrap();
    toy::id_in(&joined.material.key).unwrap()
}

fn head(desk: &Desk) -> Head {
    let NamedGroup { id, .. } = desk.store.record(&keys::name("g1")).unwrap();
    desk.store.record(&keys::head(id)).unwrap()
}

#[test]
fn many_join_in_one_commit_and_none_shares_an_identifier() {
    let mut desk = desk();
    let mut asked = Vec::new();
    for number in 1..=129 {
        let (caller, challenge) = admitted(&mut desk, number);
        asked.push((caller, join_post("g1", &client(number).join("g1", TALKER, &challenge, &[7; 8]))));
    }
    // Prove the associations first, so that the joins meet in one batch.
    for (caller, _) in &asked {
        desk.ask(caller, group_request(Method::Get, "g1", &["num"]));
    }
    let before = desk.kdc.stats().commits;
    let answers = desk.ask_all(asked);
    assert!(answers.iter().all(|answer| answer.status == Status::Created), "{answers:?}");
    let ids: std::collections::BTreeSet<Vec<u8>> = answers.iter().map(sender_id).collect();
    assert_eq!((ids.len(), head(&desk).members), (129, 129));
    assert_eq!(desk.kdc.stats().commits - before, 3, "batches of 64");
    assert_eq!(desk.kdc.lanes(), 0, "nothing is left of it");
    let members = desk.store.dump().into_iter().filter(|(key, _)| key.as_bytes().windows(3).any(|w| w == b"/m/"));
    assert!(
        members.map(|(_, record)| MemberRecord::decode(&record.value).unwrap()).all(|m| m.node.as_str().len() == 16)
    );
}

#[test]
fn one_member_changes_once_in_a_commit() {
    let mut desk = desk();
    let (caller, _) = member(&mut desk, 1);
    let join = |nonce: u8| JoinRequest {
        client_cred: Some(vec![]),
        client_cred_verify: None,
        ..client(1).join("g1", 1, &[], &[nonce; 8])
    };
    let before = desk.kdc.stats().commits;
    let asked = (0..3).map(|nonce| (caller.clone(), join_post("g1", &join(nonce)))).collect();
    let answers = desk.ask_all(asked);
    let ids: Vec<_> = answers.iter().map(|answer| sender_id(answer)[0]).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(desk.kdc.stats().commits - before, 3);
}

#[test]
fn a_full_engine_says_so() {
    let mut desk = limited(Sharing::Exclusive, Limits { waiting: 2, ..Limits::default() });
    let (caller, _) = admitted(&mut desk, 1);
    let join = join_post("g1", &client(1).join("g1", TALKER, &[0; 8], &[7; 8]));
    let answers = desk.ask_all(vec![(caller.clone(), join.clone()), (caller.clone(), join.clone()), (caller, join)]);
    assert_eq!(answers[2].status, Status::ServiceUnavailable);
    assert_eq!(answers[2].max_age, Some(2));
    assert_eq!(desk.kdc.stats().bounded, 1);
}

#[test]
fn who_joins_in_one_commit_with_others_sees_those_before_it() {
    for sharing in [Sharing::Exclusive, Sharing::Shared] {
        let mut desk = limited(sharing, Limits::default());
        member(&mut desk, 9);
        let mut asked = Vec::new();
        for number in 1..=3 {
            let (caller, challenge) = admitted(&mut desk, number);
            desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
            let join = client(number).join("g1", TALKER, &challenge, &[7; 8]);
            asked.push((caller, join_post("g1", &JoinRequest { get_creds: Some(GetCreds::All), ..join })));
        }
        let before = desk.kdc.stats().commits;
        let answers = desk.ask_all(asked);
        assert_eq!(desk.kdc.stats().commits - before, 1);
        let peers = |answer: &Response| JoinResponse::decode(&answer.payload).unwrap().peers.unwrap().len();
        assert_eq!(answers.iter().map(peers).collect::<Vec<_>>(), [1, 2, 3], "{sharing:?}");
    }
}

#[test]
fn memory_has_a_bound_and_what_left_it_comes_back() {
    let mut desk = limited(Sharing::Exclusive, Limits { records: 64, ..Limits::default() });
    let (mut callers, mut seen) = (Vec::new(), Vec::new());
    for number in 1..=60 {
        callers.push(member(&mut desk, number).0);
        for caller in &callers {
            desk.ask(caller, group_request(Method::Get, "g1", &["num"]));
            seen.push(desk.kdc.records());
        }
    }
    assert!(seen.iter().all(|records| *records <= 64), "{seen:?}");
    // An eighth leaves at a time.
    assert!(seen.contains(&64) && seen.windows(2).any(|pair| pair[1] < pair[0]), "{seen:?}");
    assert!(seen.windows(2).filter(|pair| pair[1] < pair[0]).all(|pair| pair[1] >= 56), "{seen:?}");
    for caller in &callers {
        let creds = desk.ask(caller, group_request(Method::Get, "g1", &["creds"]));
        assert_eq!(CredsResponse::decode(&creds.payload).unwrap().unwrap().peers.len(), 60);
        assert_eq!(desk.ask(caller, group_request(Method::Get, "g1", &["num"])).status, Status::Content);
    }
}

#[test]
fn lanes_are_for_groups_that_there_are() {
    let mut desk = limited(Sharing::Shared, Limits::default());
    let (caller, _) = member(&mut desk, 1);
    let mut out = Vec::new();
    for (path, lanes) in [("made-up", 0), ("g1", 1), ("made-up-too", 1)] {
        let post = group_request(Method::Post, path, &[]);
        let _ = desk.kdc.request(desk.now, caller.clone(), post, &mut desk.rng, &mut out);
        desk.kdc.flush(desk.now, &mut out);
        assert_eq!(desk.kdc.lanes(), lanes, "{path}");
    }
    desk.settle(out);
    assert_eq!((desk.kdc.lanes(), desk.kdc.waiting()), (0, 0));
}

#[test]
fn shared_storage_is_read_by_one_load_at_a_time_and_ones_own_by_many() {
    for (sharing, second) in [(Sharing::Shared, 0), (Sharing::Exclusive, 1)] {
        let limits = Limits { records: 8, ..Limits::default() };
        let mut desk = limited(sharing, limits);
        let callers: Vec<Caller> = (1..=12).map(|number| member(&mut desk, number).0).collect();
        let ask = |desk: &mut Desk, caller: &Caller| {
            let mut out = Vec::new();
            let request = group_request(Method::Get, "g1", &["num"]);
            let _ = desk.kdc.request(desk.now, caller.clone(), request, &mut desk.rng, &mut out);
            desk.kdc.flush(desk.now, &mut out);
            out
        };
        let (mut first, next) = (ask(&mut desk, &callers[0]), ask(&mut desk, &callers[1]));
        let loads = |out: &[Effect<_>]| out.iter().filter(|effect| matches!(effect, Effect::Load(..))).count();
        assert_eq!((loads(&first), loads(&next)), (1, second), "{sharing:?}");
        first.extend(next);
        assert_eq!(desk.settle(first).len(), 2, "both are answered");
    }
}

#[test]
fn a_request_waits_as_long_as_it_may_and_no_longer() {
    let mut desk = limited(Sharing::Shared, Limits { patience: Duration::from_secs(5), ..Limits::default() });
    let (caller, _) = member(&mut desk, 1);
    let mut out = Vec::new();
    let request = group_request(Method::Get, "g1", &["num"]);
    let reply = desk.kdc.request(desk.now, caller, request, &mut desk.rng, &mut out);
    let Reply::Later(ticket) = reply else { panic!("shared storage has to be looked at") };
    desk.kdc.flush(desk.now, &mut out);
    assert!(matches!(out.as_slice(), [Effect::Load(..)]), "{out:?}");
    assert_eq!(desk.kdc.waiting(), 1);
    // Storage never answers.
    let end = desk.now.plus(Duration::from_secs(5));
    assert_eq!(desk.kdc.next_timeout(desk.now), Some(end.mono));
    let mut late = Vec::new();
    desk.kdc.timeout(desk.now.plus(Duration::from_millis(4_999)), &mut desk.rng, &mut late);
    assert!(late.is_empty() && desk.kdc.waiting() == 1);
    desk.kdc.timeout(end, &mut desk.rng, &mut late);
    let answered = late.into_iter().find_map(|effect| match effect {
        Effect::Answer(to, durable) if to == ticket => Some(durable.into_inner()),
        _ => None,
    });
    assert_eq!(answered.map(|answer| answer.status), Some(Status::ServiceUnavailable));
    assert_eq!(desk.kdc.waiting(), 0);
    // Should it answer after all, nobody is there any more.
    let Some(Effect::Load(op, keys)) = out.pop() else { panic!("a load") };
    let found = desk.store.read_now(&keys);
    desk.kdc.complete(end, Completion::Loaded(op, found), &mut out);
    assert!(desk.settle(out).is_empty());
}

#[test]
fn a_request_runs_as_often_as_it_may_and_no_more() {
    let runs = |limit: u32| {
        let mut desk = limited(Sharing::Shared, Limits::default());
        let (caller, _) = member(&mut desk, 1);
        let config = ace_groupcomm::kdc::KdcConfig {
            limits: Limits { runs: limit, ..Limits::default() },
            ..desk::config(&["g1"])
        };
        let mut desk = Desk::new(&AwsLc, desk.store.clone(), config).unwrap();
        let Caller::Peer(name, _) = &caller else { panic!("a peer") };
        desk.need(AssociationNeed::Claim(name.clone()));
        let before = desk.kdc.stats().runs;
        let answer = desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
        (answer.status, answer.max_age, desk.kdc.stats().runs - before)
    };
    let (status, _, needed) = runs(64);
    assert_eq!(status, Status::Content);
    let needed = u32::try_from(needed).unwrap();
    assert!(needed > 2, "association, then principal, then group");
    assert_eq!(runs(needed).0, Status::Content);
    let (status, max_age, _) = runs(needed - 1);
    assert_eq!((status, max_age), (Status::ServiceUnavailable, Some(2)));
}

#[test]
fn storage_that_fails_or_answers_too_little_is_said_so_at_once() {
    for unreadable in [true, false] {
        let mut desk = limited(Sharing::Shared, Limits::default());
        let (caller, _) = member(&mut desk, 1);
        let mut out = Vec::new();
        let request = group_request(Method::Get, "g1", &["num"]);
        let _ = desk.kdc.request(desk.now, caller.clone(), request.clone(), &mut desk.rng, &mut out);
        desk.kdc.flush(desk.now, &mut out);
        let Some(Effect::Load(op, mut keys)) = out.pop() else { panic!("a load") };
        desk.store.set_unreadable(unreadable);
        keys.pop();
        let read = desk.store.read_now(&keys);
        assert_eq!(read.is_err(), unreadable);
        desk.kdc.complete(desk.now, Completion::Loaded(op, read), &mut out);
        let answers = desk.settle(out);
        let [(_, answer)] = <[_; 1]>::try_from(answers).unwrap();
        let answer = answer.into_inner();
        assert_eq!((answer.status, answer.max_age), (Status::ServiceUnavailable, Some(5)));
        assert_eq!(desk.kdc.waiting(), 0);
        desk.store.set_unreadable(false);
        assert_eq!(desk.ask(&caller, request).status, Status::Content, "and it goes on");
    }
}
