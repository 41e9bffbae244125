//! What surrounds the engines of a simulation: their store, and cryptography.

use super::Simulation;
use crate::Secret;
use crate::engine::{Answered, Completion, Effect};
use crate::testkit::ledger::Violation;
use crate::traits::crypto::{CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm, SigningKey};
use crate::traits::storage::{CommitOutcome, StorageError, Txn};
use crate::traits::transport::AssociationNotice;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Stands in for a signature, at the price of a hash.
pub(super) fn stand_in(public: &[u8], message: &[u8]) -> Vec<u8> {
    let half = Sha256::new().chain_update(public).chain_update(message).finalize();
    [half, half].concat()
}

/// Stands in for cryptography: a signature is a hash of public key and message, and the public key that of the secret. Each key
/// is sound, as far as a profile can tell.
pub(super) struct StandIn;

struct StandInKey([u8; 32]);

impl SigningKey for StandInKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::Ed25519
    }

    fn public(&self) -> &[u8] {
        &self.0
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(stand_in(&self.0, message))
    }
}

impl CryptoProvider for StandIn {
    fn signing_key(&self, _algorithm: SignatureAlgorithm, secret: &Secret) -> Option<Arc<dyn SigningKey>> {
        let mut public: [u8; 32] = Sha256::digest(secret.expose()).into();
        if let Some(last) = public.last_mut() {
            // Below 2^254, so that it is a canonical encoding.
            *last &= 0x3f;
        }
        Some(Arc::new(StandInKey(public)))
    }

    fn run(&self, jobs: &[CryptoJob]) -> Vec<CryptoOutput> {
        jobs.iter().map(work).collect()
    }
}

fn work(job: &CryptoJob) -> CryptoOutput {
    match job {
        CryptoJob::Verify { key, message, signature, .. } => {
            CryptoOutput::Verified(*signature == stand_in(key, message))
        }
        CryptoJob::Sign { key, message } => CryptoOutput::Signature(stand_in(key.public(), message)),
        CryptoJob::Mac { .. } | CryptoJob::VerifyMac { .. } => CryptoOutput::Failed,
    }
}

impl Simulation {
    pub(super) fn perform(
        &mut self,
        host: usize,
        effect: Effect<AssociationNotice>,
    ) -> Result<Option<Completion>, Violation> {
        Ok(Some(match effect {
            Effect::Load(op, keys) => {
                let mut found = self.store.read(&keys);
                if let Ok(found) = &mut found {
                    self.break_read(host, &keys, found);
                }
                Completion::Loaded(op, found)
            }
            Effect::Scan(op, prefix, after, limit) => {
                Completion::Scanned(op, self.store.scan(&prefix, after.as_ref(), limit))
            }
            Effect::Crypto(op, jobs) => Completion::Crypto(op, StandIn.run(&jobs)),
            Effect::Ask(op, ..) => Completion::Answered(op, Answered::Failed),
            Effect::Commit(op, txn) => Completion::Committed(op, self.commit(txn)?),
            Effect::Deliver(op, delivery) => Completion::Delivered(op, self.deliver(&delivery)?),
            Effect::Answer(..) | Effect::Report(..) | Effect::Notice(_) => return Ok(None),
        }))
    }

    /// A commit as a host sent it: it may fail, or end unknown.
    pub(super) fn commit(&mut self, mut txn: Txn) -> Result<CommitOutcome, Violation> {
        if let Some(outcome) = self.break_commit(&mut txn)? {
            return Ok(outcome);
        }
        if self.draw(1_000) >= self.options.faults {
            return self.happen(txn);
        }
        let away = || StorageError::Unavailable("simulated".into());
        match self.draw(3) {
            0 => Ok(CommitOutcome::NotDone(away())),
            1 => Ok(CommitOutcome::Unknown(away())),
            _ => match self.happen(txn)? {
                conflict @ CommitOutcome::Conflict(_) => Ok(conflict),
                _ => Ok(CommitOutcome::Unknown(away())),
            },
        }
    }

    /// A commit happens; the ledger sees what it writes.
    pub(super) fn happen(&mut self, txn: Txn) -> Result<CommitOutcome, Violation> {
        let written = txn.write.clone();
        self.keep_ghosts(&txn);
        let outcome = self.store.commit(txn);
        if matches!(outcome, CommitOutcome::Done(_)) {
            self.summary.commits = self.summary.commits.saturating_add(1);
            self.ledger.committed(&written)?;
        }
        Ok(outcome)
    }
}
