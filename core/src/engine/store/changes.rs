//! What a handler wants changed, and the overlay that waiting requests of one lane see.

use crate::schema::keys::{self, GroupId};
use crate::schema::record::{AnyRecord, RecordType};
use crate::schema::records::Mark;
use crate::traits::profile::OwnChanges;
use crate::traits::storage::Key;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A value, or its removal.
pub(crate) type Change = Option<Arc<dyn AnyRecord>>;

/// Changes to records. They stay typed until they are committed, so that a record which 64 requests change is
/// encoded once.
#[derive(Default)]
pub struct Changes(pub(crate) BTreeMap<Key, Change>);

impl Changes {
    /// Returns an empty set of changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a record in the place of the one that is there, if any.
    pub fn put<T: RecordType>(&mut self, key: Key, record: T) {
        self.0.insert(key, Some(Arc::new(record)));
    }

    /// Removes a record. One that is not there stays absent.
    pub fn delete(&mut self, key: Key) {
        self.0.insert(key, None);
    }

    /// Takes in changes of records of a profile's own, of a group.
    pub(crate) fn put_own(&mut self, group: GroupId, own: OwnChanges) {
        for (kind, id, change) in own.0 {
            self.0.insert(keys::own_record(group, kind, &id), change);
            self.put(keys::own_guard(group, kind), Mark);
        }
    }

    /// What a record is to become, where these changes write it.
    pub(crate) fn latest<T: RecordType>(&self, key: &Key) -> Option<&T> {
        self.0.get(key)?.as_ref()?.as_any().downcast_ref()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
