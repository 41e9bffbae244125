//! A client: it keeps what it was told, and says when the KDC no longer knows of it.

use crate::Error;
use crate::oracle::Oracle;
use crate::wire::{Answer, Wire};
use ace_backend_aws_lc::AwsLc;
use ace_coap::numbers::option;
use ace_coap::{Code, Message};
use ace_groupcomm::traits::crypto::Identity;
use ace_groupcomm::traits::crypto::{CryptoProvider, SignatureAlgorithm};
use ace_groupcomm::{Roles, Secret};
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR};
use ace_groupcomm_messages::paths::{AUTHZ_INFO, ROOT};
use ace_groupcomm_messages::{JoinRefusal, JoinResponse, KeyDistribution, OscoreInputMaterial, TokenTransferResponse};
use ace_load::load::{bytes, token};
use ace_load::server::GROUP;
use ace_oscore::{Context, Sequence};
use ace_profile_group_oscore::member::{join_request, material};
use ace_profile_group_oscore::scope::{REQUESTER, RESPONDER};
use ace_profile_oscore::Upload;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// An association, and the N_S that came with it.
struct Association {
    context: Context,
    challenge: Vec<u8>,
}

/// What a client was told of its membership.
#[derive(Default)]
struct Membership {
    /// Its Sender ID; none before the first join that was answered.
    sender_id: Option<Vec<u8>>,
    /// Its node's name, where it was told.
    node: Option<String>,
    /// A join since then had no answer: the Sender ID may be another one.
    in_doubt: bool,
    /// Joins that it asked for.
    attempts: u64,
    /// The attempt that has given it the Sender ID.
    given: u64,
    /// A leave may have been done, of which it was not told.
    may_have_left: bool,
    /// The newest version that it was told of.
    num: i64,
}

/// A client.
pub(super) struct CrashClient {
    number: u32,
    wire: Wire,
    oracle: Rc<Oracle>,
    rng: ChaCha12Rng,
    identity: Identity,
    /// The association that was proven last.
    current: Option<Association>,
    /// One that a token was posted for since, and of which no proof was answered.
    tentative: Option<Association>,
    /// A proof of another association may be under way still, in a process that was stopped: when it arrives, the current
    /// association ends.
    may_end: bool,
    membership: Membership,
}

/// In which time the last rekeying is done, also where another process than the one that was killed has to notice it.
const SETTLED: Duration = Duration::from_secs(40);

/// How long the last leave is waited for.
const LAST: Duration = Duration::from_secs(10);

/// What the numbers of a device and of the one in its place differ by.
const NEXT: u32 = 10_000;

fn identity(number: u32) -> Result<Identity, Error> {
    let key: Vec<u8> = bytes(number, 4).into_iter().cycle().take(32).collect();
    let key = AwsLc.signing_key(SignatureAlgorithm::Ed25519, &Secret::new(key)).ok_or("no key")?;
    Ok(Identity::kccs(&format!("client{number}"), key))
}

impl CrashClient {
    pub(super) async fn new(number: u32, servers: &[SocketAddr], oracle: Rc<Oracle>, seed: u64) -> Result<Self, Error> {
        Ok(Self {
            number,
            wire: Wire::new(number, servers, Rc::clone(&oracle)).await?,
            oracle,
            rng: ChaCha12Rng::seed_from_u64(seed),
            identity: identity(number)?,
            current: None,
            tentative: None,
            may_end: false,
            membership: Membership::default(),
        })
    }

