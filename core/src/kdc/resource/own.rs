//! Resources that an application profile adds under a group.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::route::{Answer, settle_formats};
use crate::kdc::scene::{Authorised, Scene};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::request::{Method, Response, Status};
use crate::schema::keys;
use crate::schema::records::{Head, MemberRecord, RekeyReason};
use crate::traits::profile::{
    CallingMember, GroupKeying, GroupState, OwnRecords, ProfileOutcome, ProfileRequest, ProfileRoute, ProfileWho, Roles,
};
use crate::traits::storage::Sharing;
use ace_groupcomm_messages::GroupcommError;
use ace_groupcomm_messages::paths::{ACTIVE, ROOT};

/// Whether a route has this path under the group.
fn is_at(route: &ProfileRoute, name: &str, below: Option<&str>) -> bool {
    route.name == name && route.is_below == below.is_some()
}

/// A membership, as a profile sees it.
pub(in crate::kdc) fn calling_member(member: &MemberRecord) -> CallingMember<'_> {
    CallingMember { node: &member.node, roles: Roles(member.roles), sender_id: member.sender_id.as_ref() }
}

/// A group, as a profile sees it.
pub(in crate::kdc) const fn shown(head: &Head) -> GroupState<'_> {
    GroupState { active: head.active, num: head.num, gid: &head.gid }
}

impl KdcApp {
    /// Whether a resource of a profile's own may be observed.
    pub(in crate::kdc) fn is_own_observable(
        &self,
        view: &View<'_>,
        gname: &str,
        name: &str,
        below: Option<&str>,
    ) -> Result<bool, Stop> {
        // A change of anything else that another process makes would be nobody's news.
        if self.sharing == Sharing::Shared && (name, below) != (ACTIVE, None) {
            return Ok(false);
        }
        let group = self.group(view, gname)?;
        let of_group = group.as_ref().map_or(&[][..], |live| live.group.rules.routes());
        let is_it = |route: &ProfileRoute| is_at(route, name, below) && route.method == Method::Get;
        Ok(of_group.iter().any(|route| is_it(route) && route.is_observable))
    }

    pub(in crate::kdc) fn own(
        &self,
        scene: &Scene<'_, '_>,
        authorised: &Authorised<'_>,
        name: &str,
        below: Option<&str>,
    ) -> Answer {
        let rules = &authorised.group.rules;
        let here = || rules.routes().iter().filter(|route| is_at(route, name, below));
        let route = here().find(|route| route.method == scene.request.method);
        let group = self.group_state(scene.view, authorised)?;
        let member = scene.view.get::<MemberRecord>(&keys::member(group.id, authorised.holder.id))?;
        let member = member.filter(|_| authorised.holder.principal.is_member(group.id));
        // As everywhere, a membership counts as far as the token of this association covers it.
        let covered = member.filter(|member| authorised.granted.includes(Roles(member.roles)));
        // Who may not use it learns nothing of what is there.
        let who = route.map_or(ProfileWho::Member, |route| route.who);
        let not_for = match who {
            ProfileWho::Member if member.is_some() => {
                covered.is_none().then_some(Refusal::Forbidden("the token does not grant the roles of the membership"))
            }
            ProfileWho::Member => Some(Refusal::Groupcomm(GroupcommError::NotAMember)),
            ProfileWho::Authorised => None,
            ProfileWho::Granted(roles) => {
                (!authorised.granted.meets(roles)).then_some(Refusal::Groupcomm(GroupcommError::NotAMember))
            }
            ProfileWho::Verifier(roles) => (member.is_some() || !authorised.granted.meets(roles))
                .then_some(Refusal::Groupcomm(GroupcommError::NotAVerifier)),
        };
        if let Some(refusal) = not_for {
            return Err(refusal.into());
        }
        let missing = if here().next().is_some() { Refusal::MethodNotAllowed } else { Refusal::NotFound };
        let route = route.ok_or(missing)?;
        if scene.asks_permission() {
            return Ok(Outcome::done());
        }
        settle_formats(route.takes, route.gives, scene.request)?;
        let outcome = rules.serve(&ProfileRequest {
            route,
            below,
            request: scene.request,
            view: scene.view,
            granted: authorised.granted,
            member: covered.map(calling_member),
            group: shown(group.head),
            records: OwnRecords::new(scene.view, group.id),
            keying: GroupKeying::new(scene.view, group.id, group.head.num, self.expiry.time(scene.view.now())),
        })?;
        let ProfileOutcome { status, payload, changes: own, rekeys, is_changed, also_changed } = outcome;
        let response = Response::new(status.unwrap_or(Status::Content));
        let response = match route.gives {
            Some(format) => response.with_payload(format, payload),
            None => response,
        };
        let mut changes = Changes::new();
        changes.put_own(group.id, own);
        if rekeys {
            let mut head = group.head.clone();
            head.note_due(RekeyReason::Profile, scene.view.arrived().unix);
            changes.put(keys::head(group.id), head);
        }
        let gname = &authorised.group.gname;
        let delay = authorised.group.policy.delay;
        let due = rekeys.then(|| Event::RekeyDue { gname: gname.clone(), delay, why: None });
        let itself = is_changed.then(|| scene.request.path.clone());
        let also = also_changed.map(|name| [ROOT, gname, name].map(Into::into).to_vec());
        let changed = itself.into_iter().chain(also).map(Event::Changed).chain(due);
        Ok(changed.fold(Outcome::changed(response, changes), Outcome::with_event))
    }
}
