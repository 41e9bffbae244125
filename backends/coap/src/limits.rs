//! Bounds and times of an endpoint. Every table that a stranger can fill has one.

use std::time::Duration;

/// Bounds and times; the times' defaults are those of RFC 7252 section 4.8.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages of known peers that are remembered, so that a second one is answered without being handled again.
    pub exchanges: usize,
    /// The same, of strangers.
    pub exchanges_unknown: usize,
    /// Requests that are being handled; above that, 5.03.
    pub requests: usize,
    /// The same, of strangers; and of one known peer.
    pub requests_unknown: usize,
    /// Confirmable messages to one endpoint that are not acknowledged; further ones are sent once.
    pub unacknowledged: usize,
    /// Clients that are being asked something ([`Requester`](crate::Requester)).
    pub asking: usize,
    /// Bodies that come or go block by block, of peers that are known.
    pub transfers: usize,
    /// The same, of strangers; and of one known peer.
    pub transfers_unknown: usize,
    /// Largest body that is put together of blocks.
    pub body: usize,
    /// Bytes of all bodies that come or go block by block.
    pub bodies: usize,
    /// For how long a transfer is kept that does not go on.
    pub transfer_time: Duration,
    /// Size exponent of the blocks that are sent: 6 for 1,024 bytes.
    pub szx: u8,
    /// Bytes of messages that wait for what is needed of their peers; further ones are dropped.
    pub held: usize,
    /// Observations in all.
    pub observations: usize,
    /// Observations of one known peer; and of all others that have proven their address.
    pub observations_per_peer: usize,
    /// After which time a client is asked whether it still observes what does not change.
    pub observation_check: Duration,
    /// ACK_TIMEOUT, before the first retransmission.
    pub ack_timeout: Duration,
    /// MAX_RETRANSMIT.
    pub max_retransmit: u32,
    /// For how long a message ID is remembered: EXCHANGE_LIFETIME.
    pub exchange_lifetime: Duration,
    /// After which time a confirmable request is acknowledged that has no answer yet.
    pub separate_after: Duration,
    /// For how long a client waits for a separate response.
    pub response_timeout: Duration,
    /// For how long a client that got a reset or an unprotected answer to a protected request waits for the true
    /// answer: anybody can send the other.
    pub unprotected_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exchanges: 65_536,
            exchanges_unknown: 16_384,
            requests: 16_384,
            requests_unknown: 1_024,
            unacknowledged: 16,
            asking: 1_024,
            transfers: 4_096,
            transfers_unknown: 16,
            body: 262_144,
            bodies: 64 << 20,
            transfer_time: Duration::from_secs(30),
            szx: 6,
            held: 1 << 20,
            observations: 65_536,
            observations_per_peer: 16,
            observation_check: Duration::from_secs(24 * 3_600),
            ack_timeout: Duration::from_secs(2),
            max_retransmit: 4,
            exchange_lifetime: Duration::from_secs(247),
            separate_after: Duration::from_millis(500),
            response_timeout: Duration::from_secs(30),
            unprotected_wait: Duration::from_millis(500),
        }
    }
}
