//! What is left after a loss of power, damage, and a disk that fails.

mod disk;
mod simulation;

use ace_backend_disk::{DiskSettings, DiskStorage, OpenError};
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Revision, Storage, StorageError, Txn};
use disk::{TestDisk, Trouble};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn key(number: usize) -> Key {
    Key::new(format!("key {number}"))
}

fn put(number: usize) -> Txn {
    Txn { expect: vec![(key(number), None)], write: vec![(key(number), Some(format!("value {number}").into()))] }
}

async fn commit(storage: &DiskStorage, txn: Txn) -> CommitOutcome {
    storage.commit(vec![txn]).await.pop().unwrap()
}

async fn done(storage: &DiskStorage, number: usize) -> Revision {
    match commit(storage, put(number)).await {
        CommitOutcome::Done(revision) => revision,
        other => panic!("commit {number}: {other:?}"),
    }
}

/// Which of the first keys are there, each with its value.
async fn there(storage: &DiskStorage, count: usize) -> Vec<bool> {
    let keys: Vec<Key> = (0..count).map(key).collect();
    let records = storage.read(&keys).await.unwrap();
    let whole = |(number, record): (usize, &Option<_>)| {
        record.as_ref().is_some_and(|r: &ace_groupcomm::traits::storage::Record| {
            assert_eq!(r.value, format!("value {number}").as_bytes());
            true
        })
    };
    records.iter().enumerate().map(whole).collect()
}

/// A folder for the tables, and a disk for the log.
struct Bench {
    folder: TempDir,
    disk: TestDisk,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), disk: TestDisk::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn open(&self) -> DiskStorage {
        DiskStorage::open_on(&self.path(), &DiskSettings::default(), Box::new(self.disk.clone())).unwrap()
    }

    /// Opens a copy of the folder with another log.
    fn open_with(&self, disk: &TestDisk) -> Result<(DiskStorage, TempDir), OpenError> {
        let copy = tempfile::tempdir().unwrap();
        copy_all(&self.path(), copy.path());
        let storage = DiskStorage::open_on(copy.path(), &DiskSettings::default(), Box::new(disk.clone()))?;
        Ok((storage, copy))
    }
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn damage(result: Result<(DiskStorage, TempDir), OpenError>) -> String {
    match result {
        Err(OpenError::Damaged(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("damage went unseen"),
    }
}

/// Ten commits, and one whose sync fails without the disk being of use afterwards.
async fn ten_and_a_lost_one() -> Bench {
    let bench = Bench::new();
    let storage = bench.open();
    for number in 0..10 {
        done(&storage, number).await;
    }
    bench.disk.set(Trouble::Sync);
    assert!(matches!(commit(&storage, put(10)).await, CommitOutcome::Unknown(StorageError::Unavailable(_))));
    drop(storage);
    bench
}

// Covers: TH-5-06/lost-tail, TH-5-06/torn-tail
#[tokio::test]
async fn whatever_a_loss_of_power_leaves_all_acknowledged_is_there() {
    let bench = ten_and_a_lost_one().await;
    for left in 0..200 {
        for garbled in [false, true] {
            let mut disk = bench.disk.after_power_loss(|_| left);
            let (name, synced) = bench.disk.last();
            if garbled {
                disk = disk.changed(&name, |bytes| bytes[synced..].iter_mut().step_by(3).for_each(|b| *b ^= 0x55));
            }
            let (storage, _copy) = bench.open_with(&disk).unwrap();
            let found = there(&storage, 11).await;
            assert_eq!(found[..10], [true; 10], "{left} bytes left");
            // What nobody was told of is there whole, or not at all; then it stays so.
            let again = commit(&storage, put(10)).await;
            assert_eq!(matches!(again, CommitOutcome::Conflict(_)), found[10]);
            done(&storage, 11).await;
        }
    }
}

// Covers: TH-5-06/lost-tail
#[tokio::test]
async fn what_a_killed_process_had_not_synced_is_relied_on_only_when_it_is() {
    let bench = ten_and_a_lost_one().await;
    // The process is gone, the disk is not: all that was written can be read.
    bench.disk.set(Trouble::None);
    let storage = bench.open();
    assert_eq!(there(&storage, 11).await, [true; 11]);
    done(&storage, 11).await;
    drop(storage);
    let (storage, _copy) = bench.open_with(&bench.disk.after_power_loss(|_| 0)).unwrap();
    assert_eq!(there(&storage, 12).await, [true; 12]);
}

// Covers: TH-5-06/damaged-middle
#[tokio::test]
async fn damage_in_the_middle_is_an_error() {
    let bench = Bench::new();
    let storage = bench.open();
    for number in 0..10 {
        done(&storage, number).await;
    }
    drop(storage);
    let (name, length) = bench.disk.last();
    for at in 0..length {
        let why = damage(bench.open_with(&bench.disk.changed(&name, |bytes| bytes[at] ^= 0x20)));
        assert!(!why.is_empty());
    }
    for left in 0..length {
        damage(bench.open_with(&bench.disk.changed(&name, |bytes| bytes.truncate(left))));
    }
    damage(bench.open_with(&bench.disk.without(&name)));
}

// Covers: TH-5-06/damaged-middle
#[tokio::test]
async fn a_former_file_of_the_log_that_is_damaged_is_an_error() {
    let bench = Bench::new();
    let storage = bench.open();
    done(&storage, 0).await;
    bench.disk.set(Trouble::SyncOnce);
    assert!(matches!(commit(&storage, put(1)).await, CommitOutcome::NotDone(_)));
    done(&storage, 2).await;
    drop(storage);
    let files: Vec<_> = bench.disk.files().into_iter().filter(|(name, _)| name.starts_with("wal-")).collect();
    let [.., (former, _), (_, _)] = &files[..] else { panic!("{files:?}") };
    assert_eq!(there(&bench.open_with(&bench.disk).unwrap().0, 3).await, [true, false, true]);
    damage(bench.open_with(&bench.disk.changed(former, |bytes| bytes.truncate(20))));
    damage(bench.open_with(&bench.disk.without(former)));
    // Without any log there is nothing to begin with.
    damage(bench.open_with(&TestDisk::default()));
}

// Covers: TH-5-02/failed-fsync
#[tokio::test]
async fn a_failed_sync_is_settled_as_soon_as_the_disk_allows() {
    let bench = Bench::new();
    let storage = bench.open();
    let first = done(&storage, 0).await;
    bench.disk.set(Trouble::Sync);
    assert!(matches!(commit(&storage, put(1)).await, CommitOutcome::Unknown(_)));
    // Nobody reads what may not be so.
    assert!(matches!(storage.read(&[key(1)]).await, Err(StorageError::Unavailable(_))));
    assert!(matches!(storage.scan(&key(1), None, 9).await, Err(StorageError::Unavailable(_))));
    assert!(matches!(commit(&storage, put(2)).await, CommitOutcome::NotDone(_)));
    bench.disk.set(Trouble::None);
    assert_eq!(there(&storage, 3).await, [true, false, false]);
    let second = done(&storage, 1).await;
    assert!(second > first);
    drop(storage);
    // Nor does it come back, whatever the disk has of it.
    for left in [0, usize::MAX] {
        let (storage, _copy) = bench.open_with(&bench.disk.after_power_loss(|_| left)).unwrap();
        assert_eq!(there(&storage, 3).await, [true, true, false]);
        assert!(done(&storage, 3).await > second);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let bench = Bench::new();
    let storage = bench.open();
    done(&storage, 0).await;
    bench.disk.set(Trouble::Full);
    assert!(matches!(commit(&storage, put(1)).await, CommitOutcome::NotDone(_)));
    assert!(matches!(commit(&storage, put(1)).await, CommitOutcome::NotDone(_)));
    bench.disk.set(Trouble::None);
    done(&storage, 1).await;
    drop(storage);
    assert_eq!(there(&bench.open(), 2).await, [true, true]);
}

#[tokio::test]
async fn what_leans_on_a_commit_that_failed_fails_too() {
    let bench = Bench::new();
    let storage = bench.open();
    done(&storage, 0).await;
    bench.disk.set(Trouble::SyncOnce);
    let outcomes = storage.commit(vec![put(1), put(1), put(0)]).await;
    assert!(matches!(
        &outcomes[..],
        [CommitOutcome::NotDone(_), CommitOutcome::NotDone(_), CommitOutcome::Conflict(_)]
    ));
    assert_eq!(there(&storage, 2).await, [true, false]);
}

#[tokio::test]
async fn all_that_waits_is_synced_at_once() {
    let bench = Bench::new();
    let storage = bench.open();
    let before = bench.disk.syncs();
    let outcomes = storage.commit((0..64).map(put).collect()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, CommitOutcome::Done(_))));
    assert_eq!(bench.disk.syncs() - before, 1);
}

/// Revisions grow over restarts, deletes and tables that were written and merged.
#[tokio::test]
async fn no_revision_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = Revision(0);
    for round in 0..20 {
        let settings =
            DiskSettings { write_buffer: if round % 2 == 0 { 1 } else { 1 << 20 }, ..DiskSettings::default() };
        let storage = DiskStorage::open(folder.path(), &settings).unwrap();
        for value in [Some("x".into()), None] {
            let txn = Txn { expect: vec![], write: vec![(key(0), value)] };
            let CommitOutcome::Done(revision) = commit(&storage, txn).await else { panic!("not done") };
            assert!(revision > last, "round {round}");
            last = revision;
        }
    }
}

