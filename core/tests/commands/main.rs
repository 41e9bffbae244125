//! Commands of an operator: what each changes, tells and refuses. Here are lists, figures, and storage that fails.

mod groups;
mod members;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::NodeName;
use ace_groupcomm::TokenHash;
use ace_groupcomm::UnixTime;
use ace_groupcomm::check::Check;
use ace_groupcomm::command::{Command, CommandError, MAX_PAGE, Page, PageAfter, Report};
use ace_groupcomm::config::ConfigValue;
use ace_groupcomm::engine::{Completion, Effect, Machine};
use ace_groupcomm::kdc::GroupConfig;
use ace_groupcomm::keys;
use ace_groupcomm::records::{GroupConfiguration, Head, NameState, NamedGroup, RekeyReason};
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::token::LEEWAY;
use ace_groupcomm::traits::storage::{Key, Sharing};
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm::{Caller, Method, Now, Response, Status};
use ace_groupcomm_messages::{GroupcommError, ProblemDetails};
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
    let mut claims = TestClient::new(&AwsLc, number).unwrap().claims(scope, END);
    claims.iat = issued;
    token(1, &claims)
}

fn try_join(desk: &mut Desk, caller: &Caller, challenge: &[u8], number: u16, gname: &str) -> Response {
    desk.ask(caller, join_post(gname, &TestClient::new(&AwsLc, number).unwrap().join(gname, 1, challenge, &[7; 8])))
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

fn members(desk: &mut Desk, gname: &str, page: PageAfter) -> Page<(String, NodeName)> {
    match desk.command(Command::Members(gname.into(), page)) {
        Ok(Report::Members(Page { entries, more })) => {
            Page { entries: entries.into_iter().map(|member| (member.subject, member.node)).collect(), more }
        }
        other => panic!("{other:?}"),
    }
}

fn node_of(desk: &mut Desk, gname: &str, number: u16) -> NodeName {
    let subject = format!("client{number}");
    let page = members(desk, gname, first(100));
    page.entries.into_iter().find(|(of, _)| *of == subject).unwrap().1
}

fn new_group(gname: &str, parameters: &[(&str, i64)]) -> Command {
    let parameters = parameters.iter().map(|&(name, value)| (name.to_owned(), ConfigValue::Int(value)));
    let config = GroupConfig { gname: gname.into(), profile: "toy".into(), parameters: parameters.collect() };
    Command::Create { config, issuers: Some(["as1".to_owned()].into()) }
}

fn delete(gname: &str, with_members: bool) -> Command {
    Command::Delete { group: gname.into(), with_members }
}

fn bans_stored(desk: &Desk) -> usize {
    let is_ban = |key: &Key| [&b"ban/"[..], b"bx/"].iter().any(|prefix| key.as_bytes().starts_with(prefix));
    desk.store.dump().iter().filter(|(key, _)| is_ban(key)).count() / 2
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
    assert!(details.created == UnixTime::new(NOW) && details.expires > UnixTime::new(NOW));
    let Ok(Report::Members(page)) = desk.command(Command::Members("g1".into(), first(1))) else { panic!() };
    let member = &page.entries[0];
    assert_eq!(
        (member.issuer.as_str(), member.sender_id.as_deref(), member.token_expires),
        ("as1", Some("00"), UnixTime::new(END))
    );
    let hash: String = TokenHash::of(&token_of(1, &[("g1", 1)], None)).to_string();
    assert_eq!((member.token_hash.as_str(), member.roles.as_slice()), (hash.as_str(), &["talker".to_owned()][..]));
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
