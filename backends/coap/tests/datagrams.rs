//! A protocol below CoAP: a toy of DTLS with pre-shared keys. A handshake begins a session, records are encrypted under its key.

use ace_backend_coap::{
    AddressPair, Answer, DatagramSecurity, Endpoint, Inputs, Limits, Received, Requester, Responder, Service, Transmit,
};
use ace_coap::numbers::option;
use ace_coap::security::{
    Inbound, MessageSecurity, ObservationBinding, PeerId, ProtectError, ReplyBinding, ResponseError, SentRequest,
    SessionId,
};
use ace_coap::{Code, Message, Token, Type};
use ace_oscore::Aead;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

const AEAD: Aead = Aead::AesCcm16_64_128;
const HELLO: u8 = 1;
const FINISHED: u8 = 2;
const RECORD: u8 = 3;

/// The key of a session: of the pre-shared one, the session and who sends.
fn seal(key: &[u8; 16], from_server: bool, number: u64, message: &[u8]) -> Vec<u8> {
    let mut text = message.to_vec();
    AEAD.seal(key, &nonce(from_server, number), &[], &mut text).unwrap();
    [&[RECORD][..], &number.to_be_bytes(), &text].concat()
}

fn open(key: &[u8; 16], from_server: bool, record: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (&[RECORD], rest) = record.split_first_chunk()? else { return None };
    let (number, text) = rest.split_first_chunk::<8>()?;
    let number = u64::from_be_bytes(*number);
    Some((number, AEAD.open(key, &nonce(from_server, number), &[], text)?.to_vec()))
}

fn nonce(from_server: bool, number: u64) -> Vec<u8> {
    [&[0; 4][..], &[u8::from(from_server)], &number.to_be_bytes()].concat()
}

fn session_key(psk: &[u8; 16], random: u64) -> [u8; 16] {
    let mut key = *psk;
    key.iter_mut().zip(random.to_be_bytes()).for_each(|(byte, random)| *byte ^= random);
    key
}

struct Session {
    key: [u8; 16],
    at: AddressPair,
    peer: PeerId,
    sent: u64,
    received: u64,
}

/// The sessions of a server; one table for both layers.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    psks: HashMap<Vec<u8>, [u8; 16]>,
    sessions: HashMap<SessionId, Session>,
    next: u64,
    outgoing: Vec<Transmit>,
}

impl DatagramSecurity for Sessions {
    fn receive(&mut self, _: Duration, from: AddressPair, datagram: &[u8], messages: &mut Vec<(SessionId, Vec<u8>)>) {
        let mut table = self.0.lock().unwrap();
        match datagram.split_first() {
            Some((&HELLO, identity)) => {
                let Some(psk) = table.psks.get(identity).copied() else { return };
                table.next += 1;
                let (id, key) = (SessionId(table.next), session_key(&psk, table.next));
                let session = Session { key, at: from, peer: PeerId::new(identity), sent: 0, received: 0 };
                table.sessions.insert(id, session);
                let bytes = [&[FINISHED][..], &id.0.to_be_bytes()].concat().into();
                table.outgoing.push(Transmit { to: from, bytes });
            }
            _ => {
                let of_address = table.sessions.iter_mut().filter(|(_, session)| session.at == from);
                for (id, session) in of_address {
                    let Some((number, message)) = open(&session.key, false, datagram) else { continue };
                    if number > session.received {
                        session.received = number;
                        return messages.push((*id, message));
                    }
                }
            }
        }
    }

    fn protect(&mut self, _: Duration, session: SessionId, message: Transmit) -> Option<Transmit> {
        let mut table = self.0.lock().unwrap();
        let session = table.sessions.get_mut(&session)?;
        session.sent += 1;
        let bytes = seal(&session.key, true, session.sent, &message.bytes).into();
        Some(Transmit { to: session.at, bytes })
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.0.lock().unwrap().outgoing.pop()
    }
}

impl MessageSecurity for Sessions {
    fn unprotect(&self, outer: Message) -> Inbound {
        Inbound::Plain(outer)
    }

