//! State that another process has left, or that chance has brought about: what a KDC makes of it.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::TokenHash;
use ace_groupcomm::UnixTime;
use ace_groupcomm::config::ConfigValue;
use ace_groupcomm::engine::Machine;
use ace_groupcomm::keys::{self, GroupId, PrincipalId};
use ace_groupcomm::records::{
    Association, BelongsTo, Expiry, Head, MemberRecord, Meta, NamedGroup, Revoked, SenderIdRecord,
};
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, scope, token, token_post_with};
use ace_groupcomm::testkit::{Desk, TestStore, desk, store::Fault, toy};
use ace_groupcomm::token::ValidToken;
use ace_groupcomm::traits::storage::{Key, Sharing};
use ace_groupcomm::traits::token::TokenValidator;
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice};
use ace_groupcomm::{Caller, Method, Now, RecordType, Response, Status, Stop, View};
use ace_groupcomm_messages::{
    GetCreds, GroupcommError, JoinRequest, JoinResponse, ProblemDetails, TokenTransferResponse, retrieval,
};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use std::time::Duration;

const TALKER: u64 = 1;
const LATER: u64 = 2_000_000;

fn on(store: &TestStore) -> Desk {
    Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap()
}

fn store() -> TestStore {
    TestStore::new(Sharing::Exclusive)
}

fn admitted(desk: &mut Desk, number: u16, expires: u64) -> (TestClient, Caller, Vec<u8>) {
    let client = TestClient::new(&AwsLc, number).unwrap();
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", TALKER)], expires))).unwrap();
    (client, caller, challenge)
}

fn join(desk: &mut Desk, number: u16) -> (TestClient, Caller, Vec<u8>, Response) {
    let (client, caller, challenge) = admitted(desk, number, LATER);
    let response = desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8])));
    (client, caller, challenge, response)
}

fn group(store: &TestStore) -> (Key, GroupId) {
    let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
    (keys::head(id), id)
}

fn error_of(response: &Response) -> Option<GroupcommError> {
    ProblemDetails::decode(&response.payload).ok()?.error()
}

fn records<T: RecordType>(store: &TestStore, prefix: &[u8]) -> Vec<T> {
    let all = store.dump().into_iter().filter(|(key, _)| key.as_bytes().starts_with(prefix));
    all.filter_map(|(_, record)| T::decode(&record.value).ok()).collect()
}

#[test]
fn a_group_goes_on_at_its_version() {
    let store = store();
    drop(on(&store));
    let (head, _) = group(&store);
    store.plant(&head, &Head { num: 7, ..store.record(&head).unwrap() });
    let mut desk = on(&store);
    let (_, caller, _, response) = join(&mut desk, 1);
    // The keys of that version are not there: nothing is made up.
    assert_eq!(response.status, Status::InternalServerError);
    let num = desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    assert_ne!(num.status, Status::Content, "no member");
    store.plant(&head, &Head { num: 0, ..store.record(&head).unwrap() });
    let mut desk = on(&store);
    let (_, caller, _, response) = join(&mut desk, 1);
    assert_eq!(response.status, Status::Created);
    store.plant(&head, &Head { num: 7, ..store.record(&head).unwrap() });
    let num = on(&store).ask(&caller, group_request(Method::Get, "g1", &["num"]));
    assert_eq!(retrieval::decode_num(&num.payload), Ok(7));
}

// Covers: TH-3-04/given-identifiers
#[test]
fn a_sender_id_comes_back_under_another_gid_alone() {
    let store = store();
    let mut desk = on(&store);
    let (client, caller, challenge, _) = join(&mut desk, 1);
    // It joins again, and gives 00 up.
    desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[8; 8])));
    let (head, id) = group(&store);
    let states = [0_u8, 1].map(|id_| store.record::<SenderIdRecord>(&keys::sender_id(id, &vec![id_].into())).unwrap());
    assert!(states[0].holder.is_none() && states[1].holder.is_some());
    let wrapped = Head { cursor: 0, ..store.record(&head).unwrap() };
    for (epoch, expected) in [(wrapped.epoch, 2), (wrapped.epoch + 1, 0)] {
        store.plant(&head, &Head { epoch, ..wrapped.clone() });
        let mut desk = on(&store);
        let number = 10 + u16::try_from(epoch).unwrap();
        assert_eq!(join(&mut desk, number).3.status, Status::Created);
        let members: Vec<MemberRecord> = records(&store, &[b"g/".as_slice(), id.as_bytes(), b"/m/"].concat());
        let newest = members.iter().filter_map(|m| m.sender_id.as_ref()).find(|sid| sid.as_bytes() == [expected]);
        assert!(newest.is_some(), "{members:?}");
    }
}

