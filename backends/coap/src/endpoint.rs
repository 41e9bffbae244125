//! A CoAP server without a socket: datagrams, the answers of a service and the time go in, datagrams come out.
//!
//! [`Server`](crate::Server) drives one on tokio. Another driver calls, in any order:
//!
//! | call | when |
//! | --- | --- |
//! | [`Endpoint::resume`] | at the start, once for each registration that was stored |
//! | [`Endpoint::handle`] | a datagram has come |
//! | [`Endpoint::input`] | [`Inputs`] has something: an answer of the service, or a change that it was told of |
//! | [`Endpoint::timeout`] | the moment of [`Endpoint::next_timeout`] has come |
//! | [`Endpoint::poll_transmit`] | after each of these, until there is nothing more to send |
//!
//! The time is a duration since any moment; it does not go back. The same calls in the same order give the same datagrams.
//!
//! ```
//! use ace_backend_coap::{Endpoint, Limits, AddressPair, Received, Responder, Service};
//! use ace_coap::{Code, Message, Token, Type, security::Unprotected};
//! use std::net::SocketAddr;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! struct Hello;
//!
//! impl Service for Hello {
//!     fn call(&self, _request: Received, responder: Responder) {
//!         responder.send(Message::response(Code::CONTENT));
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let local = "192.0.2.1:5683".parse()?;
//! let (mut endpoint, mut inputs) =
//!     Endpoint::new(local, Arc::new(Unprotected), Arc::new(Hello), Limits::default(), [1; 32]);
//! let now = Duration::ZERO;
//! let get = Message::new(Type::Confirmable, Code::GET, 7, Token::new(&[1]));
//! let client: SocketAddr = "192.0.2.9:61616".parse()?;
//! endpoint.handle(now, AddressPair::from(client), &get.encode());
//! while let Some(input) = inputs.try_next() {
//!     endpoint.input(now, input);
//! }
//! let answer = endpoint.poll_transmit().ok_or("there is no answer")?;
//! assert_eq!(Message::decode(&answer.bytes)?.code, Code::CONTENT);
//! # Ok(())
//! # }
//! ```

mod asking;
mod incoming;
mod outgoing;
mod reach;
mod resume;

pub(crate) use asking::Outgoing;
pub use asking::{RequestError, Requester};

use crate::Limits;
use crate::block::Transfers;
use crate::datagrams::DatagramSecurity;
use crate::discovery::Links;
use crate::exchange::{Exchanges, MessageKey};
use crate::held::Held;
use crate::ids::MessageIds;
use crate::observe::{Notifies, ObservationId, Observations};
use crate::owner::{Owner, Shares};
use crate::retransmit::{Due, Retransmissions, Sent};
use crate::service::{LoopInput, Notifier, Service};
use crate::socket::AddressPair;
use ace_coap::security::{MessageSecurity, ReplyBinding};
use ace_coap::{Block, Message, Token, Type};
use asking::Asking;
use foldhash::fast::RandomState;
use reach::Reach;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Notifications that are being asked for at once.
const NOTIFYING: usize = 64;
/// How long until a notification is tried again that could not be protected.
const PROTECT_AGAIN: Duration = Duration::from_secs(1);
/// How long until the service is asked again for an observed resource, where it has answered 5.xx or nothing could be sent.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Figures of a server since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Datagrams that came.
    pub datagrams: u64,
    /// Datagrams that were no message.
    pub malformed: u64,
    /// Messages that came a second time.
    pub duplicates: u64,
    /// Answers that could not be protected, and were dropped.
    pub unprotectable: u64,
}

/// The figures of a server, while it runs.
#[derive(Clone, Debug, Default)]
pub struct StatsHandle(Arc<[AtomicU64; 4]>);

impl StatsHandle {
    const DATAGRAMS: usize = 0;
    const MALFORMED: usize = 1;
    const DUPLICATES: usize = 2;
    const UNPROTECTABLE: usize = 3;

