//! What is configured is compared with what is stored when a KDC starts: parameters of groups, and issuers.

use ace_groupcomm::check::Check;
use ace_groupcomm::config::ConfigValue;
use ace_groupcomm::engine::Machine;
use ace_groupcomm::kdc::{KdcConfig, Restore, StartRefusal};
use ace_groupcomm::keys::{self, PrincipalId};
use ace_groupcomm::records::{BelongsTo, GroupConfiguration, Head, Principal, RekeyReason, TrustedIssuers};
use ace_groupcomm::testkit::build::{self, AUDIENCE, Client, group_request, join_post, token, token_post_with};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::token::{CwtValidator, Issuer, TokenKey, TrustChange};
use ace_groupcomm::traits::storage::{CommitOutcome, Sharing, Storage, Txn};
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm::{Caller, Method, Now, RecordType, Status};
use ace_groupcomm_messages::Strictness;
use std::time::Duration;

const LATER: u64 = 2_000_000;

fn store() -> TestStore {
    TestStore::new(Sharing::Exclusive)
}

fn assert_clean(store: &TestStore) {
    let mut check = Check::default();
    store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    let findings = check.finish();
    assert!(findings.is_clean(), "{findings}");
}

/// Groups, each with a length of identifiers.
fn groups(lengths: &[(&str, Option<i64>)]) -> KdcConfig {
    let names: Vec<&str> = lengths.iter().map(|(name, _)| *name).collect();
    let mut config = desk::config(&names);
    for (group, (_, length)) in config.groups.iter_mut().zip(lengths) {
        group.parameters.0.extend(length.map(|length| ("max_id".into(), ConfigValue::Int(length))));
    }
    config
}

fn refusal(desk: &Desk) -> Option<StartRefusal> {
    let why = desk.kdc.refused()?;
    assert!(!desk.kdc.is_ready());
    Some(why.downcast_ref::<StartRefusal>().unwrap().clone())
}

fn configuration(store: &TestStore, gname: &str) -> Option<GroupConfiguration> {
    let BelongsTo(id) = store.record(&keys::name(gname))?;
    store.record(&keys::config(id))
}

fn head(store: &TestStore) -> Head {
    let BelongsTo(id) = store.record(&keys::name("g1")).unwrap();
    store.record(&keys::head(id)).unwrap()
}

#[test]
fn a_parameter_that_has_changed_ends_the_start_with_both_values() {
    let store = store();
    let first = Desk::new(store.clone(), groups(&[("g1", None), ("g2", Some(3))])).unwrap();
    assert!(first.kdc.is_ready() && refusal(&first).is_none());
    assert_eq!(configuration(&store, "g1").unwrap().parameters.get("max_id").unwrap().to_string(), "7");
    assert_clean(&store);
    // A default that is written out is no change.
    let again = Desk::new(store.clone(), groups(&[("g1", Some(7)), ("g2", Some(3))])).unwrap();
    assert_eq!(refusal(&again), None);
    assert_eq!(again.kdc.stats().commits, 1, "what fits is not written again: only the process is counted");
    assert!(again.kdc.next_timeout(again.now).is_none_or(|at| at > again.now.mono), "and nothing is left to do");

    let before = store.dump();
    let changed = groups(&[("g1", Some(5)), ("g2", None), ("g3", None)]);
    let refused = refusal(&Desk::new(store.clone(), changed).unwrap()).unwrap();
    assert_eq!(
        refused.to_string(),
        "parameters cannot change while a group has its keying material: group \"g1\": max_id is 7 in storage, and 5 \
         here; group \"g2\": max_id is 3 in storage, and 7 here"
    );
    let stored = |store: &TestStore| store.record::<BelongsTo<keys::GroupId>>(&keys::name("g3"));
    assert_eq!(stored(&store), None, "no group is made by a file that is refused");
    assert_eq!(before.len(), store.dump().len());
    assert_eq!(refusal(&Desk::new(store, groups(&[("g1", None), ("g2", Some(3))])).unwrap()), None);
}

