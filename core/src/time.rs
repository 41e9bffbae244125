//! Time, which is always handed in, and is not always right.

use core::time::Duration;

/// One moment, on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Seconds since 1970, UTC. It may jump.
    pub unix: u64,
    /// Time since the process began. It never goes back.
    pub mono: Duration,
    jumped: bool,
}

impl Now {
    /// A moment on both clocks.
    #[must_use]
    pub const fn new(unix: u64, mono: Duration) -> Self {
        Self { unix, mono, jumped: false }
    }

    /// The moment that is so much later on both clocks.
    #[must_use]
    pub const fn plus(self, later: Duration) -> Self {
        Self::new(self.unix.saturating_add(later.as_secs()), self.mono.saturating_add(later))
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

    // Covers: TH-2-07/clock-jump
    #[test]
    fn the_time_of_day_never_goes_back_and_does_not_run_away() {
        let mut watch = Watch::new(Duration::from_secs(100));
        assert_eq!(watch.tick(at(5_000, 1)), at(5_000, 1), "the first moment is what it is");
        assert_eq!(watch.tick(at(1_400, 2)), at(5_000, 2), "an hour back");
        assert_eq!(watch.tick(at(5_010, 3)), at(5_010, 3));
        assert_eq!(watch.tick(at(5_111, 4)), at(5_111, 4), "a second has passed, and a hundred are a correction");
        let jumped = watch.tick(at(5_214, 6));
        assert_eq!((jumped.unix, jumped.has_jumped()), (5_214, true));
        assert!(watch.look(at(400_000_000, 7)).has_jumped(), "ten years");
        assert_eq!(watch.tick(at(5_115, 8)), at(5_115, 8), "the jump is not remembered");
        assert!(!watch.tick(at(5_116 + 3_700, 3_609)).has_jumped(), "time passes on both clocks");
    }
}
