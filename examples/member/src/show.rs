//! Messages for people: CBOR diagnostic notation, with secrets left out unless they are asked for.

use ace_coap::Message;
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR, PROBLEM_DETAILS_CBOR};
use ace_groupcomm_messages::labels::{cnf, groupcomm, oauth, osc};
use ciborium::Value;

/// One exchange, to be shown.
#[derive(Clone, Debug)]
pub struct Event {
    /// Who asked.
    pub from: String,
    /// Whom.
    pub to: &'static str,
    /// Whether the exchange was protected.
    pub protected: bool,
    /// Method and path.
    pub request: String,
    /// What was sent, in diagnostic notation.
    pub sent: String,
    /// The code of the answer.
    pub code: String,
    /// What came, in diagnostic notation.
    pub received: String,
}

/// Bytes in hexadecimal.
#[must_use]
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An item in diagnostic notation.
#[must_use]
pub fn diagnostic(bytes: &[u8]) -> String {
    match cbor_diag::parse_bytes(bytes) {
        Ok(item) => item.to_diag(),
        Err(_) => format!("h'{}'", hex(bytes)),
    }
}

/// The paths of labels under which secrets stand, in whatever message: who sends it chooses its format.
const SECRETS: [&[i64]; 6] = [
    &[oauth::ACCESS_TOKEN],
    &[oauth::CNF, cnf::OSC, osc::MS],
    &[oauth::CNF, cnf::OSC, osc::SALT],
    &[groupcomm::KEY, osc::MS],
    &[groupcomm::KEY, osc::SALT],
    &[groupcomm::MGT_KEY_MATERIAL],
];

/// Puts a word in the place of the value under a path of labels.
fn hide(value: &mut Value, path: &[i64]) {
    let Value::Map(entries) = value else { return };
    let Some((first, rest)) = path.split_first() else { return };
    for (key, value) in entries {
        if key.as_integer().is_some_and(|key| i64::try_from(key) == Ok(*first)) {
            if rest.is_empty() {
                // Whatever is no string of bytes is no secret in any message.
                let Some(length) = value.as_bytes().map(Vec::len) else { continue };
                *value = Value::Text(format!("hidden, {length} bytes"));
            } else {
                hide(value, rest);
            }
        }
    }
}

/// The payload of a message, in diagnostic notation.
#[must_use]
pub fn payload(message: &Message, show_secrets: bool) -> String {
    let format = message.options.uint(ace_coap::numbers::option::CONTENT_FORMAT);
    if message.payload.is_empty() {
        return String::new();
    }
    let is_cbor = format.is_none()
        || [ACE_CBOR, ACE_GROUPCOMM_CBOR, PROBLEM_DETAILS_CBOR, 60].iter().any(|f| format == Some(u32::from(*f)));
    if !is_cbor {
        return String::from_utf8_lossy(&message.payload).into_owned();
    }
    let Ok(mut value) = ciborium::from_reader::<Value, _>(message.payload.as_slice()) else {
        // Nested too deep, or no CBOR at all: nothing that reads it without bounds may see it.
        return if show_secrets {
            format!("h'{}'", hex(&message.payload))
        } else {
            format!("{} bytes that are no CBOR", message.payload.len())
        };
    };
    let has_secrets = format != Some(u32::from(PROBLEM_DETAILS_CBOR));
    if !show_secrets && has_secrets {
        for path in SECRETS {
            hide(&mut value, path);
        }
    }
    let mut bytes = Vec::new();
    let _ = ciborium::into_writer(&value, &mut bytes);
    diagnostic(&bytes)
}

/// Method and path of a request.
#[must_use]
pub fn request_line(message: &Message) -> String {
    let path = message.options.uri_path().unwrap_or_default().join("/");
    format!("{} /{path}", message.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_coap::Code;

    // Covers: TH-9-01
    #[test]
    fn secrets_are_hidden_unless_asked_for() {
        let secret = [0x5e; 16];
        let mut osc_map = vec![0xa1, 0x08, 0xa1, 0x04, 0xa2, 0x00, 0x41, 0x01, 0x02, 0x50];
        osc_map.extend(secret);
        let mut key = vec![0xa1, 0x08, 0xa1, 0x02, 0x50];
        key.extend(secret);
        for (format, payload_bytes) in [(ACE_CBOR, osc_map), (ACE_GROUPCOMM_CBOR, key)] {
            let message = Message::response(Code::CREATED).with_payload(format, payload_bytes);
            let hidden = payload(&message, false);
            assert!(hidden.contains("hidden, 16 bytes") && !hidden.contains("5e5e"), "{hidden}");
            assert!(payload(&message, true).contains("5e5e"));
        }
        // Without a format, with another one, and where it is cut.
        let mut key = vec![0xa1, 0x08, 0xa1, 0x02, 0x50];
        key.extend(secret);
        let bare = Message { payload: key.clone(), ..Message::response(Code::CONTENT) };
        let other = Message::response(Code::CONTENT).with_payload(60, key.clone());
        let cut = Message::response(Code::CONTENT).with_payload(ACE_GROUPCOMM_CBOR, key[..20].to_vec());
        for message in [bare, other, cut] {
            assert!(!payload(&message, false).contains("5e5e"), "{message:?}");
            assert!(payload(&message, true).contains("5e5e"));
        }
        let token = Message::response(Code::CREATED).with_payload(ACE_CBOR, vec![0xa1, 0x01, 0x42, 0xab, 0xcd]);
        assert!(!payload(&token, false).contains("abcd"));
        assert_eq!(payload(&Message::response(Code::CREATED), false), "");
        let text = Message::response(Code::CONTENT).with_payload(40, b"</x>".to_vec());
        assert_eq!(payload(&text, false), "</x>");
        assert_eq!(diagnostic(&[0xff]), "h'ff'");
        assert_eq!(request_line(&Message::request(Code::POST).with_path(["a", "b"])), "POST /a/b");
    }
}
