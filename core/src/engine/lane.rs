//! Lanes: what may change one group waits here for its turn.
//!
//! On shared storage a lane whose commits lose to those of others again and again claims the lane's turn, a record that every
//! batch expects: engines that see the claim hold their own batches back until it is gone, or a moment has passed,
//! for its holder may be dead. It makes for progress alone; what is safe does not rest on it.

use super::Ticket;
use crate::id::AssociationId;
use crate::traits::storage::Revision;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// Conflicts after which a lane claims its turn.
pub(super) const PATIENT: u32 = 3;

/// For how long a claim of somebody else holds a lane back.
const YIELD: Duration = Duration::from_millis(250);

/// How often such a lane looks whether the claim is gone.
const LOOK: Duration = Duration::from_millis(10);

/// Whether a lane holds back for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Yields {
    /// Its commits may go off.
    No,
    /// It waits until the claim is gone, or its time is over.
    Waits,
    /// It waits as well, and the record of the claim is read again: it may be gone.
    Looks,
}

/// What a lane's next commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    /// Nothing: a commit may go off at once.
    #[default]
    Free,
    /// The end of another commit that is under way, to which it would lose.
    Overtaken,
    /// The end of the lane's own commit.
    Committing,
}

/// How a lane stands to its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Claim {
    /// It does not need the turn.
    #[default]
    Patient,
    /// One of its requests has lost too often: it wants the turn.
    Impatient,
    /// It has claimed the turn, in this revision of the turn's record.
    Holds(Revision),
}

/// A request that waits for a moment, or for others.
struct Parked {
    until: Duration,
    caller: Option<AssociationId>,
}

#[derive(Clone, Copy)]
struct Yielded {
    turn: Revision,
    until: Duration,
    look: Duration,
}

/// Requests of one lane.
#[derive(Default)]
pub(super) struct Lane {
    /// Those that could run, the oldest first.
    ready: BTreeSet<Ticket>,
    /// Those of them that have not run since they came: while a commit is under way they find out their needs.
    fresh: BTreeSet<Ticket>,
    /// Those that wait for a moment, or for others.
    parked: BTreeMap<Ticket, Parked>,
    parked_order: BTreeSet<(Duration, Ticket)>,
    /// Whose they are: one of each client waits.
    parked_callers: BTreeSet<AssociationId>,
    /// How many there are in all.
    waiting: usize,
    progress: Progress,
    claim: Claim,
    /// The turn that another has claimed, and until when this engine holds back for it.
    yielded: Option<Yielded>,
}

impl Lane {
    pub(super) fn enter(&mut self, ticket: Ticket) {
        self.waiting = self.waiting.saturating_add(1);
        self.resume(ticket);
    }

    /// A request could run now.
    pub(super) fn resume(&mut self, ticket: Ticket) {
        self.ready.insert(ticket);
        self.fresh.insert(ticket);
    }

    /// A request waits for something, or is part of a commit.
    pub(super) fn pause(&mut self, ticket: Ticket) {
        self.ready.remove(&ticket);
        self.fresh.remove(&ticket);
        if let Some(Parked { until, caller }) = self.parked.remove(&ticket) {
            self.parked_order.remove(&(until, ticket));
            if let Some(caller) = caller {
                self.parked_callers.remove(&caller);
            }
        }
    }

    /// A request waits until this moment, or until others let it go.
    pub(super) fn park(&mut self, ticket: Ticket, until: Duration, caller: Option<AssociationId>) {
        self.pause(ticket);
        self.parked_order.insert((until, ticket));
        self.parked_callers.extend(caller.clone());
        self.parked.insert(ticket, Parked { until, caller });
    }

    /// Whether another request of this client waits so.
    pub(super) fn has_parked(&self, caller: &AssociationId) -> bool {
        self.parked_callers.contains(caller)
    }

    /// How many wait so.
    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// When the first of them has waited long enough.
    pub(super) fn parked_until(&self) -> Option<Duration> {
        self.parked_order.first().map(|(until, _)| *until)
    }

