//! What clients are sent that have not asked for it.

use super::Simulation;
use super::clients::client_at;
use crate::delivery::{Delivered, Delivery};
use crate::request::Method;
use crate::testkit::ledger::Violation;
use ace_groupcomm_messages::RekeyingMessage;

impl Simulation {
    /// A request goes to a client, or is lost on the way, or its answer is. What it says must hold, whether it arrives or not.
    pub(super) fn deliver(&mut self, delivery: &Delivery) -> Result<Delivered, Violation> {
        let (is_lost, is_unanswered) = (self.is_lost(), self.is_lost());
        let number = client_at(&delivery.to).ok_or(Violation::Setup)?;
        self.note("deliver", number);
        // A message under an association that another client has by now verifies nowhere.
        let is_its = self.names.get(&delivery.association) == Some(&number);
        let Some(client) = self.clients.get_mut(number).filter(|_| is_its) else { return Ok(Delivered::Silent) };
        let num = match delivery.request.method {
            Method::Delete => None,
            _ => Some(RekeyingMessage::decode(&delivery.request.payload).map_err(|_| Violation::Setup)?.material.num),
        };
        if let Some(num) = num {
            self.ledger.was_told_key(client.principal(), num, 0)?;
        }
        if is_lost || client.at().is_none_or(|(id, _)| id != delivery.association) {
            return Ok(Delivered::Silent);
        }
        match num {
            Some(num) => client.takes(num),
            None => client.is_out(),
        }
        self.summary.deliveries = self.summary.deliveries.saturating_add(1);
        Ok(if is_unanswered { Delivered::Silent } else { Delivered::Confirmed })
    }
}
