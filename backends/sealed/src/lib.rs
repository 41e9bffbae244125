//! Protection for any storage: values that nobody can read who does not hold the keys, and a rollback that is noticed.
//!
//! [`Anchored`] refuses storage that was rolled back: an [`Anchor`], a file outside of it, says how far it had come.
//!
//! [`Sealed`] stands between an engine and any storage: values are encrypted on their way in, and opened on their way
//! out. Keys of records stay readable, so that they can be ordered.
//!
//! A value is: the format, the number of the storage key, a nonce, and the ciphertext of XChaCha20-Poly1305. Nonces have
//! 192 bits and are random, so that no two are alike however many are drawn. The record's key and all that stands in front
//! of the ciphertext are authenticated with it: a value that is put in another's place does not open.
//!
//! [`Sealed::rotate`] goes over to another key while everything goes on. Where several processes share a storage, a
//! record says which key all seal with, and each commit expects it unchanged: when the rotation has ended, no value can
//! come that is sealed with a former key.
//!
//! ```
//! use ace_backend_sealed::{KeyRing, Sealed, StorageKey};
//! use ace_groupcomm::Secret;
//! use ace_groupcomm::testkit::TestStore;
//! use ace_groupcomm::traits::storage::{Key, Sharing, Storage, Txn};
//! use rand_core::SeedableRng;
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Arc::new(TestStore::new(Sharing::Exclusive));
//! let ring = KeyRing::new(vec![StorageKey { number: 1, key: Secret::new(vec![7; 32]) }], 1)?;
//! let rng = rand_chacha::ChaCha20Rng::seed_from_u64(1); // a program takes the operating system's
//! let sealed = Sealed::new(Arc::clone(&store) as _, ring, Box::new(rng));
//! sealed.commit(vec![Txn { expect: vec![], write: vec![(Key::new("a"), Some("secret".into()))] }]).await;
//!
//! assert_eq!(sealed.read(&[Key::new("a")]).await?[0].as_ref().map(|record| &record.value[..]), Some(&b"secret"[..]));
//! assert!(store.dump().iter().all(|(_, record)| !record.value.windows(6).any(|part| part == b"secret")));
//! # Ok(())
//! # }
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

mod anchor;
mod anchored;
mod key_ring;

pub use anchor::{Anchor, AnchorError};
pub use anchored::{Anchored, AnchoredError};
pub use key_ring::{KeyRing, KeyRingError, StorageKey, Unopened};

use ace_groupcomm::keys;
use ace_groupcomm::traits::storage::{
    CommitOutcome, Key, Page, Record, Revision, Sharing, Snapshot, Storage, StorageError, Txn,
};
use async_trait::async_trait;
use bytes::Bytes;
use key_ring::{NONCE, number_of};
use rand_core::CryptoRng;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::RwLock;

/// Records that a rotation looks at at once.
const PAGE: usize = 256;
/// How often a commit is sealed anew because the ring has changed.
const TRIES: usize = 4;

/// Reads the ring again, where it is kept.
type Source = Box<dyn Fn() -> Option<KeyRing> + Send + Sync>;

/// The ring, and what is known of the record that says which key all seal with.
struct Held {
    ring: Arc<KeyRing>,
    /// Its revision, once it was looked at.
    agreed: Option<Option<Revision>>,
}

/// Storage whose values are sealed; see the module's documentation.
pub struct Sealed {
    storage: Arc<dyn Storage>,
    /// Held while a commit is under way, so that who changes it knows that none goes on with the old one.
    held: RwLock<Held>,
    source: Option<Source>,
    rng: Mutex<Box<dyn CryptoRng + Send>>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed").finish_non_exhaustive()
    }
}

fn away(why: impl Into<String>) -> StorageError {
    StorageError::Unavailable(why.into())
}

