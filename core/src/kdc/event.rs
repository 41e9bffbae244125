//! What the KDC does of its own accord, and what becomes true in memory when something is durable.

use crate::Secret;
use crate::audit::Entry;
use crate::delivery::Delivery;
use crate::id::AssociationId;
use crate::kdc::Pending;
use crate::kdc::delivery::schedule::Told;
use crate::kdc::delivery::send::{Configured, DeliveryKey, Sending};
use crate::kdc::keying::heads::SeenHead;
use crate::kdc::start::StartEvent;
use crate::kdc::token::issuers::IssuerStep;
use crate::schema::keys::{GroupId, PrincipalId};
use crate::schema::records::RekeyReason;
use crate::time::UnixTime;
use crate::traits::rekeying::Audience;
use crate::traits::storage::Key;
use crate::traits::transport::AssociationNeed;
use std::time::Duration;

/// What the KDC does of its own accord.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Takes a number for this process.
    Enter,
    /// Compares what is stored with what is configured, before anything is done.
    Compare,
    /// Sees to clients whose issuers are not trusted any more.
    Issuers(IssuerStep),
    /// Looks at a page of names: groups may be stored that no file names.
    TakeUp {
        /// The name behind which it goes on.
        after: Option<Key>,
    },
    /// Makes a group, or takes it up where it is there.
    Create(String),
    /// Removes what is stored of a group that was deleted, page by page.
    Clear(GroupId),
    /// Rekeys a group, for what is stored of it; and for this reason, if it is one still.
    Rekey {
        /// The GROUPNAME.
        gname: String,
        /// A reason that memory alone knows of.
        why: Option<RekeyReason>,
    },
    /// Looks whether a rekeying of this group was left behind, or a version not told of here.
    Look(String),
    /// Puts those out of a group whose memberships have ended with their tokens.
    PutOut {
        /// The GROUPNAME.
        gname: String,
        /// The group that they were of.
        group: GroupId,
    },
    /// Finds the groups that such are to be put out of.
    FindLeaving {
        /// The one behind which it goes on.
        after: Option<Key>,
    },
    /// Reads a page of heads of groups that members observe here.
    Heads {
        /// The GROUPNAME behind which it begins.
        after: Option<String>,
    },
    /// Reads a page of members that take requests, to tell them of a version.
    Controls {
        /// The GROUPNAME.
        gname: String,
        /// The group that it is about.
        group: GroupId,
        /// The version that they are told of.
        num: u64,
        /// The member behind which it goes on.
        after: Option<PrincipalId>,
    },
    /// Tells one member of a version.
    Deliver(Sending),
    /// Stores that a member knows the parameters that began with a version.
    Configured(Configured),
    /// Stores how far the members of a group were told.
    Progress {
        /// The group that it is about.
        group: GroupId,
        /// The version that they are told of.
        num: u64,
        /// Up to which member that has come.
        after: Option<PrincipalId>,
    },
    /// Stores that all members were told.
    Distributed {
        /// The group that it is about.
        group: GroupId,
        /// The version that they were told of.
        num: u64,
    },
    /// Ends what tokens that have expired allowed.
    Expire,
    /// Gives the network side what it needs for an association.
    Association(AssociationNeed),
}

/// Why a group is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// It was deleted by command: a file does not bring it back.
    Deleted,
    /// It is stored without its configuration, and no file names it.
    Unknown,
}

