//! The start: what is stored is compared with what is configured before anything is done.
//!
//! A group's parameters were settled when its keying material was made. Others must not go out with it, so that a
//! difference ends the start, with both values. So do other issuers than those that storage knows ([`issuers`]). Where the operator
//! has said that they are meant, the group takes those that it can take, with a new version where members are told of them.
//!
//! [`issuers`]: crate::kdc::token::issuers

use crate::config::Difference;
use crate::engine::Outcome;
use crate::engine::store::view::{Stop, View};
use crate::kdc::group::configure;
use crate::kdc::keying::policy::NAMES;
use crate::kdc::membership::sender_id::is_within;
use crate::kdc::token::issuers::{Counted, IssuerStep};
use crate::kdc::{Event, Group, KdcApp, Task};
use crate::schema::keys::{self, GroupId};
use crate::schema::records::{GroupConfiguration, Head, Meta, NamedGroup};
use crate::time::Now;
use crate::token::TrustChange;
use crate::traits::crypto::CryptoProvider;
use crate::traits::profile::ParameterChange;
use crate::traits::storage::Key;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// In what a group that is stored differs from the one that is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDifferences {
    /// The GROUPNAME.
    pub gname: String,
    /// Its differences: there is one at least.
    pub differences: Vec<Difference>,
    /// What it would take to change them.
    pub change: ParameterChange,
}

/// What a start may change of what is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepts {
    pub(super) issuers: bool,
    pub(super) parameters: bool,
}

impl fmt::Display for GroupDifferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences: Vec<String> = self.differences.iter().map(Difference::to_string).collect();
        write!(f, "group {:?}: {}", self.gname, differences.join("; "))
    }
}

/// Why a KDC must not start over this storage with this configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartRefusal {
    /// Parameters of groups are others than those that their keying material was made for.
    #[error("groups have other parameters: {}", list(.0))]
    Parameters(Vec<GroupDifferences>),
    /// The issuers are others than those that storage knows.
    #[error("the issuers are not those that storage knows ({}): {clients} client{} would end", list(.changes), plural(.clients))]
    Issuers {
        /// What has changed; empty where storage knew none yet.
        changes: Vec<TrustChange>,
        /// How many clients nobody would vouch for any more.
        clients: u64,
    },
}

