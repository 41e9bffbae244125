//! Records in memory: all that is known of storage, with the moments at which it was so.

use super::listing::Listings;
use crate::engine::store::changes::Change;
use crate::schema::record::{AnyRecord, Corrupt, RecordType};
use crate::traits::storage::{Key, Page, Record, Revision};
use foldhash::fast::RandomState;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, OnceLock};

/// Numbers the loads of an engine, from 1; 0 stands for none.
pub(crate) type LoadId = u64;

/// What stands under one key, and when that was seen.
pub(crate) struct Entry {
    pub(crate) revision: Option<Revision>,
    bytes: bytes::Bytes,
    typed: OnceLock<Result<Arc<dyn AnyRecord>, Corrupt>>,
    /// The first and the last load that showed this; 0 where it comes from a commit alone.
    pub(crate) first: LoadId,
    pub(crate) last: LoadId,
    /// Whether it comes from a conflict: nobody knows between which loads that was.
    pub(crate) stray: bool,
    /// Whether somebody read it since room was made.
    used: Cell<bool>,
}

impl Entry {
    fn loaded(record: Option<Record>, load: LoadId) -> Self {
        let (revision, bytes) = match record {
            Some(record) => (Some(record.revision), record.value),
            None => (None, bytes::Bytes::new()),
        };
        Self { revision, bytes, typed: OnceLock::new(), first: load, last: load, stray: false, used: Cell::new(false) }
    }

    fn written(change: Change, revision: Revision) -> Self {
        let mut entry = Self::loaded(None, 0);
        if let Some(record) = change {
            entry.revision = Some(revision);
            entry.typed = OnceLock::from(Ok(record));
        }
        entry
    }

    /// The record, read as the kind that is asked for; `None` where there is none.
    pub(crate) fn record<T: RecordType>(&self) -> Result<Option<&T>, Corrupt> {
        self.used.set(true);
        if self.revision.is_none() {
            return Ok(None);
        }
        let typed = self.typed.get_or_init(|| T::decode(&self.bytes).map(|r| Arc::new(r) as Arc<dyn AnyRecord>));
        let record = typed.as_ref().map_err(|corrupt| *corrupt)?;
        record.as_any().downcast_ref().map(Some).ok_or(Corrupt)
    }
}

/// The records that are in memory.
#[derive(Default)]
pub(crate) struct Cache {
    entries: HashMap<Key, Entry, RandomState>,
    /// The keys of all entries; those that come first go first, unless they were used since their last turn.
    order: VecDeque<Key>,
    listings: Listings,
    /// Keys whose value was settled otherwise, and the last load that had begun by then: what a load up to
    /// that one shows of them may be old.
    settled: HashMap<Key, LoadId, RandomState>,
    /// How many of those there were when they were last looked through.
    settled_before: usize,
    /// The last load that was begun.
    newest: LoadId,
}

/// Fewer settled keys than this are not worth looking through.
const SETTLED_FEW: usize = 1_024;

impl Cache {
    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The last load that was begun.
    pub(crate) const fn newest(&self) -> LoadId {
        self.newest
    }

    /// Begins a load.
    pub(crate) const fn begin_load(&mut self) -> LoadId {
        self.newest = self.newest.saturating_add(1);
        self.newest
    }

    /// Tells the oldest load that is under way; older ones can show nothing any more.
    pub(crate) fn loads_since(&mut self, oldest: Option<LoadId>) {
        let Some(oldest) = oldest else {
            self.settled.clear();
            self.settled_before = 0;
            return;
        };
        // Now and then, so that it costs little a key.
        if self.settled.len() > self.settled_before.saturating_mul(2).max(SETTLED_FEW) {
            self.settled.retain(|_, until| *until >= oldest);
            self.settled_before = self.settled.len();
        }
    }

    fn settle(&mut self, key: &Key) {
        self.settled.insert(key.clone(), self.newest);
    }

    fn put(&mut self, key: Key, entry: Entry) {
        if self.entries.insert(key.clone(), entry).is_none() {
            self.order.push_back(key);
        }
    }

