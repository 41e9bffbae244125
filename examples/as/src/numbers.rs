//! The sequence numbers of an AS. It uses them for Echo alone, under contexts that its configuration gives: so no number
//! may come twice, whenever it is started again.
//!
//! They follow the time, 256 a second, which lasts until 2106; in memory nothing else is known. On storage that lasts they
//! are reserved as well, an hour's ahead, so that a clock that was set back repeats none.

use ace_backend_tokio::Clock;
use ace_groupcomm::records::SequenceLimit;
use ace_groupcomm::traits::storage::{CommitOutcome, Storage, StorageError, Txn};
use ace_groupcomm::{RecordType, keys};
use std::sync::{Arc, Weak};

/// Numbers a second. Whoever replays old requests to a new process can use up those of one.
const SECOND: u64 = 256;
/// Numbers that are reserved at once.
const AHEAD: u64 = 3_600 * SECOND;

/// Gives each second its numbers.
pub(crate) struct Numbers {
    /// Not kept open for this.
    storage: Weak<dyn Storage>,
    clock: Clock,
    next: u64,
    limit: u64,
}

impl Numbers {
    /// Goes on behind all that were reserved.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) async fn open(storage: &Arc<dyn Storage>, clock: Clock) -> Result<Self, StorageError> {
        let found = storage.read(&[keys::sequence_limit()]).await?.pop().flatten();
        let limit = match found {
            Some(record) => {
                let limit = SequenceLimit::decode(&record.value);
                limit.map_err(|_| StorageError::Corrupt("the reserved sequence numbers".into()))?.0
            }
            None => 0,
        };
        Ok(Self { storage: Arc::downgrade(storage), clock, next: limit, limit })
    }

    /// The numbers of this second: the first, and the end.
    ///
    /// # Errors
    /// [`StorageError`] where none can be reserved; there are none then.
    pub(crate) async fn of_this_second(&mut self) -> Result<(u64, u64), StorageError> {
        let start = self.clock.now().unix.seconds().saturating_mul(SECOND).max(self.next);
        let end = start.saturating_add(SECOND);
        if end > self.limit {
            let limit = end.saturating_add(AHEAD);
            let write = vec![(keys::sequence_limit(), Some(SequenceLimit(limit).encode().into()))];
            let closed = || StorageError::Unavailable("it is closed".into());
            match self.storage.upgrade().ok_or_else(closed)?.commit(vec![Txn { expect: Vec::new(), write }]).await.pop()
            {
                Some(CommitOutcome::Done(_)) => self.limit = limit,
                Some(CommitOutcome::NotDone(error) | CommitOutcome::Unknown(error)) => return Err(error),
                _ => return Err(StorageError::Unavailable("a verdict is missing".into())),
            }
        }
        self.next = end;
        Ok((start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_groupcomm::Now;
    use ace_groupcomm::testkit::TestStore;
    use ace_groupcomm::testkit::store::Fault;
    use ace_groupcomm::traits::storage::Sharing;
    use std::time::Duration;

    fn new() -> (TestStore, Arc<dyn Storage>) {
        let store = TestStore::new(Sharing::Exclusive);
        (store.clone(), Arc::new(store))
    }

    async fn at(storage: &Arc<dyn Storage>, unix: u64) -> Numbers {
        let clock = Clock::new(move || Now::new(unix, Duration::ZERO));
        Numbers::open(storage, clock).await.unwrap()
    }

    // Covers: TH-1-04/reserved-blocks
    #[tokio::test]
    async fn no_number_comes_twice_whatever_the_clock_says() {
        let (_, storage) = new();
        let mut last = 0;
        for unix in [1_000_000, 1_000_000, 999_000, 5, 1_000_001, 2_000_000, 1_999_990] {
            let mut numbers = at(&storage, unix).await;
            for _ in 0..3 {
                let (start, end) = numbers.of_this_second().await.unwrap();
                assert!(start >= last && start >= unix * 256 && end == start + 256, "{start} after {last} at {unix}");
                last = end;
            }
        }
    }

    #[tokio::test]
    async fn numbers_that_could_not_be_reserved_are_not_given() {
        let (store, storage) = new();
        let mut numbers = at(&storage, 1_000).await;
        for fault in [Fault::NotDone, Fault::UnknownDone] {
            store.fail_next(fault);
            assert!(numbers.of_this_second().await.is_err());
        }
        assert_eq!(numbers.of_this_second().await.unwrap(), (256_000, 256_256));
        let revision = || store.dump().pop().unwrap().1.revision;
        let before = revision();
        for _ in 0..3_600 {
            numbers.of_this_second().await.unwrap();
        }
        assert_eq!(revision(), before, "an hour's are reserved at once");
        numbers.of_this_second().await.unwrap();
        assert!(revision() > before);
        drop(storage);
        let mut left = 0;
        while numbers.of_this_second().await.is_ok() {
            left += 1;
        }
        assert_eq!(left, 3_600, "storage is not kept open for this");
    }
}
