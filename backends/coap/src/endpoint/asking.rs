//! Requests of the server to its clients, under the associations by which these ask: both roles on one socket.
//!
//! A client, and an address, is asked one thing at a time (NSTART, RFC 7252 section 4.7). A body that is too long for one datagram goes block by
//! block (RFC 7959), each protected by itself; the answer fits into one datagram. An answer counts only when it verifies. A Reset is believed after a moment in which no true answer has come.

use super::incoming::without_payload;
use super::{Endpoint, PROTECT_AGAIN};
use crate::exchange::Seen;
use crate::retransmit::Sent;
use crate::service::{LoopInput, Settled};
use crate::socket::AddressPair;
use ace_coap::numbers::option;
use ace_coap::security::{PeerId, ProtectError, SentRequest};
use ace_coap::{Block, Code, Message, Token, Type};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// How often a request is tried at once when what it waits for is said to be there.
const PROMPT_TRIES: u32 = 4;

/// Why a request of the server came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody answered in time.
    #[error("no answer")]
    Silent,
    /// The client does not take the message, or somebody says so: a reset is never protected.
    #[error("the message was reset")]
    Reset,
    /// The client, or its address, is being asked something already, or too many clients are.
    #[error("the client, or too many of them, are being asked")]
    Busy,
    /// The request has a body that is larger than [`Limits::body`](crate::Limits::body).
    #[error("the body of the request is too large")]
    TooLarge,
    /// The client does not take the body in blocks as they come.
    #[error("the blocks of the request are not taken")]
    Blocks,
    /// The request could not be protected.
    #[error(transparent)]
    Protect(#[from] ProtectError),
    /// The answer has a critical option that is not known here; one that comes in blocks has.
    #[error("the answer has the critical option {0}, which is not known")]
    Option(u16),
    /// The endpoint has ended.
    #[error("the endpoint has ended")]
    Ended,
}

/// Asks clients of an endpoint.
#[derive(Clone, Debug)]
pub struct Requester(UnboundedSender<LoopInput>);

impl Requester {
    pub(super) const fn new(sender: UnboundedSender<LoopInput>) -> Self {
        Self(sender)
    }

    /// Asks the peer of an association, at an address at which it was seen, and returns its verified answer. It is sent as a
    /// confirmable message; type, ID and token are the endpoint's business. An Echo that the client wants is sent once (RFC 9175).
    /// A request whose future was dropped gives way to the next one.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(&self, peer: PeerId, to: AddressPair, message: Message) -> Result<Message, RequestError> {
        let (answer, outcome) = oneshot::channel();
        let outgoing = Outgoing { peer, to, message, answer };
        self.0.send(LoopInput::Request(Box::new(outgoing))).map_err(|_| RequestError::Ended)?;
        outcome.await.unwrap_or(Err(RequestError::Ended))
    }
}

/// A request that is to be sent, and who waits for its answer.
#[derive(Debug)]
pub(crate) struct Outgoing {
    peer: PeerId,
    to: AddressPair,
    message: Message,
    answer: oneshot::Sender<Result<Message, RequestError>>,
}

/// How far a request has come.
enum Progress {
    /// It waits for what is needed to protect it.
    Unsent {
        until: Duration,
        /// How often that was said to be there.
        tries: u32,
    },
    /// It was sent with this message ID and token.
    Sent { id: u16, token: Token, sent: SentRequest },
}

struct Asked {
    outgoing: Outgoing,
    progress: Progress,
    /// The block that is sent, where the body goes in blocks.
    block: Option<Block>,
    /// Whether the client's Echo was sent.
    echoed: bool,
    /// Whether somebody has reset it.
    doubted: bool,
    /// When something is to be done, if it is not done by retransmission.
    due: Option<Duration>,
}

/// The requests that are under way.
#[derive(Default)]
pub(super) struct Asking {
    of: HashMap<PeerId, Asked>,
    tokens: HashMap<Token, PeerId>,
    due: BTreeSet<(Duration, PeerId)>,
    next_token: u64,
}

