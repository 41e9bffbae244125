//! The whole endpoint: datagrams from strangers and from a peer, with time between them.

use ace_backend_coap::{
    AddressPair, Answer, Endpoint, Inputs, Limits, Purpose, Received, RequestError, Responder, Service, Transmit,
};
use ace_coap::numbers::option;
use ace_coap::security::PeerId;
use ace_coap::{Code, Message, Token};
use ace_groupcomm::traits::transport::{AssociationNotice, Associations, NewAssociation, Offer, TransportProfile};
use ace_groupcomm::{AssociationId, Secret};
use ace_groupcomm_messages::labels::ace_profile::COAP_OSCORE;
use ace_groupcomm_messages::{Confirmation, OscoreInputMaterial, TokenTransferResponse};
use ace_oscore::{Context, Incoming, ResponseRight, Sequence};
use ace_profile_oscore::{CoapOscore, OscoreServer, Responses, Upload};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
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

/// What becomes of a request of the server.
type Outcome = Pin<Box<dyn Future<Output = Result<Message, RequestError>>>>;

struct World {
    endpoint: Endpoint,
    inputs: Inputs,
    peer: Context,
    now: Duration,
    bytes: [Bytes; HOSTS],
    /// What the server asks its peer, and what that could answer with.
    asks: Option<Outcome>,
    asked: Option<(ResponseRight, u16, Token)>,
    answered: bool,
}

fn address(host: usize) -> AddressPair {
    let port = u16::try_from(host.saturating_add(1)).unwrap_or_default();
    AddressPair::from(SocketAddr::from(([192, 0, 2, 1], port)))
}

impl World {
    fn settle(&mut self) {
        for _ in 0..10_000 {
            while let Some(input) = self.inputs.try_next() {
                self.endpoint.input(self.now, input);
            }
            while let Some(Transmit { to, bytes }) = self.endpoint.poll_transmit() {
                let sent = Message::decode(&bytes);
                assert!(sent.is_ok(), "what is sent can be read");
                if let Some(request) = sent.ok().filter(|sent| to == address(PEER) && sent.code.is_request())
                    && let Ok(Incoming::Accepted { right, .. }) = self.peer.unprotect_request(&request)
                {
                    self.asked = Some((right, request.id, request.token));
                }
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

    /// The server asks its peer, unless it does already.
    fn ask(&mut self, payload: &[u8]) {
        let requester = self.endpoint.requester();
        let mut request = Message::request(Code::POST);
        request.payload = payload.to_vec();
        let outcome = async move { requester.request(PeerId::new(b"server"), address(PEER), request).await };
        self.asks.get_or_insert_with(|| Box::pin(outcome));
        self.look();
        self.settle();
    }

    /// Looks what has become of it.
    fn look(&mut self) {
        let Some(asks) = &mut self.asks else { return };
        let Poll::Ready(outcome) = asks.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) else {
            return;
        };
        assert!(outcome.is_err() || self.answered, "nobody but the peer can answer");
        (self.asks, self.answered) = (None, false);
    }

    /// The peer answers: with the message ID and token of the request, where the message has none of its own.
    fn answers(&mut self, mut message: Message) {
        let Some((right, id, token)) = self.asked.take() else { return };
        if message.id == 0 {
            message.id = id;
        }
        if message.token.as_bytes().is_empty() {
            message.token = token;
        }
        if let Ok(protected) = self.peer.protect_response(&message, right) {
            self.answered = true;
            self.datagram(PEER, &protected.encode());
        }
    }

    fn datagram(&mut self, host: usize, bytes: &[u8]) {
        if let Some(known) = self.bytes.get_mut(host) {
            known.received = known.received.saturating_add(bytes.len());
            known.has_echo |= Message::decode(bytes).is_ok_and(|message| message.options.has(option::ECHO));
        }
        self.endpoint.handle(self.now, address(host), bytes);
        self.settle();
        self.look();
    }
}

/// Takes the bytes for datagrams: before each stands who sends it and after which time, and how long it is. Those of the peer are
/// messages that it protects.
pub fn endpoint(bytes: &[u8]) {
    let Some((server, peer)) = agreed() else { return };
    let local = SocketAddr::from(([192, 0, 2, 9], 5683));
    let (endpoint, inputs) = Endpoint::new(local, Arc::new(server), Arc::new(Echoes), Limits::default(), [9; 32]);
    let mut world = World {
        endpoint,
        inputs,
        peer,
        now: Duration::ZERO,
        bytes: [Bytes::default(); HOSTS],
        asks: None,
        asked: None,
        answered: false,
    };
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
                if message.code.is_response() && is_plain && world.asked.is_some() {
                    world.answers(message);
                } else if !message.code.is_request() || !is_plain {
                    world.datagram(PEER, datagram);
                } else if let Ok((protected, _)) = world.peer.protect_request(&message) {
                    world.datagram(PEER, &protected.encode());
                }
            }
            _ if datagram.is_empty() => world.endpoint.notifier().changed(&["a"]),
            _ => world.ask(datagram),
        }
    }
    world.now = world.now.saturating_add(Duration::from_secs(300));
    world.settle();
    world.look();
    for _ in 0..100 {
        let Some(at) = world.endpoint.next_timeout().filter(|_| world.asks.is_some()) else { break };
        world.now = world.now.max(at);
        world.settle();
        world.look();
    }
    assert!(world.asks.is_none(), "every request comes to its end");
}
