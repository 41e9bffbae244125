//! Resources and records of a profile's own: the notes and the board of the toy profile.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::UnixTime;
use ace_groupcomm::check::Check;
use ace_groupcomm::engine::Machine;
use ace_groupcomm::kdc::Restore;
use ace_groupcomm::keys;
use ace_groupcomm::records::{Head, NamedGroup, RekeyReason};
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::toy::{EMPTY_NOTE, NOTE};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::{CommitOutcome, Sharing, Txn};
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm::{Caller, Method, Registration, Request, Response, Status};
use ace_groupcomm_messages::labels::content_format::{CBOR, PROBLEM_DETAILS_CBOR};
use ace_groupcomm_messages::{GroupcommError, ProblemDetails, RawCbor};
use std::time::Duration;

const TALKER: u64 = 1;
const READER: u64 = 4;

fn on(store: &TestStore) -> Desk {
    Desk::new(&AwsLc, store.clone(), desk::config(&["g1", "g2"])).unwrap()
}

fn caller(desk: &mut Desk, number: u16, gname: &str, roles: u64) -> Caller {
    let client = TestClient::new(&AwsLc, number).unwrap();
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[(gname, roles)], 2_000_000))).unwrap();
    if roles == TALKER {
        let join = join_post(gname, &client.join(gname, roles, &challenge, &[7; 8]));
        assert_eq!(desk.ask(&caller, join).status, Status::Created);
    }
    caller
}

fn write(name: &str, text: &str) -> Request {
    let note = RawCbor::bytes(text.as_bytes());
    group_request(Method::Post, "g1", &["notes", name]).with_payload(CBOR, note.as_bytes().to_vec())
}

fn get(path: &[&str]) -> Request {
    group_request(Method::Get, "g1", path)
}

fn bytes(response: &Response) -> Vec<u8> {
    assert_eq!((response.status, response.content_format), (Status::Content, Some(CBOR)), "{response:?}");
    RawCbor::new(&response.payload).unwrap().to_byte_string().unwrap()
}

fn names(response: &Response) -> Vec<u8> {
    assert_eq!((response.status, response.content_format), (Status::Content, Some(CBOR)), "{response:?}");
    response.payload.to_vec()
}

fn problem(response: &Response) -> Option<i64> {
    assert_eq!(response.content_format, Some(PROBLEM_DETAILS_CBOR), "{response:?}");
    ProblemDetails::decode(&response.payload).unwrap().error_id
}

fn head(store: &TestStore) -> Head {
    let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
    store.record(&keys::head(id)).unwrap()
}

fn assert_clean(store: &TestStore) {
    let mut check = Check::default();
    store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    let findings = check.finish();
    assert!(findings.is_clean(), "{findings}");
}

#[test]
fn a_members_post_writes_a_record_of_the_profile_and_others_read_it() {
    for sharing in [Sharing::Exclusive, Sharing::Shared] {
        let store = TestStore::new(sharing);
        let mut desk = on(&store);
        let one = caller(&mut desk, 1, "g1", TALKER);
        let two = caller(&mut desk, 2, "g1", TALKER);
        assert_eq!(names(&desk.ask(&one, get(&["notes"]))), [0x80]);
        assert_eq!(desk.ask(&one, write("a", "hello")).status, Status::Created);
        assert_eq!(desk.ask(&two, write("b", "there")).status, Status::Created);
        assert_eq!(desk.ask(&two, write("a", "again")).status, Status::Changed);
        assert_eq!(bytes(&desk.ask(&one, get(&["notes", "a"]))), b"again");
        assert_eq!(names(&desk.ask(&one, get(&["notes"]))), *b"\x82\x41a\x41b");
        if sharing == Sharing::Exclusive {
            // So has the next process. On shared storage it would have to claim the association first.
            assert_eq!(names(&on(&store).ask(&one, get(&["notes"]))), *b"\x82\x41a\x41b");
        }
        // They are of their group.
        let other = caller(&mut desk, 3, "g2", TALKER);
        let of_g2 = group_request(Method::Get, "g2", &["notes"]);
        assert_eq!(names(&desk.ask(&other, of_g2)), [0x80]);
        assert_clean(&store);
    }
}

