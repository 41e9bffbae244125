//! The seam between CoAP's layers where messages are protected, as OSCORE does it (RFC 8613 section 1).
//!
//! A server hands each message to [`MessageSecurity::unprotect`] and gets it back as it was, verified, or as
//! an answer that ends the exchange. What comes with a verified request is a [`ReplyBinding`]: the right to
//! protect one response. It cannot be cloned and is consumed, so that no nonce is used twice by mistake.
//!
//! A client has one association and protects with it by itself: [`ClientSecurity`]. Both sides may ask and answer
//! under one association: [`MessageSecurity::protect_request`] and [`ClientSecurity::unprotect_request`].

use crate::Message;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use thiserror::Error;

/// Names a security association. A peer is known by this, never by its address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(Arc<[u8]>);

impl PeerId {
    /// The peer with this name; what the bytes mean is up to the security protocol.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for PeerId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Names a session of a protocol below CoAP, e.g. of DTLS: what comes in it is its peer's. No two sessions of an endpoint have one
/// name, also one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// The right to protect one response to one verified request.
pub struct ReplyBinding(Box<dyn Any + Send + Sync>);

impl ReplyBinding {
    /// Wraps what a security protocol needs for the response.
    #[must_use]
    pub fn new(inner: impl Any + Send + Sync) -> Self {
        Self(Box::new(inner))
    }

    /// Looks inside without using it up.
    #[must_use]
    pub fn inner<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }

    /// Unwraps it; the binding is used up, whether the type fits or not.
    #[must_use]
    pub fn into_inner<T: Any>(self) -> Option<T> {
        self.0.downcast().ok().map(|inner| *inner)
    }
}

impl core::fmt::Debug for ReplyBinding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ReplyBinding")
    }
}

/// What ties notifications to the registration that asked for them; each gets a nonce of its own.
pub struct ObservationBinding(Box<dyn Any + Send + Sync>);

impl ObservationBinding {
    /// Wraps what a security protocol needs for notifications.
    #[must_use]
    pub fn new(inner: impl Any + Send + Sync) -> Self {
        Self(Box::new(inner))
    }

    /// Returns what is inside; `None` where it is of another type.
    #[must_use]
    pub fn inner<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl core::fmt::Debug for ObservationBinding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ObservationBinding")
    }
}

/// What verifies the responses to one request that was sent: it stays with whoever waits for them.
pub struct SentRequest(Box<dyn Any + Send + Sync>);

impl SentRequest {
    /// Wraps what a security protocol needs for the responses.
    #[must_use]
    pub fn new(inner: impl Any + Send + Sync) -> Self {
        Self(Box::new(inner))
    }

    /// Returns what is inside; `None` where it is of another type.
    #[must_use]
    pub fn inner_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.0.downcast_mut()
    }
}

impl core::fmt::Debug for SentRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SentRequest")
    }
}

/// What became of a request that came in.
#[derive(Debug)]
pub enum Inbound {
    /// The message was not protected; nobody is known to have sent it.
    Plain(Message),
    /// The message was protected and is what this peer sent.
    Verified {
        /// The peer that sent it.
        peer: PeerId,
        /// The message as it was before protection.
        message: Message,
        /// The right to answer.
        binding: ReplyBinding,
        /// Whether the request also proved by Echo that it is fresh and its sender reachable (RFC 9175).
        fresh: bool,
    },
    /// What is needed of this association has to come first, by its name in the notices: the message is here again, for
    /// [`MessageSecurity::unprotect_again`].
    Later(PeerId, Message),
    /// The message goes no further: this is the answer, protected already where it has to be.
    Answer(Message),
    /// The message goes no further and gets no answer.
    Discard,
}

/// Why a message could not be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtectError {
    /// The association is gone; the message is dropped, never sent unprotected.
    #[error("the security association is gone")]
    NoAssociation,
    /// No sequence number is left of those reserved; more have been asked for.
    #[error("no sequence number is left")]
    NeedSequence,
    /// Another process serves the association: it alone sends requests under it, so that their numbers go up.
    #[error("the security association is another process's")]
    NotOwned,
    /// The binding belongs to another protocol.
    #[error("the binding is not of this security protocol")]
    ForeignBinding,
    /// The message cannot be protected, e.g. because it is protected already.
    #[error("the message cannot be protected")]
    Message,
}

/// Why a response is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// It is not protected: anybody can have sent it.
    #[error("the response is not protected")]
    NotProtected,
    /// It does not verify, or came before.
    #[error("the response does not verify")]
    NotVerified,
}

