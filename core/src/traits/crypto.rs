//! Cryptography that is worth a thread of its own: signatures, and proofs by key agreement. What is cheap (hashes, AEAD of a
//! token) is done where it is needed.
//!
//! A [`CryptoProvider`] does [`CryptoJob`]s. The private keys in them are traits: [`SigningKey`] and [`AgreementKey`], so that
//! a key can stay in the device that holds it.
//!
//! A provider that hands everything on, with keys that count how often they sign:
//!
//! ```
//! use ace_backend_aws_lc::AwsLc;
//! use ace_groupcomm::Secret;
//! use ace_groupcomm::traits::crypto::{
//!     AgreementAlgorithm, AgreementKey, CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm, SigningKey,
//! };
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! struct Counting(Arc<dyn SigningKey>, AtomicUsize);
//!
//! impl SigningKey for Counting {
//!     fn algorithm(&self) -> SignatureAlgorithm {
//!         self.0.algorithm()
//!     }
//!     fn public(&self) -> &[u8] {
//!         self.0.public()
//!     }
//!     fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
//!         self.1.fetch_add(1, Ordering::Relaxed);
//!         self.0.sign(message)
//!     }
//! }
//!
//! struct Device;
//!
//! impl CryptoProvider for Device {
//!     fn signing_key(&self, algorithm: SignatureAlgorithm, secret: &Secret) -> Option<Arc<dyn SigningKey>> {
//!         Some(Arc::new(Counting(AwsLc.signing_key(algorithm, secret)?, AtomicUsize::new(0))))
//!     }
//!     fn agreement_key(&self, algorithm: AgreementAlgorithm, secret: &Secret) -> Option<Arc<dyn AgreementKey>> {
//!         AwsLc.agreement_key(algorithm, secret)
//!     }
//!     fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput> {
//!         AwsLc.run(jobs)
//!     }
//! }
//!
//! let key = Device.signing_key(SignatureAlgorithm::Es256, &Secret::new(vec![7; 32])).ok_or("no key")?;
//! assert_eq!(key.sign(b"hello").map(|signature| signature.len()), Some(64));
//! # Ok::<(), &str>(())
//! ```

mod identity;
mod key;
mod sound;

pub use identity::Identity;
pub use key::{AgreementAlgorithm, PublicKey, SignatureAlgorithm, Thumbprint};
pub use sound::{is_sound_ed25519, is_sound_x25519};

use crate::Secret;
use hkdf::Hkdf;
use sha2::Sha256;
use std::sync::Arc;

/// Length of a [`Mac`], in bytes (Group OSCORE profile section 6.1).
pub const MAC_LEN: usize = 8;

/// A proof of possession of a Diffie-Hellman key.
pub type Mac = [u8; MAC_LEN];

/// A private key for signing, wherever it is held: in memory, or in a device that signs for others. A [`CryptoProvider`] makes
/// one of a secret.
///
/// ```
/// use ace_backend_aws_lc::AwsLc;
/// use ace_groupcomm::Secret;
/// use ace_groupcomm::traits::crypto::{CryptoProvider, PublicKey, SignatureAlgorithm};
///
/// let seed = Secret::new(vec![7; 32]);
/// let key = AwsLc.signing_key(SignatureAlgorithm::Ed25519, &seed).ok_or("no key")?;
/// let signature = key.sign(b"hello").ok_or("no signature")?;
/// let public = PublicKey::Signature(key.algorithm(), key.public().to_vec().into());
/// assert!(AwsLc.verifies(&public, b"hello".to_vec(), signature));
/// # Ok::<(), &str>(())
/// ```
pub trait SigningKey: Send + Sync {
    /// Returns the algorithm that the key is for.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Returns the public key, in the form of [`SignatureAlgorithm`].
    fn public(&self) -> &[u8];

    /// The signature of a message; `None` where it cannot be made, e.g. since a device is away.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;
}

/// A private key for Diffie-Hellman, wherever it is held. A [`CryptoProvider`] makes one of a secret.
///
/// ```
/// use ace_backend_aws_lc::AwsLc;
/// use ace_groupcomm::Secret;
/// use ace_groupcomm::traits::crypto::{AgreementAlgorithm, CryptoProvider};
///
/// let key = |byte: u8| AwsLc.agreement_key(AgreementAlgorithm::X25519, &Secret::new(vec![byte; 32]));
/// let (one, other) = (key(1).ok_or("no key")?, key(2).ok_or("no key")?);
/// assert_eq!(one.agree(other.public()), other.agree(one.public()));
/// // A point of low order shares nothing.
/// assert_eq!(one.agree(&[0; 32]), None);
/// # Ok::<(), &str>(())
/// ```
pub trait AgreementKey: Send + Sync {
    /// Returns the algorithm that the key is for.
    fn algorithm(&self) -> AgreementAlgorithm;

    /// Returns the public key, in the form of [`AgreementAlgorithm`].
    fn public(&self) -> &[u8];

    /// The secret that it shares with a peer, by the peer's public key; `None` where the peer's key is not sound, the secret
    /// would be zero, or a device is away.
    fn agree(&self, peer: &[u8]) -> Option<Secret>;
}

/// Both kinds of keys show, and are compared by, algorithm and public key.
macro_rules! by_public_key {
    ($($key:ident),*) => {$(
        /// Shows the public key; never the private one.
        impl core::fmt::Debug for dyn $key {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct(stringify!($key)).field("public", &self.public()).finish_non_exhaustive()
            }
        }

        /// Keys with the same public key do the same.
        impl PartialEq for dyn $key {
            fn eq(&self, other: &Self) -> bool {
                self.algorithm() == other.algorithm() && self.public() == other.public()
            }
        }

        impl Eq for dyn $key {}
    )*};
}

