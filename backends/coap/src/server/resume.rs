//! Observations that go on in another process: what is kept of a registration, and how it is taken up again.
//!
//! They are those of known peers alone. Notifications are put in order by what protects them, so that their numbers may
//! begin anew.

use super::{InFlight, Server};
use crate::observe::{Observation, ObservationId, is_registration};
use crate::owner::Owner;
use ace_coap::security::{ObservationBinding, PeerId};
use ace_coap::{Message, Token};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What is kept of a registration.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Where it came in.
    at: SocketAddr,
    to: SocketAddr,
    token: Vec<u8>,
    /// The request, as a message without token.
    request: Vec<u8>,
    binding: Vec<u8>,
}

impl Server {
    /// What a request's observation could be resumed with, where it begins one.
    pub(super) fn registration(
        &self,
        id: &ObservationId,
        request: &Message,
        binding: &ObservationBinding,
    ) -> Option<Vec<u8>> {
        let kept = Kept {
            at: self.local,
            to: id.to,
            token: id.token.as_bytes().to_vec(),
            request: request.encode(),
            binding: self.security.keep(binding)?,
        };
        postcard::to_stdvec(&kept).ok()
    }

    /// The same of a request that has come.
    pub(super) fn registration_of(&self, exchange: &InFlight) -> Option<Vec<u8>> {
        let binding = exchange.binding.as_ref().filter(|_| is_registration(&exchange.request))?;
        self.registration(&exchange.observation(), &exchange.request, &self.security.observe(binding)?)
    }

    /// Takes up an observation that another process at this address has kept ([`Received::registration`]); whether it
    /// is one of this server's, and there is room for it. Its client is told how the resource is now.
    ///
    /// [`Received::registration`]: crate::Received::registration
    pub fn resume(&mut self, peer: &PeerId, registration: &[u8]) -> bool {
        let Some((id, observation)) = self.resumed(peer, registration) else { return false };
        let now = self.now();
        let added = self.observations.add(now, id, observation);
        let Some(notifies) = added else {
            // The caller is told by the answer.
            self.observations.take_ended();
            return false;
        };
        if self.observations.changed_meanwhile(&notifies) {
            self.to_ask.push_back(notifies);
        }
        true
    }

    fn resumed(&self, peer: &PeerId, registration: &[u8]) -> Option<(ObservationId, Observation)> {
        let kept: Kept = postcard::from_bytes(registration).ok()?;
        let request = Message::decode(&kept.request).ok().filter(|_| kept.at == self.local)?;
        let observation = Observation::new(request, Some(self.security.resume(&kept.binding)?), true);
        let id = ObservationId { owner: Owner::Peer(peer.clone()), to: kept.to, token: Token::new(&kept.token) };
        Some((id, observation))
    }

    /// Tells the service which observations have ended.
    pub(super) fn report_ended(&mut self) {
        for (id, observation) in self.observations.take_ended() {
            let (Owner::Peer(peer), Some(binding)) = (&id.owner, &observation.binding) else { continue };
            if let Some(registration) = self.registration(&id, &observation.request, binding) {
                self.service.ended(peer, &registration);
            }
        }
    }
}
