//! A seeded simulation: several KDC engines over one store, clients that post tokens, join and ask, messages that
//! are lost, commits that conflict, fail or end unknown, processes that crash.
//!
//! Whatever happens, [`Ledger`] watches every commit and every answer, and says what must never be: an answer that
//! is not durable, an identifier that is given twice, a version that goes back, a key for somebody who is out.
//! "Happened" and "reported" are two steps, for commits and for loads. A seed gives the same run each time.

use crate::engine::{Completion, Durable, Effect, Machine, OpId, Reply, Ticket};
use crate::kdc::{Kdc, KdcConfig};
use crate::keys::{self, GroupId, PrincipalId};
use crate::record::RecordType;
use crate::records::{BelongsTo, GroupSecret, Head};
use crate::request::{Caller, Method, Request, Response, Status};
use crate::testkit::ledger::{Ledger, Violation};
use crate::testkit::{TestStore, build, desk, toy};
use crate::time::Now;
use crate::traits::crypto::{CryptoJob, CryptoOutput};
use crate::traits::storage::{CommitOutcome, Sharing, StorageError, Txn};
use crate::traits::transport::AssociationNotice;
use ace_groupcomm_messages::{
    JoinRequest, JoinResponse, KeyDistribution, RawCbor, ScopeEntry, TokenTransferResponse, pop,
};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// Storage says that a commit is done before it is, and a crash loses it.
    AcknowledgeBeforeCommit,
    /// Commits expect nothing of what they read.
    ExpectNothing,
    /// Commits expect the group's head alone.
    ExpectHeadOnly,
    /// Engines believe that they own the storage alone.
    TrustMemory,
    /// Somebody puts an old version number back.
    VersionGoesBack,
}

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Engines over the store.
    pub hosts: usize,
    /// Clients.
    pub clients: u16,
    /// Steps.
    pub steps: u32,
    /// Messages lost, in a hundred.
    pub loss: u64,
    /// Commits that fail or end unknown, in a thousand.
    pub faults: u64,
    /// Crashes, in ten thousand steps.
    pub crashes: u64,
    /// What is broken on purpose.
    pub sabotage: Sabotage,
}

impl Default for Options {
    fn default() -> Self {
        Self { hosts: 2, clients: 200, steps: 4_000, loss: 30, faults: 20, crashes: 10, sabotage: Sabotage::None }
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// A hash over all that happened: equal for equal seeds.
    pub trace: [u8; 32],
    /// Commits that happened.
    pub commits: u64,
    /// Joins that clients were told of.
    pub joins: u64,
    /// Retrievals that clients were told of.
    pub retrievals: u64,
    /// Commits that met a conflict.
    pub conflicts: u64,
    /// Crashes.
    pub crashes: u64,
}

const GROUP: &str = "g1";
const TALKER: u64 = 1;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Post,
    Join,
    Retrieve,
}

/// A request that a client waits for.
struct Asked {
    client: usize,
    kind: Kind,
    /// The number of commits that had happened when it came.
    since: u64,
}

/// An effect under way.
enum Work {
    /// It has not happened yet.
    Open(Effect<AssociationNotice>),
    /// It has happened, and nobody knows yet.
    Happened(Completion),
}

struct Host {
    kdc: Kdc,
    work: Vec<Work>,
    asked: BTreeMap<Ticket, Asked>,
}

struct Client {
    keys: build::Client,
    principal: PrincipalId,
    association: Option<(Vec<u8>, usize, Vec<u8>)>,
    nonce: u64,
}

/// A simulation under way.
pub struct Simulation {
    options: Options,
    rng: ChaCha12Rng,
    store: TestStore,
    hosts: Vec<Host>,
    clients: Vec<Client>,
    ledger: Ledger,
    now: Now,
    trace: Sha256,
    summary: Summary,
    group: Option<GroupId>,
    next_revision: u64,
}

/// Stands in for a signature, at the price of a hash.
fn stand_in(public: &[u8], message: &[u8]) -> Vec<u8> {
    let half = Sha256::new().chain_update(public).chain_update(message).finalize();
    [half, half].concat()
}

