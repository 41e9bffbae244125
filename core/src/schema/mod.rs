//! What is stored: the keys of all records, and the records.

pub mod keys;
pub(crate) mod kind;
pub mod record;
pub mod records;
