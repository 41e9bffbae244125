//! CWTs: claims (RFC 8392, RFC 9200 section 8.14) and the COSE structure around them.

use crate::aif::ScopeValue;
use crate::cbor::{
    self, DecodeError, Item, Label, MapReader, MapWriter, RawCbor, Writer, array, bytes, text, tuple, uint,
};
use crate::cnf::{Confirmation, CoseKey};
use crate::labels::{claim, tag};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use coset::{CborSerializable, Header, iana, iana::EnumI64};
use sha2::{Digest, Sha256};

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Claims {
    /// The issuer, `iss`.
    pub iss: Option<String>,
    /// Whom it is about: the client.
    pub sub: Option<String>,
    /// Whom it is for: one or more resource servers.
    pub aud: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub exp: Option<u64>,
    /// From when on it is good, in seconds since 1970.
    pub nbf: Option<u64>,
    /// When it was issued, in seconds since 1970.
    pub iat: Option<u64>,
    /// The token's identifier, `cti`.
    pub cti: Option<Vec<u8>>,
    /// The key that it is bound to.
    pub cnf: Option<Confirmation>,
    /// What the token allows, `scope`.
    pub scope: Option<ScopeValue>,
    /// The transport profile to be used.
    pub ace_profile: Option<i64>,
    /// A nonce of the resource server, to show that the token is fresh.
    pub cnonce: Option<Vec<u8>>,
    /// For how many seconds from its receipt on it is good (RFC 9200 section 5.10.3).
    pub exi: Option<u64>,
    /// Claims that are not known here.
    pub extra: Vec<(Label, RawCbor)>,
}

/// A NumericDate: seconds since 1970, of which fractions are dropped. Times before 1970 are taken for 1970.
fn numeric_date(name: &'static str) -> impl Fn(Item<'_>) -> Result<u64, DecodeError> {
    move |item| match item.float() {
        // 2^53 is far beyond any date, and the last integer that a float tells from its neighbours.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
        Some(float) if (0.0..9_007_199_254_740_992.0).contains(&float) => Ok(float as u64),
        Some(float) if float < 0.0 => Ok(0),
        _ if item.integer().is_some_and(i128::is_negative) => Ok(0),
        _ => uint(name)(item),
    }
}

fn audience(item: Item<'_>) -> Result<Vec<String>, DecodeError> {
    match item.text() {
        Some(one) => Ok(vec![one]),
        None => array("aud", text("aud"))(item),
    }
}

impl Claims {
    /// A credential that is a CWT Claims Set (`kccs`): who, and with which public key.
    #[must_use]
    pub fn kccs(subject: &str, key: CoseKey) -> Self {
        Self { sub: Some(subject.into()), cnf: Some(Confirmation::CoseKey(key)), ..Self::default() }
    }

    /// The key of a credential, or the one that a token is bound to; `None` where that is something else than a COSE_Key.
    #[must_use]
    pub const fn cose_key(&self) -> Option<&CoseKey> {
        match &self.cnf {
            Some(Confirmation::CoseKey(key)) => Some(key),
            _ => None,
        }
    }

    /// Reads a claims set.
    ///
    /// # Errors
    /// [`DecodeError`] where a known claim has a wrong form.
    pub fn decode(encoded: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(encoded)?;
        Ok(Self {
            iss: map.optional(claim::ISS, text("iss"))?,
            sub: map.optional(claim::SUB, text("sub"))?,
            aud: map.optional(claim::AUD, audience)?.unwrap_or_default(),
            exp: map.optional(claim::EXP, numeric_date("exp"))?,
            nbf: map.optional(claim::NBF, numeric_date("nbf"))?,
            iat: map.optional(claim::IAT, numeric_date("iat"))?,
            cti: map.optional(claim::CTI, bytes("cti"))?,
            cnf: map.optional(claim::CNF, Confirmation::from_item)?,
            scope: map.optional(claim::SCOPE, ScopeValue::from_item)?,
            ace_profile: map.optional(claim::ACE_PROFILE, cbor::int("ace_profile"))?,
            cnonce: map.optional(claim::CNONCE, bytes("cnonce"))?,
            exi: map.optional(claim::EXI, uint("exi"))?,
            extra: map.rest(),
        })
    }

