//! What happens between the moment at which a request is checked and the one at which its commit is made.

mod process;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::TokenHash;
use ace_groupcomm::UnixTime;
use ace_groupcomm::command::Command;
use ace_groupcomm::engine::Machine;
use ace_groupcomm::keys;
use ace_groupcomm::records::{Head, MemberRecord, NamedGroup, Revoked};
use ace_groupcomm::testkit::TestStore;
use ace_groupcomm::testkit::build::{TestClient, token, update_post};
use ace_groupcomm::traits::storage::{CommitOutcome, Sharing};
use ace_groupcomm::traits::transport::AssociationNeed;
use ace_groupcomm::{Caller, RecordType, Status};
use process::Process;
use std::time::Duration;

fn members(store: &TestStore) -> usize {
    let all = store.dump().into_iter().filter(|(key, _)| key.as_bytes().windows(3).any(|part| part == b"/m/"));
    all.filter(|(_, record)| MemberRecord::decode(&record.value).is_ok()).count()
}

// Covers: TH-2-07/revoked-meanwhile
#[test]
fn a_token_that_is_revoked_meanwhile_joins_nothing() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (Process::new(&store, 1), Process::new(&store, 2));
    let client = one.client(1);
    one.join(&client);
    assert_eq!(one.held.len(), 1, "checked, and not committed");
    let bytes = token(1, &client.0.claims(&[("g1", 1)], 2_000_000));
    let mut out = Vec::new();
    other.kdc.command(other.now, Command::Revoke(TokenHash::of(&bytes)), &mut other.rng, &mut out);
    other.run(out);
    assert_eq!(other.commit(), [true]);
    assert_eq!(one.commit(), [false]);
    one.commit_all();
    assert_eq!(one.answers.pop().unwrap().status, Status::Unauthorized);
    assert_eq!(members(&store), 0);
}

// Covers: TH-2-07/expired-meanwhile
#[test]
fn a_token_that_expires_meanwhile_joins_nothing() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (Process::new(&store, 1), Process::new(&store, 2));
    let client = one.client(1);
    one.join(&client);
    // The other one's clock runs on, and it ends what has expired.
    other.now = other.now.plus(Duration::from_secs(70));
    let mut end = other.now;
    while end.unix < UnixTime::new(2_000_000) {
        end = end.plus(Duration::from_secs(3_600));
        other.now = end;
        other.pass(Duration::ZERO);
        other.commit_all();
    }
    assert_eq!(one.commit(), [false]);
    one.commit_all();
    assert_eq!(one.answers.pop().unwrap().status, Status::Unauthorized);
    assert_eq!(members(&store), 0);
}

// Covers: TH-2-07/deactivated-meanwhile
#[test]
fn a_group_that_is_deactivated_meanwhile_takes_nobody() {
    let store = TestStore::new(Sharing::Shared);
    let mut one = Process::new(&store, 1);
    let client = one.client(1);
    one.join(&client);
    let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
    let head: Head = store.record(&keys::head(id)).unwrap();
    store.plant(&keys::head(id), &Head { active: false, ..head });
    assert_eq!(one.commit(), [false]);
    one.commit_all();
    assert_eq!(one.answers.pop().unwrap().status, Status::ServiceUnavailable);
    assert_eq!((members(&store), one.kdc.waiting()), (0, 0));
}

// Covers: TH-2-07/deleted-meanwhile
#[test]
fn a_group_that_is_deleted_meanwhile_takes_nobody() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (Process::new(&store, 1), Process::new(&store, 2));
    let client = one.client(1);
    one.join(&client);
    assert_eq!(one.held.len(), 1, "checked, and not committed");
    let delete = Command::Delete { group: "g1".into(), with_members: true };
    let mut out = Vec::new();
    other.kdc.command(other.now, delete, &mut other.rng, &mut out);
    other.run(out);
    assert_eq!(other.commit(), [true]);
    assert_eq!(one.commit(), [false]);
    one.commit_all();
    assert_eq!((one.answers.pop().unwrap().status, members(&store)), (Status::NotFound, 0));
}

// Covers: TH-1-02/owner-term
#[test]
fn a_change_that_is_under_way_when_the_association_goes_to_another_is_not_made() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (Process::new(&store, 1), Process::new(&store, 2));
    let client = one.client(1);
    one.join(&client);
    assert_eq!(one.held.len(), 1, "checked, and not committed");
    let Caller::Peer(id, _) = &client.1 else { panic!("a peer") };
    let mut out = Vec::new();
    other.kdc.need(other.now, AssociationNeed::Claim(id.clone()), &mut other.rng, &mut out);
    other.run(out);
    assert_eq!(other.commit(), [true]);
    assert_eq!(one.commit(), [false]);
    one.commit_all();
    assert_eq!(one.answers.pop().unwrap().status, Status::ServiceUnavailable);
    assert_eq!(members(&store), 0);
}

