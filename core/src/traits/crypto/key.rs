//! Public keys with the algorithm that they are for, and their names.

use super::sound::{is_sound_ed25519, is_sound_x25519};
use ace_groupcomm_messages::labels::{cose_alg, cose_key};
use ace_groupcomm_messages::{AlgorithmInfo, CoseKey, Label, RawCbor};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

/// Length of a coordinate on P-256, in bytes.
const P256_COORDINATE: usize = 32;
/// What a point in uncompressed form begins with (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A signature algorithm, by its COSE registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// EdDSA with Ed25519 (RFC 8032): secrets are seeds of 32 bytes, public keys have 32 bytes, signatures 64.
    Ed25519,
    /// ES256, ECDSA on P-256 with SHA-256 (RFC 9053 section 2.1): secrets are scalars of 32 bytes, public keys points in
    /// uncompressed form (0x04, x, y; 65 bytes), signatures r and s, 64 bytes together. Who has a signature can make a second
    /// one of it, so that a signature names nothing.
    Es256,
}

impl SignatureAlgorithm {
    /// Returns its number among the COSE algorithms.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Ed25519 => cose_alg::EDDSA,
            Self::Es256 => cose_alg::ES256,
        }
    }

    /// Returns the key type and the curve of its keys.
    const fn key_type(self) -> (i64, i64) {
        match self {
            Self::Ed25519 => (cose_key::OKP, cose_key::ED25519),
            Self::Es256 => (cose_key::EC2, cose_key::P256),
        }
    }

    /// What a client is told before it joins a group that signs with it (RFC 9594 section 3.3.1); `cred_fmt` is the format of
    /// credentials, a COSE header parameter.
    #[must_use]
    pub fn info(self, gname: &str, cred_fmt: i64) -> AlgorithmInfo {
        let (kty, crv) = self.key_type();
        AlgorithmInfo {
            groups: vec![gname.into()],
            algorithm: Label::Int(self.number()),
            parameters: vec![RawCbor::int(kty)],
            key_parameters: vec![RawCbor::int(kty), RawCbor::int(crv)],
            cred_fmt: Some(cred_fmt),
        }
    }
}

/// An algorithm of Diffie-Hellman.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AgreementAlgorithm {
    /// X25519 (RFC 7748 section 5): secrets and public keys have 32 bytes.
    X25519,
    /// P-256: secrets are scalars of 32 bytes, public keys points in uncompressed form (0x04, x, y; 65 bytes).
    P256,
}

/// A public key, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PublicKey {
    /// It verifies signatures.
    Signature(SignatureAlgorithm, ByteBuf),
    /// Secrets are agreed with it.
    Agreement(AgreementAlgorithm, ByteBuf),
}

impl PublicKey {
    /// The key of a COSE_Key that verifies signatures; `None` where its type, curve or `alg` is another one, or it is not sound
    /// ([`is_sound_ed25519`]). Whether a point is on P-256 is seen by the provider, when it verifies.
    #[must_use]
    pub fn for_signatures(algorithm: SignatureAlgorithm, key: &CoseKey) -> Option<Self> {
        if key.alg.as_ref().is_some_and(|alg| *alg != Label::Int(algorithm.number())) {
            return None;
        }
        let bytes = match algorithm {
            SignatureAlgorithm::Ed25519 => okp(key, cose_key::ED25519).filter(|x| is_sound_ed25519(x))?,
            SignatureAlgorithm::Es256 => p256(key)?,
        };
        Some(Self::Signature(algorithm, ByteBuf::from(bytes)))
    }

    /// The key of a COSE_Key that secrets are agreed with, under one of these COSE algorithms; `None` where its type, curve or
    /// `alg` is another one, or it is not sound ([`is_sound_x25519`]).
    #[must_use]
    pub fn for_agreement(algorithm: AgreementAlgorithm, numbers: &[i64], key: &CoseKey) -> Option<Self> {
        let is_known = |alg: &Label| numbers.iter().any(|number| *alg == Label::Int(*number));
        if !key.alg.as_ref().is_none_or(is_known) {
            return None;
        }
        let bytes = match algorithm {
            AgreementAlgorithm::X25519 => okp(key, cose_key::X25519).filter(|u| is_sound_x25519(u))?,
            AgreementAlgorithm::P256 => p256(key)?,
        };
        Some(Self::Agreement(algorithm, ByteBuf::from(bytes)))
    }

    /// The bytes of the key, in the form that its algorithm has.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Signature(_, bytes) | Self::Agreement(_, bytes) => bytes,
        }
    }

    /// The COSE_Key with what names the key and nothing else: type, curve and coordinates.
    #[must_use]
    pub fn to_cose(&self) -> CoseKey {
        let mut key = CoseKey::default();
        let (kty, crv) = match self {
            Self::Signature(algorithm, _) => algorithm.key_type(),
            Self::Agreement(AgreementAlgorithm::X25519, _) => (cose_key::OKP, cose_key::X25519),
            Self::Agreement(AgreementAlgorithm::P256, _) => (cose_key::EC2, cose_key::P256),
        };
        (key.kty, key.crv) = (kty, Some(crv));
        let bytes = self.as_bytes();
        match bytes.get(1..).and_then(|point| point.split_at_checked(P256_COORDINATE)) {
            Some((x, y)) if kty == cose_key::EC2 => {
                key.x = Some(x.to_vec());
                key.y = Some(RawCbor::bytes(y));
            }
            _ => key.x = Some(bytes.to_vec()),
        }
        key
    }

    /// The name of the key, whatever it was encoded in.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of(&self.to_cose())
    }
}

