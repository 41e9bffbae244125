//! Who may do what at the KDC (RFC 9594 section 4.1, Group OSCORE profile section 8.5).
//!
//! What is not in this table is not allowed. A profile adds rows of its own
//! ([`GroupRules::routes`](crate::traits::profile::GroupRules::routes)).
//!
//! | path | method | who | takes | gives |
//! | --- | --- | --- | --- | --- |
//! | /authz-info | POST | anyone | 19 | 19 |
//! | /ace-group | FETCH | token holder | 261 | 261 |
//! | /ace-group/GROUPNAME | POST | authorised | 261 | 261 |
//! | /ace-group/GROUPNAME | GET | member | - | 261 |
//! | /ace-group/GROUPNAME/creds | GET | member or reader of credentials | - | 261 |
//! | /ace-group/GROUPNAME/creds | FETCH | member or reader of credentials | 261 | 261 |
//! | /ace-group/GROUPNAME/kdc-cred | GET | member | - | 261 |
//! | /ace-group/GROUPNAME/policies | GET | member | - | 261 |
//! | /ace-group/GROUPNAME/num | GET | member | - | 261 |
//! | /ace-group/GROUPNAME/nodes/NODENAME | GET | owner | - | 261 |
//! | /ace-group/GROUPNAME/nodes/NODENAME | POST | owner | - | 261 |
//! | /ace-group/GROUPNAME/nodes/NODENAME | DELETE | owner | - | - |
//! | /ace-group/GROUPNAME/nodes/NODENAME/cred | POST | owner | 261 | - |
//!
//! 19 is application/ace+cbor, 261 is application/ace-groupcomm+cbor.

use crate::request::Method;
use ace_groupcomm_messages::paths::{AUTHZ_INFO, CRED, CREDS, KDC_CRED, NODES, NUM, POLICIES, ROOT};
use std::fmt;

/// A resource of the KDC, as a path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource<'a> {
    /// /authz-info
    AuthzInfo,
    /// /ace-group
    Groups,
    /// /ace-group/GROUPNAME
    Group,
    /// /ace-group/GROUPNAME/creds
    Creds,
    /// /ace-group/GROUPNAME/kdc-cred
    KdcCred,
    /// /ace-group/GROUPNAME/policies
    Policies,
    /// /ace-group/GROUPNAME/num
    Num,
    /// /ace-group/GROUPNAME/nodes/NODENAME
    Node(&'a str),
    /// /ace-group/GROUPNAME/nodes/NODENAME/cred
    NodeCred(&'a str),
    /// Another one under /ace-group/GROUPNAME: a profile may have it.
    Own(&'a str),
    /// What is one segment below that.
    Below(&'a str, &'a str),
    /// Something below /ace-group/GROUPNAME that is not there.
    Nothing,
}

/// What a caller has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Who {
    /// Anybody, also without a token.
    Anyone,
    /// Somebody with a valid token.
    TokenHolder,
    /// Somebody whose token names the group.
    Authorised,
    /// A member, or somebody whose roles let it read credentials without being one.
    CredsReader,
    /// A member of the group.
    Member,
    /// The member that the resource belongs to.
    Owner,
}

/// One row of the table: a method of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The resource. A node stands for all of them.
    pub resource: Resource<'static>,
    /// One row has one method.
    pub method: Method,
    /// What the caller has to be.
    pub who: Who,
    /// The Content-Format of the request's payload, where it has one.
    pub takes: Option<u16>,
    /// The Content-Format of the answer's payload.
    pub gives: Option<u16>,
}

/// Path segments that are the KDC's own: nothing of a profile is there.
const CORE: [&str; 5] = [CREDS, KDC_CRED, POLICIES, NUM, NODES];

impl<'a> Resource<'a> {
    /// The resource that a path names, and its GROUPNAME; `None` where there is none.
    #[must_use]
    pub fn of(path: &'a [String]) -> Option<(Self, &'a str)> {
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        Some(match segments.as_slice() {
            [AUTHZ_INFO] => (Self::AuthzInfo, ""),
            [ROOT] => (Self::Groups, ""),
            [ROOT, group] => (Self::Group, group),
            [ROOT, group, CREDS] => (Self::Creds, group),
            [ROOT, group, KDC_CRED] => (Self::KdcCred, group),
            [ROOT, group, POLICIES] => (Self::Policies, group),
            [ROOT, group, NUM] => (Self::Num, group),
            [ROOT, group, NODES, node] => (Self::Node(node), group),
            [ROOT, group, NODES, node, CRED] => (Self::NodeCred(node), group),
            [ROOT, group, name] if *name != NODES => (Self::Own(name), group),
            [ROOT, group, name, below] if !CORE.contains(name) => (Self::Below(name, below), group),
            [ROOT, group, ..] => (Self::Nothing, group),
            _ => return None,
        })
    }