// Covers: TH-5-01/file-anchor
#[tokio::test]
async fn a_folder_put_back_is_behind_its_anchor() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = DiskSettings { anchor: Some(elsewhere.path().join("anchor")), ..DiskSettings::default() };
    let (store, copy) = (folder.path().join("store"), folder.path().join("copy"));
    let storage = DiskStorage::open(&store, &settings).unwrap();
    done(&storage, 0).await;
    drop(storage);
    copy_all(&store, &copy);
    let storage = DiskStorage::open(&store, &settings).unwrap();
    done(&storage, 1).await;
    assert!(matches!(DiskStorage::open(&copy, &settings), Err(OpenError::InUse(_))), "the anchor is another's");
    drop(storage);
    assert!(matches!(DiskStorage::open(&copy, &settings), Err(OpenError::Damaged(_))));
    assert_eq!(there(&DiskStorage::open(&store, &settings).unwrap(), 2).await, [true, true]);
}

#[tokio::test]
async fn tables_that_are_gone_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = DiskSettings { write_buffer: 1, ..DiskSettings::default() };
    let open = || DiskStorage::open(folder.path(), &settings);
    let storage = open().unwrap();
    for number in 0..5 {
        done(&storage, number).await;
    }
    drop(storage);
    assert_eq!(there(&open().unwrap(), 5).await, [true; 5]);
    std::fs::remove_dir_all(folder.path().join("tables")).unwrap();
    assert!(matches!(open(), Err(OpenError::Damaged(why)) if why.contains("tables")));
}
