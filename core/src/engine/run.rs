//! Running handlers, and getting what they need.

use super::{App, Batch, BatchMember, Effect, Engine, Op, OpId, Outcome, Overlay, Ticket};
use crate::refusal::Refusal;
use crate::state::cache::LoadId;
use crate::time::Now;
use crate::traits::crypto::CryptoOutput;
use crate::traits::storage::{Key, Page, Record, Revision, Sharing, StorageError};
use crate::view::{Log, Stop, View};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// What a run came to.
pub(super) enum Ran<E> {
    /// It waits for what it asked for.
    Waits,
    /// It is refused.
    Refused(Refusal, Log),
    /// It has an outcome.
    Done(Outcome<E>, Log),
}

impl<A: App> Engine<A> {
    /// Runs a request once. A run that noted a need has no result, whatever it returned.
    pub(super) fn run(&mut self, now: Now, ticket: Ticket, overlay: Option<&Overlay>) -> Ran<A::Event> {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return Ran::Waits };
        waiting.runs = waiting.runs.saturating_add(1);
        self.stats.runs = self.stats.runs.saturating_add(1);
        if waiting.runs > self.limits.runs {
            return Ran::Refused(Refusal::Unavailable("a request needs too many runs", 2), Log::default());
        }
        let log = RefCell::new(Log::default());
        let view = View {
            now,
            arrived: waiting.arrived,
            seed: &waiting.seed,
            base: &self.cache,
            overlay,
            facts: &waiting.facts,
            sharing: self.sharing,
            log: &log,
        };
        if let Some(lane) = waiting.lane.as_ref().filter(|_| self.sharing == Sharing::Shared) {
            let _ = view.expect(&crate::state::keys::turn(lane));
        }
        let result = self.app.handle(&view, &waiting.input);
        let log = log.into_inner();
        if log.has_needs() {
            self.note_needs(ticket, log);
            return Ran::Waits;
        }
        match result {
            Ok(outcome) => Ran::Done(outcome, log),
            Err(Stop::Refuse(refusal)) => Ran::Refused(refusal, log),
            Err(Stop::NotYet(_)) => Ran::Refused(Refusal::Internal("a handler stopped without a need"), log),
        }
    }

    /// Runs a request that waits in no lane, and sees it through.
    pub(super) fn drive(&mut self, now: Now, ticket: Ticket, out: &mut Vec<Effect<A::Notice>>) {
        match self.run(now, ticket, None) {
            Ran::Waits => (),
            Ran::Refused(refusal, log) => {
                if self.held_at_once(ticket, &log.reads) {
                    self.refuse(ticket, &refusal, out);
                }
            }
            Ran::Done(outcome, log) if outcome.changes.is_empty() => {
                if self.held_at_once(ticket, &log.reads) {
                    self.finish(now, ticket, outcome, out);
                }
            }
            Ran::Done(outcome, log) => {
                let overlay = Overlay(outcome.changes.0);
                let member = BatchMember { ticket, response: outcome.response, events: outcome.events };
                let batch = Batch { lane: None, members: vec![member], overlay, expected: Vec::new() };
                self.commit(batch, log.reads, out);
            }
        }
    }

    /// Answers a request whose outcome changes no record.
    pub(super) fn finish(
        &mut self,
        now: Now,
        ticket: Ticket,
        outcome: Outcome<A::Event>,
        out: &mut Vec<Effect<A::Notice>>,
    ) {
        self.apply(now, outcome.events, out);
        match outcome.response {
            Some(response) => self.answer(ticket, response, out),
            None => self.refuse(ticket, &Refusal::Internal("an outcome without answer and changes"), out),
        }
    }

    pub(super) fn apply(&mut self, now: Now, events: Vec<A::Event>, out: &mut Vec<Effect<A::Notice>>) {
        let mut notices = Vec::new();
        for event in events {
            self.app.apply(now, event, &mut notices);
        }
        out.extend(notices.into_iter().map(Effect::Notice));
    }

    /// Whether there was a moment, not before the request came, at which all that it read held at once. If
    /// not, all of it is loaded again, at one moment, and the request runs again.
    pub(super) fn held_at_once(&mut self, ticket: Ticket, reads: &BTreeMap<Key, Option<Revision>>) -> bool {
        if self.sharing == Sharing::Exclusive || reads.is_empty() {
            return true;
        }
        let Some(waiting) = self.waiting.get(&ticket) else { return false };
        let mut from: LoadId = waiting.since.saturating_add(1);
        let mut until = LoadId::MAX;
        for key in reads.keys() {
            let (first, last) = self.cache.get(key).map_or((0, 0), |entry| (entry.first, entry.last));
            from = from.max(first);
            until = until.min(last);
        }
        if from <= until {
            return true;
        }
        let log = Log { needs: reads.keys().cloned().collect(), ..Log::default() };
        self.note_needs(ticket, log);
        false
    }

    fn note_needs(&mut self, ticket: Ticket, log: Log) {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        let mut needs = 0_u32;
        for key in log.needs {
            let waiters = self.wanted.entry(key).or_default();
            if waiters.last() != Some(&ticket) {
                waiters.push(ticket);
                needs = needs.saturating_add(1);
            }
        }
        for (prefix, guard) in log.lists {
            let (_, waiters) = self.wanted_lists.entry(prefix).or_insert_with(|| (guard, Vec::new()));
            if waiters.last() != Some(&ticket) {
                waiters.push(ticket);
                needs = needs.saturating_add(1);
            }
        }
        for job in log.jobs {
            self.wanted_jobs.push((ticket, job));
            needs = needs.saturating_add(1);
        }
        waiting.blocked = waiting.blocked.saturating_add(needs);
    }

    /// Asks for all that is needed, in batches. On shared storage one load is under way at a time, so that
    /// their numbers tell their order.
    pub(super) fn emit_needs(&mut self, out: &mut Vec<Effect<A::Notice>>) {
        if !self.wanted_jobs.is_empty() {
            let jobs = std::mem::take(&mut self.wanted_jobs);
            let op = OpId(self.number());
            out.push(Effect::Crypto(op, jobs.iter().map(|(_, job)| job.clone()).collect()));
            self.ops.insert(op, Op::Crypto(jobs));
        }
        let one_at_a_time = self.sharing == Sharing::Shared;
        let may_load = !one_at_a_time || self.loads == 0;
        if may_load && !self.wanted.is_empty() {
            let wanted = std::mem::take(&mut self.wanted);
            let (later, wanted): (BTreeMap<_, _>, BTreeMap<_, _>) =
                wanted.into_iter().partition(|(key, _)| self.is_uncertain(key));
            self.wanted = later;
            if !wanted.is_empty() {
                let keys: Vec<Key> = wanted.keys().cloned().collect();
                let waiters = wanted.into_values().flatten().collect();
                let op = OpId(self.number());
                let load = self.cache.begin_load();
                self.loads = self.loads.saturating_add(1);
                out.push(Effect::Load(op, keys.clone()));
                self.ops.insert(op, Op::Load(load, keys, waiters));
            }
        }
        while !(one_at_a_time && self.loads > 0) {
            let Some((prefix, (guard, waiters))) = self.wanted_lists.pop_first() else { break };
            let guard = self.cache.get(&guard).and_then(|entry| entry.revision);
            self.cache.begin_listing(prefix.clone(), guard);
            self.scan(prefix, None, waiters, out);
        }
    }

    /// Whether what storage shows of a key may be a commit of ours that is not known to be durable. With
    /// storage of our own, memory is the truth, and this must not get in. On shared storage a read shows what
    /// others have been told already.
    fn is_uncertain(&self, key: &Key) -> bool {
        self.sharing == Sharing::Exclusive && self.committing.contains_key(key)
    }

    fn scan(&mut self, prefix: Key, after: Option<Key>, waiters: Vec<Ticket>, out: &mut Vec<Effect<A::Notice>>) {
        let op = OpId(self.number());
        let load = self.cache.begin_load();
        self.loads = self.loads.saturating_add(1);
        out.push(Effect::Scan(op, prefix.clone(), after, self.limits.page));
        self.ops.insert(op, Op::Scan(load, prefix, waiters));
    }

    pub(super) fn loaded(
        &mut self,
        now: Now,
        op: OpId,
        result: Result<Vec<Option<Record>>, StorageError>,
        out: &mut Vec<Effect<A::Notice>>,
    ) {
        let Some(Op::Load(load, keys, waiters)) = self.ops.remove(&op) else { return };
        self.loads = self.loads.saturating_sub(1);
        match result {
            Ok(records) if records.len() == keys.len() => {
                for (key, record) in keys.into_iter().zip(records) {
                    if !self.is_uncertain(&key) {
                        self.cache.loaded(key, record, load);
                    }
                }
                self.unblock(now, waiters, out);
            }
            _ => self.give_up(waiters, out),
        }
    }

    pub(super) fn scanned(
        &mut self,
        now: Now,
        op: OpId,
        result: Result<Page, StorageError>,
        out: &mut Vec<Effect<A::Notice>>,
    ) {
        let Some(Op::Scan(load, prefix, waiters)) = self.ops.remove(&op) else { return };
        self.loads = self.loads.saturating_sub(1);
        let Ok(page) = result else { return self.give_up(waiters, out) };
        let uncertain: BTreeSet<Key> =
            page.records.iter().map(|(key, _)| key).filter(|key| self.is_uncertain(key)).cloned().collect();
        match self.cache.page(&prefix, page, load, &uncertain) {
            Some(after) => self.scan(prefix, Some(after), waiters, out),
            None => {
                // What guards the listing has to be seen unchanged after the scan.
                let newest = self.cache.newest();
                for ticket in &waiters {
                    if let Some(waiting) = self.waiting.get_mut(ticket) {
                        waiting.since = newest;
                    }
                }
                self.unblock(now, waiters, out);
            }
        }
    }

    pub(super) fn worked(&mut self, now: Now, op: OpId, outputs: Vec<CryptoOutput>, out: &mut Vec<Effect<A::Notice>>) {
        let Some(Op::Crypto(jobs)) = self.ops.remove(&op) else { return };
        let mut waiters = Vec::with_capacity(jobs.len());
        let outputs = outputs.into_iter().chain(std::iter::repeat(CryptoOutput::Failed));
        for ((ticket, job), output) in jobs.into_iter().zip(outputs) {
            if let Some(waiting) = self.waiting.get_mut(&ticket) {
                waiting.facts.push((job, output));
                waiters.push(ticket);
            }
        }
        self.unblock(now, waiters, out);
    }

    /// Counts down what requests wait for; those that wait for nothing more run, or run in their lane.
    fn unblock(&mut self, now: Now, waiters: Vec<Ticket>, out: &mut Vec<Effect<A::Notice>>) {
        for ticket in waiters {
            let Some(waiting) = self.waiting.get_mut(&ticket) else { continue };
            waiting.blocked = waiting.blocked.saturating_sub(1);
            if waiting.blocked == 0 && waiting.lane.is_none() {
                self.drive(now, ticket, out);
            }
        }
    }

    fn give_up(&mut self, waiters: Vec<Ticket>, out: &mut Vec<Effect<A::Notice>>) {
        for ticket in waiters {
            self.refuse(ticket, &Refusal::Unavailable("storage cannot be read", 5), out);
        }
    }
}
