//! Reading and writing CBOR: what is taken, what is refused.

use super::*;
use alloc::vec;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn decode(text: &str) -> Result<(), DecodeError> {
    Item::decode(&hex(&text.replace(' ', ""))).map(|_| ())
}

#[test]
fn one_item_and_nothing_else() {
    for cut in ["", "42aa", "18", "81", "a1", "a101", "c1", "5f", "5f41aa", "9f", "9f01", "bf01"] {
        assert_eq!(decode(cut), Err(DecodeError::Malformed), "{cut}");
    }
    for behind in ["0000", "a2010018020000", "9fff00", "f600"] {
        assert_eq!(decode(behind), Err(DecodeError::TrailingBytes), "{behind}");
    }
}

#[test]
fn a_map_has_each_key_once() {
    for twice in [
        "a201000100",
        "a20100180100",
        "81a201000100",
        "c1a201000100",
        "a101a201000100",
        "a1a20100010000",
        "a3010002000100",
        "bf01000100ff",
        // The same key in other forms: shorter heads, pieces, no length.
        "a261610078016100",
        "a2416100 5f416140ff 00",
        "a281010 0 9f01ff 00",
        "a2a10102 00 bf0102ff 00",
        "a2f93c0000 fb3ff000000000000000",
        "a2c14101 00 c1580101 00",
    ] {
        assert_eq!(decode(twice), Err(DecodeError::DuplicateKey), "{twice}");
    }
    for once in [
        "a201000200",
        "a2010020 00",
        "a241610061 6100",
        "a2814100 00 81 40 00",
        "a2 8101 00 01 00",
        "a2 c101 00 c201 00",
        "a2 f93c00 00 01 00",
        "a2 a10102 00 a10103 00",
        "a2 a1010 2 00 82 01 02 00",
        "82a10100a10100",
        "a2 01 a10300 02 a10300",
        "bf 01 00 02 00 ff",
    ] {
        assert_eq!(decode(once), Ok(()), "{once}");
    }
    let mut wide = hex("b90200");
    (0..512_u16).for_each(|n| wide.extend([0x19, (n >> 8) as u8, n as u8, 0]));
    assert!(Item::decode(&wide).is_ok());
    let (last, before) = (wide.len() - 2, wide.len() - 3);
    (wide[before], wide[last]) = (1, 0xfe);
    assert_eq!(Item::decode(&wide), Err(DecodeError::DuplicateKey));
}

#[test]
fn what_is_not_well_formed_is_refused() {
    for bytes in [
        // Reserved heads, breaks where there is nothing to end, lengths that may not be missing.
        "1c",
        "3d",
        "5e",
        "7c",
        "9d",
        "be",
        "dc",
        "fc",
        "1f",
        "3f",
        "df",
        "ff",
        "81ff",
        "a101ff",
        "c1ff",
        "bf01ff",
        // Simple values in two bytes that have one, strings in pieces of another kind or without length.
        "f800",
        "f818",
        "f81f",
        "5f6161ff",
        "7f4161ff",
        "5f5f4161ffff",
        "5f01ff",
        "7fa0ff",
        // Text that is not UTF-8, whole, and cut within a letter.
        "61ff",
        "62c328",
        "7f61c361a9ff",
    ] {
        assert_eq!(decode(bytes), Err(DecodeError::Malformed), "{bytes}");
    }
    for bytes in
        ["f820", "f8ff", "f7", "e0", "f3", "f97e00", "5fff", "7fff", "7f62c3a960ff", "9fff", "bfff", "9f9f01ffff"]
    {
        assert_eq!(decode(bytes), Ok(()), "{bytes}");
    }
}

#[test]
fn hostile_sizes_cost_nothing() {
    for bytes in ["9bffffffffffffffff", "bbffffffffffffffff", "5bffffffffffffffff00", "7b7fffffffffffffff00"] {
        assert_eq!(decode(bytes), Err(DecodeError::Malformed), "{bytes}");
    }
    for opening in [&[0x81][..], &[0x9f], &[0xc1], &[0xa1], &[0xa1, 0x01], &[0xbf, 0x01], &[0xa2, 0x01, 0x00, 0x02]] {
        let deep = opening.repeat(100_000);
        assert_eq!(Item::decode(&deep), Err(DecodeError::Malformed), "{opening:?}");
    }
    let mut deep = vec![0x81; 100_000];
    deep.push(0);
    assert!(Item::decode(&deep).is_ok(), "only the length bounds the depth");
    // Maps as keys of maps.
    let mut keys = vec![0xa1; 10_000];
    keys.extend([0; 10_001]);
    assert!(Item::decode(&keys).is_ok());
}

