//! Lanes, batches and commits.

use super::app::Said;
use super::lane::{Lane, PATIENT, Yields};
use super::run::Ran;
use super::{App, Batch, BatchMember, Effect, Engine, Input, Op, OpId, Ticket};
use crate::engine::store::changes::Change;
use crate::engine::store::overlay::Overlay;
use crate::engine::store::view::Log;
use crate::id::AssociationId;
use crate::refusal::Refusal;
use crate::request::Caller;
use crate::schema::keys;
use crate::schema::records::Mark;
use crate::time::Now;
use crate::traits::storage::{CommitOutcome, Key, Record, Revision, Sharing, Txn};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

impl<A: App> Engine<A> {
    /// Runs what waits in a lane. While a commit of the lane is under way, requests run only to find their
    /// needs.
    pub(super) fn run_lane(&mut self, now: Now, lane: &str, out: &mut Vec<Effect<A::Notice>>) {
        let turn = self.turn(lane);
        let Some(state) = self.lanes.get_mut(lane) else { return };
        let fresh = state.take_fresh();
        let yields = if state.is_free() { state.yields_to(turn, now.mono) } else { Yields::Waits };
        if yields != Yields::No {
            for ticket in fresh {
                let _ = self.run(now, ticket, None);
            }
            if yields == Yields::Looks {
                self.wanted.entry(keys::turn(lane)).or_default();
            }
            return;
        }
        if state.wants_turn() && self.sharing == Sharing::Shared {
            return self.claim_turn(lane, out);
        }
        let claimed = turn.is_some();
        let mut batch = self.fill(now, lane, out);
        if batch.overlay.0.is_empty() {
            return;
        }
        if self.would_lose(&batch.expected) {
            if let Some(state) = self.lanes.get_mut(lane) {
                state.note_overtaken();
            }
            return;
        }
        if claimed {
            // It is this lane's own, or its holder has had its time.
            batch.overlay.0.insert(keys::turn(lane), None);
        }
        if let Some(state) = self.lanes.get_mut(lane) {
            batch.members.iter().for_each(|member| state.pause(member.ticket));
        }
        self.commit(batch, out);
    }

    /// Whether a commit of ours that is under way writes what one with these expectations rests on: that one would come
    /// too late, again and again where others follow on each other.
    pub(super) fn would_lose(&self, expected: &BTreeMap<Key, Option<Revision>>) -> bool {
        expected.keys().any(|key| self.committing.contains_key(key))
    }

    /// Whoever waited for a commit to end comes before others.
    pub(super) fn run_overtaken(&mut self, now: Now, out: &mut Vec<Effect<A::Notice>>) {
        if !std::mem::take(&mut self.released) {
            return;
        }
        for ticket in std::mem::take(&mut self.overtaken) {
            self.drive(now, ticket, out);
        }
        let released: Vec<String> =
            self.lanes.iter_mut().filter_map(|(name, lane)| lane.release().then(|| name.clone())).collect();
        for lane in released {
            self.run_lane(now, &lane, out);
        }
    }

    /// The claim of a lane's turn, as far as it is known.
    fn turn(&self, lane: &str) -> Option<Revision> {
        if self.sharing == Sharing::Exclusive {
            return None;
        }
        self.cache.get(&keys::turn(lane)).and_then(|entry| entry.revision)
    }

    /// Commits a claim by itself: it expects nothing that others change, so that it happens.
    fn claim_turn(&mut self, lane: &str, out: &mut Vec<Effect<A::Notice>>) {
        let key = keys::turn(lane);
        let mut batch = Batch { lane: Some(lane.to_owned()), ..Batch::empty() };
        batch.expected.insert(key.clone(), self.cache.get(&key).and_then(|entry| entry.revision));
        batch.overlay.0.insert(key, Some(Arc::new(Mark)));
        self.commit(batch, out);
    }

