//! Storage that does not work: what is answered meanwhile, and how it is found out when it works again.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::engine::Machine;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Method, Status};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn on(store: &TestStore) -> Desk {
    Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap()
}

#[test]
fn what_cannot_be_written_is_answered_so_until_it_can() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store);
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", 1)], 2_000_000))).unwrap();
    desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    assert!(desk.kdc.is_ready());
    let join = || join_post("g1", &client.join("g1", 1, &challenge, &[7; 8]));
    for fault in [Fault::NotDone, Fault::UnknownLost] {
        store.fail_next(fault);
        let refused = desk.ask(&caller, join());
        assert_eq!((refused.status, refused.max_age), (Status::ServiceUnavailable, Some(5)));
        assert!(!desk.kdc.is_ready());
        let again = desk.kdc.next_timeout(desk.now).unwrap();
        assert_eq!(again.checked_sub(desk.now.mono), Some(SECOND), "whoever drives it knows when");
        // Nobody asks; it is tried all the same, once a second.
        store.fail_next(Fault::NotDone);
        store.fail_next(Fault::NotDone);
        for _ in 0..2 {
            desk.pass(SECOND / 2);
            let before = desk.kdc.stats().commits;
            desk.pass(SECOND / 2);
            assert_eq!(desk.kdc.stats().commits, before + 1);
            assert!(!desk.kdc.is_ready());
        }
        desk.pass(SECOND);
        assert!(desk.kdc.is_ready());
        let before = desk.kdc.stats().commits;
        desk.pass(10 * SECOND);
        assert_eq!(desk.kdc.stats().commits, before, "nothing is tried that works");
    }
    assert_eq!(desk.ask(&caller, join()).status, Status::Created);
    // A commit that happens says as much as a try.
    store.fail_next(Fault::NotDone);
    desk.ask(&caller, join());
    assert!(!desk.kdc.is_ready());
    assert_eq!(desk.ask(&caller, join()).status, Status::Changed);
    assert!(desk.kdc.is_ready());
    let before = desk.kdc.stats().commits;
    desk.pass(10 * SECOND);
    assert_eq!(desk.kdc.stats().commits, before);
}

#[test]
fn what_cannot_be_read_is_no_better() {
    let store = TestStore::new(Sharing::Shared);
    let mut desk = on(&store);
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let (caller, _) = desk.post_token(&token(1, &client.claims(&[("g1", 1)], 2_000_000))).unwrap();
    store.set_unreadable(true);
    let refused = desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    assert_eq!((refused.status, refused.max_age), (Status::ServiceUnavailable, Some(5)));
    assert!(!desk.kdc.is_ready());
    store.set_unreadable(false);
    desk.pass(SECOND);
    assert!(desk.kdc.is_ready());
    assert_eq!(desk.ask(&caller, group_request(Method::Get, "g1", &["num"])).status, Status::Forbidden);
}
