//! What goes out: answers and notifications, cut into blocks, protected, sent.

use super::{ASK_AGAIN, Endpoint, InFlight, NOTIFYING, PROTECT_AGAIN, StatsHandle, reach};
use crate::observe::{Notifies, Observation, ObservationId, is_registration, next_number};
use crate::owner::Owner;
use crate::retransmit::Sent;
use crate::service::{Answer, LastWord, LoopInput, Purpose, Received};
use crate::socket::AddressPair;
use ace_coap::numbers::option;
use ace_coap::security::ProtectError;
use ace_coap::{Code, Message, Type};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

impl Endpoint {
    pub(super) fn event(&mut self, event: LoopInput) {
        match event {
            LoopInput::Answer(number, answer) => {
                let Some(exchange) = self.in_flight.remove(&number) else { return };
                match exchange.notifies.clone() {
                    Some(notifies) => {
                        self.notifying = self.notifying.saturating_sub(1);
                        self.notify(exchange, notifies, answer);
                        self.ask_more();
                    }
                    None => {
                        self.shares.give(&exchange.owner);
                        self.respond(exchange, answer);
                    }
                }
            }
            LoopInput::Request(outgoing) => self.ask(*outgoing),
            LoopInput::Forget(peer) => {
                self.end_request(&peer, Err(ProtectError::NoAssociation.into()));
                let owner = Owner::Peer(peer);
                self.transfers.forget(&owner);
                self.observations.forget(&owner);
            }
            LoopInput::Ended(peer, last_word) => {
                self.end_request(&peer, Err(ProtectError::NoAssociation.into()));
                let owner = Owner::Peer(peer);
                for notifies in self.observations.named(&owner) {
                    self.end_observation(notifies, last_word);
                }
                self.transfers.forget(&owner);
            }
            LoopInput::Restricted(peer) => {
                let owner = Owner::Peer(peer);
                self.transfers.forget(&owner);
                let own = self.observations.of_owner(&owner);
                self.to_ask.extend(own);
                self.ask_more();
            }
            LoopInput::Unobserve(peer, path) => {
                let owner = Owner::Peer(peer);
                self.transfers.forget(&owner);
                self.observations.forget_below(&owner, &path);
            }
            LoopInput::Observes(peer, paths, answer) => {
                let _ = answer.send(self.observations.has_any(&Owner::Peer(peer), &paths));
            }
            LoopInput::Settled(peer, settled) => self.settled_for(&peer, settled),
            LoopInput::Changed(path) => {
                self.changes = self.changes.wrapping_add(1);
                let changed = self.observations.changed(&path);
                self.to_ask.extend(changed);
                self.ask_more();
            }
            LoopInput::ChangedBelow(path) => {
                self.changes = self.changes.wrapping_add(1);
                let changed = self.observations.changed_below(&path);
                self.to_ask.extend(changed);
                self.ask_more();
            }
        }
    }

    /// Sends the answer to a request; with it an observation may begin or end.
    pub(super) fn respond(&mut self, mut exchange: InFlight, answer: Answer) {
        let Answer { mut message, unprotected, observable, asks_for_proof } = answer;
        if asks_for_proof {
            message.options.set(option::ECHO, &self.reach.challenge(self.now(), exchange.from.remote));
        }
        if exchange.is_kept {
            self.observations.release(&exchange.owner);
        }
        if let Some(block) = exchange.block.take() {
            if message.code.is_success() {
                return self.protect_and_transmit(exchange, block, false);
            }
            self.transfers.withdraw(&exchange.owner, &exchange.request);
        }
        if exchange.budget.is_some() && !message.code.is_success() {
            // A refusal is cut where it is sent, not into blocks.
            exchange.request.options.remove(option::BLOCK2);
        }
        let asked = exchange.request.options.uint(option::OBSERVE);
        if asked == Some(0) && observable && message.code.is_success() && !unprotected {
            self.begin_observation(&mut exchange, &mut message);
        } else if asked == Some(1) {
            self.observations.remove(&exchange.observation());
        }
        let now = self.now();
        let message = self.transfers.response(now, &exchange.owner, &exchange.request, message, exchange.block1);
        self.protect_and_transmit(exchange, message, unprotected);
    }

