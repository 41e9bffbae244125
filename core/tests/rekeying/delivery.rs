//! Members that take requests are told of a version, and that they were put out (RFC 9594 sections 5 and 6.1).

use super::*;
use ace_groupcomm::NodeName;
use ace_groupcomm::command::Command;
use ace_groupcomm::delivery::{ControlRecord, Delivered, Delivery, RekeyProgress, ReturnAddress};
use ace_groupcomm::engine::{Machine, OpId};
use ace_groupcomm::testkit::build::update_post;
use ace_groupcomm::{AssociationId, Endpoint, RecordType, TokenHash};
use std::collections::BTreeSet;
use std::time::Duration;

/// The same client, as its messages come from this port.
pub(super) fn from(caller: &Caller, port: u16) -> Caller {
    let Caller::Peer(id, _) = caller else { panic!("a peer") };
    let at = ReturnAddress { base: format!("coap://192.0.2.1:{port}"), opaque: format!("to {port}").into() };
    Caller::Peer(id.clone(), Some(Endpoint { at: Some(at), ..Endpoint::new(vec![1], true) }))
}

pub(super) fn id(caller: &Caller) -> AssociationId {
    match caller {
        Caller::Peer(id, _) => id.clone(),
        _ => panic!("nobody"),
    }
}

/// A member that takes requests there.
pub(super) fn taking(desk: &mut Desk, number: u16, uri: &str) -> Joined {
    let (client, caller, challenge) = admitted(desk, number);
    let caller = from(&caller, 40_000 + number);
    let mut request = client.join("g1", TALKER, &challenge, &[7; 8]);
    request.control_uri = Some(uri.into());
    let ticket = desk.begin(&caller, join_post("g1", &request));
    // It waits for those who came before, where it begins a version.
    let mut waited = (0..1_000).map(|_| {
        desk.pass(Duration::from_millis(10));
        desk.answer_to(ticket)
    });
    let answer = waited.find_map(|answer| answer).unwrap();
    assert_eq!(answer.status, Status::Created, "{answer:?}");
    let (num, sender_id, key) = read_join(&answer);
    Joined { client, caller, challenge, node: answer.location_path[3].clone(), num, sender_id, key }
}

fn rekey(desk: &mut Desk) {
    desk.command(Command::Rekey("g1".into())).unwrap();
}

/// What is sent within some seconds.
pub(super) fn sent(desk: &mut Desk, seconds: u64) -> Vec<(OpId, Delivery)> {
    for _ in 0..seconds * 10 {
        desk.pass(Duration::from_millis(100));
    }
    std::mem::take(&mut desk.deliveries)
}

fn controls(desk: &Desk) -> Vec<ControlRecord> {
    let all = desk.store.dump().into_iter().filter(|(key, _)| key.as_bytes().windows(5).any(|part| part == b"/ctl/"));
    all.map(|(_, record)| ControlRecord::decode(&record.value).unwrap()).collect()
}

fn progress(desk: &Desk) -> Option<RekeyProgress> {
    let NamedGroup { id, .. } = desk.store.record(&keys::name("g1")).unwrap();
    desk.store.record(&keys::rekey_progress(id))
}