/// x of an octet key pair on this curve.
fn okp(key: &CoseKey, curve: i64) -> Option<Vec<u8>> {
    (key.kty == cose_key::OKP && key.crv == Some(curve)).then(|| key.x.clone())?
}

/// The point of an elliptic-curve key on P-256, whose coordinates have their full length.
fn p256(key: &CoseKey) -> Option<Vec<u8>> {
    if key.kty != cose_key::EC2 || key.crv != Some(cose_key::P256) {
        return None;
    }
    let (x, y) = (key.x.as_ref()?, key.y.as_ref()?.to_byte_string()?);
    (x.len() == P256_COORDINATE && y.len() == P256_COORDINATE).then(|| [&[UNCOMPRESSED][..], x, &y].concat())
}

/// The SHA-256 thumbprint of a key (RFC 9679): one key has one, in whatever credential and encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Thumbprint(#[serde(with = "serde_bytes")] [u8; 32]);

impl Thumbprint {
    /// Names what has a name already, e.g. a key of a kind that COSE does not know, by a SHA-256 hash over its one encoding.
    #[must_use]
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The thumbprint of a COSE_Key: of its type, curve and coordinates alone. A point has to be in uncompressed form.
    #[must_use]
    pub fn of(key: &CoseKey) -> Self {
        let mut named = CoseKey::default();
        (named.kty, named.crv, named.x, named.y, named.k) =
            (key.kty, key.crv, key.x.clone(), key.y.clone(), key.k.clone());
        Self(Sha256::digest(named.encode()).into())
    }

    /// Returns its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl core::fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// RFC 9679 section 6: an EC2 key with a `kid`, and its SHA-256 thumbprint.
    #[test]
    fn a_thumbprint_is_that_of_rfc9679() {
        let x = bytes("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d");
        let y = bytes("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c");
        let mut key = CoseKey::p256(x.as_slice().try_into().unwrap(), y.as_slice().try_into().unwrap());
        let thumbprint = "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec";
        assert_eq!(format!("{:?}", Thumbprint::of(&key)), thumbprint);
        key.kid = Some(b"meriadoc.brandybuck@buckland.example".to_vec());
        key.alg = Some(Label::Int(cose_alg::ES256));
        assert_eq!(format!("{:?}", Thumbprint::of(&key)), thumbprint, "kid and alg are no part of it");
        let public = PublicKey::for_signatures(SignatureAlgorithm::Es256, &key).unwrap();
        assert_eq!(format!("{:?}", public.thumbprint()), thumbprint);
        assert_eq!(hex::encode(public.as_bytes()), format!("04{}{}", hex::encode(&x), hex::encode(&y)));
        let agreement = PublicKey::for_agreement(AgreementAlgorithm::P256, &[], &key);
        assert_eq!(agreement, None, "its alg says that it signs");
        key.alg = None;
        let agreement = PublicKey::for_agreement(AgreementAlgorithm::P256, &[], &key).unwrap();
        assert_eq!(agreement.thumbprint(), public.thumbprint(), "one key, whatever it is for");
    }

    /// RFC 8032 section 7.1, test 2, and RFC 7748 section 6.1.
    #[test]
    fn a_key_is_read_for_the_algorithm_that_it_fits_alone() {
        let signs = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let agrees = bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let mut key = CoseKey::ed25519(signs.as_slice().try_into().unwrap());
        let read = PublicKey::for_signatures(SignatureAlgorithm::Ed25519, &key).unwrap();
        assert_eq!((read.as_bytes(), read.to_cose()), (signs.as_slice(), key.clone()));
        assert_eq!(PublicKey::for_signatures(SignatureAlgorithm::Es256, &key), None);
        assert_eq!(PublicKey::for_agreement(AgreementAlgorithm::X25519, &[], &key), None);
        key.alg = Some(Label::Int(cose_alg::ES256));
        assert_eq!(PublicKey::for_signatures(SignatureAlgorithm::Ed25519, &key), None, "another algorithm");
        let mut key = CoseKey::default();
        (key.kty, key.crv, key.x) = (cose_key::OKP, Some(cose_key::X25519), Some(agrees));
        key.alg = Some(Label::Int(cose_alg::ECDH_SS_HKDF_256));
        let numbers = [cose_alg::ECDH_SS_HKDF_256];
        let read = PublicKey::for_agreement(AgreementAlgorithm::X25519, &numbers, &key).unwrap();
        key.alg = None;
        assert_eq!(read.to_cose(), key);
        assert!(PublicKey::for_agreement(AgreementAlgorithm::X25519, &[], &key).is_some());
        key.alg = Some(Label::Int(cose_alg::ECDH_SS_HKDF_512));
        assert_eq!(PublicKey::for_agreement(AgreementAlgorithm::X25519, &numbers, &key), None);
        (key.alg, key.x) = (None, Some(vec![0; 32]));
        assert_eq!(PublicKey::for_agreement(AgreementAlgorithm::X25519, &[], &key), None, "of small order");
    }

    #[test]
    fn a_point_is_uncompressed_and_has_full_coordinates() {
        let point = |x: usize, y: RawCbor| {
            let mut key = CoseKey::default();
            (key.kty, key.crv) = (cose_key::EC2, Some(cose_key::P256));
            (key.x, key.y) = (Some(vec![1; x]), Some(y));
            PublicKey::for_signatures(SignatureAlgorithm::Es256, &key)
        };
        assert!(point(32, RawCbor::bytes(&[2; 32])).is_some());
        assert_eq!(point(31, RawCbor::bytes(&[2; 32])), None);
        assert_eq!(point(32, RawCbor::bytes(&[2; 33])), None);
        assert_eq!(point(32, RawCbor::new(&[0xf5]).unwrap()), None, "compressed");
    }
}
