//! Several KDCs over one store: a rekeying is done once, also where the process that made it due has ended.

use super::*;
use ace_groupcomm::Registration;
use ace_groupcomm::command::Command;
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::traits::transport::AssociationNeed;
use std::time::Duration;

/// Two processes over one store.
fn two(parameters: &[(&str, ConfigValue)]) -> (Desk, Desk) {
    let store = TestStore::new(Sharing::Shared);
    let first = Desk::new(&AwsLc, store.clone(), config(parameters)).unwrap();
    let second = Desk::at(&AwsLc, store, config(parameters), first.now).unwrap();
    (first, second)
}

fn pass(mut desks: [&mut Desk; 2], seconds: u64) {
    for _ in 0..seconds {
        desks.iter_mut().for_each(|desk| desk.pass(Duration::from_secs(1)));
    }
}

#[test]
fn a_rekeying_that_a_process_has_left_behind_is_done_by_another_one_and_only_then() {
    let (mut first, mut second) = two(&[]);
    let (one, _two) = (join(&mut first, 1), join(&mut first, 2));
    one.leave(&mut first);
    pass([&mut first, &mut second], 60);
    assert_eq!((head(&first).num, head(&second).rekey_due), (1, None), "by the one that made it due, and once");

    let three = join(&mut first, 3);
    three.leave(&mut first);
    drop(first);
    second.pass(Duration::from_secs(DELAY + 9));
    assert_eq!(head(&second).num, 1, "it may be under way elsewhere");
    for _ in 0..11 {
        second.pass(Duration::from_secs(1));
    }
    assert_eq!((head(&second).num, head(&second).rekey_due), (2, None));
    assert_clean(&second);
}

// Covers: GO-7-09
#[test]
fn keys_that_another_process_has_made_are_replaced_before_their_end() {
    let (mut first, mut second) = two(&[]);
    let claims = client(1).claims(&[("g1", TALKER)], 5 * LATER);
    let (caller, challenge) = first.post_token(&token(1, &claims)).unwrap();
    let joined = first.ask(&caller, join_post("g1", &client(1).join("g1", TALKER, &challenge, &[7; 8])));
    assert_eq!(joined.status, Status::Created);
    let life = 1_000_000;
    for desk in [&mut first, &mut second] {
        desk.pass(Duration::from_secs(life / 2));
    }
    first.command(Command::Rekey("g1".into())).unwrap();
    drop(first);
    // The first version ends, and then the second.
    second.pass(Duration::from_secs(life / 2));
    assert_eq!(head(&second).num, 1, "nobody needs a third one yet");
    for _ in 0..=life / 2_000 {
        second.pass(Duration::from_secs(1_000));
    }
    assert_eq!(head(&second).num, 2);
}

#[test]
fn a_schedule_goes_on_where_the_process_that_kept_it_has_ended() {
    let (mut first, mut second) = two(&[("rekey_interval", ConfigValue::Int(600))]);
    join(&mut first, 1);
    for seconds in [300, 0] {
        pass([&mut first, &mut second], seconds);
        first.command(Command::Rekey("g1".into())).unwrap();
    }
    drop(first);
    for _ in 0..62 {
        second.pass(Duration::from_secs(10));
    }
    assert_eq!(head(&second).num, 3);
}

#[test]
fn what_was_committed_without_a_word_of_it_is_done_and_told_all_the_same() {
    let mut desk = desk_with(&[]);
    let (one, two) = (join(&mut desk, 1), join(&mut desk, 2));
    // Storage does not say what has become of the leave, which it has.
    desk.store.fail_next(Fault::UnknownDone);
    assert_eq!(one.leave(&mut desk).status, Status::ServiceUnavailable);
    assert!(head(&desk).rekey_due.is_some());
    for _ in 0..80 {
        desk.pass(Duration::from_secs(1));
    }
    assert_eq!((head(&desk).num, head(&desk).rekey_due), (1, None), "nobody has asked for it");

    // The same of a rekeying: who observes is told of it.
    two.notified(&mut desk);
    desk.store.fail_next(Fault::UnknownDone);
    let _ = desk.command(Command::Rekey("g1".into()));
    assert_eq!(head(&desk).num, 2);
    desk.notices.clear();
    for _ in 0..80 {
        desk.pass(Duration::from_secs(1));
    }
    assert_eq!(head(&desk).num, 2, "once");
    assert!(desk.notices.contains(&changed(&["ace-group", "g1"])), "{:?}", desk.notices);
    assert_clean(&desk);
}

/// A member observes its group, or something below it, at this process. It claims its association there.
fn observe(desk: &mut Desk, member: &Joined, below: &[&str]) -> Response {
    let Caller::Peer(id, _) = &member.caller else { panic!("nobody") };
    desk.need(AssociationNeed::Claim(id.clone()));
    desk.pass(Duration::from_millis(1));
    let mut request = group_request(Method::Get, "g1", below);
    let name: Vec<u8> = below.concat().into_bytes();
    request.observe = Some(Registration { name: name.into(), state: vec![1].into() });
    desk.ask(&member.caller, request)
}

fn seconds_until_told(desks: [&mut Desk; 2], notice: &AssociationNotice) -> Option<u64> {
    let [first, second] = desks;
    second.notices.clear();
    (0..30).find(|_| {
        pass([first, second], 1);
        second.notices.contains(notice)
    })
}

