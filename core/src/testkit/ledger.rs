//! What must never be, whatever happens: watched on every commit and every answer.

use crate::check::Check;
use crate::id::SenderId;
use crate::keys::PrincipalId;
use crate::record::RecordType;
use crate::records::{Head, RekeyDue, SenderIdRecord};
use crate::schema::kind::Kind;
use crate::traits::storage::{Key, Record};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The simulation itself is wrong.
    #[error("the simulation cannot go on")]
    Setup,
    /// Something was acknowledged that is not durable (rule 1).
    #[error("acknowledged, and not durable: {0}")]
    NotDurable(String),
    /// A Sender ID was given twice under one Gid (rule 2).
    #[error("Sender ID {0:?} was given twice")]
    SenderIdTwice(SenderId),
    /// A version number went back (rule 3).
    #[error("the version went from {0} to {1}")]
    VersionBack(u64, u64),
    /// Somebody got a key at no moment of which it was a member, and the key the current one (rule 5).
    #[error("a key of version {0} for somebody who was no member then")]
    KeyForOutsider(i64),
    /// Somebody was told of members that there were at no moment.
    #[error("a list of {0} members that there never were together")]
    NoMoment(usize),
    /// Records contradict each other.
    #[error("records contradict each other: {0}")]
    Inconsistent(String),
    /// Somebody got a version that was there before it was a member, in a group with backward security.
    #[error("a version {0} that is older than the membership")]
    KeyFromBefore(i64),
    /// The keying material of more than one version is stored.
    #[error("the keying material of {0} versions is stored")]
    OldSecret(usize),
    /// What makes a rekeying necessary was not noted, or was forgotten, or is due later than it was.
    #[error("a cause of a rekeying is lost")]
    CauseLost,
    /// A rekeying is due, and is not done.
    #[error("a rekeying is due, and is not done")]
    Undone,
    /// Members that ask again and again do not get the newest version.
    #[error("members do not get the newest version")]
    Behind,
    /// Requests wait for ever.
    #[error("{0} requests wait for ever")]
    Stuck(usize),
}

/// One interval of commits; open where it has no end.
#[derive(Clone, Copy, Debug)]
struct Interval {
    from: u64,
    until: Option<u64>,
}

impl Interval {
    fn holds(self, moment: u64) -> bool {
        self.from <= moment && self.until.is_none_or(|until| moment < until)
    }

    /// Whether both, and what comes at or after `since`, have a moment in common.
    fn meets(self, other: Self, since: u64) -> bool {
        let from = self.from.max(other.from).max(since);
        let until = self.until.unwrap_or(u64::MAX).min(other.until.unwrap_or(u64::MAX));
        from < until
    }
}

/// All that was committed, as far as the rules ask for it.
#[derive(Default)]
pub struct Ledger {
    commits: u64,
    /// The versions of the group's keying material, each with the time that it was the current one.
    versions: Vec<(u64, Interval)>,
    members: BTreeMap<PrincipalId, Vec<Interval>>,
    /// Sender IDs that were given, each with its epoch, and to whom.
    given: BTreeMap<(u64, SenderId), PrincipalId>,
    held: BTreeMap<SenderId, Option<PrincipalId>>,
    epochs: BTreeSet<u64>,
    /// When each Sender ID was held.
    holdings: BTreeMap<SenderId, Vec<Interval>>,
    /// Who was ever given which Sender ID.
    ever: BTreeSet<(PrincipalId, SenderId)>,
    /// How memberships ended, in the order of the commits.
    ends: BTreeMap<PrincipalId, Vec<End>>,
    /// Whether nobody may have a version from before its membership.
    backward: bool,
    /// How many members there are, by the head.
    count: u64,
    due: Option<RekeyDue>,
    /// The versions whose keying material is stored.
    secrets: BTreeSet<u64>,
}

fn inconsistent(what: &str) -> Violation {
    Violation::Inconsistent(what.into())
}

/// The end of a membership.
struct End {
    /// The commit.
    at: u64,
    /// Whether it was one before that commit.
    was_member: bool,
    /// Whether a rekeying is due after the commit: no version has begun in it behind the end.
    leaves_due: bool,
}

/// The part of a key behind `g/<16 bytes>/`.
fn of_group(key: &Key) -> Option<&[u8]> {
    key.as_bytes().strip_prefix(b"g/")?.get(16..)?.strip_prefix(b"/")
}

fn principal_of(bytes: &[u8]) -> Option<PrincipalId> {
    bytes.try_into().ok().map(PrincipalId::new)
}

impl Ledger {
    /// Watches a store that is empty. Where the group has backward security nobody may have a version from before its membership.
    #[must_use]
    pub fn new(backward: bool) -> Self {
        Self { backward, ..Self::default() }
    }

    /// How many versions there were.
    #[must_use]
    pub fn versions(&self) -> u64 {
        u64::try_from(self.versions.len()).unwrap_or(u64::MAX)
    }