    fn unprotect_session(&self, session: SessionId, message: Message) -> Inbound {
        match self.0.lock().unwrap().sessions.get(&session) {
            Some(Session { peer, .. }) => {
                Inbound::Verified { peer: peer.clone(), message, binding: ReplyBinding::new(()), fresh: true }
            }
            None => Inbound::Plain(message),
        }
    }

    // The session protects what goes.
    fn protect(&self, response: Message, _: ReplyBinding) -> Result<Message, ProtectError> {
        Ok(response)
    }

    fn observe(&self, _: &ReplyBinding) -> Option<ObservationBinding> {
        Some(ObservationBinding::new(()))
    }

    fn notify(&self, response: Message, _: &ObservationBinding) -> Result<Message, ProtectError> {
        Ok(response)
    }

    fn protect_request(&self, _: &PeerId, request: &Message) -> Result<(Message, SentRequest), ProtectError> {
        Ok((request.clone(), SentRequest::new(())))
    }

    fn unprotect_response(&self, response: &Message, _: &mut SentRequest) -> Result<Message, ResponseError> {
        Ok(response.clone())
    }
}

/// Says who asked, and from where.
#[derive(Default)]
struct Names(Mutex<Vec<AddressPair>>);

impl Service for Names {
    fn call(&self, received: Received, responder: Responder) {
        let mut message = Message::response(Code::CONTENT);
        message.payload = received.peer.map(|peer| peer.as_bytes().to_vec()).unwrap_or_default();
        self.0.lock().unwrap().push(received.from);
        responder.send(Answer { observable: true, ..message.into() });
    }
}

struct Lab {
    endpoint: Endpoint,
    inputs: Inputs,
    requester: Requester,
    service: Arc<Names>,
    sessions: Sessions,
    now: Duration,
}

/// A client's end of a session.
struct Client {
    key: [u8; 16],
    sent: u64,
}

fn here() -> AddressPair {
    SocketAddr::from(([192, 0, 2, 9], 5684)).into()
}

impl Lab {
    fn new() -> Self {
        let (sessions, service) = (Sessions::default(), Arc::new(Names::default()));
        sessions.0.lock().unwrap().psks = [(b"lamp".to_vec(), [1; 16]), (b"switch".to_vec(), [2; 16])].into();
        let local = "192.0.2.1:5684".parse().unwrap();
        let (endpoint, inputs) =
            Endpoint::new(local, Arc::new(sessions.clone()), Arc::clone(&service) as _, Limits::default(), [1; 32]);
        let endpoint = endpoint.with_datagram_security(Box::new(sessions.clone()));
        let requester = endpoint.requester();
        Self { endpoint, inputs, requester, service, sessions, now: Duration::ZERO }
    }

    fn settle(&mut self) {
        while let Some(input) = self.inputs.try_next() {
            self.endpoint.input(self.now, input);
        }
    }

    /// What is sent next, as it is on the network.
    fn sent(&mut self) -> Option<Vec<u8>> {
        let transmit = self.endpoint.poll_transmit()?;
        assert_eq!(transmit.to, here());
        Some(transmit.bytes.to_vec())
    }

    fn comes(&mut self, datagram: &[u8]) {
        self.endpoint.handle(self.now, here(), datagram);
        self.settle();
    }

    fn handshake(&mut self, identity: &[u8], psk: u8) -> Client {
        self.comes(&[&[HELLO], identity].concat());
        let finished = self.sent().unwrap();
        let random = u64::from_be_bytes(finished[1..].try_into().unwrap());
        Client { key: session_key(&[psk; 16], random), sent: 0 }
    }

    /// What the server says to this client next; `None` where it is another's, or nothing.
    fn said(&mut self, client: &Client) -> Option<Message> {
        let (_, message) = open(&client.key, true, &self.sent()?)?;
        Some(Message::decode(&message).unwrap())
    }
}

impl Client {
    fn seal(&mut self, message: &Message) -> Vec<u8> {
        self.sent += 1;
        seal(&self.key, false, self.sent, &message.encode())
    }
}

fn get(id: u16) -> Message {
    Message::new(Type::Confirmable, Code::GET, id, Token::new(&[7])).with_path(["who"])
}

