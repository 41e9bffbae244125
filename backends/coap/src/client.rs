//! A CoAP client: one request after another, protected by an OSCORE context where it has one.
//!
//! It retransmits, takes separate responses, sends and gets bodies in blocks, and answers one Echo a request.

use crate::Limits;
use ace_coap::numbers::option;
use ace_coap::{Block, Code, Message, Token, Type};
use ace_oscore::{Context, PendingRequest};
use std::io;
use std::net::SocketAddr;
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
    /// The other side does not take the message.
    #[error("the message was reset")]
    Reset,
    /// The request was protected and an unprotected answer came; nothing it says can be believed.
    #[error("an unprotected answer {0} to a protected request")]
    Unprotected(Code, Box<Message>),
    /// The request could not be protected.
    #[error(transparent)]
    Oscore(#[from] ace_oscore::Error),
    /// The blocks of an answer do not fit together.
    #[error("the blocks of the answer do not fit together")]
    Blocks,
}

/// A CoAP client of one server.
pub struct Client {
    socket: UdpSocket,
    limits: Limits,
    context: Option<Context>,
    next_id: u16,
    next_token: u64,
}

impl Client {
    /// A client of the server at this address. `seed` is random, so that IDs and tokens cannot be guessed.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system.
    pub async fn connect(server: SocketAddr, limits: Limits, seed: u64) -> io::Result<Self> {
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        let [a, b, ..] = seed.to_be_bytes();
        Ok(Self { socket, limits, context: None, next_id: u16::from_be_bytes([a, b]), next_token: seed })
    }

    /// Protects all that follows with this context.
    pub fn protect_with(&mut self, context: Context) {
        self.context = Some(context);
    }

    /// The context, e.g. to give it sequence numbers.
    pub const fn context(&mut self) -> Option<&mut Context> {
        self.context.as_mut()
    }

