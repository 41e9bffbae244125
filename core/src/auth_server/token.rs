//! /token: a request is authenticated, narrowed to what the policies allow, and answered with a token (RFC 9200
//! section 5.8.2, RFC 9203 sections 3.1 and 3.2).

use super::{Audience, AuthServerApp, Event, Policy};
use crate::Roles;
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::refusal::Refusal;
use crate::request::{Caller, Request, Response, Status};
use crate::schema::keys;
use crate::schema::records::Issued;
use crate::token::seal_cwt;
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::labels::grant_type::CLIENT_CREDENTIALS;
use ace_groupcomm_messages::{
    Claims, Confirmation, OscoreInputMaterial, RawCbor, Scope, ScopeEntry, ScopeValue, TokenErrorCode, TokenRequest,
    TokenResponse,
};
use serde_bytes::ByteBuf;

/// Length of the name of input material: long enough to be unique without a counter.
const ID_LEN: usize = 8;
/// Length of the Master Secret.
const MS_LEN: usize = 16;
/// Length of the salt. It is always sent, for peers differ about what its absence means.
const SALT_LEN: usize = 8;

/// Longest nonce of a resource server that is put into a token.
const MAX_CNONCE: usize = 64;

/// A client that is registered, and that the request came from.
pub(super) struct Authenticated<'a>(&'a str);

fn refuse(code: TokenErrorCode, why: &'static str) -> Refusal {
    Refusal::Token(code, why)
}

