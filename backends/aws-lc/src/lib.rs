//! Cryptography by aws-lc-rs, for an engine of `ace-groupcomm`: signatures with Ed25519.
//!
//! ```
//! use ace_backend_aws_lc::AwsLc;
//! use ace_groupcomm::Secret;
//! use ace_groupcomm::traits::crypto::{CryptoProvider, SignatureAlgorithm};
//!
//! let seed = Secret::new(vec![7; 32]);
//! let key = AwsLc.signing_key(SignatureAlgorithm::Ed25519, &seed).ok_or("the seed has a wrong length")?;
//! assert_eq!(key.sign(b"hello").map(|signature| signature.len()), Some(64));
//! # Ok::<(), &str>(())
//! ```
//!
//! Signatures are verified one by one: a batch would accept what a single check refuses.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)
)]

use ace_groupcomm::Secret;
use ace_groupcomm::traits::crypto::{
    CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm, SigningKey, is_sound_ed25519,
};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use std::sync::Arc;

/// The provider.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsLc;

/// A key in memory; it is wiped when it is dropped.
struct Ed25519 {
    pair: Ed25519KeyPair,
}

impl SigningKey for Ed25519 {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::Ed25519
    }

    fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(self.pair.sign(message).as_ref().to_vec())
    }
}

impl CryptoProvider for AwsLc {
    fn signing_key(&self, algorithm: SignatureAlgorithm, secret: &Secret) -> Option<Arc<dyn SigningKey>> {
        match algorithm {
            SignatureAlgorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(secret.expose()).ok()?;
                Some(Arc::new(Ed25519 { pair }))
            }
            _ => None,
        }
    }

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
        CryptoJob::Sign { key, message } => key.sign(message).map_or(CryptoOutput::Failed, CryptoOutput::Signature),
        _ => CryptoOutput::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// p = 2^255 - 19, little-endian.
    const P: &str = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";

    /// The y-coordinates of the points whose order divides 8: 0, 1, -1, and the two of order 8.
    const SMALL_ORDER_Y: [&str; 5] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// RFC 8032 section 7.1, test 2.
    #[test]
    fn signs_and_verifies_as_rfc8032() {
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = AwsLc.signing_key(SignatureAlgorithm::Ed25519, &Secret::new(seed)).unwrap();
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
            CryptoJob::Sign { key: Arc::clone(&key), message: vec![0x72] },
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
        assert!(AwsLc.signing_key(SignatureAlgorithm::Ed25519, &Secret::new(vec![1; 31])).is_none());
    }

    #[test]
    fn keys_of_small_order_and_in_other_encodings_prove_nothing() {
        let mut refused: Vec<Vec<u8>> = Vec::new();
        for y in SMALL_ORDER_Y {
            for sign in [0, 0x80] {
                let mut key = hex(y);
                key[31] |= sign;
                refused.push(key);
            }
        }
        // y = p, p + 1 and 2^255 - 1 are not below p.
        for low in [0xed, 0xee, 0xff] {
            let mut key = hex(P);
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
        let mut below = hex(P);
        below[0] = 0xeb;
        assert!(is_sound_ed25519(&below), "p - 2 is canonical and not of small order");
    }
}