fn work(job: &CryptoJob) -> CryptoOutput {
    match job {
        CryptoJob::Verify { key, message, signature, .. } => {
            CryptoOutput::Verified(*signature == stand_in(key, message))
        }
        CryptoJob::Sign { key, message } => CryptoOutput::Signature(stand_in(key.public(), message)),
    }
}

fn config(process: usize) -> KdcConfig {
    KdcConfig { process: u8::try_from(process).unwrap_or(0), ..desk::config(&[GROUP]) }
}

impl Simulation {
    /// Prepares a run.
    ///
    /// # Errors
    /// [`Violation::Setup`].
    pub fn new(seed: u64, options: Options) -> Result<Self, Violation> {
        let clients = (0..options.clients).map(|number| {
            let keys = build::Client::new(number)?;
            let principal = PrincipalId::of("as1", &keys.name);
            Some(Client { keys, principal, association: None, nonce: 0 })
        });
        let mut simulation = Self {
            options,
            rng: ChaCha12Rng::seed_from_u64(seed),
            store: TestStore::new(Sharing::Shared),
            hosts: Vec::new(),
            clients: clients.collect::<Option<_>>().ok_or(Violation::Setup)?,
            ledger: Ledger::default(),
            now: Now::new(1_000_000, Duration::from_secs(1)),
            trace: Sha256::new(),
            summary: Summary { trace: [0; 32], commits: 0, joins: 0, retrievals: 0, conflicts: 0, crashes: 0 },
            group: None,
            next_revision: 1 << 40,
        };
        for number in 0..options.hosts {
            let host = simulation.boot(number)?;
            simulation.hosts.push(host);
        }
        Ok(simulation)
    }

    fn boot(&mut self, number: usize) -> Result<Host, Violation> {
        let sharing = if self.options.sabotage == Sabotage::TrustMemory { Sharing::Exclusive } else { Sharing::Shared };
        let validator = Box::new(build::validator(&[GROUP]));
        let kdc = Kdc::new(config(number), &toy::registry(), validator, sharing).map_err(|_| Violation::Setup)?;
        let mut host = Host { kdc, work: Vec::new(), asked: BTreeMap::new() };
        let mut out = Vec::new();
        host.kdc.start(self.now, &mut self.rng, &mut out);
        host.work.extend(out.into_iter().map(Work::Open));
        Ok(host)
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.rng.next_u64().checked_rem(below).unwrap_or(0)
    }

    fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap_or(1);
        usize::try_from(self.draw(length)).unwrap_or(0)
    }

    fn is_lost(&mut self) -> bool {
        self.draw(100) < self.options.loss
    }

    fn note(&mut self, what: &str, number: usize) {
        self.trace.update(what);
        self.trace.update(number.to_be_bytes());
    }

    /// Runs it.
    ///
    /// # Errors
    /// The first [`Violation`].
    pub fn run(mut self) -> Result<Summary, Violation> {
        for _ in 0..self.options.steps {
            self.step()?;
        }
        // Then nothing is lost any more, and all that is under way comes to an end.
        self.options.loss = 0;
        self.options.faults = 0;
        for _ in 0..100_000_u32 {
            for host in 0..self.hosts.len() {
                self.flush(host)?;
            }
            let Some(host) = (0..self.hosts.len()).find(|&host| self.is_busy(host)) else { break };
            self.progress(host)?;
        }
        if let Some(waiting) = self.hosts.iter().map(|host| host.kdc.waiting()).find(|&waiting| waiting > 0) {
            return Err(Violation::Stuck(waiting));
        }
        self.ledger.check_store(&self.store.dump())?;
        self.summary.conflicts =
            self.summary.conflicts.saturating_add(self.hosts.iter().map(|host| host.kdc.stats().conflicts).sum());
        self.summary.trace = self.trace.finalize().into();
        Ok(self.summary)
    }

    fn is_busy(&self, host: usize) -> bool {
        self.hosts.get(host).is_some_and(|host| !host.work.is_empty())
    }

    fn step(&mut self) -> Result<(), Violation> {
        let host = self.index(self.hosts.len());
        match self.draw(10_000) {
            n if n < self.options.crashes => self.crash(host),
            n if n < 200 => self.administer(),
            n if n < 2_500 => self.ask(),
            n if n < 5_000 => self.flush(host),
            _ => self.progress(host),
        }
    }

    /// A process ends, with what it had under way: a commit that was sent may still happen.
    fn crash(&mut self, number: usize) -> Result<(), Violation> {
        self.note("crash", number);
        self.summary.crashes = self.summary.crashes.saturating_add(1);
        let fresh = self.boot(number)?;
        let Some(host) = self.hosts.get_mut(number) else { return Ok(()) };
        let old = std::mem::replace(host, fresh);
        self.summary.conflicts = self.summary.conflicts.saturating_add(old.kdc.stats().conflicts);
        for work in old.work {
            if let Work::Open(Effect::Commit(op, txn)) = work
                && self.draw(2) == 0
            {
                self.commit(op, txn)?;
            }
        }
        Ok(())
    }

    /// Another process evicts a member and rekeys the group, in one commit, as a later KDC will.
    fn administer(&mut self) -> Result<(), Violation> {
        let Some(group) = self.group() else { return Ok(()) };
        let chosen = self.index(self.clients.len());
        let Some(client) = self.clients.get(chosen) else { return Ok(()) };
        let (member, head_key) = (keys::member(group, client.principal), keys::head(group));
        let principal = keys::principal(client.principal);
        let read = |store: &TestStore, key| store.read_now(&[key]).ok().and_then(|mut records| records.pop().flatten());
        let (Some(old_member), Some(old_head), Some(old_principal)) = (
            read(&self.store, member.clone()),
            read(&self.store, head_key.clone()),
            read(&self.store, principal.clone()),
        ) else {
            return Ok(());
        };
        let decoded = (Head::decode(&old_head.value), crate::records::Principal::decode(&old_principal.value));
        let (Ok(mut head), Ok(mut owner)) = decoded else { return Err(Violation::Setup) };
        let Ok(gone) = crate::records::Member::decode(&old_member.value) else { return Err(Violation::Setup) };
        head.num = head.num.saturating_add(1);
        head.members = head.members.saturating_sub(1);
        let going_back = self.options.sabotage == Sabotage::VersionGoesBack && head.num > 3;
        if going_back {
            head.num = 1;
        }
        owner.memberships.clear();
        let material = crate::Secret::new(vec![u8::try_from(head.num & 0xff).unwrap_or(0); 16]);
        let secret = GroupSecret { material, created: 0, expires: u64::MAX };
        let mut write = vec![
            (member.clone(), None),
            (keys::secret(group, head.num), Some(secret.encode().into())),
            (head_key.clone(), Some(head.encode().into())),
            (principal.clone(), Some(owner.encode().into())),
        ];
        if let Some(id) = &gone.sender_id {
            let barred = crate::records::SenderId { holder: None, epoch: head.epoch };
            write.push((keys::sender_id(group, id), Some(barred.encode().into())));
        }
        if let Some(key) = &gone.key {
            write.push((keys::credential(group, key), None));
        }
        let expect = vec![
            (member, Some(old_member.revision)),
            (head_key, Some(old_head.revision)),
            (principal, Some(old_principal.revision)),
        ];
        self.note("administer", chosen);
        self.happen(Txn { expect, write }).map(|_| ())
    }

    fn group(&mut self) -> Option<GroupId> {
        if self.group.is_none() {
            let record = self.store.read_now(&[keys::name(GROUP)]).ok()?.pop()??;
            self.group = BelongsTo::<GroupId>::decode(&record.value).ok().map(|owner| owner.0);
        }
        self.group
    }

    /// A client asks for something.
    fn ask(&mut self) -> Result<(), Violation> {
        let chosen = self.index(self.clients.len());
        let any_host = self.index(self.hosts.len());
        let what = self.draw(10);
        let lost = self.is_lost();
        let now = self.now;
        let Some(client) = self.clients.get_mut(chosen) else { return Ok(()) };
        client.nonce = client.nonce.saturating_add(1);
        let (host, caller, kind, request) = match &client.association {
            // A new token now and then, also of one who has an association.
            None => post(client, any_host, now),
            Some(_) if what == 0 => post(client, any_host, now),
            Some((id, home, challenge)) => {
                let caller = Caller::peer(id);
                // Until it is proven, only the process that made it knows an association.
                let host = if what < 6 { *home } else { any_host };
                if what < 6 {
                    (host, caller, Kind::Join, build::join_post(GROUP, &join(client, challenge)))
                } else {
                    (host, caller, Kind::Retrieve, build::group_request(Method::Get, GROUP, &[]))
                }
            }
        };
        self.note("ask", chosen);
        if lost {
            return Ok(());
        }
        let since = self.ledger.commits();
        let mut out = Vec::new();
        let Some(target) = self.hosts.get_mut(host) else { return Ok(()) };
        let asked = Asked { client: chosen, kind, since };
        match target.kdc.request(now, caller, request, &mut self.rng, &mut out) {
            Reply::Now(durable) => self.answered(host, asked, durable)?,
            Reply::Later(ticket) => {
                target.asked.insert(ticket, asked);
            }
        }
        self.take(host, out)
    }

    fn flush(&mut self, host: usize) -> Result<(), Violation> {
        self.note("flush", host);
        let mut out = Vec::new();
        if let Some(target) = self.hosts.get_mut(host) {
            target.kdc.flush(self.now, &mut out);
        }
        self.take(host, out)
    }

    /// Something that a host waits for happens, or is reported.
    fn progress(&mut self, host: usize) -> Result<(), Violation> {
        let length = self.hosts.get(host).map_or(0, |host| host.work.len());
        if length == 0 {
            return self.flush(host);
        }
        let at = self.index(length);
        self.note("progress", at);
        let Some(work) = self.hosts.get_mut(host).map(|host| host.work.swap_remove(at)) else { return Ok(()) };
        match work {
            Work::Open(effect) => {
                let done = self.perform(effect)?;
                if let (Some(done), Some(host)) = (done, self.hosts.get_mut(host)) {
                    host.work.push(Work::Happened(done));
                }
                Ok(())
            }
            Work::Happened(done) => {
                let mut out = Vec::new();
                if let Some(target) = self.hosts.get_mut(host) {
                    target.kdc.complete(self.now, done, &mut out);
                }
                self.take(host, out)
            }
        }
    }

    fn perform(&mut self, effect: Effect<AssociationNotice>) -> Result<Option<Completion>, Violation> {
        Ok(Some(match effect {
            Effect::Load(op, keys) => Completion::Loaded(op, self.store.read_now(&keys)),
            Effect::Scan(op, prefix, after, limit) => {
                Completion::Scanned(op, self.store.scan_now(&prefix, after.as_ref(), limit))
            }
            Effect::Crypto(op, jobs) => Completion::Crypto(op, jobs.iter().map(work).collect()),
            Effect::Commit(op, txn) => Completion::Committed(op, self.commit(op, txn)?),
            Effect::Answer(..) | Effect::Notice(_) => return Ok(None),
        }))
    }

    /// A commit as a host sent it: it may fail, or end unknown.
    fn commit(&mut self, _op: OpId, mut txn: Txn) -> Result<CommitOutcome, Violation> {
        let is_head = |key: &crate::traits::storage::Key| key.as_bytes().ends_with(b"/head");
        let unlucky = self.draw(50) == 0;
        match self.options.sabotage {
            Sabotage::ExpectNothing => txn.expect.clear(),
            Sabotage::ExpectHeadOnly => txn.expect.retain(|(key, _)| is_head(key)),
            Sabotage::AcknowledgeBeforeCommit if unlucky => {
                self.next_revision = self.next_revision.saturating_add(1);
                return Ok(CommitOutcome::Done(crate::traits::storage::Revision(self.next_revision)));
            }
            _ => (),
        }
        if self.draw(1_000) >= self.options.faults {
            return self.happen(txn);
        }
        let away = || StorageError::Unavailable("simulated".into());
        match self.draw(3) {
            0 => Ok(CommitOutcome::NotDone(away())),
            1 => Ok(CommitOutcome::Unknown(away())),
            _ => match self.happen(txn)? {
                conflict @ CommitOutcome::Conflict(_) => Ok(conflict),
                _ => Ok(CommitOutcome::Unknown(away())),
            },
        }
    }

    /// A commit happens; the ledger sees what it writes.
    fn happen(&mut self, txn: Txn) -> Result<CommitOutcome, Violation> {
        let written = txn.write.clone();
        let outcome = self.store.commit_now(txn);
        if matches!(outcome, CommitOutcome::Done(_)) {
            self.summary.commits = self.summary.commits.saturating_add(1);
            self.ledger.committed(&written)?;
        }
        Ok(outcome)
    }

    /// Takes in what a host wants done. Answers go to their clients, or are lost on the way.
    fn take(&mut self, host: usize, effects: Vec<Effect<AssociationNotice>>) -> Result<(), Violation> {
        for effect in effects {
            match effect {
                Effect::Answer(ticket, durable) => {
                    let asked = self.hosts.get_mut(host).and_then(|host| host.asked.remove(&ticket));
                    if let Some(asked) = asked {
                        self.answered(host, asked, durable)?;
                    }
                }
                Effect::Notice(_) => (),
                other => self.queue(host, other),
            }
        }
        Ok(())
    }

    fn queue(&mut self, host: usize, effect: Effect<AssociationNotice>) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.work.push(Work::Open(effect));
        }
    }

    /// An answer leaves a host. What it says must hold, whether it arrives or not.
    fn answered(&mut self, host: usize, asked: Asked, durable: Durable) -> Result<(), Violation> {
        let response = durable.into_inner();
        self.trace.update([response.status.coap()]);
        self.trace.update(&response.payload);
        let lost = self.is_lost();
        let Some(client) = self.clients.get_mut(asked.client) else { return Ok(()) };
        let principal = client.principal;
        match asked.kind {
            Kind::Post => {
                let answer = TokenTransferResponse::decode(&response.payload);
                if let (Status::Created, Ok(answer), false) = (response.status, answer, lost) {
                    let (Some(id), Some(challenge)) = (answer.server_recipient_id, answer.kdcchallenge) else {
                        return Err(Violation::Setup);
                    };
                    client.association = Some((id, host, challenge));
                }
            }
            Kind::Join if response.status.is_success() => {
                let (num, sender_id) = joined(&response).ok_or(Violation::Setup)?;
                self.ledger.was_told_of_join(principal, num, &sender_id, asked.since)?;
                self.summary.joins = self.summary.joins.saturating_add(1);
            }
            Kind::Retrieve if response.status.is_success() => {
                let num = KeyDistribution::decode(&response.payload).map_err(|_| Violation::Setup)?.num;
                self.ledger.was_told_key(principal, num, asked.since)?;
                self.summary.retrievals = self.summary.retrievals.saturating_add(1);
            }
            Kind::Join | Kind::Retrieve => {
                if response.status == Status::Unauthorized && !lost {
                    client.association = None;
                }
            }
        }
        Ok(())
    }
}

