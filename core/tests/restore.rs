//! A KDC that goes on from a backup: nothing comes twice, and who was put out since stays out.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::AssociationId;
use ace_groupcomm::TokenHash;
use ace_groupcomm::UnixTime;
use ace_groupcomm::check::Check;
use ace_groupcomm::command::Command;
use ace_groupcomm::kdc::Restore;
use ace_groupcomm::keys;
use ace_groupcomm::records::{
    Association, GidOwner, GroupSecret, Head, Meta, NamedGroup, RekeyDue, RekeyReason, Revoked,
};
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token, token_post};
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::token::LEEWAY;
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Record, Sharing, Txn};
use ace_groupcomm::traits::transport::AssociationNeed;
use ace_groupcomm::{Caller, Corrupt, Method, RecordType, Registration, Status};
use ace_groupcomm_messages::{Claims, JoinResponse};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;

const END: u64 = 2_000_000;

/// A store with what a backup held, restored at this time.
fn restore(backup: &[(Key, Record)], now: u64, revoked: Option<Vec<TokenHash>>) -> TestStore {
    restore_with(backup, now, [u8::try_from(now % 256).unwrap(); 6], revoked)
}

fn restore_with(backup: &[(Key, Record)], now: u64, random: [u8; 6], revoked: Option<Vec<TokenHash>>) -> TestStore {
    let mut restore = Restore::new(UnixTime::new(now), random, revoked);
    let mut write = Vec::new();
    for (key, record) in backup {
        let kept = restore.record(key, &record.value).unwrap();
        write.extend(kept.map(|value| (key.clone(), Some(value))));
    }
    write.extend(restore.finish().into_iter().map(|(key, value)| (key, Some(value))));
    let store = TestStore::new(Sharing::Exclusive);
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    assert_clean(&store);
    store
}

fn assert_clean(store: &TestStore) {
    let mut check = Check::default();
    store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    let findings = check.finish();
    assert!(findings.is_clean(), "{findings}");
}

fn open(store: &TestStore, now: u64) -> Desk {
    let mut desk = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    desk.pass(desk.now.unix.until(UnixTime::new(now)));
    desk
}

fn head(store: &TestStore) -> Head {
    let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
    store.record(&keys::head(id)).unwrap()
}

fn client(number: u16) -> TestClient {
    TestClient::new(&AwsLc, number).unwrap()
}

/// The token of a client; where it says so, with the time at which it was issued.
fn token_of(number: u16, issued: Option<u64>) -> Vec<u8> {
    let mut claims = client(number).claims(&[("g1", 1)], END);
    claims.iat = issued;
    token(1, &claims)
}

/// Gid and Sender ID of a client that joins; the version as well.
fn join(desk: &mut Desk, number: u16, issued: Option<u64>) -> ((Vec<u8>, Vec<u8>), i64) {
    let (caller, challenge) = desk.post_token(&token_of(number, issued)).unwrap();
    let response = desk.ask(&caller, join_post("g1", &client(number).join("g1", 1, &challenge, &[7; 8])));
    assert_eq!(response.status, Status::Created);
    let joined = JoinResponse::decode(&response.payload).unwrap();
    let gid = head(&desk.store).gid.as_bytes().to_vec();
    ((gid, toy::id_in(&joined.material.key).unwrap()), joined.material.num)
}

