//! The associations that a network side knows, for one that keeps no more of them than their keys.

use crate::driver::{Handle, Resolved};
use ace_groupcomm::AssociationId;
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// The associations of one transport profile, each with what its keys are derived from: for a server behind which TLS or something
/// else numbers messages and tells replays, e.g. HTTP.
///
/// The name of an association is no secret. Whoever calls under it has to show that it has the keys.
#[derive(Debug)]
pub struct AssociationTable {
    profile: i64,
    known: Mutex<HashMap<AssociationId, Resolved>>,
}

impl AssociationTable {
    /// Returns a table of a transport profile, by its number (`ace_profile`).
    #[must_use]
    pub fn new(profile: i64) -> Self {
        Self { profile, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<AssociationId, Resolved>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An association of the profile; one that is not known here is looked up by the engine, e.g. one of a former process.
    pub async fn find(&self, handle: &Handle, id: &AssociationId) -> Option<Resolved> {
        let known = self.known().get(id).cloned();
        match known {
            Some(known) => Some(known),
            None => handle.resolve(id).await.filter(|found| found.profile == self.profile),
        }
    }
}

impl Associations for AssociationTable {
    fn notice(&self, notice: AssociationNotice) {
        match notice {
            AssociationNotice::New { id, profile, material } if profile == self.profile => {
                self.known().insert(id, Resolved { profile, material, owned: true });
            }
            AssociationNotice::Loaded { id, profile, material, owned } if profile == self.profile => {
                self.known().insert(id, Resolved { profile, material, owned });
            }
            AssociationNotice::Gone { id } | AssociationNotice::Ended { id } | AssociationNotice::Lost { id } => {
                self.known().remove(&id);
            }
            _ => (),
        }
    }

    fn poll_needs(&self, _context: &mut Context<'_>) -> Poll<Vec<AssociationNeed>> {
        Poll::Pending
    }
}
