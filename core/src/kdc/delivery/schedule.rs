//! When members are told of a new version who take requests: each once first, and then those again who have not confirmed it.
//!
//! What is sent is paced, and so many requests are under way at most; groups have turns. A member that is silent holds a place for
//! a few seconds, and comes again behind all others, later each time. The members of a group are gone through in the order of
//! their names; a rekeying that comes meanwhile goes on where the former one stood, so that nobody is last each time.

use crate::schema::keys::{GroupId, PrincipalId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How many requests are under way at most.
const PLACES: usize = 4_096;
/// How many are sent in one step, and how often there is one: 2,000 a second.
const STEP: usize = 20;
const PACE: Duration = Duration::from_millis(10);
/// How many members are read at once.
const PAGE: usize = 256;
/// After how long a member is tried again that has not confirmed.
const AGAIN: [Duration; 3] = [Duration::from_secs(20), Duration::from_secs(120), Duration::from_secs(600)];
/// After how long it is seen whether an observer still observes: a notification that nobody acknowledges has ended its observation
/// by then (RFC 7252 section 4.8.2, EXCHANGE_LIFETIME is 247 s; a transmission takes 93 s at most).
const OBSERVED: Duration = Duration::from_secs(120);
/// How often it is stored how far a rekeying has come.
const NOTED: Duration = Duration::from_secs(1);
/// How long an answer is waited for: first, and later.
const FIRST_PATIENCE: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kdc) enum Step {
    /// Read the members that take requests, behind this one.
    Read { gname: String, group: GroupId, num: u64, after: Option<PrincipalId> },
    /// Send one member what it needs, and wait so long for its answer.
    Send { gname: String, group: GroupId, client: PrincipalId, num: u64, patience: Duration },
    /// Store how far it has come, for whoever goes on with it.
    Note { group: GroupId, num: u64, after: Option<PrincipalId> },
}

/// What has become of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kdc) enum Told {
    /// It needs nothing more: it has confirmed, has gone, or has the version already.
    Done,
    /// It has confirmed what comes before the version, and is to be sent that.
    Next,
    /// It observes, and is told by that.
    Observes,
    /// It has not confirmed.
    Not,
}

/// How far a rekeying has come.
struct Distribution {
    group: GroupId,
    num: u64,
    /// Where it goes on, and where it has begun: it ends there.
    after: Option<PrincipalId>,
    first: Option<PrincipalId>,
    has_wrapped: bool,
    is_reading: bool,
    is_read: bool,
    /// Whether a member was read.
    has_met: bool,
    /// Those that are to be sent something now.
    queue: VecDeque<PrincipalId>,
    under_way: BTreeSet<PrincipalId>,
    /// How often those were tried that have not confirmed, and when they are next.
    tries: BTreeMap<PrincipalId, usize>,
    later: BTreeSet<(Duration, PrincipalId)>,
    confirmed: u64,
    unreached: u64,
    /// Up to where it is stored that it has come, and when that is stored next.
    noted: Option<PrincipalId>,
    note_at: Duration,
}

impl Distribution {
    fn new(group: GroupId, num: u64, after: Option<PrincipalId>) -> Self {
        Self {
            group,
            num,
            after,
            first: after,
            has_wrapped: after.is_none(),
            is_reading: false,
            is_read: false,
            has_met: false,
            queue: VecDeque::new(),
            under_way: BTreeSet::new(),
            tries: BTreeMap::new(),
            later: BTreeSet::new(),
            confirmed: 0,
            unreached: 0,
            noted: after,
            note_at: Duration::ZERO,
        }
    }

    /// Whether there may be members that were not sent it yet: not before the first one is known that takes requests.
    fn is_in_first_round(&self) -> bool {
        self.has_met && !self.is_read || self.queue.iter().any(|client| !self.tries.contains_key(client))
    }

    fn is_over(&self) -> bool {
        self.is_read && self.queue.is_empty() && self.under_way.is_empty() && self.later.is_empty()
    }
}

/// A rekeying whose members have all confirmed, or used their tries up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kdc) struct Distributed {
    pub(in crate::kdc) gname: String,
    pub(in crate::kdc) group: GroupId,
    pub(in crate::kdc) num: u64,
    pub(in crate::kdc) confirmed: u64,
    pub(in crate::kdc) unreached: u64,
}

/// The rekeyings that are under way.
#[derive(Default)]
pub(in crate::kdc) struct Deliveries {
    groups: BTreeMap<String, Distribution>,
    /// Where the former rekeying of a group stood.
    stood: BTreeMap<String, PrincipalId>,
    /// The group whose turn was last.
    last: Option<String>,
    under_way: usize,
    next: Duration,
}

impl Deliveries {
    /// A group has this version now: its members are to be told. A former process may have come up to this one.
    pub(in crate::kdc) fn begin(&mut self, gname: &str, group: GroupId, num: u64, after: Option<PrincipalId>) {
        let former = self.end(gname).or(after);
        let after = former.or_else(|| self.stood.get(gname).copied());
        self.groups.insert(gname.into(), Distribution::new(group, num, after));
    }

    /// A group is gone, or has another version. Returns where its members stood.
    pub(in crate::kdc) fn end(&mut self, gname: &str) -> Option<PrincipalId> {
        let former = self.groups.remove(gname)?;
        self.under_way = self.under_way.saturating_sub(former.under_way.len());
        former.queue.front().copied().or(former.after)
    }

    /// Whether members of a group, which has this version, may not have been sent it once.
    pub(in crate::kdc) fn is_in_first_round(&self, gname: &str, num: u64) -> bool {
        self.groups.get(gname).is_some_and(|group| group.num == num && group.is_in_first_round())
    }

