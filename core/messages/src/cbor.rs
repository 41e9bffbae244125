//! CBOR the way that every message here reads and writes it.
//!
//! Reading is strict in one place: nothing may follow the item, no map may hold a key twice, nesting has a
//! bound. Writing gives the shortest form, in the order in which fields are written.

use alloc::string::String;
use alloc::vec::Vec;
use ciborium::Value;
use ciborium_ll::{Decoder, Encoder, Header};
use thiserror::Error;
use zeroize::Zeroize;

/// How deep items may be nested.
const MAX_DEPTH: usize = 16;
/// How many entries one map may have.
const MAX_ENTRIES: usize = 128;

/// Why bytes are not the message they should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not CBOR, cut short, or nested too deeply.
    #[error("not a well-formed CBOR item")]
    Malformed,
    /// Bytes follow the item.
    #[error("bytes follow the CBOR item")]
    TrailingBytes,
    /// A map holds one key twice.
    #[error("a map holds a key twice")]
    DuplicateKey,
    /// A map has more entries than any message needs.
    #[error("a map has too many entries")]
    TooManyEntries,
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
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(int) => i64::try_from(*int).ok().map(Self::Int),
            Value::Text(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
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
        parse(bytes).map(|_| Self(bytes.to_vec()))
    }

    /// An unsigned integer.
    #[must_use]
    pub fn uint(value: u64) -> Self {
        let mut out = Writer::new();
        out.uint(value);
        Self(out.0)
    }

    /// The bytes of the item.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The item as an unsigned integer, if it is one.
    #[must_use]
    pub fn as_uint(&self) -> Option<u64> {
        match parse(&self.0) {
            Ok(Value::Integer(int)) => u64::try_from(int).ok(),
            _ => None,
        }
    }

    /// An array of these items.
    #[must_use]
    pub fn array(items: &[Self]) -> Self {
        let mut out = Writer::new();
        out.list(items, Writer::raw);
        Self(out.0)
    }

    /// A byte string.
    #[must_use]
    pub fn bytes(value: &[u8]) -> Self {
        let mut out = Writer::new();
        out.bytes(value);
        Self(out.0)
    }

    /// The item as a byte string, if it is one.
    #[must_use]
    pub fn as_bytes_item(&self) -> Option<Vec<u8>> {
        parse(&self.0).ok()?.into_bytes().ok()
    }

    pub(crate) fn from_value(value: &Value) -> Self {
        let mut out = Vec::new();
        // Writing to a Vec cannot fail, and a Value holds nothing that could not be written.
        let _ = ciborium::into_writer(value, &mut out);
        Self(out)
    }
}

impl RawCbor {
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

/// Reads one item and nothing behind it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut rest = bytes;
    let value: Value =
        ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH).map_err(|_| DecodeError::Malformed)?;
    if !rest.is_empty() {
        return Err(DecodeError::TrailingBytes);
    }
    check(&value)?;
    check_heads(bytes)?;
    Ok(value)
}

/// Refuses what the reader takes for something else: byte strings that stand for integers (tags 2 and 3), and
/// `undefined`, which it reads as null.
fn check_heads(mut rest: &[u8]) -> Result<(), DecodeError> {
    const UNDEFINED: u8 = 23;
    while !rest.is_empty() {
        let mut decoder = Decoder::from(rest);
        let skip = match decoder.pull().map_err(|_| DecodeError::Malformed)? {
            Header::Tag(2 | 3) => return Err(DecodeError::Type("integer")),
            Header::Simple(UNDEFINED) => return Err(DecodeError::Type("null")),
            Header::Bytes(Some(length)) | Header::Text(Some(length)) => length,
            _ => 0,
        };
        let next = decoder.offset().checked_add(skip).and_then(|at| rest.get(at..));
        rest = next.ok_or(DecodeError::Malformed)?;
    }
    Ok(())
}

