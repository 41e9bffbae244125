//! What the operator of a simulation does: evicts and lifts, revokes, rekeys, restores a backup.

use super::{GROUP, Simulation};
use crate::command::Command;
use crate::engine::Machine;
use crate::kdc::Restore;
use crate::testkit::ledger::Violation;
use crate::traits::storage::{CommitOutcome, Key, Txn};
use bytes::Bytes;

impl Simulation {
    /// Gives one command to a host.
    pub(super) fn operate(&mut self, host: usize) -> Result<(), Violation> {
        let chosen = self.index(self.clients.len());
        let what = self.draw(8);
        self.note("operate", chosen);
        let Some(client) = self.clients.get(chosen) else { return Ok(()) };
        let group = || GROUP.to_owned();
        let node = client.node().map(Into::into);
        let command = match (what, node) {
            (0..=2, Some(node)) => {
                self.summary.left = self.summary.left.saturating_add(1);
                Command::Evict { group: group(), node }
            }
            (3, Some(node)) => Command::Lift { group: group(), node },
            (4, _) => Command::Rekey(group()),
            _ => {
                let hash = client.token_hash();
                self.revoked.push(hash.clone());
                Command::Revoke(hash)
            }
        };
        let mut out = Vec::new();
        if let Some(target) = self.hosts.get_mut(host) {
            target.kdc.command(self.now, command, &mut self.rng, &mut out);
        }
        self.take(host, out)
    }

    /// Keeps a backup, or goes on from the one that was kept: all processes end, and what happened since is forgotten.
    pub(super) fn restore(&mut self) -> Result<(), Violation> {
        let Some(backup) = self.backup.take() else {
            self.backup = self.head().is_some().then(|| self.all()).transpose()?;
            return Ok(());
        };
        self.note("restore", backup.len());
        let mut restore = Restore::new(self.now.unix, self.random(), Some(self.revoked.clone()));
        let kept = backup.iter().map(|(key, value)| Ok((key.clone(), restore.record(key, value)?)));
        let mut write: Vec<(Key, Option<Bytes>)> = self.all()?.into_iter().map(|(key, _)| (key, None)).collect();
        write.extend(kept.collect::<Result<Vec<_>, crate::Corrupt>>().map_err(|_| Violation::Setup)?);
        write.extend(restore.finish().into_iter().map(|(key, value)| (key, Some(value))));
        // Of one key the last counts.
        let write = write.into_iter().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect();
        self.hosts.clear();
        if !matches!(self.store.commit(Txn { expect: Vec::new(), write }), CommitOutcome::Done(_)) {
            return Err(Violation::Setup);
        }
        self.ledger.restored();
        self.names.clear();
        self.clients.iter_mut().for_each(super::SimClient::forget_association);
        for _ in 0..self.options.hosts {
            let host = self.boot()?;
            self.hosts.push(host);
        }
        self.summary.restores = self.summary.restores.saturating_add(1);
        Ok(())
    }

    fn all(&mut self) -> Result<Vec<(Key, Bytes)>, Violation> {
        let all = self.store.scan(&Key::new(""), None, usize::MAX).map_err(|_| Violation::Setup)?;
        Ok(all.records.into_iter().map(|(key, record)| (key, record.value)).collect())
    }

    fn random(&mut self) -> [u8; 6] {
        let mut random = [0; 6];
        rand_core::Rng::fill_bytes(&mut self.rng, &mut random);
        random
    }
}