// Covers: TH-5-01/checked-tokens, TH-5-01/evicted-out, TH-5-01/nothing-repeats
// Covers: TH-5-01/num-ahead, TH-5-01/dropped-state
#[test]
fn nothing_comes_twice_and_the_evicted_stay_out() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = open(&store, 1_000);
    let mut given = BTreeSet::new();
    for number in 1..=20 {
        assert!(given.insert(join(&mut desk, number, Some(1_000)).0));
    }
    join(&mut desk, 200, Some(1_000));
    desk.revoke(&TokenHash::of(&token_of(200, Some(1_000))));
    assert!(head(&store).rekey_due.is_some());
    let (observer, challenge) = desk.post_token(&token_of(1, Some(1_000))).unwrap();
    desk.ask(&observer, join_post("g1", &client(1).join("g1", 1, &challenge, &[7; 8])));
    let mut observing = group_request(Method::Get, "g1", &[]);
    observing.observe = Some(Registration { name: Bytes::new(), state: Bytes::from_static(b"state") });
    assert!(desk.ask(&observer, observing).observed);
    let backup = store.dump();
    let association = backup.iter().find(|(key, _)| key.as_bytes().starts_with(b"a/")).unwrap().0.clone();
    for number in 21..=120 {
        assert!(given.insert(join(&mut desk, number, Some(1_000)).0));
    }
    let evicted = [3, 50].map(|number| TokenHash::of(&token_of(number, Some(1_000))));
    evicted.iter().for_each(|hash| desk.revoke(hash));
    let before = head(&store);
    assert_eq!(before.members, 118);

    for (now, revoked) in [(5_000, None), (6_000, None), (7_000, Some(evicted.to_vec()))] {
        let store = restore(&backup, now, revoked.clone());
        let mut old = head(&store);
        assert!(old.rekey_due.is_none(), "nobody is there who was told of a key");
        // What a renewal finds due is done by it, and Sender IDs begin anew under its Gid.
        let due = RekeyDue { reasons: [RekeyReason::Evicted].into(), since: UnixTime::new(now) };
        (old.rekey_due, old.cursor) = (Some(due), 77);
        let NamedGroup { id: group, .. } = store.record(&keys::name("g1")).unwrap();
        store.plant(&keys::head(group), &old);
        let mut desk = open(&store, now);
        assert_clean(&store);
        let after = head(&store);
        assert!(after.num >= before.num + (1 << 20) && after.members == 0, "{after:?}");
        assert_eq!((after.rekey_due, after.cursor), (None, 0));
        assert!(given.iter().all(|(gid, _)| *gid != after.gid.as_bytes().to_vec()), "a Gid that was never used");
        // Associations and observations are gone.
        let is_dropped = |key: &Key| !key.as_bytes().starts_with(b"o/") && !key.as_bytes().starts_with(b"a/");
        assert!(store.dump().iter().all(|(key, _)| is_dropped(key)) && desk.kdc.pending() == 0);
        let id = association.as_bytes()[2..].to_vec();
        let id = AssociationId::from(id);
        assert!(store.record::<Association>(&association).is_none());
        desk.need(AssociationNeed::Unknown(id.clone()));
        let answer = desk.ask(&Caller::peer(&id), group_request(Method::Get, "g1", &["num"]));
        assert_eq!(answer.status, Status::Unauthorized);
        // Tokens from before are good where it is known which were revoked.
        for number in [1, 3, 50, 100] {
            let post = desk.ask(&Caller::anonymous(), token_post(&token_of(number, Some(1_000))));
            let is_good = revoked.is_some() && ![3, 50].contains(&number);
            let expected = if is_good { Status::Created } else { Status::Unauthorized };
            assert_eq!(post.status, expected, "{number} at {now}");
        }
        if revoked.is_none() {
            // Its issuer's clock may be ahead: it may be from before the restore.
            let post = desk.ask(&Caller::anonymous(), token_post(&token_of(1, Some(now + LEEWAY.as_secs() - 1))));
            assert_eq!(post.status, Status::Unauthorized);
        }
        for number in [1, 60] {
            let (identifier, num) = join(&mut desk, number, Some(now + LEEWAY.as_secs()));
            assert!(num > i64::try_from(before.num).unwrap(), "a member takes it for newer");
            assert!(given.insert(identifier));
        }
        let sloppy = desk.ask(&Caller::anonymous(), token_post(&token_of(9, None)));
        let expected = if revoked.is_some() { Status::Created } else { Status::Unauthorized };
        assert_eq!(sloppy.status, expected, "nobody knows when that was issued");
        // Another start goes on where it was.
        let again = head(&store);
        drop(desk);
        open(&store, now + 10);
        assert_eq!(head(&store), again);
    }
}

#[test]
fn a_token_whose_time_begins_with_its_receipt_gets_none_from_a_restore() {
    let backup = open(&TestStore::new(Sharing::Exclusive), 1_000).store.dump();
    let store = restore(&backup, 5_000, Some(Vec::new()));
    let mut desk = open(&store, 5_000);
    let post = |desk: &mut Desk, issued: Option<u64>| {
        let claims = client(1).claims(&[("g1", 1)], 0);
        let cti = Some(b"kdc\x07".to_vec());
        let bytes = token(1, &Claims { exp: None, exi: Some(600), cti, iat: issued, ..claims });
        desk.ask(&Caller::anonymous(), token_post(&bytes)).status
    };
    assert_eq!(post(&mut desk, Some(4_999)), Status::Unauthorized, "it may have come before the restore");
    assert_eq!(post(&mut desk, None), Status::Unauthorized);
    assert_eq!(
        post(&mut desk, Some(5_000 + LEEWAY.as_secs() - 1)),
        Status::Unauthorized,
        "its issuer's clock may be ahead"
    );
    assert_eq!(post(&mut desk, Some(5_000 + LEEWAY.as_secs())), Status::Created);
}