// Covers: GO-11-09, GO-11-12, GO-11.1-08, KG-6-03, KG-6.1-04, TH-4-05/caller-endpoint
// Covers: KG-4.3.1-12
#[test]
fn a_member_is_sent_the_rekeying_message_where_it_takes_requests_under_its_association() {
    let mut desk = desk_with(&[]);
    let one = taking(&mut desk, 1, "coap://192.0.2.1:40001/ace-group/g1/node");
    let two = taking(&mut desk, 2, "/grp-rek");
    let _three = join(&mut desk, 3);
    assert_eq!(controls(&desk).len(), 2);
    rekey(&mut desk);
    let mut all = sent(&mut desk, 1);
    all.sort_by_key(|(_, delivery)| delivery.to.clone());
    assert_eq!(all.len(), 2, "who takes none is not sent any");
    for ((_, delivery), (member, path, to)) in
        all.iter().zip([(&one, &["ace-group", "g1", "node"][..], "to 40001"), (&two, &["grp-rek"], "to 40002")])
    {
        assert_eq!((&delivery.association, &delivery.to[..]), (&id(&member.caller), to.as_bytes()));
        let request = &delivery.request;
        assert_eq!((request.method, request.content_format), (Method::Post, Some(261)));
        assert_eq!(request.path, path);
        let message = RekeyingMessage::decode(&request.payload).unwrap();
        assert_eq!((message.material.num, message.stale_node_ids), (1, Some(vec![])));
        assert_eq!(message.material.key.to_byte_string().unwrap()[..16], one.keys(&mut desk).1);
        let observed = [vec!["ace-group", "g1"], vec!["ace-group", "g1", "nodes", &member.node]];
        assert_eq!(delivery.observed, observed, "who observes one of these is told by that");
        assert!(!format!("{delivery:?}").contains("key: ["), "{delivery:?}");
    }
    // All have confirmed: nothing is sent any more, and that is stored.
    all.iter().for_each(|(op, _)| desk.delivered(*op, Delivered::Confirmed));
    assert_eq!(sent(&mut desk, 30).len(), 0);
    assert_eq!(progress(&desk).map(|progress| progress.told), Some(1));
    assert_clean(&desk);
}

// Covers: TH-3-02/queued-delivery
#[test]
fn who_is_silent_is_sent_it_again_as_it_is_then_and_not_for_ever() {
    let mut desk = desk_with(&[]);
    let _one = taking(&mut desk, 1, "/a");
    let two = taking(&mut desk, 2, "/b");
    rekey(&mut desk);
    let first = sent(&mut desk, 1);
    assert_eq!(first.len(), 2);
    first.iter().for_each(|(op, _)| desk.delivered(*op, Delivered::Silent));
    assert_eq!(sent(&mut desk, 18).len(), 0);
    // One of them leaves meanwhile: it is sent nothing, and the other the version that there is then.
    desk.ask(&two.caller, two.request(Method::Delete, &[]));
    let second = sent(&mut desk, 20);
    let nums: Vec<i64> = second
        .iter()
        .map(|(_, delivery)| RekeyingMessage::decode(&delivery.request.payload).unwrap().material.num)
        .collect();
    assert_eq!(nums, [1, 2], "it was rekeyed again, for who has left");
    let stale = RekeyingMessage::decode(&second[1].1.request.payload).unwrap().stale_node_ids;
    assert_eq!(stale, Some(vec![two.sender_id.clone()]));
    // What becomes of the former version is of no use any more.
    desk.delivered(second[0].0, Delivered::Confirmed);
    let mut tries = 1;
    let mut under_way = second[1..].to_vec();
    while !under_way.is_empty() {
        under_way.iter().for_each(|(op, _)| desk.delivered(*op, Delivered::Silent));
        under_way = sent(&mut desk, 601);
        tries += under_way.len();
    }
    assert_eq!(tries, 4);
    assert_eq!(progress(&desk).map(|progress| progress.told), Some(2), "nothing is left to be done");
    assert_eq!(head(&desk).members, 1, "it is a member still, and catches up when it asks");
}

#[test]
fn who_observes_is_looked_at_again_and_sent_a_request_when_it_does_not_any_more() {
    let mut desk = desk_with(&[]);
    taking(&mut desk, 1, "/a");
    rekey(&mut desk);
    let (op, _) = sent(&mut desk, 1)[0];
    desk.delivered(op, Delivered::Observed);
    assert_eq!(sent(&mut desk, 115).len(), 0);
    let again = sent(&mut desk, 10);
    assert_eq!(again.len(), 1);
    desk.delivered(again[0].0, Delivered::Confirmed);
    assert_eq!(progress(&desk).map(|progress| progress.told), Some(0));
    desk.due();
    assert_eq!(progress(&desk).map(|progress| progress.told), Some(1));
}

