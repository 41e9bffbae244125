//! Messages that were received: a second one with the same ID from the same place is not handled again, and gets
//! the identical bytes as answer (RFC 7252 section 4.5).

use crate::Limits;
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What is known of a message ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new.
    New,
    /// It is being handled, or was not answered at all.
    Unanswered,
    /// It was answered with these bytes.
    Answered(Arc<[u8]>),
}

type Id = (SocketAddr, u16);

/// When a message came, and what it was answered with.
type Known = (Duration, Option<Arc<[u8]>>);

/// The messages of the last minutes, as many as fit.
pub(crate) struct Exchanges {
    known: HashMap<Id, Known, RandomState>,
    order: VecDeque<(Duration, Id)>,
    limit: usize,
    lifetime: Duration,
}

impl Exchanges {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            known: HashMap::default(),
            order: VecDeque::new(),
            limit: limits.exchanges,
            lifetime: limits.exchange_lifetime,
        }
    }

    /// Looks a message up, and remembers it where it is new.
    pub(crate) fn see(&mut self, now: Duration, from: SocketAddr, id: u16) -> Seen {
        if let Some((came, answer)) = self.known.get(&(from, id))
            && now.saturating_sub(*came) < self.lifetime
        {
            return answer.clone().map_or(Seen::Unanswered, Seen::Answered);
        }
        self.forget(now);
        self.known.insert((from, id), (now, None));
        self.order.push_back((now, (from, id)));
        Seen::New
    }

    /// Remembers what a message was answered with.
    pub(crate) fn answered(&mut self, from: SocketAddr, id: u16, bytes: Arc<[u8]>) {
        if let Some((_, answer)) = self.known.get_mut(&(from, id)) {
            *answer = Some(bytes);
        }
    }

    /// A message that was given up: the same one again is new.
    pub(crate) fn abandon(&mut self, from: SocketAddr, id: u16) {
        self.known.remove(&(from, id));
    }

    /// Drops what is old, and the oldest where there is no room.
    fn forget(&mut self, now: Duration) {
        while let Some(&(came, id)) = self.order.front() {
            if self.order.len() < self.limit && now.saturating_sub(came) < self.lifetime {
                break;
            }
            self.order.pop_front();
            if self.known.get(&id).is_some_and(|(at, _)| *at == came) {
                self.known.remove(&id);
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.known.len()
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

    #[test]
    fn a_second_message_gets_the_same_bytes() {
        let mut exchanges = Exchanges::new(&Limits::default());
        assert_eq!(exchanges.see(at(0), from(1), 7), Seen::New);
        assert_eq!(exchanges.see(at(0), from(1), 7), Seen::Unanswered);
        let bytes: Arc<[u8]> = [1, 2].into();
        exchanges.answered(from(1), 7, Arc::clone(&bytes));
        assert_eq!(exchanges.see(at(246), from(1), 7), Seen::Answered(bytes));
        assert_eq!(exchanges.see(at(1), from(2), 7), Seen::New, "another place");
        assert_eq!(exchanges.see(at(1), from(1), 8), Seen::New, "another ID");
        assert_eq!(exchanges.see(at(247), from(1), 7), Seen::New, "long ago");
        exchanges.answered(from(9), 9, [0].into());
    }

    #[test]
    fn the_table_has_a_bound() {
        let mut exchanges = Exchanges::new(&Limits { exchanges: 10, ..Limits::default() });
        for id in 0..1_000 {
            assert_eq!(exchanges.see(at(0), from(1), id), Seen::New);
        }
        assert_eq!(exchanges.len(), 10);
        assert_eq!(exchanges.see(at(0), from(1), 999), Seen::Unanswered);
        assert_eq!(exchanges.see(at(0), from(1), 0), Seen::New, "forgotten");
    }
}
