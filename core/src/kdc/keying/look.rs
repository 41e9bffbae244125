//! Groups are looked at for what nobody here has seen to: a rekeying that was left behind, or a version that was not told of.
//!
//! Over shared storage that is always done: another process may have ended, or have begun a version. Where the storage is this process's
//! alone it is done for a while after a commit whose outcome storage has not told: it may have happened, and what has to follow from it
//! in memory has not.

use crate::engine::Outcome;
use crate::engine::store::view::{Stop, View};
use crate::kdc::group::LiveGroup;
use crate::kdc::keying::epoch::is_former;
use crate::kdc::keying::material::is_near_end;
use crate::kdc::keying::policy::MAX_DELAY;
use crate::kdc::{Event, KdcApp, Task};
use crate::schema::keys::{self, GroupId};
use crate::schema::records::{GroupSecret, Head, Meta, RekeyReason};
use crate::traits::storage::Sharing;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// In which time all groups are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// For how long that is done after a doubt: until what was due latest then is overdue.
const DOUBT: Duration =
    Duration::from_secs(MAX_DELAY).saturating_add(OVERDUE).saturating_add(LOOK).saturating_add(LOOK);
/// How long after it was due a rekeying counts as left behind: whoever has made it due does it first.
const OVERDUE: Duration = Duration::from_secs(10);
/// The least time between two looks.
const LEAST: Duration = Duration::from_millis(10);

/// What observers and members were told of here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    group: GroupId,
    num: u64,
}

/// Which group is looked at next, and when.
#[derive(Debug)]
pub(in crate::kdc) struct Looks {
    is_shared: bool,
    /// Until when groups are looked at that are this process's alone.
    until: Duration,
    /// With the version that observers and members were told of here, where one is known.
    groups: BTreeMap<String, Option<Known>>,
    after: Option<String>,
    next: Duration,
}

impl Looks {
    pub(in crate::kdc) fn new(sharing: Sharing) -> Self {
        let is_shared = sharing == Sharing::Shared;
        Self { is_shared, until: Duration::ZERO, groups: BTreeMap::new(), after: None, next: Duration::ZERO }
    }

    /// A commit may have happened of which nobody here knows.
    pub(in crate::kdc) fn doubt(&mut self, now: Duration) {
        if !self.is_shared && self.until < now {
            self.next = self.next.max(now.saturating_add(LOOK));
        }
        self.until = now.saturating_add(DOUBT);
    }

    /// A group is served from now on.
    pub(in crate::kdc) fn begin(&mut self, now: Duration, gname: &str) {
        if self.groups.is_empty() {
            self.next = now.saturating_add(LOOK);
        }
        if !self.groups.contains_key(gname) {
            self.groups.insert(gname.into(), None);
        }
    }

    /// A group is served from now on, and this version of it is told of.
    pub(in crate::kdc) fn know(&mut self, now: Duration, gname: &str, group: GroupId, num: u64) {
        self.begin(now, gname);
        self.groups.insert(gname.into(), Some(Known { group, num }));
    }

    /// A group is served that may be new here, and whoever asks for it gets this version.
    pub(in crate::kdc) fn learn(&mut self, now: Duration, gname: &str, group: GroupId, num: u64) {
        if self.known(gname).is_none_or(|known| known.group != group) {
            self.know(now, gname, group, num);
        }
    }

    fn known(&self, gname: &str) -> Option<Known> {
        self.groups.get(gname).copied().flatten()
    }

    /// Whether an older version than this is the last one that was told of here, or one of a group that had the name before.
    fn is_behind(&self, gname: &str, group: GroupId, num: u64) -> bool {
        self.known(gname).is_some_and(|known| if known.group == group { known.num < num } else { num > 0 })
    }

    /// Whether this is the group that is looked at under a name; `None` where it was not seen yet.
    pub(in crate::kdc) fn is_of(&self, gname: &str, group: Option<GroupId>) -> bool {
        self.groups.get(gname).is_some_and(|known| known.map(|known| known.group) == group)
    }

    /// A group is gone.
    pub(in crate::kdc) fn end(&mut self, gname: &str) {
        self.groups.remove(gname);
    }

    /// When the next look is due.
    pub(in crate::kdc) fn next(&self) -> Option<Duration> {
        let looks = self.is_shared || self.next <= self.until;
        (looks && !self.groups.is_empty()).then_some(self.next)
    }

    /// The group to look at now, if it is time.
    pub(in crate::kdc) fn take(&mut self, now: Duration) -> Option<Task> {
        self.next().filter(|next| *next <= now)?;
        let count = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.next = now.saturating_add(LOOK.checked_div(count).unwrap_or(LOOK).max(LEAST));
        let behind = self.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let following = self.groups.range::<String, _>((behind, Bound::Unbounded)).next();
        let gname = following.or_else(|| self.groups.first_key_value())?.0.clone();
        self.after = Some(gname.clone());
        Some(Task::Look(gname))
    }
}

