//! Storage keys, and how values are sealed with them; see [`Sealed`](crate::Sealed).

use ace_groupcomm::Secret;
use ace_groupcomm::traits::storage::{Key, Record};
use bytes::Bytes;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use std::collections::BTreeMap;
use thiserror::Error;

/// The format of a sealed value. No record begins so.
const FORMAT: u8 = 0xe1;
/// Length of format and key number.
const HEAD: usize = 5;
/// Length of a nonce.
pub(super) const NONCE: usize = 24;
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
#[derive(Clone)]
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
    pub(super) fn seal(&self, key: &Key, value: &[u8], nonce: [u8; NONCE]) -> Option<Bytes> {
        let cipher = self.ciphers.get(&self.active)?;
        let mut out = vec![FORMAT];
        out.extend(self.active.to_be_bytes());
        let aad = [CONTEXT, &out, key.as_bytes()].concat();
        let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &aad }).ok()?;
        out.extend(nonce);
        out.extend(sealed);
        Some(out.into())
    }

    /// The same keys, sealing with another one; `None` where that is not there.
    pub(super) fn with_active(self, active: u32) -> Option<Self> {
        self.has(active).then_some(Self { active, ..self })
    }

    /// The keys of both, sealing with the one as before.
    pub(super) fn with_keys_of(&self, other: Self) -> Self {
        let mut ciphers = other.ciphers;
        ciphers.extend(self.ciphers.iter().map(|(number, cipher)| (*number, cipher.clone())));
        Self { ciphers, active: self.active }
    }

    /// Whether it has the key of this number.
    pub(super) fn has(&self, number: u32) -> bool {
        self.ciphers.contains_key(&number)
    }

    /// Opens a record. One that does not open is empty, which no record is: who asks for it learns that it cannot be
    /// read, and nobody else suffers.
    pub(super) fn open_record(&self, key: Key, record: Record) -> (Key, Record) {
        let value = self.open(&key, &record.value).unwrap_or_else(|why| {
            tracing::error!(?key, %why, "a record does not open");
            Bytes::new()
        });
        (key, Record { value, ..record })
    }

    /// The number of the key that new values are sealed with.
    #[must_use]
    pub const fn active(&self) -> u32 {
        self.active
    }

    /// Opens a value, e.g. of a backup.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn open(&self, key: &Key, sealed: &[u8]) -> Result<Bytes, Unopened> {
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

/// The number of the key that a value was sealed with.
pub(super) fn number_of(sealed: &[u8]) -> Option<u32> {
    let [FORMAT, number @ ..] = *sealed.first_chunk::<HEAD>()? else { return None };
    Some(u32::from_be_bytes(number))
}

/// Why a value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unopened {
    /// It was changed, or stands in another's place, or was never sealed.
    #[error("it was changed, or is in another's place")]
    Damaged,
    /// It was sealed with a key that is not in the ring.
    #[error("storage key {0} is not there")]
    NoKey(u32),
}
