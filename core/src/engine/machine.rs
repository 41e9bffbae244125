//! What a driver needs of an engine, whichever it is, and how ours does it.

use super::{App, Completion, Effect, Engine, Input, Op, OpId, Reply, Ticket};
use crate::command::{Command, Report};
use crate::engine::lane::Lane;
use crate::refusal::Refusal;
use crate::request::{Caller, Purpose, Request};
use crate::time::Now;
use crate::traits::transport::AssociationNeed;
use rand_core::CryptoRng;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// An engine as its driver sees it: a KDC, an Authorization Server, or somebody's own.
///
/// # What a driver does
///
/// One thread makes all calls, one after another; what effects ask for may be done anywhere.
///
/// | call | when |
/// | --- | --- |
/// | [`start`](Self::start) | once, before all others |
/// | [`request`](Self::request) | from when [`is_ready`](Self::is_ready) was true once; before that, what is stored may not be found |
/// | [`command`](Self::command), [`need`](Self::need) | whenever there is one |
/// | [`complete`](Self::complete) | once for each effect that has an [`OpId`](super::OpId): in any order, and as late as it takes |
/// | [`timeout`](Self::timeout) | when [`next_timeout`](Self::next_timeout) has come; a full queue of requests must not hold it up |
/// | [`flush`](Self::flush) | after each batch of these, and again after what was completed at once, until `out` stays empty |
///
/// * A [`Deliver`](Effect::Deliver) is sent behind the notices before it, or not at all.
/// * Effects with an `OpId` do not depend on each other. Commits may be put together, or done at the same time: what must come
///   later is asked for later.
/// * [`Notice`](Effect::Notice), [`Answer`](Effect::Answer) and [`Report`](Effect::Report) are done in the order of `out`; the notices
///   that a call to `request` has put there come before the answer that it returns.
/// * A driver that cannot do what an effect asks for completes it with an error, and does not try a commit again: whether one was
///   done is [`CommitOutcome::Unknown`](crate::traits::storage::CommitOutcome::Unknown) then. Requests that wait for what is never
///   completed are refused after [`Limits::patience`](super::Limits::patience), but later loads, and commits of the same lane, may
///   wait behind it: every effect has to be completed.
/// * `now` is read anew for each batch. Its monotonic part never goes back; the other may jump.
/// * `rng` is for nonces and secrets: the operating system's, or a generator that was seeded with it.
/// * A machine that has [`refused`](Self::refused) is dropped, and so is one in which a call has panicked. What it has acknowledged is
///   stored; another one starts on the same storage.
///
/// `ace-backend-tokio` has a driver for a server. The test kit has one for a single thread, `testkit::desk::settle`, in forty lines,
/// and the simulation's, which does what effects ask for in the order that a seed gives.
///
/// # Example
///
/// A request that has its answer at once, and what the driver would do after it:
///
/// ```
/// use ace_backend_aws_lc::AwsLc;
/// use ace_groupcomm::engine::{Machine, Reply};
/// use ace_groupcomm::kdc::Kdc;
/// use ace_groupcomm::testkit::{TestStore, build, desk, toy};
/// use ace_groupcomm::traits::storage::Sharing;
/// use ace_groupcomm::{Caller, Method, Now, Request, Status, UnixTime};
/// use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let validator = Box::new(build::validator(&["lamps"]));
/// let mut kdc = Kdc::new(desk::config(&["lamps"]), &toy::registry(), validator, Sharing::Exclusive, Arc::new(AwsLc))?;
/// // A driver reads the clock for each batch, and has randomness of the operating system.
/// let now = Now::new(1_000_000, Duration::from_secs(1));
/// let (mut rng, mut out, store) = (ChaCha12Rng::seed_from_u64(1), Vec::new(), TestStore::new(Sharing::Exclusive));
///
/// kdc.start(now, &mut rng, &mut out);
/// // Loads, commits and signatures, until there are none: this is the test kit's driver.
/// desk::settle(&AwsLc, &mut kdc, &store, now, out);
/// while kdc.next_timeout(now).is_some_and(|at| at <= now.mono) {
///     let mut out = Vec::new();
///     kdc.timeout(now, &mut rng, &mut out);
///     desk::settle(&AwsLc, &mut kdc, &store, now, out);
/// }
/// assert!(kdc.is_ready());
///
/// let mut out = Vec::new();
/// let request = Request::new(Method::Get, ["ace-group", "lamps"]);
/// let Reply::Now(answer) = kdc.request(now, Caller::anonymous(), request, &mut rng, &mut out) else {
///     return Err("nobody has to be asked for this".into());
/// };
/// assert_eq!(answer.into_inner().status, Status::Unauthorized);
/// # Ok(())
/// # }
/// ```
pub trait Machine: Send {
    /// What the world outside learns, in order with the answers.
    type Notice: Send;

    /// Begins; what was stored is taken up.
    fn start(&mut self, now: Now, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<Self::Notice>>);

    /// Whether the start is done, and storage works. Requests before the start is done may find nothing.
    fn is_ready(&self) -> bool;

