//! Signatures, on threads of their own where there is more than one core.

use ace_groupcomm::engine::{Completion, OpId};
use ace_groupcomm::traits::crypto::{CryptoJob, CryptoOutput, CryptoProvider};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// A batch of work, and which part of which operation it is.
struct Work {
    op: OpId,
    part: usize,
    jobs: Vec<CryptoJob>,
    gather: Arc<Gather>,
}

/// Puts the parts of an operation together again.
struct Gather {
    parts: Mutex<Vec<Option<Vec<CryptoOutput>>>>,
}

/// Does work in batches.
pub struct CryptoPool {
    provider: Arc<dyn CryptoProvider>,
    threads: usize,
    work: Option<Sender<Work>>,
}

impl CryptoPool {
    /// Does the work where it comes up. Right for one core.
    #[must_use]
    pub fn inline(provider: Arc<dyn CryptoProvider>) -> Self {
        Self { provider, threads: 0, work: None }
    }

    /// Does the work on so many threads.
    #[must_use]
    pub fn threads(provider: Arc<dyn CryptoProvider>, threads: usize) -> Self {
        Self { provider, threads, work: None }
    }

    /// As many threads as there are cores beside the one that everything else runs on.
    #[must_use]
    pub fn for_this_machine(provider: Arc<dyn CryptoProvider>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::threads(provider, cores.saturating_sub(1))
    }

    /// Starts the threads, whose results go there.
    pub(crate) fn start(&mut self, results: &UnboundedSender<Completion>) {
        if self.threads == 0 {
            return;
        }
        let (sender, receiver) = channel::<Work>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..self.threads {
            let (provider, receiver, results) = (Arc::clone(&self.provider), Arc::clone(&receiver), results.clone());
            let run = move || worker(&*provider, &receiver, &results);
            if let Err(error) = std::thread::Builder::new().name(format!("crypto-{number}")).spawn(run) {
                tracing::warn!(%error, "a thread for signatures cannot be started");
            } else {
                self.work = Some(sender.clone());
            }
        }
    }

    /// Does the work at once and answers it, or hands it to the threads.
    pub(crate) fn run(&self, op: OpId, jobs: Vec<CryptoJob>) -> Option<Completion> {
        let Some(work) = &self.work else { return Some(Completion::Crypto(op, self.provider.run(&jobs))) };
        let size = jobs.len().div_ceil(self.threads.max(1)).max(1);
        let parts: Vec<Vec<CryptoJob>> = jobs.chunks(size).map(<[CryptoJob]>::to_vec).collect();
        let gather = Arc::new(Gather { parts: Mutex::new(parts.iter().map(|_| None).collect()) });
        for (part, jobs) in parts.into_iter().enumerate() {
            let sent = work.send(Work { op, part, jobs, gather: Arc::clone(&gather) });
            if sent.is_err() {
                // Nobody works any more: what cannot be done is said to have failed.
                return Some(Completion::Crypto(op, Vec::new()));
            }
        }
        None
    }
}

fn worker(provider: &dyn CryptoProvider, work: &Mutex<Receiver<Work>>, results: &UnboundedSender<Completion>) {
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Work { op, part, jobs, gather }) = next else { return };
        // Work that panics has failed: what waits for it must hear of it, and the thread goes on.
        let outputs = catch_unwind(AssertUnwindSafe(|| provider.run(&jobs))).unwrap_or_default();
        let outputs = outputs.into_iter().chain(std::iter::repeat(CryptoOutput::Failed)).take(jobs.len()).collect();
        let mut parts = gather.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = parts.get_mut(part) {
            *place = Some(outputs);
        }
        if parts.iter().all(Option::is_some) {
            let all = parts.iter_mut().filter_map(Option::take).flatten().collect();
            if results.send(Completion::Crypto(op, all)).is_err() {
                return;
            }
        }
    }
}
