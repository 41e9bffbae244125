//! The storage suite, in a folder.

use ace_backend_fjall::{FjallStorage, OpenError, Settings};
use ace_groupcomm::testkit::storage::suite;
use ace_groupcomm::traits::storage::{Key, Sharing, Storage};

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FjallStorage::open(folder.path(), &Settings::default()).unwrap();
    assert_eq!(storage.sharing(), Sharing::Exclusive);
    assert_eq!(suite(&storage).await, Ok(()));
}

/// Each commit fills the write buffer, so that all that is read comes from tables.
#[tokio::test]
async fn tables_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { write_buffer: 1, ..Settings::default() };
    let storage = FjallStorage::open(folder.path(), &settings).unwrap();
    assert_eq!(suite(&storage).await, Ok(()));
}

#[tokio::test]
async fn a_folder_is_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let open = || FjallStorage::open(folder.path(), &Settings::default());
    let storage = open().unwrap();
    assert!(matches!(open(), Err(OpenError::InUse(path)) if path == folder.path()));
    drop(storage);
    open().unwrap();
}

#[tokio::test]
async fn another_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = || FjallStorage::open(folder.path(), &Settings::default());
    drop(open().unwrap());
    let format = folder.path().join("format");
    let ours = std::fs::read(&format).unwrap();
    std::fs::write(&format, "ace-backend-fjall 2\n").unwrap();
    let Err(OpenError::Format { found, .. }) = open() else { panic!("a later format is not known") };
    assert_eq!(found, "ace-backend-fjall 2\n");
    std::fs::write(&format, ours).unwrap();
    assert_eq!(open().unwrap().read(&[Key::new("a")]).await, Ok(vec![None]));
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_folder_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(FjallStorage::open(&path, &Settings::default()).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}
