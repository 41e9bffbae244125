//! Whether storage works. Where it does not, that is said once, nothing is ready, and a small commit now and then finds
//! out when it does again: nobody may be asking.

use super::{App, Batch, Effect, Engine};
use crate::schema::keys;
use crate::schema::records::Mark;
use crate::time::Now;
use crate::traits::storage::StorageError;
use std::sync::Arc;
use std::time::Duration;

/// After which time storage is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of storage.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Since when it does not work.
    failing: Option<Duration>,
    /// When it is tried again; none while that is under way.
    again: Option<Duration>,
}

impl Health {
    pub(super) const fn is_well(&self) -> bool {
        self.failing.is_none()
    }

    /// When storage has to be tried.
    pub(super) const fn next(&self) -> Option<Duration> {
        self.again
    }

    /// Something could not be read or written.
    pub(super) fn failed(&mut self, now: Now, error: &dyn std::fmt::Display) {
        if self.failing.is_none() {
            self.failing = Some(now.mono);
            self.again = Some(now.mono.saturating_add(AGAIN));
            tracing::error!(%error, "storage does not work: what needs it is answered 5.03 until it does");
        } else {
            tracing::debug!(%error, "storage does not work");
        }
    }

    /// A commit has happened.
    fn works(&mut self, now: Now) {
        if let Some(since) = self.failing.take() {
            self.again = None;
            let seconds = now.mono.saturating_sub(since).as_secs();
            tracing::info!(seconds, "storage works again");
        }
    }
}

impl<A: App> Engine<A> {
    /// Tries storage, where it is time.
    pub(super) fn probe(&mut self, now: Now, out: &mut Vec<Effect<A::Notice>>) {
        if self.health.again.is_none_or(|at| at > now.mono) {
            return;
        }
        self.health.again = None;
        let mut batch = Batch::empty();
        batch.overlay.0.insert(keys::probe(), Some(Arc::new(Mark)));
        batch.probes = true;
        self.commit(batch, out);
    }

    /// Takes in how a read has ended. That one succeeds says nothing about commits.
    pub(super) fn note_read(&mut self, now: Now, failed: Option<&StorageError>) {
        if let Some(error) = failed {
            self.health.failed(now, error);
        }
    }

    /// Takes in how a commit has ended.
    pub(super) fn note_commit(&mut self, now: Now, failed: Option<&StorageError>, was_probe: bool) {
        match failed {
            None => self.health.works(now),
            Some(error) => self.health.failed(now, error),
        }
        if was_probe && !self.health.is_well() {
            self.health.again = Some(now.mono.saturating_add(AGAIN));
        }
    }
}
