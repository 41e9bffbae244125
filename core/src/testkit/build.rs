//! Builders: a valid token, a request, a client with its keys.

use crate::Secret;
use crate::request::{Method, Request};
use crate::token::{CwtValidator, Issuer, TokenKey, seal_cwt};
use crate::traits::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey};
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR};
use ace_groupcomm_messages::paths::{AUTHZ_INFO, ROOT};
use ace_groupcomm_messages::{
    Claims, Confirmation, JoinRequest, OscoreInputMaterial, RawCbor, Scope, ScopeEntry, ScopeValue, Strictness,
    TokenTransferRequest, pop,
};
use ace_oscore::Aead;
use std::sync::Arc;

/// The audience of the tokens made here.
pub const AUDIENCE: &str = "kdc";

/// The key that the issuer and the KDC share.
#[must_use]
pub fn token_key(issuer: u8) -> TokenKey {
    TokenKey { kid: Some(b"k".to_vec()), aead: Aead::AesCcm16_64_128, key: Secret::new(vec![issuer; 16]) }
}

/// Trusts issuer 1 for these groups, and issuer 2 for the group `other`.
#[must_use]
pub fn validator(groups: &[&str]) -> CwtValidator {
    let issuer = |number: u8, groups: &[&str]| Issuer {
        name: format!("as{number}"),
        iss: None,
        keys: vec![token_key(number)],
        groups: groups.iter().map(|&group| group.into()).collect(),
        strictness: Strictness::Strict,
    };
    let trusted = CwtValidator::new(AUDIENCE, vec![issuer(1, groups), issuer(2, &["other"])]);
    trusted.unwrap_or_else(|_| CwtValidator::none(AUDIENCE))
}

/// A client, with what it needs for tokens and proofs.
#[derive(Clone, Debug)]
pub struct TestClient {
    /// Its name at the issuer.
    pub name: String,
    /// Its key in groups.
    pub key: Arc<dyn SigningKey>,
}

impl TestClient {
    /// The client with this number; its keys follow from it. `None` where this provider makes none.
    #[must_use]
    pub fn new(crypto: &dyn CryptoProvider, number: u16) -> Option<Self> {
        Self::with_algorithm(crypto, number, SignatureAlgorithm::Ed25519)
    }

    /// The same with a key for this algorithm.
    #[must_use]
    pub fn with_algorithm(crypto: &dyn CryptoProvider, number: u16, algorithm: SignatureAlgorithm) -> Option<Self> {
        let seed: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(32).collect();
        let key = crypto.signing_key(algorithm, &Secret::new(seed))?;
        Some(Self { name: format!("client{number}"), key })
    }

    /// The claims of a token for these groups, each with its roles.
    #[must_use]
    pub fn claims(&self, scope: &[(&str, u64)], expires: u64) -> Claims {
        let mut material = OscoreInputMaterial::new(self.name.clone().into_bytes(), vec![0x5e; 16]);
        material.salt = Some(vec![1, 2, 3]);
        Claims {
            sub: Some(self.name.clone()),
            aud: vec![AUDIENCE.into()],
            exp: Some(expires),
            cnf: Some(Confirmation::Osc(material)),
            scope: Some(ScopeValue::Bytes(self::scope(scope).encode())),
            ..Claims::default()
        }
    }

    /// The same, for an update of rights: it names the key instead of holding it.
    #[must_use]
    pub fn update(&self, scope: &[(&str, u64)], expires: u64) -> Claims {
        Claims { cnf: Some(Confirmation::Kid(self.name.clone().into_bytes())), ..self.claims(scope, expires) }
    }

    /// A Join Request with a proof over this challenge.
    #[must_use]
    pub fn join(&self, gname: &str, roles: u64, challenge: &[u8], cnonce: &[u8]) -> JoinRequest {
        let scope = ScopeEntry { gname: gname.into(), permissions: RawCbor::uint(roles) }.encode();
        let message = pop::client_input(&scope, challenge, cnonce);
        JoinRequest {
            scope: Some(scope),
            client_cred: Some(self.key.public().to_vec()),
            cnonce: Some(cnonce.to_vec()),
            client_cred_verify: self.key.sign(&message),
            ..JoinRequest::default()
        }
    }
}

/// A scope of these groups, each with its roles; an empty one where a group stands twice.
#[must_use]
pub fn scope(entries: &[(&str, u64)]) -> Scope {
    let entry = |&(gname, roles): &(&str, u64)| ScopeEntry { gname: gname.into(), permissions: RawCbor::uint(roles) };
    Scope::new(entries.iter().map(entry)).unwrap_or_default()
}

/// A token with these claims, of issuer 1 or 2. The nonce follows from the claims.
#[must_use]
pub fn token(issuer: u8, claims: &Claims) -> Vec<u8> {
    use sha2::Digest;
    let nonce: Vec<u8> = sha2::Sha256::digest(claims.encode()).into_iter().take(13).collect();
    seal_cwt(&token_key(issuer), &nonce, claims).unwrap_or_default()
}

/// The POST of a token to the authz-info endpoint, with nonce and identifier.
#[must_use]
pub fn token_post(token: &[u8]) -> Request {
    token_post_with(token, &[0x11; 8])
}

/// The same with another nonce: the very same post makes no second association.
#[must_use]
pub fn token_post_with(token: &[u8], nonce: &[u8]) -> Request {
    let post = TokenTransferRequest { asks_sign_info: true, ..transfer(token, nonce) };
    Request::new(Method::Post, [AUTHZ_INFO]).with_payload(ACE_CBOR, post.encode())
}

/// What such a post holds: the token, a nonce (N1) and the client's name for the association, which is one zero byte.
#[must_use]
pub fn transfer(token: &[u8], nonce: &[u8]) -> TokenTransferRequest {
    TokenTransferRequest {
        access_token: token.to_vec(),
        nonce1: Some(nonce.to_vec()),
        client_recipient_id: Some(vec![0]),
        ..TokenTransferRequest::default()
    }
}

/// The POST of a token alone: an update of rights.
#[must_use]
pub fn update_post(token: &[u8]) -> Request {
    let post = TokenTransferRequest { access_token: token.to_vec(), ..TokenTransferRequest::default() };
    Request::new(Method::Post, [AUTHZ_INFO]).with_payload(ACE_CBOR, post.encode())
}

/// A request to a resource of a group; the group itself where `resource` is empty.
#[must_use]
pub fn group_request(method: Method, gname: &str, resource: &[&str]) -> Request {
    Request::new(method, [ROOT, gname].into_iter().chain(resource.iter().copied()))
}

/// The POST of a Join Request.
#[must_use]
pub fn join_post(gname: &str, join: &JoinRequest) -> Request {
    group_request(Method::Post, gname, &[]).with_payload(ACE_GROUPCOMM_CBOR, join.encode())
}