    fn count(&self, which: usize) {
        if let Some(figure) = self.0.get(which) {
            figure.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads the figures, which count since the endpoint was made. Other threads may read while it runs.
    #[must_use]
    pub fn get(&self) -> ServerStats {
        let [datagrams, malformed, duplicates, unprotectable] = &*self.0;
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        ServerStats {
            datagrams: read(datagrams),
            malformed: read(malformed),
            duplicates: read(duplicates),
            unprotectable: read(unprotectable),
        }
    }
}

/// A request that is being handled.
struct InFlight {
    from: AddressPair,
    kind: Type,
    id: u16,
    token: Token,
    /// The message that brought it; none where it is asked for a notification.
    message: Option<MessageKey>,
    owner: Owner,
    binding: Option<ReplyBinding>,
    request: Message,
    /// The last block of the body, where it came in blocks.
    block1: Option<Block>,
    /// The same of a protected message that a proxy has cut.
    outer_block1: Option<Block>,
    acknowledged: bool,
    /// How many bytes may go to an address that has proven nothing.
    budget: Option<usize>,
    /// How many changes of resources there had been when it was handed on.
    changes: u64,
    /// The observation that this is a notification for.
    notifies: Option<Notifies>,
    /// Whether the service was given what its observation could be resumed with.
    is_kept: bool,
    /// A later block of a stored answer. It goes out if the service says that the peer may still have it (`Purpose::Permission`).
    block: Option<Message>,
    /// The protected message, where a proxy wants the answer to it in blocks, and whose these are.
    outer: Option<(Owner, Message)>,
}

impl InFlight {
    /// The name of the observation that it makes or ends.
    fn observation(&self) -> ObservationId {
        ObservationId { owner: self.owner.clone(), to: self.from.remote, token: self.token.clone() }
    }
}

/// A datagram that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To whom, and from which address of ours.
    pub to: AddressPair,
    /// One CoAP message, encoded (RFC 7252 section 3): the payload of the UDP datagram.
    pub bytes: Arc<[u8]>,
}

/// Something that an endpoint is told from within the program: an answer of its service, or a change.
#[derive(Debug)]
pub struct Input(LoopInput);

/// What an endpoint is told by its service and by its [`Notifier`]s.
#[derive(Debug)]
pub struct Inputs(UnboundedReceiver<LoopInput>);

impl Inputs {
    /// The next one, where there is one now.
    pub fn try_next(&mut self) -> Option<Input> {
        self.0.try_recv().ok().map(Input)
    }

    /// Waits for the next one, and takes those behind it too, at most so many. 0 where there never will be one.
    pub async fn next_many(&mut self, into: &mut Vec<Input>, limit: usize) -> usize {
        let Some(first) = self.0.recv().await else { return 0 };
        into.push(Input(first));
        while into.len() < limit
            && let Some(next) = self.try_next()
        {
            into.push(next);
        }
        into.len()
    }
}

/// A CoAP server without a socket; see the module's documentation.
pub struct Endpoint {
    now: Duration,
    local: SocketAddr,
    security: Arc<dyn MessageSecurity>,
    datagrams: Option<Box<dyn DatagramSecurity>>,
    service: Arc<dyn Service>,
    links: Links,
    limits: Limits,
    outgoing: VecDeque<Transmit>,
    sender: UnboundedSender<LoopInput>,
    exchanges: Exchanges,
    transfers: Transfers,
    observations: Observations,
    retransmissions: Retransmissions,
    reach: Reach,
    asking: Asking,
    held: Held<InFlight>,
    in_flight: HashMap<u64, InFlight, RandomState>,
    shares: Shares,
    /// Notifications that are being asked for, and those that have to wait for that.
    notifying: usize,
    to_ask: VecDeque<Notifies>,
    /// Notifications that could not be protected, and when they are tried again.
    retries: BTreeMap<(Duration, u64), Notifies>,
    next_retry: u64,
    /// How many changes of resources there have been.
    changes: u64,
    /// Confirmable requests, and when they are acknowledged if there is no answer yet.
    to_acknowledge: VecDeque<(Duration, u64)>,
    next_exchange: u64,
    ids: MessageIds,
    stats: StatsHandle,
}

impl Endpoint {
    /// An endpoint at this address of ours. `seed` is random and secret: message IDs and Echo values are made with it.
    #[must_use]
    pub fn new(
        local: SocketAddr,
        security: Arc<dyn MessageSecurity>,
        service: Arc<dyn Service>,
        limits: Limits,
        seed: [u8; 32],
    ) -> (Self, Inputs) {
        let (sender, inputs) = unbounded_channel();
        let reach = Reach::new(seed);
        let endpoint = Self {
            now: Duration::ZERO,
            local,
            security,
            datagrams: None,
            service,
            links: Links::default(),
            limits,
            outgoing: VecDeque::new(),
            sender,
            exchanges: Exchanges::new(&limits),
            transfers: Transfers::new(&limits),
            observations: Observations::new(&limits),
            retransmissions: Retransmissions::default(),
            reach,
            asking: Asking::default(),
            held: Held::new(&limits),
            in_flight: HashMap::default(),
            shares: Shares::default(),
            notifying: 0,
            to_ask: VecDeque::new(),
            retries: BTreeMap::new(),
            next_retry: 0,
            changes: 0,
            to_acknowledge: VecDeque::new(),
            next_exchange: 0,
            ids: MessageIds::new(&limits),
            stats: StatsHandle::default(),
        };
        (endpoint, Inputs(inputs))
    }

