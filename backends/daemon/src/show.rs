//! Reports of commands as an operator reads them.

use crate::escaped;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

/// A table's columns: the heading, and the field.
type Columns = &'static [(&'static str, &'static str)];

const GROUPS: Columns = &[
    ("group", "name"),
    ("profile", "profile"),
    ("active", "active"),
    ("members", "members"),
    ("version", "num"),
    ("gid", "gid"),
    ("rekeying due", "rekey_due"),
];
const MEMBERS: Columns = &[
    ("node", "node"),
    ("client", "subject"),
    ("issuer", "issuer"),
    ("sender id", "sender_id"),
    ("roles", "roles"),
    ("token ends", "token_expires"),
    ("token hash", "token_hash"),
];
const BANS: Columns =
    &[("node", "node"), ("client", "subject"), ("issuer", "issuer"), ("since", "since"), ("until", "until")];

/// Fields that are times, in seconds since 1970.
const TIMES: [&str; 6] = ["token_expires", "since", "until", "created", "expires", "at"];

/// A report in text.
pub(crate) fn report(report: &Value) -> String {
    let text = |name: &str| report.get(name).map(|value| plain(name, value)).unwrap_or_default();
    match report.get("report").and_then(Value::as_str).unwrap_or_default() {
        "groups" => table(report, GROUPS, "no groups"),
        "members" => table(report, MEMBERS, "no members"),
        "bans" => table(report, BANS, "nobody is banned"),
        "evicted" => format!("{} ({}) is out, until {} at the longest\n", text("node"), text("subject"), text("until")),
        "lifted" => format!("{} ({}) may join again\n", text("node"), text("subject")),
        "revoked" => match report.get("subject").and_then(Value::as_str) {
            Some(subject) => {
                let groups = text("groups");
                let groups = if groups.is_empty() { "no group".into() } else { groups };
                format!("revoked: {} is out of {groups}\n", escaped(subject))
            }
            None => "revoked: no client has this token now\n".into(),
        },
        "state" => {
            let state = if report["active"] == true { "active" } else { "inactive" };
            let before = if report["is_new"] == true { "now" } else { "already" };
            format!("the group is {before} {state}\n")
        }
        "rekeyed" => format!("the group has version {}, with the Gid {}\n", text("num"), text("gid")),
        "created" => format!("the group is there, with the Gid {}\n", text("gid")),
        "deleted" => format!("the group is gone; it had {} members\n", text("members")),
        _ => fields(report.as_object().unwrap_or(&Map::new()), 0),
    }
}

/// All fields, one a line.
fn fields(all: &Map<String, Value>, indent: usize) -> String {
    let mut out = String::new();
    for (name, value) in all.iter().filter(|(name, _)| *name != "report") {
        let _ = match value {
            Value::Object(inner) if !inner.contains_key("since") => {
                write!(out, "{:indent$}{}:\n{}", "", escaped(name), fields(inner, indent.saturating_add(2)))
            }
            value => writeln!(out, "{:indent$}{}: {}", "", escaped(name), plain(name, value)),
        };
    }
    out
}

/// A value without quotes. What clients have chosen is escaped.
fn plain(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(value) => if *value { "yes" } else { "no" }.into(),
        Value::String(text) => escaped(text),
        Value::Number(number) if TIMES.contains(&name) => time(number.as_u64().unwrap_or_default()),
        Value::Number(number) => number.to_string(),
        Value::Array(values) => values.iter().map(|value| plain("", value)).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => match (fields.get("since"), fields.get("reasons")) {
            (Some(since), Some(why)) => format!("since {} ({})", plain("since", since), plain("", why).to_lowercase()),
            _ => fields.iter().map(|(name, value)| plain(name, value)).collect::<Vec<_>>().join(", "),
        },
    }
}

/// A time in UTC; one that no calendar has in seconds.
fn time(seconds: u64) -> String {
    /// The end of the year 9999.
    const LAST: u64 = 253_402_300_799;
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
        Some(time) if seconds <= LAST => humantime::format_rfc3339_seconds(time).to_string(),
        _ => seconds.to_string(),
    }
}

fn table(report: &Value, columns: Columns, nothing: &str) -> String {
    let entries = report.get("entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let row = |entry: &Value| -> Vec<String> {
        columns.iter().map(|(_, field)| plain(field, entry.get(*field).unwrap_or(&Value::Null))).collect()
    };
    let heading = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(entries.iter().map(row)).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut out = String::new();
    if entries.is_empty() {
        let _ = writeln!(out, "{nothing}");
    } else {
        for row in &rows {
            let cells = row.iter().enumerate().map(|(at, cell)| format!("{cell:<width$}", width = width(at)));
            let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
    if let Some(more) = report.get("more").and_then(Value::as_str) {
        let _ = writeln!(out, "more: --after {more}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_a_table_and_says_where_it_goes_on() {
        let shown = report(&json!({"report": "members", "more": "00ff", "entries": [
            {"node": "0a", "subject": "lamp\u{1b}[2J", "issuer": "as1", "sender_id": null, "roles": ["requester", "x"],
             "token_expires": 1_800_000_000, "token_hash": "01"},
        ]}));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0].split("  ").filter(|cell| !cell.is_empty()).count(), 7);
        assert_eq!(lines[1], "0a    lamp\\u001b[2J  as1     -          requester, x  2027-01-15T08:00:00Z  01");
        assert_eq!(lines[2], "more: --after 00ff");
        let due = json!({"report": "group", "rekey_due": {"reasons": ["Evicted", "Left"], "since": 0}});
        assert_eq!(report(&due), "rekey_due: since 1970-01-01T00:00:00Z (evicted, left)\n");
        assert_eq!(report(&json!({"report": "bans", "entries": [], "more": null})), "nobody is banned\n");
    }

    #[test]
    fn each_report_is_a_sentence() {
        for (value, words) in [
            (json!({"report": "revoked", "subject": "lamp", "groups": ["a", "b"]}), "revoked: lamp is out of a, b\n"),
            (json!({"report": "revoked", "subject": "lamp", "groups": []}), "revoked: lamp is out of no group\n"),
            (json!({"report": "revoked", "subject": null, "groups": []}), "revoked: no client has this token now\n"),
            (json!({"report": "state", "active": false, "is_new": true}), "the group is now inactive\n"),
            (json!({"report": "state", "active": true, "is_new": false}), "the group is already active\n"),
            (json!({"report": "created", "gid": "010000"}), "the group is there, with the Gid 010000\n"),
            (json!({"report": "deleted", "members": 3}), "the group is gone; it had 3 members\n"),
            (json!({"report": "lifted", "node": "0a", "subject": "x"}), "0a (x) may join again\n"),
            (
                json!({"report": "evicted", "node": "0a", "subject": "x", "until": u64::MAX}),
                "0a (x) is out, until 18446744073709551615 at the longest\n",
            ),
            (json!({"report": "status", "ready": true, "figures": {"a": 1}}), "figures:\n  a: 1\nready: yes\n"),
        ] {
            assert_eq!(report(&value), words);
        }
    }
}
