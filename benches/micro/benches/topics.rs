//! What it costs to publish and to receive in a topic, beside its floor: the AEAD and the signature alone, over the same bytes.
//!
//! `cargo bench -p ace-micro --bench topics`. Times are compared within one run.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::Secret;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, PublicKey, SignatureAlgorithm};
use ace_groupcomm_messages::{Label, PubsubGroupKey};
use ace_oscore::{Aead, Sequence};
use ace_profile_pubsub::PublisherCredential;
use ace_profile_pubsub::protect::{GroupKey, Object, Publisher, Subscriber};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

const SENDER_ID: [u8; 1] = [7];
const ALGORITHMS: [(&str, SignatureAlgorithm); 2] =
    [("EdDSA", SignatureAlgorithm::Ed25519), ("ES256", SignatureAlgorithm::Es256)];

fn key() -> GroupKey {
    let key = PubsubGroupKey { kid: vec![3, 0, 0], alg: Label::Int(10), base_iv: vec![0x61; 13], k: vec![2; 16] };
    GroupKey::new(&key).expect("its lengths are those of the algorithm")
}

fn identity(algorithm: SignatureAlgorithm) -> Identity {
    let signer = AwsLc.signing_key(algorithm, &Secret::new(vec![0x31; 32]));
    Identity::kccs("weather station", signer.expect("any scalar of these bytes makes a key"))
}

fn topics(criterion: &mut Criterion) {
    for (name, algorithm) in ALGORITHMS {
        let identity = identity(algorithm);
        let public = PublicKey::of_kccs(algorithm, &identity.cred).expect("the credential has a key");
        for size in [16, 256, 4_096] {
            let data = vec![5; size];
            let mut publisher = Publisher::new(key(), &SENDER_ID, Sequence::all(), identity.clone()).expect("it fits");
            let object = publisher.publish(&data).expect("numbers are left");
            let signed = Object::decode(&object).expect("it was just made").countersigned();
            let signature = identity.key.sign(&signed).expect("it signs");
            let (aead, nonce, aad) = (Aead::AesCcm16_64_128, [1; 13], [2; 15]);
            let mut sealed = data.clone();
            aead.seal(&[2; 16], &nonce, &aad, &mut sealed).expect("its lengths fit");

            let mut group = criterion.benchmark_group(format!("topic, {name}"));
            group.throughput(Throughput::Bytes(size.try_into().unwrap_or_default()));
            group.bench_function(BenchmarkId::new("published", size), |b| {
                b.iter(|| publisher.publish(black_box(&data)));
            });
            group.bench_function(BenchmarkId::new("published, floor", size), |b| {
                b.iter(|| {
                    let mut text = black_box(&data).clone();
                    let sealed = aead.seal(&[2; 16], &nonce, &aad, &mut text);
                    (sealed, text, identity.key.sign(black_box(&signed)))
                });
            });
            let known = PublisherCredential::new(algorithm, &identity.cred, Arc::new(AwsLc)).expect("it has a key");
            group.bench_function(BenchmarkId::new("received", size), |b| {
                let installed = || {
                    let mut subscriber = Subscriber::default();
                    subscriber.install(key());
                    subscriber
                };
                b.iter_batched(
                    installed,
                    |mut subscriber| subscriber.receive(black_box(&object), |_, _| Some(&known)),
                    BatchSize::SmallInput,
                );
            });
            group.bench_function(BenchmarkId::new("received, floor", size), |b| {
                b.iter(|| {
                    let verified = AwsLc.verifies(&public, black_box(&signed).clone(), signature.clone());
                    (verified, aead.open(&[2; 16], &nonce, &aad, black_box(&sealed)))
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, topics);
criterion_main!(benches);
