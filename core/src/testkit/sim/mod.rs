//! A seeded simulation: several KDC engines over one store, clients that post tokens, join, ask, take rekeying messages and leave, an
//! operator who evicts, revokes, rekeys and restores backups, messages that are lost, commits that conflict, fail or end unknown,
//! processes that crash.
//!
//! Whatever happens, [`Ledger`] watches every commit, every answer and every rekeying message, and says what must never be: an answer
//! that is not durable, an identifier that is given twice, a version that goes back, a key for somebody who is out. In the end
//! nothing is lost any more, and then all members and nobody else hold the newest version. "Happened" and "reported" are two steps,
//! for commits and for loads. A seed gives the same run each time.

mod clients;
mod delivery;
mod host;
mod operator;
mod run;
mod sabotage;
mod world;

use crate::config::ConfigValue;
use crate::engine::{Completion, Effect, Limits, Machine, Ticket};
use crate::id::{AssociationId, TokenHash};
use crate::kdc::{Kdc, KdcConfig};
use crate::keys::GroupId;
use crate::testkit::ledger::{Ledger, Violation};
use crate::testkit::{TestStore, build, desk, toy};
use crate::time::Now;
use crate::traits::storage::{CommitOutcome, Key, Page, Record, Sharing, StorageError, Txn};
use crate::traits::transport::AssociationNotice;
use bytes::Bytes;
use clients::SimClient;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use sabotage::Broken;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use world::StandIn;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The cursor of identifiers is not persisted. The identifiers' own records hold: nothing may come of it.
    CursorLost,
    /// Neither the cursor nor the identifiers are persisted.
    IdentifiersLost,
    /// A process that starts does not see which rekeying is due.
    NotResumed,
    /// The commit of a version is acknowledged, and members are told of it, before it happens.
    ToldBeforeCommit,
    /// Memberships are read as they were a moment ago, when the head is known as it is.
    MembershipBeforeHead,
    /// The keying material of the version before stays.
    SecretKept,
    /// Who joins gets the version that is there.
    JoinerGetsOlder,
    /// A cause of a rekeying takes the place of earlier ones.
    CauseHidden,
}

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Engines over the store.
    pub hosts: usize,
    /// How many clients there are.
    pub clients: u16,
    /// How many steps are made at most.
    pub steps: u32,
    /// After how much simulated time it ends.
    pub duration: Duration,
    /// Messages lost, in a hundred.
    pub loss: u64,
    /// Commits that fail or end unknown, in a thousand.
    pub faults: u64,
    /// Crashes, in ten thousand steps.
    pub crashes: u64,
    /// Whose the storage is. Where it is exclusive there is one engine, and it alone changes anything.
    pub sharing: Sharing,
    /// Keys in a page of a scan.
    pub page: usize,
    /// Records in an engine's memory.
    pub records: usize,
    /// The longest time between two steps, in milliseconds.
    pub pace: u64,
    /// Retrievals that go to another process than the client's own, in a hundred.
    pub roaming: u64,
    /// How much longer commits of the first engine take.
    pub slowness: u64,
    /// What is broken on purpose.
    pub sabotage: Sabotage,
    /// Whether the group has backward security.
    pub backward: bool,
    /// The longest time in which nothing happens, in milliseconds; none where there is always something.
    pub quiet: u64,
    /// Tokens that are good for a few seconds, in a hundred.
    pub short: u64,
    /// How long the others are good, in seconds.
    pub lifetime: u64,
    /// Steps in ten thousand in which the operator restores a backup. One is kept some time before.
    pub restores: u64,
}

impl Options {
    /// A month in the life of a group: so many clients, two processes, quiet hours between what happens.
    #[must_use]
    pub fn month(clients: u16) -> Self {
        Self {
            clients,
            steps: u32::MAX,
            duration: Duration::from_secs(30 * 86_400),
            crashes: 60,
            quiet: 540_000,
            lifetime: 1_000_000,
            restores: 12,
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: 2,
            clients: 200,
            steps: 4_000,
            duration: Duration::MAX,
            loss: 30,
            faults: 20,
            crashes: 10,
            sharing: Sharing::Shared,
            page: 16,
            records: 4_000_000,
            pace: 20,
            roaming: 100,
            slowness: 1,
            sabotage: Sabotage::None,
            backward: false,
            quiet: 0,
            short: 25,
            lifetime: 100_000,
            restores: 0,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// A hash over all that happened: equal for equal seeds.
    pub trace: [u8; 32],
    /// How many commits happened.
    pub commits: u64,
    /// Joins that clients were told of.
    pub joins: u64,
    /// Retrievals that clients were told of.
    pub retrievals: u64,
    /// Lists of credentials that clients were told.
    pub listings: u64,
    /// Requests that were answered, except token posts.
    pub answers: u64,
    /// Those of them that were answered 5.03.
    pub unavailable: u64,
    /// Those of them that met a process which did not have the client's association.
    pub strange: u64,
    /// Commits that met a conflict.
    pub conflicts: u64,
    /// How many crashes there were.
    pub crashes: u64,
    /// How many versions the group had.
    pub versions: u64,
    /// Rekeying messages that have arrived.
    pub deliveries: u64,
    /// Members that left, and that the operator put out.
    pub left: u64,
    /// Backups that were restored.
    pub restores: u64,
    /// How much time went by, in seconds.
    pub seconds: u64,
}

const GROUP: &str = "g1";
const TALKER: u64 = 1;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Post,
    Join,
    Retrieve,
    Creds,
    Leave,
    /// A notification of an observation.
    Notification,
}

/// The store under a simulation.
pub trait Backing {
    /// Reads several keys at one moment.
    ///
    /// # Errors
    /// [`StorageError`].
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError>;

