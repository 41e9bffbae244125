//! Cryptography that is worth a thread of its own: signatures. What is cheap (hashes, AEAD of a token) is done
//! where it is needed.

use crate::Secret;
use std::sync::Arc;

/// A signature algorithm, by its COSE registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// Ed25519 (RFC 8032): public keys of 32 bytes, signatures of 64.
    Ed25519,
}

/// A private key for signing, wherever it is held: in memory, or in a device that signs for others. A [`CryptoProvider`] makes
/// one of a secret.
pub trait SigningKey: Send + Sync {
    /// Returns the algorithm that the key is for.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Returns the public key, in the form of [`SignatureAlgorithm`]: 32 bytes for Ed25519.
    fn public(&self) -> &[u8];

    /// The signature of a message; `None` where it cannot be made, e.g. since a device is away.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;
}

/// The public key alone.
impl core::fmt::Debug for dyn SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

/// Keys with the same public key sign alike.
impl PartialEq for dyn SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm() == other.algorithm() && self.public() == other.public()
    }
}

impl Eq for dyn SigningKey {}

/// One piece of work.
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
}

/// The result of one piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CryptoOutput {
    /// Whether the signature verified.
    Verified(bool),
    /// The signature that was made.
    Signature(Vec<u8>),
    /// The work could not be done, e.g. for lack of entropy or memory.
    Failed,
}

/// Does work in batches.
pub trait CryptoProvider: Send + Sync {
    /// The signing key of a secret: of Ed25519 a seed of 32 bytes. `None` where the secret is none, or the algorithm is not
    /// there.
    fn signing_key(&self, algorithm: SignatureAlgorithm, secret: &Secret) -> Option<Arc<dyn SigningKey>>;

    /// One output for each job, in their order.
    fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput>;
}

impl<T: CryptoProvider + ?Sized> CryptoProvider for &'static T {
    fn signing_key(&self, algorithm: SignatureAlgorithm, secret: &Secret) -> Option<Arc<dyn SigningKey>> {
        (**self).signing_key(algorithm, secret)
    }

    fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput> {
        (**self).run(jobs)
    }
}

/// p = 2^255 - 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The y-coordinates of the points whose order divides 8 (little-endian): 0, 1, -1, and the two of order 8.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = P;
        minus_one[0] = 0xec;
        minus_one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// Whether an Ed25519 public key is encoded in the one canonical way and is not of small order. A key of small
/// order "signs" everything, and some libraries accept such keys.
#[must_use]
pub fn is_sound_ed25519(key: &[u8]) -> bool {
    let Ok(mut y) = <[u8; 32]>::try_from(key) else { return false };
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    let canonical = y.iter().rev().lt(P.iter().rev());
    canonical && !SMALL_ORDER_Y.contains(&y)
}
