//! Storage in memory: for tests, demonstrations, and the figure that durable storage is compared with.
//!
//! It keeps the whole contract of [`Storage`] but one word: what it calls durable is gone with the process. A
//! program that uses it tells its user so.
//!
//! ```
//! use ace_backend_memory::MemoryStorage;
//! use ace_groupcomm::traits::storage::{Sharing, Storage};
//!
//! assert_eq!(MemoryStorage::new().sharing(), Sharing::Exclusive);
//! ```

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::print_stdout
    )
)]

use ace_groupcomm::traits::storage::{
    CommitOutcome, ConditionalMap, Key, Page, Record, Sharing, Snapshot, Storage, StorageError, Txn,
};
use async_trait::async_trait;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Storage that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    map: Mutex<ConditionalMap>,
}

impl MemoryStorage {
    /// Empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, ConditionalMap> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        Ok(self.lock().read(keys))
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        Ok(self.lock().scan(prefix, after, limit))
    }

    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome> {
        let mut map = self.lock();
        txns.into_iter().map(|txn| map.commit(txn)).collect()
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        Ok(Box::new(self.lock().clone()))
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}
