//! What stands between the KDC and its storage, and its network: it can keep answers back, and break things.

use crate::say::say;
use ace_groupcomm::RecordType;
use ace_groupcomm::records::Head;
use ace_groupcomm::traits::storage::{
    CommitOutcome, Key, Page, Record, Revision, Sharing, Snapshot, Storage, StorageError, Txn,
};
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use ace_profile_oscore::OscoreServer;
use async_trait::async_trait;
use clap::ValueEnum;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// Commits are acknowledged a moment before they are made.
    AnswerFirst,
    /// Which identifiers were given is not written down.
    CursorLost,
    /// That a rekeying is due is not written down.
    DueLost,
    /// The replay window counts as kept across a restart: nobody is asked for an Echo.
    WindowKept,
    /// Each process takes associations for its own.
    SecondOwner,
}

impl std::fmt::Display for Sabotage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("none", clap::builder::PossibleValue::get_name))
    }
}

/// Storage between the KDC and the real one.
pub(super) struct Tampered {
    inner: Arc<dyn Storage>,
    sabotage: Sabotage,
    /// The next commit is made, and not answered.
    hold: Arc<AtomicBool>,
    invented: AtomicU64,
}

impl Tampered {
    pub(super) fn new(inner: Arc<dyn Storage>, sabotage: Sabotage) -> Self {
        Self { inner, sabotage, hold: Arc::default(), invented: AtomicU64::new(1 << 50) }
    }

    pub(super) fn hold(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.hold)
    }
}

/// Rewrites the heads of groups in a transaction.
fn alter_heads(txn: &mut Txn, alter: impl Fn(Head) -> Head) {
    for (key, value) in &mut txn.write {
        let head = value.as_ref().filter(|_| key.as_bytes().ends_with(b"/head"));
        if let Some(head) = head.and_then(|value| Head::decode(value).ok()) {
            *value = Some(alter(head).encode().into());
        }
    }
}

/// Takes out of a transaction what says which identifiers were given.
fn lose_identifiers(txn: &mut Txn) {
    txn.write.retain(|(key, _)| !key.as_bytes().windows(5).any(|part| part == b"/sid/"));
    alter_heads(txn, |head| Head { cursor: 0, ..head });
}

/// Takes out of a transaction that a group has to be rekeyed.
fn lose_due(txn: &mut Txn) {
    alter_heads(txn, |head| Head { rekey_due: None, ..head });
}

#[async_trait]
impl Storage for Tampered {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        self.inner.read(keys).await
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.inner.scan(prefix, after, limit).await
    }

    async fn commit(&self, mut txns: Vec<Txn>) -> Vec<CommitOutcome> {
        match self.sabotage {
            Sabotage::CursorLost => txns.iter_mut().for_each(lose_identifiers),
            Sabotage::DueLost => txns.iter_mut().for_each(lose_due),
            Sabotage::AnswerFirst => {
                // What rests on these revisions is never refused for it: the first commit is all that counts here.
                txns.iter_mut().for_each(|txn| txn.expect.clear());
                let outcome = |_: &Txn| CommitOutcome::Done(Revision(self.invented.fetch_add(1, Ordering::SeqCst)));
                let outcomes = txns.iter().map(outcome).collect();
                let inner = Arc::clone(&self.inner);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    inner.commit(txns).await
                });
                self.keep_back().await;
                return outcomes;
            }
            Sabotage::None | Sabotage::WindowKept | Sabotage::SecondOwner => (),
        }
        let outcomes = self.inner.commit(txns).await;
        self.keep_back().await;
        outcomes
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.inner.snapshot().await
    }

    fn sharing(&self) -> Sharing {
        self.inner.sharing()
    }
}

impl Tampered {
    /// Where that was ordered, nobody hears of this commit any more.
    async fn keep_back(&self) {
        if self.hold.swap(false, Ordering::SeqCst) {
            let _ = say("held");
            std::future::pending::<()>().await;
        }
    }
}

/// What stands between the engine and the table of associations.
pub(super) fn between(sabotage: Sabotage) -> fn(Arc<OscoreServer>) -> Arc<dyn Associations> {
    match sabotage {
        Sabotage::WindowKept => |table| Arc::new(Windows(table)),
        _ => |table| table,
    }
}

/// Tells the table that restored associations are new ones.
struct Windows(Arc<OscoreServer>);

impl Associations for Windows {
    fn notice(&self, notice: AssociationNotice) {
        match notice {
            AssociationNotice::Loaded { id, profile, material, .. } => {
                // What was looked up has to be settled as well.
                self.0.notice(AssociationNotice::Gone { id: id.clone() });
                self.0.notice(AssociationNotice::New { id, profile, material });
            }
            other => self.0.notice(other),
        }
    }

    fn poll_needs(&self, context: &mut Context<'_>) -> Poll<Vec<AssociationNeed>> {
        self.0.poll_needs(context)
    }
}
