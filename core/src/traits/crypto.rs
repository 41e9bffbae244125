//! Cryptography that is worth a thread of its own: signatures. What is cheap (hashes, AEAD of a token) is done
//! where it is needed.

use crate::Secret;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use std::sync::Arc;

/// A signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// Ed25519 (RFC 8032): public keys of 32 bytes, signatures of 64.
    Ed25519,
}

/// A private key for signing. Clones share it; it is wiped with the last of them.
#[derive(Clone)]
pub struct SigningKey {
    algorithm: SignatureAlgorithm,
    pair: Arc<Ed25519KeyPair>,
    public: Vec<u8>,
}

impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.public == other.public
    }
}

impl Eq for SigningKey {}

impl SigningKey {
    /// The Ed25519 key of a seed; `None` where it is not 32 bytes long.
    #[must_use]
    pub fn ed25519(seed: Secret) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).ok()?;
        let public = pair.public_key().as_ref().to_vec();
        Some(Self { algorithm: SignatureAlgorithm::Ed25519, pair: Arc::new(pair), public })
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CryptoJob {
    /// Is this the signature of that message under this key?
    Verify {
        /// The algorithm.
        algorithm: SignatureAlgorithm,
        /// The public key.
        key: Vec<u8>,
        /// The message.
        message: Vec<u8>,
        /// The signature.
        signature: Vec<u8>,
    },
    /// Sign this.
    Sign {
        /// The key.
        key: SigningKey,
        /// The message.
        message: Vec<u8>,
    },
}

/// The result of one piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CryptoOutput {
    /// Whether the signature verified.
    Verified(bool),
    /// The signature.
    Signature(Vec<u8>),
    /// The work could not be done, e.g. for lack of entropy or memory.
    Failed,
}

/// Does work in batches.
pub trait CryptoProvider: Send + Sync {
    /// One output for each job, in their order.
    fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput>;
}

/// Signatures by aws-lc-rs. Signatures are verified one by one: a batch would accept what a single check refuses.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsLc;

impl CryptoProvider for AwsLc {
    fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput> {
        jobs.iter().map(run_one).collect()
    }
}

fn run_one(job: &CryptoJob) -> CryptoOutput {
    match job {
        CryptoJob::Verify { algorithm: SignatureAlgorithm::Ed25519, key, message, signature } => {
            let verified =
                is_sound_ed25519(key) && UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok();
            CryptoOutput::Verified(verified)
        }
        CryptoJob::Sign { key, message } => CryptoOutput::Signature(key.pair.sign(message).as_ref().to_vec()),
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
/// order "signs" everything, and aws-lc-rs accepts some of them.
#[must_use]
pub fn is_sound_ed25519(key: &[u8]) -> bool {
    let Ok(mut y) = <[u8; 32]>::try_from(key) else { return false };
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    let canonical = y.iter().rev().lt(P.iter().rev());
    canonical && !SMALL_ORDER_Y.contains(&y)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// RFC 8032 section 7.1, test 2.
    #[test]
    fn signs_and_verifies_as_rfc8032() {
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey::ed25519(Secret::new(seed)).unwrap();
        assert_eq!(hex::encode(key.public()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = hex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        let verify = |signature: &[u8], message: &[u8]| CryptoJob::Verify {
            algorithm: key.algorithm(),
            key: key.public().to_vec(),
            message: message.to_vec(),
            signature: signature.to_vec(),
        };
        let outputs = AwsLc.run(&[
            CryptoJob::Sign { key: key.clone(), message: vec![0x72] },
            verify(&signature, &[0x72]),
            verify(&signature, &[0x73]),
            verify(&signature[1..], &[0x72]),
        ]);
        assert_eq!(
            outputs,
            [
                CryptoOutput::Signature(signature),
                CryptoOutput::Verified(true),
                CryptoOutput::Verified(false),
                CryptoOutput::Verified(false)
            ]
        );
        assert!(SigningKey::ed25519(Secret::new(vec![1; 31])).is_none());
    }

    #[test]
    fn keys_of_small_order_and_in_other_encodings_prove_nothing() {
        let mut refused: Vec<Vec<u8>> = Vec::new();
        for y in SMALL_ORDER_Y {
            for sign in [0, 0x80] {
                let mut key = y.to_vec();
                key[31] |= sign;
                refused.push(key);
            }
        }
        // y = p, p + 1 and 2^255 - 1 are not below p.
        for low in [0xed, 0xee, 0xff] {
            let mut key = P.to_vec();
            key[0] = low;
            refused.push(key);
        }
        refused.push(vec![1; 31]);
        refused.push(vec![1; 33]);
        // With a key of small order, R = identity and S = 0 would verify for about every message.
        let mut signature = vec![0; 64];
        signature[0] = 1;
        for key in refused {
            assert!(!is_sound_ed25519(&key), "{}", hex::encode(&key));
            let job = CryptoJob::Verify {
                algorithm: SignatureAlgorithm::Ed25519,
                key,
                message: b"anything".to_vec(),
                signature: signature.clone(),
            };
            assert_eq!(AwsLc.run(&[job]), [CryptoOutput::Verified(false)]);
        }
        assert!(is_sound_ed25519(&hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")));
        let mut below = P;
        below[0] = 0xeb;
        assert!(is_sound_ed25519(&below), "p - 2 is canonical and not of small order");
    }
}
