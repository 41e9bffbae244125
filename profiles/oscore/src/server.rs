//! The contexts of a server, and the protection of its messages.

use crate::table::{ECHO, Slot, Table};
use crate::transport::restore;
use ace_coap::numbers::option;
use ace_coap::security::{
    Inbound, MessageSecurity, ObservationBinding, PeerId, ProtectError, ReplyBinding, ResponseError, SentRequest,
};
use ace_coap::{Code, Message};
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use ace_groupcomm_messages::labels::ace_profile::COAP_OSCORE;
use ace_oscore::{
    Context, Error, Incoming, NotificationRight, Parameters, PendingRequest, RequestId, ResponseRight, Sequence,
};
use rand_core::CryptoRng;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// How responses get their nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Responses {
    /// That of the request: no other process answers under the same contexts.
    #[default]
    ReuseNonce,
    /// One of their own: another process may have answered the same request.
    Numbered,
}

/// What comes of a message, now or later.
enum Opened {
    Now(Inbound),
    Later(PeerId),
}

/// What ties a response to its request.
struct Reply {
    kid: Vec<u8>,
    /// The ID Context of a run, where the client has several contexts.
    run: Option<Vec<u8>>,
    right: ResponseRight,
}

/// What ties notifications to their registration.
struct Observing {
    kid: Vec<u8>,
    registration: NotificationRight,
}

/// What verifies the responses to a request of the server.
struct Asked {
    kid: Vec<u8>,
    pending: PendingRequest,
}

/// The OSCORE contexts of a server. It follows the KDC's notices, and verifies and protects messages; it never
/// waits.
pub struct OscoreServer {
    table: Mutex<Table>,
    responses: Responses,
    looks_up: bool,
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    unknown: Option<Message>,
}

impl std::fmt::Debug for OscoreServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OscoreServer").finish_non_exhaustive()
    }
}

impl OscoreServer {
    /// No contexts yet. `rng` gives Echo values.
    #[must_use]
    pub fn new(rng: Box<dyn CryptoRng + Send>, responses: Responses) -> Self {
        Self {
            table: Mutex::new(Table::new(rng)),
            responses,
            looks_up: false,
            clock: Box::new(|| Duration::ZERO),
            unknown: None,
        }
    }

    /// Asks for an association that is not known here ([`AssociationNeed::Unknown`]) before its messages are refused:
    /// it may be stored. So no more than [`Self::CONTEXTS`] are kept.
    #[must_use]
    pub fn with_look_up(mut self) -> Self {
        self.looks_up = true;
        self.with_capacity(Self::CONTEXTS)
    }

    /// Lets Echo values grow old, on a clock that never jumps: an answer is taken for a minute at most. Without one it is
    /// for as long as nobody has answered.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// How many contexts are kept where they can be looked up.
    pub const CONTEXTS: usize = 262_144;

    /// Keeps so many contexts at most, of those that can be looked up again.
    #[must_use]
    pub fn with_capacity(mut self, contexts: usize) -> Self {
        self.table.get_mut().unwrap_or_else(PoisonError::into_inner).capacity = contexts;
        self
    }

