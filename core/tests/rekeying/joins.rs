//! Backward security: who joins cannot read what was said before (Group OSCORE profile section 7).

use super::*;
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm_messages::{CredsResponse, GetCreds, JoinRequest};
use std::time::Duration;

// Covers: KG-6-08, KG-6-09, TH-3-03/answer-waits
// Covers: KG-4.3.1-29, GO-6.4-07, GO-11.1-06
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
    let members: Vec<Joined> = (1..=255).map(|number| join(&mut desk, number)).collect();
    // Two go; their identifiers are the only ones but one that nobody holds.
    members[0].leave(&mut desk);
    members[1].leave(&mut desk);
    let gone = [members[0].sender_id.clone(), members[1].sender_id.clone()];
    let newcomer = join(&mut desk, 300);
    assert!(!gone.contains(&newcomer.sender_id));
    let told = members[9].notified(&mut desk);
    let stale = told.stale_node_ids.unwrap();
    assert!(gone.iter().all(|id| stale.contains(id)) && !stale.contains(&newcomer.sender_id));
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
