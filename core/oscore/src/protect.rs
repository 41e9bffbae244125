//! Protecting and verifying requests and responses (RFC 8613 section 8).

use crate::{Context, Error, OscoreOption, PartialIv, ReplayWindow, cbor};
use ace_coap::numbers::option;
use ace_coap::{Code, Message, Options, decode_body, encode_body};
use alloc::vec::Vec;
use subtle::ConstantTimeEq;

/// What a request and its responses have in common: the AAD (RFC 8613 section 5.4) and the nonce.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) aad: Vec<u8>,
    pub(crate) nonce: Vec<u8>,
}

/// The right to protect one response to one verified request; it is used up by that:
///
/// ```compile_fail,E0382
/// use ace_coap::Message;
/// use ace_oscore::{Context, ResponseRight};
///
/// fn twice(context: &mut Context, answer: &Message, right: ResponseRight) {
///     let _ = context.protect_response(answer, right);
///     let _ = context.protect_response(answer, right);
/// }
/// ```
pub struct ResponseRight {
    pub(crate) exchange: Exchange,
    /// Whether this process alone has owned the context since before the request.
    pub(crate) own: bool,
}

/// Asks a client to prove that its request is no replay; answer it with [`Context::challenge`].
pub struct Challenge(Exchange);

/// What became of a request that verified.
pub enum Incoming {
    /// The request is new.
    Accepted {
        /// The request as the client made it.
        message: Message,
        /// The right to answer it.
        right: ResponseRight,
        /// Whether it answered our Echo, as the first or not long after it.
        echoed: bool,
    },
    /// The replay window was lost, so that nobody knows whether the request is new; or the request answers an Echo
    /// value that is not this process's.
    Unsynchronised(Challenge),
}

/// What a client keeps of a request until its response has come; for an observation, until it ends.
pub struct PendingRequest {
    exchange: Exchange,
    observe: bool,
    nonce_used: bool,
    notification: Option<u64>,
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}
opaque!(ResponseRight, Challenge, Incoming, PendingRequest);

/// Options that stay outside: class U alone (RFC 8613 section 4.1, figure 5).
const fn is_outer_only(number: u16) -> bool {
    matches!(number, option::URI_HOST | option::URI_PORT | option::OSCORE | option::PROXY_URI | option::PROXY_SCHEME)
}

impl Context {
    /// The AAD of an exchange; both sides use the request's kid and Partial IV.
    fn aad(&self, kid: &[u8], partial_iv: PartialIv) -> Vec<u8> {
        let mut external = Vec::with_capacity(32);
        cbor::array(5, &mut external);
        cbor::int(1, &mut external);
        cbor::array(1, &mut external);
        cbor::int(self.aead.cose(), &mut external);
        cbor::bytes(kid, &mut external);
        cbor::bytes(&partial_iv.bytes(), &mut external);
        cbor::bytes(&[], &mut external);
        let mut aad = Vec::with_capacity(48);
        cbor::array(3, &mut aad);
        cbor::text("Encrypt0", &mut aad);
        cbor::bytes(&[], &mut aad);
        cbor::bytes(&external, &mut aad);
        aad
    }

    fn exchange(&self, id: &[u8], partial_iv: PartialIv) -> Exchange {
        Exchange { aad: self.aad(id, partial_iv), nonce: self.nonce(id, partial_iv) }
    }

    /// Moves code, inner options and payload into the ciphertext; `outer` is what replaces the code.
    pub(crate) fn seal(
        &self,
        original: &Message,
        outer: Code,
        value: &OscoreOption,
        aad: &[u8],
        nonce: &[u8],
    ) -> Result<Message, Error> {
        if original.options.has(option::OSCORE) || original.options.has(option::PROXY_URI) {
            return Err(Error::Unprotectable);
        }
        let mut inner = original.options.clone();
        inner.retain(|n| !is_outer_only(n));
        let mut text = Vec::with_capacity(original.payload.len().saturating_add(64));
        text.push(original.code.0);
        encode_body(&inner, &original.payload, &mut text);
        self.aead.seal(&self.sender_key, nonce, aad, &mut text).ok_or(Error::Unprotectable)?;

        let mut message = Message::new(original.kind, outer, original.id, original.token.clone());
        message.options = original.options.clone();
        message.options.retain(|n| is_outer_only(n) || n == option::OBSERVE);
        message.options.push(option::OSCORE, &value.encode()?);
        message.payload = text;
        Ok(message)
    }

