//! One engine of several: what is due, what it waits for, how it ends.

use super::{Simulation, Work};
use crate::engine::{Completion, Effect, Machine};
use crate::id::AssociationId;
use crate::testkit::ledger::Violation;
use crate::traits::storage::Sharing;
use crate::traits::transport::{AssociationNeed, AssociationNotice};

impl Simulation {
    /// What is due is done.
    pub(super) fn wake(&mut self, host: usize) -> Result<(), Violation> {
        let mut out = Vec::new();
        if let Some(target) = self.hosts.get_mut(host)
            && target.kdc.next_timeout(self.now).is_some_and(|at| at <= self.now.mono)
        {
            target.kdc.timeout(self.now, &mut self.rng, &mut out);
        }
        self.take(host, out)
    }

    /// A process ends, with what it had under way: a commit that was sent may still happen.
    pub(super) fn crash(&mut self, number: usize) -> Result<(), Violation> {
        self.note("crash", number);
        self.summary.crashes = self.summary.crashes.saturating_add(1);
        let fresh = self.boot()?;
        let Some(host) = self.hosts.get_mut(number) else { return Ok(()) };
        let old = std::mem::replace(host, fresh);
        self.summary.conflicts = self.summary.conflicts.saturating_add(old.kdc.stats().conflicts);
        for work in old.work {
            if let Work::Open(Effect::Commit(_, txn)) = work
                && self.draw(2) == 0
            {
                self.commit(txn)?;
            }
        }
        if self.options.sharing == Sharing::Exclusive {
            self.store.reopen();
        }
        Ok(())
    }

    /// The commits that had happened when the earliest moment was that a request of now may be answered from. On
    /// storage of its own an engine does not look, and answers as if a commit had not happened that nobody knows of.
    pub(super) fn since(&self, host: usize) -> u64 {
        let now = self.ledger.commits();
        if self.options.sharing == Sharing::Shared {
            return now;
        }
        let unknown = self.hosts.get(host).into_iter().flat_map(|host| &host.work).filter_map(|work| match work {
            Work::Happened(before, Completion::Committed(..)) => Some(*before),
            _ => None,
        });
        unknown.min().unwrap_or(now)
    }

    pub(super) fn flush(&mut self, host: usize) -> Result<(), Violation> {
        self.note("flush", host);
        let mut out = Vec::new();
        if let Some(target) = self.hosts.get_mut(host) {
            target.kdc.flush(self.now, &mut out);
        }
        self.take(host, out)
    }

    /// Something that a host waits for happens, or is reported.
    pub(super) fn progress(&mut self, host: usize) -> Result<(), Violation> {
        let length = self.hosts.get(host).map_or(0, |host| host.work.len());
        if length == 0 {
            return self.flush(host);
        }
        let at = self.index(length);
        let is_slow = host == 0 && self.draw(self.options.slowness) > 0;
        if is_slow && self.hosts.first().is_some_and(|host| host.work.get(at).is_some_and(Work::is_commit)) {
            return Ok(());
        }
        self.note("progress", at);
        let Some(work) = self.hosts.get_mut(host).map(|host| host.work.swap_remove(at)) else { return Ok(()) };
        match work {
            Work::Open(effect) => {
                let before = self.ledger.commits();
                let done = self.perform(host, effect)?;
                if let (Some(done), Some(host)) = (done, self.hosts.get_mut(host)) {
                    host.work.push(Work::Happened(before, done));
                }
                Ok(())
            }
            Work::Happened(_, done) => {
                let mut out = Vec::new();
                if let Some(target) = self.hosts.get_mut(host) {
                    target.kdc.complete(self.now, done, &mut out);
                }
                self.take(host, out)
            }
        }
    }

    /// Takes in what a host wants done. Answers go to their clients, or are lost on the way.
    pub(super) fn take(&mut self, host: usize, effects: Vec<Effect<AssociationNotice>>) -> Result<(), Violation> {
        for effect in effects {
            match effect {
                Effect::Answer(ticket, durable) => {
                    let asked = self.hosts.get_mut(host).and_then(|host| host.asked.remove(&ticket));
                    if let Some(asked) = asked {
                        self.answered(host, asked, durable)?;
                    }
                }
                Effect::Notice(AssociationNotice::Lost { id }) => {
                    self.summary.strange = self.summary.strange.saturating_add(1);
                    // Sooner or later the client proves by Echo that it asks here.
                    if self.draw(2) == 0 {
                        self.claim(host, id)?;
                    }
                }
                Effect::Notice(AssociationNotice::Changed { path }) => self.notify(host, &path)?,
                Effect::Notice(_) => (),
                other => self.queue(host, other),
            }
        }
        Ok(())
    }

    fn claim(&mut self, host: usize, id: AssociationId) -> Result<(), Violation> {
        let mut out = Vec::new();
        if let Some(target) = self.hosts.get_mut(host) {
            target.kdc.need(self.now, AssociationNeed::Claim(id), &mut self.rng, &mut out);
        }
        self.take(host, out)
    }

    fn queue(&mut self, host: usize, effect: Effect<AssociationNotice>) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.work.push(Work::Open(effect));
        }
    }
}
