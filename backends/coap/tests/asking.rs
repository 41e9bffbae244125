//! What a server asks of its clients, with a client that a test plays.

use ace_backend_coap::{AddressPair, Endpoint, Inputs, Limits, Received, RequestError, Requester, Responder, Service};
use ace_coap::numbers::option;
use ace_coap::security::{PeerId, ProtectError};
use ace_coap::{Block, Code, Message, Type};
use ace_groupcomm::traits::transport::{AssociationNotice, Associations};
use ace_oscore::{Aead, Context, Hkdf, Incoming, Parameters, ResponseRight, Sequence};
use ace_profile_oscore::{OscoreServer, Responses};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

struct Nothing;

impl Service for Nothing {
    fn call(&self, _received: Received, responder: Responder) {
        responder.send(Message::response(Code::NOT_FOUND));
    }
}

fn parameters(sender: u8, recipient: u8) -> Parameters {
    Parameters {
        master_secret: vec![1; 16],
        master_salt: vec![],
        sender_id: vec![sender],
        recipient_id: vec![recipient],
        id_context: None,
        aead: Aead::default(),
        hkdf: Hkdf::default(),
    }
}

fn client_address() -> AddressPair {
    AddressPair::from(SocketAddr::from(([192, 0, 2, 9], 61_616)))
}

fn peer() -> PeerId {
    PeerId::new(b"lamp")
}

fn control(payload: &[u8]) -> Message {
    let mut message = Message::request(Code::POST).with_path(["control"]);
    message.payload = payload.to_vec();
    message
}

type Outcome = Pin<Box<dyn Future<Output = Result<Message, RequestError>>>>;

/// A server, its client's context, and the clock.
struct Lab {
    endpoint: Endpoint,
    inputs: Inputs,
    requester: Requester,
    security: Arc<OscoreServer>,
    client: Context,
    now: Duration,
    /// Of requests that the client has not answered yet.
    rights: VecDeque<ResponseRight>,
}

impl Lab {
    fn new(sequence: Sequence, limits: Limits) -> Self {
        let security = OscoreServer::new(Box::new(ChaCha12Rng::seed_from_u64(1)), Responses::ReuseNonce);
        let security = Arc::new(security);
        security.add_fresh(peer(), &parameters(1, 2), sequence).unwrap();
        let local = "192.0.2.1:5683".parse().unwrap();
        let (endpoint, inputs) = Endpoint::new(local, Arc::clone(&security) as _, Arc::new(Nothing), limits, [1; 32]);
        let requester = endpoint.requester();
        let client = Context::fresh(&parameters(2, 1), Sequence::all()).unwrap();
        Self { endpoint, inputs, requester, security, client, now: Duration::ZERO, rights: VecDeque::new() }
    }

    fn settle(&mut self) {
        while let Some(input) = self.inputs.try_next() {
            self.endpoint.input(self.now, input);
        }
    }

    fn ask(&mut self, peer: PeerId, message: Message) -> Outcome {
        let requester = self.requester.clone();
        let mut outcome: Outcome = Box::pin(async move { requester.request(peer, client_address(), message).await });
        assert!(poll(&mut outcome).is_none());
        self.settle();
        outcome
    }

    /// What was sent, if anything was.
    fn sent(&mut self) -> Option<Message> {
        let transmit = self.endpoint.poll_transmit()?;
        assert_eq!(transmit.to, client_address());
        Some(Message::decode(&transmit.bytes).unwrap())
    }

    fn comes(&mut self, message: &Message) {
        self.endpoint.handle(self.now, client_address(), &message.encode());
        self.settle();
    }

    /// The clock goes on to the next moment at which something is due.
    fn wait(&mut self) {
        self.now = self.endpoint.next_timeout().unwrap();
        self.endpoint.timeout(self.now);
        self.settle();
    }

    /// The client's answer to a request, in a message of this kind.
    fn answer(&mut self, request: &Message, kind: Type, id: u16) -> Message {
        let Incoming::Accepted { message, right, .. } = self.client.unprotect_request(request).unwrap() else {
            panic!("the window is known")
        };
        let mut answer = Message::response(Code::CHANGED);
        answer.payload = message.payload;
        let mut answer = self.client.protect_response(&answer, right).unwrap();
        (answer.kind, answer.id, answer.token) = (kind, id, request.token.clone());
        answer
    }
}

fn poll(outcome: &mut Outcome) -> Option<Result<Message, RequestError>> {
    match outcome.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Pending => None,
        Poll::Ready(outcome) => Some(outcome),
    }
}

fn payload(outcome: &mut Outcome) -> Vec<u8> {
    poll(outcome).unwrap().unwrap().payload
}

