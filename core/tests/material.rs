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
fn material_that_has_come_to_its_end_is_given_to_nobody() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    let end = desk.now.unix.seconds() + LIFETIME;
    let (client, caller, challenge) = admitted(&mut desk, 1);
    let joined = desk.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[7; 8])));
    assert_eq!(JoinResponse::decode(&joined.payload).unwrap().material.exp, Some(end));
    let node = joined.location_path[3].clone();
    let get = |desk: &mut Desk, resource: &[&str]| desk.ask(&caller, group_request(Method::Get, "g1", resource));

    // A second before it is still good for a second.
    desk.pass(Duration::from_secs(LIFETIME - 1));
    let last = KeyDistribution::decode(&get(&mut desk, &[]).payload).unwrap();
    assert_eq!((last.exp, last.exi), (Some(end), Some(1)));
    desk.pass(Duration::from_secs(1));
    let (other, newcomer, challenge) = admitted(&mut desk, 2);
    for resource in [&[][..], &["nodes", &node]] {
        let refused = get(&mut desk, resource);
        assert_eq!((refused.status, refused.max_age), (Status::ServiceUnavailable, Some(60)), "{resource:?}");
        assert!(refused.payload.is_empty());
    }
    let join = desk.ask(&newcomer, join_post("g1", &other.join("g1", 1, &challenge, &[7; 8])));
    let rejoin = desk.ask(&caller, join_post("g1", &client.join("g1", 1, &[], &[8; 8])));
    assert_eq!(join.status, Status::ServiceUnavailable);
    assert_ne!(rejoin.status, Status::Changed);
    let members = store.dump().into_iter().filter(|(key, _)| key.as_bytes().windows(3).any(|part| part == b"/m/"));
    assert_eq!(members.count(), 1, "nobody has joined");
    // What holds no material is answered.
    assert_eq!(get(&mut desk, &["num"]).status, Status::Content);
    assert_eq!(get(&mut desk, &["creds"]).status, Status::Content);
    // A clock that is set back does not bring it back, and nothing is due all the time.
    assert!(desk.kdc.next_timeout(desk.now).is_none_or(|at| at > desk.now.mono));
    desk.now = Now::new(desk.now.unix.seconds() - 100, desk.now.mono);
    assert_eq!(get(&mut desk, &[]).status, Status::ServiceUnavailable);
}

#[test]
fn what_is_left_of_it_is_known_after_a_restart() {
    let store = TestStore::new(Sharing::Exclusive);
    let first = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    let near = first.kdc.next_timeout(first.now).unwrap();
    assert_eq!(near, first.now.mono + Duration::from_secs(LIFETIME / 10 * 9), "when its end is near");
    let again = Desk::at(&AwsLc, store, desk::config(&["g1"]), first.now.plus(Duration::from_secs(1_000))).unwrap();
    assert_eq!(again.kdc.next_timeout(again.now), Some(near));
}