#[test]
fn parts_of_an_item_are_found_whatever_stands_in_them() {
    let item = hex("9f a2 01 9f 02 ff 61 61 5f 41 01 41 02 ff c1 82 03 80 f7 bf ff 04 ff".replace(' ', "").as_str());
    let parts: Vec<_> =
        Item::decode(&item).unwrap().array().unwrap().map(|part| hex::encode(part.as_bytes())).collect();
    assert_eq!(parts, ["a2019f02ff61615f41014102ff", "c1820380", "f7", "bfff", "04"]);
    let item = hex("a2019f02ff61615f41014102ff");
    let parts: Vec<_> = Item::decode(&item).unwrap().map().unwrap().map(|part| hex::encode(part.as_bytes())).collect();
    assert_eq!(parts, ["01", "9f02ff", "6161", "5f41014102ff"]);
    let pieces = hex("5f41014102ff");
    assert_eq!(Item::decode(&pieces).unwrap().byte_string(), Some(vec![1, 2]));
    let pieces = hex("7f6161626263ff");
    assert_eq!(Item::decode(&pieces).unwrap().text().as_deref(), Some("abc"));
}

#[test]
fn a_value_is_of_one_type() {
    let of = |text: &str| {
        let bytes = hex(text);
        let item = Item::decode(&bytes).unwrap();
        (item.integer(), item.float(), item.boolean(), item.is_null())
    };
    assert_eq!(of("1bffffffffffffffff").0, Some(i128::from(u64::MAX)));
    assert_eq!(of("3bffffffffffffffff").0, Some(-i128::from(u64::MAX) - 1));
    assert_eq!(of("20"), (Some(-1), None, None, false));
    assert_eq!(of("f93c00"), (None, Some(1.0), None, false));
    assert_eq!((of("f4").2, of("f5").2, of("f6").2, of("f7").2), (Some(false), Some(true), None, None));
    assert_eq!((of("f4").3, of("f6").3, of("f7").3, of("00").3), (false, true, false, false));
    for (text, string, bytes) in [("6161", Some("a"), None), ("4161", None, Some(&b"a"[..])), ("c16161", None, None)] {
        let encoded = hex(text);
        let item = Item::decode(&encoded).unwrap();
        assert_eq!((item.text().as_deref(), item.byte_string().as_deref()), (string, bytes), "{text}");
    }
}

#[test]
fn the_shortest_form_is_ours() {
    for (text, expected) in [
        ("1817", false),
        ("1818", true),
        ("8101", true),
        ("9f01ff", false),
        ("bf0102ff", false),
        ("a10102", true),
        ("5f4101ff", false),
        ("7f6161ff", false),
        ("580101", false),
        ("d83d d0 83 40 a0 4101", true),
        ("d9003d00", false),
        ("82 420102 1817", false),
        ("fb3ff0000000000000", false),
        ("f93c00", true),
        ("fb3ff199999999999a", true),
    ] {
        let bytes = hex(&text.replace(' ', ""));
        assert_eq!(Item::decode(&bytes).unwrap().is_shortest_form(), expected, "{text}");
    }
}

#[test]
fn labels_are_ints_or_texts() {
    let bytes = hex("a4010220036161040507");
    let mut map = MapReader::decode(&bytes).unwrap();
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
    assert_eq!(RawCbor::bytes(&[1]).to_byte_string(), Some(vec![1]));
    assert_eq!(RawCbor::uint(1).to_byte_string(), None);
    let items = [RawCbor::uint(1), RawCbor::text("a")];
    assert_eq!(RawCbor::array(&items).to_array().as_deref(), Some(&items[..]));
    assert_eq!(RawCbor::uint(1).to_array(), None);
}

