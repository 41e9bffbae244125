//! Groups come, rest and go.

use super::*;

#[test]
fn a_group_that_rests_takes_nobody_and_its_members_stay() {
    let mut desk = desk();
    let member = joined(&mut desk, 1, &[("g1", 1)]);
    desk.notices.clear();
    let state = |active, is_new| Ok(Report::State { active, is_new });
    assert_eq!(desk.command(Command::Deactivate("g1".into())), state(false, true));
    let active = AssociationNotice::Changed { path: ["ace-group", "g1", "active"].map(Into::into).to_vec() };
    assert!(desk.notices.contains(&active), "observers are told");
    assert_eq!(desk.command(Command::Deactivate("g1".into())), state(false, false));
    let (late, challenge) = desk.post_token(&token_of(2, &[("g1", 1)], None)).unwrap();
    let refused = try_join(&mut desk, &late, &challenge, 2, "g1");
    assert_eq!(error(&refused), Some(GroupcommError::GroupInactive));
    assert_eq!(num(&mut desk, &member, "g1").status, Status::Content);
    // The next process knows.
    let mut desk = Desk::new(&AwsLc, desk.store, desk::config(&["g1", "g2"])).unwrap();
    assert_eq!(desk.command(Command::Activate("g1".into())), state(true, true));
    assert_eq!(try_join(&mut desk, &late, &challenge, 2, "g1").status, Status::Created);
    assert_eq!(desk.command(Command::Activate("g9".into())), Err(CommandError::NoGroup("g9".into())));
}

#[test]
fn a_group_is_made_by_command_and_works_in_every_process() {
    let store = TestStore::new(Sharing::Shared);
    let mut one = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    let mut other = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    assert!(
        matches!(one.command(new_group("lamps", &[("max_id", 3)])), Ok(Report::Created { gid }) if gid == "020000")
    );
    let caller = joined(&mut other, 1, &[("lamps", 1)]);
    assert_eq!(num(&mut other, &caller, "lamps").status, Status::Content);
    // It is there after a start, whatever the file says.
    let mut later = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    assert!(later.kdc.is_ready());
    joined(&mut later, 2, &[("lamps", 1)]);
    for (command, why) in [
        (new_group("lamps", &[]), "group \"lamps\" is there"),
        (new_group("a/b", &[]), "group name \"a/b\" must be"),
        (new_group(".", &[]), "group name \".\" must be"),
        (new_group("..", &[]), "group name \"..\" must be"),
        (new_group("", &[]), "group name \"\" must be"),
        (new_group(&"g".repeat(256), &[]), "must be 1 to 255"),
        (new_group("more", &[("max_id", -1)]), "group \"more\": max_id"),
        (new_group("more", &[("colour", 1)]), "group \"more\": colour: is not known here"),
        (wrong(|config, _| config.profile = "dtls".into()), "there is no profile \"dtls\""),
        (wrong(|_, issuers| *issuers = Some(["as7".to_owned()].into())), "there is no issuer \"as7\""),
        (wrong(|_, issuers| *issuers = None), "no issuer is named"),
        (wrong(|_, issuers| *issuers = Some([].into())), "no issuer is named"),
    ] {
        let before = store.dump().len();
        let words = one.command(command).unwrap_err().to_string();
        assert!(words.contains(why), "{words}");
        assert_eq!(store.dump().len(), before, "nothing was made");
    }
    assert_clean(&one);
}

fn wrong(change: impl FnOnce(&mut GroupConfig, &mut Option<std::collections::BTreeSet<String>>)) -> Command {
    let Command::Create { mut config, mut issuers } = new_group("more", &[]) else { panic!() };
    change(&mut config, &mut issuers);
    Command::Create { config, issuers }
}

