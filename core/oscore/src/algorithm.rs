//! The algorithms that a security context can use, with their COSE numbers (RFC 9053).

use crate::{PartialIv, cbor};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use alloc::vec::Vec;
use ccm::aead::{Aead as _, AeadInOut, Buffer, KeyInit, Payload};
use ccm::consts::{U8, U13};
use chacha20poly1305::ChaCha20Poly1305;
use zeroize::Zeroizing;

type AesCcm16_64_128 = ccm::Ccm<aes::Aes128, U8, U13>;

/// An AEAD algorithm for OSCORE (RFC 8613 section 3.2.1), by its COSE registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Aead {
    /// AES-CCM-16-64-128, COSE 10, the default and the one every endpoint has (RFC 8613 section 3.2).
    #[default]
    AesCcm16_64_128,
    /// A128GCM, COSE 1.
    A128Gcm,
    /// A256GCM, COSE 3.
    A256Gcm,
    /// ChaCha20/Poly1305, COSE 24.
    ChaCha20Poly1305,
}

impl Aead {
    /// The algorithm with this number in the COSE Algorithms registry (RFC 9053 section 4).
    #[must_use]
    pub const fn from_cose(number: i64) -> Option<Self> {
        match number {
            10 => Some(Self::AesCcm16_64_128),
            1 => Some(Self::A128Gcm),
            3 => Some(Self::A256Gcm),
            24 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// Its number in the COSE Algorithms registry.
    #[must_use]
    pub const fn cose(self) -> i64 {
        match self {
            Self::AesCcm16_64_128 => 10,
            Self::A128Gcm => 1,
            Self::A256Gcm => 3,
            Self::ChaCha20Poly1305 => 24,
        }
    }

    /// Length of its key in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCcm16_64_128 | Self::A128Gcm => 16,
            Self::A256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Length of its nonce in bytes.
    #[must_use]
    pub const fn nonce_len(self) -> usize {
        match self {
            Self::AesCcm16_64_128 => 13,
            Self::A128Gcm | Self::A256Gcm | Self::ChaCha20Poly1305 => 12,
        }
    }

    /// Length of its tag in bytes.
    #[must_use]
    pub const fn tag_len(self) -> usize {
        match self {
            Self::AesCcm16_64_128 => 8,
            Self::A128Gcm | Self::A256Gcm | Self::ChaCha20Poly1305 => 16,
        }
    }

    /// The longest Sender ID, nonce length minus 6 (RFC 8613 section 3.3).
    #[must_use]
    pub const fn max_id_len(self) -> usize {
        self.nonce_len().saturating_sub(6)
    }

    /// The nonce of a Partial IV that a sender has generated (RFC 8613 section 5.2); `None` where the IV is shorter than a nonce, or the
    /// Sender ID longer than it may be.
    #[must_use]
    pub fn nonce(self, iv: &[u8], sender_id: &[u8], partial_iv: PartialIv) -> Option<Vec<u8>> {
        if iv.len() != self.nonce_len() || sender_id.len() > self.max_id_len() {
            return None;
        }
        let mut nonce = Vec::with_capacity(self.nonce_len());
        nonce.push(u8::try_from(sender_id.len()).ok()?);
        nonce.resize(self.max_id_len().saturating_sub(sender_id.len()).saturating_add(1), 0);
        nonce.extend_from_slice(sender_id);
        nonce.extend_from_slice(&partial_iv.padded());
        nonce.iter_mut().zip(iv).for_each(|(byte, iv)| *byte ^= iv);
        Some(nonce)
    }

    /// Encrypts in place and appends the tag; `None` when key or nonce have a wrong length: `text` is as it was then.
    #[must_use = "nothing is encrypted where this is None"]
    pub fn seal(self, key: &[u8], nonce: &[u8], aad: &[u8], text: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::AesCcm16_64_128 => seal::<AesCcm16_64_128>(key, nonce, aad, text),
            Self::A128Gcm => seal::<Aes128Gcm>(key, nonce, aad, text),
            Self::A256Gcm => seal::<Aes256Gcm>(key, nonce, aad, text),
            Self::ChaCha20Poly1305 => seal::<ChaCha20Poly1305>(key, nonce, aad, text),
        }
    }

    /// Decrypts; `None` when it does not verify.
    #[must_use]
    pub fn open(self, key: &[u8], nonce: &[u8], aad: &[u8], text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::AesCcm16_64_128 => open::<AesCcm16_64_128>(key, nonce, aad, text),
            Self::A128Gcm => open::<Aes128Gcm>(key, nonce, aad, text),
            Self::A256Gcm => open::<Aes256Gcm>(key, nonce, aad, text),
            Self::ChaCha20Poly1305 => open::<ChaCha20Poly1305>(key, nonce, aad, text),
        }
    }
}

