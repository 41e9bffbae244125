//! Records in memory: all that is known of storage, with the moments at which it was so.

use crate::state::changes::Change;
use crate::state::record::{AnyRecord, Corrupt, RecordType};
use crate::traits::storage::{Key, Page, Record, Revision};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
}

impl Entry {
    fn loaded(record: Option<Record>, load: LoadId) -> Self {
        let (revision, bytes) = match record {
            Some(record) => (Some(record.revision), record.value),
            None => (None, bytes::Bytes::new()),
        };
        Self { revision, bytes, typed: OnceLock::new(), first: load, last: load }
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
        if self.revision.is_none() {
            return Ok(None);
        }
        let typed = self.typed.get_or_init(|| T::decode(&self.bytes).map(|r| Arc::new(r) as Arc<dyn AnyRecord>));
        let record = typed.as_ref().map_err(|corrupt| *corrupt)?;
        record.as_any().downcast_ref().map(Some).ok_or(Corrupt)
    }
}

/// The keys under one prefix, once all of them are known.
#[derive(Default)]
struct Listing {
    keys: BTreeSet<Key>,
    complete: bool,
    /// The revision of the guarding record when the scan began.
    guard: Option<Revision>,
    /// Keys that commits touched while the scan was under way: there a page may be old.
    touched: BTreeSet<Key>,
}

/// The records that are in memory.
#[derive(Default)]
pub(crate) struct Cache {
    entries: HashMap<Key, Entry, RandomState>,
    listings: BTreeMap<Key, Listing>,
    /// Keys whose value was settled otherwise, and the last load that had begun by then: what a load up to
    /// that one shows of them may be old.
    settled: HashMap<Key, LoadId, RandomState>,
    /// The last load that was begun.
    newest: LoadId,
}

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

    /// No load is under way any more: none can show what is old.
    pub(crate) fn no_loads(&mut self) {
        self.settled.clear();
    }

    fn settle(&mut self, key: &Key) {
        self.settled.insert(key.clone(), self.newest);
    }

    /// Takes in what a load has read.
    pub(crate) fn loaded(&mut self, key: Key, record: Option<Record>, load: LoadId) {
        let revision = record.as_ref().map(|r| r.revision);
        let same = revision.is_some() && self.entries.get(&key).is_some_and(|entry| entry.revision == revision);
        if !same && self.settled.get(&key).is_some_and(|&until| load <= until) {
            return;
        }
        match self.entries.get_mut(&key) {
            // That nothing is there may have been so before and after, and not between.
            Some(entry) if same => {
                if entry.first == 0 {
                    entry.first = load;
                }
                entry.last = load;
            }
            _ => {
                self.entries.insert(key, Entry::loaded(record, load));
            }
        }
    }

    /// Takes in what a conflict showed. Where that may be older than what is known, the key is forgotten.
    pub(crate) fn corrected(&mut self, key: Key, record: Option<Record>) {
        let known = self.entries.get(&key).and_then(|entry| entry.revision);
        match record {
            Some(record) if known.is_none_or(|known| record.revision > known) => {
                self.note(&key, true);
                self.settle(&key);
                self.entries.insert(key, Entry { first: 0, last: 0, ..Entry::loaded(Some(record), 0) });
            }
            Some(_) => (),
            None => self.forget(&key),
        }
    }

    /// Takes in what was committed.
    pub(crate) fn committed(&mut self, key: Key, change: Change, revision: Revision) {
        self.note(&key, change.is_some());
        self.settle(&key);
        self.entries.insert(key, Entry::written(change, revision));
    }

    /// Tells the listings that a key was written or removed.
    fn note(&mut self, key: &Key, there: bool) {
        for (prefix, listing) in &mut self.listings {
            if key.starts_with(prefix) {
                if there {
                    listing.keys.insert(key.clone());
                } else {
                    listing.keys.remove(key);
                }
                if !listing.complete {
                    listing.touched.insert(key.clone());
                }
            }
        }
    }

    /// Drops what is known of a key, since a commit may have changed it.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.entries.remove(key);
        self.settle(key);
        self.listings.retain(|prefix, _| !key.starts_with(prefix));
    }

    /// Makes room by dropping records. Holes are filled when somebody asks.
    pub(crate) fn shrink(&mut self, to: usize) {
        let surplus = self.entries.len().saturating_sub(to);
        let victims: Vec<Key> = self.entries.keys().take(surplus).cloned().collect();
        for key in victims {
            self.settle(&key);
            self.entries.remove(&key);
        }
    }

    /// The keys under a prefix, if all are known, and known since the guarding record has this revision.
    pub(crate) fn listing(&self, prefix: &Key, guard: Option<Option<Revision>>) -> Option<&BTreeSet<Key>> {
        let listing = self.listings.get(prefix)?;
        let fits = guard.is_none_or(|guard| guard == listing.guard);
        (listing.complete && fits).then_some(&listing.keys)
    }

    /// Begins a scan.
    pub(crate) fn begin_listing(&mut self, prefix: Key, guard: Option<Revision>) {
        self.listings.insert(prefix, Listing { guard, ..Listing::default() });
    }

    /// Takes in a page, except the records that are uncertain; answers behind which key the scan goes on. A
    /// listing that was forgotten meanwhile ends here: who needs it asks again.
    pub(crate) fn page(&mut self, prefix: &Key, page: Page, load: LoadId, uncertain: &BTreeSet<Key>) -> Option<Key> {
        let listing = self.listings.get_mut(prefix)?;
        let last = page.records.last().map(|(key, _)| key.clone());
        let mut fresh = Vec::new();
        for (key, record) in page.records {
            if !listing.touched.contains(&key) {
                listing.keys.insert(key.clone());
                if !uncertain.contains(&key) {
                    fresh.push((key, record));
                }
            }
        }
        if !page.more {
            listing.complete = true;
            listing.touched.clear();
        }
        for (key, record) in fresh {
            self.loaded(key, Some(record), load);
        }
        last.filter(|_| page.more)
    }
}
