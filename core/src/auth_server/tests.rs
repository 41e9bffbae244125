//! The token endpoint, as clients see it.

use super::*;
use crate::Secret;
use crate::engine::{Durable, Effect, Machine, Reply, Ticket};
use crate::request::{Caller, Request, Response, Status};
use crate::testkit::{TestStore, build, desk::settle, toy};
use crate::token::{CwtValidator, Issuer};
use crate::traits::crypto::{CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm, SigningKey};
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{
    Confirmation, RawCbor, Scope, ScopeValue, Strictness, TokenError, TokenErrorCode, TokenRequest, TokenResponse,
};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use std::sync::Arc;
use std::time::Duration;

/// An AS asks for no signature.
struct NoCrypto;

impl CryptoProvider for NoCrypto {
    fn signing_key(&self, _: SignatureAlgorithm, _: &Secret) -> Option<Arc<dyn SigningKey>> {
        None
    }

    fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput> {
        assert!(jobs.is_empty(), "{jobs:?}");
        Vec::new()
    }
}

struct Bench {
    auth_server: AuthServer,
    store: TestStore,
    now: Now,
    rng: ChaCha12Rng,
}

fn policy(client: &str, gname: &str, permissions: u64) -> Policy {
    Policy {
        client: client.into(),
        audience: "kdc".into(),
        gname: gname.into(),
        profile: toy::DESCRIPTOR,
        roles: Roles(permissions),
    }
}

impl Bench {
    fn new() -> Self {
        let audience = |name: &str| Audience {
            name: name.into(),
            key: build::token_key(1),
            lifetime: Duration::from_secs(3_600),
            profile: 2,
        };
        let config = AuthServerConfig {
            iss: Some("coap://as".into()),
            clients: vec!["lamp".into(), "switch".into()],
            audiences: vec![audience("kdc"), audience("other"), audience("third")],
            policies: vec![
                policy("lamp", "g1", 4),
                policy("lamp", "g1", 6),
                policy("lamp", "g2", 1),
                policy("switch", "g1", 2),
                Policy { audience: "third".into(), ..policy("lamp", "g1", 6) },
            ],
            limits: Limits::default(),
        };
        let store = TestStore::new(Sharing::Exclusive);
        let mut bench = Self {
            auth_server: AuthServer::new(config, Sharing::Exclusive),
            store,
            now: Now::new(1_000, Duration::ZERO),
            rng: ChaCha12Rng::seed_from_u64(3),
        };
        let mut out = Vec::new();
        bench.auth_server.start(bench.now, &mut bench.rng, &mut out);
        bench.settle(out);
        assert!(bench.auth_server.is_ready());
        bench
    }

    fn settle(&mut self, out: Vec<Effect<AssociationNotice>>) -> Vec<(Ticket, Durable)> {
        settle(&NoCrypto, &mut self.auth_server, &self.store, self.now, out).answers
    }

    fn ask(&mut self, caller: &Caller, request: Request) -> Response {
        let mut out = Vec::new();
        let reply = self.auth_server.request(self.now, caller.clone(), request, &mut self.rng, &mut out);
        let mut answers = self.settle(out);
        match reply {
            Reply::Now(durable) => durable.into_inner(),
            Reply::Later(_) => answers.pop().unwrap().1.into_inner(),
        }
    }

    fn token(&mut self, client: &str, request: &TokenRequest) -> Response {
        let post = Request::new(Method::Post, [TOKEN]).with_payload(ACE_CBOR, request.encode());
        self.ask(&Caller::peer(client.as_bytes()), post)
    }
}

fn request(scope: &[(&str, u64)]) -> TokenRequest {
    TokenRequest {
        audience: Some("kdc".into()),
        scope: Some(ScopeValue::Bytes(build::scope(scope).encode())),
        ..TokenRequest::default()
    }
}

fn validator() -> CwtValidator {
    let issuer = Issuer {
        name: "as".into(),
        iss: Some("coap://as".into()),
        keys: vec![build::token_key(1)],
        groups: vec!["g1".into(), "g2".into()],
        strictness: Strictness::Strict,
    };
    CwtValidator::new("kdc", vec![issuer]).unwrap()
}

