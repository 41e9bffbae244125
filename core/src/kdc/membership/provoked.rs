//! What one member makes others do: who leaves, joins again, or asks for another Sender ID or credential costs all of them. So
//! each may do it so often in an hour. The count outlives the membership, so that leaving does not begin it anew; and a leave is
//! counted, and never refused.

use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, GroupId, PrincipalId};
use crate::schema::records::{Provoked, ProvokedEnd};
use crate::time::UnixTime;
use std::time::Duration;

/// In which time it is counted.
const HOUR: Duration = Duration::from_secs(3_600);

impl Provoked {
    /// When the count is forgotten.
    pub(crate) const fn end(&self) -> UnixTime {
        self.since.plus(HOUR)
    }
}

impl KdcApp {
    /// What is counted of a client in this hour.
    fn provoked(&self, view: &View<'_>, group: GroupId, id: PrincipalId) -> Result<Option<Provoked>, Stop> {
        let now = view.now().unix;
        let known = view.assume_absent::<Provoked>(&keys::provoked(group, id))?.copied();
        Ok(known.filter(|known| (known.since..known.end()).contains(&now)))
    }

    /// Refuses a client that has done it too often in this hour.
    pub(in crate::kdc) fn check_provoked(&self, view: &View<'_>, group: GroupId, id: PrincipalId) -> Result<(), Stop> {
        let Some(known) = self.provoked(view, group, id)? else { return Ok(()) };
        if known.count < self.changes_per_hour {
            return Ok(());
        }
        let wait = u32::try_from(view.now().unix.until(known.end()).as_secs()).unwrap_or(u32::MAX);
        Err(Refusal::TooMany("the member leaves, joins or changes again and again", wait).into())
    }

    /// Counts once more. The event says when that is forgotten.
    pub(in crate::kdc) fn note_provoked(
        &self,
        view: &View<'_>,
        group: GroupId,
        id: PrincipalId,
        changes: &mut Changes,
    ) -> Result<Event, Stop> {
        let known = self.provoked(view, group, id)?;
        let Provoked { count, since } = known.unwrap_or(Provoked { count: 0, since: view.now().unix });
        let counted = Provoked { count: count.saturating_add(1), since };
        let at = counted.end();
        changes.put(keys::provoked(group, id), counted);
        changes.put(keys::provoked_end(at, group, id), ProvokedEnd { at, group, principal: id });
        Ok(Event::Expires(at))
    }

    /// Forgets the counts of hours that are over, unless later ones have taken their places.
    pub(in crate::kdc) fn forget_provoked(
        &self,
        view: &View<'_>,
        ends: &[ProvokedEnd],
        changes: &mut Changes,
    ) -> Result<(), Stop> {
        let key = |end: &ProvokedEnd| keys::provoked(end.group, end.principal);
        let counts: Vec<_> = ends.iter().map(|end| (end, view.get::<Provoked>(&key(end)))).collect();
        for (end, count) in counts {
            if count?.is_some_and(|count| count.end() == end.at) {
                changes.delete(key(end));
            }
            changes.delete(keys::provoked_end(end.at, end.group, end.principal));
        }
        Ok(())
    }
}
