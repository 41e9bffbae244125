//! What a profile has of its own under a group: resources, and records.
//!
//! A profile names its routes ([`GroupRules::routes`]); the KDC finds the caller, its rights and its membership, settles
//! Content-Format and Accept, and then asks [`GroupRules::serve`]. That sees the request and records of its own, and may
//! write such records, tell observers, and ask for a rekeying: all in one commit.
//!
//! [`GroupRules::routes`]: super::GroupRules::routes
//! [`GroupRules::serve`]: super::GroupRules::serve

use super::Roles;
use crate::Secret;
use crate::engine::store::changes::Change;
use crate::engine::store::view::{Stop, View};
use crate::id::Gid;
use crate::id::NodeName;
use crate::id::SenderId;
use crate::kdc::stale_under;
use crate::keys::{self, GroupId};
use crate::refusal::Refusal;
use crate::request::{Method, Request, Status};
use crate::schema::record::RecordType;
use crate::schema::records::GroupSecret;
use crate::time::UnixTime;
use std::sync::Arc;

/// What becomes of records of a kind when a KDC is restored from a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRestore {
    /// They go: they hold what nobody knows any more, e.g. something about members.
    Drop,
    /// They stay as they are.
    Keep,
    /// They stay until the group is renewed; then [`GroupRules::renew`](super::GroupRules::renew) says what becomes of them,
    /// in the commit of the group's new secret.
    Renew,
}

/// A kind of records of a profile's own. Its number is the profile's to choose; what a restore does stands in the keys of
/// the records, so that a backup of them needs no profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKind {
    /// The number, among the profile's kinds.
    pub number: u16,
    /// What a restore does with them.
    pub on_restore: OnRestore,
}

/// The records of a profile's own, of one group.
pub struct OwnRecords<'s, 'v> {
    view: &'s View<'v>,
    group: GroupId,
}

impl<'s, 'v> OwnRecords<'s, 'v> {
    pub(crate) const fn new(view: &'s View<'v>, group: GroupId) -> Self {
        Self { view, group }
    }

    /// One record; `None` where there is none.
    ///
    /// # Errors
    /// [`Stop`] until it is known, and where it cannot be read.
    pub fn get<T: RecordType>(&self, kind: RecordKind, id: &[u8]) -> Result<Option<&'v T>, Stop> {
        self.view.get(&keys::own_record(self.group, kind, id))
    }

    /// All records of a kind, in the order of their identifiers. Whoever changes one of them conflicts with this.
    ///
    /// # Errors
    /// [`Stop`] until they are known, and where one cannot be read.
    pub fn list<T: RecordType>(&self, kind: RecordKind) -> Result<Vec<&'v T>, Stop> {
        self.view.list(&keys::own_records(self.group, kind), &keys::own_guard(self.group, kind))
    }
}

/// Changes to records of a profile's own.
#[derive(Default)]
pub struct OwnChanges(pub(crate) Vec<(RecordKind, Vec<u8>, Change)>);

impl OwnChanges {
    /// Writes a record of the profile's own, in the place of the one that is there.
    pub fn put<T: RecordType>(&mut self, kind: RecordKind, id: &[u8], record: T) {
        self.0.push((kind, id.to_vec(), Some(Arc::new(record))));
    }

    /// Removes a record of the profile's own.
    pub fn delete(&mut self, kind: RecordKind, id: &[u8]) {
        self.0.push((kind, id.to_vec(), None));
    }
}

/// Who may use a route of a profile's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileWho {
    /// Members of the group.
    Member,
    /// Whoever was granted one of these roles in the group, a member or not.
    Granted(Roles),
    /// Whoever was granted one of these roles in the group and is no member of it, under whatever token: signature verifiers (Group
    /// OSCORE profile sections 8.1.1 and 8.3.1). Others are told error 8.
    Verifier(Roles),
    /// Whoever has a token for the group. [`GroupRules::serve`](super::GroupRules::serve) says whom it refuses, and how.
    Authorised,
}

/// A route of a profile's own: a method of /ace-group/GROUPNAME/NAME, or of what is one segment below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileRoute {
    /// The path segment behind GROUPNAME; none of RFC 9594 section 4.1 can be taken.
    pub name: &'static str,
    /// Whether one more segment follows, which [`ProfileRequest::below`] has.
    pub is_below: bool,
    /// The method that is served.
    pub method: Method,
    /// Who may use it.
    pub who: ProfileWho,
    /// The Content-Format of the request's payload, where it has one.
    pub takes: Option<u16>,
    /// The Content-Format of the answer's payload, where it has one.
    pub gives: Option<u16>,
    /// Whether who gets it may observe it.
    pub is_observable: bool,
}

/// A member that calls.
#[derive(Clone, Copy, Debug)]
pub struct CallingMember<'a> {
    /// NODENAME, under which its own resources are.
    pub node: &'a NodeName,
    /// The roles that it joined with, not all that its token grants.
    pub roles: Roles,
    /// Its Sender ID, if it has one.
    pub sender_id: Option<&'a SenderId>,
}

