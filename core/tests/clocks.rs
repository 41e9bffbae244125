//! What has expired stays so, whatever the clock does; and what ends is ended once, in pages.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::UnixTime;
use ace_groupcomm::engine::Machine;
use ace_groupcomm::kdc::KdcConfig;
use ace_groupcomm::keys;
use ace_groupcomm::records::{Head, Meta, Principal, RekeyReason};
use ace_groupcomm::testkit::build::{
    TestClient, group_request, join_post, token, token_post, token_post_with, update_post,
};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Method, Now, RecordType, Status};
use std::time::Duration;

const HOUR: u64 = 3_600;
const LATER: u64 = 2_000_000;

fn client(number: u16) -> TestClient {
    TestClient::new(&AwsLc, number).unwrap()
}

fn desk_over(store: &TestStore) -> Desk {
    let config = desk::config(&["g1"]);
    Desk::new(&AwsLc, store.clone(), config).unwrap()
}

fn member(desk: &mut Desk, number: u16, expires: u64) -> Caller {
    let client = client(number);
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", 1)], expires))).unwrap();
    let joined = desk.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[7; 8])));
    assert_eq!(joined.status, Status::Created);
    caller
}

fn num(desk: &mut Desk, caller: &Caller) -> Status {
    desk.ask(caller, group_request(Method::Get, "g1", &["num"])).status
}

fn records<T: RecordType>(store: &TestStore, is: impl Fn(&[u8]) -> bool) -> Vec<T> {
    let all = store.dump().into_iter().filter(|(key, _)| is(key.as_bytes()));
    all.map(|(_, record)| T::decode(&record.value).unwrap()).collect()
}

fn head(store: &TestStore) -> Head {
    records::<Head>(store, |key| key.ends_with(b"/head")).pop().unwrap()
}

fn set_clock(desk: &mut Desk, unix: u64) {
    desk.now = Now::new(unix, desk.now.mono + Duration::from_secs(1));
    desk.due();
}

// Covers: TH-2-07/expired-stays
#[test]
fn a_clock_that_goes_back_makes_nothing_valid_again() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_over(&store);
    let bytes = token(1, &client(1).claims(&[("g1", 1)], 1_000_100));
    let caller = member(&mut desk, 1, 1_000_100);
    desk.pass(Duration::from_secs(100));
    assert_eq!(head(&store).rekey_due.map(|due| due.reasons), Some([RekeyReason::Expired].into()));
    set_clock(&mut desk, 1_000_100 - HOUR);
    assert_eq!(num(&mut desk, &caller), Status::Unauthorized);
    assert_eq!(desk.post_token(&bytes), None, "the token has expired for good");
    // Neither does a restart with a clock that is wrong.
    let mut again = desk_over(&store);
    set_clock(&mut again, 1_000_100 - HOUR);
    assert_eq!(again.post_token(&bytes), None);
    assert!(again.post_token(&token(1, &client(1).claims(&[("g1", 1)], 1_000_101))).is_some());
    // Nor an update of rights, nor an association that was made before.
    let mut lagging = desk_over(&store);
    let update = token(1, &client(2).update(&[("g1", 1)], 1_000_100));
    let owner = member(&mut lagging, 2, LATER);
    assert_eq!(lagging.ask(&owner, update_post(&update)).status, Status::Unauthorized);
}

// Covers: TH-2-07/clock-jump
#[test]
fn a_clock_that_runs_away_ends_nobody_and_who_asks_meanwhile_is_told_to_wait() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_over(&store);
    let caller = member(&mut desk, 1, LATER);
    let right = desk.now.unix.seconds();
    set_clock(&mut desk, right + 10 * 365 * 24 * HOUR);
    // By that clock all tokens have expired. A 4.01, which anybody could send, would have every client give up its own.
    let get = desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    assert_eq!((get.status, get.max_age, get.unprotected), (Status::ServiceUnavailable, Some(60), false));
    let bytes = token(1, &client(2).claims(&[("g1", 1)], LATER));
    let post = desk.ask(&Caller::anonymous(), token_post(&bytes));
    assert_eq!((post.status, post.max_age), (Status::ServiceUnavailable, Some(60)));
    let update = token(1, &client(1).update(&[("g1", 1)], LATER));
    assert_eq!(desk.ask(&caller, update_post(&update)).status, Status::ServiceUnavailable);
    assert_eq!((head(&store).members, head(&store).rekey_due), (1, None), "but it is not put out for it");
    assert!(desk.kdc.next_timeout(desk.now).is_none_or(|at| at > desk.now.mono), "and nothing is due");
    set_clock(&mut desk, right + 5);
    assert_eq!(num(&mut desk, &caller), Status::Content, "when the clock is right again all is well");
    // What a day may bring is believed.
    set_clock(&mut desk, LATER.min(right + 24 * HOUR));
    assert_eq!(num(&mut desk, &caller), Status::Content);
}