    /// Why it must not be used, where the start has found that out; it is never ready then. Whoever drives it gives up.
    fn refused(&self) -> Option<Arc<dyn Error + Send + Sync>>;

    /// Takes a request. The notices in `out` are to be followed before the answer is sent.
    fn request(
        &mut self,
        now: Now,
        caller: Caller,
        request: Request,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Effect<Self::Notice>>,
    ) -> Reply;

    /// Takes a command. What comes of it is an [`Effect::Report`].
    fn command(
        &mut self,
        now: Now,
        command: Command,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Effect<Self::Notice>>,
    ) -> Ticket;

    /// Sees to what the network side needs.
    fn need(&mut self, now: Now, need: AssociationNeed, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<Self::Notice>>);

    /// Takes in what became of an effect.
    fn complete(&mut self, now: Now, done: Completion, out: &mut Vec<Effect<Self::Notice>>);

    /// Ends a tick: what the calls before it have gathered goes out, e.g. one commit for many requests. Call it after
    /// each batch of calls.
    fn flush(&mut self, now: Now, out: &mut Vec<Effect<Self::Notice>>);

    /// The moment at which [`Self::timeout`] has to be called, by [`Now::mono`]; it may have passed. `None` where nothing will be due.
    fn next_timeout(&self, now: Now) -> Option<Duration>;

    /// Does what is due.
    fn timeout(&mut self, now: Now, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<Self::Notice>>);
}

/// Makes a type that holds an engine in its only field a [`Machine`], and shows the engine's counters.
macro_rules! wraps_engine {
    ($name:ident, $notice:ty) => {
        impl $name {
            /// Returns the counters since the start.
            #[must_use]
            pub const fn stats(&self) -> $crate::engine::Stats {
                self.0.stats()
            }

            /// Returns the number of requests and commands that wait.
            #[must_use]
            pub fn waiting(&self) -> usize {
                self.0.waiting()
            }

            /// Returns the number of lanes in which a request waits, or a commit is under way.
            #[must_use]
            pub fn lanes(&self) -> usize {
                self.0.lanes()
            }

            /// Returns the number of records in memory.
            #[must_use]
            pub fn records(&self) -> usize {
                self.0.records()
            }
        }

        impl $crate::engine::Machine for $name {
            type Notice = $notice;

            fn start(
                &mut self,
                now: $crate::time::Now,
                rng: &mut dyn rand_core::CryptoRng,
                out: &mut Vec<$crate::engine::Effect<$notice>>,
            ) {
                self.0.start(now, rng, out);
            }

            fn is_ready(&self) -> bool {
                self.0.is_ready()
            }

            fn refused(&self) -> Option<std::sync::Arc<dyn std::error::Error + Send + Sync>> {
                self.0.refused()
            }

            fn request(
                &mut self,
                now: $crate::time::Now,
                caller: $crate::request::Caller,
                request: $crate::request::Request,
                rng: &mut dyn rand_core::CryptoRng,
                out: &mut Vec<$crate::engine::Effect<$notice>>,
            ) -> $crate::engine::Reply {
                self.0.request(now, caller, request, rng, out)
            }

            fn command(
                &mut self,
                now: $crate::time::Now,
                command: $crate::command::Command,
                rng: &mut dyn rand_core::CryptoRng,
                out: &mut Vec<$crate::engine::Effect<$notice>>,
            ) -> $crate::engine::Ticket {
                self.0.command(now, command, rng, out)
            }

            fn need(
                &mut self,
                now: $crate::time::Now,
                need: $crate::traits::transport::AssociationNeed,
                rng: &mut dyn rand_core::CryptoRng,
                out: &mut Vec<$crate::engine::Effect<$notice>>,
            ) {
                self.0.need(now, need, rng, out);
            }

            fn complete(
                &mut self,
                now: $crate::time::Now,
                done: $crate::engine::Completion,
                out: &mut Vec<$crate::engine::Effect<$notice>>,
            ) {
                self.0.complete(now, done, out);
            }

            fn flush(&mut self, now: $crate::time::Now, out: &mut Vec<$crate::engine::Effect<$notice>>) {
                self.0.flush(now, out);
            }

            fn next_timeout(&self, now: $crate::time::Now) -> Option<std::time::Duration> {
                self.0.next_timeout(now)
            }

            fn timeout(
                &mut self,
                now: $crate::time::Now,
                rng: &mut dyn rand_core::CryptoRng,
                out: &mut Vec<$crate::engine::Effect<$notice>>,
            ) {
                self.0.timeout(now, rng, out);
            }
        }
    };
}
pub(crate) use wraps_engine;

impl<A: App> Machine for Engine<A> {
    type Notice = A::Notice;

    fn start(&mut self, now: Now, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<A::Notice>>) {
        for task in self.app.first() {
            self.task(now, task, rng, out);
        }
        self.flush(now, out);
    }

    fn is_ready(&self) -> bool {
        self.app.is_ready() && self.health.is_well()
    }

    fn refused(&self) -> Option<Arc<dyn Error + Send + Sync>> {
        self.app.refused()
    }

