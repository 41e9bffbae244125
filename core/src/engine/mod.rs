//! The engine: runs handlers, fetches what they need, commits what they change, and only then answers.
//!
//! It does no I/O. What it wants done comes out as [`Effect`]s, what became of it goes in as [`Completion`]s;
//! time and randomness are handed in. The same calls in the same order give the same effects.
//!
//! ```text
//!   request ──> run ──needs──> Load, Scan, Crypto ──complete──> run again
//!                │
//!                ├─ no changes ──────────────────────────────> Answer
//!                └─ changes ──> Commit ──Done──> Answer
//!                                  ├─ Conflict ──> run again
//!                                  └─ Unknown ───> forget, 5.03
//! ```
//!
//! # Lanes
//!
//! Requests that change one group wait in its lane. At the end of a tick ([`Engine::flush`]) they run one after
//! another on an overlay of each other's changes and leave as one commit; while that is under way, those that
//! come run only to find out what they need. Safe requests see durable state alone.
//!
//! # Several processes
//!
//! On shared storage an answer without a commit needs a moment, not before its request, at which all that it
//! read held at once. Each record in memory knows the first and the last load that showed it; the intervals
//! must meet. Where they do not, all that was read is loaded again, in one snapshot. Starvation is met by a
//! record `turn/<lane>`, which every batch expects and which a batch claims after three conflicts.

mod commit;
mod machine;
mod run;

pub use machine::Machine;

use crate::refusal::Refusal;
use crate::request::{Caller, Request, Response};
use crate::state::cache::{Cache, LoadId};
use crate::state::changes::{Change, Changes};
use crate::time::Now;
use crate::traits::crypto::{CryptoJob, CryptoOutput};
use crate::traits::storage::{CommitOutcome, Key, Page, Record, Sharing, StorageError, Txn};
use crate::view::{Stop, View};
use rand_core::CryptoRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Names a request until its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names an operation that an effect asks for until its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// An answer all of whose reasons are durable. Only the engine makes one, and only these can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable(Response);

impl Durable {
    /// The answer.
    #[must_use]
    pub fn into_inner(self) -> Response {
        self.0
    }
}

/// What the engine says to a request at once.
#[derive(Debug)]
pub enum Reply {
    /// The answer.
    Now(Durable),
    /// The answer comes as an [`Effect::Answer`].
    Later(Ticket),
}

/// What the engine wants done.
#[derive(Debug)]
pub enum Effect<N> {
    /// Read these keys at one moment.
    Load(OpId, Vec<Key>),
    /// Read the keys with this prefix, behind the other, at most so many.
    Scan(OpId, Key, Option<Key>, usize),
    /// Do this work.
    Crypto(OpId, Vec<CryptoJob>),
    /// Commit this.
    Commit(OpId, Txn),
    /// Send this answer.
    Answer(Ticket, Durable),
    /// Something became true; in order with the answers.
    Notice(N),
}

/// What became of an effect.
#[derive(Debug)]
pub enum Completion {
    /// Of a [`Effect::Load`].
    Loaded(OpId, Result<Vec<Option<Record>>, StorageError>),
    /// Of a [`Effect::Scan`].
    Scanned(OpId, Result<Page, StorageError>),
    /// Of a [`Effect::Crypto`].
    Crypto(OpId, Vec<CryptoOutput>),
    /// Of a [`Effect::Commit`].
    Committed(OpId, CommitOutcome),
}

/// What a run is about: a request from outside, or a task of the application's own.
#[derive(Clone, Debug)]
pub enum Input<T> {
    /// A request, and who sent it.
    Request(Caller, Request),
    /// A task; its answer goes nowhere.
    Task(T),
}

/// What a run of a handler comes to.
#[derive(Debug)]
pub struct Outcome<E> {
    pub(crate) response: Option<Response>,
    pub(crate) changes: Changes,
    pub(crate) events: Vec<E>,
}

impl<E> Outcome<E> {
    /// An answer that changes nothing.
    #[must_use]
    pub fn answer(response: Response) -> Self {
        Self { response: Some(response), changes: Changes::new(), events: Vec::new() }
    }

    /// An answer that leaves when the changes are durable.
    #[must_use]
    pub fn changed(response: Response, changes: Changes) -> Self {
        Self { response: Some(response), changes, events: Vec::new() }
    }

