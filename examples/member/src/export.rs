//! What a member got, for people and for other stacks.

use crate::ProgramError;
use crate::config::MemberSettings;
use crate::show::hex;
use ace_groupcomm::Roles;
use ace_groupcomm::member::{JoinedGroup, Peer, VerificationData};
use ace_groupcomm::traits::member::{KeyPart, VerificationParts};
use ace_groupcomm_messages::RawCbor;
use serde_json::{Map, Value, json};

/// What the member holds of a group: what is the same for all profiles, and the parts of the keying material
/// ([`MemberRules::key_parts`]). With `secret` it is all that another stack needs: that stack has the identifier then, and
/// begins at `first_sequence`.
///
/// [`MemberRules::key_parts`]: ace_groupcomm::traits::member::MemberRules::key_parts
///
/// # Errors
/// [`ProgramError`] where the state cannot be read.
pub fn group(settings: &MemberSettings, group: &JoinedGroup, secret: bool) -> Result<Value, ProgramError> {
    let mut fields = parts(settings.rules()?.key_parts(&RawCbor::new(&group.key.0)?)?, secret);
    let common = [
        ("name", json!(settings.config.name)),
        ("group", json!(settings.config.group.name)),
        ("num", json!(group.num)),
        ("expires", json!(group.expires)),
        ("node", json!(group.node)),
        ("kdc_cred", json!(hex(&group.kdc_cred.0))),
        ("peers", peers(settings, &group.peers)),
    ];
    fields.extend(common.map(|(name, value)| (name.into(), value)));
    if secret {
        fields.insert("first_sequence".into(), json!(0));
    }
    Ok(Value::Object(fields))
}

fn peers(settings: &MemberSettings, peers: &[Peer]) -> Value {
    let profile = settings.profile.profile;
    let shown = |peer: &Peer| {
        json!({
            "sender_id": hex(&peer.id.0),
            "roles": profile.role_names(Roles(peer.roles)).join("+"),
            "cred": hex(&peer.cred.0),
        })
    };
    peers.iter().map(shown).collect()
}

fn parts(parts: Vec<(&'static str, KeyPart)>, secret: bool) -> Map<String, Value> {
    let shown = |part| match part {
        KeyPart::Int(number) => Some(json!(number)),
        KeyPart::Text(text) => Some(json!(text)),
        KeyPart::Bytes(bytes) => Some(json!(hex(&bytes))),
        KeyPart::Secret(key) => secret.then(|| json!(hex(key.expose()))),
        _ => Some(Value::Null),
    };
    parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), shown(part)?))).collect()
}

/// What verifies signatures of a group that the client is no member of ([`MemberRules::verification_parts`]), secrets included.
///
/// [`MemberRules::verification_parts`]: ace_groupcomm::traits::member::MemberRules::verification_parts
///
/// # Errors
/// [`ProgramError`] where the answer cannot be read.
pub fn verification(settings: &MemberSettings, data: &VerificationData) -> Result<Value, ProgramError> {
    let VerificationParts { num, parts: of_profile } = settings.rules()?.verification_parts(&data.answer.0)?;
    let mut fields = parts(of_profile, true);
    let common = [
        ("name", json!(settings.config.name)),
        ("group", json!(settings.config.group.name)),
        ("num", json!(num)),
        ("kdc_cred", json!(hex(&data.kdc_cred.0))),
        ("peers", peers(settings, &data.peers)),
    ];
    fields.extend(common.map(|(name, value)| (name.into(), value)));
    Ok(Value::Object(fields))
}

/// Fields whose text is hexadecimal.
const BYTES: [&str; 8] = ["gid", "sender_id", "kdc_cred", "cred", "key_digest", "ms", "salt", "sign_enc_key"];

/// The same in CBOR diagnostic notation, a field a line.
#[must_use]
pub fn diagnostic(value: &Value) -> String {
    let mut out = String::new();
    write_diagnostic(value, "", 0, &mut out);
    out.push('\n');
    out
}

fn write_diagnostic(value: &Value, name: &str, depth: usize, out: &mut String) {
    let inner = "  ".repeat(depth.saturating_add(1));
    let end = format!("\n{}", "  ".repeat(depth));
    match value {
        Value::String(text) if BYTES.contains(&name) => out.push_str(&format!("h'{text}'")),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "[\n" } else { ",\n" });
                out.push_str(&inner);
                write_diagnostic(item, name, depth.saturating_add(1), out);
            }
            out.push_str(&end);
            out.push(']');
        }
        Value::Object(fields) if fields.is_empty() => out.push_str("{}"),
        Value::Object(fields) => {
            for (at, (name, item)) in fields.iter().enumerate() {
                out.push_str(if at == 0 { "{\n" } else { ",\n" });
                out.push_str(&format!("{inner}{}: ", json!(name)));
                write_diagnostic(item, name, depth.saturating_add(1), out);
            }
            out.push_str(&end);
            out.push('}');
        }
        // Numbers, texts, true, false and null are written alike.
        other => out.push_str(&other.to_string()),
    }
}

/// Text of several lines without the control characters of peers.
#[must_use]
pub fn printable(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => format!("{}\n", ace_backend_daemon::escaped(line)),
            None => ace_backend_daemon::escaped(line),
        })
        .collect()
}

/// The same as lines for people.
#[must_use]
pub fn lines(value: &Value) -> String {
    let Some(fields) = value.as_object() else { return value.to_string() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let mut out = String::new();
    for (name, value) in fields {
        match value.as_array() {
            Some(items) => {
                out.push_str(&format!("{name}:\n"));
                for item in items {
                    let fields = item.as_object().into_iter().flatten();
                    let fields: Vec<String> = fields.map(|(name, value)| format!("{name} {}", text(value))).collect();
                    out.push_str(&format!("  {}\n", fields.join(", ")));
                }
            }
            None => out.push_str(&format!("{name}: {}\n", text(value))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnostic_notation_is_that_of_cbor() {
        let value = json!({
            "name": "lamp \"1\"",
            "gid": "0a0b",
            "num": -1,
            "alg": null,
            "peers": [{ "sender_id": "01", "roles": "responder" }, { "sender_id": "" }],
            "none": [],
        });
        let text = diagnostic(&value);
        let item = cbor_diag::parse_diag(&text).unwrap();
        let bytes = item.to_bytes();
        let read: ciborium::Value = ciborium::from_reader(bytes.as_slice()).unwrap();
        let map = read.into_map().unwrap();
        let field =
            |name: &str| map.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value.clone());
        assert_eq!(field("gid"), Some(ciborium::Value::Bytes(vec![10, 11])));
        assert_eq!(field("name"), Some(ciborium::Value::Text("lamp \"1\"".into())));
        assert_eq!((field("num"), field("alg")), (Some((-1).into()), Some(ciborium::Value::Null)));
        assert_eq!(field("peers").and_then(|peers| peers.into_array().ok()).map(|peers| peers.len()), Some(2));
        assert_eq!(field("none"), Some(ciborium::Value::Array(vec![])));
    }
}