// Covers: TH-4-02/harmless-resend
#[test]
fn the_next_process_goes_on_where_the_former_one_has_stored_that_it_stood() {
    let mut desk = desk_with(&[]);
    (1..=3).for_each(|number| drop(taking(&mut desk, number, "/a")));
    rekey(&mut desk);
    assert_eq!(sent(&mut desk, 2).len(), 3);
    let stored = progress(&desk).unwrap();
    assert_eq!((stored.told, stored.num, stored.after.is_some()), (0, 1, true));
    // Whether they have taken it nobody knows now. It has gone round once, so that it begins with the first.
    let mut desk = Desk::at(&AwsLc, desk.store.clone(), config(&[]), desk.now).unwrap();
    let again = sent(&mut desk, 2);
    let nums: Vec<i64> = again
        .iter()
        .map(|(_, delivery)| RekeyingMessage::decode(&delivery.request.payload).unwrap().material.num)
        .collect();
    assert_eq!(nums, [1, 1, 1], "the same version, which who has it ignores");
    again.iter().for_each(|(op, _)| desk.delivered(*op, Delivered::Confirmed));
    desk.due();
    let mut desk = Desk::at(&AwsLc, desk.store.clone(), config(&[]), desk.now).unwrap();
    assert_eq!(sent(&mut desk, 2).len(), 0, "all were told");
}

// Covers: GO-10-01, GO-10-02, KG-5-01
#[test]
fn who_is_put_out_is_told_in_one_way_alone() {
    for (uri, observes) in [(Some("/a"), false), (None, true)] {
        let mut desk = desk_with(&[]);
        let one = match uri {
            Some(uri) => taking(&mut desk, 1, uri),
            None => join(&mut desk, 1),
        };
        desk.notices.clear();
        let evict = Command::Evict { group: "g1".into(), node: NodeName::new(&one.node) };
        desk.command(evict).unwrap();
        desk.due();
        let all = std::mem::take(&mut desk.deliveries);
        let restricted = desk.notices.contains(&AssociationNotice::Restricted { id: id(&one.caller) });
        let path = ["ace-group", "g1"].map(Into::into).to_vec();
        let unobserved = desk.notices.contains(&AssociationNotice::Unobserved { id: id(&one.caller), path });
        assert_eq!((restricted, unobserved, all.len()), (observes, !observes, usize::from(!observes)));
        for (op, delivery) in all {
            assert_eq!((delivery.request.method, delivery.request.path), (Method::Delete, vec!["a".into()]));
            assert!(delivery.request.payload.is_empty() && delivery.observed.is_empty());
            desk.delivered(op, Delivered::Confirmed);
        }
        assert_eq!(controls(&desk).len(), 0);
        assert_eq!(sent(&mut desk, 60).len(), 0, "and is told no version");
        assert_clean(&desk);
    }
}

#[test]
fn who_leaves_is_sent_nothing() {
    let mut desk = desk_with(&[]);
    let (one, _two) = (taking(&mut desk, 1, "/a"), join(&mut desk, 2));
    assert_eq!(one.leave(&mut desk).status, Status::Deleted);
    assert_eq!((sent(&mut desk, 60).len(), controls(&desk).len()), (0, 0));
    assert_eq!(head(&desk).num, 1);
}

#[test]
fn a_place_of_somebody_else_or_one_that_is_not_known_is_no_place() {
    let mut desk = desk_with(&[]);
    taking(&mut desk, 1, "coap://192.0.2.9:40001/a");
    taking(&mut desk, 2, "coap://lamp.example/a");
    taking(&mut desk, 3, "coap://192.0.2.1:40003/ace-group/g1");
    // The network side cannot send to this one.
    let (client, caller, challenge) = admitted(&mut desk, 4);
    let request = ace_groupcomm_messages::JoinRequest {
        control_uri: Some("/a".into()),
        ..client.join("g1", TALKER, &challenge, &[7; 8])
    };
    assert_eq!(desk.ask(&caller, join_post("g1", &request)).status, Status::Created);
    assert_eq!(controls(&desk).len(), 0);
    rekey(&mut desk);
    assert_eq!(sent(&mut desk, 2).len(), 0, "not one datagram");
}

