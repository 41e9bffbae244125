//! Bounds and figures of an engine.

use crate::refusal::Refusal;
use std::time::Duration;

/// Bounds of an engine. Each is answered with 5.03 when reached.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that wait for something.
    pub waiting: usize,
    /// Runs of one request.
    pub runs: u32,
    /// Commits of one request that others conflicted.
    pub conflicts: u32,
    /// Requests in one commit; those that have waited for one version go together, as many as may wait.
    pub batch: usize,
    /// Requests that wait for the next version of one group.
    pub parked: usize,
    /// How many records are kept in memory; those that were not used for long go first.
    pub records: usize,
    /// How long a request waits.
    pub patience: Duration,
    /// Questions to services outside that are under way: in all.
    pub questions: usize,
    /// The same of one address.
    pub questions_per_address: usize,
    /// How long a service may take to answer; less than `patience`.
    pub question_patience: Duration,
    /// Keys in one page of a scan.
    pub page: usize,
    /// By how much the time of day may run ahead of the other clock at once. Beyond that nothing is ended for good
    /// until the clock is right again, or the process is started anew.
    pub largest_jump: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: 65_536,
            runs: 64,
            conflicts: 16,
            batch: 64,
            parked: 1_024,
            records: 4_000_000,
            patience: Duration::from_secs(20),
            questions: 1_024,
            questions_per_address: 8,
            question_patience: Duration::from_secs(10),
            page: 512,
            largest_jump: Duration::from_secs(24 * 3_600),
        }
    }
}

/// Figures of an engine since its start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that came, also those that were refused at once.
    pub requests: u64,
    /// Runs of handlers; a request may need several.
    pub runs: u64,
    /// Commits that were sent to storage.
    pub commits: u64,
    /// Commits that met a conflict.
    pub conflicts: u64,
    /// Commits whose outcome nobody knows.
    pub unknown: u64,
    /// Requests that were refused since a bound was reached.
    pub bounded: u64,
    /// Requests that were refused since something is broken here.
    pub internal: u64,
}

impl Stats {
    /// Counts a refusal.
    pub(super) const fn note(&mut self, refusal: &Refusal) {
        if refusal.is_bound() {
            self.bounded = self.bounded.saturating_add(1);
        }
        if matches!(refusal, Refusal::Internal(_)) {
            self.internal = self.internal.saturating_add(1);
        }
    }
}
