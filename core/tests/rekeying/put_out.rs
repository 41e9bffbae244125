//! Memberships end with their tokens: at once for their clients, and in each group's own turn for the groups.

use super::*;
use crate::process::Process;
use ace_groupcomm::TokenHash;
use ace_groupcomm::command::{Command, PageAfter};
use ace_groupcomm::engine::Machine;
use std::time::Duration;

/// How many groups there are.
const GROUPS: usize = 500;

fn names() -> Vec<String> {
    (0..GROUPS).map(|number| format!("g{number}")).collect()
}

/// A client that is a member of all groups; with its token.
fn member_of_all(desk: &mut Desk, names: &[&str]) -> (Caller, Vec<u8>) {
    let client = client(1);
    let scope: Vec<(&str, u64)> = names.iter().map(|name| (*name, TALKER)).collect();
    let bytes = token(1, &client.claims(&scope, LATER));
    let (caller, challenge) = desk.post_token(&bytes).unwrap();
    for name in names {
        let answer = desk.ask(&caller, join_post(name, &client.join(name, TALKER, &challenge, &[7; 8])));
        assert_eq!(answer.status, Status::Created);
    }
    (caller, bytes)
}

fn left(store: &TestStore) -> usize {
    store.dump().iter().filter(|(key, _)| key.as_bytes().starts_with(keys::all_leaving().as_bytes())).count()
}

fn heads(store: &TestStore) -> impl Iterator<Item = Head> {
    store
        .dump()
        .into_iter()
        .filter(|(key, _)| key.as_bytes().ends_with(b"/head"))
        .map(|(_, record)| <Head as ace_groupcomm::RecordType>::decode(&record.value).unwrap())
}

#[test]
fn a_client_of_five_hundred_groups_is_out_of_all_while_others_join_them_at_two_kdcs() {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let store = TestStore::new(Sharing::Shared);
    let config = || KdcConfig { posts: posts(), ..desk::config(&names) };
    let mut first = Desk::new(&AwsLc, store.clone(), config()).unwrap();
    let mut second = Desk::at(&AwsLc, store.clone(), config(), first.now).unwrap();
    let (caller, bytes) = member_of_all(&mut first, &names);
    first.command(Command::Revoke(TokenHash::of(&bytes))).unwrap();
    assert_eq!((left(&store), heads(&store).filter(|head| head.rekey_due.is_some()).count()), (GROUPS, 0));
    let refused = first.ask(&caller, group_request(Method::Get, "g7", &["num"]));
    assert_eq!(refused.status, Status::Unauthorized, "from the commit on that ended its token");
    // Others come into its groups all the time, here and there.
    let mut joined = 0;
    for number in 2..30 {
        let desk = if number % 2 == 0 { &mut first } else { &mut second };
        let (client, name) = (self::client(number), names[usize::from(number) % 4]);
        let bytes = token(1, &client.claims(&[(name, TALKER)], LATER));
        let (caller, challenge) = desk.post_token(&bytes).unwrap();
        let answer = desk.ask(&caller, join_post(name, &client.join(name, TALKER, &challenge, &[7; 8])));
        joined += u32::from(answer.status == Status::Created);
        first.pass(Duration::from_millis(10));
        second.pass(Duration::from_millis(10));
    }
    assert_eq!(joined, 28);
    assert_eq!(left(&store), 0, "within a bound that has nothing to do with the joins");
    assert_eq!(heads(&store).map(|head| head.members).sum::<u64>(), 28);
    assert!(heads(&store).all(|head| head.rekey_due.is_some() || head.num > 0), "each is rekeyed");
    assert_clean(&first);
}

fn posts() -> ace_groupcomm::kdc::PostLimits {
    ace_groupcomm::kdc::PostLimits { unproven: u32::MAX, ..Default::default() }
}

// Covers: TH-4-02/due-in-commit
#[test]
fn the_end_of_a_token_commits_while_joins_change_the_head_of_its_group() {
    let store = TestStore::new(Sharing::Shared);
    let (mut slow, mut fast) = (Process::new(&store, 1), Process::new(&store, 2));
    let (one, others) = (slow.client(1), [2, 3, 4].map(|number| fast.client(number)));
    slow.join(&one);
    slow.commit_all();
    let mut out = Vec::new();
    let hash = TokenHash::of(&token(1, &one.0.claims(&[("g1", 1)], 2_000_000)));
    slow.kdc.command(slow.now, Command::Revoke(hash), &mut slow.rng, &mut out);
    slow.run(out);
    assert_eq!(slow.held.len(), 1);
    fast.join(&others[0]);
    fast.commit_all();
    assert_eq!(slow.commit(), [true], "they have no record in common");
    // The group's own turn may lose, and comes again.
    slow.pass(Duration::ZERO);
    fast.join(&others[1]);
    fast.commit_all();
    assert_eq!(slow.commit(), [false]);
    slow.commit_all();
    assert_eq!((left(&store), heads(&store).map(|head| head.members).sum::<u64>()), (0, 2));
    assert!(heads(&store).all(|head| head.rekey_due.is_some()), "in the commit that has put it out");
}

