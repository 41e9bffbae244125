//! Credentials of other kinds: other algorithms, proofs by key agreement, an end, one key in two encodings.

use crate::altered::{Altered, desk_of, on};
use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::config::ConfigValue;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::traits::crypto::{
    AgreementAlgorithm, AgreementKey, CryptoJob, CryptoOutput, CryptoProvider, PublicKey, SignatureAlgorithm,
    SigningKey, Thumbprint, agreement_mac,
};
use ace_groupcomm::traits::profile::EligibleCredential;
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Method, NodeName, Response, Secret, Status, UnixTime};
use ace_groupcomm_messages::{
    CoseKey, GetCreds, GroupcommError, JoinRequest, JoinResponse, KdcCred, Label, ProblemDetails, RawCbor, pop,
};
use std::sync::Arc;
use std::time::Duration;

const TALKER: u64 = 1;
const LISTENER: u64 = 2;

fn admitted(desk: &mut Desk, client: &TestClient, roles: u64) -> (Caller, Vec<u8>) {
    desk.post_token(&token(1, &client.claims(&[("g1", roles)], 2_000_000))).unwrap()
}

fn error_of(response: &Response) -> Option<GroupcommError> {
    ProblemDetails::decode(&response.payload).ok()?.error()
}

fn client(number: u16) -> TestClient {
    TestClient::new(&AwsLc, number).unwrap()
}

#[test]
fn a_group_signs_with_es256_where_its_profile_says_so() {
    let mut config = desk::config(&["g1"]);
    config.groups[0].parameters.insert("signs", ConfigValue::Text("ES256".into()));
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config).unwrap();
    let client = TestClient::with_algorithm(&AwsLc, 1, SignatureAlgorithm::Es256).unwrap();
    let (caller, challenge) = admitted(&mut desk, &client, TALKER);
    let mut join = client.join("g1", TALKER, &challenge, &[7; 8]);
    let joined = desk.ask(&caller, join_post("g1", &join));
    assert_eq!(joined.status, Status::Created);
    let proof = JoinResponse::decode(&joined.payload).unwrap().kdc_cred.unwrap();
    let kdc = PublicKey::Signature(SignatureAlgorithm::Es256, proof.kdc_cred.clone().into());
    let verified = |proof: &KdcCred| {
        let job = CryptoJob::Verify {
            algorithm: SignatureAlgorithm::Es256,
            key: kdc.as_bytes().to_vec(),
            message: pop::kdc_input(&[7; 8], &proof.kdc_nonce),
            signature: proof.kdc_cred_verify.clone(),
        };
        AwsLc.run(&[job]) == [CryptoOutput::Verified(true)]
    };
    assert!(verified(&proof), "the KDC has an ES256 key too");
    join.client_cred_verify.as_mut().unwrap()[9] ^= 1;
    assert_eq!(error_of(&desk.ask(&caller, join_post("g1", &join))), Some(GroupcommError::InvalidProof));
    // A key of the other algorithm is no credential here, also by its length.
    let other = self::client(2);
    let (caller, challenge) = admitted(&mut desk, &other, TALKER);
    let refused = desk.ask(&caller, join_post("g1", &other.join("g1", TALKER, &challenge, &[7; 8])));
    assert_eq!(error_of(&refused), Some(GroupcommError::IncompatibleCredential));
}

fn agreement(byte: u8) -> Arc<dyn AgreementKey> {
    AwsLc.agreement_key(AgreementAlgorithm::X25519, &Secret::new(vec![byte; 32])).unwrap()
}

/// Groups whose members have X25519 keys, as bare bytes.
fn pairwise() -> Altered {
    Altered {
        agreement: Some(agreement(0x44)),
        eligible: Some(|_, cred| {
            let mut key = CoseKey::default();
            (key.kty, key.crv, key.x) = (1, Some(4), Some(cred.to_vec()));
            let key = PublicKey::for_agreement(AgreementAlgorithm::X25519, &[], &key);
            Ok(key.map(|key| EligibleCredential::new(cred, key)))
        }),
        ..Altered::default()
    }
}

