//! Confirmation methods: which key a token is bound to (RFC 8747 section 3, RFC 9203 section 3.2.1).

use crate::cbor::{DecodeError, Item, Label, MapReader, MapWriter, RawCbor, Writer, bytes, label, raw, uint};
use crate::labels::{cnf, cose_key, osc};
use alloc::vec::Vec;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// OSCORE_Input_Material: what an OSCORE context between a client and a resource server is derived from
/// (RFC 9203 section 3.2.1).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct OscoreInputMaterial {
    /// Names this material at the Authorization Server.
    pub id: Vec<u8>,
    /// The version of OSCORE; 1 where absent.
    pub version: Option<u64>,
    /// The Master Secret, `ms`.
    pub ms: Vec<u8>,
    /// The HKDF, named by its HMAC algorithm; HKDF SHA-256 where absent.
    #[zeroize(skip)]
    pub hkdf: Option<Label>,
    /// The AEAD algorithm; AES-CCM-16-64-128 where absent.
    #[zeroize(skip)]
    pub alg: Option<Label>,
    /// The first part of the Master Salt; empty where absent.
    pub salt: Option<Vec<u8>>,
    /// The ID Context, `contextId`.
    pub context_id: Option<Vec<u8>>,
}

impl core::fmt::Debug for OscoreInputMaterial {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OscoreInputMaterial").field("id", &self.id).finish_non_exhaustive()
    }
}

impl OscoreInputMaterial {
    /// Input material with a name and a Master Secret, and for all else the defaults of RFC 9203 section 3.2.1.
    #[must_use]
    pub const fn new(id: Vec<u8>, ms: Vec<u8>) -> Self {
        Self { id, version: None, ms, hkdf: None, alg: None, salt: None, context_id: None }
    }

    /// Reads the map. RFC 9203 section 4.2 closes it: an unknown field is an error, and so is a missing
    /// `id` or `ms`.
    fn from_item(item: Item<'_>) -> Result<Self, DecodeError> {
        let mut map = MapReader::from_item(item, "osc")?;
        let material = Self {
            id: map.required(osc::ID, "id", bytes("id"))?,
            version: map.optional(osc::VERSION, uint("version"))?,
            ms: map.required(osc::MS, "ms", bytes("ms"))?,
            hkdf: map.optional(osc::HKDF, label("hkdf"))?,
            alg: map.optional(osc::ALG, label("alg"))?,
            salt: map.optional(osc::SALT, bytes("salt"))?,
            context_id: map.optional(osc::CONTEXT_ID, bytes("contextId"))?,
        };
        map.close("osc")?;
        Ok(material)
    }

    fn write(&self, out: &mut Writer) {
        let mut map = MapWriter::new();
        map.bytes(osc::ID, Some(&self.id));
        map.uint(osc::VERSION, self.version);
        map.bytes(osc::MS, Some(&self.ms));
        for (key, algorithm) in [(osc::HKDF, &self.hkdf), (osc::ALG, &self.alg)] {
            if let Some(algorithm) = algorithm {
                algorithm.write(map.entry(key));
            }
        }
        map.bytes(osc::SALT, self.salt.as_deref());
        map.bytes(osc::CONTEXT_ID, self.context_id.as_deref());
        map.write(out);
    }
}

/// The parts of a COSE_Key that key provisioning looks at (RFC 9052 section 7).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Default)]
pub struct CoseKey {
    /// The key type, `kty`, by its COSE number.
    pub kty: i64,
    /// The key's identifier, `kid`.
    pub kid: Option<Vec<u8>>,
    /// The algorithm that it is for.
    #[zeroize(skip)]
    pub alg: Option<Label>,
    /// The curve, for OKP and EC2.
    pub crv: Option<i64>,
    /// The public key or its x-coordinate, for OKP and EC2.
    pub x: Option<Vec<u8>>,
    /// The y-coordinate, for EC2.
    #[zeroize(skip)]
    pub y: Option<RawCbor>,
    /// The key itself, for Symmetric.
    pub k: Option<Vec<u8>>,
    /// What else it holds.
    #[zeroize(skip)]
    pub extra: Vec<(Label, RawCbor)>,
}