    /// Reads a page.
    ///
    /// # Errors
    /// [`StorageError`].
    fn scan(&mut self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError>;

    /// Commits.
    fn commit(&mut self, txn: Txn) -> CommitOutcome;

    /// The process that had it has crashed, and another one opens it: what was acknowledged is there.
    fn reopen(&mut self);
}

impl Backing for TestStore {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        self.read_now(keys)
    }

    fn scan(&mut self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.scan_now(prefix, after, limit)
    }

    fn commit(&mut self, txn: Txn) -> CommitOutcome {
        self.commit_now(txn)
    }

    fn reopen(&mut self) {}
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
    /// It has happened, and nobody knows yet; so many commits had happened before.
    Happened(u64, Completion),
}

impl Work {
    const fn is_commit(&self) -> bool {
        matches!(self, Self::Open(Effect::Commit(..)) | Self::Happened(_, Completion::Committed(..)))
    }
}

struct Host {
    kdc: Kdc,
    /// When it has started.
    since: Now,
    work: Vec<Work>,
    asked: BTreeMap<Ticket, Asked>,
}

/// A simulation under way.
pub struct Simulation {
    options: Options,
    rng: ChaCha12Rng,
    store: Box<dyn Backing>,
    hosts: Vec<Host>,
    clients: Vec<SimClient>,
    ledger: Ledger,
    now: Now,
    trace: Sha256,
    summary: Summary,
    group: Option<GroupId>,
    /// Whose association has this name: of several that had it, the last one.
    names: BTreeMap<AssociationId, usize>,
    /// The hashes of all tokens that were revoked.
    revoked: Vec<TokenHash>,
    backup: Option<Vec<(Key, Bytes)>>,
    broken: Broken,
}

impl Simulation {
    /// Prepares a run over a store in memory.
    ///
    /// # Errors
    /// [`Violation::Setup`].
    pub fn new(seed: u64, options: Options) -> Result<Self, Violation> {
        Self::over(seed, options, Box::new(TestStore::new(options.sharing)))
    }

    /// Prepares a run over a store, which has to be empty.
    ///
    /// # Errors
    /// [`Violation::Setup`].
    pub fn over(seed: u64, options: Options, store: Box<dyn Backing>) -> Result<Self, Violation> {
        let clients = (0..options.clients).map(SimClient::new);
        let mut simulation = Self {
            options,
            rng: ChaCha12Rng::seed_from_u64(seed),
            store,
            hosts: Vec::new(),
            clients: clients.collect::<Option<_>>().ok_or(Violation::Setup)?,
            ledger: Ledger::new(options.backward),
            now: Now::new(1_700_000_000, Duration::from_secs(1)),
            trace: Sha256::new(),
            summary: Summary::default(),
            group: None,
            names: BTreeMap::new(),
            revoked: Vec::new(),
            backup: None,
            broken: Broken::default(),
        };
        for _ in 0..options.hosts {
            let host = simulation.boot()?;
            simulation.hosts.push(host);
        }
        Ok(simulation)
    }

    fn boot(&mut self) -> Result<Host, Violation> {
        let trusting = self.options.sabotage == Sabotage::TrustMemory;
        let sharing = if trusting { Sharing::Exclusive } else { self.options.sharing };
        let limits = Limits { page: self.options.page, records: self.options.records, ..Limits::default() };
        let mut config = KdcConfig { limits, changes_per_hour: u32::MAX, ..desk::config(&[GROUP]) };
        let backward = self.options.backward && self.options.sabotage != Sabotage::JoinerGetsOlder;
        for group in &mut config.groups {
            group.parameters.insert("backward_security", ConfigValue::Bool(backward));
        }
        let validator = Box::new(build::validator(&[GROUP]));
        let kdc =
            Kdc::new(config, &toy::registry(), validator, sharing, Arc::new(StandIn)).map_err(|_| Violation::Setup)?;
        let mut host = Host { kdc, since: self.now, work: Vec::new(), asked: BTreeMap::new() };
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
}
