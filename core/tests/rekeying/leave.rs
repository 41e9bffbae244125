//! A member leaves (RFC 9594 section 4.8.3, Group OSCORE profile section 10).

use super::*;
use ace_groupcomm::kdc::KdcConfig;
use ace_groupcomm::records::RekeyReason;
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::{AssociationId, TokenHash};
use std::time::Duration;

fn id(caller: &Caller) -> AssociationId {
    match caller {
        Caller::Peer(id, _) => id.clone(),
        _ => panic!("nobody"),
    }
}

// Covers: KG-4.8.3-01, KG-4.8.3-02, KG-4.8.3-03, KG-5-04, KG-6-01, TH-4-01/leave-rekeys, TH-4-02/due-in-commit
#[test]
fn who_leaves_is_no_member_and_the_others_get_new_keys() {
    let mut desk = desk_with(&[]);
    let (one, two) = (join(&mut desk, 1), join(&mut desk, 2));
    let gid = head(&desk).gid;
    desk.notices.clear();
    let commits = desk.kdc.stats().commits;
    let answer = one.leave(&mut desk);
    assert_eq!((answer.status, answer.payload.len()), (Status::Deleted, 0));
    assert_eq!(desk.kdc.stats().commits - commits, 1, "with that a rekeying is due");
    assert_eq!(head(&desk).rekey_due.unwrap().reasons, [RekeyReason::Left].into());
    let path = ["ace-group", "g1"].map(Into::into).to_vec();
    assert_eq!(desk.notices, [AssociationNotice::Unobserved { id: id(&one.caller), path }], "it is told nothing");
    // It has no resource any more, and gets no key, from now on.
    for answer in [one.leave(&mut desk), one.get(&mut desk), desk.ask(&one.caller, one.request(Method::Get, &[]))] {
        assert_eq!((answer.status, error_id(&answer)), (Status::Forbidden, Some(0)));
    }
    assert_eq!(two.keys(&mut desk).0, 0, "for others it takes the delay");
    desk.pass(Duration::from_secs(DELAY - 1));
    assert_eq!(two.keys(&mut desk).0, 0);
    desk.notices.clear();
    desk.pass(Duration::from_secs(1));
    let nodes = ["ace-group", "g1", "nodes"].map(Into::into).to_vec();
    assert_eq!(desk.notices, [changed(&["ace-group", "g1"]), AssociationNotice::ChangedBelow { path: nodes }]);
    let (num, key) = two.keys(&mut desk);
    let after = head(&desk);
    assert_eq!((num, after.num, after.rekey_due.clone(), after.members), (1, 1, None, 1));
    assert!(key != two.key && after.gid != gid, "another secret, under another Gid");
    assert_clean(&desk);
}

#[test]
fn a_leave_that_is_not_durable_is_not_acknowledged() {
    let mut desk = desk_with(&[]);
    let one = join(&mut desk, 1);
    desk.store.fail_next(Fault::NotDone);
    assert_eq!(one.leave(&mut desk).status, Status::ServiceUnavailable);
    assert_eq!(one.get(&mut desk).status, Status::Content, "it is a member still");
    assert_eq!(one.leave(&mut desk).status, Status::Deleted);
}

// Covers: GO-10-04
#[test]
fn who_has_left_may_join_again_with_the_same_token_and_node_and_gets_another_sender_id() {
    let mut desk = desk_with(&[]);
    let (one, _two) = (join(&mut desk, 1), join(&mut desk, 2));
    assert_eq!(one.leave(&mut desk).status, Status::Deleted);
    let answer = desk.ask(&one.caller, join_post("g1", &one.client.join("g1", TALKER, &one.challenge, &[8; 8])));
    assert_eq!((answer.status, answer.location_path[3].as_str()), (Status::Created, one.node.as_str()));
    assert_ne!(read_join(&answer).1, one.sender_id, "under one Gid none is given twice");
    assert_clean(&desk);
}

#[test]
fn a_leave_with_a_payload_or_of_anothers_node_is_refused() {
    let mut desk = desk_with(&[]);
    let (one, two) = (join(&mut desk, 1), join(&mut desk, 2));
    let with_payload = one.request(Method::Delete, &[]).with_payload(261, vec![0xa0]);
    assert_eq!(desk.ask(&one.caller, with_payload).status, Status::BadRequest);
    let answer = desk.ask(&one.caller, two.request(Method::Delete, &[]));
    assert_eq!((answer.status, error_id(&answer)), (Status::Forbidden, None));
    assert_eq!(head(&desk).members, 2);
}

