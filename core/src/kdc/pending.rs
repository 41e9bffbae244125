//! Associations that were made of a token and wait for their first proven request.
//!
//! A post costs memory only: nothing is stored until the poster has shown that it holds the key. So the table
//! has bounds, for one client and in all.

use crate::Secret;
use crate::state::keys::PrincipalId;
use crate::state::records::StoredToken;
use crate::time::Now;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// Bounds of associations that are not proven.
#[derive(Clone, Copy, Debug)]
pub struct PendingLimits {
    /// For one client.
    pub per_client: usize,
    /// In all.
    pub total: usize,
    /// For how long one is kept at least, when others come.
    pub least_lifetime: Duration,
    /// For how long one is kept at most.
    pub lifetime: Duration,
}

impl Default for PendingLimits {
    fn default() -> Self {
        Self {
            per_client: 4,
            total: 65_536,
            least_lifetime: Duration::from_secs(30),
            lifetime: Duration::from_secs(600),
        }
    }
}

/// One association that waits.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its name.
    pub id: Vec<u8>,
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
    pub former: Option<Vec<u8>>,
    /// A hash of the post: who replays it gets the same answer, and no second association.
    pub post: [u8; 32],
}

impl Pending {
    /// Whose it is.
    fn client(&self) -> PrincipalId {
        PrincipalId::of(&self.issuer, &self.subject)
    }
}

/// Those that wait, each with the moment at which it came.
pub(super) struct Pendings {
    limits: PendingLimits,
    by_id: HashMap<Vec<u8>, (Duration, Pending)>,
    by_client: HashMap<PrincipalId, VecDeque<Vec<u8>>>,
    by_post: HashMap<[u8; 32], Vec<u8>>,
    by_age: BTreeSet<(Duration, Vec<u8>)>,
}

