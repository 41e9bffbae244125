//! Associations that were proven: whose they are, and their sequence numbers.
//!
//! On shared storage an association is one process's at a time, the one that raised its term last. Each request under
//! it reads the term, and each commit expects it unchanged, so that what is replayed to a former owner does nothing.
//! The term is raised when a client has proven by Echo that it asks here and now, and for no less. What the former
//! owner acted on until then the new one does not know: the network side asks for a second Echo, made after the change.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::AssociationId;
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::request::Purpose;
use crate::schema::keys;
use crate::schema::records::Association;
use crate::traits::storage::Sharing;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// No association has a longer name, in bytes.
const MAX_NAME: usize = 32;
/// How many sequence numbers are reserved at once.
const BLOCK: u64 = 1_024;

/// How many are reserved for whoever may replay.
const FEW: u64 = 16;

/// How many associations are known to be this process's. One that had to go for others is claimed again, like another
/// process's; many have ended elsewhere, without a word.
const MAX_OWNED: usize = 262_144;

/// One stay of an association with this process.
struct Ownership {
    /// Which one of all.
    number: u64,
    term: u64,
    /// When it was taken from another process, on the monotonic clock; zero where it never was another's.
    since: Duration,
}

/// The associations that are this process's.
pub(in crate::kdc) struct Owned {
    sharing: Sharing,
    held: HashMap<AssociationId, Ownership>,
    /// By their numbers.
    oldest: BTreeMap<u64, AssociationId>,
    next: u64,
}

impl Owned {
    pub(in crate::kdc) fn new(sharing: Sharing) -> Self {
        Self { sharing, held: HashMap::new(), oldest: BTreeMap::new(), next: 0 }
    }

    /// Nobody else can have any: then all are this process's, and none is noted.
    pub(in crate::kdc) const fn all(&self) -> bool {
        matches!(self.sharing, Sharing::Exclusive)
    }

    pub(in crate::kdc) fn take(&mut self, id: AssociationId, term: u64, since: Duration) {
        if self.all() {
            return;
        }
        self.lose(&id);
        let number = self.next;
        self.next = number.saturating_add(1);
        self.oldest.insert(number, id.clone());
        self.held.insert(id, Ownership { number, term, since });
        if self.held.len() > MAX_OWNED
            && let Some((_, oldest)) = self.oldest.pop_first()
        {
            self.held.remove(&oldest);
        }
    }

    pub(in crate::kdc) fn lose(&mut self, id: &AssociationId) {
        if let Some(ownership) = self.held.remove(id) {
            self.oldest.remove(&ownership.number);
        }
    }

    pub(in crate::kdc) fn has(&self, id: &AssociationId, term: u64) -> bool {
        self.all() || self.held.get(id).is_some_and(|ownership| ownership.term == term)
    }

    /// Whether what came at this moment came before the association was taken from another process: the window that
    /// has let it pass was an older one.
    fn is_from_before(&self, id: &AssociationId, arrived: Duration) -> bool {
        self.held.get(id).is_some_and(|ownership| arrived < ownership.since)
    }
}

/// Sequence numbers that are a process's own, from the first to the one before the last.
pub(in crate::kdc) fn reserve(association: &mut Association, count: u64) -> (u64, u64) {
    let start = association.sequence_limit;
    association.sequence_limit = start.saturating_add(count);
    (start, association.sequence_limit)
}

impl KdcApp {
    /// What is said to a request under an association that is another process's, or that has ended in another one;
    /// none where it may be looked at.
    pub(in crate::kdc) fn turned_away(
        &self,
        view: &View<'_>,
        id: &AssociationId,
        purpose: Purpose,
    ) -> Result<Option<Outcome<Event>>, Stop> {
        if self.owned.all() {
            return Ok(None);
        }
        let Some(association) = view.get::<Association>(&keys::association(id))? else {
            let answer = Outcome::refused(self.no_token(true), Changes::new());
            return Ok(Some(answer.with_event(Event::Gone(id.clone()))));
        };
        // Each process tells those who observe at its own address: that needs numbers of its own, and commits nothing.
        if purpose == Purpose::Notification {
            return Ok(None);
        }
        if !self.owned.has(id, association.term) {
            return Ok(Some(lost(id)));
        }
        let is_from_before = self.owned.is_from_before(id, view.arrived().mono);
        let refusal = Refusal::Unavailable("another process had the association when this came", 1);
        Ok(is_from_before.then(|| Outcome::refused(refusal, Changes::new())))
    }