    /// The bytes of the claims set.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.text(claim::ISS, self.iss.as_deref());
        map.text(claim::SUB, self.sub.as_deref());
        match self.aud.as_slice() {
            [] => (),
            [one] => map.text(claim::AUD, Some(one)),
            many => map.entry(claim::AUD).list(many, |out, one| out.text(one)),
        }
        map.uint(claim::EXP, self.exp);
        map.uint(claim::NBF, self.nbf);
        map.uint(claim::IAT, self.iat);
        map.bytes(claim::CTI, self.cti.as_deref());
        if let Some(cnf) = &self.cnf {
            cnf.write(map.entry(claim::CNF));
        }
        if let Some(scope) = &self.scope {
            scope.write(map.entry(claim::SCOPE));
        }
        map.int(claim::ACE_PROFILE, self.ace_profile);
        map.bytes(claim::CNONCE, self.cnonce.as_deref());
        map.uint(claim::EXI, self.exi);
        map.rest(&self.extra);
        map.finish()
    }
}

/// How a CWT is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoseKind {
    /// Encrypted: nobody but the holder of the key reads it.
    Encrypt0,
    /// Authenticated with a MAC; everybody reads it.
    Mac0,
    /// Signed; everybody reads it.
    Sign1,
}

/// Which encodings of a CWT are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strictness {
    /// Both tags, in shortest form, and an empty unprotected map: one token has one encoding, and so one
    /// hash (RFC 9770 section 4).
    #[default]
    Strict,
    /// Tags may be missing, and `alg`, `kid` and `IV` may stand in the unprotected map.
    Lax,
}

/// A CWT before anything in it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cwt {
    /// How it is protected.
    pub kind: CoseKind,
    /// The algorithm, by its COSE number.
    pub alg: i64,
    /// The name of the key.
    pub kid: Option<Vec<u8>>,
    /// The nonce, for Encrypt0.
    pub iv: Vec<u8>,
    /// The protected header, as received: it is part of what is authenticated.
    protected: Vec<u8>,
    /// The unprotected header, as received; an empty map unless [`Strictness::Lax`] has taken it.
    unprotected: RawCbor,
    /// The ciphertext, or the claims where they are not encrypted.
    pub payload: Vec<u8>,
    /// The tag or signature, for Mac0 and Sign1.
    pub authenticator: Vec<u8>,
}

fn algorithm(header: &Header) -> Option<i64> {
    match header.alg.as_ref()? {
        coset::RegisteredLabelWithPrivate::Assigned(alg) => Some(alg.to_i64()),
        coset::RegisteredLabelWithPrivate::PrivateUse(alg) => Some(*alg),
        coset::RegisteredLabelWithPrivate::Text(_) => None,
    }
}

impl Cwt {
    /// Reads the structure; nothing is verified.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no CWT, or none of the form that is taken.
    pub fn decode(encoded: &[u8], strictness: Strictness) -> Result<Self, DecodeError> {
        let item = Item::decode(encoded)?;
        let lax = strictness == Strictness::Lax;
        if !lax && !item.is_shortest_form() {
            return Err(DecodeError::Type("token in shortest form"));
        }
        let (tagged, item) = match item.tagged() {
            Some((tag::CWT, inner)) => (true, inner),
            _ => (false, item),
        };
        let (kind, items) = match item.tagged() {
            Some((tag, items)) if tagged || lax => match tag {
                tag::COSE_ENCRYPT0 => (CoseKind::Encrypt0, items),
                tag::COSE_MAC0 => (CoseKind::Mac0, items),
                tag::COSE_SIGN1 => (CoseKind::Sign1, items),
                _ => return Err(DecodeError::Type("COSE tag of the token")),
            },
            None if lax => (CoseKind::Encrypt0, item),
            _ => return Err(DecodeError::Type("token with its CBOR tags")),
        };
        Self::from_items(kind, items, strictness)
    }