#[test]
fn what_a_crash_has_left_is_put_out_at_the_next_start() {
    let mut desk = desk_with(&[]);
    let (one, two) = (join(&mut desk, 1), join(&mut desk, 2));
    desk.command(Command::Revoke(TokenHash::of(&token_of(1)))).unwrap();
    assert_eq!((left(&desk.store), head(&desk).members), (1, 2));
    let config = config(&[]);
    let mut desk = Desk::at(&AwsLc, desk.store.clone(), config, desk.now).unwrap();
    desk.due();
    assert_eq!((left(&desk.store), head(&desk).members), (0, 1));
    desk.pass(Duration::from_secs(DELAY));
    assert_eq!(two.keys(&mut desk).0, one.num + 1);
    assert_clean(&desk);
}

#[test]
fn what_a_crash_has_left_in_more_groups_than_a_page_is_put_out_of_all() {
    let names: Vec<String> = names().into_iter().take(150).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let config = || KdcConfig { posts: posts(), ..desk::config(&names) };
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config()).unwrap();
    let (_, bytes) = member_of_all(&mut desk, &names);
    desk.command(Command::Revoke(TokenHash::of(&bytes))).unwrap();
    let (store, now) = (desk.store.clone(), desk.now);
    drop(desk);
    assert_eq!(left(&store), 150);
    let mut desk = Desk::at(&AwsLc, store.clone(), config(), now).unwrap();
    desk.due();
    assert_eq!((left(&store), heads(&store).map(|head| head.members).sum::<u64>()), (0, 0));
    assert_clean(&desk);
}

#[test]
fn what_a_process_has_left_is_put_out_by_another_one() {
    let store = TestStore::new(Sharing::Shared);
    let mut first = Desk::new(&AwsLc, store.clone(), config(&[])).unwrap();
    let mut second = Desk::at(&AwsLc, store.clone(), config(&[]), first.now).unwrap();
    join(&mut first, 1);
    join(&mut first, 2);
    first.command(Command::Revoke(TokenHash::of(&token_of(1)))).unwrap();
    drop(first);
    second.pass(Duration::from_secs(20));
    assert_eq!((left(&store), head(&second).members), (0, 1));
}

#[test]
fn who_comes_with_another_token_before_it_is_put_out_is_no_member_and_waits_to_be_one() {
    let mut desk = desk_with(&[]);
    let (one, _two) = (join(&mut desk, 1), join(&mut desk, 2));
    desk.command(Command::Revoke(TokenHash::of(&token_of(1)))).unwrap();
    let bytes = token(1, &one.client.claims(&[("g1", TALKER | LISTENER)], LATER + 1));
    let (caller, challenge) = desk.post_token(&bytes).unwrap();
    assert_eq!(left(&desk.store), 1);
    let members = desk.command(Command::Members("g1".into(), PageAfter { after: None, limit: 10 }));
    assert!(format!("{members:?}").contains("client2") && !format!("{members:?}").contains("client1"), "{members:?}");
    let asked = desk.ask(&caller, group_request(Method::Get, "g1", &[]));
    assert_eq!((asked.status, error_id(&asked)), (Status::Forbidden, Some(0)));
    // Nor is it one for what the profile adds.
    let asked = desk.ask(&caller, group_request(Method::Get, "g1", &["active"]));
    assert_eq!((asked.status, error_id(&asked)), (Status::Forbidden, Some(0)));
    let join = join_post("g1", &one.client.join("g1", TALKER, &challenge, &[7; 8]));
    let waits = desk.ask(&caller, join.clone());
    assert_eq!((waits.status, waits.max_age), (Status::ServiceUnavailable, Some(1)));
    desk.due();
    assert_eq!(desk.ask(&caller, join).status, Status::Created, "as a new member");
    assert_eq!((left(&desk.store), head(&desk).members), (0, 2));
    assert_clean(&desk);
}
