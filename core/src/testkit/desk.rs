//! One KDC on a test store, with everything done at once: ask and get the answer.

use crate::command::{Command, CommandError, Report};
use crate::config::ConfigMap;
use crate::delivery::{Delivered, Delivery};
use crate::engine::{Answered, Completion, Durable, Effect, Machine, OpId, Question, Reply, Ticket};
use crate::id::TokenHash;
use crate::kdc::{GroupConfig, Kdc, KdcConfig, SetupError};
use crate::registry::Registry;
use crate::request::{Caller, Request, Response, Status};
use crate::testkit::{TestStore, build, toy};
use crate::time::Now;
use crate::traits::crypto::{CryptoJob, CryptoProvider};
use crate::traits::storage::Storage;
use crate::traits::token::TokenValidator;
use crate::traits::transport::{AssociationNeed, AssociationNotice};
use ace_groupcomm_messages::{CreationHints, TokenTransferResponse};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The configuration of a KDC with toy groups of these names.
#[must_use]
pub fn config(groups: &[&str]) -> KdcConfig {
    let group =
        |&gname: &&str| GroupConfig { gname: gname.into(), profile: "toy".into(), parameters: ConfigMap::default() };
    let hints = CreationHints {
        as_uri: Some("coap://as.example/token".into()),
        audience: Some(build::AUDIENCE.into()),
        ..CreationHints::default()
    };
    KdcConfig::new(hints, groups.iter().map(group).collect())
}

/// What came of effects.
#[derive(Debug, Default)]
pub struct Settled {
    /// The answers, in the order in which they became ready.
    pub answers: Vec<(Ticket, Durable)>,
    /// What came of commands.
    pub reports: Vec<(Ticket, Result<Report, CommandError>)>,
    /// What the network side was told, in order.
    pub notices: Vec<AssociationNotice>,
    /// All signatures that were asked for.
    pub jobs: Vec<CryptoJob>,
    /// Questions to services outside, which nobody has answered.
    pub questions: Vec<(OpId, Question)>,
    /// What was sent to clients, of which nobody has said what has become of it.
    pub deliveries: Vec<(OpId, Delivery)>,
}

/// Does what the effects of an engine ask for, by this provider, on this store and at this time, until there are none.
pub fn settle(
    crypto: &dyn CryptoProvider,
    machine: &mut impl Machine<Notice = AssociationNotice>,
    store: &TestStore,
    now: Now,
    mut out: Vec<Effect<AssociationNotice>>,
) -> Settled {
    let mut settled = Settled::default();
    loop {
        machine.flush(now, &mut out);
        if out.is_empty() {
            return settled;
        }
        for effect in std::mem::take(&mut out) {
            let done = match effect {
                Effect::Load(op, keys) => Completion::Loaded(op, store.read_now(&keys)),
                Effect::Scan(op, prefix, after, limit) => {
                    Completion::Scanned(op, store.scan_now(&prefix, after.as_ref(), limit))
                }
                Effect::Crypto(op, jobs) => {
                    let outputs = crypto.run(&jobs);
                    settled.jobs.extend(jobs);
                    Completion::Crypto(op, outputs)
                }
                Effect::Ask(op, question, _) => {
                    settled.questions.push((op, question));
                    continue;
                }
                Effect::Commit(op, txn) => Completion::Committed(op, store.commit_now(txn)),
                Effect::Answer(ticket, durable) => {
                    settled.answers.push((ticket, durable));
                    continue;
                }
                Effect::Report(ticket, report) => {
                    settled.reports.push((ticket, report));
                    continue;
                }
                Effect::Notice(notice) => {
                    settled.notices.push(notice);
                    continue;
                }
                Effect::Deliver(op, delivery) => {
                    settled.deliveries.push((op, delivery));
                    continue;
                }
            };
            machine.complete(now, done, &mut out);
        }
    }
}

