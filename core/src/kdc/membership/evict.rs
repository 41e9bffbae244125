//! A membership ends (RFC 9594 section 5). That the group has to be rekeyed stands in the same commit.

use crate::Roles;
use crate::audit::Entry;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::SenderId;
use crate::kdc::resource::own::calling_member;
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, GroupId, PrincipalId};
use crate::schema::records::{Head, Mark, MemberRecord, Principal, RekeyReason, SenderIdRecord};

impl KdcApp {
    /// Whether roles that are granted cover those that a member has.
    pub(in crate::kdc) fn still_covers(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        group: GroupId,
        granted: Option<Roles>,
    ) -> Result<bool, Stop> {
        let member = view.get::<MemberRecord>(&keys::member(group, id))?;
        let (Some(granted), Some(member)) = (granted, member) else { return Ok(false) };
        Ok(granted.includes(Roles(member.roles)))
    }

    /// Ends a membership. The caller takes the group out of the principal's own record, and tells the member. Returns what others are told.
    pub(in crate::kdc) fn evict(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        client: &Principal,
        (gname, group): &(String, GroupId),
        why: RekeyReason,
        changes: &mut Changes,
    ) -> Result<Vec<Event>, Stop> {
        let group = *group;
        let (head, member) = (view.get::<Head>(&keys::head(group)), view.get::<MemberRecord>(&keys::member(group, id)));
        let (head, member) = (head?, member?);
        let Some(member) = member else { return Ok(Vec::new()) };
        let head = changes.latest(&keys::head(group)).or(head);
        let mut head = head.ok_or(Refusal::Internal("a group has members and no head"))?.clone();
        changes.delete(keys::member(group, id));
        if member.control_uri.is_some() {
            changes.delete(keys::control(group, id));
        }
        if head.deleted.is_some() {
            // All that is stored of the group goes.
            return Ok(Vec::new());
        }
        let mut events = Vec::new();
        // Where this program cannot serve the group, the membership ends all the same.
        match self.group(view, gname) {
            Ok(Some(live)) => {
                changes.put_own(group, live.group.rules.leaves(calling_member(member)));
                let delay = live.group.policy.delay;
                events.push(Event::RekeyDue { gname: gname.clone(), delay, why: None });
            }
            Ok(None) | Err(Stop::Refuse(_)) => (),
            Err(not_yet) => return Err(not_yet),
        }
        if let Some(thumbprint) = member.claimed() {
            changes.delete(keys::credential(group, thumbprint));
        }
        if let Some(sender_id) = &member.sender_id {
            give_up(group, &mut head, sender_id, changes);
        }
        head.members = head.members.saturating_sub(1);
        head.note_due(why, view.arrived().unix);
        changes.put(keys::head(group), head);
        events.push(Event::Audit(Entry::of_member("membership ended", gname, client, member).because(why)));
        Ok(events)
    }
}

/// A Sender ID goes stale: it is not given again while this Gid is in use.
pub(in crate::kdc) fn give_up(group: GroupId, head: &mut Head, sender_id: &SenderId, changes: &mut Changes) {
    head.held = head.held.saturating_sub(1);
    changes.put(keys::sender_id(group, sender_id), SenderIdRecord { holder: None, epoch: head.epoch });
    changes.put(keys::stale(group, head.num, sender_id), Mark);
}