impl Sealed {
    /// Seals what goes into this storage. `rng` gives nonces.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, ring: KeyRing, rng: Box<dyn CryptoRng + Send>) -> Self {
        let held = RwLock::new(Held { ring: Arc::new(ring), agreed: None });
        Self { storage, held, source: None, rng: Mutex::new(rng) }
    }

    /// Reads the ring again where a value, or the processes' agreement, names a key that is not in it.
    #[must_use]
    pub fn with_source(mut self, source: impl Fn() -> Option<KeyRing> + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    fn nonce(&self) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut nonce);
        nonce
    }

    /// The ring; read again where it lacks the key of one of these values.
    async fn ring_for<'a>(&self, mut values: impl Iterator<Item = &'a Bytes>) -> Arc<KeyRing> {
        let ring = Arc::clone(&self.held.read().await.ring);
        let lacks = values.any(|value| number_of(value).is_some_and(|number| !ring.has(number)));
        let newer = if lacks { self.source.as_ref().and_then(|source| source()) } else { None };
        let Some(newer) = newer else { return ring };
        // What new values are sealed with is not changed by a look: who commits next agrees on it, also where the key that
        // was active here is taken out by now.
        let mut held = self.held.write().await;
        held.ring = Arc::new(held.ring.with_keys_of(newer));
        Arc::clone(&held.ring)
    }

    fn seal(&self, ring: &KeyRing, txn: &Txn) -> Result<Txn, StorageError> {
        let seal = |(key, value): &(Key, Option<Bytes>)| match value {
            None => Ok((key.clone(), None)),
            Some(value) => {
                let sealed = ring.seal(key, value, self.nonce()).ok_or_else(|| away("a record cannot be sealed"))?;
                Ok((key.clone(), Some(sealed)))
            }
        };
        let write: Result<_, StorageError> = txn.write.iter().map(seal).collect();
        Ok(Txn { expect: txn.expect.clone(), write: write? })
    }

    /// Looks which key all processes seal with, and takes it up.
    async fn agree(&self, held: &mut Held) -> Result<(), StorageError> {
        let found = self.storage.read(&[keys::ring()]).await?.pop().flatten();
        if let Some(record) = &found {
            let number =
                number_of(&record.value).ok_or_else(|| away("the number of the storage key cannot be read"))?;
            if held.ring.active() != number {
                let newer = self.source.as_ref().and_then(|source| source());
                let same = || (*held.ring).clone();
                let ring = newer.unwrap_or_else(same).with_active(number);
                let ring =
                    ring.ok_or_else(|| away(format!("storage key {number}, which all seal with, is not there")))?;
                held.ring = Arc::new(ring);
            }
        }
        held.agreed = Some(found.map(|record| record.revision));
        Ok(())
    }

    /// Commits, each with the expectation that all processes still seal with the same key; where they do not, what was
    /// not done for it is sealed anew.
    async fn commit_agreed(&self, txns: &[Txn]) -> Vec<CommitOutcome> {
        let mut outcomes = Vec::with_capacity(txns.len());
        for _ in 0..TRIES {
            let rest = txns.get(outcomes.len()..).unwrap_or_default();
            if self.held.read().await.agreed.is_none()
                && let Err(error) = self.agree(&mut *self.held.write().await).await
            {
                outcomes.extend(rest.iter().map(|_| CommitOutcome::NotDone(error.clone())));
                return outcomes;
            }
            let held = self.held.read().await;
            let expectation = (keys::ring(), held.agreed.flatten());
            let with = |mut txn: Txn| {
                txn.expect.push(expectation.clone());
                txn
            };
            let sealed: Result<Vec<Txn>, StorageError> =
                rest.iter().map(|txn| self.seal(&held.ring, txn).map(with)).collect();
            let sealed = match sealed {
                Ok(sealed) => sealed,
                Err(error) => {
                    outcomes.extend(rest.iter().map(|_| CommitOutcome::NotDone(error.clone())));
                    return outcomes;
                }
            };
            let found = self.storage.commit(sealed).await;
            drop(held);
            let is_stale = |outcome: &CommitOutcome| match outcome {
                CommitOutcome::Conflict(found) => found.iter().any(|(key, _)| *key == keys::ring()),
                _ => false,
            };
            // The key never goes back: from the first that met another one on, all did.
            let settled = found.iter().take_while(|outcome| !is_stale(outcome)).count();
            let all = found.len();
            outcomes.extend(found.into_iter().take(settled));
            if settled == all {
                return outcomes;
            }
            self.held.write().await.agreed = None;
        }
        outcomes.resize_with(txns.len(), || CommitOutcome::NotDone(away("the storage key changes all the time")));
        outcomes
    }

    /// Seals everything with the active key of a ring, which has to have the former keys as well. While it goes on,
    /// everything goes on; when it has ended, nothing is sealed with another key. Where it fails it can be begun again,
    /// with the same ring. `progress` is told how many values were sealed anew.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn rotate(&self, ring: KeyRing, mut progress: impl FnMut(u64) + Send) -> Result<u64, StorageError> {
        self.set_active(ring).await?;
        let mut count = 0;
        loop {
            let before = count;
            let mut after: Option<Key> = None;
            loop {
                let page = self.storage.scan(&Key::new(""), after.as_ref(), PAGE).await?;
                count = self.reseal(&page, count).await?;
                progress(count);
                after = page.records.last().map(|(key, _)| key.clone());
                if !page.more {
                    break;
                }
            }
            if count == before {
                return Ok(count);
            }
        }
    }

    /// From now on nobody seals with another key.
    async fn set_active(&self, ring: KeyRing) -> Result<(), StorageError> {
        let mut held = self.held.write().await;
        let former = held.ring.active();
        if !ring.has(former) {
            return Err(away(format!("storage key {former}, which values are sealed with, is not among the new ones")));
        }
        let found = self.storage.read(&[keys::ring()]).await?.pop().flatten();
        let revision = found.as_ref().map(|record| record.revision);
        let is_set = found.is_some_and(|record| number_of(&record.value) == Some(ring.active()));
        held.agreed = Some(revision);
        if !is_set {
            let key = keys::ring();
            let value = ring.seal(&key, &ring.active().to_be_bytes(), self.nonce());
            let value = value.ok_or_else(|| away("a record cannot be sealed"))?;
            let txn = Txn { expect: vec![(key.clone(), revision)], write: vec![(key, Some(value))] };
            match self.storage.commit(vec![txn]).await.pop() {
                Some(CommitOutcome::Done(revision)) => held.agreed = Some(Some(revision)),
                Some(CommitOutcome::Conflict(_)) => return Err(away("another rotation is under way")),
                Some(CommitOutcome::NotDone(error)) => return Err(error),
                Some(CommitOutcome::Unknown(error)) => {
                    held.agreed = None;
                    return Err(error);
                }
                None => return Err(away("a verdict is missing")),
            }
        }
        held.ring = Arc::new(ring);
        Ok(())
    }

    /// Seals the values of a page anew that are sealed with another key than the active one.
    async fn reseal(&self, page: &Page, count: u64) -> Result<u64, StorageError> {
        let ring = Arc::clone(&self.held.read().await.ring);
        let mut txns = Vec::new();
        for (key, record) in &page.records {
            if number_of(&record.value) == Some(ring.active()) {
                continue;
            }
            let value = ring.open(key, &record.value);
            let value = value.map_err(|why: Unopened| StorageError::Corrupt(format!("{key:?}: {why}")))?;
            let sealed = ring.seal(key, &value, self.nonce()).ok_or_else(|| away("a record cannot be sealed"))?;
            txns.push(Txn {
                expect: vec![(key.clone(), Some(record.revision))],
                write: vec![(key.clone(), Some(sealed))],
            });
        }
        let changed = u64::try_from(txns.len()).unwrap_or(u64::MAX);
        for outcome in if txns.is_empty() { Vec::new() } else { self.storage.commit(txns).await } {
            match outcome {
                // Who was faster has sealed it with the active key.
                CommitOutcome::Done(_) | CommitOutcome::Conflict(_) => (),
                CommitOutcome::NotDone(error) | CommitOutcome::Unknown(error) => return Err(error),
            }
        }
        Ok(count.saturating_add(changed))
    }
}

