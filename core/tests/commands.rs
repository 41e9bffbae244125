//! Commands of an operator: what each changes, tells and refuses.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::check::Check;
use ace_groupcomm::command::{Command, CommandError, MAX_PAGE, Page, PageAfter, Report};
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::engine::{Completion, Effect, Machine};
use ace_groupcomm::kdc::GroupConfig;
use ace_groupcomm::keys;
use ace_groupcomm::records::{GroupConfiguration, Head, NameState, NamedGroup, RekeyReason};
use ace_groupcomm::testkit::build::{Client, group_request, join_post, token};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::token::LEEWAY;
use ace_groupcomm::traits::storage::{Key, Sharing};
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm::{Caller, Method, Now, Response, Status};
use ace_groupcomm_messages::{GroupcommError, ProblemDetails, token_hash};
use std::time::Duration;

const NOW: u64 = 1_000_000;
const END: u64 = 2_000_000;

fn desk() -> Desk {
    Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), desk::config(&["g1", "g2"])).unwrap()
}

fn assert_clean(desk: &Desk) {
    let mut check = Check::default();
    desk.store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    let findings = check.finish();
    assert!(findings.is_clean(), "{findings}");
}

fn head(desk: &Desk, gname: &str) -> Option<Head> {
    let NamedGroup { id, .. } = desk.store.record(&keys::name(gname))?;
    desk.store.record(&keys::head(id))
}

fn token_of(number: u16, scope: &[(&str, u64)], issued: Option<u64>) -> Vec<u8> {
    let mut claims = Client::new(&AwsLc, number).unwrap().claims(scope, END);
    claims.iat = issued;
    token(1, &claims)
}

fn try_join(desk: &mut Desk, caller: &Caller, challenge: &[u8], number: u16, gname: &str) -> Response {
    desk.ask(caller, join_post(gname, &Client::new(&AwsLc, number).unwrap().join(gname, 1, challenge, &[7; 8])))
}

fn joined(desk: &mut Desk, number: u16, scope: &[(&str, u64)]) -> Caller {
    let (caller, challenge) = desk.post_token(&token_of(number, scope, None)).unwrap();
    for (gname, _) in scope {
        assert_eq!(try_join(desk, &caller, &challenge, number, gname).status, Status::Created);
    }
    caller
}

fn num(desk: &mut Desk, caller: &Caller, gname: &str) -> Response {
    desk.ask(caller, group_request(Method::Get, gname, &["num"]))
}

fn error(response: &Response) -> Option<GroupcommError> {
    ProblemDetails::decode(&response.payload).ok()?.error()
}

fn first(limit: usize) -> PageAfter {
    PageAfter { after: None, limit }
}

fn members(desk: &mut Desk, gname: &str, page: PageAfter) -> Page<(String, String)> {
    match desk.command(Command::Members(gname.into(), page)) {
        Ok(Report::Members(Page { entries, more })) => {
            Page { entries: entries.into_iter().map(|member| (member.subject, member.node)).collect(), more }
        }
        other => panic!("{other:?}"),
    }
}

fn node_of(desk: &mut Desk, gname: &str, number: u16) -> String {
    let subject = format!("client{number}");
    let page = members(desk, gname, first(100));
    page.entries.into_iter().find(|(of, _)| *of == subject).unwrap().1
}

fn new_group(gname: &str, parameters: &[(&str, i64)]) -> Command {
    let parameters = parameters.iter().map(|&(name, value)| (name.to_owned(), ConfigValue::Int(value)));
    let config =
        GroupConfig { gname: gname.into(), profile: "toy".into(), parameters: ConfigMap(parameters.collect()) };
    Command::Create { config, issuers: Some(["as1".to_owned()].into()) }
}

fn delete(gname: &str, with_members: bool) -> Command {
    Command::Delete { group: gname.into(), with_members }
}

