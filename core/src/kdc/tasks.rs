//! What the KDC does of its own accord.

use super::{Event, KdcApp, Task};
use crate::engine::Outcome;
use crate::state::changes::Changes;
use crate::state::keys::{self, PrincipalId};
use crate::state::records::{Association, BelongsTo, Expiry, Mark, Principal, RekeyReason};
use crate::view::{Stop, View};

/// How many sequence numbers are reserved at once.
const BLOCK: u64 = 1_024;

impl KdcApp {
    pub(super) fn run_task(&self, view: &View<'_>, task: &Task) -> Result<Outcome<Event>, Stop> {
        match task {
            Task::Start => {
                let expiries = view.list::<Expiry>(&keys::expiries(), &keys::meta())?;
                let expiries = expiries.into_iter().copied().collect();
                Ok(Outcome::done().with_event(Event::Expires(expiries)).with_event(Event::Started))
            }
            Task::Found(gname) => self.found(view, gname),
            Task::Expire(id) => self.expire(view, *id),
            Task::Revoke(hash) => self.revoke(view, hash),
            Task::Sequence(id) => self.sequence(view, id),
        }
    }

    fn expire(&self, view: &View<'_>, id: PrincipalId) -> Result<Outcome<Event>, Stop> {
        match view.get::<Principal>(&keys::principal(id))? {
            Some(principal) if principal.token.expires <= view.now().unix => {
                self.end(view, id, principal, RekeyReason::Expired, Changes::new())
            }
            // A later token has taken its place: it has a time of its own.
            Some(principal) => Ok(Outcome::done().with_event(self.expires(id, &principal.token))),
            None => Ok(Outcome::done()),
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
                self.end(view, *id, principal, RekeyReason::Revoked, changes)
            }
            _ => Ok(Outcome::done_with(changes)),
        }
    }

    /// Ends all that a token allowed: memberships, association, and what is known of the client.
    fn end(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        principal: &Principal,
        why: RekeyReason,
        mut changes: Changes,
    ) -> Result<Outcome<Event>, Stop> {
        for (_, group) in &principal.memberships {
            self.evict(view, id, *group, why, &mut changes)?;
        }
        changes.delete(keys::principal(id));
        changes.delete(keys::association(&principal.association));
        changes.delete(keys::token(&principal.token.hash));
        changes.delete(keys::expiry(principal.token.expires, id));
        Ok(Outcome::done_with(changes).with_event(Event::Gone(principal.association.to_vec())))
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
