//! What waiting requests of one lane see of each other's changes.

use crate::engine::store::changes::Change;
use crate::traits::storage::Key;
use std::collections::BTreeMap;

/// Changes that are not durable yet.
#[derive(Default)]
pub(crate) struct Overlay(pub(crate) BTreeMap<Key, Change>);

impl Overlay {
    pub(crate) fn get(&self, key: &Key) -> Option<&Change> {
        self.0.get(key)
    }

    pub(crate) fn under(&self, prefix: Key) -> impl Iterator<Item = (&Key, &Change)> {
        self.0.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(&prefix))
    }
}
