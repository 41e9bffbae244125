//! The transport profile and the validator keep their contracts.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::engine::{Answered, Question};
use ace_groupcomm::testkit::token::Tokens;
use ace_groupcomm::testkit::{token, transport};
use ace_groupcomm::{Secret, UnixTime};
use ace_groupcomm_messages::{Claims, Confirmation, RawCbor, Scope, ScopeEntry, ScopeValue, TokenTransferRequest};
use custom_kdc::bearer::{DESCRIPTOR, NUMBER};
use custom_kdc::validator::Introspection;
use std::time::Duration;

#[test]
fn the_transport_profile_passes_the_suite() {
    let cnf = Confirmation::Kid(b"client".to_vec());
    assert_eq!(transport::suite(&DESCRIPTOR, &TokenTransferRequest::default(), &cnf), Ok(()));
}

#[test]
fn the_validator_passes_the_suite() {
    let scope = ScopeEntry { gname: "lamps".into(), permissions: RawCbor::uint(2) };
    let claims = |audience: &str, expires| Claims {
        sub: Some("client".into()),
        aud: vec![audience.into()],
        exp: Some(expires),
        scope: Some(ScopeValue::Bytes(Scope::new([scope.clone()]).unwrap().encode())),
        cnf: Some(Confirmation::Kid(b"client".to_vec())),
        ace_profile: Some(NUMBER),
        ..Claims::default()
    };
    let answer = |question: &Question| {
        let claims = match question.content.as_slice() {
            b"good" => claims("kdc", 2_000).encode(),
            b"expired" => claims("kdc", 500).encode(),
            b"of another" => claims("somebody", 2_000).encode(),
            _ => Vec::new(),
        };
        Answered::Known { content: Secret::new(claims), good_for: Duration::from_secs(5) }
    };
    let tokens = Tokens {
        validator: &|| Box::new(Introspection),
        good: b"good".to_vec(),
        now: UnixTime::new(1_000),
        refused: vec![("it has expired", b"expired".to_vec()), ("it is for another audience", b"of another".to_vec())],
        answer: &answer,
    };
    assert_eq!(token::suite(&AwsLc, &tokens), Ok(()));
}
