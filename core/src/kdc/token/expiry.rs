//! Tokens expire, and what they allowed ends with them (RFC 9594 section 5, RFC 9203 section 4.3).
//!
//! A membership ends a little earlier than its token does, so that the member can be told under an association that is still
//! good: from then on the token lets nobody be a member. Who renews its token in time notices nothing.
//!
//! Storage knows all tokens in the order in which they expire; memory knows when the next one does. What is due is
//! swept in pages, each in one commit, with the time of it: so what has expired once does so for ever, whatever the
//! clock does then. While the clock has jumped nothing is swept.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{
    Ban, BanEnd, Expiry, Meta, Principal, ProvokedEnd, RekeyReason, RevocationEnd, StoredToken,
};
use crate::time::{Now, UnixTime};
use crate::traits::storage::Sharing;
use std::collections::BTreeSet;
use std::time::Duration;

/// How many tokens are looked at in one sweep.
const PAGE: usize = 64;

/// A token of a short life lets nobody be a member for the last part of it that is one of so many.
const SHORT: u32 = 10;

/// How often storage is looked at that others write to.
const LOOK: Duration = Duration::from_secs(60);

/// How often the time is noted where nothing ends: so much of the time that was seen last is lost with a process, at most.
const NOTE: Duration = Duration::from_secs(3_600);

/// When tokens expire, as far as memory has to know.
pub(in crate::kdc) struct Expiries {
    sharing: Sharing,
    /// The next one that is known.
    next: Option<UnixTime>,
    /// The next one of those that came to be known since the sweep under way began.
    added: Option<UnixTime>,
    sweeping: bool,
    /// When the last sweep ended.
    swept: Option<Duration>,
    /// The latest time by which tokens were ended: it is never earlier again, here.
    floor: UnixTime,
}

fn first(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    one.into_iter().chain(other).min()
}

impl Expiries {
    /// The first sweep is under way from the start.
    pub(in crate::kdc) const fn new(sharing: Sharing) -> Self {
        Self { sharing, next: None, added: None, sweeping: true, swept: None, floor: UnixTime::EPOCH }
    }

    pub(in crate::kdc) fn expires(&mut self, at: UnixTime) {
        self.next = first(self.next, Some(at));
        self.added = first(self.added, Some(at));
    }

    pub(in crate::kdc) fn swept(&mut self, now: Now, next: Option<UnixTime>, time: UnixTime) {
        self.floor = self.floor.max(time);
        self.next = first(next, self.added.take());
        self.sweeping = false;
        self.swept = Some(now.mono);
    }

    /// The time by which a token is judged whose client calls: that of the clock, or the latest by which others were
    /// ended.
    pub(in crate::kdc) fn time(&self, now: Now) -> UnixTime {
        now.unix.max(self.floor)
    }

    /// Whether a sweep has ended since the start.
    pub(in crate::kdc) const fn is_known(&self) -> bool {
        self.swept.is_some()
    }

    /// When the next sweep has to begin.
    pub(in crate::kdc) fn next(&self, now: Now) -> Option<Duration> {
        if self.sweeping || now.has_jumped() {
            return None;
        }
        let look = self.swept.filter(|_| self.sharing == Sharing::Shared).map(|at| at.saturating_add(LOOK));
        let due = self.next.map(|at| now.mono.saturating_add(now.unix.until(at)));
        look.into_iter().chain(due).min()
    }

    /// Whether a sweep has to begin now; then it does.
    pub(in crate::kdc) fn begins(&mut self, now: Now) -> bool {
        if self.next(now).is_none_or(|at| at > now.mono) {
            return false;
        }
        self.added = None;
        self.sweeping = true;
        true
    }
}

impl KdcApp {
    /// Refuses what would be judged by a clock that has jumped: nobody's token has expired for that, and no time is to be
    /// counted from there.
    pub(in crate::kdc) fn plausible(&self, view: &View<'_>) -> Result<(), Refusal> {
        if view.now().has_jumped() {
            return Err(Refusal::Unavailable("the time of day is not plausible", 60));
        }
        Ok(())
    }

