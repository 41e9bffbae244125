//! A CoAP client: one request after another, protected as its [`ClientSecurity`] does it.
//!
//! It retransmits, takes separate responses, sends and gets bodies in blocks, answers one Echo a request, and
//! observes. It answers what its server asks of it ([`Client::serve`]).

mod observation;
mod serving;

use crate::Limits;
use crate::server::concerns_one_peer;
use ace_coap::numbers::option;
use ace_coap::security::{ClientSecurity, ProtectError, ResponseError, SentRequest, Unprotected};
use ace_coap::{Block, Code, Message, Token, Type};
pub use observation::Observation;
use serving::Serving;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Why a request came to nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nobody answered.
    #[error("no answer")]
    Timeout,
    /// Nobody listens there, as the network says.
    #[error("nobody listens at {0}")]
    Refused(SocketAddr),
    /// The other side does not take the message, or somebody says so: a reset is never protected.
    #[error("the message was reset")]
    Reset,
    /// The request was protected, and what came was an unprotected answer; nothing it says can be believed.
    #[error("an unprotected answer {0} to a protected request")]
    Unprotected(Code, Box<Message>),
    /// The request could not be protected.
    #[error(transparent)]
    Protect(#[from] ProtectError),
    /// The blocks of an answer do not fit together.
    #[error("the blocks of the answer do not fit together")]
    Blocks,
    /// The answer has a critical option that is not known here, so that nobody can tell what it means.
    #[error("the answer has the critical option {0}, which is not known")]
    Option(u16),
}

/// How often the network has to say that nobody listens.
const REFUSALS: u32 = 3;

/// Critical options that an answer may have.
const fn is_known(number: u16) -> bool {
    matches!(number, option::BLOCK1 | option::BLOCK2 | option::OSCORE)
}

/// A CoAP client of one server. Its requests are protected by `S`.
pub struct Client<S = Unprotected> {
    socket: UdpSocket,
    limits: Limits,
    security: S,
    serving: Option<Serving>,
    next_id: u16,
    next_token: u64,
    server: SocketAddr,
    /// How often the network has said that nobody listens, since the last request.
    refused: u32,
    /// Observations that somebody holds, with the last notification that came while something else was waited for.
    observed: HashMap<Token, (Weak<()>, Option<Message>)>,
}

impl Client<Unprotected> {
    /// A client of the server at this address. `seed` is random, so that IDs and tokens cannot be guessed.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system.
    pub async fn connect(server: SocketAddr, limits: Limits, seed: u64) -> io::Result<Self> {
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        Self::connect_from(any, server, limits, seed).await
    }

    /// The same from an address of its own, at which the server finds it.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system.
    pub async fn connect_from(local: SocketAddr, server: SocketAddr, limits: Limits, seed: u64) -> io::Result<Self> {
        let socket = UdpSocket::bind(local).await?;
        socket.connect(server).await?;
        let [a, b, ..] = seed.to_be_bytes();
        let next_id = u16::from_be_bytes([a, b]);
        Ok(Self {
            socket,
            limits,
            security: Unprotected,
            serving: None,
            next_id,
            next_token: seed,
            server,
            refused: 0,
            observed: HashMap::new(),
        })
    }

    /// Protects all that follows with this, e.g. an OSCORE context.
    #[must_use]
    pub fn protect_with<S: ClientSecurity>(self, security: S) -> Client<S> {
        Client {
            socket: self.socket,
            limits: self.limits,
            security,
            serving: self.serving,
            next_id: self.next_id,
            next_token: self.next_token,
            server: self.server,
            refused: self.refused,
            observed: self.observed,
        }
    }
}

impl<S> Client<S> {
    /// Returns the address of the server.
    pub const fn server(&self) -> SocketAddr {
        self.server
    }
}

impl<S: ClientSecurity> Client<S> {
    /// Where it sends from, and is asked at.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The security, e.g. to give it sequence numbers.
    pub const fn security_mut(&mut self) -> &mut S {
        &mut self.security
    }

