//! What becomes of tokens that were taken.

pub(in crate::kdc) mod exi;
pub(in crate::kdc) mod expiry;
pub(in crate::kdc) mod held;
pub(in crate::kdc) mod issuers;