#[test]
fn a_profile_that_has_changed_ends_the_start() {
    let store = store();
    Desk::new(store.clone(), groups(&[("g1", None)])).unwrap();
    let BelongsTo(id): BelongsTo<keys::GroupId> = store.record(&keys::name("g1")).unwrap();
    let stored: GroupConfiguration = store.record(&keys::config(id)).unwrap();
    let other = GroupConfiguration { profile: "other".into(), ..stored };
    let write = vec![(keys::config(id), Some(other.encode().into()))];
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    let refused = refusal(&Desk::new(store, groups(&[("g1", None)])).unwrap()).unwrap();
    assert!(refused.to_string().ends_with("group \"g1\": profile is other in storage, and toy here"), "{refused}");
}

#[test]
fn a_group_without_a_stored_configuration_takes_the_configured_one_once() {
    let store = store();
    Desk::new(store.clone(), groups(&[("g1", Some(3))])).unwrap();
    let BelongsTo(id): BelongsTo<keys::GroupId> = store.record(&keys::name("g1")).unwrap();
    let write = vec![(keys::config(id), None)];
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    assert_eq!(refusal(&Desk::new(store.clone(), groups(&[("g1", Some(4))])).unwrap()), None);
    assert_eq!(configuration(&store, "g1").unwrap().parameters.get("max_id").unwrap().to_string(), "4");
    assert!(refusal(&Desk::new(store, groups(&[("g1", Some(5))])).unwrap()).is_some());
}