#[test]
fn incarnations_grow_whatever_the_clock_says() {
    let store = TestStore::new(Sharing::Exclusive);
    open(&store, 1_000);
    let incarnation = |store: &TestStore| store.record::<Meta>(&keys::meta()).unwrap().incarnation;
    assert_eq!(incarnation(&store), 1);
    let second = restore(&store.dump(), 9_000, None);
    assert_eq!(incarnation(&second), 9_000);
    let third = restore(&second.dump(), 10, None);
    assert_eq!(incarnation(&third), 9_001, "the clock was put back");
    let meta: Meta = third.record(&keys::meta()).unwrap();
    // The latest time is that of the KDC which was there first.
    assert_eq!((meta.latest, meta.tokens_since), (UnixTime::new(1_000_000), UnixTime::new(9_000)));
}

#[test]
fn one_backup_restored_twice_at_once_has_no_gid_twice() {
    let store = TestStore::new(Sharing::Exclusive);
    open(&store, 1_000);
    let backup = store.dump();
    assert_eq!(head(&store).gid.as_bytes(), [1, 0, 0], "three bytes in front of any restore");
    let gids = |random: u8| {
        let store = restore_with(&backup, 5_000, [random; 6], None);
        let mut gids = BTreeSet::new();
        // And each of both again, and with one more group.
        for (now, groups) in [(5_000, &["g1"][..]), (6_000, &["g1", "g2"])] {
            let again = restore_with(&store.dump(), now, [random + u8::try_from(groups.len()).unwrap(); 6], None);
            for store in [&store, &again] {
                Desk::new(&AwsLc, store.clone(), desk::config(groups)).unwrap();
                let records = store.dump();
                let gid = |(key, _): &(Key, Record)| Some(key.as_bytes().strip_prefix(b"gid/")?.to_vec());
                gids.extend(records.iter().filter_map(gid));
                assert_clean(store);
            }
        }
        gids
    };
    let (one, other) = (gids(10), gids(20));
    assert_eq!(one.intersection(&other).count(), 0);
    assert!(
        !one.contains(&vec![1, 0, 0]) && !other.contains(&vec![1, 0, 0]),
        "what the backup had nobody uses any more"
    );
    assert!(one.iter().all(|gid| gid.len() <= 10), "{one:?}");
}

#[test]
fn a_backup_that_is_restored_a_second_time_leaps_behind_all_versions_since_the_first() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = open(&store, 100_000);
    join(&mut desk, 1, Some(100_000));
    let backup = store.dump();
    let store = restore(&backup, 200_000, None);
    let mut desk = open(&store, 200_500);
    for number in 1..=40 {
        join(&mut desk, number, Some(200_400));
        desk.pass(Duration::from_secs(10));
        assert!(desk.command(Command::Rekey("g1".into())).is_ok());
    }
    let (newest, again) = (head(&store).num, restore(&backup, 201_000, None));
    let mut desk = open(&again, 201_000);
    join(&mut desk, 1, Some(201_500));
    assert!(head(&again).num > newest, "{} after {newest}", head(&again).num);
}

#[test]
fn a_revoked_token_that_the_backup_knows_is_forgotten_when_it_ends() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = open(&store, 1_000);
    join(&mut desk, 1, Some(1_000));
    let hash = TokenHash::of(&token_of(1, Some(1_000)));
    desk.revoke(&hash);
    let before: Revoked = store.record(&keys::revoked(&hash)).unwrap();
    assert!(before.until.is_some());
    let restored = restore(&store.dump(), 5_000, Some(vec![hash.clone()]));
    assert_eq!(restored.record::<Revoked>(&keys::revoked(&hash)), Some(before));
    let mut desk = open(&restored, 5_000);
    assert!(desk.post_token(&token_of(1, Some(1_000))).is_none());
    desk.pass(Duration::from_secs(END));
    assert_eq!(restored.record::<Revoked>(&keys::revoked(&hash)), None);
}

