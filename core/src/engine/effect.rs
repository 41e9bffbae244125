//! What goes in and out of an engine.

use crate::command::{CommandError, Report};
use crate::request::Response;
use crate::traits::crypto::{CryptoJob, CryptoOutput};
use crate::traits::storage::{CommitOutcome, Key, Page, Record, StorageError, Txn};

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
    /// Tell the operator that a command has come to this.
    Report(Ticket, Result<Report, CommandError>),
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
