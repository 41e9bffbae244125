//! The check of what is stored: a KDC's own state is clean, and whatever is broken in it is told.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::UnixTime;
use ace_groupcomm::check::{Check, Findings};
use ace_groupcomm::keys::{self, GroupId, PrincipalId};
use ace_groupcomm::records::{
    Association, BelongsTo, Expiry, GidOwner, Head, Mark, MemberRecord, NamedGroup, Principal, SenderIdRecord,
};
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::crypto::Thumbprint;
use ace_groupcomm::traits::storage::{Key, Sharing};
use ace_groupcomm::{Method, RecordType, Status};
use std::collections::BTreeMap;
use std::time::Duration;

type Records = BTreeMap<Key, Vec<u8>>;

/// What a KDC has stored with three clients, of which two are members, and one has joined twice.
fn stored() -> Records {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = Desk::new(&AwsLc, store.clone(), desk::config(&["g1", "g2"])).unwrap();
    for number in 1..=3 {
        let client = TestClient::new(&AwsLc, number).unwrap();
        let claims = client.claims(&[("g1", 1)], 2_000_000 + u64::from(number));
        let (caller, challenge) = desk.post_token(&token(1, &claims)).unwrap();
        desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
        for _ in number..3 {
            let joined = desk.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[7; 8])));
            assert!(matches!(joined.status, Status::Created | Status::Changed));
        }
    }
    store.dump().into_iter().map(|(key, record)| (key, record.value.to_vec())).collect()
}

fn check(records: &Records) -> Findings {
    let mut check = Check::default();
    records.iter().for_each(|(key, value)| check.record(key, value));
    check.finish()
}

fn group(records: &Records) -> GroupId {
    NamedGroup::decode(&records[&keys::name("g1")]).unwrap().id
}

fn client(number: u16) -> PrincipalId {
    PrincipalId::of("as1", &format!("client{number}"))
}

fn edit<T: RecordType>(records: &mut Records, key: &Key, change: impl FnOnce(&mut T)) {
    let mut record = T::decode(&records[key]).unwrap();
    change(&mut record);
    records.insert(key.clone(), record.encode());
}

fn put<T: RecordType>(records: &mut Records, key: Key, record: &T) {
    records.insert(key, record.encode());
}

#[test]
fn a_kdcs_own_state_is_clean() {
    let findings = check(&stored());
    assert!(findings.is_clean(), "{findings}");
    let counts = (findings.groups, findings.members, findings.clients, findings.associations, findings.issued);
    assert_eq!(counts, (2, 2, 3, 3, 0));
    assert!(findings.to_string().ends_with("records, 2 groups, 2 members, 3 clients with a token, 3 associations"));
    assert!(check(&Records::new()).is_clean());
}

