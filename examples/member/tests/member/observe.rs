//! A member that observes, through restarts of the KDC.

use crate::house::{House, joined, open};
use ace_backend_coap::{Client, ClientError, Limits};
use ace_backend_daemon::Operator;
use ace_coap::numbers::option;
use ace_coap::{Code, Message};
use ace_groupcomm::Secret;
use ace_groupcomm::command::Command;
use ace_groupcomm::member::State;
use ace_groupcomm::token::{TokenKey, seal_cwt};
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, PROBLEM_DETAILS_CBOR};
use ace_groupcomm_messages::{
    Claims, Confirmation, GroupcommError, KeyDistribution, ProblemDetails, RawCbor, RekeyingMessage, Scope, ScopeEntry,
    ScopeValue, TokenTransferRequest,
};
use ace_member::{Content, MemberSettings};
use ace_oscore::{Aead, Context, Sequence};
use ace_peers::Postgres;
use ace_profile_oscore::client_parameters;
use std::time::Duration;

/// A client that goes on under the association of a member.
async fn client(house: &House, settings: &MemberSettings) -> Client<Context> {
    let mut member = open(settings);
    joined(&mut member).await.unwrap();
    member.close().unwrap();
    let session = kept(settings).session.unwrap();
    let parameters = client_parameters(&Secret::from(session.association.0.as_slice())).unwrap();
    let sequence = Sequence::block(session.next, session.next + 1_000);
    let limits = Limits { response_timeout: Duration::from_secs(3), ..Limits::default() };
    let client = Client::connect(house.settings().config.kdc.address, limits, 7).await.unwrap();
    client.protect_with(Context::restored(&parameters, sequence).unwrap())
}

fn get<const N: usize>(path: [&str; N]) -> Message {
    Message::request(Code::GET).with_path(path)
}

fn kept(settings: &MemberSettings) -> State {
    let kept: Content = serde_json::from_slice(&std::fs::read(&settings.state).unwrap()).unwrap();
    kept.member
}

/// The version in an answer, and for how many seconds it is good.
fn version(answer: &Message) -> (i64, Option<u32>) {
    assert_eq!(answer.code, Code::CONTENT);
    let given = KeyDistribution::decode(&answer.payload).unwrap();
    (given.num, answer.options.uint(option::MAX_AGE))
}

// Covers: GO-8.2.1-04, KG-6.1-01
// Covers: GO-11.1-10
#[tokio::test]
async fn who_observes_is_told_of_changes_also_after_a_restart() {
    let mut house = House::on_disk().await;
    let lamp = house.settings();
    let mut client = client(&house, &lamp).await;
    let (answer, observation) = client.observe(get(["ace-group", "lamps"])).await.unwrap();
    // Its client need not register anew before it would ask anyway.
    assert_eq!(version(&answer), (0, Some(3_600)));
    let mut group = observation.expect("the group can be observed");

    house.restart_kdc().await;
    let told = client.notification(&mut group).await.unwrap();
    assert_eq!(version(&told), (0, Some(3_600)), "how it is now, since it may have changed meanwhile");
    house.operate(Operator::Rekey { name: "lamps".into() }).await;
    let told = client.notification(&mut group).await.unwrap();
    assert_eq!(version(&told), (1, Some(3_600)));
    let message = RekeyingMessage::decode(&told.payload).unwrap();
    assert_eq!(message.stale_node_ids, Some(vec![]), "with what a rekeying message says");

    // What is left off is left off after a restart too.
    assert_eq!(version(&client.cancel(group).await.unwrap()).0, 1);
    assert_eq!(house.registrations().await, 0);
}

// Covers: GO-11.1-10
#[tokio::test]
async fn who_observes_at_one_kdc_over_a_database_is_told_of_what_another_one_does() {
    let Some(server) = Postgres::start() else { return };
    let mut house = House::on_database(server.url()).await;
    let other = house.another_kdc().await;
    let command = async |command| other.handle().command(command).await.unwrap();
    let lamp = house.settings();
    let mut client = client(&house, &lamp).await;
    let (answer, observation) = client.observe(get(["ace-group", "lamps"])).await.unwrap();
    assert_eq!(version(&answer), (0, Some(3_600)));
    let mut group = observation.expect("the group can be observed");
    command(Command::Rekey("lamps".into())).await;
    assert_eq!(version(&client.notification(&mut group).await.unwrap()).0, 1);

    // Another process that comes and goes leaves the registration alone; the next one at this address takes it up.
    house.another_kdc().await.stop().await;
    house.restart_kdc().await;
    assert_eq!(version(&client.notification(&mut group).await.unwrap()).0, 1, "how it is now");
    command(Command::Rekey("lamps".into())).await;
    assert_eq!(version(&client.notification(&mut group).await.unwrap()).0, 2);
    command(Command::Delete { group: "lamps".into(), with_members: true }).await;
    assert_last(&client.notification(&mut group).await.unwrap(), GroupcommError::GroupDeleted);
    other.stop().await;
}

// Covers: AF-5.10.3-05
#[tokio::test]
async fn who_observes_learns_that_its_token_has_expired() {
    let house = House::with_lifetime(4).await;
    let lamp = house.settings();
    let mut client = client(&house, &lamp).await;
    let (_, group) = client.observe(get(["ace-group", "lamps"])).await.unwrap();
    let mut group = group.expect("the group can be observed");
    let last = loop {
        // Nothing changes, so what comes first is the last.
        match client.notification(&mut group).await {
            Err(ClientError::Timeout) => (),
            other => break other.unwrap(),
        }
    };
    assert_eq!(last.code, Code::UNAUTHORIZED);
}

