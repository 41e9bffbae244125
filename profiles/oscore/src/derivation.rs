//! From input material, nonces and identifiers to the parameters of an OSCORE context (RFC 9203 section 4.3).

use ace_groupcomm::token::hkdf_from_cose;
use ace_groupcomm_messages::{Label, OscoreInputMaterial, RawCbor};
use ace_oscore::{Aead, Hkdf, Parameters};
use thiserror::Error;

/// Longest nonce, salt and ID Context that are taken.
pub const MAX_NONCE: usize = 64;
/// Longest Master Secret that is taken.
const MAX_SECRET: usize = 64;

/// What client and resource server exchange: nonces and Recipient IDs.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged<'a> {
    /// N1, the client's.
    pub nonce1: &'a [u8],
    /// N2, the resource server's.
    pub nonce2: &'a [u8],
    /// ID1, the client's Recipient ID.
    pub client_id: &'a [u8],
    /// ID2, the resource server's Recipient ID.
    pub server_id: &'a [u8],
}

/// Why no context can be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DerivationError {
    /// The version of OSCORE is not 1.
    #[error("unknown version of OSCORE")]
    Version,
    /// The AEAD or HKDF algorithm is not one that is implemented.
    #[error("algorithm is not supported")]
    Algorithm,
    /// A secret, salt, nonce, identifier or ID Context is too long, or the secret is empty.
    #[error("a parameter is out of bounds")]
    Length,
    /// Both identifiers are the same, so that both directions would have one key.
    #[error("both identifiers are the same")]
    SameIds,
}

/// The AEAD algorithm of the input material.
pub(crate) fn aead(material: &OscoreInputMaterial) -> Result<Aead, DerivationError> {
    match &material.alg {
        None => Ok(Aead::default()),
        Some(Label::Int(number)) => Aead::from_cose(*number).ok_or(DerivationError::Algorithm),
        Some(Label::Text(_)) => Err(DerivationError::Algorithm),
    }
}

fn hkdf(material: &OscoreInputMaterial) -> Result<Hkdf, DerivationError> {
    match &material.hkdf {
        None => Ok(Hkdf::default()),
        Some(Label::Int(number)) => hkdf_from_cose(*number).ok_or(DerivationError::Algorithm),
        Some(Label::Text(_)) => Err(DerivationError::Algorithm),
    }
}

