//! Going over to another storage key, with several processes, and with a failure at each step.

use ace_backend_sealed::{KeyRing, Sealed, StorageKey};
use ace_groupcomm::Secret;
use ace_groupcomm::testkit::TestStore;
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Sharing, Storage, StorageError, Txn};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

fn ring(numbers: &[u32], active: u32) -> KeyRing {
    let key = |number: &u32| StorageKey { number: *number, key: Secret::new(vec![u8::try_from(*number).unwrap(); 32]) };
    KeyRing::new(numbers.iter().map(key).collect(), active).unwrap()
}

/// A file of keys that all processes read.
#[derive(Clone)]
struct KeyFile(Arc<Mutex<(Vec<u32>, u32)>>);

impl KeyFile {
    fn new(numbers: &[u32], active: u32) -> Self {
        Self(Arc::new(Mutex::new((numbers.to_vec(), active))))
    }

    fn set(&self, numbers: &[u32], active: u32) {
        *self.0.lock().unwrap() = (numbers.to_vec(), active);
    }

    fn ring(&self) -> KeyRing {
        let (numbers, active) = self.0.lock().unwrap().clone();
        ring(&numbers, active)
    }

    fn open(&self, store: &TestStore) -> Sealed {
        static SEED: AtomicU32 = AtomicU32::new(0);
        let rng = ChaCha20Rng::seed_from_u64(SEED.fetch_add(1, Ordering::Relaxed).into());
        let file = self.clone();
        Sealed::new(Arc::new(store.clone()), self.ring(), Box::new(rng)).with_source(move || Some(file.ring()))
    }
}

fn key(number: usize) -> Key {
    Key::new(format!("key {number:04}"))
}

async fn put(storage: &Sealed, number: usize, value: &str) -> CommitOutcome {
    let write = vec![(key(number), Some(value.to_owned().into()))];
    storage.commit(vec![Txn { expect: vec![], write }]).await.pop().unwrap()
}

async fn get(storage: &Sealed, number: usize) -> String {
    let record = storage.read(&[key(number)]).await.unwrap().pop().unwrap().unwrap();
    String::from_utf8(record.value.to_vec()).unwrap()
}

/// What a future comes to that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(tokio::task::unconstrained(future));
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

