//! What a server serves: requests come in, answers go out when they are ready.

use crate::endpoint::Outgoing;
use crate::socket::AddressPair;
use ace_coap::security::PeerId;
use ace_coap::{Code, Message};
use tokio::sync::mpsc::UnboundedSender;

/// A request, whole and verified as far as it was protected.
#[derive(Debug)]
pub struct Received {
    /// Who sent it; `None` where nobody is known to have.
    pub peer: Option<PeerId>,
    /// Where it came from: answers go there, and what is asked of the peer may ([`Requester`](crate::Requester)). It proves nothing.
    pub from: AddressPair,
    /// Whether it also proved by Echo that it is fresh and its sender reachable.
    pub fresh: bool,
    /// Whether the sender of an unprotected request has proven by Echo to be reachable where it came from.
    pub proven: bool,
    /// The request.
    pub message: Message,
    /// What is wanted of the service.
    pub purpose: Purpose,
    /// What an observation of a known peer can be resumed with by another process ([`Server::resume`]), where this
    /// request begins one and the service answers that it may.
    ///
    /// [`Server::resume`]: crate::Server::resume
    pub registration: Option<Registration>,
}

/// What is wanted of a service with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The answer.
    Answer,
    /// The answer to a registration again, for a notification. One that is no success is the last.
    Notification,
    /// Whether the peer may have the answer still, of which it asks for a further block: any success will do, and nothing is
    /// to be done.
    Permission,
}

/// What an observation can be resumed with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registration {
    /// Which of the peer's observations it is: a later one of this name takes its place.
    pub name: Vec<u8>,
    /// What is asked for, and what notifications are protected with.
    pub state: Vec<u8>,
}

/// An answer, and how it is to be sent.
#[derive(Debug)]
pub struct Answer {
    /// The answer. Type, ID and token are the server's business.
    pub message: Message,
    /// Whether it goes out unprotected although the request was protected.
    pub unprotected: bool,
    /// Whether a request with Observe becomes an observation.
    pub observable: bool,
    /// Whether the client is asked to prove its address by Echo (RFC 9175 section 2.3); for a 4.01.
    pub asks_for_proof: bool,
}

impl From<Message> for Answer {
    fn from(message: Message) -> Self {
        Self { message, unprotected: false, observable: false, asks_for_proof: false }
    }
}

/// The last answer to an observation of the resource with this path.
pub type LastWord = fn(&[String]) -> Message;

/// What the server's loop is told.
#[derive(Debug)]
pub(crate) enum LoopInput {
    Answer(u64, Answer),
    Changed(Vec<String>),
    ChangedBelow(Vec<String>),
    Forget(PeerId),
    Ended(PeerId, LastWord),
    Restricted(PeerId),
    Unobserve(PeerId, Vec<String>),
    Observes(PeerId, Vec<Vec<String>>, tokio::sync::oneshot::Sender<bool>),
    Settled(PeerId, Settled),
    Request(Box<Outgoing>),
}

/// What became of what a peer's messages wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// They can be looked at.
    Ready,
    /// It could not be done.
    Unavailable,
}

/// The way back for one answer. Whoever drops it answers 5.00.
#[derive(Debug)]
pub struct Responder {
    exchange: u64,
    events: Option<UnboundedSender<LoopInput>>,
}

impl Responder {
    pub(crate) const fn new(exchange: u64, events: UnboundedSender<LoopInput>) -> Self {
        Self { exchange, events: Some(events) }
    }

    /// Sends the answer. A server that is gone takes none.
    pub fn send(mut self, answer: impl Into<Answer>) {
        self.answer(answer.into());
    }

