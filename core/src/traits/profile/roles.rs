//! Roles of a kind of group, and their names.

use thiserror::Error;

/// Roles in a group: a set of bits whose meaning is the profile's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Roles(pub u64);

impl Roles {
    /// Whether all of the other's roles are among these.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether they have a role in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Each of these roles by itself.
    pub fn each(self) -> impl Iterator<Item = Self> {
        (0..u64::BITS).map(|bit| Self(1 << bit)).filter(move |role| self.meets(*role))
    }

    /// Returns the roles of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A role, with the name that configurations, policies and command lines have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedRole {
    /// The name, in lower-case letters and hyphens.
    pub name: &'static str,
    /// One bit, or several where the role includes others.
    pub roles: Roles,
}

/// A name that is no role's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no role {name:?}: it is one or more of {known}, with + in between")]
pub struct UnknownRole {
    /// The name, as it was given.
    pub name: String,
    /// The names that there are, with commas in between.
    pub known: String,
}

pub(super) fn from_names(known: &[NamedRole], names: &str) -> Result<Roles, UnknownRole> {
    names.split('+').map(str::trim).try_fold(Roles(0), |sum, name| {
        let named = known.iter().find(|known| known.name == name);
        named.map(|role| sum.with(role.roles)).ok_or_else(|| UnknownRole {
            name: name.into(),
            known: known.iter().map(|role| role.name).collect::<Vec<_>>().join(", "),
        })
    })
}
