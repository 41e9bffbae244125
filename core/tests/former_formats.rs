//! Clients and members as former formats have stored them: what today's rules rest on is found for them too.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::check::Check;
use ace_groupcomm::keys::{self, GroupId, PrincipalId};
use ace_groupcomm::records::{BelongsTo, HeldToken, MemberRecord, NamedGroup, Principal, StoredToken};
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token, token_post_with};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Sharing, Txn};
use ace_groupcomm::{AssociationId, Caller, Gid, Method, NodeName, RecordType, SenderId, Status, UnixTime, record};
use ace_groupcomm_messages::TokenTransferResponse;
use serde::Serialize;
use serde_bytes::ByteBuf;

const TALKER: u64 = 1;
const LATER: u64 = 2_000_000;

/// A client when it had one token, and the name of its key stood in the association alone.
#[derive(Serialize)]
struct FirstPrincipal {
    issuer: String,
    subject: String,
    token: StoredToken,
    association: AssociationId,
    memberships: Vec<(String, GroupId)>,
}

/// A member when keys were Ed25519's, named by the hash of their bytes.
#[derive(Serialize)]
struct FirstMember {
    node: NodeName,
    sender_id: Option<SenderId>,
    roles: u64,
    cred: Option<ByteBuf>,
    key: Option<ByteBuf>,
    scope: ByteBuf,
    clientchallenge: ByteBuf,
    birth_gid: Gid,
    control_uri: Option<String>,
    rejoins: (u32, UnixTime),
}

fn on(store: &TestStore) -> Desk {
    Desk::new(&AwsLc, store.clone(), desk::config(&["g1", "g2"])).unwrap()
}

fn client(number: u16) -> TestClient {
    TestClient::new(&AwsLc, number).unwrap()
}

fn principal(number: u16) -> PrincipalId {
    PrincipalId::of("as1", &client(number).name)
}

fn post(desk: &mut Desk, client: &TestClient, scope: &[(&str, u64)], nonce: u8) -> (Caller, Vec<u8>) {
    let request = token_post_with(&token(1, &client.claims(scope, LATER)), &[nonce; 8]);
    let answer = TokenTransferResponse::decode(&desk.ask(&Caller::anonymous(), request).payload).unwrap();
    (Caller::peer(answer.server_recipient_id.unwrap()), answer.kdcchallenge.unwrap_or_default())
}

fn join(desk: &mut Desk, client: &TestClient, (caller, challenge): &(Caller, Vec<u8>)) -> Status {
    desk.ask(caller, join_post("g1", &client.join("g1", TALKER, challenge, &[7; 8]))).status
}

fn status(desk: &mut Desk, caller: &Caller) -> Status {
    desk.ask(caller, group_request(Method::Get, "g1", &["num"])).status
}

fn group(store: &TestStore) -> GroupId {
    store.record::<NamedGroup>(&keys::name("g1")).unwrap().id
}

fn rewrite(store: &TestStore, write: Vec<(Key, Option<Vec<u8>>)>) {
    let write = write.into_iter().map(|(key, value)| (key, value.map(Into::into))).collect();
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
}

fn to_first_principal(store: &TestStore, id: PrincipalId) {
    let Principal { issuer, subject, mut tokens, memberships } = store.record(&keys::principal(id)).unwrap();
    let HeldToken { token, association, .. } = tokens.pop().unwrap();
    let first = FirstPrincipal { issuer, subject, token, association, memberships };
    let bytes = record::to_bytes(&first, 2);
    assert!(Principal::decode(&bytes).unwrap().tokens[0].input_id.is_empty());
    rewrite(store, vec![(keys::principal(id), Some(bytes))]);
}

/// Returns the keys of both indexes: the one that there was, and the one of today.
fn to_first_member(store: &TestStore, id: PrincipalId) -> (Key, Key) {
    let key = keys::member(group(store), id);
    let member: MemberRecord = store.record(&key).unwrap();
    let credential = member.credential.clone().unwrap();
    let first_name = MemberRecord::first_name(&credential.key).unwrap();
    let raw = client(1).key.public().to_vec();
    let first = FirstMember {
        node: member.node,
        sender_id: member.sender_id,
        roles: member.roles,
        cred: Some(ByteBuf::from(credential.cred)),
        key: Some(ByteBuf::from(raw)),
        scope: member.scope,
        clientchallenge: member.clientchallenge,
        birth_gid: member.birth_gid,
        control_uri: member.control_uri,
        rejoins: (0, UnixTime::EPOCH),
    };
    let of = |name| keys::credential(group(store), name);
    let (former, today) = (of(&first_name), of(&credential.thumbprint));
    rewrite(
        store,
        vec![
            (key, Some(record::to_bytes(&first, record::FIRST_FORMAT))),
            (today.clone(), None),
            (former.clone(), Some(BelongsTo(id).encode())),
        ],
    );
    (former, today)
}

fn assert_clean(store: &TestStore) {
    let mut check = Check::default();
    store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    let findings = check.finish();
    assert!(findings.is_clean(), "{findings}");
}

#[test]
fn a_newer_token_for_the_same_key_takes_the_place_of_one_whose_keys_name_was_not_recorded() {
    let store = TestStore::new(Sharing::Exclusive);
    let (mut desk, one) = (on(&store), client(1));
    let first = post(&mut desk, &one, &[("g1", TALKER), ("g2", TALKER)], 1);
    assert_eq!(join(&mut desk, &one, &first), Status::Created);
    to_first_principal(&store, principal(1));
    let mut desk = on(&store);
    assert_eq!(status(&mut desk, &first.0), Status::Content);
    // The AS has taken g1 away.
    let (second, _) = post(&mut desk, &one, &[("g2", TALKER)], 2);
    assert_eq!(status(&mut desk, &second), Status::Forbidden);
    assert_eq!(status(&mut desk, &first.0), Status::Unauthorized, "its association has given way");
    let held: Principal = store.record(&keys::principal(principal(1))).unwrap();
    assert_eq!((held.tokens.len(), held.memberships.len()), (1, 0));
    desk.due();
    assert!(store.record::<MemberRecord>(&keys::member(group(&store), principal(1))).is_none());
    assert_clean(&store);
}

#[test]
fn a_key_that_a_member_has_claimed_by_its_former_name_is_nobody_elses() {
    let store = TestStore::new(Sharing::Exclusive);
    let (mut desk, one) = (on(&store), client(1));
    let first = post(&mut desk, &one, &[("g1", TALKER)], 1);
    assert_eq!(join(&mut desk, &one, &first), Status::Created);
    let (former, today) = to_first_member(&store, principal(1));
    let mut desk = on(&store);
    // Another client shows the same key.
    let thief = TestClient { key: one.key.clone(), ..client(2) };
    let second = post(&mut desk, &thief, &[("g1", TALKER)], 2);
    assert_eq!(join(&mut desk, &thief, &second), Status::BadRequest);
    // Its owner joins again, and has it by the name of today.
    let again = post(&mut desk, &one, &[("g1", TALKER)], 3);
    assert_eq!(join(&mut desk, &one, &again), Status::Changed);
    assert_eq!(store.record::<BelongsTo<PrincipalId>>(&former).map(|owner| owner.0), None);
    assert_eq!(store.record::<BelongsTo<PrincipalId>>(&today).map(|owner| owner.0), Some(principal(1)));
    assert_clean(&store);
}
