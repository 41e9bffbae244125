//! What is broken on purpose, between an engine and its store.

use super::{Sabotage, Simulation};
use crate::keys;
use crate::record::RecordType;
use crate::records::{Head, RekeyDue};
use crate::schema::kind::Kind;
use crate::testkit::ledger::Violation;
use crate::traits::storage::{CommitOutcome, Key, Record, Revision, Txn};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What a sabotage keeps.
#[derive(Default)]
pub(super) struct Broken {
    revisions: u64,
    /// Commits that were acknowledged and have not happened.
    late: Vec<Txn>,
    /// Records of memberships that are gone, with the number of commits before that.
    ghosts: BTreeMap<Key, (u64, Record)>,
}

fn is_head(key: &Key) -> bool {
    matches!(Kind::of(key), Some(Kind::Head(_)))
}

fn head_in(write: &[(Key, Option<Bytes>)]) -> Option<Head> {
    let (_, value) = write.iter().find(|(key, _)| is_head(key))?;
    Head::decode(value.as_ref()?).ok()
}

/// Rewrites the head that a commit writes.
fn alter_head(txn: &mut Txn, alter: impl Fn(&mut Head)) {
    for (_, value) in txn.write.iter_mut().filter(|(key, _)| is_head(key)) {
        if let Some(mut head) = value.as_ref().and_then(|value| Head::decode(value).ok()) {
            alter(&mut head);
            *value = Some(head.encode().into());
        }
    }
}

impl Simulation {
    /// Breaks a commit on its way. Returns what the engine is told where the commit does not go on.
    pub(super) fn break_commit(&mut self, txn: &mut Txn) -> Result<Option<CommitOutcome>, Violation> {
        let unlucky = self.draw(50) == 0;
        match self.options.sabotage {
            Sabotage::ExpectNothing => txn.expect.clear(),
            Sabotage::ExpectHeadOnly => txn.expect.retain(|(key, _)| is_head(key)),
            Sabotage::CursorLost => alter_head(txn, |head| head.cursor = 0),
            Sabotage::IdentifiersLost => {
                txn.write.retain(|(key, _)| !matches!(Kind::of(key), Some(Kind::SenderId(..))));
                alter_head(txn, |head| head.cursor = 0);
            }
            Sabotage::VersionGoesBack => alter_head(txn, |head| head.num = if head.num > 3 { 1 } else { head.num }),
            Sabotage::SecretKept => {
                txn.write.retain(|(key, value)| value.is_some() || !matches!(Kind::of(key), Some(Kind::Secret(..))));
            }
            Sabotage::CauseHidden => self.hide_causes(txn),
            Sabotage::AcknowledgeBeforeCommit if unlucky => return Ok(Some(self.acknowledged())),
            Sabotage::ToldBeforeCommit if head_in(&txn.write).is_some_and(|head| self.ledger.is_new(head.num)) => {
                self.broken.late.push(std::mem::replace(txn, Txn { expect: Vec::new(), write: Vec::new() }));
                return Ok(Some(self.acknowledged()));
            }
            _ => (),
        }
        // What was acknowledged happens after all, a moment later.
        for late in std::mem::take(&mut self.broken.late) {
            self.happen(late)?;
        }
        Ok(None)
    }

    fn acknowledged(&mut self) -> CommitOutcome {
        self.broken.revisions = self.broken.revisions.saturating_add(1);
        CommitOutcome::Done(Revision(self.broken.revisions.saturating_add(1 << 40)))
    }

    /// Of several causes the last one stays.
    fn hide_causes(&mut self, txn: &mut Txn) {
        let Some(before) = self.head().and_then(|head| head.rekey_due) else { return };
        alter_head(txn, |head| {
            let Some(due) = &mut head.rekey_due else { return };
            let added: Vec<_> = due.reasons.difference(&before.reasons).copied().collect();
            if !added.is_empty() {
                *due = RekeyDue { reasons: added.into_iter().collect(), since: due.since };
            }
        });
    }

    /// Keeps for a moment what a commit removes of memberships.
    pub(super) fn keep_ghosts(&mut self, txn: &Txn) {
        if self.options.sabotage != Sabotage::MembershipBeforeHead {
            return;
        }
        let of_members =
            |key: &Key| matches!(Kind::of(key), Some(Kind::Member(..) | Kind::Control(..) | Kind::Principal(_)));
        let keys: Vec<Key> = txn.write.iter().map(|(key, _)| key.clone()).filter(of_members).collect();
        let before = self.store.read(&keys).unwrap_or_default();
        let commits = self.ledger.commits();
        for (key, record) in keys.into_iter().zip(before) {
            if let Some(record) = record {
                self.broken.ghosts.insert(key, (commits, record));
            }
        }
    }

    /// Breaks what a host reads.
    pub(super) fn break_read(&self, host: usize, keys: &[Key], found: &mut [Option<Record>]) {
        for (key, found) in keys.iter().zip(found) {
            match self.options.sabotage {
                Sabotage::MembershipBeforeHead => {
                    let ghost = self.broken.ghosts.get(key);
                    if let Some((at, ghost)) = ghost
                        && self.ledger.commits().saturating_sub(*at) < 12
                    {
                        *found = Some(ghost.clone());
                    }
                }
                Sabotage::NotResumed if is_head(key) => {
                    let since = self.hosts.get(host).map(|host| host.since.unix);
                    let Some(Record { value, .. }) = found else { continue };
                    let Ok(mut head) = Head::decode(value) else { continue };
                    if head.rekey_due.as_ref().is_some_and(|due| Some(due.since) < since) {
                        head.rekey_due = None;
                        *value = head.encode().into();
                    }
                }
                _ => (),
            }
        }
    }

    /// The group whose name the simulation has.
    pub(super) fn group(&mut self) -> Option<keys::GroupId> {
        if self.group.is_none() {
            let record = self.store.read(&[keys::name(super::GROUP)]).ok()?.pop()??;
            self.group = crate::records::NamedGroup::decode(&record.value).ok().map(|name| name.id);
        }
        self.group
    }
}
