//! Issuers come and go: a token is good while the configuration vouches for it, by issuer, key and groups.
//!
//! Storage knows the issuers of the processes over it. One that starts with other issuers or keys, or with fewer groups for
//! an issuer, counts the clients that nobody would vouch for any more, and gives up; or, where that is allowed, stores its
//! own issuers and ends those clients, in pages. From then on a process that goes on with others takes no token that these
//! do not vouch for. What is ended gets no mark of a revocation: with a corrected file the client posts its token again.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::start::StartEvent;
use crate::kdc::token::exi::supersede;
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{Principal, RekeyReason, StoredToken, TrustedIssuers};
use crate::token::{Trust, TrustChange};
use crate::traits::storage::Key;

/// How many clients are looked at in one step.
const PAGE: usize = 64;

/// What is done next about the issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Counts the clients that nobody would vouch for.
    Count {
        /// The client behind which it goes on.
        after: Option<Key>,
        /// What has changed.
        changes: Vec<TrustChange>,
        /// Whether storage knew issuers before.
        was_known: bool,
    },
    /// Stores the issuers, where storage knows none and no client would end.
    Adopt,
    /// Stores the issuers, where they may speak for more groups and are the same otherwise.
    Widen,
    /// Stores the issuers, and that what nobody vouches for is to be ended.
    Replace {
        /// The issuers that storage knew when that was decided: others are not replaced.
        former: Option<Trust>,
    },
    /// Ends the clients that nobody vouches for.
    End {
        /// The client behind which it goes on.
        after: Option<Key>,
        /// Which replacement it is for.
        generation: u64,
    },
}

/// What a count has found.
#[derive(Debug)]
pub struct Counted {
    /// The clients that nobody would vouch for.
    pub(in crate::kdc) clients: u64,
    /// The last one of the page, where there are more.
    pub(in crate::kdc) more: Option<Key>,
    pub(in crate::kdc) changes: Vec<TrustChange>,
    pub(in crate::kdc) was_known: bool,
}

impl TrustedIssuers {
    /// Whether the issuer of a token is trusted, with the key that verified it and for all groups of the token.
    fn vouch_for(&self, name: &str, token: &StoredToken) -> bool {
        let Some(issuer) = self.trust.issuer(name) else { return false };
        let knows_key = match &token.issuer_key {
            Some(key) => issuer.keys.contains(key),
            None => self.unrecorded.get(name).is_some_and(|keys| !keys.is_disjoint(&issuer.keys)),
        };
        knows_key && token.scope.iter().all(|(gname, _)| issuer.groups.contains(gname))
    }
}