fn seal<C: KeyInit + AeadInOut>(key: &[u8], nonce: &[u8], aad: &[u8], text: &mut dyn Buffer) -> Option<()> {
    let cipher = C::new_from_slice(key).ok()?;
    cipher.encrypt_in_place(nonce.try_into().ok()?, aad, text).ok()
}

fn open<C: KeyInit + AeadInOut>(key: &[u8], nonce: &[u8], aad: &[u8], text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = C::new_from_slice(key).ok()?;
    cipher.decrypt(nonce.try_into().ok()?, Payload { msg: text, aad }).ok().map(Zeroizing::new)
}

/// An HMAC-based key derivation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Hkdf {
    /// HKDF SHA-256, the default.
    #[default]
    Sha256,
    /// HKDF SHA-512.
    Sha512,
}

impl Hkdf {
    /// Extract and expand in one (RFC 5869); `None` when more is asked for than HKDF gives.
    #[must_use = "nothing is derived where this is None"]
    pub fn derive(self, salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> Option<()> {
        match self {
            Self::Sha256 => hkdf::Hkdf::<sha2::Sha256>::new(Some(salt), secret).expand(info, out).ok(),
            Self::Sha512 => hkdf::Hkdf::<sha2::Sha512>::new(Some(salt), secret).expand(info, out).ok(),
        }
    }
}

/// The `info` of a key derivation (RFC 8613 section 3.2.1).
pub(crate) fn info(id: &[u8], id_context: Option<&[u8]>, aead: Aead, kind: &str, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    cbor::array(5, &mut out);
    cbor::bytes(id, &mut out);
    match id_context {
        Some(context) => cbor::bytes(context, &mut out),
        None => out.push(cbor::NULL),
    }
    cbor::int(aead.cose(), &mut out);
    cbor::text(kind, &mut out);
    cbor::int(i64::try_from(length).unwrap_or(0), &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const ALL: [Aead; 4] = [Aead::AesCcm16_64_128, Aead::A128Gcm, Aead::A256Gcm, Aead::ChaCha20Poly1305];

    #[test]
    fn each_algorithm_opens_what_it_sealed_and_nothing_else() {
        for aead in ALL {
            let key = vec![7; aead.key_len()];
            let nonce = vec![9; aead.nonce_len()];
            let mut text = b"lamp on".to_vec();
            aead.seal(&key, &nonce, b"aad", &mut text).unwrap();
            assert_eq!(text.len(), 7 + aead.tag_len());
            assert_eq!(aead.open(&key, &nonce, b"aad", &text).unwrap().as_slice(), b"lamp on");
            assert!(aead.open(&key, &nonce, b"other", &text).is_none());
            assert!(aead.open(&key, &nonce, b"aad", &text[1..]).is_none());
            assert!(aead.open(&key, &nonce, b"aad", &[]).is_none());
            assert!(aead.open(&key[1..], &nonce, b"aad", &text).is_none());
            assert!(aead.seal(&key, &nonce[1..], b"aad", &mut text).is_none());
        }
    }

    #[test]
    fn numbers_are_those_of_cose() {
        for aead in ALL {
            assert_eq!(Aead::from_cose(aead.cose()), Some(aead));
            assert_eq!(aead.max_id_len() + 6, aead.nonce_len());
        }
        assert_eq!(Aead::from_cose(2), None);
        assert_eq!(Aead::default().cose(), 10);
    }

    #[test]
    fn sha512_derives_the_vector_of_its_own() {
        // Computed with Python's hmac: extract with salt 000102, secret 0b * 22, info f0f1f2.
        let mut out = [0; 16];
        Hkdf::Sha512.derive(&[0, 1, 2], &[0x0b; 22], &[0xf0, 0xf1, 0xf2], &mut out).unwrap();
        assert_eq!(out, SHA512_VECTOR);
        let mut long = vec![0; 255 * 64 + 1];
        assert!(Hkdf::Sha512.derive(&[], &[], &[], &mut long).is_none());
        assert!(Hkdf::Sha256.derive(&[], &[], &[], &mut long).is_none());
    }

    const SHA512_VECTOR: [u8; 16] =
        [0x9c, 0x1e, 0x5b, 0x4b, 0xb2, 0x80, 0xe9, 0xa9, 0x72, 0x5b, 0x29, 0xdb, 0xf7, 0x21, 0xdc, 0x2a];
}