impl KdcApp {
    /// Rekeys a group where that is overdue. Tells of its version where that was not done. Finds those whom it has to be rid of.
    pub(in crate::kdc) fn look(&self, view: &View<'_>, gname: &str) -> Result<Outcome<Event>, Stop> {
        let Some(live) = self.group(view, gname)? else {
            let group = self.looks.known(gname).map(|known| known.group);
            return Ok(Outcome::done().with_event(Event::Vanished { gname: gname.into(), group }));
        };
        let (head, meta) = (view.get::<Head>(&keys::head(live.id)), view.get::<Meta>(&keys::meta()));
        let (Some(head), meta) = (head?, meta?.copied().unwrap_or_default()) else { return Ok(Outcome::done()) };
        if is_former(head, &meta) || view.now().has_jumped() {
            return Ok(Outcome::done());
        }
        let leaving = self.has_leaving(view, live.id)?;
        let leaving = leaving.then(|| Event::Leaving { gname: gname.into(), group: live.id });
        let looked = self.look_at_version(view, gname, &live, head)?;
        Ok(leaving.into_iter().fold(looked, Outcome::with_event))
    }

    fn look_at_version(
        &self,
        view: &View<'_>,
        gname: &str,
        live: &LiveGroup,
        head: &Head,
    ) -> Result<Outcome<Event>, Stop> {
        let (now, policy) = (view.now().unix.minus(OVERDUE), &live.group.policy);
        if head.members > 0 && head.rekey_due.as_ref().is_some_and(|due| due.since.plus(policy.delay) <= now) {
            return self.rekey(view, gname, None);
        }
        let Some(secret) = view.get::<GroupSecret>(&keys::secret(live.id, head.num))? else {
            return Ok(Outcome::done());
        };
        let is_time = policy.interval.is_some_and(|interval| secret.created.plus(interval) <= now);
        let why = match (is_near_end(secret, now), is_time && head.active) {
            (true, _) => Some(RekeyReason::MaterialEnds),
            (false, true) => Some(RekeyReason::Scheduled),
            (false, false) => None,
        };
        if head.members > 0 && why.is_some() {
            return self.rekey(view, gname, why);
        }
        if !self.looks.is_behind(gname, live.id, head.num) {
            return Ok(Outcome::done());
        }
        let audience = self.resumed_audience(view, &live.group, live.id, head)?;
        let (gname, group, num) = (gname.to_owned(), live.id, head.num);
        let (created, expires, interval) = (secret.created, secret.expires, policy.interval);
        let begun = Event::Rekeyed { gname: gname.clone(), group, num, audience, created, expires, interval };
        // That a rekeying is due again is not forgotten with it.
        let due = head.rekey_due.as_ref().map(|_| Event::RekeyDue { gname, delay: policy.delay, why: None });
        Ok(due.into_iter().fold(Outcome::done().with_event(begun), Outcome::with_event))
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
    fn what_is_this_process_alone_is_looked_at_for_a_while_after_a_doubt() {
        let at = Duration::from_secs;
        let mut looks = Looks::new(Sharing::Exclusive);
        looks.begin(at(5), "a");
        assert_eq!((looks.next(), name(looks.take(at(100)))), (None, None));
        looks.doubt(at(100));
        assert_eq!((looks.next(), name(looks.take(at(110)))), (Some(at(110)), Some("a".into())));
        // Another one puts off no look, and the end of all.
        looks.doubt(at(119));
        assert_eq!(looks.next(), Some(at(120)));
        let mut last = None;
        while let Some(next) = looks.next() {
            assert_eq!(name(looks.take(next)), Some("a".into()));
            last = Some(next);
        }
        assert!(last > Some(at(119 + 600 + 10)) && last <= Some(at(119) + DOUBT), "{last:?}");
    }

    #[test]
    fn a_version_is_not_told_of_here_where_an_older_one_was() {
        let mut looks = Looks::new(Sharing::Shared);
        let (one, other) = (GroupId::new([1; 16]), GroupId::new([2; 16]));
        assert!(!looks.is_behind("a", one, 7), "nothing is known");
        looks.begin(Duration::ZERO, "a");
        assert!(!looks.is_behind("a", one, 7) && looks.is_of("a", None), "nor is it where the group is");
        looks.know(Duration::ZERO, "a", one, 7);
        looks.begin(Duration::ZERO, "a");
        looks.learn(Duration::ZERO, "a", one, 8);
        assert_eq!([6, 7, 8].map(|num| looks.is_behind("a", one, num)), [false, false, true]);
        // Another process has deleted the group, and has made it again.
        assert_eq!([0, 1].map(|num| looks.is_behind("a", other, num)), [false, true]);
        assert!(looks.is_of("a", Some(one)) && !looks.is_of("a", Some(other)) && !looks.is_of("a", None));
        looks.learn(Duration::ZERO, "a", other, 1);
        assert!(!looks.is_behind("a", other, 1) && looks.is_of("a", Some(other)));
        looks.end("a");
        assert!(!looks.is_behind("a", other, 8) && !looks.is_of("a", None));
    }
}
