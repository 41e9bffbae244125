//! The store of a simulation, and what others do to it.

use super::{GROUP, Sabotage, Simulation};
use crate::Secret;
use crate::delivery::Delivered;
use crate::engine::{Answered, Completion, Effect};
use crate::keys::{self, GroupId};
use crate::record::RecordType;
use crate::records::{GroupSecret, Head, MemberRecord, NamedGroup, Principal, SenderIdRecord};
use crate::testkit::ledger::Violation;
use crate::time::UnixTime;
use crate::traits::crypto::{CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm, SigningKey};
use crate::traits::storage::{CommitOutcome, Key, Revision, StorageError, Txn};
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
    /// Another process evicts a member and rekeys the group, in one commit, as a later KDC will.
    pub(super) fn administer(&mut self) -> Result<(), Violation> {
        let Some(group) = self.group() else { return Ok(()) };
        let chosen = self.index(self.clients.len());
        let Some(client) = self.clients.get(chosen) else { return Ok(()) };
        let (member, head_key) = (keys::member(group, client.principal()), keys::head(group));
        let principal = keys::principal(client.principal());
        let read = self.store.read(&[member.clone(), head_key.clone(), principal.clone()]).unwrap_or_default();
        let Ok([Some(old_member), Some(old_head), Some(old_principal)]) = <[_; 3]>::try_from(read) else {
            return Ok(());
        };
        let decoded = (Head::decode(&old_head.value), Principal::decode(&old_principal.value));
        let (Ok(mut head), Ok(mut owner)) = decoded else { return Err(Violation::Setup) };
        let Ok(gone) = MemberRecord::decode(&old_member.value) else { return Err(Violation::Setup) };
        head.num = head.num.saturating_add(1);
        head.members = head.members.saturating_sub(1);
        head.held = head.held.saturating_sub(u64::from(gone.sender_id.is_some()));
        let going_back = self.options.sabotage == Sabotage::VersionGoesBack && head.num > 3;
        if going_back {
            head.num = 1;
        }
        owner.memberships.clear();
        let material = crate::Secret::new(vec![u8::try_from(head.num & 0xff).unwrap_or(0); 16]);
        let secret =
            GroupSecret { material, created: UnixTime::EPOCH, expires: UnixTime::new(u64::MAX), joined: Vec::new() };
        let mut write = vec![
            (member.clone(), None),
            (keys::secret(group, head.num), Some(secret.encode().into())),
            (head_key.clone(), Some(head.encode().into())),
            (principal.clone(), Some(owner.encode().into())),
        ];
        if let Some(id) = &gone.sender_id {
            let barred = SenderIdRecord { holder: None, epoch: head.epoch };
            write.push((keys::sender_id(group, id), Some(barred.encode().into())));
        }
        if let Some(thumbprint) = gone.claimed() {
            write.push((keys::credential(group, thumbprint), None));
        }
        let expect = vec![
            (member, Some(old_member.revision)),
            (head_key, Some(old_head.revision)),
            (principal, Some(old_principal.revision)),
        ];
        self.note("administer", chosen);
        self.happen(Txn { expect, write }).map(|_| ())
    }

    fn group(&mut self) -> Option<GroupId> {
        if self.group.is_none() {
            let record = self.store.read(&[keys::name(GROUP)]).ok()?.pop()??;
            self.group = NamedGroup::decode(&record.value).ok().map(|name| name.id);
        }
        self.group
    }

    pub(super) fn perform(&mut self, effect: Effect<AssociationNotice>) -> Result<Option<Completion>, Violation> {
        Ok(Some(match effect {
            Effect::Load(op, keys) => Completion::Loaded(op, self.store.read(&keys)),
            Effect::Scan(op, prefix, after, limit) => {
                Completion::Scanned(op, self.store.scan(&prefix, after.as_ref(), limit))
            }
            Effect::Crypto(op, jobs) => Completion::Crypto(op, StandIn.run(&jobs)),
            Effect::Ask(op, ..) => Completion::Answered(op, Answered::Failed),
            Effect::Commit(op, txn) => Completion::Committed(op, self.commit(txn)?),
            Effect::Deliver(op, _) => Completion::Delivered(op, Delivered::NotSent),
            Effect::Answer(..) | Effect::Report(..) | Effect::Notice(_) => return Ok(None),
        }))
    }

    /// A commit as a host sent it: it may fail, or end unknown.
    pub(super) fn commit(&mut self, mut txn: Txn) -> Result<CommitOutcome, Violation> {
        let is_head = |key: &Key| key.as_bytes().ends_with(b"/head");
        let unlucky = self.draw(50) == 0;
        match self.options.sabotage {
            Sabotage::ExpectNothing => txn.expect.clear(),
            Sabotage::ExpectHeadOnly => txn.expect.retain(|(key, _)| is_head(key)),
            Sabotage::CursorLost | Sabotage::IdentifiersLost => self.lose_identifiers(&mut txn),
            Sabotage::AcknowledgeBeforeCommit if unlucky => {
                self.next_revision = self.next_revision.saturating_add(1);
                return Ok(CommitOutcome::Done(Revision(self.next_revision)));
            }
            _ => (),
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

    /// Takes out of a commit what says which identifiers were given.
    fn lose_identifiers(&self, txn: &mut Txn) {
        if self.options.sabotage == Sabotage::IdentifiersLost {
            txn.write.retain(|(key, _)| !key.as_bytes().windows(5).any(|part| part == b"/sid/"));
        }
        for (key, value) in &mut txn.write {
            let head = value.as_ref().filter(|_| key.as_bytes().ends_with(b"/head"));
            if let Some(head) = head.and_then(|value| Head::decode(value).ok()) {
                *value = Some(Head { cursor: 0, ..head }.encode().into());
            }
        }
    }

    /// A commit happens; the ledger sees what it writes.
    fn happen(&mut self, txn: Txn) -> Result<CommitOutcome, Violation> {
        let written = txn.write.clone();
        let outcome = self.store.commit(txn);
        if matches!(outcome, CommitOutcome::Done(_)) {
            self.summary.commits = self.summary.commits.saturating_add(1);
            self.ledger.committed(&written)?;
        }
        Ok(outcome)
    }
}