impl Asked {
    /// The message that is sent now: the request, or a block of it.
    fn part(&self) -> Message {
        let Message { payload, .. } = &self.outgoing.message;
        let Some(block) = self.block else { return self.outgoing.message.clone() };
        let rest = payload.get(block.offset()..).unwrap_or_default();
        let mut part = without_payload(&self.outgoing.message);
        part.payload = rest.get(..block.size()).unwrap_or(rest).to_vec();
        let more = rest.len() > block.size();
        part.options.push_uint(option::BLOCK1, Block { more, ..block }.to_uint());
        if block.num == 0 {
            part.options.push_uint(option::SIZE1, u32::try_from(payload.len()).unwrap_or(u32::MAX));
        }
        part
    }

    /// The block to send after this answer; `None` where the answer is to the whole request. The client may want smaller blocks: what
    /// was sent counts as several of them.
    fn following(&self, answer: &Message) -> Option<Result<Block, RequestError>> {
        let Some(sent) = self.block else {
            return (answer.code == Code::CONTINUE).then_some(Err(RequestError::Blocks));
        };
        let is_last = sent.offset().saturating_add(sent.size()) >= self.outgoing.message.payload.len();
        let wanted = answer.options.uint(option::BLOCK1).and_then(Block::from_uint);
        let szx = wanted.map_or(sent.szx, |block| block.szx.min(sent.szx));
        let next = match answer.code {
            Code::CONTINUE if wanted.is_none_or(|wanted| wanted.offset() == sent.offset()) => {
                sent.offset().saturating_add(sent.size())
            }
            Code::CONTINUE => return Some(Err(RequestError::Blocks)),
            // Who has done something has done it with a part of the body alone.
            code if code.is_success() && !is_last => return Some(Err(RequestError::Blocks)),
            Code::REQUEST_ENTITY_TOO_LARGE if sent.num == 0 && szx < sent.szx => 0,
            _ => return None,
        };
        let num = next.checked_div(Block { num: 0, more: true, szx }.size()).and_then(|num| u32::try_from(num).ok());
        let is_within = next < self.outgoing.message.payload.len();
        Some(num.filter(|_| is_within).map(|num| Block { num, more: true, szx }).ok_or(RequestError::Blocks))
    }
}

impl Asking {
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.first().map(|&(at, _)| at)
    }

    fn set_due(&mut self, peer: &PeerId, due: Option<Duration>) {
        let Some(asked) = self.of.get_mut(peer) else { return };
        if let Some(former) = std::mem::replace(&mut asked.due, due) {
            self.due.remove(&(former, peer.clone()));
        }
        if let Some(at) = due {
            self.due.insert((at, peer.clone()));
        }
    }

    /// Takes a request out, whatever has become of it. Returns the message ID that may wait for its acknowledgement still.
    fn remove(&mut self, peer: &PeerId) -> Option<(Asked, Option<u16>)> {
        self.set_due(peer, None);
        let asked = self.of.remove(peer)?;
        let id = match &asked.progress {
            Progress::Unsent { .. } => None,
            Progress::Sent { id, token, .. } => {
                self.tokens.remove(token);
                Some(*id)
            }
        };
        Some((asked, id))
    }
}

impl Endpoint {
    /// Returns the handle by which clients are asked.
    #[must_use]
    pub fn requester(&self) -> Requester {
        Requester::new(self.sender.clone())
    }

    pub(super) fn ask(&mut self, outgoing: Outgoing) {
        let peer = outgoing.peer.clone();
        let of_place =
            |(other, asked): &(&PeerId, &Asked)| **other == peer || asked.outgoing.to.remote == outgoing.to.remote;
        let former: Vec<PeerId> = self.asking.of.iter().filter(of_place).map(|(other, _)| other.clone()).collect();
        let mut is_busy = false;
        for other in former {
            let is_given_up = self.asking.of.get(&other).is_some_and(|asked| asked.outgoing.answer.is_closed());
            if is_given_up {
                self.end_request(&other, Err(RequestError::Silent));
            }
            is_busy |= !is_given_up;
        }
        let refusal = if is_busy || self.asking.of.len() >= self.limits.asking {
            Some(RequestError::Busy)
        } else if outgoing.message.payload.len() > self.limits.body {
            Some(RequestError::TooLarge)
        } else {
            None
        };
        if let Some(error) = refusal {
            let _ = outgoing.answer.send(Err(error));
            return;
        }
        let until = self.now().saturating_add(self.limits.response_timeout);
        let first = Block { num: 0, more: true, szx: self.limits.szx.min(Block::MAX_SZX) };
        let mut outgoing = outgoing;
        let block = Some(first).filter(|first| outgoing.message.payload.len() > first.size());
        if block.is_some() {
            // A block of one body that was given up never ends in the next (RFC 9175 section 3.3).
            outgoing.message.options.push(option::REQUEST_TAG, &self.asking.next_token.to_be_bytes());
        }
        self.asking.of.insert(
            peer.clone(),
            Asked {
                outgoing,
                progress: Progress::Unsent { until, tries: 0 },
                block,
                echoed: false,
                doubted: false,
                due: None,
            },
        );
        self.send_request(&peer);
    }