    /// Answers a request of whom there is no context with this payload in the 4.01, e.g. with hints where to get
    /// a token (RFC 9203 section 4.1).
    #[must_use]
    pub fn with_hints(mut self, content_format: u16, payload: Vec<u8>) -> Self {
        let mut message = Message::response(Code::UNAUTHORIZED).with_payload(content_format, payload);
        message.options.push_uint(option::MAX_AGE, 0);
        self.unknown = Some(message);
        self
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a context that was agreed on beforehand, e.g. at the registration of a client, and never used: requests under it are
    /// taken at once. Its messages come from `peer`.
    ///
    /// # Errors
    /// [`Error::Parameter`] where no context can be derived, or one with its Recipient ID is there.
    pub fn add_fresh(&self, peer: PeerId, parameters: &Parameters, sequence: Sequence) -> Result<(), Error> {
        self.add(peer, Context::fresh(parameters, sequence)?)
    }

    /// The same of a context that may have been used by a former process: its client is asked for an Echo first.
    ///
    /// # Errors
    /// As [`Self::add_fresh`].
    pub fn add_restored(&self, peer: PeerId, parameters: &Parameters, sequence: Sequence) -> Result<(), Error> {
        self.add(peer, Context::restored(parameters, sequence)?)
    }

    fn add(&self, peer: PeerId, context: Context) -> Result<(), Error> {
        let mut table = self.lock();
        if table.has(context.recipient_id()) {
            return Err(Error::Parameter);
        }
        table.registered.insert(peer.clone(), context.recipient_id().to_vec());
        table.add(context.recipient_id().to_vec(), Slot::new(context, peer, true, true));
        Ok(())
    }

    /// Adds a context like [`Self::add_restored`], for a client that may not know which sequence numbers it has used. A request with
    /// an ID Context comes under another context of the same secret: the first one is asked for an Echo. The sequence
    /// numbers of `sequence`, and those that follow by notices, are shared by all of them.
    ///
    /// # Errors
    /// As [`Self::add_restored`].
    pub fn add_with_runs(&self, peer: PeerId, parameters: &Parameters, sequence: Sequence) -> Result<(), Error> {
        self.add_restored(peer.clone(), parameters, sequence)?;
        self.lock().runs.add(parameters.recipient_id.clone(), peer, parameters.clone());
        Ok(())
    }

    /// How many contexts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The answer to a request that does not verify.
    fn refuse(&self, error: Error) -> Inbound {
        let answer = match (error, &self.unknown) {
            (Error::NoContext, Some(hints)) => Some(hints.clone()),
            _ => error.response(),
        };
        answer.map_or(Inbound::Discard, Inbound::Answer)
    }

    fn step(&self, outer: Message, looks_up: bool) -> Inbound {
        if !outer.options.has(option::OSCORE) {
            return Inbound::Plain(outer);
        }
        match self.verify(&outer, looks_up) {
            Ok(Opened::Now(inbound)) => inbound,
            Ok(Opened::Later(peer)) => Inbound::Later(peer, outer),
            Err(error) => self.refuse(error),
        }
    }

    fn verify(&self, outer: &Message, looks_up: bool) -> Result<Opened, Error> {
        let RequestId { kid, kid_context, .. } = RequestId::of(outer)?;
        let now = (self.clock)();
        let mut guard = self.lock();
        let table = &mut *guard;
        let Some(slot) = table.used(&kid) else {
            return match looks_up {
                true if table.look_up(&kid) => Ok(Opened::Later(PeerId::new(&kid))),
                true => Ok(Opened::Now(Inbound::Discard)),
                false => Err(Error::NoContext),
            };
        };
        // An absent and an empty kid context name the same context; another one than ours names none.
        let named = kid_context.as_deref().unwrap_or_default();
        if !named.is_empty() && Some(named) != slot.context.id_context() {
            return Self::verify_run(table, now, &kid, named, outer).map(Opened::Now);
        }
        slot.forget_late(now);
        if !slot.is_owned() && slot.context.would_synchronise(outer)? {
            let waiting = PeerId::new(&kid);
            if slot.claim() {
                table.need(AssociationNeed::Claim(kid.into()));
            }
            return Ok(Opened::Later(waiting));
        }
        // Its answer, or the Echo that it is asked for, will need a number. One that does not verify is worth none.
        let needs_number = self.responses == Responses::Numbered || !slot.context.is_synchronised();
        if needs_number && slot.context.sequence().is_used_up() {
            slot.context.would_verify(outer)?;
            table.note_need(&kid);
            return Ok(Opened::Later(PeerId::new(&kid)));
        }
        let inbound = match slot.context.unprotect_request(outer)? {
            Incoming::Accepted { message, right, echoed } => {
                let right = if self.responses == Responses::Numbered { right.numbered() } else { right };
                let peer = slot.peer.clone();
                let binding = ReplyBinding::new(Reply { kid: kid.clone(), run: None, right });
                Inbound::Verified { peer, message, binding, fresh: echoed }
            }
            Incoming::Unsynchronised(challenge) => {
                let mut echo = [0; 8];
                table.rng.fill_bytes(&mut echo);
                let slot = table.get(&kid).ok_or(Error::NoContext)?;
                slot.challenges(now);
                let answer = slot.context.challenge(outer, challenge, echo);
                table.note_need(&kid);
                answer.map_or(Inbound::Discard, Inbound::Answer)
            }
        };
        Ok(Opened::Now(inbound))
    }

    /// Verifies a request under the context of a client's run.
    fn verify_run(
        table: &mut Table,
        now: Duration,
        kid: &[u8],
        id_context: &[u8],
        outer: &Message,
    ) -> Result<Inbound, Error> {
        let (peer, run) = table.runs.of_request(now, kid, id_context, outer)?;
        if now.saturating_sub(run.challenged) > ECHO.saturating_mul(2) {
            run.context.forget_challenge();
        }
        match run.context.unprotect_request(outer)? {
            Incoming::Accepted { message, right, echoed } => {
                let binding = ReplyBinding::new(Reply { kid: kid.to_vec(), run: Some(id_context.to_vec()), right });
                Ok(Inbound::Verified { peer, message, binding, fresh: echoed })
            }
            Incoming::Unsynchronised(challenge) => {
                let mut echo = [0; 8];
                table.rng.fill_bytes(&mut echo);
                // A context that was forgotten and is derived again has the same key: numbers are never shared out twice.
                let number = table.get(kid).ok_or(Error::NoContext)?.context.sequence().take();
                table.note_need(kid);
                let number = number?.number();
                let run = table.runs.get(kid, id_context).ok_or(Error::NoContext)?;
                run.context.sequence().extend(number, number.saturating_add(1));
                if now.saturating_sub(run.challenged) > ECHO {
                    run.context.forget_challenge();
                    run.challenged = now;
                }
                let answer = run.context.challenge(outer, challenge, echo);
                Ok(answer.map_or(Inbound::Discard, Inbound::Answer))
            }
        }
    }

    /// Does something with the context that a request came under.
    fn reply<T>(
        &self,
        binding: ReplyBinding,
        act: impl FnOnce(&mut Context, ResponseRight, &mut dyn CryptoRng) -> Result<T, Error>,
    ) -> Result<T, ProtectError> {
        let Reply { kid, run, right } = binding.into_inner().ok_or(ProtectError::ForeignBinding)?;
        let mut guard = self.lock();
        let table = &mut *guard;
        let context = match &run {
            Some(id_context) => table.runs.get(&kid, id_context).map(|run| &mut run.context),
            None => table.slots.get_mut(&kid).map(|slot| &mut slot.context),
        };
        let done = act(context.ok_or(ProtectError::NoAssociation)?, right, &mut *table.rng);
        if self.responses == Responses::Numbered {
            table.note_need(&kid);
        }
        Ok(done?)
    }
}

impl MessageSecurity for OscoreServer {
    fn unprotect(&self, outer: Message) -> Inbound {
        self.step(outer, self.looks_up)
    }