#[test]
fn both_sides_prove_their_keys_by_key_agreement() {
    let mut desk = desk_of(pairwise()).unwrap();
    let (caller, challenge) = admitted(&mut desk, &client(1), TALKER);
    let (own, kdc) = (agreement(1), agreement(0x44));
    let mut join = client(1).join("g1", TALKER, &challenge, &[7; 8]);
    join.client_cred = Some(own.public().to_vec());
    assert_eq!(
        error_of(&desk.ask(&caller, join_post("g1", &join))),
        Some(GroupcommError::InvalidProof),
        "a signature is no MAC"
    );
    let shared = own.agree(kdc.public()).unwrap();
    let input = pop::client_input(join.scope.as_ref().unwrap(), &challenge, &[7; 8]);
    join.client_cred_verify = Some(agreement_mac(&shared, &input).to_vec());
    let joined = desk.ask(&caller, join_post("g1", &join));
    assert_eq!(joined.status, Status::Created, "{joined:?}");
    let proof = JoinResponse::decode(&joined.payload).unwrap().kdc_cred.unwrap();
    let made = |proof: &KdcCred| agreement_mac(&shared, &pop::kdc_input(&[7; 8], &proof.kdc_nonce)).to_vec();
    assert_eq!((proof.kdc_cred.as_slice(), &proof.kdc_cred_verify), (kdc.public(), &made(&proof)));
    // The stored credential is what a later proof is made for.
    let again = desk.ask(&caller, group_request(Method::Get, "g1", &["kdc-cred"]));
    let again = KdcCred::decode(&again.payload).unwrap();
    assert_ne!(again.kdc_nonce, proof.kdc_nonce);
    assert_eq!(again.kdc_cred_verify, made(&again));
    // No job handed a shared secret around.
    assert!(!format!("{:?}", desk.jobs).contains(&format!("{:?}", shared.expose())));
    // A listener has no credential, so that there is nothing to prove to it.
    let (listener, _) = admitted(&mut desk, &client(2), LISTENER);
    let join =
        JoinRequest { client_cred: None, client_cred_verify: None, ..client(2).join("g1", LISTENER, &[], &[7; 8]) };
    let joined = desk.ask(&listener, join_post("g1", &join));
    assert_eq!(JoinResponse::decode(&joined.payload).unwrap().kdc_cred, None);
    assert_eq!(desk.ask(&listener, group_request(Method::Get, "g1", &["kdc-cred"])).status, Status::NotFound);
}

/// Credentials that are an expiry time (8 bytes), a byte that means nothing, and an Ed25519 key.
fn dated() -> Altered {
    Altered {
        eligible: Some(|view, cred| {
            let Some((end, rest)) = cred.split_first_chunk::<8>() else { return Ok(None) };
            let end = UnixTime::new(u64::from_be_bytes(*end));
            assert!(view.now().unix >= UnixTime::new(1_000_000), "the view has the time");
            let key = PublicKey::Signature(SignatureAlgorithm::Ed25519, rest[1..].to_vec().into());
            Ok(Some(EligibleCredential { expires: Some(end), ..EligibleCredential::new(cred, key) }))
        }),
        ..Altered::default()
    }
}

fn dated_join(client: &TestClient, challenge: &[u8], end: u64, byte: u8) -> JoinRequest {
    let cred = [&end.to_be_bytes()[..], &[byte], client.key.public()].concat();
    JoinRequest { client_cred: Some(cred), ..client.join("g1", TALKER, challenge, &[7; 8]) }
}

#[test]
fn a_credential_that_has_ended_is_not_taken_even_where_it_was_proven() {
    let mut desk = desk_of(dated()).unwrap();
    let (caller, challenge) = admitted(&mut desk, &client(1), TALKER);
    let past = dated_join(&client(1), &challenge, 1_000_000, 0);
    assert_eq!(error_of(&desk.ask(&caller, join_post("g1", &past))), Some(GroupcommError::IncompatibleCredential));
    let join = dated_join(&client(1), &challenge, 1_000_100, 0);
    assert_eq!(desk.ask(&caller, join_post("g1", &join)).status, Status::Created);
    let stored = JoinRequest { client_cred: Some(vec![]), client_cred_verify: None, ..join.clone() };
    let empty = JoinRequest { client_cred_verify: Some(vec![]), ..join };
    assert_eq!(desk.ask(&caller, join_post("g1", &stored)).status, Status::Changed, "it is still good");
    assert_eq!(desk.ask(&caller, join_post("g1", &empty)).status, Status::Changed);
    desk.pass(Duration::from_secs(100));
    let refused = desk.ask(&caller, join_post("g1", &stored));
    assert_eq!((refused.status, error_of(&refused)), (Status::BadRequest, None), "it has to prove another one");
    assert_eq!(error_of(&desk.ask(&caller, join_post("g1", &empty))), Some(GroupcommError::InvalidProof));
    let newer = dated_join(&client(1), &challenge, 1_000_200, 0);
    assert_eq!(desk.ask(&caller, join_post("g1", &newer)).status, Status::Changed);
}

// Covers: TH-2-10/one-principal
#[test]
fn one_key_in_two_credentials_belongs_to_one_client() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store, dated()).unwrap();
    let (first, challenge) = admitted(&mut desk, &client(1), TALKER);
    let join = dated_join(&client(1), &challenge, 1_500_000, 0);
    assert_eq!(desk.ask(&first, join_post("g1", &join)).status, Status::Created);
    // Another client shows the same key in another credential, and can prove it: the proof was made for it elsewhere.
    let thief = TestClient { key: client(1).key, ..client(2) };
    let (second, challenge) = admitted(&mut desk, &thief, TALKER);
    let join = dated_join(&thief, &challenge, 1_600_000, 1);
    let refused = desk.ask(&second, join_post("g1", &join));
    assert_eq!(error_of(&refused), Some(GroupcommError::IncompatibleCredential));
}

