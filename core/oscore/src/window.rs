//! The replay window of a server (RFC 8613 section 7.4).

/// Remembers which of the last 64 sequence numbers were received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayWindow {
    /// The lowest number that was never received and is above all received ones.
    next: u64,
    /// Bit i tells whether `next - 1 - i` was received, or must count as received.
    seen: u64,
}

impl ReplayWindow {
    /// How many numbers back a message may be.
    pub const SIZE: u64 = 64;

    /// The window of a context from which nothing was received yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: 0, seen: 0 }
    }

    /// A window in which every number up to this one counts as received (RFC 8613 appendix B.1.2).
    #[must_use]
    pub const fn after(number: u64) -> Self {
        Self { next: number.saturating_add(1), seen: u64::MAX }
    }

    /// Whether a message with this number would be new. Nothing changes: that has to wait for decryption.
    #[must_use]
    pub const fn is_new(&self, number: u64) -> bool {
        if number >= self.next {
            return true;
        }
        let back = self.next.saturating_sub(number).saturating_sub(1);
        back < Self::SIZE && (self.seen >> back) & 1 == 0
    }

    /// Marks a number as received. Call it after decryption only.
    pub const fn mark(&mut self, number: u64) {
        if number >= self.next {
            let ahead = number.saturating_sub(self.next).saturating_add(1);
            self.seen = if ahead >= Self::SIZE { 0 } else { self.seen << ahead };
            self.seen |= 1;
            self.next = number.saturating_add(1);
        } else {
            let back = self.next.saturating_sub(number).saturating_sub(1);
            if back < Self::SIZE {
                self.seen |= 1 << back;
            }
        }
    }
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: OS-7.4-01
    #[test]
    fn each_number_is_new_once_within_the_window() {
        let mut window = ReplayWindow::new();
        for number in [0, 5, 3, 64, 1, 70] {
            assert!(window.is_new(number), "{number}");
            window.mark(number);
            assert!(!window.is_new(number), "{number}");
        }
        assert!(window.is_new(7) && !window.is_new(6), "70 - 63 is the oldest in the window");
        // 70 - 64 has just left the window: there is no bit for it.
        let before = window.clone();
        window.mark(6);
        assert_eq!(window, before);
        window.mark(2);
        assert_eq!(window, before);
        window.mark(1_000);
        assert!(!window.is_new(70) && !window.is_new(936) && window.is_new(937) && window.is_new(999));
    }

    #[test]
    fn a_jump_of_exactly_the_window_forgets_what_was_before() {
        let mut window = ReplayWindow::new();
        window.mark(0);
        window.mark(63);
        assert!(!window.is_new(0) && window.is_new(1));
        window.mark(64);
        assert!(window.is_new(1) && !window.is_new(0) && !window.is_new(63));
        let mut far = ReplayWindow::new();
        far.mark(10);
        far.mark(10 + 64);
        assert!(far.is_new(11) && far.is_new(73) && !far.is_new(10));
    }

    #[test]
    fn after_a_restart_only_later_numbers_are_new() {
        let window = ReplayWindow::after(20);
        assert!(!window.is_new(0) && !window.is_new(20) && window.is_new(21));
        let mut window = ReplayWindow::after(20);
        window.mark(25);
        assert!(window.is_new(24) && !window.is_new(20));
    }
}