impl core::fmt::Debug for CoseKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CoseKey").field("kty", &self.kty).field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl CoseKey {
    /// An Ed25519 public key, of 32 bytes (RFC 9053 section 7.2).
    #[must_use]
    pub fn ed25519(public: &[u8; 32]) -> Self {
        let mut key = Self::default();
        (key.kty, key.crv, key.x) = (cose_key::OKP, Some(cose_key::ED25519), Some(public.to_vec()));
        key
    }

    /// A public key on P-256 by its coordinates, of 32 bytes each (RFC 9053 section 7.1.1).
    #[must_use]
    pub fn p256(x: &[u8; 32], y: &[u8; 32]) -> Self {
        let mut key = Self::default();
        (key.kty, key.crv) = (cose_key::EC2, Some(cose_key::P256));
        (key.x, key.y) = (Some(x.to_vec()), Some(RawCbor::bytes(y)));
        key
    }

    /// A symmetric key (RFC 9053 section 7.3).
    #[must_use]
    pub fn symmetric(secret: &[u8]) -> Self {
        let mut key = Self::default();
        (key.kty, key.k) = (cose_key::SYMMETRIC, Some(secret.to_vec()));
        key
    }

    /// Returns the COSE_Key, in CBOR. [`Self::decode`] reads it again.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.0
    }

    /// Reads a COSE_Key.
    ///
    /// # Errors
    /// [`DecodeError`] where a parameter has a wrong type, or a private key is among them.
    pub fn decode(encoded: &[u8]) -> Result<Self, DecodeError> {
        Self::from_item(Item::decode(encoded)?)
    }

    fn from_item(item: Item<'_>) -> Result<Self, DecodeError> {
        let mut map = MapReader::from_item(item, "COSE_Key")?;
        let kty = map.required(cose_key::KTY, "kty", crate::cbor::int("kty"))?;
        let mut key = Self::default();
        key.kty = kty;
        key.kid = map.optional(cose_key::KID, bytes("kid"))?;
        key.alg = map.optional(cose_key::ALG, label("alg"))?;
        if kty == cose_key::SYMMETRIC {
            key.k = map.optional(cose_key::K, bytes("k"))?;
        } else {
            key.crv = map.optional(cose_key::CRV, crate::cbor::int("crv"))?;
            key.x = map.optional(cose_key::X, bytes("x"))?;
            key.y = map.optional(cose_key::Y, raw)?;
            if map.take(cose_key::D).is_some() {
                return Err(DecodeError::Type("COSE_Key of a public key"));
            }
        }
        key.extra = map.rest();
        Ok(key)
    }

    fn write(&self, out: &mut Writer) {
        let mut map = MapWriter::new();
        map.int(cose_key::KTY, Some(self.kty));
        map.bytes(cose_key::KID, self.kid.as_deref());
        if let Some(alg) = &self.alg {
            alg.write(map.entry(cose_key::ALG));
        }
        map.int(cose_key::CRV, self.crv);
        map.bytes(cose_key::K, self.k.as_deref());
        map.bytes(cose_key::X, self.x.as_deref());
        map.raw(cose_key::Y, self.y.as_ref());
        map.rest(&self.extra);
        map.write(out);
    }
}

/// The ways to name a credential in `cnf`, beside keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialMethod {
    /// Hash of an X.509 certificate.
    X5t,
    /// URI of an X.509 certificate.
    X5u,
    /// Hash of a C509 certificate.
    C5t,
    /// URI of a C509 certificate.
    C5u,
    /// A CWT, by `kcwt`.
    Kcwt,
    /// A CWT Claims Set.
    Kccs,
    /// A chain of X.509 certificates.
    X5chain,
    /// A bag of X.509 certificates.
    X5bag,
    /// A chain of C509 certificates.
    C5c,
    /// A bag of C509 certificates.
    C5b,
}