fn list(items: &[impl ToString]) -> String {
    if items.is_empty() {
        return "it knows none yet".into();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

const fn plural(count: &u64) -> &'static str {
    if *count == 1 { "" } else { "s" }
}

/// What a step of the start has come to.
#[derive(Debug)]
pub(super) enum StartEvent {
    /// The next step.
    Next(IssuerStep),
    /// A page of clients was looked at.
    Counted(Counted),
    /// Nothing stands against the start.
    Fits,
    /// Groups that are stored, and the name behind which there are more.
    Stored {
        /// Their names.
        gnames: Vec<String>,
        /// Of those that were deleted, such of which something is stored still.
        cleared: Vec<GroupId>,
        /// Where it goes on.
        more: Option<Key>,
    },
    /// It must not go on.
    Refused(StartRefusal),
}

/// The start, and what is to be done next for it.
#[derive(Debug, Default)]
pub(super) struct Start {
    refused: Option<StartRefusal>,
    todo: Vec<Task>,
    leaving: BTreeMap<GroupId, String>,
    /// Whether all groups that are stored have been looked at.
    has_seen_all: bool,
    /// Groups that are stored, and that no file names.
    unnamed: usize,
    /// The clients that nobody would vouch for, of those that were looked at.
    clients: u64,
}

impl Start {
    pub(super) const fn refused(&self) -> Option<&StartRefusal> {
        self.refused.as_ref()
    }

    /// What is to be done goes out at once.
    pub(super) fn next(&self, now: Now) -> Option<Duration> {
        (!self.todo.is_empty() || !self.leaving.is_empty()).then_some(now.mono)
    }

    pub(super) fn take(&mut self) -> Vec<Task> {
        let leaving = std::mem::take(&mut self.leaving);
        let put_out = leaving.into_iter().map(|(group, gname)| Task::PutOut { gname, group });
        std::mem::take(&mut self.todo).into_iter().chain(put_out).collect()
    }

    pub(super) fn todo(&mut self, task: Task) {
        self.todo.push(task);
    }

    /// A group is to be rid of members whose memberships have ended.
    pub(super) fn put_out(&mut self, gname: String, group: GroupId) {
        self.leaving.insert(group, gname);
    }

    pub(super) const fn has_seen_all(&self) -> bool {
        self.has_seen_all
    }

    fn refuse(&mut self, why: StartRefusal) {
        self.refused = Some(why);
        self.todo.clear();
    }
}

impl KdcApp {
    pub(super) fn note_start(&mut self, event: StartEvent) {
        match event {
            StartEvent::Next(step) => self.start.todo.push(Task::Issuers(step)),
            StartEvent::Counted(counted) => {
                self.start.clients = self.start.clients.saturating_add(counted.clients);
                match (counted.more, counted.was_known) {
                    (Some(last), _) => {
                        let step = IssuerStep::Count {
                            after: Some(last),
                            changes: counted.changes,
                            was_known: counted.was_known,
                        };
                        self.start.todo.push(Task::Issuers(step));
                    }
                    (None, false) if self.start.clients == 0 => self.start.todo.push(Task::Issuers(IssuerStep::Adopt)),
                    (None, _) => {
                        let clients = self.start.clients;
                        self.start.refuse(StartRefusal::Issuers { changes: counted.changes, clients });
                    }
                }
            }
            StartEvent::Fits => {
                self.start.todo.extend(self.missing.iter().cloned().map(Task::Create));
                self.start.todo.extend([Task::TakeUp { after: None }, Task::Expire, Task::FindLeaving { after: None }]);
            }
            StartEvent::Stored { gnames, cleared, more } => {
                let others: Vec<String> =
                    gnames.into_iter().filter(|gname| !self.configured.contains_key(gname)).collect();
                self.start.todo.extend(others.iter().cloned().map(Task::Create));
                self.start.unnamed = self.start.unnamed.saturating_add(others.len());
                self.missing.extend(others);
                self.start.todo.extend(cleared.into_iter().map(Task::Clear));
                self.start.has_seen_all = more.is_none();
                if self.start.has_seen_all && self.start.unnamed > 0 {
                    tracing::info!(groups = self.start.unnamed, "groups are served that no file names");
                }
                self.start.todo.extend(more.map(|last| Task::TakeUp { after: Some(last) }));
            }
            StartEvent::Refused(why) => self.start.refuse(why),
        }
    }

    /// Compares what is stored with what is configured.
    pub(super) fn compare(&self, view: &View<'_>) -> Result<Outcome<Event>, Stop> {
        let trusted = self.compare_issuers(view);
        let groups: Vec<_> = self.configured.values().map(|group| self.compare_group(view, group)).collect();
        let differing: Result<Vec<_>, Stop> = groups.into_iter().collect();
        let (trusted, differing) = (trusted?, differing?);
        let groups: Vec<GroupDifferences> = differing.into_iter().flatten().collect();
        let event = if groups.is_empty() { trusted } else { StartEvent::Refused(StartRefusal::Parameters(groups)) };
        Ok(Outcome::done().with_event(Event::Start(event)))
    }

    /// In what a group that is stored differs. One that is not there takes what is configured; so does one of a former
    /// incarnation, which gets new keying material.
    fn compare_group(&self, view: &View<'_>, group: &Group) -> Result<Option<GroupDifferences>, Stop> {
        let (known, meta) = (view.get::<NamedGroup>(&keys::name(&group.gname)), view.get::<Meta>(&keys::meta()));
        let (Some(id), Some(meta)) = (known?.and_then(NamedGroup::live), meta?) else { return Ok(None) };
        let (head, stored) = (view.get::<Head>(&keys::head(id)), view.get::<GroupConfiguration>(&keys::config(id)));
        let (head, stored) = (head?, stored?);
        let is_former = head.is_some_and(|head| crate::kdc::keying::epoch::is_former(head, meta));
        // Records of a profile outlive a restore: another profile must not take them for its own.
        let takes_new = |stored: &&GroupConfiguration| is_former && stored.profile == group.profile.name;
        let differing = stored
            .filter(|stored| !takes_new(stored))
            .and_then(|stored| group.differences(stored, self.groups.crypto()));
        Ok(differing.filter(|differing| !self.accepts(group, head, differing)))
    }

    /// Whether a group takes other parameters than it has: the operator has said so, its members can follow, and none has a Sender ID
    /// that would be too long.
    pub(super) fn accepts(&self, group: &Group, head: Option<&Head>, differing: &GroupDifferences) -> bool {
        let fits = head.is_none_or(|head| is_within(head.cursor, &group.rules.identifier_len()));
        self.accepts.parameters && differing.change < ParameterChange::AnotherGroup && fits
    }
}

impl Group {
    /// In what a group that is stored differs from this one. What a later version of the profile has more of has its
    /// default there.
    pub(super) fn differences(
        &self,
        stored: &GroupConfiguration,
        crypto: &dyn CryptoProvider,
    ) -> Option<GroupDifferences> {
        let differences = if stored.profile == self.profile.name {
            let again = configure(self.profile, &self.gname, stored.parameters.to_config(), crypto);
            let stored = again.as_ref().map_or(&stored.parameters, |again| &again.parameters);
            stored.differences(&self.parameters)
        } else {
            let (stored, configured) = (Some(stored.profile.clone()), Some(self.profile.name.into()));
            vec![Difference { parameter: "profile".into(), stored, configured }]
        };
        let change = |difference: &Difference| match difference.parameter.as_str() {
            "profile" => ParameterChange::AnotherGroup,
            name if NAMES.contains(&name) => ParameterChange::None,
            name => self.profile.profile.change(name),
        };
        let change = differences.iter().map(change).max()?;
        Some(GroupDifferences { gname: self.gname.clone(), differences, change })
    }
}