#[test]
fn a_group_that_is_not_active_takes_nobody() {
    let store = store();
    drop(on(&store));
    let (head, _) = group(&store);
    store.plant(&head, &Head { active: false, ..store.record(&head).unwrap() });
    let (.., response) = join(&mut on(&store), 1);
    assert_eq!(response.status, Status::ServiceUnavailable);
    assert_eq!(error_of(&response), Some(GroupcommError::GroupInactive));
}

#[test]
fn an_expiry_and_a_revocation_of_an_older_token_end_nothing() {
    let store = store();
    let mut desk = on(&store);
    let (client, caller, ..) = join(&mut desk, 1);
    let id = PrincipalId::of("as1", &client.name);
    // As it was noted when a client had one token alone.
    let expiry = Expiry { at: UnixTime::new(1_000_100), principal: id, hash: None };
    store.plant(&expiry.key(), &expiry);
    store.plant(&keys::token(&TokenHash::from(&[9; 32])), &BelongsTo(id));
    let mut desk = on(&store);
    desk.pass(Duration::from_secs(200));
    desk.revoke(&TokenHash::from(&[9; 32]));
    let num = desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    assert_eq!(num.status, Status::Content);
    assert!(store.record::<Expiry>(&expiry.key()).is_none(), "what is over is gone");
    assert!(store.record::<Revoked>(&keys::revoked(&TokenHash::from(&[9; 32]))).is_some());
}

// Covers: AF-5.10.1-08, TH-2-03/new-token
#[test]
fn what_was_known_by_an_older_token_is_gone_with_it() {
    let store = store();
    let mut desk = on(&store);
    let (client, caller, ..) = join(&mut desk, 1);
    let (newer, _) = desk.post_token(&token(1, &client.claims(&[("g1", TALKER)], LATER + 5))).unwrap();
    assert_eq!(desk.ask(&newer, group_request(Method::Get, "g1", &["num"])).status, Status::Content);
    assert_eq!(records::<BelongsTo<PrincipalId>>(&store, b"t/").len(), 1);
    assert_eq!(records::<Expiry>(&store, b"x/").len(), 2, "that of memberships, and its own");
    assert_eq!(records::<Association>(&store, b"a/").len(), 1);
    assert_eq!(desk.ask(&caller, group_request(Method::Get, "g1", &["num"])).status, Status::Unauthorized);
}

/// Two processes between whose starts were 65,535 others: the same number, and by chance the same draws.
fn twins() -> (TestStore, Desk, Desk) {
    let store = TestStore::new(Sharing::Shared);
    let mut one = on(&store);
    let meta: Meta = store.record(&keys::meta()).unwrap();
    store.plant(&keys::meta(), &Meta { starts: 0, ..meta });
    let mut other = on(&store);
    one.rng = ChaCha12Rng::seed_from_u64(5);
    other.rng = ChaCha12Rng::seed_from_u64(5);
    (store, one, other)
}

// Covers: OS-3.3-03, TH-1-05/server-id-commit, TH-1-05/server-id-contexts
#[test]
fn a_name_that_is_taken_is_never_taken_over() {
    let (store, mut one, mut other) = twins();
    let (_, first, _) = admitted(&mut one, 1, LATER);
    let (_, second, _) = admitted(&mut other, 2, LATER);
    assert_eq!(first, second, "the accident itself");
    let num = || group_request(Method::Get, "g1", &["num"]);
    assert_eq!(one.ask(&first, num()).status, Status::Forbidden, "known, and no member");
    assert_eq!(other.ask(&second, num()).status, Status::Unauthorized, "the name is another's");
    let owners: Vec<Association> = records(&store, b"a/");
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[0].principal, PrincipalId::of("as1", "client1"));

    // A name that is live, or waits, is not given at all.
    let (store, mut one, mut other) = twins();
    let (_, first, _) = admitted(&mut one, 1, LATER);
    one.ask(&first, num());
    let (_, second, _) = admitted(&mut other, 2, LATER);
    assert_ne!(first, second, "live");
    one.rng = ChaCha12Rng::seed_from_u64(6);
    let (_, third, _) = admitted(&mut one, 3, LATER);
    one.rng = ChaCha12Rng::seed_from_u64(6);
    let (_, fourth, _) = admitted(&mut one, 4, LATER);
    assert_ne!(third, fourth, "waiting");
    assert_eq!(records::<Association>(&store, b"a/").len(), 1);
}