impl CredentialMethod {
    const ALL: [(Self, i64); 10] = [
        (Self::X5t, cnf::X5T),
        (Self::X5u, cnf::X5U),
        (Self::C5t, cnf::C5T),
        (Self::C5u, cnf::C5U),
        (Self::Kcwt, cnf::KCWT),
        (Self::Kccs, cnf::KCCS),
        (Self::X5chain, cnf::X5CHAIN),
        (Self::X5bag, cnf::X5BAG),
        (Self::C5c, cnf::C5C),
        (Self::C5b, cnf::C5B),
    ];

    /// Its key in the map.
    #[must_use]
    pub fn label(self) -> i64 {
        Self::ALL.iter().find(|(method, _)| *method == self).map_or(0, |&(_, label)| label)
    }
}

/// The value of `cnf`, `req_cnf` or `rs_cnf`: exactly one method.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirmation {
    /// A key by value.
    CoseKey(CoseKey),
    /// A COSE_Key in a COSE_Encrypt or COSE_Encrypt0, which is not opened here.
    EncryptedCoseKey(RawCbor),
    /// The name of a key that both sides know.
    Kid(Vec<u8>),
    /// What an OSCORE context is derived from.
    Osc(OscoreInputMaterial),
    /// A credential, by value or reference.
    Credential(CredentialMethod, RawCbor),
}

impl Confirmation {
    /// Reads the map.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown method, more than one, or one of a wrong form.
    pub fn decode(encoded: &[u8]) -> Result<Self, DecodeError> {
        Self::from_item(Item::decode(encoded)?)
    }

    pub(crate) fn from_item(item: Item<'_>) -> Result<Self, DecodeError> {
        let entry = MapReader::from_item(item, "cnf")?.only();
        let (key, value) = entry.ok_or(DecodeError::Type("cnf with one method"))?;
        let key = label("method of cnf")(key)?;
        let Label::Int(method) = key else { return Err(DecodeError::Unknown(key)) };
        match method {
            cnf::COSE_KEY => CoseKey::from_item(value).map(Self::CoseKey),
            cnf::ENCRYPTED_COSE_KEY => raw(value).map(Self::EncryptedCoseKey),
            cnf::KID => bytes("kid")(value).map(Self::Kid),
            cnf::OSC => OscoreInputMaterial::from_item(value).map(Self::Osc),
            _ => {
                let found = CredentialMethod::ALL.iter().find(|&&(_, label)| label == method);
                let &(method, _) = found.ok_or(DecodeError::Unknown(key))?;
                raw(value).map(|value| Self::Credential(method, value))
            }
        }
    }

    /// The bytes of the map.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.0
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        let mut map = MapWriter::new();
        match self {
            Self::CoseKey(key) => key.write(map.entry(cnf::COSE_KEY)),
            Self::EncryptedCoseKey(item) => map.raw(cnf::ENCRYPTED_COSE_KEY, Some(item)),
            Self::Kid(kid) => map.bytes(cnf::KID, Some(kid)),
            Self::Osc(material) => material.write(map.entry(cnf::OSC)),
            Self::Credential(method, item) => map.raw(method.label(), Some(item)),
        }
        map.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Confirmation, DecodeError> {
        Confirmation::decode(&hex::decode(text).unwrap())
    }

    #[test]
    fn every_method_comes_back() {
        for text in [
            "a101a301040241aa204101",
            "a101a4010120062142aaaa0327",
            "a101a4010220012142aaaa2242bbbb",
            "a10283404040",
            "a1034101",
            "a104a20041010242aaaa",
            "a104a7004101010102420102030504 0a05410106420a0b",
            "a10682184141aa",
            "a107617a",
            "a10882184141aa",
            "a109617a",
            "a10a4101",
            "a10ba10200",
            "a118184101",
            "a118194101",
            "a1181a4101",
            "a1181b4101",
        ] {
            let bytes = hex::decode(text.replace(' ', "")).unwrap();
            let read = Confirmation::decode(&bytes).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(Confirmation::decode(&read.encode()), Ok(read), "{text}");
        }
    }