#[test]
fn groups_and_members_are_listed_in_pages() {
    let mut desk = desk();
    for number in 1..=7 {
        joined(&mut desk, number, &[("g1", 1)]);
    }
    let Ok(Report::Groups(groups)) = desk.command(Command::Groups(first(1))) else { panic!() };
    assert_eq!(
        (groups.entries[0].name.as_str(), groups.entries[0].members, groups.more.as_deref()),
        ("g1", 7, Some("g1"))
    );
    let Ok(Report::Groups(rest)) = desk.command(Command::Groups(PageAfter { after: groups.more, limit: 1 })) else {
        panic!()
    };
    assert_eq!((rest.entries[0].name.as_str(), rest.entries[0].members, rest.more), ("g2", 0, None));
    let behind = PageAfter { after: Some("zzz".into()), limit: 10 };
    assert_eq!(desk.command(Command::Groups(behind)), Ok(Report::Groups(Page { entries: vec![], more: None })));

    let mut seen = Vec::new();
    let mut page = first(3);
    loop {
        let Page { entries, more } = members(&mut desk, "g1", page);
        assert!(entries.len() <= 3);
        seen.extend(entries);
        match more {
            Some(after) => page = PageAfter { after: Some(after), limit: 3 },
            None => break,
        }
    }
    let mut subjects: Vec<&str> = seen.iter().map(|(subject, _)| subject.as_str()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["client1", "client2", "client3", "client4", "client5", "client6", "client7"]);
    let behind = PageAfter { after: Some("ff".repeat(16)), limit: 3 };
    assert_eq!(members(&mut desk, "g1", behind), Page { entries: vec![], more: None });
    let nowhere = PageAfter { after: Some("elsewhere".into()), limit: 3 };
    assert_eq!(desk.command(Command::Members("g1".into(), nowhere)), Err(CommandError::Page("elsewhere".into())));
    let Ok(Report::Members(page)) = desk.command(Command::Members("g1".into(), first(0))) else { panic!() };
    assert_eq!(page.entries.len(), 1, "a page is never empty for its size");
    for number in 8..=120 {
        joined(&mut desk, number, &[("g1", 1)]);
    }
    assert_eq!(members(&mut desk, "g1", first(1_000)).entries.len(), MAX_PAGE);
    assert_eq!(desk.command(Command::Members("g3".into(), first(1))), Err(CommandError::NoGroup("g3".into())));
}

#[test]
fn a_group_is_shown_with_its_parameters_and_without_its_secrets() {
    let mut desk = desk();
    joined(&mut desk, 1, &[("g1", 1)]);
    let Ok(Report::Group(details)) = desk.command(Command::Group("g1".into())) else { panic!() };
    assert_eq!((details.summary.members, details.summary.num, details.summary.active), (1, 0, true));
    assert_eq!(details.issuers, Some(["as1".to_owned()].into()));
    assert_eq!(details.parameters["max_id"].to_string(), "7");
    assert!(details.created == NOW && details.expires > NOW);
    let Ok(Report::Members(page)) = desk.command(Command::Members("g1".into(), first(1))) else { panic!() };
    let member = &page.entries[0];
    assert_eq!((member.issuer.as_str(), member.sender_id.as_deref(), member.token_expires), ("as1", Some("00"), END));
    let hash: String = token_hash(&token_of(1, &[("g1", 1)], None)).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!((member.token_hash.as_str(), member.roles.as_slice()), (hash.as_str(), &["0x1".to_owned()][..]));
}

// Covers: TH-4-02/due-in-commit, TH-3-01/eviction-ban, TH-3-01/ban-end, TH-3-01/ban-commit
#[test]
fn who_is_put_out_stays_out_until_its_token_ends_or_that_is_lifted() {
    let mut desk = desk();
    let evicted = joined(&mut desk, 1, &[("g1", 1), ("g2", 1)]);
    let other = joined(&mut desk, 2, &[("g1", 1)]);
    let node = node_of(&mut desk, "g1", 1);
    let evict = Command::Evict { group: "g1".into(), node: node.clone() };
    desk.notices.clear();
    let commits = desk.kdc.stats().commits;
    let Ok(Report::Evicted(ban)) = desk.command(evict.clone()) else { panic!() };
    assert_eq!(desk.kdc.stats().commits, commits + 1, "membership, rekeying and ban are one commit");
    assert_eq!((ban.subject.as_str(), ban.since, ban.until), ("client1", NOW, END));
    let due = head(&desk, "g1").unwrap().rekey_due.unwrap();
    assert_eq!((due.why, head(&desk, "g1").unwrap().members), (RekeyReason::Evicted, 1));
    assert!(desk.notices.iter().any(|notice| matches!(notice, AssociationNotice::Restricted { .. })), "observers end");
    assert_clean(&desk);
    // One group alone, and it stays a client.
    let answer = num(&mut desk, &evicted, "g1");
    assert_eq!((answer.status, error(&answer)), (Status::Forbidden, Some(GroupcommError::NotAMember)));
    assert_eq!(num(&mut desk, &evicted, "g2").status, Status::Content);
    assert_eq!(num(&mut desk, &other, "g1").status, Status::Content);
    assert_eq!(desk.command(evict.clone()), Err(CommandError::NoMember { group: "g1".into(), node: node.clone() }));
    // Neither its association nor a new token of another end brings it back.
    let (again, challenge) = desk.post_token(&token_of(1, &[("g1", 1), ("g2", 1)], None)).unwrap();
    assert_eq!(try_join(&mut desk, &again, &challenge, 1, "g1").status, Status::Forbidden);
    let mut claims = Client::new(&AwsLc, 1).unwrap().claims(&[("g1", 1)], END + 500_000);
    claims.iat = Some(NOW);
    let (newer, challenge) = desk.post_token(&token(1, &claims)).unwrap();
    assert_eq!(try_join(&mut desk, &newer, &challenge, 1, "g1").status, Status::Forbidden);
    let Ok(Report::Bans(bans)) = desk.command(Command::Bans("g1".into(), first(10))) else { panic!() };
    assert_eq!(bans.entries, [ban]);
    // Lifted, it comes as the same node.
    let lift = Command::Lift { group: "g1".into(), node: node.clone() };
    assert!(matches!(desk.command(lift.clone()), Ok(Report::Lifted(_))));
    assert_eq!(desk.command(lift), Err(CommandError::NoBan { group: "g1".into(), node: node.clone() }));
    assert_eq!(try_join(&mut desk, &newer, &challenge, 1, "g1").status, Status::Created);
    assert_eq!(node_of(&mut desk, "g1", 1), node);
    assert_clean(&desk);
    // A ban goes with the token that its client had.
    assert!(matches!(desk.command(evict), Ok(Report::Evicted(ban)) if ban.until == END + 500_000));
    desk.pass(Duration::from_secs(END + 500_000 - 1 - NOW));
    assert_eq!(bans_stored(&desk), 1);
    desk.pass(Duration::from_secs(1));
    assert_eq!(bans_stored(&desk), 0, "nothing is left of it");
    assert_clean(&desk);
}