    /// Asks and waits for the whole answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn request(&mut self, request: Message) -> Result<Message, ClientError> {
        let answer = self.send_body(&request).await?;
        let answer = match answer.options.first(option::ECHO) {
            Some(echo) if answer.code == Code::UNAUTHORIZED => {
                let mut again = request.clone();
                again.options.set(option::ECHO, echo);
                self.send_body(&again).await?
            }
            _ => answer,
        };
        self.collect(&request, answer).await
    }

    /// Registers an observation; further answers come by [`Self::notification`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn observe(&mut self, mut request: Message) -> Result<(Message, Observation), ClientError> {
        request.options.set(option::OBSERVE, &[]);
        let (token, mut pending) = self.send(&request).await?;
        let answer = self.receive(&token, &mut pending).await?;
        Ok((answer, Observation { token, pending }))
    }

    /// The next notification of an observation.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Timeout`] where none came in time.
    pub async fn notification(&mut self, observation: &mut Observation) -> Result<Message, ClientError> {
        self.receive(&observation.token, &mut observation.pending).await
    }

    /// Sends a request, in blocks where it is too long for one.
    async fn send_body(&mut self, request: &Message) -> Result<Message, ClientError> {
        let szx = self.limits.szx.min(Block::MAX_SZX);
        let size = Block { num: 0, more: false, szx }.size();
        if request.payload.len() <= size {
            return self.exchange(request).await;
        }
        let mut chunks = request.payload.chunks(size).peekable();
        let mut num = 0;
        loop {
            let Some(chunk) = chunks.next() else { return Err(ClientError::Blocks) };
            let more = chunks.peek().is_some();
            let mut message = request.clone();
            message.payload = chunk.to_vec();
            message.options.push_uint(option::BLOCK1, Block { num, more, szx }.to_uint());
            if num == 0 {
                let size1 = u32::try_from(request.payload.len()).unwrap_or(u32::MAX);
                message.options.push_uint(option::SIZE1, size1);
            }
            let answer = self.exchange(&message).await?;
            if !more || answer.code != Code::CONTINUE {
                return Ok(answer);
            }
            num = num.saturating_add(1);
        }
    }

    /// Gets the blocks of an answer that did not come whole.
    async fn collect(&mut self, request: &Message, mut answer: Message) -> Result<Message, ClientError> {
        let mut next = match answer.options.uint(option::BLOCK2).map(Block::from_uint) {
            Some(Some(block)) if block.more => block,
            _ => return Ok(answer),
        };
        let etag = answer.options.first(option::ETAG).map(<[u8]>::to_vec);
        loop {
            next = Block { num: next.num.saturating_add(1), more: false, szx: next.szx };
            let mut message = request.clone();
            if request.code != Code::FETCH {
                message.payload.clear();
            }
            message.options.push_uint(option::BLOCK2, next.to_uint());
            let part = self.exchange(&message).await?;
            let block = part.options.uint(option::BLOCK2).and_then(Block::from_uint);
            let fits = part.code == answer.code
                && part.options.first(option::ETAG) == etag.as_deref()
                && block.is_some_and(|block| block.num == next.num && block.offset() == answer.payload.len());
            if !fits || answer.payload.len() > self.limits.body {
                return Err(ClientError::Blocks);
            }
            answer.payload.extend_from_slice(&part.payload);
            if !block.is_some_and(|block| block.more) {
                answer.options.remove(option::BLOCK2);
                return Ok(answer);
            }
        }
    }

    async fn exchange(&mut self, request: &Message) -> Result<Message, ClientError> {
        let (token, mut pending) = self.send(request).await?;
        self.receive(&token, &mut pending).await
    }

    /// Protects and sends a confirmable request, and waits until it is acknowledged.
    async fn send(&mut self, request: &Message) -> Result<(Token, Exchange), ClientError> {
        let mut message = request.clone();
        self.next_id = self.next_id.wrapping_add(1);
        self.next_token = self.next_token.wrapping_add(1);
        message.kind = Type::Confirmable;
        message.id = self.next_id;
        message.token = Token::new(&self.next_token.to_be_bytes());
        let token = message.token.clone();
        let (message, oscore) = match &mut self.context {
            None => (message, None),
            Some(context) => {
                let (message, pending) = context.protect_request(&message)?;
                (message, Some(pending))
            }
        };
        let mut pending = Exchange { oscore, answer: None };
        let bytes = message.encode();
        let mut wait = self.limits.ack_timeout;
        for _ in 0..=self.limits.max_retransmit {
            self.socket.send(&bytes).await?;
            if self.acknowledged(message.id, &token, &mut pending, wait).await? {
                return Ok((token, pending));
            }
            wait = wait.saturating_mul(2);
        }
        Err(ClientError::Timeout)
    }

    /// Waits for the acknowledgement of a message, or for its answer.
    async fn acknowledged(
        &mut self,
        id: u16,
        token: &Token,
        pending: &mut Exchange,
        wait: Duration,
    ) -> Result<bool, ClientError> {
        let until = Instant::now().checked_add(wait).unwrap_or_else(Instant::now);
        while let Some(message) = self.datagram(until).await? {
            if message.kind == Type::Reset && message.id == id {
                return Err(ClientError::Reset);
            }
            if message.code.is_response() && message.token == *token {
                match self.open(message, pending) {
                    Some(answer) => pending.answer = Some(answer),
                    None => continue,
                }
                return Ok(true);
            }
            if message.kind == Type::Acknowledgement && message.id == id {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits for an answer under a token.
    async fn receive(&mut self, token: &Token, pending: &mut Exchange) -> Result<Message, ClientError> {
        if let Some(answer) = pending.answer.take() {
            return answer;
        }
        let until = Instant::now().checked_add(self.limits.response_timeout).unwrap_or_else(Instant::now);
        while let Some(message) = self.datagram(until).await? {
            if message.code.is_response()
                && message.token == *token
                && let Some(answer) = self.open(message, pending)
            {
                return answer;
            }
        }
        Err(ClientError::Timeout)
    }

    /// Verifies an answer; `None` where it is not the true one, which may yet come.
    fn open(&self, message: Message, pending: &mut Exchange) -> Option<Result<Message, ClientError>> {
        let (Some(context), Some(oscore)) = (&self.context, &mut pending.oscore) else { return Some(Ok(message)) };
        match context.unprotect_response(&message, oscore) {
            Ok(answer) => Some(Ok(answer)),
            Err(ace_oscore::Error::NotProtected) => {
                Some(Err(ClientError::Unprotected(message.code, Box::new(message))))
            }
            Err(_) => None,
        }
    }

    /// The next message, with its acknowledgement sent; `None` when time is up.
    async fn datagram(&self, until: Instant) -> Result<Option<Message>, ClientError> {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = match timeout_at(until, self.socket.recv(&mut buffer)).await {
                Err(_) => return Ok(None),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Ok(received) => received?,
            };
            let Ok(message) = Message::decode(buffer.get(..length).unwrap_or_default()) else { continue };
            if message.kind == Type::Confirmable {
                let kind = if message.code.is_response() { Type::Acknowledgement } else { Type::Reset };
                self.socket.send(&Message::empty(kind, message.id).encode()).await?;
            }
            return Ok(Some(message));
        }
    }
}

/// A request under way.
struct Exchange {
    oscore: Option<PendingRequest>,
    answer: Option<Result<Message, ClientError>>,
}

/// An observation of a resource.
pub struct Observation {
    token: Token,
    pending: Exchange,
}
