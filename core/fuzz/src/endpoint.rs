//! The whole endpoint: datagrams from strangers and from a peer, with time between them.

use ace_backend_coap::{
    AddressPair, Answer, Endpoint, Inputs, Limits, Purpose, Received, Responder, Service, Transmit,
};
use ace_coap::numbers::option;
use ace_coap::{Code, Message};
use ace_groupcomm::traits::transport::{AssociationNotice, Associations, NewAssociation, Offer, TransportProfile};
use ace_groupcomm::{AssociationId, Secret};
use ace_groupcomm_messages::labels::ace_profile::COAP_OSCORE;
use ace_groupcomm_messages::{Confirmation, OscoreInputMaterial, TokenTransferResponse};
use ace_oscore::{Context, Sequence};
use ace_profile_oscore::{CoapOscore, OscoreServer, Responses, Upload};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Two strangers, and a peer with an association.
const HOSTS: usize = 3;
/// The one whose messages are protected.
const PEER: usize = 2;

/// Answers each request at once: what it was sent, in a form that can be observed; strangers have to prove their address for
/// that.
struct Echoes;

impl Service for Echoes {
    fn call(&self, received: Received, responder: Responder) {
        if received.message.code == Code::DELETE {
            // It never answers.
            return drop(responder);
        }
        let mut message = Message::response(Code::CONTENT);
        message.payload = received.message.payload.repeat(1 + usize::from(received.purpose == Purpose::Notification));
        message.payload.extend([7; 40]);
        let asks_for_proof = !received.proven && received.message.code == Code::FETCH;
        if asks_for_proof {
            message.code = Code::UNAUTHORIZED;
        }
        responder.send(Answer { observable: true, asks_for_proof, ..message.into() });
    }
}

/// A server and the context of its peer.
fn agreed() -> Option<(OscoreServer, Context)> {
    let material = OscoreInputMaterial::new(vec![1], vec![3; 16]);
    let upload = Upload::new(material.clone(), vec![4; 8], vec![5]);
    let mut names = std::iter::once(AssociationId::from(b"server"));
    let offer = Offer { random: [6; 32], secret: Secret::new(Vec::new()), names: &mut names };
    let made = CoapOscore.associate(&upload.request(vec![0]), &Confirmation::Osc(material), offer).ok()?;
    let NewAssociation { id, material, answer: extra, .. } = made;
    let answer = TokenTransferResponse { extra, ..TokenTransferResponse::default() };
    let answer = TokenTransferResponse::decode(&answer.encode()).ok()?;
    let server = OscoreServer::new(Box::new(rand_chacha::ChaCha12Rng::from_seed([1; 32])), Responses::Numbered);
    server.notice(AssociationNotice::New { id: id.clone(), profile: COAP_OSCORE, material });
    server.notice(AssociationNotice::Sequence { id, start: 0, limit: 1_000 });
    Some((server, Context::fresh(&upload.finish(&answer).ok()?, Sequence::all()).ok()?))
}

use rand_chacha::rand_core::SeedableRng;

/// What came from a host, and went to it.
#[derive(Clone, Copy, Default)]
struct Bytes {
    received: usize,
    sent: usize,
    /// It has sent an Echo value: it may have proven its address.
    has_echo: bool,
}

struct World {
    endpoint: Endpoint,
    inputs: Inputs,
    now: Duration,
    bytes: [Bytes; HOSTS],
}

impl World {
    fn settle(&mut self) {
        for _ in 0..10_000 {
            while let Some(input) = self.inputs.try_next() {
                self.endpoint.input(self.now, input);
            }
            while let Some(Transmit { to, bytes }) = self.endpoint.poll_transmit() {
                assert!(Message::decode(&bytes).is_ok(), "what is sent can be read");
                if let Some(host) = self.bytes.get_mut(usize::from(to.remote.port()).saturating_sub(1)) {
                    host.sent = host.sent.saturating_add(bytes.len());
                }
            }
            if self.endpoint.next_timeout().is_none_or(|at| at > self.now) {
                for host in self.bytes.iter().take(PEER).filter(|host| !host.has_echo) {
                    assert!(host.sent <= host.received.saturating_mul(3), "no more than three times what came");
                }
                return;
            }
            self.endpoint.timeout(self.now);
        }
        panic!("something is due for ever");
    }

    fn datagram(&mut self, host: usize, bytes: &[u8]) {
        let Ok(port) = u16::try_from(host.saturating_add(1)) else { return };
        if let Some(known) = self.bytes.get_mut(host) {
            known.received = known.received.saturating_add(bytes.len());
            known.has_echo |= Message::decode(bytes).is_ok_and(|message| message.options.has(option::ECHO));
        }
        self.endpoint.handle(self.now, AddressPair::from(SocketAddr::from(([192, 0, 2, 1], port))), bytes);
        self.settle();
    }
}

/// Takes the bytes for datagrams: before each stands who sends it and after which time, and how long it is. Those of the peer are
/// messages that it protects.
pub fn endpoint(bytes: &[u8]) {
    let Some((server, mut peer)) = agreed() else { return };
    let local = SocketAddr::from(([192, 0, 2, 9], 5683));
    let (endpoint, inputs) = Endpoint::new(local, Arc::new(server), Arc::new(Echoes), Limits::default(), [9; 32]);
    let mut world = World { endpoint, inputs, now: Duration::ZERO, bytes: [Bytes::default(); HOSTS] };
    let mut rest = bytes;
    while let [head, length, behind @ ..] = rest {
        let (datagram, next) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = next;
        world.now = world.now.saturating_add(Duration::from_millis(1 << (head >> 2 & 0x0f)));
        world.settle();
        match usize::from(head & 3) {
            host @ 0..PEER => world.datagram(host, datagram),
            PEER => {
                let Ok(message) = Message::decode(datagram) else { continue };
                let is_plain = ![option::OSCORE, option::ECHO].into_iter().any(|number| message.options.has(number));
                if !message.code.is_request() || !is_plain {
                    world.datagram(PEER, datagram);
                } else if let Ok((protected, _)) = peer.protect_request(&message) {
                    world.datagram(PEER, &protected.encode());
                }
            }
            _ => world.endpoint.notifier().changed(&["a"]),
        }
    }
    world.now = world.now.saturating_add(Duration::from_secs(300));
    world.settle();
}