    /// Makes an observation of a request, unless its address has proven nothing: notifications would go there again
    /// and again.
    fn begin_observation(&mut self, exchange: &mut InFlight, message: &mut Message) {
        if exchange.budget.is_some() || !is_registration(&exchange.request) {
            return;
        }
        let binding = match &exchange.binding {
            None => None,
            Some(binding) => match self.security.observe(binding) {
                None => return,
                some => some,
            },
        };
        let now = self.now();
        let request = exchange.request.clone();
        let observation = Observation::new(exchange.from, request, binding, exchange.is_kept);
        let Some(notifies) = self.observations.add(now, exchange.observation(), observation) else { return };
        let number = self.observations.of(&notifies).map_or(0, |observation| observation.number);
        message.options.remove(option::OBSERVE);
        message.options.push_uint(option::OBSERVE, number);
        if exchange.acknowledged {
            self.observations.begin(&notifies);
        }
        // Between the answer and its registration something may have changed.
        if exchange.changes != self.changes && self.observations.changed_meanwhile(&notifies) {
            self.to_ask.push_back(notifies.clone());
        }
        exchange.notifies = Some(notifies);
    }

    pub(super) fn protect_and_transmit(&mut self, mut exchange: InFlight, message: Message, unprotected: bool) {
        if is_unwanted(&exchange.request, message.code) {
            return self.end_without_answer(&exchange, Type::Acknowledgement);
        }
        let message = match exchange.binding.take().filter(|_| !unprotected) {
            None => message,
            Some(binding) => match self.security.protect(message, binding) {
                Ok(message) => message,
                Err(error) => {
                    self.observations.remove(&exchange.observation());
                    return self.lost(&exchange, error);
                }
            },
        };
        self.transmit(&exchange, message);
    }

    /// An answer cannot be protected.
    pub(super) fn lost(&mut self, exchange: &InFlight, error: ProtectError) {
        self.stats.count(StatsHandle::UNPROTECTABLE);
        tracing::debug!(%error, "an answer is dropped");
        self.end_without_answer(exchange, Type::Reset);
    }

    /// Ends a confirmable exchange that gets no answer, so that the client does not send again and again.
    fn end_without_answer(&mut self, exchange: &InFlight, kind: Type) {
        if exchange.kind == Type::Confirmable && !exchange.acknowledged {
            self.reply_empty(exchange.from, kind, exchange.id, exchange.message);
        }
    }

    /// Sends a response: on the acknowledgement, or separately where that has gone out.
    pub(super) fn transmit(&mut self, exchange: &InFlight, mut message: Message) {
        let now = self.now();
        if let Some((owner, request)) = exchange.outer.as_ref().filter(|_| message.options.has(option::OSCORE)) {
            message = self.transfers.response(now, owner, request, message, None);
        }
        if let Some(block) = exchange.outer_block1 {
            message.options.push_uint(option::BLOCK1, block.to_uint());
        }
        message.token = exchange.token.clone();
        if let Some(budget) = exchange.budget {
            let request = exchange.request.code;
            message = reach::within(message, request, budget, || self.reach.challenge(now, exchange.from.remote));
        }
        let separate = exchange.kind == Type::Confirmable && exchange.acknowledged;
        let reliable = separate && self.retransmissions.has_room(&self.limits, exchange.from.remote);
        (message.kind, message.id) = if exchange.kind == Type::Confirmable && !separate {
            (Type::Acknowledgement, exchange.id)
        } else {
            let Some(id) = self.fresh_id(exchange.from.remote) else {
                return tracing::debug!(to = %exchange.from.remote, "no message ID is left for an answer");
            };
            (if reliable { Type::Confirmable } else { Type::NonConfirmable }, id)
        };
        let bytes: Arc<[u8]> = message.encode().into();
        if reliable {
            let what = exchange.notifies.clone().map_or(Sent::Response, Sent::Notification);
            self.retransmissions.add(now, &self.limits, exchange.from, message.id, Arc::clone(&bytes), what);
        } else if let Some(key) = exchange.message.filter(|_| !separate) {
            self.exchanges.answered(&key, Arc::clone(&bytes));
        }
        self.send(exchange.from, bytes);
    }

    /// A message ID that this address has not seen of late; `None` where it has seen all.
    pub(super) fn fresh_id(&mut self, to: SocketAddr) -> Option<u16> {
        let (now, reach) = (self.now(), &self.reach);
        self.ids.next(now, to, |serial| reach.first_id(to, serial))
    }

    /// Asks for notifications, as many as may be under way at once.
    pub(super) fn ask_more(&mut self) {
        while self.notifying < NOTIFYING {
            let Some(notifies) = self.to_ask.pop_front() else { return };
            self.ask_for(notifies);
        }
    }

