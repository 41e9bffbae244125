//! What a handler sees: records, facts, time and randomness.
//!
//! A handler is a straight function. It asks the view for what it needs; what is not there yet is noted, the
//! engine gets it, and the handler runs again from the start. **A run that noted a need has no result, whatever
//! it returned**, so a handler may ask for several things before it looks at the first:
//!
//! ```text
//! let (head, member) = (view.get::<Head>(&head_key), view.get::<MemberRecord>(&member_key)); // one load for both
//! let (head, member) = (head?, member?);
//! ```

use crate::Secret;
use crate::engine::question::{ASKS, KnownAnswer, Question};
use crate::engine::store::cache::Cache;
use crate::engine::store::overlay::Overlay;
use crate::refusal::Refusal;
use crate::schema::record::{AnyRecord, RecordType};
use crate::time::Now;
use crate::traits::crypto::{AgreementKey, CryptoJob, CryptoOutput, Mac, PublicKey, SigningKey};
use crate::traits::storage::{Key, Page, Record, Revision, Sharing};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Why a run of a handler ended early. `?` carries both kinds.
#[derive(Debug)]
pub enum Stop {
    /// Something is not known yet; the handler runs again when it is.
    NotYet(NotYet),
    /// The request is refused.
    Refuse(Refusal),
}

/// Made by the view alone.
#[derive(Debug)]
pub struct NotYet(());

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// Where a page begins: under a prefix, behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageAt {
    pub(crate) prefix: Key,
    pub(crate) after: Option<Key>,
}

/// Records of a page, each with its key; and the last key, where there are more.
type Hinted<T> = (Vec<(Key, T)>, Option<Key>);

/// What one run asked for and read.
#[derive(Default)]
pub(crate) struct Log {
    /// Records read from durable state, with the revision they had.
    pub(crate) reads: BTreeMap<Key, Option<Revision>>,
    /// Records that are not in memory.
    pub(crate) needs: Vec<Key>,
    /// Prefixes whose keys are not all in memory, each with the record that guards it.
    pub(crate) lists: Vec<(Key, Key)>,
    /// Pages that are wanted, and how many records of each.
    pub(crate) pages: Vec<(PageAt, usize)>,
    /// Work to be done.
    pub(crate) jobs: Vec<CryptoJob>,
    /// What services outside are to be asked.
    pub(crate) questions: Vec<Question>,
    /// Whether anything came from what is not durable yet.
    pub(crate) read_overlay: bool,
    /// Whether the run is to be done when what others of its lane change is durable.
    pub(crate) defers: bool,
    /// Until when the request waits for others of its lane, where it does.
    pub(crate) waits_until: Option<Duration>,
}

impl Log {
    pub(crate) fn has_needs(&self) -> bool {
        let of_storage = self.needs.is_empty() && self.lists.is_empty() && self.pages.is_empty();
        !(of_storage && self.jobs.is_empty() && self.questions.is_empty())
    }
}

/// What a handler sees of state and facts.
pub struct View<'a> {
    pub(crate) now: Now,
    pub(crate) arrived: Now,
    pub(crate) has_lane: bool,
    pub(crate) seed: &'a [u8; 32],
    pub(crate) base: &'a Cache,
    pub(crate) overlay: Option<&'a Overlay>,
    pub(crate) facts: &'a [(CryptoJob, CryptoOutput)],
    pub(crate) answers: &'a [KnownAnswer],
    pub(crate) pages: &'a [(PageAt, Page)],
    pub(crate) sharing: Sharing,
    pub(crate) log: &'a RefCell<Log>,
}

impl<'a> View<'a> {
    /// The time of this run: for checks.
    #[must_use]
    pub const fn now(&self) -> Now {
        self.now
    }

    /// The time at which the request came: for content, which must not differ from run to run.
    #[must_use]
    pub const fn arrived(&self) -> Now {
        self.arrived
    }

    /// Random bytes, the same in every run of this request. Each use has a label of its own, so that no
    /// secret can show up where a public value is wanted.
    #[must_use]
    pub fn random(&self, label: &'static str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(label);
        hash.finalize().into()
    }

    /// Random bytes for a profile: its labels are apart from those of the KDC, some of whose bytes are public.
    pub(crate) fn random_of_profile(&self, label: &'static str) -> [u8; 32] {
        let hash = Sha256::new().chain_update(self.seed).chain_update("profile/").chain_update(label);
        hash.finalize().into()
    }

