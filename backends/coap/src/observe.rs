//! Observations of a server's resources (RFC 7641 section 4).
//!
//! Of each observation one notification at most is under way: asked for, or sent and not acknowledged. What changes
//! meanwhile is noted, and asked for once when that has come to its end (section 4.5.2).

mod former;

use crate::Limits;
use crate::owner::{Owner, Shares};
use crate::socket::AddressPair;
use ace_coap::numbers::option;
use ace_coap::security::ObservationBinding;
use ace_coap::{Code, Message, Token};
use former::FormerNumbers;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// The longest registration that is kept.
const REGISTRATION: usize = 1_024;

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
    /// Where the client is, and the session that it is in.
    pub(crate) at: AddressPair,
    /// The registration, which is asked again for each notification.
    pub(crate) request: Message,
    pub(crate) binding: Option<ObservationBinding>,
    /// The number of the last notification.
    pub(crate) number: u32,
    serial: u64,
    under_way: bool,
    changed_again: bool,
    /// Whether its registration is kept elsewhere, to resume it after a restart.
    is_kept: bool,
}

impl Observation {
    pub(crate) const fn new(
        at: AddressPair,
        request: Message,
        binding: Option<ObservationBinding>,
        is_kept: bool,
    ) -> Self {
        Self { at, request, binding, number: 0, serial: 0, under_way: false, changed_again: false, is_kept }
    }
}

/// Whether a request asks to observe what can be observed.
pub(crate) fn is_registration(request: &Message) -> bool {
    [Code::GET, Code::FETCH].contains(&request.code) && request.options.uint(option::OBSERVE) == Some(0)
}

/// All observations of a server.
pub(crate) struct Observations {
    limits: Limits,
    all: HashMap<ObservationId, Observation>,
    by_path: BTreeMap<Vec<String>, Vec<ObservationId>>,
    /// Those of each owner, in the order in which they came.
    by_owner: HashMap<Owner, Vec<ObservationId>>,
    shares: Shares,
    /// Registrations that are being answered, for which there is room.
    reserved: Shares,
    reserved_in_all: usize,
    /// When it has to be seen whether a client is still there.
    checks: VecDeque<(Duration, Notifies)>,
    /// Those that have ended, of those that are kept elsewhere.
    ended: Vec<(ObservationId, Observation)>,
    former: FormerNumbers,
    next: u64,
}

/// Whose share an observation is of: a known peer's, or that of all others.
fn share(owner: &Owner) -> Owner {
    match owner {
        Owner::Peer(_) => owner.clone(),
        Owner::Proven(address) | Owner::Stranger(address) => Owner::Stranger(*address),
    }
}