/// Protects messages between CoAP's layers, on the side of a server.
///
/// The peer's name in an option, which proves nothing; it shows how a request and its answer go through:
///
/// ```
/// use ace_coap::security::{
///     Inbound, MessageSecurity, ObservationBinding, PeerId, ProtectError, ReplyBinding,
/// };
/// use ace_coap::{Code, Message};
///
/// const NAME: u16 = 65_000;
///
/// struct Named;
///
/// impl MessageSecurity for Named {
///     fn unprotect(&self, mut message: Message) -> Inbound {
///         let Some(name) = message.options.first(NAME).map(<[u8]>::to_vec) else { return Inbound::Plain(message) };
///         message.options.remove(NAME);
///         Inbound::Verified { peer: PeerId::new(&name), message, binding: ReplyBinding::new(name), fresh: false }
///     }
///
///     fn protect(&self, mut response: Message, binding: ReplyBinding) -> Result<Message, ProtectError> {
///         let name = binding.into_inner::<Vec<u8>>().ok_or(ProtectError::ForeignBinding)?;
///         response.options.set(NAME, &name);
///         Ok(response)
///     }
///
///     fn observe(&self, _binding: &ReplyBinding) -> Option<ObservationBinding> {
///         None
///     }
///
///     fn notify(&self, _response: Message, _binding: &ObservationBinding) -> Result<Message, ProtectError> {
///         Err(ProtectError::ForeignBinding)
///     }
/// }
///
/// let mut request = Message::request(Code::GET);
/// request.options.set(NAME, b"lamp");
/// let Inbound::Verified { peer, binding, .. } = Named.unprotect(request) else { unreachable!("it has the option") };
/// assert_eq!(peer, PeerId::new(b"lamp"));
/// let answer = Named.protect(Message::response(Code::CONTENT), binding)?;
/// assert_eq!(answer.options.first(NAME), Some(&b"lamp"[..]));
/// # Ok::<(), ProtectError>(())
/// ```
///
///
/// Implementations never wait: what is not in memory is refused, or asked for in the background.
pub trait MessageSecurity: Send + Sync {
    /// Verifies a request, or passes on what was not protected.
    fn unprotect(&self, outer: Message) -> Inbound;

    /// Says whose a request is that came in a session; [`Inbound::Plain`] where the session is none of this protocol's.
    fn unprotect_session(&self, _session: SessionId, message: Message) -> Inbound {
        Inbound::Plain(message)
    }

    /// Whether a critical option marks messages of this protocol: a request with one that nobody knows is refused before
    /// [`Self::unprotect`] sees it (RFC 7252 section 5.4.1). The OSCORE option is known without that.
    fn knows_option(&self, _number: u16) -> bool {
        false
    }

    /// Verifies a request that had to wait, when what was needed is there, or cannot be had.
    fn unprotect_again(&self, outer: Message) -> Inbound {
        self.unprotect(outer)
    }

    /// Protects the one response to a request.
    ///
    /// # Errors
    /// [`ProtectError`]; the response is lost then, and the client asks again.
    fn protect(&self, response: Message, binding: ReplyBinding) -> Result<Message, ProtectError>;

    /// Makes what notifications need, before the binding is used up by the first response.
    fn observe(&self, binding: &ReplyBinding) -> Option<ObservationBinding>;

    /// Protects a further response to a registration.
    ///
    /// # Errors
    /// [`ProtectError`]; [`ProtectError::NeedSequence`] is worth another try.
    fn notify(&self, response: Message, binding: &ObservationBinding) -> Result<Message, ProtectError>;

    /// Whether notifications can be protected now. Where they cannot, what is needed for it is asked for.
    fn can_notify(&self, _binding: &ObservationBinding) -> bool {
        true
    }

    /// Whether the sender of a request can be asked for an Echo ([`Self::challenge`]) that proves where it is. Without one a
    /// peer's address counts as proven.
    fn can_challenge(&self, _binding: &ReplyBinding) -> bool {
        false
    }

    /// The answer to a verified request that has no other one yet: 4.01 with an Echo. The request that brings it back is
    /// [`Inbound::Verified`] with `fresh`.
    ///
    /// # Errors
    /// [`ProtectError`].
    fn challenge(&self, _binding: ReplyBinding) -> Result<Message, ProtectError> {
        Err(ProtectError::ForeignBinding)
    }

    /// Protects a request to the client of an association. [`ProtectError::NeedSequence`] says that what is needed was
    /// asked for.
    ///
    /// # Errors
    /// [`ProtectError`]; a protocol whose associations have no second direction says [`ProtectError::NoAssociation`].
    fn protect_request(&self, _peer: &PeerId, _request: &Message) -> Result<(Message, SentRequest), ProtectError> {
        Err(ProtectError::NoAssociation)
    }

    /// Verifies a response to a request that [`Self::protect_request`] has protected.
    ///
    /// # Errors
    /// [`ResponseError`]. It ends nothing: the true response may yet come.
    fn unprotect_response(&self, _response: &Message, _sent: &mut SentRequest) -> Result<Message, ResponseError> {
        Err(ResponseError::NotVerified)
    }

    /// A binding as bytes that outlive the process; `None` where notifications end with it.
    fn keep(&self, _binding: &ObservationBinding) -> Option<Vec<u8>> {
        None
    }

    /// A binding that another process kept; `None` where these are not its bytes.
    fn resume(&self, _kept: &[u8]) -> Option<ObservationBinding> {
        None
    }
}

