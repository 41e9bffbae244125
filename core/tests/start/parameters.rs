//! Parameters of groups: a start with others than those that are stored is refused.

use super::*;
use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::UnixTime;
use ace_groupcomm::traits::profile::ParameterChange;

#[test]
fn a_parameter_that_has_changed_ends_the_start_with_both_values() {
    let store = store();
    let first = Desk::new(&AwsLc, store.clone(), groups(&[("g1", None), ("g2", Some(3))])).unwrap();
    assert!(first.kdc.is_ready() && refusal(&first).is_none());
    assert_eq!(configuration(&store, "g1").unwrap().parameters.get("max_id").unwrap().to_string(), "7");
    assert_clean(&store);
    // A default that is written out is no change.
    let again = Desk::new(&AwsLc, store.clone(), groups(&[("g1", Some(7)), ("g2", Some(3))])).unwrap();
    assert_eq!(refusal(&again), None);
    assert_eq!(again.kdc.stats().commits, 1, "what fits is not written again: only the process is counted");
    assert!(again.kdc.next_timeout(again.now).is_none_or(|at| at > again.now.mono), "and nothing is left to do");

    let before = store.dump();
    let changed = groups(&[("g1", Some(5)), ("g2", None), ("g3", None)]);
    let refused = refusal(&Desk::new(&AwsLc, store.clone(), changed).unwrap()).unwrap();
    assert_eq!(
        refused.to_string(),
        "groups have other parameters: group \"g1\": max_id is 7 in storage, and 5 \
         here; group \"g2\": max_id is 3 in storage, and 7 here"
    );
    let stored = |store: &TestStore| store.record::<NamedGroup>(&keys::name("g3"));
    assert_eq!(stored(&store), None, "no group is made by a file that is refused");
    assert_eq!(before.len(), store.dump().len());
    assert_eq!(refusal(&Desk::new(&AwsLc, store, groups(&[("g1", None), ("g2", Some(3))])).unwrap()), None);
}

#[test]
fn a_profile_that_has_changed_ends_the_start() {
    let store = store();
    Desk::new(&AwsLc, store.clone(), groups(&[("g1", None)])).unwrap();
    let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
    let stored: GroupConfiguration = store.record(&keys::config(id)).unwrap();
    let other = GroupConfiguration { profile: "other".into(), ..stored };
    let write = vec![(keys::config(id), Some(other.encode().into()))];
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    let refused = refusal(&Desk::new(&AwsLc, store.clone(), groups(&[("g1", None)])).unwrap()).unwrap();
    let words = "group \"g1\": profile is other in storage, and toy here";
    assert!(refused.to_string().ends_with(words), "{refused}");
    // Not even after a restore: the records of the other profile are there still.
    let refused = refusal(&Desk::new(&AwsLc, restored(&store, 5_000_000), groups(&[("g1", None)])).unwrap()).unwrap();
    assert!(refused.to_string().ends_with(words), "{refused}");
}

