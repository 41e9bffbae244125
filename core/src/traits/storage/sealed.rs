//! Storage whose values nobody can read who does not hold the keys.
//!
//! [`Sealed`] stands between an engine and any storage: values are encrypted on their way in, and opened on their way
//! out. Keys of records stay readable, so that they can be ordered.
//!
//! A value is: the format, the number of the storage key, a nonce, and the ciphertext of XChaCha20-Poly1305. Nonces have
//! 192 bits and are random, so that no two are alike however many are drawn. The record's key and all that stands in front
//! of the ciphertext are authenticated with it: a value that is put in another's place does not open.
//!
//! ```
//! use ace_groupcomm::Secret;
//! use ace_groupcomm::testkit::TestStore;
//! use ace_groupcomm::traits::storage::{Key, KeyRing, Sealed, Sharing, Storage, StorageKey, Txn};
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

use super::{CommitOutcome, Key, Page, Record, Sharing, Snapshot, Storage, StorageError, Txn};
use crate::Secret;
use async_trait::async_trait;
use bytes::Bytes;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand_core::CryptoRng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// The format of a sealed value. No record begins so.
const FORMAT: u8 = 0xe1;
/// Length of format and key number.
const HEAD: usize = 5;
/// Length of a nonce.
const NONCE: usize = 24;
/// Length of a storage key.
const KEY: usize = 32;
/// What is authenticated in front of all else, so that these keys' ciphertexts serve nothing but this.
const CONTEXT: &[u8] = b"ace-groupcomm record";

/// A key that values are sealed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageKey {
    /// Its number, which stands in front of each value.
    pub number: u32,
    /// The key: 32 random bytes.
    pub key: Secret,
}

/// Why keys are no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// A key has another length.
    #[error("storage key {0} must have 32 bytes")]
    Length(u32),
    /// Two keys have one number.
    #[error("there are two storage keys {0}")]
    Twice(u32),
    /// The key to seal with is not there.
    #[error("there is no storage key {0} to seal with")]
    Missing(u32),
}

/// The keys that values may be sealed with, and the one that new values are.
pub struct KeyRing {
    ciphers: BTreeMap<u32, XChaCha20Poly1305>,
    active: u32,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<&u32> = self.ciphers.keys().collect();
        f.debug_struct("KeyRing").field("numbers", &numbers).field("active", &self.active).finish()
    }
}

impl KeyRing {
    /// These keys; new values are sealed with the one of the number `active`.
    ///
    /// # Errors
    /// [`KeyRingError`].
    pub fn new(keys: Vec<StorageKey>, active: u32) -> Result<Self, KeyRingError> {
        let mut ciphers = BTreeMap::new();
        for StorageKey { number, key } in keys {
            if key.expose().len() != KEY {
                return Err(KeyRingError::Length(number));
            }
            let cipher = XChaCha20Poly1305::new_from_slice(key.expose()).map_err(|_| KeyRingError::Length(number))?;
            if ciphers.insert(number, cipher).is_some() {
                return Err(KeyRingError::Twice(number));
            }
        }
        if ciphers.contains_key(&active) { Ok(Self { ciphers, active }) } else { Err(KeyRingError::Missing(active)) }
    }

