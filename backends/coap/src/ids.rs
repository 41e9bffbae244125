//! Message IDs: none is used again with one endpoint within EXCHANGE_LIFETIME (RFC 7252 section 4.4), whatever is sent to
//! others meanwhile.
//!
//! What is known of an endpoint is when each sixteenth of the 65,536 IDs was begun.

use crate::Limits;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// IDs that one note is taken of.
const PART: u32 = 4_096;
/// How many such parts there are.
const PARTS: usize = 16;
/// Endpoints that are known. Beyond that the oldest are forgotten: their IDs begin at another random place then.
const ENDPOINTS: usize = 65_536;

/// The IDs of one endpoint.
struct Ids {
    next: u16,
    /// How many are left of the part that was begun last.
    left: u32,
    /// When the last parts were begun, the oldest first.
    begun: VecDeque<Duration>,
}

/// The message IDs of all endpoints.
pub(crate) struct MessageIds {
    of: HashMap<SocketAddr, Ids>,
    order: VecDeque<SocketAddr>,
    lifetime: Duration,
    /// How many endpoints there have been.
    serial: u64,
}

impl MessageIds {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { of: HashMap::new(), order: VecDeque::new(), lifetime: limits.exchange_lifetime, serial: 0 }
    }

    /// The next ID for an endpoint; `None` where all were used of late. `first` tells where the IDs of an endpoint begin,
    /// each time that it comes to be known.
    pub(crate) fn next(&mut self, now: Duration, to: SocketAddr, first: impl FnOnce(u64) -> u16) -> Option<u16> {
        if !self.of.contains_key(&to) {
            if self.order.len() >= ENDPOINTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.of.remove(&oldest);
            }
            self.serial = self.serial.wrapping_add(1);
            self.order.push_back(to);
            self.of.insert(to, Ids { next: first(self.serial), left: 0, begun: VecDeque::new() });
        }
        let ids = self.of.get_mut(&to)?;
        if ids.left == 0 {
            // The IDs of this part were used last before the part behind it was begun.
            if ids.begun.len() >= PARTS {
                let behind = ids.begun.get(1).copied().unwrap_or_default();
                if now.saturating_sub(behind) < self.lifetime {
                    return None;
                }
                ids.begun.pop_front();
            }
            ids.begun.push_back(now);
            ids.left = PART;
        }
        ids.left = ids.left.saturating_sub(1);
        let id = ids.next;
        ids.next = id.wrapping_add(1);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn to(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn no_id_comes_twice_to_one_endpoint_within_its_lifetime() {
        let mut ids = MessageIds::new(&Limits::default());
        let mut last: HashMap<u16, Duration> = HashMap::new();
        let (mut now, mut none) = (Duration::ZERO, 0);
        for round in 0..400_000_u64 {
            // Now and then there is more to be sent than IDs last for.
            now += Duration::from_micros(if round % 100_000 < 50_000 { 200 } else { 5_000 });
            let Some(id) = ids.next(now, to(1), |_| 65_000) else {
                none += 1;
                continue;
            };
            if let Some(before) = last.insert(id, now) {
                assert!(now - before >= Duration::from_secs(247), "{id} after {:?}", now - before);
            }
        }
        assert!(none > 0 && last.len() == 65_536, "{none} {}", last.len());
    }

    #[test]
    fn what_is_sent_to_others_uses_no_ids_of_an_endpoint() {
        let mut ids = MessageIds::new(&Limits::default());
        assert_eq!(ids.next(Duration::ZERO, to(1), |_| 7), Some(7));
        for _ in 0..65_535 {
            assert!(ids.next(Duration::ZERO, to(2), |_| 7).is_some());
        }
        assert_eq!(ids.next(Duration::ZERO, to(1), |_| 7), Some(8));
        assert!(ids.next(Duration::ZERO, to(2), |_| 7).is_some() && ids.next(Duration::ZERO, to(2), |_| 7).is_none());
        let lifetime = Limits::default().exchange_lifetime;
        assert_eq!(ids.next(lifetime, to(2), |_| 7), Some(7), "as soon as the first ones may come again");
    }

    #[test]
    fn endpoints_have_a_bound_and_begin_elsewhere_when_they_come_back() {
        let mut ids = MessageIds::new(&Limits::default());
        for number in 0..=ENDPOINTS {
            let address =
                SocketAddr::from(([10, 0, (number >> 16) as u8, (number >> 8) as u8], 1 + (number & 255) as u16));
            ids.next(Duration::ZERO, address, |serial| serial as u16);
        }
        assert_eq!((ids.of.len(), ids.order.len()), (ENDPOINTS, ENDPOINTS));
        let again = ids.next(Duration::ZERO, SocketAddr::from(([10, 0, 0, 0], 1)), |serial| serial as u16);
        assert_eq!(again, Some(2), "it is the 65,538th that comes to be known");
    }
}