fn error(response: &Response) -> Option<TokenErrorCode> {
    assert_eq!(response.content_format, Some(ACE_CBOR));
    TokenError::decode(&response.payload).unwrap().code()
}

// Covers: OP-3.2-04, OP-3.2-01, OP-3.2-03, OP-3.2-07, OP-3.2-08, OP-3.2-09, OP-3.2-10, OP-3.2-11, GO-5.2-01
// Covers: AF-3.1-01, AF-5.10-01, AF-5.10-02, AF-5.10.4-01, AF-5.8.1-02, AF-5.8.1-05, AF-5.8.2-01, TH-2-01/as-encrypts
// Covers: TH-8-01/as-salt
// Covers: KG-3.2-03
// Covers: AF-5-09, AF-5.8-03
#[test]
fn a_token_holds_what_the_client_is_told() {
    let mut bench = Bench::new();
    let response = bench.token("lamp", &request(&[("g1", 6)]));
    assert_eq!((response.status, response.content_format), (Status::Created, Some(ACE_CBOR)));
    let answer = TokenResponse::decode(&response.payload).unwrap();
    assert_eq!((answer.expires_in, answer.ace_profile, &answer.scope), (Some(3_600), Some(2), &None));
    let valid = validator().check(&answer.access_token, UnixTime::new(1_000)).unwrap();
    assert_eq!((valid.subject.as_str(), valid.expires), ("lamp", UnixTime::new(4_600)));
    assert_eq!(Some(&valid.cnf), answer.cnf.as_ref());
    let Confirmation::Osc(material) = &valid.cnf else { panic!("no osc") };
    assert_eq!((material.id.len(), material.ms.len(), material.salt.as_ref().map(Vec::len)), (8, 16, Some(8)));
    assert_eq!(valid.scope, build::scope(&[("g1", 6)]));
    assert!(validator().check(&answer.access_token, UnixTime::new(4_600)).is_err());
}

// Covers: KG-3.2-05, AF-5.10-04, AF-5.3.1-03, TH-2-03/as-sub
#[test]
fn a_token_says_who_made_it_when_and_for_which_challenge() {
    let mut bench = Bench::new();
    bench.now = Now::new(1_234, Duration::ZERO);
    let mut claims = |asked: &TokenRequest| {
        let answer = TokenResponse::decode(&bench.token("lamp", asked).payload).unwrap();
        let cwt = ace_groupcomm_messages::Cwt::decode(&answer.access_token, Strictness::Strict).unwrap();
        let key = build::token_key(1);
        let bytes = key.aead.open(key.key.expose(), &cwt.iv, &cwt.encrypt0_aad(), &cwt.payload).unwrap();
        ace_groupcomm_messages::Claims::decode(&bytes).unwrap()
    };
    let asked = request(&[("g1", 2)]);
    let first = claims(&TokenRequest { cnonce: Some(vec![5; 8]), ..asked.clone() });
    assert_eq!(
        (first.iss.as_deref(), first.sub.as_deref(), first.aud),
        (Some("coap://as"), Some("lamp"), vec!["kdc".into()])
    );
    assert_eq!((first.iat, first.exp, first.cnonce), (Some(1_234), Some(4_834), Some(vec![5; 8])));
    let second = claims(&asked);
    assert_eq!((second.cnonce, first.cti.as_ref().map(Vec::len)), (None, Some(8)));
    assert_ne!(first.cti, second.cti, "each token has a name of its own");
}

#[test]
fn an_as_says_when_something_is_due() {
    let mut bench = Bench::new();
    assert_eq!((bench.auth_server.next_timeout(bench.now), bench.auth_server.stats().requests), (None, 0));
    bench.token("lamp", &request(&[("g1", 2)]));
    assert_eq!(bench.auth_server.next_timeout(bench.now), Some(bench.now.mono + Duration::from_secs(3_600)));
    assert_eq!(bench.auth_server.stats().requests, 1);
    let config =
        AuthServerConfig { iss: None, clients: vec![], audiences: vec![], policies: vec![], limits: Limits::default() };
    assert!(!AuthServer::new(config, Sharing::Exclusive).is_ready(), "it has not looked at what was issued");
}

