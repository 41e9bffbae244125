//! The contexts of a server, by the name under which a request comes.
//!
//! Where an association can be looked up again there is a bound: those that nobody has used for the longest time go. What
//! ended at another process is among them sooner or later.

use crate::runs::Runs;
use ace_coap::security::PeerId;
use ace_groupcomm::AssociationId;
use ace_groupcomm::traits::transport::AssociationNeed;
use ace_oscore::Context;
use rand_core::CryptoRng;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::task::Waker;
use std::time::Duration;

/// Associations that are looked up at once. A message of a further one is dropped; its sender sends it again.
const LOOK_UPS: usize = 1_024;

/// Which process an association belongs to: one alone may accept requests under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This process.
    This,
    /// Another process, or none: its client is asked for an Echo, and no more.
    Other,
    /// Another process still; the engine was asked to make it this one's.
    Claimed,
}

/// A context.
pub(crate) struct Slot {
    pub(crate) context: Context,
    pub(crate) peer: PeerId,
    owner: Owner,
    /// Sequence numbers were asked for and have not come.
    asked: bool,
    /// Whether it can be looked up again. One that waits for its proof is stored nowhere.
    stored: bool,
    /// Whether it was used since its last turn to go.
    used: bool,
    /// When its client was asked for the Echo value that is out.
    challenged: Duration,
}

impl Slot {
    pub(crate) const fn new(context: Context, peer: PeerId, owned: bool, stored: bool) -> Self {
        let owner = if owned { Owner::This } else { Owner::Other };
        Self { context, peer, owner, asked: false, stored, used: false, challenged: Duration::ZERO }
    }

    pub(crate) fn is_owned(&self) -> bool {
        self.owner == Owner::This
    }

    /// Whether its client has used it: what waits for that is stored nowhere, and has no sequence numbers.
    pub(crate) const fn is_proven(&self) -> bool {
        self.stored
    }

    /// Notes that it is claimed. Returns whether that has to be asked for.
    pub(crate) fn claim(&mut self) -> bool {
        std::mem::replace(&mut self.owner, Owner::Claimed) != Owner::Claimed
    }

    /// It is this process's from now on.
    pub(crate) fn note_claimed(&mut self) {
        self.owner = Owner::This;
        self.context.take_over();
    }

    /// It is another process's: which requests were seen is forgotten.
    pub(crate) fn note_lost(&mut self) {
        self.owner = Owner::Other;
        self.context.forget_window();
    }

    /// What was asked for could not be done. It may be asked for again.
    pub(crate) fn note_unavailable(&mut self) {
        self.asked = false;
        if self.owner == Owner::Claimed {
            self.owner = Owner::Other;
        }
    }

    /// Sequence numbers were reserved for it: it is stored.
    pub(crate) fn extend(&mut self, start: u64, limit: u64) {
        self.context.sequence().extend(start, limit);
        (self.asked, self.stored) = (false, true);
    }
}

/// All contexts, and what is needed for them.
pub(crate) struct Table {
    pub(crate) slots: HashMap<Vec<u8>, Slot>,
    /// Their names in the order in which they go; some may be gone already.
    order: VecDeque<Vec<u8>>,
    /// How many there may be.
    pub(crate) capacity: usize,
    /// Names that are looked up.
    pub(crate) looked_up: HashSet<Vec<u8>>,
    /// The kids of clients that were registered beforehand.
    pub(crate) registered: HashMap<PeerId, Vec<u8>>,
    /// Contexts of clients that have several.
    pub(crate) runs: Runs,
    /// Contexts whose associations have ended: they protect last notifications, and verify nothing.
    retired: VecDeque<(Duration, Vec<u8>, Context)>,
    pub(crate) needs: BTreeSet<AssociationNeed>,
    pub(crate) waker: Option<Waker>,
    pub(crate) rng: Box<dyn CryptoRng + Send>,
}

/// Contexts that are kept for last notifications, and for how long.
const RETIRED: usize = 4_096;
const LAST_WORDS: Duration = Duration::from_secs(60);

