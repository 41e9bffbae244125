//! The keys under a prefix, once all of them are known.
//!
//! A listing hangs on a guard: a record that every commit writes which changes what stands under the prefix. While
//! the guard has one revision, nothing under the prefix changes; so what a scan shows holds if the guard is seen
//! unchanged after it, and so does each record that a load shows in between.

use crate::engine::store::changes::Change;
use crate::traits::storage::{Key, Revision};
use std::collections::{BTreeMap, BTreeSet};

struct Listing {
    guard: Key,
    /// The guard's revision that the listing holds for.
    at: Option<Revision>,
    keys: BTreeSet<Key>,
    complete: bool,
    /// Keys that commits touched while the scan was under way: there a page may be old.
    touched: BTreeSet<Key>,
}

/// All listings. There is one scan of a prefix at a time, and no prefix begins with another.
#[derive(Default)]
pub(super) struct Listings {
    by_prefix: BTreeMap<Key, Listing>,
    /// The prefixes that a guard guards.
    guarded: BTreeMap<Key, BTreeSet<Key>>,
}

impl Listings {
    /// The keys under a prefix, if all are known, and known for this revision of the guard.
    pub(super) fn get(&self, prefix: &Key, at: Option<Option<Revision>>) -> Option<&BTreeSet<Key>> {
        let listing = self.by_prefix.get(prefix)?;
        let fits = at.is_none_or(|at| at == listing.at);
        (listing.complete && fits).then_some(&listing.keys)
    }

    /// Begins a scan.
    pub(super) fn begin(&mut self, prefix: Key, guard: Key, at: Option<Revision>) {
        self.guarded.entry(guard.clone()).or_default().insert(prefix.clone());
        let (keys, touched) = (BTreeSet::new(), BTreeSet::new());
        self.by_prefix.insert(prefix, Listing { guard, at, keys, complete: false, touched });
    }

    /// Takes in the keys of a page. Returns those for which the page is not old, or nothing where the listing was
    /// forgotten meanwhile.
    pub(super) fn page(&mut self, prefix: &Key, keys: Vec<Key>, more: bool) -> Option<BTreeSet<Key>> {
        let listing = self.by_prefix.get_mut(prefix)?;
        let fresh: BTreeSet<Key> = keys.into_iter().filter(|key| !listing.touched.contains(key)).collect();
        listing.keys.extend(fresh.iter().cloned());
        if !more {
            listing.complete = true;
            listing.touched.clear();
        }
        Some(fresh)
    }

    /// The prefix of the listing that a key is part of.
    fn prefix_of(&self, key: &Key) -> Option<Key> {
        let (prefix, _) = self.by_prefix.range(..=key).next_back()?;
        key.starts_with(prefix).then(|| prefix.clone())
    }

    /// Takes in a commit. Where it expected the guard to be as the listing has it, nobody else can have changed
    /// anything in between, and the listing goes on from there; else it is forgotten.
    pub(super) fn committed(
        &mut self,
        changes: &BTreeMap<Key, Change>,
        revision: Revision,
        expected: &BTreeMap<Key, Option<Revision>>,
    ) {
        for (key, change) in changes {
            let Some(prefix) = self.prefix_of(key) else { continue };
            let Some(listing) = self.by_prefix.get_mut(&prefix) else { continue };
            if expected.get(&listing.guard) != Some(&listing.at) {
                self.forget(key);
                continue;
            }
            if change.is_some() {
                listing.keys.insert(key.clone());
            } else {
                listing.keys.remove(key);
            }
            if !listing.complete {
                listing.touched.insert(key.clone());
            }
        }
        for (key, change) in changes {
            for prefix in self.guarded.get(key).into_iter().flatten() {
                if let Some(listing) = self.by_prefix.get_mut(prefix)
                    && expected.get(key) == Some(&listing.at)
                {
                    listing.at = change.as_ref().map(|_| revision);
                }
            }
        }
    }

    /// Forgets the listing that a key is part of.
    pub(super) fn forget(&mut self, key: &Key) {
        let Some(prefix) = self.prefix_of(key) else { return };
        let Some(listing) = self.by_prefix.remove(&prefix) else { return };
        if let Some(prefixes) = self.guarded.get_mut(&listing.guard) {
            prefixes.remove(&prefix);
            if prefixes.is_empty() {
                self.guarded.remove(&listing.guard);
            }
        }
    }
}