#[test]
fn a_restored_group_takes_what_is_configured() {
    let store = store();
    Desk::new(store.clone(), groups(&[("g1", Some(3))])).unwrap();
    let mut restore = Restore::new(5_000_000, [1; 6], None);
    let mut write = Vec::new();
    for (key, record) in store.dump() {
        write.extend(restore.record(&key, &record.value).unwrap().map(|value| (key, Some(value))));
    }
    write.extend(restore.finish().into_iter().map(|(key, value)| (key, Some(value))));
    let restored = TestStore::new(Sharing::Exclusive);
    assert!(matches!(restored.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    assert_eq!(refusal(&Desk::new(restored.clone(), groups(&[("g1", Some(5))])).unwrap()), None);
    assert_eq!(configuration(&restored, "g1").unwrap().parameters.get("max_id").unwrap().to_string(), "5");
    assert!(refusal(&Desk::new(restored.clone(), groups(&[("g1", Some(3))])).unwrap()).is_some());
    assert_clean(&restored);
}

#[test]
fn who_loses_the_race_for_a_group_with_other_parameters_does_not_start() {
    let store = TestStore::new(Sharing::Shared);
    let mut slow = process(&store, groups(&[("g1", Some(5))]));
    // It has compared, and found nothing; the other one makes the group.
    let mut out = Vec::new();
    slow.kdc.start(slow.now, &mut slow.rng, &mut out);
    slow.settle(out);
    assert!(slow.kdc.refused().is_none() && !slow.kdc.is_ready());
    assert!(Desk::new(store.clone(), groups(&[("g1", None)])).unwrap().kdc.is_ready());
    slow.due();
    assert!(matches!(refusal(&slow), Some(StartRefusal::Parameters(_))));
}

/// A process that has not started yet.
fn process(store: &TestStore, config: KdcConfig) -> Desk {
    use rand_core::SeedableRng;
    let validator = Box::new(build::validator(&["g1"]));
    let kdc = ace_groupcomm::kdc::Kdc::new(config, &toy::registry(), validator, store.sharing()).unwrap();
    let now = Now::new(1_000_000, Duration::from_secs(1));
    let rng = rand_chacha::ChaCha12Rng::seed_from_u64(9);
    Desk { kdc, store: store.clone(), now, rng, notices: Vec::new(), jobs: Vec::new() }
}

/// Issuers, each with the numbers of its keys and its groups.
type Issuers<'a> = &'a [(u8, &'a [u8], &'a [&'a str])];

fn validator(issuers: Issuers<'_>) -> CwtValidator {
    let issuer = |(name, keys, groups): &(u8, &[u8], &[&str])| Issuer {
        name: format!("as{name}"),
        iss: None,
        keys: keys.iter().map(|&number| TokenKey { kid: Some(vec![number]), ..build::token_key(number) }).collect(),
        groups: groups.iter().map(|&group| group.into()).collect(),
        strictness: Strictness::Strict,
    };
    CwtValidator::new(AUDIENCE, issuers.iter().map(issuer).collect()).unwrap()
}

fn start(store: &TestStore, accept_issuers: bool, issuers: Issuers<'_>) -> Desk {
    let config = KdcConfig { accept_issuers, ..desk::config(&["g1", "g2"]) };
    let now = Now::new(1_000_000, Duration::from_secs(1));
    Desk::start(store.clone(), config, &toy::registry(), Box::new(validator(issuers)), now).unwrap()
}

/// The token of a client of the key with this number.
fn token_of(key: u8, client: u16, groups: &[(&str, u64)]) -> Vec<u8> {
    let claims = Client::new(client).unwrap().claims(groups, LATER);
    let nonce = [u8::try_from(client).unwrap(); 13];
    let key = TokenKey { kid: Some(vec![key]), ..build::token_key(key) };
    ace_groupcomm::token::seal_cwt(&key, &nonce, &claims).unwrap()
}

fn joined(desk: &mut Desk, key: u8, number: u16, groups: &[(&str, u64)]) -> Caller {
    let client = Client::new(number).unwrap();
    let (caller, challenge) = desk.post_token(&token_of(key, number, groups)).unwrap();
    let join = client.join(groups[0].0, groups[0].1, &challenge, &number.to_be_bytes().repeat(4));
    assert_eq!(desk.ask(&caller, join_post(groups[0].0, &join)).status, Status::Created);
    caller
}

fn num(desk: &mut Desk, caller: &Caller) -> Status {
    desk.ask(caller, group_request(Method::Get, "g1", &["num"])).status
}

fn issuers_refused(desk: &Desk) -> (Vec<TrustChange>, u64) {
    match refusal(desk) {
        Some(StartRefusal::Issuers { changes, clients }) => (changes, clients),
        other => panic!("{other:?}"),
    }
}

const BOTH: Issuers<'_> = &[(1, &[1], &["g1", "g2"]), (2, &[2], &["g1"])];

#[test]
fn other_issuers_end_the_start_and_it_says_how_many_clients_would_end() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    assert!(desk.kdc.is_ready());
    let one = joined(&mut desk, 1, 1, &[("g1", 1), ("g2", 1)]);
    let two = joined(&mut desk, 2, 2, &[("g1", 1)]);
    for number in 100..170 {
        joined(&mut desk, 1, number, &[("g1", 1)]);
    }
    let change = |change: fn(String) -> TrustChange, issuer: &str| vec![change(issuer.into())];
    for (issuers, changes, clients) in [
        (&[(1, &[1][..], &["g1", "g2"][..])][..], change(TrustChange::Removed, "as2"), 1),
        (&[(1, &[3], &["g1", "g2"]), (2, &[2], &["g1"])], change(TrustChange::Keys, "as1"), 71),
        (&[(1, &[1], &["g1"]), (2, &[2], &["g1"])], change(TrustChange::GroupsLost, "as1"), 1),
        (&[(1, &[1, 3], &["g1", "g2"]), (2, &[2], &["g1"])], change(TrustChange::Keys, "as1"), 0),
        (&[(1, &[1], &["g1", "g2"]), (2, &[2], &["g1"]), (3, &[3], &["g1"])], change(TrustChange::Added, "as3"), 0),
    ] {
        let before = store.dump().len();
        assert_eq!(issuers_refused(&start(&store, false, issuers)), (changes, clients), "{issuers:?}");
        assert_eq!(store.dump().len(), before, "nobody has ended");
    }
    let words = refusal(&start(&store, false, &[(1, &[1], &["g1", "g2"])])).unwrap().to_string();
    assert_eq!(words, "the issuers are not those that storage knows (issuer \"as2\" is gone): 1 client would end");
    let words = refusal(&start(&store, false, &[(2, &[2], &["g1"])])).unwrap().to_string();
    assert!(words.ends_with("(issuer \"as1\" is gone): 71 clients would end"), "{words}");
    // The former file is good still, and so are those who were there.
    let mut desk = start(&store, false, BOTH);
    assert_eq!((num(&mut desk, &one), num(&mut desk, &two)), (Status::Content, Status::Content));
}

#[test]
fn what_is_no_longer_vouched_for_ends_where_that_is_allowed_and_its_client_may_come_again() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    let one = joined(&mut desk, 1, 1, &[("g1", 1)]);
    let gone: Vec<Caller> = (2..90).map(|number| joined(&mut desk, 2, number, &[("g1", 1)])).collect();
    assert_eq!(head(&store).members, 89);
    drop(desk);
    let one_issuer: Issuers<'_> = &[(1, &[1], &["g1", "g2"])];
    let mut desk = start(&store, true, one_issuer);
    assert!(desk.kdc.is_ready());
    assert_eq!((num(&mut desk, &one), num(&mut desk, &gone[0])), (Status::Content, Status::Unauthorized));
    assert!(gone.iter().all(|caller| num(&mut desk, caller) == Status::Unauthorized));
    let ended = |notice: &&AssociationNotice| matches!(notice, AssociationNotice::Ended { .. });
    assert_eq!(desk.notices.iter().filter(ended).count(), 88, "the network side knows");
    let head = head(&store);
    assert_eq!((head.members, head.rekey_due.unwrap().why), (1, RekeyReason::Distrusted));
    let marks = store.dump().iter().filter(|(key, _)| key.as_bytes().starts_with(b"rv/")).count();
    assert_eq!(marks, 0, "their tokens are not revoked");
    assert_clean(&store);
    // The next start needs no permission, and one with a corrected file takes the token again.
    assert!(start(&store, false, one_issuer).kdc.is_ready());
    let mut desk = start(&store, true, BOTH);
    assert!(joined(&mut desk, 2, 2, &[("g1", 1)]) != gone[0]);
    assert_eq!(desk.kdc.refused().map(|_| ()), None);
}

#[test]
fn a_token_whose_time_begins_with_its_post_is_not_taken_again_after_its_end() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    let mut claims = Client::new(2).unwrap().claims(&[("g1", 1)], 0);
    (claims.exp, claims.exi, claims.cti) = (None, Some(600), Some([AUDIENCE.as_bytes(), &[1]].concat()));
    let key = TokenKey { kid: Some(vec![2]), ..build::token_key(2) };
    let bytes = ace_groupcomm::token::seal_cwt(&key, &[9; 13], &claims).unwrap();
    let (caller, _) = desk.post_token(&bytes).unwrap();
    assert_eq!(num(&mut desk, &caller), Status::Forbidden);
    assert!(start(&store, true, &[(1, &[1], &["g1", "g2"])]).kdc.is_ready());
    let mut desk = start(&store, true, BOTH);
    assert!(desk.post_token(&bytes).is_none(), "its time would begin anew");
}

#[test]
fn more_groups_for_an_issuer_are_no_reason_to_stop() {
    let store = store();
    let mut desk = start(&store, false, &[(1, &[1], &["g1"])]);
    let one = joined(&mut desk, 1, 1, &[("g1", 1)]);
    let mut desk = start(&store, false, &[(1, &[1], &["g1", "g2"])]);
    assert!(desk.kdc.is_ready());
    assert_eq!(num(&mut desk, &one), Status::Content);
    joined(&mut desk, 1, 2, &[("g2", 1)]);
    assert_eq!(issuers_refused(&start(&store, false, &[(1, &[1], &["g1"])])).1, 1);
}

#[test]
fn an_end_of_clients_that_was_broken_off_goes_on_with_the_next_start() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    for number in 1..90 {
        joined(&mut desk, 2, number, &[("g1", 1)]);
    }
    let one_issuer: Issuers<'_> = &[(1, &[1], &["g1", "g2"])];
    let mut broken = process(&store, KdcConfig { accept_issuers: true, ..desk::config(&["g1", "g2"]) });
    let registry = toy::registry();
    let config = KdcConfig { accept_issuers: true, ..desk::config(&["g1", "g2"]) };
    broken.kdc =
        ace_groupcomm::kdc::Kdc::new(config, &registry, Box::new(validator(one_issuer)), Sharing::Exclusive).unwrap();
    let mut out = Vec::new();
    broken.kdc.start(broken.now, &mut broken.rng, &mut out);
    broken.settle(out);
    // The issuers are stored, and one page is ended; then the process dies.
    for _ in 0..2 {
        let mut out = Vec::new();
        broken.kdc.timeout(broken.now, &mut broken.rng, &mut out);
        broken.settle(out);
    }
    assert!(!broken.kdc.is_ready());
    assert_eq!(head(&store).members, 89 - 64);
    assert!(store.record::<TrustedIssuers>(&keys::issuers()).unwrap().ending);
    // It needs no permission any more.
    assert!(start(&store, false, one_issuer).kdc.is_ready());
    assert_eq!(head(&store).members, 0);
    assert!(!store.record::<TrustedIssuers>(&keys::issuers()).unwrap().ending);
    assert_clean(&store);
}

#[test]
fn a_step_that_cannot_be_stored_is_tried_again() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    joined(&mut desk, 2, 2, &[("g1", 1)]);
    store.fail_next(Fault::NotDone);
    let mut desk = start(&store, true, &[(1, &[1], &["g1", "g2"])]);
    assert!(!desk.kdc.is_ready());
    desk.pass(Duration::from_secs(60));
    assert!(desk.kdc.is_ready());
    assert_eq!(head(&store).members, 0);
}

