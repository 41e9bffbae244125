//! The group key, checked.

use ace_groupcomm_messages::{Label, PubsubGroupKey};
use ace_oscore::{Aead, PartialIv};
use alloc::vec::Vec;
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a group key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Its algorithm is not known here.
    #[error("the encryption algorithm is not known")]
    Algorithm,
    /// The key or the Base IV has another length than the algorithm asks for.
    #[error("the key or the Base IV does not fit the algorithm")]
    Length,
    /// The Sender ID is empty, or longer than nonce length minus 6.
    #[error("the Sender ID does not fit the algorithm")]
    SenderId,
}

/// A group key, by its Gid.
pub struct GroupKey {
    gid: Vec<u8>,
    aead: Aead,
    base_iv: Zeroizing<Vec<u8>>,
    k: Zeroizing<Vec<u8>>,
}

impl core::fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GroupKey").field("gid", &self.gid).field("aead", &self.aead).finish_non_exhaustive()
    }
}

impl GroupKey {
    /// A group key as the KDC gives it.
    ///
    /// # Errors
    /// [`KeyError::Algorithm`], [`KeyError::Length`].
    pub fn new(key: &PubsubGroupKey) -> Result<Self, KeyError> {
        let aead = match key.alg {
            Label::Int(number) => Aead::from_cose(number),
            Label::Text(_) => None,
        };
        let aead = aead.ok_or(KeyError::Algorithm)?;
        if (key.k.len(), key.base_iv.len()) != (aead.key_len(), aead.nonce_len()) {
            return Err(KeyError::Length);
        }
        let (base_iv, k) = (Zeroizing::new(key.base_iv.clone()), Zeroizing::new(key.k.clone()));
        Ok(Self { gid: key.kid.clone(), aead, base_iv, k })
    }

    /// Returns the Gid.
    #[must_use]
    pub fn gid(&self) -> &[u8] {
        &self.gid
    }

    /// Returns the encryption algorithm.
    #[must_use]
    pub const fn aead(&self) -> Aead {
        self.aead
    }

    /// Whether a Sender ID can be one under this key (section 4.1.2 of the profile).
    #[must_use]
    pub fn fits(&self, sender_id: &[u8]) -> bool {
        (1..=self.aead.max_id_len()).contains(&sender_id.len())
    }

    /// Whether it is the very same key.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.gid == other.gid && self.aead == other.aead && self.k == other.k && self.base_iv == other.base_iv
    }

    /// The nonce is that of section 6.2.
    pub(super) fn seal(&self, sender_id: &[u8], number: PartialIv, aad: &[u8], data: &[u8]) -> Option<Vec<u8>> {
        let nonce = self.aead.nonce(&self.base_iv, sender_id, number)?;
        let mut text = data.to_vec();
        self.aead.seal(&self.k, &nonce, aad, &mut text)?;
        Some(text)
    }

    pub(super) fn open(
        &self,
        sender_id: &[u8],
        number: PartialIv,
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let nonce = self.aead.nonce(&self.base_iv, sender_id, number)?;
        self.aead.open(&self.k, &nonce, aad, ciphertext)
    }
}
