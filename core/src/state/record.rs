//! How a record becomes bytes: a format version in front, then CBOR.

use serde::{Serialize, de::DeserializeOwned};
use std::any::Any;
use thiserror::Error;

/// The format of all records so far.
const FORMAT: u8 = 1;

/// A record that cannot be read: damaged, or written by a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("record cannot be read")]
pub struct Corrupt;

/// A kind of record. Implement it with [`plain_record!`](crate::plain_record) for types that serde knows.
pub trait RecordType: Any + Send + Sync + Sized {
    /// Reads the bytes.
    ///
    /// # Errors
    /// [`Corrupt`] where they are not of this kind.
    fn decode(bytes: &[u8]) -> Result<Self, Corrupt>;

    /// The bytes.
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

/// Reads what [`to_bytes`] wrote.
///
/// # Errors
/// [`Corrupt`] for another format or another kind.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Corrupt> {
    let (&format, body) = bytes.split_first().ok_or(Corrupt)?;
    if format != FORMAT {
        return Err(Corrupt);
    }
    ciborium::from_reader(body).map_err(|_| Corrupt)
}

/// The format version, and the record in CBOR.
#[must_use]
pub fn to_bytes<T: Serialize>(record: &T) -> Vec<u8> {
    let mut out = vec![FORMAT];
    // A Vec takes everything, and no record holds what CBOR could not.
    let _ = ciborium::into_writer(record, &mut out);
    out
}

/// Implements [`RecordType`](crate::RecordType) for a type with serde's derives.
#[macro_export]
macro_rules! plain_record {
    ($($name:ty),* $(,)?) => {$(
        impl $crate::RecordType for $name {
            fn decode(bytes: &[u8]) -> Result<Self, $crate::Corrupt> {
                $crate::record::from_bytes(bytes)
            }

            fn encode(&self) -> Vec<u8> {
                $crate::record::to_bytes(self)
            }
        }
    )*};
}