    /// Takes in what a load has read.
    pub(crate) fn loaded(&mut self, key: Key, record: Option<Record>, load: LoadId) {
        let revision = record.as_ref().map(|r| r.revision);
        // What could not be read may open by now.
        let known = |entry: &Entry| entry.revision == revision && !matches!(entry.typed.get(), Some(Err(Corrupt)));
        let same = revision.is_some() && self.entries.get(&key).is_some_and(known);
        if !same && self.settled.get(&key).is_some_and(|&until| load <= until) {
            return;
        }
        match self.entries.get_mut(&key) {
            // That nothing is there may have been so before and after, and not between.
            Some(entry) if same => {
                if entry.first == 0 {
                    entry.first = load;
                }
                entry.last = entry.last.max(load);
                entry.stray = false;
            }
            _ => self.put(key, Entry::loaded(record, load)),
        }
    }

    /// Takes in what a conflict showed. Where that may be older than what is known, the key is forgotten.
    pub(crate) fn corrected(&mut self, key: Key, record: Option<Record>) {
        let known = self.entries.get(&key).and_then(|entry| entry.revision);
        match record {
            Some(record) if known.is_none_or(|known| record.revision > known) => {
                self.listings.forget(&key);
                self.settle(&key);
                self.put(key, Entry { stray: true, ..Entry::loaded(Some(record), 0) });
            }
            Some(_) => (),
            None => self.forget(&key),
        }
    }

    /// Takes in what was committed with these expectations.
    pub(crate) fn committed(
        &mut self,
        changes: BTreeMap<Key, Change>,
        revision: Revision,
        expected: &BTreeMap<Key, Option<Revision>>,
    ) {
        let is_newer = |key: &Key| self.entries.get(key).is_some_and(|known| known.revision > Some(revision));
        // Somebody has written since, and that is known already: what else they wrote is not.
        if changes.keys().any(is_newer) {
            let older: Vec<&Key> = changes.keys().filter(|key| !is_newer(key)).collect();
            older.into_iter().for_each(|key| self.forget(key));
            return;
        }
        self.listings.committed(&changes, revision, expected);
        for (key, change) in changes {
            self.settle(&key);
            self.put(key, Entry::written(change, revision));
        }
    }

    /// Drops what is known of a key, since a commit may have changed it.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.entries.remove(key);
        self.settle(key);
        self.listings.forget(key);
    }

    /// Makes room by dropping records, those first that were not used for long. Holes are filled when somebody
    /// asks.
    pub(crate) fn shrink(&mut self, to: usize) {
        let mut looks = self.order.len().saturating_mul(2);
        while self.entries.len() > to && looks > 0 {
            looks = looks.saturating_sub(1);
            let Some(key) = self.order.pop_front() else { break };
            match self.entries.get(&key) {
                Some(entry) if entry.used.replace(false) => self.order.push_back(key),
                _ => {
                    self.entries.remove(&key);
                }
            }
        }
        // A key that was forgotten and came again stands there twice.
        if self.order.len() > self.entries.len().saturating_mul(2) {
            let mut seen = HashSet::with_hasher(RandomState::default());
            self.order.retain(|key| self.entries.contains_key(key) && seen.insert(key.clone()));
        }
    }

    /// The keys under a prefix, if all are known, and known for this revision of the guard.
    pub(crate) fn listing(&self, prefix: &Key, at: Option<Option<Revision>>) -> Option<&BTreeSet<Key>> {
        self.listings.get(prefix, at)
    }

    /// Begins a scan of what a guard guards.
    pub(crate) fn begin_listing(&mut self, prefix: Key, guard: Key) {
        let at = self.get(&guard).and_then(|entry| entry.revision);
        self.listings.begin(prefix, guard, at);
    }

    /// Takes in a page, except the records that are uncertain, whether the page shows them or not. Returns behind
    /// which key the scan goes on. A listing that was forgotten meanwhile ends here: who needs it asks again.
    pub(crate) fn page(&mut self, prefix: &Key, page: Page, load: LoadId, uncertain: &BTreeSet<Key>) -> Option<Key> {
        let last = page.records.last().map(|(key, _)| key.clone());
        let keys = page.records.iter().map(|(key, _)| key).chain(uncertain).cloned().collect();
        let fresh = self.listings.page(prefix, keys, page.more)?;
        for (key, record) in page.records {
            if fresh.contains(&key) && !uncertain.contains(&key) {
                self.loaded(key, Some(record), load);
            }
        }
        last.filter(|_| page.more)
    }
}

#[cfg(test)]
mod tests;