// Covers: TH-1-05/differing-ids
#[test]
fn a_client_may_choose_the_very_name_that_the_kdc_would() {
    let mut desk = on(&store());
    let post = |desk: &mut Desk, id: &[u8], n: u16| {
        desk.rng = ChaCha12Rng::seed_from_u64(9);
        let client = TestClient::new(&AwsLc, n).unwrap();
        let mut post = token_post_with(&token(1, &client.claims(&[("g1", TALKER)], LATER)), &[1; 8]);
        let mut decoded = ace_groupcomm_messages::TokenTransferRequest::decode(&post.payload).unwrap();
        decoded.client_recipient_id = Some(id.to_vec());
        post.payload = decoded.encode().into();
        let answer = desk.ask(&Caller::anonymous(), post);
        TokenTransferResponse::decode(&answer.payload).unwrap().server_recipient_id.unwrap()
    };
    let name = post(&mut on(&store()), &[0], 1);
    assert_ne!(post(&mut desk, &name, 1), name);
}

#[test]
fn an_activation_that_nobody_knows_of_is_not_undone() {
    for sharing in [Sharing::Exclusive, Sharing::Shared] {
        let mut desk = on(&TestStore::new(sharing));
        let (client, caller, challenge) = admitted(&mut desk, 1, LATER);
        desk.store.fail_next(Fault::UnknownDone);
        let request = || join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8]));
        let first = desk.ask(&caller, request());
        let second = desk.ask(&caller, request());
        assert!(second.status.is_success(), "{first:?} {second:?}");
        let gone = desk.notices.iter().any(|notice| matches!(notice, AssociationNotice::Gone { .. }));
        assert!(!gone, "{:?}", desk.notices);
        assert_eq!(records::<Association>(&desk.store, b"a/").len(), 1);
    }
}