// Covers: TH-2-07/two-clocks
#[test]
fn of_two_kdcs_the_one_whose_clock_is_ahead_decides() {
    let store = TestStore::new(Sharing::Shared);
    let (mut ahead, mut behind) = (desk_over(&store), desk_over(&store));
    let caller = member(&mut behind, 1, 1_000_100);
    let bytes = token(1, &client(1).claims(&[("g1", 1)], 1_000_100));
    ahead.pass(Duration::from_secs(100));
    assert_eq!(head(&store).members, 0, "it has found the other's member by itself");
    behind.pass(Duration::from_secs(40));
    assert_eq!(num(&mut behind, &caller), Status::Unauthorized);
    assert_eq!(behind.post_token(&bytes), None, "a minute early, and for both alike");
    assert_eq!(records::<Meta>(&store, |key| key == b"meta").pop().unwrap().latest, UnixTime::new(1_000_100));
}

#[test]
fn an_association_is_not_given_up_while_the_clock_has_run_away() {
    let mut desk = desk_over(&TestStore::new(Sharing::Exclusive));
    let (caller, _) = desk.post_token(&token(1, &client(1).claims(&[("g1", 1)], LATER))).unwrap();
    let right = desk.now.unix.seconds();
    set_clock(&mut desk, right + 10 * 365 * 24 * HOUR);
    assert_eq!(num(&mut desk, &caller), Status::ServiceUnavailable, "its first request");
    set_clock(&mut desk, right + 5);
    assert_eq!(num(&mut desk, &caller), Status::Forbidden, "it is proven now, and no member");
}

// Covers: TH-2-07/expired-meanwhile
#[test]
fn an_association_is_not_proven_with_a_token_that_expired_meanwhile() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_over(&store);
    let (caller, _) = desk.post_token(&token(1, &client(1).claims(&[("g1", 1)], 1_000_010))).unwrap();
    desk.now = desk.now.plus(Duration::from_secs(10));
    assert_eq!(num(&mut desk, &caller), Status::Unauthorized);
    assert!(records::<Principal>(&store, |key| key.starts_with(b"p/")).is_empty());
}

#[test]
fn many_that_expire_at_once_go_page_by_page() {
    let store = TestStore::new(Sharing::Exclusive);
    let config = KdcConfig { expiry_notice: Duration::ZERO, ..desk::config(&["g1"]) };
    let mut desk = Desk::new(&AwsLc, store.clone(), config).unwrap();
    for number in 1..=150 {
        member(&mut desk, number, 1_000_100);
    }
    member(&mut desk, 200, 1_000_200);
    let commits = desk.kdc.stats().commits;
    desk.store.fail_next(Fault::NotDone);
    desk.pass(Duration::from_secs(100));
    assert_eq!(head(&store).members, 151, "storage was away");
    desk.pass(Duration::from_secs(1));
    assert_eq!(
        (head(&store).members, desk.kdc.stats().commits - commits),
        (1, 8),
        "64 a commit, of tokens and of the group's members, the one that failed, and the one that tried storage"
    );
    desk.pass(Duration::from_secs(9));
    assert_eq!((head(&store).num, head(&store).rekey_due), (1, None), "one rekeying for all of them");
    assert_eq!(desk.kdc.next_timeout(desk.now), Some(desk.now.mono + Duration::from_secs(90)));
    desk.pass(Duration::from_secs(90));
    assert_eq!(head(&store).members, 0);
    assert!(store.dump().iter().all(|(key, _)| !key.as_bytes().starts_with(b"x/")));
}

#[test]
fn who_starts_anew_ends_what_has_expired() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_over(&store);
    for number in 1..=70 {
        member(&mut desk, number, 1_000_100);
    }
    // A longer token that was posted since has an entry of its own, and the old one is no more.
    let longer = token(1, &client(1).claims(&[("g1", 1)], LATER));
    let (renewed, _) = desk.post_token(&longer).unwrap();
    assert_eq!(num(&mut desk, &renewed), Status::Content);
    drop(desk);
    let config = desk::config(&["g1"]);
    let mut late = Desk::at(&AwsLc, store.clone(), config, Now::new(1_000_100, Duration::ZERO)).unwrap();
    assert_eq!(head(&store).members, 1);
    assert_eq!(num(&mut late, &renewed), Status::Content);
    let bytes = token_post_with(&longer, &[9; 8]);
    assert_eq!(late.ask(&Caller::anonymous(), bytes).status, Status::Created);
}

// Covers: TH-2-07/highest-time
#[test]
fn the_highest_plausible_time_is_durable_though_nothing_ends() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_over(&store);
    let latest = || store.record::<Meta>(&keys::meta()).unwrap().latest;
    let start = desk.now.unix;
    for hours in 1..=3 {
        desk.pass(Duration::from_secs(HOUR));
        assert!(latest() >= start.plus(Duration::from_secs((hours - 1) * HOUR)), "{hours}");
    }
    // One that is not plausible is not.
    let right = desk.now.unix.seconds();
    let noted = latest();
    set_clock(&mut desk, right + 10 * 365 * 24 * HOUR);
    desk.pass(Duration::from_secs(2 * HOUR));
    assert_eq!(latest(), noted);
    // The next process knows it, whatever its clock says.
    let early = Now::new(start.seconds(), Duration::from_secs(1));
    let mut desk = Desk::at(&AwsLc, store.clone(), desk::config(&["g1"]), early).unwrap();
    let until = |seconds: u64| token(1, &client(1).claims(&[("g1", 1)], seconds));
    assert!(desk.post_token(&until(noted.seconds() - 10)).is_none(), "it has expired, and that is known");
    assert!(desk.post_token(&until(noted.seconds() + 10)).is_some());
}
