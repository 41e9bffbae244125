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
//! Requests that change one group wait in its lane. At the end of a tick ([`Machine::flush`]) they run one after
//! another on an overlay of each other's changes and leave as one commit; while that is under way, those that
//! come run only to find out what they need. Safe requests see durable state alone.
//!
//! # Several processes
//!
//! On shared storage an answer without a commit needs a moment, not before its request, at which all that it
//! read held at once. Each record in memory knows the first and the last load that showed it; the intervals
//! must meet. Where they do not, all that was read is loaded again, in one snapshot. Starvation is met by a
//! record `turn/<lane>`, which every batch expects and which a lane claims after three conflicts.

mod app;
mod commit;
mod effect;
mod figures;
mod health;
mod lane;
mod limits;
mod load;
mod log;
mod machine;
pub(crate) mod question;
mod run;
pub(crate) mod store;

pub(crate) use app::{App, Input, Outcome, Said};
pub use effect::{Completion, Durable, Effect, OpId, Reply, Ticket};
pub use limits::{Limits, Stats};
pub use machine::Machine;
pub(crate) use machine::wraps_engine;
pub use question::{Answered, Question};

use crate::command::{EngineStatus, Figure};
use crate::engine::store::cache::{Cache, LoadId};
use crate::engine::store::overlay::Overlay;
use crate::engine::store::view::PageAt;
use crate::refusal::Refusal;
use crate::request::{Caller, Request};
use crate::time::{Now, Watch};
use crate::traits::crypto::{CryptoJob, CryptoOutput};
use crate::traits::storage::{Key, Page, Revision, Sharing};
use figures::Counts;
use health::Health;
use lane::Lane;
use load::Scans;
use question::{KnownAnswer, Questions};
use rand_core::CryptoRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tracing::Span;

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
    /// What services have said to its questions.
    answers: Vec<KnownAnswer>,
    /// Pages that it asked for.
    pages: Vec<(PageAt, Page)>,
    lane: Option<String>,
    runs: u32,
    conflicts: u32,
    /// Operations that have to complete before it runs again.
    blocked: u32,
    /// What its runs are logged in.
    span: Span,
}

/// What an operation is for.
enum Op<E, D> {
    Deliver(D),
    Load(LoadId, Vec<Key>, Vec<Ticket>),
    Scan(LoadId, Key),
    Page(PageAt, Ticket),
    Crypto(Vec<(Ticket, CryptoJob)>),
    Commit(Box<Batch<E>>),
}

/// One commit under way.
struct Batch<E> {
    lane: Option<String>,
    members: Vec<BatchMember<E>>,
    overlay: Overlay,
    expected: BTreeMap<Key, Option<Revision>>,
    /// It only tries storage.
    probes: bool,
}

struct BatchMember<E> {
    ticket: Ticket,
    /// `None`: the request runs again.
    said: Option<Said>,
    events: Vec<E>,
}

/// Runs an [`App`] on storage that somebody else reads and writes; see the module's documentation.
pub(crate) struct Engine<A: App> {
    app: A,
    limits: Limits,
    sharing: Sharing,
    cache: Cache,
    waiting: BTreeMap<Ticket, Waiting<A::Task>>,
    deadlines: BTreeSet<(Duration, Ticket)>,
    /// Tasks that came to nothing, and when they are tried again.
    failed: VecDeque<(Duration, A::Task)>,
    health: Health,
    /// The last moment that was handed in.
    latest: Duration,
    watch: Watch,
    jumped: bool,
    lanes: BTreeMap<String, Lane>,
    ops: BTreeMap<OpId, Op<A::Event, A::Delivery>>,
    /// Keys to be loaded at the end of the tick, and who waits for them.
    wanted: BTreeMap<Key, Vec<Ticket>>,
    wanted_pages: Vec<(PageAt, usize, Ticket)>,
    wanted_jobs: Vec<(Ticket, CryptoJob)>,
    questions: Questions,
    scans: Scans,
    /// Keys that commits under way write: what a load shows of them must not be mixed with older records.
    committing: BTreeMap<Key, u32>,
    /// Requests in no lane whose commit would lose to one that is under way.
    overtaken: Vec<Ticket>,
    /// A commit has ended since these waited for one.
    released: bool,
    /// Loads and scans under way.
    loads: BTreeSet<LoadId>,
    next: u64,
    stats: Stats,
    counts: Counts,
}

impl<A: App> Engine<A> {
    /// An engine with nothing in memory.
    #[must_use]
    pub(crate) fn over(app: A, sharing: Sharing, limits: Limits) -> Self {
        Self {
            app,
            limits,
            sharing,
            cache: Cache::default(),
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            failed: VecDeque::new(),
            health: Health::default(),
            latest: Duration::ZERO,
            watch: Watch::new(limits.largest_jump),
            jumped: false,
            lanes: BTreeMap::new(),
            ops: BTreeMap::new(),
            wanted: BTreeMap::new(),
            wanted_pages: Vec::new(),
            wanted_jobs: Vec::new(),
            questions: Questions::default(),
            scans: Scans::default(),
            committing: BTreeMap::new(),
            overtaken: Vec::new(),
            released: false,
            loads: BTreeSet::new(),
            next: 0,
            stats: Stats::default(),
            counts: Counts::default(),
        }
    }

    /// Figures since the start.
    #[must_use]
    pub(crate) const fn stats(&self) -> Stats {
        self.stats
    }

    /// How many requests wait.
    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many lanes have requests that wait.
    #[must_use]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// How many records are in memory.
    #[must_use]
    pub(crate) fn records(&self) -> usize {
        self.cache.len()
    }