/// What becomes true in memory when something is durable.
#[derive(Debug)]
pub(crate) enum Event {
    /// An association was made and waits for its proof.
    Pending(Box<Pending>),
    /// The handshake of an association that waits has ended.
    Established {
        /// The name of the association.
        id: AssociationId,
        /// What its keys are derived from.
        material: Secret,
    },
    /// This process has a number.
    Entered {
        /// The number that it has taken.
        process: u16,
        /// The incarnation of the KDC.
        incarnation: u32,
    },
    /// An association was proven, and is this process's.
    Proven {
        /// The name of the association.
        id: AssociationId,
        /// The term in which it is this process's.
        term: u64,
        /// The first sequence number that may be used.
        start: u64,
        /// One behind the last.
        limit: u64,
    },
    /// An association was loaded from storage.
    Loaded {
        /// The name of the association.
        id: AssociationId,
        /// The transport profile, `ace_profile`.
        profile: i64,
        /// What the keys are derived from.
        material: Secret,
        /// Whether it is this process's.
        owned: bool,
    },
    /// An association is this process's.
    Claimed {
        /// The name of the association.
        id: AssociationId,
        /// The term in which it is this process's.
        term: u64,
    },
    /// An association is not, or no longer, this process's.
    Lost(AssociationId),
    /// The client of an association may do less than before.
    Restricted(AssociationId),
    /// The rights of an association's client ended, and it with them.
    Ended(AssociationId),
    /// An association is gone.
    Gone(AssociationId),
    /// A few sequence numbers were reserved, to ask for an Echo.
    Challenges {
        /// The name of the association.
        id: AssociationId,
        /// The first number that may be used.
        start: u64,
        /// One behind the last.
        limit: u64,
    },
    /// Sequence numbers were reserved.
    Sequence {
        /// The name of the association.
        id: AssociationId,
        /// The first number that may be used.
        start: u64,
        /// One behind the last.
        limit: u64,
    },
    /// A token expires then.
    Expires(UnixTime),
    /// What had expired has been ended; where more is known, the next one expires then.
    Swept {
        /// When the next token expires, where that is known.
        next: Option<UnixTime>,
        /// The time by which those that are gone have expired.
        time: UnixTime,
    },
    /// This process may start, so far: what is to be done next is known.
    Start(StartEvent),
    /// A group is there: made now, or taken up.
    Created {
        /// The GROUPNAME.
        gname: String,
        /// The group that has the name now.
        group: GroupId,
        /// The version that it has.
        num: u64,
        /// When its keying material was made.
        created: UnixTime,
        /// When its keying material ends.
        expires: UnixTime,
        /// After how long it is rekeyed, whatever happens.
        interval: Option<Duration>,
    },
    /// A group has its next version.
    Rekeyed {
        /// The GROUPNAME.
        gname: String,
        /// The group that has the name now.
        group: GroupId,
        /// The version that has begun.
        num: u64,
        /// Who is told of it.
        audience: Audience,
        /// When its keying material was made.
        created: UnixTime,
        /// When its keying material ends.
        expires: UnixTime,
        /// After how long it is rekeyed, whatever happens.
        interval: Option<Duration>,
    },
    /// Members are to be told of a version, of which a former process has told some.
    Distributes {
        /// The GROUPNAME.
        gname: String,
        /// The group that has the name now.
        group: GroupId,
        /// The version that they are told of.
        num: u64,
        /// Up to which member that had come.
        after: Option<PrincipalId>,
    },
    /// A page of members that take requests was read.
    ControlsRead {
        /// The GROUPNAME.
        gname: String,
        /// The version that they are told of.
        num: u64,
        /// Their principals, in the order of their keys.
        clients: Vec<PrincipalId>,
        /// Whether there are more.
        more: bool,
    },
    /// A member is sent this.
    Deliver(DeliveryKey, Box<Delivery>),
    /// Something has become of a member that was to be told of a version.
    Told {
        /// The GROUPNAME.
        gname: String,
        /// The version that it is told of.
        num: u64,
        /// The principal that is the member.
        client: PrincipalId,
        /// What has become of it.
        told: Told,
    },
    /// A group has to be rekeyed.
    RekeyDue {
        /// The GROUPNAME.
        gname: String,
        /// After how long.
        delay: Duration,
        /// The reason, where it is not stored.
        why: Option<RekeyReason>,
    },
    /// A group that is configured or stored is not served.
    Absent {
        /// The GROUPNAME.
        gname: String,
        /// Why it is not there.
        why: Absence,
    },
    /// A group was deleted.
    Deleted {
        /// The GROUPNAME.
        gname: String,
        /// The group that had the name.
        group: GroupId,
    },
    /// An entry of the audit log.
    Audit(Entry),
    /// Something of a group that was deleted is stored still.
    Clears(GroupId),
    /// A proof of possession of this client has failed.
    ProofFailed(PrincipalId),
    /// The resource with this path has changed.
    Changed(Vec<String>),
    /// A member of a group is to be told here of what changes: it observes, or takes requests.
    Watched {
        /// The GROUPNAME.
        gname: String,
        /// What the group's head says as the member asks.
        seen: SeenHead,
    },
    /// A rekeying message was encoded that is the same for other members.
    Encoded {
        /// The group, and whether it is for those who take requests.
        key: (GroupId, bool),
        /// The version that it is of.
        num: u64,
        /// The second for which it is good.
        at: UnixTime,
        /// The message, with keying material.
        encoded: Secret,
    },
    /// Memberships of a group have ended with their tokens.
    Leaving {
        /// The GROUPNAME.
        gname: String,
        /// The group that they were of.
        group: GroupId,
    },
    /// There may be more such memberships.
    FindsLeaving {
        /// The last one that was seen; `None` before the first.
        after: Option<Key>,
    },
    /// The head of a group has changed, by a command here or by another process.
    HeadChanged {
        /// The GROUPNAME.
        gname: String,
        /// What it says now.
        seen: SeenHead,
    },
    /// Another process has deleted a group.
    Vanished {
        /// The GROUPNAME.
        gname: String,
        /// The group that had the name; `None` where it was not seen here.
        group: Option<GroupId>,
    },
    /// A client observes nothing any more of the resource with this path, and below it.
    Unobserved {
        /// The name of its association.
        id: AssociationId,
        /// The path, segment by segment.
        path: Vec<String>,
    },
}