#[test]
fn an_answer_is_taken_with_the_acknowledgement_or_later_and_once() {
    let mut lab = Lab::new(Sequence::all(), Limits::default());
    let mut outcome = lab.ask(peer(), control(b"one"));
    let request = lab.sent().unwrap();
    assert_eq!((request.kind, request.code), (Type::Confirmable, Code::POST));
    assert!(request.options.has(option::OSCORE) && !request.options.has(option::URI_PATH));
    let answer = lab.answer(&request, Type::Acknowledgement, request.id);
    lab.comes(&answer);
    assert_eq!(payload(&mut outcome), b"one");
    assert_eq!(lab.endpoint.next_timeout(), None, "it is sent no more");

    // In a message of its own, after the acknowledgement: it is acknowledged, as often as it comes.
    let mut outcome = lab.ask(peer(), control(b"two"));
    let request = lab.sent().unwrap();
    lab.comes(&Message::empty(Type::Acknowledgement, request.id));
    let answer = lab.answer(&request, Type::Confirmable, 77);
    for _ in 0..2 {
        lab.comes(&answer);
        let reply = lab.sent().unwrap();
        assert_eq!((reply.kind, reply.id, reply.code), (Type::Acknowledgement, 77, Code::EMPTY));
    }
    assert_eq!(payload(&mut outcome), b"two");
    // One that is not confirmable, where the acknowledgement was lost.
    let mut outcome = lab.ask(peer(), control(b"three"));
    let request = lab.sent().unwrap();
    let answer = lab.answer(&request, Type::NonConfirmable, 78);
    lab.comes(&answer);
    assert_eq!(payload(&mut outcome), b"three");
    assert_eq!((lab.sent(), lab.endpoint.next_timeout()), (None, None));
    // Nobody waits for it any more.
    lab.comes(&Message { kind: Type::Confirmable, id: 79, ..answer });
    assert_eq!(lab.sent().map(|reply| reply.kind), Some(Type::Reset));
}

#[test]
fn what_anybody_can_send_does_not_end_a_request() {
    let mut lab = Lab::new(Sequence::all(), Limits::default());
    let mut outcome = lab.ask(peer(), control(b"truth"));
    let request = lab.sent().unwrap();
    let truth = lab.answer(&request, Type::Acknowledgement, request.id);
    let mut lie = Message::response(Code::CHANGED);
    (lie.kind, lie.id, lie.token) = (Type::Acknowledgement, request.id, request.token.clone());
    let mut garbled = lie.clone();
    garbled.options.push(option::OSCORE, &[]);
    garbled.payload = vec![7; 20];
    let not_its_own = Message { id: request.id.wrapping_add(1), ..truth.clone() };
    for forged in [&lie, &garbled, &not_its_own, &Message { kind: Type::Confirmable, ..lie.clone() }] {
        lab.comes(forged);
        assert!(poll(&mut outcome).is_none());
    }
    // From elsewhere even the truth says nothing, for whatever is at that address can be no more than a copy.
    lab.endpoint.handle(lab.now, SocketAddr::from(([192, 0, 2, 66], 1)).into(), &truth.encode());
    assert!(poll(&mut outcome).is_none());
    while lab.sent().is_some() {}
    lab.wait();
    assert_eq!(lab.sent().as_ref(), Some(&request), "it is sent again");
    lab.comes(&Message::empty(Type::Reset, request.id));
    assert!(poll(&mut outcome).is_none());
    lab.comes(&truth);
    assert_eq!(payload(&mut outcome), b"truth");
    // Where nothing better comes a reset is believed, soon.
    let mut outcome = lab.ask(peer(), control(b"no"));
    let request = lab.sent().unwrap();
    let asked = lab.now;
    lab.comes(&Message::empty(Type::Reset, request.id));
    lab.wait();
    assert_eq!(poll(&mut outcome), Some(Err(RequestError::Reset)));
    assert_eq!(lab.now - asked, Limits::default().unprotected_wait);
}