    /// The time by which tokens are judged: never before a time at which one was ended.
    pub(in crate::kdc) fn time(&self, view: &View<'_>) -> Result<UnixTime, Stop> {
        let latest = view.get::<Meta>(&keys::meta())?.map_or(UnixTime::EPOCH, |meta| meta.latest);
        Ok(view.now().unix.max(latest))
    }

    /// Ends what tokens allowed that have expired, and forgets that they were revoked: by the time that is written with
    /// that they are expired for ever.
    pub(in crate::kdc) fn sweep(&self, view: &View<'_>) -> Result<Outcome<Event>, Stop> {
        let (page, ends, bans, counts, meta) = (
            view.hint::<Expiry>(&keys::expiries(), PAGE),
            view.hint::<RevocationEnd>(&keys::revocation_ends(), PAGE),
            view.hint::<BanEnd>(&keys::ban_ends(), PAGE),
            view.hint::<ProvokedEnd>(&keys::provoked_ends(), PAGE),
            view.get::<Meta>(&keys::meta()),
        );
        let (page, ends, bans, counts, meta) = (page?, ends?, bans?, counts?, meta?.copied());
        let latest = meta.map_or(UnixTime::EPOCH, |meta| meta.latest);
        let time = latest.max(view.now().unix);
        let due = page.iter().take_while(|expiry| expiry.at <= time && !view.now().has_jumped());
        let due: Vec<Expiry> = due.cloned().collect();
        let forgotten = ends.iter().take_while(|end| end.at <= time && !view.now().has_jumped()).count();
        let lifted = bans.iter().take_while(|end| end.at <= time && !view.now().has_jumped()).count();
        let over = counts.iter().take_while(|end| end.at <= time && !view.now().has_jumped()).count();
        let more = |length: usize| (length >= PAGE).then_some(time);
        let next = first(
            page.get(due.len()).map(|expiry| expiry.at).or(more(page.len())),
            ends.get(forgotten).map(|end| end.at).or(more(ends.len())),
        );
        let next = first(next, bans.get(lifted).map(|end| end.at).or(more(bans.len())));
        let next = first(next, counts.get(over).map(|end| end.at).or(more(counts.len())));
        let is_noted = meta.is_none() || latest.plus(NOTE) > time || view.now().has_jumped();
        let nothing = due.is_empty() && forgotten == 0 && lifted == 0 && is_noted;
        let mut changes = Changes::new();
        for RevocationEnd { at, hash } in ends.iter().take(forgotten) {
            changes.delete(keys::revoked(hash));
            changes.delete(keys::revocation_end(*at, hash));
        }
        let lifted = self.end_bans(view, bans.get(..lifted).unwrap_or_default(), &mut changes);
        self.forget_provoked(view, counts.get(..over).unwrap_or_default(), &mut changes)?;
        lifted?;
        let noted = if nothing { latest } else { time };
        let next = first(next, meta.map(|_| noted.plus(NOTE)));
        let mut events = vec![Event::Swept { next, time: noted }];
        if self.sharing == Sharing::Shared {
            // Another process may have ended before it was done with some.
            events.push(Event::FindsLeaving { after: None });
        }
        // All are tried before the first that is not known yet ends the run: what they need comes at once.
        let clients: BTreeSet<PrincipalId> = due.iter().map(|expiry| expiry.principal).collect();
        let ended: Vec<_> =
            clients.into_iter().map(|id| self.end_expired(view, id, time, &mut changes, &mut events)).collect();
        ended.into_iter().collect::<Result<(), Stop>>()?;
        // A token that was replaced has left its entry where a client had one alone; all others went with their tokens.
        due.iter().for_each(|expiry| changes.delete(expiry.key()));
        if let Some(meta) = meta.filter(|_| !nothing) {
            changes.put(keys::meta(), Meta { latest: time, ..meta });
        }
        Ok(events.into_iter().fold(Outcome::done_with(changes), Outcome::with_event))
    }

    /// Ends bans, unless later ones have taken their places.
    fn end_bans(&self, view: &View<'_>, ends: &[BanEnd], changes: &mut Changes) -> Result<(), Stop> {
        let key = |end: &BanEnd| keys::ban(end.group, end.principal);
        let bans: Vec<_> = ends.iter().map(|end| (end, view.get::<Ban>(&key(end)))).collect();
        for (end, ban) in bans {
            if ban?.is_some_and(|ban| ban.until == end.at) {
                changes.delete(key(end));
            }
            changes.delete(keys::ban_end(end.at, end.group, end.principal));
        }
        Ok(())
    }

