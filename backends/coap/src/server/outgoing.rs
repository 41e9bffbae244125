//! What goes out: answers and notifications, cut into blocks, protected, sent.

use super::{AGAIN, InFlight, LATER, NOTIFYING, Server, StatsHandle, reach};
use crate::observe::{Notifies, Observation, ObservationId, is_registration, next_number};
use crate::owner::Owner;
use crate::service::{Answer, Event, Received};
use ace_coap::numbers::option;
use ace_coap::security::ProtectError;
use ace_coap::{Code, Message, Type};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

impl Server {
    pub(super) async fn event(&mut self, event: Event) {
        match event {
            Event::Answer(number, answer) => {
                let Some(exchange) = self.in_flight.remove(&number) else { return };
                match exchange.notifies.clone() {
                    Some(notifies) => {
                        self.notifying = self.notifying.saturating_sub(1);
                        self.notify(exchange, notifies, answer).await;
                        self.ask_more();
                    }
                    None => {
                        self.shares.give(&exchange.owner);
                        self.respond(exchange, answer).await;
                    }
                }
            }
            Event::Forget(peer) => {
                let owner = Owner::Peer(peer);
                self.transfers.forget(&owner);
                self.observations.forget(&owner);
            }
            Event::Restricted(peer) => {
                let owner = Owner::Peer(peer);
                self.transfers.forget(&owner);
                let own = self.observations.of_owner(&owner);
                self.to_ask.extend(own);
                self.ask_more();
            }
            Event::Settled(peer, settled) => self.settled_for(&peer, settled).await,
            Event::Changed(path) => {
                self.changes = self.changes.wrapping_add(1);
                let changed = self.observations.changed(&path);
                self.to_ask.extend(changed);
                self.ask_more();
            }
        }
    }

    /// Sends the answer to a request; with it an observation may begin or end.
    pub(super) async fn respond(&mut self, mut exchange: InFlight, answer: Answer) {
        let Answer { mut message, unprotected, observable, asks_for_proof } = answer;
        if asks_for_proof {
            message.options.set(option::ECHO, &self.reach.challenge(self.now(), exchange.from));
        }
        if exchange.is_kept {
            self.observations.release(&exchange.owner);
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
        self.protect_and_transmit(exchange, message, unprotected).await;
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
        let observation = Observation::new(exchange.request.clone(), binding, exchange.is_kept);
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

    pub(super) async fn protect_and_transmit(&mut self, mut exchange: InFlight, message: Message, unprotected: bool) {
        if is_unwanted(&exchange.request, message.code) {
            return self.end_without_answer(&exchange, Type::Acknowledgement).await;
        }
        let message = match exchange.binding.take().filter(|_| !unprotected) {
            None => message,
            Some(binding) => match self.security.protect(message, binding) {
                Ok(message) => message,
                Err(error) => {
                    self.stats.count(StatsHandle::UNPROTECTABLE);
                    tracing::debug!(%error, "an answer is dropped");
                    self.observations.remove(&exchange.observation());
                    return self.end_without_answer(&exchange, Type::Reset).await;
                }
            },
        };
        self.transmit(&exchange, message).await;
    }

    /// Ends a confirmable exchange that gets no answer, so that the client does not send again and again.
    async fn end_without_answer(&mut self, exchange: &InFlight, kind: Type) {
        if exchange.kind == Type::Confirmable && !exchange.acknowledged {
            self.reply_empty(exchange.from, kind, exchange.id, exchange.message).await;
        }
    }

    /// Sends a response: on the acknowledgement, or separately where that has gone out.
    pub(super) async fn transmit(&mut self, exchange: &InFlight, mut message: Message) {
        let now = self.now();
        if let Some(block) = exchange.outer_block1 {
            message.options.push_uint(option::BLOCK1, block.to_uint());
        }
        message.token = exchange.token.clone();
        if let Some(budget) = exchange.budget {
            let request = exchange.request.code;
            message = reach::within(message, request, budget, || self.reach.challenge(now, exchange.from));
        }
        let separate = exchange.kind == Type::Confirmable && exchange.acknowledged;
        let reliable = separate && self.retransmissions.has_room(&self.limits, exchange.from);
        (message.kind, message.id) = match exchange.kind {
            Type::Confirmable if !separate => (Type::Acknowledgement, exchange.id),
            Type::Confirmable if reliable => (Type::Confirmable, self.fresh_id(exchange.from)),
            _ => (Type::NonConfirmable, self.fresh_id(exchange.from)),
        };
        let bytes: Arc<[u8]> = message.encode().into();
        if reliable {
            let notifies = exchange.notifies.clone();
            self.retransmissions.add(now, &self.limits, exchange.from, message.id, Arc::clone(&bytes), notifies);
        } else if let Some(key) = exchange.message.filter(|_| !separate) {
            self.exchanges.answered(&key, Arc::clone(&bytes));
        }
        self.send(exchange.from, &bytes).await;
    }

    /// A message ID that no message to this address has now.
    fn fresh_id(&mut self, to: SocketAddr) -> u16 {
        let first = self.reach.first_id(to);
        for _ in 0..=self.limits.unacknowledged {
            self.next_id = self.next_id.wrapping_add(1);
            if !self.retransmissions.is_waiting(to, first.wrapping_add(self.next_id)) {
                break;
            }
        }
        first.wrapping_add(self.next_id)
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
            return self.ask_again(AGAIN, notifies);
        }
        let request = observation.request.clone();
        let mut message = request.clone();
        message.options.remove(option::OBSERVE);
        let ObservationId { owner, to, token } = notifies.id.clone();
        let peer = match &owner {
            Owner::Peer(peer) => Some(peer.clone()),
            Owner::Proven(_) | Owner::Stranger(_) => None,
        };
        let exchange = InFlight {
            from: to,
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
        };
        self.notifying = self.notifying.saturating_add(1);
        self.call(exchange, Received { peer, endpoint: to, fresh: false, proven: false, message, registration: None });
    }

    fn ask_again(&mut self, after: Duration, notifies: Notifies) {
        self.next_retry = self.next_retry.wrapping_add(1);
        self.retries.insert((self.now().saturating_add(after), self.next_retry), notifies);
    }

    /// Sends a notification. An error ends the observation, and is sent without Observe.
    async fn notify(&mut self, exchange: InFlight, notifies: Notifies, answer: Answer) {
        let now = self.now();
        if self.observations.of(&notifies).is_none() {
            return;
        }
        // What passes ends nothing; and what may not go out protected says that the association ends, or that the
        // clock is not to be trusted.
        if answer.unprotected || answer.message.code.class() == 5 {
            return self.ask_again(LATER, notifies);
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
        let mut message = match protected {
            Ok(message) => message,
            Err(error) => {
                self.stats.count(StatsHandle::UNPROTECTABLE);
                tracing::debug!(%error, "a notification is dropped");
                if error == ProtectError::NeedSequence {
                    self.ask_again(AGAIN, notifies);
                } else if self.observations.settled(&notifies) {
                    self.to_ask.push_back(notifies);
                }
                return;
            }
        };
        message.token = exchange.token;
        (message.kind, message.id) = (Type::Confirmable, self.fresh_id(exchange.from));
        let bytes: Arc<[u8]> = message.encode().into();
        let to = exchange.from;
        self.retransmissions.add(now, &self.limits, to, message.id, Arc::clone(&bytes), Some(notifies));
        self.send(to, &bytes).await;
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
