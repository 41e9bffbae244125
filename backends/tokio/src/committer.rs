//! All transactions that wait go out in one commit, with one durability barrier.

use ace_groupcomm::engine::{Completion, OpId};
use ace_groupcomm::traits::storage::{CommitOutcome, Storage, StorageError, Txn};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Transactions in one commit at most.
const BATCH: usize = 256;

/// Commits what comes, until nobody can send any more.
pub(crate) async fn run(
    storage: Arc<dyn Storage>,
    mut incoming: UnboundedReceiver<(OpId, Txn)>,
    done: UnboundedSender<Completion>,
) {
    let mut waiting = Vec::with_capacity(BATCH);
    while incoming.recv_many(&mut waiting, BATCH).await > 0 {
        let (ops, txns): (Vec<OpId>, Vec<Txn>) = waiting.drain(..).unzip();
        let outcomes = storage.commit(txns).await;
        // A backend that answers too few verdicts has broken its contract: nobody knows what happened.
        let broken = || CommitOutcome::Unknown(StorageError::Unavailable("a verdict is missing".into()));
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(broken));
        for (op, outcome) in ops.into_iter().zip(outcomes) {
            if done.send(Completion::Committed(op, outcome)).is_err() {
                return;
            }
        }
    }
}