// Covers: OP-3.2-12
#[test]
fn no_two_tokens_share_a_key_or_a_nonce() {
    let mut bench = Bench::new();
    let mut seen = std::collections::BTreeSet::new();
    for client in ["lamp", "switch", "lamp"] {
        let answer = TokenResponse::decode(&bench.token(client, &request(&[("g1", 2)])).payload).unwrap();
        let Some(Confirmation::Osc(material)) = answer.cnf else { panic!("no osc") };
        assert!(seen.insert(material.ms.clone()) && seen.insert(material.id.clone()));
        let cwt = ace_groupcomm_messages::Cwt::decode(&answer.access_token, Strictness::Strict).unwrap();
        assert!(seen.insert(cwt.iv));
    }
}

// Covers: GO-5.2-02, GO-5.2-03, AF-5.8-04
// Covers: KG-3.1-01, KG-3.2-02
#[test]
fn a_scope_is_narrowed_to_the_policies() {
    let mut bench = Bench::new();
    let mut granted = |client: &str, scope: Option<&[(&str, u64)]>| {
        let asked = TokenRequest { scope: scope.and_then(|s| request(s).scope), ..request(&[]) };
        let response = bench.token(client, &asked);
        if response.status != Status::Created {
            return Err(error(&response));
        }
        let answer = TokenResponse::decode(&response.payload).unwrap();
        let valid = validator().check(&answer.access_token, UnixTime::new(1_000)).unwrap();
        // The scope is told where it is not what was asked for.
        let same = asked.scope == Some(ScopeValue::Bytes(valid.scope().encode()));
        assert!(matches!(answer.scope, None | Some(ScopeValue::Bytes(_))), "not in the extended format");
        let told = answer.scope.map(|told| told.decode().unwrap());
        assert_eq!(told.as_ref(), (!same).then_some(valid.scope()));
        Ok(valid
            .scope()
            .entries()
            .iter()
            .map(|e| (e.gname.clone(), e.permissions.as_uint().unwrap()))
            .collect::<Vec<_>>())
    };
    let entries = |list: &[(&str, u64)]| Ok(list.iter().map(|&(g, p)| (g.to_owned(), p)).collect::<Vec<_>>());
    assert_eq!(granted("lamp", Some(&[("g1", 7), ("g2", 2), ("g3", 2)])), entries(&[("g1", 6)]));
    assert_eq!(granted("lamp", Some(&[("g1", 6)])), entries(&[("g1", 6)]));
    assert_eq!(granted("switch", Some(&[("g1", 6)])), entries(&[("g1", 2)]));
    assert_eq!(granted("lamp", None), entries(&[("g1", 6), ("g2", 1)]));
    assert_eq!(granted("switch", Some(&[("g2", 1)])), Err(Some(TokenErrorCode::InvalidScope)));
    assert_eq!(granted("lamp", Some(&[("g1", 14)])), Err(Some(TokenErrorCode::InvalidScope)), "no role has bit 3");
    // What roles a group that nobody may join would have is not looked at.
    assert_eq!(granted("lamp", Some(&[("g3", 99), ("g1", 2)])), entries(&[("g1", 2)]));
    assert_eq!(granted("switch", Some(&[])), Err(Some(TokenErrorCode::InvalidScope)));
    let text = TokenRequest { scope: Some(ScopeValue::Text("g1".into())), ..request(&[]) };
    assert_eq!(error(&bench.token("lamp", &text)), Some(TokenErrorCode::InvalidScope));
}