// Covers: KG-5-03
#[tokio::test]
async fn who_observes_its_node_learns_that_a_narrower_token_has_ended_the_membership() {
    let house = House::new().await;
    let lamp = house.settings();
    let mut client = client(&house, &lamp).await;
    let State { token, groups, .. } = kept(&lamp);
    let node = &groups.get("lamps").unwrap().node;
    let (answer, observation) = client.observe(get(["ace-group", "lamps", "nodes", node])).await.unwrap();
    assert_eq!(answer.code, Code::CONTENT);
    let mut observation = observation.expect("the node can be observed");

    // The AS of the sample would not narrow it; its key is known.
    let cnf = Confirmation::decode(&token.unwrap().cnf.0).unwrap();
    let Confirmation::Osc(material) = cnf else { panic!("{cnf:?}") };
    let scope = Scope::from(ScopeEntry { gname: "alarms".into(), permissions: RawCbor::uint(2) });
    let claims = Claims {
        iss: Some("coap://127.0.0.1:5783".into()),
        sub: Some("lamp".into()),
        aud: vec!["kdc1".into()],
        exp: Some(u64::from(u32::MAX)),
        cnf: Some(Confirmation::Kid(material.id.clone())),
        scope: Some(ScopeValue::Bytes(scope.encode())),
        ..Claims::default()
    };
    let (kid, aead) = (Some(b"k1".to_vec()), Aead::AesCcm16_64_128);
    let key = TokenKey { kid, aead, key: Secret::from(&b"sampletoken....."[..]) };
    let update = TokenTransferRequest {
        access_token: seal_cwt(&key, &[7; 13], &claims).unwrap(),
        ..TokenTransferRequest::default()
    };
    let mut post = Message::request(Code::POST).with_path(["authz-info"]);
    post.options.push_uint(option::CONTENT_FORMAT, u32::from(ACE_CBOR));
    post.payload = update.encode();
    assert_eq!(client.request(post).await.unwrap().code, Code::CREATED);

    let last = client.notification(&mut observation).await.unwrap();
    assert_eq!(last.code, Code::NOT_FOUND);
    let problem = ProblemDetails::decode(&last.payload).unwrap();
    assert_eq!(problem.error_id, Some(GroupcommError::MembershipTerminated as i64));
    // The association is the client's still, and its token grants the other group.
    let answer = client.request(get(["ace-group", "lamps", "num"])).await.unwrap();
    assert_eq!(answer.code, Code::FORBIDDEN);
}

/// The last notification of an observation is a 4.04 with this error, and says that it is the last.
fn assert_last(last: &Message, error: GroupcommError) {
    assert_eq!((last.code, last.options.has(option::OBSERVE)), (Code::NOT_FOUND, false));
    assert_eq!(last.options.uint(option::CONTENT_FORMAT), Some(u32::from(PROBLEM_DETAILS_CBOR)));
    assert_eq!(ProblemDetails::decode(&last.payload).unwrap().error(), Some(error));
}

// Covers: KG-5-02, KG-5-03, KG-6.1-02, KG-6.1-03
// Covers: TH-8-04/no-observe
#[tokio::test]
async fn who_observes_is_told_once_that_it_is_out_or_that_the_group_is_gone() {
    let mut house = House::on_disk().await;
    let (lamp, switch) = (house.settings(), house.switch());
    let mut evicted = client(&house, &lamp).await;
    let node = kept(&lamp).groups.get("lamps").unwrap().node.clone();
    let (_, own) = evicted.observe(get(["ace-group", "lamps", "nodes", &node])).await.unwrap();
    house.operate(Operator::Evict { name: "lamps".into(), node }).await;
    assert_last(&evicted.notification(&mut own.unwrap()).await.unwrap(), GroupcommError::MembershipTerminated);
    assert_eq!(evicted.request(get(["ace-group", "lamps", "num"])).await.unwrap().code, Code::FORBIDDEN);

    let mut member = client(&house, &switch).await;
    let (_, group) = member.observe(get(["ace-group", "lamps"])).await.unwrap();
    let (_, active) = member.observe(get(["ace-group", "lamps", "active"])).await.unwrap();
    house.operate(Operator::Delete { name: "lamps".into(), yes: true }).await;
    for observation in [group, active] {
        let last = member.notification(&mut observation.unwrap()).await.unwrap();
        assert_last(&last, GroupcommError::GroupDeleted);
    }
    assert_eq!(house.registrations().await, 0);
}

#[tokio::test]
async fn what_cannot_be_observed_is_answered_once() {
    let mut house = House::on_disk().await;
    let lamp = house.settings();
    let mut client = client(&house, &lamp).await;
    for resource in ["policies", "kdc-cred", "creds", "num"] {
        let path = ["ace-group", "lamps", resource];
        let (answer, observation) = client.observe(get(path)).await.unwrap();
        assert!(answer.code.is_success() && observation.is_none(), "{path:?}");
    }
    let (refused, observation) = client.observe(get(["ace-group", "lamps", "nothing"])).await.unwrap();
    assert!(refused.code == Code::NOT_FOUND && observation.is_none());
    let (_, group) = client.observe(get(["ace-group", "lamps"])).await.unwrap();
    let (_, active) = client.observe(get(["ace-group", "lamps", "active"])).await.unwrap();
    assert!(group.is_some() && active.is_some());
    assert_eq!(house.registrations().await, 2);
    // Who is gone rejects what comes, and is told no more.
    drop((group, active));
    let mut left = 2;
    for _ in 0..5 {
        // The client reads what comes while it waits for an answer.
        for _ in 0..2 {
            let answer = client.request(get(["ace-group", "lamps", "num"])).await.unwrap();
            assert!(answer.code.is_success());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        left = house.registrations().await;
        if left == 0 {
            break;
        }
    }
    assert_eq!(left, 0);
}
