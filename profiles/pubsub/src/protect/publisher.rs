//! A publisher's side.

use super::key::{GroupKey, KeyError};
use super::object::{Object, enc_structure, protected};
use ace_oscore::Sequence;
use alloc::vec::Vec;
use thiserror::Error;

/// What signs for a publisher.
pub trait Signer {
    /// The signature algorithm, by its COSE number.
    fn algorithm(&self) -> i64;

    /// A signature over the message, in the form that COSE has; `None` where none can be made.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;
}

/// Why nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No sequence number is reserved: reserve some more, durably, and hand them in ([`Publisher::extend`]).
    #[error("no sequence numbers are reserved")]
    NeedSequence,
    /// All sequence numbers are used: ask the KDC for another Sender ID (section 4.2.2 of the profile).
    #[error("all sequence numbers are used")]
    Exhausted,
    /// The signature could not be made. The sequence number is used up.
    #[error("nothing can be signed")]
    Sign,
    /// The key does not encrypt. The sequence number is used up.
    #[error("nothing can be encrypted")]
    Encrypt,
}

/// Publishes under one group key and one Sender ID. It cannot be cloned: its numbers would be used twice.
///
/// Its sequence numbers belong to Gid and Sender ID. Whoever gets the same pair again, with the same key, goes on where the numbers were
/// reserved up to, whatever has told of it; only for a pair that was never used they begin with 0.
#[derive(Debug)]
pub struct Publisher<S> {
    key: GroupKey,
    sender_id: Vec<u8>,
    sequence: Sequence,
    signer: S,
}

impl<S: Signer> Publisher<S> {
    /// A publisher with these sequence numbers, which were stored as used before.
    ///
    /// # Errors
    /// [`KeyError::SenderId`].
    pub fn new(key: GroupKey, sender_id: &[u8], sequence: Sequence, signer: S) -> Result<Self, KeyError> {
        if !key.fits(sender_id) {
            return Err(KeyError::SenderId);
        }
        Ok(Self { key, sender_id: sender_id.to_vec(), sequence, signer })
    }

    /// Encrypts and countersigns. What is sent again has to be the very same bytes.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn publish(&mut self, data: &[u8]) -> Result<Vec<u8>, PublishError> {
        let number = self.sequence.take().map_err(|error| match error {
            ace_oscore::Error::NeedSequence => PublishError::NeedSequence,
            _ => PublishError::Exhausted,
        })?;
        let alg = self.key.aead().cose();
        let protected_alg = protected(alg);
        let aad = enc_structure(&protected_alg);
        let ciphertext = self.key.seal(&self.sender_id, number, &aad, data).ok_or(PublishError::Encrypt)?;
        let sign_alg = self.signer.algorithm();
        let mut object = Object {
            protected: protected_alg,
            alg,
            gid: self.key.gid().to_vec(),
            number,
            sign_protected: protected(sign_alg),
            sign_alg,
            sender_id: self.sender_id.clone(),
            signature: Vec::new(),
            ciphertext,
        };
        object.signature = self.signer.sign(&object.countersigned()).ok_or(PublishError::Sign)?;
        Ok(object.encode())
    }

    /// More sequence numbers, up to and without `limit`, which were stored as used before.
    pub const fn extend(&mut self, start: u64, limit: u64) {
        self.sequence.extend(start, limit);
    }

    /// Returns the sequence numbers.
    pub const fn sequence(&self) -> &Sequence {
        &self.sequence
    }
}
