//! The driver: runs an engine, does what its effects ask for, and hands answers back.

use crate::clock::{Clock, os_random};
use crate::committer;
use crate::crypto_pool::CryptoPool;
use crate::deliver::{Deliverer, NoDeliverer};
use crate::services::{NoServices, Services};
use ace_groupcomm::command::{Command, CommandError, Report};
use ace_groupcomm::delivery::Delivered;
use ace_groupcomm::engine::{Answered, Completion, Durable, Effect, Machine, OpId, Reply, Ticket};
use ace_groupcomm::traits::storage::{Storage, StorageError, Txn};
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use ace_groupcomm::{AssociationId, Caller, Now, Request, Response, Secret, Status};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Requests and results that one tick takes at most.
const TICK: usize = 256;
/// Requests that wait for the engine at most; above that, 5.03.
const QUEUE: usize = 16_384;
/// For how long a driver that is stopped waits for requests under way.
const GRACE: Duration = Duration::from_secs(5);
/// So many associations are looked up at once for those who show their names.
const RESOLVING: usize = 1_024;
/// How long a read may take.
const READ: Duration = Duration::from_secs(15);

/// Why an engine's start is not done, and never will be.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The engine refuses to start over what is stored, e.g. with a [`StartRefusal`](ace_groupcomm::kdc::StartRefusal).
    #[error("{0}")]
    Refused(Arc<dyn std::error::Error + Send + Sync>),
    /// The engine has ended.
    #[error("the engine has ended")]
    Ended,
}

/// An association that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The transport profile, `ace_profile`.
    pub profile: i64,
    /// What the keys are derived from, in the profile's own form.
    pub material: Secret,
    /// Whether no other process can have it.
    pub owned: bool,
}

/// The way back for one answer.
type Done = Box<dyn FnOnce(Response) + Send>;

enum Message {
    Call(Caller, Request, Done),
    Command(Box<Command>, oneshot::Sender<Result<Report, CommandError>>),
    Need(AssociationNeed),
    Resolve(AssociationId, oneshot::Sender<Option<Resolved>>),
    Ready(oneshot::Sender<Result<(), StartError>>),
    Stop,
}

/// A handle on an engine that runs. CoAP, HTTP and tests use it alike; clones are the same engine.
#[derive(Clone)]
pub struct Handle {
    messages: Sender<Message>,
    ready: Arc<AtomicBool>,
}

impl Handle {
    /// Asks, and gives the answer to `done`; at once where the engine takes no more.
    pub fn submit(&self, caller: Caller, request: Request, done: impl FnOnce(Response) + Send + 'static) {
        if let Err(refused) = self.messages.try_send(Message::Call(caller, request, Box::new(done)))
            && let Message::Call(_, _, done) = refused.into_inner()
        {
            done(unavailable());
        }
    }

    /// Has the engine see to what is needed of an association, when it takes more.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn need(&self, need: AssociationNeed) {
        if let Err(TrySendError::Full(message)) = self.messages.try_send(Message::Need(need)) {
            let messages = self.messages.clone();
            // An engine that has stopped needs to see to nothing.
            tokio::spawn(async move { drop(messages.send(message).await) });
        }
    }

    /// Looks an association up that the network side does not know, e.g. one of a former process. `None` where there is none, and
    /// where storage cannot say so: the client asks again.
    pub async fn resolve(&self, id: &AssociationId) -> Option<Resolved> {
        let (sender, receiver) = oneshot::channel();
        self.messages.send(Message::Resolve(id.clone(), sender)).await.ok()?;
        receiver.await.ok().flatten()
    }

    /// Asks and waits for the answer. An engine that has stopped answers 5.03.
    pub async fn call(&self, caller: Caller, request: Request) -> Response {
        let (sender, receiver) = oneshot::channel();
        self.submit(caller, request, move |response| {
            let _ = sender.send(response);
        });
        receiver.await.unwrap_or_else(|_| unavailable())
    }

    /// Has the engine do something, and waits until that is durable. It waits its turn where the engine takes no more.
    ///
    /// # Errors
    /// [`CommandError`] where it came to nothing.
    pub async fn command(&self, command: Command) -> Result<Report, CommandError> {
        let ended = || CommandError::Unavailable("the engine has ended");
        let (sender, receiver) = oneshot::channel();
        self.messages.send(Message::Command(Box::new(command), sender)).await.map_err(|_| ended())?;
        // It may have ended after it was told, with a commit under way.
        receiver.await.unwrap_or(Err(CommandError::Unknown))
    }

    /// Waits until the engine's start is done.
    ///
    /// # Errors
    /// [`StartError`] where it never will be.
    pub async fn ready(&self) -> Result<(), StartError> {
        let (sender, receiver) = oneshot::channel();
        self.messages.send(Message::Ready(sender)).await.map_err(|_| StartError::Ended)?;
        receiver.await.unwrap_or(Err(StartError::Ended))
    }

    /// Whether the engine runs, its start is done, and storage works: what it is asked now it can answer.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.messages.is_closed()
    }

    /// Waits until the engine has ended, for whatever reason: it was stopped, its start was refused, storage has failed beyond
    /// repair, or a part that was plugged in has panicked. The task of [`spawn`] says which of them was a panic.
    pub async fn ended(&self) {
        self.messages.closed().await;
    }

    /// Stops the engine: it takes no more requests, finishes those under way, and ends.
    pub async fn stop(&self) {
        let _ = self.messages.send(Message::Stop).await;
    }
}