// Covers: TH-1-04/reserved-blocks
// Covers: OS-7.5-01
#[test]
fn sequence_numbers_go_on_where_they_were_reserved() {
    let store = store();
    let mut desk = on(&store);
    let (_, caller, ..) = join(&mut desk, 1);
    let Caller::Peer(name, _) = &caller else { panic!("a peer") };
    let reserved = |desk: &mut Desk| {
        desk.notices.clear();
        desk.need(AssociationNeed::Sequence(name.clone()));
        let of = |notice: &AssociationNotice| match notice {
            AssociationNotice::Sequence { id, start, limit } => Some((id == name, *start, *limit)),
            _ => None,
        };
        desk.notices.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(reserved(&mut desk), [(true, 64, 1_088)]);
    assert_eq!(reserved(&mut desk), [(true, 1_088, 2_112)]);
    assert_eq!(reserved(&mut on(&store)), [(true, 2_112, 3_136)], "another process");
    desk.store.fail_next(Fault::NotDone);
    assert_eq!(reserved(&mut desk), [], "what is not durable is not used");
    desk.notices.clear();
    desk.need(AssociationNeed::Sequence(b"nobody".into()));
    assert_eq!(desk.notices, [AssociationNotice::Gone { id: b"nobody".into() }]);
}

#[test]
fn a_kdc_whose_groups_could_not_be_made_is_not_ready() {
    let store = store();
    store.fail_next(Fault::NotDone);
    let mut desk = on(&store);
    assert!(!desk.kdc.is_ready());
    desk.pass(Duration::from_secs(60));
    assert!(desk.kdc.is_ready());
}

#[test]
fn a_credential_is_kept_only_by_the_one_who_proved_it() {
    let mut desk = on(&store());
    let (client, caller, challenge, _) = join(&mut desk, 1);
    let (_, _, _, other) = join(&mut desk, 2);
    assert_eq!(other.status, Status::Created);
    let foreign = TestClient::new(&AwsLc, 3).unwrap().key.public().to_vec();
    let again = |cred: Option<Vec<u8>>, verify: Option<Vec<u8>>| JoinRequest {
        client_cred: cred,
        client_cred_verify: verify,
        get_creds: Some(GetCreds::All),
        ..client.join("g1", TALKER, &challenge, &[9; 8])
    };
    let own = client.key.public().to_vec();
    for (cred, verify, taken) in [
        (Some(foreign.clone()), None, false),
        (Some(foreign), Some(vec![]), false),
        (None, None, false),
        (Some(vec![]), Some(vec![]), false),
        (Some(client.key.public().to_vec()), Some(vec![1; 64]), false),
        (Some(own.clone()), None, true),
        (Some(vec![]), None, true),
        (Some(own), Some(vec![]), true),
    ] {
        let response = desk.ask(&caller, join_post("g1", &again(cred.clone(), verify.clone())));
        if verify.as_ref().is_some_and(Vec::is_empty) && !taken {
            assert_eq!(error_of(&response), Some(GroupcommError::InvalidProof), "{cred:?}");
        }
        assert_eq!(response.status == Status::Changed, taken, "{cred:?} {verify:?}: {response:?}");
        if taken {
            let joined = JoinResponse::decode(&response.payload).unwrap();
            let peers: Vec<_> = joined.peers.unwrap().into_iter().map(|peer| peer.id).collect();
            assert_eq!(peers, [[1]], "the other one, never oneself under a former name");
            assert!(joined.group_policies.is_none(), "the group has none");
        }
    }
}

fn with(parameters: &[(&str, u64)]) -> Desk {
    let mut config = desk::config(&["g1"]);
    for (name, value) in parameters {
        config.groups[0].parameters.insert(*name, ConfigValue::Int((*value).try_into().unwrap()));
    }
    Desk::new(&AwsLc, store(), config).unwrap()
}

#[test]
fn a_tagged_scope_is_for_groups_of_that_tag() {
    for (tag, group, accepted) in [
        (None, None, true),
        (None, Some(5), true),
        (Some(5), Some(5), true),
        (Some(6), Some(5), false),
        (Some(5), None, false),
    ] {
        let parameters: Vec<_> = group.into_iter().map(|tag| ("scope_tag", tag)).collect();
        let mut desk = with(&parameters);
        let mut claims = TestClient::new(&AwsLc, 1).unwrap().claims(&[("g1", TALKER)], LATER);
        if let Some(tag) = tag {
            let plain = scope(&[("g1", TALKER)]);
            claims.scope = Some(ace_groupcomm_messages::ScopeValue::Extended { tag, bytes: plain.encode() });
        }
        assert_eq!(desk.post_token(&token(1, &claims)).is_some(), accepted, "{tag:?} for {group:?}");
    }
}

#[test]
fn a_profile_may_want_the_scope_in_every_join() {
    let mut desk = with(&[("default_scope", 0)]);
    let (client, caller, challenge) = admitted(&mut desk, 1, LATER);
    let full = client.join("g1", TALKER, &challenge, &[7; 8]);
    let without = JoinRequest { scope: None, ..full.clone() };
    assert_eq!(desk.ask(&caller, join_post("g1", &without)).status, Status::BadRequest);
    assert_eq!(desk.ask(&caller, join_post("g1", &full)).status, Status::Created);
}

/// Takes tokens of anybody who could read them.
struct Readable;

impl TokenValidator for Readable {
    fn validate(&self, _view: &View<'_>, token: &[u8], _now: UnixTime) -> Result<ValidToken, Stop> {
        let claims = TestClient::new(&AwsLc, 1).unwrap().claims(&[], LATER);
        Ok(ValidToken::new(
            "as1",
            "client1",
            token,
            UnixTime::new(LATER),
            scope(&[("g1", TALKER)]),
            claims.cnf.unwrap(),
        ))
    }
}

// Covers: AF-3.1-01, TH-2-01/kdc-refuses
#[test]
fn a_token_that_shows_a_secret_key_is_refused_whoever_vouches_for_it() {
    let now = Now::new(1_000_000, Duration::from_secs(1));
    let mut desk =
        Desk::start(&AwsLc, store(), desk::config(&["g1"]), &toy::registry(), Box::new(Readable), now).unwrap();
    let token = token(1, &TestClient::new(&AwsLc, 1).unwrap().claims(&[("g1", TALKER)], LATER));
    let response = desk.ask(&Caller::anonymous(), token_post_with(&token, &[1; 8]));
    assert_eq!(response.status, Status::BadRequest);
    assert!(desk.notices.is_empty());
}