    /// Runs requests of a lane one after another, each on what the ones before have changed.
    fn fill(&mut self, now: Now, lane: &str, out: &mut Vec<Effect<A::Notice>>) -> Batch<A::Event> {
        let mut batch = Batch { lane: Some(lane.to_owned()), ..Batch::empty() };
        let mut callers: HashSet<AssociationId> = HashSet::new();
        let (mut last, mut tried) = (None, HashSet::new());
        let mut bound = self.limits.batch;
        while batch.members.len() < bound {
            let Some(ticket) = self.lanes.get(lane).and_then(|state| state.next_ready(last)) else { break };
            last = Some(ticket);
            if tried.contains(&ticket) {
                continue;
            }
            let caller = self.caller(ticket);
            if caller.as_ref().is_some_and(|caller| callers.contains(caller)) {
                continue;
            }
            if self.run_in_batch(now, ticket, &mut batch, out) {
                callers.extend(caller);
                tried.insert(ticket);
                if batch.members.last().is_some_and(|member| member.events.iter().any(|event| self.app.releases(event)))
                {
                    // Those that wait for this are part of it, whoever came first.
                    self.lanes.get_mut(lane).into_iter().for_each(Lane::unpark);
                    last = None;
                    // Who is left out would need a version of its own.
                    bound = bound.max(self.limits.parked);
                }
            }
        }
        batch
    }

    /// Runs one request on the overlay. Returns whether it is now part of the batch.
    fn run_in_batch(
        &mut self,
        now: Now,
        ticket: Ticket,
        batch: &mut Batch<A::Event>,
        out: &mut Vec<Effect<A::Notice>>,
    ) -> bool {
        let (said, changes, events, log) = match self.run(now, ticket, Some(&batch.overlay)) {
            Ran::Waits => return false,
            Ran::Refused(refusal, log) => (Some(Said::Refusal(refusal)), None, Vec::new(), log),
            Ran::Done(outcome, log) => (outcome.said, Some(outcome.changes), outcome.events, log),
        };
        let changes = changes.filter(|changes| !changes.is_empty());
        if changes.is_none() && !log.read_overlay {
            // It rests on durable state alone, and has nothing to wait for.
            if self.held_at_once(ticket, &log.reads) {
                self.apply(now, events, out);
                let none = Refusal::Internal("an outcome without answer and changes");
                self.say(ticket, said.unwrap_or(Said::Refusal(none)), out);
            }
            return false;
        }
        batch.expected.extend(log.reads);
        batch.overlay.0.extend(changes.into_iter().flat_map(|changes| changes.0));
        batch.members.push(BatchMember { ticket, said, events });
        true
    }

    /// Who sent a request; one member changes once in a batch.
    pub(super) fn caller(&self, ticket: Ticket) -> Option<AssociationId> {
        match &*self.waiting.get(&ticket)?.input {
            Input::Request(Caller::Peer(association, _), _) => Some(association.clone()),
            _ => None,
        }
    }

    /// Sends a batch off. Everything that its runs read is expected to be so still.
    pub(super) fn commit(&mut self, batch: Batch<A::Event>, out: &mut Vec<Effect<A::Notice>>) {
        let write = batch.overlay.0.iter().map(|(key, change)| (key.clone(), encode(change))).collect();
        for key in batch.overlay.0.keys() {
            let count = self.committing.entry(key.clone()).or_default();
            *count = count.saturating_add(1);
        }
        if let Some(state) = batch.lane.as_ref().and_then(|lane| self.lanes.get_mut(lane)) {
            state.note_commit();
        }
        let op = OpId(self.number());
        self.stats.commits = self.stats.commits.saturating_add(1);
        let expect = batch.expected.iter().map(|(key, revision)| (key.clone(), *revision)).collect();
        out.push(Effect::Commit(op, Txn { expect, write }));
        self.ops.insert(op, Op::Commit(Box::new(batch)));
    }