impl KdcApp {
    fn stored_issuers<'a>(&self, view: &View<'a>) -> Result<Option<&'a TrustedIssuers>, Stop> {
        view.get(&keys::issuers())
    }

    /// The issuers of this process, as they are stored: what is known of tokens without a key goes on.
    fn own_issuers(&self, stored: Option<&TrustedIssuers>, ending: bool) -> TrustedIssuers {
        let trust = self.trust.clone().unwrap_or_default();
        let unrecorded = stored.map_or_else(|| trust.keys(), |stored| stored.unrecorded.clone());
        let generation = stored.map_or(0, |stored| stored.generation);
        TrustedIssuers { trust, unrecorded, ending, generation }
    }

    /// What the issuers that are stored mean for the start.
    pub(in crate::kdc) fn compare_issuers(&self, view: &View<'_>) -> Result<StartEvent, Stop> {
        self.compare_or_replace(view, self.accept_issuers)
    }

    /// The same; a process replaces issuers once. Two that both may would replace each other's for ever.
    fn compare_or_replace(&self, view: &View<'_>, may_replace: bool) -> Result<StartEvent, Stop> {
        let Some(trust) = &self.trust else { return Ok(StartEvent::Fits) };
        Ok(match self.stored_issuers(view)? {
            Some(stored) if stored.trust == *trust && stored.ending => {
                StartEvent::Next(Step::End { after: None, generation: stored.generation })
            }
            Some(stored) if stored.trust == *trust => StartEvent::Fits,
            stored if may_replace => {
                StartEvent::Next(Step::Replace { former: stored.map(|stored| stored.trust.clone()) })
            }
            stored => {
                let changes = stored.map_or_else(Vec::new, |stored| stored.trust.changes(trust));
                if !changes.is_empty() && changes.iter().all(|change| matches!(change, TrustChange::GroupsGained(_))) {
                    return Ok(StartEvent::Next(Step::Widen));
                }
                StartEvent::Next(Step::Count { after: None, changes, was_known: stored.is_some() })
            }
        })
    }

    /// Refuses a token that the issuers in storage do not vouch for, where this process does: another one has started with
    /// others since.
    pub(in crate::kdc) fn still_trusted(&self, view: &View<'_>, issuer: &str, token: &StoredToken) -> Result<(), Stop> {
        if self.trust.is_none() {
            return Ok(());
        }
        match self.stored_issuers(view)? {
            Some(stored) if !stored.vouch_for(issuer, token) => {
                Err(Refusal::Internal("another process has started with other issuers").into())
            }
            _ => Ok(()),
        }
    }

    pub(in crate::kdc) fn issuers(&self, view: &View<'_>, step: &Step) -> Result<Outcome<Event>, Stop> {
        let stored = self.stored_issuers(view)?;
        match step {
            Step::Count { after, changes, was_known } => {
                let own = self.own_issuers(stored, false);
                let (page, more) = view.hint_after::<Principal>(&keys::principals(), after.as_ref(), PAGE)?;
                let clients =
                    page.iter().filter(|principal| !own.vouch_for(&principal.issuer, &principal.token)).count();
                let clients = u64::try_from(clients).unwrap_or(u64::MAX);
                let counted = Counted { clients, more, changes: changes.clone(), was_known: *was_known };
                Ok(Outcome::done().with_event(Event::Start(StartEvent::Counted(counted))))
            }
            Step::Adopt if stored.is_none() => Ok(self.store_issuers(self.own_issuers(None, false), StartEvent::Fits)),
            Step::Widen if matches!(self.compare_or_replace(view, false)?, StartEvent::Next(Step::Widen)) => {
                let own = self.own_issuers(stored, stored.is_some_and(|stored| stored.ending));
                let end = Step::End { after: None, generation: own.generation };
                let next = if own.ending { StartEvent::Next(end) } else { StartEvent::Fits };
                Ok(self.store_issuers(own, next))
            }
            Step::Replace { former } if stored.map(|stored| &stored.trust) == former.as_ref() => {
                let mut own = self.own_issuers(stored, true);
                own.generation = own.generation.saturating_add(1);
                let end = Step::End { after: None, generation: own.generation };
                Ok(self.store_issuers(own, StartEvent::Next(end)))
            }
            Step::End { after, generation } => self.end_distrusted(view, stored, after.as_ref(), *generation),
            // Another process was faster.
            Step::Adopt | Step::Widen | Step::Replace { .. } => {
                Ok(Outcome::done().with_event(Event::Start(self.compare_or_replace(view, false)?)))
            }
        }
    }

    fn store_issuers(&self, issuers: TrustedIssuers, next: StartEvent) -> Outcome<Event> {
        let mut changes = Changes::new();
        changes.put(keys::issuers(), issuers);
        Outcome::done_with(changes).with_event(Event::Start(next))
    }

    /// Ends a page of clients; the one after it is next, and at the end the start goes on.
    fn end_distrusted(
        &self,
        view: &View<'_>,
        stored: Option<&TrustedIssuers>,
        after: Option<&Key>,
        generation: u64,
    ) -> Result<Outcome<Event>, Stop> {
        let is_own = |stored: &&TrustedIssuers| Some(&stored.trust) == self.trust.as_ref();
        let Some(stored) = stored.filter(|stored| is_own(stored) && stored.generation == generation) else {
            // Another process has replaced them meanwhile.
            return Ok(Outcome::done().with_event(Event::Start(self.compare_or_replace(view, false)?)));
        };
        let (page, more) = view.hint_after::<Principal>(&keys::principals(), after, PAGE)?;
        let (mut changes, mut events) = (Changes::new(), Vec::new());
        let ended: Vec<_> = page
            .iter()
            .filter(|seen| !stored.vouch_for(&seen.issuer, &seen.token))
            .map(|seen| self.end_if_distrusted(view, stored, seen, &mut changes, &mut events))
            .collect();
        ended.into_iter().collect::<Result<(), Stop>>()?;
        let next = match more {
            Some(last) => StartEvent::Next(Step::End { after: Some(last), generation }),
            None => {
                changes.put(keys::issuers(), TrustedIssuers { ending: false, ..stored.clone() });
                StartEvent::Fits
            }
        };
        events.push(Event::Start(next));
        Ok(events.into_iter().fold(Outcome::done_with(changes), Outcome::with_event))
    }

    fn end_if_distrusted(
        &self,
        view: &View<'_>,
        stored: &TrustedIssuers,
        seen: &Principal,
        changes: &mut Changes,
        events: &mut Vec<Event>,
    ) -> Result<(), Stop> {
        let id = PrincipalId::of(&seen.issuer, &seen.subject);
        let Some(principal) = view.get::<Principal>(&keys::principal(id))? else { return Ok(()) };
        if stored.vouch_for(&principal.issuer, &principal.token) {
            return Ok(());
        }
        events.extend(self.end(view, id, principal, RekeyReason::Distrusted, changes)?);
        // The time of one with `exi` would begin anew.
        supersede(&principal.token, changes);
        events.push(Event::Ended(principal.association.to_vec()));
        Ok(())
    }
}