#[test]
fn a_process_that_goes_on_with_former_issuers_takes_none_of_their_tokens() {
    let store = TestStore::new(Sharing::Shared);
    let mut old = start(&store, false, BOTH);
    let one = joined(&mut old, 1, 1, &[("g1", 1)]);
    let two = joined(&mut old, 2, 2, &[("g1", 1)]);
    let late = Client::new(3).unwrap();
    let (pending, challenge) = old.post_token(&token_of(2, 3, &[("g1", 1)])).unwrap();
    assert!(start(&store, true, &[(1, &[1], &["g1", "g2"])]).kdc.is_ready());
    assert_eq!((num(&mut old, &one), num(&mut old, &two)), (Status::Content, Status::Unauthorized));
    let refused = Status::InternalServerError;
    let join = join_post("g1", &late.join("g1", 1, &challenge, &[3; 8]));
    assert_eq!(old.ask(&pending, join).status, refused, "one that was posted before");
    assert_eq!(old.ask(&Caller::anonymous(), token_post_with(&token_of(2, 4, &[("g1", 1)]), &[4; 8])).status, refused);
    joined(&mut old, 1, 5, &[("g1", 1)]);
    assert!(store.record::<Principal>(&keys::principal(PrincipalId::of("as2", "client4"))).is_none());
    // It notices when it starts anew, and ends nobody.
    let members = head(&store).members;
    assert_eq!(issuers_refused(&start(&store, false, BOTH)), (vec![TrustChange::Added("as2".into())], 0));
    assert_eq!(head(&store).members, members);
}