    /// Serves these links at `/.well-known/core`.
    #[must_use]
    pub fn with_links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Has datagrams protected below CoAP. Nothing is taken then that did not come in a session, nor sent outside of one.
    #[must_use]
    pub fn with_datagram_security(mut self, datagrams: Box<dyn DatagramSecurity>) -> Self {
        self.datagrams = Some(datagrams);
        self
    }

    /// Tells the endpoint of changed resources.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier(self.sender.clone())
    }

    /// Figures since the start, to be read while it runs.
    #[must_use]
    pub fn stats(&self) -> StatsHandle {
        self.stats.clone()
    }

    /// Takes in a datagram.
    pub fn handle(&mut self, now: Duration, from: AddressPair, datagram: &[u8]) {
        self.now = now;
        match &mut self.datagrams {
            None => self.datagram(from, datagram),
            Some(datagrams) => {
                let mut messages = Vec::new();
                datagrams.receive(now, from, datagram, &mut messages);
                for (session, message) in messages {
                    self.datagram(AddressPair { session: Some(session), ..from }, &message);
                }
            }
        }
        self.report_ended();
    }

    /// Takes in what the service has answered, or what has changed.
    pub fn input(&mut self, now: Duration, Input(input): Input) {
        self.now = now;
        self.event(input);
        self.report_ended();
    }

    /// Takes the oldest datagram that waits to be sent; `None` where none waits.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let Some(datagrams) = &mut self.datagrams else { return self.outgoing.pop_front() };
        while let Some(message) = self.outgoing.pop_front() {
            let protected = message.to.session.and_then(|session| datagrams.protect(self.now, session, message));
            if protected.is_some() {
                return protected;
            }
        }
        datagrams.poll_transmit()
    }

    /// The moment at which [`Self::timeout`] has to be called, on the clock of `now`; it may have passed. `None` where nothing will be
    /// due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        // What is to be asked for first is due at once.
        let first = (!self.to_ask.is_empty() && self.notifying < NOTIFYING).then_some(self.now);
        let below = self.datagrams.as_ref().and_then(|datagrams| datagrams.next_timeout());
        first.or_else(|| [self.next_due(), below].into_iter().flatten().min())
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Duration) {
        self.now = now;
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.timeout(now);
        }
        self.due();
        self.report_ended();
    }

    const fn now(&self) -> Duration {
        self.now
    }

    fn send(&mut self, to: AddressPair, bytes: impl Into<Arc<[u8]>>) {
        self.outgoing.push_back(Transmit { to, bytes: bytes.into() });
    }

    fn next_due(&self) -> Option<Duration> {
        let acknowledge = self.to_acknowledge.front().map(|&(at, _)| at);
        let retry = self.retries.keys().next().map(|&(at, _)| at);
        let check = self.observations.next_check();
        [acknowledge, retry, check, self.asking.next(), self.retransmissions.next()].into_iter().flatten().min()
    }

    fn due(&mut self) {
        let now = self.now();
        while let Some(&(at, number)) = self.to_acknowledge.front().filter(|(at, _)| *at <= now) {
            self.to_acknowledge.pop_front();
            if let Some(exchange) = self.in_flight.get_mut(&number) {
                tracing::trace!(?at, "a request is acknowledged before its answer");
                exchange.acknowledged = true;
                let (to, id, message) = (exchange.from, exchange.id, exchange.message);
                self.reply_empty(to, Type::Acknowledgement, id, message);
            }
        }
        while let Some(entry) = self.retries.first_entry().filter(|entry| entry.key().0 <= now) {
            self.to_ask.push_back(entry.remove());
        }
        while let Some(notifies) = self.observations.check(now) {
            self.to_ask.push_back(notifies);
        }
        self.ask_more();
        self.requests_due();
        while let Some(due) = self.retransmissions.due(now) {
            match due {
                Due::Send(to, bytes) => self.send(to, bytes),
                Due::GiveUp(Sent::Notification(notifies)) => self.observations.end(&notifies),
                Due::GiveUp(Sent::Request(peer)) => self.end_request(&peer, Err(RequestError::Silent)),
                Due::GiveUp(Sent::Response) => (),
            }
        }
    }

    /// Answers a message with an empty one. It may get lost: whoever sends again gets it again.
    fn reply_empty(&mut self, to: AddressPair, kind: Type, id: u16, message: Option<MessageKey>) {
        let bytes: Arc<[u8]> = Message::empty(kind, id).encode().into();
        if let Some(message) = message {
            self.exchanges.answered(&message, Arc::clone(&bytes));
        }
        self.send(to, bytes);
    }
}
