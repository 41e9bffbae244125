//! Cryptography by aws-lc-rs, for an engine of `ace-groupcomm`: signatures with Ed25519 and ES256, and proofs by key
//! agreement with X25519 and P-256.
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
    AgreementAlgorithm, AgreementKey, CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm, SigningKey,
    agreement_mac, is_sound_ed25519, is_sound_x25519,
};
use aws_lc_rs::agreement::{self, PrivateKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    UnparsedPublicKey,
};
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

/// A key in memory; it is wiped when it is dropped.
struct Es256 {
    pair: EcdsaKeyPair,
}

impl SigningKey for Es256 {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::Es256
    }

    fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        // The library draws the nonce by itself.
        self.pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
    }
}

/// A key in memory; it is wiped when it is dropped.
struct Agreement {
    algorithm: AgreementAlgorithm,
    private: PrivateKey,
    public: Vec<u8>,
}

impl AgreementKey for Agreement {
    fn algorithm(&self) -> AgreementAlgorithm {
        self.algorithm
    }

    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(&self, peer: &[u8]) -> Option<Secret> {
        let is_sound = match self.algorithm {
            AgreementAlgorithm::X25519 => is_sound_x25519(peer),
            _ => is_uncompressed(peer),
        };
        let peer = agreement::UnparsedPublicKey::new(self.private.algorithm(), peer);
        let shared = |secret: &[u8]| Ok(Secret::new(secret.to_vec()));
        is_sound.then(|| agreement::agree(&self.private, peer, (), shared).ok())?
    }
}

/// Whether a point has the one form that is taken here: aws-lc-rs takes others too.
fn is_uncompressed(point: &[u8]) -> bool {
    point.len() == 65 && point.first() == Some(&4)
}

/// The private key of a secret, and its public key.
fn private_key(algorithm: &'static agreement::Algorithm, secret: &Secret) -> Option<(PrivateKey, Vec<u8>)> {
    let private = PrivateKey::from_private_key(algorithm, secret.expose()).ok()?;
    let public = private.compute_public_key().ok()?.as_ref().to_vec();
    Some((private, public))
}

