//! A member that observes, through restarts of the KDC.

use crate::house::{House, joined, open};
use ace_backend_coap::{Client, ClientError, Limits};
use ace_coap::{Code, Message};
use ace_groupcomm::Secret;
use ace_groupcomm_messages::CredsResponse;
use ace_member::{Content, Settings};
use ace_oscore::{Context, Sequence};
use ace_profile_oscore::client_parameters;
use std::time::Duration;

/// A client that goes on under the association of a member.
async fn client(house: &House, settings: &Settings) -> Client {
    let mut member = open(settings);
    joined(&mut member).await.unwrap();
    member.close().unwrap();
    let kept: Content = serde_json::from_slice(&std::fs::read(&settings.state).unwrap()).unwrap();
    let session = kept.member.session.unwrap();
    let parameters = client_parameters(&Secret::from(session.association.0.as_slice())).unwrap();
    let sequence = Sequence::block(session.next, session.next + 1_000);
    let limits = Limits { response_timeout: Duration::from_secs(3), ..Limits::default() };
    let mut client = Client::connect(house.settings().config.kdc.address, limits, 7).await.unwrap();
    client.protect_with(Context::restored(&parameters, sequence).unwrap());
    client
}

fn get(path: [&str; 3]) -> Message {
    Message::request(Code::GET).with_path(path)
}

/// How many members' credentials an answer holds.
fn members(answer: &Message) -> usize {
    assert_eq!(answer.code, Code::CONTENT);
    CredsResponse::decode(&answer.payload).unwrap().unwrap().peers.len()
}

// Covers: GO-8.2.1-04, KG-6.1-01
#[tokio::test]
async fn who_observes_is_told_of_changes_also_after_a_restart() {
    let mut house = House::on_disk().await;
    let lamp = house.settings();
    let mut client = client(&house, &lamp).await;
    let (answer, observation) = client.observe(get(["ace-group", "lamps", "creds"])).await.unwrap();
    assert_eq!(members(&answer), 1);
    let mut creds = observation.expect("the credentials can be observed");

    house.restart_kdc().await;
    let told = client.notification(&mut creds).await.unwrap();
    assert_eq!(members(&told), 1, "how it is now, since it may have changed meanwhile");
    let switch = house.switch();
    let mut other = open(&switch);
    joined(&mut other).await.unwrap();
    let told = client.notification(&mut creds).await.unwrap();
    assert_eq!(members(&told), 2, "another has joined");

    // What is left off is left off after a restart too.
    assert_eq!(members(&client.cancel(creds).await.unwrap()), 2);
    assert_eq!(house.registrations().await, 0);
}

// Covers: AF-5.10.3-05
#[tokio::test]
async fn who_observes_learns_that_its_token_has_expired() {
    let house = House::with_lifetime(4).await;
    let lamp = house.settings();
    let mut client = client(&house, &lamp).await;
    let (_, creds) = client.observe(get(["ace-group", "lamps", "creds"])).await.unwrap();
    let mut creds = creds.expect("the credentials can be observed");
    let last = loop {
        // Nothing changes, so what comes first is the last.
        match client.notification(&mut creds).await {
            Err(ClientError::Timeout) => (),
            other => break other.unwrap(),
        }
    };
    assert_eq!(last.code, Code::UNAUTHORIZED);
}

#[tokio::test]
async fn what_cannot_be_observed_is_answered_once() {
    let mut house = House::on_disk().await;
    let lamp = house.settings();
    let mut client = client(&house, &lamp).await;
    for path in [["ace-group", "lamps", "policies"], ["ace-group", "lamps", "kdc-cred"]] {
        let (answer, observation) = client.observe(get(path)).await.unwrap();
        assert!(answer.code.is_success() && observation.is_none(), "{path:?}");
    }
    let (refused, observation) = client.observe(get(["ace-group", "lamps", "nothing"])).await.unwrap();
    assert!(refused.code == Code::NOT_FOUND && observation.is_none());
    let (_, num) = client.observe(get(["ace-group", "lamps", "num"])).await.unwrap();
    let (_, active) = client.observe(get(["ace-group", "lamps", "active"])).await.unwrap();
    assert!(num.is_some() && active.is_some());
    assert_eq!(house.registrations().await, 2);
    // Who is gone rejects what comes, and is told no more.
    drop((num, active));
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