#[async_trait]
impl Storage for Sealed {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        let records = self.storage.read(keys).await?;
        let ring = self.ring_for(records.iter().flatten().map(|record| &record.value)).await;
        let open = |(key, record): (&Key, Option<Record>)| Some(ring.open_record(key.clone(), record?).1);
        Ok(keys.iter().zip(records).map(open).collect())
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let Page { records, more } = self.storage.scan(prefix, after, limit).await?;
        let ring = self.ring_for(records.iter().map(|(_, record)| &record.value)).await;
        Ok(Page { records: records.into_iter().map(|(key, record)| ring.open_record(key, record)).collect(), more })
    }

    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome> {
        let outcomes = if self.sharing() == Sharing::Shared {
            self.commit_agreed(&txns).await
        } else {
            let held = self.held.read().await;
            let sealed: Result<Vec<Txn>, StorageError> = txns.iter().map(|txn| self.seal(&held.ring, txn)).collect();
            match sealed {
                Ok(sealed) => self.storage.commit(sealed).await,
                Err(error) => return vec![CommitOutcome::NotDone(error); txns.len()],
            }
        };
        let found = outcomes.iter().flat_map(|outcome| match outcome {
            CommitOutcome::Conflict(found) => found.as_slice(),
            _ => &[],
        });
        let ring = self.ring_for(found.filter_map(|(_, record)| Some(&record.as_ref()?.value))).await;
        let open = |(key, record): (Key, Option<Record>)| match record {
            Some(record) => {
                let (key, record) = ring.open_record(key, record);
                (key, Some(record))
            }
            None => (key, None),
        };
        let opened = outcomes.into_iter().map(|outcome| match outcome {
            CommitOutcome::Conflict(found) => CommitOutcome::Conflict(found.into_iter().map(open).collect()),
            other => other,
        });
        opened.collect()
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        let snapshot = self.storage.snapshot().await?;
        Ok(Box::new(Opened { snapshot, ring: Arc::clone(&self.held.read().await.ring) }))
    }

    fn sharing(&self) -> Sharing {
        self.storage.sharing()
    }
}

/// A snapshot whose values are opened.
struct Opened {
    snapshot: Box<dyn Snapshot>,
    ring: Arc<KeyRing>,
}

#[async_trait]
impl Snapshot for Opened {
    async fn page(&self, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let Page { records, more } = self.snapshot.page(after, limit).await?;
        let ring = &self.ring;
        Ok(Page { records: records.into_iter().map(|(key, record)| ring.open_record(key, record)).collect(), more })
    }
}
