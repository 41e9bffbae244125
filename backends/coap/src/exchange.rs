//! Messages that were received: the same message from the same place is not handled again, and gets the identical
//! bytes as answer (RFC 7252 section 4.5).
//!
//! Whoever uses a message ID of somebody else, with that one's address, makes another message of it: only the same
//! bytes are the same message. Those of peers that are known have a table of their own, which strangers cannot fill.

use crate::Limits;
use crate::socket::AddressPair;
use foldhash::fast::RandomState as Fast;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// What is known of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new.
    New,
    /// It is being handled, or was not answered at all.
    Unanswered,
    /// It was answered with these bytes.
    Answered(Arc<[u8]>),
}

/// Names a message: between whom it went, its ID, and a keyed hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageKey {
    from: AddressPair,
    id: u16,
    hash: u64,
}

/// By the hash of its bytes alone: it is keyed already.
impl Hash for MessageKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// When a message came, and what it was answered with.
type Known = (Duration, Option<Arc<[u8]>>);

/// As many messages of the last minutes as fit.
struct Pool {
    known: HashMap<MessageKey, Known, Fast>,
    order: VecDeque<(Duration, MessageKey)>,
    limit: usize,
}

impl Pool {
    fn new(limit: usize) -> Self {
        Self { known: HashMap::default(), order: VecDeque::new(), limit }
    }

    fn add(&mut self, now: Duration, key: MessageKey, lifetime: Duration) {
        // What is old goes, and the oldest where there is no room.
        while let Some(&(came, oldest)) = self.order.front() {
            if self.order.len() < self.limit && now.saturating_sub(came) < lifetime {
                break;
            }
            self.order.pop_front();
            if self.known.get(&oldest).is_some_and(|(at, _)| *at == came) {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(key, (now, None));
        self.order.push_back((now, key));
    }
}

/// The messages of the last minutes.
pub(crate) struct Exchanges {
    strangers: Pool,
    peers: Pool,
    lifetime: Duration,
    hasher: RandomState,
}

impl Exchanges {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            strangers: Pool::new(limits.exchanges_unknown),
            peers: Pool::new(limits.exchanges),
            lifetime: limits.exchange_lifetime,
            hasher: RandomState::new(),
        }
    }

    /// Looks a message up. One that is new has to be remembered, unless nobody acts on it.
    pub(crate) fn see(&self, now: Duration, from: AddressPair, id: u16, datagram: &[u8]) -> (MessageKey, Seen) {
        let key = MessageKey { from, id, hash: self.hasher.hash_one(datagram) };
        for pool in [&self.peers, &self.strangers] {
            if let Some((came, answer)) = pool.known.get(&key)
                && now.saturating_sub(*came) < self.lifetime
            {
                return (key, answer.clone().map_or(Seen::Unanswered, Seen::Answered));
            }
        }
        (key, Seen::New)
    }

    /// Remembers a new message, a known peer's or a stranger's.
    pub(crate) fn remember(&mut self, now: Duration, key: MessageKey, is_peers: bool) {
        let pool = if is_peers { &mut self.peers } else { &mut self.strangers };
        pool.add(now, key, self.lifetime);
    }

    /// Remembers what a message was answered with.
    pub(crate) fn answered(&mut self, key: &MessageKey, bytes: Arc<[u8]>) {
        for pool in [&mut self.peers, &mut self.strangers] {
            if let Some((_, answer)) = pool.known.get_mut(key) {
                *answer = Some(bytes);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: u16) -> AddressPair {
        std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    impl Exchanges {
        fn take(&mut self, seconds: u64, port: u16, id: u16, bytes: &[u8], is_peers: bool) -> (MessageKey, Seen) {
            let (key, seen) = self.see(at(seconds), from(port), id, bytes);
            if seen == Seen::New {
                self.remember(at(seconds), key, is_peers);
            }
            (key, seen)
        }
    }

    // Covers: TH-1-03/identical-bytes
    #[test]
    fn the_same_message_gets_the_same_bytes() {
        let mut exchanges = Exchanges::new(&Limits::default());
        let (key, seen) = exchanges.take(0, 1, 7, b"a", false);
        assert_eq!(seen, Seen::New);
        assert_eq!(exchanges.take(0, 1, 7, b"a", true), (key, Seen::Unanswered));
        let bytes: Arc<[u8]> = [1, 2].into();
        exchanges.answered(&key, Arc::clone(&bytes));
        let mut seen = |seconds, port, id, text| exchanges.take(seconds, port, id, text, false).1;
        assert_eq!(seen(246, 1, 7, b"a"), Seen::Answered(Arc::clone(&bytes)));
        assert_eq!(seen(1, 2, 7, b"a"), Seen::New, "another place");
        assert_eq!(seen(1, 1, 8, b"a"), Seen::New, "another ID");
        assert_eq!(seen(1, 1, 7, b"b"), Seen::New, "other bytes");
        assert_eq!(seen(2, 1, 7, b"a"), Seen::Answered(bytes), "which take nothing away");
        assert_eq!(seen(247, 1, 7, b"a"), Seen::New, "long ago");
        let (forgotten, _) = exchanges.see(at(1), from(3), 1, b"x");
        exchanges.answered(&forgotten, [0].into());
        assert_eq!(exchanges.see(at(1), from(3), 1, b"x").1, Seen::New, "nobody remembered it");
    }

    #[test]
    fn tables_have_bounds_and_strangers_fill_their_own() {
        let limits = Limits { exchanges: 5, exchanges_unknown: 10, ..Limits::default() };
        let mut exchanges = Exchanges::new(&limits);
        let (known, _) = exchanges.take(0, 9, 1, b"peer", true);
        exchanges.answered(&known, [7].into());
        for id in 0..1_000 {
            assert_eq!(exchanges.take(0, 1, id, b"a", false).1, Seen::New);
        }
        assert_eq!((exchanges.strangers.known.len(), exchanges.peers.known.len()), (10, 1));
        assert_eq!(exchanges.take(0, 1, 999, b"a", false).1, Seen::Unanswered);
        assert_eq!(exchanges.take(0, 1, 0, b"a", false).1, Seen::New, "forgotten");
        assert_eq!(exchanges.take(246, 9, 1, b"peer", true).1, Seen::Answered([7].into()));
        for id in 0..100 {
            exchanges.take(1, 9, id, b"more", true);
        }
        assert_eq!((exchanges.peers.known.len(), exchanges.peers.order.len()), (5, 5));
        assert_eq!(exchanges.see(at(2), from(9), 1, b"peer").1, Seen::New);
    }
}
