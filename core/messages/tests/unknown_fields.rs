//! A field that a message does not know is ignored, whatever its value is (RFC 9594 section 4.1.2, RFC 8392 section 3).

use ace_groupcomm_messages::{
    Claims, CoseKey, CreationHints, CredUpdate, CredsResponse, GetCreds, GroupNamesRequest, GroupNamesResponse,
    JoinRefusal, JoinRequest, JoinResponse, KdcCred, KdcCredRequest, KeyDistribution, ProblemDetails, RekeyingMessage,
    TokenError, TokenRequest, TokenResponse, TokenTransferRequest, TokenTransferResponse, retrieval,
};

/// Values that are well-formed and that no message has: undefined, simple values, bignums, an item 60 deep.
fn values() -> Vec<Vec<u8>> {
    let deep = [vec![0x81; 60], vec![0]].concat();
    let simple =
        ["f7", "f0", "f863", "c24100", "c249010000000000000000", "fb7ff8000000000000", "9f5f4101ffff", "a1a0f7"];
    simple.iter().map(|text| hex::decode(text).unwrap()).chain([deep]).collect()
}

/// A map of at most 22 fields, with one more field at its end.
fn with_field(map: &[u8], value: &[u8]) -> Vec<u8> {
    let (head, rest) = map.split_first().unwrap();
    [&[head + 1], rest, &[0x19, 0x03, 0xe7], value].concat()
}

macro_rules! is_ignored {
    ($($message:ident $bytes:expr),* $(,)?) => {$({
        let bytes = hex::decode($bytes.replace(' ', "")).unwrap();
        let known = format!("{:?}", $message::decode(&bytes).unwrap());
        for value in values() {
            let read = $message::decode(&with_field(&bytes, &value));
            let read = read.unwrap_or_else(|error| panic!("{} with {}: {error}", stringify!($message), hex::encode(&value)));
            // What is kept of it is no part of what is known.
            let read = format!("{read:?}");
            let extra = format!("extra: [(Int(999), RawCbor({} bytes))]", value.len());
            assert_eq!(read.replace(&extra, "extra: []"), known, "{}", stringify!($message));
        }
    })*};
}

#[test]
fn a_field_that_a_message_does_not_know_is_ignored_whatever_its_value_is() {
    is_ignored!(
        Claims "a2 02 64 6c616d70 04 01",
        CoseKey "a2 01 04 20 41 05",
        CreationHints "a1 01 61 78",
        TokenRequest "a2 05 64 6b646331 09 49 8182656c616d707304",
        TokenResponse "a1 01 41 01",
        TokenError "a1 18 1e 01",
        TokenTransferRequest "a1 01 41 83",
        TokenTransferResponse "a1 18 2a 41 01",
        JoinRequest "a1 06 41 01",
        JoinResponse "a3 07 01 08 a0 09 00",
        JoinRefusal "a0",
        CredUpdate "a3 05 41 01 06 41 02 18 18 41 03",
        KdcCredRequest "a1 06 41 02",
        KeyDistribution "a3 07 01 08 a0 09 00",
        RekeyingMessage "a3 07 01 08 a0 09 00",
        KdcCred "a3 11 41 01 12 41 02 13 41 03",
        GroupNamesRequest "a1 00 81 41 01",
        GroupNamesResponse "a3 00 81 41 01 01 81 61 67 02 81 61 75",
        CredsResponse "a3 09 00 0d 80 0f 80",
        ProblemDetails "a1 00 a1 00 09",
    );
    for value in values() {
        let fetch = with_field(&hex::decode("a104f6").unwrap(), &value);
        assert_eq!(GetCreds::decode_request(&fetch), Ok(GetCreds::All), "{}", hex::encode(&value));
        // In a map within the message too: of the policies, of an error, of a key.
        let policies = [&[0xa1, 0x10][..], &with_field(&[0xa1, 0x01, 0x05], &value)].concat();
        assert_eq!(retrieval::decode_policies(&policies).unwrap().key_update_check_interval, Some(5));
        let error = [&[0xa1, 0x00][..], &with_field(&[0xa1, 0x00, 0x09], &value)].concat();
        assert_eq!(ProblemDetails::decode(&error).unwrap().error_id, Some(9));
        let claims =
            [&[0xa1, 0x08, 0xa1, 0x01][..], &with_field(&[0xa2, 0x01, 0x04, 0x20, 0x41, 0x05], &value)].concat();
        assert!(Claims::decode(&claims).unwrap().cnf.is_some());
    }
}

#[test]
fn a_key_twice_or_what_is_not_well_formed_is_refused_in_unknown_fields_too() {
    let request = hex::decode("a20564 6b646331 0949 8182656c616d707304".replace(' ', "")).unwrap();
    for value in ["a201000100", "f800", "ff", "1c", "61ff", "5f01ff", "81", "81a2f600f600"] {
        let value = hex::decode(value).unwrap();
        assert!(TokenRequest::decode(&with_field(&request, &value)).is_err(), "{}", hex::encode(&value));
    }
    let twice = with_field(&with_field(&request, &[0]), &[0]);
    assert!(TokenRequest::decode(&twice).is_err());
}

#[test]
fn the_value_of_a_known_field_is_of_its_type() {
    for value in values() {
        let request = [&[0xa1, 0x05][..], &value].concat();
        assert!(TokenRequest::decode(&request).is_err(), "{}", hex::encode(&value));
        let num = [&[0xa3, 0x07, 0x01, 0x08, 0xa0, 0x09][..], &value].concat();
        assert!(KeyDistribution::decode(&num).is_err(), "{}", hex::encode(&value));
    }
}