/// A process that begins its start, and does the first steps of it.
fn beginning(store: &TestStore, issuers: Issuers<'_>, steps: usize) -> Desk {
    let mut desk = process(store, desk::config(&["g1", "g2"]));
    let (config, validator) = (desk::config(&["g1", "g2"]), Box::new(validator(issuers)));
    desk.kdc = ace_groupcomm::kdc::Kdc::new(config, &toy::registry(), validator, store.sharing()).unwrap();
    let mut out = Vec::new();
    desk.kdc.start(desk.now, &mut desk.rng, &mut out);
    desk.settle(out);
    for _ in 0..steps {
        let mut out = Vec::new();
        desk.kdc.timeout(desk.now, &mut desk.rng, &mut out);
        desk.settle(out);
    }
    desk
}

#[test]
fn two_that_may_replace_each_others_issuers_do_so_once() {
    let store = TestStore::new(Sharing::Shared);
    let mut desk = start(&store, false, BOTH);
    for number in 1..90 {
        joined(&mut desk, 2, number, &[("g1", 1)]);
    }
    let may = |issuers: Issuers<'_>| {
        let mut desk = beginning(&store, issuers, 0);
        let config = KdcConfig { accept_issuers: true, ..desk::config(&["g1", "g2"]) };
        let validator = Box::new(validator(issuers));
        desk.kdc = ace_groupcomm::kdc::Kdc::new(config, &toy::registry(), validator, Sharing::Shared).unwrap();
        let mut out = Vec::new();
        desk.kdc.start(desk.now, &mut desk.rng, &mut out);
        desk.settle(out);
        desk
    };
    let step = |desk: &mut Desk| {
        let mut out = Vec::new();
        desk.kdc.timeout(desk.now, &mut desk.rng, &mut out);
        desk.settle(out);
    };
    let (mut one, mut other) = (may(&[(1, &[1], &["g1", "g2"])]), may(&[(1, &[5], &["g1", "g2"])]));
    // Both have seen the former issuers, and begin to replace them; the second one sees that others are there.
    for _ in 0..20 {
        step(&mut one);
        step(&mut other);
    }
    assert!(one.kdc.is_ready() && refusal(&one).is_none());
    assert_eq!(issuers_refused(&other).0, [TrustChange::Keys("as1".into())]);
    // One that has replaced them, and sees others at the next page, gives up as well.
    let mut late = may(&[(1, &[6], &["g1", "g2"])]);
    step(&mut late);
    assert!(start(&store, true, &[(1, &[7], &["g1", "g2"])]).kdc.is_ready());
    for _ in 0..20 {
        step(&mut late);
    }
    assert_eq!(issuers_refused(&late).0, [TrustChange::Keys("as1".into())]);
}

