//! What an external verifier of signatures gets (Group OSCORE profile section 9.6).

use crate::cbor::{DecodeError, Label, MapReader, MapWriter, RawCbor, bytes, int, label, raw, uint};
use crate::labels::groupcomm;
use alloc::vec::Vec;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Signature Verification Data Response: the answer of GET to verif-data.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct VerifData {
    /// The key type of the group, `gkty`.
    #[zeroize(skip)]
    pub gkty: Label,
    /// What the key type has for verifiers: algorithms and the Gid, and no secret.
    pub key: RawCbor,
    /// The version of the keying material.
    pub num: i64,
    /// The application profile, by its registered number.
    pub ace_groupcomm_profile: i64,
    /// When the keying material ends, in seconds since 1970.
    pub exp: Option<u64>,
    /// In how many seconds it ends.
    pub exi: Option<u64>,
    /// The Signature Encryption Key.
    pub sign_enc_key: Vec<u8>,
}

impl core::fmt::Debug for VerifData {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VerifData").field("num", &self.num).field("exp", &self.exp).finish_non_exhaustive()
    }
}

impl VerifData {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a field is missing or has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            gkty: map.required(groupcomm::GKTY, "gkty", label("gkty"))?,
            key: map.required(groupcomm::KEY, "key", raw)?,
            num: map.required(groupcomm::NUM, "num", int("num"))?,
            ace_groupcomm_profile: map.required(
                groupcomm::ACE_GROUPCOMM_PROFILE,
                "ace_groupcomm_profile",
                int("ace_groupcomm_profile"),
            )?,
            exp: map.optional(groupcomm::EXP, uint("exp"))?,
            exi: map.optional(groupcomm::EXI, uint("exi"))?,
            sign_enc_key: map.required(groupcomm::SIGN_ENC_KEY, "sign_enc_key", bytes("sign_enc_key"))?,
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        self.gkty.write(map.entry(groupcomm::GKTY));
        map.raw(groupcomm::KEY, Some(&self.key));
        map.int(groupcomm::NUM, Some(self.num));
        map.int(groupcomm::ACE_GROUPCOMM_PROFILE, Some(self.ace_groupcomm_profile));
        map.uint(groupcomm::EXP, self.exp);
        map.uint(groupcomm::EXI, self.exi);
        map.bytes(groupcomm::SIGN_ENC_KEY, Some(&self.sign_enc_key));
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of section 9.6, with the suggested numbers.
    #[test]
    fn the_profiles_example_comes_back() {
        let bytes = "a7 0701 08a6 0305 064237fc 081821 090a 0a27 0b8281018201 06 090c 0a01 0b1a5fee6600 0c1a00278d00 \
                     182150bc661fae6742abc3dd01beda1142567c";
        let bytes = hex::decode(bytes.replace(' ', "")).unwrap();
        let data = VerifData::decode(&bytes).unwrap();
        assert_eq!((data.num, data.exp, data.exi), (12, Some(1_609_459_200), Some(2_592_000)));
        assert_eq!((data.sign_enc_key.len(), data.sign_enc_key[0]), (16, 0xbc));
        assert_eq!(data.encode(), bytes);
        let shown = alloc::format!("{data:?}");
        assert!(shown.contains("12") && !shown.contains("188"), "{shown}");
        for cut in 1..bytes.len() {
            assert!(VerifData::decode(&bytes[..cut]).is_err());
        }
    }
}
