//! Sender sequence numbers, taken from blocks that were reserved durably (RFC 8613 sections 7.2 and B.1.1).

use crate::{Error, PartialIv};

/// The sequence numbers that a context may use: a block that its owner has reserved before.
///
/// After a crash the owner starts with the next block, so that no number is used twice. There is no way
/// back: a block can only be followed by one above it.
#[derive(Debug, PartialEq, Eq)]
pub struct Sequence {
    next: u64,
    limit: u64,
    size: u64,
}

impl Sequence {
    /// The numbers from `next` up to, not including, `limit`.
    #[must_use]
    pub const fn block(next: u64, limit: u64) -> Self {
        Self { next, limit, size: limit.saturating_sub(next) }
    }

    /// No numbers: each use is [`Error::NeedSequence`] until a block is given.
    #[must_use]
    pub const fn none() -> Self {
        Self::block(0, 0)
    }

    /// Every number that there is, for one who keeps the state in memory alone and derives a new context
    /// after a restart.
    #[must_use]
    pub const fn all() -> Self {
        Self::block(0, PartialIv::MAX + 1)
    }

    /// Adds the block up to, not including, `limit`. What does not reach beyond the present one is ignored.
    pub const fn extend(&mut self, start: u64, limit: u64) {
        if limit > self.limit {
            if start > self.next {
                self.next = start;
            }
            self.limit = limit;
            self.size = limit.saturating_sub(self.next);
        }
    }

    /// Takes the next number.
    ///
    /// # Errors
    /// [`Error::NeedSequence`] where the block is used up, [`Error::Exhausted`] where 2^40 numbers are.
    pub fn take(&mut self) -> Result<PartialIv, Error> {
        let number = PartialIv::new(self.next).ok_or(Error::Exhausted)?;
        if self.next >= self.limit {
            return Err(Error::NeedSequence);
        }
        self.next = self.next.saturating_add(1);
        Ok(number)
    }

    /// Whether half of the block is used, so that it is time to reserve the next.
    #[must_use]
    pub const fn runs_low(&self) -> bool {
        self.limit <= PartialIv::MAX && self.limit.saturating_sub(self.next) <= self.size / 2
    }

    /// Whether the block is used up, and another one would help.
    #[must_use]
    pub const fn is_used_up(&self) -> bool {
        self.next >= self.limit && !self.is_exhausted()
    }

    /// Whether there are no more numbers at all: the context has come to its end (RFC 8613 section 7.2.1).
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        self.next > PartialIv::MAX
    }

    /// The next number, and the end of what is reserved.
    #[must_use]
    pub const fn range(&self) -> (u64, u64) {
        (self.next, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    // Covers: TH-1-04/reserved-blocks
    #[test]
    fn numbers_come_from_the_block_and_end_with_it() {
        let mut sequence = Sequence::block(10, 14);
        let taken: Vec<u64> = core::iter::from_fn(|| sequence.take().ok()).map(PartialIv::number).collect();
        assert_eq!(taken, [10, 11, 12, 13]);
        assert_eq!(sequence.take(), Err(Error::NeedSequence));
        sequence.extend(5, 14);
        assert_eq!(sequence.take(), Err(Error::NeedSequence));
        sequence.extend(20, 22);
        assert_eq!(sequence.take().map(PartialIv::number), Ok(20));
        sequence.extend(3, 30);
        assert_eq!(sequence.take().map(PartialIv::number), Ok(21), "never back");
        assert_eq!(sequence.range(), (22, 30));
        sequence.extend(25, 30);
        assert_eq!(sequence.range(), (22, 30), "a block that is known changes nothing");
        assert_eq!(Sequence::none().take(), Err(Error::NeedSequence));
    }

    // Covers: TH-1-04/half-use
    #[test]
    fn half_a_block_is_the_time_for_the_next() {
        let mut sequence = Sequence::block(0, 4);
        assert!(!sequence.runs_low());
        sequence.take().unwrap();
        assert!(!sequence.runs_low());
        sequence.take().unwrap();
        assert!(sequence.runs_low());
        sequence.extend(4, 12);
        assert!(!sequence.runs_low());
        assert!(Sequence::none().runs_low());
    }

    #[test]
    fn a_block_is_used_up_and_numbers_come_to_their_end() {
        let mut sequence = Sequence::none();
        assert!(sequence.is_used_up() && !sequence.is_exhausted());
        sequence.extend(PartialIv::MAX - 1, PartialIv::MAX);
        assert!(!sequence.is_used_up());
        sequence.take().unwrap();
        assert!(sequence.is_used_up() && !sequence.is_exhausted(), "there is one more");
        sequence.extend(PartialIv::MAX, PartialIv::MAX + 1);
        assert!(!sequence.is_used_up() && !sequence.is_exhausted());
        assert_eq!(sequence.take().map(PartialIv::number), Ok(PartialIv::MAX));
        assert!(!sequence.is_used_up() && sequence.is_exhausted(), "no other block would help");
    }

    // Covers: OS-7.2.1-01
    #[test]
    fn the_last_number_is_used_and_nothing_behind_it() {
        let mut sequence = Sequence::block(PartialIv::MAX - 1, u64::MAX);
        assert_eq!(sequence.take().map(PartialIv::number), Ok(PartialIv::MAX - 1));
        assert_eq!(sequence.take().map(PartialIv::number), Ok(PartialIv::MAX));
        assert_eq!(sequence.take(), Err(Error::Exhausted));
        assert!(!Sequence::all().runs_low());
        assert_eq!(Sequence::all().range(), (0, 1 << 40));
    }
}
