//! A group gets other algorithms, and its members go on (Group OSCORE profile section 11, draft-ietf-ace-oscore-gm-admin section 6.6.3).

use super::bench::{admitted, desk_with, joined, request};
use ace_groupcomm::command::Command;
use ace_groupcomm::config::ConfigValue;
use ace_groupcomm::delivery::{Delivered, Delivery, ReturnAddress};
use ace_groupcomm::engine::{Machine, OpId};
use ace_groupcomm::testkit::build::{group_request, join_post};
use ace_groupcomm::testkit::{Desk, TestStore};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Endpoint, Method, Purpose, Request, Status};
use ace_groupcomm_messages::labels::{cose_alg, osc};
use ace_groupcomm_messages::{JoinRequest, KeyDistribution, Label, RekeyingMessage};
use ace_profile_group_oscore::member;
use ace_profile_group_oscore::scope::{REQUESTER, RESPONDER};
use std::time::Duration;

fn text(value: &str) -> ConfigValue {
    ConfigValue::Text(value.into())
}

/// A member that takes requests.
fn taking(desk: &mut Desk, number: u16) -> Caller {
    let (caller, challenge) = admitted(desk, number, "alarms", REQUESTER);
    let Caller::Peer(id, _) = caller else { panic!("a peer") };
    let at = ReturnAddress { base: format!("coap://192.0.2.1:{number}"), opaque: format!("{number}").into() };
    let caller = Caller::Peer(id, Some(Endpoint { at: Some(at), ..Endpoint::new(vec![1], true) }));
    let join = JoinRequest { control_uri: Some("/rekey".into()), ..request(number, "alarms", REQUESTER, &challenge) };
    assert_eq!(desk.ask(&caller, join_post("alarms", &join)).status, Status::Created);
    caller
}

fn sent(desk: &mut Desk, seconds: u64) -> Vec<(OpId, Delivery)> {
    (0..seconds * 10).for_each(|_| desk.pass(Duration::from_millis(100)));
    std::mem::take(&mut desk.deliveries)
}

/// The version of what was sent, and whether it has a secret and algorithms.
fn told(delivery: &Delivery) -> (i64, bool, bool) {
    let message = RekeyingMessage::decode(&delivery.request.payload).unwrap();
    let labels: Vec<Label> = message.material.key.to_map().unwrap().into_iter().map(|(label, _)| label).collect();
    let has = |label: i64| labels.contains(&Label::Int(label));
    (message.material.num, has(osc::MS), has(osc::GP_ENC_ALG))
}

const SECRET: (bool, bool) = (true, false);
const ALGORITHMS: (bool, bool) = (false, true);

fn kinds(sent: &[(OpId, Delivery)]) -> Vec<(i64, (bool, bool))> {
    sent.iter()
        .map(|(_, delivery)| told(delivery))
        .map(|(num, secret, algorithms)| (num, (secret, algorithms)))
        .collect()
}

