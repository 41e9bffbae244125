//! Group_OSCORE_Input_Material: the `key` object of the Group OSCORE profile (sections 6.3 and 17.6).

use crate::cbor::{DecodeError, Item, Label, MapReader, MapWriter, RawCbor, array, bytes, int, label, raw};
use crate::labels::osc;
use alloc::vec::Vec;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// An algorithm with its parameters: `[capabilities of the algorithm, capabilities of its key type]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlgorithmParameters {
    /// The algorithm, in the COSE Algorithms registry.
    pub algorithm: Label,
    /// Its parameters, two arrays for all algorithms of today.
    pub parameters: Vec<RawCbor>,
}

/// What a Group OSCORE context is derived from. What is absent is not set, but for `hkdf` (HKDF SHA-256) and
/// `salt` (empty).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct GroupOscoreInputMaterial {
    /// The Master Secret, `ms`.
    pub ms: Vec<u8>,
    /// The HKDF, named by its HMAC algorithm.
    #[zeroize(skip)]
    pub hkdf: Option<Label>,
    /// The AEAD algorithm of the pairwise mode.
    #[zeroize(skip)]
    pub alg: Option<Label>,
    /// The Master Salt, `salt`.
    pub salt: Option<Vec<u8>>,
    /// The Gid, as ID Context.
    pub context_id: Vec<u8>,
    /// The member's Sender ID; only its own answers have it.
    pub group_sender_id: Option<Vec<u8>>,
    /// The format of credentials, a COSE header parameter; a rekeying message does not have it.
    pub cred_fmt: Option<i64>,
    /// The encryption algorithm of the group mode.
    #[zeroize(skip)]
    pub gp_enc_alg: Option<Label>,
    /// The signature algorithm of the group mode.
    #[zeroize(skip)]
    pub sign: Option<AlgorithmParameters>,
    /// The key agreement algorithm of the pairwise mode.
    #[zeroize(skip)]
    pub ecdh: Option<AlgorithmParameters>,
}

impl core::fmt::Debug for GroupOscoreInputMaterial {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GroupOscoreInputMaterial")
            .field("context_id", &self.context_id)
            .field("group_sender_id", &self.group_sender_id)
            .finish_non_exhaustive()
    }
}

/// An algorithm and its parameters stand together or not at all.
fn parameters(
    map: &mut MapReader<'_>,
    algorithm: i64,
    parameters: i64,
    name: &'static str,
) -> Result<Option<AlgorithmParameters>, DecodeError> {
    match (map.take(algorithm), map.take(parameters)) {
        (None, None) => Ok(None),
        (Some(algorithm), Some(parameters)) => Ok(Some(AlgorithmParameters {
            algorithm: label(name)(algorithm)?,
            parameters: array(name, |item: Item<'_>| match item.array() {
                Some(_) => raw(item),
                None => Err(DecodeError::Type(name)),
            })(parameters)?,
        })),
        _ => Err(DecodeError::Missing(name)),
    }
}

