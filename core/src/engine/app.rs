//! What runs on an engine.

use crate::command::{Command, CommandError, Figure, Report};
use crate::delivery::{Delivered, Delivery};
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::refusal::Refusal;
use crate::request::{Caller, Request, Response};
use crate::time::Now;
use crate::traits::transport::AssociationNeed;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// What a run is about: a request from outside, a task of the application's own, or a command.
#[derive(Clone, Debug)]
pub(crate) enum Input<T> {
    /// A request, and who sent it.
    Request(Caller, Request),
    /// A task; its answer goes nowhere.
    Task(T),
    /// What an operator wants done.
    Command(Command),
}

/// What is said to who asked. A refusal keeps its reason, for the log.
#[derive(Debug)]
pub(crate) enum Said {
    Response(Response),
    Refusal(Refusal),
    Report(Result<Report, CommandError>),
}

impl Said {
    /// What a client is sent.
    pub(crate) fn response(self) -> Response {
        match self {
            Self::Response(response) => response,
            Self::Refusal(refusal) => refusal.response(),
            Self::Report(_) => Response::new(crate::Status::InternalServerError),
        }
    }

    /// What an operator is told.
    pub(crate) fn report(self) -> Result<Report, CommandError> {
        match self {
            Self::Report(report) => report,
            Self::Refusal(refusal) => Err(CommandError::from(&refusal)),
            Self::Response(_) => Err(CommandError::Internal("a command was answered as a request is")),
        }
    }
}

/// What a run of a handler comes to.
#[derive(Debug)]
pub(crate) struct Outcome<E> {
    /// `None`: the request runs again when the changes are durable.
    pub(crate) said: Option<Said>,
    pub(crate) changes: Changes,
    pub(crate) events: Vec<E>,
}

impl<E> Outcome<E> {
    /// An answer that changes nothing.
    #[must_use]
    pub(crate) fn answer(response: Response) -> Self {
        Self { said: Some(Said::Response(response)), changes: Changes::new(), events: Vec::new() }
    }

    /// A refusal with which something becomes true all the same: what is changed, or happens in memory.
    #[must_use]
    pub(crate) const fn refused(refusal: Refusal, changes: Changes) -> Self {
        Self { said: Some(Said::Refusal(refusal)), changes, events: Vec::new() }
    }

    /// An answer that leaves when the changes are durable.
    #[must_use]
    pub(crate) fn changed(response: Response, changes: Changes) -> Self {
        Self { said: Some(Said::Response(response)), changes, events: Vec::new() }
    }

    /// Changes that have to be durable before the request is looked at: it runs again afterwards.
    #[must_use]
    pub(crate) const fn first(changes: Changes) -> Self {
        Self { said: None, changes, events: Vec::new() }
    }

    /// A task is done, and changes nothing.
    #[must_use]
    pub(crate) fn done() -> Self {
        Self::answer(Response::new(crate::Status::Changed))
    }

    /// A task is done when the changes are durable.
    #[must_use]
    pub(crate) fn done_with(changes: Changes) -> Self {
        Self::changed(Response::new(crate::Status::Changed), changes)
    }

    /// Done when the changes are durable, where it would run again.
    #[must_use]
    pub(crate) fn or_done(mut self) -> Self {
        self.said.get_or_insert_with(|| Said::Response(Response::new(crate::Status::Changed)));
        self
    }

    /// What has come of a command, when the changes are durable.
    #[must_use]
    pub(crate) const fn report(report: Result<Report, CommandError>, changes: Changes) -> Self {
        Self { said: Some(Said::Report(report)), changes, events: Vec::new() }
    }

    /// Adds what becomes true with the answer.
    #[must_use]
    pub(crate) fn with_event(mut self, event: E) -> Self {
        self.events.push(event);
        self
    }
}

/// What runs on an engine: a KDC or an Authorization Server.
pub(crate) trait App: Send {
    /// Work of its own, e.g. when a token expires.
    type Task: Clone + Send + Sync;
    /// What becomes true when an outcome is durable, and changes what the application holds in memory.
    type Event: Send;
    /// What the world outside learns then.
    type Notice: Send;
    /// Names a delivery of the application's own.
    type Delivery: Send;

    /// Looks at a request before anything is done for it, e.g. at how many came of late.
    ///
    /// # Errors
    /// [`Refusal`] of a request that is not handled.
    fn admit(&mut self, now: Now, caller: &Caller, request: &Request) -> Result<(), Refusal>;

    /// Handles a request or task. It changes nothing: see [`View`].
    ///
    /// # Errors
    /// [`Stop`]: something is needed first, or the request is refused.
    fn handle(&self, view: &View<'_>, input: &Input<Self::Task>) -> Result<Outcome<Self::Event>, Stop>;

    /// The lane in which a request that may change something waits for others; `None` commits it alone.
    fn lane(&self, input: &Input<Self::Task>) -> Option<String>;

    /// Takes in what became true.
    fn apply(&mut self, now: Now, event: Self::Event, out: &mut Vec<Self::Notice>);

    /// What has to be done first.
    fn first(&self) -> Vec<Self::Task>;

    /// Whether that is done. Requests before that may find nothing.
    fn is_ready(&self) -> bool;

    /// Why the application must not start, where it has found that out.
    fn refused(&self) -> Option<Arc<dyn Error + Send + Sync>> {
        None
    }

    /// What gives the network side what it needs, where that is the application's business.
    fn provide(&self, need: AssociationNeed) -> Option<Self::Task>;

    /// A task came to nothing, at this moment of the clock that never jumps. Returns what is to be tried again, in a while.
    fn failed(&mut self, now: Duration, task: &Self::Task, out: &mut Vec<Self::Notice>) -> Option<Self::Task>;

    /// Whether those that wait in a lane may go on with what happens there now ([`View::wait_until`]): they become part of the same commit.
    fn releases(&self, _event: &Self::Event) -> bool {
        false
    }

    /// Storage has not told what became of a commit: it may have happened, and none of its events are applied.
    fn doubts(&mut self, _now: Duration) {}

    /// Hands out what is to be sent to clients now.
    fn take_deliveries(&mut self) -> Vec<(Self::Delivery, Delivery)> {
        Vec::new()
    }

    /// Takes in what has become of a delivery.
    fn delivered(&mut self, _now: Now, _delivery: Self::Delivery, _delivered: Delivered) {}

    /// The kind of resource that a request is for, for figures: one of a few words, none of which a client has chosen.
    fn resource(&self, _request: &Request) -> &'static str {
        "any"
    }

    /// Figures of its own, for [`Command::Status`].
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }

    /// When the application has something to do, on the clock that never jumps.
    fn next_due(&self, now: Now) -> Option<Duration>;

    /// What is due now. It is not asked for again.
    fn due(&mut self, now: Now, out: &mut Vec<Self::Notice>) -> Vec<Self::Task>;
}
