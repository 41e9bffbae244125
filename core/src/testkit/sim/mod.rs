//! A seeded simulation: several KDC engines over one store, clients that post tokens, join and ask, messages that
//! are lost, commits that conflict, fail or end unknown, processes that crash.
//!
//! Whatever happens, [`Ledger`] watches every commit and every answer, and says what must never be: an answer that
//! is not durable, an identifier that is given twice, a version that goes back, a key for somebody who is out.
//! "Happened" and "reported" are two steps, for commits and for loads. A seed gives the same run each time.

mod clients;
mod world;

use crate::command::Command;
use crate::engine::{Completion, Effect, Limits, Machine, Ticket};
use crate::id::AssociationId;
use crate::kdc::{Kdc, KdcConfig};
use crate::keys::GroupId;
use crate::testkit::ledger::{Ledger, Violation};
use crate::testkit::{TestStore, build, desk, toy};
use crate::time::Now;
use crate::traits::storage::{CommitOutcome, Key, Page, Record, Sharing, StorageError, Txn};
use crate::traits::transport::{AssociationNeed, AssociationNotice};
use clients::SimClient;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use world::StandIn;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sabotage {
    /// Nothing.
    None,
    /// Storage says that a commit is done before it is, and a crash loses it.
    AcknowledgeBeforeCommit,
    /// Commits expect nothing of what they read.
    ExpectNothing,
    /// Commits expect the group's head alone.
    ExpectHeadOnly,
    /// Engines believe that they own the storage alone.
    TrustMemory,
    /// Somebody puts an old version number back.
    VersionGoesBack,
    /// The cursor of identifiers is not persisted. The identifiers' own records hold: nothing may come of it.
    CursorLost,
    /// Neither the cursor nor the identifiers are persisted.
    IdentifiersLost,
}

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Engines over the store.
    pub hosts: usize,
    /// How many clients there are.
    pub clients: u16,
    /// How many steps are made.
    pub steps: u32,
    /// Messages lost, in a hundred.
    pub loss: u64,
    /// Commits that fail or end unknown, in a thousand.
    pub faults: u64,
    /// Crashes, in ten thousand steps.
    pub crashes: u64,
    /// Whose the storage is. Where it is exclusive there is one engine, and it alone changes anything.
    pub sharing: Sharing,
    /// Keys in a page of a scan.
    pub page: usize,
    /// Records in an engine's memory.
    pub records: usize,
    /// The longest time between two steps, in milliseconds.
    pub pace: u64,
    /// Retrievals that go to another process than the client's own, in a hundred.
    pub roaming: u64,
    /// How much longer commits of the first engine take.
    pub slowness: u64,
    /// What is broken on purpose.
    pub sabotage: Sabotage,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: 2,
            clients: 200,
            steps: 4_000,
            loss: 30,
            faults: 20,
            crashes: 10,
            sharing: Sharing::Shared,
            page: 16,
            records: 4_000_000,
            pace: 20,
            roaming: 100,
            slowness: 1,
            sabotage: Sabotage::None,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// A hash over all that happened: equal for equal seeds.
    pub trace: [u8; 32],
    /// How many commits happened.
    pub commits: u64,
    /// Joins that clients were told of.
    pub joins: u64,
    /// Retrievals that clients were told of.
    pub retrievals: u64,
    /// Lists of credentials that clients were told.
    pub listings: u64,
    /// Requests that were answered, except token posts.
    pub answers: u64,
    /// Those of them that were answered 5.03.
    pub unavailable: u64,
    /// Those of them that met a process which did not have the client's association.
    pub strange: u64,
    /// Commits that met a conflict.
    pub conflicts: u64,
    /// How many crashes there were.
    pub crashes: u64,
}

const GROUP: &str = "g1";
const TALKER: u64 = 1;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Post,
    Join,
    Retrieve,
    Creds,
}

/// The store under a simulation.
pub trait Backing {
    /// Reads several keys at one moment.
    ///
    /// # Errors
    /// [`StorageError`].
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError>;