impl Observations {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            all: HashMap::new(),
            by_path: BTreeMap::new(),
            by_owner: HashMap::new(),
            shares: Shares::default(),
            reserved: Shares::default(),
            reserved_in_all: 0,
            checks: VecDeque::new(),
            ended: Vec::new(),
            former: FormerNumbers::default(),
            next: 0,
        }
    }

    /// Adds an observation, or replaces one; its name, where there was room. Numbers go on where those of the
    /// replaced one have come to.
    pub(crate) fn add(&mut self, now: Duration, id: ObservationId, mut observation: Observation) -> Option<Notifies> {
        self.remove(&id);
        let number = self.former.get(&id).map_or(0, next_number);
        if self.shares.of(&share(&id.owner)) >= self.limits.observations_per_peer
            && let Some(former) = self.gives_way(&id, &observation.request)
        {
            self.remove(&former);
        }
        let has_room = self.has_room(&id, &observation.request, 0, 0);
        let Some(path) = observation.request.options.uri_path().filter(|_| has_room) else {
            self.note_end(id, observation);
            return None;
        };
        self.by_path.entry(path).or_default().push(id.clone());
        self.by_owner.entry(id.owner.clone()).or_default().push(id.clone());
        self.shares.take(&share(&id.owner));
        (observation.serial, observation.number) = (self.next, number);
        self.next = self.next.wrapping_add(1);
        let notifies = Notifies { id: id.clone(), serial: observation.serial };
        self.checks.push_back((now.saturating_add(self.limits.observation_check), notifies.clone()));
        self.all.insert(id, observation);
        Some(notifies)
    }

    /// Which observation of the same owner gives way to one more: a former one of the same resource, or the oldest. A client
    /// that has lost its state registers anew, and nobody else can say that the old ones are dead.
    fn gives_way(&self, id: &ObservationId, request: &Message) -> Option<ObservationId> {
        let own = self.by_owner.get(&id.owner)?;
        let path = request.options.uri_path();
        let is_same = |other: &&ObservationId| {
            self.all.get(other).is_some_and(|observation| observation.request.options.uri_path() == path)
        };
        own.iter().find(is_same).or_else(|| own.first()).cloned()
    }

    /// Whether there is room for this one, beside so many of its owner and in all that are to come.
    fn has_room(&self, id: &ObservationId, request: &Message, own: usize, all: usize) -> bool {
        // One of the same name makes room.
        let replaced = usize::from(self.all.contains_key(id));
        let in_share = self.shares.of(&share(&id.owner)).saturating_add(own);
        let all = self.all.len().saturating_add(all);
        // So do others of the same owner, each for one.
        let own_ones = self.by_owner.get(&id.owner).map_or(0, Vec::len);
        let has_share = in_share < self.limits.observations_per_peer.saturating_add(replaced) || own < own_ones;
        all < self.limits.observations.saturating_add(replaced) && has_share && request.encode().len() <= REGISTRATION
    }

    /// Keeps room for an observation whose registration is being answered, where there is some. It is to be given back
    /// by [`Self::release`].
    pub(crate) fn reserve(&mut self, id: &ObservationId, request: &Message) -> bool {
        let has_room = self.has_room(id, request, self.reserved.of(&share(&id.owner)), self.reserved_in_all);
        if has_room {
            self.reserved.take(&share(&id.owner));
            self.reserved_in_all = self.reserved_in_all.saturating_add(1);
        }
        has_room
    }

    /// A registration is answered.
    pub(crate) fn release(&mut self, owner: &Owner) {
        self.reserved.give(&share(owner));
        self.reserved_in_all = self.reserved_in_all.saturating_sub(1);
    }

    pub(crate) fn remove(&mut self, id: &ObservationId) {
        let Some(observation) = self.all.remove(id) else { return };
        self.former.note(id.clone(), observation.number);
        let path = observation.request.options.uri_path().unwrap_or_default();
        if let Some(ids) = self.by_path.get_mut(&path) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_path.remove(&path);
            }
        }
        if let Some(own) = self.by_owner.get_mut(&id.owner) {
            own.retain(|other| other != id);
            if own.is_empty() {
                self.by_owner.remove(&id.owner);
            }
        }
        self.shares.give(&share(&id.owner));
        // Of observations that came and went something is left here, for a day; not more than of those that are.
        if self.checks.len() > self.all.len().saturating_mul(2).max(64) {
            let mut checks = std::mem::take(&mut self.checks);
            checks.retain(|(_, notifies)| self.of(notifies).is_some());
            self.checks = checks;
        }
        self.note_end(id.clone(), observation);
    }

    fn note_end(&mut self, id: ObservationId, observation: Observation) {
        if observation.is_kept {
            self.ended.push((id, observation));
        }
    }

    /// Those that have ended since, of those that are kept elsewhere.
    pub(crate) fn take_ended(&mut self) -> Vec<(ObservationId, Observation)> {
        std::mem::take(&mut self.ended)
    }

    /// What an owner observes is to be asked for again: now, or when what is under way has come to its end.
    pub(crate) fn of_owner(&mut self, owner: &Owner) -> Vec<Notifies> {
        self.named(owner).into_iter().filter(|notifies| self.changed_meanwhile(notifies)).collect()
    }

    /// All observations of an owner.
    pub(crate) fn named(&self, owner: &Owner) -> Vec<Notifies> {
        let own = self.by_owner.get(owner).into_iter().flatten();
        let name = |id: &ObservationId| Some(Notifies { id: id.clone(), serial: self.all.get(id)?.serial });
        own.filter_map(name).collect()
    }

    /// Ends all observations of an owner.
    pub(crate) fn forget(&mut self, owner: &Owner) {
        for Notifies { id, .. } in self.named(owner) {
            self.remove(&id);
        }
    }

    /// Whether an owner observes the resource with one of these paths.
    pub(crate) fn has_any(&self, owner: &Owner, paths: &[Vec<String>]) -> bool {
        let own = self.by_owner.get(owner).into_iter().flatten().filter_map(|id| self.all.get(id));
        own.filter_map(|observation| observation.request.options.uri_path()).any(|path| paths.contains(&path))
    }

    /// Ends what an owner observes of the resource with this path, and below it.
    pub(crate) fn forget_below(&mut self, owner: &Owner, path: &[String]) {
        for Notifies { id, .. } in self.named(owner) {
            let of = self.all.get(&id).and_then(|observation| observation.request.options.uri_path());
            if of.is_some_and(|of| of.starts_with(path)) {
                self.remove(&id);
            }
        }
    }

    /// When the next client has to be asked whether it is still there.
    pub(crate) fn next_check(&self) -> Option<Duration> {
        self.checks.front().map(|(at, _)| *at)
    }

    /// An observation whose client has to be asked now, by a notification (RFC 7641 section 4.5).
    pub(crate) fn check(&mut self, now: Duration) -> Option<Notifies> {
        while self.next_check().is_some_and(|at| at <= now) {
            let (_, notifies) = self.checks.pop_front()?;
            if let Some(observation) = self.of(&notifies) {
                let is_asked = std::mem::replace(&mut observation.under_way, true);
                self.checks.push_back((now.saturating_add(self.limits.observation_check), notifies.clone()));
                if !is_asked {
                    return Some(notifies);
                }
            }
        }
        None
    }

    /// Something has gone out that has to come to its end before the next notification does.
    pub(crate) fn begin(&mut self, notifies: &Notifies) {
        if let Some(observation) = self.of(notifies) {
            observation.under_way = true;
        }
    }

    /// The resource may have changed while the registration was being answered.
    pub(crate) fn changed_meanwhile(&mut self, notifies: &Notifies) -> bool {
        let Some(observation) = self.of(notifies) else { return false };
        observation.changed_again = observation.under_way;
        !std::mem::replace(&mut observation.under_way, true)
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

    /// A resource and all below it have changed.
    pub(crate) fn changed_below(&mut self, path: &[String]) -> Vec<Notifies> {
        let from = self.by_path.range(path.to_vec()..).map(|(at, _)| at);
        let below: Vec<Vec<String>> = from.take_while(|at| at.starts_with(path)).cloned().collect();
        below.iter().flat_map(|path| self.changed(path)).collect()
    }

    /// A notification has come to its end; whether the resource is to be asked again.
    pub(crate) fn settled(&mut self, notifies: &Notifies) -> bool {
        let Some(observation) = self.of(notifies) else { return false };
        observation.under_way = std::mem::take(&mut observation.changed_again);
        observation.under_way
    }
}

