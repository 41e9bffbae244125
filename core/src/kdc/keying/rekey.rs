//! Rekeying: a group gets its next version (RFC 9594 section 6, Group OSCORE profile section 11).
//!
//! What makes it necessary is written in the commit that brings it about ([`Head::note_due`]), so that nothing is forgotten, whoever
//! crashes. Memory knows when it is to be done: after the group's delay, so that several causes cost one rekeying; at once where
//! a KDC starts. A group without members waits for the next one, whose join begins the version.
//!
//! The version is durable before anybody is told of it, and nobody who is out is told of it: what goes to a member is made when
//! it is sent, of the head and then the membership as they are.

use crate::audit::Entry;
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::keying::epoch::{Begun, is_former};
use crate::kdc::keying::material::is_near_end;
use crate::kdc::membership::stale::stale_under;
use crate::kdc::{Event, Group, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, GroupId};
use crate::schema::records::{GroupSecret, Head, Meta, RekeyReason};
use crate::traits::profile::OwnRecords;
use crate::traits::rekeying::{Audience, SchemeVersion};
use crate::traits::transport::AssociationNotice;
use ace_groupcomm_messages::paths::{NODES, ROOT};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A start is no cause where the version is younger than this: a process that is started again and again would rekey each time.
const RESTART_QUIET: Duration = Duration::from_secs(600);
/// So long the next version waits at most for members that were not sent the present one once.
const FIRST_ROUND: Duration = Duration::from_secs(10);
/// How often it is looked whether they were.
const ROUND_CHECK: Duration = Duration::from_millis(50);

/// When groups are to be rekeyed, on the clock that never jumps.
#[derive(Debug, Default)]
pub(in crate::kdc) struct Rekeyings {
    /// With a reason that is not stored, where there is one.
    due: BTreeMap<String, (Duration, Option<RekeyReason>)>,
    order: BTreeSet<(Duration, String)>,
}

impl Rekeyings {
    /// A group is to be rekeyed at this moment, or earlier where that is known already.
    pub(in crate::kdc) fn note(&mut self, gname: &str, at: Duration, why: Option<RekeyReason>) {
        let (known_at, known_why) = self.due.get(gname).copied().unwrap_or((at, None));
        let (at, why) = (known_at.min(at), known_why.or(why));
        self.forget(gname);
        self.due.insert(gname.into(), (at, why));
        self.order.insert((at, gname.into()));
    }

    /// A group is rekeyed, or gone.
    pub(in crate::kdc) fn forget(&mut self, gname: &str) {
        if let Some((at, _)) = self.due.remove(gname) {
            self.order.remove(&(at, gname.into()));
        }
    }

    /// When the next one is due.
    pub(in crate::kdc) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the groups that are due.
    pub(in crate::kdc) fn take(&mut self, now: Duration) -> Vec<(String, Option<RekeyReason>)> {
        let mut taken = Vec::new();
        while let Some((_, gname)) = self.order.first().filter(|(at, _)| *at <= now).cloned() {
            let why = self.due.get(&gname).and_then(|(_, why)| *why);
            self.forget(&gname);
            taken.push((gname, why));
        }
        taken
    }
}

/// A version that has begun with a rekeying, and what becomes true with it.
pub(in crate::kdc) struct Rekeyed {
    pub(in crate::kdc) head: Head,
    pub(in crate::kdc) secret: GroupSecret,
    pub(in crate::kdc) changes: Changes,
    pub(in crate::kdc) events: Vec<Event>,
}

impl KdcApp {
    /// Rekeys a group where that is due, for what is stored or for this reason; nothing where it is not, or not any more.
    pub(in crate::kdc) fn rekey(
        &self,
        view: &View<'_>,
        gname: &str,
        why: Option<RekeyReason>,
    ) -> Result<Outcome<Event>, Stop> {
        let Some(live) = self.group(view, gname)? else { return Ok(Outcome::done()) };
        let (head, meta) = (view.get::<Head>(&keys::head(live.id)), view.get::<Meta>(&keys::meta()));
        let (Some(head), meta) = (head?, meta?.copied().unwrap_or_default()) else { return Ok(Outcome::done()) };
        if is_former(head, &meta) || head.members == 0 {
            return Ok(Outcome::done());
        }
        let mut reasons = head.rekey_due.as_ref().map(|due| due.reasons.clone()).unwrap_or_default();
        if let Some(why) = why
            && self.still_holds(view, &live.group, live.id, head, why)?
        {
            reasons.insert(why);
        }
        if reasons.is_empty() {
            return Ok(Outcome::done());
        }
        if !reasons.iter().any(|why| why.is_forced()) && self.is_in_first_round(view, gname, live.id, head)? {
            let waits = Event::RekeyDue { gname: gname.into(), delay: ROUND_CHECK, why };
            return Ok(Outcome::done().with_event(waits));
        }
        let rekeyed = self.begin_rekeying(view, &live.group, live.id, head, meta, &reasons)?;
        Ok(rekeyed.events.into_iter().fold(Outcome::done_with(rekeyed.changes), Outcome::with_event))
    }

    /// Whether members that take requests may not have been sent the present version once: the next one waits for that, unless
    /// somebody may not have what is said any more. It does not wait for ever.
    pub(in crate::kdc) fn is_in_first_round(
        &self,
        view: &View<'_>,
        gname: &str,
        id: GroupId,
        head: &Head,
    ) -> Result<bool, Stop> {
        if !self.deliveries.is_in_first_round(gname, head.num) {
            return Ok(false);
        }
        let secret = view.get::<GroupSecret>(&keys::secret(id, head.num))?;
        Ok(secret.is_some_and(|secret| secret.created.until(view.now().unix) < FIRST_ROUND))
    }

