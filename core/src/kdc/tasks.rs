//! What the KDC does of its own accord.

use super::{Event, KdcApp, Task};
use crate::engine::Outcome;
use crate::state::changes::Changes;
use crate::state::keys::{self, PrincipalId};
use crate::state::records::{Association, BelongsTo, Mark, Principal, RekeyReason};
use crate::view::{Stop, View};

/// How many sequence numbers are reserved at once.
const BLOCK: u64 = 1_024;

impl KdcApp {
    pub(super) fn run_task(&self, view: &View<'_>, task: &Task) -> Result<Outcome<Event>, Stop> {
        match task {
            Task::Found(gname) => self.found(view, gname),
            Task::Expire => self.sweep(view),
            Task::Revoke(hash) => self.revoke(view, hash),
            Task::Sequence(id) => self.sequence(view, id),
        }
    }

    fn revoke(&self, view: &View<'_>, hash: &[u8]) -> Result<Outcome<Event>, Stop> {
        let mut changes = Changes::new();
        changes.put(keys::revoked(hash), Mark);
        let Some(BelongsTo(id)) = view.get::<BelongsTo<PrincipalId>>(&keys::token(hash))? else {
            return Ok(Outcome::done_with(changes));
        };
        match view.get::<Principal>(&keys::principal(*id))? {
            Some(principal) if principal.token.hash.as_slice() == hash => {
                let gone = Event::Gone(principal.association.to_vec());
                self.end(view, *id, principal, RekeyReason::Revoked, &mut changes)?;
                Ok(Outcome::done_with(changes).with_event(gone))
            }
            _ => Ok(Outcome::done_with(changes)),
        }
    }

    fn sequence(&self, view: &View<'_>, id: &[u8]) -> Result<Outcome<Event>, Stop> {
        let key = keys::association(id);
        let Some(association) = view.get::<Association>(&key)? else { return Ok(Outcome::done()) };
        let mut association = association.clone();
        let start = association.sequence_limit;
        association.sequence_limit = start.saturating_add(BLOCK);
        let limit = association.sequence_limit;
        let mut changes = Changes::new();
        changes.put(key, association);
        Ok(Outcome::done_with(changes).with_event(Event::Sequence { id: id.to_vec(), start, limit }))
    }
}
