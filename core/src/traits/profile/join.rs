//! What a profile sees of a client that joins, and what it adds to the answer.

use super::{CallingMember, EligibleCredential, GroupState, OwnChanges, OwnRecords, Roles};
use crate::engine::store::view::View;
use crate::id::{NodeName, SenderId};
use ace_groupcomm_messages::{Label, RawCbor};

/// A client that joins: it is authorised, and has proven what it has to.
pub struct ProfileJoin<'s, 'v> {
    /// Time, randomness, and signatures.
    pub view: &'s View<'v>,
    /// The roles that the Join Request asks for, all of them granted by the token.
    pub roles: Roles,
    /// The parameters of the Join Request that RFC 9594 does not know, in the order in which they came.
    pub parameters: &'s [(Label, RawCbor)],
    /// Its credential, if it has one.
    pub credential: Option<&'s EligibleCredential>,
    /// NODENAME, which it has as often as it joins.
    pub node: &'s NodeName,
    /// The Sender ID that it gets, if it gets one.
    pub sender_id: Option<&'s SenderId>,
    /// Its membership, where it joins again.
    pub former: Option<CallingMember<'s>>,
    /// The group, as this run sees it.
    pub group: GroupState<'s>,
    /// The records that the profile keeps for this group.
    pub records: OwnRecords<'s, 'v>,
}

impl ProfileJoin<'_, '_> {
    /// A parameter of the Join Request, by its label.
    #[must_use]
    pub fn parameter(&self, label: &Label) -> Option<&RawCbor> {
        self.parameters.iter().find(|(known, _)| known == label).map(|(_, value)| value)
    }
}

/// What a profile adds to a join. Nothing of it by default.
#[derive(Default)]
pub struct ProfileJoined {
    pub(crate) parameters: Vec<(Label, RawCbor)>,
    pub(crate) changes: OwnChanges,
}

impl ProfileJoined {
    /// Stores something of the profile's own, in the commit of the join. Records about a member stay when it leaves,
    /// unless [`GroupRules::leaves`](super::GroupRules::leaves) removes them.
    #[must_use]
    pub fn changed(changes: OwnChanges) -> Self {
        Self { changes, ..Self::default() }
    }

    /// The same with a parameter in the Join Response. Its label is one that RFC 9594 does not use.
    #[must_use]
    pub fn with_parameter(mut self, label: Label, value: RawCbor) -> Self {
        self.parameters.push((label, value));
        self
    }
}
