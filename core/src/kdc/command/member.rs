//! A member is put out of a group by the operator; a token is revoked.

use super::{Done, changed, refused, target};
use crate::audit::Entry;
use crate::command::{CommandError, Report, Revocation};
use crate::engine::store::changes::Changes;
use crate::engine::store::view::View;
use crate::id::NodeName;
use crate::id::TokenHash;
use crate::kdc::token::exi::bar;
use crate::kdc::{Event, KdcApp};
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{Ban, BanEnd, BelongsTo, MemberRecord, Principal, RekeyReason, Revoked, StoredToken};

impl KdcApp {
    /// Puts a member out of a group, and bans its client from it until its token ends.
    pub(super) fn put_out(&self, view: &View<'_>, gname: &str, node: &NodeName) -> Done {
        let target = target!(self, view, gname);
        let nobody = || refused(CommandError::NoMember { group: gname.into(), node: node.clone() });
        let found = self.find(view, &keys::members(target.id), |member: &MemberRecord| member.node == *node)?;
        let Some(id) = found else { return Ok(nobody()) };
        let (member, client) =
            (view.get::<MemberRecord>(&keys::member(target.id, id)), view.get::<Principal>(&keys::principal(id)));
        // Who has no membership any more is put out anyway.
        let client = client?.filter(|client| client.is_member(target.id)).cloned();
        let (Some(member), Some(mut client)) = (member?, client) else { return Ok(nobody()) };
        let mut changes = Changes::new();
        let membership = (gname.to_owned(), target.id);
        let told = self.tell_evicted(view, id, &client, (gname, target.id), false)?;
        let mut events = self.evict(view, id, &client, &membership, RekeyReason::Evicted, &mut changes)?;
        client.memberships.retain(|known| *known != membership);
        let ban = Ban {
            node: member.node.clone(),
            issuer: client.issuer.clone(),
            subject: client.subject.clone(),
            since: view.arrived().unix,
            until: Self::last_end(&client, gname).unwrap_or(view.arrived().unix),
        };
        let report = Report::Evicted(ban.summary());
        // Where it takes no requests it is told by its observations.
        if told.is_empty() {
            events.extend(client.tokens.iter().map(|held| Event::Restricted(held.association.clone())));
        }
        events.extend(told);
        events.push(Event::Expires(ban.until));
        changes.put(keys::ban_end(ban.until, target.id, id), BanEnd { at: ban.until, group: target.id, principal: id });
        changes.put(keys::ban(target.id, id), ban);
        changes.put(keys::principal(id), client);
        Ok(changed(report, changes, events))
    }

    /// Ends the ban of a client, so that it may join again.
    pub(super) fn lift(&self, view: &View<'_>, gname: &str, node: &NodeName) -> Done {
        let target = target!(self, view, gname);
        let nobody = || refused(CommandError::NoBan { group: gname.into(), node: node.clone() });
        let found = self.find(view, &keys::bans(target.id), |ban: &Ban| ban.node == *node)?;
        let Some(id) = found else { return Ok(nobody()) };
        let Some(ban) = view.get::<Ban>(&keys::ban(target.id, id))? else { return Ok(nobody()) };
        let mut changes = Changes::new();
        changes.delete(keys::ban(target.id, id));
        changes.delete(keys::ban_end(ban.until, target.id, id));
        let entry = Entry {
            client: Some((ban.issuer.clone(), ban.subject.clone())),
            node: Some(ban.node.clone()),
            ..Entry::of_group("ban lifted", gname)
        };
        Ok(changed(Report::Lifted(ban.summary()), changes, [Event::Audit(entry)]))
    }

    /// Ends what a token allowed, and refuses it from now on.
    pub(super) fn revoke(&self, view: &View<'_>, hash: &TokenHash) -> Done {
        let (known, token) =
            (view.get::<Revoked>(&keys::revoked(hash)), view.get::<BelongsTo<PrincipalId>>(&keys::token(hash)));
        let (known, token) = (known?, token?);
        let mut changes = Changes::new();
        let client = match token {
            Some(BelongsTo(id)) => view.get::<Principal>(&keys::principal(*id))?.map(|client| (*id, client)),
            None => None,
        };
        let held = client.and_then(|(id, client)| Some((id, client, client.held(hash)?)));
        let Some((id, client, held)) = held else {
            // Nobody knows when it ends. What was noted when somebody did stays.
            if known.is_none() {
                changes.put(keys::revoked(hash), Revoked { until: None });
            }
            let entry = Entry { event: "unknown token revoked", ..Entry::default() };
            return Ok(changed(Report::Revoked(Revocation::default()), changes, [Event::Audit(entry)]));
        };
        let mut events = vec![Event::Audit(Entry::of_client("token revoked", client))];
        events.extend(bar(&held.token, &mut changes));
        let is_it = |token: &StoredToken| token.hash == *hash;
        events.extend(self.end_tokens(view, id, client, is_it, RekeyReason::Revoked, &mut changes)?);
        let left = changes.latest::<Principal>(&keys::principal(id)).map(|left| left.memberships.clone());
        let left = left.unwrap_or_default();
        let ended = client.memberships.iter().filter(|membership| !left.contains(membership));
        let groups = ended.map(|(gname, _)| gname.clone()).collect();
        let revocation = Revocation { subject: Some(client.subject.clone()), groups };
        Ok(changed(Report::Revoked(revocation), changes, events))
    }
}
