//! The state of an engine: records under keys, kept in memory as far as needed.

pub(crate) mod cache;
pub(crate) mod changes;
pub mod keys;
pub(crate) mod kind;
mod listing;
pub(crate) mod overlay;
pub mod record;
pub mod records;
