//! Groups, and their keying material.

pub(in crate::kdc) mod create;
pub(in crate::kdc) mod delete;
pub(in crate::kdc) mod epoch;
pub(crate) mod heads;
pub(in crate::kdc) mod look;
pub(in crate::kdc) mod material;
pub(crate) mod policy;
pub(in crate::kdc) mod rekey;
pub(in crate::kdc) mod restore;
