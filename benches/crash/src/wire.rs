//! A socket of a client: it sends again, answers an Echo, and shows the oracle all that comes.

use crate::Error;
use crate::oracle::Oracle;
use ace_coap::numbers::option;
use ace_coap::{Code, Message, Token, Type};
use ace_oscore::{Context, PendingRequest, RequestId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

/// How often a datagram is sent, and how long its answer is waited for.
const SENT: usize = 4;
const WAIT: Duration = Duration::from_millis(120);
/// How often a request is made anew: with an Echo, or after a 5.03.
const MADE: usize = 12;

/// How late a server acts on a request at most: it was stopped, or waits for the database.
const LATE: Duration = Duration::from_secs(10);

/// What became of a protected request.
pub(super) enum Answer {
    /// It was answered, under protection.
    Of(Message),
    /// The KDC says that it does not know the association.
    NoAssociation,
    /// Nobody knows.
    Unknown,
}

/// What came.
enum Came {
    Protected(Message),
    Plain(Message),
    Nothing,
}

/// The socket of a client.
pub(super) struct Wire {
    number: u32,
    socket: UdpSocket,
    servers: Vec<SocketAddr>,
    /// The server that it talks to.
    current: usize,
    /// When it last sent one request to several servers: one of them may act on it late.
    split: Option<Instant>,
    oracle: Rc<Oracle>,
    sent: u32,
    /// The requests that were sent, by token: an answer may come late.
    requests: HashMap<Vec<u8>, RequestId>,
}

impl Wire {
    pub(super) async fn new(number: u32, servers: &[SocketAddr], oracle: Rc<Oracle>) -> Result<Self, Error> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let current = usize::try_from(number)?.checked_rem(servers.len()).ok_or("no server")?;
        Ok(Self {
            number,
            socket,
            servers: servers.to_vec(),
            current,
            split: None,
            oracle,
            sent: 0,
            requests: HashMap::new(),
        })
    }

    /// Talks to the next server from now on.
    pub(super) fn turn(&mut self) {
        self.current = (self.current + 1).checked_rem(self.servers.len()).unwrap_or(0);
    }

    /// Whether a request of the last seconds may be acted on yet: it went to several servers, and only one has answered.
    pub(super) fn is_split(&self) -> bool {
        self.split.is_some_and(|at| at.elapsed() < LATE)
    }

    /// Gives a message a token and an ID of its own.
    fn stamp(&mut self, message: &mut Message) {
        self.sent += 1;
        message.kind = Type::NonConfirmable;
        message.id = u16::try_from(self.sent & 0xffff).unwrap_or(0);
        message.token = Token::new(&[self.number.to_be_bytes(), self.sent.to_be_bytes()].concat());
    }

    /// Sends a datagram, several times, until an answer to it has come.
    async fn exchange(&mut self, token: &Token, datagram: &[u8]) -> Result<Came, Error> {
        for attempt in 0..SENT {
            // Who does not answer twice may be gone.
            if attempt > 1 && self.servers.len() > 1 {
                self.turn();
                self.split = Some(Instant::now());
            }
            let Some(server) = self.servers.get(self.current) else { break };
            if self.socket.send_to(datagram, server).await.is_err() {
                sleep(WAIT / 4).await;
                continue;
            }
            while let Ok(received) = timeout(WAIT, self.receive()).await {
                match received {
                    Some(message) if message.token == *token && message.options.has(option::OSCORE) => {
                        return Ok(Came::Protected(message));
                    }
                    Some(message) if message.token == *token => return Ok(Came::Plain(message)),
                    Some(_) => (),
                    // The port is closed for a moment.
                    None => sleep(WAIT / 8).await,
                }
            }
        }
        Ok(Came::Nothing)
    }

    /// The next message, which the oracle sees whatever it answers.
    async fn receive(&self) -> Option<Message> {
        let mut buffer = [0; 2_048];
        let length = self.socket.recv(&mut buffer).await.ok()?;
        let message = Message::decode(buffer.get(..length)?).ok()?;
        if let Some(request) = self.requests.get(message.token.as_bytes()) {
            self.oracle.encrypted(request, &message, false);
        }
        Some(message)
    }

    /// Asks without protection.
    pub(super) async fn ask_plain(&mut self, mut message: Message) -> Result<Option<Message>, Error> {
        self.stamp(&mut message);
        match self.exchange(&message.token.clone(), &message.encode()).await? {
            Came::Plain(answer) => Ok(Some(answer)),
            Came::Protected(_) | Came::Nothing => Ok(None),
        }
    }

    /// Asks under an association. Each attempt has a sequence number of its own.
    pub(super) async fn ask(&mut self, context: &mut Context, mut message: Message) -> Result<Answer, Error> {
        for _ in 0..MADE {
            self.stamp(&mut message);
            let (protected, pending) = context.protect_request(&message)?;
            let (token, datagram) = (message.token.clone(), protected.encode());
            let request = RequestId::of(&protected)?;
            self.requests.insert(token.as_bytes().to_vec(), request.clone());
            self.oracle.heard(request, &datagram);
            match self.exchange(&token, &datagram).await? {
                Came::Nothing => break,
                Came::Plain(answer) if answer.code == Code::SERVICE_UNAVAILABLE => sleep(WAIT / 4).await,
                Came::Plain(answer) if answer.payload == b"Replay detected" => break,
                Came::Plain(_) => return Ok(Answer::NoAssociation),
                Came::Protected(answer) => match self.open(context, &answer, pending, &mut message) {
                    Some(answer) => return Ok(Answer::Of(answer)),
                    None => sleep(Duration::from_millis(1)).await,
                },
            }
        }
        self.oracle.count(|counts| &mut counts.unknown);
        Ok(Answer::Unknown)
    }

    /// The answer; none where the request has to be made anew.
    fn open(
        &self,
        context: &Context,
        answer: &Message,
        mut pending: PendingRequest,
        message: &mut Message,
    ) -> Option<Message> {
        let answer = context.unprotect_response(answer, &mut pending).ok()?;
        message.options.remove(option::ECHO);
        match answer.options.first(option::ECHO) {
            Some(echo) if answer.code == Code::UNAUTHORIZED => {
                self.oracle.count(|counts| &mut counts.echoes);
                message.options.push(option::ECHO, echo);
                None
            }
            // Another process has the association: it asks for an Echo next.
            _ if answer.code == Code::SERVICE_UNAVAILABLE && answer.options.uint(option::MAX_AGE) == Some(1) => None,
            _ => Some(answer),
        }
    }
}