#[test]
fn who_only_listens_leaves_too_and_the_group_is_rekeyed() {
    let mut desk = desk_with(&[]);
    let two = join(&mut desk, 2);
    let (client, caller, _) = admitted(&mut desk, 1);
    let answer = desk.ask(&caller, join_post("g1", &client.join("g1", LISTENER, &[], &[7; 8])));
    let leave = group_request(Method::Delete, "g1", &["nodes", &answer.location_path[3]]);
    assert_eq!(desk.ask(&caller, leave).status, Status::Deleted);
    desk.pass(Duration::from_secs(DELAY));
    assert_eq!(two.keys(&mut desk).0, 1);
    assert_eq!(two.notified(&mut desk).stale_node_ids, Some(vec![]), "it had no Sender ID");
    assert_clean(&desk);
}

// Covers: TH-4-04/principal-rate, TH-4-04/cycling-member
#[test]
fn who_comes_and_goes_does_so_six_times_an_hour_and_may_always_go() {
    let mut desk = desk_with(&[("rekey_delay", ConfigValue::Int(0))]);
    let _two = join(&mut desk, 2);
    let mut nums = Vec::new();
    for _ in 0..6 {
        let one = join(&mut desk, 1);
        assert_eq!(one.leave(&mut desk).status, Status::Deleted);
        desk.due();
        nums.push(head(&desk).num);
    }
    assert_eq!(nums, [1, 2, 3, 4, 5, 6]);
    let again = |desk: &mut Desk| {
        let (client, caller, challenge) = admitted(desk, 1);
        let answer = desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[9; 8])));
        (answer.status, answer.max_age)
    };
    assert_eq!(again(&mut desk), (Status::TooManyRequests, Some(3_600)));
    // Neither another token nor a new process begins the count anew.
    desk.revoke(&TokenHash::of(&token_of(1)));
    let other = token(1, &client(1).claims(&[("g1", TALKER)], LATER + 1));
    let (caller, challenge) = desk.post_token(&other).unwrap();
    let join = join_post("g1", &client(1).join("g1", TALKER, &challenge, &[9; 8]));
    assert_eq!(desk.ask(&caller, join.clone()).status, Status::TooManyRequests);
    let later = desk.now.plus(Duration::from_secs(3_599));
    let mut desk =
        Desk::at(&AwsLc, desk.store.clone(), config(&[("rekey_delay", ConfigValue::Int(0))]), later).unwrap();
    let answer = desk.ask(&caller, join.clone());
    assert_eq!((answer.status, answer.max_age), (Status::TooManyRequests, Some(1)));
    assert_clean(&desk);
    desk.pass(Duration::from_secs(1));
    assert!(desk.store.dump().iter().all(|(key, _)| !key.as_bytes().starts_with(b"p") || key.as_bytes()[1] == b'/'));
    assert_eq!(desk.ask(&caller, join).status, Status::Created, "the hour is over, and so is the count");
}

#[test]
fn a_leave_is_never_refused_for_how_often() {
    let mut desk =
        Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), KdcConfig { changes_per_hour: 0, ..config(&[]) })
            .unwrap();
    let one = join(&mut desk, 1);
    assert_eq!(one.renew(&mut desk).status, Status::Content, "the first of an hour is counted when it is done");
    assert_eq!(one.renew(&mut desk).status, Status::TooManyRequests);
    assert_eq!(one.leave(&mut desk).status, Status::Deleted);
}

#[test]
fn a_group_without_members_is_rekeyed_for_the_next_one() {
    let mut desk = desk_with(&[]);
    let one = join(&mut desk, 1);
    one.leave(&mut desk);
    desk.pass(Duration::from_secs(600));
    assert_eq!((head(&desk).num, head(&desk).rekey_due.is_some()), (0, true), "for nobody it is not");
    let commits = desk.kdc.stats().commits;
    let (client, caller, challenge) = admitted(&mut desk, 2);
    desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    assert_eq!(desk.kdc.stats().commits - commits, 1, "its association");
    let answer = desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8])));
    let (num, _, key) = read_join(&answer);
    assert!(num == 1 && key != one.key, "it cannot read what was said before");
    assert_eq!(desk.kdc.stats().commits - commits, 2, "membership and version are one commit");
    assert_eq!((head(&desk).num, head(&desk).rekey_due), (1, None));
    assert_clean(&desk);
}