fn bans_stored(desk: &Desk) -> usize {
    let is_ban = |key: &Key| [&b"ban/"[..], b"bx/"].iter().any(|prefix| key.as_bytes().starts_with(prefix));
    desk.store.dump().iter().filter(|(key, _)| is_ban(key)).count() / 2
}

#[test]
fn a_ban_that_has_ended_lets_its_client_join_with_a_newer_token() {
    let mut desk = desk();
    let mut claims = Client::new(&AwsLc, 1).unwrap().claims(&[("g1", 1)], NOW + 100);
    let (caller, challenge) = desk.post_token(&token(1, &claims)).unwrap();
    assert_eq!(try_join(&mut desk, &caller, &challenge, 1, "g1").status, Status::Created);
    let node = node_of(&mut desk, "g1", 1);
    desk.command(Command::Evict { group: "g1".into(), node }).unwrap();
    claims.exp = Some(END);
    let (caller, challenge) = desk.post_token(&token(1, &claims)).unwrap();
    for (after, status) in [(99, Status::Forbidden), (1, Status::Created)] {
        desk.pass(Duration::from_secs(after));
        assert_eq!(try_join(&mut desk, &caller, &challenge, 1, "g1").status, status);
    }
    assert_eq!(desk.store.dump().iter().filter(|(key, _)| key.as_bytes().starts_with(b"b")).count(), 0);
}

#[test]
fn a_revocation_says_whom_it_has_ended() {
    let mut desk = desk();
    let scope: &[(&str, u64)] = &[("g1", 1), ("g2", 1)];
    let caller = joined(&mut desk, 1, scope);
    let hash = token_hash(&token_of(1, scope, None)).to_vec();
    let Ok(Report::Revoked(revocation)) = desk.command(Command::Revoke(hash.clone())) else { panic!() };
    assert_eq!((revocation.subject.as_deref(), revocation.groups.len()), (Some("client1"), 2));
    assert_eq!(num(&mut desk, &caller, "g1").status, Status::Unauthorized);
    assert_eq!(desk.command(Command::Revoke(hash)), Ok(Report::Revoked(Default::default())), "it is good for nothing");
    assert_eq!(desk.post_token(&token_of(1, scope, None)), None);
    assert_eq!(head(&desk, "g2").unwrap().rekey_due.unwrap().why, RekeyReason::Revoked);
    assert_clean(&desk);
}

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
            join_post("lamps", &Client::new(&AwsLc, *number).unwrap().join("lamps", 1, challenge, &[7; 8])),
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
    let claims = Client::new(&AwsLc, 1).unwrap().claims(&[("lamps", 1)], END);
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
    let gid = head(&desk, "g1").unwrap().gid.to_vec();
    desk.notices.clear();
    assert_eq!(desk.command(delete("g1", true)), Ok(Report::Deleted { members: 89 }));
    let below = AssociationNotice::ChangedBelow { path: ["ace-group", "g1"].map(Into::into).to_vec() };
    assert!(desk.notices.contains(&below), "whoever observes anything of it is told");
    let marked: Head = desk.store.record(&keys::head(id)).unwrap();
    assert_eq!((marked.deleted, marked.rekey_due), (Some(NOW), None), "nobody is there to be rekeyed");
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
    assert!(desk.store.record::<ace_groupcomm::records::GidOwner>(&keys::gid(&gid)).is_some(), "barred for ever");
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
    assert_eq!(name.state, NameState::Live(NOW + 50));
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
        (4, Some(NOW + 50 + LEEWAY - 1), Status::Forbidden),
        (5, Some(NOW + 50 + LEEWAY), Status::Created),
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
fn a_command_while_storage_is_away_says_so_and_changes_nothing() {
    let mut desk = desk();
    joined(&mut desk, 1, &[("g1", 1)]);
    let node = node_of(&mut desk, "g1", 1);
    let before = desk.store.dump();
    desk.store.fail_next(Fault::NotDone);
    let refused = desk.command(Command::Evict { group: "g1".into(), node: node.clone() }).unwrap_err();
    assert_eq!(refused.to_string(), "nothing was done: storage cannot be written");
    assert_eq!(desk.store.dump().len(), before.len());
    assert!(!matches!(desk.command(Command::Status), Ok(Report::Status(status)) if status.storage || status.ready));
    desk.pass(Duration::from_secs(2));
    assert!(matches!(desk.command(Command::Status), Ok(Report::Status(status)) if status.storage && status.ready));
    // Nobody knows.
    desk.store.fail_next(Fault::UnknownDone);
    let unknown = desk.command(Command::Evict { group: "g1".into(), node: node.clone() });
    assert_eq!(unknown, Err(CommandError::Unknown));
    assert!(matches!(desk.command(Command::Evict { group: "g1".into(), node }), Err(CommandError::NoMember { .. })));
    assert_eq!(head(&desk, "g1").unwrap().members, 0);
}