    /// Whether a reason that memory knows of is one: another process may have rekeyed the group meanwhile.
    fn still_holds(
        &self,
        view: &View<'_>,
        group: &Group,
        id: GroupId,
        head: &Head,
        why: RekeyReason,
    ) -> Result<bool, Stop> {
        let Some(secret) = view.get::<GroupSecret>(&keys::secret(id, head.num))? else { return Ok(false) };
        let age = secret.created.until(view.now().unix);
        Ok(match why {
            RekeyReason::MaterialEnds => is_near_end(secret, view.now().unix),
            RekeyReason::Scheduled => head.active && group.policy.interval.is_some_and(|interval| age >= interval),
            RekeyReason::Restarted => group.policy.on_restart && age >= RESTART_QUIET,
            _ => true,
        })
    }

    /// A group has this version: who observes it is told, and who takes requests will be.
    pub(in crate::kdc) fn note_rekeyed(
        &mut self,
        now: Duration,
        gname: &str,
        group: GroupId,
        (num, audience): (u64, Audience),
        out: &mut Vec<AssociationNotice>,
    ) {
        self.rekeyings.forget(gname);
        self.bodies.forget(group);
        self.looks.know(now, gname, group, num);
        self.heads.note(gname, |seen| seen.num = num);
        match audience {
            Audience::EachMember => self.deliveries.begin(gname, group, num, None),
            Audience::Observers => drop(self.deliveries.end(gname)),
        }
        out.push(AssociationNotice::Changed { path: [ROOT, gname].map(Into::into).to_vec() });
        out.push(AssociationNotice::ChangedBelow { path: [ROOT, gname, NODES].map(Into::into).to_vec() });
    }

    /// Who is to be told here of a version that another process has begun, or one that has ended.
    pub(in crate::kdc) fn resumed_audience(
        &self,
        view: &View<'_>,
        group: &Group,
        id: GroupId,
        head: &Head,
    ) -> Result<Audience, Stop> {
        let gone = head.num.checked_sub(1).map(|num| stale_under(view, id, num)).transpose()?.unwrap_or_default();
        let records = OwnRecords::new(view, id);
        let version = SchemeVersion { view, num: head.num, gid: &head.gid, gone: &gone, records };
        Ok(group.rules.rekeying_scheme().resume(&version)?.audience)
    }

    /// The next version of a group, for these reasons. Requests that go before it in one commit were answered with the version
    /// that ends: then it waits for the next.
    pub(in crate::kdc) fn begin_rekeying(
        &self,
        view: &View<'_>,
        group: &Group,
        id: GroupId,
        head: &Head,
        meta: Meta,
        reasons: &BTreeSet<RekeyReason>,
    ) -> Result<Rekeyed, Stop> {
        view.after_others(&keys::head(id))?;
        let sets = group.rules.stale_sets();
        let oldest = head.num.checked_add(1).and_then(|num| num.checked_sub(sets.max(1)));
        let given_up = stale_under(view, id, head.num);
        let dropped = oldest.map(|num| stale_under(view, id, num).map(|ids| (num, ids))).transpose();
        let (given_up, dropped) = (given_up?, dropped?);
        let Begun { mut changes, created, expires, gid, .. } = self.next_epoch(view, group, id, head, 1, meta)?;
        // Under the new Gid they are free: that is what their absence says.
        given_up.iter().for_each(|sender_id| changes.delete(keys::sender_id(id, sender_id)));
        if let Some((num, ids)) = dropped {
            ids.iter().for_each(|sender_id| changes.delete(keys::stale(id, num, sender_id)));
        }
        let gname = &group.gname;
        let broken = || Refusal::Internal("a version has begun without head or secret");
        let head = changes.latest::<Head>(&keys::head(id)).cloned().ok_or_else(broken)?;
        let secret = changes.latest::<GroupSecret>(&keys::secret(id, head.num)).cloned().ok_or_else(broken)?;
        let records = OwnRecords::new(view, id);
        let version = SchemeVersion { view, num: head.num, gid: &head.gid, gone: &given_up, records };
        let plan = group.rules.rekeying_scheme().plan(&version)?;
        changes.put_own(id, plan.changes);
        let audience = plan.audience;
        let entry = Entry::of_group("group rekeyed", gname).with_version(head.num, &gid).because_all(reasons);
        let interval = group.policy.interval;
        let begun =
            Event::Rekeyed { gname: gname.clone(), group: id, num: head.num, audience, created, expires, interval };
        Ok(Rekeyed { head, secret, changes, events: vec![begun, Event::Audit(entry)] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_only_brings_a_rekeying_forward() {
        let at = Duration::from_secs;
        let mut rekeyings = Rekeyings::default();
        assert_eq!((rekeyings.next(), rekeyings.take(at(100))), (None, vec![]));
        rekeyings.note("g1", at(10), None);
        rekeyings.note("g2", at(8), None);
        rekeyings.note("g1", at(12), Some(RekeyReason::Restarted));
        assert_eq!(rekeyings.next(), Some(at(8)));
        rekeyings.note("g1", at(7), None);
        assert_eq!((rekeyings.next(), rekeyings.take(at(6))), (Some(at(7)), vec![]));
        assert_eq!(rekeyings.take(at(8)), [("g1".into(), Some(RekeyReason::Restarted)), ("g2".into(), None)]);
        assert_eq!((rekeyings.next(), rekeyings.take(at(100))), (None, vec![]));
        rekeyings.note("g1", at(200), None);
        rekeyings.forget("g1");
        assert_eq!(rekeyings.next(), None);
    }
}
