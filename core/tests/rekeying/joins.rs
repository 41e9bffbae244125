//! Backward security: who joins cannot read what was said before (Group OSCORE profile section 7).

use super::client as client_of;
use super::*;
use ace_groupcomm::engine::Ticket;
use ace_groupcomm::records::MemberRecord;
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm_messages::{CredsResponse, GetCreds, JoinRequest};
use std::collections::BTreeSet;
use std::time::Duration;

// Covers: KG-6-08, KG-6-09, TH-3-03/answer-waits
// Covers: KG-4.3.1-29, GO-6.4-07, GO-11.1-06
// Covers: TH-3-03/birth-gid
#[test]
fn a_new_member_gets_a_version_that_begins_with_it() {
    let mut desk = backward();
    let one = join(&mut desk, 1);
    assert_eq!(one.num, 1, "nobody had the one before, and it was there");
    let commits = desk.kdc.stats().commits;
    let (client, caller, challenge) = admitted(&mut desk, 2);
    desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    desk.notices.clear();
    let answer = desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8])));
    let (num, sender_id, key) = read_join(&answer);
    assert_eq!((num, desk.kdc.stats().commits - commits), (2, 2), "its association, and membership with version");
    assert!(desk.notices.contains(&changed(&["ace-group", "g1"])), "the others are told");
    assert_eq!(one.keys(&mut desk), (2, key.clone()));
    assert_ne!(key, one.key);
    let told = one.notified(&mut desk);
    let joined = told.joined.unwrap();
    assert_eq!((joined.len(), &joined[0].id), (1, &sender_id), "and of it, with its credential");
    assert_eq!(joined[0].cred, client.key.public());
    // The Gid of its answer is its Birth Gid.
    let NamedGroup { id, .. } = desk.store.record(&keys::name("g1")).unwrap();
    let birth = |number: u16| {
        let key = keys::member(id, keys::PrincipalId::of("as1", &client_of(number).name));
        desk.store.record::<MemberRecord>(&key).unwrap().birth_gid
    };
    assert!(birth(2) == head(&desk).gid && birth(1) != birth(2));
    let answered = ace_groupcomm_messages::JoinResponse::decode(&answer.payload).unwrap();
    let key = answered.material.key.to_byte_string().unwrap();
    assert!(key[17..].starts_with(birth(2).as_bytes()));
    assert_clean(&desk);
}

#[test]
fn without_backward_security_a_join_changes_no_key() {
    let mut desk = desk_with(&[]);
    let (one, two) = (join(&mut desk, 1), join(&mut desk, 2));
    assert_eq!((one.num, two.num, &one.key), (0, 0, &two.key));
    assert_eq!(one.notified(&mut desk).joined, None);
}

#[test]
fn members_that_join_in_one_commit_share_a_version() {
    let mut desk = backward();
    let members: Vec<_> = (1..=10).map(|number| admitted(&mut desk, number)).collect();
    members.iter().for_each(|(_, caller, _)| drop(desk.ask(caller, group_request(Method::Get, "g1", &["num"]))));
    let asked = members.iter().map(|(client, caller, challenge)| {
        (caller.clone(), join_post("g1", &client.join("g1", TALKER, challenge, &[7; 8])))
    });
    let answers = desk.ask_all(asked.collect());
    let joined: Vec<_> = answers.iter().map(read_join).collect();
    assert!(joined.iter().all(|(num, _, key)| *num == 1 && *key == joined[0].2));
    assert_eq!((head(&desk).num, head(&desk).members), (1, 10));
    let one = Joined {
        client: client(1),
        caller: members[0].1.clone(),
        challenge: vec![],
        node: answers[0].location_path[3].clone(),
        num: 1,
        sender_id: vec![],
        key: vec![],
    };
    assert_eq!(one.notified(&mut desk).joined.unwrap().len(), 10);
    assert_clean(&desk);
}

// Covers: GO-11.1-07
#[test]
fn of_too_many_new_members_the_others_are_told_nothing_and_never_a_part() {
    let mut desk = backward();
    let old = join(&mut desk, 99);
    let members: Vec<_> = (1..=40).map(|number| admitted(&mut desk, number)).collect();
    members.iter().for_each(|(_, caller, _)| drop(desk.ask(caller, group_request(Method::Get, "g1", &["num"]))));
    let asked = members.iter().map(|(client, caller, challenge)| {
        (caller.clone(), join_post("g1", &client.join("g1", TALKER, challenge, &[7; 8])))
    });
    assert!(desk.ask_all(asked.collect()).iter().all(|answer| answer.status == Status::Created));
    let told = old.notified(&mut desk);
    assert_eq!((told.material.num, told.joined), (2, None));
}

