//! Lanes, batches and commits.

use super::run::Ran;
use super::{App, Batch, BatchMember, Effect, Engine, Input, Op, OpId, Overlay, Ticket};
use crate::refusal::Refusal;
use crate::request::Caller;
use crate::state::changes::Change;
use crate::state::keys;
use crate::state::records::Mark;
use crate::time::Now;
use crate::traits::storage::{CommitOutcome, Key, Revision, Sharing, Txn};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Conflicts after which a batch claims its lane's turn.
const PATIENT: u32 = 3;

impl<A: App> Engine<A> {
    /// Runs what waits in a lane. While a commit of the lane is under way, requests run only to find their
    /// needs.
    pub(super) fn run_lane(&mut self, now: Now, lane: &str, out: &mut Vec<Effect<A::Notice>>) {
        let Some(state) = self.lanes.get(lane) else { return };
        let ready: Vec<Ticket> = state.queue.iter().copied().filter(|ticket| self.is_ready(*ticket)).collect();
        if state.busy {
            for ticket in ready {
                if self.waiting.get_mut(&ticket).is_some_and(|w| !std::mem::replace(&mut w.probed, true)) {
                    let _ = self.run(now, ticket, None);
                }
            }
            return;
        }
        let mut batch = Batch {
            lane: Some(lane.to_owned()),
            members: Vec::new(),
            overlay: Overlay::default(),
            expected: Vec::new(),
        };
        let mut expect: BTreeMap<Key, Option<Revision>> = BTreeMap::new();
        let mut callers: HashSet<Arc<[u8]>> = HashSet::new();
        for ticket in ready {
            if batch.members.len() >= self.limits.batch {
                break;
            }
            let caller = self.caller(ticket);
            if caller.as_ref().is_some_and(|caller| callers.contains(caller)) {
                continue;
            }
            let added = self.run_in_batch(now, ticket, &mut batch, &mut expect, out);
            if added {
                callers.extend(caller);
            }
        }
        if batch.overlay.0.is_empty() {
            return;
        }
        if self.sharing == Sharing::Shared && batch.members.iter().any(|member| self.is_impatient(member.ticket)) {
            batch.overlay.0.insert(keys::turn(lane), Some(Arc::new(Mark)));
        }
        for member in &batch.members {
            if let Some(state) = self.lanes.get_mut(lane) {
                state.queue.retain(|queued| *queued != member.ticket);
            }
        }
        self.commit(batch, expect, out);
    }

    /// Runs one request on the overlay; answers whether it is now part of the batch.
    fn run_in_batch(
        &mut self,
        now: Now,
        ticket: Ticket,
        batch: &mut Batch<A::Event>,
        expect: &mut BTreeMap<Key, Option<Revision>>,
        out: &mut Vec<Effect<A::Notice>>,
    ) -> bool {
        let (response, changes, events, log) = match self.run(now, ticket, Some(&batch.overlay)) {
            Ran::Waits => return false,
            Ran::Refused(refusal, log) => (Some(refusal.response()), None, Vec::new(), log),
            Ran::Done(outcome, log) => (outcome.response, Some(outcome.changes), outcome.events, log),
        };
        let changes = changes.filter(|changes| !changes.is_empty());
        if changes.is_none() && !log.read_overlay {
            // It rests on durable state alone, and has nothing to wait for.
            if self.held_at_once(ticket, &log.reads) {
                self.apply(now, events, out);
                let none = Refusal::Internal("an outcome without answer and changes");
                self.answer(ticket, response.unwrap_or_else(|| none.response()), out);
            }
            return false;
        }
        expect.extend(log.reads);
        batch.overlay.0.extend(changes.into_iter().flat_map(|changes| changes.0));
        batch.members.push(BatchMember { ticket, response, events });
        true
    }

    fn is_ready(&self, ticket: Ticket) -> bool {
        self.waiting.get(&ticket).is_some_and(|waiting| waiting.blocked == 0)
    }

    fn is_impatient(&self, ticket: Ticket) -> bool {
        self.waiting.get(&ticket).is_some_and(|waiting| waiting.conflicts >= PATIENT)
    }

    /// Who sent a request; one member changes once in a batch.
    fn caller(&self, ticket: Ticket) -> Option<Arc<[u8]>> {
        match &*self.waiting.get(&ticket)?.input {
            Input::Request(Caller::Peer(association), _) => Some(Arc::clone(association)),
            _ => None,
        }
    }