#[test]
fn what_is_not_durable_is_not_acknowledged() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store);
    let one = caller(&mut desk, 1, "g1", TALKER);
    desk.store.fail_next(Fault::NotDone);
    assert_eq!(desk.ask(&one, write("a", "hello")).status, Status::ServiceUnavailable);
    assert_eq!(desk.ask(&one, get(&["notes", "a"])).status, Status::NotFound);
}

#[test]
fn an_error_of_the_profile_has_its_own_number() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store);
    let one = caller(&mut desk, 1, "g1", TALKER);
    let refused = desk.ask(&one, write("a", ""));
    assert_eq!((refused.status, problem(&refused)), (Status::BadRequest, Some(EMPTY_NOTE)));
    assert_eq!(desk.ask(&one, get(&["notes"])).payload.as_ref(), [0x80]);
}

#[test]
fn a_route_is_for_those_that_the_profile_names() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store);
    let member = caller(&mut desk, 1, "g1", TALKER);
    desk.ask(&member, write("a", "hello"));
    let reader = caller(&mut desk, 2, "g1", READER);
    assert_eq!(names(&desk.ask(&reader, get(&["board"]))), *b"\x81\x41a", "no member, and granted the role");
    let not_a_member = Some(GroupcommError::NotAMember as i64);
    for (caller, path) in
        [(&member, &["board"][..]), (&reader, &["notes"]), (&reader, &["notes", "a"]), (&reader, &["x"])]
    {
        let response = desk.ask(caller, get(path));
        assert_eq!((response.status, problem(&response)), (Status::Forbidden, not_a_member), "{path:?}");
    }
    let foreign = caller(&mut desk, 3, "g2", TALKER);
    assert_eq!(desk.ask(&foreign, get(&["notes"])).status, Status::Forbidden);
    assert_eq!(desk.ask(&Caller::anonymous(), get(&["notes"])).status, Status::Unauthorized);
    for (method, path, status) in [
        (Method::Post, &["notes"][..], Status::MethodNotAllowed),
        (Method::Put, &["notes", "a"], Status::MethodNotAllowed),
        (Method::Get, &["board", "a"], Status::NotFound),
        (Method::Get, &["notes", "a", "b"], Status::NotFound),
        (Method::Get, &["nothing"], Status::NotFound),
        (Method::Get, &["num", "a"], Status::NotFound),
    ] {
        assert_eq!(desk.ask(&member, group_request(method, "g1", path)).status, status, "{method:?} {path:?}");
    }
    let other = Request { content_format: Some(60 + 1), ..write("a", "x") };
    assert_eq!(desk.ask(&member, other).status, Status::UnsupportedContentFormat);
    let other = Request { accept: Some(61), ..get(&["notes"]) };
    assert_eq!(desk.ask(&member, other).status, Status::NotAcceptable);
}

#[test]
fn a_change_can_ask_for_a_rekeying_and_tells_observers() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store);
    let one = caller(&mut desk, 1, "g1", TALKER);
    let registration = Registration { name: vec![1].into(), state: vec![2].into() };
    desk.ask(&one, write("a", "hello"));
    let observing = |path: &[&str]| Request { observe: Some(registration.clone()), ..get(path) };
    assert!(desk.ask(&one, observing(&["notes", "a"])).observed);
    desk.notices.clear();
    assert_eq!(head(&store).rekey_due, None);
    let delete = group_request(Method::Delete, "g1", &["notes", "a"]);
    assert_eq!(desk.ask(&one, delete.clone()).status, Status::Deleted);
    assert_eq!(head(&store).rekey_due.unwrap().reasons, [RekeyReason::Profile].into());
    let changed = AssociationNotice::Changed { path: delete.path };
    assert!(desk.notices.contains(&changed), "{:?}", desk.notices);
    let list = AssociationNotice::Changed { path: get(&["notes"]).path };
    assert!(desk.notices.contains(&list), "whoever observes the list learns of it too: {:?}", desk.notices);
    let reader = caller(&mut desk, 2, "g1", READER);
    let board = desk.ask(&reader, observing(&["board"]));
    assert!(board.status == Status::Content && !board.observed, "the profile says what can be observed");
}