impl GroupOscoreInputMaterial {
    /// Reads the `key` of a Join Response, an answer of GET, or a rekeying message.
    ///
    /// # Errors
    /// [`DecodeError`] where a field is missing or has a wrong form.
    pub fn decode(key: &RawCbor) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(key.as_bytes())?;
        Ok(Self {
            ms: map.required(osc::MS, "ms", bytes("ms"))?,
            hkdf: map.optional(osc::HKDF, label("hkdf"))?,
            alg: map.optional(osc::ALG, label("alg"))?,
            salt: map.optional(osc::SALT, bytes("salt"))?,
            context_id: map.required(osc::CONTEXT_ID, "contextId", bytes("contextId"))?,
            group_sender_id: map.optional(osc::GROUP_SENDER_ID, bytes("group_SenderId"))?,
            cred_fmt: map.optional(osc::CRED_FMT, int("cred_fmt"))?,
            gp_enc_alg: map.optional(osc::GP_ENC_ALG, label("gp_enc_alg"))?,
            sign: parameters(&mut map, osc::SIGN_ALG, osc::SIGN_PARAMS, "sign_alg with sign_params")?,
            ecdh: parameters(&mut map, osc::ECDH_ALG, osc::ECDH_PARAMS, "ecdh_alg with ecdh_params")?,
        })
    }

    /// Returns the `key` object, encoded.
    #[must_use]
    pub fn encode(&self) -> RawCbor {
        let mut map = MapWriter::new();
        map.bytes(osc::MS, Some(&self.ms));
        let mut algorithm = |key: i64, value: Option<&Label>| {
            if let Some(value) = value {
                value.write(map.entry(key));
            }
        };
        algorithm(osc::HKDF, self.hkdf.as_ref());
        algorithm(osc::ALG, self.alg.as_ref());
        algorithm(osc::GP_ENC_ALG, self.gp_enc_alg.as_ref());
        map.bytes(osc::SALT, self.salt.as_deref());
        map.bytes(osc::CONTEXT_ID, Some(&self.context_id));
        map.bytes(osc::GROUP_SENDER_ID, self.group_sender_id.as_deref());
        map.int(osc::CRED_FMT, self.cred_fmt);
        for (algorithm, parameters, value) in
            [(osc::SIGN_ALG, osc::SIGN_PARAMS, &self.sign), (osc::ECDH_ALG, osc::ECDH_PARAMS, &self.ecdh)]
        {
            if let Some(value) = value {
                value.algorithm.write(map.entry(algorithm));
                map.entry(parameters).list(&value.parameters, crate::cbor::Writer::raw);
            }
        }
        RawCbor::from_finished(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn array_of(bytes: &[u8]) -> RawCbor {
        RawCbor::new(bytes).unwrap()
    }

    fn both_modes() -> GroupOscoreInputMaterial {
        GroupOscoreInputMaterial {
            ms: vec![0; 16],
            hkdf: None,
            alg: Some(Label::Int(10)),
            salt: None,
            context_id: vec![0x37, 0xfc],
            group_sender_id: Some(vec![1]),
            cred_fmt: Some(14),
            gp_enc_alg: Some(Label::Int(10)),
            sign: Some(AlgorithmParameters {
                algorithm: Label::Int(-8),
                parameters: vec![array_of(&[0x81, 1]), array_of(&[0x82, 1, 6])],
            }),
            ecdh: Some(AlgorithmParameters {
                algorithm: Label::Int(-27),
                parameters: vec![array_of(&[0x81, 1]), array_of(&[0x82, 1, 4])],
            }),
        }
    }

    #[test]
    fn comes_back_in_every_form() {
        let full = both_modes();
        assert_eq!(GroupOscoreInputMaterial::decode(&full.encode()), Ok(full.clone()));
        // {2: ms, 4: 10, 9: 10, 6: 37fc, 7: 01, 8: 14, 10: -8, 11: [[1], [1, 6]], 12: -27, 13: [[1], [1, 4]]}
        let expected =
            "aa0250000000000000000000000000000000000 40a090a064237fc0741010 80e0a270b8281018201060c381a0d828101820104";
        assert_eq!(hex::encode(full.encode().as_bytes()), expected.replace(' ', ""));
        let mut rekeying = full;
        (rekeying.group_sender_id, rekeying.cred_fmt, rekeying.alg, rekeying.gp_enc_alg) = (None, None, None, None);
        (rekeying.sign, rekeying.ecdh, rekeying.salt, rekeying.hkdf) =
            (None, None, Some(vec![9; 8]), Some(Label::Int(5)));
        assert_eq!(GroupOscoreInputMaterial::decode(&rekeying.encode()), Ok(rekeying));
    }

    #[test]
    fn algorithms_need_their_parameters() {
        for bad in
            ["a1024100", "a1064100", "a3024100064100 0a27", "a3024100064100 0b8181 01", "a4024100064100 0a270b8101"]
        {
            let bytes = hex::decode(bad.replace(' ', "")).unwrap();
            assert!(GroupOscoreInputMaterial::decode(&array_of(&bytes)).is_err(), "{bad}");
        }
        let shown = alloc::format!("{:?}", both_modes());
        assert!(!shown.contains("0, 0, 0") && shown.contains("[55, 252]"), "{shown}");
    }
}