/// The parameters of the **client's** context; the resource server swaps the identifiers.
///
/// An absent salt counts as the empty byte string, which is RFC 8613's default, and takes part with its head of
/// one byte.
///
/// # Errors
/// [`DerivationError`].
pub fn derive(material: &OscoreInputMaterial, exchanged: Exchanged<'_>) -> Result<Parameters, DerivationError> {
    if material.version.is_some_and(|version| version != 1) {
        return Err(DerivationError::Version);
    }
    let (aead, hkdf) = (aead(material)?, hkdf(material)?);
    let salt = material.salt.as_deref().unwrap_or_default();
    let bounded = [salt, exchanged.nonce1, exchanged.nonce2, material.context_id.as_deref().unwrap_or_default()];
    if material.ms.is_empty()
        || material.ms.len() > MAX_SECRET
        || bounded.iter().any(|bytes| bytes.len() > MAX_NONCE)
        || exchanged.client_id.len() > aead.max_id_len()
        || exchanged.server_id.len() > aead.max_id_len()
    {
        return Err(DerivationError::Length);
    }
    if exchanged.client_id == exchanged.server_id {
        return Err(DerivationError::SameIds);
    }
    let parts = [salt, exchanged.nonce1, exchanged.nonce2].map(RawCbor::bytes);
    Ok(Parameters {
        master_secret: material.ms.clone(),
        master_salt: parts.iter().flat_map(|part| part.as_bytes().iter().copied()).collect(),
        sender_id: exchanged.server_id.to_vec(),
        recipient_id: exchanged.client_id.to_vec(),
        id_context: material.context_id.clone(),
        aead,
        hkdf,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn material() -> OscoreInputMaterial {
        OscoreInputMaterial {
            id: vec![1],
            version: None,
            ms: vec![1; 16],
            hkdf: None,
            alg: None,
            salt: Some(hex("f9af838368e353e78888e1426bd94e6f")),
            context_id: None,
        }
    }

    fn with(
        client_id: &[u8],
        server_id: &[u8],
        change: impl Fn(&mut OscoreInputMaterial),
    ) -> Result<Parameters, DerivationError> {
        let mut material = material();
        change(&mut material);
        let (nonce1, nonce2) = (hex("018a278f7faab55a"), hex("25a8991cd700ac01"));
        derive(&material, Exchanged { nonce1: &nonce1, nonce2: &nonce2, client_id, server_id })
    }

    // Covers: OP-3-01, OP-4.3-02, OP-4.3-03, OP-4.3-04, OP-4.3-06
    /// The example of RFC 9203 section 4.3.
    #[test]
    fn the_master_salt_is_that_of_rfc9203() {
        let derived = with(&[0x16, 0x45], &[0, 0], |_| ()).unwrap();
        assert_eq!(
            hex::encode(&derived.master_salt),
            "50f9af838368e353e78888e1426bd94e6f48018a278f7faab55a4825a8991cd700ac01"
        );
        assert_eq!((derived.sender_id.as_slice(), derived.recipient_id.as_slice()), (&[0, 0][..], &[0x16, 0x45][..]));
        assert_eq!(
            (derived.aead, derived.hkdf, derived.id_context.as_deref()),
            (Aead::AesCcm16_64_128, Hkdf::Sha256, None)
        );
        assert_eq!(derived.master_secret, [1; 16]);
        let no_salt = with(&[1], &[2], |m| m.salt = None).unwrap();
        assert_eq!(no_salt.master_salt[..2], [0x40, 0x48]);
        let long = with(&[1], &[2], |m| m.salt = Some(vec![7; 32])).unwrap();
        assert_eq!(long.master_salt[..2], [0x58, 0x20]);
    }

    // Covers: OS-3.2.1-01, TH-1-05/client-id-length, TH-1-05/differing-ids, TH-1-05/input-bounds
    // Covers: TH-1-05/unknown-input
    // Covers: OP-3.2.1-01, OP-3.2.1-02, OP-4.3-05
    #[test]
    fn algorithms_versions_and_lengths_have_bounds() {
        let algorithm = |alg: i64, hkdf: i64| {
            with(&[1], &[2], |m| (m.alg, m.hkdf) = (Some(Label::Int(alg)), Some(Label::Int(hkdf))))
                .map(|p| (p.aead, p.hkdf))
        };
        assert_eq!(algorithm(24, 7), Ok((Aead::ChaCha20Poly1305, Hkdf::Sha512)));
        assert_eq!(algorithm(1, -10), Ok((Aead::A128Gcm, Hkdf::Sha256)));
        assert_eq!(algorithm(2, 5), Err(DerivationError::Algorithm));
        assert_eq!(algorithm(10, 6), Err(DerivationError::Algorithm));
        // No HKDF, and no AEAD.
        assert_eq!(algorithm(10, 10), Err(DerivationError::Algorithm));
        assert_eq!(algorithm(5, 5), Err(DerivationError::Algorithm));
        let context = with(&[1], &[2], |m| m.context_id = Some(vec![7])).unwrap();
        assert_eq!(context.id_context.as_deref(), Some(&[7][..]));
        let err = |change: &dyn Fn(&mut OscoreInputMaterial)| with(&[1], &[2], change).map(|_| ()).unwrap_err();
        assert_eq!(err(&|m| m.alg = Some(Label::Text("AES".into()))), DerivationError::Algorithm);
        assert_eq!(err(&|m| m.hkdf = Some(Label::Text("HKDF".into()))), DerivationError::Algorithm);
        assert_eq!(err(&|m| m.version = Some(2)), DerivationError::Version);
        assert_eq!(err(&|m| m.ms.clear()), DerivationError::Length);
        assert_eq!(err(&|m| m.ms = vec![0; 65]), DerivationError::Length);
        assert!(with(&[1], &[2], |m| m.ms = vec![0; 64]).is_ok());
        assert_eq!(err(&|m| m.salt = Some(vec![0; 65])), DerivationError::Length);
        assert_eq!(err(&|m| m.context_id = Some(vec![0; 65])), DerivationError::Length);
        assert!(with(&[1], &[2], |m| (m.version, m.context_id) = (Some(1), Some(vec![0; 64]))).is_ok());
        assert_eq!(with(&[1], &[1], |_| ()).map(|_| ()), Err(DerivationError::SameIds));
        assert!(with(&[1; 7], &[], |_| ()).is_ok() && with(&[], &[1; 7], |_| ()).is_ok());
        assert_eq!(with(&[1; 8], &[], |_| ()).map(|_| ()), Err(DerivationError::Length));
        assert_eq!(with(&[], &[1; 8], |_| ()).map(|_| ()), Err(DerivationError::Length));
        let gcm = |m: &mut OscoreInputMaterial| m.alg = Some(Label::Int(1));
        assert!(with(&[1; 6], &[], gcm).is_ok());
        assert_eq!(with(&[1; 7], &[], gcm).map(|_| ()), Err(DerivationError::Length));
    }
}
