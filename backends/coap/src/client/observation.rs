//! An observation, at the client that has asked for it (RFC 7641).

use super::Exchange;
use ace_coap::Message;
use ace_coap::numbers::option;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An observation of a resource. Who drops it is sent no more: the next notification is reset.
pub struct Observation {
    pub(super) exchange: Exchange,
    pub(super) request: Message,
    /// The number of the newest notification, and when it came.
    pub(super) last: Option<(u32, Instant)>,
    pub(super) _held: Arc<()>,
}

impl Observation {
    /// Whether a notification is newer than those before (RFC 7641 section 3.4); the last one has no number. What
    /// protects them has seen to that, where something does.
    pub(super) fn is_newer(&mut self, notification: &Message) -> bool {
        if self.exchange.is_protected {
            return true;
        }
        let Some(number) = notification.options.uint(option::OBSERVE) else { return true };
        let now = Instant::now();
        let newer = self.last.is_none_or(|(before, at)| {
            let ahead = number.wrapping_sub(before) & 0xff_ffff;
            (1..0x80_0000).contains(&ahead) || now.duration_since(at) > Duration::from_secs(128)
        });
        if newer {
            self.last = Some((number, now));
        }
        newer
    }
}
