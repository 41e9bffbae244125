//! Running handlers.

use super::app::Said;
use super::{App, Batch, BatchMember, Effect, Engine, Outcome, Ticket};
use crate::engine::store::cache::LoadId;
use crate::engine::store::overlay::Overlay;
use crate::engine::store::view::{Log, Stop, View};
use crate::refusal::Refusal;
use crate::time::Now;
use crate::traits::storage::{Key, Revision, Sharing};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

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
            return Ran::Refused(Refusal::Bound("a request needs too many runs", 2), Log::default());
        }
        let _entered = waiting.span.clone().entered();
        let log = RefCell::new(Log::default());
        let view = View {
            now,
            arrived: waiting.arrived,
            has_lane: waiting.lane.is_some(),
            seed: &waiting.seed,
            base: &self.cache,
            overlay,
            facts: &waiting.facts,
            answers: &waiting.answers,
            pages: &waiting.pages,
            sharing: self.sharing,
            log: &log,
        };
        if let Some(lane) = waiting.lane.as_ref().filter(|_| self.sharing == Sharing::Shared) {
            let _ = view.expect_unchanged(&crate::schema::keys::turn(lane));
        }
        let result = self.app.handle(&view, &waiting.input);
        let log = log.into_inner();
        if log.has_needs() {
            if let Err(refusal) = self.may_ask(ticket, &log.questions) {
                return Ran::Refused(refusal, Log::default());
            }
            self.note_needs(ticket, log);
            return Ran::Waits;
        }
        if log.defers {
            // It stays among those that are ready, before all that came later.
            return Ran::Waits;
        }
        if let Some(until) = log.waits_until {
            return self.park(ticket, until);
        }
        match result {
            Ok(outcome) => Ran::Done(outcome, log),
            Err(Stop::Refuse(refusal)) => Ran::Refused(refusal, log),
            Err(Stop::NotYet(_)) => Ran::Refused(Refusal::Internal("a handler stopped without a need"), log),
        }
    }

    /// Lets a request wait in its lane until this moment.
    fn park(&mut self, ticket: Ticket, until: Duration) -> Ran<A::Event> {
        let refused = |why| Ran::Refused(Refusal::Bound(why, 5), Log::default());
        let caller = self.caller(ticket);
        let lane = self.waiting.get(&ticket).and_then(|waiting| waiting.lane.as_ref());
        match lane.and_then(|lane| self.lanes.get_mut(lane)) {
            // Whoever asks again and again has one place all the same.
            Some(lane) if caller.as_ref().is_some_and(|caller| lane.has_parked(caller)) => {
                refused("another request of the client waits for the next version of the group")
            }
            Some(lane) if lane.parked() < self.limits.parked => {
                lane.park(ticket, until, caller);
                Ran::Waits
            }
            _ => refused("too many wait for the next version of the group"),
        }
    }

    /// Runs a request that waits in no lane, and sees it through.
    pub(super) fn drive(&mut self, now: Now, ticket: Ticket, out: &mut Vec<Effect<A::Notice>>) {
        match self.run(now, ticket, None) {
            Ran::Waits => (),
            Ran::Refused(refusal, log) => {
                if self.held_at_once(ticket, &log.reads) {
                    self.refuse(ticket, refusal, out);
                }
            }
            Ran::Done(outcome, log) if outcome.changes.is_empty() => {
                if self.held_at_once(ticket, &log.reads) {
                    self.finish(now, ticket, outcome, out);
                }
            }
            Ran::Done(_, log) if self.would_lose(&log.reads) => self.overtaken.push(ticket),
            Ran::Done(outcome, log) => {
                let overlay = Overlay(outcome.changes.0);
                let member = BatchMember { ticket, said: outcome.said, events: outcome.events };
                let batch = Batch { lane: None, members: vec![member], overlay, expected: log.reads, probes: false };
                self.commit(batch, out);
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
        let none = Refusal::Internal("an outcome without answer and changes");
        self.say(ticket, outcome.said.unwrap_or(Said::Refusal(none)), out);
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
}
