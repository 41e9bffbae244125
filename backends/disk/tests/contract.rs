//! The storage suite, in a folder.

use ace_backend_disk::{DiskSettings, DiskStorage, OpenError};
use ace_groupcomm::testkit::storage::{reopening_suite, suite};
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Sharing, Storage, Txn};
use std::path::Path;

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::open(folder.path(), &DiskSettings::default()).unwrap();
    assert_eq!(storage.sharing(), Sharing::Exclusive);
    assert_eq!(suite(&storage).await, Ok(()));
}

/// Each commit fills the write buffer, so that all that is read comes from tables.
#[tokio::test]
async fn tables_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let settings = DiskSettings { write_buffer: 1, ..DiskSettings::default() };
    let storage = DiskStorage::open(folder.path(), &settings).unwrap();
    assert_eq!(suite(&storage).await, Ok(()));
}

#[tokio::test]
async fn a_folder_that_is_opened_again_keeps_the_contract() {
    for write_buffer in [DiskSettings::default().write_buffer, 1] {
        let folder = tempfile::tempdir().unwrap();
        let settings = DiskSettings { write_buffer, ..DiskSettings::default() };
        let open = async || DiskStorage::open(folder.path(), &settings).map_err(|error| error.to_string());
        assert_eq!(reopening_suite(open).await, Ok(()), "{write_buffer}");
    }
}

#[tokio::test]
async fn a_folder_is_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let open = || DiskStorage::open(folder.path(), &DiskSettings::default());
    let storage = open().unwrap();
    assert!(matches!(open(), Err(OpenError::InUse(path)) if path == folder.path()));
    drop(storage);
    open().unwrap();
}

#[tokio::test]
async fn another_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = || DiskStorage::open(folder.path(), &DiskSettings::default());
    drop(open().unwrap());
    let format = folder.path().join("format");
    let ours = std::fs::read(&format).unwrap();
    std::fs::write(&format, "ace-backend-disk 2\n").unwrap();
    let Err(OpenError::Format { found, .. }) = open() else { panic!("a later format is not known") };
    assert_eq!(found, "ace-backend-disk 2\n");
    std::fs::write(&format, ours).unwrap();
    assert_eq!(open().unwrap().read(&[Key::new("a")]).await, Ok(vec![None]));
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_folder_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(DiskStorage::open(&path, &DiskSettings::default()).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    // Files come and go meanwhile.
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_in(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Replaces a hundred values, a kilobyte each, again and again.
async fn replace_all(storage: &DiskStorage, rounds: u32) {
    for round in 0..rounds {
        // Bytes that do not compress.
        let mut state = round.wrapping_add(1);
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        let value = |number: u32| (Key::new(format!("key {number}")), Some((0..1_000).map(|_| byte()).collect()));
        let write = (0..100).map(value).collect();
        assert!(matches!(storage.commit(vec![Txn { expect: vec![], write }]).await[..], [CommitOutcome::Done(_)]));
    }
}

/// What was replaced takes no room, once no snapshot shows it any more.
#[tokio::test]
async fn what_was_replaced_is_gone_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let settings = DiskSettings { write_buffer: 256 << 10, ..DiskSettings::default() };
    let storage = DiskStorage::open(folder.path(), &settings).unwrap();
    replace_all(&storage, 100).await;
    let snapshot = storage.snapshot().await.unwrap();
    let before = snapshot.page(None, 200).await.unwrap();
    for _ in 0..2 {
        drop(storage.snapshot().await.unwrap());
        replace_all(&storage, 100).await;
    }
    assert_eq!(snapshot.page(None, 200).await.unwrap(), before, "30 MB later");
    drop(snapshot);
    replace_all(&storage, 150).await;
    let mut left = u64::MAX;
    for _ in 0..100 {
        left = bytes_in(folder.path());
        if left < 4_000_000 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(left < 4_000_000, "{left} bytes of 45 million are left");
}
