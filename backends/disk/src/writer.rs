//! Commits, on a thread of its own: all that waits goes out in one batch, with one sync.

use crate::frame::Entry;
use crate::log::{Failed, Log};
use crate::tables::Tables;
use ace_backend_sealed::Anchor;
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Record, Revision, StorageError, Txn};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;
use tokio::sync::oneshot;

/// Transactions in one batch at most.
const BATCH: usize = 1_024;
/// Parts of the tables that wait to be flushed at most: memory is bounded.
const SEALED: usize = 4;
/// How long a commit waits for one of them to be flushed.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the writer is told.
pub(crate) enum Command {
    /// Commit these.
    Commit(Vec<Txn>, oneshot::Sender<Vec<CommitOutcome>>),
    /// Begin a new file of the log, if the last one is broken; says whether it is whole.
    Repair(oneshot::Sender<bool>),
    /// What stands in files of the log below this number is in the tables.
    Flushed(u64),
    /// End.
    Stop,
}

/// The one who writes.
pub(crate) struct Writer {
    pub(crate) log: Log,
    pub(crate) tables: Arc<Tables>,
    pub(crate) anchor: Anchor,
    /// Whether the last file of the log is broken, so that nobody may read.
    pub(crate) broken: Arc<AtomicBool>,
    /// Where the housekeeper hears of what is sealed.
    pub(crate) sealed: Sender<u64>,
    /// How many bytes of the tables stay in memory before they are sealed.
    pub(crate) buffer: u64,
}

/// What a transaction came to so far.
enum Verdict {
    /// It happens with this revision.
    Goes(u64),
    /// It does not happen.
    Stays {
        outcome: CommitOutcome,
        /// Whether that rests on one before it in the same batch.
        leans: bool,
    },
}

fn unavailable(why: impl ToString) -> StorageError {
    StorageError::Unavailable(why.to_string())
}

/// Keys that the batch writes, with the records as they will be.
type Ahead = HashMap<Key, Option<Record>>;