#[test]
fn joins_of_a_group_that_was_made_by_command_are_committed_together() {
    let mut desk = desk();
    desk.command(new_group("lamps", &[])).unwrap();
    let clients: Vec<_> = (1..=3)
        .map(|number| {
            let (caller, challenge) = desk.post_token(&token_of(number, &[("lamps", 1)], None)).unwrap();
            assert_eq!(num(&mut desk, &caller, "lamps").status, Status::Forbidden);
            (number, caller, challenge)
        })
        .collect();
    let join = |(number, caller, challenge): &(u16, Caller, Vec<u8>)| {
        (
            caller.clone(),
            join_post("lamps", &TestClient::new(&AwsLc, *number).unwrap().join("lamps", 1, challenge, &[7; 8])),
        )
    };
    let commits = desk.kdc.stats().commits;
    let answers = desk.ask_all(clients.iter().map(join).collect());
    assert!(answers.iter().all(|answer| answer.status == Status::Created));
    assert_eq!(desk.kdc.stats().commits, commits + 1);
}

#[test]
fn a_process_serves_a_group_as_it_is_stored_now() {
    let store = TestStore::new(Sharing::Shared);
    let mut one = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    let caller = joined(&mut one, 1, &[("g1", 1)]);
    // Another process has taken the right to speak for the group from the issuer.
    let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
    let stored: GroupConfiguration = store.record(&keys::config(id)).unwrap();
    let changed = GroupConfiguration { issuers: Some(["as2".to_owned()].into()), ..stored.clone() };
    store.plant(&keys::config(id), &changed);
    assert_eq!(num(&mut one, &caller, "g1").status, Status::Forbidden);
    store.plant(&keys::config(id), &stored);
    assert_eq!(num(&mut one, &caller, "g1").status, Status::Content);
}

#[test]
fn another_issuer_may_not_speak_for_a_group_that_was_made_by_command() {
    let mut desk = desk();
    desk.command(new_group("lamps", &[])).unwrap();
    let claims = TestClient::new(&AwsLc, 1).unwrap().claims(&[("lamps", 1)], END);
    assert_eq!(desk.post_token(&token(2, &claims)), None);
    assert!(desk.post_token(&token(1, &claims)).is_some());
}

#[test]
fn a_deleted_group_is_gone_at_once_and_its_records_by_and_by() {
    let mut desk = desk();
    let callers: Vec<Caller> = (1..=90).map(|number| joined(&mut desk, number, &[("g1", 1), ("g2", 1)])).collect();
    let node = members(&mut desk, "g1", first(1)).entries.remove(0).1;
    desk.command(Command::Evict { group: "g1".into(), node }).unwrap();
    assert_eq!(desk.command(delete("g1", false)), Err(CommandError::HasMembers(89)));
    assert_eq!(desk.command(delete("g3", true)), Err(CommandError::NoGroup("g3".into())));
    let NamedGroup { id, .. } = desk.store.record(&keys::name("g1")).unwrap();
    let gid = head(&desk, "g1").unwrap().gid.as_bytes().to_vec();
    desk.notices.clear();
    assert_eq!(desk.command(delete("g1", true)), Ok(Report::Deleted { members: 89 }));
    let below = AssociationNotice::ChangedBelow { path: ["ace-group", "g1"].map(Into::into).to_vec() };
    assert!(desk.notices.contains(&below), "whoever observes anything of it is told");
    let marked: Head = desk.store.record(&keys::head(id)).unwrap();
    assert_eq!((marked.deleted, marked.rekey_due), (Some(UnixTime::new(NOW)), None), "nobody is there to be rekeyed");
    // Before a single record of a member has gone.
    assert_clean(&desk);
    let answer = num(&mut desk, &callers[50], "g1");
    assert_eq!((answer.status, error(&answer)), (Status::NotFound, Some(GroupcommError::GroupDeleted)));
    assert_eq!(num(&mut desk, &callers[50], "g2").status, Status::Content, "another group");
    let under = |desk: &Desk| {
        let prefix = keys::of_group(id);
        desk.store.dump().iter().filter(|(key, _)| key.starts_with(&prefix)).count()
    };
    assert!(under(&desk) > 200);
    desk.due();
    assert_eq!((under(&desk), bans_stored(&desk)), (0, 0));
    assert_clean(&desk);
    assert!(
        desk.store.record::<ace_groupcomm::records::GidOwner>(&keys::gid(&gid.as_slice().into())).is_some(),
        "barred for ever"
    );
    assert_eq!(desk.command(Command::Group("g1".into())), Err(CommandError::NoGroup("g1".into())));
    // The file names it still, and does not bring it back.
    let mut desk = Desk::new(&AwsLc, desk.store, desk::config(&["g1", "g2"])).unwrap();
    assert!(desk.kdc.is_ready());
    assert_eq!(error(&num(&mut desk, &callers[50], "g1")), Some(GroupcommError::GroupDeleted));
    let Ok(Report::Groups(groups)) = desk.command(Command::Groups(first(10))) else { panic!() };
    assert_eq!(groups.entries.len(), 1);
}

