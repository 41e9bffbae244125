//! Token Transfer: the token goes to the KDC, and the client learns what it needs to join (RFC 9594 section
//! 3.3, RFC 9203 section 4).

use crate::cbor::{DecodeError, Label, MapReader, MapWriter, RawCbor, bytes, null};
use crate::labels::oauth;
use crate::sign_info::{AlgorithmInfo, CredentialInfo, KdcDhCred};
use alloc::vec::Vec;

/// Token Transfer Request: POST to /authz-info with Content-Format application/ace+cbor.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TokenTransferRequest {
    /// The access token, as the AS gave it.
    pub access_token: Vec<u8>,
    /// N1 (RFC 9203 section 4.1.1).
    pub nonce1: Option<Vec<u8>>,
    /// ID1, the client's Recipient ID (RFC 9203 section 4.1.2).
    pub client_recipient_id: Option<Vec<u8>>,
    /// Whether the client asks how members sign.
    pub asks_sign_info: bool,
    /// Whether the client asks about Diffie-Hellman keys.
    pub asks_ecdh_info: bool,
    /// Whether the client asks for the KDC's Diffie-Hellman credential.
    pub asks_kdc_dh_creds: bool,
}

impl core::fmt::Debug for TokenTransferRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TokenTransferRequest")
            .field("client_recipient_id", &self.client_recipient_id)
            .finish_non_exhaustive()
    }
}

impl TokenTransferRequest {
    /// Reads the payload. Unknown fields are ignored.
    ///
    /// # Errors
    /// [`DecodeError`] where a known field has a wrong form or the token is missing.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            access_token: map.required(oauth::ACCESS_TOKEN, "access_token", bytes("access_token"))?,
            nonce1: map.optional(oauth::NONCE1, bytes("nonce1"))?,
            client_recipient_id: map.optional(oauth::ACE_CLIENT_RECIPIENTID, bytes("ace_client_recipientid"))?,
            asks_sign_info: map.optional(oauth::SIGN_INFO, null("sign_info"))?.is_some(),
            asks_ecdh_info: map.optional(oauth::ECDH_INFO, null("ecdh_info"))?.is_some(),
            asks_kdc_dh_creds: map.optional(oauth::KDC_DH_CREDS, null("kdc_dh_creds"))?.is_some(),
        })
    }

    /// The token of an update of rights. Nonce and identifier are ignored there, whatever they are (RFC 9203 section
    /// 4.2).
    ///
    /// # Errors
    /// [`DecodeError`] where it is not there, or the message is none.
    pub fn token_of_update(payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
        MapReader::decode(payload)?.required(oauth::ACCESS_TOKEN, "access_token", bytes("access_token"))
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.bytes(oauth::ACCESS_TOKEN, Some(&self.access_token));
        map.bytes(oauth::NONCE1, self.nonce1.as_deref());
        map.bytes(oauth::ACE_CLIENT_RECIPIENTID, self.client_recipient_id.as_deref());
        map.null(oauth::SIGN_INFO, self.asks_sign_info);
        map.null(oauth::ECDH_INFO, self.asks_ecdh_info);
        map.null(oauth::KDC_DH_CREDS, self.asks_kdc_dh_creds);
        map.finish()
    }
}

/// Token Transfer Response: 2.01 with Content-Format application/ace+cbor.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TokenTransferResponse {
    /// N2 (RFC 9203 section 4.2.1).
    pub nonce2: Option<Vec<u8>>,
    /// ID2, the KDC's Recipient ID (RFC 9203 section 4.2.2).
    pub server_recipient_id: Option<Vec<u8>>,
    /// N_S, the challenge for the client's proof of possession.
    pub kdcchallenge: Option<Vec<u8>>,
    /// What the client asked about the groups of its token.
    pub info: CredentialInfo,
    /// Parameters that are not known here, e.g. a transport profile's.
    pub extra: Vec<(Label, RawCbor)>,
}

impl TokenTransferResponse {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a known field has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            nonce2: map.optional(oauth::NONCE2, bytes("nonce2"))?,
            server_recipient_id: map.optional(oauth::ACE_SERVER_RECIPIENTID, bytes("ace_server_recipientid"))?,
            kdcchallenge: map.optional(oauth::KDCCHALLENGE, bytes("kdcchallenge"))?,
            info: CredentialInfo {
                sign_info: map.optional(oauth::SIGN_INFO, AlgorithmInfo::list)?.unwrap_or_default(),
                ecdh_info: map.optional(oauth::ECDH_INFO, AlgorithmInfo::list)?.unwrap_or_default(),
                kdc_dh_creds: map.optional(oauth::KDC_DH_CREDS, KdcDhCred::list)?.unwrap_or_default(),
            },
            extra: map.rest(),
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.bytes(oauth::NONCE2, self.nonce2.as_deref());
        map.bytes(oauth::ACE_SERVER_RECIPIENTID, self.server_recipient_id.as_deref());
        self.info.write(&mut map, [oauth::SIGN_INFO, oauth::ECDH_INFO, oauth::KDC_DH_CREDS]);
        map.bytes(oauth::KDCCHALLENGE, self.kdcchallenge.as_deref());
        map.rest(&self.extra);
        map.finish()
    }
}

