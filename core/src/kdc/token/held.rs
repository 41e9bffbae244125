//! The tokens that a client holds: each with the association that it came with, and what they allow together.
//!
//! A request is authorised by the token of its own association alone. A membership is the client's: it lasts while one token
//! covers all of its roles. So a client that asks its Authorization Server for a token for each group stays in all of them.

use crate::Roles;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::AssociationId;
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, GroupId, PrincipalId};
use crate::schema::records::{Association, BelongsTo, Expiry, HeldToken, Principal, RekeyReason, StoredToken};
use crate::time::UnixTime;
use ace_groupcomm_messages::RawCbor;
use std::borrow::Cow;

/// How many tokens a client may hold at once.
pub(in crate::kdc) const MAX_TOKENS: usize = 8;

/// Notes a token by its hash and by its ends: that of memberships, and its own.
fn note(id: PrincipalId, token: &StoredToken, changes: &mut Changes) {
    changes.put(keys::token(&token.hash), BelongsTo(id));
    for at in [token.covers_until(), token.expires] {
        changes.put(keys::expiry(at, &token.hash), Expiry { at, principal: id, hash: Some(token.hash.clone()) });
    }
}

/// Forgets all of it.
fn forget(token: &StoredToken, changes: &mut Changes) {
    changes.delete(keys::token(&token.hash));
    for at in [token.covers_until(), token.expires] {
        changes.delete(keys::expiry(at, &token.hash));
    }
}

/// A client whose tokens have the names of their keys: what the former format did not record stands in their associations.
pub(in crate::kdc) fn keyed<'a>(view: &View<'_>, principal: &'a Principal) -> Result<Cow<'a, Principal>, Stop> {
    let mut keyed = Cow::Borrowed(principal);
    for (place, held) in principal.tokens.iter().enumerate().filter(|(_, held)| held.input_id.is_empty()) {
        let association = view.get::<Association>(&keys::association(&held.association))?;
        if let (Some(association), Some(slot)) = (association, keyed.to_mut().tokens.get_mut(place)) {
            slot.input_id = association.input_id.clone();
        }
    }
    Ok(keyed)
}

impl KdcApp {
    /// Adds a token, or puts it in the place of those with the same hash or for the same key. The association that it came with
    /// takes the place of those that they had. Memberships that nothing covers any more end. What others are told comes
    /// back, and the tokens that gave way.
    pub(in crate::kdc) fn hold(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        principal: &mut Principal,
        mut new: HeldToken,
        changes: &mut Changes,
    ) -> Result<(Vec<Event>, Vec<StoredToken>), Stop> {
        *principal = keyed(view, principal)?.into_owned();
        let (mut events, mut gave_way) = (Vec::new(), Vec::new());
        let place = principal.place_of(&new);
        let (old, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut principal.tokens).into_iter().partition(|held| held.gives_way_to(&new));
        principal.tokens = kept;
        if place.is_none() && principal.tokens.len() >= MAX_TOKENS {
            events.extend(self.make_room(view, id, principal, &new, changes)?);
        }
        // Posted again it covers no longer than it did.
        let same = old.iter().find(|held| held.token.hash == new.token.hash);
        new.token.notice = same.map_or(new.token.notice, |held| held.token.notice);
        let end = principal.tokens.len();
        principal.tokens.insert(place.unwrap_or(end).min(end), new.clone());
        for HeldToken { token, association, .. } in old {
            if association != new.association {
                changes.delete(keys::association(&association));
                events.push(Event::Gone(association));
            }
            forget(&token, changes);
            gave_way.extend(Some(token).filter(|old| old.hash != new.token.hash));
        }
        note(id, &new.token, changes);
        let time = self.expiry.time(view.now());
        events.extend(self.end_uncovered(view, id, principal, RekeyReason::Narrowed, time, changes)?);
        events.push(Event::Expires(new.token.covers_until()));
        events.push(Event::Expires(new.token.expires));
        Ok((events, gave_way))
    }

    /// Ends one token for a new one: the first to end of those that no membership needs.
    fn make_room(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        principal: &mut Principal,
        new: &HeldToken,
        changes: &mut Changes,
    ) -> Result<Vec<Event>, Stop> {
        let mut places: Vec<usize> = (0..principal.tokens.len()).collect();
        places.sort_by_key(|place| principal.tokens.get(*place).map(|held| held.token.expires));
        for place in places {
            let others = principal.tokens.iter().enumerate().filter(|(other, _)| *other != place);
            let rest: Vec<&StoredToken> = others.map(|(_, held)| &held.token).chain([&new.token]).collect();
            if !self.covers_all(view, id, &rest, &principal.memberships)? {
                continue;
            }
            let old = principal.tokens.remove(place);
            forget(&old.token, changes);
            super::exi::supersede(&old.token, changes);
            changes.delete(keys::association(&old.association));
            return Ok(vec![Event::Gone(old.association)]);
        }
        Err(Refusal::Bound("the client has as many tokens as it may have, and needs all of them", 60).into())
    }

