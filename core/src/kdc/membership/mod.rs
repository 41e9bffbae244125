//! Who is a member, and under which Sender ID.

pub(in crate::kdc) mod evict;
pub(in crate::kdc) mod leaving;
pub(in crate::kdc) mod provoked;
pub(in crate::kdc) mod sender_id;
pub(in crate::kdc) mod stale;
