//! Storage that was rolled back is refused.

use ace_backend_sealed::{Anchor, AnchorError, Anchored, AnchoredError};
use ace_groupcomm::testkit::TestStore;
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Sharing, Storage, Txn};
use std::sync::Arc;

fn write() -> Vec<Txn> {
    vec![Txn { expect: vec![], write: vec![(Key::new("a"), Some("value".into()))] }]
}

fn store() -> Arc<dyn Storage> {
    Arc::new(TestStore::new(Sharing::Shared))
}

#[tokio::test]
async fn storage_that_is_behind_its_anchor_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchor");
    let first = store();
    let anchored = Anchored::open(Arc::clone(&first), &path).await.unwrap();
    for _ in 0..5 {
        assert!(matches!(anchored.commit(write()).await[..], [CommitOutcome::Done(_)]));
    }
    let used = Anchored::open(Arc::clone(&first), &path).await;
    assert!(matches!(used, Err(AnchoredError::Anchor(AnchorError::InUse(at))) if at == path));
    drop(anchored);
    let again = Anchored::open(first, &path).await.unwrap();
    assert!(again.read(&[Key::new("a")]).await.unwrap()[0].is_some());
    drop(again);
    let older = Anchored::open(store(), &path).await;
    assert!(matches!(older, Err(AnchoredError::RolledBack { acknowledged: 7, found: 1, .. })), "{:?}", older.err());
}

#[test]
fn an_anchor_that_was_torn_counts_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchor");
    let (mut anchor, known) = Anchor::open(&path).unwrap();
    assert_eq!(known, 0);
    anchor.set(77);
    drop(anchor);
    assert_eq!(Anchor::open(&path).unwrap().1, 77);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(9);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(Anchor::open(&path).unwrap().1, 0);
    let missing = folder.path().join("no folder").join("anchor");
    assert!(matches!(Anchor::open(&missing), Err(AnchorError::Io { path, .. }) if path == missing));
}