#[test]
fn a_later_join_says_another_place_or_none() {
    let mut desk = desk_with(&[]);
    let one = taking(&mut desk, 1, "/a");
    let again = |desk: &mut Desk, uri: Option<&str>, nonce: u8| {
        let mut request = one.client.join("g1", TALKER, &one.challenge, &[nonce; 8]);
        request.control_uri = uri.map(Into::into);
        assert_eq!(desk.ask(&from(&one.caller, 50_000), join_post("g1", &request)).status, Status::Changed);
    };
    again(&mut desk, Some("/b"), 8);
    let stored = controls(&desk);
    assert_eq!((stored[0].path.as_slice(), stored[0].to.as_slice()), (&["b".to_owned()][..], &b"to 50000"[..]));
    again(&mut desk, None, 9);
    assert_eq!(controls(&desk).len(), 0);
}

#[test]
fn what_storage_cannot_read_is_sent_later() {
    let mut desk = desk_with(&[]);
    taking(&mut desk, 1, "/a");
    rekey(&mut desk);
    // A process that begins has nothing in memory.
    let mut desk = Desk::at(&AwsLc, desk.store.clone(), config(&[]), desk.now).unwrap();
    desk.store.set_unreadable(true);
    assert_eq!(sent(&mut desk, 5).len(), 0);
    desk.store.set_unreadable(false);
    let later = sent(&mut desk, 30);
    assert_eq!(later.len(), 1);
    assert!(desk.kdc.next_timeout(desk.now).is_none_or(|at| at > desk.now.mono));
}

#[test]
fn another_association_of_the_same_member_takes_the_place_of_one_that_is_gone() {
    let mut desk = desk_with(&[]);
    let one = taking(&mut desk, 1, "/a");
    // The same token again: a new association, and the former one goes with its first request.
    let again = ace_groupcomm::testkit::build::token_post_with(&token_of(1), &[9; 8]);
    let answer = desk.ask(&Caller::anonymous(), again);
    let answer = ace_groupcomm_messages::TokenTransferResponse::decode(&answer.payload).unwrap();
    let anew = Caller::peer(answer.server_recipient_id.unwrap());
    assert_eq!(desk.ask(&anew, group_request(Method::Get, "g1", &["num"])).status, Status::Content);
    assert_ne!(id(&anew), id(&one.caller));
    rekey(&mut desk);
    let all = sent(&mut desk, 1);
    assert_eq!((all.len(), &all[0].1.association), (1, &id(&anew)));
}

// Covers: KG-5-04
#[test]
fn who_is_put_out_because_its_token_was_revoked_is_told_where_it_takes_requests_and_there_alone() {
    let mut desk = desk_with(&[]);
    let one = taking(&mut desk, 1, "/a");
    let _two = taking(&mut desk, 2, "/b");
    let three = taking(&mut desk, 3, "/c");
    desk.notices.clear();
    desk.revoke(&TokenHash::of(&token_of(1)));
    let told = std::mem::take(&mut desk.deliveries);
    assert_eq!(told.len(), 1);
    let request = &told[0].1.request;
    assert_eq!((request.method, request.path.join("/"), request.payload.len()), (Method::Delete, "a".into(), 0));
    assert_eq!((&told[0].1.association, told[0].1.observed.len()), (&id(&one.caller), 0));
    let place = |wanted: &dyn Fn(&AssociationNotice) -> bool| desk.notices.iter().position(wanted);
    let unobserved =
        place(&|notice| matches!(notice, AssociationNotice::Unobserved { path, .. } if path == &["ace-group", "g1"]));
    let ended = place(&|notice| matches!(notice, AssociationNotice::Ended { .. }));
    assert!(
        unobserved.is_some() && unobserved < ended,
        "what it observes is over before its association is: {:?}",
        desk.notices
    );
    // Who leaves knows it.
    desk.ask(&three.caller, three.request(Method::Delete, &[]));
    let told = sent(&mut desk, 1);
    assert!(told.iter().all(|(_, delivery)| delivery.request.method == Method::Post), "{told:?}");
}