#[test]
fn a_parameter_that_is_new_is_stored_with_the_value_that_it_has_then() {
    let store = store();
    Desk::new(store.clone(), groups(&[("g1", None)])).unwrap();
    let BelongsTo(id): BelongsTo<keys::GroupId> = store.record(&keys::name("g1")).unwrap();
    let stored = configuration(&store, "g1").unwrap();
    let without =
        ace_groupcomm::config::Parameters::default().with("max_id", stored.parameters.get("max_id").unwrap().clone());
    let older = GroupConfiguration { parameters: without, ..stored.clone() };
    let write = vec![(keys::config(id), Some(older.encode().into()))];
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    assert_eq!(refusal(&Desk::new(store.clone(), groups(&[("g1", None)])).unwrap()), None);
    assert_eq!(configuration(&store, "g1"), Some(stored));
}

#[test]
fn who_loses_the_race_for_the_issuers_of_new_storage_does_not_start() {
    let store = TestStore::new(Sharing::Shared);
    // It has counted nobody, and would store its issuers next.
    let mut slow = beginning(&store, BOTH, 1);
    assert!(start(&store, false, &[(1, &[1], &["g1", "g2"])]).kdc.is_ready());
    slow.due();
    assert_eq!(issuers_refused(&slow).0, [TrustChange::Added("as2".into())]);
}