/// The group as it stands.
#[derive(Clone, Copy, Debug)]
pub struct GroupState<'a> {
    /// Whether the group is active.
    pub active: bool,
    /// The version of the keying material.
    pub num: u64,
    /// The Gid, under which the current version is used.
    pub gid: &'a Gid,
}

/// A request for a route of a profile's own.
pub struct ProfileRequest<'s, 'v> {
    /// The row that the request fits: one of `GroupRules::routes`.
    pub route: &'s ProfileRoute,
    /// The segment below the route's name, where it has one.
    pub below: Option<&'s str>,
    /// As it was received; its Content-Format and Accept fit the route.
    pub request: &'s Request,
    /// Time, randomness, and signatures.
    pub view: &'s View<'v>,
    /// The roles that the caller's token grants in the group.
    pub granted: Roles,
    /// The caller's membership, if it is a member as far as its token goes.
    pub member: Option<CallingMember<'s>>,
    /// The group, as this run sees it.
    pub group: GroupState<'s>,
    /// The records that the profile keeps for this group.
    pub records: OwnRecords<'s, 'v>,
    /// The group's secrets, and the Sender IDs that went stale.
    pub keying: GroupKeying<'s, 'v>,
}

/// What a group's keying material is, for a resource of a profile's own.
pub struct GroupKeying<'s, 'v> {
    view: &'s View<'v>,
    group: GroupId,
    num: u64,
    time: UnixTime,
}

/// The keying material of the current version.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CurrentMaterial<'v> {
    /// The secrets, in the profile's own form.
    pub secret: &'v Secret,
    /// When they end, `exp`.
    pub expires: UnixTime,
    /// In how many seconds that is, `exi`.
    pub left: u64,
}

impl<'s, 'v> GroupKeying<'s, 'v> {
    pub(crate) const fn new(view: &'s View<'v>, group: GroupId, num: u64, time: UnixTime) -> Self {
        Self { view, group, num, time }
    }

    /// Returns the keying material of the current version. Nothing of it is for who may not have it: a resource for others than
    /// members shows what they need, and no more.
    ///
    /// # Errors
    /// [`Stop`] until it is known; [`Refusal::Unavailable`] where it has come to its end.
    pub fn current(&self) -> Result<CurrentMaterial<'v>, Stop> {
        let secret = self.view.get::<GroupSecret>(&keys::secret(self.group, self.num))?;
        let secret = secret.ok_or(Refusal::Internal("the keying material cannot be read"))?;
        if secret.expires <= self.time {
            return Err(Refusal::Unavailable("the keying material has come to its end", 5).into());
        }
        let left = self.view.arrived().unix.until(secret.expires).as_secs();
        Ok(CurrentMaterial { secret: &secret.material, expires: secret.expires, left })
    }

    /// Returns the Sender IDs that went stale under a version: given up by who left, was put out, or has got another one. They are
    /// known of the latest versions, as many as [`GroupRules::stale_sets`](super::GroupRules::stale_sets) says.
    ///
    /// # Errors
    /// [`Stop`] until they are known.
    pub fn stale_under(&self, num: u64) -> Result<Vec<SenderId>, Stop> {
        stale_under(self.view, self.group, num)
    }
}

/// What a profile answers, and what it changes.
#[derive(Default)]
pub struct ProfileOutcome {
    pub(crate) status: Option<Status>,
    pub(crate) payload: Vec<u8>,
    pub(crate) changes: OwnChanges,
    pub(crate) rekeys: bool,
    pub(crate) is_changed: bool,
    pub(crate) also_changed: Option<&'static str>,
}

impl ProfileOutcome {
    /// The answer 2.05 with a payload, in the form that the route gives.
    #[must_use]
    pub fn content(payload: Vec<u8>) -> Self {
        Self { payload, ..Self::default() }
    }

    /// The answer 2.04; it leaves when the changes are durable. Observers of the resource are told then.
    #[must_use]
    pub fn changed(changes: OwnChanges) -> Self {
        Self { status: Some(Status::Changed), changes, is_changed: true, ..Self::default() }
    }

    /// The same with another code, e.g. 2.01 or 2.02.
    #[must_use]
    pub const fn with_status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// The same with a payload.
    #[must_use]
    pub fn with_payload(mut self, payload: Vec<u8>) -> Self {
        self.payload = payload;
        self
    }

    /// Has observers of the route with this name told too, e.g. of a list that the resource is part of.
    #[must_use]
    pub const fn with_changed(mut self, name: &'static str) -> Self {
        self.also_changed = Some(name);
        self
    }

    /// Asks that the group be rekeyed: that is due with this commit.
    #[must_use]
    pub const fn with_rekeying(mut self) -> Self {
        self.rekeys = true;
        self
    }
}