    /// Changes that have to be durable before the request is looked at: it runs again afterwards.
    #[must_use]
    pub const fn first(changes: Changes) -> Self {
        Self { response: None, changes, events: Vec::new() }
    }

    /// A task is done, and changes nothing.
    #[must_use]
    pub fn done() -> Self {
        Self::answer(Response::new(crate::Status::Changed))
    }

    /// A task is done when the changes are durable.
    #[must_use]
    pub fn done_with(changes: Changes) -> Self {
        Self::changed(Response::new(crate::Status::Changed), changes)
    }

    /// Adds what becomes true with the answer.
    #[must_use]
    pub fn with_event(mut self, event: E) -> Self {
        self.events.push(event);
        self
    }
}

/// What runs on an engine: a KDC or an Authorization Server.
pub trait App {
    /// Work of its own, e.g. when a token expires.
    type Task: Clone;
    /// What becomes true when an outcome is durable, and changes what the application holds in memory.
    type Event;
    /// What the world outside learns then.
    type Notice;

    /// Handles a request or task. It changes nothing: see [`View`].
    ///
    /// # Errors
    /// [`Stop`]: something is needed first, or the request is refused.
    fn handle(&self, view: &View<'_>, input: &Input<Self::Task>) -> Result<Outcome<Self::Event>, Stop>;

    /// The lane in which a request that may change something waits for others; `None` commits it alone.
    fn lane(&self, input: &Input<Self::Task>) -> Option<String>;

    /// Takes in what became true.
    fn apply(&mut self, now: Now, event: Self::Event, out: &mut Vec<Self::Notice>);
}

/// Bounds of an engine. Each is answered with 5.03 when reached.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that wait for something.
    pub waiting: usize,
    /// Runs of one request.
    pub runs: u32,
    /// Commits of one request that others spoilt.
    pub conflicts: u32,
    /// Requests in one commit.
    pub batch: usize,
    /// Records in memory.
    pub records: usize,
    /// How long a request waits.
    pub patience: Duration,
    /// Keys in one page of a scan.
    pub page: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: 65_536,
            runs: 64,
            conflicts: 16,
            batch: 64,
            records: 4_000_000,
            patience: Duration::from_secs(20),
            page: 512,
        }
    }
}

/// Figures of an engine since its start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that came.
    pub requests: u64,
    /// Runs of handlers.
    pub runs: u64,
    /// Commits asked for.
    pub commits: u64,
    /// Commits that met a conflict.
    pub conflicts: u64,
    /// Commits whose outcome nobody knows.
    pub unknown: u64,
    /// Requests that met a bound.
    pub bounded: u64,
}

/// After which time a task that came to nothing is tried again.
const TASK_AGAIN: Duration = Duration::from_secs(1);

/// A request that waits.
struct Waiting<T> {
    input: Arc<Input<T>>,
    arrived: Now,
    /// The last load that had begun when the request came: what an answer on shared storage rests on must
    /// have been seen by a later one.
    since: LoadId,
    seed: [u8; 32],
    facts: Vec<(CryptoJob, CryptoOutput)>,
    lane: Option<String>,
    runs: u32,
    conflicts: u32,
    /// Operations that have to complete before it runs again.
    blocked: u32,
    /// Whether it ran to find its needs while its lane was busy.
    probed: bool,
}

/// What an operation is for.
enum Op<E> {
    Load(LoadId, Vec<Key>, Vec<Ticket>),
    Scan(LoadId, Key, Vec<Ticket>),
    Crypto(Vec<(Ticket, CryptoJob)>),
    Commit(Box<Batch<E>>),
}

/// One commit under way.
struct Batch<E> {
    lane: Option<String>,
    members: Vec<BatchMember<E>>,
    overlay: Overlay,
    expected: Vec<Key>,
}

struct BatchMember<E> {
    ticket: Ticket,
    /// `None`: the request runs again.
    response: Option<Response>,
    events: Vec<E>,
}

/// Changes that are not durable yet.
#[derive(Default)]
pub(crate) struct Overlay(BTreeMap<Key, Change>);

impl Overlay {
    pub(crate) fn get(&self, key: &Key) -> Option<&Change> {
        self.0.get(key)
    }

