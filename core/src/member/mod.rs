//! The member: from its registration at the AS to the keys of a group, as an engine without I/O.
//!
//! A [`Member`] does one operation after another. Each begins with [`Member::begin`]; what it wants done comes out as an
//! [`Effect`], and what came of it goes in by [`Member::saved`] and [`Member::exchanged`], until the operation is
//! done. What is to be kept is in a [`State`], which is written before anything rests on it: a member that crashes
//! anywhere uses no sequence number, no nonce and no identifier twice.
//!
//! The answer to a token post is not protected, so a new association is only an offer until an answer has verified
//! under it, and the former one is kept until then. Resets and unprotected answers to protected requests drop
//! nothing at once: anybody could send them (RFC 8613 appendix D.5.3).

mod bytes;
mod control;
mod event;
mod flow;
mod follow;
mod group;
mod membership;
mod names;
mod run;
mod state;
mod verify;

pub use bytes::Bytes;
pub use event::MemberEvent;
pub use group::{FormerGroup, JoinedGroup, Peer};
pub use state::{Numbers, Session, State, Token};
pub use verify::VerificationData;

use crate::time::UnixTime;
use crate::traits::member::{ClientTransport, MemberRules, Unsuitable};
use crate::{Request, Response, Status};
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{DecodeError, RawCbor};
use rand_core::CryptoRng;
use run::{Fact, Run, Stop};
use std::sync::Arc;
use thiserror::Error;

/// What a member can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Get a token from the AS.
    Token,
    /// Post the token to the KDC.
    Upload,
    /// Join the group, or join it again.
    Join,
    /// Get the keys and hand them out, under a new identifier where they were handed out before.
    Keys,
    /// Get the credentials of all members.
    Creds,
    /// Ask for the version of the keying material, and get that where it is newer than the member's, or where the member has no key.
    Version,
    /// Get the keying material, with what is the member's own in it, as it is now.
    Refresh,
    /// Get individual keying material of its own anew, e.g. another Sender ID, without another token or join.
    Renew,
    /// Tell the group the credential that the member has now, with a proof of its key. Identifier and keys stay.
    ChangeCredential,
    /// Leave the group. Its keys are dropped.
    Leave,
    /// Get the KDC's credential, with a new proof that it has the key.
    KdcCred,
    /// Get what verifies the signatures of a group that it is no member of, where the profile and the token's roles allow that.
    VerifyData,
    /// Ask whether the group is active, where its profile can say that.
    Status,
    /// Get the keying material, and be told of the next. What is told goes in by [`Member::notified`].
    Observe,
}

/// One exchange with another party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// With the AS, under what was agreed at the registration.
    AuthServer {
        /// The ID Context of this exchange alone. A context of the registration's secret is derived with it, and its
        /// sequence numbers begin at 0: that holds also where the state was lost, rolled back or copied.
        id_context: Bytes,
        /// The request, in plain text.
        request: Request,
    },
    /// With the KDC, without protection.
    Unprotected {
        /// The request, in plain text.
        request: Request,
    },
    /// With the KDC, under an association.
    Protected {
        /// The association to protect it with.
        session: Session,
        /// The sequence numbers for it; the same as before as long as they last.
        numbers: Numbers,
        /// The request, in plain text.
        request: Request,
    },
}

/// What came of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// The answer, verified and in plain text.
    pub response: Response,
    /// Whether the sequence numbers come to their end.
    pub runs_low: bool,
}

/// Why no answer came that can be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// All that came is a reset, or an unprotected answer to a protected request.
    #[error("{0}")]
    Doubtful(String),
    /// No datagram came in the time that CoAP gives, or the port is closed.
    #[error("{0}")]
    Silent(String),
    /// Nothing could be sent, or what came cannot be read.
    #[error("{0}")]
    Failed(String),
}

/// What has to be done for an operation.
#[must_use = "the member goes on when it is told what came of it"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the state, and say so when it is safe.
    Save(State),
    /// Talk with somebody, and say what came of it.
    Exchange(Exchange),
    /// Hand the keys of this group to who uses them, and say whether that was done ([`Member::handed_out`]). Whoever
    /// fails in between has to [`State::distrust`] what it kept.
    HandOut(Box<JoinedGroup>),
    /// The operation is over.
    Done(Result<(), MemberError>),
}