#[test]
fn who_is_put_out_for_a_narrower_token_is_told_under_its_association() {
    let mut desk = desk_with(&[]);
    let one = taking(&mut desk, 1, "/a");
    let narrower = token(1, &client(1).update(&[("g1", LISTENER)], LATER + 1));
    let answer = desk.ask(&one.caller, update_post(&narrower));
    assert!(answer.status.is_success(), "{answer:?}");
    let told = sent(&mut desk, 1);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].1.request.method, &told[0].1.association), (Method::Delete, &id(&one.caller)));
}

#[test]
fn who_takes_requests_is_told_that_its_group_was_deleted() {
    let mut desk = desk_with(&[]);
    let (one, _two) = (taking(&mut desk, 1, "/a"), join(&mut desk, 2));
    desk.command(Command::Delete { group: "g1".into(), with_members: true }).unwrap();
    let told = sent(&mut desk, 1);
    assert_eq!(told.len(), 1);
    let (_, delivery) = &told[0];
    assert_eq!((delivery.request.method, delivery.request.path.join("/")), (Method::Delete, "a".into()));
    assert_eq!((&delivery.association, delivery.request.payload.len()), (&id(&one.caller), 0));
    assert!(sent(&mut desk, 300).is_empty(), "once");
}

#[test]
fn the_message_of_many_evictions_at_once_names_all_of_them_and_is_the_same_for_all_members() {
    let mut desk = desk_with(&[]);
    let members: Vec<Joined> = (1..=2).map(|number| taking(&mut desk, number, "/a")).collect();
    let out: Vec<Joined> = (3..=702).map(|number| join(&mut desk, number)).collect();
    for member in &out {
        desk.command(Command::Evict { group: "g1".into(), node: NodeName::new(&member.node) }).unwrap();
    }
    let told = sent(&mut desk, DELAY + 1);
    let bodies: Vec<_> = told.iter().map(|(_, delivery)| delivery.request.payload.clone()).collect();
    assert_eq!((bodies.len(), head(&desk).num), (members.len(), 1));
    assert_eq!(bodies[0], bodies[1]);
    assert!(bodies[0].len() > 1_024, "it goes block by block");
    let message = RekeyingMessage::decode(&bodies[0]).unwrap();
    let stale: BTreeSet<Vec<u8>> = message.stale_node_ids.unwrap().into_iter().collect();
    assert_eq!(stale, out.into_iter().map(|member| member.sender_id).collect());
    assert!(message.joined.is_none());
}

// Covers: TH-3-03/join-meanwhile
#[test]
fn a_join_while_a_version_is_on_its_way_reaches_those_who_have_that_version() {
    let mut desk = backward();
    let members: Vec<Joined> = (1..=3).map(|number| taking(&mut desk, number, "/a")).collect();
    sent(&mut desk, 60);
    let num = head(&desk).num;
    let four = join(&mut desk, 4);
    // One has the version; the others are being told.
    let first = sent(&mut desk, 1);
    assert_eq!((first.len(), four.num), (members.len(), i64::try_from(num + 1).unwrap()));
    let (told, op) = (first[0].1.association.clone(), first[0].0);
    desk.delivered(op, Delivered::Confirmed);
    let five = join(&mut desk, 5);
    assert_eq!(five.num, four.num + 1);
    let second = sent(&mut desk, 1);
    let to: BTreeSet<AssociationId> = second.iter().map(|(_, delivery)| delivery.association.clone()).collect();
    assert!(to.len() == members.len() && to.contains(&told), "{to:?}");
    for (_, delivery) in &second {
        let message = RekeyingMessage::decode(&delivery.request.payload).unwrap();
        assert_eq!((message.material.num, &message.joined.unwrap()[0].id), (five.num, &five.sender_id));
    }
}

