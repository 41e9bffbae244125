//! Group_PubSub_Keying_Material: the `key` object of the pub-sub profile (section 4.1.2), with the COSE_Key that is the group key.

use crate::cbor::{DecodeError, Item, Label, MapReader, MapWriter, RawCbor, Writer, array, bytes, int, label, raw};
use crate::group_oscore::AlgorithmParameters;
use crate::labels::{cose_key, pubsub};
use alloc::vec::Vec;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The group key: a symmetric COSE_Key (RFC 9052 section 7).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PubsubGroupKey {
    /// The Gid, as `kid`.
    pub kid: Vec<u8>,
    /// The AEAD algorithm.
    #[zeroize(skip)]
    pub alg: Label,
    /// The Base IV, as long as a nonce of the algorithm.
    pub base_iv: Vec<u8>,
    /// The symmetric key, as long as the algorithm asks for.
    pub k: Vec<u8>,
}

impl core::fmt::Debug for PubsubGroupKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PubsubGroupKey").field("kid", &self.kid).field("alg", &self.alg).finish_non_exhaustive()
    }
}

impl PubsubGroupKey {
    fn from_item(item: Item<'_>) -> Result<Self, DecodeError> {
        let mut map = MapReader::from_item(item, "group_key")?;
        if map.required(cose_key::KTY, "kty", int("kty"))? != cose_key::SYMMETRIC {
            return Err(DecodeError::Type("symmetric group_key"));
        }
        Ok(Self {
            kid: map.required(cose_key::KID, "kid", bytes("kid"))?,
            alg: map.required(cose_key::ALG, "alg", label("alg"))?,
            base_iv: map.required(cose_key::BASE_IV, "Base IV", bytes("Base IV"))?,
            k: map.required(cose_key::K, "k", bytes("k"))?,
        })
    }

    fn write(&self, out: &mut Writer) {
        let mut map = MapWriter::new();
        map.int(cose_key::KTY, Some(cose_key::SYMMETRIC));
        map.bytes(cose_key::KID, Some(&self.kid));
        self.alg.write(map.entry(cose_key::ALG));
        map.bytes(cose_key::BASE_IV, Some(&self.base_iv));
        map.bytes(cose_key::K, Some(&self.k));
        map.write(out);
    }
}

/// The keying material of a security group. A rekeying message has the group key alone.
#[derive(Clone, Debug, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PubsubKeyingMaterial {
    /// The COSE_Key that encrypts; all that a rekeying message has.
    pub group_key: PubsubGroupKey,
    /// The Sender ID of the member, where it is a Publisher; only its own answers have it.
    pub group_sender_id: Option<Vec<u8>>,
    /// The format of credentials, a COSE header parameter.
    pub cred_fmt: Option<i64>,
    /// The signature algorithm, `sign_alg` with `sign_params`.
    #[zeroize(skip)]
    pub sign: Option<AlgorithmParameters>,
}

impl PubsubKeyingMaterial {
    /// Reads the `key` of a Join Response, an answer of GET, or a rekeying message.
    ///
    /// # Errors
    /// [`DecodeError`] where a field is missing or has a wrong form.
    pub fn decode(key: &RawCbor) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(key.as_bytes())?;
        let group_key = map.required(pubsub::GROUP_KEY, "group_key", PubsubGroupKey::from_item)?;
        let group_sender_id = map.optional(pubsub::GROUP_SENDER_ID, bytes("group_SenderId"))?;
        let cred_fmt = map.optional(pubsub::CRED_FMT, int("cred_fmt"))?;
        let algorithm = map.optional(pubsub::SIGN_ALG, label("sign_alg"))?;
        let parameters = map.optional(pubsub::SIGN_PARAMS, array("sign_params", array_item))?;
        let sign = match (algorithm, parameters) {
            (None, None) => None,
            (Some(algorithm), Some(parameters)) => Some(AlgorithmParameters { algorithm, parameters }),
            _ => return Err(DecodeError::Missing("sign_alg with sign_params")),
        };
        Ok(Self { group_key, group_sender_id, cred_fmt, sign })
    }

    /// Returns the `key` object, encoded.
    #[must_use]
    pub fn encode(&self) -> RawCbor {
        let mut map = MapWriter::new();
        self.group_key.write(map.entry(pubsub::GROUP_KEY));
        map.bytes(pubsub::GROUP_SENDER_ID, self.group_sender_id.as_deref());
        map.int(pubsub::CRED_FMT, self.cred_fmt);
        if let Some(sign) = &self.sign {
            sign.algorithm.write(map.entry(pubsub::SIGN_ALG));
            map.entry(pubsub::SIGN_PARAMS).list(&sign.parameters, Writer::raw);
        }
        RawCbor::from_finished(map)
    }
}