    pub(crate) fn under(&self, prefix: Key) -> impl Iterator<Item = (&Key, &Change)> {
        self.0.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(&prefix))
    }
}

/// Requests of one lane.
#[derive(Default)]
struct LaneState {
    queue: VecDeque<Ticket>,
    busy: bool,
}

/// Runs an [`App`] on storage that somebody else reads and writes; see the module's documentation.
pub struct Engine<A: App> {
    app: A,
    limits: Limits,
    sharing: Sharing,
    cache: Cache,
    waiting: BTreeMap<Ticket, Waiting<A::Task>>,
    deadlines: BTreeSet<(Duration, Ticket)>,
    /// Tasks that came to nothing, and when they are tried again.
    failed: VecDeque<(Duration, A::Task)>,
    /// The last moment that was handed in.
    latest: Duration,
    lanes: BTreeMap<String, LaneState>,
    ops: BTreeMap<OpId, Op<A::Event>>,
    /// Keys and prefixes to be loaded at the end of the tick, and who waits for them.
    wanted: BTreeMap<Key, Vec<Ticket>>,
    wanted_lists: BTreeMap<Key, (Key, Vec<Ticket>)>,
    wanted_jobs: Vec<(Ticket, CryptoJob)>,
    /// Keys that commits under way write: what a load shows of them must not be mixed with older records.
    committing: BTreeMap<Key, u32>,
    loads: u32,
    next: u64,
    stats: Stats,
}

impl<A: App> Engine<A> {
    /// An engine with nothing in memory.
    #[must_use]
    pub fn new(app: A, sharing: Sharing, limits: Limits) -> Self {
        Self {
            app,
            limits,
            sharing,
            cache: Cache::default(),
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            failed: VecDeque::new(),
            latest: Duration::ZERO,
            lanes: BTreeMap::new(),
            ops: BTreeMap::new(),
            wanted: BTreeMap::new(),
            wanted_lists: BTreeMap::new(),
            wanted_jobs: Vec::new(),
            committing: BTreeMap::new(),
            loads: 0,
            next: 0,
            stats: Stats::default(),
        }
    }

    /// The application.
    pub const fn app(&self) -> &A {
        &self.app
    }

    /// The application, to change what it holds in memory.
    pub const fn app_mut(&mut self) -> &mut A {
        &mut self.app
    }

    /// Figures since the start.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether other processes write to the same storage.
    pub const fn sharing(&self) -> Sharing {
        self.sharing
    }

    const fn number(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }

    /// Takes a request. Call [`Self::flush`] when all that came in this tick are in.
    pub fn request(
        &mut self,
        now: Now,
        caller: Caller,
        request: Request,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Effect<A::Notice>>,
    ) -> Reply {
        self.stats.requests = self.stats.requests.saturating_add(1);
        if self.waiting.len() >= self.limits.waiting {
            self.stats.bounded = self.stats.bounded.saturating_add(1);
            return Reply::Now(Durable(Refusal::Unavailable("too many requests wait", 2).response()));
        }
        let safe = request.method.is_safe();
        let input = Input::Request(caller, request);
        let lane = if safe { None } else { self.app.lane(&input) };
        let ticket = self.enter(now, input, lane, rng);
        if !self.waits_in_lane(ticket) {
            self.drive(now, ticket, out);
            if let Some(at) = out.iter().rposition(|effect| matches!(effect, Effect::Answer(t, _) if *t == ticket))
                && let Effect::Answer(_, durable) = out.remove(at)
            {
                return Reply::Now(durable);
            }
        }
        Reply::Later(ticket)
    }

    /// Begins a task of the application's own.
    pub fn task(
        &mut self,
        now: Now,
        task: A::Task,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Effect<A::Notice>>,
    ) -> Ticket {
        let input = Input::Task(task);
        let lane = self.app.lane(&input);
        let ticket = self.enter(now, input, lane, rng);
        if !self.waits_in_lane(ticket) {
            self.drive(now, ticket, out);
        }
        ticket
    }

