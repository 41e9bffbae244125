//! What is published under the keys of a group: a publisher and a subscriber in Python against ours, both ways round.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::Secret;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, SignatureAlgorithm};
use ace_groupcomm_messages::{Label, PubsubGroupKey, PubsubKeyingMaterial};
use ace_oscore::{Aead, Sequence};
use ace_profile_pubsub::PublisherCredential;
use ace_profile_pubsub::protect::{GroupKey, Publisher, Subscriber};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn ask(question: &Value) -> Value {
    let mut child = Command::new(ace_peers::python().unwrap())
        .arg(ace_peers::scripts().join("pubsub.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

// Covers: PS-6.1-01, PS-6.1-02, PS-6.1-03
#[test]
fn what_one_side_publishes_the_other_reads() {
    let aeads = [Aead::AesCcm16_64_128, Aead::A128Gcm, Aead::A256Gcm, Aead::ChaCha20Poly1305];
    for (aead, algorithm) in aeads
        .iter()
        .flat_map(|aead| [SignatureAlgorithm::Ed25519, SignatureAlgorithm::Es256].map(|algorithm| (*aead, algorithm)))
    {
        let group_key = PubsubGroupKey {
            kid: vec![3, 0, 7],
            alg: Label::Int(aead.cose()),
            base_iv: (0..aead.nonce_len()).map(|at| u8::try_from(0x60 + at).unwrap()).collect(),
            k: (0..aead.key_len()).map(|at| u8::try_from(at).unwrap()).collect(),
        };
        let material =
            PubsubKeyingMaterial { group_key: group_key.clone(), group_sender_id: None, cred_fmt: None, sign: None };
        let key = hex(material.encode().as_bytes());
        let secret = [0x31; 32];
        let signer = AwsLc.signing_key(algorithm, &Secret::new(secret.to_vec())).unwrap();
        let identity = Identity::kccs("weather station", signer);
        for (sender_id, number, data) in
            [(&[7][..], 0, &b"21 degrees"[..]), (&[1, 2, 3, 4, 5, 6], 0xff_ffff_fffe, b""), (&[0], 256, &[9; 2_000])]
        {
            let group_key = || GroupKey::new(&group_key).unwrap();
            let sequence = Sequence::block(number, number + 1);
            let mut publisher = Publisher::new(group_key(), sender_id, sequence, identity.clone()).unwrap();
            let object = publisher.publish(data).unwrap();
            let read = ask(&json!({
                "do": "read", "key": key, "object": hex(&object), "cred": hex(&identity.cred),
                "sign_alg": algorithm.number(),
            }));
            assert_eq!((bytes(&read["data"]).as_slice(), bytes(&read["sender_id"]).as_slice()), (data, sender_id));
            assert_eq!(read["number"], number);

            let theirs = ask(&json!({
                "do": "publish", "key": key, "sender_id": hex(sender_id), "number": number, "data": hex(data),
                "secret": hex(&secret), "sign_alg": algorithm.number(),
            }));
            let theirs = bytes(&theirs["object"]);
            if algorithm == SignatureAlgorithm::Ed25519 {
                assert_eq!(theirs, object, "such signatures are the same each time");
            }
            let mut subscriber = Subscriber::default();
            subscriber.install(group_key());
            let known = |_: &[u8], _: &[u8]| PublisherCredential::new(algorithm, &identity.cred, Arc::new(AwsLc));
            let received = subscriber.receive(&theirs, known).unwrap();
            assert_eq!((received.data.as_slice(), received.number), (data, number));
            assert_eq!(received.sender_id, sender_id);
        }
    }
}
