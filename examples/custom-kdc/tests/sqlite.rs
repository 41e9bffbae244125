//! The storage passes what every storage has to pass.

use ace_groupcomm::testkit::storage::{reopening_suite, suite};
use custom_kdc::sqlite::SqliteStorage;

#[tokio::test]
async fn the_storage_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    suite(&SqliteStorage::open(&folder.path().join("one.db")).unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_storage_keeps_the_contract_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = async || SqliteStorage::open(&folder.path().join("one.db")).map_err(|error| error.to_string());
    reopening_suite(open).await.unwrap();
}

#[tokio::test]
async fn a_file_is_one_processs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.db");
    let first = SqliteStorage::open(&path).unwrap();
    assert!(SqliteStorage::open(&path).is_err());
    drop(first);
    assert!(SqliteStorage::open(&path).is_ok());
}
