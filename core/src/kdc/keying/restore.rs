//! A KDC goes on from a backup, and never where the backup stood.
//!
//! What happened since the backup nobody knows: who joined under which Sender ID, what was encrypted, who was put out. So
//! a restore begins a new incarnation: associations, observations, tokens and memberships are dropped, and clients post
//! a token and join again; each group gets a new secret and a Gid that was never used, and its version leaps ahead of
//! all that members may have seen. Tokens from before are refused, unless it is known which were revoked.

use crate::engine::store::view::{Stop, View};
use crate::id::TokenHash;
use crate::kdc::keying::epoch::{Begun, is_former};
use crate::kdc::{Group, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, GroupId};
use crate::schema::kind::Kind;
use crate::schema::records::{Head, Meta, Revoked};
use crate::time::UnixTime;
use crate::token::ValidToken;
use crate::traits::profile::{OnRestore, OwnRecords};
use crate::traits::storage::Key;
use crate::{Corrupt, RecordType};
use bytes::Bytes;
use std::collections::BTreeSet;

/// How far versions leap at least: further than a group is rekeyed between a backup and its use.
const LEAP: u64 = 1 << 20;

/// How far the version of a group leaps that had this one in the backup. Its number grows with the time of the restore, so that who
/// restores one backup a second time comes behind all versions since the first time.
fn leap(num: u64, restored: UnixTime) -> u64 {
    restored.seconds().saturating_mul(LEAP).saturating_sub(num).max(LEAP)
}

/// Makes of the records of a backup those that a KDC goes on from.
///
/// Hand each to [`Self::record`], store what comes back, and then what [`Self::finish`] gives, before a KDC starts on it.
pub struct Restore {
    now: UnixTime,
    random: [u8; 6],
    revoked: Option<Vec<TokenHash>>,
    /// Those that the backup knows of: it also knows until when.
    known: BTreeSet<TokenHash>,
    meta: Meta,
}

impl Restore {
    /// A restore at this time. The random bytes are part of all Gids from now on: other restores of the
    /// same backup have others. `revoked` are the hashes of all tokens that were revoked since
    /// the backup (RFC 9770 section 3); where they are not known, tokens that were issued before now are refused, and
    /// so are those that do not say when they were.
    #[must_use]
    pub fn new(now: UnixTime, random: [u8; 6], revoked: Option<Vec<TokenHash>>) -> Self {
        Self { now, random, revoked, known: BTreeSet::new(), meta: Meta::default() }
    }

    /// What is kept of a record.
    ///
    /// # Errors
    /// [`Corrupt`] where it cannot be read.
    pub fn record(&mut self, key: &Key, value: &Bytes) -> Result<Option<Bytes>, Corrupt> {
        let kind = Kind::of(key).ok_or(Corrupt)?;
        if let Kind::Revoked(hash) = &kind {
            self.known.insert(TokenHash::from(*hash));
        }
        match kind {
            Kind::Meta => {
                self.meta = Meta::decode(value)?;
                Ok(None)
            }
            Kind::Head(_) => {
                // Of no incarnation, so that it is a former one whatever the clock says.
                let head =
                    Head { members: 0, held: 0, taken: 0, rekey_due: None, incarnation: 0, ..Head::decode(value)? };
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
            | Kind::Deletion(_)
            | Kind::Ban(..)
            | Kind::BanEnd(..)
            | Kind::Own(_, OnRestore::Keep | OnRestore::Renew) => {
                if value.is_empty() {
                    Err(Corrupt)
                } else {
                    Ok(Some(value.clone()))
                }
            }
            Kind::Member(..)
            | Kind::Leaving(..)
            | Kind::SenderId(..)
            | Kind::Credential(_)
            | Kind::Own(_, OnRestore::Drop)
            | Kind::OwnGuard(_)
            | Kind::Principal(_)
            | Kind::Token(_)
            | Kind::Expiry(..)
            | Kind::Association(_)
            | Kind::Provoked(..)
            | Kind::Control(..)
            | Kind::RekeyProgress(_)
            | Kind::ProvokedEnd(..)
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
        meta.tag = Some(self.random);
        let by_time = u32::try_from(self.now.seconds()).unwrap_or(u32::MAX);
        meta.incarnation = meta.incarnation.saturating_add(1).max(by_time);
        meta.latest = meta.latest.max(self.now);
        meta.restored = meta.restored.max(self.now);
        if self.revoked.is_none() {
            meta.tokens_since = meta.tokens_since.max(self.now);
        }
        let revoked = self.revoked.unwrap_or_default();
        let marks = revoked
            .iter()
            .filter(|hash| !self.known.contains(hash))
            .map(|hash| (keys::revoked(hash), Revoked { until: None }.encode().into()));
        marks.chain([(keys::meta(), meta.encode().into())]).collect()
    }
}

impl KdcApp {
    /// Gives a group of a former incarnation a new secret, Gid and version; nothing where the group is of this incarnation.
    pub(in crate::kdc) fn renew(
        &self,
        view: &View<'_>,
        group: &Group,
        id: GroupId,
        meta: Meta,
    ) -> Result<Option<Begun>, Stop> {
        let head = view.get::<Head>(&keys::head(id))?.ok_or(Refusal::Internal("a group has no head"))?;
        if !is_former(head, &meta) {
            return Ok(None);
        }
        // Members were dropped by the restore; they join again.
        let former = Head { members: 0, cursor: 0, held: 0, taken: 0, ..head.clone() };
        let mut begun = self.next_epoch(view, group, id, &former, leap(head.num, meta.restored), meta)?;
        let own = group.rules.renew(&OwnRecords::new(view, id))?;
        begun.changes.put_own(id, own);
        Ok(Some(begun))
    }

    /// Whether a token may be used for when it was issued: after a restore only those may that came later, where what was
    /// revoked is not known. Nor may one whose time begins when it comes first: a restore forgets when it did.
    pub(in crate::kdc) fn is_recent(&self, view: &View<'_>, token: &ValidToken) -> Result<bool, Stop> {
        let Some(meta) = view.get::<Meta>(&keys::meta())? else { return Ok(true) };
        let since = if token.sequence.is_some() { meta.restored.max(meta.tokens_since) } else { meta.tokens_since };
        let since = if since == UnixTime::EPOCH { since } else { since.plus(self.validator.leeway()) };
        Ok(since == UnixTime::EPOCH || token.issued.is_some_and(|at| at >= since))
    }
}
