//! `ace-kdc` with parts of somebody else's: a token validator that asks a service, and a second transport.

use ace_backend_coap::{Client, Limits};
use ace_backend_daemon::Loaded;
use ace_backend_tokio::{Clock, Services};
use ace_coap::{Code, Message};
use ace_groupcomm::engine::{Answered, Question};
use ace_groupcomm::testkit::{build, toy};
use ace_groupcomm::token::{CwtValidator, TokenKey, Trust, ValidToken, seal_cwt};
use ace_groupcomm::traits::token::TokenValidator;
use ace_groupcomm::{Secret, Stop, UnixTime, View};
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{Claims, TokenTransferResponse};
use ace_kdc::Parts;
use ace_oscore::Aead;
use ace_peers::toy_wire::{NAME, TOY, ToySide, ToyWire};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

ace_groupcomm::registry::submit! { toy::TRANSPORT }

/// Takes references too: a service has the tokens that they stand for.
struct References(CwtValidator);

/// Forgets whom to trust with what.
struct Forgetful(CwtValidator);

impl TokenValidator for Forgetful {
    fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
        self.0.validate(view, token, now)
    }
}

impl TokenValidator for References {
    fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
        if !token.starts_with(b"ref:") {
            return self.0.validate(view, token, now);
        }
        let token = view.asked(Question { service: "tokens", content: token.to_vec() })?;
        self.0.validate(view, token.expose(), now)
    }

    fn trust(&self) -> Option<Trust> {
        self.0.trust()
    }
}

/// The service: there is one reference.
struct Tokens(Vec<u8>, AtomicUsize);

#[async_trait::async_trait]
impl Services for Tokens {
    async fn ask(&self, question: &Question) -> Answered {
        self.1.fetch_add(1, Ordering::Relaxed);
        if question.content != b"ref:1" {
            return Answered::Failed;
        }
        Answered::Known { content: Secret::from(self.0.as_slice()), good_for: Duration::from_secs(9) }
    }
}

async fn post(client: &mut Client, token: &[u8]) -> (Code, TokenTransferResponse) {
    let payload = build::transfer(token, &[1; 8]).encode();
    let request = Message::request(Code::POST).with_path(["authz-info"]).with_payload(ACE_CBOR, payload);
    let answer = client.request(request).await.unwrap();
    (answer.code, TokenTransferResponse::decode(&answer.payload).unwrap_or_default())
}

#[tokio::test]
async fn a_kdc_takes_a_validator_its_services_and_a_transport_from_outside() {
    let text = include_str!("../kdc.toml").replace("[\"127.0.0.1:5683\", \"[::1]:5683\"]", "[\"127.0.0.1:0\"]");
    let loaded: Loaded<ace_kdc::Config> = Loaded::parse(Path::new("kdc.toml"), text).unwrap();
    let issuer = &loaded.config.issuers[0];
    let key =
        TokenKey { kid: issuer.kid.clone().map(|kid| kid.0), aead: Aead::AesCcm16_64_128, key: issuer.key.0.clone() };
    let lamp = build::TestClient::new(&ace_backend_aws_lc::AwsLc, 1).unwrap();
    let expires = Clock::system().now().unix.seconds() + 1_000;
    let claims = Claims {
        aud: vec![loaded.config.audience.clone()],
        iss: issuer.iss.clone(),
        ace_profile: Some(TOY),
        ..lamp.claims(&[("lamps", 2)], expires)
    };
    let token = seal_cwt(&key, &[7; 13], &claims).unwrap();
    let (wire, tokens) = (Arc::new(ToyWire::default()), Arc::new(Tokens(token.clone(), AtomicUsize::new(0))));
    let parts = Parts::default()
        .with_validator(|configured| Box::new(References(configured)))
        .with_services(Arc::clone(&tokens) as _)
        .with_transport(Arc::clone(&wire) as _, wire);
    let running = ace_kdc::start_with(&loaded, "memory:", &ace_kdc::Options::default(), &parts).await.unwrap();
    let connect = || Client::connect(running.addresses[0], Limits::default(), 3);
    let mut client = connect().await.unwrap();

    // The token itself, and what stands for it: either makes an association of the second transport.
    for (token, asked) in [(&token[..], 0), (b"ref:1", 1)] {
        let (code, answer) = post(&mut client, token).await;
        assert_eq!((code, tokens.1.load(Ordering::Relaxed)), (Code::CREATED, asked));
        let name = answer.server_recipient_id.unwrap();
        let mut member = connect().await.unwrap().protect_with(ToySide(name));
        let num = Message::request(Code::GET).with_path(["ace-group", "lamps", "num"]);
        assert_eq!(member.request(num).await.unwrap().code, Code::FORBIDDEN, "it is known, and no member");
    }
    assert_eq!(post(&mut client, b"ref:2").await.0, Code::SERVICE_UNAVAILABLE);
    let mut nobody = Message::request(Code::GET).with_path(["ace-group", "lamps", "num"]);
    nobody.options.push(NAME, b"nobody");
    assert_eq!(client.request(nobody).await.unwrap().code, Code::UNAUTHORIZED);
    running.stop().await;

    let parts = Parts::default().with_validator(|configured| Box::new(Forgetful(configured)));
    let refused = ace_kdc::start_with(&loaded, "memory:", &ace_kdc::Options::default(), &parts).await;
    let why = refused.err().unwrap().to_string();
    assert!(why.contains("names no issuers") && why.contains("kdc.toml:"), "{why}");
}

#[tokio::test]
async fn without_them_it_knows_neither_the_references_nor_the_transport() {
    let text = include_str!("../kdc.toml").replace("[\"127.0.0.1:5683\", \"[::1]:5683\"]", "[\"127.0.0.1:0\"]");
    let loaded: Loaded<ace_kdc::Config> = Loaded::parse(Path::new("kdc.toml"), text).unwrap();
    let running = ace_kdc::start(&loaded, "memory:", &ace_kdc::Options::default()).await.unwrap();
    let mut client = Client::connect(running.addresses[0], Limits::default(), 3).await.unwrap();
    assert_eq!(post(&mut client, b"ref:1").await.0, Code::BAD_REQUEST);
    let mut toy = Message::request(Code::GET).with_path(["ace-group", "lamps", "num"]);
    toy.options.push(NAME, b"name");
    assert_eq!(client.request(toy).await.unwrap().code, Code::BAD_OPTION);
    running.stop().await;
}
