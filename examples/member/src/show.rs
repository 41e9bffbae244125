//! Messages for people: parameters by name, and only what is known to be public unless secrets are asked for.

mod fields;

use ace_backend_daemon::escaped;
use ace_coap::numbers::option;
use ace_coap::{Code, Message};
use ace_groupcomm::auth_server::TOKEN;
use ace_groupcomm::registry::ApplicationProfileDescriptor;
use ace_groupcomm_messages::RawCbor;
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR, PROBLEM_DETAILS_CBOR};
use ace_groupcomm_messages::paths::AUTHZ_INFO;
use ace_profile_group_oscore::DESCRIPTOR;
use ciborium::Value;
use fields::{Field, Rule};

/// One exchange, to be shown.
#[derive(Clone, Debug)]
pub struct ShownExchange {
    /// The name of the client that asked.
    pub from: String,
    /// The party that was asked: `AS` or `KDC`.
    pub to: &'static str,
    /// Whether the exchange was protected.
    pub protected: bool,
    /// The method and the path, e.g. `POST /authz-info`.
    pub request: String,
    /// The payload of the request, by the names of its parameters.
    pub sent: String,
    /// The code of the answer.
    pub code: String,
    /// The payload of the answer, by the names of its parameters.
    pub received: String,
}

/// How messages are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether secrets are shown.
    pub secrets: bool,
    /// Whether it is in CBOR diagnostic notation, with labels as numbers, and not with their names.
    pub diagnostic: bool,
    /// The application profile by which roles have names.
    pub profile: Option<ApplicationProfileDescriptor>,
}

/// Bytes in hexadecimal.
#[must_use]
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields of a message of which it is known what they mean.
fn known(path: &[String], answer: Option<Code>, format: Option<u16>) -> Option<&'static [Field]> {
    let resource = path.first().map(String::as_str);
    let refused = answer.is_some_and(|code| !code.is_success());
    match (resource, format) {
        (Some(TOKEN), Some(ACE_CBOR)) if refused => Some(fields::TOKEN_ERROR),
        (Some(TOKEN), Some(ACE_CBOR)) if answer.is_some() => Some(fields::TOKEN_RESPONSE),
        (Some(TOKEN), Some(ACE_CBOR)) => Some(fields::TOKEN_REQUEST),
        (_, Some(ACE_CBOR)) if refused => Some(fields::HINTS),
        (Some(AUTHZ_INFO), Some(ACE_CBOR)) if answer.is_some() => Some(fields::TOKEN_POST_ANSWER),
        (Some(AUTHZ_INFO), Some(ACE_CBOR)) => Some(fields::TOKEN_POST),
        (Some(TOKEN | AUTHZ_INFO), _) => None,
        (_, Some(ACE_GROUPCOMM_CBOR)) => Some(fields::GROUP),
        (_, Some(PROBLEM_DETAILS_CBOR)) if refused => Some(fields::PROBLEM),
        _ => None,
    }
}

/// The payload of a request to this path, or of the answer to it.
#[must_use]
pub fn payload(path: &[String], message: &Message, is_answer: bool, style: Style) -> String {
    if message.payload.is_empty() {
        return String::new();
    }
    let answer = is_answer.then_some(message.code);
    let format = message.options.content_format();
    let has_no_format = !message.options.has(option::CONTENT_FORMAT);
    if has_no_format
        && answer.is_some_and(|code| !code.is_success())
        && let Ok(text) = std::str::from_utf8(&message.payload)
    {
        // A diagnostic payload (RFC 7252 section 5.5.2).
        return quoted(text);
    }
    let value = ciborium::from_reader::<Value, _>(message.payload.as_slice()).ok();
    match (value, known(path, answer, format)) {
        (Some(value @ Value::Map(_)), Some(fields)) => shown(&value, Rule::Map(fields), style),
        (Some(value), _) if style.secrets => notation(&value),
        _ if style.secrets => format!("h'{}'", hex(&message.payload)),
        _ => {
            let format = format.map_or_else(|| "no Content-Format".into(), |format| format!("Content-Format {format}"));
            format!("<hidden, {} bytes of {format}>", message.payload.len())
        }
    }
}