#[test]
fn what_only_looks_like_the_right_type_is_refused() {
    for bytes in ["a101c24106", "a101c34106", "a101f7", "a101f6", "a101f4", "a101f93c00", "a1014106"] {
        let bytes = hex(bytes);
        let mut map = MapReader::decode(&bytes).unwrap();
        assert_eq!(map.required(1, "one", uint("one")), Err(DecodeError::Type("one")), "{}", hex::encode(&bytes));
    }
    let bytes = hex("a101f7");
    assert_eq!(MapReader::decode(&bytes).unwrap().optional(1, null("one")), Err(DecodeError::Type("one")));
}

#[test]
fn the_value_of_an_unknown_field_may_be_anything() {
    let deep = ["81".repeat(50), "00".into()].concat();
    for value in
        ["f7", "f0", "f863", "c24100", "c249010000000000000000", "9f01ff", "d9d9f780", "fb7ff8000000000000", &deep]
    {
        let bytes = hex(&["a2187b", value, "0105"].concat());
        let mut map = MapReader::decode(&bytes).unwrap();
        assert_eq!(map.required(1, "one", uint("one")), Ok(5), "{value}");
        let rest = map.rest();
        assert_eq!(
            rest.iter().map(|(label, item)| (label, item.as_bytes())).collect::<Vec<_>>(),
            [(&Label::Int(123), &hex(value)[..])]
        );
        let mut again = MapWriter::new();
        again.rest(&rest);
        assert_eq!(hex::encode(again.finish()), ["a1187b", value].concat());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4_000))]

    /// What a library reads that is not ours is an item here too, or has a key twice; and its parts are the same.
    #[test]
    fn what_others_read_is_read(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..40)) {
        let mut rest = &bytes[..];
        let Ok(value) = ciborium::from_reader::<ciborium::Value, _>(&mut rest) else { return Ok(()) };
        let bytes = &bytes[..bytes.len() - rest.len()];
        // It takes simple values in two bytes that have one, and letters in two pieces.
        if bytes.iter().any(|byte| [0xf8, 0x7f].contains(byte)) {
            return Ok(());
        }
        let item = match Item::decode(bytes) {
            Ok(item) => item,
            Err(error) => {
                proptest::prop_assert_eq!(error, DecodeError::DuplicateKey);
                return Ok(());
            }
        };
        if let Some(items) = value.as_array() {
            proptest::prop_assert_eq!(item.array().map(Iterator::count), Some(items.len()));
        }
        if let Some(entries) = value.as_map() {
            proptest::prop_assert_eq!(item.map().map(Iterator::count), Some(2 * entries.len()));
        }
        if let Some(content) = value.as_bytes().filter(|_| bytes[0] >> 5 == 2) {
            proptest::prop_assert_eq!(item.byte_string(), Some(content.clone()));
        }
        proptest::prop_assert_eq!(item.text(), value.as_text().map(String::from));
        let mut shortest = Vec::new();
        ciborium::into_writer(&value, &mut shortest).unwrap();
        if item.is_shortest_form() && !bytes.contains(&0xf7) && !bytes.iter().any(|byte| [0xc2, 0xc3].contains(byte)) {
            proptest::prop_assert_eq!(&shortest, bytes);
        }
    }
}

#[test]
fn items_of_ones_own_are_made_and_looked_into() {
    let mut entries = vec![(Label::Int(1), RawCbor::int(-7)), (Label::Text("n".into()), RawCbor::text("lamp"))];
    let map = RawCbor::map(&entries).unwrap();
    assert_eq!(hex::encode(map.as_bytes()), "a20126616e646c616d70");
    entries.push((Label::Int(1), RawCbor::uint(9)));
    assert_eq!(RawCbor::map(&entries), None, "a label stands once");
    let entries = map.to_map().unwrap();
    assert_eq!((entries[0].1.as_int(), entries[0].1.as_uint(), entries[0].1.to_text()), (Some(-7), None, None));
    assert_eq!((entries[1].1.to_text(), entries[1].1.to_map()), (Some("lamp".into()), None));
    assert_eq!(RawCbor::uint(u64::MAX).as_int(), None);
}
