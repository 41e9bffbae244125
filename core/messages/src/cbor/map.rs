//! Reading the fields of a map, each by a reader of its own.

use super::item::{Item, Items};
use super::{DecodeError, Label, RawCbor};
use alloc::string::String;
use alloc::vec::Vec;

/// A map whose fields are taken out one by one; what is left can be ignored, kept or refused. Nobody looks at the value
/// of what is left: it may be any well-formed item (RFC 9594 section 4.1.2, RFC 8392 section 3).
pub(crate) struct MapReader<'a>(Vec<(Item<'a>, Item<'a>)>);

impl<'a> MapReader<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::from_item(Item::decode(bytes)?, "message")
    }

    pub(crate) fn from_item(item: Item<'a>, what: &'static str) -> Result<Self, DecodeError> {
        let mut items = item.map().ok_or(DecodeError::Type(what))?;
        let mut entries = Vec::new();
        while let Some(key) = items.next() {
            entries.push((key, items.next().ok_or(DecodeError::Malformed)?));
        }
        Ok(Self(entries))
    }

    /// The only entry of a map that has one.
    pub(crate) fn only(self) -> Option<(Item<'a>, Item<'a>)> {
        <[_; 1]>::try_from(self.0).ok().map(|[entry]| entry)
    }

    pub(crate) fn take(&mut self, label: i64) -> Option<Item<'a>> {
        let at = self.0.iter().position(|(key, _)| key.integer() == Some(i128::from(label)))?;
        Some(self.0.remove(at).1)
    }

    /// Takes a field and gives it to a reader.
    pub(crate) fn optional<T>(
        &mut self,
        label: i64,
        read: impl FnOnce(Item<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        self.take(label).map(read).transpose()
    }

    /// Takes a field that must be there.
    pub(crate) fn required<T>(
        &mut self,
        label: i64,
        name: &'static str,
        read: impl FnOnce(Item<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        read(self.take(label).ok_or(DecodeError::Missing(name))?)
    }

    /// What was not taken, as labels and raw items. Keys that are no labels are dropped.
    pub(crate) fn rest(self) -> Vec<(Label, RawCbor)> {
        self.0.iter().filter_map(|(key, value)| Some((Label::from_item(*key)?, RawCbor::from_item(*value)))).collect()
    }

    /// Refuses a map in which anything was not taken.
    pub(crate) fn close(self, what: &'static str) -> Result<(), DecodeError> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(Label::from_item(*key).map_or(DecodeError::Type(what), DecodeError::Unknown)),
        }
    }
}

/// Readers of one value, to be named where a field is taken: `map.required(SCOPE, "scope", bytes("scope"))`.
pub(crate) fn bytes(name: &'static str) -> impl Fn(Item<'_>) -> Result<Vec<u8>, DecodeError> {
    move |item| item.byte_string().ok_or(DecodeError::Type(name))
}

pub(crate) fn text(name: &'static str) -> impl Fn(Item<'_>) -> Result<String, DecodeError> {
    move |item| item.text().ok_or(DecodeError::Type(name))
}

pub(crate) fn uint(name: &'static str) -> impl Fn(Item<'_>) -> Result<u64, DecodeError> {
    move |item| item.integer().and_then(|int| u64::try_from(int).ok()).ok_or(DecodeError::Type(name))
}

pub(crate) fn int(name: &'static str) -> impl Fn(Item<'_>) -> Result<i64, DecodeError> {
    move |item| item.integer().and_then(|int| i64::try_from(int).ok()).ok_or(DecodeError::Type(name))
}

pub(crate) fn label(name: &'static str) -> impl Fn(Item<'_>) -> Result<Label, DecodeError> {
    move |item| Label::from_item(item).ok_or(DecodeError::Type(name))
}

/// The reader of a field that may have no other value than null.
pub(crate) fn null(name: &'static str) -> impl Fn(Item<'_>) -> Result<(), DecodeError> {
    move |item| if item.is_null() { Ok(()) } else { Err(DecodeError::Type(name)) }
}

#[expect(clippy::unnecessary_wraps, reason = "it is a reader like the others")]
pub(crate) fn raw(item: Item<'_>) -> Result<RawCbor, DecodeError> {
    Ok(RawCbor::from_item(item))
}

pub(crate) fn array<'a, T>(
    name: &'static str,
    read: impl Fn(Item<'a>) -> Result<T, DecodeError>,
) -> impl Fn(Item<'a>) -> Result<Vec<T>, DecodeError> {
    move |item| item.array().ok_or(DecodeError::Type(name))?.map(&read).collect()
}

/// An array with exactly this many items.
pub(crate) fn tuple<'a, const N: usize>(item: Item<'a>, name: &'static str) -> Result<[Item<'a>; N], DecodeError> {
    let wrong = DecodeError::Type(name);
    let items: Items<'a> = item.array().ok_or_else(|| wrong.clone())?;
    // One more than fits is enough to know that it is another array.
    let items: Vec<Item<'a>> = items.take(N.saturating_add(1)).collect();
    items.try_into().map_err(|_| wrong)
}
