//! /authz-info: a token comes in (RFC 9594 section 3.3, RFC 9203 section 4).
//!
//! Unprotected, it makes an association that waits for its proof. Protected, it replaces the token of the
//! association that it came under.

use crate::Secret;
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::AssociationId;
use crate::kdc::association::pending::Place;
use crate::kdc::group::LiveGroup;
use crate::kdc::route::Answer;
use crate::kdc::scene::Scene;
use crate::kdc::token::exi::supersede;
use crate::kdc::token::held::keyed;
use crate::kdc::{Event, Group, KdcApp, Pending};
use crate::refusal::Refusal;
use crate::request::{Caller, Response, Status};
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{Association, HeldToken, Principal, Revoked, StoredToken};
use crate::token::{TokenRefusal, ValidToken};
use crate::traits::transport::{NewAssociation, Offer, TransportProfile, TransportRefusal};
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{
    Confirmation, CredentialInfo, Label, RawCbor, Scope, TokenTransferRequest, TokenTransferResponse,
};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Length of an association's name: two bytes for the process, the others random. It fits the shortest bound of
/// an OSCORE identifier (RFC 8613 section 3.3), and is long enough that posts cannot use the space up.
const NAME_LEN: usize = 6;
/// Length of N_S; 8 bytes at least are recommended (Group OSCORE profile section 5.3).
const CHALLENGE_LEN: usize = 8;

impl KdcApp {
    pub(in crate::kdc) fn authz_info(&self, scene: &Scene<'_, '_>) -> Answer {
        let Scene { view, caller, request } = *scene;
        let unsupported = request.content_format.is_some_and(|format| format != ACE_CBOR);
        match caller {
            // A bare token (application/cwt) leaves no place for the nonce and identifier of RFC 9203.
            Caller::Anonymous(_) if unsupported => Err(Refusal::UnsupportedContentFormat.into()),
            Caller::Anonymous(_) if request.accept.is_some_and(|accept| accept != ACE_CBOR) => {
                Err(Refusal::NotAcceptable.into())
            }
            Caller::Anonymous(_) => {
                let post = TokenTransferRequest::decode(&request.payload);
                let post = post.map_err(|_| Refusal::BadRequest("the post is malformed"))?;
                self.transfer(view, caller, &post)
            }
            // Whatever is wrong with an update is answered 4.01 (RFC 9203 section 4.2).
            Caller::Peer(..) if unsupported => Err(Refusal::TokenRejected("the post has another form").into()),
            Caller::Peer(..) => {
                let token = TokenTransferRequest::token_of_update(&request.payload);
                let token = token.map_err(|_| Refusal::TokenRejected("the post is malformed"))?;
                self.update(view, caller, &token)
            }
        }
    }

    /// A token, as an issuer that is trusted vouches for it, and not revoked; and the groups of its scope, in the same order.
    fn valid_token(&self, view: &View<'_>, token: &[u8]) -> Result<(ValidToken, Vec<Arc<Group>>), Stop> {
        self.plausible(view)?;
        let valid = self.validator.validate(view, token, self.time(view)?)?;
        let mut valid = self.since_first_received(view, valid)?;
        if view.get::<Revoked>(&keys::revoked(&valid.hash))?.is_some() {
            return Err(Refusal::TokenRejected("it was revoked").into());
        }
        if !self.is_recent(view, &valid)? {
            return Err(Refusal::TokenRejected("it is from before a restore").into());
        }
        self.still_trusted(view, &valid.issuer, &stored(&valid))?;
        let mut rules = Vec::new();
        let mut entries = Vec::new();
        let scope = || Refusal::from(TokenRefusal::Scope);
        for entry in valid.scope.entries() {
            let LiveGroup { group, .. } = self.group(view, &entry.gname)?.ok_or_else(scope)?;
            if group.profile.profile.is_for_others(&entry.permissions) {
                continue;
            }
            if !self.may_speak(view, &valid.issuer, &group)? {
                return Err(Refusal::from(TokenRefusal::Issuer).into());
            }
            group.roles(&entry.permissions).ok_or_else(scope)?;
            // The tag of an extended scope says whose roles these are.
            if valid.scope_tag.is_some() && valid.scope_tag != group.rules.scope_tag() {
                return Err(scope().into());
            }
            rules.push(group);
            entries.push(entry.clone());
        }
        if entries.is_empty() {
            return Err(scope().into());
        }
        valid.scope = Scope::new(entries).map_err(|_| scope())?;
        Ok((valid, rules))
    }

