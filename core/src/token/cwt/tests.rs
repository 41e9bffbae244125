//! Which tokens are taken, and which code the others get.

use super::*;
use crate::refusal::Refusal;
use ace_groupcomm_messages::{Confirmation, RawCbor, Scope, ScopeEntry, ScopeValue};
use std::time::Duration;

fn key(kid: &[u8], byte: u8) -> TokenKey {
    TokenKey { kid: Some(kid.to_vec()), aead: Aead::AesCcm16_64_128, key: Secret::new(vec![byte; 16]) }
}

fn validator() -> CwtValidator {
    let issuer = |name: &str, kid: &[u8], byte, groups: &[&str]| Issuer {
        name: name.into(),
        iss: Some(format!("coap://{name}")),
        keys: vec![key(kid, byte)],
        groups: groups.iter().map(|&g| g.into()).collect(),
        strictness: Strictness::Strict,
    };
    CwtValidator::new("kdc", vec![issuer("as1", b"k", 1, &["g1"]), issuer("as2", b"k", 2, &["g2"])]).unwrap()
}

fn scope(gname: &str) -> ScopeValue {
    let entry = ScopeEntry { gname: gname.into(), permissions: RawCbor::uint(6) };
    ScopeValue::Bytes(Scope::from(entry).encode())
}

fn claims() -> Claims {
    Claims {
        sub: Some("lamp".into()),
        aud: vec!["kdc".into()],
        exp: Some(1_000),
        cnf: Some(Confirmation::Kid(vec![1])),
        scope: Some(scope("g1")),
        ..Claims::default()
    }
}

fn token(key: &TokenKey, claims: &Claims) -> Vec<u8> {
    seal_cwt(key, &[3; 13], claims).unwrap()
}

fn verdict(claims: &Claims) -> Result<ValidToken, TokenRefusal> {
    validator().check(&token(&key(b"k", 1), claims), UnixTime::new(999))
}

#[test]
fn a_token_with_exi_lasts_from_now_and_has_a_number() {
    let counted = |cti: Option<&[u8]>, exi, exp| {
        let claims = Claims { exi: Some(exi), exp, cti: cti.map(<[u8]>::to_vec), ..claims() };
        verdict(&claims).map(|valid| (valid.expires, valid.sequence))
    };
    assert_eq!(counted(Some(b"kdc\x05"), 60, None), Ok((UnixTime::new(1_059), Some(5))));
    assert_eq!(
        counted(Some(b"kdc\x01\x00"), 60, Some(1_000)),
        Ok((UnixTime::new(1_000), Some(256))),
        "the earlier of two"
    );
    assert_eq!(
        counted(Some(b"kdc\xff\xff\xff\xff\xff\xff\xff\xff"), u64::MAX, None),
        Ok((UnixTime::new(u64::MAX), Some(u64::MAX)))
    );
    assert_eq!(counted(Some(b"kdc\x05"), 0, None), Err(TokenRefusal::Expired));
    for cti in [None, Some(&b"kdc"[..]), Some(b"other\x05"), Some(b"kdc123456789"), Some(b"")] {
        assert_eq!(counted(cti, 60, None), Err(TokenRefusal::Claims), "{cti:?}");
    }
    assert_eq!(verdict(&Claims { exp: None, ..claims() }), Err(TokenRefusal::Claims), "no end at all");
    let mut lax = validator();
    lax.issuers[0].strictness = Strictness::Lax;
    let claims_exi = Claims { exi: Some(60), cti: Some(b"kdc\x05".to_vec()), ..claims() };
    let key = key(b"k", 1);
    assert_eq!(
        lax.check(&token(&key, &claims_exi), UnixTime::new(999)),
        Err(TokenRefusal::Claims),
        "its encoding can be changed"
    );
    assert!(lax.check(&token(&key, &claims()), UnixTime::new(999)).is_ok());
    assert_eq!(verdict(&claims()).map(|valid| valid.sequence), Ok(None));
}

// Covers: TH-2-02/verifying-key
#[test]
fn the_issuer_is_the_key_that_verified() {
    let valid = verdict(&claims()).unwrap();
    assert_eq!((valid.issuer.as_str(), valid.subject.as_str(), valid.expires), ("as1", "lamp", UnixTime::new(1_000)));
    assert!(valid.confidential && valid.scope().entry("g1").is_some());
    // Both issuers name their key "k".
    let second = key(b"k", 2);
    let mut other = claims();
    assert_eq!(validator().check(&token(&second, &other), UnixTime::EPOCH).unwrap().issuer, "as2");
    other.iss = Some("coap://as1".into());
    assert_eq!(validator().check(&token(&second, &other), UnixTime::EPOCH), Err(TokenRefusal::Issuer));
    other.iss = Some("coap://as2".into());
    assert!(validator().check(&token(&second, &other), UnixTime::EPOCH).is_ok());
}

