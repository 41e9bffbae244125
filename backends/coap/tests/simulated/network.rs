//! A network that loses, repeats and reorders datagrams until it is whole again.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// When the network is whole again.
const HEALED: Duration = Duration::from_secs(400);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Datagrams under way, each from one address to another.
pub(crate) struct Network {
    rng: ChaCha12Rng,
    under_way: BTreeMap<(Duration, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    next: u64,
    pub(crate) trace: Vec<(Duration, Vec<u8>)>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: ChaCha12Rng::seed_from_u64(seed), under_way: BTreeMap::new(), next: 0, trace: Vec::new() }
    }

    pub(crate) fn draw(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below
    }

    pub(crate) fn send(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.trace.push((now, bytes.to_vec()));
        let is_bad = now < HEALED;
        let copies = match self.draw(10) {
            0..=2 if is_bad => 0,
            3..=4 if is_bad => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = if is_bad { 1 + self.draw(3_000) } else { 1 };
            self.next += 1;
            self.under_way.insert((now + ms(delay), self.next), (from, to, bytes.to_vec()));
        }
    }

    /// When the next datagram arrives.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    /// The next datagram that has arrived by now: from where, to where.
    pub(crate) fn arrival(&mut self, now: Duration) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
        let entry = self.under_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}
