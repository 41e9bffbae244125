//! Whether what is stored fits together: every record is read, and each rule that concerns several of them is looked at.
//!
//! ```
//! use ace_groupcomm::check::Check;
//! use ace_groupcomm::traits::storage::Key;
//!
//! let mut check = Check::default();
//! check.record(&Key::new("n/lamps"), b"damaged"); // and so on, for all of one snapshot
//! let findings = check.finish();
//! assert!(!findings.is_clean());
//! assert_eq!(findings.to_string(), "1 record\nn/lamps: cannot be read");
//! ```

use crate::RecordType;
use crate::delivery::{ControlRecord, RekeyProgress};
use crate::id::AssociationId;
use crate::id::Gid;
use crate::id::SenderId;
use crate::id::TokenHash;
use crate::keys::{self, GroupId, PrincipalId};
use crate::records::{
    Association, Ban, BanEnd, BelongsTo, Deletion, ExpiredSequence, Expiry, GidOwner, GroupConfiguration, GroupSecret,
    Head, HeldToken, Issued, Leaving, Mark, MemberRecord, Meta, NamedGroup, Observation, Principal, Provoked,
    ProvokedEnd, RevocationEnd, Revoked, SenderIdRecord, SequenceLimit, StoredToken, TrustedIssuers,
};
use crate::schema::kind::Kind;
use crate::time::UnixTime;
use crate::traits::storage::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How many findings are told one by one.
const TOLD: usize = 100;

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many records there are.
    pub records: u64,
    /// Groups, and the members of all.
    pub groups: u64,
    /// How many memberships there are, in all groups.
    pub members: u64,
    /// Clients with a token.
    pub clients: u64,
    /// How many associations are stored.
    pub associations: u64,
    /// Observations. One may outlive its association: it ends when its client is told of the next change.
    pub observations: u64,
    /// Input material that an AS has issued.
    pub issued: u64,
    /// How much is wrong.
    pub wrong: u64,
    /// The first of it: the record, and what is wrong.
    pub told: Vec<(Key, &'static str)>,
}

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.wrong == 0
    }

    fn wrong(&mut self, key: Key, what: &'static str) {
        self.wrong = self.wrong.saturating_add(1);
        if self.told.len() < TOLD {
            self.told.push((key, what));
        }
    }

    fn require(&mut self, holds: bool, key: impl FnOnce() -> Key, what: &'static str) {
        if !holds {
            self.wrong(key(), what);
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} record{}", self.records, if self.records == 1 { "" } else { "s" })?;
        for (count, what) in [
            (self.groups, "groups"),
            (self.members, "members"),
            (self.clients, "clients with a token"),
            (self.associations, "associations"),
            (self.observations, "observations"),
            (self.issued, "issued keys"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        for (key, what) in &self.told {
            write!(f, "\n{key:?}: {what}")?;
        }
        let more = self.wrong.saturating_sub(u64::try_from(self.told.len()).unwrap_or(u64::MAX));
        if more > 0 { write!(f, "\nand {more} more") } else { Ok(()) }
    }
}

/// A member's Sender ID, and the key of its credential's record.
type Held = (Option<SenderId>, Option<Key>);

/// A check under way. It takes some hundred bytes a member.
#[derive(Default)]
pub struct Check {
    findings: Findings,
    meta: Option<Meta>,
    names: BTreeSet<GroupId>,
    /// Groups that were deleted, and of which something is stored still.
    deletions: BTreeSet<GroupId>,
    bans: BTreeSet<(UnixTime, GroupId, PrincipalId)>,
    ban_ends: BTreeSet<(UnixTime, GroupId, PrincipalId)>,
    controls: BTreeSet<(GroupId, PrincipalId)>,
    leaving: BTreeSet<(GroupId, PrincipalId)>,
    provoked: BTreeSet<(UnixTime, GroupId, PrincipalId)>,
    provoked_ends: BTreeSet<(UnixTime, GroupId, PrincipalId)>,
    heads: BTreeMap<GroupId, Head>,
    configured: BTreeSet<GroupId>,
    secrets: BTreeSet<(GroupId, u64)>,
    gids: BTreeMap<Gid, GroupId>,
    members: BTreeMap<(GroupId, PrincipalId), Held>,
    holders: BTreeMap<(GroupId, SenderId), PrincipalId>,
    credentials: BTreeMap<Key, (GroupId, PrincipalId)>,
    memberships: BTreeSet<(GroupId, PrincipalId)>,
    /// Each client's token, when it ends, and its association.
    clients: BTreeMap<PrincipalId, Vec<HeldToken>>,
    tokens: BTreeMap<TokenHash, PrincipalId>,
    expiries: BTreeSet<(PrincipalId, UnixTime, Option<TokenHash>)>,
    associations: BTreeMap<AssociationId, PrincipalId>,
    /// Tokens that were revoked, each with when that is forgotten.
    revoked: BTreeSet<(UnixTime, TokenHash)>,
    revocation_ends: BTreeSet<(UnixTime, TokenHash)>,
    epochs: Vec<(GroupId, SenderId, u64)>,
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl Check {
    /// Looks at one record. A value that is empty could not be opened.
    pub fn record(&mut self, key: &Key, value: &[u8]) {
        self.findings.records = self.findings.records.saturating_add(1);
        let Some(kind) = Kind::of(key) else { return self.findings.wrong(key.clone(), "is of no known kind") };
        if self.take(kind, key, value).is_err() {
            self.findings.wrong(key.clone(), "cannot be read");
        }
    }

    fn take(&mut self, kind: Kind<'_>, key: &Key, value: &[u8]) -> Result<(), crate::Corrupt> {
        match kind {
            Kind::Name(_) => self.names.extend(NamedGroup::decode(value)?.live()),
            Kind::Head(group) => drop(self.heads.insert(group, Head::decode(value)?)),
            Kind::Config(group) => {
                GroupConfiguration::decode(value)?;
                self.configured.insert(group);
            }
            Kind::Secret(group, num) => {
                GroupSecret::decode(value)?;
                self.secrets.insert((group, num));
            }
            Kind::Member(group, client) => {
                let member = MemberRecord::decode(value)?;
                let credential = member.claimed().map(|thumbprint| keys::credential(group, thumbprint));
                self.members.insert((group, client), (member.sender_id, credential));
            }
            Kind::SenderId(group, id) => {
                let state = SenderIdRecord::decode(value)?;
                self.epochs.push((group, id.into(), state.epoch));
                if let Some(holder) = state.holder {
                    self.holders.insert((group, id.into()), holder);
                }
            }
            Kind::Credential(group) => {
                self.credentials.insert(key.clone(), (group, BelongsTo::<PrincipalId>::decode(value)?.0));
            }
            Kind::Deletion(group) => {
                Deletion::decode(value)?;
                self.deletions.insert(group);
            }
            Kind::Ban(group, client) => drop(self.bans.insert((Ban::decode(value)?.until, group, client))),
            Kind::BanEnd(at, group, client) => {
                BanEnd::decode(value)?;
                self.ban_ends.insert((at, group, client));
            }
            Kind::Control(group, client) => {
                ControlRecord::decode(value)?;
                self.controls.insert((group, client));
            }
            Kind::Leaving(group, client) => {
                Leaving::decode(value)?;
                self.leaving.insert((group, client));
            }
            Kind::RekeyProgress(_) => drop(RekeyProgress::decode(value)?),
            Kind::Provoked(group, client) => {
                self.provoked.insert((Provoked::decode(value)?.end(), group, client));
            }
            Kind::ProvokedEnd(at, group, client) => {
                ProvokedEnd::decode(value)?;
                self.provoked_ends.insert((at, group, client));
            }
            Kind::Gid(gid) => drop(self.gids.insert(gid.into(), GidOwner::decode(value)?.group)),
            Kind::Principal(client) => {
                let Principal { tokens, memberships, .. } = Principal::decode(value)?;
                self.memberships.extend(memberships.into_iter().map(|(_, group)| (group, client)));
                self.clients.insert(client, tokens);
            }
            Kind::Token(hash) => drop(self.tokens.insert(hash.into(), BelongsTo::<PrincipalId>::decode(value)?.0)),
            Kind::Expiry(_) => {
                let expiry = Expiry::decode(value)?;
                if expiry.key() != *key {
                    return Err(crate::Corrupt);
                }
                self.expiries.insert((expiry.principal, expiry.at, expiry.hash));
            }
            Kind::Association(id) => drop(self.associations.insert(id.into(), Association::decode(value)?.principal)),
            Kind::Issuers => drop(TrustedIssuers::decode(value)?),
            Kind::Meta => self.meta = Some(Meta::decode(value)?),
            Kind::Issued(_) => {
                Issued::decode(value)?;
                self.findings.issued = self.findings.issued.saturating_add(1);
            }
            Kind::Observation => {
                Observation::decode(value)?;
                self.findings.observations = self.findings.observations.saturating_add(1);
            }
            Kind::ExpiredSequence => drop(ExpiredSequence::decode(value)?),
            Kind::SequenceLimit => drop(SequenceLimit::decode(value)?),
            Kind::Revoked(hash) => {
                if let Some(at) = Revoked::decode(value)?.until {
                    self.revoked.insert((at, hash.into()));
                }
            }
            Kind::RevocationEnd(at, hash) => {
                let end = RevocationEnd::decode(value)?;
                if (end.at, end.hash.as_bytes()) != (at, hash) {
                    return Err(crate::Corrupt);
                }
                self.revocation_ends.insert((at, hash.into()));
            }
            Kind::Turn | Kind::Probe | Kind::Stale(_) | Kind::OwnGuard(_) => drop(Mark::decode(value)?),
            // The form is a profile's own, or not settled yet; that it opens is all that can be said.
            Kind::Restoring => self.findings.wrong(key.clone(), "a restore has not ended"),
            Kind::Ring | Kind::Own(..) if value.is_empty() => return Err(crate::Corrupt),
            Kind::Ring | Kind::Own(..) => (),
        }
        Ok(())
    }

    /// Looks at what concerns several records.
    #[must_use]
    pub fn finish(mut self) -> Findings {
        self.leave_out_deleted();
        self.groups();
        self.membership();
        self.tokens();
        let findings = &mut self.findings;
        findings.groups = count(self.heads.len());
        findings.members = count(self.members.len());
        findings.clients = count(self.clients.len());
        findings.associations = count(self.associations.len());
        self.findings
    }

    /// What is left of groups that were deleted need not fit together: it goes.
    fn leave_out_deleted(&mut self) {
        let Self { deletions, findings: is, heads, .. } = self;
        for group in &*deletions {
            let is_marked = heads.remove(group).is_some_and(|head| head.deleted.is_some());
            is.require(is_marked, || keys::deletion(*group), "is not of a group that is marked as deleted");
        }
        let is_left = |group: &GroupId| !deletions.contains(group);
        self.members.retain(|(group, _), _| is_left(group));
        self.controls.retain(|(group, _)| is_left(group));
        self.memberships.retain(|(group, _)| is_left(group));
        self.holders.retain(|(group, _), _| is_left(group));
        self.credentials.retain(|_, (group, _)| is_left(group));
        self.configured.retain(is_left);
        self.epochs.retain(|(group, ..)| is_left(group));
        self.bans.retain(|(_, group, _)| is_left(group));
        self.ban_ends.retain(|(_, group, _)| is_left(group));
    }

    fn groups(&mut self) {
        for (at, group, client) in self.bans.symmetric_difference(&self.ban_ends) {
            let key = keys::ban(*group, *client);
            let is_there = self.bans.contains(&(*at, *group, *client));
            self.findings
                .wrong(key, if is_there { "has an end that is not recorded" } else { "is not there, and has an end" });
        }
        for (_, group, client) in &self.bans {
            self.findings.require(self.names.contains(group), || keys::ban(*group, *client), "is of no group");
        }
        // An end may be that of an earlier hour.
        for (_, group, client) in self.provoked.difference(&self.provoked_ends) {
            self.findings.wrong(keys::provoked(*group, *client), "has an end that is not recorded");
        }
        let mut counted: BTreeMap<GroupId, u64> = BTreeMap::new();
        for (group, _) in self.members.keys() {
            let members = counted.entry(*group).or_default();
            *members = members.saturating_add(1);
        }
        for group in &self.names {
            self.findings.require(self.heads.contains_key(group), || keys::head(*group), "is missing");
        }
        for (group, head) in &self.heads {
            let (key, gid) = (|| keys::head(*group), &head.gid);
            let is = &mut self.findings;
            is.require(self.names.contains(group), key, "belongs to no name");
            is.require(head.deleted.is_none(), key, "is marked as deleted, and nothing goes on with that");
            is.require(self.gids.get(gid) == Some(group), key, "uses a Gid that is not recorded as its own");
            is.require(self.secrets.contains(&(*group, head.num)), key, "has no secret of its version");
            let members = counted.remove(group).unwrap_or_default();
            is.require(head.members == members, key, "counts other members than there are");
            let held =
                self.holders.range((*group, SenderId::from(&[]))..).take_while(|((of, _), _)| of == group).count();
            // Of a group of an earlier format who only monitors is counted too.
            let fits = (count(held)..=head.members).contains(&head.held) && head.taken >= head.held;
            is.require(fits, key, "counts other Sender IDs than members hold");
            is.require(self.meta.is_some(), keys::meta, "is missing");
        }
        for group in counted.keys() {
            self.findings.wrong(keys::head(*group), "is missing, and there are members");
        }
        for group in &self.configured {
            self.findings.require(self.heads.contains_key(group), || keys::config(*group), "is of no group");
        }
        for (group, id, epoch) in &self.epochs {
            let fits = self.heads.get(group).is_some_and(|head| *epoch <= head.epoch);
            self.findings.require(fits, || keys::sender_id(*group, id), "is of an epoch that has not come");
        }
    }

    fn membership(&mut self) {
        let is = &mut self.findings;
        let (mut held, mut owned) = (BTreeSet::new(), BTreeSet::new());
        for ((group, client), (sender_id, credential)) in &self.members {
            let key = || keys::member(*group, *client);
            let is_one = self.memberships.contains(&(*group, *client)) != self.leaving.contains(&(*group, *client));
            is.require(is_one, key, "is not among the client's memberships, or is and has ended");
            if let Some(id) = sender_id {
                let id = (*group, id.clone());
                is.require(
                    self.holders.get(&id) == Some(client),
                    key,
                    "holds a Sender ID that is not recorded as its own",
                );
                held.insert(id);
            }
            if let Some(credential) = credential {
                let owner = self.credentials.get(credential);
                is.require(
                    owner.map(|(_, owner)| owner) == Some(client),
                    key,
                    "has a credential that is not recorded as its own",
                );
                owned.insert(credential);
            }
        }
        for (group, client) in &self.controls {
            let there = self.members.contains_key(&(*group, *client));
            is.require(there, || keys::control(*group, *client), "is of nobody who is a member");
        }
        for (group, client) in &self.memberships {
            let there = self.members.contains_key(&(*group, *client));
            is.require(there, || keys::principal(*client), "names a membership that is not there");
        }
        for (group, id) in self.holders.keys() {
            let is_held = held.contains(&(*group, id.clone()));
            is.require(is_held, || keys::sender_id(*group, id), "is held by nobody who is a member");
        }
        for credential in self.credentials.keys() {
            is.require(owned.contains(credential), || credential.clone(), "belongs to nobody who is a member");
        }
    }

    fn tokens(&mut self) {
        let is = &mut self.findings;
        for (client, tokens) in &self.clients {
            let key = || keys::principal(*client);
            is.require(!tokens.is_empty(), key, "holds no token");
            for HeldToken { token, association, .. } in tokens {
                is.require(
                    self.tokens.get(&token.hash) == Some(client),
                    key,
                    "has a token that is not known by its hash",
                );
                let is_end = |hash| self.expiries.contains(&(*client, token.expires, hash));
                let has_end = is_end(Some(token.hash.clone())) || is_end(None);
                is.require(has_end, key, "has a token whose end is not recorded");
                is.require(
                    self.associations.get(association) == Some(client),
                    key,
                    "has an association that is not its own",
                );
            }
        }
        let held = |client: &PrincipalId, is_it: &dyn Fn(&HeldToken) -> bool| {
            self.clients.get(client).is_some_and(|tokens| tokens.iter().any(is_it))
        };
        for (hash, owner) in &self.tokens {
            is.require(
                held(owner, &|held| held.token.hash == *hash),
                || keys::token(hash),
                "is no token of its client",
            );
        }
        for (client, at, hash) in &self.expiries {
            // What a token has left that was replaced when a client had one alone goes when it is due.
            let Some(hash) = hash else { continue };
            let is_end = |token: &StoredToken| token.expires == *at || token.covers_until() == *at;
            let is_its = |held: &HeldToken| held.token.hash == *hash && is_end(&held.token);
            is.require(held(client, &is_its), || keys::expiry(*at, hash), "is the end of no token of its client");
        }
        for (at, hash) in self.revoked.symmetric_difference(&self.revocation_ends) {
            is.wrong(
                keys::revoked(hash),
                if self.revoked.contains(&(*at, hash.clone())) {
                    "has an end that is not recorded"
                } else {
                    "is not there, and has an end"
                },
            );
        }
        for (id, owner) in &self.associations {
            let fits = held(owner, &|held| held.association == *id);
            is.require(fits, || keys::association(id), "is nobody's association");
        }
    }
}