#[test]
fn who_loses_the_race_for_more_groups_of_an_issuer_does_not_start() {
    let store = TestStore::new(Sharing::Shared);
    assert!(start(&store, false, &[(1, &[1], &["g1"])]).kdc.is_ready());
    let mut slow = beginning(&store, &[(1, &[1], &["g1", "g2"])], 0);
    assert!(start(&store, true, &[(1, &[3], &["g1"])]).kdc.is_ready());
    slow.due();
    assert!(issuers_refused(&slow).0.contains(&TrustChange::Keys("as1".into())));
}

/// Storage as it was before the keys of issuers were recorded.
fn forget_issuers(store: &TestStore) {
    let mut write = vec![(keys::issuers(), None)];
    for (key, record) in store.dump() {
        if key.as_bytes().starts_with(b"p/") {
            let mut principal = Principal::decode(&record.value).unwrap();
            principal.token.issuer_key = None;
            let mut bytes = principal.encode();
            bytes[0] = 1;
            write.push((key, Some(bytes.into())));
        }
    }
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
}

#[test]
fn tokens_without_a_recorded_key_count_as_verified_by_the_first_ones_that_are() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    let one = joined(&mut desk, 1, 1, &[("g1", 1)]);
    let two = joined(&mut desk, 2, 2, &[("g1", 1)]);
    forget_issuers(&store);
    // With nobody who would end the start asks for nothing.
    let mut desk = start(&store, false, BOTH);
    assert_eq!((num(&mut desk, &one), num(&mut desk, &two)), (Status::Content, Status::Content));
    // From now on the key counts.
    let changed: Issuers<'_> = &[(1, &[1], &["g1", "g2"]), (2, &[4], &["g1"])];
    assert_eq!(issuers_refused(&start(&store, false, changed)).1, 1);
    let mut desk = start(&store, true, changed);
    assert_eq!((num(&mut desk, &one), num(&mut desk, &two)), (Status::Content, Status::Unauthorized));

    // Where somebody would end at once, it asks.
    forget_issuers(&store);
    let refused = start(&store, false, &[(2, &[4], &["g1"])]);
    assert_eq!(issuers_refused(&refused), (vec![], 1));
    assert_eq!(
        refusal(&refused).unwrap().to_string(),
        "the issuers are not those that storage knows (it knows none yet): 1 client would end"
    );
    assert!(store.record::<TrustedIssuers>(&keys::issuers()).is_none());
    let mut desk = start(&store, true, &[(2, &[4], &["g1"])]);
    assert_eq!(num(&mut desk, &one), Status::Unauthorized);
}

#[test]
fn a_validator_that_does_not_say_whom_it_trusts_starts_over_any_storage() {
    struct Silent(CwtValidator);
    impl ace_groupcomm::traits::token::TokenValidator for Silent {
        fn validate(
            &self,
            token: &[u8],
            now: u64,
        ) -> Result<ace_groupcomm::token::ValidToken, ace_groupcomm::token::TokenRefusal> {
            self.0.validate(token, now)
        }
    }
    let store = store();
    let mut desk = start(&store, false, BOTH);
    let one = joined(&mut desk, 1, 1, &[("g1", 1)]);
    let (config, now) = (desk::config(&["g1", "g2"]), Now::new(1_000_000, Duration::from_secs(1)));
    let validator = Box::new(Silent(validator(&[(2, &[2], &["g1"])])));
    let mut desk = Desk::start(store, config, &toy::registry(), validator, now).unwrap();
    assert_eq!(num(&mut desk, &one), Status::Content);
    joined(&mut desk, 2, 2, &[("g1", 1)]);
}

#[test]
fn the_key_that_verified_a_token_is_recorded_with_it() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    joined(&mut desk, 1, 1, &[("g1", 1)]);
    let bytes = token(1, &Client::new(7).unwrap().claims(&[("g1", 1)], LATER));
    assert!(desk.post_token(&bytes).is_none(), "of a key with another name");
    let own: Principal = store.record(&keys::principal(PrincipalId::of("as1", "client1"))).unwrap();
    let named = TokenKey { kid: None, ..build::token_key(1) }.fingerprint();
    assert_eq!(own.token.issuer_key, Some(named));
}