impl Pendings {
    pub(super) fn new(limits: PendingLimits) -> Self {
        Self {
            limits,
            by_id: HashMap::new(),
            by_client: HashMap::new(),
            by_post: HashMap::new(),
            by_age: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: &[u8]) -> Option<&Pending> {
        self.by_id.get(id).map(|(_, pending)| pending)
    }

    /// The one that this very post has made.
    pub(super) fn of_post(&self, post: &[u8; 32]) -> Option<&Pending> {
        self.get(self.by_post.get(post)?)
    }

    /// When a token ends of which associations wait: its time may have begun when it was first received.
    pub(super) fn token_expires(&self, client: PrincipalId, token_hash: &[u8]) -> Option<u64> {
        let own = self.by_client.get(&client)?.iter().filter_map(|id| self.get(id));
        own.filter(|pending| pending.token.hash.as_slice() == token_hash).map(|pending| pending.token.expires).min()
    }

    /// Whether one more for this client can be taken in without dropping one that is too young: who replays tokens
    /// cannot push out an association that its owner is about to use.
    pub(super) fn has_room(&self, now: Now, client: PrincipalId) -> bool {
        let own = self.by_client.get(&client);
        if let Some(own) = own.filter(|own| own.len() >= self.limits.per_client) {
            let oldest = own.front().and_then(|id| self.by_id.get(id));
            return oldest.is_some_and(|(came, _)| self.is_old(now, *came));
        }
        self.by_id.len() < self.limits.total || self.by_age.first().is_some_and(|(came, _)| self.is_old(now, *came))
    }

    fn is_old(&self, now: Now, came: Duration) -> bool {
        came.saturating_add(self.limits.least_lifetime) <= now.mono
    }

    /// Takes one in; answers which had to go for it: the oldest of the same client, or the oldest of all.
    pub(super) fn insert(&mut self, now: Now, pending: Pending) -> Vec<Vec<u8>> {
        let mut dropped = Vec::new();
        let client = pending.client();
        let own = self.by_client.get(&client);
        if own.is_some_and(|own| own.len() >= self.limits.per_client) {
            dropped.extend(own.and_then(|own| own.front()).cloned());
        } else if self.by_id.len() >= self.limits.total {
            dropped.extend(self.by_age.first().map(|(_, id)| id.clone()));
        }
        for id in &dropped {
            self.remove(id);
        }
        // A transport that names two alike has the later one alone.
        let id = pending.id.clone();
        self.remove(&id);
        self.by_client.entry(client).or_default().push_back(id.clone());
        self.by_age.insert((now.mono, id.clone()));
        self.by_post.insert(pending.post, id.clone());
        self.by_id.insert(id, (now.mono, pending));
        dropped
    }

    pub(super) fn remove(&mut self, id: &[u8]) {
        let Some((came, pending)) = self.by_id.remove(id) else { return };
        self.by_age.remove(&(came, id.to_vec()));
        self.by_post.remove(&pending.post);
        let client = pending.client();
        if let Some(own) = self.by_client.get_mut(&client) {
            own.retain(|other| other != id);
            if own.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }

    /// One has been proven. The later ones of its client may take its place, the earlier ones may not: answers these,
    /// which go.
    pub(super) fn proven(&mut self, id: &[u8]) -> Vec<Vec<u8>> {
        let Some(pending) = self.get(id) else { return Vec::new() };
        let own = self.by_client.get(&pending.client()).cloned().unwrap_or_default();
        let earlier: Vec<_> = own.iter().take_while(|other| *other != id).cloned().collect();
        for gone in earlier.iter().map(Vec::as_slice).chain([id]) {
            self.remove(gone);
        }
        for later in own {
            if let Some((_, pending)) = self.by_id.get_mut(&later) {
                pending.former = Some(id.to_vec());
            }
        }
        earlier
    }

    /// When the oldest one goes.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.by_age.first().map(|(came, _)| came.saturating_add(self.limits.lifetime))
    }

    /// Drops those that waited too long; answers which.
    pub(super) fn expire(&mut self, now: Now) -> Vec<Vec<u8>> {
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
    use serde_bytes::ByteBuf;

    fn client(number: u8) -> PrincipalId {
        PrincipalId::of("as", &number.to_string())
    }

    fn pending(id: u8, number: u8) -> Pending {
        Pending {
            id: vec![id],
            profile: 2,
            material: Secret::default(),
            input_id: vec![],
            issuer: "as".into(),
            subject: number.to_string(),
            token: StoredToken { hash: ByteBuf::from([id]), scope: vec![], expires: 0, sequence: None },
            nonce2: vec![],
            kdcchallenge: None,
            former: None,
            post: [id; 32],
        }
    }

    fn at(seconds: u64) -> Now {
        Now::new(0, Duration::from_secs(seconds))
    }

    fn table() -> Pendings {
        let limits = PendingLimits { per_client: 2, total: 3, ..PendingLimits::default() };
        Pendings::new(limits)
    }

    // Covers: TH-6-01
    #[test]
    fn one_client_cannot_push_others_out() {
        let mut table = table();
        assert!(table.insert(at(0), pending(200, 9)).is_empty());
        for id in 1..=2 {
            assert!(table.has_room(at(0), client(1)));
            assert!(table.insert(at(0), pending(id, 1)).is_empty());
        }
        assert!(!table.has_room(at(29), client(1)), "the first one is too young to go");
        assert_eq!(table.of_post(&[2; 32]).map(|known| known.id.clone()), Some(vec![2]));
        for id in 3..=50 {
            let now = at(30 * u64::from(id));
            assert!(table.has_room(now, client(1)));
            assert_eq!(table.insert(now, pending(id, 1)), [vec![id - 2]]);
        }
        assert_eq!(table.len(), 3);
        assert!(table.get(&[200]).is_some() && table.get(&[50]).is_some() && table.get(&[48]).is_none());
        assert!(table.of_post(&[48; 32]).is_none() && table.of_post(&[50; 32]).is_some());
    }

    // Covers: TH-6-01
    #[test]
    fn a_full_table_keeps_the_young() {
        let mut table = table();
        for id in 1..=3 {
            table.insert(at(u64::from(id)), pending(id, id));
        }
        assert!(!table.has_room(at(30), client(4)), "the oldest is 29 seconds old");
        assert!(table.has_room(at(31), client(4)));
        assert_eq!(table.insert(at(31), pending(4, 4)), [vec![1]]);
        table.remove(&[2]);
        table.remove(&[2]);
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
        assert_eq!(table.expire(at(600)), [vec![1]]);
        assert_eq!(table.expire(at(700)), [vec![2]]);
        assert_eq!(table.len(), 0);
    }
}
