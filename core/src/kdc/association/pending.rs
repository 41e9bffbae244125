//! Associations that were made of a token and wait for their first proven request.
//!
//! A post costs memory only: nothing is stored until the poster has shown that it holds the key. So the table has bounds:
//! for one token, for one client, and in all. Anybody who has seen a post can replay it with another nonce, so that the
//! bounds alone would let a listener keep a client out. Whoever has proven its address takes the place of one who has
//! not, and has one place for a token.

use crate::Secret;
use crate::id::AssociationId;
use crate::id::TokenHash;
use crate::schema::keys::PrincipalId;
use crate::schema::records::StoredToken;
use crate::time::{Now, UnixTime};
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// Bounds of associations that are not proven.
#[derive(Clone, Copy, Debug)]
pub struct PendingLimits {
    /// For one token.
    pub per_token: usize,
    /// For one client.
    pub per_client: usize,
    /// In all.
    pub total: usize,
    /// For how long one is kept at least, when others come that have proven no more.
    pub least_lifetime: Duration,
    /// For how long one is kept at most.
    pub lifetime: Duration,
}

impl Default for PendingLimits {
    fn default() -> Self {
        Self {
            per_token: 4,
            per_client: 32,
            total: 65_536,
            least_lifetime: Duration::from_secs(30),
            lifetime: Duration::from_secs(600),
        }
    }
}

/// One association that waits.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// Its name.
    pub id: AssociationId,
    /// The transport profile.
    pub profile: i64,
    /// What the keys are derived from.
    pub material: Secret,
    /// The name of the input material at the issuer.
    pub input_id: Vec<u8>,
    /// The issuer of the token.
    pub issuer: String,
    /// Its subject.
    pub subject: String,
    /// The token.
    pub token: StoredToken,
    /// N2, as it was answered.
    pub nonce2: Vec<u8>,
    /// N_S, where one was sent.
    pub kdcchallenge: Option<Vec<u8>>,
    /// The association that the client had when the post came; it is the one that this takes the place of.
    pub former: Option<AssociationId>,
    /// A hash of the post: who replays it gets the same answer, and no second association.
    pub post: [u8; 32],
    /// The host that posted it, where it has proven its address.
    pub host: Option<Bytes>,
}

impl Pending {
    /// Whose it is.
    fn client(&self) -> PrincipalId {
        PrincipalId::of(&self.issuer, &self.subject)
    }
}

/// Those that wait, each with the moment at which it came.
pub(in crate::kdc) struct Pendings {
    limits: PendingLimits,
    by_id: HashMap<AssociationId, (Duration, Pending)>,
    /// In the order in which they came.
    by_client: HashMap<PrincipalId, VecDeque<AssociationId>>,
    by_post: HashMap<[u8; 32], AssociationId>,
    by_age: BTreeSet<(Duration, AssociationId)>,
    /// Those whose poster has proven no address.
    unproven: BTreeSet<(Duration, AssociationId)>,
}

/// Whether there is a place for one more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kdc) enum Place {
    /// There is.
    Free,
    /// This one goes for it.
    Instead(AssociationId),
    /// There would be, if the poster proved its address.
    ForProven,
    /// There is none.
    None,
}

impl Pendings {
    pub(in crate::kdc) fn new(limits: PendingLimits) -> Self {
        Self {
            limits,
            by_id: HashMap::new(),
            by_client: HashMap::new(),
            by_post: HashMap::new(),
            by_age: BTreeSet::new(),
            unproven: BTreeSet::new(),
        }
    }

    pub(in crate::kdc) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(in crate::kdc) fn get(&self, id: &AssociationId) -> Option<&Pending> {
        self.by_id.get(id).map(|(_, pending)| pending)
    }

    /// The one that this very post has made.
    pub(in crate::kdc) fn of_post(&self, post: &[u8; 32]) -> Option<&Pending> {
        self.get(self.by_post.get(post)?)
    }

    /// When a token ends of which associations wait: its time may have begun when it was first received.
    pub(in crate::kdc) fn token_expires(&self, client: PrincipalId, token_hash: &TokenHash) -> Option<UnixTime> {
        let own = self.by_client.get(&client)?.iter().filter_map(|id| self.get(id));
        own.filter(|pending| pending.token.hash == *token_hash).map(|pending| pending.token.expires).min()
    }

    /// Whether one more can be taken in, of this client, by this token, and from this host, where it has proven its
    /// address.
    pub(in crate::kdc) fn place(
        &self,
        now: Now,
        client: PrincipalId,
        token_hash: &TokenHash,
        host: Option<&Bytes>,
    ) -> Place {
        let own = || self.by_client.get(&client).into_iter().flatten();
        let of_token = || own().filter(|id| self.get(id).is_some_and(|pending| pending.token.hash == *token_hash));
        let is_same = |id: &&AssociationId| self.get(id).is_some_and(|pending| pending.host.as_ref() == host);
        if let Some(former) = host.and_then(|_| of_token().find(is_same)) {
            return Place::Instead(former.clone());
        }
        if of_token().count() >= self.limits.per_token {
            return self.instead_of(now, of_token(), host);
        }
        if own().count() >= self.limits.per_client {
            return self.instead_of(now, own(), host);
        }
        if self.by_id.len() < self.limits.total {
            return Place::Free;
        }
        let (oldest, unproven) = (self.by_age.first(), self.unproven.first());
        self.instead_of(now, oldest.into_iter().chain(unproven).map(|(_, id)| id), host)
    }

