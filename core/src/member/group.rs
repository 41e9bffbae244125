//! A group as a member keeps it, and what of its keys was used.

use super::bytes::Bytes;
use crate::time::UnixTime;
use crate::traits::member::MemberRules;
use ace_groupcomm_messages::{PeerCred, RawCbor};
use serde::{Deserialize, Serialize};

/// A group that the member joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedGroup {
    /// The encoded `key` object.
    pub key: Bytes,
    /// The version of the keying material.
    pub num: i64,
    /// When it ends, by the member's clock.
    pub expires: Option<UnixTime>,
    /// NODENAME, out of the Location-Path of the Join Response.
    pub node: String,
    /// The KDC's credential, in the group's format; empty where the group has none.
    pub kdc_cred: Bytes,
    /// The others' credentials, roles and identifiers.
    pub peers: Vec<Peer>,
    /// Names of the keys that were handed to another stack. None of them is handed out again, by whatever way it
    /// comes back.
    pub spent: Vec<Bytes>,
    /// Whether the key may have been used without a record of it.
    pub doubtful: bool,
    /// N_C of the Join Request that was answered last: the KDC's later proofs are over it.
    #[serde(default)]
    pub cnonce: Bytes,
    /// Where the KDC was told at the last join that the member takes requests. The KDC does not say whether it will use it.
    #[serde(default)]
    pub control_uri: Option<String>,
    /// Whether the group is inactive, as far as is known: nothing is to be sent to it, and nothing taken from it, until it is active again.
    #[serde(default)]
    pub inactive: bool,
}

/// Another member of the group, as the KDC has told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The identifier in the group, e.g. its Sender ID.
    pub id: Bytes,
    /// The credential, in the group's format.
    pub cred: Bytes,
    /// The roles, as bits of the profile.
    pub roles: u64,
}

impl Peer {
    /// Roles that the profile does not know are none.
    pub(super) fn new(rules: &dyn MemberRules, peer: PeerCred) -> Self {
        let roles = peer.roles.and_then(|permissions| rules.profile().roles(&permissions));
        Self { id: Bytes(peer.id), cred: Bytes(peer.cred), roles: roles.map_or(0, |roles| roles.0) }
    }
}

/// What is kept of a group that the member is out of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerGroup {
    /// The version of the keying material that it had.
    pub num: Option<i64>,
    /// Names of the keys that were used. None of them is used again.
    pub spent: Vec<Bytes>,
}

impl JoinedGroup {
    /// What is kept when the membership is over, or begins anew. The key that it had counts as used.
    pub(super) fn ended(&self, rules: &dyn MemberRules) -> FormerGroup {
        let mut group = self.clone();
        group.spend(rules);
        FormerGroup { num: Some(group.num), spent: group.spent }
    }

    fn name_of_key(&self, rules: &dyn MemberRules) -> Option<Bytes> {
        rules.key_name(&RawCbor::new(&self.key.0).ok()?).map(Bytes)
    }

    /// Keeps the credentials of all members but the member's own.
    pub(super) fn set_peers(&mut self, rules: &dyn MemberRules, peers: Vec<PeerCred>) {
        let own = RawCbor::new(&self.key.0).ok().and_then(|key| rules.own_id(&key));
        let peers = peers.into_iter().map(|peer| Peer::new(rules, peer));
        self.peers = peers.filter(|peer| Some(&peer.id.0) != own.as_ref()).collect();
    }

    /// Whether the keys were used under this identifier, or may have been. They must not be used from the start
    /// again.
    #[must_use]
    pub fn is_spent(&self, rules: &dyn MemberRules) -> bool {
        self.name_of_key(rules).is_some_and(|name| self.doubtful || self.spent.contains(&name))
    }

    /// Marks the keys as used under this identifier.
    pub fn spend(&mut self, rules: &dyn MemberRules) {
        let name = self.name_of_key(rules);
        if let Some(name) = name.filter(|name| !self.spent.contains(name)) {
            self.spent.push(name);
        }
    }
}