    /// Brings the original message back. Whatever stood outside and belongs inside is dropped.
    fn open(&self, outer: &Message, exchange: &Exchange, nonce: &[u8]) -> Result<Message, Error> {
        let text =
            self.aead.open(&self.recipient_key, nonce, &exchange.aad, &outer.payload).ok_or(Error::Decryption)?;
        let (&code, body) = text.split_first().ok_or(Error::Content)?;
        let (inner, payload) = decode_body(body).map_err(|_| Error::Content)?;
        if inner.has(option::OSCORE) {
            return Err(Error::Content);
        }
        let mut message = Message::new(outer.kind, Code(code), outer.id, outer.token.clone());
        message.options = outer
            .options
            .iter()
            .filter(|&(n, _)| is_outer_only(n) && n != option::OSCORE)
            .chain(inner.iter())
            .collect::<Options>();
        message.payload = payload;
        Ok(message)
    }

    /// Protects a request (RFC 8613 section 8.1). Type, message ID and token are left as they are.
    ///
    /// # Errors
    /// [`Error::NeedSequence`], [`Error::Exhausted`], [`Error::Unprotectable`].
    pub fn protect_request(&mut self, request: &Message) -> Result<(Message, PendingRequest), Error> {
        let partial_iv = self.sequence.take()?;
        let value = OscoreOption {
            partial_iv: Some(partial_iv),
            kid_context: self.id_context.clone(),
            kid: Some(self.sender_id.clone()),
        };
        let exchange = self.exchange(&self.sender_id, partial_iv);
        let observe = request.options.has(option::OBSERVE);
        let outer = if observe { Code::FETCH } else { Code::POST };
        let message = self.seal(request, outer, &value, &exchange.aad, &exchange.nonce)?;
        Ok((message, PendingRequest { exchange, observe, nonce_used: false, notification: None }))
    }