#[test]
fn what_came_before_an_association_came_back_is_not_acted_on() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (Process::new(&store, 1), Process::new(&store, 2));
    let client = one.client(1);
    let Caller::Peer(id, _) = &client.1 else { panic!("a peer") };
    let claim = |process: &mut Process| {
        let mut out = Vec::new();
        let need = AssociationNeed::Claim(id.clone());
        process.kdc.need(process.now, need, &mut process.rng, &mut out);
        process.run(out);
    };
    let second = one.client(2);
    claim(&mut other);
    other.commit_all();
    other.join(&client);
    other.commit_all();
    assert_eq!(other.answers.pop().unwrap().status, Status::Created);

    // The same join, replayed to the former owner, waits in the lane; meanwhile the client comes back.
    one.join(&second);
    one.join(&client);
    one.pass(Duration::from_millis(10));
    claim(&mut one);
    one.held.reverse();
    one.commit_all();
    let mut statuses: Vec<Status> = one.answers.drain(..).map(|answer| answer.status).collect();
    statuses.sort_by_key(|status| status.coap());
    assert_eq!(statuses, [Status::Created, Status::ServiceUnavailable]);
    // What comes from now on is acted on.
    one.join(&client);
    one.commit_all();
    assert_eq!(one.answers.pop().unwrap().status, Status::Changed);
}

/// How many commits it takes until something is so, while joins never end.
fn commits_until(
    sharing: Sharing,
    act: impl Fn(&mut Process, &(TestClient, Caller, Vec<u8>)),
    is_so: impl Fn(&TestStore) -> bool,
) -> u32 {
    let store = TestStore::new(sharing);
    let mut one = Process::new(&store, 1);
    let clients: Vec<_> = (1..=60).map(|number| one.client(number)).collect();
    one.join(&clients[0]);
    one.commit_all();
    let mut joining = clients[1..].iter();
    let mut next = |one: &mut Process| one.join(joining.next().expect("it waits for ever"));
    next(&mut one);
    next(&mut one);
    act(&mut one, &clients[0]);
    let mut commits = 0;
    while !is_so(&store) {
        next(&mut one);
        one.pass(Duration::ZERO);
        one.commit();
        commits += 1;
    }
    assert!(sharing == Sharing::Shared || one.kdc.stats().conflicts == 0, "nobody else can be faster");
    commits
}

#[test]
fn what_ends_a_membership_gets_its_turn_among_joins_that_never_end() {
    for sharing in [Sharing::Exclusive, Sharing::Shared] {
        let hash = |client: &TestClient| TokenHash::of(&token(1, &client.claims(&[("g1", 1)], 2_000_000)));
        let revoke = |one: &mut Process, (client, ..): &(TestClient, Caller, Vec<u8>)| {
            let mut out = Vec::new();
            one.kdc.command(one.now, Command::Revoke(hash(client)), &mut one.rng, &mut out);
            one.run(out);
        };
        let revoked = keys::revoked(&hash(&TestClient::new(&AwsLc, 1).unwrap()));
        let commits = commits_until(sharing, revoke, |store| store.record::<Revoked>(&revoked).is_some());
        assert!(commits <= 5, "a revocation: {commits} on {sharing:?}");
        let narrow = |one: &mut Process, (client, caller, _): &(TestClient, Caller, Vec<u8>)| {
            one.ask(caller, update_post(&token(1, &client.update(&[("g1", 2)], 2_000_001))));
        };
        let due = |store: &TestStore| {
            let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
            store.record::<Head>(&keys::head(id)).unwrap().rekey_due.is_some()
        };
        let commits = commits_until(sharing, narrow, due);
        assert!(commits <= 5, "an update: {commits} on {sharing:?}");
    }
}

// Covers: TH-5-02/never-answers
#[test]
fn who_waits_for_storage_that_never_answers_is_told_so_and_what_was_tried_counts_as_used() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut one = Process::new(&store, 1);
    let clients = [1, 2, 3].map(|number| one.client(number));
    one.join(&clients[0]);
    // Storage says nothing of it.
    let lost = std::mem::take(&mut one.held);
    assert_eq!(lost.len(), 1);
    one.join(&clients[1]);
    for _ in 0..40 {
        one.pass(Duration::from_secs(1));
    }
    let statuses: Vec<Status> = one.answers.drain(..).map(|answer| answer.status).collect();
    assert_eq!(statuses, [Status::ServiceUnavailable; 2]);
    // It had happened. Another process reads what there is before it gives identifiers.
    for (_, txn) in lost {
        assert!(matches!(store.commit_now(txn), CommitOutcome::Done(_)));
    }
    let mut other = Process::new(&store, 2);
    let third = other.client(4);
    other.join(&third);
    other.commit_all();
    assert_eq!(other.answers.pop().unwrap().status, Status::Created);
    let identifiers =
        store.dump().into_iter().filter(|(key, _)| key.as_bytes().windows(5).any(|part| part == b"/sid/"));
    assert_eq!((members(&store), identifiers.count()), (2, 2), "one for each");
}