/// The number of the next notification, in 24 bits.
pub(crate) const fn next_number(number: u32) -> u32 {
    number.wrapping_add(1) & 0xff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(path: &str) -> Observation {
        let at = SocketAddr::from(([127, 0, 0, 1], 1)).into();
        Observation::new(at, Message::request(Code::GET).with_path(path.split('/')), None, false)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn add(all: &mut Observations, port: u16, token: u8, path: &str) -> bool {
        all.add(at(0), id(port, token), observation(path)).is_some()
    }

    fn id(port: u16, token: u8) -> ObservationId {
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let owner = Owner::Peer(ace_coap::security::PeerId::new(&port.to_be_bytes()));
        ObservationId { owner, to, token: Token::new(&[token]) }
    }

    fn ids(notifies: &[Notifies]) -> Vec<ObservationId> {
        notifies.iter().map(|notifies| notifies.id.clone()).collect()
    }

    // Covers: TH-6-02/observe-bound
    #[test]
    fn observations_are_found_by_path_and_have_bounds() {
        let limits = Limits { observations: 3, observations_per_peer: 2, ..Limits::default() };
        let mut all = Observations::new(&limits);
        assert!(add(&mut all, 1, 1, "a") && add(&mut all, 1, 2, "b"));
        assert!(add(&mut all, 1, 1, "b"), "replaced");
        assert!(add(&mut all, 2, 1, "a"));
        assert!(!add(&mut all, 3, 1, "a"), "no more in all");
        assert_eq!(ids(&all.changed(&["a".into()])), [id(2, 1)]);
        assert_eq!(ids(&all.changed(&["b".into()])), [id(1, 2), id(1, 1)]);
        all.remove(&id(2, 1));
        all.remove(&id(2, 1));
        assert!(all.changed(&["a".into()]).is_empty());
        all.remove(&id(1, 1));
        assert!(add(&mut all, 1, 3, "a") && add(&mut all, 3, 1, "a"), "there is room again");
        assert!(!add(&mut all, 4, 1, "a"));
    }

    #[test]
    fn observations_below_a_path_are_found_and_no_others() {
        let mut all = Observations::new(&Limits::default());
        for (token, path) in [(1, "a"), (2, "a/b"), (3, "a/b/c"), (4, "ab"), (5, "a!"), (6, "b")] {
            assert!(add(&mut all, 1, token, path));
        }
        assert_eq!(ids(&all.changed_below(&["a".into()])), [id(1, 1), id(1, 2), id(1, 3)]);
        assert_eq!(ids(&all.changed_below(&["a".into()])), [], "they are under way");
        assert_eq!(ids(&all.changed_below(&["c".into()])), []);
    }

    #[test]
    fn registrations_that_are_being_answered_have_room_kept() {
        let limits = Limits { observations: 3, observations_per_peer: 2, ..Limits::default() };
        let mut all = Observations::new(&limits);
        let request = observation("a").request;
        assert!(all.reserve(&id(1, 1), &request) && all.reserve(&id(1, 2), &request));
        assert!(!all.reserve(&id(1, 3), &request), "one peer's share, and none that could give way");
        assert!(all.reserve(&id(2, 1), &request));
        assert!(!all.reserve(&id(3, 1), &request), "no more in all");
        all.release(&id(1, 1).owner);
        assert!(add(&mut all, 1, 1, "a"), "its own room");
        assert!(!all.reserve(&id(1, 3), &request) && !all.reserve(&id(3, 1), &request));
        all.release(&id(1, 2).owner);
        all.release(&id(2, 1).owner);
        assert!(add(&mut all, 1, 2, "a") && add(&mut all, 2, 1, "a"));
        assert!(!all.reserve(&id(1, 3), &request) && !all.reserve(&id(3, 1), &request));
        assert!(all.reserve(&id(1, 1), &request), "one of the same name makes room");
        assert!(!all.reserve(&id(1, 2), &request), "once");
        all.release(&id(1, 1).owner);
        all.remove(&id(1, 1));
        assert!(all.reserve(&id(3, 1), &request));
    }

    #[test]
    fn all_who_are_not_known_have_one_share_and_long_registrations_none() {
        let mut all = Observations::new(&Limits { observations_per_peer: 2, ..Limits::default() });
        let mut proven = |port: u16| {
            let to = SocketAddr::from(([127, 0, 0, 1], port));
            let id = ObservationId { owner: Owner::Proven(to), to, token: Token::new(&[1]) };
            all.add(at(0), id, observation("a")).is_some()
        };
        assert!(proven(1) && proven(2) && !proven(3), "nobody gives way to somebody else");
        assert!(add(&mut all, 1, 1, "a"));
        let padded = |bytes: usize| {
            let mut padded = observation("a");
            padded.request.options.push(65_000, &vec![0; bytes]);
            padded
        };
        // Around the padding there are as many bytes as around 1,000 of it.
        let around = padded(1_000).request.encode().len() - 1_000;
        assert!(all.add(at(0), id(1, 2), padded(REGISTRATION - around + 1)).is_none());
        assert!(all.add(at(0), id(1, 2), padded(REGISTRATION - around)).is_some());
    }

    #[test]
    fn a_dead_observation_gives_way_to_a_new_one_of_the_same_client() {
        let mut all = Observations::new(&Limits { observations_per_peer: 3, ..Limits::default() });
        assert!(add(&mut all, 9, 1, "a"));
        for (token, path) in [(1, "a"), (2, "b"), (3, "c")] {
            assert!(add(&mut all, 1, token, path));
        }
        // A former one of the same resource, else the oldest.
        assert!(add(&mut all, 1, 4, "b"));
        assert_eq!(ids(&all.named(&id(1, 1).owner)), [id(1, 1), id(1, 3), id(1, 4)]);
        assert!(add(&mut all, 1, 5, "d"));
        assert_eq!(ids(&all.named(&id(1, 1).owner)), [id(1, 3), id(1, 4), id(1, 5)]);
        assert_eq!(ids(&all.named(&id(9, 1).owner)), [id(9, 1)], "others keep theirs");
        all.forget(&id(1, 1).owner);
        assert!(all.named(&id(1, 1).owner).is_empty() && all.by_owner.len() == 1);
    }

    #[test]
    fn one_notification_is_under_way_at_most() {
        let mut all = Observations::new(&Limits::default());
        add(&mut all, 1, 1, "a");
        let path = ["a".into()];
        let first = all.changed(&path);
        assert_eq!(first.len(), 1);
        assert!(all.changed(&path).is_empty() && all.changed(&path).is_empty());
        assert!(all.settled(&first[0]), "it has changed meanwhile, twice");
        assert!(all.changed(&path).is_empty(), "that is under way now");
        assert!(all.settled(&first[0]) && !all.settled(&first[0]));
        assert_eq!(all.changed(&path).len(), 1);
        add(&mut all, 1, 1, "a");
        assert!(!all.settled(&first[0]) && all.of(&first[0]).is_none(), "another observation of the same name");
        all.end(&first[0]);
        let second = all.changed(&path);
        assert_eq!(second.len(), 1);
        all.end(&second[0]);
        assert!(all.of(&second[0]).is_none());
    }

    #[test]
    fn a_registration_that_is_under_way_or_overtaken_is_followed() {
        let mut all = Observations::new(&Limits::default());
        let first = all.add(at(0), id(1, 1), observation("a")).unwrap();
        assert!(all.changed_meanwhile(&first), "asked for at once");
        assert!(!all.changed_meanwhile(&first) && all.settled(&first), "or when that is over");
        let second = all.add(at(0), id(1, 2), observation("a")).unwrap();
        all.begin(&second);
        assert!(!all.changed_meanwhile(&second), "its answer has to be acknowledged first");
        assert!(all.settled(&second));
        // Registered again, numbers go on.
        all.of(&second).unwrap().number = 0xff_fffe;
        let third = all.add(at(0), id(1, 2), observation("a")).unwrap();
        assert_eq!(all.of(&third).unwrap().number, 0xff_ffff);
        assert_eq!(next_number(0xff_ffff), 0);
    }

    #[test]
    fn clients_of_what_never_changes_are_asked_once_a_day() {
        let mut all = Observations::new(&Limits::default());
        let (first, second) =
            (all.add(at(0), id(1, 1), observation("a")).unwrap(), all.add(at(10), id(2, 1), observation("b")).unwrap());
        assert_eq!((all.next_check(), all.check(at(86_399))), (Some(at(86_400)), None));
        assert_eq!(all.check(at(86_400)), Some(first.clone()));
        assert_eq!(all.check(at(86_400)), None);
        assert!(!all.settled(&first));
        all.end(&second);
        assert_eq!(all.check(at(90_000)), None, "gone");
        assert_eq!(all.next_check(), Some(at(2 * 86_400)));
        all.changed(&["a".into()]);
        assert_eq!(all.check(at(2 * 86_400)), None, "it is being told already");
        for token in 0..200 {
            all.add(at(0), id(3, token), observation("c"));
            all.remove(&id(3, token));
        }
        assert!(all.checks.len() <= 65, "{}", all.checks.len());
    }
}
