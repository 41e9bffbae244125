//! Writing CBOR: the shortest form, in the order in which fields are written.

use super::{Label, RawCbor};
use alloc::vec::Vec;
use ciborium_ll::{Encoder, Header};

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