/// Why an operation came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MemberError {
    /// There is no token yet.
    #[error("there is no token: run `token` first")]
    NoToken,
    /// Something has come to its end.
    #[error("the {0} has expired")]
    Expired(&'static str),
    /// There is no association with the KDC yet.
    #[error("there is no association with the KDC: run `upload` first")]
    NoSession,
    /// The group was not joined yet.
    #[error("the group was not joined: run `join` first")]
    NotAMember,
    /// The other side refused.
    #[error("refused with {} {detail}", code(*.status))]
    Refused {
        /// The code of the answer.
        status: Status,
        /// Why, as far as it says so.
        detail: String,
    },
    /// An answer cannot be used.
    #[error("{0}")]
    Unusable(&'static str),
    /// An answer that should be a token has another Content-Format (RFC 9200 section 5.8.2).
    #[error("the answer of /token has Content-Format {}, not {ACE_CBOR}", format(*.0))]
    NoTokenResponse(Option<u16>),
    /// A message cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// What was sent does not suit a profile.
    #[error(transparent)]
    Unsuitable(#[from] Unsuitable),
    /// Nobody answered, or not as it should be.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The keys were wanted, and could not be handed out: they count as not used.
    #[error("the keys were not handed out: they are kept for the next time")]
    NotHandedOut,
    /// An effect was answered that nobody wanted.
    #[error("nothing is under way")]
    Idle,
}

fn format(number: Option<u16>) -> String {
    number.map_or_else(|| "none".into(), |number| number.to_string())
}

/// A code as CoAP writes it.
fn code(status: Status) -> String {
    let code = status.coap();
    format!("{}.{:02}", code >> 5, code & 31)
}

/// Whom the member asks, and about what.
#[derive(Clone)]
pub struct Setup {
    /// The KDC's name at the AS.
    pub audience: String,
    /// The application profile, for this member and its group.
    pub rules: Arc<dyn MemberRules>,
    /// The transport profile, between this client and the KDC.
    pub transport: Arc<dyn ClientTransport>,
    /// Where the member takes requests of the KDC, `control_uri` of its Join Requests; `None` where it takes none.
    pub control_uri: Option<String>,
}

/// An operation under way.
struct Begun {
    task: Task,
    unix: UnixTime,
    seed: [u8; 32],
    /// The state at its beginning: each run begins there.
    before: State,
    facts: Vec<Fact>,
    /// What is being written.
    saving: Option<State>,
}

/// A member of a group; see the module's documentation.
pub struct Member {
    setup: Setup,
    state: State,
    /// What is reserved with the KDC, in this process.
    numbers: Option<Numbers>,
    begun: Option<Begun>,
    events: Vec<MemberEvent>,
}

/// What a run is for.
#[derive(Clone, Debug)]
enum Task {
    Operation(Operation),
    /// What an observation of its own node has told.
    Notified(Response),
    /// Names of groups with these identifiers are asked for.
    LookUp(Vec<RawCbor>),
}

impl Member {
    /// A member that goes on with this state. A state of which nobody knows what was used since has to be told so:
    /// [`State::distrust`].
    #[must_use]
    pub const fn new(setup: Setup, state: State) -> Self {
        Self { setup, state, numbers: None, begun: None, events: Vec::new() }
    }

    /// What it keeps, as it was written last.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The token as it is kept.
    #[must_use]
    pub const fn token(&self) -> Option<&Token> {
        self.state.token.as_ref()
    }

    /// The group as it is kept.
    #[must_use]
    pub fn group(&self) -> Option<&JoinedGroup> {
        self.state.groups.get(&self.setup.rules.scope().gname)
    }

    /// Begins an operation at this time. One that was under way is given up.
    pub fn begin(&mut self, unix: UnixTime, operation: Operation, rng: &mut dyn CryptoRng) -> Effect {
        self.begin_task(unix, Task::Operation(operation), rng)
    }

    /// Takes what an observation of [`Operation::Observe`] has told, verified and in plain text: a newer version, or its end. It is
    /// an operation as the others.
    pub fn notified(&mut self, unix: UnixTime, told: Response, rng: &mut dyn CryptoRng) -> Effect {
        self.begin_task(unix, Task::Notified(told), rng)
    }

    /// Returns what has happened since this was asked last.
    pub fn take_events(&mut self) -> Vec<MemberEvent> {
        std::mem::take(&mut self.events)
    }

    fn begin_task(&mut self, unix: UnixTime, task: Task, rng: &mut dyn CryptoRng) -> Effect {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let before = self.state.clone();
        if self.begun.is_some() {
            // What was given up may have changed the association, or used numbers of another block.
            self.numbers = None;
        }
        self.begun = Some(Begun { task, unix, seed, before, facts: Vec::new(), saving: None });
        self.run()
    }

    /// The state was written, and is safe.
    pub fn saved(&mut self, unix: UnixTime) -> Effect {
        if let Some(state) = self.begun.as_mut().and_then(|begun| begun.saving.take()) {
            self.state = state;
        }
        self.learn(Fact::Saved { unix })
    }

    /// An exchange has ended so.
    pub fn exchanged(&mut self, unix: UnixTime, result: Result<Exchanged, ExchangeError>) -> Effect {
        self.learn(Fact::Exchanged { unix, result })
    }

    /// The keys were handed out, or not: nobody has seen any of them then.
    pub fn handed_out(&mut self, unix: UnixTime, done: bool) -> Effect {
        self.learn(Fact::HandedOut { unix, done })
    }

    fn learn(&mut self, fact: Fact) -> Effect {
        let Some(begun) = &mut self.begun else { return Effect::Done(Err(MemberError::Idle)) };
        begun.facts.push(fact);
        self.run()
    }

    fn run(&mut self) -> Effect {
        let Some(begun) = &mut self.begun else { return Effect::Done(Err(MemberError::Idle)) };
        let mut run = Run::new(begun.unix, begun.before.clone(), self.numbers, &begun.seed, &begun.facts);
        let result = match flow::operate(&self.setup, &begun.task, &mut run) {
            Err(Stop::Wants(effect)) => {
                if let Effect::Save(state) = &*effect {
                    begun.saving = Some(state.clone());
                }
                return *effect;
            }
            Ok(()) => Ok(()),
            Err(Stop::Failed(error)) => Err(error),
        };
        self.numbers = run.numbers();
        self.events.extend(run.into_events());
        self.begun = None;
        Effect::Done(result)
    }
}