fn body(delivery: &Delivery) -> (i64, Option<Vec<u8>>) {
    let material = RekeyingMessage::decode(&delivery.request.payload).unwrap().material;
    (material.num, material.key.to_byte_string().map(|key| key[..16].to_vec()))
}

#[test]
fn who_takes_requests_is_told_of_other_parameters_before_the_version_that_begins_with_them() {
    let mut desk = desk_with(&[]);
    let (one, two) = (taking(&mut desk, 1, "/a"), taking(&mut desk, 2, "/b"));
    let mut other = config(&[("max_id", ConfigValue::Int(3))]);
    other.accept_parameters = true;
    let restart = |store: &TestStore, now| Desk::at(&AwsLc, store.clone(), other.clone(), now).unwrap();
    let mut desk = restart(&desk.store, desk.now);
    let first = sent(&mut desk, 1);
    assert_eq!(first.len(), 2);
    for (_, delivery) in &first {
        let material = RekeyingMessage::decode(&delivery.request.payload).unwrap().material;
        assert_eq!((material.num, material.key.as_uint()), (1, Some(3)));
        assert!(material.exp.is_some() && material.exi.is_some());
        assert_eq!(delivery.request.content_format, Some(261));
    }
    let of = |member: &Joined| first.iter().find(|(_, delivery)| delivery.association == id(&member.caller)).unwrap().0;
    desk.delivered(of(&one), Delivered::Confirmed);
    desk.delivered(of(&two), Delivered::Silent);
    let second = sent(&mut desk, 1);
    assert_eq!((second.len(), body(&second[0].1)), (1, (1, Some(one.keys(&mut desk).1))));
    desk.delivered(second[0].0, Delivered::Confirmed);
    let told = |desk: &Desk| controls(desk).into_iter().map(|control| control.configured).collect::<BTreeSet<u64>>();
    assert_eq!(told(&desk), [0, 1].into());
    // Nobody knows what became of the other one. The next process tells it of them before a later version, and then of that.
    let mut desk = restart(&desk.store, desk.now);
    rekey(&mut desk);
    let third = sent(&mut desk, 1);
    for (op, delivery) in &third {
        let knows = delivery.association == id(&one.caller);
        assert_eq!((body(delivery).0, body(delivery).1.is_some()), (2, knows));
        desk.delivered(*op, Delivered::Confirmed);
    }
    let fourth = sent(&mut desk, 1);
    assert_eq!((fourth.len(), body(&fourth[0].1)), (1, (2, Some(one.keys(&mut desk).1))));
    desk.delivered(fourth[0].0, Delivered::Confirmed);
    assert_eq!((told(&desk), sent(&mut desk, 700).len()), ([1].into(), 0));
    assert_eq!(progress(&desk).map(|progress| progress.told), Some(2));
    // Who joins again may not have got the answer: it is told of them again.
    let mut again = one.client.join("g1", TALKER, &one.challenge, &[8; 8]);
    again.control_uri = Some("/a".into());
    assert_eq!(desk.ask(&one.caller, join_post("g1", &again)).status, Status::Changed);
    rekey(&mut desk);
    let fifth = sent(&mut desk, 1);
    let plain = |of: &Joined| {
        let (_, delivery) = fifth.iter().find(|(_, delivery)| delivery.association == id(&of.caller)).unwrap();
        body(delivery).1.is_some()
    };
    assert!(!plain(&one) && plain(&two));
    fifth.iter().for_each(|(op, _)| desk.delivered(*op, Delivered::Confirmed));
    sent(&mut desk, 1).iter().for_each(|(op, _)| desk.delivered(*op, Delivered::Confirmed));
    // Who comes now knows them.
    taking(&mut desk, 3, "/c");
    rekey(&mut desk);
    assert!(sent(&mut desk, 1).iter().all(|(_, delivery)| body(delivery).1.is_some()));
    assert_clean(&desk);
}