/// For how long an Echo value is asked for, and for as long again its answer is taken.
pub(crate) const ECHO: Duration = Duration::from_secs(30);

impl Slot {
    /// Forgets an Echo value that was asked for too long ago: who holds an answer back does not get it taken for new.
    pub(crate) fn forget_late(&mut self, now: Duration) {
        if now.saturating_sub(self.challenged) > ECHO.saturating_mul(2) {
            self.context.forget_challenge();
        }
    }

    /// The client is asked for an Echo value: the one that is out, or another one where that is old.
    pub(crate) fn challenges(&mut self, now: Duration) {
        if now.saturating_sub(self.challenged) > ECHO {
            self.context.forget_challenge();
            self.challenged = now;
        }
    }
}

impl Table {
    pub(crate) fn new(rng: Box<dyn CryptoRng + Send>) -> Self {
        Self {
            slots: HashMap::new(),
            order: VecDeque::new(),
            capacity: usize::MAX,
            looked_up: HashSet::new(),
            registered: HashMap::new(),
            runs: Runs::default(),
            retired: VecDeque::new(),
            needs: BTreeSet::new(),
            waker: None,
            rng,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn has(&self, kid: &[u8]) -> bool {
        self.slots.contains_key(kid)
    }

    /// A context, for whatever but its use by its client.
    pub(crate) fn get(&mut self, kid: &[u8]) -> Option<&mut Slot> {
        self.slots.get_mut(kid)
    }

    /// The kid of the context under which this peer is asked: its own name, where a KDC has named it. A client that has a
    /// context for each run has none.
    pub(crate) fn kid_of(&self, peer: &PeerId) -> Option<Vec<u8>> {
        let kid = self.registered.get(peer).map_or(peer.as_bytes(), Vec::as_slice);
        let slot = self.slots.get(kid)?;
        (slot.peer == *peer && !self.runs.has(kid)).then(|| kid.to_vec())
    }

    /// A context that its client uses.
    pub(crate) fn used(&mut self, kid: &[u8]) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(kid)?;
        slot.used = true;
        Some(slot)
    }

    /// Adds a context. One that is there stays: replacing it would let its sequence numbers begin again.
    pub(crate) fn add(&mut self, kid: Vec<u8>, slot: Slot) {
        if self.has(&kid) {
            return;
        }
        self.order.push_back(kid.clone());
        self.slots.insert(kid, slot);
        // Names of those that are gone must not pile up.
        if self.order.len() > self.slots.len().saturating_mul(2).saturating_add(LOOK_UPS) {
            let mut seen = HashSet::new();
            self.order.retain(|kid| self.slots.contains_key(kid) && seen.insert(kid.clone()));
        }
        self.make_room();
    }

    pub(crate) fn remove(&mut self, kid: &[u8]) {
        self.slots.remove(kid);
    }

    /// An association has ended. Its context is kept for a moment, for those who are to be told.
    pub(crate) fn retire(&mut self, now: Duration, kid: &[u8]) {
        let Some(slot) = self.slots.remove(kid) else { return };
        self.drop_aged(now);
        if self.retired.len() >= RETIRED {
            self.retired.pop_front();
        }
        self.retired.push_back((now, kid.to_vec(), slot.context));
    }

    /// A context that has ended a moment ago.
    pub(crate) fn retired(&mut self, now: Duration, kid: &[u8]) -> Option<&mut Context> {
        self.drop_aged(now);
        self.retired.iter_mut().rev().find(|(_, name, _)| name == kid).map(|(_, _, context)| context)
    }

    /// Drops the contexts that have said their last words.
    fn drop_aged(&mut self, now: Duration) {
        while self.retired.front().is_some_and(|(at, ..)| now.saturating_sub(*at) > LAST_WORDS) {
            self.retired.pop_front();
        }
    }

    /// Drops contexts until there are no more than may be: first those that nobody has used for long. One that waits for
    /// its proof is stored nowhere, and stays.
    fn make_room(&mut self) {
        let mut turns = self.order.len().saturating_mul(2);
        while self.slots.len() > self.capacity && turns > 0 {
            turns = turns.saturating_sub(1);
            let Some(kid) = self.order.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(&kid) else { continue };
            if slot.stored && !std::mem::replace(&mut slot.used, false) && slot.owner != Owner::Claimed {
                self.slots.remove(&kid);
            } else {
                self.order.push_back(kid);
            }
        }
    }

    pub(crate) fn need(&mut self, need: AssociationNeed) {
        self.needs.insert(need);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Nothing is needed any more of an association that is gone.
    pub(crate) fn settle(&mut self, id: &[u8]) {
        self.looked_up.remove(id);
        self.needs.retain(|need| need.id().as_bytes() != id);
    }

    /// Notes that a name was looked up, and found.
    pub(crate) fn note_looked_up(&mut self, id: &AssociationId) {
        self.looked_up.remove(id.as_bytes());
        self.needs.remove(&AssociationNeed::Unknown(id.clone()));
    }

    /// Notes a context whose sequence numbers come to an end.
    pub(crate) fn note_need(&mut self, kid: &[u8]) {
        let Some(slot) = self.slots.get_mut(kid) else { return };
        if slot.context.sequence().runs_low() && !std::mem::replace(&mut slot.asked, true) {
            // Whoever has not shown that it asks now may be somebody who replays: it is worth few numbers.
            let is_proven = slot.is_owned() && slot.context.is_synchronised();
            let need = if is_proven { AssociationNeed::Sequence } else { AssociationNeed::Challenge };
            self.need(need(kid.into()));
        }
    }

    /// The same for messages that the server sends by itself: nobody can replay them.
    pub(crate) fn note_own_need(&mut self, kid: &[u8]) {
        let Some(slot) = self.slots.get_mut(kid) else { return };
        if slot.context.sequence().runs_low() && !std::mem::replace(&mut slot.asked, true) {
            self.need(AssociationNeed::Sequence(kid.into()));
        }
    }

    /// Has a name looked up that is not known, unless too many are.
    pub(crate) fn look_up(&mut self, kid: &[u8]) -> bool {
        if self.looked_up.contains(kid) {
            return true;
        }
        if self.looked_up.len() >= LOOK_UPS {
            return false;
        }
        self.looked_up.insert(kid.to_vec());
        self.need(AssociationNeed::Unknown(kid.into()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_oscore::{Aead, Hkdf, Parameters, Sequence};
    use rand_chacha::ChaCha12Rng;
    use rand_core::SeedableRng;

    fn slot(name: u32) -> Slot {
        let parameters = Parameters {
            master_secret: vec![1; 16],
            master_salt: vec![],
            sender_id: vec![1],
            recipient_id: name.to_be_bytes().to_vec(),
            id_context: None,
            aead: Aead::default(),
            hkdf: Hkdf::default(),
        };
        let context = Context::fresh(&parameters, Sequence::block(0, 64)).unwrap();
        Slot::new(context, PeerId::new(b"peer"), true, true)
    }

    #[test]
    fn the_names_of_contexts_that_came_and_went_do_not_pile_up() {
        let mut table = Table::new(Box::new(ChaCha12Rng::seed_from_u64(1)));
        for name in [1_u32, 2, 3] {
            table.add(name.to_be_bytes().to_vec(), slot(name));
        }
        for name in 10..5_000_u32 {
            table.add(name.to_be_bytes().to_vec(), slot(name));
            table.remove(&name.to_be_bytes());
            // And one that comes back again and again.
            table.remove(&3_u32.to_be_bytes());
            table.add(3_u32.to_be_bytes().to_vec(), slot(3));
        }
        assert_eq!(table.len(), 3);
        assert!(table.order.len() <= 2 * 4 + LOOK_UPS, "{}", table.order.len());
        // Those that are there have their turn still, once.
        table.capacity = 1;
        table.add(7_u32.to_be_bytes().to_vec(), slot(7));
        assert_eq!((table.len(), table.has(&7_u32.to_be_bytes())), (1, true));
    }
}
