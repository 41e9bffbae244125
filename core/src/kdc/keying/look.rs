//! Over shared storage a KDC that ends leaves rekeyings to the others: each looks at every group now and then, for what is overdue.

use crate::engine::Outcome;
use crate::engine::store::view::{Stop, View};
use crate::kdc::keying::epoch::is_former;
use crate::kdc::{Event, KdcApp, Task};
use crate::schema::keys;
use crate::schema::records::{GroupSecret, Head, Meta, RekeyReason};
use crate::traits::storage::Sharing;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

/// In which time all groups are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How long after it was due a rekeying counts as left behind: whoever has made it due does it first.
const OVERDUE: Duration = Duration::from_secs(10);
/// The least time between two looks.
const LEAST: Duration = Duration::from_millis(10);

/// Which group is looked at next, and when.
#[derive(Debug)]
pub(in crate::kdc) struct Looks {
    is_shared: bool,
    groups: BTreeSet<String>,
    after: Option<String>,
    next: Duration,
}

impl Looks {
    /// Nothing is looked at where nobody else can have left it.
    pub(in crate::kdc) fn new(sharing: Sharing) -> Self {
        Self { is_shared: sharing == Sharing::Shared, groups: BTreeSet::new(), after: None, next: Duration::ZERO }
    }

    /// A group is served from now on.
    pub(in crate::kdc) fn begin(&mut self, now: Duration, gname: &str) {
        if self.is_shared && self.groups.insert(gname.into()) && self.groups.len() == 1 {
            self.next = now.saturating_add(LOOK);
        }
    }

    /// A group is gone.
    pub(in crate::kdc) fn end(&mut self, gname: &str) {
        self.groups.remove(gname);
    }

    /// When the next look is due.
    pub(in crate::kdc) fn next(&self) -> Option<Duration> {
        (!self.groups.is_empty()).then_some(self.next)
    }

    /// The group to look at now, if it is time.
    pub(in crate::kdc) fn take(&mut self, now: Duration) -> Option<Task> {
        self.next().filter(|next| *next <= now)?;
        let count = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.next = now.saturating_add(LOOK.checked_div(count).unwrap_or(LOOK).max(LEAST));
        let behind = self.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let following =
            self.groups.range::<String, _>((behind, Bound::Unbounded)).next().or_else(|| self.groups.first());
        let gname = following?.clone();
        self.after = Some(gname.clone());
        Some(Task::Look(gname))
    }
}

impl KdcApp {
    /// Rekeys a group where that is overdue: nobody else seems to do it.
    pub(in crate::kdc) fn look(&self, view: &View<'_>, gname: &str) -> Result<Outcome<Event>, Stop> {
        let Some(live) = self.group(view, gname)? else { return Ok(Outcome::done()) };
        let (head, meta) = (view.get::<Head>(&keys::head(live.id)), view.get::<Meta>(&keys::meta()));
        let (Some(head), meta) = (head?, meta?.copied().unwrap_or_default()) else { return Ok(Outcome::done()) };
        if is_former(head, &meta) || view.now().has_jumped() {
            return Ok(Outcome::done());
        }
        let (now, policy) = (view.now().unix.minus(OVERDUE), &live.group.policy);
        if head.rekey_due.as_ref().is_some_and(|due| due.since.plus(policy.delay) <= now) {
            return self.rekey(view, gname, None);
        }
        let Some(secret) = view.get::<GroupSecret>(&keys::secret(live.id, head.num))? else {
            return Ok(Outcome::done());
        };
        let is_near_end = crate::kdc::keying::material::is_near_end(secret, now);
        let is_time = policy.interval.is_some_and(|interval| secret.created.plus(interval) <= now);
        match (is_near_end, is_time) {
            (true, _) => self.rekey(view, gname, Some(RekeyReason::MaterialEnds)),
            (false, true) => self.rekey(view, gname, Some(RekeyReason::Scheduled)),
            (false, false) => Ok(Outcome::done()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(task: Option<Task>) -> Option<String> {
        match task {
            Some(Task::Look(gname)) => Some(gname),
            _ => None,
        }
    }

    #[test]
    fn each_group_is_looked_at_in_its_turn() {
        let at = Duration::from_secs;
        let mut looks = Looks::new(Sharing::Shared);
        assert_eq!(looks.next(), None);
        looks.begin(at(100), "a");
        looks.begin(at(105), "b");
        assert_eq!(looks.next(), Some(at(110)));
        assert_eq!(name(looks.take(at(109))), None);
        assert_eq!(name(looks.take(at(110))), Some("a".into()));
        assert_eq!(looks.next(), Some(at(115)), "all of them in ten seconds");
        assert_eq!(name(looks.take(at(115))), Some("b".into()));
        assert_eq!(name(looks.take(at(120))), Some("a".into()));
        looks.end("a");
        assert_eq!(name(looks.take(at(130))), Some("b".into()));
        looks.end("b");
        assert_eq!((looks.next(), name(looks.take(at(200)))), (None, None));
        for number in 0..5_000 {
            looks.begin(at(200), &format!("g{number}"));
        }
        looks.take(at(300));
        assert_eq!(looks.next(), Some(at(300) + LEAST));
    }

    #[test]
    fn nobody_looks_at_what_is_its_own() {
        let mut looks = Looks::new(Sharing::Exclusive);
        looks.begin(Duration::ZERO, "a");
        assert!(looks.next().is_none() && looks.take(Duration::MAX).is_none());
    }
}
