//! Questions to services outside, e.g. whether a token is good: each is asked once for all who wait for it, within bounds, and has
//! a deadline. An answer is good for a while, and for what it was asked for alone.

use super::{App, Effect, Engine, Input, OpId, Ticket};
use crate::Secret;
use crate::refusal::Refusal;
use crate::request::Caller;
use crate::time::Now;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// So many times at most one request asks the same question, where each answer was outdated before it could be used.
pub(crate) const ASKS: usize = 2;
/// The part of all questions that may be under way for addresses that have proven nothing.
const UNPROVEN: usize = 4;

/// What a part that was plugged in wants to know of a service outside: a [`TokenValidator`] of an Authorization Server, say.
///
/// Questions with the same service and content are one.
///
/// [`TokenValidator`]: crate::traits::token::TokenValidator
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The service, by a name that the driver knows.
    pub service: &'static str,
    /// What is asked, in a form that both know. It is shown to nobody: it may be a token.
    pub content: Vec<u8>,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({}, {} bytes)", self.service, self.content.len())
    }
}

/// What became of a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The service has said something.
    Known {
        /// What it said, in a form that both know.
        content: Secret,
        /// For how long it may be relied on, from when the engine is told of it. A request that comes later asks anew.
        good_for: Duration,
    },
    /// The service cannot be asked, or has said nothing of use.
    Failed,
}

/// A question that was answered.
#[derive(Clone, Debug)]
pub(crate) struct KnownAnswer {
    pub(crate) question: Question,
    /// What was said, and the moment until which it may be relied on, by [`Now::mono`]; none where nobody has said anything.
    pub(crate) answer: Option<(Secret, Duration)>,
}

/// A question that a service was asked, or is about to be, and whose answer has not come.
struct Asked {
    question: Question,
    deadline: Duration,
    /// Who asked first: it counts against the bound of that address.
    asker: String,
    /// Whether that one could prove its address, and has not.
    is_unproven: bool,
    waiters: Vec<Ticket>,
}

/// Questions that are under way, or about to leave.
#[derive(Default)]
pub(super) struct Questions {
    asked: BTreeMap<OpId, Asked>,
    leaving: Vec<OpId>,
}

impl Questions {
    fn of(&mut self, question: &Question) -> Option<&mut Asked> {
        self.asked.values_mut().find(|asked| asked.question == *question)
    }

    /// When the first one is given up.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.asked.values().map(|asked| asked.deadline).min()
    }
}

impl<A: App> Engine<A> {
    /// Whose address a request counts against, and whether that is still to be proven.
    fn asker(&self, ticket: Ticket) -> (String, bool) {
        match self.waiting.get(&ticket).map(|waiting| &*waiting.input) {
            Some(Input::Request(caller @ (Caller::Anonymous(Some(_)) | Caller::Peer(..)), _)) => {
                (caller.to_string(), caller.can_prove())
            }
            _ => (String::new(), false),
        }
    }

    /// Whether the request waits for a service, or has waited for one.
    pub(super) fn has_asked(&self, ticket: Ticket) -> bool {
        self.waiting.get(&ticket).is_some_and(|waiting| !waiting.answers.is_empty())
            || self.questions.asked.values().any(|asked| asked.waiters.contains(&ticket))
    }

    /// Whether these may be asked: not where too many are under way, in all or of one address. Addresses that may be forged
    /// have a share of them, and are asked for a proof beyond that.
    pub(super) fn may_ask(&mut self, ticket: Ticket, questions: &[Question]) -> Result<(), Refusal> {
        let new = questions.iter().filter(|question| self.questions.of(question).is_none()).count();
        if new == 0 {
            return Ok(());
        }
        let (asker, is_unproven) = self.asker(ticket);
        let unproven = self.questions.asked.values().filter(|asked| asked.is_unproven).count();
        if is_unproven && unproven.saturating_add(new) > self.limits.questions / UNPROVEN {
            return Err(Refusal::ProofNeeded("too many questions of unproven addresses are under way"));
        }
        let of_asker = self.questions.asked.values().filter(|asked| !asker.is_empty() && asked.asker == asker).count();
        let is_free = self.questions.asked.len().saturating_add(new) <= self.limits.questions
            && of_asker.saturating_add(new) <= self.limits.questions_per_address;
        if is_free { Ok(()) } else { Err(Refusal::Bound("too many questions are under way", 2)) }
    }

    /// Notes that a request waits for the answer.
    pub(super) fn want_answer(&mut self, ticket: Ticket, question: Question) {
        if let Some(asked) = self.questions.of(&question) {
            asked.waiters.push(ticket);
            return;
        }
        let (op, (asker, is_unproven)) = (OpId(self.number()), self.asker(ticket));
        let deadline = self.latest.saturating_add(self.limits.question_patience);
        self.questions.asked.insert(op, Asked { question, deadline, asker, is_unproven, waiters: vec![ticket] });
        self.questions.leaving.push(op);
    }

    /// Sends off those that are new.
    pub(super) fn emit_questions(&mut self, out: &mut Vec<Effect<A::Notice>>) {
        for op in std::mem::take(&mut self.questions.leaving) {
            if let Some(asked) = self.questions.asked.get(&op) {
                out.push(Effect::Ask(op, asked.question.clone(), self.limits.question_patience));
            }
        }
    }

    /// Takes in an answer. One that comes a second time, or after its deadline, changes nothing.
    pub(super) fn answered(&mut self, now: Now, op: OpId, answered: Answered, out: &mut Vec<Effect<A::Notice>>) {
        let Some(Asked { question, waiters, .. }) = self.questions.asked.remove(&op) else { return };
        let answer = match answered {
            Answered::Known { content, good_for } => Some((content, now.mono.saturating_add(good_for))),
            Answered::Failed => None,
        };
        for ticket in &waiters {
            if let Some(waiting) = self.waiting.get_mut(ticket) {
                waiting.answers.push(KnownAnswer { question: question.clone(), answer: answer.clone() });
            }
        }
        self.unblock(now, waiters, out);
    }

    /// Gives up the questions that nobody has answered in time.
    pub(super) fn give_up_questions(&mut self, now: Now, out: &mut Vec<Effect<A::Notice>>) {
        let due = |(op, asked): (&OpId, &Asked)| (asked.deadline <= now.mono).then_some(*op);
        let silent: Vec<OpId> = self.questions.asked.iter().filter_map(due).collect();
        for op in silent {
            self.answered(now, op, Answered::Failed, out);
        }
    }
}
