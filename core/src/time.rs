//! Time, which is always handed in.

use core::time::Duration;

/// One moment, on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Seconds since 1970, UTC. It may jump.
    pub unix: u64,
    /// Time since the process began. It never goes back.
    pub mono: Duration,
}

impl Now {
    /// A moment on both clocks.
    #[must_use]
    pub const fn new(unix: u64, mono: Duration) -> Self {
        Self { unix, mono }
    }

    /// The moment that is so much later on both clocks.
    #[must_use]
    pub const fn plus(self, later: Duration) -> Self {
        Self { unix: self.unix.saturating_add(later.as_secs()), mono: self.mono.saturating_add(later) }
    }
}
