//! A group is deleted: one commit ends it, and what is stored of it goes afterwards, page by page. Its name keeps a record of
//! when, and its Gids are never given again.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::event::Absence;
use crate::kdc::{Event, KdcApp};
use crate::schema::keys::{self, GroupId, PrincipalId};
use crate::schema::kind::Kind;
use crate::schema::records::{Ban, Deletion, Head, NameState, NamedGroup, Principal};
use crate::time::UnixTime;
use crate::traits::transport::AssociationNotice;
use ace_groupcomm_messages::paths::ROOT;

/// How many records go in one commit.
const PAGE: usize = 64;

/// Ends a group. From this commit on nobody is a member of it, whatever is stored still.
pub(in crate::kdc) fn delete(gname: &str, group: GroupId, head: &Head, at: UnixTime) -> (Changes, Event) {
    let mut changes = Changes::new();
    changes.put(keys::name(gname), NamedGroup { id: group, state: NameState::Deleted(at) });
    changes.put(keys::head(group), Head { deleted: Some(at), rekey_due: None, ..head.clone() });
    changes.put(keys::deletion(group), Deletion { group, gname: gname.into(), at });
    // The secret goes at once: no page has to be waited for.
    changes.delete(keys::secret(group, head.num));
    (changes, Event::Deleted { gname: gname.into(), group })
}

impl KdcApp {
    /// Removes a page of what is stored of a group that was deleted. Its head goes last.
    pub(in crate::kdc) fn clear(&self, view: &View<'_>, group: GroupId) -> Result<Outcome<Event>, Stop> {
        let (deletion, records, bans) = (
            view.get::<Deletion>(&keys::deletion(group)),
            view.hint_keys(&keys::of_group(group), PAGE),
            view.hint_after::<Ban>(&keys::bans(group), None, PAGE),
        );
        let (deletion, records, (bans, _)) = (deletion?, records?, bans?);
        // Another process may have been faster.
        if deletion.is_none() {
            return Ok(Outcome::done());
        }
        let mut changes = Changes::new();
        let left: Vec<_> = records.into_iter().filter(|key| *key != keys::head(group)).collect();
        if left.is_empty() && bans.is_empty() {
            changes.delete(keys::head(group));
            changes.delete(keys::deletion(group));
            return Ok(Outcome::done_with(changes));
        }
        let takers = left.iter().filter_map(|key| match Kind::of(key) {
            Some(Kind::Control(_, client)) => Some(client),
            _ => None,
        });
        let told: Vec<_> = takers.map(|client| self.tell_deleted(view, client, group)).collect();
        let members = left.iter().filter_map(|key| match Kind::of(key) {
            Some(Kind::Member(_, client)) => Some(client),
            _ => None,
        });
        let forgotten: Vec<_> = members.map(|client| forget_membership(view, client, group, &mut changes)).collect();
        let told: Vec<Event> = told.into_iter().collect::<Result<Vec<_>, Stop>>()?.into_iter().flatten().collect();
        forgotten.into_iter().collect::<Result<(), Stop>>()?;
        left.into_iter().for_each(|key| changes.delete(key));
        for (key, ban) in bans {
            let client = match Kind::of(&key) {
                Some(Kind::Ban(_, client)) => client,
                _ => continue,
            };
            changes.delete(keys::ban_end(ban.until, group, client));
            changes.delete(key);
        }
        Ok(told.into_iter().fold(Outcome::done_with(changes).with_event(Event::Clears(group)), Outcome::with_event))
    }

    /// Whoever observes something of the group is told that it is gone.
    pub(in crate::kdc) fn note_deleted(&mut self, gname: &str, group: GroupId, out: &mut Vec<AssociationNotice>) {
        self.groups.forget(gname);
        self.lives.end(gname);
        self.rekeyings.forget(gname);
        self.looks.end(gname);
        self.heads.end(gname);
        self.bodies.forget(group);
        self.deliveries.end(gname);
        self.start.todo(crate::kdc::Task::Clear(group));
        out.push(AssociationNotice::ChangedBelow { path: [ROOT, gname].map(Into::into).to_vec() });
    }

    pub(in crate::kdc) fn note_absent(&mut self, gname: &str, why: Absence) {
        self.missing.remove(gname);
        match why {
            Absence::Deleted => {
                tracing::warn!(group = gname, "the group was deleted: its configuration does not bring it back");
            }
            Absence::Unknown => {
                tracing::error!(
                    group = gname,
                    "the group is stored, and not served: its configuration is not known here"
                );
            }
        }
    }
}

fn forget_membership(view: &View<'_>, client: PrincipalId, group: GroupId, changes: &mut Changes) -> Result<(), Stop> {
    let Some(principal) = view.get::<Principal>(&keys::principal(client))? else { return Ok(()) };
    let mut principal = principal.clone();
    principal.memberships.retain(|(_, id)| *id != group);
    changes.put(keys::principal(client), principal);
    Ok(())
}
