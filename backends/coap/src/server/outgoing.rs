//! What goes out: answers and notifications, cut into blocks, protected, sent.

use super::{InFlight, Server, reach};
use crate::block::Owner;
use crate::observe::{Notifies, Observation, ObservationId};
use crate::service::{Answer, Event, Received};
use ace_coap::numbers::option;
use ace_coap::security::ProtectError;
use ace_coap::{Code, Message, Type};
use std::sync::Arc;

impl Server {
    pub(super) async fn event(&mut self, event: Event) {
        match event {
            Event::Answer(number, answer) => {
                let Some(exchange) = self.in_flight.remove(&number) else { return };
                match exchange.notifies.clone() {
                    Some(notifies) => self.notify(exchange, notifies, answer).await,
                    None => self.respond(exchange, answer).await,
                }
            }
            Event::Changed(path) => {
                for notifies in self.observations.changed(&path) {
                    self.ask_for(notifies);
                }
            }
        }
    }

    /// Sends the answer to a request; with it an observation may begin or end.
    pub(super) async fn respond(&mut self, mut exchange: InFlight, answer: Answer) {
        let Answer { mut message, unprotected, observable } = answer;
        if exchange.budget.is_some() && !message.code.is_success() {
            // A refusal is cut where it is sent, not into blocks.
            exchange.request.options.remove(option::BLOCK2);
        }
        let owner = exchange.owner.clone();
        let id = ObservationId { owner, to: exchange.from, token: exchange.token.clone() };
        match exchange.request.options.uint(option::OBSERVE) {
            Some(0) if observable && message.code.is_success() => {
                let binding = exchange.binding.as_ref().map(|binding| self.security.observe(binding));
                let possible = !matches!(binding, Some(None));
                let observation = Observation::new(exchange.request.clone(), binding.flatten());
                if possible && self.observations.add(id, observation) {
                    message.options.set(option::OBSERVE, &[]);
                }
            }
            Some(1) => self.observations.remove(&id),
            _ => (),
        }
        let now = self.now();
        let message = self.transfers.response(now, &exchange.owner, &exchange.request, message, exchange.block1);
        self.protect_and_transmit(exchange, message, unprotected).await;
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
                    self.stats.unprotectable = self.stats.unprotectable.saturating_add(1);
                    tracing::debug!(%error, "an answer is dropped");
                    return self.end_without_answer(&exchange, Type::Reset).await;
                }
            },
        };
        self.transmit(&exchange, message).await;
    }

    /// Ends a confirmable exchange that gets no answer, so that the client does not send again and again.
    async fn end_without_answer(&mut self, exchange: &InFlight, kind: Type) {
        if exchange.kind == Type::Confirmable && !exchange.acknowledged {
            self.reply_empty(exchange.from, kind, exchange.id).await;
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
            message = reach::within(message, budget, || self.reach.challenge(now, exchange.from));
        }
        let separate = exchange.kind == Type::Confirmable && exchange.acknowledged;
        (message.kind, message.id) = match exchange.kind {
            Type::Confirmable if !separate => (Type::Acknowledgement, exchange.id),
            Type::Confirmable => (Type::Confirmable, self.fresh_id()),
            _ => (Type::NonConfirmable, self.fresh_id()),
        };
        let bytes: Arc<[u8]> = message.encode().into();
        if separate {
            self.retransmissions.add(now, &self.limits, exchange.from, message.id, Arc::clone(&bytes), None);
        } else {
            self.exchanges.answered(exchange.from, exchange.id, Arc::clone(&bytes));
        }
        self.send(exchange.from, &bytes).await;
    }

    const fn fresh_id(&mut self) -> u16 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    /// Asks a registration again; the answer goes out as a notification.
    pub(super) fn ask_for(&mut self, notifies: Notifies) {
        let Some(observation) = self.observations.of(&notifies) else { return };
        let request = observation.request.clone();
        let mut message = request.clone();
        message.options.remove(option::OBSERVE);
        let ObservationId { owner, to, token } = notifies.id.clone();
        let peer = match &owner {
            Owner::Peer(peer) => Some(peer.clone()),
            Owner::Address(_) => None,
        };
        let exchange = InFlight {
            from: to,
            kind: Type::NonConfirmable,
            id: 0,
            token,
            owner,
            binding: None,
            request,
            block1: None,
            outer_block1: None,
            acknowledged: false,
            budget: None,
            notifies: Some(notifies),
        };
        self.call(exchange, Received { peer, endpoint: to, fresh: false, message });
    }

    /// Sends a notification. An error ends the observation, and is sent without Observe.
    async fn notify(&mut self, exchange: InFlight, notifies: Notifies, answer: Answer) {
        let now = self.now();
        if self.observations.of(&notifies).is_none() {
            return;
        }
        let mut message = self.transfers.response(now, &exchange.owner, &exchange.request, answer.message, None);
        let ends = !message.code.is_success();
        let Some(observation) = self.observations.of(&notifies) else { return };
        if !ends {
            observation.number = observation.number.wrapping_add(1) & 0xff_ffff;
            message.options.remove(option::OBSERVE);
            message.options.push_uint(option::OBSERVE, observation.number);
        }
        let protected = match &observation.binding {
            None => Ok(message),
            Some(binding) => self.security.notify(message, binding),
        };
        if ends || protected == Err(ProtectError::NoAssociation) {
            self.observations.end(&notifies);
        }
        let mut message = match protected {
            Ok(message) => message,
            Err(error) => {
                self.stats.unprotectable = self.stats.unprotectable.saturating_add(1);
                tracing::debug!(%error, "a notification is dropped");
                if self.observations.settled(&notifies) {
                    self.ask_for(notifies);
                }
                return;
            }
        };
        message.token = exchange.token;
        (message.kind, message.id) = (Type::Confirmable, self.fresh_id());
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
