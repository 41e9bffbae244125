//! The first proven request under a new association: it, and the token that it was made of, take the place of
//! the client's former ones, in one commit (RFC 9203 section 6). Until then the former ones live.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::association::ownership::{lost, reserve};
use crate::kdc::token::exi::supersede;
use crate::kdc::{Event, KdcApp, Pending};
use crate::schema::keys::{self, GroupId, PrincipalId};
use crate::schema::records::{
    Association, BelongsTo, Challenge, ChallengeOrigin, Expiry, Principal, RekeyReason, Revoked, StoredToken,
};
use ace_groupcomm_messages::RawCbor;
use serde_bytes::ByteBuf;

/// Sequence numbers that are reserved with an association. They are used for messages that are no answers.
pub(in crate::kdc) const FIRST_BLOCK: u64 = 64;

/// The term of the process that made an association. Whoever claims it has a higher one.
const FIRST_TERM: u64 = 1;

impl KdcApp {
    /// Swaps associations and tokens. The request runs again when that is durable.
    pub(in crate::kdc) fn activate(&self, view: &View<'_>, pending: &Pending) -> Result<Outcome<Event>, Stop> {
        let id = PrincipalId::of(&pending.issuer, &pending.subject);
        let name = keys::association(&pending.id);
        let (time, trusted) = (self.time(view), self.still_trusted(view, &pending.issuer, &pending.token));
        let (former, taken, revoked) = (
            view.get::<Principal>(&keys::principal(id)),
            view.get::<Association>(&name),
            view.get::<Revoked>(&keys::revoked(&pending.token.hash)),
        );
        let (time, former, taken, revoked) = (time?, former?, taken?, revoked?);
        trusted?;
        // A former attempt may have succeeded without anybody knowing, and another process may have claimed it since.
        // Otherwise that a name is taken is the rarest of accidents; the client posts its token again.
        let own = taken.is_some_and(|taken| taken.principal == id && taken.material == pending.material);
        // A proof may come late: the client has had another association since, from here or from another process.
        let current = former.map(|former| &former.association);
        let overtaken = current.is_some_and(|id| *id != pending.id && Some(id) != pending.former.as_ref());
        if overtaken || taken.is_some() && !own || revoked.is_some() {
            return Err(self.no_token(true).into());
        }
        if pending.token.expires <= time {
            self.plausible(view)?;
            return Err(self.no_token(true).into());
        }
        if taken.is_some_and(|taken| taken.term != FIRST_TERM) {
            return Ok(lost(&pending.id));
        }
        let mut changes = Changes::new();
        // Numbers that a former attempt has reserved may be in use.
        let mut association = taken.cloned().unwrap_or_else(|| Association {
            principal: id,
            profile: pending.profile,
            material: pending.material.clone(),
            input_id: ByteBuf::from(pending.input_id.clone()),
            term: FIRST_TERM,
            sequence_limit: 0,
        });
        let (start, limit) = reserve(&mut association, FIRST_BLOCK);
        let mut events = vec![Event::Proven { id: pending.id.clone(), term: association.term, start, limit }];
        let mut principal = match former {
            Some(former) if former.association == pending.id => former.clone(),
            Some(former) => {
                changes.delete(keys::association(&former.association));
                events.push(Event::Gone(former.association.clone()));
                former.clone()
            }
            None => Principal {
                issuer: pending.issuer.clone(),
                subject: pending.subject.clone(),
                token: pending.token.clone(),
                kdcchallenge: None,
                association: pending.id.clone(),
                memberships: Vec::new(),
            },
        };
        events.extend(self.replace_token(view, id, &mut principal, pending.token.clone(), &mut changes)?);
        principal.association = pending.id.clone();
        principal.kdcchallenge = pending
            .kdcchallenge
            .as_ref()
            .map(|value| Challenge { value: ByteBuf::from(value.clone()), origin: ChallengeOrigin::TokenTransfer });
        events.push(Event::Expires(principal.token.expires));
        changes.put(keys::principal(id), principal);
        changes.put(name, association);
        Ok(events.into_iter().fold(Outcome::first(changes), Outcome::with_event))
    }

    /// Puts a token in the place of another, with what is known by its hash and time, and ends memberships
    /// that it no longer covers. What others are to be told comes back.
    pub(in crate::kdc) fn replace_token(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        principal: &mut Principal,
        token: StoredToken,
        changes: &mut Changes,
    ) -> Result<Vec<Event>, Stop> {
        let old = std::mem::replace(&mut principal.token, token);
        if old.hash != principal.token.hash {
            changes.delete(keys::token(&old.hash));
            supersede(&old, changes);
        }
        if old.expires != principal.token.expires {
            changes.delete(keys::expiry(old.expires, id));
        }
        let at = principal.token.expires;
        changes.put(keys::token(&principal.token.hash), BelongsTo(id));
        changes.put(keys::expiry(at, id), Expiry { at, principal: id });
        let (mut kept, mut events) = (Vec::new(), Vec::new());
        for membership in std::mem::take(&mut principal.memberships) {
            let (gname, group) = &membership;
            let granted = self.granted(view, &principal.token, gname, *group)?;
            if self.still_covers(view, id, *group, granted)? {
                kept.push(membership);
            } else {
                events.extend(self.evict(view, id, principal, &membership, RekeyReason::Narrowed, changes)?);
            }
        }
        principal.memberships = kept;
        Ok(events)
    }

    /// The roles that a token grants in a group; none where it does not mean it.
    fn granted(
        &self,
        view: &View<'_>,
        token: &StoredToken,
        gname: &str,
        id: GroupId,
    ) -> Result<Option<crate::Roles>, Stop> {
        let Some((_, permissions)) = token.scope.iter().find(|(name, _)| name == gname) else { return Ok(None) };
        let live = self.group(view, gname)?.filter(|live| live.id == id);
        let live = live.filter(|live| self.means_this_group(token.issued, live.tokens_since));
        Ok(live.and_then(|live| live.group.roles(&RawCbor::new(permissions).ok()?)))
    }
}