    /// Reads a page.
    ///
    /// # Errors
    /// [`StorageError`].
    fn scan(&mut self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError>;

    /// Commits.
    fn commit(&mut self, txn: Txn) -> CommitOutcome;

    /// The process that had it has crashed, and another one opens it: what was acknowledged is there.
    fn reopen(&mut self);
}

impl Backing for TestStore {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        self.read_now(keys)
    }

    fn scan(&mut self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.scan_now(prefix, after, limit)
    }

    fn commit(&mut self, txn: Txn) -> CommitOutcome {
        self.commit_now(txn)
    }

    fn reopen(&mut self) {}
}

/// A request that a client waits for.
struct Asked {
    client: usize,
    kind: Kind,
    /// The number of commits that had happened when it came.
    since: u64,
}

/// An effect under way.
enum Work {
    /// It has not happened yet.
    Open(Effect<AssociationNotice>),
    /// It has happened, and nobody knows yet; so many commits had happened before.
    Happened(u64, Completion),
}

impl Work {
    const fn is_commit(&self) -> bool {
        matches!(self, Self::Open(Effect::Commit(..)) | Self::Happened(_, Completion::Committed(..)))
    }
}

struct Host {
    kdc: Kdc,
    work: Vec<Work>,
    asked: BTreeMap<Ticket, Asked>,
}

/// A simulation under way.
pub struct Simulation {
    options: Options,
    rng: ChaCha12Rng,
    store: Box<dyn Backing>,
    hosts: Vec<Host>,
    clients: Vec<SimClient>,
    ledger: Ledger,
    now: Now,
    trace: Sha256,
    summary: Summary,
    group: Option<GroupId>,
    next_revision: u64,
}

impl Simulation {
    /// Prepares a run over a store in memory.
    ///
    /// # Errors
    /// [`Violation::Setup`].
    pub fn new(seed: u64, options: Options) -> Result<Self, Violation> {
        Self::over(seed, options, Box::new(TestStore::new(options.sharing)))
    }

    /// Prepares a run over a store, which has to be empty.
    ///
    /// # Errors
    /// [`Violation::Setup`].
    pub fn over(seed: u64, options: Options, store: Box<dyn Backing>) -> Result<Self, Violation> {
        let clients = (0..options.clients).map(SimClient::new);
        let mut simulation = Self {
            options,
            rng: ChaCha12Rng::seed_from_u64(seed),
            store,
            hosts: Vec::new(),
            clients: clients.collect::<Option<_>>().ok_or(Violation::Setup)?,
            ledger: Ledger::default(),
            now: Now::new(1_000_000, Duration::from_secs(1)),
            trace: Sha256::new(),
            summary: Summary::default(),
            group: None,
            next_revision: 1 << 40,
        };
        for _ in 0..options.hosts {
            let host = simulation.boot()?;
            simulation.hosts.push(host);
        }
        Ok(simulation)
    }

    fn boot(&mut self) -> Result<Host, Violation> {
        let trusting = self.options.sabotage == Sabotage::TrustMemory;
        let sharing = if trusting { Sharing::Exclusive } else { self.options.sharing };
        let limits = Limits { page: self.options.page, records: self.options.records, ..Limits::default() };
        let config = KdcConfig { limits, changes_per_hour: u32::MAX, ..desk::config(&[GROUP]) };
        let validator = Box::new(build::validator(&[GROUP]));
        let kdc =
            Kdc::new(config, &toy::registry(), validator, sharing, Arc::new(StandIn)).map_err(|_| Violation::Setup)?;
        let mut host = Host { kdc, work: Vec::new(), asked: BTreeMap::new() };
        let mut out = Vec::new();
        host.kdc.start(self.now, &mut self.rng, &mut out);
        host.work.extend(out.into_iter().map(Work::Open));
        Ok(host)
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.rng.next_u64().checked_rem(below).unwrap_or(0)
    }

    fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap_or(1);
        usize::try_from(self.draw(length)).unwrap_or(0)
    }

    fn is_lost(&mut self) -> bool {
        self.draw(100) < self.options.loss
    }

    fn note(&mut self, what: &str, number: usize) {
        self.trace.update(what);
        self.trace.update(number.to_be_bytes());
    }

    /// Runs it.
    ///
    /// # Errors
    /// The first [`Violation`].
    pub fn run(mut self) -> Result<Summary, Violation> {
        for _ in 0..self.options.steps {
            self.step()?;
        }
        // Then nothing is lost any more, and all that is under way comes to an end.
        self.options = Options { loss: 0, faults: 0, slowness: 1, ..self.options };
        for _ in 0..100_000_u32 {
            for host in 0..self.hosts.len() {
                self.wake(host)?;
                self.flush(host)?;
            }
            match (0..self.hosts.len()).find(|&host| self.is_busy(host)) {
                Some(host) => self.progress(host)?,
                None if self.waiting() == 0 => break,
                None => self.now = self.now.plus(Duration::from_millis(50)),
            }
        }
        if self.waiting() > 0 {
            return Err(Violation::Stuck(self.waiting()));
        }
        let all = self.store.scan(&Key::new(""), None, usize::MAX).map_err(|_| Violation::Setup)?;
        self.ledger.check_store(&all.records)?;
        self.summary.conflicts =
            self.summary.conflicts.saturating_add(self.hosts.iter().map(|host| host.kdc.stats().conflicts).sum());
        self.summary.trace = self.trace.finalize().into();
        Ok(self.summary)
    }

    fn waiting(&self) -> usize {
        self.hosts.iter().map(|host| host.kdc.waiting()).sum()
    }

    fn is_busy(&self, host: usize) -> bool {
        self.hosts.get(host).is_some_and(|host| !host.work.is_empty())
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.now = self.now.plus(Duration::from_millis(self.draw(self.options.pace)));
        let host = self.index(self.hosts.len());
        match self.draw(10_000) {
            n if n < self.options.crashes => self.crash(host),
            n if n < 100 => self.revoke(host),
            n if n < 200 && self.options.sharing == Sharing::Shared => self.administer(),
            n if n < 2_500 => self.ask(),
            n if n < 3_500 => self.wake(host),
            n if n < 5_500 => self.flush(host),
            _ => self.progress(host),
        }
    }

    /// What is due is done.
    fn wake(&mut self, host: usize) -> Result<(), Violation> {
        let mut out = Vec::new();
        if let Some(target) = self.hosts.get_mut(host)
            && target.kdc.next_timeout(self.now).is_some_and(|at| at <= self.now.mono)
        {
            target.kdc.timeout(self.now, &mut self.rng, &mut out);
        }
        self.take(host, out)
    }

    /// A host is told that a client's token is good for nothing any more.
    fn revoke(&mut self, host: usize) -> Result<(), Violation> {
        let chosen = self.index(self.clients.len());
        self.note("revoke", chosen);
        let mut out = Vec::new();
        if let (Some(target), Some(client)) = (self.hosts.get_mut(host), self.clients.get(chosen)) {
            let revoke = Command::Revoke(client.token_hash());
            target.kdc.command(self.now, revoke, &mut self.rng, &mut out);
        }
        self.take(host, out)
    }

    /// A process ends, with what it had under way: a commit that was sent may still happen.
    fn crash(&mut self, number: usize) -> Result<(), Violation> {
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
    fn since(&self, host: usize) -> u64 {
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

    fn flush(&mut self, host: usize) -> Result<(), Violation> {
        self.note("flush", host);
        let mut out = Vec::new();
        if let Some(target) = self.hosts.get_mut(host) {
            target.kdc.flush(self.now, &mut out);
        }
        self.take(host, out)
    }

    /// Something that a host waits for happens, or is reported.
    fn progress(&mut self, host: usize) -> Result<(), Violation> {
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
                let done = self.perform(effect)?;
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
    fn take(&mut self, host: usize, effects: Vec<Effect<AssociationNotice>>) -> Result<(), Violation> {
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