impl CryptoProvider for AwsLc {
    fn signing_key(&self, algorithm: SignatureAlgorithm, secret: &Secret) -> Option<Arc<dyn SigningKey>> {
        match algorithm {
            SignatureAlgorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(secret.expose()).ok()?;
                Some(Arc::new(Ed25519 { pair }))
            }
            SignatureAlgorithm::Es256 => {
                // A key pair of a scalar alone is not to be had from the library's signatures.
                let (_, public) = private_key(&agreement::ECDH_P256, secret)?;
                let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_private_key_and_public_key(signing, secret.expose(), &public).ok()?;
                Some(Arc::new(Es256 { pair }))
            }
            _ => None,
        }
    }

    fn agreement_key(&self, algorithm: AgreementAlgorithm, secret: &Secret) -> Option<Arc<dyn AgreementKey>> {
        let library = match algorithm {
            AgreementAlgorithm::X25519 => &agreement::X25519,
            AgreementAlgorithm::P256 => &agreement::ECDH_P256,
            _ => return None,
        };
        let (private, public) = private_key(library, secret)?;
        Some(Arc::new(Agreement { algorithm, private, public }))
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
        CryptoJob::Verify { algorithm: SignatureAlgorithm::Es256, key, message, signature } => {
            let key = is_uncompressed(key).then(|| UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key));
            CryptoOutput::Verified(key.is_some_and(|key| key.verify(message, signature).is_ok()))
        }
        CryptoJob::Sign { key, message } => key.sign(message).map_or(CryptoOutput::Failed, CryptoOutput::Signature),
        CryptoJob::Mac { key, peer, message } => {
            let mac = key.agree(peer).map(|shared| agreement_mac(&shared, message));
            mac.map_or(CryptoOutput::Failed, CryptoOutput::Mac)
        }
        CryptoJob::VerifyMac { key, peer, message, mac } => {
            let expected = key.agree(peer).map(|shared| agreement_mac(&shared, message));
            // A device that is away is taken for a peer's wrong key: nothing tells one from the other.
            CryptoOutput::Verified(expected.is_some_and(|expected| verify_slices_are_equal(&expected, mac).is_ok()))
        }
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

    /// RFC 6979 appendix A.2.5: the key, and the signature of "sample" that a signer without randomness makes.
    #[test]
    fn es256_verifies_what_others_have_signed_and_refuses_other_forms() {
        let secret = Secret::new(hex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"));
        let key = AwsLc.signing_key(SignatureAlgorithm::Es256, &secret).unwrap();
        let public = hex(
            "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
        );
        assert_eq!((key.algorithm(), key.public()), (SignatureAlgorithm::Es256, public.as_slice()));
        let signature = hex(
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        );
        let verify = |key: &[u8], message: &[u8], signature: &[u8]| {
            let (algorithm, key) = (SignatureAlgorithm::Es256, key.to_vec());
            let job = CryptoJob::Verify { algorithm, key, message: message.to_vec(), signature: signature.to_vec() };
            AwsLc.run(&[job]) == [CryptoOutput::Verified(true)]
        };
        assert!(verify(&public, b"sample", &signature));
        assert!(!verify(&public, b"samples", &signature) && !verify(&public, b"sample", &signature[1..]));
        let own = key.sign(b"sample").unwrap();
        assert!(own.len() == 64 && verify(&public, b"sample", &own));
        let compressed = [&[3], &public[1..33]].concat();
        let hybrid = [&[7], &public[1..]].concat();
        let mut off_curve = public.clone();
        off_curve[64] ^= 1;
        for wrong in [&compressed[..], &hybrid, &off_curve, &public[1..], &[]] {
            assert!(!verify(wrong, b"sample", &signature), "{}", hex::encode(wrong));
        }
        for wrong in [vec![0; 32], vec![0xff; 32], vec![1; 31], vec![1; 33]] {
            assert!(AwsLc.signing_key(SignatureAlgorithm::Es256, &Secret::new(wrong)).is_none());
        }
    }

    fn agreement(algorithm: AgreementAlgorithm, secret: &str) -> Arc<dyn AgreementKey> {
        AwsLc.agreement_key(algorithm, &Secret::new(hex(secret))).unwrap()
    }

    /// RFC 7748 section 6.1: Bob's keys, and the secret that he shares with Alice.
    #[test]
    fn x25519_agrees_as_rfc7748_and_refuses_keys_of_small_order() {
        let bob =
            agreement(AgreementAlgorithm::X25519, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        assert_eq!(hex::encode(bob.public()), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let alice = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(bob.agree(&alice), Some(Secret::new(shared)));
        // The same key with its top bit set, 0, 1, p - 1, p, p + 1, and the two points of order 8.
        let mut top = alice.clone();
        top[31] |= 0x80;
        let mut p = hex(P);
        let mut refused = vec![top, vec![0; 32], p.clone(), alice[1..].to_vec(), vec![]];
        for low in [1, 0xec, 0xee] {
            p[0] = low;
            refused.push(if low == 1 { [vec![1], vec![0; 31]].concat() } else { p.clone() });
        }
        refused.push(hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"));
        refused.push(hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"));
        for key in refused {
            assert!(!is_sound_x25519(&key) && bob.agree(&key).is_none(), "{}", hex::encode(&key));
        }
        let mut below = hex(P);
        below[0] = 0xeb;
        assert!(is_sound_x25519(&below), "p - 2 is canonical and not of small order");
    }

    #[test]
    fn both_sides_make_the_same_mac_and_others_do_not_verify() {
        for algorithm in [AgreementAlgorithm::X25519, AgreementAlgorithm::P256] {
            let [one, two, three] = ["11", "22", "33"].map(|byte| agreement(algorithm, &byte.repeat(32)));
            let job = |key: &Arc<dyn AgreementKey>, peer: &[u8], message: &[u8]| CryptoJob::Mac {
                key: Arc::clone(key),
                peer: peer.to_vec(),
                message: message.to_vec(),
            };
            let outputs = AwsLc.run(&[job(&one, two.public(), b"m"), job(&two, one.public(), b"m")]);
            let [CryptoOutput::Mac(mac), CryptoOutput::Mac(same)] = outputs[..] else { panic!("{outputs:?}") };
            assert_eq!((mac, mac.len()), (same, 8));
            let verify = |key: &Arc<dyn AgreementKey>, peer: &[u8], message: &[u8], mac: &[u8]| {
                let (key, peer, message, mac) = (Arc::clone(key), peer.to_vec(), message.to_vec(), mac.to_vec());
                AwsLc.run(&[CryptoJob::VerifyMac { key, peer, message, mac }]) == [CryptoOutput::Verified(true)]
            };
            assert!(verify(&two, one.public(), b"m", &mac));
            assert!(!verify(&two, one.public(), b"n", &mac) && !verify(&three, one.public(), b"m", &mac));
            assert!(!verify(&two, one.public(), b"m", &mac[1..]) && !verify(&two, one.public(), b"m", &[]));
            assert!(!verify(&two, &[], b"m", &mac));
            assert_eq!(AwsLc.run(&[job(&one, &[], b"m")]), [CryptoOutput::Failed]);
            assert!(AwsLc.agreement_key(algorithm, &Secret::new(vec![1; 31])).is_none());
            assert_eq!(
                (one.algorithm(), *one == *two, format!("{one:?}").contains("17, 17")),
                (algorithm, false, false)
            );
        }
        let point = agreement(AgreementAlgorithm::P256, &"11".repeat(32));
        let hybrid = [&[7], &point.public()[1..]].concat();
        assert!(point.agree(&hybrid).is_none() && point.agree(&hybrid[1..33]).is_none());
    }

    // Covers: TH-2-11/signature-keys
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
