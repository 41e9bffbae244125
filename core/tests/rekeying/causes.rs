//! What makes a rekeying necessary, and when it comes.

use super::*;
use ace_groupcomm::NodeName;
use ace_groupcomm::command::{Command, CommandError, Report};
use ace_groupcomm::engine::Machine;
use ace_groupcomm::records::{GroupSecret, RekeyReason};
use ace_groupcomm::testkit::store::Fault;
use std::time::Duration;

fn evict(member: &Joined) -> Command {
    Command::Evict { group: "g1".into(), node: NodeName::new(&member.node) }
}

// Covers: TH-4-01/eviction-rekeys, TH-4-01/batch-delay
#[test]
fn several_causes_within_the_delay_cost_one_rekeying_and_none_waits_longer() {
    let mut desk = desk_with(&[]);
    let members: Vec<Joined> = (1..=6).map(|number| join(&mut desk, number)).collect();
    members[0].leave(&mut desk);
    for member in &members[1..4] {
        desk.pass(Duration::from_secs(1));
        desk.command(evict(member)).unwrap();
    }
    let due = head(&desk).rekey_due.unwrap();
    assert_eq!(due.reasons, [RekeyReason::Evicted, RekeyReason::Left].into());
    desk.pass(Duration::from_secs(1));
    assert_eq!(head(&desk).num, 0);
    desk.pass(Duration::from_secs(1));
    assert_eq!((head(&desk).num, head(&desk).rekey_due), (1, None), "five seconds after the first of them");
    desk.pass(Duration::from_secs(100));
    assert_eq!(head(&desk).num, 1, "and no second one");
    assert_eq!(members[5].keys(&mut desk).0, 1);
    let mut stale = members[5].notified(&mut desk).stale_node_ids.unwrap();
    stale.sort();
    let gone: Vec<Vec<u8>> = members[..4].iter().map(|member| member.sender_id.clone()).collect();
    assert_eq!(stale, gone);
    assert_clean(&desk);
}

#[test]
fn what_is_due_is_done_where_storage_was_away_and_after_a_restart() {
    let mut desk = desk_with(&[]);
    let (one, two) = (join(&mut desk, 1), join(&mut desk, 2));
    one.leave(&mut desk);
    desk.store.fail_next(Fault::NotDone);
    desk.pass(Duration::from_secs(DELAY));
    assert_eq!(head(&desk).num, 0, "storage was away");
    desk.pass(Duration::from_secs(2));
    assert_eq!(head(&desk).num, 1);
    two.leave(&mut desk);
    let three = join(&mut desk, 3);
    assert_eq!(three.num, 2, "the group was empty");
    join(&mut desk, 4).leave(&mut desk);
    // A process that begins does at once what was due, however short that has been.
    let mut desk = Desk::at(&AwsLc, desk.store.clone(), config(&[]), desk.now).unwrap();
    desk.due();
    assert_eq!((head(&desk).num, head(&desk).rekey_due), (3, None));
}

// Covers: KG-6-02, TH-4-02/commit-first
#[test]
fn a_version_is_durable_with_its_secret_before_anybody_is_told_and_the_former_secret_is_gone() {
    for (fault, is_done) in [(Fault::NotDone, false), (Fault::UnknownLost, false), (Fault::UnknownDone, true)] {
        let mut desk = desk_with(&[]);
        let (one, _two) = (join(&mut desk, 1), join(&mut desk, 2));
        one.leave(&mut desk);
        let before = head(&desk).num;
        desk.notices.clear();
        desk.store.fail_next(fault);
        desk.pass(Duration::from_secs(DELAY));
        assert!(desk.notices.is_empty(), "{fault:?}: nobody is told of what may not have happened");
        assert_eq!(head(&desk).num > before, is_done, "{fault:?}");
        let secrets =
            desk.store.dump().into_iter().filter(|(key, _)| key.as_bytes().windows(8).any(|part| part == b"/secret/"));
        assert_eq!(secrets.count(), 1, "{fault:?}");
        assert_clean(&desk);
        desk.pass(Duration::from_secs(2));
        assert_eq!((head(&desk).num, head(&desk).rekey_due), (1, None), "{fault:?}: it is done once");
    }
}