    /// Whether this version is newer than all that there were.
    #[must_use]
    pub fn is_new(&self, num: u64) -> bool {
        self.versions.last().is_some_and(|(newest, _)| *newest < num)
    }

    /// Whether somebody is a member now.
    #[must_use]
    pub fn is_member(&self, principal: PrincipalId) -> bool {
        let last = self.members.get(&principal).and_then(|intervals| intervals.last());
        last.is_some_and(|interval| interval.until.is_none())
    }

    /// A backup was restored: nobody is a member, and nobody holds a Sender ID. Versions go on from the newest that there was.
    pub fn restored(&mut self) {
        self.commits = self.commits.saturating_add(1);
        let of_members = self.members.values_mut().chain(self.holdings.values_mut());
        for interval in of_members.filter_map(|intervals| intervals.last_mut()) {
            interval.until = interval.until.or(Some(self.commits));
        }
        if let Some((_, interval)) = self.versions.last_mut() {
            interval.until = Some(self.commits);
        }
        self.held.clear();
        self.given.clear();
        self.epochs.clear();
        (self.count, self.due) = (0, None);
        self.secrets.clear();
    }

    /// How many commits have happened.
    #[must_use]
    pub const fn commits(&self) -> u64 {
        self.commits
    }

    /// A commit has happened, and wrote this.
    ///
    /// # Errors
    /// A [`Violation`] of rules 2 and 3.
    pub fn committed(&mut self, written: &[(Key, Option<Bytes>)]) -> Result<(), Violation> {
        self.commits = self.commits.saturating_add(1);
        let newest = self.versions.last().map(|(num, _)| *num);
        for (key, value) in written {
            if let Some(Kind::Secret(_, num)) = Kind::of(key) {
                if value.is_some() {
                    self.secrets.insert(num)
                } else {
                    self.secrets.remove(&num)
                };
            }
            let Some(rest) = of_group(key) else { continue };
            if rest == b"head" {
                let head = value.as_ref().and_then(|value| Head::decode(value).ok());
                let head = head.ok_or(inconsistent("a head cannot be read"))?;
                self.version(head.num)?;
                self.epoch(head.epoch);
                self.cause(newest, &head)?;
            } else if let Some(principal) = rest.strip_prefix(b"m/").and_then(principal_of) {
                self.membership(principal, value.is_some());
            } else if let Some(id) = rest.strip_prefix(b"sid/") {
                // One whose record is gone is nobody's.
                let state = match value {
                    Some(value) => SenderIdRecord::decode(value),
                    None => Ok(SenderIdRecord { holder: None, epoch: 0 }),
                };
                self.sender_id(&id.into(), state.map_err(|_| inconsistent("a Sender ID cannot be read"))?)?;
            }
        }
        let mut ends = false;
        for (key, _) in written.iter().filter(|(_, value)| value.is_none()) {
            let Some(Kind::Member(_, principal)) = Kind::of(key) else { continue };
            ends = true;
            if let Some(end) = self.ends.get_mut(&principal).and_then(|ends| ends.last_mut()) {
                end.leaves_due = self.due.is_some();
            }
        }
        if ends && self.count > 0 && self.due.is_none() && newest == self.versions.last().map(|(num, _)| *num) {
            return Err(Violation::CauseLost);
        }
        if self.secrets.len() > 1 { Err(Violation::OldSecret(self.secrets.len())) } else { Ok(()) }
    }

    /// What is due stays due until the next version, with all its causes.
    fn cause(&mut self, newest: Option<u64>, head: &Head) -> Result<(), Violation> {
        self.count = head.members;
        let before = std::mem::replace(&mut self.due, head.rekey_due.clone());
        let Some(before) = before.filter(|_| newest == Some(head.num)) else { return Ok(()) };
        let keeps = |due: &RekeyDue| due.reasons.is_superset(&before.reasons) && due.since <= before.since;
        if head.rekey_due.as_ref().is_some_and(keeps) { Ok(()) } else { Err(Violation::CauseLost) }
    }

    fn version(&mut self, num: u64) -> Result<(), Violation> {
        match self.versions.last_mut() {
            Some((current, _)) if *current == num => return Ok(()),
            Some((current, _)) if *current > num => return Err(Violation::VersionBack(*current, num)),
            Some((_, interval)) => interval.until = Some(self.commits),
            None => (),
        }
        self.versions.push((num, Interval { from: self.commits, until: None }));
        Ok(())
    }

    /// A Gid has come into use: what is held then is not to be given under it.
    fn epoch(&mut self, epoch: u64) {
        if self.epochs.insert(epoch) {
            let held = self.held.iter().filter_map(|(id, holder)| Some(((epoch, id.clone()), (*holder)?)));
            // No commit gives a Sender ID under a Gid that is this old.
            let mut given = self.given.split_off(&(epoch.saturating_sub(2), SenderId::from(&[])));
            given.extend(held);
            self.given = given;
        }
    }

