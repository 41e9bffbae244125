//! What comes in: from a datagram to a request that is whole and verified.

use super::{Endpoint, InFlight, StatsHandle, reach};
use crate::block::{BlockStep, bad_option};
use crate::exchange::{MessageKey, Seen};
use crate::observe::is_registration;
use crate::owner::Owner;
use crate::retransmit::Sent;
use crate::service::{Purpose, Received, Responder, Settled};
use crate::socket::AddressPair;
use ace_coap::numbers::{LINK_FORMAT, is_unprotected, option};
use ace_coap::security::{Inbound, MessageSecurity, PeerId, SessionId};
use ace_coap::{Code, MAX_TOKEN, Message, Type, peek};

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

impl Endpoint {
    pub(super) fn datagram(&mut self, from: AddressPair, bytes: &[u8]) {
        self.stats.count(StatsHandle::DATAGRAMS);
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.stats.count(StatsHandle::MALFORMED);
                if let Some((Type::Confirmable, id)) = peek(bytes).filter(|_| error.is_format_error()) {
                    self.send(from, Message::empty(Type::Reset, id).encode());
                }
                return;
            }
        };
        if message.token.as_bytes().len() > MAX_TOKEN && message.code.is_request() {
            return self.refuse_token(from, &message);
        }
        match message.kind {
            _ if message.code.is_response() => self.response(from, &message, bytes),
            Type::Acknowledgement | Type::Reset => self.settled(from, &message),
            Type::Confirmable if !message.code.is_request() => {
                self.send(from, Message::empty(Type::Reset, message.id).encode());
            }
            Type::NonConfirmable if !message.code.is_request() => (),
            Type::Confirmable | Type::NonConfirmable => self.request(from, message, bytes),
        }
    }

    /// Refuses a request whose token is longer than can be kept; the answer has to have it (RFC 8974 section 2.2.2).
    fn refuse_token(&mut self, from: AddressPair, request: &Message) {
        let (kind, id) = match request.kind {
            Type::Confirmable => (Type::Acknowledgement, request.id),
            Type::NonConfirmable => match self.fresh_id(from.remote) {
                Some(id) => (Type::NonConfirmable, id),
                None => return,
            },
            Type::Acknowledgement | Type::Reset => return,
        };
        let answer = Message::new(kind, Code::BAD_REQUEST, id, request.token.clone());
        self.send(from, answer.encode());
    }

    /// A message of ours has come to its end. A reset ends an observation (RFC 7641 section 3.6).
    pub(super) fn settled(&mut self, from: AddressPair, message: &Message) {
        let Some(waiting) = self.retransmissions.settle(from, message.id) else { return };
        let is_reset = message.kind == Type::Reset;
        match waiting.what {
            Sent::Notification(notifies) if is_reset => self.observations.end(&notifies),
            Sent::Notification(notifies) if self.observations.settled(&notifies) => {
                self.to_ask.push_back(notifies);
                self.ask_more();
            }
            Sent::Request(peer) if is_reset => self.request_reset(&peer),
            Sent::Request(peer) => self.request_acknowledged(&peer),
            Sent::Notification(_) | Sent::Response => (),
        }
    }

    fn request(&mut self, from: AddressPair, message: Message, datagram: &[u8]) {
        let now = self.now();
        let (key, seen) = self.exchanges.see(now, from, message.id, datagram);
        match seen {
            Seen::New if self.held.has(&key) => return self.stats.count(StatsHandle::DUPLICATES),
            Seen::New => (),
            Seen::Unanswered => return self.stats.count(StatsHandle::DUPLICATES),
            Seen::Answered(bytes) => {
                self.stats.count(StatsHandle::DUPLICATES);
                return self.send(from, bytes);
            }
        }
        let proven = self.reach.is_proven(now, from.remote, &message);
        let mut exchange = InFlight {
            from,
            kind: message.kind,
            id: message.id,
            token: message.token.clone(),
            message: Some(key),
            owner: if proven { Owner::Proven(from.remote) } else { Owner::Stranger(from.remote) },
            binding: None,
            request: Message::request(message.code),
            block1: None,
            outer_block1: None,
            acknowledged: false,
            budget: (!proven).then(|| reach::budget(datagram.len())),
            changes: self.changes,
            notifies: None,
            is_kept: false,
            block: None,
            outer: None,
        };
        let message = match checked_outside(message, &*self.security) {
            Ok(message) => message,
            Err(refusal) => {
                self.exchanges.remember(now, key, false);
                return self.refuse_options(exchange, refusal);
            }
        };
        let Some(message) = self.outer_blocks(&mut exchange, message) else { return };
        let inbound = match from.session {
            None => self.security.unprotect(message),
            Some(session) => self.in_session(session, message),
        };
        self.verified(exchange, key, inbound);
    }

    /// Whose a message is that came in a session. A session that nobody knows is nobody's.
    fn in_session(&self, session: SessionId, message: Message) -> Inbound {
        match self.security.unprotect_session(session, message) {
            Inbound::Plain(_) => Inbound::Discard,
            inbound => inbound,
        }
    }

    /// What a peer's messages waited for is there, or could not be had.
    pub(super) fn settled_for(&mut self, peer: &PeerId, settled: Settled) {
        for (exchange, message) in self.held.take(peer) {
            let Some(key) = exchange.message else { continue };
            let inbound = match settled {
                Settled::Ready => match exchange.from.session {
                    None => self.security.unprotect_again(message),
                    Some(session) => self.in_session(session, message),
                },
                Settled::Unavailable => Inbound::Answer(unavailable()),
            };
            self.verified(exchange, key, inbound);
        }
        self.request_settled(peer, settled);
    }

    /// Goes on with a message of which is known whether it verifies.
    fn verified(&mut self, mut exchange: InFlight, key: MessageKey, inbound: Inbound) {
        let now = self.now();
        match inbound {
            Inbound::Plain(mut message) => {
                self.exchanges.remember(now, key, false);
                if let Some(budget) = exchange.budget {
                    reach::shrink_blocks(&mut message, budget);
                }
                let proven = exchange.budget.is_none();
                self.dispatch(exchange, message, None, proven);
            }
            Inbound::Verified { peer, message, binding, fresh } => {
                self.exchanges.remember(now, key, true);
                exchange.binding = Some(binding);
                exchange.owner = Owner::Peer(peer.clone());
                exchange.budget = None;
                let can_challenge = exchange.binding.as_ref().is_some_and(|it| self.security.can_challenge(it));
                match checked(message, is_known) {
                    Ok(message) if is_registration(&message) && !fresh && can_challenge => {
                        self.ask_for_echo(exchange);
                    }
                    Ok(message) => self.dispatch(exchange, message, Some(peer), fresh),
                    Err(refusal) => self.refuse_options(exchange, refusal),
                }
            }
            Inbound::Later(peer, message) => self.held.add(peer, key, exchange, message),
            Inbound::Answer(answer) => {
                self.exchanges.remember(now, key, false);
                self.transmit(&exchange, answer);
            }
            // Nobody has acted on it, so the same message is worth another try.
            Inbound::Discard => (),
        }
    }

    /// Asks a peer that wants to be notified to show that it is where it seems to be: notifications would go there again
    /// and again.
    fn ask_for_echo(&mut self, mut exchange: InFlight) {
        let Some(binding) = exchange.binding.take() else { return };
        match self.security.challenge(binding) {
            Ok(answer) => self.transmit(&exchange, answer),
            Err(error) => self.lost(&exchange, error),
        }
    }

    /// Refuses a message for its options; one that is not confirmable is rejected without an answer (RFC 7252
    /// section 5.4.1).
    fn refuse_options(&mut self, exchange: InFlight, refusal: Message) {
        if exchange.kind == Type::Confirmable {
            self.respond(exchange, refusal.into());
        } else {
            self.reply_empty(exchange.from, Type::Reset, exchange.id, exchange.message);
        }
    }

    /// Puts a protected message together that a proxy has cut into blocks (RFC 8613 section 4.1.3.4.2); `None`
    /// where more blocks have to come.
    fn outer_blocks(&mut self, exchange: &mut InFlight, message: Message) -> Option<Message> {
        let in_blocks = message.options.has(option::BLOCK1) || message.options.has(option::BLOCK2);
        if !message.options.has(option::OSCORE) || !in_blocks {
            return Some(message);
        }
        let now = self.now();
        let step = self.transfers.request(now, &exchange.owner, message);
        if let Some(key) = exchange.message.filter(|_| !matches!(step, BlockStep::Whole(..))) {
            self.exchanges.remember(now, key, false);
        }
        match step {
            BlockStep::Whole(mut message, block1) => {
                message.options.remove(option::BLOCK1);
                if message.options.has(option::BLOCK2) {
                    exchange.outer = Some((exchange.owner.clone(), without_payload(&message)));
                    message.options.remove(option::BLOCK2);
                }
                (message.id, message.token) = (exchange.id, exchange.token.clone());
                exchange.outer_block1 = block1;
                Some(message)
            }
            // That is for peers alone, and nobody has been verified here.
            BlockStep::Kept(_) => None,
            BlockStep::Answer(answer) => {
                if answer.code.is_success() && answer.options.has(option::OSCORE) {
                    // A block of what a verified request was answered with.
                    exchange.budget = None;
                }
                self.transmit(exchange, answer);
                None
            }
            BlockStep::Crowded => {
                self.challenge(exchange);
                None
            }
        }
    }

    /// Asks for proof of the address.
    fn challenge(&mut self, exchange: &InFlight) {
        let mut answer = Message::response(Code::UNAUTHORIZED);
        answer.options.push(option::ECHO, &self.reach.challenge(self.now(), exchange.from.remote));
        self.transmit(exchange, answer);
    }

    /// Gives a verified request to the service, when all of its blocks are there.
    fn dispatch(&mut self, mut exchange: InFlight, message: Message, peer: Option<PeerId>, fresh: bool) {
        let now = self.now();
        let (message, block1) = match self.transfers.request(now, &exchange.owner, message) {
            BlockStep::Whole(message, block1) => (message, block1),
            BlockStep::Answer(answer) => return self.protect_and_transmit(exchange, answer, false),
            BlockStep::Kept(kept) => {
                let (answer, message) = *kept;
                exchange.block = Some(answer);
                (message, None)
            }
            BlockStep::Crowded => return self.challenge(&exchange),
        };
        let mut message = message;
        // It has been looked at.
        message.options.remove(option::ECHO);
        exchange.block1 = block1;
        exchange.request = without_payload(&message);
        if let Some(core) = self.well_known_core(&message) {
            return self.respond(exchange, core.into());
        }
        let own = self.shares.of(&exchange.owner);
        if self.in_flight.len() >= self.limits.requests || own >= self.limits.requests_unknown {
            return self.respond(exchange, unavailable().into());
        }
        // A stranger's answer comes with the acknowledgement or not at all: a separate one is sent several times,
        // to an address that may be somebody else's.
        if exchange.kind == Type::Confirmable && exchange.budget.is_none() {
            let at = now.saturating_add(self.limits.separate_after);
            self.to_acknowledge.push_back((at, self.next_exchange));
        }
        let from = exchange.from;
        let purpose = if exchange.block.is_some() { Purpose::Permission } else { Purpose::Answer };
        // Room for an observation is taken here, so only for what may become one.
        let registration = if purpose == Purpose::Answer { self.registration_of(&exchange) } else { None };
        exchange.is_kept = registration.is_some();
        let proven = exchange.budget.is_none();
        self.call(exchange, Received { peer, from, fresh, proven, message, purpose, registration });
    }

    pub(super) fn call(&mut self, exchange: InFlight, request: Received) {
        let number = self.next_exchange;
        self.next_exchange = number.wrapping_add(1);
        if exchange.notifies.is_none() {
            self.shares.take(&exchange.owner);
        }
        self.in_flight.insert(number, exchange);
        self.service.call(request, Responder::new(number, self.sender.clone()));
    }

    fn well_known_core(&self, message: &Message) -> Option<Message> {
        let path = message.options.uri_path()?;
        if path != [".well-known", "core"] {
            return None;
        }
        if message.code != Code::GET {
            return Some(Message::response(Code::METHOD_NOT_ALLOWED));
        }
        if message.options.uint(option::ACCEPT).is_some_and(|accept| accept != u32::from(LINK_FORMAT)) {
            return Some(Message::response(Code::NOT_ACCEPTABLE));
        }
        let queries = message.options.uri_query().unwrap_or_default();
        let links = self.links.format(&queries);
        Some(Message::response(Code::CONTENT).with_payload(LINK_FORMAT, links.into_bytes()))
    }
}