/// One KDC on a test store.
pub struct Desk {
    /// What signs and verifies.
    pub crypto: &'static dyn CryptoProvider,
    /// The KDC under test, which this drives by hand.
    pub kdc: Kdc,
    /// The store under the KDC; a test looks into it and lets it fail.
    pub store: TestStore,
    /// The time that is handed in; a test moves it.
    pub now: Now,
    /// The randomness that is handed in; from a seed.
    pub rng: ChaCha12Rng,
    /// What the network side was told, in order.
    pub notices: Vec<AssociationNotice>,
    /// All signatures that were asked for.
    pub jobs: Vec<CryptoJob>,
    /// Questions to services outside, in order; [`Self::answer`] answers one.
    pub questions: Vec<(OpId, Question)>,
    /// What was sent to clients, of which nobody has said what has become of it.
    pub deliveries: Vec<(OpId, Delivery)>,
    answers: BTreeMap<Ticket, Durable>,
}

impl Desk {
    /// A KDC with toy groups of these names, which issuer 1 may speak for.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(crypto: &'static dyn CryptoProvider, store: TestStore, config: KdcConfig) -> Result<Self, SetupError> {
        Self::with(crypto, store, config, &toy::registry())
    }

    /// The same with the groups of other profiles.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn with(
        crypto: &'static dyn CryptoProvider,
        store: TestStore,
        config: KdcConfig,
        registry: &Registry,
    ) -> Result<Self, SetupError> {
        let validator = Self::validator(&config);
        Self::start(crypto, store, config, registry, validator, Now::new(1_000_000, Duration::from_secs(1)))
    }

    /// A KDC with toy groups that starts at this time.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn at(
        crypto: &'static dyn CryptoProvider,
        store: TestStore,
        config: KdcConfig,
        now: Now,
    ) -> Result<Self, SetupError> {
        let validator = Self::validator(&config);
        Self::start(crypto, store, config, &toy::registry(), validator, now)
    }

    fn validator(config: &KdcConfig) -> Box<dyn TokenValidator> {
        let groups: Vec<&str> = config.groups.iter().map(|group| group.gname.as_str()).collect();
        Box::new(build::validator(&groups))
    }

    /// A KDC of these parts that starts at this time.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn start(
        crypto: &'static dyn CryptoProvider,
        store: TestStore,
        config: KdcConfig,
        registry: &Registry,
        validator: Box<dyn TokenValidator>,
        now: Now,
    ) -> Result<Self, SetupError> {
        let kdc = Kdc::new(config, registry, validator, store.sharing(), Arc::new(crypto))?;
        let mut desk = Self::over(crypto, kdc, store, now);
        let mut out = Vec::new();
        desk.kdc.start(desk.now, &mut desk.rng, &mut out);
        desk.settle(out);
        desk.due();
        Ok(desk)
    }

    /// A KDC that has not started.
    #[must_use]
    pub fn over(crypto: &'static dyn CryptoProvider, kdc: Kdc, store: TestStore, now: Now) -> Self {
        Self {
            crypto,
            kdc,
            store,
            now,
            rng: ChaCha12Rng::seed_from_u64(1),
            notices: Vec::new(),
            jobs: Vec::new(),
            questions: Vec::new(),
            deliveries: Vec::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Asks, and does all that is needed for the answer.
    pub fn ask(&mut self, caller: &Caller, request: Request) -> Response {
        self.ask_all(vec![(caller.clone(), request)]).pop().unwrap_or_else(|| Response::new(Status::NotFound))
    }

    /// Asks all in one tick; the answers are in the order of the questions. What is never answered counts as 5.03.
    pub fn ask_all(&mut self, asked: Vec<(Caller, Request)>) -> Vec<Response> {
        let mut out = Vec::new();
        let replies: Vec<Reply> = asked
            .into_iter()
            .map(|(caller, request)| self.kdc.request(self.now, caller, request, &mut self.rng, &mut out))
            .collect();
        let answers = self.settle(out);
        let mut answers: BTreeMap<Ticket, Durable> = answers.into_iter().collect();
        replies
            .into_iter()
            .map(|reply| match reply {
                Reply::Now(durable) => durable.into_inner(),
                Reply::Later(ticket) => answers
                    .remove(&ticket)
                    .map_or_else(|| Response::new(Status::ServiceUnavailable), Durable::into_inner),
            })
            .collect()
    }

    /// Does what the effects ask for, until there are none.
    pub fn settle(&mut self, out: Vec<Effect<AssociationNotice>>) -> Vec<(Ticket, Durable)> {
        let settled = settle(self.crypto, &mut self.kdc, &self.store, self.now, out);
        self.notices.extend(settled.notices);
        self.jobs.extend(settled.jobs);
        self.questions.extend(settled.questions);
        self.deliveries.extend(settled.deliveries);
        settled.answers
    }

    /// Asks what is not answered at once. [`Self::answer_to`] has the answer when it is there.
    pub fn begin(&mut self, caller: &Caller, request: Request) -> Ticket {
        let mut out = Vec::new();
        let reply = self.kdc.request(self.now, caller.clone(), request, &mut self.rng, &mut out);
        let ticket = match reply {
            Reply::Later(ticket) => ticket,
            Reply::Now(durable) => {
                self.answers.insert(Ticket(u64::MAX), durable);
                Ticket(u64::MAX)
            }
        };
        let answers = self.settle(out);
        self.answers.extend(answers);
        ticket
    }

    /// Says what a service has answered.
    pub fn answer(&mut self, op: OpId, answered: Answered) {
        let mut out = Vec::new();
        self.kdc.complete(self.now, Completion::Answered(op, answered), &mut out);
        let answers = self.settle(out);
        self.answers.extend(answers);
    }

    /// Says what has become of something that was sent to a client.
    pub fn delivered(&mut self, op: OpId, delivered: Delivered) {
        let mut out = Vec::new();
        self.kdc.complete(self.now, Completion::Delivered(op, delivered), &mut out);
        let answers = self.settle(out);
        self.answers.extend(answers);
    }

    /// The answer to what was [begun](Self::begin), where it is there.
    pub fn answer_to(&mut self, ticket: Ticket) -> Option<Response> {
        self.answers.remove(&ticket).map(Durable::into_inner)
    }

    /// Lets time pass, and does what is due.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.due();
    }

    /// Does what is due.
    pub fn due(&mut self) {
        // What is never done would be due for ever.
        for _ in 0..1_000 {
            let mut out = Vec::new();
            self.kdc.timeout(self.now, &mut self.rng, &mut out);
            let answers = self.settle(out);
            self.answers.extend(answers);
            if self.kdc.next_timeout(self.now).is_none_or(|at| at > self.now.mono) {
                break;
            }
        }
    }

    /// Sees to what the network side needs.
    pub fn need(&mut self, need: AssociationNeed) {
        let mut out = Vec::new();
        self.kdc.need(self.now, need, &mut self.rng, &mut out);
        self.settle(out);
    }

    /// Gives a command, and does all that is needed for its report.
    ///
    /// # Errors
    /// [`CommandError`] where it came to nothing; also where it was never reported.
    pub fn command(&mut self, command: Command) -> Result<Report, CommandError> {
        let mut out = Vec::new();
        let ticket = self.kdc.command(self.now, command, &mut self.rng, &mut out);
        let settled = settle(self.crypto, &mut self.kdc, &self.store, self.now, out);
        self.notices.extend(settled.notices);
        self.jobs.extend(settled.jobs);
        self.deliveries.extend(settled.deliveries);
        let report = settled.reports.into_iter().find(|(of, _)| *of == ticket);
        report.map_or(Err(CommandError::Unavailable("there is no report")), |(_, report)| report)
    }

    /// Revokes a token by the operator's command.
    pub fn revoke(&mut self, hash: &TokenHash) {
        let _ = self.command(Command::Revoke(hash.clone()));
        self.due();
    }

    /// Posts a token. Returns who the client is from now on, and its challenge N_S.
    pub fn post_token(&mut self, token: &[u8]) -> Option<(Caller, Vec<u8>)> {
        let nonce = self.rng.next_u64().to_be_bytes();
        let response = self.ask(&Caller::anonymous(), build::token_post_with(token, &nonce));
        let answer = TokenTransferResponse::decode(&response.payload).ok()?;
        Some((Caller::peer(answer.server_recipient_id?), answer.kdcchallenge.unwrap_or_default()))
    }
}