#[test]
fn a_credential_may_be_shown_without_a_proof_and_claims_nothing_then() {
    let mut desk = desk_of(Altered { proves_credential: Some(false), ..Altered::default() }).unwrap();
    let (first, challenge) = admitted(&mut desk, &client(1), TALKER);
    let shown = |client: &TestClient, challenge: &[u8]| JoinRequest {
        client_cred_verify: None,
        ..client.join("g1", TALKER, challenge, &[7; 8])
    };
    assert_eq!(desk.ask(&first, join_post("g1", &shown(&client(1), &challenge))).status, Status::Created);
    let none = JoinRequest { client_cred: Some(vec![]), ..shown(&client(1), &challenge) };
    assert_eq!(desk.ask(&first, join_post("g1", &none)).status, Status::BadRequest, "nothing was proven before");
    let mut wrong = client(1).join("g1", TALKER, &challenge, &[7; 8]);
    wrong.client_cred_verify.as_mut().unwrap()[9] ^= 1;
    let refused = desk.ask(&first, join_post("g1", &wrong));
    assert_eq!(error_of(&refused), Some(GroupcommError::InvalidProof), "a proof that is there has to be right");
    // Who proves it has it.
    let owner = TestClient { key: client(1).key, ..client(2) };
    let (second, challenge) = admitted(&mut desk, &owner, TALKER);
    let proven = owner.join("g1", TALKER, &challenge, &[7; 8]);
    assert_eq!(desk.ask(&second, join_post("g1", &proven)).status, Status::Created);
    let refused = desk.ask(&first, join_post("g1", &shown(&client(1), &[])));
    assert_eq!(error_of(&refused), Some(GroupcommError::IncompatibleCredential));
}

#[test]
fn who_gets_an_identifier_is_a_question_of_its_own() {
    let all = Altered { gets_identifier: Some(true), identifier_len: Some(4..=4), ..Altered::default() };
    let mut desk = desk_of(all).unwrap();
    let (listener, _) = admitted(&mut desk, &client(1), LISTENER);
    let join = |client: &TestClient| JoinRequest {
        client_cred: None,
        client_cred_verify: None,
        ..client.join("g1", LISTENER, &[], &[7; 8])
    };
    let joined = desk.ask(&listener, join_post("g1", &join(&client(1))));
    let joined = JoinResponse::decode(&joined.payload).unwrap();
    assert_eq!(toy::id_in(&joined.material.key), Some(vec![0; 4]), "of the length that the profile says");
    let (talker, challenge) = admitted(&mut desk, &client(2), TALKER);
    let asks = JoinRequest { get_creds: Some(GetCreds::All), ..client(2).join("g1", TALKER, &challenge, &[7; 8]) };
    let joined = JoinResponse::decode(&desk.ask(&talker, join_post("g1", &asks)).payload).unwrap();
    assert_eq!(toy::id_in(&joined.material.key), Some(vec![0, 0, 0, 1]));
    assert_eq!(joined.peers.unwrap(), [], "who has no credential is not in the list");
    let mut desk = desk_of(Altered { gets_identifier: Some(false), ..Altered::default() }).unwrap();
    let (talker, challenge) = admitted(&mut desk, &client(1), TALKER);
    let joined = desk.ask(&talker, join_post("g1", &client(1).join("g1", TALKER, &challenge, &[7; 8])));
    let joined = JoinResponse::decode(&joined.payload).unwrap();
    assert_eq!(toy::id_in(&joined.material.key), None);
}

#[test]
fn a_parameter_of_the_profiles_own_reaches_it_and_is_answered() {
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), desk::config(&["g1"])).unwrap();
    let (caller, challenge) = admitted(&mut desk, &client(1), TALKER);
    let with = |value: RawCbor| JoinRequest {
        extra: vec![(Label::Int(-70_003), RawCbor::uint(1)), (toy::NOTE, value)],
        ..client(1).join("g1", TALKER, &challenge, &[7; 8])
    };
    let refused = desk.ask(&caller, join_post("g1", &with(RawCbor::uint(1))));
    assert_eq!(refused.status, Status::BadRequest, "the profile refuses it");
    let joined = desk.ask(&caller, join_post("g1", &with(RawCbor::text("hello"))));
    assert_eq!(joined.status, Status::Created);
    let node = NodeName::new(joined.location_path.last().unwrap().clone());
    let response = JoinResponse::decode(&joined.payload).unwrap();
    assert_eq!(response.extra, [(toy::NOTE, RawCbor::text("hello"))]);
    let note = desk.ask(&caller, group_request(Method::Get, "g1", &["notes", node.as_str()]));
    assert_eq!(note.payload.as_ref(), RawCbor::bytes(b"hello").as_bytes(), "it was stored with the join");
    let plain = desk.ask(&caller, join_post("g1", &client(1).join("g1", TALKER, &challenge, &[7; 8])));
    assert_eq!(JoinResponse::decode(&plain.payload).unwrap().extra, []);
}

#[test]
fn a_thumbprint_shows_itself_in_hexadecimal() {
    assert_eq!(format!("{:?}", Thumbprint::new([0xab; 32])), "ab".repeat(32));
    let key: &dyn SigningKey = &*client(1).key;
    assert_eq!(key.algorithm().number(), -8);
}