/// Storage as the first release had it: Gids of 12 bytes.
fn of_the_first_release(store: &TestStore, incarnation: u32) -> Vec<u8> {
    let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
    let head: Head = store.record(&keys::head(id)).unwrap();
    let gid = [incarnation, head.serial, 0].map(u32::to_be_bytes).concat();
    let mut old = Head { gid: gid.clone().into(), ..head.clone() }.encode();
    old[0] = 1;
    let mut meta = Meta { incarnation, tag: None, ..store.record(&keys::meta()).unwrap() }.encode();
    meta[0] = 2;
    let owner: GidOwner = store.record(&keys::gid(&head.gid)).unwrap();
    let write = vec![
        (keys::head(id), Some(old.into())),
        (keys::meta(), Some(meta.into())),
        (keys::gid(&head.gid), None),
        (keys::gid(&gid.as_slice().into()), Some(owner.encode().into())),
    ];
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    gid
}

#[test]
fn a_group_of_the_first_release_keeps_its_gid_and_those_after_it_are_others() {
    for (incarnation, length) in [(1, 3), (1_700_000_000, 10)] {
        let store = TestStore::new(Sharing::Exclusive);
        open(&store, 1_000);
        let former = of_the_first_release(&store, incarnation);
        // It was not restored: its members go on. A group made now has a Gid of the new kind.
        Desk::new(&AwsLc, store.clone(), desk::config(&["g0", "g1"])).unwrap();
        assert_eq!(head(&store).gid.as_bytes(), former);
        let NamedGroup { id, .. } = store.record(&keys::name("g0")).unwrap();
        assert_eq!(store.record::<Head>(&keys::head(id)).unwrap().gid.as_bytes().len(), length);
        let tag = store.record::<Meta>(&keys::meta()).unwrap().tag;
        assert_eq!(tag.is_some(), incarnation != 1, "one that was restored has siblings, perhaps");
        let restored = restore(&store.dump(), 1_800_000_000, None);
        Desk::new(&AwsLc, restored.clone(), desk::config(&["g0", "g1"])).unwrap();
        assert_eq!(head(&restored).gid.as_bytes().len(), 10);
        assert_clean(&restored);
    }
}

// Covers: TH-5-01/renewed-groups
#[test]
fn a_group_that_no_file_names_is_renewed_and_served() {
    let store = TestStore::new(Sharing::Exclusive);
    Desk::new(&AwsLc, store.clone(), desk::config(&["g1", "g2"])).unwrap();
    let restored = restore(&store.dump(), 5_000, None);
    let of = |gname: &str| {
        let NamedGroup { id, .. } = restored.record(&keys::name(gname)).unwrap();
        restored.record::<Head>(&keys::head(id)).unwrap()
    };
    let former = of("g2");
    let secret = |num: u64| {
        let NamedGroup { id, .. } = restored.record(&keys::name("g2")).unwrap();
        restored.record::<GroupSecret>(&keys::secret(id, num))
    };
    let material = |secret: GroupSecret| secret.material.expose().to_vec();
    let before = secret(former.num).map(material).unwrap();
    let mut desk = open(&restored, 5_000);
    let renewed = of("g2");
    assert!(renewed.gid != former.gid && renewed.num > former.num);
    assert!(secret(former.num).is_none());
    assert_ne!(secret(renewed.num).map(material), Some(before));
    // Gids of the incarnation begin with its bytes, which no other one has.
    let tag = [&[0xfd][..], &[u8::try_from(5_000 % 256).unwrap(); 6]].concat();
    assert!([renewed.gid.clone(), of("g1").gid].iter().all(|gid| gid.as_bytes().starts_with(&tag)));
    assert_clean(&restored);
    // The issuer may speak for it still, as is stored with it.
    let mut claims = client(1).claims(&[("g2", 1)], END);
    claims.iat = Some(5_000 + LEEWAY.as_secs());
    let (caller, challenge) = desk.post_token(&token(1, &claims)).unwrap();
    let response = desk.ask(&caller, join_post("g2", &client(1).join("g2", 1, &challenge, &[7; 8])));
    assert_eq!(response.status, Status::Created);
    // Nor is it renewed again.
    open(&restored, 5_000);
    assert_eq!(of("g2").num, renewed.num);
}

#[test]
fn a_record_that_cannot_be_read_is_no_part_of_a_restore() {
    let mut restore = Restore::new(UnixTime::new(1), [1; 6], None);
    for (key, value) in [(keys::meta(), "x"), (keys::name("g1"), ""), (Key::new("zebra"), "x")] {
        assert_eq!(restore.record(&key, &Bytes::from(value)), Err(Corrupt), "{key:?}");
    }
}