    /// Protects and sends a request, or lets it wait for what is needed for that.
    fn send_request(&mut self, peer: &PeerId) {
        let now = self.now();
        let Some(asked) = self.asking.of.get(peer) else { return };
        let (to, mut message) = (asked.outgoing.to, asked.part());
        let may_wait =
            matches!(asked.progress, Progress::Unsent { until, .. } if now.saturating_add(PROTECT_AGAIN) <= until);
        let token = Token::new(&self.asking.next_token.to_be_bytes());
        self.asking.next_token = self.asking.next_token.wrapping_add(1);
        (message.kind, message.token) = (Type::Confirmable, token.clone());
        let (mut message, sent) = match self.security.protect_request(peer, &message) {
            Ok(protected) => protected,
            Err(ProtectError::NeedSequence) => {
                return match may_wait {
                    true => self.asking.set_due(peer, Some(now.saturating_add(PROTECT_AGAIN))),
                    false => self.end_request(peer, Err(ProtectError::NeedSequence.into())),
                };
            }
            Err(error) => return self.end_request(peer, Err(error.into())),
        };
        let Some(id) = self.fresh_id(to.remote) else { return self.end_request(peer, Err(RequestError::Busy)) };
        message.id = id;
        self.asking.set_due(peer, None);
        self.asking.tokens.insert(token.clone(), peer.clone());
        if let Some(asked) = self.asking.of.get_mut(peer) {
            asked.progress = Progress::Sent { id, token, sent };
        }
        let bytes: Arc<[u8]> = message.encode().into();
        self.retransmissions.add(now, &self.limits, to, id, Arc::clone(&bytes), Sent::Request(peer.clone()));
        self.send(to, bytes);
    }

    /// A request has come to its end.
    pub(super) fn end_request(&mut self, peer: &PeerId, outcome: Result<Message, RequestError>) {
        let Some((asked, id)) = self.asking.remove(peer) else { return };
        if let Some(id) = id {
            self.retransmissions.settle(asked.outgoing.to, id);
        }
        let _ = asked.outgoing.answer.send(outcome);
    }

    /// The other side has acknowledged a request without answering it.
    pub(super) fn request_acknowledged(&mut self, peer: &PeerId) {
        let until = self.now().saturating_add(self.limits.response_timeout);
        self.asking.set_due(peer, Some(until));
    }

    /// Somebody has reset a request: anybody can, so the true answer is waited for a moment longer.
    pub(super) fn request_reset(&mut self, peer: &PeerId) {
        let until = self.now().saturating_add(self.limits.unprotected_wait);
        if let Some(asked) = self.asking.of.get_mut(peer) {
            asked.doubted = true;
        }
        self.asking.set_due(peer, Some(until));
    }

    /// What a request to this peer waited for is there, or could not be had.
    pub(super) fn request_settled(&mut self, peer: &PeerId, settled: Settled) {
        let asked = self.asking.of.get_mut(peer);
        let Some(Progress::Unsent { tries, .. }) = asked.map(|asked| &mut asked.progress) else { return };
        match settled {
            Settled::Unavailable => self.end_request(peer, Err(ProtectError::NeedSequence.into())),
            Settled::Ready => {
                *tries = tries.saturating_add(1);
                // What is there and does not help is asked for again each time: then it is tried once a second.
                if *tries <= PROMPT_TRIES {
                    self.send_request(peer);
                }
            }
        }
    }

