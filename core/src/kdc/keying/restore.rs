//! A KDC goes on from a backup, and never where the backup stood.
//!
//! What happened since the backup nobody knows: who joined under which Sender ID, what was encrypted, who was put out. So
//! a restore begins a new incarnation: associations, observations, tokens and memberships are dropped, and clients post
//! a token and join again; each group gets a new secret and a Gid that was never used, and its version leaps ahead of
//! all that members may have seen. Tokens from before are refused, unless it is known which were revoked.

use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::{Group, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, GroupId};
use crate::schema::kind::Kind;
use crate::schema::records::{GidOwner, GroupSecret, Head, Meta, Revoked};
use crate::token::ValidToken;
use crate::traits::profile::{OnRestore, OwnRecords};
use crate::traits::storage::Key;
use crate::{Corrupt, RecordType};
use bytes::Bytes;
use serde_bytes::ByteBuf;

/// How far versions leap: further than a group is rekeyed between a backup and its use.
const LEAP: u64 = 1 << 20;

/// Makes of the records of a backup those that a KDC goes on from.
///
/// Hand each to [`Self::record`], store what comes back, and then what [`Self::finish`] gives, before a KDC starts on it.
pub struct Restore {
    now: u64,
    revoked: Option<Vec<Vec<u8>>>,
    meta: Meta,
}

impl Restore {
    /// A restore at this time, in seconds since 1970. `revoked` are the hashes of all tokens that were revoked since
    /// the backup (RFC 9770 section 3); where they are not known, tokens that were issued before now are refused, and
    /// so are those that do not say when they were.
    #[must_use]
    pub fn new(now: u64, revoked: Option<Vec<Vec<u8>>>) -> Self {
        Self { now, revoked, meta: Meta::default() }
    }

    /// What is kept of a record.
    ///
    /// # Errors
    /// [`Corrupt`] where it cannot be read.
    pub fn record(&mut self, key: &Key, value: &Bytes) -> Result<Option<Bytes>, Corrupt> {
        match Kind::of(key).ok_or(Corrupt)? {
            Kind::Meta => {
                self.meta = Meta::decode(value)?;
                Ok(None)
            }
            Kind::Head(_) => {
                let head = Head { members: 0, rekey_due: None, ..Head::decode(value)? };
                Ok(Some(head.encode().into()))
            }
            Kind::Name(_)
            | Kind::Config(_)
            | Kind::Secret(..)
            | Kind::Gid(_)
            | Kind::Revoked(_)
            | Kind::RevocationEnd(..)
            | Kind::ExpiredSequence
            | Kind::Stale(_)
            | Kind::Own(_, OnRestore::Keep | OnRestore::Renew) => {
                if value.is_empty() {
                    Err(Corrupt)
                } else {
                    Ok(Some(value.clone()))
                }
            }
            Kind::Member(..)
            | Kind::SenderId(..)
            | Kind::Credential(_)
            | Kind::Own(_, OnRestore::Drop)
            | Kind::OwnGuard(_)
            | Kind::Principal(_)
            | Kind::Token(_)
            | Kind::Expiry(..)
            | Kind::Association(_)
            | Kind::Observation
            | Kind::Turn
            | Kind::Issuers
            | Kind::Probe
            | Kind::Ring
            | Kind::Restoring
            | Kind::SequenceLimit
            | Kind::Issued(_) => Ok(None),
        }
    }

    /// What is added at the end.
    #[must_use]
    pub fn finish(self) -> Vec<(Key, Bytes)> {
        let mut meta = self.meta;
        // Two restores of one backup are two incarnations: the time tells them apart.
        let by_time = u32::try_from(self.now).unwrap_or(u32::MAX);
        meta.incarnation = meta.incarnation.saturating_add(1).max(by_time);
        meta.latest = meta.latest.max(self.now);
        meta.restored = meta.restored.max(self.now);
        if self.revoked.is_none() {
            meta.tokens_since = meta.tokens_since.max(self.now);
        }
        let revoked = self.revoked.unwrap_or_default();
        let marks = revoked.iter().map(|hash| (keys::revoked(hash), Revoked { until: None }.encode().into()));
        marks.chain([(keys::meta(), meta.encode().into())]).collect()
    }
}

/// A Gid: the incarnation, which group it is of all that were made, and how many Gids it had before. None is
/// ever equal to another, also after a restore.
pub(in crate::kdc) fn gid(incarnation: u32, serial: u32, epoch: u32) -> Vec<u8> {
    [incarnation, serial, epoch].map(u32::to_be_bytes).concat()
}

/// Whether a group is of a former incarnation: its keying material is not served any more.
pub(in crate::kdc) fn is_former(head: &Head, meta: &Meta) -> bool {
    head.gid.first_chunk().copied().map(u32::from_be_bytes) != Some(meta.incarnation)
}

impl KdcApp {
    /// Gives a group of a former incarnation a new secret, Gid and version. Returns what that changes, and when the new
    /// material begins and ends; nothing where the group is of this incarnation.
    pub(in crate::kdc) fn renew(
        &self,
        view: &View<'_>,
        group: &Group,
        id: GroupId,
        mut meta: Meta,
    ) -> Result<Option<(Changes, u64, u64)>, Stop> {
        let head = view.get::<Head>(&keys::head(id))?.ok_or(Refusal::Internal("a group has no head"))?;
        if !is_former(head, &meta) {
            return Ok(None);
        }
        meta.groups = meta.groups.checked_add(1).ok_or(Refusal::Internal("no more groups can be made"))?;
        let gid = ByteBuf::from(gid(meta.incarnation, meta.groups, 0));
        let num = head.num.saturating_add(LEAP);
        let created = view.arrived().unix;
        let material = group.rules.material().fresh(&|label| view.random(label));
        let expires = created.saturating_add(group.rules.lifetime());
        let mut changes = Changes::new();
        changes.put(keys::meta(), meta);
        changes.put(keys::gid(&gid), GidOwner { group: id, gname: group.gname.clone() });
        changes.put(keys::secret(id, num), GroupSecret { material, created, expires });
        changes.put(keys::config(id), group.configuration());
        let own = group.rules.renew(&OwnRecords::new(view, id))?;
        changes.put_own(id, own);
        changes.delete(keys::secret(id, head.num));
        let active = head.active;
        changes.put(keys::head(id), Head { num, gid, epoch: 0, cursor: 0, members: 0, active, rekey_due: None });
        Ok(Some((changes, created, expires)))
    }

    /// Whether a token may be used for when it was issued: after a restore only those may that came later, where what was
    /// revoked is not known. Nor may one whose time begins when it comes first: a restore forgets when it did.
    pub(in crate::kdc) fn is_recent(&self, view: &View<'_>, token: &ValidToken) -> Result<bool, Stop> {
        let Some(meta) = view.get::<Meta>(&keys::meta())? else { return Ok(true) };
        let since = if token.sequence.is_some() { meta.restored.max(meta.tokens_since) } else { meta.tokens_since };
        Ok(since == 0 || token.issued.is_some_and(|at| at >= since))
    }
}
