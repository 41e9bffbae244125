//! Keying material that has come to its end is given to nobody (RFC 9594 section 4.3.1).

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::engine::Machine;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Method, Now, Status};
use ace_groupcomm_messages::{JoinResponse, KeyDistribution};
use std::time::Duration;

/// How long a toy group's keying material is good.
const LIFETIME: u64 = 1_000_000;
const LATER: u64 = 9_000_000;

fn admitted(desk: &mut Desk, number: u16) -> (TestClient, Caller, Vec<u8>) {
    let client = TestClient::new(&AwsLc, number).unwrap();
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", 1)], LATER))).unwrap();
    (client, caller, challenge)
}

#[test]
fn material_is_replaced_before_its_end() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = Desk::new(&AwsLc, store, desk::config(&["g1"])).unwrap();
    let (begin, end) = (desk.now.unix.seconds(), desk.now.unix.seconds() + LIFETIME);
    let (client, caller, challenge) = admitted(&mut desk, 1);
    let joined = desk.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[7; 8])));
    assert_eq!(JoinResponse::decode(&joined.payload).unwrap().material.exp, Some(end));
    let get = |desk: &mut Desk| {
        let answer = desk.ask(&caller, group_request(Method::Get, "g1", &[]));
        KeyDistribution::decode(&answer.payload).unwrap()
    };
    desk.pass(Duration::from_secs(LIFETIME / 10 * 9 - 1));
    let last = get(&mut desk);
    assert_eq!((last.num, last.exp, last.exi), (0, Some(end), Some(LIFETIME / 10 + 1)));
    desk.pass(Duration::from_secs(1));
    let next = get(&mut desk);
    assert_eq!((next.num, next.exp), (1, Some(begin + LIFETIME / 10 * 19)));
    // The next one is due by itself, and nothing is due all the time: the time is noted once an hour.
    assert!(desk.kdc.next_timeout(desk.now).is_some_and(|at| at > desk.now.mono + Duration::from_secs(3_000)));
    desk.pass(Duration::from_secs(LIFETIME / 10 * 9 - 1));
    assert_eq!(get(&mut desk).num, 1);
    desk.pass(Duration::from_secs(1));
    assert_eq!(get(&mut desk).num, 2);
}

#[test]
fn material_that_has_come_to_its_end_is_given_to_nobody() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    let (client, caller, challenge) = admitted(&mut desk, 1);
    let joined = desk.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[7; 8])));
    let node = joined.location_path[3].clone();
    let get = |desk: &mut Desk, resource: &[&str]| desk.ask(&caller, group_request(Method::Get, "g1", resource));
    // Nothing that was due is done: the engine had no time, or storage was away.
    desk.now = desk.now.plus(Duration::from_secs(LIFETIME));
    for resource in [&[][..], &["nodes", &node]] {
        let refused = get(&mut desk, resource);
        assert_eq!((refused.status, refused.max_age), (Status::ServiceUnavailable, Some(5)), "{resource:?}");
        assert!(refused.payload.is_empty());
    }
    // What holds no material is answered.
    assert_eq!(get(&mut desk, &["num"]).status, Status::Content);
    assert_eq!(get(&mut desk, &["creds"]).status, Status::Content);
    // Who joins then brings the next version with it.
    let (other, newcomer, challenge) = admitted(&mut desk, 2);
    let join = desk.ask(&newcomer, join_post("g1", &other.join("g1", 1, &challenge, &[7; 8])));
    let joined = JoinResponse::decode(&join.payload).unwrap();
    assert_eq!((join.status, joined.material.num, joined.material.exi), (Status::Created, 1, Some(LIFETIME)));
    assert_eq!(get(&mut desk, &[]).status, Status::Content);
    // A clock that is set back changes nothing of that, and nothing is due all the time.
    desk.due();
    assert!(desk.kdc.next_timeout(desk.now).is_none_or(|at| at > desk.now.mono));
    desk.now = Now::new(desk.now.unix.seconds() - 100, desk.now.mono);
    assert_eq!(get(&mut desk, &[]).status, Status::Content);
}

#[test]
fn what_is_left_of_it_is_known_after_a_restart() {
    let store = TestStore::new(Sharing::Exclusive);
    let first = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    let start = first.now;
    drop(first);
    let mut again = Desk::at(&AwsLc, store, desk::config(&["g1"]), start.plus(Duration::from_secs(1_000))).unwrap();
    let (client, caller, challenge) = admitted(&mut again, 1);
    let joined = again.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[7; 8])));
    assert_eq!(JoinResponse::decode(&joined.payload).unwrap().material.exi, Some(LIFETIME - 1_000));
    let num = |desk: &mut Desk| {
        let answer = desk.ask(&caller, group_request(Method::Get, "g1", &[]));
        KeyDistribution::decode(&answer.payload).unwrap().num
    };
    again.pass(Duration::from_secs(LIFETIME / 10 * 9 - 1_001));
    assert_eq!(num(&mut again), 0);
    again.pass(Duration::from_secs(1));
    assert_eq!(num(&mut again), 1, "when its end is near");
}