// Covers: AF-5.10.1.1-07, AF-5.10.1.1-08
// Covers: AF-5.10.1.1-03
#[test]
fn each_fault_has_its_refusal() {
    let with = |change: &dyn Fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        verdict(&claims).map(|_| ())
    };
    assert_eq!(with(&|c| c.exp = None), Err(TokenRefusal::Claims));
    assert_eq!(with(&|c| c.cnf = None), Err(TokenRefusal::Claims));
    assert_eq!(with(&|c| c.sub = None), Err(TokenRefusal::Claims));
    assert_eq!(with(&|c| c.exp = Some(999)), Err(TokenRefusal::Expired));
    // It is 999. The issuer's clock may be half a minute ahead, and a token's end is its end.
    assert_eq!((with(&|c| c.nbf = Some(1_029)), with(&|c| c.iat = Some(1_029))), (Ok(()), Ok(())));
    assert_eq!(with(&|c| c.nbf = Some(1_030)), Err(TokenRefusal::Expired));
    assert_eq!(with(&|c| c.iat = Some(1_030)), Err(TokenRefusal::Expired));
    let strict = validator().with_leeway(Duration::ZERO);
    let verdict_of =
        |nbf| strict.check(&token(&key(b"k", 1), &Claims { nbf: Some(nbf), ..claims() }), UnixTime::new(999));
    assert_eq!((verdict_of(999).is_ok(), verdict_of(1_000)), (true, Err(TokenRefusal::Expired)));
    assert_eq!(with(&|c| c.aud = vec!["other".into()]), Err(TokenRefusal::Audience));
    assert_eq!(with(&|c| c.aud = vec![]), Err(TokenRefusal::Audience));
    assert_eq!(with(&|c| c.aud = vec!["x".into(), "kdc".into()]), Ok(()));
    assert_eq!(with(&|c| c.scope = None), Err(TokenRefusal::Scope));
    assert_eq!(with(&|c| c.scope = Some(ScopeValue::Bytes(vec![0x80]))), Err(TokenRefusal::Scope));
    assert_eq!(with(&|c| c.scope = Some(ScopeValue::Text("g1".into()))), Err(TokenRefusal::Scope));
    assert_eq!(with(&|c| c.iss = Some("coap://evil".into())), Err(TokenRefusal::Issuer));
    // Several at once: protection, claims, issuer, expiry, audience, scope.
    let mut all = claims();
    all.aud.clear();
    all.scope = None;
    assert_eq!(verdict(&all), Err(TokenRefusal::Audience));
    all.exp = Some(0);
    assert_eq!(verdict(&all), Err(TokenRefusal::Expired));
    all.iss = Some("x".into());
    assert_eq!(verdict(&all), Err(TokenRefusal::Issuer));
    let unverified = validator().check(&token(&key(b"k", 9), &all), UnixTime::new(999));
    assert_eq!(unverified, Err(TokenRefusal::Unverified), "nothing is said of what nobody vouches for");
}

// Covers: AF-5.10.1.1-02, TH-2-01/kdc-refuses, TH-2-01/one-use
#[test]
fn what_is_not_encrypted_or_not_for_our_key_is_refused() {
    let validator = validator();
    let good = token(&key(b"k", 1), &claims());
    for (kind, at) in [(0xd1, "MAC"), (0xd2, "signature")] {
        let mut shown = good.clone();
        shown[2] = kind;
        shown[3] = 0x84;
        shown.push(0x40);
        assert_eq!(validator.check(&shown, UnixTime::EPOCH), Err(TokenRefusal::Malformed), "{at}");
    }
    assert_eq!(validator.check(&token(&key(b"k", 9), &claims()), UnixTime::EPOCH), Err(TokenRefusal::Unverified));
    assert_eq!(validator.check(&token(&key(b"unknown", 1), &claims()), UnixTime::EPOCH), Err(TokenRefusal::Unverified));
    let no_kid = TokenKey { kid: None, ..key(b"k", 1) };
    assert_eq!(validator.check(&token(&no_kid, &claims()), UnixTime::EPOCH), Err(TokenRefusal::Unverified));
    let other_alg = TokenKey { aead: Aead::A128Gcm, ..key(b"k", 1) };
    let sealed = seal_cwt(&other_alg, &[0; 12], &claims()).unwrap();
    assert_eq!(validator.check(&sealed, UnixTime::EPOCH), Err(TokenRefusal::Unverified));
    for cut in 0..good.len() {
        assert!(validator.check(&good[..cut], UnixTime::EPOCH).is_err());
        let mut flipped = good.clone();
        flipped[cut] ^= 1;
        assert!(validator.check(&flipped, UnixTime::EPOCH).is_err(), "byte {cut}");
    }
}

