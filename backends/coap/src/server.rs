//! A CoAP server on one UDP socket: receives, verifies, hands on; answers, protects, sends.
//!
//! Everything runs in one task. A tick takes all datagrams that wait and all answers that are ready, so that
//! under load the cost of waking up is shared.

mod incoming;
mod outgoing;
mod reach;
mod resume;

use crate::Limits;
use crate::block::Transfers;
use crate::discovery::Links;
use crate::exchange::{Exchanges, MessageKey};
use crate::held::Held;
use crate::ids::MessageIds;
use crate::observe::{Notifies, ObservationId, Observations};
use crate::owner::{Owner, Shares};
use crate::retransmit::{Due, Retransmissions};
use crate::service::{LoopInput, Notifier, Service};
use crate::socket::{Buffers, Pair, Socket};
use ace_coap::security::{MessageSecurity, ReplyBinding};
use ace_coap::{Block, Message, Token, Type};
use foldhash::fast::RandomState;
use reach::Reach;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Datagrams and answers that one tick takes at most.
const TICK: usize = 64;
/// Notifications that are being asked for at once.
const NOTIFYING: usize = 64;
/// After which time a notification is tried again that could not be protected.
const AGAIN: Duration = Duration::from_secs(1);
/// After which time a resource is asked again of which nothing could be said.
const LATER: Duration = Duration::from_secs(10);

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

    /// The figures now.
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
    from: Pair,
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
    /// A block of an answer that was given before, which goes out where the peer may have it still.
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

/// A CoAP server.
pub struct Server {
    socket: Socket,
    local: SocketAddr,
    security: Arc<dyn MessageSecurity>,
    service: Arc<dyn Service>,
    links: Links,
    limits: Limits,
    begun: Instant,
    events: UnboundedReceiver<LoopInput>,
    sender: UnboundedSender<LoopInput>,
    exchanges: Exchanges,
    transfers: Transfers,
    observations: Observations,
    retransmissions: Retransmissions,
    reach: Reach,
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

impl Server {
    /// Binds a socket. `seed` is random and secret: message IDs and Echo values are made with it.
    ///
    /// # Errors
    /// [`io::Error`] where the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        security: Arc<dyn MessageSecurity>,
        service: Arc<dyn Service>,
        limits: Limits,
        seed: [u8; 32],
    ) -> io::Result<Self> {
        let socket = Socket::bind(address)?;
        let local = socket.local_addr()?;
        let (sender, events) = unbounded_channel();
        let reach = Reach::new(seed);
        Ok(Self {
            socket,
            local,
            security,
            service,
            links: Links::default(),
            limits,
            begun: Instant::now(),
            events,
            sender,
            exchanges: Exchanges::new(&limits),
            transfers: Transfers::new(&limits),
            observations: Observations::new(&limits),
            retransmissions: Retransmissions::default(),
            reach,
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
        })
    }

    /// Serves these links at `/.well-known/core`.
    #[must_use]
    pub fn with_links(mut self, links: Links) -> Self {
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

    /// Figures since the start, to be read while it runs.
    #[must_use]
    pub fn stats(&self) -> StatsHandle {
        self.stats.clone()
    }

    /// Serves until `stop` is ready. Answers that are ready by then still go out.
    ///
    /// # Errors
    /// [`io::Error`] where the socket fails for good.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let mut buffers = Buffers::new();
        let mut received = VecDeque::new();
        let mut events = Vec::with_capacity(TICK);
        tokio::pin!(stop);
        self.ask_more();
        loop {
            self.report_ended();
            let due = self.next_due();
            if due.is_some_and(|at| at <= self.now()) {
                // Before what comes in: a flood must not hold up acknowledgements and retransmissions.
                self.timeout().await;
                continue;
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
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
                    self.receive(&mut buffers, &mut received).await?;
                }
                () = sleep_until(self.begun, due) => self.timeout().await,
            }
        }
        while let Ok(event) = self.events.try_recv() {
            self.event(event).await;
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn next_due(&self) -> Option<Duration> {
        let acknowledge = self.to_acknowledge.front().map(|&(at, _)| at);
        let retry = self.retries.keys().next().map(|&(at, _)| at);
        let check = self.observations.next_check();
        [acknowledge, retry, check, self.retransmissions.next()].into_iter().flatten().min()
    }

    async fn receive(&mut self, buffers: &mut Buffers, received: &mut VecDeque<(Pair, Vec<u8>)>) -> io::Result<()> {
        let mut taken = 0_usize;
        while taken < TICK {
            match self.socket.receive(buffers, |from, datagram| received.push_back((from, datagram.to_vec()))) {
                Ok(count) => {
                    taken = taken.saturating_add(count.max(1));
                    for (from, datagram) in received.drain(..) {
                        self.datagram(from, &datagram).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if concerns_one_peer(&error) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn send(&self, to: Pair, bytes: &[u8]) {
        if let Err(error) = self.socket.send(to, bytes).await {
            tracing::debug!(%error, "an answer could not be sent");
        }
    }

    async fn timeout(&mut self) {
        let now = self.now();
        while let Some(&(at, number)) = self.to_acknowledge.front().filter(|(at, _)| *at <= now) {
            self.to_acknowledge.pop_front();
            if let Some(exchange) = self.in_flight.get_mut(&number) {
                tracing::trace!(?at, "a request is acknowledged before its answer");
                exchange.acknowledged = true;
                let (to, id, message) = (exchange.from, exchange.id, exchange.message);
                self.reply_empty(to, Type::Acknowledgement, id, message).await;
            }
        }
        while let Some(entry) = self.retries.first_entry().filter(|entry| entry.key().0 <= now) {
            self.to_ask.push_back(entry.remove());
        }
        while let Some(notifies) = self.observations.check(now) {
            self.to_ask.push_back(notifies);
        }
        self.ask_more();
        while let Some(due) = self.retransmissions.due(now) {
            match due {
                Due::Send(to, bytes) => self.send(to, &bytes).await,
                Due::GiveUp(Some(notifies)) => self.observations.end(&notifies),
                Due::GiveUp(None) => (),
            }
        }
    }

    /// Answers a message with an empty one. It may get lost: whoever sends again gets it again.
    async fn reply_empty(&mut self, to: Pair, kind: Type, id: u16, message: Option<MessageKey>) {
        let bytes: Arc<[u8]> = Message::empty(kind, id).encode().into();
        if let Some(message) = message {
            self.exchanges.answered(&message, Arc::clone(&bytes));
        }
        self.send(to, &bytes).await;
    }
}

/// An earlier answer met a closed port or an unreachable network: that concerns nobody else.
pub(crate) fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted | NetworkDown | NetworkUnreachable
    )
}

async fn sleep_until(begun: Instant, due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due.saturating_sub(begun.elapsed())).await,
        None => std::future::pending().await,
    }
}