    /// Whether members may be told of its changes (RFC 9594 sections 4.8.1 and 6.1). A profile says so of its own. Credentials and
    /// the version are not among them: a rekeying message has both.
    #[must_use]
    pub const fn is_observable(self) -> bool {
        matches!(self, Self::Group | Self::Node(_))
    }

    /// Its kind, in a word that no client has chosen.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::AuthzInfo => AUTHZ_INFO,
            Self::Groups => "groups",
            Self::Group => "group",
            Self::Creds => CREDS,
            Self::KdcCred => KDC_CRED,
            Self::Policies => POLICIES,
            Self::Num => NUM,
            Self::Node(_) => "node",
            Self::NodeCred(_) => "node_cred",
            Self::Own(_) | Self::Below(..) => "profile",
            Self::Nothing => "none",
        }
    }

    /// Whether it is this one, whichever NODENAME they have.
    #[must_use]
    pub const fn is_kind_of(self, other: Resource<'_>) -> bool {
        matches!(
            (self, other),
            (Self::AuthzInfo, Resource::AuthzInfo)
                | (Self::Groups, Resource::Groups)
                | (Self::Group, Resource::Group)
                | (Self::Creds, Resource::Creds)
                | (Self::KdcCred, Resource::KdcCred)
                | (Self::Policies, Resource::Policies)
                | (Self::Num, Resource::Num)
                | (Self::Node(_), Resource::Node(_))
                | (Self::NodeCred(_), Resource::NodeCred(_))
        )
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = |f: &mut fmt::Formatter<'_>, name: &str| write!(f, "/{ROOT}/GROUPNAME/{name}");
        match self {
            Self::AuthzInfo => write!(f, "/{AUTHZ_INFO}"),
            Self::Groups => write!(f, "/{ROOT}"),
            Self::Group => write!(f, "/{ROOT}/GROUPNAME"),
            Self::Creds => below(f, CREDS),
            Self::KdcCred => below(f, KDC_CRED),
            Self::Policies => below(f, POLICIES),
            Self::Num => below(f, NUM),
            Self::Node(_) => write!(f, "/{ROOT}/GROUPNAME/{NODES}/NODENAME"),
            Self::NodeCred(_) => write!(f, "/{ROOT}/GROUPNAME/{NODES}/NODENAME/{CRED}"),
            Self::Own(name) => below(f, name),
            Self::Below(name, segment) => write!(f, "/{ROOT}/GROUPNAME/{name}/{segment}"),
            Self::Nothing => below(f, "…"),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anyone => "anyone",
            Self::TokenHolder => "token holder",
            Self::Authorised => "authorised",
            Self::CredsReader => "member or reader of credentials",
            Self::Member => "member",
            Self::Owner => "owner",
        })
    }
}

/// A row of the documentation's table.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = |format: Option<u16>| format.map_or_else(|| "-".to_owned(), |format| format.to_string());
        let (method, takes, gives) =
            (format!("{:?}", self.method).to_uppercase(), format(self.takes), format(self.gives));
        write!(f, "| {} | {method} | {} | {takes} | {gives} |", self.resource, self.who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(Into::into).collect()
    }

    #[test]
    fn paths_name_resources() {
        for (text, expected) in [
            ("authz-info", Some((Resource::AuthzInfo, ""))),
            ("ace-group", Some((Resource::Groups, ""))),
            ("ace-group/g", Some((Resource::Group, "g"))),
            ("ace-group/g/creds", Some((Resource::Creds, "g"))),
            ("ace-group/g/kdc-cred", Some((Resource::KdcCred, "g"))),
            ("ace-group/g/policies", Some((Resource::Policies, "g"))),
            ("ace-group/g/num", Some((Resource::Num, "g"))),
            ("ace-group/g/nodes/n", Some((Resource::Node("n"), "g"))),
            ("ace-group/g/active", Some((Resource::Own("active"), "g"))),
            ("ace-group/g/notes/one", Some((Resource::Below("notes", "one"), "g"))),
            ("ace-group/g/notes/one/two", Some((Resource::Nothing, "g"))),
            ("ace-group/g/num/x", Some((Resource::Nothing, "g"))),
            ("ace-group/g/nodes", Some((Resource::Nothing, "g"))),
            ("ace-group/g/nodes/n/cred", Some((Resource::NodeCred("n"), "g"))),
            ("ace-group/g/nodes/n/creds", Some((Resource::Nothing, "g"))),
            ("ace-group/g/nodes/n/cred/x", Some((Resource::Nothing, "g"))),
            ("ace-groups/g", None),
            ("authz-info/x", None),
            ("", None),
        ] {
            assert_eq!(Resource::of(&path(text)), expected, "{text}");
        }
        assert_eq!(Resource::of(&[]), None);
    }
}