    pub(super) fn committed(&mut self, now: Now, op: OpId, outcome: CommitOutcome, out: &mut Vec<Effect<A::Notice>>) {
        let Some(Op::Commit(batch)) = self.ops.remove(&op) else { return };
        for key in batch.overlay.0.keys() {
            if let Some(count) = self.committing.get_mut(key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.committing.remove(key);
                }
            }
        }
        if let Some(state) = batch.lane.as_ref().and_then(|lane| self.lanes.get_mut(lane)) {
            state.note_commit_ended();
        }
        self.released = true;
        match &outcome {
            CommitOutcome::Done(_) => self.note_commit(now, None, batch.probes),
            CommitOutcome::Conflict(_) => (),
            CommitOutcome::NotDone(error) | CommitOutcome::Unknown(error) => {
                self.note_commit(now, Some(error), batch.probes);
            }
        }
        match outcome {
            CommitOutcome::Done(revision) => self.done(now, *batch, revision, out),
            CommitOutcome::Conflict(found) => self.conflicted(now, *batch, found, out),
            CommitOutcome::NotDone(_) => self.fail(*batch, &Refusal::Unavailable("storage cannot be written", 5), out),
            // Its records are read again.
            CommitOutcome::Unknown(_) => {
                self.stats.unknown = self.stats.unknown.saturating_add(1);
                self.app.doubts(now.mono);
                for key in batch.overlay.0.keys().chain(batch.expected.keys()) {
                    self.cache.forget(key);
                }
                self.fail(*batch, &Refusal::CommitUnknown, out);
            }
        }
    }

    fn done(&mut self, now: Now, batch: Batch<A::Event>, revision: Revision, out: &mut Vec<Effect<A::Notice>>) {
        self.cache.committed(batch.overlay.0, revision, &batch.expected);
        if let Some(state) = batch.lane.as_ref().and_then(|lane| self.lanes.get_mut(lane)) {
            // A batch without members is a claim.
            state.note_done(batch.members.is_empty().then_some(revision));
        }
        for member in batch.members {
            self.apply(now, member.events, out);
            match member.said {
                Some(said) => self.say(member.ticket, said, out),
                None => self.again(now, member.ticket, out),
            }
        }
        self.tidy(batch.lane);
    }

    fn conflicted(
        &mut self,
        now: Now,
        batch: Batch<A::Event>,
        found: Vec<(Key, Option<Record>)>,
        out: &mut Vec<Effect<A::Notice>>,
    ) {
        self.stats.conflicts = self.stats.conflicts.saturating_add(1);
        // What comes from a commit of ours that is not known to be durable is waited for.
        let (uncertain, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|(key, _)| self.is_uncertain(key));
        for (key, record) in found {
            self.cache.corrected(key, record);
        }
        let mut too_often = false;
        for member in batch.members {
            let Some(waiting) = self.waiting.get_mut(&member.ticket) else { continue };
            waiting.conflicts = waiting.conflicts.saturating_add(1);
            too_often |= waiting.conflicts >= PATIENT;
            if waiting.conflicts > self.limits.conflicts {
                self.refuse(member.ticket, Refusal::Bound("others were faster, again and again", 1), out);
            } else if uncertain.is_empty() {
                self.again(now, member.ticket, out);
            } else {
                waiting.pages.clear();
                let needs = uncertain.iter().map(|(key, _)| key.clone()).collect();
                self.note_needs(member.ticket, Log { needs, ..Log::default() });
            }
        }
        if let Some(state) = batch.lane.as_ref().and_then(|lane| self.lanes.get_mut(lane)) {
            state.note_conflict(too_often);
        }
        self.tidy(batch.lane);
    }

    /// Lets a request run again: at once, or in its lane, where it is among the oldest.
    fn again(&mut self, now: Now, ticket: Ticket, out: &mut Vec<Effect<A::Notice>>) {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        waiting.pages.clear();
        match &waiting.lane {
            Some(lane) => self.lanes.entry(lane.clone()).or_default().resume(ticket),
            None => self.drive(now, ticket, out),
        }
    }

    fn fail(&mut self, batch: Batch<A::Event>, why: &Refusal, out: &mut Vec<Effect<A::Notice>>) {
        if let Some(state) = batch.lane.as_ref().and_then(|lane| self.lanes.get_mut(lane)) {
            state.note_failure();
        }
        for member in batch.members {
            self.refuse(member.ticket, why.clone(), out);
        }
        self.tidy(batch.lane);
    }

    /// Forgets a lane in which nothing waits.
    pub(super) fn tidy(&mut self, lane: Option<String>) {
        if let Some(lane) = lane
            && self.lanes.get(&lane).is_some_and(Lane::is_idle)
        {
            self.lanes.remove(&lane);
        }
    }
}

impl<E> Batch<E> {
    pub(super) fn empty() -> Self {
        Self { lane: None, members: Vec::new(), overlay: Overlay::default(), expected: BTreeMap::new(), probes: false }
    }
}

fn encode(change: &Change) -> Option<bytes::Bytes> {
    change.as_ref().map(|record| record.bytes().into())
}
