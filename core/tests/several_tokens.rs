//! A client with several tokens, each posted by itself: for two groups, or newer ones for the same.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::check::Check;
use ace_groupcomm::command::{Command, CommandError, Report};
use ace_groupcomm::engine::Machine;
use ace_groupcomm::keys::{self, PrincipalId};
use ace_groupcomm::records::{MemberRecord, NamedGroup, Principal};
use ace_groupcomm::registry::Registry;
use ace_groupcomm::testkit::build::{
    TestClient, group_request, join_post, token, token_post_with, update_post, validator,
};
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm::{Caller, Method, Now, Status, TokenHash};
use ace_groupcomm_messages::{Claims, Confirmation, OscoreInputMaterial, TokenTransferResponse};
use std::time::Duration;

const TALKER: u64 = 1;
const LISTENER: u64 = 2;
const NOW: u64 = 1_000_000;

fn client() -> TestClient {
    TestClient::new(&AwsLc, 1).unwrap()
}

/// A token with a key of its own, named by a number.
fn claims(key: u8, scope: &[(&str, u64)], expires: u64) -> Claims {
    let material = OscoreInputMaterial::new(vec![key], vec![key; 16]);
    Claims { cnf: Some(Confirmation::Osc(material)), ..client().claims(scope, expires) }
}

fn update(key: u8, scope: &[(&str, u64)], expires: u64) -> Vec<u8> {
    token(1, &Claims { cnf: Some(Confirmation::Kid(vec![key])), ..claims(key, scope, expires) })
}

fn on(store: &TestStore) -> Desk {
    Desk::new(&AwsLc, store.clone(), desk::config(&["g1", "g2", "g3"])).unwrap()
}

fn new() -> (TestStore, Desk) {
    let store = TestStore::new(Sharing::Exclusive);
    let desk = on(&store);
    (store, desk)
}

/// Posts a token with this nonce. Returns who its client is to the KDC, and N_S.
fn post(desk: &mut Desk, token: &[u8], nonce: u8) -> (Caller, Vec<u8>) {
    let answer = desk.ask(&Caller::anonymous(), token_post_with(token, &[nonce; 8]));
    let answer = TokenTransferResponse::decode(&answer.payload).unwrap();
    (Caller::peer(answer.server_recipient_id.unwrap()), answer.kdcchallenge.unwrap_or_default())
}

/// Posts the token and joins a group with it.
fn member(desk: &mut Desk, token: &[u8], gname: &str) -> Caller {
    let (caller, challenge) = post(desk, token, 1);
    let join = join_post(gname, &client().join(gname, TALKER, &challenge, &[7; 8]));
    assert_eq!(desk.ask(&caller, join).status, Status::Created);
    caller
}

fn status(desk: &mut Desk, caller: &Caller, gname: &str) -> Status {
    desk.ask(caller, group_request(Method::Get, gname, &["num"])).status
}

fn is_member(store: &TestStore, gname: &str) -> bool {
    let group = store.record::<NamedGroup>(&keys::name(gname)).unwrap().id;
    store.record::<MemberRecord>(&keys::member(group, PrincipalId::of("as1", "client1"))).is_some()
}

fn held(store: &TestStore) -> usize {
    let client = store.record::<Principal>(&keys::principal(PrincipalId::of("as1", "client1")));
    client.map_or(0, |client| client.tokens.len())
}

fn is_clean(store: &TestStore) -> bool {
    let mut check = Check::default();
    store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    check.finish().is_clean()
}

#[test]
fn both_memberships_live_and_each_ends_with_its_own_token() {
    let (store, mut desk) = new();
    let first = member(&mut desk, &token(1, &claims(1, &[("g1", TALKER)], NOW + 100)), "g1");
    let second = member(&mut desk, &token(1, &claims(2, &[("g2", TALKER)], NOW + 200)), "g2");
    assert_eq!((status(&mut desk, &first, "g1"), status(&mut desk, &second, "g2")), (Status::Content, Status::Content));
    // What one token allows is not to be had under the association of the other.
    assert_eq!(
        (status(&mut desk, &first, "g2"), status(&mut desk, &second, "g1")),
        (Status::Forbidden, Status::Forbidden)
    );
    assert_eq!(held(&store), 2);
    assert!(is_clean(&store));

    // So it is in the next process.
    let mut desk = on(&store);
    assert_eq!((status(&mut desk, &first, "g1"), status(&mut desk, &second, "g2")), (Status::Content, Status::Content));
    desk.pass(Duration::from_secs(100));
    assert_eq!(
        (status(&mut desk, &first, "g1"), status(&mut desk, &second, "g2")),
        (Status::Unauthorized, Status::Content)
    );
    assert_eq!((is_member(&store, "g1"), is_member(&store, "g2"), held(&store)), (false, true, 1));
    assert!(is_clean(&store));
    desk.pass(Duration::from_secs(100));
    assert_eq!(status(&mut desk, &second, "g2"), Status::Unauthorized);
    assert_eq!((is_member(&store, "g2"), held(&store)), (false, 0));
    assert!(is_clean(&store));
}

