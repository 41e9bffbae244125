//! Observations of a server's resources (RFC 7641 section 4).

use crate::Limits;
use crate::block::Owner;
use ace_coap::security::ObservationBinding;
use ace_coap::{Message, Token};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// Names an observation: where its notifications go, under which token.
pub(crate) type ObservationId = (SocketAddr, Token);

/// One observation.
pub(crate) struct Observation {
    pub(crate) owner: Owner,
    /// The registration, which is asked again for each notification.
    pub(crate) request: Message,
    pub(crate) binding: Option<ObservationBinding>,
    /// The number of the last notification.
    pub(crate) number: u32,
}

/// All observations of a server.
pub(crate) struct Observations {
    limits: Limits,
    all: HashMap<ObservationId, Observation>,
    by_path: BTreeMap<Vec<String>, Vec<ObservationId>>,
}

impl Observations {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, all: HashMap::new(), by_path: BTreeMap::new() }
    }

    /// Adds an observation, or replaces one; answers whether there was room.
    pub(crate) fn add(&mut self, id: ObservationId, observation: Observation) -> bool {
        self.remove(&id);
        let own =
            self.all.values().filter(|other| other.owner == observation.owner).take(self.limits.observations_per_peer);
        if self.all.len() >= self.limits.observations || own.count() >= self.limits.observations_per_peer {
            return false;
        }
        let Some(path) = observation.request.options.uri_path() else { return false };
        self.by_path.entry(path).or_default().push(id.clone());
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
    }

    pub(crate) fn get_mut(&mut self, id: &ObservationId) -> Option<&mut Observation> {
        self.all.get_mut(id)
    }

    /// Those of one resource.
    pub(crate) fn of(&self, path: &[String]) -> Vec<ObservationId> {
        self.by_path.get(path).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_coap::Code;

    fn observation(port: u16, path: &str) -> Observation {
        Observation {
            owner: Owner::Address(([127, 0, 0, 1], port).into()),
            request: Message::request(Code::GET).with_path([path]),
            binding: None,
            number: 0,
        }
    }

    fn id(port: u16, token: u8) -> ObservationId {
        (([127, 0, 0, 1], port).into(), Token::new(&[token]))
    }

    #[test]
    fn observations_are_found_by_path_and_have_bounds() {
        let limits = Limits { observations: 3, observations_per_peer: 2, ..Limits::default() };
        let mut all = Observations::new(&limits);
        assert!(all.add(id(1, 1), observation(1, "a")));
        assert!(all.add(id(1, 2), observation(1, "b")));
        assert!(!all.add(id(1, 3), observation(1, "a")), "one peer's share");
        assert!(all.add(id(1, 1), observation(1, "b")), "replaced");
        assert!(all.add(id(2, 1), observation(2, "a")));
        assert!(!all.add(id(3, 1), observation(3, "a")), "no more in all");
        assert_eq!(all.of(&["a".into()]), [id(2, 1)]);
        assert_eq!(all.of(&["b".into()]), [id(1, 2), id(1, 1)]);
        all.remove(&id(2, 1));
        all.remove(&id(2, 1));
        assert!(all.of(&["a".into()]).is_empty() && all.get_mut(&id(2, 1)).is_none());
    }
}