fn other() -> [(&'static str, ConfigValue); 1] {
    [("gp_enc_alg", text("A128GCM"))]
}

#[test]
fn other_algorithms_begin_with_a_version_and_all_members_learn_of_them() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_with(store.clone(), &[], false);
    let (watcher, before, created) = joined(&mut desk, 1, "alarms", RESPONDER);
    let node = created.location_path[3].clone();
    let two = taking(&mut desk, 2);
    let three = taking(&mut desk, 3);
    assert!(two != three);
    assert!(desk_with(store.clone(), &other(), false).kdc.refused().is_some(), "nobody has said that it is meant");

    let mut desk = desk_with(store.clone(), &other(), true);
    assert!(desk.kdc.is_ready());
    let notified = Request { purpose: Purpose::Notification, ..group_request(Method::Get, "alarms", &[]) };
    let message = RekeyingMessage::decode(&desk.ask(&watcher, notified).payload).unwrap();
    let shared = member::material(&message.material).unwrap();
    assert_eq!((message.material.num, shared.gp_enc_alg.clone()), (1, Some(Label::Int(cose_alg::A128GCM))));
    assert!(shared.ms != before.material.ms && shared.context_id != before.material.context_id);
    let own = desk.ask(&watcher, group_request(Method::Get, "alarms", &["nodes", &node]));
    let own = member::material(&KeyDistribution::decode(&own.payload).unwrap()).unwrap();
    assert_eq!(own.group_sender_id, before.material.group_sender_id);

    // Who takes requests is told of the algorithms, and of the secret when it has confirmed them.
    let first = sent(&mut desk, 1);
    assert_eq!(kinds(&first), [(1, ALGORITHMS), (1, ALGORITHMS)]);
    desk.delivered(first[0].0, Delivered::Confirmed);
    desk.delivered(first[1].0, Delivered::Silent);
    let second = sent(&mut desk, 1);
    assert_eq!(kinds(&second), [(1, SECRET)]);
    assert_eq!(second[0].1.association, first[0].1.association);
    desk.delivered(second[0].0, Delivered::Confirmed);
    assert_eq!(kinds(&sent(&mut desk, 30)), [(1, ALGORITHMS)], "the other one again");

    // The one that has not confirmed them is told of them before the next version too, whichever process begins that.
    let mut desk = desk_with(store.clone(), &other(), true);
    desk.command(Command::Rekey("alarms".into())).unwrap();
    let mut next = sent(&mut desk, 1);
    next.sort_by_key(|(_, delivery)| delivery.association != first[0].1.association);
    assert_eq!(kinds(&next), [(2, SECRET), (2, ALGORITHMS)]);
    desk.delivered(next[1].0, Delivered::Confirmed);
    assert_eq!(kinds(&sent(&mut desk, 1)), [(2, SECRET)]);
    // Who joins now knows them.
    taking(&mut desk, 4);
    desk.command(Command::Rekey("alarms".into())).unwrap();
    assert_eq!(kinds(&sent(&mut desk, 1)), [(3, SECRET); 3]);
    assert!(desk_with(store, &[], false).kdc.refused().is_some(), "the former ones are others now");
}

#[test]
fn who_asks_for_another_sender_id_while_a_rekeying_is_due_gets_the_algorithms_too() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_with(store.clone(), &[], false);
    let (one, before, created) = joined(&mut desk, 1, "alarms", REQUESTER);
    let (two, _, left) = joined(&mut desk, 2, "alarms", REQUESTER);
    let node = |created: &ace_groupcomm::Response| created.location_path[3].clone();
    // It has not learnt of the version that began with them.
    let mut desk = desk_with(store, &other(), true);
    desk.ask(&two, group_request(Method::Delete, "alarms", &["nodes", &node(&left)]));
    let renewal = desk.ask(&one, group_request(Method::Post, "alarms", &["nodes", &node(&created)]));
    let message = RekeyingMessage::decode(&renewal.payload).unwrap();
    let material = member::material(&message.material).unwrap();
    assert_eq!((message.material.num, &material.gp_enc_alg), (2, &Some(Label::Int(cose_alg::A128GCM))));
    assert_eq!(material.group_sender_id, before.material.group_sender_id);
}

#[test]
fn what_is_policy_alone_changes_without_a_version_and_what_members_cannot_follow_does_not() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = desk_with(store.clone(), &[], false);
    let (caller, ..) = joined(&mut desk, 1, "alarms", REQUESTER);
    let policies = [
        ("key_update_check_interval", ConfigValue::Int(60)),
        ("rekey_delay", ConfigValue::Int(0)),
        ("key_lifetime", ConfigValue::Int(1_000)),
    ];
    let mut desk = desk_with(store.clone(), &policies, true);
    let mut get = |path: &[&str]| desk.ask(&caller, group_request(Method::Get, "alarms", path)).payload;
    let group = KeyDistribution::decode(&get(&[])).unwrap();
    assert_eq!(group.num, 0);
    let told = ace_groupcomm_messages::retrieval::decode_policies(&get(&["policies"])).unwrap();
    assert_eq!(told.key_update_check_interval, Some(60));
    desk.command(Command::Rekey("alarms".into())).unwrap();
    let group = desk.ask(&caller, group_request(Method::Get, "alarms", &[])).payload;
    assert_eq!(KeyDistribution::decode(&group).unwrap().exi, Some(1_000), "from the next version on");
    for change in
        [("max_stale_sets", ConfigValue::Int(5)), ("gm_subject", text("another")), ("gm_key", text(&"12".repeat(32)))]
    {
        let refused = desk_with(store.clone(), &[&policies[..], std::slice::from_ref(&change)].concat(), true);
        assert!(refused.kdc.refused().unwrap().to_string().contains(change.0), "{change:?}");
    }
}
