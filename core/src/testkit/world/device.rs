//! A device on which a member runs. Whoever asks under an association, or the AS, uses sequence numbers: none may be used twice.

use super::World;
use crate::member::{
    Effect, Exchange, ExchangeError, Exchanged, Member, MemberError, Numbers, Operation, Setup, State,
};
use crate::request::{Caller, Response};
use crate::testkit::{build, toy};
use crate::traits::member::MemberRules;
use ace_groupcomm_messages::RawCbor;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Where a device fails: before an effect is done, or after it and before anybody knows. Effects count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Before the effect with this number.
    Before(usize),
    /// After it.
    After(usize),
}

/// What happens to an exchange with the KDC.
pub enum Fate {
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

/// A device. Rules that must hold whatever happens are asserted.
pub struct Device {
    /// The member at work.
    pub member: Member,
    /// What is on its disk.
    pub disk: State,
    /// How many effects were done, or begun.
    pub effects: usize,
    /// Where it fails.
    pub crash: Option<Crash>,
    /// What happens to exchanges with the KDC, the next one first; all succeed where nothing is said.
    pub fate: VecDeque<Fate>,
    /// Token posts.
    pub posts: usize,
    /// Whether keys can be handed out.
    pub hands_out: bool,
    /// What becomes of the answers of the AS.
    pub changed_token: Option<fn(&mut Response)>,
    client: String,
    rules: Arc<dyn MemberRules>,
    rng: ChaCha12Rng,
    /// The next number of each context, and the block that it is from.
    counters: BTreeMap<Vec<u8>, (Numbers, u64)>,
    used: BTreeSet<(Vec<u8>, u64)>,
    /// The names of keys that were handed out.
    handed: BTreeSet<Vec<u8>>,
}

fn member(rules: &Arc<dyn MemberRules>, state: State) -> Member {
    let (rules, transport) = (Arc::clone(rules), Arc::new(toy::ToyClient));
    Member::new(Setup { audience: build::AUDIENCE.into(), rules, transport, control_uri: None }, state)
}

impl Device {
    /// A device that knows nothing yet, of the client with this name at the AS.
    #[must_use]
    pub fn new(client: &str, rules: Arc<dyn MemberRules>) -> Self {
        let seed = client.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Self {
            member: member(&rules, State::default()),
            disk: State::default(),
            effects: 0,
            crash: None,
            fate: VecDeque::new(),
            posts: 0,
            hands_out: true,
            changed_token: None,
            client: client.into(),
            rules,
            rng: ChaCha12Rng::seed_from_u64(seed),
            counters: BTreeMap::new(),
            used: BTreeSet::new(),
            handed: BTreeSet::new(),
        }
    }

    /// Begins anew with what is on the disk; that may be old, where it is not trusted.
    pub fn restart(&mut self, trusted: bool) {
        if !trusted {
            self.disk.distrust();
        }
        self.member = member(&self.rules, self.disk.clone());
        self.counters.clear();
    }

    /// Returns the member's identifier, where it has keys with one.
    #[must_use]
    pub fn id(&self) -> Option<Vec<u8>> {
        self.rules.own_id(&RawCbor::new(&self.member.group()?.key.0).ok()?)
    }

    /// Does one operation; `None` where the device fails meanwhile.
    pub fn run(&mut self, world: &mut World, operation: Operation) -> Option<Result<(), MemberError>> {
        let mut effect = self.member.begin(world.desk.now.unix, operation, &mut self.rng);
        loop {
            if let Effect::Done(result) = effect {
                assert_eq!(*self.member.state(), self.disk, "what is kept is what was written");
                return Some(result);
            }
            let number = self.effects;
            self.effects = number.saturating_add(1);
            if self.crash == Some(Crash::Before(number)) {
                return None;
            }
            let fails = self.crash == Some(Crash::After(number));
            effect = self.step(world, effect, fails)?;
        }
    }

    /// Does an effect, and goes on unless the device fails then.
    fn step(&mut self, world: &mut World, effect: Effect, fails: bool) -> Option<Effect> {
        let unix = world.desk.now.unix;
        Some(match effect {
            Effect::Save(state) => {
                self.disk = state;
                (!fails).then(|| self.member.saved(unix))?
            }
            Effect::Exchange(exchange) => {
                let result = self.exchange(world, exchange);
                (!fails).then(|| self.member.exchanged(unix, result))?
            }
            Effect::HandOut(group) => {
                let key = RawCbor::new(&group.key.0).ok();
                if let Some(name) = key.and_then(|key| self.rules.key_name(&key)).filter(|_| self.hands_out) {
                    assert!(self.handed.insert(name), "keys are handed out twice");
                }
                (!fails).then(|| self.member.handed_out(unix, self.hands_out))?
            }
            done @ Effect::Done(_) => done,
        })
    }

    /// Uses a sequence number.
    fn number(&mut self, context: &[u8], numbers: Numbers) {
        let (block, next) = self.counters.entry(context.to_vec()).or_insert((numbers, numbers.start));
        if *block != numbers {
            (*block, *next) = (numbers, numbers.start);
        }
        assert!(*next < numbers.limit, "no number is left");
        assert!(self.used.insert((context.to_vec(), *next)), "a number is used twice: {context:?} {next}");
        *next = next.saturating_add(1);
    }

    fn exchange(&mut self, world: &mut World, exchange: Exchange) -> Result<Exchanged, ExchangeError> {
        let (caller, request) = match exchange {
            Exchange::AuthServer { id_context, request } => {
                assert!(self.used.insert((id_context.0.clone(), 0)), "a context with the AS is used twice");
                let mut response = world.ask_auth_server(&self.client, request);
                if let Some(change) = self.changed_token {
                    change(&mut response);
                }
                return Ok(Exchanged { response, runs_low: false });
            }
            Exchange::Unprotected { request } => {
                self.posts = self.posts.saturating_add(1);
                (Caller::anonymous(), request)
            }
            Exchange::Protected { session, numbers, request } => {
                self.number(&session.association.0, numbers);
                (Caller::peer(session.association.0.as_slice()), request)
            }
        };
        let fate = self.fate.pop_front().unwrap_or(Fate::Well);
        match fate {
            Fate::Well | Fate::Changed(_) => {
                let mut response = world.desk.ask(&caller, request);
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
}