    /// Verifies a request (RFC 8613 section 8.2). Look the context up by [`RequestId::of`] first.
    ///
    /// The replay window moves only when all has verified. A request with an Echo value that was not sent here is
    /// challenged, whatever the window says: another process may have acted on it (RFC 9175 section 2.3).
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Replay`], [`Error::Decryption`], [`Error::Content`];
    /// [`Error::response`] is what to answer. [`Error::NoContext`] also where the sequence numbers have come to their
    /// end: such a context is not used any more.
    pub fn unprotect_request(&mut self, request: &Message) -> Result<Incoming, Error> {
        let (partial_iv, exchange, message) = self.verify_request(request)?;
        let echo = message.options.first(option::ECHO);
        let echoed = echo.is_some_and(|echo| same(self.replay.sent.as_deref(), echo));
        // An Echo value of another process says that the client takes that one for the owner.
        let repeats = echo.is_some_and(|echo| same(self.replay.answered.as_deref(), echo));
        let (ours, fresh) = (echoed || repeats, echoed || (repeats && self.replay.answered_of_late));
        let foreign = !ours && (echo.is_some() || self.replay.taken_over);
        match &mut self.replay.window {
            // What came before this request may be known to the former owner alone.
            Some(window) if echoed && self.replay.taken_over => {
                *window = ReplayWindow::after(partial_iv.number());
                self.replay.taken_over = false;
            }
            Some(window) if !foreign => window.mark(partial_iv.number()),
            window @ None if echoed => *window = Some(ReplayWindow::after(partial_iv.number())),
            _ => return Ok(Incoming::Unsynchronised(Challenge(exchange))),
        }
        if echoed {
            self.replay.answered = self.replay.sent.take();
            self.replay.answered_of_late = true;
        }
        Ok(Incoming::Accepted { message, right: ResponseRight { exchange, own: true }, echoed: fresh })
    }

    /// Verifies a request, and changes nothing: what has to be there before it is accepted can be had.
    ///
    /// # Errors
    /// As [`Self::unprotect_request`].
    pub fn would_verify(&self, request: &Message) -> Result<(), Error> {
        self.verify_request(request).map(drop)
    }

    fn verify_request(&self, request: &Message) -> Result<(PartialIv, Exchange, Message), Error> {
        let RequestId { kid, partial_iv, .. } = RequestId::of(request)?;
        if kid != self.recipient_id || self.sequence.is_exhausted() {
            return Err(Error::NoContext);
        }
        if self.replay.window.as_ref().is_some_and(|window| !window.is_new(partial_iv.number())) {
            return Err(Error::Replay);
        }
        let exchange = self.exchange(&kid, partial_iv);
        let message = self.open(request, &exchange, &exchange.nonce)?;
        if !message.code.is_request() {
            return Err(Error::Content);
        }
        Ok((partial_iv, exchange, message))
    }

    /// Whether a request answers the Echo value that was sent while the window was lost. It changes nothing: what
    /// has to be done before such a request is accepted can be done.
    ///
    /// # Errors
    /// As [`Self::unprotect_request`].
    pub fn would_synchronise(&self, request: &Message) -> Result<bool, Error> {
        let RequestId { kid, partial_iv, .. } = RequestId::of(request)?;
        if self.replay.window.is_some() || self.replay.sent.is_none() || kid != self.recipient_id {
            return Ok(false);
        }
        let exchange = self.exchange(&kid, partial_iv);
        let message = self.open(request, &exchange, &exchange.nonce)?;
        Ok(message.options.first(option::ECHO).is_some_and(|echo| same(self.replay.sent.as_deref(), echo)))
    }

    /// Answers a request that may be a replay with 4.01 and an Echo (RFC 8613 appendix B.1.2, RFC 9175).
    ///
    /// `echo` is a random value. The first one stays until a client has answered it, so that a flood of
    /// replays cannot keep the client's own answer from fitting.
    ///
    /// # Errors
    /// [`Error::NeedSequence`] and [`Error::Exhausted`]: this response has a Partial IV of its own.
    pub fn challenge(&mut self, request: &Message, challenge: Challenge, echo: [u8; 8]) -> Result<Message, Error> {
        let partial_iv = self.sequence.take()?;
        let mut response = Message::new(request.kind, Code::UNAUTHORIZED, request.id, request.token.clone());
        response.options.push(option::ECHO, self.replay.sent.get_or_insert_with(|| echo.to_vec()));
        let nonce = self.nonce(&self.sender_id, partial_iv);
        let value = OscoreOption { partial_iv: Some(partial_iv), ..OscoreOption::default() };
        self.seal(&response, Code::CHANGED, &value, &challenge.0.aad, &nonce)
    }

    /// Protects the response to a request (RFC 8613 section 8.3), with the request's nonce.
    ///
    /// # Errors
    /// [`Error::Unprotectable`]; [`Error::NeedSequence`] and [`Error::Exhausted`] where the response has to
    /// have a Partial IV of its own.
    pub fn protect_response(&mut self, response: &Message, right: ResponseRight) -> Result<Message, Error> {
        if !right.own {
            return self.protect_notification(response, &right.notification_right());
        }
        if self.sequence.is_exhausted() {
            return Err(Error::Exhausted);
        }
        with_empty_observe(response, |response| {
            let outer = outer_response_code(response);
            self.seal(response, outer, &OscoreOption::default(), &right.exchange.aad, &right.exchange.nonce)
        })
    }

    /// Answers a request that was accepted with 4.01 and an Echo, so that the next one shows where its client is (RFC 9175
    /// section 2.3). `echo` is a random value; the one that is out stays.
    ///
    /// # Errors
    /// As [`Self::protect_response`].
    pub fn ask_for_echo(&mut self, right: ResponseRight, echo: [u8; 8]) -> Result<Message, Error> {
        let mut response = Message::response(Code::UNAUTHORIZED);
        response.options.push(option::ECHO, self.replay.sent.get_or_insert_with(|| echo.to_vec()));
        self.protect_response(&response, right)
    }

    /// Protects a response under a Partial IV of its own.
    pub(crate) fn protect_response_numbered(
        &mut self,
        response: &Message,
        exchange: &Exchange,
    ) -> Result<Message, Error> {
        let partial_iv = self.sequence.take()?;
        let nonce = self.nonce(&self.sender_id, partial_iv);
        let value = OscoreOption { partial_iv: Some(partial_iv), ..OscoreOption::default() };
        self.seal(response, outer_response_code(response), &value, &exchange.aad, &nonce)
    }

    /// Verifies a response (RFC 8613 sections 8.4 and 8.4.2). In a notification, Observe becomes the
    /// lower three bytes of the Partial IV, by which notifications are put in order.
    ///
    /// # Errors
    /// [`Error::NotProtected`], [`Error::Malformed`], [`Error::Decryption`], [`Error::Content`],
    /// [`Error::Replay`]. None of them ends the exchange: the true response may yet come.
    pub fn unprotect_response(&self, response: &Message, pending: &mut PendingRequest) -> Result<Message, Error> {
        let value = option_of(response)?;
        let nonce = match value.partial_iv {
            Some(iv) => self.nonce(&self.recipient_id, iv),
            None => pending.exchange.nonce.clone(),
        };
        let mut message = self.open(response, &pending.exchange, &nonce)?;
        if !message.code.is_response() {
            return Err(Error::Content);
        }
        // A response has none of these: somebody on the way has put them there.
        message.options.retain(|number| !is_outer_only(number));
        if message.options.has(option::OBSERVE) {
            if !pending.observe {
                return Err(Error::Content);
            }
            let newer = match (value.partial_iv, pending.notification) {
                (Some(iv), Some(last)) => iv.number() > last,
                (Some(_), None) => true,
                (None, last) => !pending.nonce_used && last.is_none(),
            };
            if !newer {
                return Err(Error::Replay);
            }
            pending.notification = value.partial_iv.map(PartialIv::number).or(pending.notification);
            let [.., a, b, c] = value.partial_iv.map_or([0; 5], PartialIv::padded);
            message.options.remove(option::OBSERVE);
            message.options.push_uint(option::OBSERVE, u32::from_be_bytes([0, a, b, c]));
        }
        pending.nonce_used |= value.partial_iv.is_none();
        Ok(message)
    }
}

/// Protects a response whose inner Observe is empty, and which shows its number outside (RFC 8613 section 4.1.3.5.2).
pub(crate) fn with_empty_observe(
    response: &Message,
    protect: impl FnOnce(&Message) -> Result<Message, Error>,
) -> Result<Message, Error> {
    let Some(value) = response.options.first(option::OBSERVE) else { return protect(response) };
    let mut inner = response.clone();
    inner.options.set(option::OBSERVE, &[]);
    let mut protected = protect(&inner)?;
    protected.options.set(option::OBSERVE, value);
    Ok(protected)
}

/// Whether an Echo value is the one that was sent.
fn same(sent: Option<&[u8]>, echo: &[u8]) -> bool {
    sent.is_some_and(|sent| sent.ct_eq(echo).into())
}

/// Responses look like 2.04 from outside, notifications like 2.05 (RFC 8613 section 4.2).
fn outer_response_code(response: &Message) -> Code {
    if response.options.has(option::OBSERVE) { Code::CONTENT } else { Code::CHANGED }
}

fn option_of(message: &Message) -> Result<OscoreOption, Error> {
    let mut values = message.options.all(option::OSCORE);
    let value = values.next().ok_or(Error::NotProtected)?;
    if values.next().is_some() || message.payload.is_empty() {
        return Err(Error::Malformed);
    }
    OscoreOption::decode(value)
}

/// What a server finds the context of a request by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// The client's Sender ID.
    pub kid: Vec<u8>,
    /// Its ID Context, where it sent one.
    pub kid_context: Option<Vec<u8>>,
    /// The Partial IV of the request.
    pub partial_iv: PartialIv,
}

impl RequestId {
    /// Reads it off a protected request.
    ///
    /// # Errors
    /// [`Error::NotProtected`] without an OSCORE option; [`Error::Malformed`] when the option cannot be
    /// read, lacks kid or Partial IV, or comes without a payload.
    pub fn of(request: &Message) -> Result<Self, Error> {
        let value = option_of(request)?;
        match (value.kid, value.partial_iv) {
            (Some(kid), Some(partial_iv)) => Ok(Self { kid, kid_context: value.kid_context, partial_iv }),
            _ => Err(Error::Malformed),
        }
    }
}
