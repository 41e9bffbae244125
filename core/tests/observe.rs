//! Registrations of observers: what is stored of them and when it goes, and who is told of what.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::AssociationId;
use ace_groupcomm::check::Check;
use ace_groupcomm::kdc::registrations;
use ace_groupcomm::records::Observation;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::traits::transport::AssociationNeed;
use ace_groupcomm::{Caller, Method, RecordType, Registration, Request, Status};
use bytes::Bytes;

const TALKER: u64 = 1;
const LISTENER: u64 = 2;
const LATER: u64 = 2_000_000;

fn desk(sharing: Sharing) -> Desk {
    Desk::new(&AwsLc, TestStore::new(sharing), desk::config(&["g1", "g2"])).unwrap()
}

fn id(caller: &Caller) -> AssociationId {
    match caller {
        Caller::Peer(id, _) => id.clone(),
        _ => panic!("nobody"),
    }
}

/// A member of g1; with it its node.
fn member(desk: &mut Desk, number: u16, expires: u64) -> (Caller, String) {
    let client = TestClient::new(&AwsLc, number).unwrap();
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", TALKER)], expires))).unwrap();
    let answer = desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8])));
    assert_eq!(answer.status, Status::Created);
    (caller, answer.location_path[3].clone())
}

/// A request that wants to be told of changes.
fn observing(method: Method, resource: &[&str], registration: &'static [u8]) -> Request {
    let mut request = group_request(method, "g1", resource);
    request.observe = Some(named(registration));
    request
}

/// A registration; its name is the first byte.
fn named(registration: &'static [u8]) -> Registration {
    Registration { name: Bytes::from_static(&registration[..1]), state: Bytes::from_static(registration) }
}

/// Those that are stored.
fn stored(desk: &Desk) -> Vec<(AssociationId, Vec<u8>)> {
    let all = desk.store.dump().into_iter().filter(|(key, _)| key.as_bytes().starts_with(b"o/"));
    let read = all.map(|(_, record)| Observation::decode(&record.value).unwrap());
    let mut read: Vec<_> = read.map(|one| (one.association, one.state.into_vec())).collect();
    read.sort();
    read
}

#[test]
fn what_is_observed_is_stored_with_the_answer() {
    let mut desk = desk(Sharing::Exclusive);
    let (caller, node) = member(&mut desk, 1, LATER);
    let kept = |registration: &[u8]| (id(&caller), registration.to_vec());
    for (number, resource) in [&[][..], &["active"], &["notes"], &["nodes", &node]].into_iter().enumerate() {
        let registration: &'static [u8] = [&b"0"[..], b"1", b"2", b"3"][number];
        let answer = desk.ask(&caller, observing(Method::Get, resource, registration));
        assert_eq!((answer.status, answer.observed), (Status::Content, true), "{resource:?}");
        assert_eq!(stored(&desk).len(), number + 1);
        let without = desk.ask(&caller, group_request(Method::Get, "g1", resource));
        assert_eq!((without.payload, without.observed), (answer.payload, false), "the same, without");
    }
    // The same again is the same.
    assert!(desk.ask(&caller, observing(Method::Get, &["notes"], b"2")).observed);
    assert_eq!(stored(&desk), [kept(b"0"), kept(b"1"), kept(b"2"), kept(b"3")]);
    // It ends, once.
    desk.need(AssociationNeed::Unobserved(id(&caller), named(b"1")));
    assert_eq!(stored(&desk), [kept(b"0"), kept(b"2"), kept(b"3")]);
    let commits = desk.kdc.stats().commits;
    desk.need(AssociationNeed::Unobserved(id(&caller), named(b"1")));
    desk.need(AssociationNeed::Unobserved(b"nobody".into(), named(b"2")));
    assert_eq!((stored(&desk).len(), desk.kdc.stats().commits), (3, commits));
    // What takes another's place is not ended with it.
    assert!(desk.ask(&caller, observing(Method::Get, &["notes"], b"2 again")).observed);
    desk.need(AssociationNeed::Unobserved(id(&caller), named(b"2")));
    assert_eq!(stored(&desk), [kept(b"0"), kept(b"2 again"), kept(b"3")]);
    // A check counts them.
    let mut check = Check::default();
    desk.store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    let findings = check.finish();
    assert!(findings.is_clean() && findings.observations == 3, "{findings}");
    assert!(findings.to_string().contains("3 observations"));
}