    /// Ends those tokens of a client that have expired.
    fn end_expired(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        time: UnixTime,
        changes: &mut Changes,
        events: &mut Vec<Event>,
    ) -> Result<(), Stop> {
        let Some(principal) = view.get::<Principal>(&keys::principal(id))? else { return Ok(()) };
        let is_over = |token: &StoredToken| token.expires <= time;
        if !principal.tokens.iter().any(|held| is_over(&held.token)) {
            return self.end_expiring(view, id, principal, time, changes, events);
        }
        let told = self.end_tokens(view, id, principal, is_over, RekeyReason::Expired, changes)?;
        for held in principal.tokens.iter().filter(|held| is_over(&held.token)) {
            self.note_expired(view, &principal.issuer, &held.token, changes)?;
        }
        events.extend(told);
        Ok(())
    }
}

impl KdcApp {
    /// Ends those memberships of a client that its tokens cover no longer, though none has expired: it is told of that while
    /// its associations are good.
    fn end_expiring(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        principal: &Principal,
        time: UnixTime,
        changes: &mut Changes,
        events: &mut Vec<Event>,
    ) -> Result<(), Stop> {
        let mut left = principal.clone();
        events.extend(self.end_uncovered(view, id, &mut left, RekeyReason::Expired, time, changes)?);
        if left != *principal {
            changes.put(keys::principal(id), left);
        }
        Ok(())
    }

    /// What is kept of a token that is good from now on: memberships end by it a little earlier than it does itself.
    pub(in crate::kdc) fn noticed(&self, view: &View<'_>, token: StoredToken) -> StoredToken {
        let life = view.now().unix.until(token.expires);
        let early = self.expiry_notice.min(life.checked_div(SHORT).unwrap_or_default());
        let notice = Some(token.expires.minus(early)).filter(|at| *at < token.expires);
        StoredToken { notice, ..token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix: u64) -> Now {
        Now::new(unix, Duration::from_secs(unix))
    }

    #[test]
    fn what_comes_to_be_known_during_a_sweep_is_not_lost() {
        let mut expiries = Expiries::new(Sharing::Exclusive);
        assert!(!expiries.is_known() && !expiries.begins(at(10)), "the first sweep is under way");
        expiries.expires(UnixTime::new(50));
        expiries.swept(at(10), None, UnixTime::new(0));
        assert_eq!((expiries.is_known(), expiries.next(at(10))), (true, Some(Duration::from_secs(50))));
        assert!(!expiries.begins(at(49)) && expiries.begins(at(50)));
        assert_eq!((expiries.begins(at(50)), expiries.next(at(50))), (false, None), "one at a time");
        expiries.expires(UnixTime::new(90));
        expiries.swept(at(51), Some(UnixTime::new(100)), UnixTime::new(0));
        assert_eq!(expiries.next(at(51)), Some(Duration::from_secs(90)));
        assert!(expiries.begins(at(90)));
        expiries.swept(at(90), Some(UnixTime::new(90)), UnixTime::new(0));
        assert!(expiries.begins(at(90)), "there was more than a page");
        expiries.swept(at(90), None, UnixTime::new(0));
        assert_eq!(expiries.next(at(90)), None);
        // What was ended by a later time is not good again by an earlier one.
        expiries.swept(at(90), None, UnixTime::new(500));
        expiries.swept(at(91), None, UnixTime::new(400));
        assert_eq!(
            (expiries.time(at(92)), expiries.time(at(500)), expiries.time(at(501))),
            [500, 500, 501].map(UnixTime::new).into()
        );
    }

    #[test]
    fn storage_that_others_write_to_is_looked_at_now_and_then() {
        let mut expiries = Expiries::new(Sharing::Shared);
        expiries.swept(at(10), Some(UnixTime::new(500)), UnixTime::new(0));
        assert_eq!(expiries.next(at(11)), Some(Duration::from_secs(70)));
        assert!(!expiries.begins(at(69)) && expiries.begins(at(70)));
    }
}
