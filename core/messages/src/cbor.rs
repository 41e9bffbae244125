//! CBOR the way that every message here reads and writes it.
//!
//! Reading is strict in one place: an item is well-formed, nothing follows it, and no map holds a key twice. Writing
//! gives the shortest form, in the order in which fields are written.

mod item;
mod map;
mod write;

pub(crate) use item::Item;
pub(crate) use map::{MapReader, array, bytes, int, label, null, raw, text, tuple, uint};
pub(crate) use write::{MapWriter, Writer};

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;
use zeroize::Zeroize;

/// Why bytes are not the message they should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not CBOR, or cut short.
    #[error("not a well-formed CBOR item")]
    Malformed,
    /// Bytes follow the item.
    #[error("bytes follow the CBOR item")]
    TrailingBytes,
    /// A map holds one key twice.
    #[error("a map holds a key twice")]
    DuplicateKey,
    /// The item, or the one under this label, is of another type or form.
    #[error("{0} is of the wrong type or form")]
    Type(&'static str),
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field that this map may not have, since its specification closes the map.
    #[error("unknown field {0}")]
    Unknown(Label),
}

/// A key of a map, or an algorithm identifier: an integer or a text string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// An integer.
    Int(i64),
    /// A text string.
    Text(String),
}

impl Label {
    pub(crate) fn from_item(item: Item<'_>) -> Option<Self> {
        let int = item.integer().and_then(|int| i64::try_from(int).ok()).map(Self::Int);
        int.or_else(|| item.text().map(Self::Text))
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        match self {
            Self::Int(int) => out.int(*int),
            Self::Text(text) => out.text(text),
        }
    }
}

impl From<i64> for Label {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl core::fmt::Display for Label {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Int(int) => write!(f, "{int}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// One well-formed CBOR item whose meaning is somebody else's, e.g. an application profile's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawCbor(Vec<u8>);

impl RawCbor {
    /// Checks that the bytes are one item, by the rules of this module.
    ///
    /// # Errors
    /// [`DecodeError`] where they are not.
    pub fn new(bytes: &[u8]) -> Result<Self, DecodeError> {
        Item::decode(bytes).map(Self::from_item)
    }

    /// Returns an unsigned integer, encoded.
    #[must_use]
    pub fn uint(value: u64) -> Self {
        let mut out = Writer::new();
        out.uint(value);
        Self(out.0)
    }

    /// Returns an integer, encoded.
    #[must_use]
    pub fn int(value: i64) -> Self {
        let mut out = Writer::new();
        out.int(value);
        Self(out.0)
    }

    /// Returns a text string, encoded.
    #[must_use]
    pub fn text(value: &str) -> Self {
        let mut out = Writer::new();
        out.text(value);
        Self(out.0)
    }

    /// Returns a map with these entries, encoded in this order; `None` where a label stands twice.
    #[must_use]
    pub fn map(entries: &[(Label, Self)]) -> Option<Self> {
        let labels: BTreeSet<&Label> = entries.iter().map(|(label, _)| label).collect();
        let mut map = MapWriter::new();
        map.rest(entries);
        (labels.len() == entries.len()).then(|| Self::from_finished(map))
    }

    /// The bytes of the item.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The item as an unsigned integer, if it is one.
    #[must_use]
    pub fn as_uint(&self) -> Option<u64> {
        self.item()?.integer().and_then(|int| u64::try_from(int).ok())
    }

    /// Returns the item as an integer, if it is one that 64 bits hold.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        self.item()?.integer().and_then(|int| i64::try_from(int).ok())
    }

    /// Returns the item as a text string, if it is one.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        self.item()?.text()
    }

    /// Returns the entries of the item, if it is a map; their order is that of the map.
    #[must_use]
    pub fn to_map(&self) -> Option<Vec<(Label, Self)>> {
        MapReader::from_item(self.item()?, "map").ok().map(MapReader::rest)
    }

    /// Returns an array of these items, encoded.
    #[must_use]
    pub fn array(items: &[Self]) -> Self {
        let mut out = Writer::new();
        out.list(items, Writer::raw);
        Self(out.0)
    }

    /// Returns the items of the item, if it is an array.
    #[must_use]
    pub fn to_array(&self) -> Option<Vec<Self>> {
        map::array("array", map::raw)(self.item()?).ok()
    }

    /// Returns a byte string, encoded.
    #[must_use]
    pub fn bytes(value: &[u8]) -> Self {
        let mut out = Writer::new();
        out.bytes(value);
        Self(out.0)
    }

    /// The item as a byte string, if it is one.
    #[must_use]
    pub fn to_byte_string(&self) -> Option<Vec<u8>> {
        self.item()?.byte_string()
    }

    pub(crate) fn from_item(item: Item<'_>) -> Self {
        Self(item.as_bytes().to_vec())
    }

    fn item(&self) -> Option<Item<'_>> {
        Item::decode(&self.0).ok()
    }

    /// The map that a writer made, which is therefore well-formed.
    pub(crate) fn from_finished(map: MapWriter) -> Self {
        Self(map.finish())
    }
}

impl Zeroize for RawCbor {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl Drop for RawCbor {
    fn drop(&mut self) {
        self.zeroize();
    }
}

/// Only the length: the item may hold a key.
impl core::fmt::Debug for RawCbor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "RawCbor({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests;
