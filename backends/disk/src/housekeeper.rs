//! Flushes and merges tables, on a thread of its own: no commit waits for it unless memory is full.

use crate::tables::Tables;
use crate::writer::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Flushes whenever the number of a file of the log comes, before which all is sealed; says so to the writer.
pub(crate) fn run(tables: &Arc<Tables>, sealed: &Receiver<u64>, writer: &Sender<Command>) {
    let mut pending = None;
    let mut failing = false;
    loop {
        let next = if pending.is_some() {
            sealed.recv_timeout(AGAIN)
        } else {
            sealed.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match next {
            Ok(number) => pending = Some(number),
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        pending = pending.max(sealed.try_iter().last());
        match tables.flush() {
            Ok(()) => {
                if let Some(number) = pending.take() {
                    let _ = writer.send(Command::Flushed(number));
                }
                if std::mem::take(&mut failing) {
                    tracing::info!("tables are flushed again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "tables cannot be flushed; it is tried again");
                }
                continue;
            }
        }
        if let Err(error) = tables.merge() {
            tracing::warn!(%error, "tables cannot be merged");
        }
    }
}
