//! A published object: COSE_Encrypt0 with one countersignature (section 6.1 of the profile, RFC 9052 section 5.2, RFC 9338).

use super::label;
use ace_groupcomm_messages::{Label, RawCbor};
use ace_oscore::PartialIv;
use alloc::vec::Vec;
use thiserror::Error;

/// The CBOR tag of a COSE_Encrypt0, 16: an object is sent without, and taken with and without.
const ENCRYPT0: u8 = 0xd0;

/// The bytes are no object of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// They are no COSE_Encrypt0.
    #[error("no COSE_Encrypt0")]
    Structure,
    /// The protected parameters are not an algorithm and what may be ignored.
    #[error("the protected parameters do not fit")]
    Protected,
    /// The key identifier is missing.
    #[error("no kid")]
    Kid,
    /// The Partial IV is missing, is empty, has more than five bytes or leading zeros, or a whole IV is there.
    #[error("the Partial IV does not fit")]
    PartialIv,
    /// There is no countersignature, or not one alone.
    #[error("not one countersignature")]
    Countersignature,
}

/// An object as it was received, of which nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub(super) protected: Vec<u8>,
    pub(super) alg: i64,
    pub(super) gid: Vec<u8>,
    pub(super) number: PartialIv,
    pub(super) sign_protected: Vec<u8>,
    pub(super) sign_alg: i64,
    pub(super) sender_id: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
}

/// An array of exactly so many items.
fn items<const N: usize>(item: &RawCbor) -> Option<[RawCbor; N]> {
    item.to_array()?.try_into().ok()
}

fn entry(map: &[(Label, RawCbor)], name: i64) -> Option<&RawCbor> {
    map.iter().find(|(label, _)| *label == Label::Int(name)).map(|(_, value)| value)
}

/// Protected parameters that are an algorithm, without one that has to be understood beside it.
fn algorithm(protected: &[u8]) -> Option<i64> {
    let map = RawCbor::new(protected).ok()?.to_map()?;
    if entry(&map, label::CRIT).is_some() {
        return None;
    }
    entry(&map, label::ALG)?.as_int()
}

pub(super) fn protected(alg: i64) -> Vec<u8> {
    let map = RawCbor::map(&[(Label::Int(label::ALG), RawCbor::int(alg))]);
    map.map(|map| map.as_bytes().to_vec()).unwrap_or_default()
}

/// Enc_structure (RFC 9052 section 5.3), without external data.
pub(super) fn enc_structure(protected: &[u8]) -> Vec<u8> {
    let parts = [RawCbor::text("Encrypt0"), RawCbor::bytes(protected), RawCbor::bytes(&[])];
    RawCbor::array(&parts).as_bytes().to_vec()
}

impl Object {
    /// Reads an object.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let untagged = match bytes.split_first() {
            Some((&ENCRYPT0, rest)) => rest,
            _ => bytes,
        };
        let item = RawCbor::new(untagged).map_err(|_| Malformed::Structure)?;
        let [protected, unprotected, ciphertext] = items::<3>(&item).ok_or(Malformed::Structure)?;
        let string = |item: &RawCbor| item.to_byte_string().ok_or(Malformed::Structure);
        let (protected, ciphertext) = (string(&protected)?, string(&ciphertext)?);
        let unprotected = unprotected.to_map().ok_or(Malformed::Structure)?;
        let alg = algorithm(&protected).ok_or(Malformed::Protected)?;
        let kid = |map: &[(Label, RawCbor)]| entry(map, label::KID).and_then(RawCbor::to_byte_string);
        let gid = kid(&unprotected).ok_or(Malformed::Kid)?;
        let number = entry(&unprotected, label::PARTIAL_IV).and_then(RawCbor::to_byte_string);
        let number = number.filter(|_| entry(&unprotected, label::IV).is_none());
        let number = number.and_then(|bytes| PartialIv::from_bytes(&bytes)).ok_or(Malformed::PartialIv)?;
        let countersigned = || {
            let [protected, unprotected, signature] = items::<3>(entry(&unprotected, label::COUNTERSIGNATURE)?)?;
            let sign_protected = protected.to_byte_string()?;
            Some((
                algorithm(&sign_protected)?,
                sign_protected,
                kid(&unprotected.to_map()?)?,
                signature.to_byte_string()?,
            ))
        };
        let (sign_alg, sign_protected, sender_id, signature) = countersigned().ok_or(Malformed::Countersignature)?;
        Ok(Self { protected, alg, gid, number, sign_protected, sign_alg, sender_id, signature, ciphertext })
    }

    /// Returns the object, in CBOR, without a tag.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let map = |entries: &[(Label, RawCbor)]| RawCbor::map(entries).unwrap_or_else(|| RawCbor::bytes(&[]));
        let countersignature = RawCbor::array(&[
            RawCbor::bytes(&self.sign_protected),
            map(&[(Label::Int(label::KID), RawCbor::bytes(&self.sender_id))]),
            RawCbor::bytes(&self.signature),
        ]);
        let unprotected = map(&[
            (Label::Int(label::KID), RawCbor::bytes(&self.gid)),
            (Label::Int(label::PARTIAL_IV), RawCbor::bytes(&self.number.bytes())),
            (Label::Int(label::COUNTERSIGNATURE), countersignature),
        ]);
        let parts = [RawCbor::bytes(&self.protected), unprotected, RawCbor::bytes(&self.ciphertext)];
        RawCbor::array(&parts).as_bytes().to_vec()
    }

    /// Returns the Gid of the key under which it is encrypted.
    #[must_use]
    pub fn gid(&self) -> &[u8] {
        &self.gid
    }

    /// Returns the Sender ID of its publisher.
    #[must_use]
    pub fn sender_id(&self) -> &[u8] {
        &self.sender_id
    }

    /// Returns the Sender Sequence Number of its publisher.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number.number()
    }

    /// What the countersignature is over: Countersign_structure (RFC 9338 section 3.3), without external data.
    #[must_use]
    pub fn countersigned(&self) -> Vec<u8> {
        let parts = [&self.protected[..], &self.sign_protected, &[], &self.ciphertext].map(RawCbor::bytes);
        let [protected, sign_protected, external, payload] = parts;
        let parts = [RawCbor::text("CounterSignature"), protected, sign_protected, external, payload];
        RawCbor::array(&parts).as_bytes().to_vec()
    }
}
