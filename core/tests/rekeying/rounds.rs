//! The next version waits until each member that takes requests was sent the present one once, but never for the one who is out.

use super::delivery::taking;
use super::*;
use ace_groupcomm::command::Command;
use ace_groupcomm::delivery::{Delivery, RekeyProgress};
use ace_groupcomm::engine::Ticket;
use std::time::Duration;

const MEMBERS: u16 = 100;
/// Shorter than the KDC's pace.
const MOMENT: Duration = Duration::from_millis(5);

/// A group whose members all take requests, and are about to be sent its next version.
fn under_way(parameters: &[(&str, ConfigValue)], members: u16) -> (Desk, Vec<Joined>, u64) {
    let mut desk = desk_with(parameters);
    let members: Vec<Joined> = (1..=members).map(|number| taking(&mut desk, number, "/a")).collect();
    super::delivery::sent(&mut desk, 120);
    desk.command(Command::Rekey("g1".into())).unwrap();
    let num = head(&desk).num;
    desk.deliveries.clear();
    // It goes on behind the last one of the former round, where nobody is, and then with the first.
    desk.pass(MOMENT * 2);
    desk.pass(MOMENT * 2);
    (desk, members, num)
}

fn nums(desk: &mut Desk) -> Vec<u64> {
    let num = |delivery: &Delivery| RekeyingMessage::decode(&delivery.request.payload).unwrap().material.num;
    let all = std::mem::take(&mut desk.deliveries);
    all.iter().map(|(_, delivery)| u64::try_from(num(delivery)).unwrap()).collect()
}

fn joins(desk: &mut Desk, number: u16) -> Ticket {
    let (client, caller, challenge) = admitted(desk, number);
    desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    desk.begin(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8])))
}

fn backward_security() -> [(&'static str, ConfigValue); 2] {
    [("backward_security", ConfigValue::Bool(true)), ("rekey_delay", ConfigValue::Int(0))]
}

#[test]
fn a_join_waits_for_the_first_round_of_the_version_before() {
    let (mut desk, _, num) = under_way(&backward_security(), MEMBERS);
    let ticket = joins(&mut desk, 200);
    assert!(desk.answer_to(ticket).is_none());
    for _ in 0..100 {
        desk.pass(MOMENT);
    }
    assert_eq!(read_join(&desk.answer_to(ticket).unwrap()).0, i64::try_from(num + 1).unwrap());
    let sent = nums(&mut desk);
    let (first, second) = sent.split_at(usize::from(MEMBERS));
    assert!(first.iter().all(|sent| *sent == num), "each member was sent it once: {sent:?}");
    assert!(second.len() == first.len() && second.iter().all(|sent| *sent == num + 1), "{sent:?}");
    assert_clean(&desk);
}

// Covers: TH-4-01/batch-delay
#[test]
fn one_who_leaves_is_waited_for_no_longer_than_the_delay() {
    let (mut desk, members, num) = under_way(&backward_security(), MEMBERS);
    members[50].leave(&mut desk);
    desk.pass(MOMENT);
    assert_eq!(head(&desk).num, num + 1);
    assert!(nums(&mut desk).len() < usize::from(MEMBERS));
}

#[test]
fn what_else_is_due_waits_ten_seconds_at_most() {
    let (desk, _, num) = under_way(&[("rekey_interval", ConfigValue::Int(7))], 260);
    // A place that cannot be read, behind all others: nobody gets beyond it.
    let NamedGroup { id, .. } = desk.store.record(&keys::name("g1")).unwrap();
    desk.store.plant(&keys::rekey_progress(id), &RekeyProgress { told: 0, num, after: None });
    let broken: Head = desk.store.record(&keys::head(id)).unwrap();
    desk.store.plant(&keys::control(id, keys::PrincipalId::new([0xff; 16])), &broken);
    let mut desk =
        Desk::at(&AwsLc, desk.store.clone(), config(&[("rekey_interval", ConfigValue::Int(7))]), desk.now).unwrap();
    desk.pass(Duration::from_secs(9));
    assert_eq!(head(&desk).num, num);
    desk.pass(Duration::from_secs(2));
    assert_eq!(head(&desk).num, num + 1);
}