// Covers: AF-5.8-04, AF-5.8.3-01, AF-5.8.3-02
// Covers: AF-5.8-03, AF-5.8.3-06
#[test]
fn faults_have_their_error_codes() {
    let mut bench = Bench::new();
    let good = request(&[("g1", 2)]);
    for (fault, asked) in [
        (TokenErrorCode::UnsupportedGrantType, TokenRequest { grant_type: Some(0), ..good.clone() }),
        (TokenErrorCode::InvalidRequest, TokenRequest { audience: None, ..good.clone() }),
        (TokenErrorCode::InvalidRequest, TokenRequest { audience: Some("nobody".into()), ..good.clone() }),
        (TokenErrorCode::InvalidScope, TokenRequest { audience: Some("other".into()), ..good.clone() }),
        (TokenErrorCode::InvalidScope, TokenRequest { scope: Some(ScopeValue::Text("g1".into())), ..good.clone() }),
        (TokenErrorCode::InvalidScope, TokenRequest { scope: Some(ScopeValue::Bytes(vec![0xa0])), ..good.clone() }),
        (
            TokenErrorCode::InvalidScope,
            TokenRequest {
                scope: Some(ScopeValue::Bytes(
                    Scope::new([ace_groupcomm_messages::ScopeEntry {
                        gname: "g1".into(),
                        permissions: RawCbor::bytes(&[2]),
                    }])
                    .unwrap()
                    .encode(),
                )),
                ..good.clone()
            },
        ),
        (TokenErrorCode::InvalidClient, TokenRequest { client_id: Some("switch".into()), ..good.clone() }),
        (
            TokenErrorCode::UnsupportedPopKey,
            TokenRequest { req_cnf: Some(Confirmation::EncryptedCoseKey(RawCbor::uint(1))), ..good.clone() },
        ),
        (
            TokenErrorCode::UnsupportedPopKey,
            TokenRequest {
                req_cnf: Some(Confirmation::CoseKey(ace_groupcomm_messages::CoseKey::ed25519(&[7; 32]))),
                ..good.clone()
            },
        ),
    ] {
        let response = bench.token("lamp", &asked);
        assert_eq!(error(&response), Some(fault), "{asked:?}");
        let status = if fault == TokenErrorCode::InvalidClient { Status::Unauthorized } else { Status::BadRequest };
        assert_eq!(response.status, status);
    }
    let post = Request::new(Method::Post, [TOKEN]).with_payload(ACE_CBOR, good.encode());
    for caller in [Caller::anonymous(), Caller::peer(b"stranger"), Caller::peer(&[0xff])] {
        let response = bench.ask(&caller, post.clone());
        assert_eq!((response.status, error(&response)), (Status::Unauthorized, Some(TokenErrorCode::InvalidClient)));
    }
    let lamp = Caller::peer(b"lamp");
    let malformed = Request::new(Method::Post, [TOKEN]).with_payload(ACE_CBOR, vec![0xff]);
    assert_eq!(error(&bench.ask(&lamp, malformed)), Some(TokenErrorCode::InvalidRequest));
    let mut wrong = post;
    wrong.accept = Some(60);
    assert_eq!(bench.ask(&lamp, wrong.clone()).status, Status::NotAcceptable);
    wrong.content_format = Some(60);
    assert_eq!(bench.ask(&lamp, wrong).status, Status::UnsupportedContentFormat);
    assert_eq!(bench.ask(&lamp, Request::new(Method::Get, [TOKEN])).status, Status::MethodNotAllowed);
    assert_eq!(bench.ask(&lamp, Request::new(Method::Post, ["introspect"])).status, Status::NotFound);
    assert!(bench.store.dump().is_empty(), "nothing was issued");
}

