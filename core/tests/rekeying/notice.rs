//! Memberships end a little earlier than the tokens by which they last, so that members are told (RFC 9594 section 5, RFC 9203
//! section 4.3).

use super::delivery::{from, sent};
use super::*;
use ace_groupcomm::records::Meta;
use ace_groupcomm::testkit::build::token_post_with;
use ace_groupcomm::traits::transport::AssociationNeed;
use ace_groupcomm::{Now, UnixTime};
use ace_groupcomm_messages::TokenTransferResponse;
use std::time::Duration;

/// A member by a token that is good for so many seconds from now; where it takes requests, at this port.
fn member(desk: &mut Desk, number: u16, life: u64, port: Option<u16>) -> (Joined, Vec<u8>) {
    let client = client(number);
    let token = token(1, &client.claims(&[("g1", TALKER)], desk.now.unix.seconds() + life));
    let (caller, challenge) = desk.post_token(&token).unwrap();
    let caller = port.map_or(caller.clone(), |port| from(&caller, port));
    let mut request = client.join("g1", TALKER, &challenge, &[7; 8]);
    request.control_uri = port.map(|_| "/told".into());
    let answer = desk.ask(&caller, join_post("g1", &request));
    assert_eq!(answer.status, Status::Created, "{answer:?}");
    let (num, sender_id, key) = read_join(&answer);
    (Joined { client, caller, challenge, node: answer.location_path[3].clone(), num, sender_id, key }, token)
}

fn pass(desk: &mut Desk, seconds: u64) {
    desk.pass(Duration::from_secs(seconds));
}

fn told(desk: &mut Desk, caller: &Caller, resource: &[&str]) -> Response {
    let request = Request { purpose: Purpose::Notification, ..group_request(Method::Get, "g1", resource) };
    desk.ask(caller, request)
}

// Covers: TH-3-07/early-notice, TH-3-07/node-observer, TH-3-07/other-observers
#[test]
fn a_minute_before_its_token_ends_a_member_is_told_that_it_is_none_any_more() {
    let mut desk = desk_with(&[]);
    let (stays, _) = member(&mut desk, 9, 100_000, None);
    let (taking, _) = member(&mut desk, 1, 1_000, Some(40_001));
    let (observer, token) = member(&mut desk, 2, 1_000, None);
    pass(&mut desk, 939);
    assert_eq!((observer.get(&mut desk).status, head(&desk).members), (Status::Content, 3));
    desk.deliveries.clear();
    pass(&mut desk, 1);
    assert_eq!((head(&desk).members, head(&desk).rekey_due.is_some()), (1, true));
    // Who takes requests is sent one, and who observes its node gets the error: under associations that are good still.
    let deliveries = sent(&mut desk, 1);
    assert_eq!(deliveries.len(), 1);
    assert_eq!((deliveries[0].1.request.method, &deliveries[0].1.request.path[0][..]), (Method::Delete, "told"));
    assert_eq!(deliveries[0].1.association, super::delivery::id(&taking.caller));
    let node = told(&mut desk, &observer.caller, &["nodes", &observer.node]);
    assert_eq!((node.status, error_id(&node)), (Status::NotFound, Some(5)));
    assert_eq!(told(&mut desk, &observer.caller, &[]).status, Status::Unauthorized);
    // By this token nobody becomes a member again, posted again or not.
    let again = observer.client.join("g1", TALKER, &observer.challenge, &[8; 8]);
    assert_eq!(desk.ask(&observer.caller, join_post("g1", &again)).status, Status::Unauthorized);
    let post = desk.ask(&Caller::anonymous(), token_post_with(&token, &[0x22; 8]));
    let posted = TokenTransferResponse::decode(&post.payload).unwrap();
    let caller = Caller::peer(posted.server_recipient_id.unwrap());
    let join = observer.client.join("g1", TALKER, &posted.kdcchallenge.unwrap(), &[8; 8]);
    assert_eq!(desk.ask(&caller, join_post("g1", &join)).status, Status::Unauthorized);
    assert_eq!(head(&desk).members, 1);
    assert_clean(&desk);
    // Those who stay have the next keys before the token ends; then its association is gone too.
    pass(&mut desk, DELAY);
    assert_eq!(stays.keys(&mut desk).0, 1);
    assert_eq!(desk.ask(&caller, group_request(Method::Get, "g1", &["num"])).status, Status::Forbidden);
    pass(&mut desk, 60);
    assert_eq!(desk.ask(&caller, group_request(Method::Get, "g1", &["num"])).status, Status::Unauthorized);
    assert_eq!(head(&desk).num, 1, "nothing more has come of that");
    assert_clean(&desk);
}

#[test]
fn who_has_another_token_in_time_notices_nothing() {
    let mut desk = desk_with(&[]);
    let (one, _) = member(&mut desk, 1, 1_000, None);
    pass(&mut desk, 800);
    let fresh = token(1, &one.client.claims(&[("g1", TALKER)], desk.now.unix.seconds() + 1_000));
    let (renewed, _) = desk.post_token(&fresh).unwrap();
    assert_eq!(desk.ask(&renewed, group_request(Method::Get, "g1", &[])).status, Status::Content);
    pass(&mut desk, 300);
    assert_eq!(desk.ask(&renewed, group_request(Method::Get, "g1", &[])).status, Status::Content);
    assert_eq!((head(&desk).members, head(&desk).num), (1, 0));
    assert_clean(&desk);
}

#[test]
fn by_the_time_of_a_process_whose_clock_is_ahead_a_membership_ends_too() {
    let mut desk = desk_with(&[]);
    let (one, _) = member(&mut desk, 1, 1_000, None);
    let began = desk.now.unix.seconds();
    let meta: Meta = desk.store.record(&keys::meta()).unwrap();
    desk.store.plant(&keys::meta(), &Meta { latest: UnixTime::new(began + 945), ..meta });
    let now = Now::new(began + 930, Duration::from_secs(1));
    let mut desk = Desk::at(&AwsLc, desk.store.clone(), config(&[]), now).unwrap();
    assert_eq!(head(&desk).members, 0, "another one has ended what was due at that time");
    desk.need(AssociationNeed::Unknown(super::delivery::id(&one.caller)));
    assert_eq!(one.get(&mut desk).status, Status::Forbidden);
    assert_clean(&desk);
}

#[test]
fn of_a_short_life_a_tenth_is_left_for_the_notice() {
    let mut desk = desk_with(&[]);
    for (life, ends) in [(100, 90), (600, 540), (9, 9)] {
        let (one, _) = member(&mut desk, 1, life, None);
        pass(&mut desk, ends - 1);
        assert_eq!(one.get(&mut desk).status, Status::Content, "{life}");
        pass(&mut desk, 1);
        assert_eq!(one.get(&mut desk).status, if ends < life { Status::Forbidden } else { Status::Unauthorized });
        pass(&mut desk, life);
    }
}

#[test]
fn how_long_before_is_a_matter_of_configuration() {
    let config = KdcConfig { expiry_notice: Duration::from_secs(5), ..config(&[]) };
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config).unwrap();
    let (one, _) = member(&mut desk, 1, 1_000, None);
    pass(&mut desk, 994);
    assert_eq!(one.get(&mut desk).status, Status::Content);
    pass(&mut desk, 1);
    assert_eq!(one.get(&mut desk).status, Status::Forbidden);
}
