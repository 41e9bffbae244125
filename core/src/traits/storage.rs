//! Storage: ordered keys with durable, conditional commits.
//!
//! The trait is small on purpose: it maps onto an LSM or B-tree file, PostgreSQL and what speaks its protocol,
//! etcd, FoundationDB or TiKV. Whoever implements it runs `testkit::storage::suite` against it, and
//! `testkit::storage::reopening_suite` where it outlives its process.
//!
//! # The contract
//!
//! - A commit happens as a whole or not at all. It happens only if every expectation holds at that moment.
//! - [`CommitOutcome::Done`] says that it survives a crash.
//! - Revisions of a key grow, also across a delete: none is ever used twice for one key.
//! - [`CommitOutcome::Conflict`] names every expectation that failed, with what stands there instead.
//! - Transactions of one call see each other in their order, and each has a revision of its own.
//! - A backend never tries a commit again by itself: it would take its own write for a conflict.
//! - [`CommitOutcome::Unknown`] is an honest answer: the connection was lost, an fsync failed. With
//!   [`Sharing::Exclusive`] it must be settled before the next read.

mod map;

pub use map::ConditionalMap;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

/// The key of a record; keys are ordered by their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// The key with these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// Returns its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it begins with another key.
    #[must_use]
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Which write of a record this is. It grows with each write of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What stands under a key. It may hold keys: Debug shows how long it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Which write it is.
    pub revision: Revision,
    /// The value, which storage does not look into.
    pub value: Bytes,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} with {} bytes", self.revision, self.value.len())
    }
}

/// One page of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys in ascending order, with their records.
    pub records: Vec<(Key, Record)>,
    /// Whether more follow behind the last one.
    pub more: bool,
}

/// What must hold, and what is then written; all of it or nothing. Debug shows how long values are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// Keys with the revision that they must have; `None` for keys that must not exist.
    pub expect: Vec<(Key, Option<Revision>)>,
    /// Keys with their new values; `None` deletes.
    pub write: Vec<(Key, Option<Bytes>)>,
}

impl std::fmt::Debug for Txn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = |(key, value): &(Key, Option<Bytes>)| (key.clone(), value.as_ref().map(Bytes::len));
        let write: Vec<(Key, Option<usize>)> = self.write.iter().map(length).collect();
        f.debug_struct("Txn").field("expect", &self.expect).field("write", &write).finish()
    }
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is durable; every key written has this revision.
    Done(Revision),
    /// These expectations did not hold; nothing was written.
    Conflict(Vec<(Key, Option<Record>)>),
    /// Nothing was written, and nothing will be.
    NotDone(StorageError),
    /// It may have happened or not.
    Unknown(StorageError),
}

/// Why storage did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Nothing can be reached or written for now; another try may succeed.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// What was read is damaged.
    #[error("storage is damaged: {0}")]
    Corrupt(String),
}

/// Whether other processes may write at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This process alone, by a lock that a second one meets.
    Exclusive,
    /// Others too: what was read may be old.
    Shared,
}

/// Ordered keys with durable, conditional commits; see the contract in the module's documentation. A whole one is in the guide,
/// `guide::write_a_storage`.
///
/// ```
/// use ace_backend_memory::MemoryStorage;
/// use ace_groupcomm::traits::storage::{CommitOutcome, Key, Storage, Txn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (storage, key) = (MemoryStorage::new(), Key::new("lamp"));
/// let create = Txn { expect: vec![(key.clone(), None)], write: vec![(key.clone(), Some("on".into()))] };
/// // Of two who make one key, the second learns what stands there.
/// let outcomes = storage.commit(vec![create.clone(), create]).await;
/// assert!(matches!(outcomes.as_slice(), [CommitOutcome::Done(_), CommitOutcome::Conflict(_)]), "{outcomes:?}");
/// # }
/// ```
#[async_trait]
pub trait Storage: Send + Sync {
    /// Reads several keys at one moment.
    ///
    /// # Errors
    /// [`StorageError`] when storage cannot be read.
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError>;

    /// Reads the keys that begin with `prefix`, behind `after`, in ascending order, at most `limit` of them; `limit` is not 0. Pages
    /// are not of one moment. A page that is exactly full says too whether more follow.
    ///
    /// # Errors
    /// [`StorageError`] when storage cannot be read.
    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError>;

    /// Commits, with one durability barrier for all and a verdict for each. They happen in this order.
    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome>;

    /// Everything as it is at one moment, for backups and checks. Commits go on meanwhile.
    ///
    /// # Errors
    /// [`StorageError`] when storage cannot be read.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError>;

    /// Whether other processes may write at the same time.
    fn sharing(&self) -> Sharing;
}

/// Everything as it was at one moment.
///
/// ```
/// use ace_backend_memory::MemoryStorage;
/// use ace_groupcomm::traits::storage::{Key, Storage, Txn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ace_groupcomm::traits::storage::StorageError> {
/// let storage = MemoryStorage::new();
/// let write = |key: &'static str| Txn { expect: vec![], write: vec![(Key::new(key), Some("1".into()))] };
/// storage.commit(vec![write("a"), write("b")]).await;
/// let snapshot = storage.snapshot().await?;
/// storage.commit(vec![write("c")]).await;
///
/// let (mut keys, mut after) = (Vec::new(), None);
/// loop {
///     let page = snapshot.page(after.as_ref(), 1).await?;
///     keys.extend(page.records.into_iter().map(|(key, _)| key));
///     after = keys.last().cloned();
///     if !page.more {
///         break;
///     }
/// }
/// assert_eq!(keys, [Key::new("a"), Key::new("b")]);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// Reads the keys behind `after`, at most `limit` of them.
    ///
    /// # Errors
    /// [`StorageError`] when storage cannot be read.
    async fn page(&self, after: Option<&Key>, limit: usize) -> Result<Page, StorageError>;
}