    /// Reserves sequence numbers. Who needs some for an association that waits has verified a message under it, and is
    /// about to answer: that proves it.
    pub(in crate::kdc) fn sequence(&self, view: &View<'_>, id: &AssociationId) -> Result<Outcome<Event>, Stop> {
        if let Some(pending) = self.pendings.get(id) {
            pending.is_established()?;
            return match self.activate(view, pending) {
                Err(Stop::Refuse(_)) => Ok(gone(id)),
                // Nothing is to run again behind it.
                activated => activated.map(Outcome::or_done),
            };
        }
        let key = keys::association(id);
        let Some(mut association) = view.get::<Association>(&key)?.cloned() else { return Ok(gone(id)) };
        let (start, limit) = reserve(&mut association, BLOCK);
        let mut changes = Changes::new();
        changes.put(key, association);
        Ok(Outcome::done_with(changes).with_event(Event::Sequence { id: id.clone(), start, limit }))
    }

    /// Takes up an association that the network side does not know; also one that waits for its proof. It changes nothing: whoever names an association has not
    /// shown that it is its client.
    pub(in crate::kdc) fn load(&self, view: &View<'_>, id: &AssociationId) -> Result<Outcome<Event>, Stop> {
        if let Some(pending) = self.pendings.get(id) {
            pending.is_established()?;
            let (id, profile, material) = (id.clone(), pending.profile, pending.material.clone());
            return Ok(Outcome::done().with_event(Event::Loaded { id, profile, material, owned: true }));
        }
        // What is no name of ours is not even looked for: memory would keep that it is not there.
        if id.as_bytes().len() > MAX_NAME {
            return Ok(gone(id));
        }
        let key = keys::association(id);
        let Some(association) = view.get::<Association>(&key)? else { return Ok(gone(id)) };
        let (profile, material) = (association.profile, association.material.clone());
        let owned = self.owned.has(id, association.term);
        Ok(Outcome::done().with_event(Event::Loaded { id: id.clone(), profile, material, owned }))
    }

    /// Reserves a few sequence numbers to ask for an Echo. A message has verified, which may be an old one.
    pub(in crate::kdc) fn challenge_numbers(
        &self,
        view: &View<'_>,
        id: &AssociationId,
    ) -> Result<Outcome<Event>, Stop> {
        let key = keys::association(id);
        let Some(mut association) = view.get::<Association>(&key)?.cloned() else { return Ok(gone(id)) };
        self.challenges.check(view.now(), id)?;
        let (start, limit) = reserve(&mut association, FEW);
        let mut changes = Changes::new();
        changes.put(key, association);
        Ok(Outcome::done_with(changes).with_event(Event::Challenges { id: id.clone(), start, limit }))
    }

    /// Makes an association this process's.
    pub(in crate::kdc) fn claim(&self, view: &View<'_>, id: &AssociationId) -> Result<Outcome<Event>, Stop> {
        let key = keys::association(id);
        let Some(mut association) = view.get::<Association>(&key)?.cloned() else { return Ok(gone(id)) };
        association.term = association.term.saturating_add(1);
        let claimed = Event::Claimed { id: id.clone(), term: association.term };
        let mut changes = Changes::new();
        changes.put(key, association);
        Ok(Outcome::done_with(changes).with_event(claimed))
    }
}

/// Says that another process has an association. The next request is asked for an Echo.
pub(in crate::kdc) fn lost(id: &AssociationId) -> Outcome<Event> {
    let refusal = Refusal::Unavailable("another process has the association", 1);
    Outcome::refused(refusal, Changes::new()).with_event(Event::Lost(id.clone()))
}

fn gone(id: &AssociationId) -> Outcome<Event> {
    Outcome::done().with_event(Event::Gone(id.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_to_be_ours_has_a_bound() {
        let mut owned = Owned::new(Sharing::Shared);
        let id = |number: usize| AssociationId::from(&number.to_be_bytes());
        for number in 0..MAX_OWNED {
            owned.take(id(number), 1, Duration::ZERO);
        }
        owned.take(id(0), 2, Duration::ZERO);
        assert!(owned.has(&id(0), 2) && owned.has(&id(1), 1) && !owned.has(&id(0), 1));
        owned.take(id(MAX_OWNED), 1, Duration::ZERO);
        assert!(owned.has(&id(0), 2) && !owned.has(&id(1), 1) && owned.has(&id(2), 1));
        owned.lose(&id(2));
        owned.lose(&id(2));
        owned.take(id(1), 3, Duration::ZERO);
        assert!(owned.has(&id(3), 1) && !owned.has(&id(2), 1));
        assert_eq!((owned.held.len(), owned.oldest.len()), (MAX_OWNED, MAX_OWNED));
    }
}