fn unavailable() -> Response {
    let mut response = Response::new(Status::ServiceUnavailable);
    response.max_age = Some(2);
    response
}

struct Driver<M> {
    machine: M,
    services: Arc<dyn Services>,
    deliverer: Arc<dyn Deliverer>,
    storage: Arc<dyn Storage>,
    associations: Arc<dyn Associations>,
    pool: CryptoPool,
    clock: Clock,
    commits: UnboundedSender<(OpId, Txn)>,
    results: UnboundedSender<Completion>,
    waiting: HashMap<Ticket, Done>,
    reports: HashMap<Ticket, oneshot::Sender<Result<Report, CommandError>>>,
    awaiting_start: Vec<oneshot::Sender<Result<(), StartError>>>,
    resolving: HashMap<AssociationId, Vec<oneshot::Sender<Option<Resolved>>>>,
    ready: Arc<AtomicBool>,
    stopping: bool,
}

/// Runs an engine on the current tokio runtime. The task ends after [`Handle::stop`], or when all handles are gone.
///
/// Watch the task: a validator, a profile or a transport that panics ends it with an error ([`JoinHandle`]), and all that is asked
/// from then on is answered 5.03. [`Handle::is_ready`] is false then, and [`Handle::ended`] returns.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn spawn<M>(
    machine: M,
    storage: Arc<dyn Storage>,
    associations: Arc<dyn Associations>,
    pool: CryptoPool,
    clock: Clock,
) -> (Handle, JoinHandle<()>)
where
    M: Machine<Notice = AssociationNotice> + 'static,
{
    spawn_with(machine, storage, associations, pool, clock, Outside::default())
}

/// What an engine reaches outside, beside its storage: nothing, where it is not said otherwise.
#[derive(Clone)]
pub struct Outside {
    /// Services that parts of the engine ask.
    pub services: Arc<dyn Services>,
    /// What sends requests to clients.
    pub deliverer: Arc<dyn Deliverer>,
}