    fn unprotect_again(&self, outer: Message) -> Inbound {
        self.step(outer, false)
    }

    fn protect(&self, response: Message, binding: ReplyBinding) -> Result<Message, ProtectError> {
        self.reply(binding, |context, right, _| context.protect_response(&response, right))
    }

    fn can_challenge(&self, _binding: &ReplyBinding) -> bool {
        true
    }

    fn challenge(&self, binding: ReplyBinding) -> Result<Message, ProtectError> {
        let now = (self.clock)();
        if let Some(Reply { kid, run: None, .. }) = binding.inner()
            && let Some(slot) = self.lock().get(kid)
        {
            slot.challenges(now);
        }
        self.reply(binding, |context, right, rng| {
            let mut echo = [0; 8];
            rng.fill_bytes(&mut echo);
            context.ask_for_echo(right, echo)
        })
    }

    fn observe(&self, binding: &ReplyBinding) -> Option<ObservationBinding> {
        let Reply { kid, right, .. } = binding.inner()?;
        Some(ObservationBinding::new(Observing { kid: kid.clone(), registration: right.notification_right() }))
    }

    fn notify(&self, response: Message, binding: &ObservationBinding) -> Result<Message, ProtectError> {
        let Observing { kid, registration } = binding.inner().ok_or(ProtectError::ForeignBinding)?;
        let now = (self.clock)();
        let mut table = self.lock();
        let protected = match table.get(kid) {
            Some(slot) => slot.context.protect_notification(&response, registration),
            // The last one, of an association that has just ended.
            None => {
                let context = table.retired(now, kid).ok_or(ProtectError::NoAssociation)?;
                return Ok(context.protect_notification(&response, registration)?);
            }
        };
        table.note_need(kid);
        Ok(protected?)
    }

    fn can_notify(&self, binding: &ObservationBinding) -> bool {
        let Some(Observing { kid, .. }) = binding.inner() else { return true };
        let mut table = self.lock();
        let is_known = table.has(kid);
        if !is_known && self.looks_up {
            table.look_up(kid);
        }
        is_known || !self.looks_up
    }