#[test]
fn two_processes_change_records_of_one_kind_without_losing_one() {
    let store = TestStore::new(Sharing::Shared);
    let (mut here, mut there) = (on(&store), on(&store));
    let one = caller(&mut here, 1, "g1", TALKER);
    let two = caller(&mut there, 2, "g1", TALKER);
    // Each has seen the list before the other one changes it.
    assert_eq!(names(&here.ask(&one, get(&["notes"]))), [0x80]);
    assert_eq!(names(&there.ask(&two, get(&["notes"]))), [0x80]);
    assert_eq!(here.ask(&one, write("a", "x")).status, Status::Created);
    assert_eq!(names(&there.ask(&two, get(&["notes"]))), *b"\x81\x41a");
    assert_eq!(there.ask(&two, write("b", "y")).status, Status::Created);
    assert_eq!(names(&here.ask(&one, get(&["notes"]))), *b"\x82\x41a\x41b");
}

#[test]
fn a_restore_drops_keeps_or_renews_as_the_kind_says() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store);
    let one = caller(&mut desk, 1, "g1", TALKER);
    desk.ask(&one, write("a", "hello"));
    let own = |store: &TestStore| {
        let keys = store.dump().into_iter().map(|(key, _)| key.as_bytes().to_vec());
        let of_kind = |kind: &[u8]| keys.clone().filter(|key| key.windows(6).any(|part| part == kind)).count();
        (of_kind(b"/x/r\0\x01"), of_kind(b"/x/d\0\x02"))
    };
    assert_eq!(own(&store), (1, 1));
    let mut restore = Restore::new(UnixTime::new(1_500_000), [1; 6], Some(vec![]));
    let mut write = Vec::new();
    for (key, record) in store.dump() {
        write.extend(restore.record(&key, &record.value).unwrap().map(|value| (key, Some(value))));
    }
    write.extend(restore.finish().into_iter().map(|(key, value)| (key, Some(value))));
    let restored = TestStore::new(Sharing::Exclusive);
    assert!(matches!(restored.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    assert_eq!(own(&restored), (1, 0));
    let mut desk = on(&restored);
    assert!(desk.kdc.is_ready());
    assert_clean(&restored);
    desk.pass(std::time::Duration::from_secs(600_000));
    let one = caller(&mut desk, 1, "g1", TALKER);
    assert_eq!(bytes(&desk.ask(&one, get(&["notes", "a"]))), b"(restored) hello");
}

#[test]
fn what_a_profile_keeps_of_a_member_goes_with_its_membership() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store);
    let one = caller(&mut desk, 1, "g1", TALKER);
    let client = TestClient::new(&AwsLc, 2).unwrap();
    let (two, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", TALKER)], 1_000_100))).unwrap();
    let mut join = client.join("g1", TALKER, &challenge, &[7; 8]);
    join.extra = vec![(NOTE, RawCbor::text("here"))];
    assert_eq!(desk.ask(&two, join_post("g1", &join)).status, Status::Created);
    let notes =
        |desk: &mut Desk| RawCbor::new(&names(&desk.ask(&one, get(&["notes"])))).unwrap().to_array().unwrap().len();
    assert_eq!(notes(&mut desk), 1);
    desk.pass(Duration::from_secs(100));
    assert_eq!(desk.ask(&two, get(&["num"])).status, Status::Unauthorized, "its token has ended");
    assert_eq!(notes(&mut desk), 0);
    assert_clean(&store);
}
