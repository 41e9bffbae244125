//! Requests about a credential alone: a member has another one (RFC 9594 section 4.9.1), or a signature verifier asks for the Group
//! Manager's (Group OSCORE profile section 9.5.2). What else their payloads have is ignored.

use crate::cbor::{DecodeError, MapReader, MapWriter, bytes};
use crate::labels::groupcomm;
use alloc::vec::Vec;

/// Another credential of a member: POST to its cred resource (RFC 9594 section 4.9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredUpdate {
    /// The new credential, in the group's format.
    pub client_cred: Vec<u8>,
    /// N_C, over which the client proves possession of its key.
    pub cnonce: Vec<u8>,
    /// The proof of possession.
    pub client_cred_verify: Vec<u8>,
}

impl CredUpdate {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a field is missing or has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            client_cred: map.required(groupcomm::CLIENT_CRED, "client_cred", bytes("client_cred"))?,
            cnonce: map.required(groupcomm::CNONCE, "cnonce", bytes("cnonce"))?,
            client_cred_verify: map.required(
                groupcomm::CLIENT_CRED_VERIFY,
                "client_cred_verify",
                bytes("client_cred_verify"),
            )?,
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.bytes(groupcomm::CLIENT_CRED, Some(&self.client_cred));
        map.bytes(groupcomm::CNONCE, Some(&self.cnonce));
        map.bytes(groupcomm::CLIENT_CRED_VERIFY, Some(&self.client_cred_verify));
        map.finish()
    }
}

/// The request for the KDC's credential with a fresh proof: FETCH of the kdc-cred resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KdcCredRequest {
    /// N_C, over which the KDC proves possession of its key.
    pub cnonce: Vec<u8>,
}

impl KdcCredRequest {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where the nonce is missing or has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self { cnonce: map.required(groupcomm::CNONCE, "cnonce", bytes("cnonce"))? })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.bytes(groupcomm::CNONCE, Some(&self.cnonce));
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    // Covers: KG-4.1.2-07
    #[test]
    fn what_does_not_belong_there_is_ignored_whatever_it_is() {
        // {3: 0, 4: 1, 5: h'01', 6: h'02', 24: h'03', 27: 7}
        let payload = [0xa6, 3, 0, 4, 1, 5, 0x41, 1, 6, 0x41, 2, 0x18, 24, 0x41, 3, 0x18, 27, 7];
        let update = CredUpdate { client_cred: vec![1], cnonce: vec![2], client_cred_verify: vec![3] };
        assert_eq!(CredUpdate::decode(&payload), Ok(update.clone()));
        assert_eq!(CredUpdate::decode(&update.encode()), Ok(update));
        let request = KdcCredRequest { cnonce: vec![2] };
        assert_eq!(KdcCredRequest::decode(&payload), Ok(request.clone()));
        assert_eq!(KdcCredRequest::decode(&request.encode()), Ok(request));
    }

    #[test]
    fn each_parameter_has_to_be_there_in_its_form() {
        for payload in [&[0xa0][..], &[0xa1, 6, 0x61, 0x61], &[0xa2, 5, 0x41, 1, 24, 0x41, 3], &[0x80], &[]] {
            assert!(CredUpdate::decode(payload).is_err() && KdcCredRequest::decode(payload).is_err(), "{payload:?}");
        }
    }
}
