//! Tokens whose time begins when the KDC first sees them.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::kdc::KdcConfig;
use ace_groupcomm::testkit::build::{TestClient, group_request, token, token_post_with, update_post};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Method, Now, Status};
use ace_groupcomm_messages::Claims;
use std::time::Duration;

const TALKER: u64 = 1;

fn config() -> KdcConfig {
    desk::config(&["g1", "other"])
}

fn new() -> Desk {
    Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config()).unwrap()
}

/// Another process on the same store, so many seconds after the first one began.
fn again(desk: &Desk, seconds: u64) -> Desk {
    Desk::at(&AwsLc, desk.store.clone(), config(), Now::new(1_000_000 + seconds, Duration::from_secs(1))).unwrap()
}

fn claims(number: u16, sequence: u8, exi: u64) -> Claims {
    let claims = TestClient::new(&AwsLc, number).unwrap().claims(&[("g1", TALKER)], 0);
    Claims { exp: None, exi: Some(exi), cti: Some([b"kdc".as_slice(), &[sequence]].concat()), ..claims }
}

/// Posts a token and uses it.
fn posts(desk: &mut Desk, token: &[u8]) -> Option<Caller> {
    let (caller, _) = desk.post_token(token)?;
    let known = desk.ask(&caller, group_request(Method::Get, "g1", &["num"])).status == Status::Forbidden;
    assert!(known, "known, and no member");
    Some(caller)
}

fn is_known(desk: &mut Desk, caller: &Caller) -> bool {
    desk.ask(caller, group_request(Method::Get, "g1", &["num"])).status == Status::Forbidden
}

// Covers: TH-2-08/receipt-time
#[test]
fn posting_it_again_or_to_another_process_gives_no_more_time() {
    let mut desk = new();
    let token = token(1, &claims(1, 5, 100));
    let caller = posts(&mut desk, &token).unwrap();
    desk.pass(Duration::from_secs(60));
    let second = posts(&mut desk, &token).unwrap();
    assert!(!is_known(&mut desk, &caller), "replaced");
    let mut other = again(&desk, 70);
    let third = posts(&mut other, &token).unwrap();
    assert!(!is_known(&mut other, &second));
    other.pass(Duration::from_secs(29));
    assert!(is_known(&mut other, &third));
    other.pass(Duration::from_secs(1));
    assert!(!is_known(&mut other, &third));
    let refused = other.ask(&Caller::anonymous(), token_post_with(&token, &[5; 8]));
    assert_eq!(refused.status, Status::Unauthorized);
    assert!(posts(&mut again(&other, 200), &token).is_none(), "nor by a restart");
}

// Covers: AF-5.10.1.1-17
#[test]
fn its_time_begins_with_the_first_post_even_if_that_is_never_used() {
    let mut desk = new();
    let token = token(1, &claims(1, 5, 100));
    desk.post_token(&token).unwrap();
    desk.pass(Duration::from_secs(99));
    let caller = posts(&mut desk, &token).unwrap();
    desk.pass(Duration::from_secs(1));
    assert!(!is_known(&mut desk, &caller));
}

// Covers: AF-5.10.3-04, TH-2-08/highest-number, TH-2-08/lower-numbers, TH-2-08/out-of-order
// Covers: AF-5.10.3-01
#[test]
fn lower_numbers_count_as_expired_once_one_has() {
    let mut desk = new();
    let early = posts(&mut desk, &token(1, &claims(1, 5, 100))).unwrap();
    assert!(posts(&mut desk, &token(1, &claims(2, 3, 1_000))).is_some(), "out of order, and valid");
    posts(&mut desk, &token(1, &claims(3, 2, 100))).unwrap();
    desk.pass(Duration::from_secs(100));
    assert!(!is_known(&mut desk, &early), "two expire in one sweep");
    let mut other = again(&desk, 101);
    for desk in [&mut desk, &mut other] {
        for sequence in [1, 4, 5] {
            assert!(posts(desk, &token(1, &claims(9, sequence, 50))).is_none(), "{sequence}");
        }
    }
    assert!(posts(&mut desk, &token(1, &claims(4, 6, 100))).is_some(), "a higher number");
    // Another issuer counts for itself, and a token with a time of its own does not count.
    let elsewhere = TestClient::new(&AwsLc, 5).unwrap().claims(&[("other", TALKER)], 0);
    let elsewhere = Claims { exp: None, exi: Some(100), cti: Some(b"kdc\x01".to_vec()), ..elsewhere };
    assert!(desk.post_token(&token(2, &elsewhere)).is_some());
    assert!(
        desk.post_token(&token(1, &TestClient::new(&AwsLc, 6).unwrap().claims(&[("g1", TALKER)], 2_000_000))).is_some()
    );
}

#[test]
fn nothing_is_counted_from_a_time_that_is_not_plausible() {
    let mut desk = new();
    let years = Duration::from_secs(10 * 365 * 86_400);
    let right = desk.now;
    desk.now = Now::new(right.unix.seconds() + years.as_secs(), right.mono + Duration::from_secs(1));
    let token = token(1, &claims(1, 5, 100));
    let refused = desk.ask(&Caller::anonymous(), token_post_with(&token, &[5; 8]));
    assert_eq!((refused.status, refused.max_age), (Status::ServiceUnavailable, Some(60)));
    desk.now = right.plus(Duration::from_secs(2));
    let caller = posts(&mut desk, &token).unwrap();
    desk.pass(Duration::from_secs(100));
    assert!(!is_known(&mut desk, &caller));
}

// Covers: TH-2-08/receipt-time
#[test]
fn a_token_that_gave_way_does_not_begin_anew() {
    let mut desk = new();
    let (first, second) = (token(1, &claims(1, 7, 100)), token(1, &claims(1, 8, 100)));
    posts(&mut desk, &first).unwrap();
    desk.pass(Duration::from_secs(50));
    let caller = posts(&mut desk, &second).unwrap();
    assert!(posts(&mut desk, &first).is_none());
    assert!(posts(&mut again(&desk, 60), &first).is_none());
    // The same for an update of rights.
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let kid = client.update(&[("g1", TALKER)], 0).cnf;
    let third = token(1, &Claims { cnf: kid, ..claims(1, 9, 100) });
    assert_eq!(desk.ask(&caller, update_post(&third)).status, Status::Created);
    assert!(posts(&mut desk, &second).is_none());
    desk.pass(Duration::from_secs(99));
    assert!(is_known(&mut desk, &caller));
    desk.pass(Duration::from_secs(1));
    assert!(!is_known(&mut desk, &caller));
}
