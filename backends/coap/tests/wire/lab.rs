//! A server with something of everything, and a socket that talks to it in bytes.

use ace_backend_coap::{
    Answer, Limits, Link, Links, Notifier, Purpose, Received, Registration, Responder, Server, Service, StatsHandle,
};
use ace_coap::numbers::option;
use ace_coap::security::{Inbound, MessageSecurity, ObservationBinding, PeerId, ProtectError, ReplyBinding};
use ace_coap::{Code, Message, Options, Token, Type, decode_body, encode_body};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

/// Takes the value of the OSCORE option at its word: the peer's name. The message itself is in the payload, see [`wrap`]. `x` is never verified, `r` is refused at length,
/// `z` gets no answer protected, `o` cannot observe, notifications to `g` find it gone, and every other one to `n`
/// finds no number; observations of who begins with `k` are kept; who begins with `l` has to wait until more is known of it.
#[derive(Default)]
pub(crate) struct Marked {
    asked: Mutex<bool>,
    known: Mutex<Vec<Vec<u8>>>,
}

impl Marked {
    fn knows(&self, name: &[u8]) -> bool {
        !name.starts_with(b"l") || self.known.lock().unwrap().iter().any(|known| known == name)
    }
}

impl MessageSecurity for Marked {
    fn unprotect(&self, message: Message) -> Inbound {
        let Some(name) = message.options.first(option::OSCORE).map(<[u8]>::to_vec) else {
            return Inbound::Plain(message);
        };
        if !self.knows(&name) {
            return Inbound::Later(PeerId::new(&name), message);
        }
        match name.as_slice() {
            b"x" => return Inbound::Discard,
            b"r" => {
                let refusal = Message { payload: vec![b'r'; 300], ..Message::response(Code::UNAUTHORIZED) };
                return Inbound::Answer(refusal);
            }
            _ => (),
        }
        let Some(mut message) = unwrap(&message) else { return Inbound::Discard };
        message.options.remove(option::OSCORE);
        let (peer, binding) = (PeerId::new(&name), ReplyBinding::new(name));
        Inbound::Verified { peer, message, binding, fresh: false }
    }

    fn unprotect_again(&self, message: Message) -> Inbound {
        match self.unprotect(message) {
            Inbound::Later(..) => Inbound::Answer(Message::response(Code::UNAUTHORIZED)),
            other => other,
        }
    }

    fn protect(&self, mut message: Message, binding: ReplyBinding) -> Result<Message, ProtectError> {
        let name: Vec<u8> = binding.into_inner().ok_or(ProtectError::ForeignBinding)?;
        if name == b"z" {
            return Err(ProtectError::NoAssociation);
        }
        message.options.set(option::OSCORE, &name);
        Ok(wrap(&message))
    }

    fn observe(&self, binding: &ReplyBinding) -> Option<ObservationBinding> {
        let name = binding.inner::<Vec<u8>>().filter(|name| *name != b"o");
        name.map(|name| ObservationBinding::new(name.clone()))
    }

    fn notify(&self, mut message: Message, binding: &ObservationBinding) -> Result<Message, ProtectError> {
        let name = binding.inner::<Vec<u8>>().ok_or(ProtectError::ForeignBinding)?;
        let mut asked = self.asked.lock().unwrap();
        match name.as_slice() {
            b"g" => return Err(ProtectError::NoAssociation),
            b"n" if !std::mem::replace(&mut *asked, true) => return Err(ProtectError::NeedSequence),
            _ => *asked = false,
        }
        message.options.set(option::OSCORE, name);
        Ok(wrap(&message))
    }

    fn keep(&self, binding: &ObservationBinding) -> Option<Vec<u8>> {
        binding.inner::<Vec<u8>>().filter(|name| name.starts_with(b"k")).cloned()
    }

    fn resume(&self, kept: &[u8]) -> Option<ObservationBinding> {
        kept.starts_with(b"k").then(|| ObservationBinding::new(kept.to_vec()))
    }
}

/// A peer, and what an observation of it can be resumed with.
pub(crate) type Kept = (PeerId, Registration);

/// Resources: `count` counts its requests, `slow` answers when it is told to, `drop` never does, `body` says how
/// long what it got was, `big` is big, begins as it is told to and counts them too, `state` can be observed until it is gone, `late` can be observed and answers when
/// it is told to, `bare` answers without protection, `no` refuses with many words.
#[derive(Default)]
pub(crate) struct Resources {
    pub(crate) count: Mutex<u32>,
    pub(crate) big: Mutex<u32>,
    pub(crate) held: Mutex<Vec<Responder>>,
    pub(crate) gone: Mutex<bool>,
    /// Nothing can be said of `state` for now, or nothing protected.
    pub(crate) trouble: Mutex<Option<Code>>,
    /// How often that was said.
    pub(crate) troubled: Mutex<u32>,
    /// What was given to be kept, and what of it has ended.
    pub(crate) kept: Mutex<Vec<Kept>>,
    pub(crate) ended: Mutex<Vec<Kept>>,
    /// What was wanted of `mine`.
    pub(crate) purposes: Mutex<Vec<Purpose>>,
    notifier: OnceLock<Notifier>,
}

