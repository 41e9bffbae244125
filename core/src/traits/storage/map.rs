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
    /// A map that holds what another one has held: its [records](Self::records), and its [last revision](Self::last), which no
    /// write has again. For a storage that keeps a log or a file, and reads it when it is opened.
    #[must_use]
    pub fn restored(last: Revision, records: impl IntoIterator<Item = (Key, Record)>) -> Self {
        let records: BTreeMap<Key, Record> = records.into_iter().collect();
        let highest = records.values().map(|record| record.revision).max();
        Self { records, revision: highest.map_or(last, |highest| highest.max(last)).0 }
    }

    /// Returns the revision of the last commit; 0 before the first.
    #[must_use]
    pub const fn last(&self) -> Revision {
        Revision(self.revision)
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn write(map: &mut ConditionalMap, key: &'static str, value: Option<&'static str>) -> Revision {
        let write = vec![(Key::new(key), value.map(Bytes::from))];
        match map.commit(Txn { expect: vec![], write }) {
            CommitOutcome::Done(revision) => revision,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_restored_map_holds_the_same_and_gives_no_revision_again() {
        let mut map = ConditionalMap::default();
        assert_eq!(map.last(), Revision(0));
        let kept = write(&mut map, "a", Some("1"));
        write(&mut map, "b", Some("2"));
        let last = write(&mut map, "b", None);
        assert_eq!(map.last(), last);
        let records: Vec<(Key, Record)> = map.records().map(|(key, record)| (key.clone(), record.clone())).collect();

        let mut restored = ConditionalMap::restored(map.last(), records.clone());
        let read = restored.read(&[Key::new("a"), Key::new("b")]);
        let [Some(record), None] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((record.revision, &record.value), (kept, &Bytes::from("1")));
        assert!(write(&mut restored, "b", Some("3")) > last);
        // Where the last revision was not kept, those of the records are not given again all the same.
        let mut of_records = ConditionalMap::restored(Revision(0), records);
        assert!(write(&mut of_records, "c", Some("4")) > kept);
    }
}
