//! What is signed, or MACed, to prove possession of a credential's private key (RFC 9594 sections 4.3.1 and
//! 4.5.1): byte strings with their CBOR heads, one behind the other.

use crate::cbor::Writer;
use alloc::vec::Vec;

/// The input of `client_cred_verify`: `scope` as it was received, N_S, N_C.
#[must_use]
pub fn client_input(scope: &[u8], kdcchallenge: &[u8], cnonce: &[u8]) -> Vec<u8> {
    join(&[scope, kdcchallenge, cnonce])
}

/// The input of `kdc_cred_verify`: N_C of the member, N_KDC.
#[must_use]
pub fn kdc_input(cnonce: &[u8], kdc_nonce: &[u8]) -> Vec<u8> {
    join(&[cnonce, kdc_nonce])
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Writer::new();
    for part in parts {
        out.bytes(part);
    }
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// The examples of RFC 9594 sections 4.3.1, 4.9.1, 4.3.1 and 4.5.1.
    #[test]
    fn inputs_of_rfc9594() {
        let (scope, n_s) = (hex("826667726f7570316673656e646572"), hex("018a278f7faab55a"));
        let (n_c, n_kdc) = (hex("25a8991cd700ac01"), hex("cef04b2aa791bc6d"));
        assert_eq!(
            hex::encode(client_input(&scope, &n_s, &n_c)),
            "4f826667726f7570316673656e64657248018a278f7faab55a4825a8991cd700ac01"
        );
        assert_eq!(
            hex::encode(client_input(&scope, &n_s, &hex("0446baefc56111bf"))),
            "4f826667726f7570316673656e64657248018a278f7faab55a480446baefc56111bf"
        );
        assert_eq!(hex::encode(kdc_input(&n_c, &n_kdc)), "4825a8991cd700ac0148cef04b2aa791bc6d");
        assert_eq!(&kdc_input(&n_c, &[7; 32])[9..11], [0x58, 0x20], "32 bytes take a head of two");
    }
}
