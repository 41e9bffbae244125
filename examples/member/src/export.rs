//! What a member got, for people and for other stacks.

use crate::ProgramError;
use crate::config::MemberSettings;
use crate::show::hex;
use ace_groupcomm::member::JoinedGroup;
use ace_groupcomm_messages::{GroupOscoreInputMaterial, Label, RawCbor};
use ace_profile_group_oscore::scope;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The SHA-256 of ms, salt and Gid, as a CBOR array of byte strings: equal keys have equal digests, and nobody
/// learns the key from it.
#[must_use]
pub fn key_digest(material: &GroupOscoreInputMaterial) -> String {
    let parts = [&material.ms[..], material.salt.as_deref().unwrap_or_default(), &material.context_id];
    let array = RawCbor::array(&parts.map(RawCbor::bytes));
    hex(&Sha256::digest(array.as_bytes()))
}

/// The keying material of a group.
///
/// # Errors
/// [`ProgramError::Decode`] where the state cannot be read.
pub fn material(group: &JoinedGroup) -> Result<GroupOscoreInputMaterial, ProgramError> {
    Ok(GroupOscoreInputMaterial::decode(&RawCbor::new(&group.key.0)?)?)
}

fn label(label: Option<&Label>) -> Value {
    match label {
        None => Value::Null,
        Some(Label::Int(int)) => json!(int),
        Some(Label::Text(text)) => json!(text),
    }
}

/// What the member holds of a group. With `secret` it is all that another Group OSCORE stack needs: that stack has
/// the Sender ID then, and begins at `first_sequence`.
///
/// # Errors
/// [`ProgramError::Decode`] where the state cannot be read.
pub fn group(settings: &MemberSettings, group: &JoinedGroup, secret: bool) -> Result<Value, ProgramError> {
    let material = material(group)?;
    let peers: Vec<Value> = group
        .peers
        .iter()
        .map(|peer| {
            json!({
                "sender_id": hex(&peer.id.0),
                "roles": scope::names(ace_groupcomm::Roles(peer.roles)),
                "cred": hex(&peer.cred.0),
            })
        })
        .collect();
    let mut value = json!({
        "name": settings.config.name,
        "group": settings.config.group.name,
        "gid": hex(&material.context_id),
        "sender_id": material.group_sender_id.as_deref().map(hex),
        "num": group.num,
        "expires": group.expires,
        "node": group.node,
        "hkdf": material.hkdf.as_ref().map_or(json!(5), |hkdf| label(Some(hkdf))),
        "cred_fmt": material.cred_fmt,
        "gp_enc_alg": label(material.gp_enc_alg.as_ref()),
        "sign_alg": label(material.sign.as_ref().map(|sign| &sign.algorithm)),
        "alg": label(material.alg.as_ref()),
        "ecdh_alg": label(material.ecdh.as_ref().map(|ecdh| &ecdh.algorithm)),
        "kdc_cred": hex(&group.kdc_cred.0),
        "cred": hex(&settings.identity.cred),
        "key_digest": key_digest(&material),
        "peers": peers,
    });
    if secret && let Some(fields) = value.as_object_mut() {
        fields.insert("ms".into(), json!(hex(&material.ms)));
        fields.insert("salt".into(), json!(hex(material.salt.as_deref().unwrap_or_default())));
        fields.insert("first_sequence".into(), json!(0));
    }
    Ok(value)
}

/// Fields whose text is hexadecimal.
const BYTES: [&str; 7] = ["gid", "sender_id", "kdc_cred", "cred", "key_digest", "ms", "salt"];

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
