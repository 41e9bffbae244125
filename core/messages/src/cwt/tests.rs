//! Claims and CWTs against the examples of RFC 9203 and RFC 9770, and malformed ones.

use super::*;
use crate::cnf::OscoreInputMaterial;
use alloc::borrow::ToOwned;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.replace([' ', '\n'], "")).unwrap()
}

/// RFC 9203 section 3.2, figures 5 and 6.
#[test]
fn claims_of_rfc9203_figure_6() {
    let bytes = hex("a5 03 76 74656d7053656e736f72496e4c6976696e67526f6f6d 06 1a5112d728 04 1a51145dc8 09 78 18
         74656d70657261747572655f67206669726d776172655f70 08 a1 04 a2 00 41 01 02 50 f9af838368e353e78888e1426bd94e6f");
    let claims = Claims::decode(&bytes).unwrap();
    assert_eq!(claims.aud, ["tempSensorInLivingRoom"]);
    assert_eq!((claims.iat, claims.exp), (Some(1_360_189_224), Some(1_360_289_224)));
    assert_eq!(claims.scope, Some(ScopeValue::Text("temperature_g firmware_p".into())));
    let material = OscoreInputMaterial::new(vec![1], hex("f9af838368e353e78888e1426bd94e6f"));
    assert_eq!(claims.cnf, Some(Confirmation::Osc(material)));
    let again = Claims::decode(&claims.encode()).unwrap();
    assert_eq!(again, claims);
    assert_eq!(claims.encode().len(), bytes.len(), "the same fields, ordered by label");
}

// Covers: TH-3-01/token-hash
#[test]
fn token_hash_of_rfc9770() {
    let token = hex(TOKEN_9770);
    assert_eq!(Cwt::decode(&token, Strictness::Strict).unwrap().kid.as_deref(), Some(&b"Symmetric128"[..]));
    assert_eq!(hex::encode(token_hash(&token)), "011a06427bcbe5d29385202b8255820b8370ae481065a1e94017c0185bfbd51707");
}

/// The token of RFC 9770 section 4.2.1.
const TOKEN_9770: &str =
    "d83dd0835820a3010a044c53796d6d6574726963313238054d99a0d7846e762c49ffe8a63e0ba05858b918a11fd81e438b7f
     973d9e2e119bcb22424ba0f38a80f27562f400ee1d0d6c0fdb559c02421fd384fc2ebe22d7071378b0ea7428fff157444d45
     f7e6afcda1aae5f6495830c58627087fc5b4974f319a8707a635dd643b";

fn sample(kind: CoseKind) -> Cwt {
    let mut cwt = Cwt::encrypt0(10, Some(b"as1"), &[5; 13]);
    cwt.kind = kind;
    cwt.payload = vec![1, 2, 3];
    if kind != CoseKind::Encrypt0 {
        cwt.authenticator = vec![9; 8];
    }
    cwt
}

// Covers: TH-3-01/token-hash
#[test]
fn both_tags_and_nothing_outside() {
    for kind in [CoseKind::Encrypt0, CoseKind::Mac0, CoseKind::Sign1] {
        let cwt = sample(kind);
        let bytes = cwt.encode();
        assert_eq!(bytes.first_chunk(), Some(&[0xd8, 0x3d]));
        assert_eq!(Cwt::decode(&bytes, Strictness::Strict), Ok(cwt.clone()));
        assert_eq!(Cwt::decode(&bytes, Strictness::Lax), Ok(cwt));
    }
    let bytes = sample(CoseKind::Encrypt0).encode();
    let lax_only = |bytes: &[u8]| {
        assert!(Cwt::decode(bytes, Strictness::Strict).is_err(), "{}", hex::encode(bytes));
        assert!(Cwt::decode(bytes, Strictness::Lax).is_ok(), "{}", hex::encode(bytes));
    };
    lax_only(&bytes[2..]);
    lax_only(&bytes[3..]);
    let mut long_tag = hex("d9003d");
    long_tag.extend(&bytes[2..]);
    lax_only(&long_tag);
    let mut outside = bytes.clone();
    let at = outside.windows(2).position(|w| w == [0xa0, 0x43]).unwrap();
    outside.splice(at..=at, hex("a10441aa"));
    lax_only(&outside);
}

#[test]
fn what_is_no_cwt_is_refused_by_both() {
    let good = sample(CoseKind::Encrypt0).encode();
    let mut cases = vec![
        vec![],
        hex("a0"),
        hex("d83dd8 60 83 40 a0 40"),
        hex("d83dd0 84 43a1010a a0 40 40"),
        hex("d83dd0 82 43a1010a a0"),
        hex("d83dd0 83 43a1010a a0 60"),
        hex("d83dd0 83 43a1010a a0 f6"),
        hex("d83dd0 83 40 a0 40"),
        hex("d83dd0 83 41ff a0 40"),
        hex("d83dd0 83 45a1010a0000 a0 40"),
        hex("d83dd0 83 47a201 0a 02 81 18 63 a0 40"),
        hex("d83d d83d d0 83 43a1010a a0 40"),
    ];
    cases.push(good.iter().copied().chain([0]).collect());
    cases.push(good[..good.len() - 1].to_vec());
    for bytes in cases {
        for strictness in [Strictness::Strict, Strictness::Lax] {
            assert!(Cwt::decode(&bytes, strictness).is_err(), "{}", hex::encode(&bytes));
        }
    }
}

#[test]
fn the_aad_is_that_of_cose() {
    let cwt = Cwt::encrypt0(10, None, &[]);
    assert_eq!(hex::encode(cwt.encrypt0_aad()), "8368456e637279707430".to_owned() + "43a1010a" + "40");
}

#[test]
fn dates_may_be_floats_and_those_before_1970_are_1970() {
    assert_eq!(Claims::decode(&hex("a104fb41d4451740000000")).unwrap().exp, Some(1_360_289_024));
    assert_eq!(Claims::decode(&hex("a104f93c00")).unwrap().exp, Some(1));
    for early in ["a10420", "a104f9bc00", "a104f9fc00"] {
        assert_eq!(Claims::decode(&hex(early)).unwrap().exp, Some(0), "{early}");
    }
    for bad in ["a104f97e00", "a104f97c00", "a1046131", "a104c11a51145dc8"] {
        assert!(Claims::decode(&hex(bad)).is_err(), "{bad}");
    }
}

#[test]
fn all_claims_come_back() {
    let claims = Claims {
        iss: Some("as1".into()),
        sub: Some("lamp".into()),
        aud: vec!["kdc1".into(), "kdc2".into()],
        exp: Some(2),
        nbf: Some(1),
        iat: Some(1),
        cti: Some(vec![7]),
        cnf: Some(Confirmation::Kid(vec![1])),
        scope: Some(ScopeValue::Bytes(vec![0x80])),
        ace_profile: Some(2),
        cnonce: Some(vec![8]),
        exi: Some(60),
        extra: vec![(Label::Int(300), RawCbor::uint(1)), (Label::Text("x".into()), RawCbor::uint(2))],
    };
    assert_eq!(Claims::decode(&claims.encode()), Ok(claims));
    assert_eq!(Claims::decode(&hex("a0")), Ok(Claims::default()));
}

#[test]
fn a_token_with_its_algorithm_in_the_unprotected_header_comes_back_with_it() {
    // CWT in COSE_Encrypt0: protected { 33: h'01' }, unprotected { 1: 10, 4: 'k' }.
    let bytes = hex::decode("d83dd08345a118214101a2010a04416b4140").unwrap();
    let cwt = Cwt::decode(&bytes, Strictness::Lax).unwrap();
    assert_eq!((cwt.alg, cwt.kid.as_deref()), (10, Some(&b"k"[..])));
    assert_eq!(cwt.encode(), bytes);
    assert!(Cwt::decode(&bytes, Strictness::Strict).is_err());
}