#[test]
fn two_kdcs_over_one_store_know_both_tokens() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (on(&store), on(&store));
    let first = member(&mut one, &token(1, &claims(1, &[("g1", TALKER)], NOW + 100)), "g1");
    let second = member(&mut other, &token(1, &claims(2, &[("g2", TALKER)], NOW + 200)), "g2");
    assert_eq!((status(&mut one, &first, "g1"), status(&mut other, &second, "g2")), (Status::Content, Status::Content));
    assert_eq!(held(&store), 2);
    // The one that had nothing to do with it ends the first token alone.
    other.pass(Duration::from_secs(100));
    assert_eq!((is_member(&store, "g1"), is_member(&store, "g2")), (false, true));
    assert_eq!(status(&mut other, &second, "g2"), Status::Content);
    assert!(is_clean(&store));
}

#[test]
fn tokens_that_end_in_one_second_end_both() {
    let (store, mut desk) = new();
    member(&mut desk, &token(1, &claims(1, &[("g1", TALKER)], NOW + 100)), "g1");
    member(&mut desk, &token(1, &claims(2, &[("g2", TALKER)], NOW + 100)), "g2");
    desk.pass(Duration::from_secs(100));
    assert_eq!((is_member(&store, "g1"), is_member(&store, "g2"), held(&store)), (false, false, 0));
    assert!(is_clean(&store));
    assert!(desk.kdc.stats().conflicts == 0);
}

#[test]
fn a_membership_lasts_while_one_token_covers_all_of_its_roles() {
    let (store, mut desk) = new();
    let first = member(&mut desk, &token(1, &claims(1, &[("g1", TALKER)], NOW + 100)), "g1");
    // The same rights with another key, for longer; and others that cover it together only.
    let (second, _) = post(&mut desk, &token(1, &claims(2, &[("g1", TALKER)], NOW + 200)), 1);
    assert_eq!(status(&mut desk, &second, "g1"), Status::Content, "it is the same client");
    let (third, _) = post(&mut desk, &token(1, &claims(3, &[("g1", LISTENER)], NOW + 300)), 1);
    assert_eq!(
        status(&mut desk, &third, "g1"),
        Status::Forbidden,
        "its own token does not grant the membership's roles"
    );
    let node = |desk: &mut Desk, caller: &Caller| desk.ask(caller, group_request(Method::Get, "g1", &[])).status;
    assert_eq!((node(&mut desk, &second), node(&mut desk, &third)), (Status::Content, Status::Forbidden));
    let notes =
        |desk: &mut Desk, caller: &Caller| desk.ask(caller, group_request(Method::Get, "g1", &["notes"])).status;
    assert_eq!((notes(&mut desk, &second), notes(&mut desk, &third)), (Status::Content, Status::Forbidden));
    desk.pass(Duration::from_secs(100));
    assert_eq!((status(&mut desk, &first, "g1"), is_member(&store, "g1")), (Status::Unauthorized, true));
    desk.pass(Duration::from_secs(100));
    assert!(!is_member(&store, "g1"), "what is left grants another role");
    assert_eq!((status(&mut desk, &third, "g1"), held(&store)), (Status::Forbidden, 1));
    assert!(is_clean(&store));
}

#[test]
fn an_update_replaces_the_token_of_its_own_association() {
    let (store, mut desk) = new();
    let first = member(&mut desk, &token(1, &claims(1, &[("g1", TALKER)], NOW + 100)), "g1");
    let second = member(&mut desk, &token(1, &claims(2, &[("g2", TALKER)], NOW + 100)), "g2");
    let foreign = desk.ask(&first, update_post(&update(2, &[("g2", TALKER)], NOW + 300)));
    assert_eq!(foreign.status, Status::Unauthorized, "it is for the key of the other association");
    desk.notices.clear();
    let updated = desk.ask(&second, update_post(&update(2, &[("g3", TALKER)], NOW + 300)));
    assert_eq!(updated.status, Status::Created);
    desk.due();
    assert_eq!((is_member(&store, "g1"), is_member(&store, "g2"), held(&store)), (true, false, 2));
    let restricted: Vec<_> =
        desk.notices.iter().filter(|notice| matches!(notice, AssociationNotice::Restricted { .. })).collect();
    assert!(restricted.len() >= 2, "what it observes under either is looked at again: {restricted:?}");
    assert_eq!(
        (status(&mut desk, &first, "g1"), status(&mut desk, &second, "g2")),
        (Status::Content, Status::Forbidden)
    );
    desk.pass(Duration::from_secs(100));
    assert_eq!((held(&store), status(&mut desk, &second, "g3")), (1, Status::Forbidden), "granted, and no member");
    assert!(is_clean(&store));
}

