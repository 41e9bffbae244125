//! Which issuers are trusted, with which keys, and for which groups.

use crate::keys::KeyFingerprint;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What an issuer is trusted with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedIssuer {
    /// Fingerprints of the keys that its tokens are encrypted with.
    pub keys: BTreeSet<KeyFingerprint>,
    /// GROUPNAMEs that may stand in the scope of its tokens.
    pub groups: BTreeSet<String>,
}

/// All issuers that a [`TokenValidator`](crate::traits::token::TokenValidator) trusts, by their names in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Trust(BTreeMap<String, TrustedIssuer>);

/// How trust has changed. The name is that of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustChange {
    /// An issuer is trusted that was not.
    Added(String),
    /// An issuer is trusted no more.
    Removed(String),
    /// An issuer has other keys.
    Keys(String),
    /// An issuer may not speak for a group any more.
    GroupsLost(String),
    /// An issuer may speak for more groups.
    GroupsGained(String),
}

impl fmt::Display for TrustChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(name) => write!(f, "issuer {name:?} is new"),
            Self::Removed(name) => write!(f, "issuer {name:?} is gone"),
            Self::Keys(name) => write!(f, "issuer {name:?} has other keys"),
            Self::GroupsLost(name) => write!(f, "issuer {name:?} may not speak for all of its groups any more"),
            Self::GroupsGained(name) => write!(f, "issuer {name:?} may speak for more groups"),
        }
    }
}

impl TrustChange {
    /// Returns the name of the issuer that it is about.
    #[must_use]
    pub fn issuer(&self) -> &str {
        match self {
            Self::Added(name)
            | Self::Removed(name)
            | Self::Keys(name)
            | Self::GroupsLost(name)
            | Self::GroupsGained(name) => name,
        }
    }
}

impl Trust {
    /// Trusts one more issuer.
    #[must_use]
    pub fn with(mut self, name: &str, issuer: TrustedIssuer) -> Self {
        self.0.insert(name.into(), issuer);
        self
    }

    /// An issuer by its name.
    #[must_use]
    pub fn issuer(&self, name: &str) -> Option<&TrustedIssuer> {
        self.0.get(name)
    }

    /// The issuers that may speak for a group.
    #[must_use]
    pub fn speakers(&self, gname: &str) -> BTreeSet<String> {
        self.0.iter().filter(|(_, issuer)| issuer.groups.contains(gname)).map(|(name, _)| name.clone()).collect()
    }

    /// The keys of each issuer.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<String, BTreeSet<KeyFingerprint>> {
        self.0.iter().map(|(name, issuer)| (name.clone(), issuer.keys.clone())).collect()
    }

    /// Which issuers differ in the other one, which comes later, or their keys; their groups are not looked at.
    #[must_use]
    pub fn changes(&self, later: &Self) -> Vec<TrustChange> {
        let mut changes = Vec::new();
        let names: BTreeSet<&String> = self.0.keys().chain(later.0.keys()).collect();
        for name in names {
            match (self.issuer(name), later.issuer(name)) {
                (None, _) => changes.push(TrustChange::Added(name.clone())),
                (_, None) => changes.push(TrustChange::Removed(name.clone())),
                (Some(was), Some(is)) => {
                    if was.keys != is.keys {
                        changes.push(TrustChange::Keys(name.clone()));
                    }
                }
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn issuer(key: u8, groups: &[&str]) -> TrustedIssuer {
        let keys = [KeyFingerprint::of(10, &Secret::new(vec![key; 16]))].into();
        TrustedIssuer { keys, groups: groups.iter().map(|&group| group.into()).collect() }
    }

    #[test]
    fn each_change_of_trust_is_named() {
        let trust = |issuers: &[(&str, u8, &[&str])]| {
            issuers.iter().fold(Trust::default(), |trust, (name, key, groups)| trust.with(name, issuer(*key, groups)))
        };
        let was = trust(&[("gone", 1, &["a"]), ("kept", 2, &["a"]), ("other", 3, &["a", "c"])]);
        assert_eq!(was.changes(&was), []);
        let is = trust(&[("kept", 2, &["a"]), ("new", 1, &["a"]), ("other", 4, &["a", "b"])]);
        let words: Vec<String> = was.changes(&is).iter().map(TrustChange::to_string).collect();
        assert_eq!(words, ["issuer \"gone\" is gone", "issuer \"new\" is new", "issuer \"other\" has other keys",]);
    }

    #[test]
    fn a_fingerprint_names_key_and_algorithm() {
        let of = |algorithm, key: &[u8]| KeyFingerprint::of(algorithm, &Secret::from(key));
        assert_eq!(of(10, &[1; 16]), of(10, &[1; 16]));
        assert_ne!(of(10, &[1; 16]), of(10, &[2; 16]));
        assert_ne!(of(10, &[1; 16]), of(30, &[1; 16]));
    }
}
