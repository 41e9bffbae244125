//! Storage with an anchor of its own: a file, outside of what the storage's backups have, that notes how far it has come.
//! A database that was put back by other means than a restore is behind it, and refused.

use ace_backend_disk::Anchor;
use ace_groupcomm::keys;
use ace_groupcomm::traits::storage::{
    CommitOutcome, Key, Page, Record, Revision, Sharing, Snapshot, Storage, StorageError, Txn,
};
use async_trait::async_trait;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Storage, its anchor, and what stands there.
pub(crate) struct Anchored {
    storage: Arc<dyn Storage>,
    anchor: Mutex<(Anchor, u64)>,
}

impl Anchored {
    /// Refuses storage that is behind its anchor.
    ///
    /// # Errors
    /// Why, in words.
    pub(crate) async fn open(storage: Arc<dyn Storage>, path: &Path) -> Result<Self, String> {
        let (anchor, known) = Anchor::open(path).map_err(|error| error.to_string())?;
        let anchored = Self { storage, anchor: Mutex::new((anchor, known)) };
        // Each commit has a higher revision than all before, this one too, which changes nothing.
        let nothing = Txn { expect: Vec::new(), write: vec![(keys::probe(), None)] };
        match anchored.commit(vec![nothing]).await.pop() {
            Some(CommitOutcome::Done(Revision(now))) if now > known => Ok(anchored),
            Some(CommitOutcome::Done(Revision(now))) => {
                let path = path.display();
                Err(format!(
                    "commit {known} was acknowledged, as {path} says, and it goes on with {now}: it is an older one"
                ))
            }
            other => Err(format!("nothing can be written: {other:?}")),
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
