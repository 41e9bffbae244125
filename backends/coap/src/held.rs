//! Messages that wait for what is needed of their peers, e.g. an association that is being looked up.

use crate::Limits;
use crate::exchange::MessageKey;
use ace_coap::Message;
use ace_coap::security::PeerId;
use std::collections::{HashMap, HashSet};

/// What a message takes beside its payload, about.
const OVERHEAD: usize = 512;

/// Messages that wait, each with what belongs to it.
pub(crate) struct Held<T> {
    of: HashMap<PeerId, Vec<(MessageKey, T, Message)>>,
    keys: HashSet<MessageKey>,
    bytes: usize,
    limit: usize,
}

const fn size(message: &Message) -> usize {
    message.payload.len().saturating_add(OVERHEAD)
}

impl<T> Held<T> {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { of: HashMap::new(), keys: HashSet::new(), bytes: 0, limit: limits.held }
    }

    /// Whether this very message waits.
    pub(crate) fn has(&self, key: &MessageKey) -> bool {
        self.keys.contains(key)
    }

    /// Lets a message wait, where there is room for it.
    pub(crate) fn add(&mut self, peer: PeerId, key: MessageKey, with: T, message: Message) {
        let bytes = self.bytes.saturating_add(size(&message));
        if bytes <= self.limit && self.keys.insert(key) {
            self.bytes = bytes;
            self.of.entry(peer).or_default().push((key, with, message));
        }
    }

    /// Those that waited for a peer, in the order in which they came.
    pub(crate) fn take(&mut self, peer: &PeerId) -> Vec<(T, Message)> {
        let taken = self.of.remove(peer).unwrap_or_default();
        for (key, _, message) in &taken {
            self.keys.remove(key);
            self.bytes = self.bytes.saturating_sub(size(message));
        }
        taken.into_iter().map(|(_, with, message)| (with, message)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Exchanges;

    use ace_coap::Code;
    use std::time::Duration;

    #[test]
    fn messages_wait_in_order_and_within_a_bound() {
        let mut held = Held::new(&Limits { held: 3 * (OVERHEAD + 10), ..Limits::default() });
        let exchanges = Exchanges::new(&Limits::default());
        let key = |id| exchanges.see(Duration::ZERO, std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into(), id, b"").0;
        let (one, other) = (PeerId::new(b"1"), PeerId::new(b"2"));
        let message = Message { payload: vec![0; 10], ..Message::request(Code::POST) };
        for (number, peer) in [(1, &one), (2, &other), (3, &one), (3, &other), (4, &one)] {
            held.add(peer.clone(), key(number), number, message.clone());
        }
        assert!(held.has(&key(3)) && !held.has(&key(4)), "there is no room for the fourth");
        let numbers = |taken: Vec<(u16, Message)>| taken.into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(numbers(held.take(&one)), [1, 3]);
        assert_eq!(numbers(held.take(&one)), [0; 0]);
        assert!(!held.has(&key(3)));
        for number in [4, 5, 6] {
            held.add(one.clone(), key(number), number, message.clone());
        }
        assert_eq!((numbers(held.take(&other)), numbers(held.take(&one))), (vec![2], vec![4, 5]));
    }
}
