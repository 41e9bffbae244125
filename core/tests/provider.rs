//! Keys that somebody else holds: a device that signs, and is away now and then.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::crypto::{CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm, SigningKey};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Method, Secret, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A provider whose keys sign while the device is there.
#[derive(Default)]
struct Device {
    is_away: Arc<AtomicBool>,
    signed: Arc<AtomicUsize>,
}

struct DeviceKey {
    inner: Arc<dyn SigningKey>,
    is_away: Arc<AtomicBool>,
    signed: Arc<AtomicUsize>,
}

impl SigningKey for DeviceKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }

    fn public(&self) -> &[u8] {
        self.inner.public()
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.signed.fetch_add(1, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) { None } else { self.inner.sign(message) }
    }
}

impl CryptoProvider for Device {
    fn signing_key(&self, algorithm: SignatureAlgorithm, secret: &Secret) -> Option<Arc<dyn SigningKey>> {
        let inner = AwsLc.signing_key(algorithm, secret)?;
        Some(Arc::new(DeviceKey { inner, is_away: Arc::clone(&self.is_away), signed: Arc::clone(&self.signed) }))
    }

    fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput> {
        AwsLc.run(jobs)
    }
}

#[test]
fn a_join_waits_for_a_device_that_is_away() {
    let device: &'static Device = Box::leak(Box::default());
    let mut desk = Desk::new(device, TestStore::new(Sharing::Exclusive), desk::config(&["g1"])).unwrap();
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", 1)], 2_000_000))).unwrap();
    let join = || join_post("g1", &client.join("g1", 1, &challenge, &[7; 8]));
    device.is_away.store(true, Ordering::Relaxed);
    let refused = desk.ask(&caller, join());
    assert_eq!((refused.status, refused.max_age), (Status::ServiceUnavailable, Some(1)));
    assert_eq!(desk.ask(&caller, group_request(Method::Get, "g1", &["num"])).status, Status::Forbidden, "no member");
    device.is_away.store(false, Ordering::Relaxed);
    assert_eq!(desk.ask(&caller, join()).status, Status::Created);
    assert_eq!(device.signed.load(Ordering::Relaxed), 2, "the KDC's key is the device's");
}

#[test]
fn keys_and_jobs_are_the_same_by_algorithm_and_public_key() {
    let key = |provider: &dyn CryptoProvider, seed: u8| {
        provider.signing_key(SignatureAlgorithm::Ed25519, &Secret::new(vec![seed; 32])).unwrap()
    };
    let device = Device::default();
    assert!(*key(&device, 1) == *key(&AwsLc, 1) && *key(&AwsLc, 1) != *key(&AwsLc, 2));
    let job = |seed: u8, message: u8| CryptoJob::Sign { key: key(&AwsLc, seed), message: vec![message] };
    assert_eq!(job(1, 1), job(1, 1));
    assert!(job(1, 1) != job(2, 1) && job(1, 1) != job(1, 2));
    let shown = format!("{:?}", job(0x5e, 1));
    assert!(shown.contains("public") && !shown.contains("94, 94"), "{shown}");
}