    /// Sends a batch off. Everything that its runs read is expected to be so still.
    pub(super) fn commit(
        &mut self,
        mut batch: Batch<A::Event>,
        expect: BTreeMap<Key, Option<Revision>>,
        out: &mut Vec<Effect<A::Notice>>,
    ) {
        let write = batch.overlay.0.iter().map(|(key, change)| (key.clone(), encode(change))).collect();
        for key in batch.overlay.0.keys() {
            let count = self.committing.entry(key.clone()).or_default();
            *count = count.saturating_add(1);
        }
        if let Some(state) = batch.lane.as_ref().and_then(|lane| self.lanes.get_mut(lane)) {
            state.busy = true;
        }
        batch.expected = expect.keys().cloned().collect();
        let op = OpId(self.number());
        self.stats.commits = self.stats.commits.saturating_add(1);
        out.push(Effect::Commit(op, Txn { expect: expect.into_iter().collect(), write }));
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
            state.busy = false;
        }
        match outcome {
            CommitOutcome::Done(revision) => self.done(now, *batch, revision, out),
            CommitOutcome::Conflict(found) => self.spoilt(now, *batch, found, out),
            CommitOutcome::NotDone(error) => {
                tracing::warn!(%error, "nothing was committed");
                self.fail(*batch, "storage cannot be written", out);
            }
            CommitOutcome::Unknown(error) => {
                tracing::warn!(%error, "the outcome of a commit is unknown; its records are read again");
                self.stats.unknown = self.stats.unknown.saturating_add(1);
                for key in batch.overlay.0.keys().chain(&batch.expected) {
                    self.cache.forget(key);
                }
                self.fail(*batch, "the outcome of a commit is unknown", out);
            }
        }
    }

    fn done(&mut self, now: Now, batch: Batch<A::Event>, revision: Revision, out: &mut Vec<Effect<A::Notice>>) {
        for (key, change) in batch.overlay.0 {
            self.cache.committed(key, change, revision);
        }
        for member in batch.members {
            self.apply(now, member.events, out);
            match member.response {
                Some(response) => self.answer(member.ticket, response, out),
                None => self.again(now, member.ticket, out),
            }
        }
        self.tidy(batch.lane);
    }

    fn spoilt(
        &mut self,
        now: Now,
        batch: Batch<A::Event>,
        found: Vec<(Key, Option<crate::traits::storage::Record>)>,
        out: &mut Vec<Effect<A::Notice>>,
    ) {
        self.stats.conflicts = self.stats.conflicts.saturating_add(1);
        for (key, record) in found {
            self.cache.corrected(key, record);
        }
        for member in batch.members.into_iter().rev() {
            let Some(waiting) = self.waiting.get_mut(&member.ticket) else { continue };
            waiting.conflicts = waiting.conflicts.saturating_add(1);
            if waiting.conflicts > self.limits.conflicts {
                self.refuse(member.ticket, &Refusal::Unavailable("others were faster, again and again", 1), out);
            } else {
                self.again(now, member.ticket, out);
            }
        }
        self.tidy(batch.lane);
    }

    /// Lets a request run again: at once, or at the front of its lane.
    fn again(&mut self, now: Now, ticket: Ticket, out: &mut Vec<Effect<A::Notice>>) {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        waiting.probed = false;
        match waiting.lane.clone() {
            Some(lane) => self.lanes.entry(lane).or_default().queue.push_front(ticket),
            None => self.drive(now, ticket, out),
        }
    }

    fn fail(&mut self, batch: Batch<A::Event>, why: &'static str, out: &mut Vec<Effect<A::Notice>>) {
        for member in batch.members {
            self.refuse(member.ticket, &Refusal::Unavailable(why, 5), out);
        }
        self.tidy(batch.lane);
    }

    /// Forgets a lane in which nothing waits.
    fn tidy(&mut self, lane: Option<String>) {
        if let Some(lane) = lane
            && self.lanes.get(&lane).is_some_and(|state| state.queue.is_empty() && !state.busy)
        {
            self.lanes.remove(&lane);
        }
    }
}

fn encode(change: &Change) -> Option<bytes::Bytes> {
    change.as_ref().map(|record| record.bytes().into())
}
