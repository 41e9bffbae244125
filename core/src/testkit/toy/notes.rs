//! The toy profile's own resources: whether the group is active, notes that members leave for each other, and a board that
//! readers see who are no members.

use super::{NOTE, READER};
use crate::engine::store::view::Stop;
use crate::refusal::Refusal;
use crate::request::{Method, Status};
use crate::traits::profile::{
    CallingMember, OnRestore, OwnChanges, OwnRecords, ProfileJoin, ProfileJoined, ProfileOutcome, ProfileRequest,
    ProfileRoute, ProfileWho, RecordKind,
};
use ace_groupcomm_messages::labels::content_format::CBOR;
use ace_groupcomm_messages::paths::ACTIVE;
use ace_groupcomm_messages::{RawCbor, retrieval};
use serde::{Deserialize, Serialize};

/// The error-id of a note that says nothing.
pub const EMPTY_NOTE: i64 = -70_001;

/// Notes; a restore keeps them until the group is renewed.
const NOTES: RecordKind = RecordKind { number: 1, on_restore: OnRestore::Renew };
/// How often a note was written: of that nobody knows after a restore.
const WRITES: RecordKind = RecordKind { number: 2, on_restore: OnRestore::Drop };

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    name: String,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Writes(u64);

crate::plain_record!(Note, Writes);

const fn route(name: &'static str, is_below: bool, method: Method) -> ProfileRoute {
    let who = ProfileWho::Member;
    ProfileRoute { name, is_below, method, who, takes: Some(CBOR), gives: Some(CBOR), is_observable: true }
}

/// For members; `board` for readers, who cannot join.
pub const ROUTES: &[ProfileRoute] = &[
    route(ACTIVE, false, Method::Get),
    route("notes", false, Method::Get),
    route("notes", true, Method::Get),
    ProfileRoute { gives: None, is_observable: false, ..route("notes", true, Method::Post) },
    ProfileRoute { gives: None, is_observable: false, ..route("notes", true, Method::Delete) },
    ProfileRoute { who: ProfileWho::Granted(READER), is_observable: false, ..route("board", false, Method::Get) },
];

fn text(text: &str) -> RawCbor {
    RawCbor::bytes(text.as_bytes())
}

pub(super) fn serve(request: &ProfileRequest<'_, '_>) -> Result<ProfileOutcome, Stop> {
    let records = &request.records;
    match (request.route.name, request.route.method, request.below) {
        (ACTIVE, ..) => Ok(ProfileOutcome::content(retrieval::encode_active(request.group.active))),
        ("notes" | "board", Method::Get, None) => {
            let names: Vec<RawCbor> = records.list::<Note>(NOTES)?.iter().map(|note| text(&note.name)).collect();
            Ok(ProfileOutcome::content(RawCbor::array(&names).as_bytes().to_vec()))
        }
        ("notes", Method::Get, Some(name)) => {
            let note = records.get::<Note>(NOTES, name.as_bytes())?.ok_or(Refusal::NotFound)?;
            Ok(ProfileOutcome::content(text(&note.text).as_bytes().to_vec()))
        }
        ("notes", Method::Post, Some(name)) => {
            let known = records.get::<Note>(NOTES, name.as_bytes())?;
            let writes = records.get::<Writes>(WRITES, name.as_bytes())?.map_or(0, |writes| writes.0);
            let words = RawCbor::new(&request.request.payload).ok().and_then(|item| item.to_byte_string());
            let words = words.and_then(|words| String::from_utf8(words).ok());
            let words = words.filter(|words| !words.is_empty());
            let empty = Refusal::Problem { status: Status::BadRequest, id: EMPTY_NOTE, title: "the note is empty" };
            let note = Note { name: name.into(), text: words.ok_or(empty)? };
            let mut changes = OwnChanges::default();
            changes.put(NOTES, name.as_bytes(), note);
            changes.put(WRITES, name.as_bytes(), Writes(writes.saturating_add(1)));
            let outcome = ProfileOutcome::changed(changes).with_changed("notes");
            Ok(if known.is_none() { outcome.with_status(Status::Created) } else { outcome })
        }
        ("notes", Method::Delete, Some(name)) => {
            let mut changes = OwnChanges::default();
            changes.delete(NOTES, name.as_bytes());
            // Whoever has read it must not read what comes next.
            Ok(ProfileOutcome::changed(changes).with_changed("notes").with_status(Status::Deleted).with_rekeying())
        }
        _ => Err(Refusal::NotFound.into()),
    }
}

/// A joiner may leave a note under its NODENAME at once.
pub(super) fn joins(join: &ProfileJoin<'_, '_>) -> Result<ProfileJoined, Stop> {
    let Some(note) = join.parameter(&NOTE) else { return Ok(ProfileJoined::default()) };
    let words = note.to_text().ok_or(Refusal::BadRequest("the note is no text"))?;
    let mut changes = OwnChanges::default();
    let name = join.node.as_str();
    changes.put(NOTES, name.as_bytes(), Note { name: name.into(), text: words });
    Ok(ProfileJoined::changed(changes).with_parameter(NOTE, note.clone()))
}

/// The note that a member has joined with goes with it.
pub(super) fn leaves(member: CallingMember<'_>) -> OwnChanges {
    let mut changes = OwnChanges::default();
    changes.delete(NOTES, member.node.as_str().as_bytes());
    changes
}

pub(super) fn renew(records: &OwnRecords<'_, '_>) -> Result<OwnChanges, Stop> {
    let mut changes = OwnChanges::default();
    for note in records.list::<Note>(NOTES)? {
        changes.put(NOTES, note.name.as_bytes(), Note { text: format!("(restored) {}", note.text), ..note.clone() });
    }
    Ok(changes)
}