fn array_item(item: Item<'_>) -> Result<RawCbor, DecodeError> {
    if item.array().is_none() { Err(DecodeError::Type("sign_params")) } else { raw(item) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn material() -> PubsubKeyingMaterial {
        PubsubKeyingMaterial {
            group_key: PubsubGroupKey {
                kid: vec![0x37, 0xfc],
                alg: Label::Int(10),
                base_iv: vec![0x61; 13],
                k: vec![0x02; 16],
            },
            group_sender_id: Some(vec![1]),
            cred_fmt: Some(14),
            sign: Some(AlgorithmParameters {
                algorithm: Label::Int(-8),
                parameters: vec![
                    RawCbor::array(&[RawCbor::uint(1)]),
                    RawCbor::array(&[RawCbor::uint(1), RawCbor::uint(6)]),
                ],
            }),
        }
    }

    #[test]
    fn the_key_object_has_the_labels_of_the_profile() {
        let encoded = material().encode();
        // {0: {1: 4, 2: h'37fc', 3: 10, 5: h'61..', -1: h'02..'}, 1: h'01', 2: 14, 3: -8, 4: [[1], [1, 6]]}
        let mut expected = hex::decode("a500a50104024237fc030a054d").unwrap();
        expected.extend([0x61; 13]);
        expected.extend([0x20, 0x50]);
        expected.extend([0x02; 16]);
        expected.extend(hex::decode("014101020e03270482810182 0106".replace(' ', "")).unwrap());
        assert_eq!(encoded.as_bytes(), expected);
        assert_eq!(PubsubKeyingMaterial::decode(&encoded), Ok(material()));
        let mut bare = material();
        (bare.group_sender_id, bare.cred_fmt, bare.sign) = (None, None, None);
        assert_eq!(PubsubKeyingMaterial::decode(&bare.encode()), Ok(bare));
    }

    #[test]
    fn what_is_no_group_key_is_refused() {
        let key = |text: &str| RawCbor::new(&hex::decode(text.replace(' ', "")).unwrap()).unwrap();
        for bad in [
            "a0",
            "80",
            "a1 00 a0",
            "a1 00 a4 0104 024101 030a 054101",
            "a1 00 a4 0104 024101 030a 204101",
            "a1 00 a4 0104 024101 054101 204101",
            "a1 00 a4 0104 030a 054101 204101",
            "a1 00 a4 024101 030a 054101 204101",
            "a1 00 a5 0101 024101 030a 054101 204101",
            "a2 00 a5 0104 024101 030a 054101 204101 03 27",
            "a2 00 a5 0104 024101 030a 054101 204101 04 80",
            "a3 00 a5 0104 024101 030a 054101 204101 03 27 04 81 01",
            "a2 00 a5 0104 024101 030a 054101 204101 01 00",
        ] {
            assert!(PubsubKeyingMaterial::decode(&key(bad)).is_err(), "{bad}");
        }
        assert!(PubsubKeyingMaterial::decode(&key("a1 00 a5 0104 024101 030a 054101 204101")).is_ok());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = alloc::format!("{:?}", material());
        assert!(shown.contains("[55, 252]") && !shown.contains("97, 97") && !shown.contains("2, 2, 2"), "{shown}");
    }
}
