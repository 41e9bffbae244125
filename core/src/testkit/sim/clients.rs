//! The clients of a simulation: what they ask, and what they make of the answers.

use super::world::{StandIn, stand_in};
use super::{Asked, GROUP, Kind, Simulation, TALKER};
use crate::Request;
use crate::delivery::ReturnAddress;
use crate::engine::{Durable, Machine, Reply};
use crate::id::AssociationId;
use crate::id::SenderId;
use crate::id::TokenHash;
use crate::keys::PrincipalId;
use crate::request::{Caller, Endpoint, Method, Response, Status};
use crate::testkit::ledger::Violation;
use crate::testkit::{build, toy};
use ace_groupcomm_messages::paths::NODES;
use ace_groupcomm_messages::{
    CredsResponse, JoinRequest, JoinResponse, KeyDistribution, RawCbor, ScopeEntry, TokenTransferResponse, pop,
};
use bytes::Bytes;
use sha2::Digest;
use std::collections::BTreeSet;

/// Of so many clients one observes the group, from its join on.
const OBSERVES: usize = 16;

/// Of so many clients one takes requests.
const CONTROLS: usize = 3;

/// A client.
pub(super) struct SimClient {
    keys: build::TestClient,
    principal: PrincipalId,
    association: Option<(AssociationId, usize, Vec<u8>)>,
    nonce: u64,
    token: Vec<u8>,
    /// Its NODENAME, where it knows itself a member.
    node: Option<String>,
    /// The newest version that it was ever told.
    held: Option<i64>,
}

impl SimClient {
    pub(super) fn new(number: u16) -> Option<Self> {
        let keys = build::TestClient::new(&StandIn, number)?;
        let principal = PrincipalId::of("as1", &keys.name);
        Some(Self { keys, principal, association: None, nonce: 0, token: Vec::new(), node: None, held: None })
    }

    pub(super) const fn principal(&self) -> PrincipalId {
        self.principal
    }

    pub(super) fn token_hash(&self) -> TokenHash {
        TokenHash::of(&self.token)
    }

    /// The newest version that it was ever told: what it has read it keeps.
    pub(super) const fn held(&self) -> Option<i64> {
        self.held
    }

    pub(super) const fn is_member(&self) -> bool {
        self.node.is_some()
    }

    pub(super) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// Its association, and the process that it has it with.
    pub(super) fn at(&self) -> Option<(AssociationId, usize)> {
        self.association.as_ref().map(|(id, host, _)| (id.clone(), *host))
    }

    /// It is a member no more, as far as it knows.
    pub(super) fn is_out(&mut self) {
        self.node = None;
    }

    /// Its association verifies nothing any more.
    pub(super) fn forget_association(&mut self) {
        self.association = None;
    }

    pub(super) fn takes(&mut self, num: i64) {
        self.held = self.held.max(Some(num));
    }

    /// Posts a new token that is good for so many seconds.
    fn post(&mut self, now: u64, lifetime: u64) -> Request {
        let expires = now.saturating_add(lifetime);
        self.token = build::token(1, &self.keys.claims(&[(GROUP, TALKER)], expires));
        build::token_post_with(&self.token, &self.nonce.to_be_bytes())
    }

    fn join(&self, number: usize, challenge: &[u8], with_creds: bool) -> JoinRequest {
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
            control_uri: number.is_multiple_of(CONTROLS).then(|| format!("{}/control", base(number))),
            ..JoinRequest::default()
        }
    }
}

/// Where a client takes requests.
fn base(number: usize) -> String {
    format!("coap://192.0.2.1:{}", number.saturating_add(10_000))
}

/// The name of that place, by which the network side knows it.
pub(super) fn place(number: usize) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// The client that takes requests there.
pub(super) fn client_at(place: &[u8]) -> Option<usize> {
    place.try_into().ok().map(usize::from_be_bytes)
}

