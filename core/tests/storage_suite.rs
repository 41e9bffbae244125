//! The suites for storage catch stores that are wrong in one place.

use ace_groupcomm::testkit::storage::{reopening_suite, suite};
use ace_groupcomm::traits::storage::{
    CommitOutcome, Key, Page, Record, Revision, Sharing, Snapshot, Storage, StorageError, Txn,
};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    EndlessPages,
    EndlessSnapshots,
    MoreBehindTheLastFullPage,
    NoMoreBehindAFullPage,
    PagesTooLong,
    PrefixIgnored,
    PrefixOfHighestByteIsEmpty,
    BehindIgnored,
    Unordered,
    ReadInOrderOfKeys,
    ReadLeavesAbsentOut,
    BatchIsRolledBackTogether,
    BatchHasOneRevision,
    BatchSeesItsBeginning,
    RevisionsBeginAgainAfterADelete,
    ConflictWritesTheRest,
    ConflictNamesTheFirst,
    ConflictShowsNothing,
    AbsenceIsNotChecked,
    EmptyValueIsADelete,
    KeysEndAtZero,
    SnapshotIsLive,
    DeletesComeBackAtReopening,
    RevisionsBeginAgainAtReopening,
    NothingIsKeptAtReopening,
}

const OF_ONE: [Flaw; 22] = [
    Flaw::EndlessPages,
    Flaw::EndlessSnapshots,
    Flaw::MoreBehindTheLastFullPage,
    Flaw::NoMoreBehindAFullPage,
    Flaw::PagesTooLong,
    Flaw::PrefixIgnored,
    Flaw::PrefixOfHighestByteIsEmpty,
    Flaw::BehindIgnored,
    Flaw::Unordered,
    Flaw::ReadInOrderOfKeys,
    Flaw::ReadLeavesAbsentOut,
    Flaw::BatchIsRolledBackTogether,
    Flaw::BatchHasOneRevision,
    Flaw::BatchSeesItsBeginning,
    Flaw::RevisionsBeginAgainAfterADelete,
    Flaw::ConflictWritesTheRest,
    Flaw::ConflictNamesTheFirst,
    Flaw::ConflictShowsNothing,
    Flaw::AbsenceIsNotChecked,
    Flaw::EmptyValueIsADelete,
    Flaw::KeysEndAtZero,
    Flaw::SnapshotIsLive,
];

const OF_REOPENING: [Flaw; 3] =
    [Flaw::DeletesComeBackAtReopening, Flaw::RevisionsBeginAgainAtReopening, Flaw::NothingIsKeptAtReopening];

#[derive(Clone, Default)]
struct State {
    records: BTreeMap<Key, Record>,
    /// What a reopening brings back.
    removed: BTreeMap<Key, Record>,
    revision: u64,
}

#[derive(Clone)]
struct Wrong {
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

impl State {
    fn page(&self, flaw: Flaw, prefix: &Key, after: Option<&Key>, limit: usize) -> Page {
        if flaw == Flaw::PrefixOfHighestByteIsEmpty && prefix.as_bytes().last() == Some(&0xff) {
            return Page::default();
        }
        let after = after.filter(|_| flaw != Flaw::BehindIgnored);
        let fits = |key: &&Key| {
            (flaw == Flaw::PrefixIgnored || key.starts_with(prefix)) && after.is_none_or(|after| *key > after)
        };
        let keys: Vec<&Key> = self.records.keys().filter(fits).collect();
        let limit = if flaw == Flaw::PagesTooLong { limit + 1 } else { limit };
        let mut records: Vec<_> =
            keys.iter().take(limit).map(|key| ((*key).clone(), self.records[*key].clone())).collect();
        let more = match flaw {
            Flaw::EndlessPages => true,
            Flaw::MoreBehindTheLastFullPage => records.len() == limit,
            Flaw::NoMoreBehindAFullPage => keys.len() > limit + 1,
            _ => keys.len() > limit,
        };
        if flaw == Flaw::Unordered {
            records.reverse();
        }
        Page { records, more }
    }