impl Resources {
    pub(crate) fn release(&self) {
        for responder in self.held.lock().unwrap().drain(..) {
            responder.send(Answer {
                message: content(b"at last"),
                unprotected: false,
                observable: true,
                asks_for_proof: false,
            });
        }
    }

    pub(crate) fn forget(&self, name: &[u8]) {
        self.notifier.get().unwrap().forget(PeerId::new(name));
    }

    pub(crate) fn change(&self) {
        *self.count.lock().unwrap() += 1;
        self.notifier.get().unwrap().changed(&["state"]);
        self.notifier.get().unwrap().changed(&["late"]);
    }
}

pub(crate) fn content(payload: &[u8]) -> Message {
    Message { payload: payload.to_vec(), ..Message::response(Code::CONTENT) }
}

impl Service for Resources {
    fn ended(&self, peer: &PeerId, registration: Registration) {
        self.ended.lock().unwrap().push((peer.clone(), registration));
    }

    fn call(&self, request: Received, responder: Responder) {
        if let (Some(peer), Some(registration)) = (&request.peer, &request.registration) {
            self.kept.lock().unwrap().push((peer.clone(), registration.clone()));
        }
        let path = request.message.options.uri_path().unwrap_or_default();
        let answer = match path.first().map(String::as_str) {
            Some(name) if request.purpose == Purpose::Permission && name != "mine" => content(b"yes"),
            Some("slow" | "late") => return self.held.lock().unwrap().push(responder),
            Some("drop") => return,
            Some("count") => {
                *self.count.lock().unwrap() += 1;
                content(self.count.lock().unwrap().to_string().as_bytes())
            }
            Some("body") => content(request.message.payload.len().to_string().as_bytes()),
            Some("big") => {
                *self.big.lock().unwrap() += 1;
                let first = request.message.payload.first().copied().map_or(0, u32::from);
                content(&(first..first + 5_000).map(|i| (i % 251) as u8).collect::<Vec<_>>())
            }
            Some("mine") => {
                self.purposes.lock().unwrap().push(request.purpose);
                if *self.gone.lock().unwrap() { Message::response(Code::FORBIDDEN) } else { content(&[7; 5_000]) }
            }
            Some("no") => Message { payload: vec![b'n'; 200], ..Message::response(Code::UNAUTHORIZED) },
            Some("who") => content(format!("{:?} {}", request.peer, request.fresh).as_bytes()),
            Some("bare") => {
                return responder.send(Answer {
                    message: content(b"bare"),
                    unprotected: true,
                    observable: true,
                    asks_for_proof: false,
                });
            }
            Some("state") if self.trouble.lock().unwrap().is_some() => {
                let code = self.trouble.lock().unwrap().unwrap();
                let unprotected = code == Code::UNAUTHORIZED;
                *self.troubled.lock().unwrap() += 1;
                return responder.send(Answer {
                    message: Message::response(code),
                    unprotected,
                    observable: false,
                    asks_for_proof: false,
                });
            }
            Some("state") if *self.gone.lock().unwrap() => Message::response(Code::NOT_FOUND),
            Some("state") => {
                let message = content(self.count.lock().unwrap().to_string().as_bytes());
                return responder.send(Answer { message, unprotected: false, observable: true, asks_for_proof: false });
            }
            _ => Message::response(Code::NOT_FOUND),
        };
        responder.send(answer);
    }
}

