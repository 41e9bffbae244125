//! Two endpoints with one OSCORE association, each on one socket, that both ask and both answer.
//!
//! Whatever the network does: no request is acted on twice, none is taken as answered that was not acted on, and when the network
//! works again every request gets its answer.

use crate::network::{Network, ms};
use ace_backend_coap::{
    AddressPair, Endpoint, Inputs, Limits, Purpose, Received, RequestError, Requester, Responder, Service,
};
use ace_coap::security::PeerId;
use ace_coap::{Code, Message};
use ace_oscore::{Aead, Hkdf, Parameters, Sequence};
use ace_profile_oscore::{OscoreServer, Responses};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const END: Duration = Duration::from_secs(700);
const REQUESTS: u16 = 20;

type Outcome = Pin<Box<dyn Future<Output = Result<Message, RequestError>>>>;

/// Notes what was asked, and answers with it.
#[derive(Default)]
struct Echoes(Mutex<Vec<Vec<u8>>>);

impl Service for Echoes {
    fn call(&self, received: Received, responder: Responder) {
        assert!(received.peer.is_some() && received.purpose == Purpose::Answer);
        let payload = received.message.payload;
        self.0.lock().unwrap().push(payload.clone());
        let mut answer = Message::response(Code::CHANGED);
        answer.payload = payload;
        responder.send(answer);
    }
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 5683))
}

/// One end of the association. The one with `known` false has lost its replay window, and asks for an Echo first.
struct End {
    number: u8,
    endpoint: Endpoint,
    inputs: Inputs,
    requester: Requester,
    acted_on: Arc<Echoes>,
    asked: u16,
    waiting: Option<(Vec<u8>, Outcome)>,
    answered: BTreeSet<Vec<u8>>,
    given_up: Vec<RequestError>,
}

impl End {
    fn new(number: u8, other: u8, known: bool) -> Self {
        let parameters = Parameters {
            master_secret: vec![1; 16],
            master_salt: vec![],
            sender_id: vec![number],
            recipient_id: vec![other],
            id_context: None,
            aead: Aead::default(),
            hkdf: Hkdf::default(),
        };
        let rng = Box::new(ChaCha12Rng::seed_from_u64(u64::from(number)));
        let security = OscoreServer::new(rng, Responses::ReuseNonce);
        let (peer, sequence) = (PeerId::new(b"the other"), Sequence::all());
        let added = if known {
            security.add_fresh(peer, &parameters, sequence)
        } else {
            security.add_restored(peer, &parameters, sequence)
        };
        added.unwrap();
        let acted_on = Arc::new(Echoes::default());
        let service = Arc::clone(&acted_on) as Arc<dyn Service>;
        let (endpoint, inputs) =
            Endpoint::new(address(number), Arc::new(security), service, Limits::default(), [number; 32]);
        let requester = endpoint.requester();
        Self {
            number,
            endpoint,
            inputs,
            requester,
            acted_on,
            asked: 0,
            waiting: None,
            answered: BTreeSet::new(),
            given_up: Vec::new(),
        }
    }

    /// Asks the next, where nothing is asked for.
    fn ask(&mut self, other: u8) {
        if self.waiting.is_some() || self.asked >= REQUESTS {
            return;
        }
        self.asked += 1;
        let payload = [&[self.number][..], &self.asked.to_be_bytes()].concat();
        let mut request = Message::request(Code::POST).with_path(["control"]);
        request.payload.clone_from(&payload);
        let requester = self.requester.clone();
        let outcome = async move { requester.request(PeerId::new(b"the other"), address(other).into(), request).await };
        self.waiting = Some((payload, Box::pin(outcome)));
    }

    fn settle(&mut self, now: Duration, network: &mut Network) {
        let mut context = Context::from_waker(Waker::noop());
        if let Some((payload, mut outcome)) = self.waiting.take() {
            match outcome.as_mut().poll(&mut context) {
                Poll::Pending => self.waiting = Some((payload, outcome)),
                Poll::Ready(Ok(answer)) => {
                    assert_eq!((answer.code, &answer.payload), (Code::CHANGED, &payload));
                    self.answered.insert(payload);
                }
                Poll::Ready(Err(error)) => self.given_up.push(error),
            }
        }
        while let Some(input) = self.inputs.try_next() {
            self.endpoint.input(now, input);
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            network.send(now, address(self.number), transmit.to.remote, &transmit.bytes);
        }
    }
}

fn run(seed: u64) -> [End; 2] {
    let mut network = Network::new(seed);
    let mut ends = [End::new(1, 2, true), End::new(2, 1, seed.is_multiple_of(2))];
    let mut now = Duration::ZERO;
    while now < END {
        for which in 0..2 {
            ends[which].ask(ends[1 - which].number);
            ends[which].settle(now, &mut network);
        }
        let due = ends.iter().filter_map(|end| end.endpoint.next_timeout());
        now = due.chain(network.next()).min().unwrap_or(END).max(now + ms(1));
        for end in &mut ends {
            if end.endpoint.next_timeout().is_some_and(|at| at <= now) {
                end.endpoint.timeout(now);
            }
            end.settle(now, &mut network);
        }
        while let Some((from, to, bytes)) = network.arrival(now) {
            if let Some(end) = ends.iter_mut().find(|end| address(end.number) == to) {
                end.endpoint.handle(now, AddressPair::from(from), &bytes);
                end.settle(now, &mut network);
            }
        }
    }
    ends
}

#[test]
fn both_ends_ask_and_answer_under_one_association_whatever_the_network_does() {
    let mut given_up = 0;
    for seed in 0..200 {
        let ends = run(seed);
        for which in 0..2 {
            let (asked, asks) = (&ends[1 - which], &ends[which]);
            let acted_on = asked.acted_on.0.lock().unwrap();
            let distinct: BTreeSet<_> = acted_on.iter().cloned().collect();
            assert_eq!(distinct.len(), acted_on.len(), "seed {seed}: a request is acted on once");
            assert!(asks.answered.is_subset(&distinct), "seed {seed}: what is answered was acted on");
            assert_eq!(asks.answered.len() + asks.given_up.len(), usize::from(REQUESTS), "seed {seed}: all have ended");
            assert!(asks.given_up.iter().all(|error| *error == RequestError::Silent), "{:?}", asks.given_up);
            given_up += asks.given_up.len();
        }
    }
    assert!((1..2_000).contains(&given_up), "the network is bad enough that {given_up} requests come to nothing");
}
