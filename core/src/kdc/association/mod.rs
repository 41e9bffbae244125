//! Associations with clients: waiting, proven, taken over.

pub(in crate::kdc) mod activate;
pub(in crate::kdc) mod ownership;
pub(in crate::kdc) mod pending;
pub(in crate::kdc) mod process;
pub(in crate::kdc) mod rate;
