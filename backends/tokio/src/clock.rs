//! Where time and randomness come from: the operating system, or a test.

use ace_groupcomm::Now;
use rand_core::UnwrapErr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Now + Send + Sync>);

impl Clock {
    /// The clocks of the operating system.
    #[must_use]
    pub fn system() -> Self {
        let begun = Instant::now();
        Self::new(move || {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
            Now::new(unix, begun.elapsed())
        })
    }

    /// A clock of one's own.
    #[must_use]
    pub fn new(now: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        (self.0)()
    }
}

/// The operating system's generator. A program without it cannot make keys, and ends.
pub type OsRandom = UnwrapErr<getrandom::SysRng>;

/// The operating system's generator.
#[must_use]
pub const fn os_random() -> OsRandom {
    UnwrapErr(getrandom::SysRng)
}
