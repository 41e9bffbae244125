//! A device on which a member runs, with an AS and a KDC, all in memory. Whoever asks under an association, or the AS,
//! uses sequence numbers: none may be used twice.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::UnixTime;
use ace_groupcomm::auth_server::{Audience, AuthServer, AuthServerConfig, Policy};
use ace_groupcomm::engine::{Limits, Machine, Reply};
use ace_groupcomm::member::{
    Effect, Exchange, ExchangeError, Exchanged, Member, MemberError, Numbers, Operation, Setup, State,
};
use ace_groupcomm::testkit::build::{AUDIENCE, TestClient, token_key};
use ace_groupcomm::testkit::desk::{self, settle};
use ace_groupcomm::testkit::{Desk, TestStore, toy};
use ace_groupcomm::traits::crypto::Identity;
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Request, Response};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Where the device fails: before an effect is done, or after it and before anybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    Before(usize),
    After(usize),
}

pub(crate) struct Device {
    pub(crate) desk: Desk,
    auth_server: AuthServer,
    as_store: TestStore,
    pub(crate) member: Member,
    /// What is on its disk.
    pub(crate) disk: State,
    rng: ChaCha12Rng,
    /// The next number of each context, and the block that it is from.
    counters: BTreeMap<Vec<u8>, (Numbers, u64)>,
    used: BTreeSet<(Vec<u8>, u64)>,
    pub(crate) effects: usize,
    pub(crate) crash: Option<Crash>,
    /// What happens to exchanges with the KDC; the first one is the next.
    pub(crate) fate: Vec<Fate>,
    pub(crate) posts: usize,
    /// Whether keys can be handed out, and the names of those that were.
    pub(crate) hands_out: bool,
    handed: BTreeSet<Vec<u8>>,
    /// What becomes of the answers of the AS.
    pub(crate) changed_token: Option<fn(&mut Response)>,
}

/// What happens to an exchange with the KDC.
pub(crate) enum Fate {
    /// It succeeds.
    Well,
    /// The KDC never hears of it.
    Lost,
    /// Somebody answers in its place, or resets.
    Doubtful,
    /// This comes, whatever was asked.
    Answer(Response),
    /// It succeeds, and says another thing.
    Changed(fn(&mut Response)),
}

/// The client may also join another group, which the KDC does not have.
fn policy(gname: &str) -> Policy {
    Policy {
        client: "client1".into(),
        audience: AUDIENCE.into(),
        gname: gname.into(),
        profile: toy::DESCRIPTOR,
        roles: toy::TALKER,
    }
}

fn setup() -> Setup {
    let client = TestClient::new(&AwsLc, 1).unwrap();
    Setup {
        audience: AUDIENCE.into(),
        rules: Arc::new(toy::ToyMember {
            gname: "g1".into(),
            roles: toy::TALKER,
            identity: Identity { cred: client.key.public().to_vec(), key: client.key },
            crypto: Arc::new(AwsLc),
        }),
        transport: Arc::new(toy::ToyClient),
    }
}