    /// Asks a registration again; the answer goes out as a notification.
    fn ask_for(&mut self, notifies: Notifies) {
        let Some(observation) = self.observations.of(&notifies) else { return };
        if observation.binding.as_ref().is_some_and(|binding| !self.security.can_notify(binding)) {
            return self.ask_again(PROTECT_AGAIN, notifies);
        }
        let request = observation.request.clone();
        let mut message = request.clone();
        message.options.remove(option::OBSERVE);
        let ObservationId { owner, token, .. } = notifies.id.clone();
        let from = observation.at;
        let peer = match &owner {
            Owner::Peer(peer) => Some(peer.clone()),
            Owner::Proven(_) | Owner::Stranger(_) => None,
        };
        let exchange = InFlight {
            from,
            kind: Type::NonConfirmable,
            id: 0,
            token,
            message: None,
            owner,
            binding: None,
            request,
            block1: None,
            outer_block1: None,
            acknowledged: false,
            budget: None,
            changes: self.changes,
            notifies: Some(notifies),
            is_kept: false,
            block: None,
            outer: None,
        };
        self.notifying = self.notifying.saturating_add(1);
        let received = Received {
            peer,
            from,
            fresh: false,
            proven: false,
            message,
            purpose: Purpose::Notification,
            registration: None,
        };
        self.call(exchange, received);
    }

    fn ask_again(&mut self, after: Duration, notifies: Notifies) {
        self.next_retry = self.next_retry.wrapping_add(1);
        self.retries.insert((self.now().saturating_add(after), self.next_retry), notifies);
    }

    /// Sends a notification. An error ends the observation, and is sent without Observe.
    fn notify(&mut self, exchange: InFlight, notifies: Notifies, answer: Answer) {
        let now = self.now();
        if self.observations.of(&notifies).is_none() {
            return;
        }
        // What passes ends nothing; and what may not go out protected says that the association ends, or that the
        // clock is not to be trusted.
        if answer.unprotected || answer.message.code.class() == 5 {
            return self.ask_again(ASK_AGAIN, notifies);
        }
        if is_unwanted(&exchange.request, answer.message.code) {
            // Whoever wants no such answer to its registration wants none later.
            if !answer.message.code.is_success() {
                self.observations.end(&notifies);
            } else if self.observations.settled(&notifies) {
                self.to_ask.push_back(notifies);
            }
            return;
        }
        let mut message = self.transfers.response(now, &exchange.owner, &exchange.request, answer.message, None);
        let ends = !message.code.is_success();
        let Some(observation) = self.observations.of(&notifies) else { return };
        if !ends {
            observation.number = next_number(observation.number);
            message.options.remove(option::OBSERVE);
            message.options.push_uint(option::OBSERVE, observation.number);
        }
        let protected = match &observation.binding {
            None => Ok(message),
            Some(binding) => self.security.notify(message, binding),
        };
        if ends && protected.is_ok() || protected == Err(ProtectError::NoAssociation) {
            self.observations.end(&notifies);
        }
        match protected {
            Ok(message) => {
                if !self.send_notification(exchange.from, message, &notifies) {
                    self.ask_again(ASK_AGAIN, notifies);
                }
            }
            Err(error) => {
                self.stats.count(StatsHandle::UNPROTECTABLE);
                tracing::debug!(%error, "a notification is dropped");
                if error == ProtectError::NeedSequence {
                    self.ask_again(PROTECT_AGAIN, notifies);
                } else if self.observations.settled(&notifies) {
                    self.to_ask.push_back(notifies);
                }
            }
        }
    }

    /// Sends a notification that is protected where it has to be; whether there was a message ID for it.
    fn send_notification(&mut self, to: AddressPair, mut message: Message, notifies: &Notifies) -> bool {
        let Some(id) = self.fresh_id(to.remote) else { return false };
        message.token = notifies.id.token.clone();
        (message.kind, message.id) = (Type::Confirmable, id);
        let bytes: Arc<[u8]> = message.encode().into();
        let now = self.now();
        self.retransmissions.add(now, &self.limits, to, id, Arc::clone(&bytes), Sent::Notification(notifies.clone()));
        self.send(to, bytes);
        true
    }

    /// Ends an observation of a peer whose rights have ended, with a last notification. It is without Observe.
    fn end_observation(&mut self, notifies: Notifies, last_word: LastWord) {
        let Some(observation) = self.observations.of(&notifies) else { return };
        let message = last_word(&observation.request.options.uri_path().unwrap_or_default());
        let to = observation.at;
        let is_wanted = !is_unwanted(&observation.request, message.code);
        let protected = observation.binding.as_ref().map(|binding| self.security.notify(message, binding));
        match protected {
            Some(Ok(message)) if is_wanted => drop(self.send_notification(to, message, &notifies)),
            Some(Err(error)) => tracing::debug!(%error, "a last notification is dropped"),
            _ => (),
        }
        self.observations.end(&notifies);
    }
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
