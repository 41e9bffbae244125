//! The heads of groups of which members are told here, read again each second where other processes write to the same storage: what
//! one of them has changed is told here too.
//!
//! A head says which version there is, whether the group is active, and whether it is there still. What concerns one member alone it
//! does not say; that member's resource is looked at when the next version is told. All heads of a page are read in one snapshot: the cost
//! does not grow with the members.

use crate::engine::Outcome;
use crate::engine::store::view::{Stop, View};
use crate::kdc::{Event, KdcApp, Task};
use crate::schema::keys::{self, GroupId};
use crate::schema::records::Head;
use crate::traits::storage::Sharing;
use crate::traits::transport::AssociationNotice;
use ace_groupcomm_messages::paths::{ACTIVE, ROOT};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// In which time all these heads are read.
const READ: Duration = Duration::from_secs(1);
/// How many are read at once.
const PAGE: usize = 256;
/// The least time between two pages.
const LEAST: Duration = Duration::from_millis(10);

/// What was seen last of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenHead {
    pub(in crate::kdc) group: GroupId,
    pub(in crate::kdc) num: u64,
    pub(in crate::kdc) active: bool,
}

/// The groups of which members are told here, by GROUPNAME.
#[derive(Debug)]
pub(in crate::kdc) struct Heads {
    is_shared: bool,
    groups: BTreeMap<String, SeenHead>,
    after: Option<String>,
    next: Duration,
}

impl Heads {
    pub(in crate::kdc) fn new(sharing: Sharing) -> Self {
        let is_shared = sharing == Sharing::Shared;
        Self { is_shared, groups: BTreeMap::new(), after: None, next: Duration::ZERO }
    }

    /// A member of a group, which is so, is to be told here of what changes. What was seen of it before stays: others are to be told
    /// of that.
    pub(in crate::kdc) fn watch(&mut self, now: Duration, gname: &str, seen: SeenHead) {
        if !self.is_shared || self.groups.contains_key(gname) {
            return;
        }
        if self.groups.is_empty() {
            self.next = now.saturating_add(READ);
        }
        self.groups.insert(gname.into(), seen);
    }

    /// A group is so, and members are told here.
    pub(in crate::kdc) fn note(&mut self, gname: &str, change: impl FnOnce(&mut SeenHead)) {
        if let Some(seen) = self.groups.get_mut(gname) {
            change(seen);
        }
    }

    /// A group is gone.
    pub(in crate::kdc) fn end(&mut self, gname: &str) {
        self.groups.remove(gname);
    }

    /// What was seen last of a group, where members are told of it here.
    pub(in crate::kdc) fn of(&self, gname: &str) -> Option<SeenHead> {
        self.groups.get(gname).copied()
    }

    /// When the next page is due.
    pub(in crate::kdc) fn next(&self) -> Option<Duration> {
        (!self.groups.is_empty()).then_some(self.next)
    }

    /// The page to read now, if it is time.
    pub(in crate::kdc) fn take(&mut self, now: Duration) -> Option<Task> {
        self.next().filter(|next| *next <= now)?;
        let pages = u32::try_from(self.groups.len().div_ceil(PAGE)).unwrap_or(u32::MAX);
        self.next = now.saturating_add(READ.checked_div(pages).unwrap_or(READ).max(LEAST));
        let after = self.after.take();
        let last = {
            let mut behind = self.behind(after.as_deref()).map(|(gname, _)| gname).skip(PAGE.saturating_sub(1));
            behind.next().filter(|_| behind.next().is_some()).cloned()
        };
        self.after = last;
        Some(Task::Heads { after })
    }

    fn behind(&self, after: Option<&str>) -> impl Iterator<Item = (&String, &SeenHead)> {
        self.groups.range::<str, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }
}

impl KdcApp {
    /// Reads a page of heads, and tells what is not as it was seen last.
    pub(in crate::kdc) fn read_heads(&self, view: &View<'_>, after: Option<&str>) -> Result<Outcome<Event>, Stop> {
        let page = self.heads.behind(after).take(PAGE);
        let read: Vec<_> = page.map(|(gname, seen)| (gname, seen, view.get::<Head>(&keys::head(seen.group)))).collect();
        let mut events = Vec::new();
        for (gname, seen, head) in read {
            let head = match head {
                Ok(head) => head.filter(|head| head.deleted.is_none()),
                Err(Stop::Refuse(_)) => continue,
                Err(stop) => return Err(stop),
            };
            let (gname, group) = (gname.clone(), seen.group);
            match head {
                None => events.push(Event::Vanished { gname, group: Some(group) }),
                Some(head) if head.num > seen.num || head.active != seen.active => {
                    events.push(Event::HeadChanged {
                        gname,
                        seen: SeenHead { group, num: head.num, active: head.active },
                    });
                }
                Some(_) => (),
            }
        }
        Ok(events.into_iter().fold(Outcome::done(), Outcome::with_event))
    }

