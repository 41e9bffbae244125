//! Observations that go on in another process: what is kept of a registration, and how it is taken up again.
//!
//! They are those of known peers alone. Notifications are put in order by what protects them, so that their numbers may
//! begin anew.

use super::{Endpoint, InFlight};
use crate::Registration;
use crate::observe::{Observation, ObservationId, is_registration};
use crate::owner::Owner;
use crate::socket::AddressPair;
use ace_coap::security::{ObservationBinding, PeerId};
use ace_coap::{Message, Token};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// An address; with the link that it is of, which serde leaves out.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Address(IpAddr, u16, u32);

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        Self(address.ip(), address.port(), scope)
    }
}

impl From<Address> for SocketAddr {
    fn from(Address(ip, port, scope): Address) -> Self {
        match ip {
            IpAddr::V4(_) => Self::new(ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
        }
    }
}

/// The name of an observation.
#[derive(Serialize, Deserialize)]
struct Name {
    /// Where the registration came in.
    at: Address,
    to: Address,
    token: Vec<u8>,
}

/// What notifications need.
#[derive(Serialize, Deserialize)]
struct State {
    /// The request, as a message without token.
    request: Vec<u8>,
    binding: Vec<u8>,
    /// The address of ours that the client uses. The first release did not keep it.
    local: Option<IpAddr>,
}

impl State {
    fn read(bytes: &[u8]) -> Option<Self> {
        if let Ok((state, [])) = postcard::take_from_bytes(bytes) {
            return Some(state);
        }
        match postcard::take_from_bytes(bytes) {
            Ok(((request, binding), [])) => Some(Self { request, binding, local: None }),
            _ => None,
        }
    }
}

impl Endpoint {
    /// What an observation can be resumed with.
    fn registration(
        &self,
        id: &ObservationId,
        local: Option<IpAddr>,
        request: &Message,
        binding: &ObservationBinding,
    ) -> Option<Registration> {
        let name = Name { at: self.local.into(), to: id.to.into(), token: id.token.as_bytes().to_vec() };
        let state = State { request: request.encode(), binding: self.security.keep(binding)?, local };
        Some(Registration { name: postcard::to_stdvec(&name).ok()?, state: postcard::to_stdvec(&state).ok()? })
    }

    /// The same of a request that has come, where it begins an observation for which there is room. The room is taken.
    pub(super) fn registration_of(&mut self, exchange: &InFlight) -> Option<Registration> {
        let binding = exchange.binding.as_ref().filter(|_| is_registration(&exchange.request))?;
        let id = exchange.observation();
        let registration =
            self.registration(&id, exchange.from.local, &exchange.request, &self.security.observe(binding)?)?;
        self.observations.reserve(&id, &exchange.request).then_some(registration)
    }

    /// Takes up an observation that another process at this address has kept ([`Received::registration`]); whether it
    /// is one of this server's, and there is room for it. Its client is told how the resource is now.
    ///
    /// [`Received::registration`]: crate::Received::registration
    pub fn resume(&mut self, peer: &PeerId, registration: &Registration) -> bool {
        let Some((id, observation)) = self.resumed(peer, registration) else { return false };
        let now = self.now();
        let Some(notifies) = self.observations.add(now, id, observation) else { return false };
        if self.observations.changed_meanwhile(&notifies) {
            self.to_ask.push_back(notifies);
        }
        true
    }

    fn resumed(&self, peer: &PeerId, registration: &Registration) -> Option<(ObservationId, Observation)> {
        let Name { at, to, token } = postcard::from_bytes(&registration.name).ok()?;
        let State { request, binding, local } = State::read(&registration.state)?;
        let request = Message::decode(&request).ok().filter(|_| at == self.local.into())?;
        let to = to.into();
        let at = AddressPair { local, ..AddressPair::from(to) };
        let observation = Observation::new(at, request, Some(self.security.resume(&binding)?), true);
        let id = ObservationId { owner: Owner::Peer(peer.clone()), to, token: Token::new(&token) };
        Some((id, observation))
    }

    /// Tells the service which observations have ended.
    pub(super) fn report_ended(&mut self) {
        for (id, observation) in self.observations.take_ended() {
            let (Owner::Peer(peer), Some(binding)) = (&id.owner, &observation.binding) else { continue };
            if let Some(registration) = self.registration(&id, observation.at.local, &observation.request, binding) {
                self.service.ended(peer, registration);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_link() {
        for text in ["192.0.2.1:5683", "[2001:db8::1]:5683", "[fe80::1%2]:61616"] {
            let address: SocketAddr = text.parse().unwrap();
            let bytes = postcard::to_stdvec(&Address::from(address)).unwrap();
            assert_eq!(SocketAddr::from(postcard::from_bytes::<Address>(&bytes).unwrap()), address, "{text}");
        }
    }

    #[test]
    fn what_the_first_release_has_kept_is_read() {
        let first = postcard::to_stdvec(&(vec![1_u8, 2], vec![3_u8])).unwrap();
        let read = State::read(&first).unwrap();
        assert_eq!((read.request, read.binding, read.local), (vec![1, 2], vec![3], None));
        let local = Some("192.0.2.1".parse().unwrap());
        let now = postcard::to_stdvec(&State { request: vec![1], binding: vec![], local }).unwrap();
        assert_eq!(State::read(&now).unwrap().local, local);
        assert!(State::read(&[9]).is_none());
    }
}