#[test]
fn a_sweep_of_a_deleted_group_goes_on_after_a_kill() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    for number in 1..=90 {
        joined(&mut desk, number, &[("g1", 1)]);
    }
    desk.command(delete("g1", true)).unwrap();
    for _ in 0..3 {
        let mut out = Vec::new();
        desk.kdc.timeout(desk.now, &mut desk.rng, &mut out);
        desk.settle(out);
        assert_clean(&desk);
    }
    let left = store.dump().len();
    drop(desk);
    let desk = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    assert!(desk.kdc.is_ready() && store.dump().len() < left);
    let of_groups = store.dump().iter().filter(|(key, _)| key.as_bytes().starts_with(b"g/")).count();
    assert_eq!((of_groups, store.dump().iter().filter(|(key, _)| key.as_bytes().starts_with(b"d/")).count()), (0, 0));
    assert_clean(&desk);
}

// Covers: TH-3-06/barred-gids, TH-3-06/old-token, TH-3-06/old-member
#[test]
fn a_group_made_again_is_another_one_and_older_tokens_do_not_mean_it() {
    let mut desk = desk();
    let old = joined(&mut desk, 1, &[("g1", 1), ("g2", 1)]);
    let former = head(&desk, "g1").unwrap();
    desk.pass(Duration::from_secs(50));
    desk.command(delete("g1", true)).unwrap();
    // Made again at once: what is left of the former one goes meanwhile.
    assert!(matches!(desk.command(new_group("g1", &[])), Ok(Report::Created { .. })));
    let name: NamedGroup = desk.store.record(&keys::name("g1")).unwrap();
    assert_eq!(name.state, NameState::Live(UnixTime::new(NOW + 50)));
    assert_clean(&desk);
    assert_ne!(head(&desk, "g1").unwrap().gid, former.gid);
    assert_eq!(
        (num(&mut desk, &old, "g1").status, num(&mut desk, &old, "g2").status),
        (Status::Forbidden, Status::Content)
    );
    desk.due();
    assert_clean(&desk);
    for (number, issued, status) in [
        (2, None, Status::Forbidden),
        (3, Some(NOW + 50), Status::Forbidden),
        (4, Some(NOW + 50 + LEEWAY.as_secs() - 1), Status::Forbidden),
        (5, Some(NOW + 50 + LEEWAY.as_secs()), Status::Created),
    ] {
        let (caller, challenge) = desk.post_token(&token_of(number, &[("g1", 1)], issued)).unwrap();
        assert_eq!(try_join(&mut desk, &caller, &challenge, number, "g1").status, status, "{number}");
    }
    // The former member as well, with a token of today.
    let scope: &[(&str, u64)] = &[("g1", 1), ("g2", 1)];
    let (caller, challenge) = desk.post_token(&token_of(1, scope, Some(NOW + 80))).unwrap();
    assert_eq!(try_join(&mut desk, &caller, &challenge, 1, "g1").status, Status::Created);
    assert_eq!(head(&desk, "g1").unwrap().members, 2);
    assert_clean(&desk);
}

#[test]
fn no_group_comes_or_goes_by_a_clock_that_has_jumped() {
    let mut desk = desk();
    desk.now = Now::new(NOW + 400 * 86_400, desk.now.mono + Duration::from_secs(1));
    for command in [delete("g1", false), new_group("g3", &[])] {
        let refused = desk.command(command).unwrap_err();
        assert_eq!(refused.to_string(), "nothing was done: the time of day is not plausible");
    }
    desk.now = Now::new(NOW + 2, desk.now.mono + Duration::from_secs(1));
    assert_eq!(desk.command(delete("g1", false)), Ok(Report::Deleted { members: 0 }));
}
