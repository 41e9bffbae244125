//! Sender IDs that have gone stale: of each of the latest versions, those that were given up under it (Group OSCORE profile
//! section 7.1). Members are told of them, so that they drop what belongs to who has gone.
//!
//! The set of a version is there when the version begins, and is empty then: so it has a place in the count while that version
//! is still on its way to members.

use crate::engine::store::view::{Stop, View};
use crate::id::SenderId;
use crate::schema::keys::{self, GroupId};
use crate::schema::records::Mark;

/// The Sender IDs that went stale under a version.
pub(crate) fn stale_under(view: &View<'_>, group: GroupId, num: u64) -> Result<Vec<SenderId>, Stop> {
    let prefix = keys::stale_under(group, num);
    let marks = view.list_keyed::<Mark>(&prefix, &keys::head(group))?;
    let id = |key: &crate::traits::storage::Key| key.as_bytes().strip_prefix(prefix.as_bytes()).map(SenderId::from);
    Ok(marks.into_iter().filter_map(|(key, _)| id(key)).collect())
}