#[test]
fn of_a_command_whose_commit_does_not_end_nobody_says_that_nothing_was_done() {
    let mut desk = desk();
    let (mut out, mut commits, mut reports) = (Vec::new(), Vec::new(), Vec::new());
    let ticket = desk.kdc.command(desk.now, Command::Deactivate("g1".into()), &mut desk.rng, &mut out);
    for seconds in [0, 30] {
        desk.now = desk.now.plus(Duration::from_secs(seconds));
        desk.kdc.timeout(desk.now, &mut desk.rng, &mut out);
        loop {
            desk.kdc.flush(desk.now, &mut out);
            if out.is_empty() {
                break;
            }
            for effect in std::mem::take(&mut out) {
                match effect {
                    Effect::Load(op, keys) => {
                        let done = Completion::Loaded(op, desk.store.read_now(&keys));
                        desk.kdc.complete(desk.now, done, &mut out);
                    }
                    Effect::Commit(_, txn) => commits.push(txn),
                    Effect::Report(of, report) if of == ticket => reports.push(report),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!((commits.len(), reports.len()), (1, usize::from(seconds > 0)));
    }
    assert_eq!(reports, [Err(CommandError::Unknown)]);
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

#[test]
fn two_operators_at_once_put_a_member_out_once() {
    let store = TestStore::new(Sharing::Shared);
    let config = || desk::config(&["g1"]);
    let (mut one, mut other) =
        (Desk::new(&AwsLc, store.clone(), config()).unwrap(), Desk::new(&AwsLc, store, config()).unwrap());
    joined(&mut one, 1, &[("g1", 1)]);
    let node = node_of(&mut one, "g1", 1);
    assert_eq!(node_of(&mut other, "g1", 1), node);
    let evict = Command::Evict { group: "g1".into(), node };
    assert!(one.command(evict.clone()).is_ok());
    assert!(matches!(other.command(evict), Err(CommandError::NoMember { .. })));
    assert_eq!(one.store.dump().iter().filter(|(key, _)| key.as_bytes().starts_with(b"ban/")).count(), 1);
    assert!(one.command(delete("g1", false)).is_ok());
    assert_eq!(other.command(delete("g1", false)), Err(CommandError::NoGroup("g1".into())));
}

#[test]
fn the_status_shows_what_waits_and_what_has_happened() {
    let mut desk = desk();
    joined(&mut desk, 1, &[("g1", 1)]);
    let Ok(Report::Status(status)) = desk.command(Command::Status) else { panic!() };
    let figure = |name: &str| status.figures.iter().find(|figure| figure.name == name).unwrap().value;
    assert!(status.ready && status.storage);
    assert_eq!((figure("requests_total"), figure("requests_waiting"), figure("conflicts_total")), (2, 0, 0));
    assert!(figure("commits_total") >= 4 && figure("records_in_memory") > 10);
    assert_eq!((figure("associations_waiting_for_proof"), figure("groups_not_taken_up")), (0, 0));
    desk.post_token(&token_of(2, &[("g1", 1)], None)).unwrap();
    let Ok(Report::Status(status)) = desk.command(Command::Status) else { panic!() };
    let waiting = status.figures.iter().find(|figure| figure.name == "associations_waiting_for_proof").unwrap();
    assert_eq!(waiting.value, 1);
}
