//! How a record becomes bytes: a format version in front, then CBOR.

use serde::{Serialize, de::DeserializeOwned};
use std::any::Any;
use thiserror::Error;

/// The format of a record whose form has not changed in a way that an older program could not live with.
pub const FIRST_FORMAT: u8 = 1;

/// A record that cannot be read: damaged, or written by a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("record cannot be read")]
pub struct Corrupt;

/// A kind of record. Implement it with [`plain_record!`](crate::plain_record) for types that serde knows.
///
/// ```
/// use ace_groupcomm::RecordType;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Note {
///     text: String,
/// }
///
/// ace_groupcomm::plain_record!(Note);
///
/// let note = Note { text: "hello".into() };
/// assert_eq!(Note::decode(&note.encode()), Ok(note));
/// assert!(Note::decode(&[9, 1, 2]).is_err(), "a format that comes later");
/// ```
pub trait RecordType: Any + Send + Sync + Sized {
    /// Reads the bytes.
    ///
    /// # Errors
    /// [`Corrupt`] where they are not of this kind.
    fn decode(bytes: &[u8]) -> Result<Self, Corrupt>;

    /// Returns the bytes, as they are stored.
    fn encode(&self) -> Vec<u8>;
}

/// A record of any kind, until somebody asks for the right one.
pub(crate) trait AnyRecord: Any + Send + Sync {
    fn bytes(&self) -> Vec<u8>;
    fn as_any(&self) -> &(dyn Any + Send + Sync);
}

impl<T: RecordType> AnyRecord for T {
    fn bytes(&self) -> Vec<u8> {
        self.encode()
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

/// Reads what [`to_bytes`] wrote, in a format up to this one.
///
/// # Errors
/// [`Corrupt`] for a later format or another kind.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8], format: u8) -> Result<T, Corrupt> {
    let (&found, body) = bytes.split_first().ok_or(Corrupt)?;
    if !(FIRST_FORMAT..=format).contains(&found) {
        return Err(Corrupt);
    }
    ciborium::from_reader(body).map_err(|_| Corrupt)
}

/// The format, and the record in CBOR.
#[must_use]
pub fn to_bytes<T: Serialize>(record: &T, format: u8) -> Vec<u8> {
    let mut out = vec![format];
    // A Vec takes everything, and no record holds what CBOR could not.
    let _ = ciborium::into_writer(record, &mut out);
    out
}

/// Implements [`RecordType`](crate::RecordType) for a type with serde's derives.
///
/// A field that is added gets `#[serde(default)]`, so that older records are read. Where it must not be lost the type gets
/// a new format, `Type = 2`: an older program refuses the record then, and does not drop the field when it writes.
#[macro_export]
macro_rules! plain_record {
    ($($name:ty $(= $format:literal)?),* $(,)?) => {$(
        impl $crate::RecordType for $name {
            fn decode(bytes: &[u8]) -> Result<Self, $crate::Corrupt> {
                $crate::record::from_bytes(bytes, $crate::plain_record!(@ $($format)?))
            }

            fn encode(&self) -> Vec<u8> {
                $crate::record::to_bytes(self, $crate::plain_record!(@ $($format)?))
            }
        }
    )*};
    (@) => { $crate::record::FIRST_FORMAT };
    (@ $format:literal) => { $format };
}