impl Writer {
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        let mut stop = false;
        while !stop {
            let Ok(first) = commands.recv() else { return };
            let mut waiting = Vec::new();
            let mut count = 0_usize;
            let mut next = Some(first);
            while let Some(command) = next.take() {
                match command {
                    Command::Commit(txns, answer) => {
                        count = count.saturating_add(txns.len());
                        waiting.push((txns, answer));
                    }
                    Command::Repair(answer) => drop(answer.send(self.repair())),
                    Command::Flushed(number) => self.log.remove_below(number),
                    Command::Stop => stop = true,
                }
                if count < BATCH && !stop {
                    next = commands.try_recv().ok();
                }
            }
            self.commit_all(waiting);
        }
    }

    fn commit_all(&mut self, waiting: Vec<(Vec<Txn>, oneshot::Sender<Vec<CommitOutcome>>)>) {
        let (groups, answers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let txns: Vec<&Txn> = groups.iter().flatten().collect();
        if txns.is_empty() {
            answers.into_iter().for_each(|answer| drop(answer.send(Vec::new())));
            return;
        }
        let mut outcomes = self.commit(&txns).into_iter();
        for (group, answer) in groups.iter().zip(answers) {
            let _ = answer.send(outcomes.by_ref().take(group.len()).collect());
        }
        self.seal_if_full();
    }

    fn commit(&mut self, txns: &[&Txn]) -> Vec<CommitOutcome> {
        let why = if !self.repair() {
            Some("the log cannot be written")
        } else if !self.tables.wait_for_room(SEALED, PATIENCE) {
            Some("tables wait to be flushed")
        } else {
            None
        };
        if let Some(why) = why {
            return txns.iter().map(|_| CommitOutcome::NotDone(unavailable(why))).collect();
        }
        let mut ahead = Ahead::new();
        let verdicts: Vec<Verdict> = txns.iter().map(|txn| self.judge(txn, &mut ahead)).collect();
        let batch: Vec<Entry<'_>> =
            txns.iter().zip(&verdicts).filter_map(|(txn, verdict)| entry(txn, verdict)).collect();
        let result = if batch.is_empty() { Ok(()) } else { self.log.add(&batch) };
        match result {
            Ok(()) => {
                if let Some(last) = batch.last() {
                    self.anchor.set(last.revision);
                }
                self.tables.apply(&batch);
                verdicts.into_iter().map(Verdict::happened).collect()
            }
            Err(failed) => {
                let error = match &failed {
                    Failed::Written(error) | Failed::Synced(error) => unavailable(error),
                };
                tracing::error!(%error, "a commit cannot be written");
                // The header of the next file says that it did not happen.
                let settled = self.repair() || matches!(failed, Failed::Written(_));
                verdicts.into_iter().map(|verdict| verdict.failed(&error, settled)).collect()
            }
        }
    }

    /// Whether a transaction can happen after those before it.
    fn judge(&self, txn: &Txn, ahead: &mut Ahead) -> Verdict {
        let mut failed = Vec::new();
        let mut leans = false;
        for (key, expected) in &txn.expect {
            let found = match ahead.get(key) {
                Some(record) => {
                    leans = true;
                    Ok(record.clone())
                }
                None => self.tables.get(key),
            };
            match found {
                Ok(record) if record.as_ref().map(|record| record.revision) == *expected => (),
                Ok(record) => failed.push((key.clone(), record)),
                Err(error) => return Verdict::Stays { outcome: CommitOutcome::NotDone(error), leans },
            }
        }
        if !failed.is_empty() {
            return Verdict::Stays { outcome: CommitOutcome::Conflict(failed), leans };
        }
        let revision = self.tables.revision();
        for (key, value) in &txn.write {
            let record = value.clone().map(|value: Bytes| Record { revision: Revision(revision), value });
            ahead.insert(key.clone(), record);
        }
        Verdict::Goes(revision)
    }

    /// Sees to it that the log can be written.
    fn repair(&mut self) -> bool {
        if self.log.is_whole() {
            return true;
        }
        match self.log.begin(self.tables.revision()) {
            Ok(()) => {
                if self.broken.swap(false, Ordering::AcqRel) {
                    tracing::info!("the log can be written again");
                }
            }
            Err(error) => {
                if !self.broken.swap(true, Ordering::AcqRel) {
                    tracing::error!(%error, "the log cannot be written: nothing is read or committed until it can");
                }
            }
        }
        self.log.is_whole()
    }

    /// Hands what is in memory to the housekeeper, where it is enough.
    fn seal_if_full(&mut self) {
        if self.tables.unsealed() < self.buffer.max(1) && self.log.len() < self.buffer.saturating_mul(4) {
            return;
        }
        if self.log.begin(self.tables.revision()).is_err() {
            self.repair();
            return;
        }
        self.tables.seal();
        let _ = self.sealed.send(self.log.number());
    }
}

fn entry<'a>(txn: &'a Txn, verdict: &Verdict) -> Option<Entry<'a>> {
    let Verdict::Goes(revision) = verdict else { return None };
    let bytes = |bytes| serde_bytes::Bytes::new(bytes);
    let write = txn.write.iter().map(|(key, value)| (bytes(key.as_bytes()), value.as_deref().map(bytes)));
    Some(Entry { revision: *revision, write: write.collect() })
}

impl Verdict {
    fn happened(self) -> CommitOutcome {
        match self {
            Self::Goes(revision) => CommitOutcome::Done(Revision(revision)),
            Self::Stays { outcome, .. } => outcome,
        }
    }

    fn failed(self, error: &StorageError, settled: bool) -> CommitOutcome {
        match self {
            Self::Goes(_) if settled => CommitOutcome::NotDone(error.clone()),
            Self::Goes(_) => CommitOutcome::Unknown(error.clone()),
            // What it leans on is not there.
            Self::Stays { leans: true, .. } => CommitOutcome::NotDone(error.clone()),
            Self::Stays { outcome, leans: false } => outcome,
        }
    }
}
