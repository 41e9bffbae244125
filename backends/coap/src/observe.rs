//! Observations of a server's resources (RFC 7641 section 4).
//!
//! Of each observation one notification at most is under way: asked for, or sent and not acknowledged. What changes
//! meanwhile is noted, and asked for once when that has come to its end (section 4.5.2).

use crate::Limits;
use crate::block::Owner;
use ace_coap::security::ObservationBinding;
use ace_coap::{Message, Token};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// Names an observation: whose it is, where its notifications go, and under which token.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ObservationId {
    pub(crate) owner: Owner,
    pub(crate) to: SocketAddr,
    pub(crate) token: Token,
}

/// Names a notification's observation; another that took its name later is another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Notifies {
    pub(crate) id: ObservationId,
    serial: u64,
}

/// One observation.
pub(crate) struct Observation {
    /// The registration, which is asked again for each notification.
    pub(crate) request: Message,
    pub(crate) binding: Option<ObservationBinding>,
    /// The number of the last notification.
    pub(crate) number: u32,
    serial: u64,
    under_way: bool,
    changed_again: bool,
}

impl Observation {
    pub(crate) const fn new(request: Message, binding: Option<ObservationBinding>) -> Self {
        Self { request, binding, number: 0, serial: 0, under_way: false, changed_again: false }
    }
}

/// All observations of a server.
pub(crate) struct Observations {
    limits: Limits,
    all: HashMap<ObservationId, Observation>,
    by_path: BTreeMap<Vec<String>, Vec<ObservationId>>,
    counts: HashMap<Owner, usize>,
    next: u64,
}

impl Observations {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, all: HashMap::new(), by_path: BTreeMap::new(), counts: HashMap::new(), next: 0 }
    }

    /// Adds an observation, or replaces one; answers whether there was room.
    pub(crate) fn add(&mut self, id: ObservationId, mut observation: Observation) -> bool {
        self.remove(&id);
        let own = self.counts.get(&id.owner).copied().unwrap_or(0);
        if self.all.len() >= self.limits.observations || own >= self.limits.observations_per_peer {
            return false;
        }
        let Some(path) = observation.request.options.uri_path() else { return false };
        self.by_path.entry(path).or_default().push(id.clone());
        self.counts.insert(id.owner.clone(), own.saturating_add(1));
        observation.serial = self.next;
        self.next = self.next.wrapping_add(1);
        self.all.insert(id, observation);
        true
    }

    pub(crate) fn remove(&mut self, id: &ObservationId) {
        let Some(observation) = self.all.remove(id) else { return };
        let path = observation.request.options.uri_path().unwrap_or_default();
        if let Some(ids) = self.by_path.get_mut(&path) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_path.remove(&path);
            }
        }
        if let Some(count) = self.counts.get_mut(&id.owner) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&id.owner);
            }
        }
    }

    /// Ends the observation of a notification, if it is still the same.
    pub(crate) fn end(&mut self, notifies: &Notifies) {
        if self.of(notifies).is_some() {
            self.remove(&notifies.id);
        }
    }

    /// The observation of a notification, if it is still the same.
    pub(crate) fn of(&mut self, notifies: &Notifies) -> Option<&mut Observation> {
        self.all.get_mut(&notifies.id).filter(|observation| observation.serial == notifies.serial)
    }

    /// A resource has changed: the observations to ask for now. The others are asked for later.
    pub(crate) fn changed(&mut self, path: &[String]) -> Vec<Notifies> {
        let ids = self.by_path.get(path).map(Vec::as_slice).unwrap_or_default();
        let mut now = Vec::new();
        for id in ids {
            let Some(observation) = self.all.get_mut(id) else { continue };
            observation.changed_again = observation.under_way;
            if !std::mem::replace(&mut observation.under_way, true) {
                now.push(Notifies { id: id.clone(), serial: observation.serial });
            }
        }
        now
    }

    /// A notification has come to its end; whether the resource is to be asked again.
    pub(crate) fn settled(&mut self, notifies: &Notifies) -> bool {
        let Some(observation) = self.of(notifies) else { return false };
        observation.under_way = std::mem::take(&mut observation.changed_again);
        observation.under_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_coap::Code;

    fn observation(path: &str) -> Observation {
        Observation::new(Message::request(Code::GET).with_path([path]), None)
    }

    fn id(port: u16, token: u8) -> ObservationId {
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        ObservationId { owner: Owner::Address(to), to, token: Token::new(&[token]) }
    }

    fn ids(notifies: &[Notifies]) -> Vec<ObservationId> {
        notifies.iter().map(|notifies| notifies.id.clone()).collect()
    }

    #[test]
    fn observations_are_found_by_path_and_have_bounds() {
        let limits = Limits { observations: 3, observations_per_peer: 2, ..Limits::default() };
        let mut all = Observations::new(&limits);
        assert!(all.add(id(1, 1), observation("a")));
        assert!(all.add(id(1, 2), observation("b")));
        assert!(!all.add(id(1, 3), observation("a")), "one peer's share");
        assert!(all.add(id(1, 1), observation("b")), "replaced");
        assert!(all.add(id(2, 1), observation("a")));
        assert!(!all.add(id(3, 1), observation("a")), "no more in all");
        assert_eq!(ids(&all.changed(&["a".into()])), [id(2, 1)]);
        assert_eq!(ids(&all.changed(&["b".into()])), [id(1, 2), id(1, 1)]);
        all.remove(&id(2, 1));
        all.remove(&id(2, 1));
        assert!(all.changed(&["a".into()]).is_empty());
        all.remove(&id(1, 1));
        assert!(all.add(id(1, 3), observation("a")) && all.add(id(3, 1), observation("a")), "there is room again");
        assert!(!all.add(id(4, 1), observation("a")));
    }

    #[test]
    fn one_notification_is_under_way_at_most() {
        let mut all = Observations::new(&Limits::default());
        all.add(id(1, 1), observation("a"));
        let path = ["a".into()];
        let first = all.changed(&path);
        assert_eq!(first.len(), 1);
        assert!(all.changed(&path).is_empty() && all.changed(&path).is_empty());
        assert!(all.settled(&first[0]), "it has changed meanwhile, twice");
        assert!(all.changed(&path).is_empty(), "that is under way now");
        assert!(all.settled(&first[0]) && !all.settled(&first[0]));
        assert_eq!(all.changed(&path).len(), 1);
        all.add(id(1, 1), observation("a"));
        assert!(!all.settled(&first[0]) && all.of(&first[0]).is_none(), "another observation of the same name");
        all.end(&first[0]);
        let second = all.changed(&path);
        assert_eq!(second.len(), 1);
        all.end(&second[0]);
        assert!(all.of(&second[0]).is_none());
    }
}
