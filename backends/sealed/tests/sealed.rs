//! Values that nobody can read who does not hold the storage keys.

use ace_backend_sealed::{KeyRing, KeyRingError, Sealed, StorageKey};
use ace_groupcomm::Secret;
use ace_groupcomm::testkit::TestStore;
use ace_groupcomm::testkit::storage::{reopening_suite, suite};
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Page, Sharing, Storage, Txn};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeSet;
use std::sync::Arc;

fn storage_key(number: u32) -> StorageKey {
    StorageKey { number, key: Secret::new(vec![u8::try_from(number).unwrap(); 32]) }
}

fn sealed(store: &TestStore, numbers: &[u32], active: u32) -> Sealed {
    let ring = KeyRing::new(numbers.iter().map(|number| storage_key(*number)).collect(), active).unwrap();
    Sealed::new(Arc::new(store.clone()), ring, Box::new(ChaCha20Rng::seed_from_u64(active.into())))
}

fn put(key: &str, value: &[u8]) -> Txn {
    Txn { expect: vec![], write: vec![(Key::new(key.to_owned()), Some(value.to_vec().into()))] }
}

async fn value(storage: &Sealed, key: &str) -> Vec<u8> {
    storage.read(&[Key::new(key.to_owned())]).await.unwrap().pop().unwrap().unwrap().value.to_vec()
}

/// Puts a value in its place, past the sealing.
async fn plant(store: &TestStore, key: &str, value: &[u8]) {
    assert!(matches!(store.commit(vec![put(key, value)]).await[..], [CommitOutcome::Done(_)]));
}

fn stored(store: &TestStore, key: &str) -> Vec<u8> {
    let found = store.dump().into_iter().find(|(name, _)| name.as_bytes() == key.as_bytes());
    found.unwrap().1.value.to_vec()
}

#[tokio::test]
async fn sealed_storage_keeps_the_contract() {
    for sharing in [Sharing::Exclusive, Sharing::Shared] {
        let sealed = sealed(&TestStore::new(sharing), &[1], 1);
        assert_eq!(sealed.sharing(), sharing);
        assert_eq!(suite(&sealed).await, Ok(()));
        let store = TestStore::new(sharing);
        let open = async || Ok(self::sealed(&store, &[1], 1));
        assert_eq!(reopening_suite(open).await, Ok(()));
    }
}

// Covers: TH-5-04/nonce-kind
#[tokio::test]
async fn what_is_stored_shows_nothing() {
    let store = TestStore::new(Sharing::Exclusive);
    let sealed = sealed(&store, &[1], 1);
    let secret = b"sixteen bytes of a secret";
    let (mut seen, mut nonces) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..50 {
        sealed.commit(vec![put("a", secret), put("b", secret)]).await;
        assert_eq!(value(&sealed, "a").await, secret);
        for (_, record) in store.dump() {
            assert!(!record.value.windows(4).any(|part| secret.windows(4).any(|of_secret| of_secret == part)));
            assert!(seen.insert(record.value.to_vec()), "no two seals are alike");
            assert_eq!(record.value.len(), 5 + 24 + secret.len() + 16, "a nonce of 192 bits");
            nonces.insert(record.value[5..29].to_vec());
        }
    }
    // A counter would leave most of its bytes as they are.
    assert_eq!(nonces.len(), seen.len());
    for at in 0..24 {
        let values: BTreeSet<u8> = nonces.iter().map(|nonce| nonce[at]).collect();
        assert!(values.len() > 20, "byte {at} of the nonce is hardly random");
    }
    let Page { records, .. } = sealed.scan(&Key::new("a"), None, 9).await.unwrap();
    assert_eq!(records[0].1.value, &secret[..], "a page is opened");
    let conflict = sealed.commit(vec![Txn { expect: vec![(Key::new("a"), None)], write: vec![] }]).await;
    let [CommitOutcome::Conflict(found)] = &conflict[..] else { panic!("{conflict:?}") };
    assert_eq!(found[0].1.as_ref().unwrap().value, &secret[..], "what a conflict shows is opened");
}

// Covers: TH-5-04/bound-data
#[tokio::test]
async fn a_value_that_was_moved_or_changed_does_not_open() {
    let store = TestStore::new(Sharing::Exclusive);
    let sealed = sealed(&store, &[1, 2], 1);
    sealed.commit(vec![put("a", b"of a"), put("b", b"of b")]).await;
    let (of_a, of_b) = (stored(&store, "a"), stored(&store, "b"));
    plant(&store, "a", &of_b).await;
    assert_eq!(value(&sealed, "a").await, b"");
    assert_eq!(value(&sealed, "b").await, b"of b", "nobody else suffers");
    for at in 0..of_a.len() {
        let mut changed = of_a.clone();
        changed[at] ^= 3;
        plant(&store, "a", &changed).await;
        assert_eq!(value(&sealed, "a").await, b"", "byte {at}");
        plant(&store, "a", &of_a[..at]).await;
        assert_eq!(value(&sealed, "a").await, b"", "{at} bytes");
    }
    plant(&store, "a", b"never sealed").await;
    assert_eq!(value(&sealed, "a").await, b"");
    plant(&store, "a", &of_a).await;
    assert_eq!(value(&sealed, "a").await, b"of a");
}

#[tokio::test]
async fn former_keys_open_and_the_active_one_seals() {
    let store = TestStore::new(Sharing::Exclusive);
    sealed(&store, &[1], 1).commit(vec![put("a", b"of 1")]).await;
    let both = sealed(&store, &[1, 2], 2);
    both.commit(vec![put("b", b"of 2")]).await;
    assert_eq!((value(&both, "a").await, value(&both, "b").await), (b"of 1".to_vec(), b"of 2".to_vec()));
    let new = sealed(&store, &[2], 2);
    assert_eq!((value(&new, "a").await, value(&new, "b").await), (vec![], b"of 2".to_vec()));
}

#[test]
fn keys_that_are_no_ring_are_refused() {
    let ring = |keys: &[StorageKey], active| KeyRing::new(keys.to_vec(), active).map(|_| ());
    assert_eq!(ring(&[storage_key(1), storage_key(2)], 2), Ok(()));
    assert_eq!(ring(&[storage_key(1), storage_key(1)], 1), Err(KeyRingError::Twice(1)));
    assert_eq!(ring(&[storage_key(1)], 3), Err(KeyRingError::Missing(3)));
    let short = StorageKey { number: 4, key: Secret::new(vec![1; 31]) };
    assert_eq!(ring(&[short], 4), Err(KeyRingError::Length(4)));
}

#[test]
fn debug_shows_numbers_alone() {
    let ring = KeyRing::new(vec![StorageKey { number: 7, key: Secret::new(vec![0xab; 32]) }], 7).unwrap();
    assert_eq!(format!("{ring:?}"), "KeyRing { numbers: [7], active: 7 }");
}

proptest! {
    #[test]
    fn any_value_comes_back(name in "[a-z/]{1,20}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let sealed = sealed(&TestStore::new(Sharing::Exclusive), &[1], 1);
            sealed.commit(vec![put(&name, &bytes)]).await;
            assert_eq!(value(&sealed, &name).await, bytes);
        });
    }
}