/// What is told, and what breaks it.
type Broken = (&'static str, fn(&mut Records));

/// What of a client's state can be broken.
fn of_clients() -> Vec<Broken> {
    vec![
        ("not among the client's memberships", |r| {
            edit::<Principal>(r, &keys::principal(client(1)), |p| p.memberships.clear());
        }),
        ("names a membership that is not there", |r| drop(r.remove(&keys::member(group(r), client(1))))),
        ("has a token that is not known by its hash", |r| {
            edit::<Principal>(r, &keys::principal(client(3)), |p| p.tokens[0].token.hash = vec![1].into());
        }),
        ("has a token whose end is not recorded", |r| {
            edit::<Principal>(r, &keys::principal(client(3)), |p| {
                let expires = &mut p.tokens[0].token.expires;
                *expires = expires.plus(Duration::from_secs(1));
            });
        }),
        ("is the end of no token of its client", |r| {
            let hash = Some(b"another".into());
            let expiry = Expiry { at: UnixTime::new(5), principal: client(3), hash };
            put(r, expiry.key(), &expiry);
        }),
        ("cannot be read", |r| {
            let expiry = Expiry { at: UnixTime::new(5), principal: client(3), hash: None };
            put(r, keys::expiry(UnixTime::new(5), &b"another".into()), &expiry);
        }),
        ("is the end of no token of its client", |r| drop(r.remove(&keys::principal(client(3))))),
        ("holds no token", |r| {
            edit::<Principal>(r, &keys::principal(client(3)), |p| p.tokens.clear());
        }),
        ("is no token of its client", |r| put(r, keys::token(&b"another".into()), &BelongsTo(client(3)))),
        ("has an association that is not its own", |r| {
            edit::<Principal>(r, &keys::principal(client(3)), |p| p.tokens[0].association = vec![9].into());
        }),
        ("is nobody's association", |r| {
            let own = r.iter().find(|(key, _)| key.as_bytes().starts_with(b"a/")).unwrap().1;
            let own = Association::decode(own).unwrap();
            put(r, keys::association(&b"another".into()), &own);
        }),
    ]
}

/// What of a group's state can be broken.
fn of_groups() -> Vec<Broken> {
    vec![
        ("is missing", |r| drop(r.remove(&keys::head(group(r))))),
        ("is missing, and there are members", |r| drop(r.remove(&keys::head(group(r))))),
        ("meta: is missing", |r| drop(r.remove(&keys::meta()))),
        ("belongs to no name", |r| drop(r.remove(&keys::name("g2")))),
        ("uses a Gid that is not recorded as its own", |r| {
            edit::<Head>(r, &keys::head(group(r)), |head| head.gid = vec![1].into());
        }),
        ("uses a Gid that is not recorded as its own", |r| {
            let head = Head::decode(&r[&keys::head(group(r))]).unwrap();
            edit::<GidOwner>(r, &keys::gid(&head.gid), |owner| owner.group = GroupId::new([0; 16]));
        }),
        ("has no secret of its version", |r| edit::<Head>(r, &keys::head(group(r)), |head| head.num += 1)),
        ("counts other members than there are", |r| {
            edit::<Head>(r, &keys::head(group(r)), |head| head.members += 1);
        }),
        ("is of an epoch that has not come", |r| {
            put(r, keys::sender_id(group(r), &b"M".into()), &SenderIdRecord { holder: None, epoch: 1 });
        }),
        ("holds a Sender ID that is not recorded as its own", |r| {
            edit::<MemberRecord>(r, &keys::member(group(r), client(1)), |member| {
                member.sender_id = Some(vec![77].into())
            });
        }),
        ("is held by nobody who is a member", |r| {
            put(r, keys::sender_id(group(r), &b"M".into()), &SenderIdRecord { holder: Some(client(1)), epoch: 0 });
        }),
        ("has a credential that is not recorded as its own", |r| {
            edit::<MemberRecord>(r, &keys::member(group(r), client(1)), |member| {
                member.credential.as_mut().unwrap().thumbprint = Thumbprint::new([1; 32]);
            });
        }),
        ("belongs to nobody who is a member", |r| {
            put(r, keys::credential(group(r), &Thumbprint::new([1; 32])), &BelongsTo(client(1)));
        }),
        ("cannot be read", |r| put(r, keys::head(group(r)), &Mark)),
        ("cannot be read", |r| drop(r.insert(keys::stale(group(r), 1, &b"1".into()), vec![]))),
        ("is of no known kind", |r| put(r, Key::new("zebra"), &Mark)),
    ]
}

#[test]
fn whatever_is_broken_is_told() {
    let whole = stored();
    for (number, (what, change)) in of_clients().into_iter().chain(of_groups()).enumerate() {
        let mut records = whole.clone();
        change(&mut records);
        let findings = check(&records);
        assert!(!findings.is_clean() && findings.to_string().contains(what), "{number}: {what}: {findings}");
    }
}

#[test]
fn each_record_that_does_not_open_is_told() {
    let whole = stored();
    for key in whole.keys() {
        let mut records = whole.clone();
        records.insert(key.clone(), vec![]);
        let findings = check(&records);
        assert!(findings.told.contains(&(key.clone(), "cannot be read")), "{key:?}: {findings}");
    }
}

#[test]
fn a_hundred_are_told_and_the_others_counted() {
    let records: Records = (0..130).map(|number| (Key::new(format!("strange {number}")), vec![])).collect();
    let findings = check(&records);
    assert_eq!((findings.wrong, findings.told.len()), (130, 100));
    assert!(findings.to_string().ends_with("\nand 30 more"));
}
