//! Associations that were made of a token and wait for their first proven request.
//!
//! A post costs memory only: nothing is stored until the poster has shown that it holds the key. So the table has bounds:
//! for one token, for one client, and in all. Anybody who has seen a post can replay it with another nonce, so that the
//! bounds alone would let a listener keep a client out. Whoever has proven its address takes the place of one who has
//! not, and has one place for a token.

use crate::Secret;
use crate::id::AssociationId;
use crate::id::TokenHash;
use crate::refusal::Refusal;
use crate::schema::keys::PrincipalId;
use crate::schema::records::StoredToken;
use crate::time::{Now, UnixTime};
use ace_groupcomm_messages::{Label, RawCbor};
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// Bounds of associations that are not proven.
#[derive(Clone, Copy, Debug)]
pub struct PendingLimits {
    /// How many may wait for one token.
    pub per_token: usize,
    /// How many may wait for one client of an issuer.
    pub per_client: usize,
    /// How many may wait in all.
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
    /// The name of the association.
    pub id: AssociationId,
    /// The transport profile, `ace_profile`.
    pub profile: i64,
    /// What the keys are derived from.
    pub material: Secret,
    /// The name of the input material at the issuer.
    pub input_id: Vec<u8>,
    /// The issuer of the token.
    pub issuer: String,
    /// The client's name at the issuer, `sub`.
    pub subject: String,
    /// The token as it was verified, to be stored with the association.
    pub token: StoredToken,
    /// What the transport profile answered.
    pub answer: Vec<(Label, RawCbor)>,
    /// Whether its messages need sequence numbers.
    pub has_sequence_numbers: bool,
    /// Whether its keys are to come of a handshake.
    pub awaits_handshake: bool,
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
    /// Whether it has its keys.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] while its handshake goes on.
    pub(in crate::kdc) const fn is_established(&self) -> Result<(), Refusal> {
        if self.awaits_handshake {
            return Err(Refusal::Unavailable("the association waits for its handshake", 1));
        }
        Ok(())
    }

    /// Returns the client whose association it is.
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
    /// It is within all bounds.
    Free,
    /// This one goes for it.
    Instead(AssociationId),
    /// There would be, if the poster proved its address.
    ForProven,
    /// The bounds are reached by others that may not be pushed out.
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

    /// The handshake of one has ended, with this material. Returns its transport profile, where that was waited for.
    pub(in crate::kdc) fn establish(&mut self, id: &AssociationId, material: Secret) -> Option<i64> {
        let (_, pending) = self.by_id.get_mut(id)?;
        if !std::mem::replace(&mut pending.awaits_handshake, false) {
            return None;
        }
        pending.material = material;
        Some(pending.profile)
    }

    /// One has been proven. The later ones for its token or its key may take its place, the earlier ones may not. Returns
    /// these, which go.
    pub(in crate::kdc) fn proven(&mut self, id: &AssociationId) -> Vec<AssociationId> {
        let Some(pending) = self.get(id) else { return Vec::new() };
        let is_same = |other: &Pending| {
            other.token.hash == pending.token.hash || !other.input_id.is_empty() && other.input_id == pending.input_id
        };
        let of_client = self.by_client.get(&pending.client()).into_iter().flatten();
        let own: Vec<_> = of_client.filter(|id| self.get(id).is_some_and(is_same)).cloned().collect();
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
mod tests;
