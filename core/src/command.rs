//! What an operator has a KDC do, and what comes of it.
//!
//! A command goes into an engine beside requests ([`Machine::command`](crate::engine::Machine::command)), and its report
//! comes out when the change is durable. Who may give commands is the business of whoever hands them in: an engine obeys.
//!
//! | command | report |
//! | --- | --- |
//! | [`Groups`](Command::Groups), [`Group`](Command::Group), [`Members`](Command::Members), [`Bans`](Command::Bans) | what there is, in pages |
//! | [`Create`](Command::Create), [`Activate`](Command::Activate), [`Deactivate`](Command::Deactivate), [`Delete`](Command::Delete) | a group comes, rests, goes |
//! | [`Evict`](Command::Evict), [`Lift`](Command::Lift) | a member is put out, and may come back |
//! | [`Rekey`](Command::Rekey) | a group gets its next version now |
//! | [`Revoke`](Command::Revoke) | a token is good no more |
//! | [`Status`](Command::Status) | how the engine does |

use crate::config::Parameter;
use crate::id::NodeName;
use crate::id::TokenHash;
use crate::kdc::{GroupConfig, SetupError};
use crate::records::RekeyDue;
use crate::refusal::Refusal;
use crate::time::UnixTime;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use thiserror::Error;

/// The most entries of one page.
pub const MAX_PAGE: usize = 100;

/// Where a page of a list begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageAfter {
    /// Behind what this names: [`Page::more`] of the page before. None for the first page.
    pub after: Option<String>,
    /// How many entries at most; there are never more than [`MAX_PAGE`].
    pub limit: usize,
}

/// What an operator has a KDC do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Lists the groups, a page at a time, in the order of their names.
    Groups(PageAfter),
    /// Shows one group, by its GROUPNAME.
    Group(String),
    /// Lists the members of a group.
    Members(String, PageAfter),
    /// Lists the clients that were put out of a group and may not come back yet.
    Bans(String, PageAfter),
    /// Puts the member with this NODENAME out of a group. It may not join again until its token ends, or until that is lifted.
    Evict {
        /// The GROUPNAME of the group that it is about.
        group: String,
        /// The NODENAME of the member.
        node: NodeName,
    },
    /// Lets who was put out join again.
    Lift {
        /// The GROUPNAME of the group that it is about.
        group: String,
        /// The NODENAME that it had.
        node: NodeName,
    },
    /// Gives a group its next version now: new keying material, which its members are told of.
    Rekey(String),
    /// Ends what the token with this hash allows (RFC 9770 section 3), and refuses it from now on.
    Revoke(TokenHash),
    /// Has a group take members (again).
    Activate(String),
    /// Has a group take no members: joins are refused with error 9. Members stay.
    Deactivate(String),
    /// Makes a group that no file names, and begins its first version.
    Create {
        /// What the group is to be: name, application profile and parameters.
        config: GroupConfig,
        /// The issuers that may speak for it, by their names in the configuration; none where the validator names no issuers.
        issuers: Option<BTreeSet<String>>,
    },
    /// Deletes a group. Its name may be given again, to another group.
    Delete {
        /// The GROUPNAME of the group that it is about.
        group: String,
        /// Whether it is deleted also where it has members.
        with_members: bool,
    },
    /// Shows how the engine does.
    Status,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The entries of the page, at most as many as were asked for.
    pub entries: Vec<T>,
    /// Behind what the next page begins; none where this is the last one.
    pub more: Option<String>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupSummary {
    /// The GROUPNAME.
    pub name: String,
    /// The application profile, by its name in the registry.
    pub profile: String,
    /// The resource type of its group-membership resource.
    pub resource_type: String,
    /// Whether members are taken.
    pub active: bool,
    /// How many members there are.
    pub members: u64,
    /// The version of the keying material.
    pub num: u64,
    /// The Gid, in hexadecimal.
    pub gid: String,
    /// A rekeying that has to be done.
    pub rekey_due: Option<RekeyDue>,
}

/// All that is to be said of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupDetails {
    /// What stands in a list.
    #[serde(flatten)]
    pub summary: GroupSummary,
    /// How many Gids it had before.
    pub epoch: u64,
    /// When the keying material was made.
    pub created: UnixTime,
    /// When the keying material ends.
    pub expires: UnixTime,
    /// The issuers that may speak for it; none where any may.
    pub issuers: Option<BTreeSet<String>>,
    /// Its parameters. Of a secret it shows what may be seen.
    #[serde(serialize_with = "shown")]
    pub parameters: BTreeMap<String, Parameter>,
}

fn shown<S: Serializer>(parameters: &BTreeMap<String, Parameter>, serializer: S) -> Result<S::Ok, S::Error> {
    /// A parameter without its secret.
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Shown<'a> {
        Bool(bool),
        Uint(u64),
        Int(i64),
        Text(&'a str),
        Other(String),
    }
    serializer.collect_map(parameters.iter().map(|(name, parameter)| {
        let shown = match parameter {
            Parameter::Bool(value) => Shown::Bool(*value),
            Parameter::Uint(value) => Shown::Uint(*value),
            Parameter::Int(value) => Shown::Int(*value),
            Parameter::Text(value) => Shown::Text(value),
            Parameter::List(_) => Shown::Other(parameter.to_string()),
            Parameter::Secret { shown, .. } => Shown::Text(shown),
        };
        (name, shown)
    }))
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberSummary {
    /// The NODENAME, 16 hexadecimal digits.
    pub node: NodeName,
    /// The issuer of its token, by the name in the configuration.
    pub issuer: String,
    /// Its name at the issuer.
    pub subject: String,
    /// Its Sender ID, in hexadecimal; none of who only monitors.
    pub sender_id: Option<String>,
    /// Its roles, as the profile names them.
    pub roles: Vec<String>,
    /// When its token ends.
    pub token_expires: UnixTime,
    /// The hash of its token, in hexadecimal: by it the token is revoked.
    pub token_hash: String,
}

/// A client that was put out of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BanSummary {
    /// The NODENAME that it had.
    pub node: NodeName,
    /// Its issuer, by the name in the configuration.
    pub issuer: String,
    /// Its name at the issuer.
    pub subject: String,
    /// When the member was put out.
    pub since: UnixTime,
    /// When the ban ends by itself: with the token that the client had.
    pub until: UnixTime,
}