#[test]
fn a_token_has_one_association_and_a_late_proof_of_an_older_post_is_refused() {
    let (store, mut desk) = new();
    let first = token(1, &claims(1, &[("g1", TALKER)], NOW + 500));
    let other = member(&mut desk, &token(1, &claims(2, &[("g2", TALKER)], NOW + 500)), "g2");
    let (old, _) = post(&mut desk, &first, 1);
    let (newer, _) = post(&mut desk, &first, 2);
    assert_eq!(status(&mut desk, &newer, "g1"), Status::Forbidden, "proven, and no member");
    assert_eq!(status(&mut desk, &old, "g1"), Status::Unauthorized);
    let (newest, _) = post(&mut desk, &first, 3);
    assert_eq!(status(&mut desk, &newest, "g1"), Status::Forbidden);
    assert_eq!(status(&mut desk, &newer, "g1"), Status::Unauthorized, "its place is taken");
    assert_eq!((status(&mut desk, &other, "g2"), held(&store)), (Status::Content, 2), "the other token is not touched");
    // Another token for the same key takes its place too.
    let (renewed, _) = post(&mut desk, &token(1, &claims(1, &[("g3", TALKER)], NOW + 600)), 1);
    assert_eq!(status(&mut desk, &renewed, "g3"), Status::Forbidden);
    assert_eq!((status(&mut desk, &newest, "g1"), held(&store)), (Status::Unauthorized, 2));
    assert!(is_clean(&store));
}

#[test]
fn a_ninth_token_takes_the_place_of_one_that_no_membership_needs() {
    let (store, mut desk) = new();
    let first = member(&mut desk, &token(1, &claims(1, &[("g1", TALKER)], NOW + 100)), "g1");
    let mut callers = vec![];
    for key in 2..=8 {
        // Those that came later end earlier.
        let (caller, _) = post(&mut desk, &token(1, &claims(key, &[("g2", TALKER)], NOW + 1_000 - u64::from(key))), 1);
        assert_eq!(status(&mut desk, &caller, "g2"), Status::Forbidden);
        callers.push(caller);
    }
    assert_eq!(held(&store), 8);
    let (ninth, challenge) = post(&mut desk, &token(1, &claims(9, &[("g2", TALKER)], NOW + 2_000)), 1);
    let join = join_post("g2", &client().join("g2", TALKER, &challenge, &[7; 8]));
    assert_eq!(desk.ask(&ninth, join).status, Status::Created);
    assert_eq!((held(&store), status(&mut desk, &first, "g1")), (8, Status::Content), "the first to end is needed");
    assert_eq!(status(&mut desk, &callers[6], "g2"), Status::Unauthorized, "it was the next to end");
    assert_eq!(status(&mut desk, &callers[5], "g2"), Status::Content);
    assert!(is_clean(&store));
}

#[test]
fn a_ninth_token_is_refused_where_memberships_need_all() {
    let gnames: Vec<String> = (1..=9).map(|number| format!("g{number}")).collect();
    let names: Vec<&str> = gnames.iter().map(String::as_str).collect();
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = Desk::new(&AwsLc, store.clone(), desk::config(&names)).unwrap();
    for (key, gname) in (1..=8).zip(&names) {
        member(&mut desk, &token(1, &claims(key, &[(gname, TALKER)], NOW + 500)), gname);
    }
    let (ninth, _) = post(&mut desk, &token(1, &claims(9, &[("g9", TALKER)], NOW + 500)), 1);
    assert_eq!(status(&mut desk, &ninth, "g9"), Status::ServiceUnavailable);
    assert_eq!(held(&store), 8);
    // One that does what two others did lets it in.
    let (both, _) = post(&mut desk, &token(1, &claims(1, &[("g1", TALKER), ("g2", TALKER)], NOW + 600)), 2);
    assert_eq!(status(&mut desk, &both, "g2"), Status::Content);
    assert_eq!(status(&mut desk, &ninth, "g9"), Status::Forbidden, "granted, and no member");
    assert_eq!(held(&store), 8);
    assert!(is_clean(&store));
}