    /// Lets all of them go on.
    pub(super) fn unpark(&mut self) {
        self.parked_order.clear();
        self.parked_callers.clear();
        for ticket in std::mem::take(&mut self.parked).into_keys() {
            self.resume(ticket);
        }
    }

    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.waiting = self.waiting.saturating_sub(1);
        self.pause(ticket);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.progress != Progress::Committing
    }

    /// Whether a commit may be sent off.
    pub(super) fn is_free(&self) -> bool {
        self.progress == Progress::Free
    }

    pub(super) const fn note_commit(&mut self) {
        self.progress = Progress::Committing;
    }

    pub(super) const fn note_commit_ended(&mut self) {
        self.progress = Progress::Free;
    }

    /// Its commit would lose to another one.
    pub(super) const fn note_overtaken(&mut self) {
        self.progress = Progress::Overtaken;
    }

    /// Lets a lane go on that another commit has overtaken. Returns whether it is one.
    pub(super) fn release(&mut self) -> bool {
        let is_overtaken = self.progress == Progress::Overtaken;
        if is_overtaken {
            self.progress = Progress::Free;
        }
        is_overtaken
    }

    /// Whether it is to claim its turn.
    pub(super) fn wants_turn(&self) -> bool {
        self.claim == Claim::Impatient
    }

    /// A commit of the lane is done; one that claimed its turn has given the turn's record this revision.
    pub(super) fn note_done(&mut self, claimed: Option<Revision>) {
        self.claim = claimed.map_or(Claim::Patient, Claim::Holds);
    }

    /// A commit of the lane has lost to another one; with it a request for which that was once too often, or none.
    pub(super) fn note_conflict(&mut self, too_often: bool) {
        let wants = too_often || self.claim == Claim::Impatient;
        self.claim = if wants { Claim::Impatient } else { Claim::Patient };
    }

    /// A commit of the lane has failed. A claim would fail again at once.
    pub(super) const fn note_failure(&mut self) {
        self.claim = Claim::Patient;
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The first one behind another that could run.
    pub(super) fn next_ready(&self, after: Option<Ticket>) -> Option<Ticket> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.ready.range((from, Bound::Unbounded)).next().copied()
    }

    pub(super) fn take_fresh(&mut self) -> BTreeSet<Ticket> {
        std::mem::take(&mut self.fresh)
    }

    /// Whether the lane holds back for a claim that is there: not where it is its own, or its time is over.
    pub(super) fn yields_to(&mut self, turn: Option<Revision>, now: Duration) -> Yields {
        let Some(turn) = turn.filter(|turn| self.claim != Claim::Holds(*turn)) else { return Yields::No };
        let (until, look) = match self.yielded {
            Some(known) if known.turn == turn => (known.until, known.look),
            _ => (now.saturating_add(YIELD), now.saturating_add(LOOK)),
        };
        let looks = now >= look;
        let look = if looks { now.saturating_add(LOOK) } else { look };
        self.yielded = Some(Yielded { turn, until, look });
        match (now < until, looks) {
            (false, _) => Yields::No,
            (true, true) => Yields::Looks,
            (true, false) => Yields::Waits,
        }
    }

    /// When a lane that holds back looks again.
    pub(super) fn held_until(&self, now: Duration) -> Option<Duration> {
        self.yielded.filter(|yielded| yielded.until > now).map(|yielded| yielded.until.min(yielded.look))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_claim_holds_back_for_its_time_and_once() {
        let mut lane = Lane::default();
        assert_eq!(lane.yields_to(None, at(0)), Yields::No);
        assert_eq!(
            (lane.yields_to(Some(Revision(1)), at(100)), lane.held_until(at(100))),
            (Yields::Waits, Some(at(110)))
        );
        assert_eq!(lane.yields_to(Some(Revision(1)), at(109)), Yields::Waits);
        assert_eq!(lane.yields_to(Some(Revision(1)), at(110)), Yields::Looks);
        assert_eq!(
            (lane.yields_to(Some(Revision(1)), at(111)), lane.held_until(at(111))),
            (Yields::Waits, Some(at(120)))
        );
        assert_eq!(
            (lane.yields_to(Some(Revision(1)), at(349)), lane.held_until(at(349))),
            (Yields::Looks, Some(at(350)))
        );
        assert_eq!(lane.yields_to(Some(Revision(1)), at(350)), Yields::No, "its holder may be dead");
        assert_eq!(lane.held_until(at(350)), None);
        assert_eq!(lane.yields_to(Some(Revision(1)), at(400)), Yields::No);
        assert_eq!(lane.yields_to(Some(Revision(2)), at(400)), Yields::Waits, "another claim");
        lane.note_done(Some(Revision(3)));
        assert_eq!(lane.yields_to(Some(Revision(3)), at(500)), Yields::No, "its own");
    }

    #[test]
    fn the_oldest_that_can_run_comes_first() {
        let mut lane = Lane::default();
        for ticket in [3, 1, 2] {
            lane.enter(Ticket(ticket));
        }
        assert_eq!(lane.next_ready(None), Some(Ticket(1)));
        assert_eq!(lane.next_ready(Some(Ticket(1))), Some(Ticket(2)));
        lane.pause(Ticket(1));
        assert_eq!(lane.next_ready(None), Some(Ticket(2)));
        assert_eq!(lane.take_fresh().len(), 2);
        lane.resume(Ticket(1));
        assert_eq!((lane.next_ready(None), lane.take_fresh().len()), (Some(Ticket(1)), 1));
        for ticket in [1, 2, 3] {
            assert!(!lane.is_idle());
            lane.leave(Ticket(ticket));
        }
        assert!(lane.is_idle() && !lane.has_ready());
        lane.note_commit();
        assert!(!lane.is_idle() && !lane.release());
        lane.note_commit_ended();
        assert!(lane.is_idle() && lane.is_free());
        lane.note_overtaken();
        assert!(lane.is_idle() && !lane.is_free() && lane.release() && lane.is_free() && !lane.release());
    }

    #[test]
    fn those_that_wait_for_others_go_on_together_when_the_first_has_waited_long_enough() {
        let mut lane = Lane::default();
        for ticket in [1, 2, 3] {
            lane.enter(Ticket(ticket));
        }
        let caller = AssociationId::from(b"one");
        lane.park(Ticket(2), at(50), None);
        lane.park(Ticket(1), at(40), Some(caller.clone()));
        assert!(lane.has_parked(&caller) && !lane.has_parked(&AssociationId::from(b"two")));
        assert_eq!((lane.parked(), lane.parked_until(), lane.next_ready(None)), (2, Some(at(40)), Some(Ticket(3))));
        lane.leave(Ticket(1));
        assert_eq!((lane.parked(), lane.parked_until(), lane.is_idle()), (1, Some(at(50)), false));
        assert!(!lane.has_parked(&caller));
        lane.park(Ticket(3), at(60), Some(caller.clone()));
        lane.unpark();
        assert!(!lane.has_parked(&caller));
        assert_eq!((lane.parked(), lane.parked_until(), lane.next_ready(None)), (0, None, Some(Ticket(2))));
    }

    #[test]
    fn a_lane_claims_its_turn_when_a_request_has_lost_too_often_and_not_after_a_failure() {
        let mut lane = Lane::default();
        lane.note_conflict(false);
        assert!(!lane.wants_turn());
        lane.note_conflict(true);
        lane.note_conflict(false);
        assert!(lane.wants_turn(), "what it wants it has not got");
        lane.note_done(Some(Revision(7)));
        assert!(!lane.wants_turn());
        lane.note_conflict(false);
        assert!(!lane.wants_turn(), "it had its turn");
        lane.note_conflict(true);
        lane.note_failure();
        assert!(!lane.wants_turn());
        lane.note_conflict(true);
        lane.note_done(None);
        assert!(!lane.wants_turn());
    }
}