    /// Ends tokens of a client, with their associations, and what nothing covers any more. Where none is left the client is
    /// forgotten. What others are told comes back.
    pub(in crate::kdc) fn end_tokens(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        principal: &Principal,
        ends: impl Fn(&StoredToken) -> bool,
        why: RekeyReason,
        changes: &mut Changes,
    ) -> Result<Vec<Event>, Stop> {
        let mut principal = principal.clone();
        let (gone, left) = std::mem::take(&mut principal.tokens).into_iter().partition(|held| ends(&held.token));
        principal.tokens = left;
        let mut ended = Vec::new();
        for held in gone {
            let HeldToken { token, association, .. } = held;
            forget(&token, changes);
            changes.delete(keys::association(&association));
            ended.push(Event::Ended(association));
        }
        let time = self.expiry.time(view.now());
        let mut events = self.end_uncovered(view, id, &mut principal, why, time, changes)?;
        // What else it is told of its memberships goes before the last words under the association.
        events.extend(ended);
        if principal.tokens.is_empty() {
            changes.delete(keys::principal(id));
        } else {
            changes.put(keys::principal(id), principal);
        }
        Ok(events)
    }

    /// Ends the memberships that no token of the client covers at this time: their groups put it out, each in its turn. What the client observes under its associations is looked at
    /// again then.
    pub(in crate::kdc) fn end_uncovered(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        principal: &mut Principal,
        why: RekeyReason,
        time: UnixTime,
        changes: &mut Changes,
    ) -> Result<Vec<Event>, Stop> {
        let memberships = std::mem::take(&mut principal.memberships);
        // All are asked for before the first is looked at.
        let covered: Vec<_> = {
            let tokens: Vec<&StoredToken> = principal.tokens.iter().map(|held| &held.token).collect();
            memberships.iter().map(|membership| self.is_covered(view, id, &tokens, time, membership)).collect()
        };
        let covered = covered.into_iter().collect::<Result<Vec<bool>, Stop>>()?;
        let mut events = Vec::new();
        for (membership, is_covered) in memberships.into_iter().zip(covered) {
            if is_covered {
                principal.memberships.push(membership);
                continue;
            }
            if events.is_empty() {
                events.extend(principal.tokens.iter().map(|held| Event::Restricted(held.association.clone())));
            }
            events.extend(self.note_leaving(view, id, principal, &membership, why, changes)?);
        }
        Ok(events)
    }

    /// Whether each of these memberships is covered by one of these tokens.
    fn covers_all(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        tokens: &[&StoredToken],
        memberships: &[(String, GroupId)],
    ) -> Result<bool, Stop> {
        let time = self.expiry.time(view.now());
        let covered: Vec<_> = memberships.iter().map(|it| self.is_covered(view, id, tokens, time, it)).collect();
        Ok(covered.into_iter().collect::<Result<Vec<bool>, Stop>>()?.into_iter().all(|is_covered| is_covered))
    }

    /// Whether one of these tokens grants all roles of a membership, and lets somebody be a member at this time.
    fn is_covered(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        tokens: &[&StoredToken],
        time: UnixTime,
        (gname, group): &(String, GroupId),
    ) -> Result<bool, Stop> {
        for token in tokens.iter().filter(|token| token.covers_until() > time || view.now().has_jumped()) {
            let granted = match self.granted(view, token, gname, *group) {
                // A group that this program cannot serve must not keep other clients' tokens from ending. What the token grants in
                // it is not known here: the membership stays while a token names the group, and is used under no other.
                Err(Stop::Refuse(_)) => return Ok(true),
                granted => granted?,
            };
            if self.still_covers(view, id, *group, granted)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The token by which a member is sent something: that of the association by which it takes requests, or another one that
    /// covers the membership; none where it has come to its end with all of them.
    pub(in crate::kdc) fn covering<'p>(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        principal: &'p Principal,
        gname: &str,
        group: GroupId,
        by: &AssociationId,
    ) -> Result<Option<&'p HeldToken>, Stop> {
        let membership = (gname.to_owned(), group);
        let first = principal.of_association(by);
        let others = principal.tokens.iter().filter(|held| held.association != *by);
        for held in first.into_iter().chain(others) {
            if self.is_covered(view, id, &[&held.token], self.expiry.time(view.now()), &membership)? {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    /// The roles that a token grants in a group; none where it does not mean it.
    fn granted(&self, view: &View<'_>, token: &StoredToken, gname: &str, id: GroupId) -> Result<Option<Roles>, Stop> {
        let Some((_, permissions)) = token.scope.iter().find(|(name, _)| name == gname) else { return Ok(None) };
        let live = self.group(view, gname)?.filter(|live| live.id == id);
        let live = live.filter(|live| self.means_this_group(token.issued, live.tokens_since));
        Ok(live.and_then(|live| live.group.roles(&RawCbor::new(permissions).ok()?)))
    }

    /// When the last token ends that names a group: until then a client could come back with what it has.
    pub(in crate::kdc) fn last_end(principal: &Principal, gname: &str) -> Option<UnixTime> {
        let of_group = principal.tokens.iter().filter(|held| held.token.scope.iter().any(|(name, _)| name == gname));
        of_group.map(|held| held.token.expires).max()
    }
}