    fn request(
        &mut self,
        now: Now,
        caller: Caller,
        request: Request,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Effect<A::Notice>>,
    ) -> Reply {
        let now = self.tick(now);
        self.stats.requests = self.stats.requests.saturating_add(1);
        if self.waiting.len() >= self.limits.waiting {
            return self.turn_away(caller, request, &Refusal::Bound("too many requests wait", 2));
        }
        if let Err(refusal) = self.app.admit(now, &caller, &request) {
            return self.turn_away(caller, request, &refusal);
        }
        // A registration is stored: alone it would lose to a lane that commits all the time.
        let changes_nothing = request.method.is_safe() || request.purpose == Purpose::Permission;
        let safe = changes_nothing && request.observe.is_none();
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

    fn command(
        &mut self,
        now: Now,
        command: Command,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Effect<A::Notice>>,
    ) -> Ticket {
        let now = self.tick(now);
        if command == Command::Status {
            let ticket = Ticket(self.number());
            out.push(Effect::Report(ticket, Ok(Report::Status(self.status()))));
            return ticket;
        }
        let input = Input::Command(command);
        let lane = self.app.lane(&input);
        let ticket = self.enter(now, input, lane, rng);
        if !self.waits_in_lane(ticket) {
            self.drive(now, ticket, out);
        }
        ticket
    }

    fn need(&mut self, now: Now, need: AssociationNeed, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<A::Notice>>) {
        let now = self.tick(now);
        if let Some(task) = self.app.provide(need) {
            self.task(now, task, rng, out);
        }
    }

    fn complete(&mut self, now: Now, done: Completion, out: &mut Vec<Effect<A::Notice>>) {
        let now = self.tick(now);
        match done {
            Completion::Loaded(op, result) => {
                self.note_read(now, result.as_ref().err());
                self.loaded(now, op, result, out);
            }
            Completion::Scanned(op, result) => {
                self.note_read(now, result.as_ref().err());
                self.scanned(now, op, result, out);
            }
            Completion::Crypto(op, outputs) => self.worked(now, op, outputs, out),
            Completion::Answered(op, answered) => self.answered(now, op, answered, out),
            Completion::Committed(op, outcome) => self.committed(now, op, outcome, out),
            Completion::Delivered(op, delivered) => {
                if let Some(Op::Deliver(delivery)) = self.ops.remove(&op) {
                    self.app.delivered(now, delivery, delivered);
                }
            }
        }
        self.cache.loads_since(self.loads.first().copied());
    }

    fn next_timeout(&self, now: Now) -> Option<Duration> {
        let now = self.watch.look(now);
        let deadline = self.deadlines.first().map(|&(at, _)| at);
        let again = self.failed.front().map(|(at, _)| *at);
        let held = self.lanes.values().filter_map(|lane| lane.held_until(now.mono)).min();
        let silent = self.questions.next_timeout();
        let parked = self.lanes.values().filter_map(Lane::parked_until).min();
        [deadline, again, held, parked, silent, self.health.next(), self.app.next_due(now)].into_iter().flatten().min()
    }

    fn timeout(&mut self, now: Now, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<A::Notice>>) {
        let now = self.tick(now);
        while self.failed.front().is_some_and(|(at, _)| *at <= now.mono) {
            if let Some((_, task)) = self.failed.pop_front() {
                self.task(now, task, rng, out);
            }
        }
        self.give_up_questions(now, out);
        while let Some(&(at, ticket)) = self.deadlines.first() {
            if at > now.mono {
                break;
            }
            let why = if self.is_in_commit(ticket) {
                Refusal::CommitUnknown
            } else if self.has_asked(ticket) {
                Refusal::Unavailable("services outside take too long", 5)
            } else {
                Refusal::Unavailable("storage or cryptography takes too long", 5)
            };
            // That a service is slow says nothing of storage.
            if !self.has_asked(ticket) {
                self.health.failed(now, &"no answer in time");
            }
            self.refuse(ticket, why, out);
        }
        let waited = |lane: &&mut Lane| lane.parked_until().is_some_and(|until| until <= now.mono);
        self.lanes.values_mut().filter(waited).for_each(Lane::unpark);
        self.probe(now, out);
        let mut notices = Vec::new();
        let tasks = self.app.due(now, &mut notices);
        out.extend(notices.into_iter().map(Effect::Notice));
        for task in tasks {
            self.task(now, task, rng, out);
        }
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect<A::Notice>>) {
        let now = self.tick(now);
        // Reads first: the batches that leave below would make them wait for one commit after the other.
        self.emit_needs(out);
        self.run_overtaken(now, out);
        let lanes: Vec<String> =
            self.lanes.iter().filter(|(_, lane)| lane.has_ready()).map(|(name, _)| name.clone()).collect();
        for lane in lanes {
            self.run_lane(now, &lane, out);
        }
        self.emit_needs(out);
        for (delivery, sent) in self.app.take_deliveries() {
            let op = OpId(self.number());
            self.ops.insert(op, Op::Deliver(delivery));
            out.push(Effect::Deliver(op, sent));
        }
        if self.cache.len() > self.limits.records {
            let to = self.limits.records.saturating_sub(self.limits.records / 8);
            self.cache.shrink(to);
        }
    }
}