    /// A member of a group, whose head is so, is to be told here of what changes.
    pub(in crate::kdc) fn note_watched(&mut self, now: Duration, gname: &str, seen: SeenHead) {
        self.looks.learn(now, gname, seen.group, seen.num);
        self.heads.watch(now, gname, seen);
    }

    /// Tells what is not as it was seen last. Another version is looked at in the group's turn.
    pub(in crate::kdc) fn note_head(&mut self, gname: &str, seen: SeenHead, out: &mut Vec<AssociationNotice>) {
        let before = self.heads.of(gname);
        if before.is_some_and(|before| before.num < seen.num) {
            self.start.todo(Task::Look(gname.into()));
        }
        if before.is_none_or(|before| before.active != seen.active) {
            out.push(AssociationNotice::Changed { path: [ROOT, gname, ACTIVE].map(Into::into).to_vec() });
        }
        self.heads.note(gname, |known| *known = seen);
    }

    /// Another process has deleted a group. Whoever observes something of it is told. Another group may have its name by now.
    pub(in crate::kdc) fn note_vanished(
        &mut self,
        gname: &str,
        group: Option<GroupId>,
        out: &mut Vec<AssociationNotice>,
    ) {
        group.into_iter().for_each(|group| self.bodies.forget(group));
        if self.heads.of(gname).is_some_and(|seen| Some(seen.group) == group) {
            self.heads.end(gname);
            out.push(AssociationNotice::ChangedBelow { path: [ROOT, gname].map(Into::into).to_vec() });
        }
        if self.looks.is_of(gname, group) {
            self.looks.end(gname);
            self.groups.forget(gname);
            self.lives.end(gname);
            self.rekeyings.forget(gname);
            self.deliveries.end(gname);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(num: u64) -> SeenHead {
        SeenHead { group: GroupId::new([7; 16]), num, active: true }
    }

    fn after(task: Option<Task>) -> Option<Option<String>> {
        match task {
            Some(Task::Heads { after }) => Some(after),
            _ => None,
        }
    }

    #[test]
    fn all_heads_are_read_in_a_second() {
        let at = Duration::from_millis;
        let mut heads = Heads::new(Sharing::Shared);
        assert_eq!((heads.next(), after(heads.take(at(9_000)))), (None, None));
        heads.watch(at(5_000), "g0000", seen(3));
        assert_eq!((heads.next(), after(heads.take(at(5_999)))), (Some(at(6_000)), None));
        assert_eq!((after(heads.take(at(6_000))), heads.next()), (Some(None), Some(at(7_000))));
        for number in 1..600 {
            heads.watch(at(6_000), &format!("g{number:04}"), seen(3));
        }
        for page in [None, Some("g0255"), Some("g0511"), None] {
            let next = heads.next().unwrap();
            assert_eq!(after(heads.take(next)), Some(page.map(Into::into)));
            assert_eq!(heads.next(), Some(next + Duration::from_secs(1) / 3));
        }
        (0..600).for_each(|number| heads.end(&format!("g{number:04}")));
        assert_eq!(heads.next(), None);
    }

    #[test]
    fn a_page_that_is_the_last_and_full_is_followed_by_the_first() {
        let mut heads = Heads::new(Sharing::Shared);
        (0..256).for_each(|number| heads.watch(Duration::ZERO, &format!("g{number:04}"), seen(3)));
        for _ in 0..3 {
            assert_eq!(after(heads.take(heads.next().unwrap())), Some(None));
        }
    }

    #[test]
    fn nothing_is_read_again_where_nobody_else_writes() {
        let mut heads = Heads::new(Sharing::Exclusive);
        heads.watch(Duration::ZERO, "g", seen(3));
        assert_eq!(heads.next(), None);
    }

    #[test]
    fn what_was_seen_first_stays_until_it_is_told() {
        let mut heads = Heads::new(Sharing::Shared);
        heads.watch(Duration::ZERO, "g", seen(3));
        heads.watch(Duration::ZERO, "g", seen(4));
        assert_eq!(heads.of("g"), Some(seen(3)));
        heads.note("g", |seen| seen.num = 4);
        assert_eq!(heads.of("g"), Some(seen(4)));
    }
}
