//! A CoAP server on one UDP socket: receives, verifies, hands on; answers, protects, sends.
//!
//! Everything runs in one task. A tick takes all datagrams that wait and all answers that are ready, so that
//! under load the cost of waking up is shared.

use crate::Limits;
use crate::block::{Owner, Step, Transfers};
use crate::discovery::{Link, link_format};
use crate::exchange::{Exchanges, Seen};
use crate::observe::{Observation, ObservationId, Observations};
use crate::retransmit::{Due, Retransmissions};
use crate::service::{Answer, Event, Notifier, Received, Responder, Service};
use ace_coap::numbers::{LINK_FORMAT, option};
use ace_coap::security::{Inbound, MessageSecurity, ProtectError, ReplyBinding};
use ace_coap::{Block, Code, Message, Token, Type, is_critical, peek};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Datagrams and answers that one tick takes at most.
const TICK: usize = 64;
/// The largest datagram of UDP.
const DATAGRAM: usize = 65_536;

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

/// A request that is being handled.
struct InFlight {
    from: SocketAddr,
    kind: Type,
    id: u16,
    token: Token,
    owner: Owner,
    binding: Option<ReplyBinding>,
    request: Message,
    block1: Option<Block>,
    acknowledged: bool,
    /// The observation that this is a notification for.
    notifies: Option<ObservationId>,
}

/// A CoAP server.
pub struct Server {
    socket: UdpSocket,
    security: Arc<dyn MessageSecurity>,
    service: Arc<dyn Service>,
    links: Vec<Link>,
    limits: Limits,
    begun: Instant,
    events: UnboundedReceiver<Event>,
    sender: UnboundedSender<Event>,
    exchanges: Exchanges,
    transfers: Transfers,
    observations: Observations,
    retransmissions: Retransmissions,
    in_flight: HashMap<u64, InFlight>,
    /// Confirmable requests, and when they are acknowledged if there is no answer yet.
    to_acknowledge: VecDeque<(Duration, u64)>,
    next_exchange: u64,
    next_id: u16,
    stats: ServerStats,
}

/// Options that this server knows; another critical one is refused (RFC 7252 section 5.4.1).
const fn is_known(number: u16) -> bool {
    matches!(
        number,
        option::URI_HOST
            | option::URI_PORT
            | option::OSCORE
            | option::URI_PATH
            | option::URI_QUERY
            | option::ACCEPT
            | option::BLOCK1
            | option::BLOCK2
    )
}

