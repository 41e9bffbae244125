//! A KDC whose validator asks a service: the driver asks it, and a service that panics harms nobody else.

use ace_backend_aws_lc::AwsLc;
use ace_backend_memory::MemoryStorage;
use ace_backend_tokio::{Clock, CryptoPool, Handle, NoAssociations, Outside, Services, spawn, spawn_with};
use ace_groupcomm::engine::{Answered, Question};
use ace_groupcomm::kdc::Kdc;
use ace_groupcomm::testkit::{build, desk, toy};
use ace_groupcomm::token::{CwtValidator, TokenRefusal, ValidToken};
use ace_groupcomm::traits::storage::Storage;
use ace_groupcomm::traits::token::TokenValidator;
use ace_groupcomm::{Caller, Secret, Status, Stop, UnixTime, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Takes the tokens that a service says are not revoked.
struct Asking(CwtValidator);

impl TokenValidator for Asking {
    fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
        let answer = view.asked(Question { service: "revocation", content: token.to_vec() })?;
        if answer.expose() != b"good" {
            return Err(TokenRefusal::Unverified.into());
        }
        self.0.validate(view, token, now)
    }
}

/// Knows one token, and panics over another.
#[derive(Default)]
struct Revocation(AtomicUsize);

#[async_trait::async_trait]
impl Services for Revocation {
    async fn ask(&self, question: &Question) -> Answered {
        assert!(question.content != b"panic", "this service panics");
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let content = if question.content == b"revoked" { b"bad".to_vec() } else { b"good".to_vec() };
        Answered::Known { content: Secret::new(content), good_for: Duration::from_secs(1) }
    }
}

fn kdc(storage: &Arc<dyn Storage>) -> Kdc {
    let validator = Box::new(Asking(build::validator(&["g1"])));
    Kdc::new(desk::config(&["g1"]), &toy::registry(), validator, storage.sharing(), Arc::new(AwsLc)).unwrap()
}

async fn post(handle: &Handle, token: &[u8], nonce: u8) -> Status {
    handle.call(Caller::anonymous(), build::token_post_with(token, &[nonce; 8])).await.status
}

#[tokio::test]
async fn the_driver_asks_what_a_validator_wants_to_know() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let services = Arc::new(Revocation::default());
    let pool = CryptoPool::inline(Arc::new(AwsLc));
    let (kdc, no_associations) = (kdc(&storage), Arc::new(NoAssociations));
    let (handle, driver) =
        spawn_with(kdc, storage, no_associations, pool, Clock::system(), Outside::services(Arc::clone(&services) as _));
    handle.ready().await.unwrap();
    let client = build::TestClient::new(&AwsLc, 1).unwrap();
    let now = Clock::system().now().unix.seconds();
    let token = build::token(1, &client.claims(&[("g1", 1)], now + 1_000));
    let both = tokio::join!(post(&handle, &token, 1), post(&handle, &token, 2));
    assert_eq!(both, (Status::Created, Status::Created));
    assert_eq!(services.0.load(Ordering::SeqCst), 1, "both waited for one answer");
    assert_eq!(post(&handle, b"revoked", 3).await, Status::Unauthorized);
    assert_eq!(post(&handle, b"panic", 4).await, Status::ServiceUnavailable);
    assert_eq!(post(&handle, &token, 5).await, Status::Created, "the engine goes on");
    handle.stop().await;
    driver.await.unwrap();
}

#[tokio::test]
async fn without_services_a_question_is_answered_by_nobody() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let pool = CryptoPool::inline(Arc::new(AwsLc));
    let (handle, _driver) = spawn(kdc(&storage), storage, Arc::new(NoAssociations), pool, Clock::system());
    handle.ready().await.unwrap();
    assert_eq!(post(&handle, b"any", 1).await, Status::ServiceUnavailable);
}

/// Never answers, and counts who is still asking.
#[derive(Default)]
struct Silent(Arc<AtomicUsize>);

struct Asked(Arc<AtomicUsize>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Services for Silent {
    async fn ask(&self, _question: &Question) -> Answered {
        self.0.fetch_add(1, Ordering::SeqCst);
        let _asked = Asked(Arc::clone(&self.0));
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_service_that_is_silent_is_asked_no_longer_than_the_engine_waits() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let services = Arc::new(Silent::default());
    let mut config = desk::config(&["g1"]);
    config.limits.question_patience = Duration::from_millis(100);
    let validator = Box::new(Asking(build::validator(&["g1"])));
    let kdc = Kdc::new(config, &toy::registry(), validator, storage.sharing(), Arc::new(AwsLc)).unwrap();
    let pool = CryptoPool::inline(Arc::new(AwsLc));
    let (handle, _driver) = spawn_with(
        kdc,
        storage,
        Arc::new(NoAssociations),
        pool,
        Clock::system(),
        Outside::services(Arc::clone(&services) as _),
    );
    handle.ready().await.unwrap();
    assert_eq!(post(&handle, b"any", 1).await, Status::ServiceUnavailable);
    // The engine has given up; what the driver had under way for it ends too.
    for _ in 0..100 {
        if services.0.load(Ordering::SeqCst) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it is still being asked");
}
