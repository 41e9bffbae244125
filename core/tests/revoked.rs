//! What is kept of a token that was revoked: until it ends by itself, and for ever where nobody knows when.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::TokenHash;
use ace_groupcomm::UnixTime;
use ace_groupcomm::check::Check;
use ace_groupcomm::keys;
use ace_groupcomm::records::{Mark, Revoked};
use ace_groupcomm::testkit::build::{TestClient, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm_messages::Claims;
use std::time::Duration;

const END: u64 = 1_000_100;

fn desk_over(store: &TestStore) -> Desk {
    Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap()
}

/// The token of a member, and its hash.
fn member(desk: &mut Desk, number: u16, change: impl Fn(Claims) -> Claims) -> (Vec<u8>, TokenHash) {
    let client = TestClient::new(&AwsLc, number).unwrap();
    let bytes = token(1, &change(client.claims(&[("g1", 1)], END)));
    let (caller, challenge) = desk.post_token(&bytes).unwrap();
    assert!(desk.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[7; 8]))).status.is_success());
    let hash = TokenHash::of(&bytes);
    (bytes, hash)
}

fn is_clean(store: &TestStore) -> bool {
    let mut check = Check::default();
    store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    check.finish().is_clean()
}

#[test]
fn a_mark_goes_when_its_token_has_ended_by_itself() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_over(&store);
    let (bytes, hash) = member(&mut desk, 1, |claims| claims);
    let mark = |hash: &TokenHash| store.record::<Revoked>(&keys::revoked(hash));
    desk.revoke(&hash);
    assert_eq!((mark(&hash), is_clean(&store)), (Some(Revoked { until: Some(UnixTime::new(END)) }), true));
    desk.revoke(&hash);
    assert_eq!(mark(&hash), Some(Revoked { until: Some(UnixTime::new(END)) }), "what is known of it stays");
    assert_eq!(desk.post_token(&bytes), None);
    desk.pass(Duration::from_secs(END - 1_000_000 - 1));
    assert!(mark(&hash).is_some());
    desk.pass(Duration::from_secs(1));
    assert_eq!((mark(&hash), is_clean(&store)), (None, true));
    assert!(store.dump().iter().all(|(key, _)| !key.as_bytes().starts_with(b"rx/")));
    // By a clock that was set back, or after a restart with one, the token is not good again.
    let mut again = desk_over(&store);
    assert_eq!((again.now.unix.seconds(), again.post_token(&bytes)), (1_000_000, None));
}

#[test]
fn a_mark_stays_where_nobody_knows_when_its_token_ends() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_over(&store);
    // The time of one begins when it comes; another one nobody has seen; one was written by the first release.
    let (_, counted) =
        member(&mut desk, 1, |claims| Claims { exi: Some(50), cti: Some(b"kdc\x05".to_vec()), ..claims });
    store.plant(&keys::revoked(&b"old".into()), &Mark);
    let mut desk = desk_over(&store);
    desk.revoke(&counted);
    desk.revoke(&b"unseen".into());
    desk.pass(Duration::from_secs(1_000));
    for hash in [counted, b"unseen".into(), b"old".into()] {
        assert_eq!(store.record::<Revoked>(&keys::revoked(&hash)), Some(Revoked { until: None }), "{hash:?}");
    }
    assert!(is_clean(&store));
}

#[test]
fn more_marks_than_a_page_go_one_page_after_the_other() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_over(&store);
    for number in 1..=150 {
        let (_, hash) = member(&mut desk, number, |claims| claims);
        desk.revoke(&hash);
    }
    let marks = || store.dump().iter().filter(|(key, _)| key.as_bytes().starts_with(b"rv/")).count();
    assert_eq!(marks(), 150);
    desk.pass(Duration::from_secs(END - 1_000_000));
    assert_eq!((marks(), is_clean(&store)), (0, true));
}