/// What a revocation has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Revocation {
    /// The client whose token it was; none where no client has it now: it is refused from now on.
    pub subject: Option<String>,
    /// The groups that it was a member of.
    pub groups: Vec<String>,
}

/// A figure of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// The name, without the `ace_` in front of it in Prometheus' text. One that ends in `_total` only grows.
    pub name: &'static str,
    /// What it is a figure of, by name; no client has chosen one of them.
    pub labels: Vec<(&'static str, String)>,
    /// The value: a count, since the start where the name ends in `_total`.
    pub value: u64,
}

impl Figure {
    /// A figure without labels.
    #[must_use]
    pub const fn new(name: &'static str, value: u64) -> Self {
        Self { name, labels: Vec::new(), value }
    }
}

/// The name, with the labels in braces.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<String> = self.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        if labels.is_empty() { f.write_str(self.name) } else { write!(f, "{}{{{}}}", self.name, labels.join(",")) }
    }
}

/// How an engine does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineStatus {
    /// Whether its start is done, and storage works.
    pub ready: bool,
    /// Whether storage works, as far as was seen.
    pub storage: bool,
    /// What there is now, and what has happened since the start.
    #[serde(serialize_with = "by_name")]
    pub figures: Vec<Figure>,
}

fn by_name<S: Serializer>(figures: &[Figure], serializer: S) -> Result<S::Ok, S::Error> {
    let figures: BTreeMap<String, u64> = figures.iter().map(|figure| (figure.to_string(), figure.value)).collect();
    serializer.collect_map(figures)
}

/// What has come of a command; it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "report")]
#[non_exhaustive]
pub enum Report {
    /// Groups, in the order of their names, from where [`Page::more`] has left off.
    Groups(Page<GroupSummary>),
    /// One group, with its version and parameters.
    Group(Box<GroupDetails>),
    /// Members of a group.
    Members(Page<MemberSummary>),
    /// Clients that were put out of a group.
    Bans(Page<BanSummary>),
    /// A member was put out.
    Evicted(BanSummary),
    /// Who was put out may join again.
    Lifted(BanSummary),
    /// A token is refused from now on.
    Revoked(Revocation),
    /// The group takes members, or takes none, from now on; or it was so before.
    State {
        /// Whether it takes members.
        active: bool,
        /// Whether that is new.
        is_new: bool,
    },
    /// A group has its next version.
    Rekeyed {
        /// Which one.
        num: u64,
        /// Its Gid, in hexadecimal.
        gid: String,
    },
    /// A group was made.
    Created {
        /// Its Gid, in hexadecimal.
        gid: String,
    },
    /// A group was deleted.
    Deleted {
        /// How many members it had.
        members: u64,
    },
    /// How the engine does.
    Status(EngineStatus),
}

/// Why a command came to nothing. Nothing has changed, except perhaps with [`Self::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no group of this name.
    #[error("there is no group {0:?}")]
    NoGroup(String),
    /// The group has no member of this name.
    #[error("group {group:?} has no member {node:?}")]
    NoMember {
        /// The GROUPNAME of the group that it is about.
        group: String,
        /// The NODENAME of the member.
        node: NodeName,
    },
    /// Nobody of this name was put out of the group.
    #[error("nobody named {node:?} was put out of group {group:?}")]
    NoBan {
        /// The GROUPNAME of the group that it is about.
        group: String,
        /// The NODENAME of the member.
        node: NodeName,
    },
    /// There is a group of this name.
    #[error("group {0:?} is there")]
    Exists(String),
    /// The group is stored, and this program cannot serve it.
    #[error("group {0:?} is not served here: its profile is not linked, or refuses its parameters")]
    NotServed(String),
    /// The group cannot be made.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// There is no issuer of this name.
    #[error("there is no issuer {0:?}")]
    NoIssuer(String),
    /// Nobody could speak for the group.
    #[error("no issuer is named that may speak for the group: nobody could join it")]
    NobodySpeaks,
    /// The group has members.
    #[error("the group has {0} member{plural}", plural = if *.0 == 1 { "" } else { "s" })]
    HasMembers(u64),
    /// What names the place in a list is none.
    #[error("{0:?} names no place in the list")]
    Page(String),
    /// The engine is no KDC.
    #[error("this is no KDC")]
    NoKdc,
    /// Nothing can be done now, and nothing was.
    #[error("nothing was done: {0}")]
    Unavailable(&'static str),
    /// It was being written when storage failed, and may have happened.
    #[error("whether it was done is not known: storage has failed meanwhile")]
    Unknown,
    /// Something is broken here.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl From<&Refusal> for CommandError {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Bound(why, _) | Refusal::TooMany(why, _) | Refusal::Unavailable(why, _) => Self::Unavailable(why),
            Refusal::CommitUnknown => Self::Unknown,
            Refusal::Internal(why) => Self::Internal(why),
            _ => Self::Internal("a command was refused as a request is"),
        }
    }
}
