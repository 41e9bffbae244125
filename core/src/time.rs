//! Time, which is always handed in, and is not always right.

use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// A time of day, in whole seconds since 1970-01-01T00:00:00Z without leap seconds, as CWT claims have it (RFC 8392 section 2).
/// Stored as the number alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The beginning of 1970.
    pub const EPOCH: Self = Self(0);

    /// The time so many seconds after 1970 began.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Returns the seconds since 1970.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Returns the time that is so much later, in whole seconds; at most the last one that there is.
    #[must_use]
    pub const fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time.as_secs()))
    }

    /// Returns the time that is so much earlier, in whole seconds; not before 1970.
    #[must_use]
    pub const fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time.as_secs()))
    }

    /// Returns how long it is from this time to a later one; nothing where that is not later.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_secs(later.0.saturating_sub(self.0))
    }
}

/// The seconds since 1970, in decimal.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One moment, on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// The time of day. It may jump.
    pub unix: UnixTime,
    /// Time since the process began. It never goes back.
    pub mono: Duration,
    jumped: bool,
}

impl Now {
    /// A moment on both clocks: seconds since 1970, and the time since the process began.
    #[must_use]
    pub const fn new(seconds: u64, mono: Duration) -> Self {
        Self { unix: UnixTime::new(seconds), mono, jumped: false }
    }

    /// The moment that is so much later on both clocks.
    #[must_use]
    pub const fn plus(self, later: Duration) -> Self {
        Self { unix: self.unix.plus(later), mono: self.mono.saturating_add(later), jumped: false }
    }

    /// Whether the time of day has run away from the other clock. Requests are judged by it all the same, but
    /// nothing is ended for good.
    #[must_use]
    pub const fn has_jumped(self) -> bool {
        self.jumped
    }
}

/// Watches the time of day: it never goes back, and where it jumps ahead that is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// The last moment that was plausible.
    last: Option<Now>,
    /// The largest jump that is taken for a correction.
    largest_jump: Duration,
}

impl Watch {
    pub(crate) const fn new(largest_jump: Duration) -> Self {
        Self { last: None, largest_jump }
    }

    /// What a moment is to be taken for.
    pub(crate) fn look(&self, now: Now) -> Now {
        let Some(last) = self.last else { return now };
        let most = last.plus(now.mono.saturating_sub(last.mono)).plus(self.largest_jump);
        Now { unix: now.unix.max(last.unix), jumped: now.unix > most.unix, ..now }
    }

    /// The same, and remembers it.
    pub(crate) fn tick(&mut self, now: Now) -> Now {
        let seen = self.look(now);
        if !seen.jumped {
            self.last = Some(seen);
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix: u64, mono: u64) -> Now {
        Now::new(unix, Duration::from_secs(mono))
    }

    #[test]
    fn times_of_day_stay_within_what_there_is() {
        let (time, hour) = (UnixTime::new(5_000), Duration::from_secs(3_600));
        assert_eq!((time.plus(hour), time.minus(hour)), (UnixTime::new(8_600), UnixTime::new(1_400)));
        assert_eq!((time.minus(hour * 2), UnixTime::new(u64::MAX).plus(hour).seconds()), (UnixTime::EPOCH, u64::MAX));
        assert_eq!(
            (time.until(UnixTime::new(5_007)), time.until(UnixTime::EPOCH)),
            (Duration::from_secs(7), Duration::ZERO)
        );
        assert_eq!(time.to_string(), "5000");
    }

    // Covers: TH-2-07/clock-jump
    #[test]
    fn the_time_of_day_never_goes_back_and_does_not_run_away() {
        let mut watch = Watch::new(Duration::from_secs(100));
        assert_eq!(watch.tick(at(5_000, 1)), at(5_000, 1), "the first moment is what it is");
        assert_eq!(watch.tick(at(1_400, 2)), at(5_000, 2), "an hour back");
        assert_eq!(watch.tick(at(5_010, 3)), at(5_010, 3));
        assert_eq!(watch.tick(at(5_111, 4)), at(5_111, 4), "a second has passed, and a hundred are a correction");
        let jumped = watch.tick(at(5_214, 6));
        assert_eq!((jumped.unix, jumped.has_jumped()), (UnixTime::new(5_214), true));
        assert!(watch.look(at(400_000_000, 7)).has_jumped(), "ten years");
        assert_eq!(watch.tick(at(5_115, 8)), at(5_115, 8), "the jump is not remembered");
        assert!(!watch.tick(at(5_116 + 3_700, 3_609)).has_jumped(), "time passes on both clocks");
    }
}
