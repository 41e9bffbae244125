//! A store that fails on command.

use crate::schema::record::RecordType;
use crate::traits::storage::{
    CommitOutcome, ConditionalMap, Key, Page, Record, Sharing, Snapshot, Storage, StorageError, Txn,
};
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What happens to one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written, and that is known.
    NotDone,
    /// It is written, and nobody is told.
    UnknownDone,
    /// It is not written, and nobody is told.
    UnknownLost,
}

#[derive(Default)]
struct Inner {
    map: ConditionalMap,
    faults: VecDeque<Option<Fault>>,
    unreadable: bool,
}

/// A store in memory that several engines can share. Clones are the same store.
#[derive(Clone)]
pub struct TestStore {
    inner: Arc<Mutex<Inner>>,
    sharing: Sharing,
}

impl TestStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new(sharing: Sharing) -> Self {
        Self { inner: Arc::default(), sharing }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next commit that nothing else is said of ends so.
    pub fn fail_next(&self, fault: Fault) {
        self.lock().faults.push_back(Some(fault));
    }

    /// The commit behind the next so many ends so.
    pub fn fail_after(&self, commits: usize, fault: Fault) {
        let none = std::iter::repeat_n(None, commits);
        self.lock().faults.extend(none.chain([Some(fault)]));
    }

    /// Whether reads fail from now on.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.lock().unreadable = unreadable;
    }

    /// Reads several keys at one moment.
    ///
    /// # Errors
    /// [`StorageError`] after [`Self::set_unreadable`].
    pub fn read_now(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        let inner = self.lock();
        if inner.unreadable { Err(away()) } else { Ok(inner.map.read(keys)) }
    }

    /// Reads a page.
    ///
    /// # Errors
    /// [`StorageError`] after [`Self::set_unreadable`].
    pub fn scan_now(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let inner = self.lock();
        if inner.unreadable { Err(away()) } else { Ok(inner.map.scan(prefix, after, limit)) }
    }

    /// Commits, or fails as told.
    #[must_use]
    pub fn commit_now(&self, txn: Txn) -> CommitOutcome {
        let mut inner = self.lock();
        match inner.faults.pop_front().flatten() {
            None => inner.map.commit(txn),
            Some(Fault::NotDone) => CommitOutcome::NotDone(away()),
            Some(Fault::UnknownLost) => CommitOutcome::Unknown(away()),
            Some(Fault::UnknownDone) => match inner.map.commit(txn) {
                conflict @ CommitOutcome::Conflict(_) => conflict,
                _ => CommitOutcome::Unknown(away()),
            },
        }
    }

    /// The record under a key, if there is one of this kind.
    #[must_use]
    pub fn record<T: RecordType>(&self, key: &Key) -> Option<T> {
        let found = self.lock().map.read(std::slice::from_ref(key)).pop().flatten()?;
        T::decode(&found.value).ok()
    }

    /// Puts a record in its place, whatever is there, as another process could.
    pub fn plant<T: RecordType>(&self, key: &Key, record: &T) {
        let write = vec![(key.clone(), Some(record.encode().into()))];
        let _ = self.lock().map.commit(Txn { expect: Vec::new(), write });
    }

    /// All keys and values, for those who check what was stored.
    #[must_use]
    pub fn dump(&self) -> Vec<(Key, Record)> {
        self.lock().map.records().map(|(key, record)| (key.clone(), record.clone())).collect()
    }
}

fn away() -> StorageError {
    StorageError::Unavailable("told to fail".into())
}

#[async_trait]
impl Storage for TestStore {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        self.read_now(keys)
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.scan_now(prefix, after, limit)
    }

    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome> {
        txns.into_iter().map(|txn| self.commit_now(txn)).collect()
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        let inner = self.lock();
        if inner.unreadable { Err(away()) } else { Ok(Box::new(inner.map.clone())) }
    }

    fn sharing(&self) -> Sharing {
        self.sharing
    }
}