impl CredentialInfo {
    /// Writes what is not empty, under the labels of the message it is part of.
    pub(crate) fn write(&self, map: &mut MapWriter, [sign, ecdh, creds]: [i64; 3]) {
        if !self.sign_info.is_empty() {
            AlgorithmInfo::write_list(&self.sign_info, map.entry(sign));
        }
        if !self.ecdh_info.is_empty() {
            AlgorithmInfo::write_list(&self.ecdh_info, map.entry(ecdh));
        }
        if !self.kdc_dh_creds.is_empty() {
            KdcDhCred::write_list(&self.kdc_dh_creds, map.entry(creds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloc::vec;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    /// RFC 9203 sections 4.1 and 4.2, with a token of one byte.
    // Covers: OP-4.1-05, OP-4.1-07
    #[test]
    fn examples_of_rfc9203() {
        let request = TokenTransferRequest {
            access_token: vec![0x83],
            nonce1: Some(hex("018a278f7faab55a")),
            client_recipient_id: Some(hex("1645")),
            ..TokenTransferRequest::default()
        };
        let bytes = hex("a3 01 4183 1828 48 018a278f7faab55a 182b 42 1645");
        assert_eq!(request.encode(), bytes);
        assert_eq!(TokenTransferRequest::decode(&bytes), Ok(request));

        let response = TokenTransferResponse {
            nonce2: Some(hex("25a8991cd700ac01")),
            server_recipient_id: Some(hex("0000")),
            ..TokenTransferResponse::default()
        };
        let bytes = hex("a2 182a 48 25a8991cd700ac01 182c 42 0000");
        assert_eq!(response.encode(), bytes);
        assert_eq!(TokenTransferResponse::decode(&bytes), Ok(response));
    }

    // Covers: KG-3.3-03
    // Covers: GO-5.3-01, GO-5.3.2-01
    #[test]
    fn questions_are_null_and_answers_lists() {
        let request = TokenTransferRequest {
            access_token: vec![1],
            asks_sign_info: true,
            asks_ecdh_info: true,
            asks_kdc_dh_creds: true,
            ..TokenTransferRequest::default()
        };
        assert_eq!(hex::encode(request.encode()), "a4014101182df6182ff61830f6");
        assert_eq!(TokenTransferRequest::decode(&request.encode()), Ok(request));
        assert_eq!(TokenTransferRequest::token_of_update(&hex("a2 01 4101 1828 00")), Ok(vec![1]), "N1 is no matter");
        assert!(TokenTransferRequest::token_of_update(&hex("a1 1828 4101")).is_err());
        for bad in ["a1182df6", "a201410118 2d00", "a2014101182df4", "a20161611828 4101", "a2014101182860", "4101"] {
            assert!(TokenTransferRequest::decode(&hex(bad)).is_err(), "{bad}");
        }
        let entry = AlgorithmInfo {
            groups: vec!["g".into()],
            algorithm: Label::Int(-8),
            parameters: vec![RawCbor::uint(1)],
            key_parameters: vec![RawCbor::uint(1), RawCbor::uint(6)],
            cred_fmt: Some(14),
        };
        let response = TokenTransferResponse {
            kdcchallenge: Some(vec![1; 8]),
            info: CredentialInfo {
                sign_info: vec![entry.clone()],
                ecdh_info: vec![entry],
                kdc_dh_creds: vec![KdcDhCred { groups: vec!["g".into()], cred_fmt: 14, cred: vec![0xa0] }],
            },
            ..TokenTransferResponse::default()
        };
        assert_eq!(TokenTransferResponse::decode(&response.encode()), Ok(response));
        assert_eq!(TokenTransferResponse::decode(&[0xa0]), Ok(TokenTransferResponse::default()));
    }

    #[test]
    fn debug_shows_no_token() {
        let request = TokenTransferRequest { access_token: vec![77; 3], ..TokenTransferRequest::default() };
        assert!(!alloc::format!("{request:?}").contains("77"));
    }
}
