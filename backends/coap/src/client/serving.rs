//! What a client answers its server: both ask under one association, on one socket.

use super::{Client, ClientError, after};
use crate::Limits;
use crate::block::{BlockStep, Transfers, bad_option};
use crate::owner::Owner;
use ace_coap::numbers::option;
use ace_coap::security::{ClientSecurity, Inbound, PeerId};
use ace_coap::{Code, Message, Token, Type};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Answers that are kept for requests that come again.
const ANSWERED: usize = 16;
/// Bodies that may come in blocks at once.
const BODIES: usize = 2;
/// How often the server is asked whether a request is new, at most. Each time takes a sequence number, and a request that
/// somebody replays asks for it too.
const CHALLENGE_INTERVAL: Duration = Duration::from_secs(1);

/// What answers, and what was answered of late: when, which datagram, and with which.
pub(super) struct Serving {
    answer: Box<dyn FnMut(Message) -> Message + Send>,
    answered: VecDeque<(Instant, Vec<u8>, Vec<u8>)>,
    /// Bodies that come in blocks, and since when.
    transfers: Transfers,
    began: Instant,
    /// When the server was asked last whether a request is new.
    challenged: Option<Instant>,
}

impl Serving {
    /// The answer to a verified request, or to a block of one.
    fn respond(&mut self, request: Message) -> Message {
        let owner = Owner::Peer(PeerId::new(&[]));
        match self.transfers.request(self.began.elapsed(), &owner, request) {
            BlockStep::Whole(mut request, block) => {
                for number in [option::BLOCK1, option::SIZE1, option::REQUEST_TAG] {
                    request.options.remove(number);
                }
                let mut answer = (self.answer)(request);
                if let Some(block) = block {
                    answer.options.push_uint(option::BLOCK1, block.to_uint());
                }
                answer
            }
            BlockStep::Answer(answer) => answer,
            BlockStep::Kept(_) | BlockStep::Crowded => Message::response(Code::SERVICE_UNAVAILABLE),
        }
    }

    /// Whether the server may be asked whether a request is new.
    fn may_challenge(&self) -> bool {
        self.challenged.is_none_or(|at| at.elapsed() >= CHALLENGE_INTERVAL)
    }

    fn keep(&mut self, request: &[u8], answer: Vec<u8>) {
        self.answered.push_back((Instant::now(), request.to_vec(), answer));
        if self.answered.len() > ANSWERED {
            self.answered.pop_front();
        }
    }
}

/// Critical options that a request may have.
const fn is_known(number: u16) -> bool {
    matches!(
        number,
        option::URI_HOST | option::URI_PORT | option::URI_PATH | option::URI_QUERY | option::ACCEPT | option::BLOCK1
    )
}

impl<S: ClientSecurity> Client<S> {
    /// Answers requests of the server with this from now on, while this client waits for whatever else
    /// ([`Self::request`], [`Self::listen`]). Only what verifies as the server's is handed on, whole where it came in blocks; the answer has
    /// to fit into one datagram. Without this, requests are reset.
    pub fn serve(&mut self, answer: impl FnMut(Message) -> Message + Send + 'static) {
        // A block that is sent for the last time comes late, and finds what came before.
        let limits = Limits {
            transfers: BODIES,
            bodies: self.limits.body.saturating_mul(BODIES),
            transfer_time: self.limits.exchange_lifetime,
            ..self.limits
        };
        self.serving = Some(Serving {
            answer: Box::new(answer),
            answered: VecDeque::new(),
            transfers: Transfers::new(&limits),
            began: Instant::now(),
            challenged: None,
        });
    }

    /// Answers the server's requests for so long ([`Self::serve`]), and keeps notifications for
    /// [`Self::notification`].
    ///
    /// # Errors
    /// [`ClientError::Io`], [`ClientError::Refused`].
    pub async fn listen(&mut self, time: Duration) -> Result<(), ClientError> {
        let until = after(time);
        // No request of this client has an empty token: so nothing is taken for its response.
        while self.datagram(&Token::new(&[]), until).await?.is_some() {}
        Ok(())
    }

    /// Answers a request of the server, which came in this datagram.
    pub(super) async fn answer(&mut self, request: Message, datagram: &[u8]) -> Result<(), ClientError> {
        let (kind, id, token) = (request.kind, request.id, request.token.clone());
        let Some(serving) = &mut self.serving else { return self.reset(kind, id).await };
        let lifetime = self.limits.exchange_lifetime;
        serving.answered.retain(|(at, ..)| at.elapsed() < lifetime);
        // The same bytes are the same message; whoever takes its ID for other bytes makes another one of it.
        if let Some((.., answer)) = serving.answered.iter().find(|(_, answered, _)| answered == datagram) {
            let answer = answer.clone();
            return self.send(&answer).await;
        }
        if [option::PROXY_URI, option::PROXY_SCHEME].into_iter().any(|number| request.options.has(number)) {
            // They are not protected: somebody may have put them there, and the true message is to come yet.
            return Ok(());
        }
        self.next_token = self.next_token.wrapping_add(1);
        let echo = serving.may_challenge().then(|| self.next_token.to_be_bytes());
        let (mut answer, is_servers) = match self.security.unprotect_request(request, echo) {
            Inbound::Verified { mut message, binding, .. } => {
                let answer = match message.options.check(is_known) {
                    Ok(()) => serving.respond(message),
                    Err(number) => bad_option(number),
                };
                match self.security.protect_response(answer, binding) {
                    Ok(answer) => (answer, true),
                    Err(_) => return Ok(()),
                }
            }
            // Anybody can have sent it: the same message ID may yet come from the server.
            Inbound::Answer(answer) => {
                if answer.options.has(option::OSCORE) {
                    serving.challenged = Some(Instant::now());
                }
                (answer, false)
            }
            Inbound::Plain(_) => return self.reset(kind, id).await,
            Inbound::Later(..) | Inbound::Discard => return Ok(()),
        };
        if kind == Type::Confirmable {
            (answer.kind, answer.id) = (Type::Acknowledgement, id);
        } else {
            self.next_id = self.next_id.wrapping_add(1);
            (answer.kind, answer.id) = (Type::NonConfirmable, self.next_id);
        }
        answer.token = token;
        let answer = answer.encode();
        if is_servers {
            serving.keep(datagram, answer.clone());
        }
        self.send(&answer).await
    }

    /// Refuses a message that nobody here takes.
    async fn reset(&mut self, kind: Type, id: u16) -> Result<(), ClientError> {
        if kind == Type::Confirmable { self.send(&Message::empty(Type::Reset, id).encode()).await } else { Ok(()) }
    }
}