    fn commit(&mut self, flaw: Flaw, txn: Txn, before: &BTreeMap<Key, Record>) -> CommitOutcome {
        let seen = if flaw == Flaw::BatchSeesItsBeginning { before } else { &self.records };
        let revision = |key: &Key| seen.get(key).map(|record| record.revision);
        let fails = |key: &Key, expected: &Option<Revision>| {
            revision(key) != *expected && !(flaw == Flaw::AbsenceIsNotChecked && expected.is_none())
        };
        let found = |key: &Key| seen.get(key).cloned().filter(|_| flaw != Flaw::ConflictShowsNothing);
        let failed = txn.expect.iter().filter(|(key, expected)| fails(key, expected));
        let mut conflict: Vec<_> = failed.map(|(key, _)| (key.clone(), found(key))).collect();
        if flaw == Flaw::ConflictNamesTheFirst {
            conflict.truncate(1);
        }
        if conflict.is_empty() || flaw == Flaw::ConflictWritesTheRest {
            self.revision += 1;
            for (key, value) in txn.write {
                if conflict.iter().all(|(failed, _)| *failed != key) {
                    self.write(flaw, key, value);
                }
            }
        }
        if conflict.is_empty() {
            CommitOutcome::Done(Revision(self.revision))
        } else {
            CommitOutcome::Conflict(conflict)
        }
    }

    fn write(&mut self, flaw: Flaw, key: Key, value: Option<bytes::Bytes>) {
        let key = match key.as_bytes().iter().position(|byte| *byte == 0) {
            Some(end) if flaw == Flaw::KeysEndAtZero => Key::new(key.as_bytes()[..end].to_vec()),
            _ => key,
        };
        let revision = match self.records.get(&key) {
            None if flaw == Flaw::RevisionsBeginAgainAfterADelete => Revision(1),
            Some(record) if flaw == Flaw::RevisionsBeginAgainAfterADelete => Revision(record.revision.0 + 1),
            _ => Revision(self.revision),
        };
        match value.filter(|value| flaw != Flaw::EmptyValueIsADelete || !value.is_empty()) {
            Some(value) => drop(self.records.insert(key, Record { revision, value })),
            None => self.removed.extend(self.records.remove_entry(&key)),
        }
    }
}

#[async_trait]
impl Storage for Wrong {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        let state = self.state.lock().unwrap();
        let mut keys = keys.to_vec();
        if self.flaw == Flaw::ReadInOrderOfKeys {
            keys.sort();
        }
        let mut read: Vec<_> = keys.iter().map(|key| state.records.get(key).cloned()).collect();
        if self.flaw == Flaw::ReadLeavesAbsentOut && keys.len() > 1 {
            read.retain(Option::is_some);
        }
        Ok(read)
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        Ok(self.state.lock().unwrap().page(self.flaw, prefix, after, limit))
    }

    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome> {
        let mut state = self.state.lock().unwrap();
        let before = state.clone();
        let first = state.revision + 1;
        let mut outcomes = Vec::new();
        for txn in txns {
            if self.flaw == Flaw::BatchHasOneRevision {
                state.revision = first - 1;
            }
            outcomes.push(state.commit(self.flaw, txn, &before.records));
        }
        if self.flaw == Flaw::BatchIsRolledBackTogether
            && outcomes.iter().any(|outcome| matches!(outcome, CommitOutcome::Conflict(_)))
        {
            state.records = before.records;
        }
        outcomes
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        let state = Mutex::new(self.state.lock().unwrap().clone());
        let copy = Self { flaw: self.flaw, state: Arc::new(state) };
        Ok(Box::new(if self.flaw == Flaw::SnapshotIsLive { self.clone() } else { copy }))
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

#[async_trait]
impl Snapshot for Wrong {
    async fn page(&self, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let mut page = self.state.lock().unwrap().page(self.flaw, &Key::new(""), after, limit);
        page.more |= self.flaw == Flaw::EndlessSnapshots;
        Ok(page)
    }
}

fn store(flaw: Flaw) -> Wrong {
    Wrong { flaw, state: Arc::default() }
}

async fn reopened(flaw: Flaw) -> Result<(), String> {
    let first = store(flaw);
    let open = async || {
        let mut state = first.state.lock().unwrap();
        let State { records, removed, revision } = &mut *state;
        match flaw {
            Flaw::DeletesComeBackAtReopening => records.append(removed),
            Flaw::RevisionsBeginAgainAtReopening => *revision = 0,
            Flaw::NothingIsKeptAtReopening => records.clear(),
            _ => (),
        }
        Ok(first.clone())
    };
    reopening_suite(open).await
}

#[tokio::test]
async fn a_store_that_is_right_passes_both_suites() {
    assert_eq!(suite(&store(Flaw::None)).await, Ok(()));
    assert_eq!(reopened(Flaw::None).await, Ok(()));
}

#[tokio::test]
async fn each_wrong_store_is_caught() {
    for flaw in OF_ONE {
        assert!(suite(&store(flaw)).await.is_err(), "{flaw:?}");
    }
    for flaw in OF_REOPENING {
        assert!(reopened(flaw).await.is_err(), "{flaw:?}");
    }
}
