use super::*;
use ace_groupcomm_messages::{RawCbor, Scope, ScopeEntry};

const SECRET: [u8; 16] = [0x5e; 16];
const PUBLIC: Style = Style { secrets: false, diagnostic: false, profile: None };
const ALL: Style = Style { secrets: true, diagnostic: false, profile: None };

fn path(text: &str) -> Vec<String> {
    text.split('/').map(Into::into).collect()
}

fn created(format: u16, payload: &[u8]) -> Message {
    Message::response(Code::CREATED).with_payload(format, payload.to_vec())
}

/// A map with one field.
fn field(label: i64, value: Value) -> Value {
    Value::Map(vec![(label.into(), value)])
}

fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

// Covers: TH-9-01/demo-output
#[test]
fn only_what_is_known_to_be_public_is_shown() {
    let secret = || Value::Bytes(SECRET.to_vec());
    let osc = || field(8, field(4, field(2, secret())));
    let key = || field(8, field(2, secret()));
    let maps = [
        osc(),
        key(),
        field(8, field(4, field(5, secret()))),
        // A symmetric key, one that belongs to the server, one that is encrypted, and what is not known.
        field(8, field(1, field(-1, secret()))),
        field(8, field(1, field(-4, secret()))),
        field(41, field(1, field(-1, secret()))),
        field(8, field(2, secret())),
        field(1, secret()),
        field(27, secret()),
        field(99, secret()),
        field(-70_000, Value::Array(vec![secret()])),
        // Where something else should stand.
        field(2, secret()),
        field(9, secret()),
        field(13, Value::Array(vec![key()])),
        field(38, osc()),
        Value::Map(vec![(secret(), 1.into()), (key(), 1.into())]),
        // Within something else.
        Value::Tag(61, Box::new(osc())),
        Value::Array(vec![osc()]),
        Value::Bytes(encode(&osc())),
        secret(),
    ];
    for value in maps {
        let bytes = encode(&value);
        for path in [path("token"), path("authz-info"), path("ace-group/lamps")] {
            for format in [0, 19, 40, 41, 42, 47, 50, 60, 61, 101, 112, 257, 261, 262, 65_000] {
                let message = created(format, &bytes);
                assert!(!payload(&path, &message, true, PUBLIC).contains("5e5e"), "{path:?} {format} {value:?}");
                assert!(payload(&path, &message, true, ALL).contains("5e5e"));
                let raw = Style { diagnostic: true, ..PUBLIC };
                assert!(!payload(&path, &message, true, raw).contains("5e5e"));
            }
            let bare = Message { payload: bytes.clone(), ..Message::response(Code::CREATED) };
            assert!(!payload(&path, &bare, true, PUBLIC).contains("5e5e"));
        }
    }
    let cut = created(ACE_CBOR, &encode(&osc())[..18]);
    assert!(payload(&path("token"), &cut, true, PUBLIC).contains("hidden, 18 bytes"));
}

#[test]
fn parameters_are_shown_by_name_and_as_numbers_where_that_is_wanted() {
    let entry = ScopeEntry { gname: "lamps".into(), permissions: RawCbor::uint(2) };
    let mut join = Message::request(Code::POST);
    let map = Value::Map(vec![(3.into(), Value::Bytes(entry.encode())), (4.into(), Value::Null)]);
    join.payload = encode(&map);
    join.options.push_uint(option::CONTENT_FORMAT, u32::from(ACE_GROUPCOMM_CBOR));
    let lamps = path("ace-group/lamps");
    assert_eq!(payload(&lamps, &join, false, PUBLIC), "{scope: [\"lamps\", requester], get_creds: null}");
    let raw = Style { diagnostic: true, ..PUBLIC };
    assert_eq!(payload(&lamps, &join, false, raw), "{3: h'82656c616d707302', 4: null}");
    let request = field(9, Value::Bytes(Scope::from(entry).encode()));
    let mut token = Message::request(Code::POST).with_payload(ACE_CBOR, encode(&request));
    assert_eq!(payload(&path("token"), &token, false, PUBLIC), "{scope: [[\"lamps\", requester]]}");
    token.payload = encode(&field(9, Value::Bytes(vec![0x82, 0x81, 0x01, 0x02])));
    assert_eq!(payload(&path("token"), &token, false, PUBLIC), "{scope: <hidden, 4 bytes>}");
    let response = created(ACE_CBOR, &encode(&field(2, 3_600.into())));
    assert_eq!(payload(&path("token"), &response, true, PUBLIC), "{expires_in: 3600}");
    assert_eq!(payload(&path("token"), &Message::response(Code::CREATED), true, PUBLIC), "");
    assert_eq!(request_line(&Message::request(Code::POST).with_path(["a", "b"])), "POST /a/b");
}

#[test]
fn a_refusal_is_shown_with_its_reason_and_no_control_character() {
    let refusal = |code, format, payload: Vec<u8>| Message::response(code).with_payload(format, payload);
    let error = encode(&field(31, Value::Text("no\u{1b}[2J\n\u{9b}\u{202e}".into())));
    let shown = payload(&path("token"), &refusal(Code::BAD_REQUEST, ACE_CBOR, error), true, PUBLIC);
    assert_eq!(shown, "{error_description: \"no\\u001b[2J\\n\\u009b\\u202e\"}");
    let hints = encode(&field(1, Value::Text("coap://as".into())));
    let unauthorized = refusal(Code::UNAUTHORIZED, ACE_CBOR, hints);
    assert_eq!(payload(&path("ace-group/lamps"), &unauthorized, true, PUBLIC), "{AS: \"coap://as\"}");
    let title = encode(&field(-1, Value::Text("gone".into())));
    let problem = refusal(Code::NOT_FOUND, PROBLEM_DETAILS_CBOR, title);
    assert_eq!(payload(&path("ace-group/lamps"), &problem, true, PUBLIC), "{title: \"gone\"}");
    let text = Message { payload: b"1\x1b".to_vec(), ..Message::response(Code::BAD_REQUEST) };
    assert_eq!(payload(&path("token"), &text, true, PUBLIC), "\"1\\u001b\"");
}

#[test]
fn values_are_shown_in_diagnostic_notation() {
    let items = [
        (Value::Float(1.5), "1.5"),
        (Value::Tag(1, Box::new(Value::Bool(true))), "1(true)"),
        (Value::Array(vec![Value::Null, (-1).into()]), "[null, -1]"),
        (field(1, Value::Text("a\"b\\c".into())), "{1: \"a\\\"b\\\\c\"}"),
    ];
    for (value, text) in items {
        assert_eq!(notation(&value), text);
    }
}