/// Protects messages between CoAP's layers under one association, on the side of the client that has it. `ace_oscore::Context` is one.
///
/// ```
/// use ace_coap::security::{ClientSecurity, ProtectError, ResponseError, SentRequest};
/// use ace_coap::{Code, Message};
///
/// /// Counts requests, and protects nothing.
/// struct Counting(u64);
///
/// impl ClientSecurity for Counting {
///     fn protect_request(&mut self, request: &Message) -> Result<(Message, SentRequest), ProtectError> {
///         self.0 += 1;
///         Ok((request.clone(), SentRequest::new(self.0)))
///     }
///
///     fn unprotect_response(&mut self, response: &Message, sent: &mut SentRequest) -> Result<Message, ResponseError> {
///         // What belongs to another request, or another protocol, is not taken.
///         sent.inner_mut::<u64>().ok_or(ResponseError::NotVerified)?;
///         Ok(response.clone())
///     }
///
///     fn is_protected(&self) -> bool {
///         false
///     }
/// }
///
/// let mut security = Counting(0);
/// let (_, mut sent) = security.protect_request(&Message::request(Code::GET))?;
/// assert!(security.unprotect_response(&Message::response(Code::CONTENT), &mut sent).is_ok());
/// # Ok::<(), ProtectError>(())
/// ```
pub trait ClientSecurity: Send {
    /// Protects a request.
    ///
    /// # Errors
    /// [`ProtectError`].
    fn protect_request(&mut self, request: &Message) -> Result<(Message, SentRequest), ProtectError>;

    /// Verifies a response to a request of this client.
    ///
    /// # Errors
    /// [`ResponseError`]. It ends nothing: the true response may yet come.
    fn unprotect_response(&mut self, response: &Message, sent: &mut SentRequest) -> Result<Message, ResponseError>;

    /// Verifies a request of the server. `echo` is a random value to ask the server with whether the request is new; without one,
    /// a request that may be old is discarded. There is no way to wait: [`Inbound::Later`] counts as [`Inbound::Discard`].
    fn unprotect_request(&mut self, request: Message, _echo: Option<[u8; 8]>) -> Inbound {
        Inbound::Plain(request)
    }

    /// Protects the one response to a request of the server.
    ///
    /// # Errors
    /// [`ProtectError`]; the response is lost then, and the server asks again.
    fn protect_response(&mut self, _response: Message, _binding: ReplyBinding) -> Result<Message, ProtectError> {
        Err(ProtectError::ForeignBinding)
    }

    /// Whether what verifies is the server's, and in order. Otherwise an answer is believed as it comes.
    fn is_protected(&self) -> bool {
        true
    }

    /// Gives it the sequence numbers from `start` up to and without `limit`, where it has any.
    fn extend(&mut self, _start: u64, _limit: u64) {}

    /// Whether its sequence numbers come to an end: the next block should be reserved.
    fn runs_low(&self) -> bool {
        false
    }
}

impl ClientSecurity for Box<dyn ClientSecurity> {
    fn protect_request(&mut self, request: &Message) -> Result<(Message, SentRequest), ProtectError> {
        (**self).protect_request(request)
    }

    fn unprotect_response(&mut self, response: &Message, sent: &mut SentRequest) -> Result<Message, ResponseError> {
        (**self).unprotect_response(response, sent)
    }

    fn unprotect_request(&mut self, request: Message, echo: Option<[u8; 8]>) -> Inbound {
        (**self).unprotect_request(request, echo)
    }

    fn protect_response(&mut self, response: Message, binding: ReplyBinding) -> Result<Message, ProtectError> {
        (**self).protect_response(response, binding)
    }

    fn is_protected(&self) -> bool {
        (**self).is_protected()
    }

    fn extend(&mut self, start: u64, limit: u64) {
        (**self).extend(start, limit);
    }

    fn runs_low(&self) -> bool {
        (**self).runs_low()
    }
}

/// No protection: every message is passed on as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unprotected;

impl MessageSecurity for Unprotected {
    fn unprotect(&self, outer: Message) -> Inbound {
        Inbound::Plain(outer)
    }

    fn protect(&self, _: Message, _: ReplyBinding) -> Result<Message, ProtectError> {
        Err(ProtectError::ForeignBinding)
    }

    fn observe(&self, _: &ReplyBinding) -> Option<ObservationBinding> {
        None
    }

    fn notify(&self, _: Message, _: &ObservationBinding) -> Result<Message, ProtectError> {
        Err(ProtectError::ForeignBinding)
    }
}

impl ClientSecurity for Unprotected {
    fn protect_request(&mut self, request: &Message) -> Result<(Message, SentRequest), ProtectError> {
        Ok((request.clone(), SentRequest::new(())))
    }

    fn unprotect_response(&mut self, response: &Message, _: &mut SentRequest) -> Result<Message, ResponseError> {
        Ok(response.clone())
    }

    fn is_protected(&self) -> bool {
        false
    }
}
