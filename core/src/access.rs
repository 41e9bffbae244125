//! Who may do what at the KDC, as one table (RFC 9594 section 4.1, Group OSCORE profile section 8.5).

use crate::request::Method;
use ace_groupcomm_messages::paths::{AUTHZ_INFO, CREDS, KDC_CRED, NODES, NUM, POLICIES, ROOT};

/// A resource of the KDC, as a path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Another one under /ace-group/GROUPNAME: a profile may have it.
    Extra(&'a str),
    /// Something below /ace-group/GROUPNAME that is not there.
    Nothing,
}

/// What a caller has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Anybody at all.
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

/// The table. What is not in it is not allowed.
const TABLE: &[(Resource<'static>, Method, Who)] = &[
    (Resource::AuthzInfo, Method::Post, Who::Anyone),
    (Resource::Groups, Method::Fetch, Who::TokenHolder),
    (Resource::Group, Method::Post, Who::Authorised),
    (Resource::Group, Method::Get, Who::Member),
    (Resource::Creds, Method::Get, Who::CredsReader),
    (Resource::Creds, Method::Fetch, Who::CredsReader),
    (Resource::KdcCred, Method::Get, Who::Member),
    (Resource::Policies, Method::Get, Who::Member),
    (Resource::Num, Method::Get, Who::Member),
    (Resource::Node(""), Method::Get, Who::Owner),
];

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
            [ROOT, group, extra] if *extra != NODES => (Self::Extra(extra), group),
            [ROOT, group, ..] => (Self::Nothing, group),
            _ => return None,
        })
    }

    /// Whether members may be told of its changes (RFC 9594 sections 4.8.1 and 6.1, Group OSCORE profile section 8.2.1).
    #[must_use]
    pub const fn is_observable(self) -> bool {
        matches!(self, Self::Group | Self::Creds | Self::Num | Self::Node(_) | Self::Extra(_))
    }

    /// What a caller has to be for a method; `None` where nobody may. A profile's own resources are for
    /// members; whether there is one is asked of the profile.
    #[must_use]
    pub fn who(self, method: Method) -> Option<Who> {
        let kind = match self {
            Self::Node(_) => Resource::Node(""),
            Self::Extra(_) => return Some(Who::Member),
            other => other,
        };
        TABLE.iter().find(|(resource, allowed, _)| *resource == kind && *allowed == method).map(|&(_, _, who)| who)
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
            ("ace-group/g/active", Some((Resource::Extra("active"), "g"))),
            ("ace-group/g/nodes", Some((Resource::Nothing, "g"))),
            ("ace-group/g/nodes/n/cred/x", Some((Resource::Nothing, "g"))),
            ("ace-groups/g", None),
            ("authz-info/x", None),
            ("", None),
        ] {
            assert_eq!(Resource::of(&path(text)), expected, "{text}");
        }
        assert_eq!(Resource::of(&[]), None);
    }

    // Covers: AF-5.10.1.2-01
    #[test]
    fn what_is_not_in_the_table_is_not_allowed() {
        let all =
            [Method::Get, Method::Post, Method::Put, Method::Delete, Method::Fetch, Method::Patch, Method::IPatch];
        let allowed =
            |resource: Resource<'static>| all.into_iter().filter(|m| resource.who(*m).is_some()).collect::<Vec<_>>();
        assert_eq!(allowed(Resource::AuthzInfo), [Method::Post]);
        assert_eq!(allowed(Resource::Groups), [Method::Fetch]);
        assert_eq!(allowed(Resource::Group), [Method::Get, Method::Post]);
        assert_eq!(allowed(Resource::Creds), [Method::Get, Method::Fetch]);
        for one in [Resource::KdcCred, Resource::Policies, Resource::Num, Resource::Node("x")] {
            assert_eq!(allowed(one), [Method::Get]);
        }
        assert_eq!(Resource::Node("x").who(Method::Get), Some(Who::Owner));
        assert_eq!(Resource::Extra("x").who(Method::Put), Some(Who::Member));
    }
}