// Covers: OP-3.1-03, OP-3.1-04, OP-3.2-13
// Covers: OP-3.1-02
#[test]
fn an_update_keeps_the_clients_own_key() {
    let mut bench = Bench::new();
    let first = TokenResponse::decode(&bench.token("lamp", &request(&[("g1", 2)])).payload).unwrap();
    let Some(Confirmation::Osc(material)) = first.cnf else { panic!("no osc") };
    let update = TokenRequest { req_cnf: Some(Confirmation::Kid(material.id.clone())), ..request(&[("g1", 6)]) };
    bench.now = bench.now.plus(Duration::from_secs(100));
    let answer = TokenResponse::decode(&bench.token("lamp", &update).payload).unwrap();
    assert_eq!(answer.cnf, None);
    let valid = validator().check(&answer.access_token, UnixTime::new(1_100)).unwrap();
    assert_eq!((valid.cnf, valid.expires), (Confirmation::Kid(material.id.clone()), UnixTime::new(4_700)));
    // Another client's key, a key for another audience, an unknown one.
    let other = TokenRequest { audience: Some("third".into()), ..update.clone() };
    let unknown = TokenRequest { req_cnf: Some(Confirmation::Kid(vec![1])), ..update.clone() };
    for (client, asked) in [("switch", &update), ("lamp", &other), ("lamp", &unknown)] {
        assert_eq!(error(&bench.token(client, asked)), Some(TokenErrorCode::InvalidRequest));
    }
    assert_eq!(
        error(&bench.token("switch", &TokenRequest { scope: request(&[("g1", 2)]).scope, ..update.clone() })),
        Some(TokenErrorCode::InvalidRequest)
    );

    // The material is forgotten when its last token has expired, not before.
    bench.now = bench.now.plus(Duration::from_secs(3_599));
    let mut out = Vec::new();
    bench.auth_server.timeout(bench.now, &mut bench.rng, &mut out);
    bench.settle(out);
    assert_eq!(bench.store.dump().len(), 1);
    bench.now = bench.now.plus(Duration::from_secs(1));
    assert!(bench.auth_server.next_timeout(bench.now).is_some_and(|at| at <= bench.now.mono));
    assert_eq!(error(&bench.token("lamp", &update)), Some(TokenErrorCode::InvalidRequest), "expired, if still there");
    let mut out = Vec::new();
    bench.auth_server.timeout(bench.now, &mut bench.rng, &mut out);
    bench.settle(out);
    assert!(bench.store.dump().is_empty());
    assert_eq!(error(&bench.token("lamp", &update)), Some(TokenErrorCode::InvalidRequest));
}

#[test]
fn a_field_that_is_not_known_may_have_any_value() {
    let mut bench = Bench::new();
    let [head, rest @ ..] = &request(&[("g1", 4)]).encode()[..] else { panic!("a map") };
    for value in
        [&[0x01][..], &[0xf7], &[0xf0], &[0xf8, 0x63], &[0xc2, 0x41, 0x00], &[&[0x81; 30][..], &[0x80]].concat()]
    {
        let payload = [&[head + 1][..], rest, &[0x19, 0x03, 0xe7], value].concat();
        let post = Request::new(Method::Post, [TOKEN]).with_payload(ACE_CBOR, payload);
        assert_eq!(bench.ask(&Caller::peer(b"lamp"), post).status, Status::Created, "{value:02x?}");
    }
}

#[test]
fn a_nonce_for_the_token_has_a_bound() {
    let mut bench = Bench::new();
    for (length, status) in [(64, Status::Created), (65, Status::BadRequest), (10_000, Status::BadRequest)] {
        let asked = TokenRequest { cnonce: Some(vec![7; length]), ..request(&[("g1", 4)]) };
        assert_eq!(bench.token("lamp", &asked).status, status, "{length}");
    }
}

#[test]
fn no_token_is_made_while_the_clock_has_run_away() {
    let mut bench = Bench::new();
    let asked = request(&[("g1", 4)]);
    assert_eq!(bench.token("lamp", &asked).status, Status::Created);
    bench.now = Now::new(bench.now.unix.seconds() + 10 * 365 * 24 * 3_600, bench.now.mono + Duration::from_secs(1));
    let answer = bench.token("lamp", &asked);
    assert_eq!((answer.status, answer.max_age), (Status::ServiceUnavailable, Some(60)));
    bench.now = Now::new(1_002, bench.now.mono + Duration::from_secs(1));
    assert_eq!(bench.token("lamp", &asked).status, Status::Created);
}
