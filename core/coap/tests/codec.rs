//! The codec against vectors, another implementation, and arbitrary bytes.

use ace_coap::{Code, DecodeError, Message, Options, Token, Type, numbers::option, peek};
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn reads_and_writes_the_request_of_rfc8613_c4() {
    let bytes = hex("44015d1f00003974396c6f63616c686f737483747631");
    let message = Message::decode(&bytes).unwrap();
    assert_eq!((message.kind, message.code, message.id), (Type::Confirmable, Code::GET, 0x5d1f));
    assert_eq!(message.token, Token::new(&hex("00003974")));
    assert_eq!(message.options.first(option::URI_HOST), Some(&b"localhost"[..]));
    assert_eq!(message.options.uri_path().unwrap(), ["tv1"]);
    assert_eq!(message.encode(), bytes);
}

#[test]
fn reads_and_writes_the_response_of_rfc8613_c7() {
    let bytes = hex("64455d1f00003974ff48656c6c6f20576f726c6421");
    let message = Message::decode(&bytes).unwrap();
    assert_eq!((message.kind, message.code), (Type::Acknowledgement, Code::CONTENT));
    assert_eq!(message.payload, b"Hello World!");
    assert_eq!(message.encode(), bytes);
}

#[test]
fn malformed_messages_are_told_apart() {
    let cases: &[(&str, DecodeError)] = &[
        ("", DecodeError::Truncated),
        ("4001", DecodeError::Truncated),
        ("00010001", DecodeError::Version),
        ("80010001", DecodeError::Version),
        ("c0010001", DecodeError::Version),
        ("4f010001", DecodeError::TokenLength),
        ("4401000101", DecodeError::Truncated),
        ("4d010001ff", DecodeError::Truncated),
        ("40010001f0", DecodeError::OptionHeader),
        ("400100010f", DecodeError::OptionHeader),
        ("40010001e0ffff", DecodeError::OptionHeader),
        ("4001000103", DecodeError::Truncated),
        ("40010001ff", DecodeError::EmptyPayload),
        ("4000000100", DecodeError::NotEmpty),
        ("4100000100", DecodeError::NotEmpty),
        ("40200001", DecodeError::ReservedCode),
        ("40e10001", DecodeError::ReservedCode),
    ];
    for (bytes, error) in cases {
        assert_eq!(Message::decode(&hex(bytes)), Err(*error), "{bytes}");
        assert_eq!(error.is_format_error(), *error != DecodeError::Version);
    }
}

#[test]
fn a_flood_of_options_is_refused() {
    let mut bytes = hex("40010001");
    bytes.extend(std::iter::repeat_n(0, ace_coap::MAX_OPTIONS));
    assert_eq!(Message::decode(&bytes).unwrap().options.len(), ace_coap::MAX_OPTIONS);
    bytes.push(0);
    assert_eq!(Message::decode(&bytes), Err(DecodeError::TooManyOptions));
}

#[test]
fn extended_tokens_and_long_options_survive() {
    for length in [0, 8, 12, 13, 14, 64] {
        let mut message = Message::new(Type::NonConfirmable, Code::POST, 7, Token::new(&vec![0xa5; length]));
        for (number, size) in [(5, 12), (17, 13), (18, 268), (286, 269), (60_000, 300), (65_535, 0)] {
            message.options.push(number, &vec![1; size]);
        }
        message.payload = vec![0xff];
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn peeks_at_a_broken_datagram() {
    assert_eq!(peek(&hex("40011234ff")), Some((Type::Confirmable, 0x1234)));
    assert_eq!(peek(&hex("50011234")), Some((Type::NonConfirmable, 0x1234)));
    assert_eq!(peek(&hex("00011234")), None);
    assert_eq!(peek(&hex("400112")), None);
}

#[test]
fn requests_and_responses_are_built() {
    let message = Message::request(Code::POST).with_path(["a", "b"]).with_payload(261, vec![0xa0]);
    assert_eq!(message.options.uri_path().unwrap(), ["a", "b"]);
    assert_eq!(message.options.content_format(), Some(261));
    assert_eq!(Message::response(Code::CONTENT).kind, Type::Acknowledgement);
    assert_eq!(Message::empty(Type::Reset, 5).encode(), hex("70000005"));
}

fn message() -> impl Strategy<Value = Message> {
    let code = prop_oneof![1_u8..=31, 0x40_u8..=0x5f, 0x80_u8..=0xbf];
    let options = prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)), 0..12);
    let kind = prop_oneof![Just(Type::Confirmable), Just(Type::NonConfirmable), Just(Type::Acknowledgement)];
    let token = prop::collection::vec(any::<u8>(), 0..=64);
    let payload = prop::collection::vec(any::<u8>(), 0..64);
    (kind, code, any::<u16>(), token, options, payload).prop_map(|(kind, code, id, token, options, payload)| {
        let mut message = Message::new(kind, Code(code), id, Token::new(&token));
        message.options = options.iter().map(|(n, v)| (*n, v.as_slice())).collect::<Options>();
        message.payload = payload;
        message
    })
}

proptest! {
    #[test]
    fn any_message_comes_back(message in message()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn any_bytes_decode_or_fail_and_what_decodes_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn another_implementation_reads_what_we_write(message in message()) {
        let mut message = message;
        message.token = Token::new(message.token.as_bytes().get(..8).unwrap_or_default());
        let bytes = message.encode();
        let other = coap_lite::Packet::from_bytes(&bytes).unwrap();
        prop_assert_eq!(other.header.message_id, message.id);
        prop_assert_eq!(other.get_token(), message.token.as_bytes());
        prop_assert_eq!(&other.payload, &message.payload);
        let theirs: Vec<(u16, Vec<u8>)> =
            other.options().flat_map(|(n, values)| values.iter().map(move |v| (*n, v.clone()))).collect();
        let ours: Vec<(u16, Vec<u8>)> = message.options.iter().map(|(n, v)| (n, v.to_vec())).collect();
        prop_assert_eq!(theirs, ours);
    }
}