impl Outside {
    /// With these services.
    #[must_use]
    pub fn services(services: Arc<dyn Services>) -> Self {
        Self { services, ..Self::default() }
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

impl Default for Outside {
    fn default() -> Self {
        Self { services: Arc::new(NoServices), deliverer: Arc::new(NoDeliverer) }
    }
}

/// The same, with what the engine reaches outside: a token validator its Authorization Server, say.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn spawn_with<M>(
    machine: M,
    storage: Arc<dyn Storage>,
    associations: Arc<dyn Associations>,
    mut pool: CryptoPool,
    clock: Clock,
    outside: Outside,
) -> (Handle, JoinHandle<()>)
where
    M: Machine<Notice = AssociationNotice> + 'static,
{
    let (messages, incoming) = channel(QUEUE);
    let (results, done) = unbounded_channel();
    let (commits, transactions) = unbounded_channel();
    pool.start(&results);
    let mut committer = tokio::spawn(committer::run(Arc::clone(&storage), transactions, results.clone()));
    let ready = Arc::new(AtomicBool::new(false));
    let driver = Driver {
        machine,
        services: outside.services,
        deliverer: outside.deliverer,
        storage,
        associations,
        pool,
        clock,
        commits,
        results,
        waiting: HashMap::new(),
        reports: HashMap::new(),
        awaiting_start: Vec::new(),
        resolving: HashMap::new(),
        ready: Arc::clone(&ready),
        stopping: false,
    };
    let ended = Arc::clone(&ready);
    let run = async move {
        let alive = tokio::select! {
            () = driver.run(incoming, done) => true,
            // It ends after the driver, unless storage has panicked: nothing can be trusted then.
            _ = &mut committer => false,
        };
        ended.store(false, Ordering::Relaxed);
        if alive {
            // Whoever waits for the end may open the storage again.
            let _ = committer.await;
        } else {
            tracing::error!("storage has failed beyond repair: the engine has ended");
        }
    };
    (Handle { messages, ready }, tokio::spawn(run))
}

impl<M: Machine<Notice = AssociationNotice>> Driver<M> {
    async fn run(mut self, mut incoming: Receiver<Message>, mut done: UnboundedReceiver<Completion>) {
        let mut out = Vec::new();
        let (mut messages, mut completions) = (Vec::with_capacity(TICK), Vec::with_capacity(TICK));
        self.machine.start(self.clock.now(), &mut os_random(), &mut out);
        self.end_tick(&mut out);
        let mut deadline = None;
        while !(self.stopping && self.waiting.is_empty() && self.reports.is_empty()) {
            let now = self.clock.now();
            let due = self.machine.next_timeout(now).map(|at| at.saturating_sub(now.mono));
            if due == Some(Duration::ZERO) {
                // Before what comes in: a queue that is never empty must not keep tokens from expiring.
                self.machine.timeout(now, &mut os_random(), &mut out);
                self.end_tick(&mut out);
            }
            if self.stopping && deadline.is_none() {
                deadline = Some(tokio::time::Instant::now() + GRACE);
            }
            let needs = poll_fn(|context| self.associations.poll_needs(context));
            tokio::select! {
                biased;
                needs = needs => {
                    let now = self.clock.now();
                    for need in needs {
                        self.machine.need(now, need, &mut os_random(), &mut out);
                    }
                }
                count = done.recv_many(&mut completions, TICK) => {
                    if count == 0 {
                        break;
                    }
                    let now = self.clock.now();
                    for completion in completions.drain(..) {
                        self.machine.complete(now, completion, &mut out);
                    }
                }
                count = incoming.recv_many(&mut messages, TICK), if !self.stopping => {
                    self.stopping = count == 0;
                    for message in messages.drain(..) {
                        self.take(message, &mut out);
                    }
                }
                () = sleep(due) => self.machine.timeout(self.clock.now(), &mut os_random(), &mut out),
                () = sleep_until(deadline) => break,
            }
            self.end_tick(&mut out);
        }
    }

    fn take(&mut self, message: Message, out: &mut Vec<Effect<AssociationNotice>>) {
        match message {
            Message::Call(caller, request, done) => {
                let reply = self.machine.request(self.clock.now(), caller, request, &mut os_random(), out);
                match reply {
                    Reply::Now(durable) => {
                        // What the answer rests on has to be known to the network before it goes out.
                        self.follow_notices(out);
                        done(durable.into_inner());
                    }
                    Reply::Later(ticket) => {
                        self.waiting.insert(ticket, done);
                    }
                }
            }
            Message::Command(command, sender) => {
                let ticket = self.machine.command(self.clock.now(), *command, &mut os_random(), out);
                self.reports.insert(ticket, sender);
            }
            Message::Need(need) => self.machine.need(self.clock.now(), need, &mut os_random(), out),
            Message::Resolve(id, sender) => {
                // Whoever shows a made-up name may be anybody: beyond the bound the sender is dropped, which answers `None`.
                if self.resolving.len() >= RESOLVING && !self.resolving.contains_key(&id) {
                    return;
                }
                let waiting = self.resolving.entry(id.clone()).or_default();
                waiting.push(sender);
                if waiting.len() == 1 {
                    let need = AssociationNeed::Unknown(id);
                    self.machine.need(self.clock.now(), need, &mut os_random(), out);
                }
            }
            Message::Ready(sender) => self.awaiting_start.push(sender),
            Message::Stop => self.stopping = true,
        }
    }

    /// Hands a notice on, and tells whoever waits for it.
    fn follow(&mut self, notice: AssociationNotice) {
        if !self.resolving.is_empty() {
            let (id, found) = match &notice {
                AssociationNotice::Loaded { id, profile, material, owned } => {
                    (Some(id), Some(Resolved { profile: *profile, material: material.clone(), owned: *owned }))
                }
                AssociationNotice::Gone { id } | AssociationNotice::Unavailable { id } => (Some(id), None),
                _ => (None, None),
            };
            for sender in id.and_then(|id| self.resolving.remove(id)).into_iter().flatten() {
                let _ = sender.send(found.clone());
            }
        }
        self.associations.notice(notice);
    }