#[test]
fn a_request_without_answer_ends_whether_it_was_heard_or_not() {
    let mut lab = Lab::new(Sequence::all(), Limits::default());
    let mut outcome = lab.ask(peer(), control(b"1"));
    let mut sent = 0;
    while poll(&mut outcome).is_none() {
        sent += usize::from(lab.sent().is_some());
        lab.wait();
    }
    assert_eq!((sent, lab.endpoint.next_timeout()), (5, None));
    let mut outcome = lab.ask(peer(), control(b"2"));
    let (request, asked) = (lab.sent().unwrap(), lab.now);
    lab.comes(&Message::empty(Type::Acknowledgement, request.id));
    lab.wait();
    assert_eq!(poll(&mut outcome), Some(Err(RequestError::Silent)));
    assert_eq!((lab.now - asked, lab.sent()), (Limits::default().response_timeout, None));
    // An endpoint that is gone says so.
    let mut outcome = lab.ask(peer(), control(b"3"));
    let Lab { endpoint, inputs, requester, .. } = lab;
    drop((endpoint, inputs));
    assert_eq!(poll(&mut outcome), Some(Err(RequestError::Ended)));
    let mut outcome: Outcome =
        Box::pin(async move { requester.request(peer(), client_address(), control(b"4")).await });
    assert_eq!(poll(&mut outcome), Some(Err(RequestError::Ended)));
}

#[test]
fn what_cannot_be_asked_is_refused_at_once() {
    let mut lab = Lab::new(Sequence::all(), Limits { asking: 1, ..Limits::default() });
    let error = |lab: &mut Lab, peer, message| poll(&mut lab.ask(peer, message)).unwrap().unwrap_err();
    assert_eq!(error(&mut lab, PeerId::new(b"nobody"), control(b"")), ProtectError::NoAssociation.into());
    let too_large = vec![0; Limits::default().body + 1];
    assert_eq!(error(&mut lab, peer(), control(&too_large)), RequestError::TooLarge);
    let mut largest = lab.ask(peer(), control(&[0; 1_024]));
    let request = lab.sent().unwrap();
    // One at a time, and so many in all.
    assert_eq!(error(&mut lab, peer(), control(b"")), RequestError::Busy);
    assert_eq!(error(&mut lab, PeerId::new(b"another"), control(b"")), RequestError::Busy);
    // An answer that nobody here can understand.
    let Incoming::Accepted { right, .. } = lab.client.unprotect_request(&request).unwrap() else { panic!() };
    let mut answer = Message::response(Code::CONTENT);
    answer.options.push_uint(option::BLOCK2, 8);
    let mut answer = lab.client.protect_response(&answer, right).unwrap();
    (answer.kind, answer.id, answer.token) = (Type::Acknowledgement, request.id, request.token);
    lab.comes(&answer);
    assert_eq!(poll(&mut largest), Some(Err(RequestError::Option(option::BLOCK2))));
    // The association ends while its client is being asked.
    let mut outcome = lab.ask(peer(), control(b"1"));
    assert!(poll(&mut outcome).is_none());
    lab.endpoint.notifier().forget(peer());
    lab.settle();
    assert_eq!(poll(&mut outcome), Some(Err(ProtectError::NoAssociation.into())));
}

#[test]
fn a_request_waits_for_sequence_numbers_a_while() {
    let mut lab = Lab::new(Sequence::block(5, 6), Limits::default());
    let mut first = lab.ask(peer(), control(b"1"));
    let request = lab.sent().unwrap();
    let answer = lab.answer(&request, Type::Acknowledgement, request.id);
    lab.comes(&answer);
    assert_eq!(payload(&mut first), b"1");
    let mut outcome = lab.ask(peer(), control(b"2"));
    let asked = lab.now;
    while poll(&mut outcome).is_none() {
        assert_eq!(lab.sent(), None);
        lab.endpoint.notifier().ready(peer());
        lab.settle();
        lab.wait();
    }
    assert_eq!(lab.now - asked, Limits::default().response_timeout);
    let mut outcome = lab.ask(peer(), control(b"3"));
    lab.endpoint.notifier().unavailable(peer());
    lab.settle();
    assert_eq!(poll(&mut outcome), Some(Err(ProtectError::NeedSequence.into())));
    // They come: it is sent at once. What is told after that changes nothing.
    let mut outcome = lab.ask(peer(), control(b"4"));
    lab.security.notice(AssociationNotice::Sequence { id: vec![2].into(), start: 6, limit: 8 });
    lab.endpoint.notifier().ready(peer());
    lab.settle();
    let request = lab.sent().unwrap();
    lab.endpoint.notifier().ready(peer());
    lab.endpoint.notifier().unavailable(peer());
    lab.settle();
    assert_eq!((lab.sent(), poll(&mut outcome).is_none()), (None, true));
    let answer = lab.answer(&request, Type::Acknowledgement, request.id);
    lab.comes(&answer);
    assert_eq!(payload(&mut outcome), b"4");
}