    /// Seals a value under its record's key.
    fn seal(&self, key: &Key, value: &[u8], nonce: [u8; NONCE]) -> Option<Bytes> {
        let cipher = self.ciphers.get(&self.active)?;
        let mut out = vec![FORMAT];
        out.extend(self.active.to_be_bytes());
        let aad = [CONTEXT, &out, key.as_bytes()].concat();
        let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &aad }).ok()?;
        out.extend(nonce);
        out.extend(sealed);
        Some(out.into())
    }

    /// Opens a record. One that does not open is empty, which no record is: who asks for it learns that it cannot be
    /// read, and nobody else suffers.
    fn open_record(&self, key: Key, record: Record) -> (Key, Record) {
        let value = self.open(&key, &record.value).unwrap_or_else(|why| {
            tracing::error!(?key, %why, "a record does not open");
            Bytes::new()
        });
        (key, Record { value, ..record })
    }

    /// Opens a value.
    ///
    /// # Errors
    /// [`Unopened`].
    fn open(&self, key: &Key, sealed: &[u8]) -> Result<Bytes, Unopened> {
        let (head, rest) = sealed.split_first_chunk::<HEAD>().ok_or(Unopened::Damaged)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or(Unopened::Damaged)?;
        let [FORMAT, number @ ..] = *head else { return Err(Unopened::Damaged) };
        let number = u32::from_be_bytes(number);
        let cipher = self.ciphers.get(&number).ok_or(Unopened::NoKey(number))?;
        let aad = [CONTEXT, head, key.as_bytes()].concat();
        let opened = cipher.decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: &aad });
        opened.map(Bytes::from).map_err(|_| Unopened::Damaged)
    }
}

/// Why a value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum Unopened {
    /// It was changed, or stands in another's place, or was never sealed.
    #[error("it was changed, or is in another's place")]
    Damaged,
    /// It was sealed with a key that is not in the ring.
    #[error("storage key {0} is not there")]
    NoKey(u32),
}

/// Storage whose values are sealed; see the module's documentation.
pub struct Sealed {
    storage: Arc<dyn Storage>,
    ring: Arc<KeyRing>,
    rng: Mutex<Box<dyn CryptoRng + Send>>,
}

impl Sealed {
    /// Seals what goes into this storage. `rng` gives nonces.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, ring: KeyRing, rng: Box<dyn CryptoRng + Send>) -> Self {
        Self { storage, ring: Arc::new(ring), rng: Mutex::new(rng) }
    }

    fn nonce(&self) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut nonce);
        nonce
    }

    fn seal(&self, txn: Txn) -> Result<Txn, StorageError> {
        let seal = |(key, value): (Key, Option<Bytes>)| match value {
            None => Ok((key, None)),
            Some(value) => {
                let sealed = self.ring.seal(&key, &value, self.nonce());
                let sealed = sealed.ok_or_else(|| StorageError::Unavailable("a record cannot be sealed".into()))?;
                Ok((key, Some(sealed)))
            }
        };
        Ok(Txn { expect: txn.expect, write: txn.write.into_iter().map(seal).collect::<Result<_, StorageError>>()? })
    }
}

#[async_trait]
impl Storage for Sealed {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        let records = self.storage.read(keys).await?;
        let open = |(key, record): (&Key, Option<Record>)| Some(self.ring.open_record(key.clone(), record?).1);
        Ok(keys.iter().zip(records).map(open).collect())
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let Page { records, more } = self.storage.scan(prefix, after, limit).await?;
        Ok(Page {
            records: records.into_iter().map(|(key, record)| self.ring.open_record(key, record)).collect(),
            more,
        })
    }

    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome> {
        let count = txns.len();
        let sealed: Result<Vec<Txn>, StorageError> = txns.into_iter().map(|txn| self.seal(txn)).collect();
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => return vec![CommitOutcome::NotDone(error); count],
        };
        let open = |(key, record): (Key, Option<Record>)| match record {
            Some(record) => {
                let (key, record) = self.ring.open_record(key, record);
                (key, Some(record))
            }
            None => (key, None),
        };
        let outcomes = self.storage.commit(sealed).await.into_iter();
        let opened = outcomes.map(|outcome| match outcome {
            CommitOutcome::Conflict(found) => CommitOutcome::Conflict(found.into_iter().map(open).collect()),
            other => other,
        });
        opened.collect()
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        let snapshot = self.storage.snapshot().await?;
        Ok(Box::new(Opened { snapshot, ring: Arc::clone(&self.ring) }))
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
        Ok(Page {
            records: records.into_iter().map(|(key, record)| self.ring.open_record(key, record)).collect(),
            more,
        })
    }
}
