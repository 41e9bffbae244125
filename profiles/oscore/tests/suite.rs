//! The profile keeps the contract of transport profiles.

use ace_groupcomm::testkit::transport::suite;
use ace_groupcomm_messages::{Confirmation, OscoreInputMaterial, TokenTransferRequest};
use ace_profile_oscore::DESCRIPTOR;

#[test]
fn the_profile_passes_the_suite() {
    let post = TokenTransferRequest {
        nonce1: Some(vec![1; 8]),
        client_recipient_id: Some(vec![0]),
        ..TokenTransferRequest::default()
    };
    let material = OscoreInputMaterial {
        id: vec![1],
        version: None,
        ms: vec![2; 16],
        hkdf: None,
        alg: None,
        salt: Some(vec![3; 8]),
        context_id: None,
    };
    assert_eq!(suite(&DESCRIPTOR, &post, &Confirmation::Osc(material)), Ok(()));
}
