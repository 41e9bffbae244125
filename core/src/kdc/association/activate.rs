//! The first proven request under a new association: the client holds its token from then on. Where it held that token, or one
//! for the same key, the former association goes in the same commit (RFC 9203 section 6); until then that one lives.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::association::ownership::{lost, reserve};
use crate::kdc::token::exi::supersede;
use crate::kdc::token::held::keyed;
use crate::kdc::{Event, KdcApp, Pending};
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{Association, Challenge, ChallengeOrigin, HeldToken, Principal, Revoked};
use serde_bytes::ByteBuf;

/// Sequence numbers that are reserved with an association. They are used for messages that are no answers.
pub(in crate::kdc) const FIRST_BLOCK: u64 = 64;

/// The term of the process that made an association. Whoever claims it has a higher one.
const FIRST_TERM: u64 = 1;

impl KdcApp {
    /// Takes the token in. The request runs again when that is durable.
    pub(in crate::kdc) fn activate(&self, view: &View<'_>, pending: &Pending) -> Result<Outcome<Event>, Stop> {
        pending.is_established()?;
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
        let held = HeldToken {
            token: pending.token.clone(),
            association: pending.id.clone(),
            input_id: ByteBuf::from(pending.input_id.clone()),
        };
        // A proof may come late: the token has had another association since, from here or from another process.
        let keyed = former.map(|former| keyed(view, former)).transpose()?;
        let current = keyed.as_ref().and_then(|former| former.tokens.get(former.place_of(&held)?));
        let current = current.map(|current| &current.association);
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
        let challenge =
            |value: &Vec<u8>| Challenge { value: ByteBuf::from(value.clone()), origin: ChallengeOrigin::TokenTransfer };
        let mut association = taken.cloned().unwrap_or_else(|| Association {
            principal: id,
            profile: pending.profile,
            material: pending.material.clone(),
            input_id: ByteBuf::from(pending.input_id.clone()),
            term: FIRST_TERM,
            sequence_limit: 0,
            kdcchallenge: pending.kdcchallenge.as_ref().map(challenge),
        });
        let count = if pending.has_sequence_numbers { FIRST_BLOCK } else { 0 };
        let (start, limit) = reserve(&mut association, count);
        let mut events = vec![Event::Proven { id: pending.id.clone(), term: association.term, start, limit }];
        let mut principal = former.cloned().unwrap_or_else(|| Principal {
            issuer: pending.issuer.clone(),
            subject: pending.subject.clone(),
            tokens: Vec::new(),
            memberships: Vec::new(),
        });
        let (told, gave_way) = self.hold(view, id, &mut principal, held, &mut changes)?;
        gave_way.iter().for_each(|old| supersede(old, &mut changes));
        events.extend(told);
        changes.put(keys::principal(id), principal);
        changes.put(name, association);
        Ok(events.into_iter().fold(Outcome::first(changes), Outcome::with_event))
    }
}
