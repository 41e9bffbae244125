//! Two engines over one store, of which one is always too late: it claims the lane's turn, and the other lets it go
//! first, for a while.

mod process;

use ace_groupcomm::Status;
use ace_groupcomm::engine::{Limits, Machine};
use ace_groupcomm::testkit::TestStore;
use ace_groupcomm::traits::storage::Sharing;
use process::Process;
use std::time::Duration;

#[test]
fn who_loses_again_and_again_claims_the_turn() {
    let store = TestStore::new(Sharing::Shared);
    let (mut slow, mut fast) = (Process::new(&store, 1), Process::new(&store, 2));
    let unlucky = slow.client(1);
    slow.join(&unlucky);
    let lucky: Vec<_> = (2..=5).map(|number| fast.client(number)).collect();
    for client in &lucky[..3] {
        assert_eq!(slow.held.len(), 1);
        fast.join(client);
        fast.commit_all();
        assert_eq!(fast.answers.pop().unwrap().status, Status::Created);
        assert_eq!(slow.commit(), [false], "somebody else was faster");
    }
    // The claim expects nothing that the others change.
    fast.join(&lucky[3]);
    assert_eq!(slow.commit(), [true]);
    assert_eq!(fast.commit(), [false]);
    assert!(fast.held.is_empty() && fast.answers.is_empty(), "it has seen the claim, and holds back");
    assert_eq!(slow.commit(), [true]);
    assert_eq!(slow.answers.pop().unwrap().status, Status::Created);
    // It looks every now and then whether the claim is gone.
    assert!(fast.kdc.next_timeout(fast.now).is_some_and(|at| at <= fast.now.mono + Duration::from_millis(10)));
    fast.pass(Duration::from_millis(10));
    fast.commit_all();
    assert_eq!(fast.answers.pop().unwrap().status, Status::Created);
    assert!(store.dump().iter().all(|(key, _)| !key.as_bytes().starts_with(b"turn/")), "the claim is gone");
}

#[test]
fn who_never_wins_is_told_so() {
    let store = TestStore::new(Sharing::Shared);
    let limits = Limits { conflicts: 2, ..Limits::default() };
    let (mut slow, mut fast) = (Process::with(&store, 1, limits), Process::new(&store, 2));
    let unlucky = slow.client(1);
    let lucky: Vec<_> = (2..=4).map(|number| fast.client(number)).collect();
    slow.join(&unlucky);
    for client in &lucky {
        assert!(slow.answers.is_empty());
        fast.join(client);
        fast.commit_all();
        assert_eq!(slow.commit(), [false]);
    }
    let answer = slow.answers.pop().unwrap();
    assert_eq!((answer.status, answer.max_age), (Status::ServiceUnavailable, Some(1)));
    assert_eq!((slow.kdc.stats().conflicts, slow.kdc.lanes(), slow.kdc.waiting()), (3, 0, 0));
}

#[test]
fn who_claims_and_dies_holds_others_back_for_a_moment() {
    let store = TestStore::new(Sharing::Shared);
    let (mut slow, mut fast) = (Process::new(&store, 1), Process::new(&store, 2));
    let unlucky = slow.client(1);
    slow.join(&unlucky);
    let lucky: Vec<_> = (2..=5).map(|number| fast.client(number)).collect();
    for client in &lucky[..3] {
        fast.join(client);
        fast.commit_all();
        slow.commit();
    }
    assert_eq!(slow.commit(), [true]);
    drop(slow);
    fast.answers.clear();
    fast.join(&lucky[3]);
    fast.commit();
    for _ in 0..24 {
        fast.pass(Duration::from_millis(10));
        assert!(fast.held.is_empty() && fast.answers.is_empty());
    }
    fast.pass(Duration::from_millis(10));
    fast.commit_all();
    assert_eq!(fast.answers.pop().unwrap().status, Status::Created);
    assert!(store.dump().iter().all(|(key, _)| !key.as_bytes().starts_with(b"turn/")));
}