#[test]
fn what_cannot_be_observed_is_answered_without() {
    let mut desk = desk(Sharing::Exclusive);
    let (caller, _) = member(&mut desk, 1, LATER);
    for (method, resource) in [
        (Method::Get, &["policies"][..]),
        (Method::Get, &["kdc-cred"]),
        (Method::Get, &["creds"]),
        (Method::Get, &["num"]),
        (Method::Fetch, &["creds"]),
        (Method::Get, &["nodes", "another"]),
        (Method::Get, &["nothing", "there"]),
        (Method::Post, &[]),
    ] {
        let answer = desk.ask(&caller, observing(method, resource, b"r"));
        assert!(!answer.observed, "{method:?} {resource:?}");
    }
    assert!(!desk.ask(&Caller::anonymous(), observing(Method::Get, &[], b"r")).observed);
    let stranger =
        desk.post_token(&token(1, &TestClient::new(&AwsLc, 2).unwrap().claims(&[("g1", LISTENER)], LATER))).unwrap().0;
    let refused = desk.ask(&stranger, observing(Method::Get, &[], b"r"));
    assert!(!refused.status.is_success() && !refused.observed, "no member");
    assert!(stored(&desk).is_empty());
    // What another process changes of the profile's own would be nobody's news.
    let mut shared = self::desk(Sharing::Shared);
    let (caller, _) = member(&mut shared, 1, LATER);
    let answer = shared.ask(&caller, observing(Method::Get, &["notes"], b"r"));
    assert_eq!((answer.status, answer.observed, stored(&shared).len()), (Status::Content, false, 0));
    for (resource, registration) in [(&[][..], &b"1"[..]), (&["active"], b"2")] {
        assert!(shared.ask(&caller, observing(Method::Get, resource, registration)).observed);
    }
    assert_eq!(stored(&shared).len(), 2);
}

#[test]
fn a_registration_that_is_not_safe_is_not_acknowledged() {
    let mut desk = desk(Sharing::Exclusive);
    let (caller, _) = member(&mut desk, 1, LATER);
    desk.store.fail_next(Fault::NotDone);
    let answer = desk.ask(&caller, observing(Method::Get, &[], b"r"));
    assert_eq!((answer.status, answer.observed), (Status::ServiceUnavailable, false));
    assert!(stored(&desk).is_empty());
}

#[test]
fn registrations_in_one_group_go_out_together() {
    let mut desk = desk(Sharing::Exclusive);
    let members = [1, 2, 3, 4].map(|number| member(&mut desk, number, LATER));
    let node = members[3].1.clone();
    let resources = [&[][..], &["active"], &["notes"], &["nodes", &node]];
    let all = || members.iter().map(|(caller, _)| caller.clone()).zip(resources);
    all().for_each(|(caller, resource)| drop(desk.ask(&caller, group_request(Method::Get, "g1", resource))));
    let commits = desk.kdc.stats().commits;
    let asked = all().map(|(caller, resource)| (caller, observing(Method::Get, resource, b"0"))).collect();
    assert!(desk.ask_all(asked).iter().all(|answer| answer.observed));
    assert_eq!((desk.kdc.stats().commits - commits, stored(&desk).len()), (1, 4));
}

#[tokio::test]
async fn all_that_are_stored_are_found() {
    let mut desk = desk(Sharing::Exclusive);
    let (caller, _) = member(&mut desk, 1, LATER);
    let mut expected = Vec::new();
    for number in 0..600_u16 {
        let mut request = group_request(Method::Get, "g1", &[]);
        let registration =
            Registration { name: number.to_be_bytes().to_vec().into(), state: Bytes::from_static(b"state") };
        request.observe = Some(registration.clone());
        assert!(desk.ask(&caller, request).observed);
        expected.push((id(&caller), registration));
    }
    let mut found = registrations(&desk.store).await.unwrap();
    found.sort_by(|one, other| one.1.name.cmp(&other.1.name));
    assert_eq!(found, expected);
}