    fn follow_notices(&mut self, out: &mut Vec<Effect<AssociationNotice>>) {
        if out.iter().any(|effect| matches!(effect, Effect::Notice(_))) {
            for effect in std::mem::take(out) {
                match effect {
                    Effect::Notice(notice) => self.follow(notice),
                    other => out.push(other),
                }
            }
        }
    }

    /// Lets all that has gathered leave, until nothing more comes of it.
    fn end_tick(&mut self, out: &mut Vec<Effect<AssociationNotice>>) {
        let now = self.clock.now();
        self.machine.flush(now, out);
        while !out.is_empty() {
            for effect in std::mem::take(out) {
                self.effect(now, effect, out);
            }
            self.machine.flush(now, out);
        }
        let is_ready = self.machine.is_ready();
        self.ready.store(is_ready, Ordering::Relaxed);
        let outcome = match self.machine.refused() {
            Some(why) => Err(StartError::Refused(why)),
            None if is_ready => Ok(()),
            None => return,
        };
        for sender in self.awaiting_start.drain(..) {
            let _ = sender.send(outcome.clone());
        }
    }

    fn effect(&mut self, now: Now, effect: Effect<AssociationNotice>, out: &mut Vec<Effect<AssociationNotice>>) {
        match effect {
            Effect::Load(op, keys) => {
                let (storage, results) = (Arc::clone(&self.storage), self.results.clone());
                tokio::spawn(async move {
                    let read = tokio::spawn(async move { storage.read(&keys).await });
                    let _ = results.send(Completion::Loaded(op, outcome(read).await));
                });
            }
            Effect::Scan(op, prefix, after, limit) => {
                let (storage, results) = (Arc::clone(&self.storage), self.results.clone());
                tokio::spawn(async move {
                    let page = tokio::spawn(async move { storage.scan(&prefix, after.as_ref(), limit).await });
                    let _ = results.send(Completion::Scanned(op, outcome(page).await));
                });
            }
            Effect::Crypto(op, jobs) => {
                if let Some(done) = self.pool.run(op, jobs) {
                    self.machine.complete(now, done, out);
                }
            }
            Effect::Ask(op, question, patience) => {
                let (services, results) = (Arc::clone(&self.services), self.results.clone());
                tokio::spawn(async move {
                    let asked = tokio::spawn(async move { services.ask(&question).await });
                    // One that panics, or is silent, has failed. What it holds is given back.
                    let ended = within(patience, asked).await.unwrap_or(Answered::Failed);
                    let _ = results.send(Completion::Answered(op, ended));
                });
            }
            Effect::Commit(op, txn) => {
                if self.commits.send((op, txn)).is_err() {
                    tracing::error!("the committer has ended");
                    self.stopping = true;
                }
            }
            Effect::Answer(ticket, durable) => {
                if let Some(done) = self.waiting.remove(&ticket) {
                    done(Durable::into_inner(durable));
                }
            }
            Effect::Report(ticket, report) => {
                if let Some(sender) = self.reports.remove(&ticket) {
                    let _ = sender.send(report);
                }
            }
            Effect::Notice(notice) => self.follow(notice),
            Effect::Deliver(op, delivery) => {
                let (deliverer, results) = (Arc::clone(&self.deliverer), self.results.clone());
                let patience = delivery.patience;
                tokio::spawn(async move {
                    let sent = tokio::spawn(async move { deliverer.deliver(delivery).await });
                    let delivered = within(patience, sent).await.unwrap_or(Delivered::Silent);
                    let _ = results.send(Completion::Delivered(op, delivered));
                });
            }
        }
    }
}

/// What became of a read: one that panics, or does not end, has failed. The engine waits for an answer to each.
async fn outcome<T>(read: JoinHandle<Result<T, StorageError>>) -> Result<T, StorageError> {
    let ended = within(READ, read).await;
    ended.unwrap_or_else(|| Err(StorageError::Unavailable("a read takes too long".into())))
}

/// What came of a task in this time; it is ended then. `None` where it has panicked, or was not done.
async fn within<T>(time: Duration, task: JoinHandle<T>) -> Option<T> {
    let abort = task.abort_handle();
    let ended = tokio::time::timeout(time, task).await;
    abort.abort();
    ended.ok().and_then(Result::ok)
}

async fn sleep(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