    fn protect_request(&self, peer: &PeerId, request: &Message) -> Result<(Message, SentRequest), ProtectError> {
        let mut table = self.lock();
        let Some(kid) = table.kid_of(peer) else {
            // A client whose association has ended is told that it is out, and nothing else.
            let now = (self.clock)();
            if request.code == Code::DELETE
                && let Some(context) = table.retired(now, peer.as_bytes())
            {
                let (message, pending) = context.protect_request(request)?;
                return Ok((message, SentRequest::new(Asked { kid: peer.as_bytes().to_vec(), pending })));
            }
            if self.looks_up {
                table.look_up(peer.as_bytes());
                return Err(ProtectError::NeedSequence);
            }
            return Err(ProtectError::NoAssociation);
        };
        // What asks for numbers of an association proves it: that is its client's to do.
        let slot = table.get(&kid).filter(|slot| slot.is_proven()).ok_or(ProtectError::NoAssociation)?;
        if !slot.is_owned() {
            return Err(ProtectError::NotOwned);
        }
        let protected = slot.context.protect_request(request);
        table.note_own_need(&kid);
        let (message, pending) = protected?;
        Ok((message, SentRequest::new(Asked { kid, pending })))
    }

    fn unprotect_response(&self, response: &Message, sent: &mut SentRequest) -> Result<Message, ResponseError> {
        let Asked { kid, pending } = sent.inner_mut().ok_or(ResponseError::NotVerified)?;
        let now = (self.clock)();
        let mut table = self.lock();
        if let Some(slot) = table.used(kid) {
            return Ok(slot.context.unprotect_response(response, pending)?);
        }
        let context = table.retired(now, kid).ok_or(ResponseError::NotVerified)?;
        Ok(context.unprotect_response(response, pending)?)
    }

    fn keep(&self, binding: &ObservationBinding) -> Option<Vec<u8>> {
        let Observing { kid, registration } = binding.inner()?;
        let length = u8::try_from(kid.len()).ok()?;
        Some([&[length], kid.as_slice(), &registration.to_bytes()].concat())
    }

    fn resume(&self, kept: &[u8]) -> Option<ObservationBinding> {
        let (&length, rest) = kept.split_first()?;
        let (kid, registration) = rest.split_at_checked(usize::from(length))?;
        let registration = NotificationRight::from_bytes(registration);
        Some(ObservationBinding::new(Observing { kid: kid.to_vec(), registration }))
    }
}

impl Associations for OscoreServer {
    fn notice(&self, notice: AssociationNotice) {
        let mut table = self.lock();
        match notice {
            AssociationNotice::New { id, profile, material } => {
                let parameters = restore(&material).filter(|_| profile == COAP_OSCORE);
                let context = parameters.and_then(|p| Context::fresh(&p, Sequence::none()).ok());
                if let Some(context) = context {
                    let peer = PeerId::new(id.as_bytes());
                    table.add(id.as_bytes().to_vec(), Slot::new(context, peer, true, false));
                }
            }
            AssociationNotice::Loaded { id, profile, material, owned } => {
                // Somebody else may have had it looked up: what is asked for a context that is here stays asked for.
                table.note_looked_up(&id);
                let parameters = restore(&material).filter(|_| profile == COAP_OSCORE);
                let context = parameters.and_then(|p| Context::restored(&p, Sequence::none()).ok());
                if let Some(context) = context {
                    let peer = PeerId::new(id.as_bytes());
                    table.add(id.as_bytes().to_vec(), Slot::new(context, peer, owned, true));
                }
            }
            AssociationNotice::Claimed { id } => {
                if let Some(slot) = table.get(id.as_bytes()) {
                    slot.note_claimed();
                }
            }
            AssociationNotice::Lost { id } => {
                if let Some(slot) = table.get(id.as_bytes()) {
                    slot.note_lost();
                }
            }
            AssociationNotice::Unavailable { id } => {
                table.looked_up.remove(id.as_bytes());
                table.needs.remove(&AssociationNeed::Challenge(id.clone()));
                if let Some(slot) = table.get(id.as_bytes()) {
                    slot.note_unavailable();
                }
            }
            AssociationNotice::Sequence { id, start, limit } => {
                table.needs.remove(&AssociationNeed::Sequence(id.clone()));
                table.needs.remove(&AssociationNeed::Challenge(id.clone()));
                if let Some(slot) = table.get(id.as_bytes()) {
                    slot.extend(start, limit);
                }
            }
            AssociationNotice::Ended { id } => {
                table.settle(id.as_bytes());
                table.retire((self.clock)(), id.as_bytes());
            }
            AssociationNotice::Gone { id } => {
                table.settle(id.as_bytes());
                table.remove(id.as_bytes());
            }
            // What a client may do, what has changed, and what a later version may tell: contexts stay as they are.
            _ => (),
        }
    }

    fn poll_needs(&self, context: &mut std::task::Context<'_>) -> Poll<Vec<AssociationNeed>> {
        let mut table = self.lock();
        if table.needs.is_empty() {
            table.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut table.needs).into_iter().collect())
    }
}
