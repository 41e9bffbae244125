//! Confirmable messages that were sent and wait for their acknowledgement (RFC 7252 section 4.2).

use crate::Limits;
use crate::observe::Notifies;
use crate::socket::AddressPair;
use ace_coap::security::{PeerId, SessionId};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What was sent: a Reset, or silence, ends more than the message.
pub(crate) enum Sent {
    Response,
    /// A notification: its observation ends.
    Notification(Notifies),
    /// A request to this peer.
    Request(PeerId),
}

/// A message that waits.
pub(crate) struct Unacknowledged {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) what: Sent,
    to: AddressPair,
    due: Duration,
    interval: Duration,
    left: u32,
}

/// What has to be done about a message now.
pub(crate) enum Due {
    /// Send it again.
    Send(AddressPair, Arc<[u8]>),
    /// Nobody answers: give up.
    GiveUp(Sent),
}

/// To whom a message went, in which session, and its message ID.
type Key = (SocketAddr, Option<SessionId>, u16);

const fn key(to: AddressPair, id: u16) -> Key {
    (to.remote, to.session, id)
}

/// All messages that wait.
#[derive(Default)]
pub(crate) struct Retransmissions {
    waiting: HashMap<Key, Unacknowledged>,
    due: BTreeSet<(Duration, Key)>,
    /// How many wait for each endpoint.
    counts: HashMap<SocketAddr, usize>,
}

impl Retransmissions {
    /// Whether one more message to an endpoint can be confirmable.
    pub(crate) fn has_room(&self, limits: &Limits, to: SocketAddr) -> bool {
        self.counts.get(&to).copied().unwrap_or(0) < limits.unacknowledged
    }

    fn remove(&mut self, key: Key) -> Option<Unacknowledged> {
        let waiting = self.waiting.remove(&key)?;
        if let Some(count) = self.counts.get_mut(&key.0) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&key.0);
            }
        }
        Some(waiting)
    }

    /// Adds a message that was sent just now.
    pub(crate) fn add(
        &mut self,
        now: Duration,
        limits: &Limits,
        to: AddressPair,
        id: u16,
        bytes: Arc<[u8]>,
        what: Sent,
    ) {
        // ACK_RANDOM_FACTOR is taken from the message ID: it spreads the load, and is no secret.
        let spread = limits.ack_timeout.saturating_mul(u32::from(id & 511)).checked_div(1_024).unwrap_or_default();
        let interval = limits.ack_timeout.saturating_add(spread);
        let due = now.saturating_add(interval);
        let left = limits.max_retransmit;
        self.due.insert((due, key(to, id)));
        let count = self.counts.entry(to.remote).or_default();
        *count = count.saturating_add(1);
        self.waiting.insert(key(to, id), Unacknowledged { bytes, what, to, due, interval, left });
    }

    /// The other side has answered: with an acknowledgement or a Reset.
    pub(crate) fn settle(&mut self, from: AddressPair, id: u16) -> Option<Unacknowledged> {
        let key = key(from, id);
        let waiting = self.remove(key)?;
        self.due.remove(&(waiting.due, key));
        Some(waiting)
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.due.first().map(|&(at, _)| at)
    }

    /// What is due; `None` where nothing is.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Due> {
        let &(at, key) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, key));
        let waiting = self.waiting.get_mut(&key)?;
        if waiting.left == 0 {
            return self.remove(key).map(|waiting| Due::GiveUp(waiting.what));
        }
        waiting.left = waiting.left.saturating_sub(1);
        waiting.interval = waiting.interval.saturating_mul(2);
        waiting.due = now.saturating_add(waiting.interval);
        self.due.insert((waiting.due, key));
        Some(Due::Send(waiting.to, Arc::clone(&waiting.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_double_and_end() {
        let (limits, to) = (Limits::default(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut all = Retransmissions::default();
        all.add(Duration::ZERO, &limits, to.into(), 0, [1].into(), Sent::Response);
        let mut sent = Vec::new();
        let end = loop {
            let now = all.next().unwrap();
            match all.due(now).unwrap() {
                Due::Send(..) => sent.push(now.as_secs()),
                Due::GiveUp(_) => break now,
            }
            assert!(all.due(now).is_none());
        };
        assert_eq!((sent, end.as_secs()), (vec![2, 6, 14, 30], 62));
        assert_eq!(all.next(), None);
    }

    #[test]
    fn an_acknowledgement_ends_it() {
        let (limits, to) = (Limits::default(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut all = Retransmissions::default();
        all.add(Duration::ZERO, &limits, to.into(), 511, [1].into(), Sent::Response);
        assert_eq!(all.next(), Some(Duration::from_micros(2_998_046) + Duration::from_nanos(875)));
        assert!(all.settle(to.into(), 5).is_none());
        assert_eq!(all.settle(to.into(), 511).unwrap().bytes.as_ref(), [1]);
        assert!(all.settle(to.into(), 511).is_none() && all.next().is_none());
        let limits = Limits { unacknowledged: 2, ..limits };
        for id in 0..2 {
            assert!(all.has_room(&limits, to));
            all.add(Duration::ZERO, &limits, to.into(), id, [1].into(), Sent::Response);
        }
        assert!(!all.has_room(&limits, to) && all.has_room(&limits, SocketAddr::from(([127, 0, 0, 1], 2))));
        all.settle(to.into(), 0);
        assert!(all.has_room(&limits, to));
        all.add(Duration::ZERO, &limits, to.into(), 2, [1].into(), Sent::Response);
        assert!(!all.has_room(&limits, to));
        all.settle(to.into(), 1);
        all.settle(to.into(), 2);
        assert!(all.counts.is_empty());
    }
}