    fn enter(&mut self, now: Now, input: Input<A::Task>, lane: Option<String>, rng: &mut dyn CryptoRng) -> Ticket {
        let ticket = Ticket(self.number());
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        if let Some(lane) = &lane {
            self.lanes.entry(lane.clone()).or_default().queue.push_back(ticket);
        }
        self.deadlines.insert((now.mono.saturating_add(self.limits.patience), ticket));
        let since = self.cache.newest();
        let waiting = Waiting {
            input: Arc::new(input),
            arrived: now,
            since,
            seed,
            facts: Vec::new(),
            lane,
            runs: 0,
            conflicts: 0,
            blocked: 0,
            probed: false,
        };
        self.waiting.insert(ticket, waiting);
        ticket
    }

    fn waits_in_lane(&self, ticket: Ticket) -> bool {
        self.waiting.get(&ticket).is_some_and(|waiting| waiting.lane.is_some())
    }

    /// Takes in what became of an effect. Call [`Self::flush`] when all that came in this tick are in.
    pub fn complete(&mut self, now: Now, done: Completion, out: &mut Vec<Effect<A::Notice>>) {
        self.latest = now.mono;
        match done {
            Completion::Loaded(op, result) => self.loaded(now, op, result, out),
            Completion::Scanned(op, result) => self.scanned(now, op, result, out),
            Completion::Crypto(op, outputs) => self.worked(now, op, outputs, out),
            Completion::Committed(op, outcome) => self.committed(now, op, outcome, out),
        }
        if self.loads == 0 {
            self.cache.no_loads();
        }
    }

    /// When [`Self::timeout`] has to be called, at the latest.
    pub fn next_timeout(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|&(at, _)| at);
        let again = self.failed.front().map(|(at, _)| *at);
        [deadline, again].into_iter().flatten().min()
    }

    /// Answers requests that have waited too long, though what they asked for may still happen, and tries tasks
    /// again that came to nothing.
    pub fn timeout(&mut self, now: Now, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<A::Notice>>) {
        self.latest = now.mono;
        while self.failed.front().is_some_and(|(at, _)| *at <= now.mono) {
            if let Some((_, task)) = self.failed.pop_front() {
                self.task(now, task, rng, out);
            }
        }
        while let Some(&(at, ticket)) = self.deadlines.first() {
            if at > now.mono {
                break;
            }
            self.refuse(ticket, &Refusal::Unavailable("storage or cryptography takes too long", 5), out);
        }
    }

    /// Ends a tick: what has gathered leaves in batches.
    pub fn flush(&mut self, now: Now, out: &mut Vec<Effect<A::Notice>>) {
        self.latest = now.mono;
        // Reads first: the batches that leave below would make them wait for one commit after the other.
        self.emit_needs(out);
        let lanes: Vec<String> = self.lanes.keys().cloned().collect();
        for lane in lanes {
            self.run_lane(now, &lane, out);
        }
        self.emit_needs(out);
        if self.cache.len() > self.limits.records {
            let to = self.limits.records.saturating_sub(self.limits.records / 8);
            self.cache.shrink(to);
        }
    }

    fn answer(&mut self, ticket: Ticket, response: Response, out: &mut Vec<Effect<A::Notice>>) {
        let Some(waiting) = self.waiting.remove(&ticket) else { return };
        self.deadlines.remove(&(waiting.arrived.mono.saturating_add(self.limits.patience), ticket));
        if let Some(lane) = &waiting.lane
            && let Some(state) = self.lanes.get_mut(lane)
        {
            state.queue.retain(|queued| *queued != ticket);
            if state.queue.is_empty() && !state.busy {
                self.lanes.remove(lane);
            }
        }
        match &*waiting.input {
            Input::Request(..) => out.push(Effect::Answer(ticket, Durable(response))),
            // What the application wants done is not given up for a failure that may pass.
            Input::Task(task) if !response.status.is_success() => {
                self.failed.push_back((self.latest.saturating_add(TASK_AGAIN), task.clone()));
            }
            Input::Task(_) => (),
        }
    }

    fn refuse(&mut self, ticket: Ticket, refusal: &Refusal, out: &mut Vec<Effect<A::Notice>>) {
        if matches!(refusal, Refusal::Unavailable(..)) {
            self.stats.bounded = self.stats.bounded.saturating_add(1);
        }
        self.answer(ticket, refusal.response(), out);
    }
}