fn check(value: &Value) -> Result<(), DecodeError> {
    match value {
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Tag(_, item) => check(item),
        Value::Map(entries) => {
            if entries.len() > MAX_ENTRIES {
                return Err(DecodeError::TooManyEntries);
            }
            for (at, (key, item)) in entries.iter().enumerate() {
                if entries.iter().take(at).any(|(other, _)| other == key) {
                    return Err(DecodeError::DuplicateKey);
                }
                check(key)?;
                check(item)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether the bytes are in the form that our own writer would choose: shortest heads, definite lengths.
pub(crate) fn is_shortest_form(bytes: &[u8], value: &Value) -> bool {
    RawCbor::from_value(value).0 == bytes
}

/// A map whose fields are taken out one by one; what is left can be ignored, kept or refused.
pub(crate) struct MapReader(Vec<(Value, Value)>);

impl MapReader {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_value(parse(bytes)?, "message")
    }

    pub(crate) fn from_value(value: Value, what: &'static str) -> Result<Self, DecodeError> {
        match value {
            Value::Map(entries) => Ok(Self(entries)),
            _ => Err(DecodeError::Type(what)),
        }
    }

    pub(crate) fn take(&mut self, label: i64) -> Option<Value> {
        let at =
            self.0.iter().position(|(key, _)| matches!(key, Value::Integer(i) if i64::try_from(*i) == Ok(label)))?;
        Some(self.0.remove(at).1)
    }

    /// Takes a field and gives it to a reader.
    pub(crate) fn optional<T>(
        &mut self,
        label: i64,
        read: impl FnOnce(Value) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        self.take(label).map(read).transpose()
    }

    /// Takes a field that must be there.
    pub(crate) fn required<T>(
        &mut self,
        label: i64,
        name: &'static str,
        read: impl FnOnce(Value) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        read(self.take(label).ok_or(DecodeError::Missing(name))?)
    }

    /// What was not taken, as labels and raw items. Keys that are no labels are dropped.
    pub(crate) fn rest(self) -> Vec<(Label, RawCbor)> {
        self.0.iter().filter_map(|(k, v)| Some((Label::from_value(k)?, RawCbor::from_value(v)))).collect()
    }

    /// Refuses a map in which anything was not taken.
    pub(crate) fn close(self, what: &'static str) -> Result<(), DecodeError> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(Label::from_value(key).map_or(DecodeError::Type(what), DecodeError::Unknown)),
        }
    }
}

/// Readers of one value, to be named where a field is taken: `map.required(SCOPE, "scope", bytes("scope"))`.
pub(crate) fn bytes(name: &'static str) -> impl Fn(Value) -> Result<Vec<u8>, DecodeError> {
    move |value| value.into_bytes().map_err(|_| DecodeError::Type(name))
}

pub(crate) fn text(name: &'static str) -> impl Fn(Value) -> Result<String, DecodeError> {
    move |value| value.into_text().map_err(|_| DecodeError::Type(name))
}

pub(crate) fn uint(name: &'static str) -> impl Fn(Value) -> Result<u64, DecodeError> {
    move |value| match value {
        Value::Integer(int) => u64::try_from(int).map_err(|_| DecodeError::Type(name)),
        _ => Err(DecodeError::Type(name)),
    }
}

pub(crate) fn int(name: &'static str) -> impl Fn(Value) -> Result<i64, DecodeError> {
    move |value| match value {
        Value::Integer(int) => i64::try_from(int).map_err(|_| DecodeError::Type(name)),
        _ => Err(DecodeError::Type(name)),
    }
}

pub(crate) fn label(name: &'static str) -> impl Fn(Value) -> Result<Label, DecodeError> {
    move |value| Label::from_value(&value).ok_or(DecodeError::Type(name))
}

/// The reader of a field that may have no other value than null.
pub(crate) fn null(name: &'static str) -> impl Fn(Value) -> Result<(), DecodeError> {
    move |value| if value.is_null() { Ok(()) } else { Err(DecodeError::Type(name)) }
}

pub(crate) fn raw(value: Value) -> Result<RawCbor, DecodeError> {
    Ok(RawCbor::from_value(&value))
}

pub(crate) fn array<T>(
    name: &'static str,
    item: impl Fn(Value) -> Result<T, DecodeError>,
) -> impl Fn(Value) -> Result<Vec<T>, DecodeError> {
    move |value| match value {
        Value::Array(items) => items.into_iter().map(&item).collect(),
        _ => Err(DecodeError::Type(name)),
    }
}

/// An array with exactly this many items.
pub(crate) fn tuple<const N: usize>(value: Value, name: &'static str) -> Result<[Value; N], DecodeError> {
    match value {
        Value::Array(items) => items.try_into().map_err(|_| DecodeError::Type(name)),
        _ => Err(DecodeError::Type(name)),
    }
}

/// Writes items one behind the other.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    fn push(&mut self, header: Header) {
        // A Vec takes everything.
        let _ = Encoder::from(&mut self.0).push(header);
    }

    pub(crate) fn uint(&mut self, value: u64) {
        self.push(Header::Positive(value));
    }

    pub(crate) fn int(&mut self, value: i64) {
        self.push(match u64::try_from(value) {
            Ok(positive) => Header::Positive(positive),
            Err(_) => Header::Negative(value.unsigned_abs().saturating_sub(1)),
        });
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.push(Header::Bytes(Some(value.len())));
        self.0.extend_from_slice(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.push(Header::Text(Some(value.len())));
        self.0.extend_from_slice(value.as_bytes());
    }

    pub(crate) fn array(&mut self, length: usize) {
        self.push(Header::Array(Some(length)));
    }

    pub(crate) fn tag(&mut self, tag: u64) {
        self.push(Header::Tag(tag));
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.0.push(if value { 0xf5 } else { 0xf4 });
    }

    pub(crate) fn null(&mut self) {
        self.0.push(0xf6);
    }

    pub(crate) fn raw(&mut self, item: &RawCbor) {
        self.0.extend_from_slice(&item.0);
    }

    /// Writes an array by writing each of its items.
    pub(crate) fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.array(items.len());
        for item in items {
            write(self, item);
        }
    }
}

