//! Tokens, and what the KDC answers to them (sections 3.4 and 3.6 of the profile).

use super::*;
use ace_groupcomm::testkit::build::{scope, token_post};
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{
    Claims, RawCbor, ScopeValue, TokenTransferRequest, TokenTransferResponse, extended_scope_tag,
};

fn post(desk: &mut Desk, claims: &Claims) -> Response {
    desk.ask(&Caller::anonymous(), token_post(&token(1, claims)))
}

// Covers: PS-3.6-02, PS-3.6-03, PS-3.6-05, PS-3.6-06
#[test]
fn publishers_are_given_a_challenge_and_who_asks_the_algorithms() {
    let mut desk = desk();
    for (roles, has_challenge) in [(PUBLISHER, true), (BOTH, true), (SUBSCRIBER, false)] {
        let answer = post(&mut desk, &client(1).claims(&[("weather", roles.0)], LATER));
        let answer = TokenTransferResponse::decode(&answer.payload).unwrap();
        assert_eq!(answer.kdcchallenge.map(|challenge| challenge.len()), has_challenge.then_some(8), "{roles:?}");
    }
    for (gname, algorithm) in [("weather", -8), ("alarm", -7)] {
        let token = token(1, &client(2).claims(&[(gname, PUBLISHER.0)], LATER));
        let request = TokenTransferRequest::decode(&token_post(&token).payload).unwrap();
        let asked = TokenTransferRequest { asks_sign_info: true, ..request };
        let answer = desk.ask(
            &Caller::anonymous(),
            Request::new(Method::Post, ["authz-info"]).with_payload(ACE_CBOR, asked.encode()),
        );
        let info = TokenTransferResponse::decode(&answer.payload).unwrap().info;
        assert_eq!(info.sign_info.len(), 1);
        let entry = &info.sign_info[0];
        assert_eq!((&entry.algorithm, entry.cred_fmt), (&ace_groupcomm_messages::Label::Int(algorithm), Some(14)));
        assert!(info.ecdh_info.is_empty());
    }
}

/// A scope with a byte string as it is.
fn with_scope(number: u16, bytes: Vec<u8>) -> Claims {
    let mut claims = client(number).claims(&[], LATER);
    claims.scope = Some(ScopeValue::Bytes(bytes));
    claims
}

// Covers: PS-3.4.1-02
#[test]
fn entries_for_administrators_and_topics_are_passed_over_and_void_no_other() {
    let mut desk = desk();
    // ["weather", 8], beside administrators' entries: by name, by a pattern, for all.
    let user = b"\x82\x67weather\x08".to_vec();
    for other in [&b"\x82\x65alarm\x05"[..], b"\x82\xc6\x63a.*\x01", b"\x82\xf5\x01", b"\x82\x65alarm\x06"] {
        let bytes = [&[0x82], other, &user].concat();
        let answer = post(&mut desk, &with_scope(1, bytes));
        assert_eq!(answer.status, Status::Created, "{other:x?}");
        // They grant nothing.
        let caller = Caller::peer(TokenTransferResponse::decode(&answer.payload).unwrap().server_recipient_id.unwrap());
        let num = |desk: &mut Desk, gname| desk.ask(&caller, group_request(Method::Get, gname, &["num"]));
        assert_eq!(told(&num(&mut desk, "weather")), (Status::Forbidden, Some(GroupcommError::NotAMember)));
        assert_eq!(told(&num(&mut desk, "alarm")), (Status::Forbidden, None));
    }
    for alone in [
        &b"\x81\x82\x65alarm\x05"[..],
        b"\x81\x82\xf5\x01",
        b"\x81\x82\xf5\x08",
        b"\x82\x82\x67weather\x08\x82\xf5\x08",
    ] {
        assert_eq!(post(&mut desk, &with_scope(1, alone.to_vec())).status, Status::BadRequest, "{alone:x?}");
    }
}

#[test]
fn the_extended_scope_has_the_tag_of_the_profile() {
    let mut desk = desk();
    let mut claims = client(1).claims(&[], LATER);
    let bytes = scope(&[("weather", SUBSCRIBER.0)]).encode();
    for (tag, status) in [(extended_scope_tag(294), Status::Created), (extended_scope_tag(295), Status::BadRequest)] {
        claims.scope = Some(ScopeValue::Extended { tag, bytes: bytes.clone() });
        assert_eq!(post(&mut desk, &claims).status, status);
    }
    assert!(RawCbor::uint(extended_scope_tag(294)).as_uint() == Some(0x6374_0101 + 256 + 39));
}
