//! The tables: everything by its key. What is in them is in the log too until it is flushed.

use crate::error::{OpenError, read_error};
use crate::frame::Entry;
use ace_groupcomm::traits::storage::{Key, Page, Record, Revision, Snapshot, StorageError};
use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use lsm_tree::compaction::Leveled;
use lsm_tree::{AbstractTree, AnyTree, Cache, Config, Guard, SeqNo, SequenceNumberCounter};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// Runs of tables that were not merged yet, from which on they are.
const RUNS: usize = 4;

/// All records.
pub(crate) struct Tables {
    tree: AnyTree,
    /// Gives the next revision; flushes and merges take some too.
    next: SequenceNumberCounter,
    /// One behind the last revision that readers see.
    visible: SequenceNumberCounter,
    /// Held by readers, and taken by who changes something: what a reader sees is of one moment.
    gate: RwLock<()>,
    /// What snapshots see: nothing of this may be dropped. How many of each there are.
    moments: Mutex<BTreeMap<u64, usize>>,
    /// How often something was flushed, for who waits for it.
    flushes: Mutex<u64>,
    flushed: Condvar,
}

/// A record as the tables have it: the revision in front.
fn pack(revision: u64, value: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(value.len().saturating_add(8));
    out.extend_from_slice(&revision.to_be_bytes());
    out.extend_from_slice(value);
    out.freeze()
}

fn unpack(mut packed: Bytes) -> Result<Record, StorageError> {
    let revision = packed.try_get_u64().map_err(|_| StorageError::Corrupt("a record is too short".into()))?;
    Ok(Record { revision: Revision(revision), value: packed })
}

impl Tables {
    /// Whether there are tables in this folder.
    pub(crate) fn are_there(path: &Path) -> bool {
        path.join("current").exists()
    }

    pub(crate) fn open(path: &Path, cache: u64) -> Result<Self, OpenError> {
        let (next, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let config = Config::new(path, next.clone(), visible.clone());
        let tree = config.use_cache(Arc::new(Cache::with_capacity_bytes(cache))).open().map_err(OpenError::of_tree)?;
        let past = tree.get_highest_persisted_seqno().map_or(1, |last| last.saturating_add(1));
        next.fetch_max(past);
        visible.fetch_max(past);
        Ok(Self {
            tree,
            next,
            visible,
            gate: RwLock::new(()),
            moments: Mutex::default(),
            flushes: Mutex::new(0),
            flushed: Condvar::new(),
        })
    }

    /// No revision below this one is given any more.
    pub(crate) fn go_on_from(&self, next: u64) {
        self.next.fetch_max(next);
        self.visible.fetch_max(next);
    }

    /// A revision that was never given.
    pub(crate) fn revision(&self) -> u64 {
        self.next.next()
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Record>, StorageError> {
        let found = self.tree.get(key.as_bytes(), SeqNo::MAX).map_err(|error| read_error(&error))?;
        found.map(|value| unpack(value.into())).transpose()
    }

    pub(crate) fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| self.get(key)).collect()
    }

    pub(crate) fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.scan_at(prefix, after, limit, SeqNo::MAX)
    }

    fn scan_at(&self, prefix: &Key, after: Option<&Key>, limit: usize, moment: SeqNo) -> Result<Page, StorageError> {
        let from: Bound<&[u8]> = match after {
            Some(after) => Bound::Excluded(after.as_bytes()),
            None => Bound::Included(prefix.as_bytes()),
        };
        let mut page = Page::default();
        for guard in self.tree.range::<&[u8], _>((from, Bound::Unbounded), moment, None) {
            let (key, value) = guard.into_inner().map_err(|error| read_error(&error))?;
            let key = Key::new(Bytes::from(key));
            if !key.starts_with(prefix) {
                break;
            }
            if page.records.len() >= limit {
                page.more = true;
                break;
            }
            page.records.push((key, unpack(value.into())?));
        }
        Ok(page)
    }

    /// Puts in what is durable. All of a batch is seen at once.
    pub(crate) fn apply(&self, batch: &[Entry<'_>]) {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        for entry in batch {
            for (key, value) in &entry.write {
                match value {
                    Some(value) => {
                        self.tree.insert(key.to_vec(), pack(entry.revision, value), entry.revision);
                    }
                    None => {
                        self.tree.remove(key.to_vec(), entry.revision);
                    }
                }
            }
            self.visible.fetch_max(entry.revision.saturating_add(1));
        }
    }

    /// Bytes in memory that were not sealed yet.
    pub(crate) fn unsealed(&self) -> u64 {
        self.tree.active_memtable().size()
    }

    /// Waits until fewer parts than this are sealed. Returns whether it is so.
    pub(crate) fn wait_for_room(&self, most: usize, patience: Duration) -> bool {
        let flushes = self.flushes.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |_: &mut u64| self.tree.sealed_memtable_count() >= most;
        let waited = self.flushed.wait_timeout_while(flushes, patience, full);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// What was put in until now is flushed next.
    pub(crate) fn seal(&self) {
        self.tree.rotate_memtable();
    }

    /// Writes what is sealed to the disk, and syncs it.
    pub(crate) fn flush(&self) -> lsm_tree::Result<()> {
        let lock = self.tree.get_flush_lock();
        self.tree.flush(&lock, self.oldest_moment())?;
        let mut flushes = self.flushes.lock().unwrap_or_else(PoisonError::into_inner);
        *flushes = flushes.wrapping_add(1);
        self.flushed.notify_all();
        Ok(())
    }

    /// What was replaced before this moment nobody looks at any more.
    fn oldest_moment(&self) -> u64 {
        let moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments.keys().next().copied().unwrap_or_else(|| self.visible.get())
    }

    /// Merges tables where there are too many.
    pub(crate) fn merge(&self) -> lsm_tree::Result<()> {
        let strategy = Arc::new(Leveled::default());
        self.tree.compact(Arc::clone(&strategy) as _, self.oldest_moment())?;
        let mut tries = 0..RUNS;
        while self.tree.l0_run_count() >= RUNS && tries.next().is_some() {
            self.tree.compact(Arc::clone(&strategy) as _, self.oldest_moment())?;
        }
        Ok(())
    }
}

/// The tables as they were at one moment.
pub(crate) struct Moment {
    tables: Arc<Tables>,
    seen: u64,
}

impl Moment {
    /// As they are now.
    pub(crate) fn of(tables: &Arc<Tables>) -> Self {
        let _gate = tables.gate.read().unwrap_or_else(PoisonError::into_inner);
        let mut moments = tables.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = tables.visible.get();
        let count = moments.entry(seen).or_default();
        *count = count.saturating_add(1);
        Self { tables: Arc::clone(tables), seen }
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        let mut moments = self.tables.moments.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = moments.get_mut(&self.seen) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                moments.remove(&self.seen);
            }
        }
    }
}

#[async_trait]
impl Snapshot for Moment {
    async fn page(&self, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.tables.scan_at(&Key::new(""), after, limit, self.seen)
    }
}