#[test]
fn each_session_has_its_own_answers_also_at_one_address_and_for_one_message() {
    let mut lab = Lab::new();
    let (mut lamp, mut switch) = (lab.handshake(b"lamp", 1), lab.handshake(b"switch", 2));
    for (client, name) in [(&mut lamp, &b"lamp"[..]), (&mut switch, b"switch")] {
        let record = client.seal(&get(5));
        lab.comes(&record);
        let answer = lab.said(client).unwrap();
        assert_eq!((answer.code, answer.id, answer.payload.as_slice()), (Code::CONTENT, 5, name));
        // The record again is nothing; the message again, in another record, has the same answer.
        lab.comes(&record);
        assert_eq!(lab.sent(), None);
        let again = client.seal(&get(5));
        lab.comes(&again);
        assert_eq!(lab.said(client).unwrap(), answer);
    }
    assert_eq!(lab.service.0.lock().unwrap().len(), 2, "each was acted on once");
    // What is in no session is nobody's, and has no answer.
    lab.comes(&get(6).encode());
    lab.comes(&[RECORD, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3]);
    lab.comes(&[&[HELLO][..], b"nobody"].concat());
    assert_eq!((lab.sent(), lab.service.0.lock().unwrap().len()), (None, 2));
    // A session that has ended has no answers under way.
    let record = lamp.seal(&get(8));
    lab.endpoint.handle(lab.now, here(), &record);
    lab.sessions.0.lock().unwrap().sessions.remove(&SessionId(1));
    lab.settle();
    assert_eq!(lab.sent(), None);
}

#[test]
fn notifications_and_requests_of_the_server_go_in_the_session_and_are_protected_anew_each_time() {
    let mut lab = Lab::new();
    let (mut lamp, mut switch) = (lab.handshake(b"lamp", 1), lab.handshake(b"switch", 2));
    let mut registration = get(5);
    registration.options.push_uint(option::OBSERVE, 0);
    let record = lamp.seal(&registration);
    lab.comes(&record);
    assert!(lab.said(&lamp).unwrap().options.has(option::OBSERVE));
    lab.endpoint.notifier().changed(&["who"]);
    lab.settle();
    let first = lab.sent().unwrap();
    let second = std::iter::repeat_with(|| {
        lab.now = lab.endpoint.next_timeout().unwrap();
        lab.endpoint.timeout(lab.now);
        lab.sent()
    });
    let second = second.flatten().next().unwrap();
    assert_ne!(first, second, "no record is sent twice");
    let notification = |record: &[u8]| Message::decode(&open(&lamp.key, true, record).unwrap().1).unwrap();
    assert_eq!(notification(&first), notification(&second));
    // Somebody else at that address acknowledges in another session: that is for nothing of this one.
    let acknowledgement = Message::empty(Type::Acknowledgement, notification(&first).id);
    let foreign = switch.seal(&acknowledgement);
    lab.comes(&foreign);
    assert!(lab.endpoint.next_timeout().is_some_and(|at| at < Duration::from_secs(60)));
    let own = lamp.seal(&acknowledgement);
    lab.comes(&own);
    assert!(lab.endpoint.next_timeout().is_none_or(|at| at > Duration::from_secs(60)), "only its check is left");

    // The server asks where it was asked from.
    let (requester, to) = (lab.requester.clone(), lab.service.0.lock().unwrap()[0]);
    assert_eq!((to.remote, to.session), (here().remote, Some(SessionId(1))));
    let request = Message::request(Code::POST).with_path(["control"]);
    let mut asks = Box::pin(async move { requester.request(PeerId::new(b"lamp"), to, request).await });
    let mut context = std::task::Context::from_waker(Waker::noop());
    assert!(asks.as_mut().poll(&mut context).is_pending());
    lab.settle();
    let asked = lab.said(&lamp).unwrap();
    let mut answer = Message::response(Code::CHANGED);
    (answer.kind, answer.id, answer.token) = (Type::Acknowledgement, asked.id, asked.token);
    let foreign = switch.seal(&answer);
    lab.comes(&foreign);
    assert!(asks.as_mut().poll(&mut context).is_pending(), "an answer of another session");
    let own = lamp.seal(&answer);
    lab.comes(&own);
    let std::task::Poll::Ready(Ok(answer)) = asks.as_mut().poll(&mut context) else { panic!() };
    assert_eq!(answer.code, Code::CHANGED);
}