/// Writes a map; the number of its entries stands in front when all are known.
#[derive(Default)]
pub(crate) struct MapWriter {
    entries: usize,
    body: Writer,
}

impl MapWriter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Writes a label, and the value with what is returned.
    pub(crate) fn entry(&mut self, label: i64) -> &mut Writer {
        self.entries = self.entries.saturating_add(1);
        self.body.int(label);
        &mut self.body
    }

    pub(crate) fn bytes(&mut self, label: i64, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.entry(label).bytes(value);
        }
    }

    pub(crate) fn text(&mut self, label: i64, value: Option<&str>) {
        if let Some(value) = value {
            self.entry(label).text(value);
        }
    }

    pub(crate) fn uint(&mut self, label: i64, value: Option<u64>) {
        if let Some(value) = value {
            self.entry(label).uint(value);
        }
    }

    pub(crate) fn int(&mut self, label: i64, value: Option<i64>) {
        if let Some(value) = value {
            self.entry(label).int(value);
        }
    }

    pub(crate) fn raw(&mut self, label: i64, value: Option<&RawCbor>) {
        if let Some(value) = value {
            self.entry(label).raw(value);
        }
    }

    pub(crate) fn null(&mut self, label: i64, there: bool) {
        if there {
            self.entry(label).null();
        }
    }

    /// Appends fields that the message itself does not know.
    pub(crate) fn rest(&mut self, fields: &[(Label, RawCbor)]) {
        for (label, value) in fields {
            self.entries = self.entries.saturating_add(1);
            label.write(&mut self.body);
            self.body.raw(value);
        }
    }

    pub(crate) fn write(self, out: &mut Writer) {
        out.push(Header::Map(Some(self.entries)));
        out.0.extend_from_slice(&self.body.0);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(self.body.0.len().saturating_add(3)));
        self.write(&mut out);
        out.0
    }
}

#[cfg(test)]
mod tests;