impl Simulation {
    /// A client asks for something.
    pub(super) fn ask(&mut self) -> Result<(), Violation> {
        let chosen = self.index(self.clients.len());
        let any_host = self.index(self.hosts.len());
        let what = self.draw(24);
        let with_creds = self.draw(8) == 0;
        let roams = self.draw(100) < self.options.roaming;
        let Some(client) = self.clients.get(chosen) else { return Ok(()) };
        let node = client.node.clone();
        // A new token now and then, also of one who has an association.
        let Some((id, home)) = client.at().filter(|_| what > 1) else { return self.post(chosen, any_host) };
        let (caller, host) = (Caller::peer(id), if roams { any_host } else { home });
        match (what, node) {
            (10, Some(node)) => self.leave(chosen, host, caller, &node),
            (3..=9, Some(node)) if self.options.quiet > 0 => self.leave(chosen, host, caller, &node),
            // Until it is proven, only the process that made it knows an association.
            (2..=9, _) => self.join(chosen, with_creds),
            (11, _) => {
                self.send(chosen, host, caller, Kind::Creds, build::group_request(Method::Get, GROUP, &["creds"]))
            }
            _ => self.send(chosen, host, caller, Kind::Retrieve, build::group_request(Method::Get, GROUP, &[])),
        }
    }

    fn leave(&mut self, number: usize, host: usize, caller: Caller, node: &str) -> Result<(), Violation> {
        let request = build::group_request(Method::Delete, GROUP, &[NODES, node]);
        self.send(number, host, caller, Kind::Leave, request)
    }

    /// A client posts a new token.
    pub(super) fn post(&mut self, number: usize, host: usize) -> Result<(), Violation> {
        // Most tokens outlive the run.
        let lifetime = if self.draw(100) < self.options.short {
            5_u64.saturating_add(self.draw(30))
        } else {
            self.options.lifetime
        };
        let now = self.now.unix.seconds();
        let Some(client) = self.clients.get_mut(number) else { return Ok(()) };
        client.nonce = client.nonce.saturating_add(1);
        let request = client.post(now, lifetime);
        self.send(number, host, Caller::anonymous(), Kind::Post, request)
    }

    /// A client joins, at the process that it has its association with.
    pub(super) fn join(&mut self, number: usize, with_creds: bool) -> Result<(), Violation> {
        let Some(client) = self.clients.get_mut(number) else { return Ok(()) };
        client.nonce = client.nonce.saturating_add(1);
        let Some((id, home, challenge)) = client.association.clone() else { return Ok(()) };
        let at = ReturnAddress { base: base(number), opaque: place(number) };
        let caller = Caller::Peer(id, Some(Endpoint { at: Some(at), ..Endpoint::new(place(number), false) }));
        let request = build::join_post(GROUP, &client.join(number, &challenge, with_creds));
        self.send(number, home, caller, Kind::Join, request)
    }

