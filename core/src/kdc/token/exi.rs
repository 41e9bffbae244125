//! Tokens whose time begins when they are received (`exi`, RFC 9200 section 5.10.3): none gets more of it by being
//! posted again, by a restart, or by giving way to another one.

use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{BelongsTo, ExpiredSequence, Principal, RevocationEnd, Revoked, StoredToken};
use crate::token::{TokenRefusal, ValidToken};

impl KdcApp {
    /// The token with the time that it has left since it was first received. One whose number is not above that of
    /// one that has expired counts as expired.
    pub(in crate::kdc) fn since_first_received(
        &self,
        view: &View<'_>,
        mut valid: ValidToken,
    ) -> Result<ValidToken, Stop> {
        let Some(sequence) = valid.sequence else { return Ok(valid) };
        let expired = Stop::from(Refusal::from(TokenRefusal::Expired));
        let highest = view.get::<ExpiredSequence>(&keys::expired_sequence(&valid.issuer))?;
        if highest.is_some_and(|ExpiredSequence(highest)| sequence <= *highest) {
            return Err(expired);
        }
        let first = match view.get::<BelongsTo<PrincipalId>>(&keys::token(&valid.hash))? {
            Some(BelongsTo(id)) => {
                let client = view.get::<Principal>(&keys::principal(*id))?;
                client.and_then(|client| client.held(&valid.hash)).map(|held| held.token.expires)
            }
            None => self.pendings.token_expires(PrincipalId::of(&valid.issuer, &valid.subject), &valid.hash),
        };
        valid.expires = first.map_or(valid.expires, |first| first.min(valid.expires));
        if valid.expires <= self.time(view)? { Err(expired) } else { Ok(valid) }
    }

    /// Remembers the number of a token that has expired, where it has one.
    pub(in crate::kdc) fn note_expired(
        &self,
        view: &View<'_>,
        issuer: &str,
        token: &StoredToken,
        changes: &mut Changes,
    ) -> Result<(), Stop> {
        let Some(sequence) = token.sequence else { return Ok(()) };
        let key = keys::expired_sequence(issuer);
        let stored = view.get::<ExpiredSequence>(&key)?;
        let highest = changes.latest(&key).or(stored).map_or(0, |ExpiredSequence(highest)| *highest);
        changes.put(key, ExpiredSequence(highest.max(sequence)));
        Ok(())
    }
}

/// A token that gives way before its time is not taken again: it would begin anew.
pub(in crate::kdc) fn supersede(token: &StoredToken, changes: &mut Changes) {
    if token.sequence.is_some() {
        bar(token, changes);
    }
}

/// A token is not taken any more. That is noted until the token ends by itself; what comes back says when. The time of one
/// with `exi` would begin anew, so that it has no such end.
pub(in crate::kdc) fn bar(token: &StoredToken, changes: &mut Changes) -> Option<Event> {
    let until = Some(token.expires).filter(|_| token.sequence.is_none());
    changes.put(keys::revoked(&token.hash), Revoked { until });
    let at = until?;
    changes.put(keys::revocation_end(at, &token.hash), RevocationEnd { at, hash: token.hash.clone() });
    Some(Event::Expires(at))
}