/// Version and Sender ID in a Join Response of the toy profile.
fn joined(response: &Response) -> Option<(i64, Vec<u8>)> {
    let joined = JoinResponse::decode(&response.payload).ok()?;
    let key = joined.material.key.as_bytes_item()?;
    Some((joined.material.num, key.get(26..)?.to_vec()))
}

fn post(client: &Client, host: usize, now: Now) -> (usize, Caller, Kind, Request) {
    let claims = client.keys.claims(&[(GROUP, TALKER)], now.unix.saturating_add(100_000).saturating_add(client.nonce));
    let token = build::token(1, &claims);
    (host, Caller::Anonymous, Kind::Post, build::token_post(&token))
}

fn join(client: &Client, challenge: &[u8]) -> JoinRequest {
    let scope = ScopeEntry { gname: GROUP.into(), permissions: RawCbor::uint(TALKER) }.encode();
    let cnonce = client.nonce.to_be_bytes();
    let public = client.keys.key.public();
    let evidence = stand_in(public, &pop::client_input(&scope, challenge, &cnonce));
    JoinRequest {
        scope: Some(scope),
        client_cred: Some(public.to_vec()),
        cnonce: Some(cnonce.to_vec()),
        client_cred_verify: Some(evidence),
        ..JoinRequest::default()
    }
}