    fn membership(&mut self, principal: PrincipalId, is_member: bool) {
        if !is_member {
            let end = End { at: self.commits, was_member: self.is_member(principal), leaves_due: false };
            self.ends.entry(principal).or_default().push(end);
        }
        let intervals = self.members.entry(principal).or_default();
        match intervals.last_mut().filter(|interval| interval.until.is_none()) {
            Some(open) if !is_member => open.until = Some(self.commits),
            None if is_member => intervals.push(Interval { from: self.commits, until: None }),
            _ => (),
        }
    }

    fn sender_id(&mut self, id: &SenderId, state: SenderIdRecord) -> Result<(), Violation> {
        let before = self.held.insert(id.clone(), state.holder).flatten();
        let holdings = self.holdings.entry(id.clone()).or_default();
        match holdings.last_mut().filter(|interval| interval.until.is_none()) {
            Some(open) if state.holder.is_none() => open.until = Some(self.commits),
            None if state.holder.is_some() => holdings.push(Interval { from: self.commits, until: None }),
            _ => (),
        }
        let Some(holder) = state.holder else { return Ok(()) };
        self.ever.insert((holder, id.clone()));
        if before == Some(holder) {
            return Ok(());
        }
        match self.given.insert((state.epoch, id.clone()), holder) {
            None => Ok(()),
            Some(_) => Err(Violation::SenderIdTwice(id.clone())),
        }
    }

    /// A client was told that it has joined, with this version and Sender ID; its request came after so many commits.
    ///
    /// # Errors
    /// A [`Violation`] of rules 1 and 5.
    pub fn was_told_of_join(
        &self,
        principal: PrincipalId,
        num: i64,
        sender_id: &SenderId,
        since: u64,
    ) -> Result<(), Violation> {
        if !self.ever.contains(&(principal, sender_id.clone())) && self.ends_since(principal, since).next().is_none() {
            return Err(Violation::NotDurable(format!("the join of {principal:?} as {sender_id:?}")));
        }
        self.was_told_key(principal, num, since)
    }

    /// The ends of a client's memberships in the commits since then.
    fn ends_since(&self, principal: PrincipalId, since: u64) -> impl Iterator<Item = &End> {
        let ends = self.ends.get(&principal).map(Vec::as_slice).unwrap_or_default();
        ends.iter().rev().take_while(move |end| end.at > since)
    }

    /// A client was told the key of this version; its request came after so many commits.
    ///
    /// # Errors
    /// A [`Violation`] of rule 5: there was no moment since then at which it was a member and that version the
    /// current one.
    pub fn was_told_key(&self, principal: PrincipalId, num: i64, since: u64) -> Result<(), Violation> {
        let versions = self.versions.iter().filter(|(version, _)| i64::try_from(*version) == Ok(num));
        // Who was told of a version and left in the commit that begins it has left afterwards: another one is due. So has who joined
        // and left in one commit, which was a member for no time.
        let is_before = |end: &End| {
            let found = |it: &Interval| !end.was_member && !self.backward && it.holds(end.at.saturating_sub(1));
            end.leaves_due && versions.clone().any(|(_, it)| it.from == end.at || found(it))
        };
        if since > 0 && self.ends_since(principal, since).any(is_before) {
            return Ok(());
        }
        let member = self.members.get(&principal).map(Vec::as_slice).unwrap_or_default();
        let pairs = versions.flat_map(|(_, version)| member.iter().map(move |member| (*version, *member)));
        // The moment of a request is right behind the last commit before it.
        let mut pairs = pairs.filter(|(version, member)| version.meets(*member, since)).peekable();
        if pairs.peek().is_none() {
            return Err(Violation::KeyForOutsider(num));
        }
        // The commit of the membership may begin the version.
        if !self.backward || pairs.any(|(version, member)| version.from >= member.from) {
            Ok(())
        } else {
            Err(Violation::KeyFromBefore(num))
        }
    }

    /// A client was told that these Sender IDs are held; its request came after so many commits.
    ///
    /// # Errors
    /// [`Violation::NoMoment`]: there was no moment since then at which these were held, and no others.
    pub fn was_told_creds(&self, ids: &BTreeSet<SenderId>, since: u64) -> Result<(), Violation> {
        let fits = |moment: u64| {
            self.holdings
                .iter()
                .all(|(id, held)| held.iter().any(|interval| interval.holds(moment)) == ids.contains(id))
        };
        let known = ids.iter().all(|id| self.holdings.contains_key(id));
        if known && (since..=self.commits).any(fits) { Ok(()) } else { Err(Violation::NoMoment(ids.len())) }
    }

    /// Checks that the records of a store fit together.
    ///
    /// # Errors
    /// [`Violation::Inconsistent`].
    pub fn check_store(&self, records: &[(Key, Record)]) -> Result<(), Violation> {
        let mut check = Check::default();
        records.iter().for_each(|(key, record)| check.record(key, &record.value));
        let findings = check.finish();
        if findings.is_clean() { Ok(()) } else { Err(Violation::Inconsistent(findings.to_string())) }
    }
}
