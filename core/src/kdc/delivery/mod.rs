//! Members are told of what they have not asked for: of a new version, and that they were put out.

pub(in crate::kdc) mod body;
pub(in crate::kdc) mod control_uri;
pub(in crate::kdc) mod schedule;
pub(in crate::kdc) mod send;
