//! A group whose members observe it, each from a socket of its own: one leaves, and all others get the next version.

use crate::load::{LoadClient, join_all, prepare};
use crate::{cpu, server};
use ace_coap::numbers::option;
use ace_coap::{Code, Message, Token, Type};
use ace_groupcomm_messages::RekeyingMessage;
use ace_groupcomm_messages::paths::{NODES, ROOT};
use ace_oscore::PendingRequest;
use hdrhistogram::Histogram;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How many members register at once.
const REGISTERING: usize = 64;
/// For how long an answer is waited for before the request is sent again, and how often it is.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 5;
/// Within which time all have to be told.
const DEADLINE: Duration = Duration::from_secs(120);

/// What came of one leave.
pub struct Round {
    /// Members that got the next version, and have confirmed it.
    pub told: u64,
    /// Members that did not.
    pub missed: u64,
    /// From the leave until the last has confirmed.
    pub time: Duration,
    /// From the leave until a member has confirmed, in microseconds.
    pub latencies: Histogram<u64>,
    /// Messages with a version that reached members' sockets, with those that were dropped there.
    pub messages: u64,
    /// CPU time of the KDC, in seconds.
    pub cpu: f64,
}

/// A member that observes the group.
struct Observer {
    client: LoadClient,
    socket: UdpSocket,
    pending: PendingRequest,
    /// What decides which messages are lost.
    rng: ChaCha8Rng,
    num: i64,
}

/// What a member has seen of a round.
struct Seen {
    observer: Observer,
    confirmed: Option<Instant>,
    messages: u64,
}

async fn ask(socket: &UdpSocket, message: &Message) -> Result<Message, Error> {
    let mut buffer = [0; 2_048];
    for _ in 0..TRIES {
        socket.send(&message.encode()).await?;
        while let Ok(length) = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await {
            let answer = Message::decode(buffer.get(..length?).unwrap_or_default())?;
            // What was sent twice may be answered twice.
            if answer.token == message.token {
                return Ok(answer);
            }
        }
    }
    Err("the KDC does not answer".into())
}

impl Observer {
    /// Registers, with the Echo that the KDC asks for.
    async fn register(server: SocketAddr, number: u64, mut client: LoadClient) -> Result<Self, Error> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(server).await?;
        let mut request = Message::request(Code::GET).with_path([ROOT, server::GROUP]);
        request.options.set(option::OBSERVE, &[]);
        for id in 1..=3_u16 {
            (request.kind, request.id, request.token) = (Type::NonConfirmable, id, Token::new(&id.to_be_bytes()));
            let (protected, mut pending) = client.context.protect_request(&request)?;
            let answer = client.context.unprotect_response(&ask(&socket, &protected).await?, &mut pending)?;
            if let Some(echo) = answer.options.first(option::ECHO) {
                request.options.set(option::ECHO, echo);
            } else if answer.options.has(option::OBSERVE) {
                let num = RekeyingMessage::decode(&answer.payload)?.material.num;
                return Ok(Self { client, socket, pending, rng: ChaCha8Rng::seed_from_u64(number), num });
            } else {
                break;
            }
        }
        Err("the KDC takes no registration".into())
    }

    /// Waits for the next version, of which so many messages in a thousand are lost. Confirms it.
    async fn told(mut self, lost: u32) -> Result<Seen, Error> {
        let (mut messages, mut buffer) = (0, [0; 2_048]);
        let until = tokio::time::Instant::now() + DEADLINE;
        let confirmed = loop {
            let Ok(length) = tokio::time::timeout_at(until, self.socket.recv(&mut buffer)).await else { break None };
            messages += 1;
            if self.rng.next_u32() % 1_000 < lost {
                continue;
            }
            let message = Message::decode(buffer.get(..length?).unwrap_or_default())?;
            self.socket.send(&Message::empty(Type::Acknowledgement, message.id).encode()).await?;
            // One that comes twice is acknowledged twice.
            let Ok(answer) = self.client.context.unprotect_response(&message, &mut self.pending) else { continue };
            let num = RekeyingMessage::decode(&answer.payload)?.material.num;
            if num > self.num {
                self.num = num;
                break Some(Instant::now());
            }
        };
        Ok(Seen { observer: self, confirmed, messages })
    }
}

/// Leaves the group.
async fn leave(server: SocketAddr, client: &mut LoadClient) -> Result<(), Error> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    let mut request = Message::request(Code::DELETE).with_path([ROOT, server::GROUP, NODES, &client.node]);
    (request.kind, request.id, request.token) = (Type::NonConfirmable, 1, Token::new(b"l"));
    let (protected, mut pending) = client.context.protect_request(&request)?;
    let answer = client.context.unprotect_response(&ask(&socket, &protected).await?, &mut pending)?;
    if answer.code == Code::DELETED { Ok(()) } else { Err(format!("a leave was answered {}", answer.code).into()) }
}

async fn observe(server: SocketAddr, clients: Vec<LoadClient>) -> Result<Vec<Observer>, Error> {
    let (mut observers, mut under_way) = (Vec::new(), JoinSet::new());
    for (number, client) in (0_u64..).zip(clients) {
        if under_way.len() >= REGISTERING
            && let Some(registered) = under_way.join_next().await
        {
            observers.push(registered??);
        }
        under_way.spawn(Observer::register(server, number, client));
    }
    while let Some(registered) = under_way.join_next().await {
        observers.push(registered??);
    }
    Ok(observers)
}

/// One leaves; so many messages to the others in a thousand are lost.
async fn round(
    server: SocketAddr,
    observers: &mut Vec<Observer>,
    leaver: &mut LoadClient,
    lost: u32,
) -> Result<Round, Error> {
    let mut waiting = JoinSet::new();
    for observer in observers.drain(..) {
        waiting.spawn(observer.told(lost));
    }
    // All of them wait before the leave.
    tokio::task::yield_now().await;
    let cpu_before = cpu::process() - cpu::thread();
    let begun = Instant::now();
    leave(server, leaver).await?;
    let latencies = Histogram::new_with_bounds(1, 600_000_000, 3)?;
    let mut round = Round { told: 0, missed: 0, time: Duration::ZERO, latencies, messages: 0, cpu: 0.0 };
    while let Some(seen) = waiting.join_next().await {
        let Seen { observer, confirmed, messages } = seen??;
        round.messages += messages;
        match confirmed {
            None => round.missed += 1,
            Some(at) => {
                let time = at.duration_since(begun);
                round.told += 1;
                round.time = round.time.max(time);
                round.latencies.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
            }
        }
        observers.push(observer);
    }
    round.cpu = cpu::process() - cpu::thread() - cpu_before;
    Ok(round)
}

/// Two leaves of a group with so many members that observe it: one where nothing is lost, and one where 5 % are.
///
/// # Errors
/// Where the KDC does not do its part, or a socket cannot be had: each member has one.
pub fn run(server: SocketAddr, members: u32) -> Result<[Round; 2], Error> {
    let mut clients = prepare(server, 0, members.saturating_add(2))?;
    join_all(server, &mut clients)?;
    let (Some(mut first), Some(mut second)) = (clients.pop(), clients.pop()) else { return Err("no members".into()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut observers = observe(server, clients).await?;
        let without_loss = round(server, &mut observers, &mut first, 0).await?;
        let with_loss = round(server, &mut observers, &mut second, 50).await?;
        Ok([without_loss, with_loss])
    })
}