#[test]
fn an_echo_that_the_client_wants_is_sent_once() {
    let mut lab = Lab::new(Sequence::all(), Limits::default());
    let mut outcome = lab.ask(peer(), control(b"1"));
    let mut echoes = Vec::new();
    for round in 1..=2_u8 {
        let request = lab.sent().unwrap();
        let Incoming::Accepted { message, right, .. } = lab.client.unprotect_request(&request).unwrap() else {
            panic!()
        };
        echoes.push(message.options.first(option::ECHO).map(<[u8]>::to_vec));
        let mut wants = lab.client.ask_for_echo(right, [round; 8]).unwrap();
        (wants.kind, wants.id, wants.token) = (Type::Acknowledgement, request.id, request.token);
        lab.comes(&wants);
    }
    assert_eq!(echoes, [None, Some(vec![1; 8])]);
    assert_eq!(poll(&mut outcome).unwrap().unwrap().code, Code::UNAUTHORIZED, "the second answer is the answer");
    assert_eq!((lab.sent(), lab.endpoint.next_timeout()), (None, None));
}

#[test]
fn an_address_is_asked_one_thing_at_a_time_and_whoever_waits_no_more_takes_no_place() {
    let mut lab = Lab::new(Sequence::all(), Limits::default());
    lab.security.add_fresh(PeerId::new(b"other"), &parameters(3, 4), Sequence::all()).unwrap();
    let first = lab.ask(peer(), control(b"1"));
    assert!(lab.sent().is_some());
    let mut other = lab.ask(PeerId::new(b"other"), control(b"2"));
    assert_eq!(poll(&mut other), Some(Err(RequestError::Busy)), "both are at one address");
    drop(first);
    // It gives way, also to another peer at its address.
    let others = lab.ask(PeerId::new(b"other"), control(b"2"));
    assert!(lab.sent().is_some());
    drop(others);
    let mut second = lab.ask(peer(), control(b"3"));
    let request = lab.sent().unwrap();
    let answer = lab.answer(&request, Type::Acknowledgement, request.id);
    lab.comes(&answer);
    assert_eq!(payload(&mut second), b"3");
    assert_eq!(lab.endpoint.next_timeout(), None, "the first one is sent no more");
}

#[test]
fn what_is_said_to_be_there_and_is_not_is_tried_a_few_times_and_costs_no_message_ids() {
    let mut lab = Lab::new(Sequence::none(), Limits::default());
    let mut outcome = lab.ask(peer(), control(b"1"));
    for _ in 0..70_000 {
        lab.endpoint.notifier().ready(peer());
        lab.settle();
    }
    assert!(poll(&mut outcome).is_none());
    lab.security.notice(AssociationNotice::Sequence { id: vec![2].into(), start: 0, limit: 8 });
    lab.wait();
    let request = lab.sent().unwrap();
    let answer = lab.answer(&request, Type::Acknowledgement, request.id);
    lab.comes(&answer);
    assert_eq!(payload(&mut outcome), b"1");
}

#[test]
fn what_somebody_adds_outside_of_a_true_answer_means_nothing() {
    let mut lab = Lab::new(Sequence::all(), Limits::default());
    let mut outcome = lab.ask(peer(), control(b"1"));
    let request = lab.sent().unwrap();
    let mut answer = lab.answer(&request, Type::Acknowledgement, request.id);
    answer.options.push(option::URI_HOST, b"elsewhere");
    lab.comes(&answer);
    assert_eq!(payload(&mut outcome), b"1");
}

impl Lab {
    /// The block that was sent: its request, its Block1 and its payload.
    fn block(&mut self) -> (Message, Block, Vec<u8>) {
        let request = self.sent().unwrap();
        let clear = self.clear(&request);
        let block = Block::from_uint(clear.0.options.uint(option::BLOCK1).unwrap()).unwrap();
        self.rights.push_back(clear.1);
        assert_eq!(clear.0.options.has(option::SIZE1), block.num == 0);
        (request, block, clear.0.payload)
    }

    fn clear(&mut self, request: &Message) -> (Message, ResponseRight) {
        let Incoming::Accepted { message, right, .. } = self.client.unprotect_request(request).unwrap() else {
            panic!("the window is known")
        };
        (message, right)
    }

    /// The client answers the block that came last.
    fn answers(&mut self, request: &Message, code: Code, block: Option<Block>) {
        let mut answer = Message::response(code);
        if let Some(block) = block {
            answer.options.push_uint(option::BLOCK1, block.to_uint());
        }
        let right = self.rights.pop_front().unwrap();
        let mut answer = self.client.protect_response(&answer, right).unwrap();
        (answer.kind, answer.id, answer.token) = (Type::Acknowledgement, request.id, request.token.clone());
        self.comes(&answer);
    }
}

const fn block(num: u32, more: bool, szx: u8) -> Block {
    Block { num, more, szx }
}