    fn answer(&mut self, answer: Answer) {
        if let Some(events) = self.events.take() {
            let _ = events.send(LoopInput::Answer(self.exchange, answer));
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.answer(Message::response(Code::INTERNAL_SERVER_ERROR).into());
    }
}

/// Tells a server what has changed outside of it: resources, so that their observers are notified, and peers.
#[derive(Clone, Debug)]
pub struct Notifier(pub(crate) UnboundedSender<LoopInput>);

impl Notifier {
    /// The resource at this path has changed.
    pub fn changed(&self, path: &[&str]) {
        let _ = self.0.send(LoopInput::Changed(path.iter().map(|&segment| segment.into()).collect()));
    }

    /// The resource at this path, and all below it, have changed.
    pub fn changed_below(&self, path: &[&str]) {
        let _ = self.0.send(LoopInput::ChangedBelow(path.iter().map(|&segment| segment.into()).collect()));
    }
}

impl Notifier {
    /// A peer is gone: blocks of answers that are kept for it are given out no more, and its observations end.
    pub fn forget(&self, peer: PeerId) {
        let _ = self.0.send(LoopInput::Forget(peer));
    }

    /// A peer's rights have ended. Each of its observations is told so, by a last notification with this answer for its path,
    /// and nothing else is kept for it.
    pub fn ended(&self, peer: PeerId, last_word: LastWord) {
        let _ = self.0.send(LoopInput::Ended(peer.clone(), last_word));
        self.ready(peer);
    }

    /// A peer may do less than before: blocks of answers that are kept for it are given out no more, and what it
    /// observes is asked for again. It is told where it may not observe that any more.
    pub fn restricted(&self, peer: PeerId) {
        let _ = self.0.send(LoopInput::Restricted(peer));
    }

    /// What was needed of a peer is there: messages that wait for it ([`Inbound::Later`]) are looked at again.
    ///
    /// [`Inbound::Later`]: ace_coap::security::Inbound::Later
    pub fn ready(&self, peer: PeerId) {
        let _ = self.0.send(LoopInput::Settled(peer, Settled::Ready));
    }

    /// A peer observes nothing any more of the resource with this path, and below it: that ends without a word.
    pub fn unobserve(&self, peer: PeerId, path: &[&str]) {
        let path = path.iter().map(|segment| (*segment).into()).collect();
        let _ = self.0.send(LoopInput::Unobserve(peer, path));
    }

    /// Whether a peer observes the resource with one of these paths; not where the server has ended.
    pub async fn observes(&self, peer: PeerId, paths: Vec<Vec<String>>) -> bool {
        let (answer, observes) = tokio::sync::oneshot::channel();
        let _ = self.0.send(LoopInput::Observes(peer, paths, answer));
        observes.await.unwrap_or(false)
    }

    /// A peer is gone, or there is none: nothing is kept for it, and messages that wait for it are looked at again.
    pub fn gone(&self, peer: PeerId) {
        self.forget(peer.clone());
        self.ready(peer);
    }

    /// What was needed of a peer could not be had: messages that wait for it are answered 5.03.
    pub fn unavailable(&self, peer: PeerId) {
        let _ = self.0.send(LoopInput::Settled(peer, Settled::Unavailable));
    }
}

/// Serves requests. `call` does not wait: it answers at once, or hands the responder on.
///
/// ```
/// use ace_backend_coap::{Received, Responder, Service};
/// use ace_coap::{Code, Message};
/// use tokio::sync::mpsc::UnboundedSender;
///
/// /// Hands requests on to whoever has the time; an answer that never comes is 5.00.
/// struct Queue(UnboundedSender<(Received, Responder)>);
///
/// impl Service for Queue {
///     fn call(&self, request: Received, responder: Responder) {
///         match request.message.code {
///             Code::GET => drop(self.0.send((request, responder))),
///             _ => responder.send(Message::response(Code::METHOD_NOT_ALLOWED)),
///         }
///     }
/// }
/// ```
pub trait Service: Send + Sync {
    /// Takes a request.
    fn call(&self, request: Received, responder: Responder);

    /// An observation with this registration has ended: it is not to be resumed.
    fn ended(&self, _peer: &PeerId, _registration: Registration) {}
}
