//! What the KDC does of its own accord.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::token::exi::bar;
use crate::kdc::{Event, KdcApp, Task};
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{BelongsTo, Principal, RekeyReason, Revoked};
use crate::traits::transport::AssociationNeed;

impl KdcApp {
    pub(super) fn run_task(&self, view: &View<'_>, task: &Task) -> Result<Outcome<Event>, Stop> {
        match task {
            Task::Enter => self.enter(view),
            Task::Compare => self.compare(view),
            Task::Issuers(step) => self.issuers(view, step),
            Task::Create(gname) => self.create(view, gname),
            Task::Expire => self.sweep(view),
            Task::Revoke(hash) => self.revoke(view, hash),
            Task::Association(AssociationNeed::Sequence(id)) => self.sequence(view, id),
            Task::Association(AssociationNeed::Challenge(id)) => self.challenge_numbers(view, id),
            Task::Association(AssociationNeed::Unknown(id)) => self.load(view, id),
            Task::Association(AssociationNeed::Claim(id)) => self.claim(view, id),
            Task::Association(AssociationNeed::Unobserved(id, registration)) => self.unobserve(view, id, registration),
        }
    }

    fn revoke(&self, view: &View<'_>, hash: &[u8]) -> Result<Outcome<Event>, Stop> {
        let (known, token) =
            (view.get::<Revoked>(&keys::revoked(hash)), view.get::<BelongsTo<PrincipalId>>(&keys::token(hash)));
        let (known, token) = (known?, token?);
        let mut changes = Changes::new();
        let Some(BelongsTo(id)) = token else {
            // Nobody knows when it ends. What was noted when somebody did stays.
            if known.is_none() {
                changes.put(keys::revoked(hash), Revoked { until: None });
            }
            return Ok(Outcome::done_with(changes));
        };
        match view.get::<Principal>(&keys::principal(*id))? {
            Some(principal) if principal.token.hash.as_slice() == hash => {
                let mut events = vec![Event::Ended(principal.association.to_vec())];
                events.extend(bar(&principal.token, &mut changes));
                events.extend(self.end(view, *id, principal, RekeyReason::Revoked, &mut changes)?);
                Ok(events.into_iter().fold(Outcome::done_with(changes), Outcome::with_event))
            }
            _ => {
                changes.put(keys::revoked(hash), Revoked { until: None });
                Ok(Outcome::done_with(changes))
            }
        }
    }
}
