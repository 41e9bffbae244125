//! Backups come back as they were written, or not at all.

use ace_backend_memory::MemoryStorage;
use ace_backend_tokio::backup::{self, BackupError, Reader};
use ace_groupcomm::traits::storage::{Key, Storage, Txn};
use bytes::Bytes;
use proptest::prelude::*;
use tokio::runtime::Builder;

async fn written(records: &[(Key, Bytes)]) -> Vec<u8> {
    let storage = MemoryStorage::new();
    let write = records.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    storage.commit(vec![Txn { expect: vec![], write }]).await;
    let (mut file, mut told) = (Vec::new(), Vec::new());
    let snapshot = storage.snapshot().await.unwrap();
    let count = backup::write(&*snapshot, "kdc", &mut file, |count| told.push(count)).await.unwrap();
    assert_eq!((count, told.last()), (records.len() as u64, Some(&count)));
    file
}

async fn read(file: &[u8]) -> Result<Vec<(Key, Bytes)>, BackupError> {
    let mut reader = Reader::open(file).await?;
    assert_eq!(reader.whose(), "kdc");
    let mut records = Vec::new();
    while let Some(record) = reader.next().await? {
        records.push(record);
    }
    Ok(records)
}

fn records(count: usize) -> Vec<(Key, Bytes)> {
    (0..count).map(|number| (Key::new(format!("key {number:06}")), format!("value {number}").into())).collect()
}

#[tokio::test]
async fn records_come_back_over_several_pages() {
    for count in [0, 1, 999, 1_000, 1_001, 2_500] {
        let records = records(count);
        assert_eq!(read(&written(&records).await).await.unwrap(), records);
    }
}

#[tokio::test]
async fn a_file_that_is_not_whole_or_was_changed_is_refused() {
    let file = written(&records(5)).await;
    for length in 0..file.len() {
        let error = read(&file[..length]).await.unwrap_err();
        let expected = if length < 23 { "no backup" } else { "damaged" };
        assert!(error.to_string().contains(expected), "{length}: {error}");
    }
    for at in (0..file.len()).filter(|at| !(23..28).contains(at)) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(read(&changed).await.is_err(), "byte {at}");
    }
    let longer = [&file[..], b"x"].concat();
    assert!(matches!(read(&longer).await, Err(BackupError::Damaged)));
}

#[tokio::test]
async fn a_record_has_a_bound() {
    let record = |length: usize| vec![(Key::new("key"), Bytes::from(vec![7; length]))];
    let longest = record(4 << 20);
    assert_eq!(read(&written(&longest).await).await.unwrap(), longest);
    assert!(matches!(read(&written(&record((4 << 20) + 1)).await).await, Err(BackupError::Damaged)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), with_head in any::<bool>()) {
        let head: &[u8] = if with_head { b"ace-groupcomm backup 1\n\x00\x03kdc" } else { b"" };
        let runtime = Builder::new_current_thread().build().unwrap();
        let _ = runtime.block_on(read_any(&[head, &bytes].concat()));
    }
}

async fn read_any(file: &[u8]) -> Result<(), BackupError> {
    let mut reader = Reader::open(file).await?;
    while reader.next().await?.is_some() {}
    Ok(())
}