    /// Asks for one thing after the other, until the oracle is stopped; then once more for what it was told.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        while !self.oracle.is_stopped() {
            self.step().await?;
        }
        if self.membership.node.is_some() && self.current.is_some() && self.oracle.leaves_last() {
            while !self.oracle.lets_last_leave() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for _ in 0..40 {
                // It leaves with the newest version.
                if self.retrieve().await? {
                    self.leave().await?;
                }
                if self.membership.node.is_none() || !self.oracle.is_clean() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.oracle.last_has_left();
        }
        let began = Instant::now();
        while !self.oracle.has_last_left() && began.elapsed() < LAST {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while self.oracle.is_clean() {
            let is_told = self.retrieve().await?;
            let is_out = self.membership.sender_id.is_none() || self.current.is_none();
            // What somebody has who is out gives way to the next version.
            if is_told && (is_out || self.membership.num > self.oracle.held_outside()) {
                break;
            }
            if began.elapsed() > SETTLED {
                match is_told {
                    true => self.oracle.reads_on(self.number, "it has the version still of somebody who is out"),
                    false => self.oracle.lost(self.number, "nobody answers it"),
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// A new device takes the place of this one, which nobody hears of again.
    fn replace(&mut self) -> Result<(), Error> {
        self.oracle.member(self.number, None);
        self.number += NEXT;
        self.identity = identity(self.number)?;
        (self.current, self.membership) = (None, Membership::default());
        Ok(())
    }

    /// It is a member no more.
    fn is_out(&mut self) {
        self.oracle.out_with(self.membership.num);
        self.oracle.member(self.number, None);
        let attempts = self.membership.attempts;
        self.membership = Membership { attempts, may_have_left: self.wire.is_split(), ..Membership::default() };
    }

    /// Leaves the group.
    async fn leave(&mut self) -> Result<(), Error> {
        let Some(node) = self.membership.node.clone() else { return Ok(()) };
        self.membership.may_have_left = true;
        let request = Message::request(Code::DELETE).with_path([ROOT, GROUP, "nodes", &node]);
        let Some(answer) = self.ask(request).await? else { return Ok(()) };
        if answer.code.is_success() {
            self.oracle.count(|counts| &mut counts.leaves);
            self.is_out();
        } else if answer.code != Code::SERVICE_UNAVAILABLE {
            self.was_refused(&answer, "a leave")?;
        }
        Ok(())
    }

    /// The KDC does not take it for a member. That must not be where it is one.
    fn was_refused(&mut self, answer: &Message, what: &str) -> Result<(), Error> {
        if self.oracle.is_ordered_out(self.number).is_some() {
            self.oracle.out_with(self.membership.num);
            return self.replace();
        }
        if self.membership.may_have_left {
            self.is_out();
        } else if self.membership.sender_id.is_some() {
            self.oracle.lost(self.number, &format!("{what} was answered {}", answer.code));
        }
        Ok(())
    }

    /// It was given keys. That must not be where it was put out before it asked.
    fn was_given(&self, was_out: bool) {
        if was_out {
            self.oracle.reads_on(self.number, "it was given keys after it was put out");
        }
    }

    async fn step(&mut self) -> Result<(), Error> {
        if self.tentative.is_some() {
            return self.prove().await;
        }
        match self.rng.next_u64() % 100 {
            _ if self.current.is_none() => self.post().await,
            // A new device in the place of the old one, which nobody hears of again.
            0 => {
                self.replace()?;
                self.post().await
            }
            2 => self.leave().await,
            // It may turn to another process at any time.
            1 => {
                self.wire.turn();
                self.retrieve().await.map(drop)
            }
            3..8 => self.post().await,
            8..40 => self.join().await,
            _ => self.retrieve().await.map(drop),
        }
    }

    /// Posts the token anew, for another association.
    async fn post(&mut self) -> Result<(), Error> {
        let mut input = OscoreInputMaterial::new(bytes(self.number, 1), bytes(self.number, 2));
        input.salt = Some(vec![1; 8]);
        let token = token(self.number, &input).ok_or("no token")?;
        let upload = Upload::new(input, self.rng.next_u64().to_be_bytes().to_vec(), vec![1]);
        let post = Message::request(Code::POST).with_path([AUTHZ_INFO]);
        let Some(answer) = self.wire.ask_plain(post.with_payload(ACE_CBOR, upload.request(token).encode())).await?
        else {
            return Ok(());
        };
        if answer.code != Code::CREATED {
            // Too many that are not proven: the process that had them was killed, or they wait.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Ok(());
        }
        let response = TokenTransferResponse::decode(&answer.payload)?;
        let challenge = response.kdcchallenge.clone().unwrap_or_default();
        let context = Context::fresh(&upload.finish(&response)?, Sequence::all())?;
        self.tentative = Some(Association { context, challenge });
        self.prove().await
    }

    /// Proves the association that the last token was posted for.
    async fn prove(&mut self) -> Result<(), Error> {
        let Some(mut association) = self.tentative.take() else { return Ok(()) };
        let first = Message::request(Code::GET);
        // Some ask for what the KDC's network side answers by itself, before they ask the KDC.
        let core = self.rng.next_u64().is_multiple_of(4).then(|| first.clone().with_path([".well-known", "core"]));
        for request in core.into_iter().chain([first.with_path([ROOT, GROUP, "num"])]) {
            match self.wire.ask(&mut association.context, request).await? {
                Answer::Of(_) => (),
                // What was never proven may be forgotten; the former one is still there then.
                Answer::NoAssociation => {
                    self.may_end |= self.oracle.is_shared();
                    return Ok(());
                }
                Answer::Unknown => {
                    self.tentative = Some(association);
                    return Ok(());
                }
            }
        }
        self.oracle.count(|counts| &mut counts.proven);
        self.current = Some(association);
        self.may_end = false;
        Ok(())
    }

    /// Asks under the current association, which has to be there.
    async fn ask(&mut self, message: Message) -> Result<Option<Message>, Error> {
        let Some(association) = &mut self.current else { return Ok(None) };
        match self.wire.ask(&mut association.context, message).await? {
            Answer::Of(answer) => Ok(Some(answer)),
            Answer::Unknown => Ok(None),
            Answer::NoAssociation => {
                if !std::mem::take(&mut self.may_end) {
                    self.oracle.lost(self.number, "its association is gone");
                }
                self.current = None;
                Ok(None)
            }
        }
    }

    async fn join(&mut self) -> Result<(), Error> {
        let Some(association) = &self.current else { return Ok(()) };
        self.membership.attempts += 1;
        let cnonce = self.rng.next_u64().to_be_bytes();
        let roles = Roles(REQUESTER.0 | RESPONDER.0);
        let join = join_request(GROUP, roles, &self.identity, &association.challenge, &cnonce, None)?;
        let (before, was_out) = (self.oracle.version(), self.oracle.is_ordered_out(self.number) == Some(true));
        let was_in_doubt = std::mem::replace(&mut self.membership.in_doubt, true);
        let request = Message::request(Code::POST).with_path([ROOT, GROUP]);
        let Some(answer) = self.ask(request.with_payload(ACE_GROUPCOMM_CBOR, join.encode())).await? else {
            return Ok(());
        };
        if !answer.code.is_success() {
            if let (Ok(JoinRefusal { kdcchallenge: Some(challenge), .. }), Some(association)) =
                (JoinRefusal::decode(&answer.payload), &mut self.current)
            {
                association.challenge = challenge;
                self.membership.in_doubt = was_in_doubt;
            } else if answer.code != Code::SERVICE_UNAVAILABLE {
                if self.oracle.is_ordered_out(self.number).is_none() {
                    self.oracle.lost(self.number, &format!("a join was answered {}", answer.code));
                }
                self.was_refused(&answer, "a join")?;
            }
            return Ok(());
        }
        self.was_given(was_out);
        let response = JoinResponse::decode(&answer.payload)?;
        let of_group = material(&response.material)?;
        let id = of_group.group_sender_id.clone().ok_or("no Sender ID")?;
        self.oracle.identifier(&of_group.context_id, &id, self.number, self.membership.attempts);
        self.oracle.told_version(before, response.material.num);
        (self.membership.num, self.membership.given) = (response.material.num, self.membership.attempts);
        if self.membership.sender_id.replace(id).is_none() {
            self.oracle.count(|counts| &mut counts.joins);
        } else {
            self.oracle.count(|counts| &mut counts.rejoins);
        }
        if let Some(node) = answer.options.all(option::LOCATION_PATH).last() {
            self.membership.node = Some(String::from_utf8_lossy(node).into_owned());
        }
        self.oracle.member(self.number, self.membership.node.as_deref());
        self.membership.in_doubt = self.wire.is_split();
        self.membership.may_have_left &= self.wire.is_split();
        Ok(())
    }

    /// Asks for its keys. Returns whether it was told.
    async fn retrieve(&mut self) -> Result<bool, Error> {
        let node = self.membership.node.clone();
        let request = Message::request(Code::GET);
        let request = match &node {
            Some(node) => request.with_path([ROOT, GROUP, "nodes", node]),
            None => request.with_path([ROOT, GROUP]),
        };
        let (before, was_out) = (self.oracle.version(), self.oracle.is_ordered_out(self.number) == Some(true));
        let Some(answer) = self.ask(request).await? else { return Ok(self.current.is_none()) };
        if !answer.code.is_success() {
            if answer.code == Code::SERVICE_UNAVAILABLE {
                return Ok(false);
            }
            self.was_refused(&answer, "a member's retrieval")?;
            return Ok(true);
        }
        self.was_given(was_out);
        let distribution = KeyDistribution::decode(&answer.payload)?;
        let of_group = material(&distribution)?;
        self.oracle.told_version(before, distribution.num);
        self.oracle.count(|counts| &mut counts.retrievals);
        self.membership.num = distribution.num;
        if let Some(id) = &of_group.group_sender_id
            && self.membership.sender_id.as_ref() != Some(id)
        {
            if !self.membership.in_doubt {
                self.oracle.lost(self.number, "its Sender ID is another one than it was told");
            }
            self.membership.given = self.membership.attempts;
            self.membership.sender_id = Some(id.clone());
        }
        if let Some(id) = &of_group.group_sender_id {
            // Under each Gid it is nobody else's.
            self.oracle.identifier(&of_group.context_id, id, self.number, self.membership.given);
        }
        Ok(true)
    }
}