#[test]
fn who_observes_at_one_process_is_told_within_two_seconds_of_what_another_one_changes() {
    let (mut first, mut second) = two(&[]);
    let (one, two) = (join(&mut first, 1), join(&mut first, 2));
    assert!(observe(&mut second, &one, &[]).observed && observe(&mut second, &one, &["active"]).observed);

    first.command(Command::Rekey("g1".into())).unwrap();
    assert!(seconds_until_told([&mut first, &mut second], &changed(&["ace-group", "g1"])) < Some(2));
    assert_eq!(
        one.notified(&mut second).material.num,
        1,
        "the notification is this process's, whoever has the association"
    );
    pass([&mut first, &mut second], 30);
    let told = second.notices.iter().filter(|notice| **notice == changed(&["ace-group", "g1"])).count();
    assert_eq!(told, 1, "once");

    first.command(Command::Deactivate("g1".into())).unwrap();
    assert!(seconds_until_told([&mut first, &mut second], &changed(&["ace-group", "g1", "active"])) < Some(2));
    // Its own change is told once as well.
    second.notices.clear();
    second.command(Command::Activate("g1".into())).unwrap();
    pass([&mut first, &mut second], 5);
    let told = second.notices.iter().filter(|notice| **notice == changed(&["ace-group", "g1", "active"])).count();
    assert_eq!(told, 1);

    // A leave elsewhere rekeys, and who has left is told nothing of it.
    two.leave(&mut first);
    assert!(seconds_until_told([&mut first, &mut second], &changed(&["ace-group", "g1"])) < Some(DELAY + 2));
    assert_eq!(one.notified(&mut second).material.num, 2);
    let gone = Request { purpose: Purpose::Notification, ..group_request(Method::Get, "g1", &[]) };
    assert!(!second.ask(&two.caller, gone).status.is_success());
    assert_clean(&first);
}

#[test]
fn who_observes_at_one_process_is_told_that_another_one_has_deleted_the_group() {
    let (mut first, mut second) = two(&[]);
    let one = join(&mut first, 1);
    assert!(observe(&mut second, &one, &[]).observed);
    first.command(Command::Delete { group: "g1".into(), with_members: true }).unwrap();
    let below = AssociationNotice::ChangedBelow { path: vec!["ace-group".into(), "g1".into()] };
    assert!(seconds_until_told([&mut first, &mut second], &below) < Some(2));
    let last = Request { purpose: Purpose::Notification, ..group_request(Method::Get, "g1", &[]) };
    let last = second.ask(&one.caller, last);
    assert_eq!((last.status, error_id(&last)), (Status::NotFound, Some(6)));
    assert!(seconds_until_told([&mut first, &mut second], &below).is_none(), "once");
}

#[test]
fn who_was_put_out_at_one_process_is_told_so_where_it_observes() {
    let (mut first, mut second) = two(&[]);
    let (one, _two) = (join(&mut first, 1), join(&mut first, 2));
    assert!(observe(&mut second, &one, &["nodes", &one.node]).observed);
    first.command(Command::Evict { group: "g1".into(), node: one.node.clone().into() }).unwrap();
    let nodes = AssociationNotice::ChangedBelow { path: ["ace-group", "g1", "nodes"].map(Into::into).to_vec() };
    assert!(seconds_until_told([&mut first, &mut second], &nodes) < Some(DELAY + 2));
    let last = Request { purpose: Purpose::Notification, ..one.request(Method::Get, &[]) };
    let last = second.ask(&one.caller, last);
    assert_eq!((last.status, error_id(&last)), (Status::NotFound, Some(5)));
}

#[test]
fn a_version_that_another_process_has_begun_is_told_here_too() {
    let (mut first, mut second) = two(&[]);
    let _one = join(&mut first, 1);
    pass([&mut first, &mut second], 15);
    second.notices.clear();
    first.command(Command::Rekey("g1".into())).unwrap();
    pass([&mut first, &mut second], 15);
    let told = |desk: &Desk| desk.notices.iter().filter(|notice| **notice == changed(&["ace-group", "g1"])).count();
    assert_eq!((told(&first), told(&second)), (1, 1), "once each");
}

/// A member that takes requests, at this process; its token is of now.
fn taking(desk: &mut Desk, number: u16) -> Joined {
    let client = client(number);
    let mut claims = client.claims(&[("g1", TALKER)], LATER);
    claims.iat = Some(desk.now.unix.seconds());
    let (caller, challenge) = desk.post_token(&token(1, &claims)).unwrap();
    let caller = super::delivery::from(&caller, 40_000 + number);
    let mut request = client.join("g1", TALKER, &challenge, &[7; 8]);
    request.control_uri = Some("/control".into());
    let answer = desk.ask(&caller, join_post("g1", &request));
    assert_eq!(answer.status, Status::Created, "{answer:?}");
    let (num, sender_id, key) = read_join(&answer);
    Joined { client, caller, challenge, node: answer.location_path[3].clone(), num, sender_id, key }
}

#[test]
fn a_group_that_another_process_has_deleted_and_made_again_is_told_of_from_its_first_version_on() {
    let (mut first, mut second) = two(&[]);
    join(&mut first, 1);
    for _ in 0..5 {
        first.command(Command::Rekey("g1".into())).unwrap();
    }
    pass([&mut first, &mut second], 30);
    first.command(Command::Delete { group: "g1".into(), with_members: true }).unwrap();
    pass([&mut first, &mut second], 5);
    let [config] = config(&[]).groups.try_into().unwrap();
    first.command(Command::Create { config, issuers: Some(["as1".to_owned()].into()) }).unwrap();
    pass([&mut first, &mut second], 120);
    let member = taking(&mut second, 2);
    assert_eq!(member.num, 0);
    second.deliveries.clear();
    first.command(Command::Rekey("g1".into())).unwrap();
    pass([&mut first, &mut second], 3);
    let told: Vec<_> = second.deliveries.iter().map(|(_, delivery)| delivery.association.clone()).collect();
    assert_eq!(told, [super::delivery::id(&member.caller)], "by the process that it talks to, and soon");
}
