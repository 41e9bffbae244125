//! An operation, run from its start each time something has come of it: what happened before is replayed, what has
//! not happened yet ends the run as an effect.

use super::bytes::Bytes;
use super::event::MemberEvent;
use super::group::JoinedGroup;
use super::state::{Numbers, Session, State};
use super::{Effect, Exchange, ExchangeError, Exchanged, MemberError};
use crate::Request;
use crate::time::UnixTime;
use sha2::{Digest, Sha256};

/// Length of the ID Context of an exchange with the AS.
const ID_CONTEXT: usize = 8;

/// What has come of an effect, and when.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    Saved { unix: UnixTime },
    HandedOut { unix: UnixTime, done: bool },
    Exchanged { unix: UnixTime, result: Result<Exchanged, ExchangeError> },
}

/// Why a run ends before its operation does.
#[derive(Debug)]
pub(super) enum Stop {
    /// This has to be done first.
    Wants(Box<Effect>),
    /// The operation has come to nothing.
    Failed(MemberError),
}

impl<E: Into<MemberError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// One run. The same facts and the same seed give the same run.
pub(super) struct Run<'a> {
    facts: std::slice::Iter<'a, Fact>,
    seed: &'a [u8; 32],
    drawn: u64,
    /// The time: that of the last fact.
    pub(super) unix: UnixTime,
    /// When the last exchange began: what is said to be left of a time is counted from there.
    pub(super) asked: UnixTime,
    /// What the member keeps, as far as the run has come.
    pub(super) state: State,
    /// The numbers that are reserved with the KDC, if they are not used up soon.
    numbers: Option<Numbers>,
    /// What has happened, as far as the run has come.
    events: Vec<MemberEvent>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        unix: UnixTime,
        state: State,
        numbers: Option<Numbers>,
        seed: &'a [u8; 32],
        facts: &'a [Fact],
    ) -> Self {
        Self { facts: facts.iter(), seed, drawn: 0, unix, asked: unix, state, numbers, events: Vec::new() }
    }

    /// What is left of the numbers.
    pub(super) const fn numbers(&self) -> Option<Numbers> {
        self.numbers
    }

    /// Tells of what has happened. What rests on a state is told after that was saved.
    pub(super) fn tell(&mut self, event: MemberEvent) {
        self.events.push(event);
    }

    /// Ends the run. Returns what has happened in it.
    pub(super) fn into_events(self) -> Vec<MemberEvent> {
        self.events
    }

    /// Random bytes.
    pub(super) fn random<const N: usize>(&mut self) -> [u8; N] {
        let hash = Sha256::new().chain_update(self.seed).chain_update(self.drawn.to_be_bytes()).finalize();
        self.drawn = self.drawn.saturating_add(1);
        let mut out = [0; N];
        out.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        out
    }

    /// Has the state written. Nothing that follows happens before it is safe.
    pub(super) fn save(&mut self) -> Result<(), Stop> {
        match self.facts.next() {
            Some(Fact::Saved { unix }) => {
                self.unix = *unix;
                Ok(())
            }
            _ => Err(Stop::Wants(Box::new(Effect::Save(self.state.clone())))),
        }
    }

    /// Hands the keys of a group out; whether that was done.
    pub(super) fn hand_out(&mut self, group: JoinedGroup) -> Result<bool, Stop> {
        match self.facts.next() {
            Some(Fact::HandedOut { unix, done }) => {
                self.unix = *unix;
                Ok(*done)
            }
            _ => Err(Stop::Wants(Box::new(Effect::HandOut(Box::new(group))))),
        }
    }

    fn exchange(&mut self, exchange: Exchange) -> Result<Result<Exchanged, ExchangeError>, Stop> {
        match self.facts.next() {
            Some(Fact::Exchanged { unix, result }) => {
                self.asked = std::mem::replace(&mut self.unix, *unix);
                Ok(result.clone())
            }
            _ => Err(Stop::Wants(Box::new(Effect::Exchange(exchange)))),
        }
    }

    /// Asks the AS, under a context of this exchange alone.
    pub(super) fn ask_as(&mut self, request: Request) -> Result<crate::Response, Stop> {
        let id_context = Bytes(self.random::<ID_CONTEXT>().to_vec());
        Ok(self.exchange(Exchange::AuthServer { id_context, request })??.response)
    }

    /// Asks the KDC as somebody unknown.
    pub(super) fn ask_unprotected(&mut self, request: Request) -> Result<crate::Response, Stop> {
        Ok(self.exchange(Exchange::Unprotected { request })??.response)
    }

    /// Asks the KDC under the association that is to be used now.
    pub(super) fn ask_protected(&mut self, request: Request) -> Result<Result<crate::Response, ExchangeError>, Stop> {
        let numbers = match self.numbers {
            Some(numbers) => numbers,
            None => {
                let numbers = self.state.reserve_kdc().ok_or(MemberError::NoSession)?;
                self.save()?;
                self.numbers = Some(numbers);
                numbers
            }
        };
        let session: Session = self.state.current().ok_or(MemberError::NoSession)?.clone();
        let result = self.exchange(Exchange::Protected { session, numbers, request })?;
        // What came to nothing may have used up some of them, and nobody said how many.
        if result.as_ref().map_or(true, |exchanged| exchanged.runs_low) {
            self.numbers = None;
        }
        Ok(result.map(|exchanged| exchanged.response))
    }

    /// Another association is to be used: what is reserved for the former one is not for it.
    pub(super) const fn change_association(&mut self) {
        self.numbers = None;
    }
}
