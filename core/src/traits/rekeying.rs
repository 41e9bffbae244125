//! How the members of a group get its next keying material (RFC 9594 section 6): who takes part is noted when it is admitted, what goes
//! to whom is planned in the commit that begins a version, and is taken up again by who goes on with it.

use crate::engine::store::view::{Stop, View};
use crate::id::{Gid, SenderId};
use crate::traits::profile::{CallingMember, GroupState, OwnChanges, OwnRecords};
use ace_groupcomm_messages::labels::rekeying_scheme;

/// A rekeying scheme. A profile names the one of its groups ([`GroupRules::rekeying_scheme`]).
///
/// A scheme whose members get something of their own when they join, e.g. the keys of their leaf in a tree:
///
/// ```
/// use ace_groupcomm::Stop;
/// use ace_groupcomm::traits::rekeying::{RekeyPlan, RekeyingScheme, SchemeAdmission, SchemeMember, SchemeVersion};
///
/// struct Tree;
///
/// impl RekeyingScheme for Tree {
///     fn number(&self) -> i64 {
///         -70_001
///     }
///
///     fn admit(&self, member: &SchemeMember<'_, '_>) -> Result<SchemeAdmission, Stop> {
///         let leaf = member.view.random_bytes::<16>("leaf").to_vec();
///         Ok(SchemeAdmission::default().with_material(leaf))
///     }
///
///     fn plan(&self, _version: &SchemeVersion<'_, '_>) -> Result<RekeyPlan, Stop> {
///         Ok(RekeyPlan::each_member())
///     }
/// }
/// ```
///
/// [`GroupRules::rekeying_scheme`]: crate::traits::profile::GroupRules::rekeying_scheme
pub trait RekeyingScheme: Send + Sync {
    /// Returns the registered number, `rekeying_scheme` (RFC 9594 section 11.14). Members are told of another one than
    /// [`PointToPoint`]'s.
    fn number(&self) -> i64;

    /// A client is admitted, or joins again: what it gets for later rekeyings, and what is stored about it, in the commit of its
    /// membership. Nothing by default.
    ///
    /// # Errors
    /// [`Stop`] until what is needed is known, and where the join is refused.
    fn admit(&self, member: &SchemeMember<'_, '_>) -> Result<SchemeAdmission, Stop> {
        let _ = member;
        Ok(SchemeAdmission::default())
    }

    /// A version begins: who is to be told of it, and what is stored for that, in the commit of the version.
    ///
    /// # Errors
    /// [`Stop`] until what is needed is known.
    fn plan(&self, version: &SchemeVersion<'_, '_>) -> Result<RekeyPlan, Stop>;

    /// Another process has begun the version, or one that has ended: who is to be told here. Where a scheme says nothing it is as in
    /// the plan. What it stores is not looked at.
    ///
    /// # Errors
    /// [`Stop`] until what is needed is known.
    fn resume(&self, version: &SchemeVersion<'_, '_>) -> Result<RekeyPlan, Stop> {
        self.plan(version)
    }
}

/// A client that is admitted.
pub struct SchemeMember<'s, 'v> {
    /// Time and randomness.
    pub view: &'s View<'v>,
    /// Its membership, as it begins.
    pub member: CallingMember<'s>,
    /// Its membership before, where it joins again.
    pub former: Option<CallingMember<'s>>,
    /// The group, as this run sees it.
    pub group: GroupState<'s>,
    /// The records that the scheme keeps for this group. Their kinds are numbered with those of the profile.
    pub records: OwnRecords<'s, 'v>,
}

/// A version that begins, or has begun.
pub struct SchemeVersion<'s, 'v> {
    /// Time and randomness.
    pub view: &'s View<'v>,
    /// `num` of messages: one more than that of the version before.
    pub num: u64,
    /// The Gid that is used from this version on.
    pub gid: &'s Gid,
    /// The Sender IDs that went stale under the version before.
    pub gone: &'s [SenderId],
    /// The records that the scheme keeps for this group.
    pub records: OwnRecords<'s, 'v>,
}

/// What a client gets when it is admitted.
#[derive(Default)]
pub struct SchemeAdmission {
    pub(crate) material: Option<Vec<u8>>,
    pub(crate) changes: OwnChanges,
}

impl SchemeAdmission {
    /// The same with `mgt_key_material` in the Join Response.
    #[must_use]
    pub fn with_material(mut self, material: Vec<u8>) -> Self {
        self.material = Some(material);
        self
    }

    /// The same with what is stored.
    #[must_use]
    pub fn with_changes(mut self, changes: OwnChanges) -> Self {
        self.changes = changes;
        self
    }
}

/// Who is told of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Each member: by what it observes, or where it takes requests.
    EachMember,
    /// Those who observe.
    Observers,
}

/// Who is told of a version, and what is stored for that.
pub struct RekeyPlan {
    pub(crate) audience: Audience,
    pub(crate) changes: OwnChanges,
}

impl RekeyPlan {
    /// Each member is told, one after the other, under its own association: by what it observes, or else where it takes requests.
    #[must_use]
    pub fn each_member() -> Self {
        Self { audience: Audience::EachMember, changes: OwnChanges::default() }
    }

    /// Those who observe the group or their own node are told. The others ask, or are told in a way that is not the KDC's.
    #[must_use]
    pub fn observers() -> Self {
        Self { audience: Audience::Observers, changes: OwnChanges::default() }
    }

    /// The same with what is stored.
    #[must_use]
    pub fn with_changes(mut self, changes: OwnChanges) -> Self {
        self.changes = changes;
        self
    }
}

/// The point-to-point scheme (RFC 9594 section 6.1): each member gets the new keying material under its own association. It keeps no
/// records.
#[derive(Clone, Copy, Debug, Default)]
pub struct PointToPoint;

impl RekeyingScheme for PointToPoint {
    fn number(&self) -> i64 {
        rekeying_scheme::POINT_TO_POINT
    }

    fn plan(&self, _version: &SchemeVersion<'_, '_>) -> Result<RekeyPlan, Stop> {
        Ok(RekeyPlan::each_member())
    }
}
