//! The clients of a simulation: what they ask, and what they make of the answers.

use super::world::{StandIn, stand_in};
use super::{Asked, GROUP, Kind, Simulation, TALKER};
use crate::Request;
use crate::engine::{Durable, Machine, Reply};
use crate::id::AssociationId;
use crate::id::SenderId;
use crate::id::TokenHash;
use crate::keys::PrincipalId;
use crate::request::{Caller, Method, Response, Status};
use crate::testkit::ledger::Violation;
use crate::testkit::{build, toy};
use ace_groupcomm_messages::{
    CredsResponse, JoinRequest, JoinResponse, KeyDistribution, RawCbor, ScopeEntry, TokenTransferResponse, pop,
};
use sha2::Digest;
use std::collections::BTreeSet;

/// A client.
pub(super) struct SimClient {
    keys: build::TestClient,
    principal: PrincipalId,
    association: Option<(AssociationId, usize, Vec<u8>)>,
    nonce: u64,
    token: Vec<u8>,
}

impl SimClient {
    pub(super) fn new(number: u16) -> Option<Self> {
        let keys = build::TestClient::new(&StandIn, number)?;
        let principal = PrincipalId::of("as1", &keys.name);
        Some(Self { keys, principal, association: None, nonce: 0, token: Vec::new() })
    }

    pub(super) const fn principal(&self) -> PrincipalId {
        self.principal
    }

    pub(super) fn token_hash(&self) -> TokenHash {
        TokenHash::of(&self.token)
    }

    /// Posts a new token that is good for so many seconds.
    fn post(&mut self, now: u64, lifetime: u64) -> Request {
        let expires = now.saturating_add(lifetime);
        self.token = build::token(1, &self.keys.claims(&[(GROUP, TALKER)], expires));
        build::token_post_with(&self.token, &self.nonce.to_be_bytes())
    }

    fn join(&self, challenge: &[u8], with_creds: bool) -> JoinRequest {
        let scope = ScopeEntry { gname: GROUP.into(), permissions: RawCbor::uint(TALKER) }.encode();
        let cnonce = self.nonce.to_be_bytes();
        let public = self.keys.key.public();
        let evidence = stand_in(public, &pop::client_input(&scope, challenge, &cnonce));
        JoinRequest {
            scope: Some(scope),
            client_cred: Some(public.to_vec()),
            cnonce: Some(cnonce.to_vec()),
            client_cred_verify: Some(evidence),
            get_creds: with_creds.then_some(ace_groupcomm_messages::GetCreds::All),
            ..JoinRequest::default()
        }
    }
}

impl Simulation {
    /// A client asks for something.
    pub(super) fn ask(&mut self) -> Result<(), Violation> {
        let chosen = self.index(self.clients.len());
        let any_host = self.index(self.hosts.len());
        let what = self.draw(12);
        // Most tokens outlive the run.
        let lifetime = if self.draw(4) == 0 { 5_u64.saturating_add(self.draw(30)) } else { 100_000 };
        let with_creds = self.draw(8) == 0;
        let lost = self.is_lost();
        let roams = self.draw(100) < self.options.roaming;
        let now = self.now;
        let Some(client) = self.clients.get_mut(chosen) else { return Ok(()) };
        client.nonce = client.nonce.saturating_add(1);
        let (host, caller, kind, request) = match client.association.clone() {
            Some((id, home, challenge)) if what > 0 => {
                let caller = Caller::peer(id);
                let any_host = if roams { any_host } else { home };
                match what {
                    // Until it is proven, only the process that made it knows an association.
                    1..=5 => (home, caller, Kind::Join, build::join_post(GROUP, &client.join(&challenge, with_creds))),
                    6 => (any_host, caller, Kind::Creds, build::group_request(Method::Get, GROUP, &["creds"])),
                    _ => (any_host, caller, Kind::Retrieve, build::group_request(Method::Get, GROUP, &[])),
                }
            }
            // A new token now and then, also of one who has an association.
            _ => (any_host, Caller::anonymous(), Kind::Post, client.post(now.unix.seconds(), lifetime)),
        };
        self.note("ask", chosen);
        if lost {
            return Ok(());
        }
        let since = self.since(host);
        let mut out = Vec::new();
        let Some(target) = self.hosts.get_mut(host) else { return Ok(()) };
        let asked = Asked { client: chosen, kind, since };
        match target.kdc.request(now, caller, request, &mut self.rng, &mut out) {
            Reply::Now(durable) => self.answered(host, asked, durable)?,
            Reply::Later(ticket) => {
                target.asked.insert(ticket, asked);
            }
        }
        self.take(host, out)
    }

    /// An answer leaves a host. What it says must hold, whether it arrives or not.
    pub(super) fn answered(&mut self, host: usize, asked: Asked, durable: Durable) -> Result<(), Violation> {
        let response = durable.into_inner();
        self.trace.update([response.status.coap()]);
        self.trace.update(&response.payload);
        let lost = self.is_lost();
        let Some(client) = self.clients.get_mut(asked.client) else { return Ok(()) };
        let principal = client.principal;
        if asked.kind != Kind::Post {
            self.summary.answers = self.summary.answers.saturating_add(1);
            let unavailable = u64::from(response.status == Status::ServiceUnavailable);
            self.summary.unavailable = self.summary.unavailable.saturating_add(unavailable);
        }
        match asked.kind {
            Kind::Post => {
                let answer = TokenTransferResponse::decode(&response.payload);
                if let (Status::Created, Ok(answer), false) = (response.status, answer, lost) {
                    let (Some(id), Some(challenge)) = (answer.server_recipient_id, answer.kdcchallenge) else {
                        return Err(Violation::Setup);
                    };
                    client.association = Some((id.into(), host, challenge));
                }
            }
            Kind::Join if response.status.is_success() => {
                let (num, sender_id) = joined(&response).ok_or(Violation::Setup)?;
                self.ledger.was_told_of_join(principal, num, &sender_id, asked.since)?;
                self.summary.joins = self.summary.joins.saturating_add(1);
            }
            Kind::Retrieve if response.status.is_success() => {
                let num = KeyDistribution::decode(&response.payload).map_err(|_| Violation::Setup)?.num;
                self.ledger.was_told_key(principal, num, asked.since)?;
                self.summary.retrievals = self.summary.retrievals.saturating_add(1);
            }
            Kind::Creds if response.status.is_success() => {
                let told = CredsResponse::decode(&response.payload).map_err(|_| Violation::Setup)?;
                let ids: BTreeSet<SenderId> =
                    told.into_iter().flat_map(|told| told.peers).map(|peer| peer.id.into()).collect();
                self.ledger.was_told_creds(&ids, asked.since)?;
                self.summary.listings = self.summary.listings.saturating_add(1);
            }
            Kind::Join | Kind::Retrieve | Kind::Creds => {
                if response.status == Status::Unauthorized && !lost {
                    client.association = None;
                }
            }
        }
        Ok(())
    }
}

/// Version and Sender ID in a Join Response of the toy profile.
fn joined(response: &Response) -> Option<(i64, SenderId)> {
    let joined = JoinResponse::decode(&response.payload).ok()?;
    Some((joined.material.num, toy::id_in(&joined.material.key)?.into()))
}