    /// Asks and waits for the whole answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn request(&mut self, request: Message) -> Result<Message, ClientError> {
        let (answer, exchange) = self.ask(&request).await?;
        self.collect(&request, exchange.tag.as_deref(), answer).await
    }

    /// Registers an observation. With the answer comes an observation, if the server made one; further answers
    /// come by [`Self::notification`] as long as it is held.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn observe(&mut self, request: Message) -> Result<(Message, Option<Observation>), ClientError> {
        let mut registration = request.clone();
        registration.options.set(option::OBSERVE, &[]);
        let (answer, exchange) = self.ask(&registration).await?;
        let observation = (answer.code.is_success() && answer.options.has(option::OBSERVE)).then(|| {
            let held = Arc::new(());
            self.observed.insert(exchange.token.clone(), (Arc::downgrade(&held), None));
            let last = answer.options.uint(option::OBSERVE).map(|number| (number, Instant::now()));
            Observation { exchange, request: request.clone(), last, _held: held }
        });
        let tag = observation.as_ref().and_then(|observation| observation.exchange.tag.clone());
        Ok((self.collect(&request, tag.as_deref(), answer).await?, observation))
    }

    /// The next notification of an observation, whole. One that is no success is the last.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Timeout`] where none came in time.
    pub async fn notification(&mut self, observation: &mut Observation) -> Result<Message, ClientError> {
        let until = after(self.limits.response_timeout);
        let token = observation.exchange.token.clone();
        loop {
            let kept = self.observed.get_mut(&token).and_then(|(_, kept)| kept.take());
            let message = match kept {
                Some(message) => Some(message),
                None => self.datagram(&token, until).await?,
            };
            let Some(message) = message else { return Err(ClientError::Timeout) };
            if message.code.is_response()
                && message.token == token
                && let Ok(answer) = self.open(message, &mut observation.exchange)
                && observation.is_newer(&answer)
            {
                let tag = observation.exchange.tag.clone();
                return self.collect(&observation.request, tag.as_deref(), answer).await;
            }
        }
    }

    /// Whether a notification of this observation has come while something else was waited for: [`Self::notification`] begins with it.
    #[must_use]
    pub fn has_notification(&self, observation: &Observation) -> bool {
        self.observed.get(&observation.exchange.token).is_some_and(|(_, kept)| kept.is_some())
    }

    /// Ends an observation; the answer is the resource as it is now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cancel(&mut self, observation: Observation) -> Result<Message, ClientError> {
        let mut request = observation.request.clone();
        request.options.set(option::OBSERVE, &[1]);
        let token = observation.exchange.token;
        self.observed.remove(&token);
        let (mut answer, _) = self.exchange(&request, Some(token.clone())).await?;
        if let Some(echo) = wanted_echo(&answer) {
            request.options.set(option::ECHO, echo);
            (answer, _) = self.exchange(&request, Some(token)).await?;
        }
        self.collect(&observation.request, None, answer).await
    }

    /// Asks, and once more with the Echo that the server wants.
    async fn ask(&mut self, request: &Message) -> Result<(Message, Exchange), ClientError> {
        let (answer, exchange) = self.send_body(request).await?;
        match wanted_echo(&answer) {
            Some(echo) => {
                let mut again = request.clone();
                again.options.set(option::ECHO, echo);
                self.send_body(&again).await
            }
            None => Ok((answer, exchange)),
        }
    }

    /// Sends a request, in blocks where it is too long for one. Each body has a Request-Tag of its own, so that a
    /// block of one that was given up never ends in the next (RFC 9175 section 3.3).
    async fn send_body(&mut self, request: &Message) -> Result<(Message, Exchange), ClientError> {
        let mut szx = self.limits.szx.min(Block::MAX_SZX);
        if request.payload.len() <= (Block { num: 0, more: false, szx }).size() {
            return self.exchange(request, None).await;
        }
        let tag = self.next_token.to_be_bytes();
        let mut num = 0_u32;
        loop {
            let block = Block { num, more: false, szx };
            let rest = request.payload.get(block.offset()..).unwrap_or_default();
            let chunk = rest.get(..block.size()).unwrap_or(rest);
            let more = rest.len() > chunk.len();
            let mut message = request.clone();
            message.payload = chunk.to_vec();
            message.options.push_uint(option::BLOCK1, Block { more, ..block }.to_uint());
            message.options.set(option::REQUEST_TAG, &tag);
            if num == 0 {
                let size1 = u32::try_from(request.payload.len()).unwrap_or(u32::MAX);
                message.options.push_uint(option::SIZE1, size1);
            }
            let (answer, mut exchange) = self.exchange(&message, None).await?;
            if !more || answer.code != Code::CONTINUE {
                exchange.tag = Some(tag.to_vec());
                return Ok((answer, exchange));
            }
            num = num.saturating_add(1);
            // The server may want smaller blocks: what was sent counts as several of them.
            let wanted = answer.options.uint(option::BLOCK1).and_then(Block::from_uint).map_or(szx, |block| block.szx);
            while szx > wanted {
                szx = szx.saturating_sub(1);
                num = num.saturating_mul(2);
            }
        }
    }

    /// Gets the blocks of an answer that did not come whole. A request that went in blocks is named by its tag now,
    /// and its body stays behind (RFC 9175 section 3.4).
    async fn collect(
        &mut self,
        request: &Message,
        tag: Option<&[u8]>,
        mut answer: Message,
    ) -> Result<Message, ClientError> {
        let mut next = match answer.options.uint(option::BLOCK2).map(Block::from_uint) {
            Some(Some(block)) if block.more => block,
            _ => return Ok(answer),
        };
        let etag = answer.options.first(option::ETAG).map(<[u8]>::to_vec);
        loop {
            next = Block { num: next.num.saturating_add(1), more: false, szx: next.szx };
            let mut message = request.clone();
            if request.code != Code::FETCH || tag.is_some() {
                message.payload.clear();
            }
            if let Some(tag) = tag {
                message.options.set(option::REQUEST_TAG, tag);
            }
            message.options.push_uint(option::BLOCK2, next.to_uint());
            let (part, _) = self.exchange(&message, None).await?;
            // The server may give smaller blocks; they go on at the same place (RFC 7959 section 2.4).
            let block = part.options.uint(option::BLOCK2).and_then(Block::from_uint);
            let fits = |block: &Block| block.szx <= next.szx && block.offset() == answer.payload.len();
            let same = part.code == answer.code && part.options.first(option::ETAG) == etag.as_deref();
            let Some(block) = block.filter(|block| same && fits(block)) else { return Err(ClientError::Blocks) };
            if answer.payload.len().saturating_add(part.payload.len()) > self.limits.body {
                return Err(ClientError::Blocks);
            }
            next = block;
            answer.payload.extend_from_slice(&part.payload);
            if !block.more {
                answer.options.remove(option::BLOCK2);
                return Ok(answer);
            }
        }
    }

    /// Protects and sends a confirmable request, and waits for the answer.
    async fn exchange(&mut self, request: &Message, token: Option<Token>) -> Result<(Message, Exchange), ClientError> {
        let mut message = request.clone();
        self.next_id = self.next_id.wrapping_add(1);
        self.next_token = self.next_token.wrapping_add(1);
        message.kind = Type::Confirmable;
        message.id = self.next_id;
        message.token = token.unwrap_or_else(|| Token::new(&self.next_token.to_be_bytes()));
        let (id, token) = (message.id, message.token.clone());
        let (message, sent) = self.security.protect_request(&message)?;
        let is_protected = self.security.is_protected();
        let mut exchange = Exchange { id, token, sent, is_protected, acknowledged: false, doubt: None, tag: None };
        let answer = self.transmit(&message.encode(), &mut exchange).await?;
        Ok((answer, exchange))
    }

    /// Sends a message as often as it takes, and waits for its answer.
    async fn transmit(&mut self, bytes: &[u8], exchange: &mut Exchange) -> Result<Message, ClientError> {
        let mut wait = self.first_wait();
        self.refused = 0;
        for _ in 0..=self.limits.max_retransmit {
            self.send(bytes).await?;
            let mut until = after(wait);
            while let Some(message) = self.datagram(&exchange.token, until).await? {
                let (acknowledged, doubted) = (exchange.acknowledged, exchange.doubt.is_some());
                if let Some(answer) = self.take(message, exchange)? {
                    return Ok(answer);
                }
                if exchange.acknowledged && !acknowledged && exchange.doubt.is_none() {
                    until = after(self.limits.response_timeout);
                }
                if exchange.doubt.is_some() && !doubted {
                    until = until.min(after(self.limits.unprotected_wait));
                }
            }
            if let Some(error) = exchange.doubt.take() {
                return Err(error);
            }
            if exchange.acknowledged {
                return Err(ClientError::Timeout);
            }
            wait = wait.saturating_mul(2);
        }
        Err(ClientError::Timeout)
    }

    /// ACK_TIMEOUT, and up to half of it more, so that clients do not keep step (RFC 7252 section 4.2).
    fn first_wait(&self) -> Duration {
        let spread = self.next_token.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let [high, ..] = spread;
        let more = self.limits.ack_timeout.saturating_mul(u32::from(high)).checked_div(510).unwrap_or_default();
        self.limits.ack_timeout.saturating_add(more)
    }

    /// What a message means for an exchange; the answer, where it is that. Whatever is not protected, although
    /// the request was, is kept as a doubt: the true answer may yet come.
    fn take(&mut self, message: Message, exchange: &mut Exchange) -> Result<Option<Message>, ClientError> {
        let is_ours = message.id == exchange.id;
        // An acknowledgement is for the message whose ID it has (RFC 7252 section 4.2).
        if message.kind == Type::Acknowledgement && !is_ours {
            return Ok(None);
        }
        if message.kind == Type::Reset && is_ours {
            return exchange.doubt(ClientError::Reset);
        }
        if message.code.is_response() && message.token == exchange.token {
            return match self.open(message, exchange) {
                Ok(mut answer) => match answer.options.check(is_known) {
                    Ok(()) => Ok(Some(answer)),
                    Err(number) => Err(ClientError::Option(number)),
                },
                Err(Some(error)) => exchange.doubt(error),
                Err(None) => Ok(None),
            };
        }
        exchange.acknowledged |= message.kind == Type::Acknowledgement;
        Ok(None)
    }

    /// Verifies an answer; `Err(None)` where it is not the true one.
    fn open(&mut self, message: Message, exchange: &mut Exchange) -> Result<Message, Option<ClientError>> {
        self.security.unprotect_response(&message, &mut exchange.sent).map_err(|error| match error {
            ResponseError::NotProtected => Some(ClientError::Unprotected(message.code, Box::new(message))),
            _ => None,
        })
    }

    /// Sends a datagram. What the network says of an earlier one is no more than a loss: anybody can send it.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        match self.socket.send(bytes).await {
            Err(error) => self.heard(error),
            _ => Ok(()),
        }
    }

    /// Takes in what the network says of a datagram. That nobody listens is said at once, and believed when it is said
    /// again and again: anybody can send it.
    fn heard(&mut self, error: io::Error) -> Result<(), ClientError> {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            self.refused = self.refused.saturating_add(1);
            if self.refused == 1 {
                tracing::warn!(server = %self.server, "nobody listens there; trying again");
            }
            return if self.refused < REFUSALS { Ok(()) } else { Err(ClientError::Refused(self.server)) };
        }
        if concerns_one_peer(&error) { Ok(()) } else { Err(error.into()) }
    }

    /// The next message, with its acknowledgement sent; `None` when time is up. A confirmable message that nobody
    /// waits for is reset, so that the server ends an observation that was forgotten (RFC 7641 section 3.6).
    async fn datagram(&mut self, waiting: &Token, until: Instant) -> Result<Option<Message>, ClientError> {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = match timeout_at(until, self.socket.recv(&mut buffer)).await {
                Err(_) => return Ok(None),
                Ok(Err(error)) => {
                    self.heard(error)?;
                    continue;
                }
                Ok(Ok(length)) => length,
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            let Ok(message) = Message::decode(datagram) else { continue };
            if message.code.is_request() {
                self.answer(message, datagram).await?;
                continue;
            }
            self.observed.retain(|_, (held, _)| held.strong_count() > 0);
            let is_waited_for = *waiting == message.token;
            let is_known = message.code.is_response() && (is_waited_for || self.observed.contains_key(&message.token));
            if message.kind == Type::Confirmable {
                let kind = if is_known { Type::Acknowledgement } else { Type::Reset };
                self.send(&Message::empty(kind, message.id).encode()).await?;
            }
            match self.observed.get_mut(&message.token) {
                // The newest is all that matters of an observation.
                Some((_, kept)) if is_known && !is_waited_for => *kept = Some(message),
                _ => return Ok(Some(message)),
            }
        }
    }
}

fn after(wait: Duration) -> Instant {
    Instant::now().checked_add(wait).unwrap_or_else(Instant::now)
}

/// A request under way.
struct Exchange {
    id: u16,
    token: Token,
    sent: SentRequest,
    is_protected: bool,
    acknowledged: bool,
    /// What somebody said who proved nothing.
    doubt: Option<ClientError>,
    /// The Request-Tag, where the request went in blocks.
    tag: Option<Vec<u8>>,
}

impl Exchange {
    /// Keeps an error for later, or gives it at once where nothing better can come.
    fn doubt(&mut self, error: ClientError) -> Result<Option<Message>, ClientError> {
        if !self.is_protected {
            return Err(error);
        }
        self.doubt.get_or_insert(error);
        Ok(None)
    }
}

/// The Echo that a server wants before it answers (RFC 9175 section 2.3).
fn wanted_echo(answer: &Message) -> Option<&[u8]> {
    answer.options.first(option::ECHO).filter(|_| answer.code == Code::UNAUTHORIZED)
}
