//! Issuers come and go: a token is good while the configuration vouches for it, by issuer, key and groups.
//!
//! Storage knows the issuers of the processes over it, with their keys, and with each group those that may speak for it. A
//! process that starts with other issuers or keys, or with fewer groups for an issuer, counts the clients that nobody would
//! vouch for any more, and gives up; or, where that is allowed, stores its own issuers and ends those clients, in pages. From then on a process that goes on with others takes no token that these
//! do not vouch for. What is ended gets no mark of a revocation: with a corrected file the client posts its token again.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::TokenHash;
use crate::kdc::start::StartEvent;
use crate::kdc::token::exi::supersede;
use crate::kdc::{Event, Group, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{GroupConfiguration, Principal, RekeyReason, StoredToken, TrustedIssuers};
use crate::token::{Trust, TrustChange};
use crate::traits::storage::Key;
use std::collections::BTreeSet;

/// How many clients are looked at in one step.
const PAGE: usize = 64;

/// What is done next about the issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IssuerStep {
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
        /// The replacement that was the last when that was decided: none is replaced that came later.
        former: Option<u64>,
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
pub(crate) struct Counted {
    /// The clients that nobody would vouch for.
    pub(in crate::kdc) clients: u64,
    /// The last one of the page, where there are more.
    pub(in crate::kdc) more: Option<Key>,
    pub(in crate::kdc) changes: Vec<TrustChange>,
    pub(in crate::kdc) was_known: bool,
}

impl TrustedIssuers {
    /// Whether the issuer of a token is trusted, with the key that verified it.
    fn know_key_of(&self, name: &str, token: &StoredToken) -> bool {
        let Some(issuer) = self.trust.issuer(name) else { return false };
        match &token.issuer_key {
            Some(key) => issuer.keys.contains(key),
            None => self.unrecorded.get(name).is_some_and(|keys| !keys.is_disjoint(&issuer.keys)),
        }
    }

    /// The issuers that may speak for a group: those that are stored with it, else those that were named before they were.
    fn speakers(&self, gname: &str, issuers: Option<&BTreeSet<String>>) -> BTreeSet<String> {
        issuers.cloned().unwrap_or_else(|| self.trust.speakers(gname))
    }
}

/// Which configuration of a group says who may speak for it.
#[derive(Clone, Copy)]
enum By {
    /// The one that is stored.
    Stored,
    /// The one of this process, where it has one.
    Own,
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

    /// Whether an issuer may speak for a group that is stored so.
    pub(in crate::kdc) fn may_speak(&self, view: &View<'_>, issuer: &str, group: &Group) -> Result<bool, Stop> {
        if let Some(issuers) = &group.issuers {
            return Ok(issuers.contains(issuer));
        }
        let stored = self.stored_issuers(view)?;
        Ok(stored.is_none_or(|stored| stored.speakers(&group.gname, None).contains(issuer)))
    }

    /// Whether issuers vouch for a token: by key, and for all groups of its scope that there are.
    fn vouch(
        &self,
        view: &View<'_>,
        issuers: &TrustedIssuers,
        by: By,
        issuer: &str,
        token: &StoredToken,
    ) -> Result<bool, Stop> {
        let groups: Vec<Result<_, Stop>> = token
            .scope
            .iter()
            .map(|(gname, _)| match (by, self.configured.get(gname)) {
                (By::Own, Some(own)) => Ok(Some(issuers.speakers(gname, own.issuers.as_ref()))),
                _ => {
                    let stored = self.configuration(view, gname)?;
                    Ok(stored.map(|(_, stored)| issuers.speakers(gname, stored.issuers.as_ref())))
                }
            })
            .collect();
        let mut may = issuers.know_key_of(issuer, token);
        for speakers in groups {
            may &= speakers?.is_none_or(|speakers| speakers.contains(issuer));
        }
        Ok(may)
    }

    /// The tokens of a client that issuers do not vouch for.
    fn not_vouched(
        &self,
        view: &View<'_>,
        issuers: &TrustedIssuers,
        by: By,
        client: &Principal,
    ) -> Result<BTreeSet<TokenHash>, Stop> {
        let tokens = client.tokens.iter().map(|held| &held.token);
        let vouched: Vec<_> =
            tokens.clone().map(|token| self.vouch(view, issuers, by, &client.issuer, token)).collect();
        let vouched = vouched.into_iter().collect::<Result<Vec<bool>, Stop>>()?;
        Ok(tokens.zip(vouched).filter(|(_, is_vouched)| !is_vouched).map(|(token, _)| token.hash.clone()).collect())
    }

    /// In what the issuers of this process differ from those that are stored: by key, and for the groups of the configuration
    /// that are there.
    fn trust_changes(
        &self,
        view: &View<'_>,
        stored: Option<&TrustedIssuers>,
        own: &Trust,
    ) -> Result<Vec<TrustChange>, Stop> {
        let Some(stored) = stored else { return Ok(Vec::new()) };
        let groups: Vec<_> = self.configured.keys().map(|gname| (gname, self.configuration(view, gname))).collect();
        let (mut lost, mut gained) = (BTreeSet::new(), BTreeSet::new());
        for (gname, known) in groups {
            let Some((_, known)) = known? else { continue };
            let (was, is) = (stored.speakers(gname, known.issuers.as_ref()), own.speakers(gname));
            lost.extend(was.difference(&is).cloned());
            gained.extend(is.difference(&was).cloned());
        }
        let mut changes = stored.trust.changes(own);
        // Who is new or gone is named already.
        let in_both = |name: &String| own.issuer(name).is_some() && stored.trust.issuer(name).is_some();
        changes.extend(lost.into_iter().filter(in_both).map(TrustChange::GroupsLost));
        changes.extend(gained.into_iter().filter(in_both).map(TrustChange::GroupsGained));
        changes.sort_by(|one, other| one.issuer().cmp(other.issuer()));
        Ok(changes)
    }

    /// What the issuers that are stored mean for the start.
    pub(in crate::kdc) fn compare_issuers(&self, view: &View<'_>) -> Result<StartEvent, Stop> {
        self.compare_or_replace(view, self.accepts.issuers)
    }

    /// The same; a process replaces issuers once. Two that both may would replace each other's for ever.
    fn compare_or_replace(&self, view: &View<'_>, may_replace: bool) -> Result<StartEvent, Stop> {
        let Some(trust) = &self.trust else { return Ok(StartEvent::Fits) };
        let stored = self.stored_issuers(view)?;
        let changes = self.trust_changes(view, stored, trust)?;
        let is_same = changes.is_empty();
        Ok(match stored {
            Some(stored) if is_same && stored.ending => {
                StartEvent::Next(IssuerStep::End { after: None, generation: stored.generation })
            }
            Some(_) if is_same => StartEvent::Fits,
            stored if may_replace => {
                StartEvent::Next(IssuerStep::Replace { former: stored.map(|stored| stored.generation) })
            }
            stored => {
                if !changes.is_empty() && changes.iter().all(|change| matches!(change, TrustChange::GroupsGained(_))) {
                    return Ok(StartEvent::Next(IssuerStep::Widen));
                }
                StartEvent::Next(IssuerStep::Count { after: None, changes, was_known: stored.is_some() })
            }
        })
    }

    /// Refuses a token whose key the issuers in storage do not have, where those of this process do: another one has started
    /// with others since.
    pub(in crate::kdc) fn still_trusted(&self, view: &View<'_>, issuer: &str, token: &StoredToken) -> Result<(), Stop> {
        if self.trust.is_none() {
            return Ok(());
        }
        match self.stored_issuers(view)? {
            Some(stored) if !stored.know_key_of(issuer, token) => {
                Err(Refusal::Internal("another process has started with other issuers").into())
            }
            _ => Ok(()),
        }
    }

    pub(in crate::kdc) fn issuers(&self, view: &View<'_>, step: &IssuerStep) -> Result<Outcome<Event>, Stop> {
        let stored = self.stored_issuers(view)?;
        match step {
            IssuerStep::Count { after, changes, was_known } => {
                let own = self.own_issuers(stored, false);
                let (page, more) = view.hint_after::<Principal>(&keys::principals(), after.as_ref(), PAGE)?;
                let doubtful: Vec<_> =
                    page.iter().map(|(_, client)| self.not_vouched(view, &own, By::Own, client)).collect();
                let doubtful = doubtful.into_iter().collect::<Result<Vec<_>, Stop>>()?;
                let clients = doubtful.into_iter().filter(|tokens| !tokens.is_empty()).count();
                let clients = u64::try_from(clients).unwrap_or(u64::MAX);
                let counted = Counted { clients, more, changes: changes.clone(), was_known: *was_known };
                Ok(Outcome::done().with_event(Event::Start(StartEvent::Counted(counted))))
            }
            IssuerStep::Adopt if stored.is_none() => {
                self.store_issuers(view, self.own_issuers(None, false), StartEvent::Fits)
            }
            IssuerStep::Widen
                if matches!(self.compare_or_replace(view, false)?, StartEvent::Next(IssuerStep::Widen)) =>
            {
                let own = self.own_issuers(stored, stored.is_some_and(|stored| stored.ending));
                let end = IssuerStep::End { after: None, generation: own.generation };
                let next = if own.ending { StartEvent::Next(end) } else { StartEvent::Fits };
                self.store_issuers(view, own, next)
            }
            IssuerStep::Replace { former } if stored.map(|stored| stored.generation) == *former => {
                let mut own = self.own_issuers(stored, true);
                own.generation = own.generation.saturating_add(1);
                let end = IssuerStep::End { after: None, generation: own.generation };
                self.store_issuers(view, own, StartEvent::Next(end))
            }
            IssuerStep::End { after, generation } => self.end_distrusted(view, stored, after.as_ref(), *generation),
            // Another process was faster.
            IssuerStep::Adopt | IssuerStep::Widen | IssuerStep::Replace { .. } => {
                Ok(Outcome::done().with_event(Event::Start(self.compare_or_replace(view, false)?)))
            }
        }
    }

    /// Stores the issuers of this process, and with each of its groups those that may speak for it.
    fn store_issuers(
        &self,
        view: &View<'_>,
        issuers: TrustedIssuers,
        next: StartEvent,
    ) -> Result<Outcome<Event>, Stop> {
        let mut changes = Changes::new();
        let groups: Vec<_> = self.configured.values().map(|own| (own, self.configuration(view, &own.gname))).collect();
        for (own, known) in groups {
            let Some((id, known)) = known? else { continue };
            if known.issuers != own.issuers {
                let issuers = own.issuers.clone();
                changes.put(keys::config(id), GroupConfiguration { issuers, ..known.clone() });
            }
        }
        changes.put(keys::issuers(), issuers);
        Ok(Outcome::done_with(changes).with_event(Event::Start(next)))
    }

    /// Ends a page of clients; the one after it is next, and at the end the start goes on.
    fn end_distrusted(
        &self,
        view: &View<'_>,
        stored: Option<&TrustedIssuers>,
        after: Option<&Key>,
        generation: u64,
    ) -> Result<Outcome<Event>, Stop> {
        let is_own = |stored: &TrustedIssuers| -> Result<bool, Stop> {
            let Some(own) = &self.trust else { return Ok(false) };
            Ok(stored.generation == generation && self.trust_changes(view, Some(stored), own)?.is_empty())
        };
        let stored = match stored {
            Some(stored) if is_own(stored)? => Some(stored),
            _ => None,
        };
        let Some(stored) = stored else {
            // Another process has replaced them meanwhile.
            return Ok(Outcome::done().with_event(Event::Start(self.compare_or_replace(view, false)?)));
        };
        let (page, more) = view.hint_after::<Principal>(&keys::principals(), after, PAGE)?;
        let (mut changes, mut events) = (Changes::new(), Vec::new());
        let ended: Vec<_> = page
            .iter()
            .map(|(_, seen)| self.end_if_distrusted(view, stored, seen, &mut changes, &mut events))
            .collect();
        ended.into_iter().collect::<Result<(), Stop>>()?;
        let next = match more {
            Some(last) => StartEvent::Next(IssuerStep::End { after: Some(last), generation }),
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
        let gone = self.not_vouched(view, stored, By::Stored, principal)?;
        if gone.is_empty() {
            return Ok(());
        }
        let is_gone = |token: &StoredToken| gone.contains(&token.hash);
        events.extend(self.end_tokens(view, id, principal, is_gone, RekeyReason::Distrusted, changes)?);
        // The time of one with `exi` would begin anew.
        let tokens = principal.tokens.iter().map(|held| &held.token);
        tokens.filter(|token| is_gone(token)).for_each(|token| supersede(token, changes));
        Ok(())
    }
}