#[test]
fn an_operator_rekeys_a_group_now() {
    let mut desk = desk_with(&[]);
    let rekey = || Command::Rekey("g1".into());
    let Ok(Report::Rekeyed { num: 1, .. }) = desk.command(rekey()) else { panic!("also without members") };
    let one = join(&mut desk, 1);
    join(&mut desk, 2).leave(&mut desk);
    let report = desk.command(rekey()).unwrap();
    assert_eq!(report, Report::Rekeyed { num: 2, gid: head(&desk).gid.to_string() });
    assert_eq!((one.keys(&mut desk).0, head(&desk).rekey_due), (2, None), "with what was due");
    desk.pass(Duration::from_secs(100));
    assert_eq!(head(&desk).num, 2);
    assert_eq!(desk.command(Command::Rekey("g9".into())), Err(CommandError::NoGroup("g9".into())));
}

// Covers: GO-7-10
#[test]
fn a_group_may_be_rekeyed_at_regular_times() {
    let mut desk = desk_with(&[("rekey_interval", ConfigValue::Int(3_600))]);
    let one = join(&mut desk, 1);
    desk.pass(Duration::from_secs(3_599));
    assert_eq!(one.keys(&mut desk).0, 0);
    desk.pass(Duration::from_secs(1));
    assert_eq!(one.keys(&mut desk).0, 1);
    // An hour begins with each version, whatever has brought it.
    desk.pass(Duration::from_secs(1_000));
    desk.command(Command::Rekey("g1".into())).unwrap();
    desk.pass(Duration::from_secs(3_599));
    assert_eq!(one.keys(&mut desk).0, 2);
    desk.pass(Duration::from_secs(1));
    assert_eq!(one.keys(&mut desk).0, 3);
    // While the group rests schedules wait, and nothing else does.
    desk.command(Command::Deactivate("g1".into())).unwrap();
    desk.pass(Duration::from_secs(10_000));
    assert_eq!(one.keys(&mut desk).0, 3);
    desk.command(Command::Activate("g1".into())).unwrap();
    desk.due();
    assert_eq!(one.keys(&mut desk).0, 4, "what has waited is done");
    desk.command(Command::Deactivate("g1".into())).unwrap();
    join_inactive_leave(&mut desk, &one);
}

#[test]
fn a_group_that_was_empty_when_it_was_time_is_rekeyed_with_its_members() {
    let mut desk = desk_with(&[("rekey_interval", ConfigValue::Int(3_600))]);
    desk.pass(Duration::from_secs(3_000));
    desk.pass(Duration::from_secs(3_000));
    assert_eq!(head(&desk).num, 0, "nobody is there");
    let one = join(&mut desk, 1);
    desk.pass(Duration::from_secs(1));
    assert_eq!(one.keys(&mut desk).0, 1, "its time is over");
    desk.pass(Duration::from_secs(3_600));
    assert_eq!(one.keys(&mut desk).0, 2);
    assert_clean(&desk);
}

fn join_inactive_leave(desk: &mut Desk, one: &Joined) {
    desk.command(Command::Activate("g1".into())).unwrap();
    let two = join(desk, 2);
    desk.command(Command::Deactivate("g1".into())).unwrap();
    two.leave(desk);
    desk.pass(Duration::from_secs(DELAY));
    assert_eq!(one.keys(desk).0, 5, "who has left is locked out of a group that rests, too");
}

// Covers: TH-4-03/restart-policy, TH-4-03/coalesced
#[test]
fn a_start_is_a_cause_where_the_policy_says_so_and_not_each_of_many() {
    for (policy, versions) in [(false, 0), (true, 1)] {
        let parameters = [("rekey_on_restart", ConfigValue::Bool(policy))];
        let mut desk = desk_with(&parameters);
        join(&mut desk, 1);
        let mut now = desk.now.plus(Duration::from_secs(10_000));
        for _ in 0..200 {
            let mut next = Desk::at(&AwsLc, desk.store.clone(), config(&parameters), now).unwrap();
            next.pass(Duration::from_secs(1));
            now = next.now;
        }
        assert_eq!(head(&desk).num, 0, "each was over before the delay was");
        for _ in 0..200 {
            let mut next = Desk::at(&AwsLc, desk.store.clone(), config(&parameters), now).unwrap();
            next.pass(Duration::from_secs(1));
            next.pass(Duration::from_secs(1));
            next.pass(Duration::from_secs(DELAY));
            now = now.plus(Duration::from_secs(2));
        }
        assert_eq!(head(&desk).num, versions, "policy {policy}");
    }
}