    #[test]
    fn parameters_of_a_cose_key_have_their_labels() {
        let okp = CoseKey::decode(&hex::decode("a6010102410903272006214107381f00").unwrap()).unwrap();
        assert_eq!((okp.kty, okp.kid.as_deref(), okp.alg.as_ref()), (1, Some(&[9][..]), Some(&Label::Int(-8))));
        assert_eq!((okp.crv, okp.x.as_deref(), okp.k.as_deref()), (Some(6), Some(&[7][..]), None));
        assert_eq!(okp.extra, [(Label::Int(-32), RawCbor::uint(0))]);
        let ec2 = CoseKey::decode(&hex::decode("a4010220012141aa22f5").unwrap()).unwrap();
        assert_eq!((ec2.crv, ec2.y.as_ref().map(RawCbor::as_bytes)), (Some(1), Some(&[0xf5][..])));
        let symmetric = CoseKey::decode(&hex::decode("a20104204105").unwrap()).unwrap();
        assert_eq!((symmetric.k.as_deref(), symmetric.crv), (Some(&[5][..]), None));
        assert!(CoseKey::decode(&hex::decode("a0").unwrap()).is_err());
    }

    #[test]
    fn osc_is_a_closed_map_that_needs_id_and_ms() {
        assert_eq!(decode("a104a10041 01".replace(' ', "").as_str()), Err(DecodeError::Missing("ms")));
        assert_eq!(decode("a104a1024101"), Err(DecodeError::Missing("id")));
        assert_eq!(decode("a104a30041010241aa0700"), Err(DecodeError::Unknown(Label::Int(7))));
        assert_eq!(decode("a104a30041010241aa616100"), Err(DecodeError::Unknown(Label::Text("a".into()))));
        assert_eq!(decode("a104a20041010200"), Err(DecodeError::Type("ms")));
        assert_eq!(decode("a1044101"), Err(DecodeError::Type("osc")));
    }

    #[test]
    fn one_method_and_a_known_one() {
        assert_eq!(decode("a203410104a20041010241aa"), Err(DecodeError::Type("cnf with one method")));
        assert_eq!(decode("a0"), Err(DecodeError::Type("cnf with one method")));
        assert_eq!(decode("a1054101"), Err(DecodeError::Unknown(Label::Int(5))));
        assert_eq!(decode("a161614101"), Err(DecodeError::Unknown(Label::Text("a".into()))));
        assert_eq!(decode("4101"), Err(DecodeError::Type("cnf")));
        assert_eq!(
            decode("a101a30101234101200 6".replace(' ', "").as_str()),
            Err(DecodeError::Type("COSE_Key of a public key"))
        );
    }

    #[test]
    fn debug_shows_no_key() {
        let osc = decode("a104a200410102421234").unwrap();
        let key = decode("a101a30104204212 3402 41aa".replace(' ', "").as_str()).unwrap();
        let shown = alloc::format!("{osc:?} {key:?}");
        assert!(!shown.contains("18, 52") && shown.contains("id: [1]") && shown.contains("170"), "{shown}");
    }

    #[test]
    fn keys_of_ones_own_are_read_again() {
        let (x, y) = ([7; 32], [8; 32]);
        for (key, bytes) in [
            (CoseKey::ed25519(&x), alloc::format!("a3010120062158 20{}", "07".repeat(32))),
            (CoseKey::p256(&x, &y), alloc::format!("a401022001215820{}225820{}", "07".repeat(32), "08".repeat(32))),
            (CoseKey::symmetric(&[9; 3]), "a201042043090909".into()),
        ] {
            assert_eq!(hex::encode(key.encode()), bytes.replace(' ', ""));
            assert_eq!(CoseKey::decode(&key.encode()), Ok(key));
        }
    }
}