    fn transfer(&self, view: &View<'_>, caller: &Caller, post: &TokenTransferRequest) -> Result<Outcome<Event>, Stop> {
        let (valid, groups) = self.valid_token(view, &post.access_token)?;
        let digest: [u8; 32] = Sha256::digest(post.encode()).into();
        if let Some(known) = self.pendings.of_post(&digest) {
            // The very same post again: a client that missed the answer, or somebody who replays it.
            let answer = transfer_response(post, &groups, known.answer.clone(), known.kdcchallenge.clone());
            return Ok(Outcome::answer(Response { association: Some(known.id.clone()), ..answer }));
        }
        let client = PrincipalId::of(&valid.issuer, &valid.subject);
        let host = caller.proven_host();
        match self.pendings.place(view.now(), client, &valid.hash, host) {
            Place::Free | Place::Instead(_) => (),
            Place::ForProven if caller.can_prove() => {
                return Err(Refusal::ProofNeeded("associations wait for their proof").into());
            }
            Place::ForProven | Place::None => {
                return Err(Refusal::Bound("too many associations wait for their proof", 30).into());
            }
        }
        // Asked for together with the names: one read of storage, not one after the other.
        let (former, made) = (view.get::<Principal>(&keys::principal(client)), self.associate(view, post, &valid));
        let (former, (profile, new)) = (former?, made?);
        let token = self.noticed(view, stored(&valid));
        let held = HeldToken {
            token: token.clone(),
            association: new.id.clone(),
            input_id: ByteBuf::from(new.input_id.clone()),
        };
        let former = former.map(|former| keyed(view, former)).transpose()?;
        let former = former.and_then(|client| Some(client.tokens.get(client.place_of(&held)?)?.association.clone()));
        let kdcchallenge = needs_challenge(&valid, &groups).then(|| view.random_bytes::<CHALLENGE_LEN>("N_S").to_vec());
        let response = transfer_response(post, &groups, new.answer.clone(), kdcchallenge.clone());
        let response = Response { association: Some(new.id.clone()), ..response };
        let pending = Pending {
            id: new.id,
            profile,
            material: new.material,
            input_id: new.input_id,
            token,
            issuer: valid.issuer,
            subject: valid.subject,
            answer: new.answer,
            has_sequence_numbers: self.has_sequence_numbers(profile),
            awaits_handshake: self.awaits_handshake(profile),
            kdcchallenge,
            former,
            post: digest,
            host: host.cloned(),
        };
        Ok(Outcome::answer(response).with_event(Event::Pending(Box::new(pending))))
    }

    /// Makes an association by the transport profile that the token's key is for.
    fn associate(
        &self,
        view: &View<'_>,
        post: &TokenTransferRequest,
        valid: &ValidToken,
    ) -> Result<(i64, NewAssociation), Stop> {
        let names = self.free_names(view)?;
        for transport in &self.transports {
            if valid.ace_profile.is_some_and(|profile| profile != transport.number()) {
                continue;
            }
            match self.associate_by(*transport, view, post, valid, &names) {
                Ok(new) => return Ok((transport.number(), new)),
                Err(TransportRefusal::OtherProfile) => (),
                Err(TransportRefusal::NoName) => {
                    return Err(Refusal::Bound("no name is free for an association", 30).into());
                }
                Err(_) => return Err(Refusal::BadRequest("no association can be made of this").into()),
            }
        }
        Err(Refusal::BadRequest("no transport profile can use the token's key").into())
    }

    fn associate_by(
        &self,
        transport: &dyn TransportProfile,
        view: &View<'_>,
        post: &TokenTransferRequest,
        valid: &ValidToken,
        names: &[AssociationId],
    ) -> Result<NewAssociation, TransportRefusal> {
        if !valid.confidential && !transport.key_is_public(&valid.cnf) {
            return Err(TransportRefusal::OtherProfile);
        }
        let mut names = names.iter().cloned();
        let secret = Secret::from(&view.random_of_profile("association secret")[..]);
        let offer = Offer { random: view.random("association nonce"), secret, names: &mut names };
        transport.associate(post, &valid.cnf, offer)
    }

    /// Whether messages of a transport profile need sequence numbers.
    pub(in crate::kdc) fn has_sequence_numbers(&self, profile: i64) -> bool {
        let transport = self.transports.iter().find(|transport| transport.number() == profile);
        transport.is_none_or(|transport| transport.has_sequence_numbers())
    }

    /// Whether the keys of a transport profile come of a handshake.
    fn awaits_handshake(&self, profile: i64) -> bool {
        self.transports.iter().any(|transport| transport.number() == profile && transport.awaits_handshake())
    }

