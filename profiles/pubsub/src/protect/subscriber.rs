//! A subscriber's side.

use super::key::GroupKey;
use super::object::{Malformed, Object, enc_structure};
use ace_oscore::ReplayWindow;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use thiserror::Error;
use zeroize::Zeroizing;

/// A publisher's public key.
pub trait Verifier {
    /// The signature algorithm, by its COSE number.
    fn algorithm(&self) -> i64;

    /// Whether this is a signature over the message.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool;
}

impl<V: Verifier> Verifier for &V {
    fn algorithm(&self) -> i64 {
        (**self).algorithm()
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        (**self).verifies(message, signature)
    }
}

/// Why an object was not taken. Nothing is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejected {
    /// It is none of the profile.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// No key of the group has its Gid: it is of a version that is not known yet or not any more, or of another group.
    #[error("no key has its Gid")]
    UnknownKey,
    /// Encryption or signature has another algorithm than the group.
    #[error("another algorithm than the group's")]
    Algorithm,
    /// Nobody is known to have its Sender ID under its Gid, or none could have it.
    #[error("nobody is known to have its Sender ID")]
    UnknownPublisher,
    /// It was received before, or is older than the replay window.
    #[error("received before, or too old to tell")]
    Replayed,
    /// The countersignature is not of the publisher whose Sender ID it has.
    #[error("the countersignature does not verify")]
    Signature,
    /// It is not as it was encrypted.
    #[error("it does not decrypt")]
    Tampered,
}

/// What was published, by whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The Gid under which it was.
    pub gid: Vec<u8>,
    /// The Sender ID of the publisher.
    pub sender_id: Vec<u8>,
    /// Its Sender Sequence Number.
    pub number: u64,
    /// The plaintext, which is wiped when it is dropped.
    pub data: Zeroizing<Vec<u8>>,
}

impl core::fmt::Debug for Received {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { gid, sender_id, number, data } = self;
        f.debug_struct("Received")
            .field("gid", gid)
            .field("sender_id", sender_id)
            .field("number", number)
            .field("bytes", &data.len())
            .finish()
    }
}

/// What is received under one key.
struct Version {
    key: GroupKey,
    windows: BTreeMap<Vec<u8>, ReplayWindow>,
}

/// Reads what is published in one topic. A window is kept for each publisher of which something was taken, as long as its key.
#[derive(Default)]
pub struct Subscriber {
    versions: BTreeMap<Vec<u8>, Version>,
}

impl core::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Subscriber").field("gids", &self.versions.keys()).finish_non_exhaustive()
    }
}

impl Subscriber {
    /// Installs a key beside those that there are. The same key again changes nothing: its windows stay. Returns whether it is new; another
    /// key with a Gid that is in use is not installed.
    pub fn install(&mut self, key: GroupKey) -> bool {
        if self.versions.contains_key(key.gid()) {
            return false;
        }
        self.versions.insert(key.gid().to_vec(), Version { key, windows: BTreeMap::new() });
        true
    }

    /// Whether this very key is installed.
    #[must_use]
    pub fn has(&self, key: &GroupKey) -> bool {
        self.versions.get(key.gid()).is_some_and(|version| version.key.is_same(key))
    }

    /// Drops a key, with all that was received under it.
    pub fn remove(&mut self, gid: &[u8]) {
        self.versions.remove(gid);
    }

    /// All that a publisher has sent up to this number counts as received: where that was stored, and a process begins anew. What was
    /// received beyond it stays so. Returns whether the key is installed; where it is not, nothing is remembered.
    #[must_use = "where the key is not installed, all counts as new"]
    pub fn received_up_to(&mut self, gid: &[u8], sender_id: &[u8], number: u64) -> bool {
        let Some(version) = self.versions.get_mut(gid) else { return false };
        let window = version.windows.entry(sender_id.to_vec()).or_default();
        let oldest = number.saturating_sub(ReplayWindow::SIZE.saturating_sub(1));
        (oldest..=number).for_each(|number| window.mark(number));
        true
    }

    /// Takes an object, if all in it verifies: it is new, its publisher has countersigned it, and it decrypts. `publisher` has
    /// the credential of a Gid and Sender ID, as the KDC has given it.
    ///
    /// # Errors
    /// [`Rejected`].
    pub fn receive<V: Verifier>(
        &mut self,
        bytes: &[u8],
        publisher: impl FnOnce(&[u8], &[u8]) -> Option<V>,
    ) -> Result<Received, Rejected> {
        let object = Object::decode(bytes)?;
        let version = self.versions.get_mut(&object.gid).ok_or(Rejected::UnknownKey)?;
        if object.alg != version.key.aead().cose() {
            return Err(Rejected::Algorithm);
        }
        let known = if version.key.fits(&object.sender_id) { publisher(&object.gid, &object.sender_id) } else { None };
        let verifier = known.ok_or(Rejected::UnknownPublisher)?;
        if object.sign_alg != verifier.algorithm() {
            return Err(Rejected::Algorithm);
        }
        let number = object.number.number();
        if version.windows.get(&object.sender_id).is_some_and(|window| !window.is_new(number)) {
            return Err(Rejected::Replayed);
        }
        if !verifier.verifies(&object.countersigned(), &object.signature) {
            return Err(Rejected::Signature);
        }
        let aad = enc_structure(&object.protected);
        let opened = version.key.open(&object.sender_id, object.number, &aad, &object.ciphertext);
        let data = opened.ok_or(Rejected::Tampered)?;
        let Object { gid, sender_id, .. } = object;
        version.windows.entry(sender_id.clone()).or_default().mark(number);
        Ok(Received { gid, sender_id, number, data })
    }
}