    /// A request goes to a host, or is lost on the way.
    pub(super) fn send(
        &mut self,
        number: usize,
        host: usize,
        caller: Caller,
        kind: Kind,
        request: Request,
    ) -> Result<(), Violation> {
        self.note("ask", number);
        if let Caller::Peer(id, _) = &caller
            && self.names.get(id) != Some(&number)
        {
            // The KDC knows somebody else by this name now: what this client protects does not verify.
            if let Some(client) = self.clients.get_mut(number) {
                client.forget_association();
            }
            return Ok(());
        }
        if self.is_lost() {
            return Ok(());
        }
        let asked = Asked { client: number, kind, since: self.since(host) };
        let mut out = Vec::new();
        let Some(target) = self.hosts.get_mut(host) else { return Ok(()) };
        match target.kdc.request(self.now, caller, request, &mut self.rng, &mut out) {
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
        if asked.kind != Kind::Post {
            self.summary.answers = self.summary.answers.saturating_add(1);
            let unavailable = u64::from(response.status == Status::ServiceUnavailable);
            self.summary.unavailable = self.summary.unavailable.saturating_add(unavailable);
        }
        match asked.kind {
            Kind::Post if response.status == Status::Created => self.posted(host, &asked, &response, lost),
            Kind::Join | Kind::Retrieve | Kind::Notification if response.status.is_success() => {
                self.told_version(&asked, &response, lost)
            }
            Kind::Creds if response.status.is_success() => {
                let told = CredsResponse::decode(&response.payload).map_err(|_| Violation::Setup)?;
                let ids: BTreeSet<SenderId> =
                    told.into_iter().flat_map(|told| told.peers).map(|peer| peer.id.into()).collect();
                self.ledger.was_told_creds(&ids, asked.since)?;
                self.summary.listings = self.summary.listings.saturating_add(1);
                Ok(())
            }
            _ => {
                self.refused(&asked, response.status, lost);
                Ok(())
            }
        }
    }

    fn posted(&mut self, host: usize, asked: &Asked, response: &Response, lost: bool) -> Result<(), Violation> {
        let Ok(answer) = TokenTransferResponse::decode(&response.payload) else { return Ok(()) };
        let (Some(id), Some(challenge)) = (answer.server_recipient_id, answer.kdcchallenge) else {
            return Err(Violation::Setup);
        };
        let id = AssociationId::from(id);
        self.names.insert(id.clone(), asked.client);
        if let Some(client) = self.clients.get_mut(asked.client).filter(|_| !lost) {
            client.association = Some((id, host, challenge));
            if self.options.quiet > 0 {
                return self.join(asked.client, false);
            }
        }
        Ok(())
    }

    /// A client is told a version, by an answer or a notification.
    fn told_version(&mut self, asked: &Asked, response: &Response, lost: bool) -> Result<(), Violation> {
        let Some(client) = self.clients.get_mut(asked.client) else { return Ok(()) };
        let num = if asked.kind == Kind::Join {
            let (num, sender_id) = joined(response).ok_or(Violation::Setup)?;
            self.ledger.was_told_of_join(client.principal, num, &sender_id, asked.since)?;
            self.summary.joins = self.summary.joins.saturating_add(1);
            num
        } else {
            let num = KeyDistribution::decode(&response.payload).map_err(|_| Violation::Setup)?.num;
            self.ledger.was_told_key(client.principal, num, asked.since)?;
            self.summary.retrievals = self.summary.retrievals.saturating_add(1);
            num
        };
        if !lost {
            client.takes(num);
            client.node = response.location_path.last().cloned().or(client.node.take());
        }
        Ok(())
    }

    /// A client gets no key: it has left, or is told that it is none or that nothing verifies.
    fn refused(&mut self, asked: &Asked, status: Status, lost: bool) {
        let Some(client) = self.clients.get_mut(asked.client).filter(|_| !lost) else { return };
        match (asked.kind, status) {
            (Kind::Leave, status) if status.is_success() => {
                client.node = None;
                self.summary.left = self.summary.left.saturating_add(1);
            }
            (_, Status::Unauthorized) => client.forget_association(),
            (Kind::Retrieve | Kind::Leave, Status::Forbidden | Status::NotFound) => client.node = None,
            _ => (),
        }
    }

    /// What is observed has changed: those are told who observe it here.
    pub(super) fn notify(&mut self, host: usize, path: &[String]) -> Result<(), Violation> {
        let group = build::group_request(Method::Get, GROUP, &[]);
        if group.path != path {
            return Ok(());
        }
        for number in (0..self.clients.len()).step_by(OBSERVES) {
            let client = self.clients.get(number).filter(|client| client.is_member());
            if let Some((id, _)) = client.and_then(SimClient::at).filter(|(_, home)| *home == host) {
                let request = Request { purpose: crate::Purpose::Notification, ..group.clone() };
                self.send(number, host, Caller::peer(id), Kind::Notification, request)?;
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
