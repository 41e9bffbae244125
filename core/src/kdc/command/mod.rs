//! Commands of an operator (see [`crate::command`]).

mod change;
mod list;
mod member;

use crate::command::{Command, CommandError, Report};
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::group::Group;
use crate::kdc::{Event, KdcApp};
use crate::schema::keys::{self, GroupId};
use crate::schema::records::{Head, NamedGroup};
use std::sync::Arc;

/// What a command comes to.
type Done = Result<Outcome<Event>, Stop>;

/// A group that a command is about.
struct Target<'a> {
    gname: &'a str,
    id: GroupId,
    head: &'a Head,
    /// None where this program cannot serve it.
    group: Option<Arc<Group>>,
}

/// A command that changes nothing.
fn told(report: Report) -> Outcome<Event> {
    Outcome::report(Ok(report), Changes::new())
}

/// A command that comes to nothing.
fn refused(why: CommandError) -> Outcome<Event> {
    Outcome::report(Err(why), Changes::new())
}

/// What a command has changed, and what becomes true with it.
fn changed(report: Report, changes: Changes, events: impl IntoIterator<Item = Event>) -> Outcome<Event> {
    events.into_iter().fold(Outcome::report(Ok(report), changes), Outcome::with_event)
}

/// Finds the group that a command names, or ends the command.
macro_rules! target {
    ($app:expr, $view:expr, $gname:expr) => {
        match $app.target($view, $gname)? {
            Some(target) => target,
            None => return Ok(refused(CommandError::NoGroup($gname.into()))),
        }
    };
}
use target;

impl KdcApp {
    pub(super) fn command(&self, view: &View<'_>, command: &Command) -> Done {
        match command {
            Command::Groups(page) => self.list_groups(view, page),
            Command::Group(gname) => self.show_group(view, gname),
            Command::Members(gname, page) => self.list_members(view, gname, page),
            Command::Bans(gname, page) => self.list_bans(view, gname, page),
            Command::Evict { group, node } => self.put_out(view, group, node),
            Command::Lift { group, node } => self.lift(view, group, node),
            Command::Revoke(hash) => self.revoke(view, hash),
            Command::Activate(gname) => self.set_active(view, gname, true),
            Command::Deactivate(gname) => self.set_active(view, gname, false),
            Command::Rekey(gname) => self.rekey_by_command(view, gname),
            Command::Create { config, issuers } => self.make_group(view, config, issuers.as_ref()),
            Command::Delete { group, with_members } => self.delete_group(view, group, *with_members),
            // The engine tells.
            Command::Status => Ok(refused(CommandError::Internal("the engine has told its status"))),
        }
    }

    /// The group of a name that a command is about.
    fn target<'a>(&self, view: &View<'a>, gname: &'a str) -> Result<Option<Target<'a>>, Stop> {
        let Some(id) = view.get::<NamedGroup>(&keys::name(gname))?.and_then(NamedGroup::live) else { return Ok(None) };
        let (head, configuration) = (view.get::<Head>(&keys::head(id)), self.configuration(view, gname));
        let (Some(head), configuration) = (head?, configuration?) else { return Ok(None) };
        let group = configuration.and_then(|(_, stored)| self.groups.of(gname, stored).ok());
        Ok(Some(Target { gname, id, head, group }))
    }
}