impl Server {
    /// Binds a socket. `first_id` is the first message ID, random so that it cannot be guessed.
    ///
    /// # Errors
    /// [`io::Error`] where the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        security: Arc<dyn MessageSecurity>,
        service: Arc<dyn Service>,
        limits: Limits,
        first_id: u16,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let (sender, events) = unbounded_channel();
        Ok(Self {
            socket,
            security,
            service,
            links: Vec::new(),
            limits,
            begun: Instant::now(),
            events,
            sender,
            exchanges: Exchanges::new(&limits),
            transfers: Transfers::new(&limits),
            observations: Observations::new(&limits),
            retransmissions: Retransmissions::default(),
            in_flight: HashMap::new(),
            to_acknowledge: VecDeque::new(),
            next_exchange: 0,
            next_id: first_id,
            stats: ServerStats::default(),
        })
    }

    /// Serves these links at `/.well-known/core`.
    #[must_use]
    pub fn with_links(mut self, links: Vec<Link>) -> Self {
        self.links = links;
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Tells the server of changed resources.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier(self.sender.clone())
    }

    /// Figures since the start.
    #[must_use]
    pub const fn stats(&self) -> ServerStats {
        self.stats
    }

    /// Serves until `stop` is ready.
    ///
    /// # Errors
    /// [`io::Error`] where the socket fails for good.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let mut buffer = vec![0; DATAGRAM];
        let mut events = Vec::with_capacity(TICK);
        tokio::pin!(stop);
        loop {
            let due = self.next_due();
            if due.is_some_and(|at| at <= self.now()) {
                // Before what comes in: a flood must not hold up acknowledgements and retransmissions.
                self.timeout().await;
                continue;
            }
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                count = self.events.recv_many(&mut events, TICK) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for event in events.drain(..) {
                        self.event(event).await;
                    }
                }
                ready = self.socket.readable() => {
                    ready?;
                    self.receive(&mut buffer).await?;
                }
                () = sleep_until(self.begun, due) => self.timeout().await,
            }
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn next_due(&self) -> Option<Duration> {
        let acknowledge = self.to_acknowledge.front().map(|&(at, _)| at);
        [acknowledge, self.retransmissions.next()].into_iter().flatten().min()
    }

    async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..TICK {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    self.datagram(from, datagram).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An earlier answer met a closed port: that concerns nobody else.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.socket.send_to(bytes, to).await {
            tracing::debug!(%error, "an answer could not be sent");
        }
    }

    async fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.stats.datagrams = self.stats.datagrams.saturating_add(1);
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.stats.malformed = self.stats.malformed.saturating_add(1);
                if let Some((Type::Confirmable, id)) = peek(bytes).filter(|_| error.is_format_error()) {
                    self.send(from, &Message::empty(Type::Reset, id).encode()).await;
                }
                return;
            }
        };
        match message.kind {
            Type::Acknowledgement => {
                self.retransmissions.settle(from, message.id);
            }
            Type::Reset => {
                let observation = self.retransmissions.settle(from, message.id).and_then(|waiting| waiting.observation);
                if let Some(id) = observation {
                    self.observations.remove(&id);
                }
            }
            Type::Confirmable if !message.code.is_request() => {
                self.send(from, &Message::empty(Type::Reset, message.id).encode()).await;
            }
            Type::Confirmable | Type::NonConfirmable if message.code.is_request() => {
                self.request(from, message).await;
            }
            Type::Confirmable | Type::NonConfirmable => (),
        }
    }

    async fn request(&mut self, from: SocketAddr, message: Message) {
        match self.exchanges.see(self.now(), from, message.id) {
            Seen::New => (),
            Seen::Unanswered => {
                self.stats.duplicates = self.stats.duplicates.saturating_add(1);
                return;
            }
            Seen::Answered(bytes) => {
                self.stats.duplicates = self.stats.duplicates.saturating_add(1);
                return self.send(from, &bytes).await;
            }
        }
        let mut exchange = InFlight {
            from,
            kind: message.kind,
            id: message.id,
            token: message.token.clone(),
            owner: Owner::Address(from),
            binding: None,
            request: Message::request(message.code),
            block1: None,
            acknowledged: false,
            notifies: None,
        };
        if let Some(refusal) = refused_options(&message) {
            return self.respond(exchange, refusal.into()).await;
        }
        match self.security.unprotect(message) {
            Inbound::Plain(message) => self.dispatch(exchange, message, None, false).await,
            Inbound::Verified { peer, message, binding, fresh } => {
                exchange.binding = Some(binding);
                exchange.owner = Owner::Peer(peer.clone());
                if let Some(refusal) = refused_options(&message) {
                    return self.respond(exchange, refusal.into()).await;
                }
                self.dispatch(exchange, message, Some(peer), fresh).await;
            }
            Inbound::Answer(answer) => self.transmit(&exchange, answer).await,
            Inbound::Discard => (),
        }
    }

    /// Gives a verified request to the service, when all of its blocks are there.
    async fn dispatch(
        &mut self,
        mut exchange: InFlight,
        message: Message,
        peer: Option<ace_coap::security::PeerId>,
        fresh: bool,
    ) {
        let now = self.now();
        let (message, block1) = match self.transfers.request(now, &exchange.owner, message) {
            Step::Whole(message, block1) => (message, block1),
            Step::Answer(answer) => return self.protect_and_transmit(exchange, answer, false).await,
        };
        exchange.block1 = block1;
        exchange.request = without_payload(&message);
        if let Some(core) = self.well_known_core(&message) {
            return self.respond(exchange, core.into()).await;
        }
        if self.in_flight.len() >= self.limits.requests {
            let mut busy = Message::response(Code::SERVICE_UNAVAILABLE);
            busy.options.push_uint(option::MAX_AGE, 2);
            return self.respond(exchange, busy.into()).await;
        }
        if exchange.kind == Type::Confirmable {
            let at = now.saturating_add(self.limits.separate_after);
            self.to_acknowledge.push_back((at, self.next_exchange));
        }
        let endpoint = exchange.from;
        self.call(exchange, Received { peer, endpoint, fresh, message });
    }

    fn call(&mut self, exchange: InFlight, request: Received) {
        let number = self.next_exchange;
        self.next_exchange = number.wrapping_add(1);
        self.in_flight.insert(number, exchange);
        self.service.call(request, Responder { exchange: number, events: self.sender.clone() });
    }

    fn well_known_core(&self, message: &Message) -> Option<Message> {
        let path = message.options.uri_path()?;
        if path != [".well-known", "core"] {
            return None;
        }
        if message.code != Code::GET {
            return Some(Message::response(Code::METHOD_NOT_ALLOWED));
        }
        let queries = message.options.uri_query().unwrap_or_default();
        let links = link_format(&self.links, &queries);
        Some(Message::response(Code::CONTENT).with_payload(LINK_FORMAT, links.into_bytes()))
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::Answer(number, answer) => {
                let Some(exchange) = self.in_flight.remove(&number) else { return };
                if exchange.notifies.is_some() {
                    self.notify(exchange, answer).await;
                } else {
                    self.respond(exchange, answer).await;
                }
            }
            Event::Changed(path) => self.changed(&path),
        }
    }

    /// Sends the answer to a request; with it an observation may begin or end.
    async fn respond(&mut self, exchange: InFlight, answer: Answer) {
        let Answer { mut message, unprotected, observable } = answer;
        let id = (exchange.from, exchange.token.clone());
        match exchange.request.options.uint(option::OBSERVE) {
            Some(0) if observable && message.code.is_success() => {
                let binding = exchange.binding.as_ref().map(|binding| self.security.observe(binding));
                let possible = !matches!(binding, Some(None));
                let observation = Observation {
                    owner: exchange.owner.clone(),
                    request: exchange.request.clone(),
                    binding: binding.flatten(),
                    number: 0,
                };
                if possible && self.observations.add(id, observation) {
                    message.options.set(option::OBSERVE, &[]);
                }
            }
            Some(1) if self.observations.get_mut(&id).is_some_and(|other| other.owner == exchange.owner) => {
                self.observations.remove(&id);
            }
            _ => (),
        }
        let now = self.now();
        let message = self.transfers.response(now, &exchange.owner, &exchange.request, message, exchange.block1);
        self.protect_and_transmit(exchange, message, unprotected).await;
    }

    async fn protect_and_transmit(&mut self, mut exchange: InFlight, message: Message, unprotected: bool) {
        if is_unwanted(&exchange.request, message.code) {
            return;
        }
        let message = match exchange.binding.take().filter(|_| !unprotected) {
            None => message,
            Some(binding) => match self.security.protect(message, binding) {
                Ok(message) => message,
                Err(error) => {
                    self.stats.unprotectable = self.stats.unprotectable.saturating_add(1);
                    tracing::debug!(%error, "an answer is dropped");
                    return;
                }
            },
        };
        self.transmit(&exchange, message).await;
    }

    /// Sends a response: on the acknowledgement, or separately where that has gone out.
    async fn transmit(&mut self, exchange: &InFlight, mut message: Message) {
        message.token = exchange.token.clone();
        let separate = exchange.kind == Type::Confirmable && exchange.acknowledged;
        (message.kind, message.id) = match exchange.kind {
            Type::Confirmable if !separate => (Type::Acknowledgement, exchange.id),
            Type::Confirmable => (Type::Confirmable, self.fresh_id()),
            _ => (Type::NonConfirmable, self.fresh_id()),
        };
        let bytes: Arc<[u8]> = message.encode().into();
        if separate {
            let now = self.now();
            self.retransmissions.add(now, &self.limits, exchange.from, message.id, Arc::clone(&bytes), None);
        } else {
            self.exchanges.answered(exchange.from, exchange.id, Arc::clone(&bytes));
        }
        self.send(exchange.from, &bytes).await;
    }

    const fn fresh_id(&mut self) -> u16 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    /// Asks the registrations of a resource again; their answers go out as notifications.
    fn changed(&mut self, path: &[String]) {
        for id in self.observations.of(path) {
            let Some(observation) = self.observations.get_mut(&id) else { continue };
            let mut message = observation.request.clone();
            message.options.remove(option::OBSERVE);
            let peer = match &observation.owner {
                Owner::Peer(peer) => Some(peer.clone()),
                Owner::Address(_) => None,
            };
            let exchange = InFlight {
                from: id.0,
                kind: Type::NonConfirmable,
                id: 0,
                token: id.1.clone(),
                owner: observation.owner.clone(),
                binding: None,
                request: observation.request.clone(),
                block1: None,
                acknowledged: false,
                notifies: Some(id.clone()),
            };
            self.call(exchange, Received { peer, endpoint: id.0, fresh: false, message });
        }
    }

    /// Sends a notification. An error ends the observation, and is sent without Observe.
    async fn notify(&mut self, exchange: InFlight, answer: Answer) {
        let Some(id) = exchange.notifies.clone() else { return };
        let now = self.now();
        let mut message = self.transfers.response(now, &exchange.owner, &exchange.request, answer.message, None);
        let Some(observation) = self.observations.get_mut(&id) else { return };
        if message.code.is_success() {
            observation.number = observation.number.wrapping_add(1) & 0xff_ffff;
            message.options.remove(option::OBSERVE);
            message.options.push_uint(option::OBSERVE, observation.number);
        }
        let ends = !message.code.is_success();
        let protected = match &observation.binding {
            None => Ok(message),
            Some(binding) => self.security.notify(message, binding),
        };
        if ends || protected == Err(ProtectError::NoAssociation) {
            self.observations.remove(&id);
        }
        let mut message = match protected {
            Ok(message) => message,
            Err(error) => {
                self.stats.unprotectable = self.stats.unprotectable.saturating_add(1);
                return tracing::debug!(%error, "a notification is dropped");
            }
        };
        message.token = exchange.token;
        (message.kind, message.id) = (Type::Confirmable, self.fresh_id());
        let bytes: Arc<[u8]> = message.encode().into();
        self.retransmissions.add(now, &self.limits, id.0, message.id, Arc::clone(&bytes), Some(id.clone()));
        self.send(id.0, &bytes).await;
    }

    async fn timeout(&mut self) {
        let now = self.now();
        while let Some(&(at, number)) = self.to_acknowledge.front().filter(|(at, _)| *at <= now) {
            self.to_acknowledge.pop_front();
            if let Some(exchange) = self.in_flight.get_mut(&number) {
                tracing::trace!(?at, "a request is acknowledged before its answer");
                exchange.acknowledged = true;
                let (to, id) = (exchange.from, exchange.id);
                let bytes: Arc<[u8]> = Message::empty(Type::Acknowledgement, id).encode().into();
                // It may get lost: whoever asks again gets it again.
                self.exchanges.answered(to, id, Arc::clone(&bytes));
                self.send(to, &bytes).await;
            }
        }
        while let Some(due) = self.retransmissions.due(now) {
            match due {
                Due::Send(to, bytes) => self.send(to, &bytes).await,
                Due::GiveUp(Some(id)) => self.observations.remove(&id),
                Due::GiveUp(None) => (),
            }
        }
    }
}