    /// Does what is due for requests: one that waits is tried again, one without an answer is given up.
    pub(super) fn requests_due(&mut self) {
        while let Some((at, peer)) = self.asking.due.first().cloned().filter(|(at, _)| *at <= self.now()) {
            self.asking.due.remove(&(at, peer.clone()));
            let Some(asked) = self.asking.of.get_mut(&peer) else { continue };
            asked.due = None;
            match asked.progress {
                Progress::Unsent { .. } => self.send_request(&peer),
                Progress::Sent { .. } if asked.doubted => self.end_request(&peer, Err(RequestError::Reset)),
                Progress::Sent { .. } => self.end_request(&peer, Err(RequestError::Silent)),
            }
        }
    }

    /// Takes in a response: to a request of ours, or nobody asked for it.
    pub(super) fn response(&mut self, from: AddressPair, message: &Message, datagram: &[u8]) {
        let now = self.now();
        let is_confirmable = message.kind == Type::Confirmable;
        let seen = is_confirmable.then(|| self.exchanges.see(now, from, message.id, datagram));
        if let Some((_, Seen::Answered(bytes))) = seen {
            return self.send(from, bytes);
        }
        let asked = self.asking.tokens.get(&message.token).cloned();
        let Some(peer) = asked.filter(|peer| self.is_asked_at(peer, from)) else {
            return match message.kind {
                Type::Confirmable => self.send(from, Message::empty(Type::Reset, message.id).encode()),
                Type::Acknowledgement | Type::Reset => self.settled(from, message),
                Type::NonConfirmable => (),
            };
        };
        let Some(answer) = self.verified_answer(&peer, message) else { return };
        if let Some((key, _)) = seen {
            self.exchanges.remember(now, key, true);
            self.reply_empty(from, Type::Acknowledgement, message.id, Some(key));
        }
        self.answered(&peer, answer);
    }

    fn is_asked_at(&self, peer: &PeerId, from: AddressPair) -> bool {
        self.asking
            .of
            .get(peer)
            .is_some_and(|asked| (asked.outgoing.to.remote, asked.outgoing.to.session) == (from.remote, from.session))
    }

    /// The response as the client made it; `None` where it is not the true one.
    fn verified_answer(&mut self, peer: &PeerId, message: &Message) -> Option<Message> {
        let Progress::Sent { id, sent, .. } = &mut self.asking.of.get_mut(peer)?.progress else { return None };
        if message.kind == Type::Acknowledgement && message.id != *id || message.kind == Type::Reset {
            return None;
        }
        self.security.unprotect_response(message, sent).ok()
    }

    /// Goes on with a true response: it is the answer, or asks for an Echo first.
    fn answered(&mut self, peer: &PeerId, mut answer: Message) {
        let following = self.asking.of.get(peer).and_then(|asked| asked.following(&answer));
        if let Some(block) = following {
            return match block {
                Ok(block) => self.send_again(peer, |asked| asked.block = Some(block)),
                Err(error) => self.end_request(peer, Err(error)),
            };
        }
        let echo = answer.options.first(option::ECHO).filter(|_| answer.code == Code::UNAUTHORIZED).map(<[u8]>::to_vec);
        let wants_echo = self.asking.of.get(peer).is_some_and(|asked| !asked.echoed);
        if let Some(echo) = echo.filter(|_| wants_echo) {
            return self.send_again(peer, |asked| {
                asked.outgoing.message.options.set(option::ECHO, &echo);
                asked.echoed = true;
            });
        }
        // It is the answer to the last block.
        answer.options.remove(option::BLOCK1);
        let outcome = match answer.options.check(|_| false) {
            Ok(()) => Ok(answer),
            Err(number) => Err(RequestError::Option(number)),
        };
        self.end_request(peer, outcome);
    }

    /// Sends a request of which one message was answered once more, changed so.
    fn send_again(&mut self, peer: &PeerId, change: impl FnOnce(&mut Asked)) {
        let Some((mut asked, id)) = self.asking.remove(peer) else { return };
        if let Some(id) = id {
            self.retransmissions.settle(asked.outgoing.to, id);
        }
        change(&mut asked);
        let until = self.now().saturating_add(self.limits.response_timeout);
        (asked.doubted, asked.progress) = (false, Progress::Unsent { until, tries: 0 });
        self.asking.of.insert(peer.clone(), asked);
        self.send_request(peer);
    }
}