#[test]
fn a_body_that_is_too_long_for_one_datagram_goes_block_by_block() {
    let mut lab = Lab::new(Sequence::all(), Limits::default());
    let body: Vec<u8> = (0..2_500_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let mut outcome = lab.ask(peer(), control(&body));
    let mut came = Vec::new();
    for (num, more) in [(0, true), (1, true), (2, false)] {
        let (request, sent, payload) = lab.block();
        assert_eq!(sent, block(num, more, 6));
        came.extend(payload);
        assert!(poll(&mut outcome).is_none());
        let code = if more { Code::CONTINUE } else { Code::CHANGED };
        lab.answers(&request, code, Some(sent));
    }
    assert_eq!(came, body);
    let answer = poll(&mut outcome).unwrap().unwrap();
    assert_eq!((answer.code, answer.options.has(option::BLOCK1)), (Code::CHANGED, false));
    assert_eq!(lab.sent(), None);
}

#[test]
fn a_client_that_wants_smaller_blocks_gets_them_from_there_on() {
    let mut lab = Lab::new(Sequence::all(), Limits::default());
    let body = vec![7; 1_500];
    let mut outcome = lab.ask(peer(), control(&body));
    let (request, sent, payload) = lab.block();
    assert_eq!((sent, payload.len()), (block(0, true, 6), 1_024));
    lab.answers(&request, Code::CONTINUE, Some(block(0, true, 4)));
    let (request, sent, payload) = lab.block();
    assert_eq!((sent, payload.len()), (block(4, true, 4), 256));
    lab.answers(&request, Code::CONTINUE, Some(sent));
    let (request, sent, payload) = lab.block();
    assert_eq!((sent, payload.len()), (block(5, false, 4), 220));
    lab.answers(&request, Code::CHANGED, Some(sent));
    assert_eq!(poll(&mut outcome).unwrap().unwrap().code, Code::CHANGED);

    // One that cannot take the first one at all says so, and it begins anew.
    let mut outcome = lab.ask(peer(), control(&body));
    let (request, sent, _) = lab.block();
    lab.answers(&request, Code::REQUEST_ENTITY_TOO_LARGE, Some(Block { szx: 5, ..sent }));
    let (request, sent, payload) = lab.block();
    assert_eq!((sent, payload.len()), (block(0, true, 5), 512));
    lab.answers(&request, Code::REQUEST_ENTITY_TOO_LARGE, Some(sent));
    assert_eq!(poll(&mut outcome).unwrap().unwrap().code, Code::REQUEST_ENTITY_TOO_LARGE, "it has no smaller wish");
}

#[test]
fn a_body_whose_blocks_are_not_taken_is_given_up() {
    let mut lab = Lab::new(Sequence::all(), Limits::default());
    let mut outcome = lab.ask(peer(), control(&[1; 3_000]));
    let (request, ..) = lab.block();
    lab.answers(&request, Code::CONTINUE, Some(block(1, true, 6)));
    assert_eq!(poll(&mut outcome), Some(Err(RequestError::Blocks)), "it speaks of another block");

    let mut outcome = lab.ask(peer(), control(&[2; 3_000]));
    let (request, sent, _) = lab.block();
    lab.answers(&request, Code::CONTINUE, Some(sent));
    let (request, sent, _) = lab.block();
    lab.answers(&request, Code::REQUEST_ENTITY_INCOMPLETE, Some(sent));
    assert_eq!(poll(&mut outcome).unwrap().unwrap().code, Code::REQUEST_ENTITY_INCOMPLETE);

    // One that has acted on the first block has not seen the rest.
    let mut outcome = lab.ask(peer(), control(&[4; 3_000]));
    let (request, sent, _) = lab.block();
    lab.answers(&request, Code::CHANGED, Some(sent));
    assert_eq!(poll(&mut outcome), Some(Err(RequestError::Blocks)));
    // Nor is there anything to go on with for who was sent all of it.
    let mut outcome = lab.ask(peer(), control(&[5; 8]));
    let request = lab.sent().unwrap();
    let right = lab.clear(&request).1;
    lab.rights.push_back(right);
    lab.answers(&request, Code::CONTINUE, None);
    assert_eq!(poll(&mut outcome), Some(Err(RequestError::Blocks)));

    let mut outcome = lab.ask(peer(), control(&[3; 1_025]));
    for _ in 0..2 {
        let (request, sent, _) = lab.block();
        lab.answers(&request, Code::CONTINUE, Some(sent));
    }
    assert_eq!(poll(&mut outcome), Some(Err(RequestError::Blocks)), "it waits for more than there is");
}
