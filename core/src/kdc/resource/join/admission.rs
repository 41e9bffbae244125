//! Which version a client gets that joins.
//!
//! Under backward security a new member gets a version that begins in the commit of its membership, and never one that was there
//! before: others have used that already (Group OSCORE profile section 7). It waits for the group's delay, or for a rekeying that comes
//! before that is over, so that clients which come together share a version: their memberships are one commit with it. A
//! group without members is rekeyed for the one that joins, where somebody has had its keys.

use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::SenderId;
use crate::kdc::keying::material::is_near_end;
use crate::kdc::keying::rekey::Rekeyed;
use crate::kdc::membership::stale::stale_under;
use crate::kdc::scene::{Authorised, GroupState};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{GroupSecret, Head, MemberRecord, Meta, RekeyReason};
use std::time::Duration;

/// Of so many new members others are told with the version; of more than that they are not: they ask when they meet one.
pub(in crate::kdc) const MAX_JOINED: usize = 32;

/// The longest time that a new member waits for others, to share a version with them.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How often a new member looks whether the present version was sent to all: a request has 64 runs.
const JOIN_CHECK: Duration = Duration::from_millis(250);

/// The version that a client gets, and what changes with it.
pub(super) struct Admission {
    pub(super) head: Head,
    pub(super) secret: GroupSecret,
    pub(super) changes: Changes,
    pub(super) events: Vec<Event>,
    /// Sender IDs that went stale under the version before: nobody gets one of them in the message that says so.
    pub(super) barred: Vec<SenderId>,
    /// Until when it waits for others with whom it shares the version. All that it needs is got before.
    pub(super) waits_until: Option<Duration>,
}

impl GroupSecret {
    /// Notes a member that was admitted with this version.
    fn admit(&mut self, id: PrincipalId) {
        if self.joined.len() <= MAX_JOINED {
            self.joined.push(id);
        }
    }

    /// The members that were admitted with this version; none where they are too many to be told of.
    pub(in crate::kdc) fn admitted(&self) -> &[PrincipalId] {
        if self.joined.len() > MAX_JOINED { &[] } else { &self.joined }
    }
}

impl KdcApp {
    /// The version that a client gets: the one that there is, or one that begins with its join.
    pub(super) fn admission(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
        former: Option<&MemberRecord>,
    ) -> Result<Admission, Stop> {
        let head = group.head;
        let key = keys::secret(group.id, head.num);
        let secret = view.get::<GroupSecret>(&key)?.ok_or(Refusal::Internal("the keying material cannot be read"))?;
        let is_new = former.is_none() && authorised.group.policy.backward_security;
        let is_shared = is_new && self.has_begun_with_others(view, group)?;
        // The rekeying is for all who come meanwhile.
        let waits_until = if is_new && !is_shared && head.members > 0 {
            Some(self.shares_until(view, authorised, group)?)
        } else {
            None
        };
        let mut reasons = head.rekey_due.as_ref().map(|due| due.reasons.clone()).unwrap_or_default();
        let is_unused = head.members == 0 && reasons.is_empty() && !is_near_end(secret, view.now().unix);
        let goes_on = if head.members == 0 { is_unused } else { self.is_usable(view, secret) };
        if is_new {
            reasons.insert(RekeyReason::Joined);
        }
        if goes_on && !is_new || is_shared {
            let (mut secret, mut changes) = (secret.clone(), Changes::new());
            let mut barred = Vec::new();
            if is_shared {
                secret.admit(authorised.holder.id);
                changes.put(key, secret.clone());
                barred = stale_under(view, group.id, head.num.saturating_sub(1))?;
            }
            // While the group was empty nobody looked at how old its keys are.
            let lives = (head.members == 0).then(|| Event::Created {
                gname: authorised.group.gname.clone(),
                group: group.id,
                num: head.num,
                created: secret.created,
                expires: secret.expires,
                interval: authorised.group.policy.interval,
            });
            let events = lives.into_iter().collect();
            return Ok(Admission { head: head.clone(), secret, changes, events, barred, waits_until });
        }
        if reasons.is_empty() {
            reasons.insert(RekeyReason::MaterialEnds);
        }
        let meta = view.get::<Meta>(&keys::meta())?.copied().unwrap_or_default();
        let barred = stale_under(view, group.id, head.num)?;
        let rekeyed = self.begin_rekeying(view, &authorised.group, group.id, head, meta, &reasons)?;
        let Rekeyed { head, mut secret, mut changes, events } = rekeyed;
        if is_new {
            secret.admit(authorised.holder.id);
            changes.put(keys::secret(group.id, head.num), secret.clone());
        }
        Ok(Admission { head, secret, changes, events, barred, waits_until })
    }

    /// Until when a new member waits for others, and for members that were not sent the present version once.
    fn shares_until(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
    ) -> Result<Duration, Stop> {
        let (arrived, now, of) = (view.arrived().mono, view.now().mono, &authorised.group);
        let shares = arrived.saturating_add(of.policy.delay.min(LONGEST_WAIT));
        if !self.is_in_first_round(view, &of.gname, group.id, group.head)? {
            return Ok(shares);
        }
        Ok(shares.max(now.saturating_add(JOIN_CHECK)).min(arrived.saturating_add(LONGEST_WAIT)))
    }

    /// Whether the version begins in the commit that this join becomes part of.
    fn has_begun_with_others(&self, view: &View<'_>, group: &GroupState<'_>) -> Result<bool, Stop> {
        let durable = view.durable::<Head>(&keys::head(group.id))?;
        Ok(durable.is_some_and(|durable| durable.num < group.head.num))
    }
}