#[test]
fn who_joins_again_keeps_the_version() {
    let mut desk = backward();
    let (one, _two) = (join(&mut desk, 1), join(&mut desk, 2));
    let again = desk.ask(&one.caller, join_post("g1", &one.client.join("g1", TALKER, &one.challenge, &[8; 8])));
    assert_eq!((again.status, read_join(&again).0), (Status::Changed, 2));
}

#[test]
fn a_join_that_is_not_durable_begins_no_version() {
    let mut desk = backward();
    join(&mut desk, 1);
    let (client, caller, challenge) = admitted(&mut desk, 2);
    desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    let join = || join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8]));
    desk.store.fail_next(Fault::NotDone);
    desk.notices.clear();
    let refused = desk.ask(&caller, join());
    assert_eq!((refused.status, head(&desk).num, desk.notices.len()), (Status::ServiceUnavailable, 1, 0));
    // One whose outcome nobody knows has happened: who asks again joins again, and gets that version and no other.
    desk.store.fail_next(Fault::UnknownDone);
    assert_eq!(desk.ask(&caller, join()).status, Status::ServiceUnavailable);
    let again = desk.ask(&caller, join());
    assert_eq!((again.status, read_join(&again).0), (Status::Changed, 2));
}

#[test]
fn an_identifier_is_not_stale_and_new_in_one_message() {
    let mut desk = desk_with(&[
        ("backward_security", ConfigValue::Bool(true)),
        ("rekey_delay", ConfigValue::Int(600)),
        ("max_id", ConfigValue::Int(1)),
    ]);
    let members: Vec<Joined> = (1..=255).map(|number| join_in_time(&mut desk, number)).collect();
    // Two go; their identifiers are the only ones but one that nobody holds.
    members[0].leave(&mut desk);
    members[1].leave(&mut desk);
    let gone = [members[0].sender_id.clone(), members[1].sender_id.clone()];
    let newcomer = join_in_time(&mut desk, 300);
    assert!(!gone.contains(&newcomer.sender_id));
    let told = members[9].notified(&mut desk);
    let stale = told.stale_node_ids.unwrap();
    assert!(gone.iter().all(|id| stale.contains(id)) && !stale.contains(&newcomer.sender_id));
}

/// A KDC whose group is rekeyed for joins, each after the delay.
fn waiting(parameters: &[(&str, ConfigValue)]) -> Desk {
    desk_with(&[&[("backward_security", ConfigValue::Bool(true))], parameters].concat())
}

/// A client that asks to join, and waits.
fn asks(desk: &mut Desk, number: u16) -> (Caller, Ticket) {
    let (client, caller, challenge) = admitted(desk, number);
    desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    let ticket = desk.begin(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8])));
    (caller, ticket)
}

/// A member that has waited as long as that takes.
fn join_in_time(desk: &mut Desk, number: u16) -> Joined {
    let (caller, ticket) = asks(desk, number);
    desk.pass(Duration::from_secs(10));
    let answer = desk.answer_to(ticket).unwrap();
    let (num, sender_id, key) = read_join(&answer);
    let node = answer.location_path[3].clone();
    Joined { client: client(number), caller, challenge: vec![], node, num, sender_id, key }
}

fn pass(desk: &mut Desk, seconds: u64) {
    desk.pass(Duration::from_secs(seconds));
}

// Covers: KG-6-08, TH-3-03/new-key-alone
#[test]
fn those_that_come_within_the_delay_share_a_version_and_are_nobody_before() {
    let mut desk = waiting(&[]);
    let one = join(&mut desk, 1);
    let mut waiting = Vec::new();
    for number in [2, 3, 4] {
        waiting.push(asks(&mut desk, number));
        pass(&mut desk, 1);
    }
    assert_eq!((head(&desk).num, head(&desk).members), (1, 1));
    let creds = desk.ask(&one.caller, group_request(Method::Get, "g1", &["creds"]));
    assert_eq!(CredsResponse::decode(&creds.payload).unwrap().unwrap().peers.len(), 1);
    assert!(waiting.iter().all(|(_, ticket)| desk.answer_to(*ticket).is_none()));
    assert_eq!(desk.ask(&waiting[0].0, group_request(Method::Get, "g1", &[])).status, Status::Forbidden);
    pass(&mut desk, 1);
    assert!(desk.answer_to(waiting[0].1).is_none(), "four seconds after it came");
    pass(&mut desk, 1);
    let joined: Vec<_> = waiting.iter().map(|(_, ticket)| read_join(&desk.answer_to(*ticket).unwrap())).collect();
    assert!(joined.iter().all(|(num, _, key)| *num == 2 && *key == joined[0].2 && *key != one.key));
    assert_eq!((head(&desk).num, head(&desk).members), (2, 4));
    assert_eq!(one.notified(&mut desk).joined.unwrap().len(), 3);
    assert_clean(&desk);
}