#[test]
fn a_revocation_ends_one_token_and_what_it_alone_covered() {
    let (store, mut desk) = new();
    let tokens = [1, 2].map(|key| token(1, &claims(key, &[("g1", TALKER)], NOW + 500)));
    let first = member(&mut desk, &tokens[0], "g1");
    let (second, _) = post(&mut desk, &tokens[1], 1);
    assert_eq!(status(&mut desk, &second, "g1"), Status::Content);
    let revoke = |desk: &mut Desk, token: &[u8]| match desk.command(Command::Revoke(TokenHash::of(token))) {
        Ok(Report::Revoked(revocation)) => revocation.groups,
        other => panic!("{other:?}"),
    };
    assert_eq!(revoke(&mut desk, &tokens[0]), Vec::<String>::new(), "the other one covers the membership");
    assert_eq!(
        (status(&mut desk, &first, "g1"), status(&mut desk, &second, "g1")),
        (Status::Unauthorized, Status::Content)
    );
    assert_eq!(revoke(&mut desk, &tokens[1]), ["g1"]);
    desk.due();
    assert_eq!((status(&mut desk, &second, "g1"), is_member(&store, "g1")), (Status::Unauthorized, false));
    assert!(is_clean(&store));
}

#[test]
fn a_ban_lasts_as_long_as_the_last_token_that_names_the_group() {
    let (store, mut desk) = new();
    member(&mut desk, &token(1, &claims(1, &[("g1", TALKER)], NOW + 100)), "g1");
    let (second, challenge) = post(&mut desk, &token(1, &claims(2, &[("g1", TALKER)], NOW + 400)), 1);
    assert_eq!(status(&mut desk, &second, "g1"), Status::Content);
    let Ok(Report::Members(members)) = desk.command(Command::Members("g1".into(), Default::default())) else {
        panic!()
    };
    let [shown] = members.entries.as_slice() else { panic!("{members:?}") };
    assert_eq!(shown.token_expires.seconds(), NOW + 400, "the token that lasts longest");
    let (group, node) = ("g1".to_owned(), shown.node.clone());
    let evict = Command::Evict { group: group.clone(), node: node.clone() };
    assert!(matches!(desk.command(evict.clone()), Ok(Report::Evicted(ban)) if ban.until.seconds() == NOW + 400));
    assert_eq!(desk.command(evict), Err(CommandError::NoMember { group, node }));
    desk.pass(Duration::from_secs(200));
    let join = join_post("g1", &client().join("g1", TALKER, &challenge, &[7; 8]));
    assert_eq!(desk.ask(&second, join).status, Status::Forbidden);
    assert!(is_clean(&store));
}

#[test]
fn each_association_has_a_challenge_of_its_own() {
    let (_, mut desk) = new();
    let (first, one) = post(&mut desk, &token(1, &claims(1, &[("g1", TALKER)], NOW + 500)), 1);
    let (second, other) = post(&mut desk, &token(1, &claims(2, &[("g2", TALKER)], NOW + 500)), 1);
    assert_ne!(one, other);
    let join = |challenge: &[u8], gname: &str| join_post(gname, &client().join(gname, TALKER, challenge, &[7; 8]));
    assert_eq!(desk.ask(&first, join(&other, "g1")).status, Status::BadRequest);
    // The first one's is good still, though the second one was sent later.
    assert_eq!(desk.ask(&first, join(&one, "g1")).status, Status::Created);
    assert_eq!(desk.ask(&second, join(&other, "g2")).status, Status::Created);
}

/// A program without the profile of the groups that are stored.
fn without_profile(store: &TestStore) -> Desk {
    let registry = Registry::empty().with_transport(toy::TRANSPORT).unwrap();
    let validator = Box::new(validator(&["g1", "g2", "g3"]));
    let now = Now::new(NOW, Duration::from_secs(1));
    Desk::start(&AwsLc, store.clone(), desk::config(&[]), &registry, validator, now).unwrap()
}

#[test]
fn a_group_that_this_program_cannot_serve_keeps_no_token_from_ending() {
    let store = TestStore::new(Sharing::Shared);
    let mut desk = on(&store);
    // The client's membership may be covered by its second token, but that takes the profile to say.
    let first = token(1, &claims(1, &[("g1", TALKER)], NOW + 100));
    member(&mut desk, &first, "g1");
    let (second, _) = post(&mut desk, &token(1, &claims(2, &[("g1", TALKER), ("g2", TALKER)], NOW + 300)), 1);
    assert_eq!(status(&mut desk, &second, "g1"), Status::Content);
    let other = TestClient::new(&AwsLc, 2).unwrap();
    let (_, _) = desk.post_token(&token(1, &other.claims(&[("g3", TALKER)], NOW + 200))).unwrap();

    let mut without = without_profile(&store);
    assert!(without.kdc.is_ready());
    assert!(without.command(Command::Revoke(TokenHash::of(&first))).is_ok());
    assert_eq!((held(&store), is_member(&store, "g1")), (1, true), "a token names the group still");
    without.pass(Duration::from_secs(300));
    assert_eq!((held(&store), is_member(&store, "g1")), (0, false), "the last one has ended");
    assert!(without_profile(&store).kdc.is_ready());
    assert!(is_clean(&store));
}
