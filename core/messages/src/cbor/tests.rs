//! Reading and writing CBOR: what is taken, what is refused.

use super::*;
use alloc::vec;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

#[test]
fn one_item_and_nothing_else() {
    assert_eq!(parse(&hex("")), Err(DecodeError::Malformed));
    assert_eq!(parse(&hex("42aa")), Err(DecodeError::Malformed));
    assert_eq!(parse(&hex("0000")), Err(DecodeError::TrailingBytes));
    assert_eq!(parse(&hex("a201000100")), Err(DecodeError::DuplicateKey));
    assert_eq!(parse(&hex("a2010018010000")), Err(DecodeError::TrailingBytes));
    assert_eq!(parse(&hex("a20100180100")), Err(DecodeError::DuplicateKey), "in another form");
    assert_eq!(parse(&hex("81a201000100")), Err(DecodeError::DuplicateKey), "nested");
    assert_eq!(parse(&hex("c1a201000100")), Err(DecodeError::DuplicateKey), "tagged");
    assert!(parse(&hex("a201000200")).is_ok());
}

#[test]
fn hostile_sizes_cost_nothing() {
    for bytes in ["9bffffffffffffffff", "bbffffffffffffffff", "5bffffffffffffffff00", "7b7fffffffffffffff00"] {
        assert_eq!(parse(&hex(bytes)), Err(DecodeError::Malformed), "{bytes}");
    }
    let mut deep = vec![0x81; 100_000];
    deep.push(0);
    assert_eq!(parse(&deep), Err(DecodeError::Malformed));
    let mut nested = vec![0x81; MAX_DEPTH - 1];
    nested.push(0);
    assert!(parse(&nested).is_ok());
    let mut wide = hex("b90081");
    (0..=128_u8).for_each(|n| wide.extend([0x18, n, 0]));
    assert_eq!(parse(&wide), Err(DecodeError::TooManyEntries));
}

#[test]
fn labels_are_ints_or_texts() {
    let mut map = MapReader::decode(&hex("a4010220036161040507")).unwrap();
    assert_eq!(map.required(1, "one", uint("one")), Ok(2));
    assert_eq!(map.required(1, "one", uint("one")), Err(DecodeError::Missing("one")), "it was taken");
    assert_eq!(map.optional(-1, text("minus")), Err(DecodeError::Type("minus")));
    assert_eq!(map.optional(9, text("nine")), Ok(None));
    let rest = map.rest();
    assert_eq!(rest.iter().map(|(l, _)| l.clone()).collect::<Vec<_>>(), [Label::Text("a".into()), Label::Int(5)]);
}

#[test]
fn debug_of_a_raw_item_tells_its_length_alone() {
    assert_eq!(alloc::format!("{:?}", RawCbor::new(&hex("43616263")).unwrap()), "RawCbor(4 bytes)");
    assert_eq!(RawCbor::uint(300).as_bytes(), hex("19012c"));
    assert_eq!(RawCbor::uint(300).as_uint(), Some(300));
    assert_eq!(RawCbor::new(&hex("20")).unwrap().as_uint(), None);
    assert_eq!(RawCbor::bytes(&[1]).as_bytes_item(), Some(vec![1]));
    assert_eq!(RawCbor::uint(1).as_bytes_item(), None);
}

#[test]
fn what_only_looks_like_the_right_type_is_refused() {
    for (bytes, expected) in [
        ("c24106", Err(DecodeError::Type("integer"))),
        ("c34106", Err(DecodeError::Type("integer"))),
        ("a1c2410306", Err(DecodeError::Type("integer"))),
        ("82626731c24106", Err(DecodeError::Type("integer"))),
        ("f7", Err(DecodeError::Type("null"))),
        ("81f7", Err(DecodeError::Type("null"))),
        // The same bytes within strings, whole or in pieces, are just bytes.
        ("43c241f7", Ok(())),
        ("5f41c241f7ff", Ok(())),
        ("d83d f6", Ok(())),
        ("a1 01 f6", Ok(())),
    ] {
        let bytes = hex::decode(bytes.replace(' ', "")).unwrap();
        assert_eq!(RawCbor::new(&bytes).map(|_| ()), expected, "{}", hex::encode(bytes));
    }
}