impl Device {
    pub(crate) fn new() -> Self {
        let config = AuthServerConfig {
            iss: None,
            clients: vec!["client1".into()],
            audiences: vec![Audience {
                name: AUDIENCE.into(),
                key: token_key(1),
                lifetime: Duration::from_secs(3_600),
                profile: -70_000,
            }],
            policies: ["g1", "g2"].map(policy).into(),
            limits: Limits::default(),
        };
        let kdc = ace_groupcomm::kdc::KdcConfig { rejoins_per_hour: u32::MAX, ..desk::config(&["g1"]) };
        let desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), kdc).unwrap();
        let mut device = Self {
            desk,
            auth_server: AuthServer::new(config, Sharing::Exclusive),
            as_store: TestStore::new(Sharing::Exclusive),
            member: Member::new(setup(), State::default()),
            disk: State::default(),
            rng: ChaCha12Rng::seed_from_u64(1),
            counters: BTreeMap::new(),
            used: BTreeSet::new(),
            effects: 0,
            crash: None,
            fate: Vec::new(),
            posts: 0,
            hands_out: true,
            handed: BTreeSet::new(),
            changed_token: None,
        };
        let mut out = Vec::new();
        device.auth_server.start(device.desk.now, &mut device.rng, &mut out);
        settle(&AwsLc, &mut device.auth_server, &device.as_store, device.desk.now, out);
        device
    }

    pub(crate) fn unix(&self) -> UnixTime {
        self.desk.now.unix
    }

    /// The device begins anew with what is on its disk.
    pub(crate) fn restart(&mut self, trusted: bool) {
        if !trusted {
            self.disk.distrust();
        }
        self.member = Member::new(setup(), self.disk.clone());
        self.counters.clear();
    }

    /// The member's identifier.
    pub(crate) fn id(&self) -> Vec<u8> {
        let group = self.member.group().unwrap();
        setup().rules.own_id(&ace_groupcomm_messages::RawCbor::new(&group.key.0).unwrap()).unwrap()
    }

    /// Does one operation; `None` where the device fails meanwhile.
    pub(crate) fn run(&mut self, operation: Operation) -> Option<Result<(), MemberError>> {
        let mut effect = self.member.begin(self.unix(), operation, &mut self.rng);
        loop {
            if let Effect::Done(result) = effect {
                assert_eq!(*self.member.state(), self.disk, "what is kept is what was written");
                return Some(result);
            }
            let number = self.effects;
            self.effects += 1;
            if self.crash == Some(Crash::Before(number)) {
                return None;
            }
            let unix = self.unix();
            effect = match effect {
                Effect::Save(state) => {
                    self.disk = state;
                    if self.crash == Some(Crash::After(number)) {
                        return None;
                    }
                    self.member.saved(unix)
                }
                Effect::Exchange(exchange) => {
                    let result = self.exchange(exchange);
                    if self.crash == Some(Crash::After(number)) {
                        return None;
                    }
                    self.member.exchanged(unix, result)
                }
                Effect::HandOut(group) => {
                    let name = setup().rules.key_name(&ace_groupcomm_messages::RawCbor::new(&group.key.0).unwrap());
                    if let Some(name) = name.filter(|_| self.hands_out) {
                        assert!(self.handed.insert(name), "keys are handed out twice");
                    }
                    if self.crash == Some(Crash::After(number)) {
                        return None;
                    }
                    self.member.handed_out(unix, self.hands_out)
                }
                Effect::Done(_) => unreachable!("looked at above"),
            };
        }
    }

    /// Uses a sequence number.
    fn number(&mut self, context: &[u8], numbers: Numbers) {
        let (block, next) = self.counters.entry(context.to_vec()).or_insert((numbers, numbers.start));
        if *block != numbers {
            (*block, *next) = (numbers, numbers.start);
        }
        assert!(*next < numbers.limit, "no number is left");
        assert!(self.used.insert((context.to_vec(), *next)), "a number is used twice: {context:?} {next}");
        *next += 1;
    }

    fn exchange(&mut self, exchange: Exchange) -> Result<Exchanged, ExchangeError> {
        let (caller, request) = match exchange {
            Exchange::AuthServer { id_context, request } => {
                assert!(self.used.insert((id_context.0.clone(), 0)), "a context with the AS is used twice");
                return Ok(Exchanged { response: self.ask_as(request), runs_low: false });
            }
            Exchange::Unprotected { request } => {
                self.posts += 1;
                (Caller::anonymous(), request)
            }
            Exchange::Protected { session, numbers, request } => {
                self.number(&session.association.0, numbers);
                (Caller::peer(session.association.0.as_slice()), request)
            }
        };
        let fate = if self.fate.is_empty() { Fate::Well } else { self.fate.remove(0) };
        match fate {
            Fate::Well | Fate::Changed(_) => {
                let mut response = self.desk.ask(&caller, request);
                if response.unprotected {
                    return Err(ExchangeError::Doubtful("4.01".into()));
                }
                if let Fate::Changed(change) = fate {
                    change(&mut response);
                }
                Ok(Exchanged { response, runs_low: false })
            }
            Fate::Lost => Err(ExchangeError::Failed("no answer".into())),
            Fate::Doubtful => Err(ExchangeError::Doubtful("a reset".into())),
            Fate::Answer(response) => Ok(Exchanged { response, runs_low: true }),
        }
    }

    fn ask_as(&mut self, request: Request) -> Response {
        let (mut out, now) = (Vec::new(), self.desk.now);
        let reply = self.auth_server.request(now, Caller::peer(b"client1"), request, &mut self.rng, &mut out);
        let mut settled = settle(&AwsLc, &mut self.auth_server, &self.as_store, now, out);
        let mut response = match reply {
            Reply::Now(durable) => durable.into_inner(),
            Reply::Later(_) => settled.answers.pop().unwrap().1.into_inner(),
        };
        if let Some(change) = self.changed_token {
            change(&mut response);
        }
        response
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.desk.pass(Duration::from_secs(seconds));
    }
}