/// The numbers of the keys that what is stored is sealed with.
fn numbers(store: &TestStore) -> Vec<u32> {
    let number = |value: &[u8]| u32::from_be_bytes(value[1..5].try_into().unwrap());
    let mut all: Vec<u32> = store.dump().iter().map(|(_, record)| number(&record.value)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

async fn filled(sharing: Sharing, file: &KeyFile) -> (TestStore, Sealed) {
    let store = TestStore::new(sharing);
    let storage = file.open(&store);
    for number in 0..600 {
        assert!(matches!(put(&storage, number, "old").await, CommitOutcome::Done(_)));
    }
    (store, storage)
}

#[tokio::test]
async fn everything_is_sealed_with_the_new_key_and_reads_as_before() {
    for sharing in [Sharing::Exclusive, Sharing::Shared] {
        let file = KeyFile::new(&[1], 1);
        let (store, storage) = filled(sharing, &file).await;
        assert_eq!(numbers(&store), [1]);
        let mut told = Vec::new();
        assert_eq!(storage.rotate(ring(&[1, 2], 2), |count| told.push(count)).await, Ok(600));
        assert!(told.len() >= 3 && told.is_sorted() && told.last() == Some(&600), "{told:?}");
        assert_eq!(numbers(&store), [2]);
        assert_eq!((get(&storage, 7).await, get(&storage, 599).await), ("old".into(), "old".into()));
        assert!(matches!(put(&storage, 7, "new").await, CommitOutcome::Done(_)));
        assert_eq!(numbers(&store), [2]);
        // Without the former key, all is there.
        file.set(&[2], 2);
        let again = file.open(&store);
        assert_eq!((get(&again, 7).await, get(&again, 8).await), ("new".into(), "old".into()));
        assert_eq!(again.rotate(ring(&[2], 2), |_| ()).await, Ok(0), "nothing is left to do");
    }
}

// Covers: TH-5-05/every-step, TH-5-05/old-key-last
#[tokio::test]
async fn a_failure_at_any_step_is_made_good_while_another_process_writes() {
    // The ring, and pages of 256 records.
    for faults in [0, 1, 2, 100, 256, 257, 258, 300, 512, 514, 560, 599, 600, 601] {
        for fault in [Fault::NotDone, Fault::UnknownDone, Fault::UnknownLost] {
            let file = KeyFile::new(&[1], 1);
            let (store, storage) = filled(Sharing::Shared, &file).await;
            let other = file.open(&store);
            assert!(matches!(put(&other, 0, "theirs").await, CommitOutcome::Done(_)));
            file.set(&[1, 2], 2);
            // The one that rotates is killed: the next commit but so many of its has this end.
            store.fail_after(faults, fault);
            let (mut number, mut acknowledged) = (100, Vec::new());
            let ended = storage.rotate(file.ring(), |_| {
                // Between two pages the other one writes, into what is sealed anew already and what is not.
                for number in [number, number + 300] {
                    if let CommitOutcome::Done(_) = at_once(put(&other, number, "meanwhile")) {
                        acknowledged.push(number);
                    }
                }
                number += 1;
            });
            let ended = ended.await;
            drop(storage);
            for number in acknowledged {
                assert_eq!(get(&other, number).await, "meanwhile");
            }
            assert!(matches!(put(&other, 1, "theirs").await, CommitOutcome::Done(_)), "{fault:?} {faults}: {ended:?}");
            // It is begun again by another process, which goes on from there.
            let again = file.open(&store);
            assert!(again.rotate(file.ring(), |_| ()).await.is_ok());
            assert_eq!(numbers(&store), [2], "{fault:?} {faults}");
            assert!(matches!(put(&other, 2, "theirs").await, CommitOutcome::Done(_)));
            assert_eq!(numbers(&store), [2], "nobody seals with the former key any more");
            file.set(&[2], 2);
            let last = file.open(&store);
            for (number, value) in [(0, "theirs"), (1, "theirs"), (2, "theirs"), (3, "old"), (599, "old")] {
                assert_eq!(get(&last, number).await, value);
            }
        }
    }
}

// Covers: TH-5-05/key-ring
#[tokio::test]
async fn a_process_that_has_not_got_the_new_key_writes_nothing() {
    let file = KeyFile::new(&[1], 1);
    let (store, storage) = filled(Sharing::Shared, &file).await;
    let elsewhere = KeyFile::new(&[1], 1);
    let other = elsewhere.open(&store);
    assert!(matches!(put(&other, 0, "theirs").await, CommitOutcome::Done(_)));
    storage.rotate(ring(&[1, 2], 2), |_| ()).await.unwrap();
    let refused = put(&other, 1, "theirs").await;
    assert!(
        matches!(&refused, CommitOutcome::NotDone(StorageError::Unavailable(why)) if why.contains("key 2")),
        "{refused:?}"
    );
    assert_eq!(numbers(&store), [2]);
    assert_eq!(other.read(&[key(1)]).await.unwrap().pop().unwrap().unwrap().value, "", "nor does it read");
    elsewhere.set(&[1, 2], 1);
    assert_eq!(get(&other, 1).await, "old");
    assert!(
        matches!(put(&other, 1, "theirs").await, CommitOutcome::Done(_)),
        "all seal with key 2, whatever a file says"
    );
    assert_eq!(numbers(&store), [2]);
}

#[tokio::test]
async fn two_rotations_to_different_keys_do_not_mix() {
    let file = KeyFile::new(&[1], 1);
    let (store, one) = filled(Sharing::Shared, &file).await;
    let other = file.open(&store);
    one.rotate(ring(&[1, 2], 2), |_| ()).await.unwrap();
    other.rotate(ring(&[1, 2, 3], 3), |_| ()).await.unwrap();
    file.set(&[1, 2, 3], 3);
    assert!(matches!(put(&one, 1, "mine").await, CommitOutcome::Done(_)));
    assert_eq!(numbers(&store), [3]);
    // A ring without the key in use would lose everything.
    let ended = one.rotate(ring(&[1, 4], 4), |_| ()).await;
    assert!(matches!(&ended, Err(StorageError::Unavailable(why)) if why.contains("key 3")), "{ended:?}");
    assert_eq!((get(&one, 7).await, numbers(&store)), ("old".into(), vec![3]));
    // A value that does not open stops a rotation: it would be lost with its key.
    let garbled = vec![0xe1, 0, 0, 0, 1, 9];
    store.commit(vec![Txn { expect: vec![], write: vec![(key(5), Some(garbled.into()))] }]).await;
    let ended = one.rotate(ring(&[1, 2, 3], 3), |_| ()).await;
    assert!(matches!(&ended, Err(StorageError::Corrupt(why)) if why.contains("key 0005")), "{ended:?}");
}

#[tokio::test]
async fn expectations_hold_across_a_change_of_the_key() {
    let file = KeyFile::new(&[1], 1);
    let (store, one) = filled(Sharing::Shared, &file).await;
    let other = file.open(&store);
    put(&other, 0, "theirs").await;
    file.set(&[1, 2], 2);
    one.rotate(file.ring(), |_| ()).await.unwrap();
    // Sealed anew, what was expected to be absent is still there: a conflict, and nothing of it is written.
    let txn = |number: usize, expect| Txn {
        expect: vec![(key(number), expect)],
        write: vec![(key(number), Some("x".into()))],
    };
    let outcomes = other.commit(vec![txn(700, None), txn(5, None), txn(701, None)]).await;
    let [CommitOutcome::Done(_), CommitOutcome::Conflict(found), CommitOutcome::Done(_)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!((found.len(), &found[0].0, &found[0].1.as_ref().unwrap().value[..]), (1, &key(5), &b"old"[..]));
    assert_eq!(
        (get(&one, 700).await, get(&one, 5).await, get(&one, 701).await),
        ("x".into(), "old".into(), "x".into())
    );
}

// Covers: TH-5-05/key-ring
#[tokio::test]
async fn a_process_that_did_nothing_during_a_rotation_goes_on() {
    let file = KeyFile::new(&[1], 1);
    let (store, storage) = filled(Sharing::Shared, &file).await;
    let idle = file.open(&store);
    assert!(matches!(put(&idle, 0, "mine").await, CommitOutcome::Done(_)));
    file.set(&[1, 2], 2);
    assert_eq!(storage.rotate(file.ring(), |_| ()).await, Ok(600));
    file.set(&[2], 2);
    assert_eq!(get(&idle, 1).await, "old");
    assert!(matches!(put(&idle, 1, "mine").await, CommitOutcome::Done(_)));
    assert_eq!((get(&idle, 1).await.as_str(), numbers(&store)), ("mine", vec![2]));
}
