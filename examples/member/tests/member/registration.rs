//! Exchanges with the AS under the context of the registration, which outlives the member's state.

use crate::house::{House, joined, open, run};
use crate::killed::nonces_are_used_once;
use ace_backend_coap::{Limits, Received, Responder, Server, Service};
use ace_backend_tokio::os_random;
use ace_coap::security::PeerId;
use ace_coap::{Code, Message};
use ace_groupcomm::member::Operation;
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{Confirmation, OscoreInputMaterial, TokenResponse};
use ace_member::MemberSettings;
use ace_oscore::Sequence;
use ace_profile_group_oscore::scope;
use ace_profile_oscore::{OscoreServer, Responses};
use std::collections::HashSet;
use std::sync::Arc;

/// Gets a token by a process of its own, as it were.
async fn token(settings: &MemberSettings) {
    let mut member = open(settings);
    run(&mut member, Operation::Token).await.unwrap();
    member.close().unwrap();
}

#[tokio::test]
async fn a_state_that_was_put_back_copied_or_lost_repeats_no_nonce_towards_the_as() {
    let house = House::new().await;
    let settings = house.settings();
    let mut alarms = settings.clone();
    (alarms.config.group.name, alarms.roles) = ("alarms".into(), scope::MONITOR);
    token(&settings).await;
    let image = std::fs::read(house.state()).unwrap();
    token(&settings).await;
    std::fs::write(house.state(), &image).unwrap();
    token(&alarms).await;
    let mut copy = alarms.clone();
    copy.state = settings.state.with_file_name("copy.state");
    std::fs::write(&copy.state, &image).unwrap();
    token(&copy).await;
    std::fs::remove_file(house.state()).unwrap();
    token(&settings).await;

    let sent = house.way_to_as.protected.lock().unwrap().clone();
    nonces_are_used_once(&sent);
    let contexts: HashSet<_> = sent.iter().map(|request| request.id_context.clone().unwrap()).collect();
    assert_eq!(contexts.len(), 5, "each run has a context of its own");
    assert!(sent.iter().any(|request| request.partial_iv == [0]), "whose numbers begin at 0");
}

#[tokio::test]
async fn a_scope_that_is_narrower_than_asked_for_is_used() {
    let house = House::new().await;
    let mut settings = house.settings();
    // The lamp may be a responder alone.
    settings.roles = scope::REQUESTER.with(scope::RESPONDER);
    let mut lamp = open(&settings);
    joined(&mut lamp).await.unwrap();
    let switch = house.switch();
    let mut switch = open(&switch);
    joined(&mut switch).await.unwrap();
    run(&mut switch, Operation::Creds).await.unwrap();
    let roles: Vec<u64> = switch.group().unwrap().peers.iter().map(|peer| peer.roles).collect();
    assert_eq!(roles, [scope::RESPONDER.0]);
}

/// An AS with a token of many bytes.
struct LongTokens;

impl Service for LongTokens {
    fn call(&self, _request: Received, responder: Responder) {
        let material = OscoreInputMaterial::new(vec![1], vec![1; 16]);
        let response = TokenResponse {
            access_token: vec![7; 1_400],
            expires_in: Some(3_600),
            cnf: Some(Confirmation::Osc(material)),
            ..TokenResponse::default()
        };
        responder.send(Message::response(Code::CREATED).with_payload(ACE_CBOR, response.encode()));
    }
}

#[tokio::test]
async fn a_token_in_ninety_blocks_is_taken() {
    let house = House::new().await;
    let mut settings = house.settings();
    let security = OscoreServer::new(Box::new(os_random()), Responses::ReuseNonce);
    let parameters = settings.config.auth_server.oscore.server();
    security.add_with_runs(PeerId::new(b"lamp"), &parameters, Sequence::all()).unwrap();
    let limits = Limits { szx: 0, ..Limits::default() };
    let any = ([127, 0, 0, 1], 0).into();
    let server = Server::bind(any, Arc::new(security), Arc::new(LongTokens), limits, [7; 32]).await.unwrap();
    settings.config.auth_server.address = server.local_addr().unwrap();
    tokio::spawn(server.run(std::future::pending()));
    let mut member = open(&settings);
    run(&mut member, Operation::Token).await.unwrap();
    assert_eq!(member.token().unwrap().access_token.0.len(), 1_400);
}