fn hidden(value: &Value, style: Style) -> String {
    match value {
        _ if style.secrets => notation(value),
        Value::Bytes(bytes) => format!("<hidden, {} bytes>", bytes.len()),
        _ => "<hidden>".into(),
    }
}

fn shown(value: &Value, rule: Rule, style: Style) -> String {
    let is_number = matches!(value, Value::Integer(_) | Value::Bool(_) | Value::Null);
    let is_known = match rule {
        Rule::Number => is_number,
        Rule::Name => is_number || value.is_text(),
        Rule::Text => value.is_text(),
        Rule::Bytes => value.is_bytes(),
        Rule::List => is_list(value),
        Rule::Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_text)),
        Rule::Scope => return scope_of(value, style),
        Rule::Map(fields) => return map(value, fields, style),
        Rule::Hidden => false,
    };
    if is_known { notation(value) } else { hidden(value, style) }
}

fn is_list(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(is_list),
        Value::Integer(_) | Value::Bool(_) | Value::Null | Value::Text(_) | Value::Bytes(_) => true,
        _ => false,
    }
}

fn map(value: &Value, fields: &[Field], style: Style) -> String {
    let Value::Map(entries) = value else { return hidden(value, style) };
    let entry = |(key, value): &(Value, Value)| {
        let label = key.as_integer().and_then(|key| i64::try_from(key).ok());
        match fields.iter().find(|(known, ..)| Some(*known) == label) {
            Some((label, _, rule)) if style.diagnostic => format!("{label}: {}", shown(value, *rule, style)),
            Some((_, name, rule)) => format!("{name}: {}", shown(value, *rule, style)),
            None if key.is_integer() || style.secrets => format!("{}: {}", notation(key), hidden(value, style)),
            None => format!("<hidden>: {}", hidden(value, style)),
        }
    };
    format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
}

/// A scope: an entry of group and roles, or a list of them.
fn scope_of(value: &Value, style: Style) -> String {
    let bytes = match value {
        Value::Text(_) => return notation(value),
        Value::Bytes(bytes) => bytes,
        Value::Tag(_, inner) => return scope_of(inner, style),
        _ => return hidden(value, style),
    };
    let named = ciborium::from_reader::<Value, _>(bytes.as_slice()).ok();
    match named.as_ref().and_then(|scope| scope_entries(scope, style)) {
        Some(_) if style.diagnostic => notation(value),
        Some(named) => named,
        None => hidden(value, style),
    }
}

fn scope_entries(value: &Value, style: Style) -> Option<String> {
    match value.as_array()?.as_slice() {
        [Value::Text(gname), permissions] => {
            let mut bytes = Vec::new();
            ciborium::into_writer(permissions, &mut bytes).ok()?;
            let profile = style.profile.unwrap_or(DESCRIPTOR).profile;
            let roles = profile.role_names(profile.roles(&RawCbor::new(&bytes).ok()?)?).join("+");
            Some(format!("[{}, {roles}]", quoted(gname)))
        }
        entries => {
            let entries: Option<Vec<_>> =
                entries.iter().map(|entry| scope_entries(entry, style).filter(|_| entry.is_array())).collect();
            Some(format!("[{}]", entries?.join(", ")))
        }
    }
}

/// A text as diagnostic notation has it (RFC 8949 section 8), on one line whatever is in it.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(&text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A value in diagnostic notation.
fn notation(value: &Value) -> String {
    let list = |items: &[Value]| items.iter().map(notation).collect::<Vec<_>>().join(", ");
    match value {
        Value::Integer(number) => i128::from(*number).to_string(),
        Value::Bytes(bytes) => format!("h'{}'", hex(bytes)),
        Value::Text(text) => quoted(text),
        Value::Bool(bool) => bool.to_string(),
        Value::Null => "null".into(),
        Value::Float(float) => format!("{float:?}"),
        Value::Array(items) => format!("[{}]", list(items)),
        Value::Tag(tag, inner) => format!("{tag}({})", notation(inner)),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}: {}", notation(key), notation(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        _ => "<unknown>".into(),
    }
}

/// Method and path of a request.
#[must_use]
pub fn request_line(message: &Message) -> String {
    let path = message.options.uri_path().unwrap_or_default().join("/");
    format!("{} /{}", message.code, escaped(&path))
}

#[cfg(test)]
mod tests;