by_public_key!(SigningKey, AgreementKey);

/// One piece of work. None returns a shared secret, nor the MAC that a peer should have sent: jobs and what came of them are
/// compared, kept and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CryptoJob {
    /// Is this the signature of that message under this key?
    Verify {
        /// The algorithm that the key is for.
        algorithm: SignatureAlgorithm,
        /// The public key to verify with.
        key: Vec<u8>,
        /// The message that is signed.
        message: Vec<u8>,
        /// The signature to verify.
        signature: Vec<u8>,
    },
    /// Sign a message: all of it, and not its hash.
    Sign {
        /// The key to sign with; it may be one that never leaves its provider.
        key: Arc<dyn SigningKey>,
        /// The message that is signed.
        message: Vec<u8>,
    },
    /// The [`agreement_mac`] of a message, by the secret that the key shares with a peer.
    Mac {
        /// The key; it may be one that never leaves its provider.
        key: Arc<dyn AgreementKey>,
        /// The public key of the peer, for the same algorithm.
        peer: Vec<u8>,
        /// The input of the proof of possession, e.g. scope, N_S and N_C.
        message: Vec<u8>,
    },
    /// Is this the [`agreement_mac`] of that message?
    VerifyMac {
        /// The key; it may be one that never leaves its provider.
        key: Arc<dyn AgreementKey>,
        /// The public key of the peer, for the same algorithm.
        peer: Vec<u8>,
        /// The input of the proof of possession, e.g. scope, N_S and N_C.
        message: Vec<u8>,
        /// The MAC to verify; it is none where it has another length than [`MAC_LEN`].
        mac: Vec<u8>,
    },
}

/// The result of one piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CryptoOutput {
    /// Whether the signature or the MAC verified.
    Verified(bool),
    /// The signature that was made.
    Signature(Vec<u8>),
    /// The MAC that was made.
    Mac(Mac),
    /// The work could not be done, e.g. for lack of entropy or memory.
    Failed,
}

/// Does work in batches. The module's page has an implementation.
///
/// ```
/// use ace_backend_aws_lc::AwsLc;
/// use ace_groupcomm::Secret;
/// use ace_groupcomm::traits::crypto::{CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm};
///
/// let key = AwsLc.signing_key(SignatureAlgorithm::Es256, &Secret::new(vec![7; 32])).ok_or("no key")?;
/// let outputs = AwsLc.run(&[CryptoJob::Sign { key, message: b"hello".to_vec() }]);
/// assert!(matches!(outputs.as_slice(), [CryptoOutput::Signature(signature)] if signature.len() == 64));
/// # Ok::<(), &str>(())
/// ```
pub trait CryptoProvider: Send + Sync {
    /// The signing key of a secret, whose form [`SignatureAlgorithm`] says. `None` where the secret is none, or the algorithm
    /// is not there.
    fn signing_key(&self, algorithm: SignatureAlgorithm, secret: &Secret) -> Option<Arc<dyn SigningKey>>;

    /// The Diffie-Hellman key of a secret, whose form [`AgreementAlgorithm`] says. `None` where the secret is none, or the
    /// algorithm is not there; a provider without key agreement leaves it out.
    fn agreement_key(&self, _algorithm: AgreementAlgorithm, _secret: &Secret) -> Option<Arc<dyn AgreementKey>> {
        None
    }

    /// One output for each job, in their order.
    fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput>;

    /// Whether this is the signature of that message under this key, at once: for members. A KDC asks its
    /// [`View`](crate::View).
    fn verifies(&self, key: &PublicKey, message: Vec<u8>, signature: Vec<u8>) -> bool {
        let PublicKey::Signature(algorithm, key) = key else { return false };
        let job = CryptoJob::Verify { algorithm: *algorithm, key: key.to_vec(), message, signature };
        self.run(&[job]) == [CryptoOutput::Verified(true)]
    }
}

impl<T: CryptoProvider + ?Sized> CryptoProvider for &'static T {
    fn signing_key(&self, algorithm: SignatureAlgorithm, secret: &Secret) -> Option<Arc<dyn SigningKey>> {
        (**self).signing_key(algorithm, secret)
    }

    fn agreement_key(&self, algorithm: AgreementAlgorithm, secret: &Secret) -> Option<Arc<dyn AgreementKey>> {
        (**self).agreement_key(algorithm, secret)
    }

    fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput> {
        (**self).run(jobs)
    }
}

/// The MAC that proves possession of a Diffie-Hellman key: HKDF SHA-256 of the shared secret, without salt, over the message
/// (Group OSCORE profile sections 6.1 and 6.3). It is the same in groups whose own HKDF is another one.
#[must_use]
pub fn agreement_mac(shared: &Secret, message: &[u8]) -> Mac {
    let mut mac = [0; MAC_LEN];
    // Eight bytes are no more than HKDF gives.
    let _ = Hkdf::<Sha256>::new(None, shared.expose()).expand(message, &mut mac);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869 appendix A.3: no salt; with an empty message.
    #[test]
    fn the_mac_is_hkdf_sha_256_without_salt() {
        let mac = agreement_mac(&Secret::new(vec![0x0b; 22]), &[]);
        assert_eq!(hex::encode(mac), "8da4e775a563c18f");
        assert_ne!(agreement_mac(&Secret::new(vec![0x0b; 22]), &[1]), mac);
        assert_ne!(agreement_mac(&Secret::new(vec![0x0c; 22]), &[]), mac);
    }
}