    fn from_items(kind: CoseKind, items: Item<'_>, strictness: Strictness) -> Result<Self, DecodeError> {
        const WHAT: &str = "COSE structure";
        let ([protected, unprotected, payload], authenticator) = if kind == CoseKind::Encrypt0 {
            (tuple(items, WHAT)?, None)
        } else {
            let [protected, unprotected, payload, authenticator] = tuple(items, WHAT)?;
            ([protected, unprotected, payload], Some(authenticator))
        };
        let protected = bytes("protected header")(protected)?;
        let payload = bytes("payload")(payload)?;
        let authenticator = authenticator.map(bytes("tag or signature")).transpose()?.unwrap_or_default();
        let header_error = |_| DecodeError::Type("COSE header");
        Item::decode(&protected)?;
        let header = Header::from_slice(&protected).map_err(header_error)?;
        let outside = Header::from_slice(unprotected.as_bytes()).map_err(header_error)?;
        if strictness == Strictness::Strict && !outside.is_empty() {
            return Err(DecodeError::Type("empty unprotected header"));
        }
        if !header.crit.is_empty() {
            return Err(DecodeError::Type("header without critical extensions"));
        }
        let alg = algorithm(&header).or_else(|| algorithm(&outside)).ok_or(DecodeError::Missing("alg"))?;
        let pick = |inside: Vec<u8>, outside: Vec<u8>| if inside.is_empty() { outside } else { inside };
        let kid = pick(header.key_id, outside.key_id);
        Ok(Self {
            kind,
            alg,
            kid: (!kid.is_empty()).then_some(kid),
            iv: pick(header.iv, outside.iv),
            protected,
            unprotected: RawCbor::from_item(unprotected),
            payload,
            authenticator,
        })
    }

    /// A CWT in COSE_Encrypt0, whose payload is encrypted later: its header is part of the AAD.
    #[must_use]
    pub fn encrypt0(alg: i64, kid: Option<&[u8]>, iv: &[u8]) -> Self {
        let header = Header {
            alg: Some(iana::Algorithm::from_i64(alg).map_or(
                coset::RegisteredLabelWithPrivate::PrivateUse(alg),
                coset::RegisteredLabelWithPrivate::Assigned,
            )),
            key_id: kid.unwrap_or_default().to_vec(),
            iv: iv.to_vec(),
            ..Header::default()
        };
        Self {
            kind: CoseKind::Encrypt0,
            alg,
            kid: kid.map(<[u8]>::to_vec),
            iv: iv.to_vec(),
            protected: header.to_vec().unwrap_or_default(),
            unprotected: RawCbor::from_finished(MapWriter::new()),
            payload: Vec::new(),
            authenticator: Vec::new(),
        }
    }

    /// What is authenticated beside the payload (RFC 9052 section 5.3), for Encrypt0.
    #[must_use]
    pub fn encrypt0_aad(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(3);
        out.text("Encrypt0");
        out.bytes(&self.protected);
        out.bytes(&[]);
        out.0
    }

    /// Returns the token with both tags. [`Self::decode`] reads it again as the same.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.tag(tag::CWT);
        out.tag(match self.kind {
            CoseKind::Encrypt0 => tag::COSE_ENCRYPT0,
            CoseKind::Mac0 => tag::COSE_MAC0,
            CoseKind::Sign1 => tag::COSE_SIGN1,
        });
        out.array(if self.kind == CoseKind::Encrypt0 { 3 } else { 4 });
        out.bytes(&self.protected);
        out.raw(&self.unprotected);
        out.bytes(&self.payload);
        if self.kind != CoseKind::Encrypt0 {
            out.bytes(&self.authenticator);
        }
        out.0
    }
}

/// The hash by which a token is known, e.g. when it is revoked (RFC 9770 section 4.2.1): the byte 1 for
/// SHA-256, and the hash of the token in base64url without padding.
#[must_use]
pub fn token_hash(token: &[u8]) -> [u8; 33] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut hash = Sha256::new();
    for chunk in token.chunks(3) {
        let mut word = [0_u8; 4];
        word.iter_mut().skip(1).zip(chunk).for_each(|(to, from)| *to = *from);
        let word = u32::from_be_bytes(word);
        for shift in [18, 12, 6, 0].iter().take(chunk.len().saturating_add(1)) {
            let index = usize::try_from((word >> shift) & 63).unwrap_or(0);
            hash.update(ALPHABET.get(index..=index).unwrap_or_default());
        }
    }
    let mut out = [1; 33];
    out.iter_mut().skip(1).zip(hash.finalize()).for_each(|(to, from)| *to = from);
    out
}

#[cfg(test)]
mod tests;