/// A store restored from all that another one holds.
fn restored(store: &TestStore, now: u64) -> TestStore {
    let mut restore = Restore::new(UnixTime::new(now), [1; 6], None);
    let mut write = Vec::new();
    for (key, record) in store.dump() {
        write.extend(restore.record(&key, &record.value).unwrap().map(|value| (key, Some(value))));
    }
    write.extend(restore.finish().into_iter().map(|(key, value)| (key, Some(value))));
    let restored = TestStore::new(Sharing::Exclusive);
    assert!(matches!(restored.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    restored
}

#[test]
fn a_restore_is_a_new_incarnation_also_where_no_later_number_is_left() {
    let store = store();
    Desk::new(&AwsLc, store.clone(), groups(&[("g1", None)])).unwrap();
    let once = restored(&store, u64::from(u32::MAX) + 1);
    Desk::new(&AwsLc, once.clone(), groups(&[("g1", None)])).unwrap();
    let twice = restored(&once, u64::from(u32::MAX) + 2);
    Desk::new(&AwsLc, twice.clone(), groups(&[("g1", None)])).unwrap();
    assert!(head(&twice).gid != head(&once).gid && head(&twice).num > head(&once).num);
}

#[test]
fn a_group_without_a_stored_configuration_takes_the_configured_one_once() {
    let store = store();
    Desk::new(&AwsLc, store.clone(), groups(&[("g1", Some(3))])).unwrap();
    let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
    let write = vec![(keys::config(id), None)];
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    assert_eq!(refusal(&Desk::new(&AwsLc, store.clone(), groups(&[("g1", Some(4))])).unwrap()), None);
    assert_eq!(configuration(&store, "g1").unwrap().parameters.get("max_id").unwrap().to_string(), "4");
    assert!(refusal(&Desk::new(&AwsLc, store, groups(&[("g1", Some(5))])).unwrap()).is_some());
}

#[test]
fn a_restored_group_takes_what_is_configured() {
    let store = store();
    Desk::new(&AwsLc, store.clone(), groups(&[("g1", Some(3))])).unwrap();
    let restored = restored(&store, 5_000_000);
    assert_eq!(refusal(&Desk::new(&AwsLc, restored.clone(), groups(&[("g1", Some(5))])).unwrap()), None);
    assert_eq!(configuration(&restored, "g1").unwrap().parameters.get("max_id").unwrap().to_string(), "5");
    assert!(refusal(&Desk::new(&AwsLc, restored.clone(), groups(&[("g1", Some(3))])).unwrap()).is_some());
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
    assert!(Desk::new(&AwsLc, store.clone(), groups(&[("g1", None)])).unwrap().kdc.is_ready());
    slow.due();
    assert!(matches!(refusal(&slow), Some(StartRefusal::Parameters(_))));
}

#[test]
fn a_parameter_that_is_new_is_stored_with_the_value_that_it_has_then() {
    let store = store();
    Desk::new(&AwsLc, store.clone(), groups(&[("g1", None)])).unwrap();
    let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
    let stored = configuration(&store, "g1").unwrap();
    let without =
        ace_groupcomm::config::Parameters::default().with("max_id", stored.parameters.get("max_id").unwrap().clone());
    let older = GroupConfiguration { parameters: without, ..stored.clone() };
    let write = vec![(keys::config(id), Some(older.encode().into()))];
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    assert_eq!(refusal(&Desk::new(&AwsLc, store.clone(), groups(&[("g1", None)])).unwrap()), None);
    assert_eq!(configuration(&store, "g1"), Some(stored));
}

fn accepting(lengths: &[(&str, Option<i64>)]) -> KdcConfig {
    KdcConfig { accept_parameters: true, ..groups(lengths) }
}

#[test]
fn other_parameters_are_taken_where_that_is_said_and_begin_with_a_version() {
    let store = store();
    let gid = |store: &TestStore| head(store).gid;
    Desk::new(&AwsLc, store.clone(), groups(&[("g1", None), ("g2", Some(3))])).unwrap();
    let (first, former) = (gid(&store), configuration(&store, "g1").unwrap());
    assert_eq!(former.since, None);
    let desk = Desk::new(&AwsLc, store.clone(), accepting(&[("g1", Some(5)), ("g2", Some(3))])).unwrap();
    assert!(refusal(&desk).is_none() && desk.kdc.is_ready());
    let stored = configuration(&store, "g1").unwrap();
    assert_eq!(stored.parameters.get("max_id").unwrap().to_string(), "5");
    assert_eq!((stored.since, head(&store).num), (Some(1), 1));
    assert!(gid(&store) != first && stored.issuers == former.issuers && head(&store).rekey_due.is_none());
    assert_eq!(configuration(&store, "g2").unwrap().since, None, "the other one stays as it was");
    assert_clean(&store);
    // It stays so, with and without a word.
    for config in [accepting(&[("g1", Some(5))]), groups(&[("g1", Some(5))])] {
        let mut desk = Desk::new(&AwsLc, store.clone(), config).unwrap();
        assert!(refusal(&desk).is_none());
        desk.command(ace_groupcomm::command::Command::Rekey("g1".into())).unwrap();
        assert_eq!(
            configuration(&store, "g1").unwrap().since,
            Some(1),
            "which version began with them is not forgotten"
        );
    }
    assert_eq!(head(&store).num, 3);
    let refused = refusal(&Desk::new(&AwsLc, store.clone(), groups(&[("g1", None)])).unwrap());
    let Some(StartRefusal::Parameters(groups)) = refused else { panic!("{refused:?}") };
    assert_eq!(groups[0].change, ParameterChange::NextVersion);
}

#[test]
fn when_a_group_is_rekeyed_changes_without_a_version() {
    let store = store();
    Desk::new(&AwsLc, store.clone(), groups(&[("g1", None)])).unwrap();
    let mut config = accepting(&[("g1", None)]);
    config.groups[0].parameters.insert("rekey_delay", ConfigValue::Int(0));
    let refused =
        refusal(&Desk::new(&AwsLc, store.clone(), KdcConfig { accept_parameters: false, ..config.clone() }).unwrap());
    let Some(StartRefusal::Parameters(groups)) = refused else { panic!("{refused:?}") };
    assert_eq!(groups[0].change, ParameterChange::None);
    assert_eq!(refusal(&Desk::new(&AwsLc, store.clone(), config).unwrap()), None);
    let stored = configuration(&store, "g1").unwrap();
    assert_eq!(stored.parameters.get("rekey_delay").unwrap().to_string(), "0");
    assert_eq!((stored.since, head(&store).num), (None, 0));
}

#[test]
fn what_members_could_not_follow_is_refused_whatever_is_said() {
    let store = store();
    let mut desk = Desk::new(&AwsLc, store.clone(), groups(&[("g1", Some(2))])).unwrap();
    let mut config = accepting(&[("g1", Some(2))]);
    config.groups[0].parameters.insert("default_scope", ConfigValue::Int(0));
    let refused = refusal(&Desk::new(&AwsLc, store.clone(), config).unwrap()).unwrap();
    assert!(refused.to_string().contains("default_scope"), "{refused}");
    // As many Sender IDs were given as there are with one byte.
    let join = |desk: &mut Desk, number: u16| {
        let client = TestClient::new(&AwsLc, number).unwrap();
        let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", 1)], LATER))).unwrap();
        let joined = desk.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[7; 8])));
        assert_eq!(joined.status, Status::Created);
    };
    (0..256).for_each(|number| join(&mut desk, number));
    let one = || accepting(&[("g1", Some(1))]);
    let shorter = restart(&store, one());
    assert_eq!(refusal(&shorter), None, "none has two bytes");
    let mut desk = restart(&store, accepting(&[("g1", Some(2))]));
    join(&mut desk, 256);
    let refused = refusal(&restart(&store, one())).unwrap();
    assert!(refused.to_string().contains("max_id is 2 in storage, and 1 here"), "{refused}");
}

/// A process on this store.
fn restart(store: &TestStore, config: KdcConfig) -> Desk {
    Desk::new(&AwsLc, store.clone(), config).unwrap()
}