impl AuthServerApp {
    pub(super) fn authenticate<'a>(&'a self, caller: &Caller) -> Result<Authenticated<'a>, Refusal> {
        let unknown = || refuse(TokenErrorCode::InvalidClient, "the client is not authenticated");
        let Caller::Peer(name, _) = caller else { return Err(unknown()) };
        let name = std::str::from_utf8(name.as_bytes()).map_err(|_| unknown())?;
        self.clients.get(name).map(|name| Authenticated(name)).ok_or_else(unknown)
    }

    pub(super) fn token(&self, view: &View<'_>, caller: &Caller, request: &Request) -> Result<Outcome<Event>, Stop> {
        let client = self.authenticate(caller)?;
        if view.now().has_jumped() {
            // The token's end would be counted from a time that may be years away.
            return Err(Refusal::Unavailable("the time of day is not plausible", 60).into());
        }
        if request.content_format.is_some_and(|format| format != ACE_CBOR) {
            return Err(Refusal::UnsupportedContentFormat.into());
        }
        if request.accept.is_some_and(|accept| accept != ACE_CBOR) {
            return Err(Refusal::NotAcceptable.into());
        }
        let asked = TokenRequest::decode(&request.payload)
            .map_err(|_| refuse(TokenErrorCode::InvalidRequest, "the request is malformed"))?;
        if asked.cnonce.as_ref().is_some_and(|nonce| nonce.len() > MAX_CNONCE) {
            return Err(refuse(TokenErrorCode::InvalidRequest, "cnonce is too long").into());
        }
        if asked.grant() != CLIENT_CREDENTIALS {
            return Err(refuse(TokenErrorCode::UnsupportedGrantType, "only client_credentials is known").into());
        }
        if asked.client_id.as_deref().is_some_and(|id| id != client.0) {
            return Err(refuse(TokenErrorCode::InvalidClient, "client_id is not the client's").into());
        }
        let audience = asked.audience.as_ref().and_then(|name| self.audiences.get(name));
        let audience =
            audience.ok_or_else(|| refuse(TokenErrorCode::InvalidRequest, "the audience is missing or unknown"))?;
        let granted = self.narrow(&client, audience, asked.scope.as_ref())?;
        let unchanged = asked.scope == Some(ScopeValue::Bytes(granted.encode()));
        let expires = view.arrived().unix.plus(audience.lifetime);
        let mut changes = Changes::new();
        let (cnf, id, shown) = self.confirmation(view, &client, audience, asked.req_cnf)?;
        let issued =
            Issued { id: ByteBuf::from(id.clone()), client: client.0.into(), audience: audience.name.clone(), expires };
        changes.put(keys::issued(&id), issued);
        let scope = ScopeValue::Bytes(granted.encode());
        let claims = Claims {
            iss: self.iss.clone(),
            sub: Some(client.0.into()),
            aud: vec![audience.name.clone()],
            exp: Some(expires.seconds()),
            iat: Some(view.arrived().unix.seconds()),
            cti: Some(view.random_bytes::<8>("cti").to_vec()),
            cnf: Some(cnf),
            scope: Some(scope.clone()),
            cnonce: asked.cnonce,
            ..Claims::default()
        };
        let nonce: Vec<u8> = view.random("nonce").into_iter().take(audience.key.aead.nonce_len()).collect();
        let token = seal_cwt(&audience.key, &nonce, &claims).ok_or(Refusal::Internal("a token cannot be sealed"))?;
        let answer = TokenResponse {
            access_token: token,
            expires_in: Some(audience.lifetime.as_secs()),
            scope: (!unchanged).then_some(scope),
            cnf: shown.then(|| claims.cnf.clone()).flatten(),
            ace_profile: Some(audience.profile),
            ..TokenResponse::default()
        };
        let response = Response::new(Status::Created).with_payload(ACE_CBOR, answer.encode());
        Ok(Outcome::changed(response, changes).with_event(Event::Issued(vec![(expires, id)])))
    }

    /// What of a scope the policies allow; all that they allow where none is asked for.
    fn narrow(
        &self,
        client: &Authenticated<'_>,
        audience: &Audience,
        asked: Option<&ScopeValue>,
    ) -> Result<Scope, Refusal> {
        let invalid = |why| refuse(TokenErrorCode::InvalidScope, why);
        let of_group = |gname: &str| -> Vec<&Policy> {
            let policies = self.policies.iter().filter(|policy| {
                policy.client == client.0 && policy.audience == audience.name && policy.gname == gname
            });
            policies.collect()
        };
        let wanted: Vec<(String, Option<RawCbor>)> = match asked {
            Some(value @ ScopeValue::Bytes(_)) => {
                let scope = value.decode().map_err(|_| invalid("the scope is malformed"))?;
                scope.into_entries().into_iter().map(|entry| (entry.gname, Some(entry.permissions))).collect()
            }
            Some(_) => return Err(invalid("the scope is not in the AIF format")),
            None => {
                let mut names: Vec<&String> = self.policies.iter().map(|policy| &policy.gname).collect();
                names.sort_unstable();
                names.dedup();
                names.into_iter().map(|gname| (gname.clone(), None)).collect()
            }
        };
        let mut entries = Vec::new();
        for (gname, permissions) in wanted {
            let policies = of_group(&gname);
            let Some(profile) = policies.first().map(|policy| policy.profile.profile) else { continue };
            let allowed = policies.iter().fold(Roles(0), |roles, policy| roles.with(policy.roles));
            let roles = match permissions {
                Some(permissions) => {
                    let asked = profile.roles(&permissions).ok_or_else(|| invalid("there are no such roles"))?;
                    Roles(asked.0 & allowed.0)
                }
                None => allowed,
            };
            if roles.0 != 0 {
                entries.push(ScopeEntry { gname, permissions: profile.permissions(roles) });
            }
        }
        let scope = Scope::new(entries).map_err(|_| invalid("a group stands twice in the scope"))?;
        if scope.entries().is_empty() {
            return Err(invalid("the client may take none of these roles"));
        }
        Ok(scope)
    }

    /// The key that the token is bound to: new, or the one that the client names to keep its context. Returns also
    /// its name, and whether the client has to be shown it.
    fn confirmation(
        &self,
        view: &View<'_>,
        client: &Authenticated<'_>,
        audience: &Audience,
        req_cnf: Option<Confirmation>,
    ) -> Result<(Confirmation, Vec<u8>, bool), Stop> {
        match req_cnf {
            None => {
                let id = view.random_bytes::<ID_LEN>("id").to_vec();
                if view.get::<Issued>(&keys::issued(&id))?.is_some() {
                    return Err(Refusal::Unavailable("an identifier is taken", 1).into());
                }
                let material = OscoreInputMaterial {
                    id: id.clone(),
                    version: None,
                    ms: view.random_bytes::<MS_LEN>("ms").to_vec(),
                    hkdf: None,
                    alg: None,
                    salt: Some(view.random_bytes::<SALT_LEN>("salt").to_vec()),
                    context_id: None,
                };
                Ok((Confirmation::Osc(material), id, true))
            }
            Some(Confirmation::Kid(id)) if id.len() != ID_LEN => {
                Err(refuse(TokenErrorCode::InvalidRequest, "the client has no such key").into())
            }
            Some(Confirmation::Kid(id)) => {
                let issued = view.get::<Issued>(&keys::issued(&id))?;
                let own = issued.is_some_and(|issued| {
                    issued.client == client.0 && issued.audience == audience.name && issued.expires > view.now().unix
                });
                if !own {
                    return Err(refuse(TokenErrorCode::InvalidRequest, "the client has no such key").into());
                }
                Ok((Confirmation::Kid(id.clone()), id, false))
            }
            Some(_) => Err(refuse(TokenErrorCode::UnsupportedPopKey, "the resource server cannot use the key").into()),
        }
    }
}