#[test]
fn more_than_other_requests_share_a_commit_share_a_version() {
    let mut desk = waiting(&[]);
    join(&mut desk, 1);
    let tickets: Vec<Ticket> = (2..=151).map(|number| asks(&mut desk, number).1).collect();
    pass(&mut desk, DELAY);
    let nums: BTreeSet<i64> = tickets.iter().map(|ticket| read_join(&desk.answer_to(*ticket).unwrap()).0).collect();
    assert_eq!((nums, head(&desk).members), (BTreeSet::from([2]), 151));
    assert_clean(&desk);
}

#[test]
fn a_rekeying_that_comes_meanwhile_is_also_for_those_that_wait() {
    let mut desk = waiting(&[]);
    let (one, two) = (join(&mut desk, 1), join_in_time(&mut desk, 2));
    two.leave(&mut desk);
    pass(&mut desk, 3);
    let (_, ticket) = asks(&mut desk, 3);
    pass(&mut desk, 2);
    assert_eq!(read_join(&desk.answer_to(ticket).unwrap()).0, 3);
    let told = one.notified(&mut desk);
    assert_eq!((told.material.num, told.joined.unwrap().len()), (3, 1));
    assert_eq!(told.stale_node_ids.unwrap(), [two.sender_id]);
    pass(&mut desk, 60);
    assert_eq!(head(&desk).num, 3, "nothing is due afterwards");
}

#[test]
fn nobody_waits_longer_than_ten_seconds_and_in_a_group_without_members_nobody_does() {
    let mut desk = waiting(&[("rekey_delay", ConfigValue::Int(600))]);
    let one = join(&mut desk, 1);
    let (_, ticket) = asks(&mut desk, 2);
    pass(&mut desk, 9);
    assert!(desk.answer_to(ticket).is_none());
    pass(&mut desk, 1);
    assert_eq!(read_join(&desk.answer_to(ticket).unwrap()).0, 2);
    // Who is a member already has nothing to wait for.
    let again = desk.ask(&one.caller, join_post("g1", &one.client.join("g1", TALKER, &one.challenge, &[8; 8])));
    assert_eq!((again.status, read_join(&again).0), (Status::Changed, 2));
}

#[test]
fn of_too_many_that_wait_the_last_are_sent_away_for_now() {
    let mut config = config(&[("backward_security", ConfigValue::Bool(true))]);
    config.limits.parked = 2;
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config).unwrap();
    join(&mut desk, 1);
    let (_, first) = asks(&mut desk, 2);
    let (_, second) = asks(&mut desk, 3);
    let (client, caller, challenge) = admitted(&mut desk, 5);
    desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    let again = |desk: &mut Desk, nonce: u8| {
        desk.begin(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[nonce; 8])))
    };
    desk.pass(Duration::from_secs(5));
    assert!([first, second].iter().all(|ticket| desk.answer_to(*ticket).unwrap().status == Status::Created));
    // Who asks again and again takes one place.
    let own = again(&mut desk, 7);
    for nonce in 8..20 {
        let ticket = again(&mut desk, nonce);
        assert_eq!(desk.answer_to(ticket).unwrap().status, Status::ServiceUnavailable);
    }
    assert!(desk.answer_to(own).is_none());
    let (_, second) = asks(&mut desk, 6);
    let (caller, third) = asks(&mut desk, 4);
    let refused = desk.answer_to(third).unwrap();
    assert_eq!((refused.status, refused.max_age), (Status::ServiceUnavailable, Some(5)));
    pass(&mut desk, 5);
    assert!([own, second].iter().all(|ticket| desk.answer_to(*ticket).unwrap().status == Status::Created));
    assert_eq!(desk.ask(&caller, group_request(Method::Get, "g1", &[])).status, Status::Forbidden);
}

#[test]
fn the_list_of_members_has_the_joiner_from_its_version_on() {
    let mut desk = backward();
    let one = join(&mut desk, 1);
    let (client, caller, challenge) = admitted(&mut desk, 2);
    let request = JoinRequest { get_creds: Some(GetCreds::All), ..client.join("g1", TALKER, &challenge, &[7; 8]) };
    let answer = desk.ask(&caller, join_post("g1", &request));
    let told = ace_groupcomm_messages::JoinResponse::decode(&answer.payload).unwrap();
    assert_eq!(told.peers.unwrap()[0].id, one.sender_id, "it is told of the others");
    let creds = desk.ask(&one.caller, group_request(Method::Get, "g1", &["creds"]));
    let creds = CredsResponse::decode(&creds.payload).unwrap().unwrap();
    assert_eq!((creds.num, creds.peers.len()), (2, 2));
    desk.pass(Duration::from_secs(600));
    assert_eq!(head(&desk).num, 2, "nothing is due afterwards");
}