    /// The first `N` of such bytes.
    #[must_use]
    pub fn random_bytes<const N: usize>(&self, label: &'static str) -> [u8; N] {
        let all = self.random(label);
        let mut out = [0; N];
        out.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        out
    }

    /// A record; `None` where there is none, which is not the same as not knowing.
    ///
    /// # Errors
    /// [`Stop::NotYet`] until it is in memory; [`Stop::Refuse`] where it cannot be read.
    pub fn get<T: RecordType>(&self, key: &Key) -> Result<Option<&'a T>, Stop> {
        if let Some(change) = self.overlay.and_then(|overlay| overlay.get(key)) {
            self.log.borrow_mut().read_overlay = true;
            return typed(change);
        }
        let Some(entry) = self.base.get(key) else {
            self.log.borrow_mut().needs.push(key.clone());
            return Err(Stop::NotYet(NotYet(())));
        };
        self.log.borrow_mut().reads.insert(key.clone(), entry.revision);
        entry.record().map_err(|_| Refusal::Internal("a record cannot be read").into())
    }

    /// Ends the run, where others of its lane that go before it are about to change this record: it comes again when that is durable.
    ///
    /// # Errors
    /// [`Stop::NotYet`] where they are.
    pub(crate) fn after_others(&self, key: &Key) -> Result<(), Stop> {
        if self.overlay.is_some_and(|overlay| overlay.get(key).is_some()) {
            self.log.borrow_mut().defers = true;
            return Err(Stop::NotYet(NotYet(())));
        }
        Ok(())
    }

    /// Ends the run of a request until this moment, or until something happens in its lane that those are waiting for who do
    /// ([`App::releases`](crate::engine::App::releases)). A request in no lane waits for nothing.
    ///
    /// # Errors
    /// [`Stop::NotYet`] where it is not that late yet.
    pub(crate) fn wait_until(&self, until: Duration) -> Result<(), Stop> {
        if !self.has_lane || self.now.mono >= until {
            return Ok(());
        }
        self.log.borrow_mut().waits_until = Some(until);
        Err(Stop::NotYet(NotYet(())))
    }

    /// A record as it is durable, whatever others of the same lane are about to change.
    pub(crate) fn durable<T: RecordType>(&self, key: &Key) -> Result<Option<&'a T>, Stop> {
        let Some(entry) = self.base.get(key) else {
            self.log.borrow_mut().needs.push(key.clone());
            return Err(Stop::NotYet(NotYet(())));
        };
        self.log.borrow_mut().reads.insert(key.clone(), entry.revision);
        entry.record().map_err(|_| Refusal::Internal("a record cannot be read").into())
    }

    /// The revision of a record that is durable and in memory: what was made of a record with the same one need not be made
    /// again.
    pub(crate) fn revision(&self, key: &Key) -> Option<Revision> {
        if self.overlay.is_some_and(|overlay| overlay.get(key).is_some()) {
            return None;
        }
        self.base.get(key)?.revision
    }

    /// Expects a record to stay as it is until the commit, without looking at it.
    pub(crate) fn expect_unchanged(&self, key: &Key) -> Result<(), Stop> {
        match self.base.get(key) {
            Some(entry) => {
                self.log.borrow_mut().reads.insert(key.clone(), entry.revision);
                Ok(())
            }
            None => {
                self.log.borrow_mut().needs.push(key.clone());
                Err(Stop::NotYet(NotYet(())))
            }
        }
    }

    /// A record that is most likely not there: where it is not in memory it is taken to be absent without a
    /// look, and the commit expects that. Where that was wrong the conflict shows the record, and the
    /// handler runs again.
    ///
    /// # Errors
    /// [`Stop::Refuse`] where it is there and cannot be read.
    pub fn assume_absent<T: RecordType>(&self, key: &Key) -> Result<Option<&'a T>, Stop> {
        let known = self.overlay.is_some_and(|overlay| overlay.get(key).is_some()) || self.base.get(key).is_some();
        if known {
            return self.get(key);
        }
        self.log.borrow_mut().reads.insert(key.clone(), None);
        Ok(None)
    }

    /// All records under a prefix, in the order of their keys. `guard` names the record that every change
    /// of them writes too; it stands for all of them in the commit's expectations.
    ///
    /// # Errors
    /// [`Stop::NotYet`] until all are in memory; [`Stop::Refuse`] where one cannot be read.
    pub fn list<T: RecordType>(&self, prefix: &Key, guard: &Key) -> Result<Vec<&'a T>, Stop> {
        Ok(self.list_keyed(prefix, guard)?.into_iter().map(|(_, record)| record).collect())
    }

    /// The same, each with its key.
    pub(crate) fn list_keyed<T: RecordType>(&self, prefix: &Key, guard: &Key) -> Result<Vec<(&'a Key, &'a T)>, Stop> {
        self.expect_unchanged(guard)?;
        let shared = self.sharing == Sharing::Shared;
        let Some(guardian) = self.base.get(guard) else { return Err(Stop::NotYet(NotYet(()))) };
        let Some(keys) = self.base.listing(prefix, shared.then_some(guardian.revision)) else {
            self.log.borrow_mut().lists.push((prefix.clone(), guard.clone()));
            return Err(Stop::NotYet(NotYet(())));
        };
        let mut found: BTreeMap<&Key, &'a T> = BTreeMap::new();
        let mut missing = false;
        for key in keys {
            if self.overlay.is_some_and(|overlay| overlay.get(key).is_some()) {
                continue;
            }
            match self.base.get(key) {
                // Seen after the guard was: whether the guard stands yet has to be seen again.
                Some(entry) if shared && entry.first > guardian.last => missing = true,
                Some(entry) if shared && entry.stray => {
                    self.log.borrow_mut().needs.push(key.clone());
                    missing = true;
                }
                Some(entry) => {
                    let record = entry.record().map_err(|_| Refusal::Internal("a record cannot be read"))?;
                    found.extend(record.map(|record| (key, record)));
                }
                None => {
                    self.log.borrow_mut().needs.push(key.clone());
                    missing = true;
                }
            }
        }
        if missing {
            if shared {
                self.log.borrow_mut().needs.push(guard.clone());
            }
            return Err(Stop::NotYet(NotYet(())));
        }
        for (key, change) in self.overlay.iter().flat_map(|overlay| overlay.under(prefix.clone())) {
            self.log.borrow_mut().read_overlay = true;
            found.extend(typed(change)?.map(|record| (key, record)));
        }
        Ok(found.into_iter().collect())
    }

    /// The first records under a prefix, as they were at some moment since the request came: a hint of what there
    /// is to do, which nothing may rest on.
    ///
    /// # Errors
    /// [`Stop::NotYet`] until they are known.
    pub fn hint<T: RecordType>(&self, prefix: &Key, limit: usize) -> Result<Vec<T>, Stop> {
        let page = self.page(prefix, None, limit)?;
        Ok(page.records.iter().filter_map(|(_, record)| T::decode(&record.value).ok()).collect())
    }

    /// The same of the records behind a key, each with its key; and the last key of these, where there are more.
    ///
    /// # Errors
    /// [`Stop::NotYet`] until they are known; [`Stop::Refuse`] where one cannot be read.
    pub fn hint_after<T: RecordType>(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Hinted<T>, Stop> {
        let page = self.page(prefix, after, limit)?;
        let last = page.records.last().filter(|_| page.more).map(|(key, _)| key.clone());
        let record = |(key, record): &(Key, Record)| T::decode(&record.value).map(|decoded| (key.clone(), decoded));
        let records: Result<Vec<_>, _> = page.records.iter().map(record).collect();
        Ok((records.map_err(|_| Refusal::Internal("a record cannot be read"))?, last))
    }

    /// The first keys under a prefix.
    ///
    /// # Errors
    /// [`Stop::NotYet`] until they are known.
    pub(crate) fn hint_keys(&self, prefix: &Key, limit: usize) -> Result<Vec<Key>, Stop> {
        Ok(self.page(prefix, None, limit)?.records.iter().map(|(key, _)| key.clone()).collect())
    }

    fn page(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<&'a Page, Stop> {
        let at = PageAt { prefix: prefix.clone(), after: after.cloned() };
        let Some((_, page)) = self.pages.iter().find(|(known, _)| *known == at) else {
            self.log.borrow_mut().pages.push((at, limit));
            return Err(Stop::NotYet(NotYet(())));
        };
        Ok(page)
    }

    /// What a service outside says to a question. The answer may be a former one to the same question of the same request, while
    /// it is good.
    ///
    /// # Errors
    /// [`Stop::NotYet`] until it is known; [`Stop::Refuse`] with 5.03 where the service cannot be asked, does not answer in time, or
    /// says what is outdated at once.
    pub fn asked(&self, question: Question) -> Result<&'a Secret, Stop> {
        let known = || self.answers.iter().filter(|known| known.question == question);
        match known().next_back().map(|known| &known.answer) {
            Some(Some((content, until))) if self.now.mono < *until => Ok(content),
            Some(None) => Err(Refusal::Unavailable("a service does not answer", 5).into()),
            Some(Some(_)) if known().count() >= ASKS => {
                Err(Refusal::Unavailable("what a service says is outdated at once", 5).into())
            }
            _ => {
                self.log.borrow_mut().questions.push(question);
                Err(Stop::NotYet(NotYet(())))
            }
        }
    }

    fn fact(&self, job: CryptoJob) -> Result<&'a CryptoOutput, Stop> {
        match self.facts.iter().find(|(known, _)| *known == job) {
            Some((_, output)) => Ok(output),
            None => {
                self.log.borrow_mut().jobs.push(job);
                Err(Stop::NotYet(NotYet(())))
            }
        }
    }

    /// Whether this is the signature of that message under this key; a key that is not for signatures verifies none.
    ///
    /// # Errors
    /// [`Stop::NotYet`] until that is known.
    pub fn verified(&self, key: &PublicKey, message: Vec<u8>, signature: &[u8]) -> Result<bool, Stop> {
        let PublicKey::Signature(algorithm, key) = key else { return Ok(false) };
        let job =
            CryptoJob::Verify { algorithm: *algorithm, key: key.to_vec(), message, signature: signature.to_vec() };
        self.answer(job)
    }

    /// Whether this is the MAC of that message, by what this key and the peer's share
    /// ([`agreement_mac`](crate::traits::crypto::agreement_mac)); a peer's key for something else shares nothing.
    ///
    /// # Errors
    /// [`Stop::NotYet`] until that is known.
    pub fn verified_mac(
        &self,
        key: &Arc<dyn AgreementKey>,
        peer: &PublicKey,
        message: Vec<u8>,
        mac: &[u8],
    ) -> Result<bool, Stop> {
        let Some(peer) = peer_of(key, peer) else { return Ok(false) };
        self.answer(CryptoJob::VerifyMac { key: Arc::clone(key), peer, message, mac: mac.to_vec() })
    }

    /// Whether a signature or a MAC verifies.
    fn answer(&self, job: CryptoJob) -> Result<bool, Stop> {
        match self.fact(job)? {
            CryptoOutput::Verified(verified) => Ok(*verified),
            _ => Err(Refusal::Unavailable("a proof could not be verified", 1).into()),
        }
    }

    /// The MAC of a message, by what this key and the peer's share. Ask for it when the peer has proven its key, and not
    /// before.
    ///
    /// # Errors
    /// [`Stop::NotYet`] until it is made; [`Stop::Refuse`] where it cannot be made.
    pub fn mac(&self, key: &Arc<dyn AgreementKey>, peer: &PublicKey, message: Vec<u8>) -> Result<&'a Mac, Stop> {
        let none = || Stop::from(Refusal::Unavailable("no MAC can be made", 1));
        let peer = peer_of(key, peer).ok_or_else(none)?;
        match self.fact(CryptoJob::Mac { key: Arc::clone(key), peer, message })? {
            CryptoOutput::Mac(mac) => Ok(mac),
            _ => Err(none()),
        }
    }

    /// The signature of a message.
    ///
    /// # Errors
    /// [`Stop::NotYet`] until it is made; [`Stop::Refuse`] where it cannot be made.
    pub fn signed(&self, key: &Arc<dyn SigningKey>, message: Vec<u8>) -> Result<&'a [u8], Stop> {
        match self.fact(CryptoJob::Sign { key: Arc::clone(key), message })? {
            CryptoOutput::Signature(signature) => Ok(signature),
            _ => Err(Refusal::Unavailable("nothing can be signed", 1).into()),
        }
    }
}

/// The bytes of a peer's key, where it is for the algorithm of this one.
fn peer_of(key: &Arc<dyn AgreementKey>, peer: &PublicKey) -> Option<Vec<u8>> {
    match peer {
        PublicKey::Agreement(algorithm, bytes) if *algorithm == key.algorithm() => Some(bytes.to_vec()),
        _ => None,
    }
}

/// The record of a change, as the kind that is asked for.
fn typed<T: RecordType>(change: &Option<Arc<dyn AnyRecord>>) -> Result<Option<&T>, Stop> {
    match change {
        None => Ok(None),
        Some(record) => record
            .as_any()
            .downcast_ref()
            .map(Some)
            .ok_or_else(|| Refusal::Internal("a record is of another kind").into()),
    }
}