    /// Returns what an operator is told of the engine.
    fn status(&self) -> EngineStatus {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let Stats { requests, runs, commits, conflicts, unknown, bounded, internal } = self.stats;
        let own = [
            ("requests_waiting", count(self.waiting.len())),
            ("lanes", count(self.lanes.len())),
            ("records_in_memory", count(self.cache.len())),
            ("operations_under_way", count(self.ops.len())),
            ("requests_total", requests),
            ("runs_total", runs),
            ("commits_total", commits),
            ("conflicts_total", conflicts),
            ("commits_unknown_total", unknown),
            ("requests_bounded_total", bounded),
            ("requests_failed_total", internal),
        ];
        let own = own.into_iter().map(|(name, value)| Figure::new(name, value));
        EngineStatus {
            ready: self.is_ready(),
            storage: self.health.is_well(),
            figures: own.chain(self.app.figures()).chain(self.counts.figures()).collect(),
        }
    }

    pub(crate) const fn app(&self) -> &A {
        &self.app
    }

    /// Takes in the time.
    fn tick(&mut self, now: Now) -> Now {
        let now = self.watch.tick(now);
        self.latest = now.mono;
        if now.has_jumped() != self.jumped {
            self.jumped = now.has_jumped();
            if self.jumped {
                tracing::error!(
                    unix = now.unix.seconds(),
                    "the time of day has jumped: no membership is ended until it is right"
                );
            } else {
                tracing::info!(unix = now.unix.seconds(), "the time of day is plausible again");
            }
        }
        now
    }

    const fn number(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }

    /// Begins a task of the application's own.
    pub(crate) fn task(&mut self, now: Now, task: A::Task, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<A::Notice>>) {
        let input = Input::Task(task);
        let lane = self.app.lane(&input);
        let ticket = self.enter(now, input, lane, rng);
        if !self.waits_in_lane(ticket) {
            self.drive(now, ticket, out);
        }
    }

    fn enter(&mut self, now: Now, input: Input<A::Task>, lane: Option<String>, rng: &mut dyn CryptoRng) -> Ticket {
        let ticket = Ticket(self.number());
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        if let Some(lane) = &lane {
            self.lanes.entry(lane.clone()).or_default().enter(ticket);
        }
        self.deadlines.insert((now.mono.saturating_add(self.limits.patience), ticket));
        let span = log::span(ticket, &input);
        let waiting = Waiting {
            input: Arc::new(input),
            arrived: now,
            since: self.cache.newest(),
            seed,
            facts: Vec::new(),
            answers: Vec::new(),
            pages: Vec::new(),
            lane,
            runs: 0,
            conflicts: 0,
            blocked: 0,
            span,
        };
        self.waiting.insert(ticket, waiting);
        ticket
    }

    /// Whether what a request wants changed is on its way to storage: nobody can say that it does not happen.
    fn is_in_commit(&self, ticket: Ticket) -> bool {
        let has = |op: &Op<A::Event, A::Delivery>| matches!(op, Op::Commit(batch) if batch.members.iter().any(|member| member.ticket == ticket));
        self.ops.values().any(has)
    }

    fn waits_in_lane(&self, ticket: Ticket) -> bool {
        self.waiting.get(&ticket).is_some_and(|waiting| waiting.lane.is_some())
    }

    /// Says what a run has come to.
    fn say(&mut self, ticket: Ticket, said: Said, out: &mut Vec<Effect<A::Notice>>) {
        if let (Said::Refusal(refusal), Some(waiting)) = (&said, self.waiting.get(&ticket)) {
            self.stats.note(refusal);
            let _entered = waiting.span.enter();
            log::refused(ticket, &waiting.input, refusal);
            if matches!(&*waiting.input, Input::Request(..)) {
                self.counts.refused(refusal);
            }
        }
        let Some(waiting) = self.waiting.remove(&ticket) else { return };
        self.deadlines.remove(&(waiting.arrived.mono.saturating_add(self.limits.patience), ticket));
        if let Some(lane) = waiting.lane {
            if let Some(state) = self.lanes.get_mut(&lane) {
                state.leave(ticket);
            }
            self.tidy(Some(lane));
        }
        match &*waiting.input {
            Input::Request(_, request) => {
                let response = said.response();
                self.counts.answered(self.app.resource(request), request, response.status);
                out.push(Effect::Answer(ticket, Durable(response)));
            }
            Input::Command(_) => out.push(Effect::Report(ticket, said.report())),
            // What the application wants done is not given up for a failure that may pass.
            Input::Task(task) if matches!(said, Said::Refusal(_)) => {
                let mut notices = Vec::new();
                let again = self.app.failed(self.latest, task, &mut notices);
                out.extend(notices.into_iter().map(Effect::Notice));
                self.failed.extend(again.map(|task| (self.latest.saturating_add(TASK_AGAIN), task)));
            }
            Input::Task(_) => (),
        }
    }

    fn refuse(&mut self, ticket: Ticket, refusal: Refusal, out: &mut Vec<Effect<A::Notice>>) {
        self.say(ticket, Said::Refusal(refusal), out);
    }

    /// Refuses a request that is not handled at all.
    fn turn_away(&mut self, caller: Caller, request: Request, refusal: &Refusal) -> Reply {
        self.stats.note(refusal);
        let response = refusal.response();
        self.counts.refused(refusal);
        self.counts.answered(self.app.resource(&request), &request, response.status);
        let ticket = Ticket(self.number());
        log::refused(ticket, &Input::<A::Task>::Request(caller, request), refusal);
        Reply::Now(Durable(response))
    }
}