#[test]
fn a_lax_issuer_takes_other_encodings() {
    let mut validator = validator();
    let good = token(&key(b"k", 1), &claims());
    let untagged = &good[2..];
    assert_eq!(validator.check(untagged, UnixTime::EPOCH), Err(TokenRefusal::Malformed));
    validator.issuers[0].strictness = Strictness::Lax;
    assert!(validator.check(untagged, UnixTime::EPOCH).is_ok());
}

// Covers: TH-2-02/verifying-key
#[test]
fn issuers_that_cannot_be_told_apart_are_refused() {
    let issuer = |name: &str, byte| Issuer {
        name: name.into(),
        iss: None,
        keys: vec![key(&[byte], byte)],
        groups: vec![],
        strictness: Strictness::Strict,
    };
    let clash = |issuers| CwtValidator::new("kdc", issuers).map(|_| ());
    assert_eq!(clash(vec![issuer("a", 1), issuer("b", 2)]), Ok(()));
    assert_eq!(clash(vec![issuer("a", 1), issuer("a", 2)]), Err(IssuersClash::Name("a".into())));
    assert_eq!(clash(vec![issuer("a", 1), issuer("b", 1)]), Err(IssuersClash::Key("b".into())));
    assert_eq!(
        CwtValidator::none("kdc").check(&token(&key(b"k", 1), &claims()), UnixTime::EPOCH),
        Err(TokenRefusal::Unverified)
    );
}

// Covers: AF-5.10.1.1-09
#[test]
fn refusals_have_the_codes_of_rfc9200() {
    for (refusal, code) in [
        (TokenRefusal::Malformed, 0x80),
        (TokenRefusal::Unverified, 0x81),
        (TokenRefusal::Claims, 0x80),
        (TokenRefusal::Issuer, 0x81),
        (TokenRefusal::Expired, 0x81),
        (TokenRefusal::Audience, 0x83),
        (TokenRefusal::Scope, 0x80),
    ] {
        assert_eq!(Refusal::from(refusal).response().status.coap(), code, "{refusal:?}");
    }
}

// Covers: TH-8-01/hkdf-numbers
#[test]
fn both_names_of_an_hkdf_are_understood() {
    assert_eq!(
        (hkdf_from_cose(5), hkdf_from_cose(-10)),
        (Some(ace_oscore::Hkdf::Sha256), Some(ace_oscore::Hkdf::Sha256))
    );
    assert_eq!(
        (hkdf_from_cose(7), hkdf_from_cose(-11)),
        (Some(ace_oscore::Hkdf::Sha512), Some(ace_oscore::Hkdf::Sha512))
    );
    assert_eq!((hkdf_from_cose(6), hkdf_from_cose(10)), (None, None));
}

/// The encrypted token of RFC 8392 appendix A.5, with kid and IV in the unprotected map, and the key of appendix A.2.1.
const TOKEN_8392: &str = "d08343a1010aa2044c53796d6d6574726963313238054d99a0d7846e762c49ffe8a63e0b5858b918a11fd81e438b7f973d\
    9e2e119bcb22424ba0f38a80f27562f400ee1d0d6c0fdb559c02421fd384fc2ebe22d7071378b0ea7428fff157444d45f7e6afcda1aae5f6495830\
    c58627087fc5b4974f319a8707a635dd643b";
const KEY_8392: &str = "231f4c4d4d3051fdc2ec0a3851d5b383";

#[test]
fn key_name_and_nonce_outside_are_taken_where_the_issuer_is_lax() {
    let bytes = |text: &str| crate::config::from_hex(text).unwrap();
    let mut validator = validator();
    let aead = Aead::AesCcm16_64_128;
    validator.issuers[0].keys =
        vec![TokenKey { kid: Some(b"Symmetric128".to_vec()), aead, key: Secret::new(bytes(KEY_8392)) }];
    let token = bytes(TOKEN_8392);
    assert_eq!(validator.check(&token, UnixTime::EPOCH), Err(TokenRefusal::Malformed), "a strict issuer");
    validator.issuers[0].strictness = Strictness::Lax;
    let (issuer, _, claims) = validator.open(&token).unwrap();
    let claims = Claims::decode(&claims).unwrap();
    assert_eq!((issuer.name.as_str(), claims.sub.as_deref()), ("as1", Some("erikw")));
    assert_eq!((claims.iss.as_deref(), claims.exp), (Some("coap://as.example.com"), Some(1_444_064_944)));
}
