//! What goes in and out of an engine.

use super::question::{Answered, Question};
use crate::command::{CommandError, Report};
use crate::delivery::{Delivered, Delivery};
use crate::request::Response;
use crate::traits::crypto::{CryptoJob, CryptoOutput};
use crate::traits::storage::{CommitOutcome, Key, Page, Record, StorageError, Txn};
use std::time::Duration;

/// Names a request until its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names an operation that an effect asks for until its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// An answer all of whose reasons are durable. Only the engine makes one, and only these can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable(pub(super) Response);

impl Durable {
    /// Returns the answer, to be sent.
    #[must_use]
    pub fn into_inner(self) -> Response {
        self.0
    }
}

/// What the engine says to a request at once.
#[must_use = "the client waits for its answer"]
#[derive(Debug)]
pub enum Reply {
    /// Nothing had to be waited for: this is the answer.
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
    /// Do these jobs, and say what came of them by [`Completion::Crypto`], in the same order.
    Crypto(OpId, Vec<CryptoJob>),
    /// Ask a service outside, and say what it said by [`Completion::Answered`]. A driver that has no such service says
    /// [`Answered::Failed`]. After this time the engine has given the question up: the driver stops asking then.
    Ask(OpId, Question, Duration),
    /// Commit this transaction, and say what came of it by [`Completion::Committed`].
    Commit(OpId, Txn),
    /// Send this answer to who asked under this ticket. What it says is durable.
    Answer(Ticket, Durable),
    /// Tell the operator that a command has come to this.
    Report(Ticket, Result<Report, CommandError>),
    /// Something became true; in order with the answers.
    Notice(N),
    /// Send a client this, now, and say what has become of it by [`Completion::Delivered`]. A driver that sends nothing says
    /// [`Delivered::NotSent`].
    Deliver(OpId, Delivery),
}

/// What became of an effect.
#[derive(Debug)]
pub enum Completion {
    /// What came of an [`Effect::Load`]: a record or its absence for each key, in the same order.
    Loaded(OpId, Result<Vec<Option<Record>>, StorageError>),
    /// What came of an [`Effect::Scan`].
    Scanned(OpId, Result<Page, StorageError>),
    /// What came of an [`Effect::Crypto`], in the same order.
    Crypto(OpId, Vec<CryptoOutput>),
    /// What came of an [`Effect::Ask`].
    Answered(OpId, Answered),
    /// What came of an [`Effect::Commit`].
    Committed(OpId, CommitOutcome),
    /// What came of an [`Effect::Deliver`].
    Delivered(OpId, Delivered),
}
