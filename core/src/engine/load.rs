//! Getting what runs need: records, listings, pages, signatures.

use super::{App, Effect, Engine, Op, OpId, Ticket};
use crate::engine::store::cache::LoadId;
use crate::engine::store::view::Log;
use crate::refusal::Refusal;
use crate::time::Now;
use crate::traits::crypto::CryptoOutput;
use crate::traits::storage::{Key, Page, Record, Sharing, StorageError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Scans that fill listings; one of a prefix at a time.
#[derive(Default)]
pub(super) struct Scans {
    /// Who waits for the scan of a prefix.
    waiters: BTreeMap<Key, Vec<Ticket>>,
    /// Where scans go on, or begin.
    next: VecDeque<(Key, Option<Key>)>,
    /// Whether a load was asked for last: where one operation goes at a time, loads and pages take turns.
    loaded_last: bool,
}

impl<A: App> Engine<A> {
    pub(super) fn note_needs(&mut self, ticket: Ticket, log: Log) {
        if !self.waiting.contains_key(&ticket) {
            return;
        }
        let mut needs = 0_u32;
        for key in log.needs {
            let waiters = self.wanted.entry(key).or_default();
            if waiters.last() != Some(&ticket) {
                waiters.push(ticket);
                needs = needs.saturating_add(1);
            }
        }
        for (prefix, guard) in log.lists {
            let is_new = !self.scans.waiters.contains_key(&prefix);
            let waiters = self.scans.waiters.entry(prefix.clone()).or_default();
            if waiters.last() != Some(&ticket) {
                waiters.push(ticket);
                needs = needs.saturating_add(1);
            }
            if is_new {
                self.cache.begin_listing(prefix.clone(), guard);
                self.scans.next.push_back((prefix, None));
            }
        }
        for (at, limit) in log.pages {
            self.wanted_pages.push((at, limit, ticket));
            needs = needs.saturating_add(1);
        }
        for question in log.questions {
            self.want_answer(ticket, question);
            needs = needs.saturating_add(1);
        }
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        for job in log.jobs {
            self.wanted_jobs.push((ticket, job));
            needs = needs.saturating_add(1);
        }
        waiting.blocked = waiting.blocked.saturating_add(needs);
        if let Some(lane) = waiting.lane.as_ref().and_then(|lane| self.lanes.get_mut(lane)) {
            lane.pause(ticket);
        }
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
        for (at, limit, ticket) in std::mem::take(&mut self.wanted_pages) {
            let op = OpId(self.number());
            out.push(Effect::Scan(op, at.prefix.clone(), at.after.clone(), limit));
            self.ops.insert(op, Op::Page(at, ticket));
        }
        self.emit_questions(out);
        let pages_first = self.scans.loaded_last;
        if pages_first {
            self.emit_pages(out);
        }
        self.emit_loads(out);
        if !pages_first {
            self.emit_pages(out);
        }
    }

    fn may_load(&self) -> bool {
        self.sharing == Sharing::Exclusive || self.loads.is_empty()
    }

    fn emit_loads(&mut self, out: &mut Vec<Effect<A::Notice>>) {
        if !self.may_load() || self.wanted.is_empty() {
            return;
        }
        let wanted = std::mem::take(&mut self.wanted);
        let (later, wanted): (BTreeMap<_, _>, BTreeMap<_, _>) =
            wanted.into_iter().partition(|(key, _)| self.is_uncertain(key));
        self.wanted = later;
        if wanted.is_empty() {
            return;
        }
        let keys: Vec<Key> = wanted.keys().cloned().collect();
        let waiters = wanted.into_values().flatten().collect();
        let op = OpId(self.number());
        let load = self.begin_load();
        self.scans.loaded_last = true;
        out.push(Effect::Load(op, keys.clone()));
        self.ops.insert(op, Op::Load(load, keys, waiters));
    }

    fn emit_pages(&mut self, out: &mut Vec<Effect<A::Notice>>) {
        while self.may_load() {
            let Some((prefix, after)) = self.scans.next.pop_front() else { break };
            let op = OpId(self.number());
            let load = self.begin_load();
            self.scans.loaded_last = false;
            out.push(Effect::Scan(op, prefix.clone(), after, self.limits.page));
            self.ops.insert(op, Op::Scan(load, prefix));
        }
    }

    fn begin_load(&mut self) -> LoadId {
        let load = self.cache.begin_load();
        self.loads.insert(load);
        load
    }

    /// Whether what storage shows of a key may be a commit of ours that is not known to be durable. With
    /// storage of our own, memory is the truth, and this must not get in. On shared storage a read shows what
    /// others have been told already.
    pub(super) fn is_uncertain(&self, key: &Key) -> bool {
        self.sharing == Sharing::Exclusive && self.committing.contains_key(key)
    }

    pub(super) fn loaded(
        &mut self,
        now: Now,
        op: OpId,
        result: Result<Vec<Option<Record>>, StorageError>,
        out: &mut Vec<Effect<A::Notice>>,
    ) {
        let Some(Op::Load(load, keys, waiters)) = self.ops.remove(&op) else { return };
        self.loads.remove(&load);
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
        match self.ops.remove(&op) {
            Some(Op::Scan(load, prefix)) => self.page_of_listing(now, load, prefix, result, out),
            Some(Op::Page(at, ticket)) => match result {
                Ok(page) => {
                    if let Some(waiting) = self.waiting.get_mut(&ticket) {
                        waiting.pages.push((at, page));
                    }
                    self.unblock(now, vec![ticket], out);
                }
                Err(_) => self.give_up(vec![ticket], out),
            },
            _ => (),
        }
    }

    fn page_of_listing(
        &mut self,
        now: Now,
        load: LoadId,
        prefix: Key,
        result: Result<Page, StorageError>,
        out: &mut Vec<Effect<A::Notice>>,
    ) {
        self.loads.remove(&load);
        let Ok(page) = result else {
            let waiters = self.scans.waiters.remove(&prefix).unwrap_or_default();
            return self.give_up(waiters, out);
        };
        let written = self.committing.range(prefix.clone()..).map(|(key, _)| key);
        let uncertain: BTreeSet<Key> =
            written.take_while(|key| key.starts_with(&prefix)).filter(|key| self.is_uncertain(key)).cloned().collect();
        if let Some(after) = self.cache.page(&prefix, page, load, &uncertain) {
            self.scans.next.push_back((prefix, Some(after)));
            return;
        }
        let waiters = self.scans.waiters.remove(&prefix).unwrap_or_default();
        // What guards the listing has to be seen unchanged after the scan.
        let newest = self.cache.newest();
        for ticket in &waiters {
            if let Some(waiting) = self.waiting.get_mut(ticket) {
                waiting.since = newest;
            }
        }
        self.unblock(now, waiters, out);
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
    pub(super) fn unblock(&mut self, now: Now, waiters: Vec<Ticket>, out: &mut Vec<Effect<A::Notice>>) {
        for ticket in waiters {
            let Some(waiting) = self.waiting.get_mut(&ticket) else { continue };
            waiting.blocked = waiting.blocked.saturating_sub(1);
            if waiting.blocked > 0 {
                continue;
            }
            match &waiting.lane {
                Some(lane) => self.lanes.entry(lane.clone()).or_default().resume(ticket),
                None => self.drive(now, ticket, out),
            }
        }
    }

    fn give_up(&mut self, waiters: Vec<Ticket>, out: &mut Vec<Effect<A::Notice>>) {
        for ticket in waiters {
            self.refuse(ticket, Refusal::Unavailable("storage cannot be read", 5), out);
        }
    }
}