// Covers: TH-3-04/held-identifiers, TH-3-04/given-identifiers, TH-3-04/cursor, TH-3-04/cursor-wrap
#[test]
fn identifiers_that_are_used_up_cause_one_rekeying_which_frees_those_that_were_given_up() {
    let mut config = config(&[("max_id", ConfigValue::Int(1)), ("rekey_delay", ConfigValue::Int(60))]);
    config.changes_per_hour = u32::MAX;
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config).unwrap();
    let stays: Vec<Joined> = (1..=200).map(|number| join(&mut desk, number)).collect();
    let mut given: Vec<Vec<u8>> = stays.iter().map(|member| member.sender_id.clone()).collect();
    // One member asks for others, again and again.
    let renewed = |desk: &mut Desk| {
        let answer = stays[0].renew(desk);
        (answer.status, answer.payload)
    };
    for _ in 0..39 {
        let (status, payload) = renewed(&mut desk);
        assert_eq!((status, payload[..payload.len() - 1].len()), (Status::Content, 7));
        given.push(vec![payload[payload.len() - 1]]);
    }
    assert_eq!(head(&desk).rekey_due, None, "239 of 256");
    given.push(vec![renewed(&mut desk).1[7]]);
    assert_eq!(head(&desk).rekey_due.unwrap().reasons, [RekeyReason::IdentifiersUsedUp].into());
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 240, "none was given twice");
    desk.pass(Duration::from_secs(60));
    let after = head(&desk);
    assert_eq!((after.num, after.held, after.taken, after.rekey_due), (1, 200, 200, None));
    // The cursor goes on, past the last, and over those that are held.
    let mut later: Vec<Vec<u8>> = (300..=340).map(|number| join(&mut desk, number).sender_id).collect();
    assert_eq!(later[0], [240], "behind the last one that was given");
    later.sort();
    later.dedup();
    assert_eq!(later.len(), 41);
    let held: Vec<&Vec<u8>> = stays[1..].iter().map(|member| &member.sender_id).collect();
    assert!(later.iter().all(|id| !held.contains(&id)), "who has one keeps it");
    assert_clean(&desk);
}

// Covers: KG-4.8.2-04, KG-4.8.2-05, KG-4.8.2-06, GO-9.2-11, GO-9.2-12, GO-9.2-13
// Covers: PS-4.1.3-06, PS-4.1.3-07, PS-4.1.3-08, PS-4.2.2-05, PS-4.2.2-06, PS-4.2.2-07
#[test]
fn where_a_rekeying_frees_no_identifier_none_is_done_for_it() {
    let mut desk = desk_with(&[("max_id", ConfigValue::Int(1))]);
    let one = join(&mut desk, 1);
    (2..=256).for_each(|number| drop(join(&mut desk, number)));
    let answer = one.renew(&mut desk);
    assert_eq!((answer.status, answer.content_format), (Status::ServiceUnavailable, Some(257)));
    assert_eq!(error_id(&answer), Some(4));
    assert_eq!(one.keys(&mut desk).0, 0, "it keeps what it has");
    let (client, caller, challenge) = admitted(&mut desk, 300);
    let answer = desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8])));
    assert_eq!((answer.status, answer.content_format), (Status::ServiceUnavailable, Some(257)));
    assert_eq!(error_id(&answer), Some(4));
    assert_eq!((head(&desk).held, head(&desk).rekey_due.clone()), (256, None));
    desk.pass(Duration::from_secs(600));
    assert_eq!(head(&desk).num, 0);
    // Who needs no identifier joins all the same.
    let listens = desk.ask(&caller, join_post("g1", &client.join("g1", LISTENER, &challenge, &[7; 8])));
    assert_eq!(listens.status, Status::Created);
}

#[test]
fn secrets_of_versions_have_nothing_in_common() {
    let mut desk = desk_with(&[]);
    join(&mut desk, 1);
    let mut seen = Vec::new();
    for _ in 0..20 {
        desk.command(Command::Rekey("g1".into())).unwrap();
        let (_, record) = desk
            .store
            .dump()
            .into_iter()
            .find(|(key, _)| key.as_bytes().windows(8).any(|part| part == b"/secret/"))
            .unwrap();
        let secret = <GroupSecret as ace_groupcomm::RecordType>::decode(&record.value).unwrap();
        assert!(!seen.contains(&secret.material));
        seen.push(secret.material);
    }
    assert!(desk.kdc.is_ready());
}
