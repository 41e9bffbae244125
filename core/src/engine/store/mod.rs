//! What an engine knows of what is stored: records in memory, listings of keys, changes that are not durable yet, and the view
//! of it all that a handler has.

pub(crate) mod cache;
pub(crate) mod changes;
mod listing;
pub(crate) mod overlay;
pub(crate) mod view;
