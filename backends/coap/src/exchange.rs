//! Messages that were received: the same message from the same place is not handled again, and gets the identical
//! bytes as answer (RFC 7252 section 4.5).
//!
//! Whoever uses a message ID of somebody else, with that one's address, makes another message of it: only the same
//! bytes are the same message. Those of peers that are known have a table of their own, which strangers cannot fill.

use crate::Limits;
use foldhash::fast::RandomState as Fast;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
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

/// Names a message: where it came from, its ID, and a keyed hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MessageKey {
    pub(crate) from: SocketAddr,
    pub(crate) id: u16,
    hash: u64,
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

    /// Looks a message up, and remembers it where it is new.
    pub(crate) fn see(&mut self, now: Duration, from: SocketAddr, id: u16, datagram: &[u8]) -> (MessageKey, Seen) {
        let key = MessageKey { from, id, hash: self.hasher.hash_one(datagram) };
        for pool in [&self.peers, &self.strangers] {
            if let Some((came, answer)) = pool.known.get(&key)
                && now.saturating_sub(*came) < self.lifetime
            {
                return (key, answer.clone().map_or(Seen::Unanswered, Seen::Answered));
            }
        }
        self.strangers.add(now, key, self.lifetime);
        (key, Seen::New)
    }

    /// A message has turned out to be a known peer's.
    pub(crate) fn trust(&mut self, key: &MessageKey) {
        if let Some((came, _)) = self.strangers.known.remove(key) {
            self.peers.add(came, *key, self.lifetime);
        }
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

    /// A message that was given up: the same one again is new.
    pub(crate) fn abandon(&mut self, key: &MessageKey) {
        self.strangers.known.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    // Covers: TH-1-03
    #[test]
    fn the_same_message_gets_the_same_bytes() {
        let mut exchanges = Exchanges::new(&Limits::default());
        let (key, seen) = exchanges.see(at(0), from(1), 7, b"a");
        assert_eq!(seen, Seen::New);
        assert_eq!(exchanges.see(at(0), from(1), 7, b"a"), (key, Seen::Unanswered));
        let bytes: Arc<[u8]> = [1, 2].into();
        exchanges.answered(&key, Arc::clone(&bytes));
        assert_eq!(exchanges.see(at(246), from(1), 7, b"a").1, Seen::Answered(Arc::clone(&bytes)));
        assert_eq!(exchanges.see(at(1), from(2), 7, b"a").1, Seen::New, "another place");
        assert_eq!(exchanges.see(at(1), from(1), 8, b"a").1, Seen::New, "another ID");
        assert_eq!(exchanges.see(at(1), from(1), 7, b"b").1, Seen::New, "other bytes");
        assert_eq!(exchanges.see(at(2), from(1), 7, b"a").1, Seen::Answered(bytes), "which take nothing away");
        assert_eq!(exchanges.see(at(247), from(1), 7, b"a").1, Seen::New, "long ago");
        let (given_up, _) = exchanges.see(at(1), from(3), 1, b"x");
        exchanges.abandon(&given_up);
        exchanges.answered(&given_up, [0].into());
        assert_eq!(exchanges.see(at(1), from(3), 1, b"x").1, Seen::New);
    }

    #[test]
    fn tables_have_bounds_and_strangers_fill_their_own() {
        let limits = Limits { exchanges: 5, exchanges_unknown: 10, ..Limits::default() };
        let mut exchanges = Exchanges::new(&limits);
        let (known, _) = exchanges.see(at(0), from(9), 1, b"peer");
        exchanges.trust(&known);
        exchanges.trust(&known);
        exchanges.answered(&known, [7].into());
        for id in 0..1_000 {
            assert_eq!(exchanges.see(at(0), from(1), id, b"a").1, Seen::New);
        }
        assert_eq!((exchanges.strangers.known.len(), exchanges.peers.known.len()), (10, 1));
        assert_eq!(exchanges.see(at(0), from(1), 999, b"a").1, Seen::Unanswered);
        assert_eq!(exchanges.see(at(0), from(1), 0, b"a").1, Seen::New, "forgotten");
        assert_eq!(exchanges.see(at(246), from(9), 1, b"peer").1, Seen::Answered([7].into()));
        for id in 0..100 {
            let (key, _) = exchanges.see(at(1), from(9), id, b"more");
            exchanges.trust(&key);
        }
        assert_eq!(exchanges.peers.known.len(), 5);
        assert_eq!(exchanges.see(at(247), from(9), 1, b"peer").1, Seen::New);
    }
}
