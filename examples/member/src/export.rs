//! What a member got, for people and for other stacks.

use crate::ProgramError;
use crate::config::Settings;
use crate::show::hex;
use ace_groupcomm::member::Group;
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
pub fn material(group: &Group) -> Result<GroupOscoreInputMaterial, ProgramError> {
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
pub fn group(settings: &Settings, group: &Group, secret: bool) -> Result<Value, ProgramError> {
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
