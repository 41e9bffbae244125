//! Memberships that have ended with their tokens, and that their groups have to be rid of.
//!
//! What ends a token ends all that it allowed: from that commit on nobody is a member by it. But it does not touch the heads of the groups:
//! one commit over many heads that joins change all the time would be refused again and again. It leaves a [`Leaving`] record for
//! each membership. Then each group puts them out in its own turn, a page with one write of its head and one rekeying. What
//! a crash has left is read at a start, and whenever a group is looked at.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::{Event, KdcApp};
use crate::schema::keys::{self, GroupId, PrincipalId};
use crate::schema::kind::Kind;
use crate::schema::records::{Leaving, Principal, RekeyReason};
use crate::traits::storage::Key;
use std::collections::BTreeMap;

/// How many memberships end in one commit.
const PAGE: usize = 64;

impl KdcApp {
    /// Notes that a membership has ended with its token, and tells the member, where it is to be told.
    pub(in crate::kdc) fn note_leaving(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        client: &Principal,
        (gname, group): &(String, GroupId),
        why: RekeyReason,
        changes: &mut Changes,
    ) -> Result<Vec<Event>, Stop> {
        let mut events = self.tell_evicted(view, id, client, (gname, *group), ends_associations(why))?;
        let (issuer, subject) = (client.issuer.clone(), client.subject.clone());
        changes.put(keys::leaving(*group, id), Leaving { gname: gname.clone(), why, issuer, subject });
        events.push(Event::Leaving { gname: gname.clone(), group: *group });
        Ok(events)
    }

    /// Puts a page of those out of a group whose memberships have ended.
    pub(in crate::kdc) fn put_out_leaving(&self, view: &View<'_>, group: GroupId) -> Result<Outcome<Event>, Stop> {
        let (page, more) = view.hint_after::<Leaving>(&keys::leaving_of(group), None, PAGE)?;
        let of_page = page.iter().filter_map(|(key, _)| Some((key, client_in(key)?)));
        let read: Vec<_> = of_page.map(|(key, id)| (key, id, view.get::<Leaving>(key))).collect();
        let mut changes = Changes::new();
        let mut ended = Vec::new();
        for (key, id, leaving) in read {
            // Another process may have been faster.
            let Some(Leaving { gname, why, issuer, subject }) = leaving?.cloned() else { continue };
            let client = Principal { issuer, subject, tokens: Vec::new(), memberships: Vec::new() };
            ended.push(self.evict(view, id, &client, &(gname, group), why, &mut changes));
            changes.delete(key.clone());
        }
        // All are tried before the first that is not known yet ends the run: what they need comes at once.
        let events: Vec<_> = ended.into_iter().collect::<Result<Vec<_>, Stop>>()?;
        let again =
            more.and_then(|_| page.first()).map(|(_, first)| Event::Leaving { gname: first.gname.clone(), group });
        Ok(events.into_iter().flatten().chain(again).fold(Outcome::done_with(changes), Outcome::with_event))
    }

    /// Finds the groups of which a former process has left some.
    pub(in crate::kdc) fn find_leaving(&self, view: &View<'_>, after: Option<&Key>) -> Result<Outcome<Event>, Stop> {
        let (page, more) = view.hint_after::<Leaving>(&keys::all_leaving(), after, PAGE)?;
        let of_group = |(key, leaving): &(Key, Leaving)| match Kind::of(key) {
            Some(Kind::Leaving(group, _)) => Some((group, leaving.gname.clone())),
            _ => None,
        };
        let groups: BTreeMap<GroupId, String> = page.iter().filter_map(of_group).collect();
        let events = groups.into_iter().map(|(group, gname)| Event::Leaving { gname, group });
        let more = more.map(|last| Event::FindsLeaving { after: Some(last) });
        Ok(events.chain(more).fold(Outcome::done(), Outcome::with_event))
    }

    /// Whether a group has some to be rid of.
    pub(in crate::kdc) fn has_leaving(&self, view: &View<'_>, group: GroupId) -> Result<bool, Stop> {
        Ok(!view.hint_keys(&keys::leaving_of(group), 1)?.is_empty())
    }
}

fn client_in(key: &Key) -> Option<PrincipalId> {
    match Kind::of(key) {
        Some(Kind::Leaving(_, client)) => Some(client),
        _ => None,
    }
}

/// Whether the association of a token has ended with it a moment ago, so that its client is told under one that is kept for that.
const fn ends_associations(why: RekeyReason) -> bool {
    matches!(why, RekeyReason::Revoked | RekeyReason::Distrusted)
}
