//! What a caller sees when storage or cryptography breaks down beneath the engine.

use ace_backend_aws_lc::AwsLc;
use ace_backend_memory::MemoryStorage;
use ace_backend_tokio::{Clock, CryptoPool, Handle, NoAssociations, spawn};
use ace_groupcomm::Secret;
use ace_groupcomm::kdc::Kdc;
use ace_groupcomm::testkit::{build, desk, toy};
use ace_groupcomm::token::ValidToken;
use ace_groupcomm::traits::crypto::{CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm, SigningKey};
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Page, Record, Sharing, Snapshot, Storage, StorageError, Txn};
use ace_groupcomm::traits::token::TokenValidator;
use ace_groupcomm::{Caller, Method, Status, Stop, UnixTime, View};
use ace_groupcomm_messages::TokenTransferResponse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Storage whose first reads panic, and whose commits do from a moment on.
struct Panics {
    inner: MemoryStorage,
    left: AtomicUsize,
    broken: AtomicBool,
}

impl Panics {
    fn new(left: usize) -> Arc<Self> {
        Arc::new(Self { inner: MemoryStorage::new(), left: AtomicUsize::new(left), broken: AtomicBool::new(false) })
    }
}

#[async_trait::async_trait]
impl Storage for Panics {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "this read panics");
        self.inner.read(keys).await
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.inner.scan(prefix, after, limit).await
    }

    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome> {
        assert!(!self.broken.load(Ordering::SeqCst), "this commit panics");
        self.inner.commit(txns).await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.inner.snapshot().await
    }

    fn sharing(&self) -> Sharing {
        self.inner.sharing()
    }
}

/// Cryptography that panics while it is told to.
struct Breaks(AtomicBool);

impl CryptoProvider for Breaks {
    fn signing_key(&self, algorithm: SignatureAlgorithm, secret: &Secret) -> Option<Arc<dyn SigningKey>> {
        AwsLc.signing_key(algorithm, secret)
    }

    fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput> {
        assert!(!self.0.load(Ordering::SeqCst), "this work panics");
        AwsLc.run(jobs)
    }
}

async fn kdc(storage: Arc<dyn Storage>, pool: CryptoPool) -> Handle {
    with_driver(storage, pool).await.0
}

async fn with_driver(storage: Arc<dyn Storage>, pool: CryptoPool) -> (Handle, tokio::task::JoinHandle<()>) {
    let validator = Box::new(build::validator(&["g1"]));
    let kdc = Kdc::new(desk::config(&["g1"]), &toy::registry(), validator, storage.sharing(), Arc::new(AwsLc)).unwrap();
    let (handle, driver) = spawn(kdc, storage, Arc::new(NoAssociations), pool, Clock::system());
    handle.ready().await.unwrap();
    (handle, driver)
}

#[tokio::test]
async fn a_commit_that_panics_ends_the_engine() {
    let storage = Panics::new(0);
    let (handle, driver) = with_driver(Arc::clone(&storage) as _, CryptoPool::inline(Arc::new(AwsLc))).await;
    let client = build::TestClient::new(&AwsLc, 1).unwrap();
    let token = build::token(1, &client.claims(&[("g1", 1)], u64::from(u32::MAX)));
    let answer = handle.call(Caller::anonymous(), build::token_post(&token)).await;
    let answer = TokenTransferResponse::decode(&answer.payload).unwrap();
    let caller = Caller::peer(answer.server_recipient_id.unwrap());
    storage.broken.store(true, Ordering::SeqCst);
    let num = || build::group_request(Method::Get, "g1", &["num"]);
    assert!(!handle.call(caller.clone(), num()).await.status.is_success(), "nobody waits for ever");
    driver.await.unwrap();
    assert!(!handle.is_ready() && !handle.call(caller, num()).await.status.is_success());
    handle.stop().await;
}

#[tokio::test]
async fn reads_that_panic_have_failed_and_are_tried_again() {
    let storage = Panics::new(1);
    // It gets ready although the first read of its own panics.
    let handle = kdc(Arc::clone(&storage) as _, CryptoPool::inline(Arc::new(AwsLc))).await;
    let request = || build::group_request(Method::Get, "g1", &["num"]);
    let stranger = Caller::peer(b"nobody");
    storage.left.store(1, Ordering::SeqCst);
    assert!(handle.is_ready());
    assert_eq!(handle.call(stranger.clone(), request()).await.status, Status::ServiceUnavailable);
    handle.ready().await.unwrap();
    assert_eq!(handle.call(stranger, request()).await.status, Status::Unauthorized);
    assert!(handle.is_ready());
    storage.left.store(1, Ordering::SeqCst);
    handle.call(Caller::peer(b"another"), request()).await;
    assert!(!handle.is_ready(), "until a commit has shown that storage works");
    handle.ready().await.unwrap();
    assert!(handle.is_ready());
    handle.stop().await;
}

/// Panics over the token that it is told to, as somebody's own validator may.
struct PanickingValidator(Vec<u8>);

impl TokenValidator for PanickingValidator {
    fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
        assert!(token != self.0, "this validator panics");
        build::validator(&["g1"]).validate(view, token, now)
    }
}

#[tokio::test]
async fn a_plugged_in_part_that_panics_ends_the_engine_and_that_is_seen() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let validator = Box::new(PanickingValidator(b"bad".to_vec()));
    let registry = toy::registry();
    let kdc = Kdc::new(desk::config(&["g1"]), &registry, validator, storage.sharing(), Arc::new(AwsLc)).unwrap();
    let pool = CryptoPool::inline(Arc::new(AwsLc));
    let (handle, driver) = spawn(kdc, storage, Arc::new(NoAssociations), pool, Clock::system());
    handle.ready().await.unwrap();
    assert!(handle.is_ready());
    let answer = handle.call(Caller::anonymous(), build::token_post(b"bad")).await;
    assert_eq!(answer.status, Status::ServiceUnavailable, "whoever asked is not left without an answer");
    assert!(driver.await.unwrap_err().is_panic());
    handle.ended().await;
    assert!(!handle.is_ready());
    assert_eq!(handle.call(Caller::anonymous(), build::token_post(b"good")).await.status, Status::ServiceUnavailable);
    assert!(handle.ready().await.is_err());
}

#[tokio::test]
async fn signatures_that_panic_have_failed_and_the_thread_goes_on() {
    let crypto = Arc::new(Breaks(AtomicBool::new(false)));
    let handle = kdc(Arc::new(MemoryStorage::new()), CryptoPool::threads(Arc::clone(&crypto) as _, 1)).await;
    let client = build::TestClient::new(&AwsLc, 1).unwrap();
    let token = build::token(1, &client.claims(&[("g1", 1)], u64::from(u32::MAX)));
    let answer = handle.call(Caller::anonymous(), build::token_post(&token)).await;
    let answer = TokenTransferResponse::decode(&answer.payload).unwrap();
    let (caller, challenge) = (Caller::peer(answer.server_recipient_id.unwrap()), answer.kdcchallenge.unwrap());
    let join = || build::join_post("g1", &client.join("g1", 1, &challenge, &[7; 8]));
    crypto.0.store(true, Ordering::SeqCst);
    assert!(!handle.call(caller.clone(), join()).await.status.is_success());
    crypto.0.store(false, Ordering::SeqCst);
    assert_eq!(handle.call(caller, join()).await.status, Status::Created);
    handle.stop().await;
}
