//! The contract of storage, in memory: what the memory backend and the test kit are made of.

use super::{CommitOutcome, Key, Page, Record, Revision, Snapshot, StorageError, Txn};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// An ordered map with conditional commits. It is as durable as the process.
#[derive(Clone, Debug, Default)]
pub struct ConditionalMap {
    records: BTreeMap<Key, Record>,
    revision: u64,
}

impl ConditionalMap {
    /// Returns the record or its absence for each key, in the same order.
    #[must_use]
    pub fn read(&self, keys: &[Key]) -> Vec<Option<Record>> {
        keys.iter().map(|key| self.records.get(key).cloned()).collect()
    }

    /// Reads the keys that begin with `prefix`, behind `after`, at most `limit` of them.
    #[must_use]
    pub fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Page {
        let start = after.map_or(prefix, |after| after.max(prefix));
        let mut rest = self
            .records
            .range(start..)
            .skip_while(|(key, _)| Some(*key) == after)
            .take_while(|(key, _)| key.starts_with(prefix));
        let records: Vec<_> = rest.by_ref().take(limit).map(|(key, record)| (key.clone(), record.clone())).collect();
        Page { records, more: rest.next().is_some() }
    }

    /// Commits all of it, or nothing.
    pub fn commit(&mut self, txn: Txn) -> CommitOutcome {
        let failed: Vec<_> = txn
            .expect
            .iter()
            .filter(|(key, revision)| self.records.get(key).map(|record| record.revision) != *revision)
            .map(|(key, _)| (key.clone(), self.records.get(key).cloned()))
            .collect();
        if !failed.is_empty() {
            return CommitOutcome::Conflict(failed);
        }
        self.revision = self.revision.saturating_add(1);
        let revision = Revision(self.revision);
        for (key, value) in txn.write {
            match value {
                Some(value) => self.records.insert(key, Record { revision, value }),
                None => self.records.remove(&key),
            };
        }
        CommitOutcome::Done(revision)
    }

    /// All records, in the order of their keys.
    pub fn records(&self) -> impl Iterator<Item = (&Key, &Record)> {
        self.records.iter()
    }
}

/// A copy, as it is now.
#[async_trait]
impl Snapshot for ConditionalMap {
    async fn page(&self, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        Ok(self.scan(&Key::new(""), after, limit))
    }
}
