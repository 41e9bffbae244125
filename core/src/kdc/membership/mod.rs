//! Who is a member, and under which Sender ID.

pub(in crate::kdc) mod evict;
pub(in crate::kdc) mod sender_id;
