//! Who signs and verifies what is published, by what members of `ace-groupcomm` have.

use crate::protect::{Signer, Verifier};
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, PublicKey, SignatureAlgorithm};
use std::sync::Arc;

impl Signer for Identity {
    fn algorithm(&self) -> i64 {
        self.key.algorithm().number()
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.key.sign(message)
    }
}

/// A publisher's credential, as the KDC has given it: a CWT Claims Set.
#[derive(Clone)]
pub struct PublisherCredential {
    algorithm: SignatureAlgorithm,
    key: PublicKey,
    crypto: Arc<dyn CryptoProvider>,
}

impl PublisherCredential {
    /// The credential of a group that signs so; `None` where it is none.
    #[must_use]
    pub fn new(algorithm: SignatureAlgorithm, cred: &[u8], crypto: Arc<dyn CryptoProvider>) -> Option<Self> {
        let key = PublicKey::of_kccs(algorithm, cred)?;
        Some(Self { algorithm, key, crypto })
    }
}

impl std::fmt::Debug for PublisherCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublisherCredential").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Verifier for PublisherCredential {
    fn algorithm(&self) -> i64 {
        self.algorithm.number()
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.crypto.verifies(&self.key, message.to_vec(), signature.to_vec())
    }
}