    /// Which of these, the oldest first, goes for one more.
    fn instead_of<'a>(
        &'a self,
        now: Now,
        known: impl Iterator<Item = &'a AssociationId> + Clone,
        host: Option<&Bytes>,
    ) -> Place {
        let is_old = |id: &&AssociationId| self.by_id.get(*id).is_some_and(|(came, _)| self.is_old(now, *came));
        let mut unproven = known.clone().filter(|id| self.get(id).is_some_and(|pending| pending.host.is_none()));
        match (host, unproven.next(), known.clone().next().filter(is_old)) {
            (Some(_), Some(id), _) | (_, _, Some(id)) => Place::Instead(id.clone()),
            (None, Some(_), None) => Place::ForProven,
            _ => Place::None,
        }
    }

    fn is_old(&self, now: Now, came: Duration) -> bool {
        came.saturating_add(self.limits.least_lifetime) <= now.mono
    }

    /// Takes one in. Returns which had to go for it; where others have come since there was a place, that is itself.
    pub(in crate::kdc) fn insert(&mut self, now: Now, pending: Pending) -> Vec<AssociationId> {
        let (client, id) = (pending.client(), pending.id.clone());
        let dropped: Vec<AssociationId> = match self.place(now, client, &pending.token.hash, pending.host.as_ref()) {
            Place::Free => Vec::new(),
            Place::Instead(other) => vec![other],
            Place::ForProven | Place::None => return vec![id],
        };
        for id in &dropped {
            self.remove(id);
        }
        // A transport that names two alike has the later one alone.
        self.remove(&id);
        self.by_client.entry(client).or_default().push_back(id.clone());
        self.by_age.insert((now.mono, id.clone()));
        if pending.host.is_none() {
            self.unproven.insert((now.mono, id.clone()));
        }
        self.by_post.insert(pending.post, id.clone());
        self.by_id.insert(id, (now.mono, pending));
        dropped
    }

    pub(in crate::kdc) fn remove(&mut self, id: &AssociationId) {
        let Some((came, pending)) = self.by_id.remove(id) else { return };
        self.by_age.remove(&(came, id.clone()));
        self.unproven.remove(&(came, id.clone()));
        self.by_post.remove(&pending.post);
        let client = pending.client();
        if let Some(own) = self.by_client.get_mut(&client) {
            own.retain(|other| other != id);
            if own.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }

    /// One has been proven. The later ones of its client may take its place, the earlier ones may not. Returns these, which
    /// go.
    pub(in crate::kdc) fn proven(&mut self, id: &AssociationId) -> Vec<AssociationId> {
        let Some(pending) = self.get(id) else { return Vec::new() };
        let own = self.by_client.get(&pending.client()).cloned().unwrap_or_default();
        let earlier: Vec<_> = own.iter().take_while(|other| *other != id).cloned().collect();
        for gone in earlier.iter().chain([id]) {
            self.remove(gone);
        }
        for later in own {
            if let Some((_, pending)) = self.by_id.get_mut(&later) {
                pending.former = Some(id.clone());
            }
        }
        earlier
    }

    /// When the oldest one goes.
    pub(in crate::kdc) fn next_timeout(&self) -> Option<Duration> {
        self.by_age.first().map(|(came, _)| came.saturating_add(self.limits.lifetime))
    }

    /// Drops those that waited too long, and returns which.
    pub(in crate::kdc) fn expire(&mut self, now: Now) -> Vec<AssociationId> {
        let mut gone = Vec::new();
        while self.next_timeout().is_some_and(|at| at <= now.mono) {
            let Some((_, id)) = self.by_age.first().cloned() else { break };
            self.remove(&id);
            gone.push(id);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(number: u8) -> AssociationId {
        AssociationId::from(vec![number])
    }

    fn client(number: u8) -> PrincipalId {
        PrincipalId::of("as", &number.to_string())
    }

    fn pending(id: u8, number: u8) -> Pending {
        Pending {
            id: named(id),
            profile: 2,
            material: Secret::default(),
            input_id: vec![],
            issuer: "as".into(),
            subject: number.to_string(),
            token: StoredToken {
                hash: vec![id].into(),
                scope: vec![],
                expires: UnixTime::EPOCH,
                sequence: None,
                issuer_key: None,
                issued: None,
            },
            nonce2: vec![],
            kdcchallenge: None,
            former: None,
            post: [id; 32],
            host: None,
        }
    }

    /// The same, by a token of its own.
    fn by(token: u8, pending: Pending) -> Pending {
        let token = StoredToken { hash: vec![token].into(), ..pending.token.clone() };
        Pending { token, ..pending }
    }

    /// The same, from a host that has proven its address.
    fn from(host: u8, pending: Pending) -> Pending {
        Pending { host: Some(Bytes::copy_from_slice(&[host])), ..pending }
    }

    impl Pendings {
        /// Whether one more of this client could come, by a token of its own.
        fn has_room(&self, now: Now, client: PrincipalId) -> bool {
            matches!(self.place(now, client, &b"new".into(), None), Place::Free | Place::Instead(_))
        }

        fn take(&mut self, pending: Pending) -> Place {
            let place = self.place(at(0), pending.client(), &pending.token.hash, pending.host.as_ref());
            self.insert(at(0), pending);
            place
        }
    }

    fn at(seconds: u64) -> Now {
        Now::new(0, Duration::from_secs(seconds))
    }

    fn table() -> Pendings {
        let limits = PendingLimits { per_token: 2, per_client: 2, total: 3, ..PendingLimits::default() };
        Pendings::new(limits)
    }

    // Covers: TH-6-01/least-lifetime
    #[test]
    fn one_client_cannot_push_others_out() {
        let mut table = table();
        assert!(table.insert(at(0), pending(200, 9)).is_empty());
        for id in 1..=2 {
            assert!(table.has_room(at(0), client(1)));
            assert!(table.insert(at(0), pending(id, 1)).is_empty());
        }
        assert!(!table.has_room(at(29), client(1)), "the first one is too young to go");
        assert_eq!(table.of_post(&[2; 32]).map(|known| known.id.clone()), Some(named(2)));
        for id in 3..=50 {
            let now = at(30 * u64::from(id));
            assert!(table.has_room(now, client(1)));
            assert_eq!(table.insert(now, pending(id, 1)), [named(id - 2)]);
        }
        assert_eq!(table.len(), 3);
        assert!(table.get(&named(200)).is_some() && table.get(&named(50)).is_some() && table.get(&named(48)).is_none());
        assert!(table.of_post(&[48; 32]).is_none() && table.of_post(&[50; 32]).is_some());
    }

    // Covers: TH-6-01/least-lifetime
    #[test]
    fn a_full_table_keeps_the_young() {
        let mut table = table();
        for id in 1..=3 {
            table.insert(at(u64::from(id)), pending(id, id));
        }
        assert!(!table.has_room(at(30), client(4)), "the oldest is 29 seconds old");
        assert!(table.has_room(at(31), client(4)));
        assert_eq!(table.insert(at(31), pending(4, 4)), [named(1)]);
        table.remove(&named(2));
        table.remove(&named(2));
        assert!(table.has_room(at(31), client(5)));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut table = table();
        assert_eq!(table.next_timeout(), None);
        table.insert(at(0), pending(1, 1));
        table.insert(at(5), pending(2, 2));
        assert_eq!(table.next_timeout(), Some(Duration::from_secs(600)));
        assert!(table.expire(at(599)).is_empty());
        assert_eq!(table.expire(at(600)), [named(1)]);
        assert_eq!(table.expire(at(700)), [named(2)]);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_token_has_a_bound_of_its_own_and_who_has_proven_its_address_gets_in() {
        let limits = PendingLimits { per_token: 2, per_client: 4, total: 5, ..PendingLimits::default() };
        let mut table = Pendings::new(limits);
        let old = |id| by(100, pending(id, 1));
        assert_eq!((table.take(old(1)), table.take(old(2))), (Place::Free, Place::Free));
        // The third post of one token has no place: not without a proof, and it takes nobody's.
        assert_eq!((table.take(old(3)), table.len()), (Place::ForProven, 2));
        assert_eq!(table.take(by(101, pending(4, 1))), Place::Free, "another token");
        // Who has proven its address takes the place of the oldest one who has not, and has one place for a token.
        assert_eq!(table.take(from(9, old(5))), Place::Instead(named(1)));
        assert_eq!(table.take(from(9, old(6))), Place::Instead(named(5)));
        assert_eq!(table.take(from(8, old(7))), Place::Instead(named(2)));
        // Now nobody who has proven no more does.
        assert_eq!((table.take(from(7, old(8))), table.take(old(9))), (Place::None, Place::None));
        assert!(table.get(&named(6)).is_some() && table.get(&named(7)).is_some() && table.len() == 3);
        // The client's bound, and that of all, by the same rule.
        assert_eq!(table.take(by(102, pending(10, 1))), Place::Free);
        assert_eq!(table.take(by(103, pending(11, 1))), Place::ForProven);
        assert_eq!(table.take(from(9, by(103, pending(12, 1)))), Place::Instead(named(4)));
        assert_eq!(table.take(pending(13, 2)), Place::Free);
        assert_eq!(table.take(pending(14, 3)), Place::ForProven);
        assert_eq!(table.take(from(9, pending(15, 3))), Place::Instead(named(10)));
        assert_eq!((table.len(), table.unproven.len(), table.by_age.len()), (5, 1, 5));
        // What is old enough goes for anybody.
        assert_eq!(table.place(at(30), client(1), &b"d".into(), None), Place::Instead(named(6)));
    }
}