pub(crate) struct Lab {
    pub(crate) address: SocketAddr,
    pub(crate) stats: StatsHandle,
    pub(crate) resources: Arc<Resources>,
    security: Arc<Marked>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Lab {
    pub(crate) async fn new(limits: Limits) -> Self {
        Self::resuming("127.0.0.1:0".parse().unwrap(), limits, &[]).await.0
    }

    /// A server that goes on where another has ended; with it, which observations it has taken up.
    pub(crate) async fn resuming(any: SocketAddr, limits: Limits, kept: &[Kept]) -> (Self, Vec<bool>) {
        let resources = Arc::new(Resources::default());
        let security = Arc::new(Marked::default());
        let server = Server::bind(any, Arc::clone(&security) as _, Arc::clone(&resources) as _, limits, [7; 32]);
        let server = server.await.unwrap();
        let links = (0..9).map(|n| Link::new(format!("/group/{n}")).with("rt", if n == 3 { "three" } else { "other" }));
        let mut server = server.with_links(Links::new(links.collect()));
        let resumed = kept.iter().map(|(peer, registration)| server.resume(peer, registration)).collect();
        resources.notifier.set(server.notifier()).ok();
        let (address, stats) = (server.local_addr().unwrap(), server.stats());
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(server.run(async { drop(stopped.await) }));
        (Self { address, stats, resources, security, stop: Some(stop), ended }, resumed)
    }

    /// Ends it.
    pub(crate) async fn end(mut self) -> Arc<Resources> {
        self.stop.take().unwrap().send(()).unwrap();
        self.ended.await.unwrap().unwrap();
        self.resources
    }

    pub(crate) fn notifier(&self) -> &Notifier {
        self.resources.notifier.get().unwrap()
    }

    /// From now on this peer is known.
    pub(crate) fn learn(&self, name: &[u8]) {
        self.security.known.lock().unwrap().push(name.to_vec());
        self.notifier().ready(PeerId::new(name));
    }
}

/// A socket of a client that does everything by hand.
pub(crate) struct Raw(UdpSocket);

impl Raw {
    pub(crate) async fn new(lab: &Lab) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(lab.address).await.unwrap();
        Self(socket)
    }

    /// Sends a message; one of a peer is wrapped up.
    pub(crate) async fn send(&self, bytes: &[u8]) {
        match Message::decode(bytes) {
            Ok(message) if message.options.has(option::OSCORE) => self.send_as_it_is(&wrap(&message).encode()).await,
            _ => self.send_as_it_is(bytes).await,
        }
    }

    pub(crate) async fn send_as_it_is(&self, bytes: &[u8]) {
        self.0.send(bytes).await.unwrap();
    }

    /// What comes within a second and a half.
    pub(crate) async fn receive(&self) -> Option<Vec<u8>> {
        self.within(Duration::from_millis(1_500)).await
    }

    async fn within(&self, time: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        let length = tokio::time::timeout(time, self.0.recv(&mut buffer)).await.ok()?.unwrap();
        buffer.truncate(length);
        Some(buffer)
    }

    /// What comes within this time, which has to be a message.
    pub(crate) async fn later(&self, time: Duration) -> Message {
        let message = Message::decode(&self.within(time).await.expect("nothing comes")).unwrap();
        unwrap(&message).unwrap_or(message)
    }

    /// What comes next, which has to be a message; one for a peer is unwrapped.
    pub(crate) async fn message(&self) -> Message {
        self.later(Duration::from_millis(1_500)).await
    }

    /// The same as it comes.
    pub(crate) async fn message_as_it_is(&self) -> Message {
        Message::decode(&self.receive().await.expect("nothing comes")).unwrap()
    }

    /// Whether nothing is there to be received, once the server has answered something else.
    pub(crate) async fn is_quiet(&self) -> bool {
        self.send(&[0x40, 0, 0xff, 0xff]).await;
        self.receive().await.unwrap() == [0x70, 0, 0xff, 0xff]
    }

    pub(crate) async fn ask(&self, message: &Message) -> Message {
        self.send(&message.encode()).await;
        self.message().await
    }
}

/// A request with this message ID, which is its token too.
pub(crate) fn request(kind: Type, id: u16, code: Code, path: &str) -> Message {
    Message { kind, id, token: Token::new(&id.to_be_bytes()), ..Message::request(code).with_path([path]) }
}

pub(crate) fn get(id: u16, path: &str) -> Message {
    request(Type::Confirmable, id, Code::GET, path)
}

/// A message under a protection that hides nothing: what OSCORE would encrypt is the payload.
pub(crate) fn wrap(message: &Message) -> Message {
    let mut outer = message.clone();
    let name = message.options.first(option::OSCORE).unwrap().to_vec();
    let mut inner = message.options.clone();
    inner.remove(option::OSCORE);
    // The server's own proof of the address stays outside.
    inner.remove(option::ECHO);
    outer.code = if message.code.is_request() { Code::POST } else { Code::CHANGED };
    outer.options = Options::new();
    outer.options.push(option::OSCORE, &name);
    message.options.all(option::ECHO).for_each(|echo| outer.options.push(option::ECHO, echo));
    outer.payload = vec![message.code.0];
    encode_body(&inner, &message.payload, &mut outer.payload);
    outer
}

/// The message within.
pub(crate) fn unwrap(outer: &Message) -> Option<Message> {
    let name = outer.options.first(option::OSCORE)?;
    let (&code, body) = outer.payload.split_first()?;
    let (mut options, payload) = decode_body(body).ok()?;
    options.push(option::OSCORE, name);
    Some(Message { code: Code(code), options, payload, ..outer.clone() })
}

/// The same request, of this peer.
pub(crate) fn of(name: &[u8], mut message: Message) -> Message {
    message.options.set(option::OSCORE, name);
    message
}
