//! /ace-group/GROUPNAME/nodes/NODENAME: a member's own resource (RFC 9594 section 4.8, Group OSCORE profile sections 9.1.2, 9.2
//! and 9.10).

use crate::audit::Entry;
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::kdc::membership::evict::give_up;
use crate::kdc::membership::sender_id::{self as ids, Allocated};
use crate::kdc::resource::join::{due, look_further};
use crate::kdc::route::Answer;
use crate::kdc::scene::{GroupState, MemberScene, Scene};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::request::{Response, Status};
use crate::schema::keys;
use crate::schema::records::{MemberRecord, Meta, RekeyReason};
use crate::traits::profile::{KeyAudience, Roles};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::paths::ROOT;
use ace_groupcomm_messages::{GroupcommError, RawCbor};

impl KdcApp {
    /// GET: the group's and the member's own keying material.
    pub(in crate::kdc) fn get_node(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        let sender_id = member.member.sender_id.as_ref();
        self.keys_of_version(scene, member, KeyAudience::Node { roles: Roles(member.member.roles), sender_id })
    }

    /// POST: another Sender ID. Where the group is to be rekeyed soon it is rekeyed now, and the member keeps its Sender ID: under
    /// the new Gid that is as good as another.
    pub(in crate::kdc) fn renew_node(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        let (view, authorised, group) = (scene.view, member.authorised, member.group);
        let rules = &authorised.group.rules;
        empty(scene)?;
        if !group.head.active {
            return Err(Refusal::Groupcomm(GroupcommError::GroupInactive).into());
        }
        let Some(former) = &member.member.sender_id else {
            return Err(Refusal::Groupcomm(GroupcommError::InconsistentWithRoles).into());
        };
        if rules.individual(former).is_none() {
            return Err(Refusal::MethodNotAllowed.into());
        }
        self.check_provoked(view, group.id, authorised.holder.id)?;
        if group.head.rekey_due.is_some() {
            return self.rekey_now(scene, member);
        }
        let mut head = group.head.clone();
        let sender_id = match ids::allocate(view, group.id, &mut head, &rules.identifier_len(), &[])? {
            Allocated::Id(id) => id,
            Allocated::NotYet => return Ok(look_further(group, &head)),
            Allocated::None => return Ok(self.used_up(view, authorised, group)),
        };
        let mut changes = Changes::new();
        let mut events = vec![self.note_provoked(view, group.id, authorised.holder.id, &mut changes)?];
        give_up(group.id, &mut head, former, &mut changes);
        ids::take(group.id, &mut head, authorised.holder.id, &sender_id, &mut changes);
        if ids::note_scarce(&mut head, &rules.identifier_len(), view.arrived().unix) {
            events.push(due(authorised));
        }
        let (label, value) = rules.individual(&sender_id).ok_or(Refusal::Internal("a Sender ID cannot be told"))?;
        let renewed = MemberRecord { sender_id: Some(sender_id), ..member.member.clone() };
        let entry =
            Entry::of_member("Sender ID changed", &authorised.group.gname, authorised.holder.principal, &renewed);
        events.extend([Event::Audit(entry), Event::Changed(scene.request.path.clone())]);
        changes.put(keys::head(group.id), head);
        changes.put(keys::member(group.id, authorised.holder.id), renewed);
        let broken = Refusal::Internal("a Sender ID cannot be told");
        let answer = with_format(RawCbor::map(&[(label, value)]).ok_or(broken)?.as_bytes().to_vec());
        Ok(events.into_iter().fold(Outcome::changed(answer, changes), Outcome::with_event))
    }

    /// Rekeys the group for what is due, and answers with the rekeying message.
    fn rekey_now(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        let (view, authorised, group) = (scene.view, member.authorised, member.group);
        let meta = view.get::<Meta>(&keys::meta())?.copied().unwrap_or_default();
        let reasons = group.head.rekey_due.as_ref().map(|due| due.reasons.clone()).unwrap_or_default();
        let mut rekeyed = self.begin_rekeying(view, &authorised.group, group.id, group.head, meta, &reasons)?;
        let state = GroupState { id: group.id, head: &rekeyed.head };
        // Where the parameters have changed once the member may not know them yet: then it gets all that is its own.
        let audience = if authorised.group.since.is_some() {
            KeyAudience::Node { roles: Roles(member.member.roles), sender_id: member.member.sender_id.as_ref() }
        } else {
            KeyAudience::Rekeying
        };
        let message = self.rekeying_message(view, &authorised.group, &state, &rekeyed.secret, audience)?;
        let counted = self.note_provoked(view, group.id, authorised.holder.id, &mut rekeyed.changes)?;
        let answer = with_format(message.encode());
        let outcome = Outcome::changed(answer, rekeyed.changes).with_event(counted);
        Ok(rekeyed.events.into_iter().fold(outcome, Outcome::with_event))
    }

    /// DELETE: the member leaves. Its token stays, so that it may join again.
    pub(in crate::kdc) fn leave(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        let (view, authorised) = (scene.view, member.authorised);
        empty(scene)?;
        let (id, gname) = (authorised.holder.id, &authorised.group.gname);
        let membership = (gname.clone(), member.group.id);
        let mut changes = Changes::new();
        let mut principal = authorised.holder.principal.clone();
        let told = self.evict(view, id, &principal, &membership, RekeyReason::Left, &mut changes);
        let counted = self.note_provoked(view, member.group.id, id, &mut changes);
        let mut events = told?;
        events.push(counted?);
        principal.memberships.retain(|known| *known != membership);
        // What it observes ends without a word: it has said itself that it goes.
        let path: Vec<String> = [ROOT, gname].map(Into::into).to_vec();
        let associations = principal.tokens.iter().map(|held| held.association.clone());
        events.extend(associations.map(|id| Event::Unobserved { id, path: path.clone() }));
        changes.put(keys::principal(id), principal);
        let outcome = Outcome::changed(Response::new(Status::Deleted), changes);
        Ok(events.into_iter().fold(outcome, Outcome::with_event))
    }
}

/// The answer 2.05 with this payload, for what changes something too.
fn with_format(payload: Vec<u8>) -> Response {
    Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, payload)
}

/// Refuses a payload where there is to be none.
fn empty(scene: &Scene<'_, '_>) -> Result<(), Refusal> {
    if scene.request.payload.is_empty() { Ok(()) } else { Err(Refusal::BadRequest("the request has a payload")) }
}
