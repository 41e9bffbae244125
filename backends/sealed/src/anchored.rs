//! Storage with an anchor of its own: a file, outside of what the storage's backups have, that notes how far it has come.
//! A database that was rolled back by other means than a restore is behind it, and refused.

use crate::anchor::{Anchor, AnchorError};
use ace_groupcomm::keys;
use ace_groupcomm::traits::storage::{
    CommitOutcome, Key, Page, Record, Revision, Sharing, Snapshot, Storage, StorageError, Txn,
};
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Why storage with an anchor cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnchoredError {
    /// The anchor cannot be opened.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The storage is behind its anchor: it was rolled back.
    #[error("commit {acknowledged} was acknowledged, as {} says, and it goes on with {found}: it is an older one", path.display())]
    RolledBack {
        /// The path of the anchor.
        path: PathBuf,
        /// The last revision that was acknowledged.
        acknowledged: u64,
        /// The revision that storage goes on with.
        found: u64,
    },
    /// Nothing can be written, so that nobody knows how far storage has come.
    #[error("nothing can be written: {0:?}")]
    NotWritten(Option<CommitOutcome>),
}

/// Storage that notes in an [`Anchor`] each revision that it has acknowledged. A crash between a commit and its note leaves the
/// anchor behind, never ahead.
pub struct Anchored {
    storage: Arc<dyn Storage>,
    anchor: Mutex<(Anchor, u64)>,
}

impl std::fmt::Debug for Anchored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Anchored").finish_non_exhaustive()
    }
}

impl Anchored {
    /// Opens the anchor in this file, and tries storage by a commit that changes nothing.
    ///
    /// # Errors
    /// [`AnchoredError`].
    pub async fn open(storage: Arc<dyn Storage>, path: &Path) -> Result<Self, AnchoredError> {
        let (anchor, known) = Anchor::open(path)?;
        let anchored = Self { storage, anchor: Mutex::new((anchor, known)) };
        // Each commit has a higher revision than all before, this one too, which changes nothing.
        let nothing = Txn { expect: Vec::new(), write: vec![(keys::probe(), None)] };
        match anchored.commit(vec![nothing]).await.pop() {
            Some(CommitOutcome::Done(Revision(now))) if now > known => Ok(anchored),
            Some(CommitOutcome::Done(Revision(found))) => {
                Err(AnchoredError::RolledBack { path: path.to_owned(), acknowledged: known, found })
            }
            other => Err(AnchoredError::NotWritten(other)),
        }
    }
}

#[async_trait]
impl Storage for Anchored {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        self.storage.read(keys).await
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.storage.scan(prefix, after, limit).await
    }

    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome> {
        let outcomes = self.storage.commit(txns).await;
        let done = outcomes.iter().filter_map(|outcome| match outcome {
            CommitOutcome::Done(Revision(revision)) => Some(*revision),
            _ => None,
        });
        if let Some(last) = done.max() {
            let mut held = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
            let (anchor, known) = &mut *held;
            if last > *known {
                *known = last;
                anchor.set(last);
            }
        }
        outcomes
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.storage.snapshot().await
    }

    fn sharing(&self) -> Sharing {
        self.storage.sharing()
    }
}