    /// Two names that no association has, waiting or live: one of them may be the client's own identifier.
    fn free_names(&self, view: &View<'_>) -> Result<Vec<AssociationId>, Stop> {
        let seed = view.random("association name");
        let (mut free, mut unknown) = (Vec::new(), None);
        let process = self.process()?;
        for name in (0_u8..16).map(|attempt| name(process, &seed, attempt)) {
            match view.get::<Association>(&keys::association(&name)) {
                Ok(Some(_)) => continue,
                Ok(None) => (),
                Err(stop) => unknown = Some(stop),
            }
            if self.pendings.get(&name).is_none() {
                free.push(name);
            }
            if free.len() == 2 {
                break;
            }
        }
        unknown.map_or(Ok(free), Err)
    }

    /// Replaces the token of an association (RFC 9203 section 4.2). Nonce and identifier are ignored.
    fn update(&self, view: &View<'_>, caller: &Caller, token: &[u8]) -> Result<Outcome<Event>, Stop> {
        let holder = self.token_holder(view, caller)?;
        let refused = |why| Stop::from(Refusal::TokenRejected(why));
        let valid = match self.valid_token(view, token) {
            Ok((valid, _)) => valid,
            Err(stop @ (Stop::NotYet(_) | Stop::Refuse(Refusal::Unavailable(..) | Refusal::Internal(_)))) => {
                return Err(stop);
            }
            Err(Stop::Refuse(_)) => return Err(refused("the update does not verify")),
        };
        if PrincipalId::of(&valid.issuer, &valid.subject) != holder.id {
            return Err(refused("the update is not from the same issuer for the same client"));
        }
        if !matches!(&valid.cnf, Confirmation::Kid(kid) if *kid == *holder.association.input_id) {
            return Err(refused("the update is for another key"));
        }
        let mut changes = Changes::new();
        let mut principal = holder.principal.clone();
        let association = holder.held.association.clone();
        let held = HeldToken {
            token: self.noticed(view, stored(&valid)),
            association: association.clone(),
            input_id: holder.association.input_id.clone(),
        };
        let (told, gave_way) = self.hold(view, holder.id, &mut principal, held, &mut changes)?;
        gave_way.iter().for_each(|old| supersede(old, &mut changes));
        changes.put(keys::principal(holder.id), principal);
        let outcome = Outcome::changed(Response::new(Status::Created), changes);
        let is_told = |event: &Event| matches!(event, Event::Restricted(id) if *id == association);
        let restricted = (!told.iter().any(is_told)).then(|| Event::Restricted(association.clone()));
        Ok(restricted.into_iter().chain(told).fold(outcome, Outcome::with_event))
    }
}

fn transfer_response(
    post: &TokenTransferRequest,
    groups: &[Arc<Group>],
    extra: Vec<(Label, RawCbor)>,
    kdcchallenge: Option<Vec<u8>>,
) -> Response {
    let info = asked_info(post, groups);
    let answer = TokenTransferResponse { kdcchallenge, info, extra, ..TokenTransferResponse::default() };
    Response::new(Status::Created).with_payload(ACE_CBOR, answer.encode())
}

/// Whether a role of the token goes with a credential, whose possession has to be proven over N_S.
fn needs_challenge(valid: &ValidToken, groups: &[Arc<Group>]) -> bool {
    let mut entries = valid.scope.entries().iter().zip(groups);
    entries
        .any(|(entry, group)| group.roles(&entry.permissions).is_some_and(|roles| group.rules.shows_credential(roles)))
}

/// What the client asked about, for the groups of its token.
fn asked_info(post: &TokenTransferRequest, groups: &[Arc<Group>]) -> CredentialInfo {
    let mut info = CredentialInfo::default();
    for group in groups {
        let of_group = group.rules.credential_info();
        if post.asks_sign_info {
            info.sign_info.extend(of_group.sign_info);
        }
        if post.asks_ecdh_info {
            info.ecdh_info.extend(of_group.ecdh_info);
        }
        if post.asks_kdc_dh_creds {
            info.kdc_dh_creds.extend(of_group.kdc_dh_creds);
        }
    }
    info
}

/// A name for an association.
fn name(process: u16, seed: &[u8], attempt: u8) -> AssociationId {
    let hash = Sha256::new().chain_update(seed).chain_update([attempt]).finalize();
    AssociationId::new(process.to_be_bytes().into_iter().chain(hash).take(NAME_LEN).collect::<Vec<u8>>())
}

/// What is kept of a token.
pub(in crate::kdc) fn stored(valid: &ValidToken) -> StoredToken {
    let scope = valid.scope.entries().iter();
    StoredToken {
        hash: valid.hash.clone(),
        scope: scope.map(|e| (e.gname.clone(), ByteBuf::from(e.permissions.as_bytes().to_vec()))).collect(),
        expires: valid.expires,
        notice: None,
        sequence: valid.sequence,
        issuer_key: valid.issuer_key,
        issued: valid.issued,
    }
}