/// The answer to a message with a critical option that is not known, or one that asks for a proxy.
fn refused_options(message: &Message) -> Option<Message> {
    if message.options.has(option::PROXY_URI) || message.options.has(option::PROXY_SCHEME) {
        return Some(Message::response(Code::PROXYING_NOT_SUPPORTED));
    }
    let unknown = message.options.iter().any(|(number, _)| is_critical(number) && !is_known(number));
    unknown.then(|| Message::response(Code::BAD_OPTION))
}

/// Whether the client said that it does not want this class of answers (RFC 7967).
fn is_unwanted(request: &Message, code: Code) -> bool {
    let unwanted = request.options.uint(option::NO_RESPONSE).unwrap_or(0);
    let bit = match code.class() {
        2 => 2,
        4 => 8,
        5 => 16,
        _ => 0,
    };
    unwanted & bit != 0
}

/// What has to be kept of a request: for FETCH the payload is a part of what is asked.
fn without_payload(message: &Message) -> Message {
    let mut kept = Message::request(message.code);
    kept.options = message.options.clone();
    if message.code == Code::FETCH {
        kept.payload = message.payload.clone();
    }
    kept
}

async fn sleep_until(begun: Instant, due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due.saturating_sub(begun.elapsed())).await,
        None => std::future::pending().await,
    }
}