    /// How many requests are under way.
    pub(in crate::kdc) const fn under_way(&self) -> usize {
        self.under_way
    }

    /// When something is to be done.
    pub(in crate::kdc) fn next(&self, now: Duration) -> Option<Duration> {
        let has_place = self.under_way < PLACES;
        let of_group = |group: &Distribution| {
            let reads = !group.is_read && !group.is_reading && group.queue.len() < PAGE;
            let sends = has_place && !group.queue.is_empty();
            let soon = (reads || sends).then_some(self.next.max(now));
            let later = group.later.first().map(|(at, _)| *at);
            soon.into_iter().chain(later).min()
        };
        self.groups.values().filter_map(of_group).min()
    }

    /// What is to be done now.
    pub(in crate::kdc) fn take(&mut self, now: Duration) -> Vec<Step> {
        for group in self.groups.values_mut() {
            while let Some(&(at, client)) = group.later.first() {
                if at > now {
                    break;
                }
                group.later.pop_first();
                group.queue.push_back(client);
            }
        }
        if now < self.next {
            return Vec::new();
        }
        let mut steps: Vec<Step> = Vec::new();
        for (gname, group) in &mut self.groups {
            if !group.is_read && !group.is_reading && group.queue.len() < PAGE {
                group.is_reading = true;
                steps.push(Step::Read { gname: gname.clone(), group: group.group, num: group.num, after: group.after });
            }
            if group.after != group.noted && now >= group.note_at {
                (group.noted, group.note_at) = (group.after, now.saturating_add(NOTED));
                steps.push(Step::Note { group: group.group, num: group.num, after: group.after });
            }
        }
        let mut sent = 0;
        while sent < STEP && self.under_way < PLACES {
            let Some(step) = self.turn() else { break };
            steps.push(step);
            sent = sent.saturating_add(1);
        }
        if !steps.is_empty() {
            self.next = now.saturating_add(PACE);
        }
        steps
    }

    /// One member of the group whose turn it is.
    fn turn(&mut self) -> Option<Step> {
        let waiting = |(_, group): &(&String, &Distribution)| !group.queue.is_empty();
        let behind = self.last.clone().unwrap_or_default();
        let next =
            self.groups.range::<str, _>((std::ops::Bound::Excluded(behind.as_str()), std::ops::Bound::Unbounded));
        let gname =
            next.filter(waiting).chain(self.groups.iter().filter(waiting)).map(|(gname, _)| gname.clone()).next()?;
        let group = self.groups.get_mut(&gname)?;
        let client = group.queue.pop_front()?;
        group.under_way.insert(client);
        self.under_way = self.under_way.saturating_add(1);
        let patience = if group.tries.contains_key(&client) { PATIENCE } else { FIRST_PATIENCE };
        let step = Step::Send { gname: gname.clone(), group: group.group, client, num: group.num, patience };
        self.last = Some(gname);
        Some(step)
    }

    /// A page of members was read. They come in order; behind the last one it goes on with the first.
    pub(in crate::kdc) fn read(&mut self, gname: &str, num: u64, clients: Vec<PrincipalId>, more: bool) {
        let Some(group) = self.groups.get_mut(gname).filter(|group| group.num == num) else { return };
        group.is_reading = false;
        let last = clients.last().copied();
        // On the second way those that were met on the first one end it.
        let behind = |client: &PrincipalId| group.has_wrapped && group.first.is_some_and(|first| *client > first);
        let ends = clients.iter().any(behind);
        let fresh: Vec<PrincipalId> = clients.into_iter().filter(|client| !behind(client)).collect();
        group.has_met |= !fresh.is_empty();
        group.queue.extend(fresh);
        group.after = last.or(group.after);
        if ends || !more && group.has_wrapped {
            group.is_read = true;
        } else if !more {
            (group.has_wrapped, group.after) = (true, None);
        }
    }

    /// Something has become of what a member was sent. Returns the rekeying where it is over with that.
    pub(in crate::kdc) fn told(
        &mut self,
        now: Duration,
        gname: &str,
        num: u64,
        client: PrincipalId,
        told: Told,
    ) -> Option<Distributed> {
        let group = self.groups.get_mut(gname).filter(|group| group.num == num)?;
        if !group.under_way.remove(&client) {
            return None;
        }
        self.under_way = self.under_way.saturating_sub(1);
        match told {
            Told::Next => group.queue.push_front(client),
            Told::Done => group.confirmed = group.confirmed.saturating_add(1),
            Told::Observes if group.tries.insert(client, 0).is_none() => {
                group.later.insert((now.saturating_add(OBSERVED), client));
            }
            // It still observes, long after a notification that was not acknowledged would have ended that.
            Told::Observes => group.confirmed = group.confirmed.saturating_add(1),
            Told::Not => {
                let tries = group.tries.entry(client).or_default();
                match AGAIN.get(*tries) {
                    Some(after) => {
                        group.later.insert((now.saturating_add(*after), client));
                        *tries = tries.saturating_add(1);
                    }
                    None => group.unreached = group.unreached.saturating_add(1),
                }
            }
        }
        self.ended(gname)
    }

    /// The rekeying of a group, where it is over.
    pub(in crate::kdc) fn ended(&mut self, gname: &str) -> Option<Distributed> {
        let over = self.groups.get(gname).filter(|group| group.is_over())?;
        let (group, num, confirmed, unreached) = (over.group, over.num, over.confirmed, over.unreached);
        if let Some(stood) = over.after.or(over.first) {
            self.stood.insert(gname.into(), stood);
        }
        self.groups.remove(gname);
        Some(Distributed { gname: gname.into(), group, num, confirmed, unreached })
    }
}

/// How many members are read at once.
pub(in crate::kdc) const fn page() -> usize {
    PAGE
}

#[cfg(test)]
mod tests;