/// The answer to what may be asked again in a while.
fn unavailable() -> Message {
    let mut message = Message::response(Code::SERVICE_UNAVAILABLE);
    message.options.push_uint(option::MAX_AGE, 2);
    message
}

/// A message whose options can be worked with, or the answer to one that has a critical option which is not known
/// or not as it is defined, or that asks for a proxy.
fn checked(mut message: Message, knows: impl Fn(u16) -> bool) -> Result<Message, Message> {
    if message.options.has(option::PROXY_URI) || message.options.has(option::PROXY_SCHEME) {
        return Err(Message::response(Code::PROXYING_NOT_SUPPORTED));
    }
    match message.options.check(knows) {
        Ok(()) => Ok(message),
        Err(number) => Err(bad_option(number)),
    }
}

/// A message as it comes in, like [`checked`]. What belongs inside of a protected message means nothing outside, whatever
/// it is (RFC 8613 section 8.2 step 1): of that nothing is looked at, and the security discards it.
fn checked_outside(message: Message, security: &dyn MessageSecurity) -> Result<Message, Message> {
    if !message.options.has(option::OSCORE) {
        return checked(message, |number| is_known(number) || security.knows_option(number));
    }
    let mut outside = Message::request(message.code);
    outside.options = message.options.iter().filter(|(number, _)| is_unprotected(*number)).collect();
    checked(outside, is_known).map(|_| message)
}

/// What has to be kept of a request: for FETCH the payload is a part of what is asked.
pub(super) fn without_payload(message: &Message) -> Message {
    let mut kept = Message::request(message.code);
    kept.options = message.options.clone();
    if message.code == Code::FETCH {
        kept.payload = message.payload.clone();
    }
    kept
}
