//! Block-wise transfer (RFC 7959) at a server: bodies that come in blocks, and bodies that go in blocks.
//!
//! Where messages are protected this is done inside the protection, and a transfer belongs to the peer; otherwise
//! to the address. Addresses that have proven nothing have a small pool together, in which the young do not give way:
//! who finds it full proves its address.

use crate::Limits;
use crate::owner::{Owner, Shares};
use ace_coap::numbers::option;
use ace_coap::{Block, Code, Message};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Names a transfer: its owner, and all of the request that is the same in each of its blocks.
type Id = (Owner, Vec<u8>);

/// For how long a transfer of a stranger does not give way to one of another stranger.
const YOUNG: Duration = Duration::from_secs(5);

/// What a block of a request comes to.
#[derive(Debug)]
pub(crate) enum BlockStep {
    /// The whole request is there; the answer to a Block1 carries this option back.
    Whole(Message, Option<Block>),
    /// This is the answer.
    Answer(Message),
    /// This is a block of an answer that was given before; whether the peer may have it still is to be asked of the
    /// request.
    Kept(Box<(Message, Message)>),
    /// Strangers have no more room: whoever proves its address has.
    Crowded,
}

struct Transfer {
    begun: Duration,
    came: Duration,
    body: Arc<[u8]>,
    /// The answer that the body belongs to, without its payload.
    response: Message,
    /// The name without the request's payload, where it had one.
    without_payload: Option<Id>,
}

/// Bodies that come or go block by block.
pub(crate) struct Transfers {
    limits: Limits,
    /// Bodies that come; each has been told so many bytes so far.
    coming: HashMap<Id, (Duration, Vec<u8>)>,
    going: HashMap<Id, Transfer>,
    by_age: BTreeSet<(Duration, bool, Id)>,
    shares: Shares,
    /// Which of several answers to FETCH goes on where the next block is asked for without the payload.
    latest: HashMap<Id, Id>,
    /// Bytes of all bodies.
    held: usize,
}

/// The options that are the same in each block of one transfer.
fn identity(message: &Message) -> Vec<u8> {
    let mut out = vec![message.code.0];
    let varying = [option::BLOCK1, option::BLOCK2, option::SIZE1, option::SIZE2, option::OBSERVE, option::ECHO];
    for (number, value) in message.options.iter().filter(|(number, _)| !varying.contains(number)) {
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(value);
    }
    out
}

/// The name of the answer's transfer. For FETCH the payload is a part of what is asked.
fn answer_identity(message: &Message) -> Vec<u8> {
    let mut out = identity(message);
    if message.code == Code::FETCH && !message.payload.is_empty() {
        out.extend_from_slice(&Sha256::digest(&message.payload));
    }
    out
}

fn error(code: Code) -> BlockStep {
    BlockStep::Answer(Message::response(code))
}

/// The answer to a body that is too large; it says how large one may be (RFC 7959 section 2.9.3).
fn too_large(limits: &Limits) -> BlockStep {
    let mut answer = Message::response(Code::REQUEST_ENTITY_TOO_LARGE);
    answer.options.push_uint(option::SIZE1, u32::try_from(limits.body).unwrap_or(u32::MAX));
    BlockStep::Answer(answer)
}

/// Why there is no room.
enum Full {
    /// For strangers.
    Strangers,
    /// At all.
    All,
}

impl Transfers {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            coming: HashMap::new(),
            going: HashMap::new(),
            by_age: BTreeSet::new(),
            shares: Shares::default(),
            latest: HashMap::new(),
            held: 0,
        }
    }

    /// Takes a request in: a block of it is put to the others, a block of an answer is looked up.
    pub(crate) fn request(&mut self, now: Duration, owner: &Owner, mut message: Message) -> BlockStep {
        self.expire(now);
        let id = (owner.clone(), identity(&message));
        let block = |number| message.options.uint(number).map(Block::from_uint);
        let (block1, block2) = (block(option::BLOCK1), block(option::BLOCK2));
        // The reserved size exponent (RFC 7959 section 2.2).
        if block1 == Some(None) || block2 == Some(None) {
            return error(Code::BAD_REQUEST);
        }
        if block1.is_some() && is_too_large(&message, &self.limits) {
            self.drop_transfer(false, &id);
            return too_large(&self.limits);
        }
        if let Some(block2) = block2 {
            match block2 {
                Some(block) if block.num > 0 => {
                    message.options.remove(option::BLOCK2);
                    let mut going = (owner.clone(), answer_identity(&message));
                    if message.payload.is_empty()
                        && let Some(latest) = self.latest.get(&going)
                    {
                        going = latest.clone();
                    }
                    if let Some(answer) = self.serve(now, &going, block) {
                        return match owner {
                            Owner::Peer(_) => BlockStep::Kept(Box::new((answer, message))),
                            Owner::Proven(_) | Owner::Stranger(_) => BlockStep::Answer(answer),
                        };
                    }
                    message.options.push_uint(option::BLOCK2, block.to_uint());
                    // What was asked can be asked again, if asking changes nothing.
                    if ![Code::GET, Code::FETCH].contains(&message.code) {
                        return error(Code::REQUEST_ENTITY_INCOMPLETE);
                    }
                }
                _ => (),
            }
        }
        match block1 {
            None | Some(None) => BlockStep::Whole(message, None),
            Some(Some(block)) => {
                let payload = std::mem::take(&mut message.payload);
                match self.collect(now, id, block, &payload) {
                    Ok(Some(body)) => {
                        message.payload = body;
                        BlockStep::Whole(message, Some(block))
                    }
                    Ok(None) => {
                        let mut answer = Message::response(Code::CONTINUE);
                        answer.options.push_uint(option::BLOCK1, block.to_uint());
                        BlockStep::Answer(answer)
                    }
                    Err(step) => step,
                }
            }
        }
    }

    /// Puts a block behind those that are there; the body, when it was the last one.
    fn collect(&mut self, now: Duration, id: Id, block: Block, payload: &[u8]) -> Result<Option<Vec<u8>>, BlockStep> {
        if block.more && payload.len() != block.size() {
            return Err(error(Code::BAD_REQUEST));
        }
        if block.num == 0 {
            self.drop_transfer(false, &id);
            if !block.more {
                return Ok(Some(payload.to_vec()));
            }
            self.make_room(now, &id.0, payload.len()).map_err(|full| match full {
                Full::Strangers => BlockStep::Crowded,
                Full::All => busy(),
            })?;
            self.remember(now, false, &id);
            self.held = self.held.saturating_add(payload.len());
            self.coming.insert(id, (now, payload.to_vec()));
            return Ok(None);
        }
        let Some((came, body)) = self.coming.get_mut(&id) else { return Err(error(Code::REQUEST_ENTITY_INCOMPLETE)) };
        if block.offset() != body.len() {
            return Err(error(Code::REQUEST_ENTITY_INCOMPLETE));
        }
        if body.len().saturating_add(payload.len()) > self.limits.body {
            self.drop_transfer(false, &id);
            return Err(too_large(&self.limits));
        }
        if self.held.saturating_add(payload.len()) > self.limits.bodies {
            self.drop_transfer(false, &id);
            return Err(busy());
        }
        body.extend_from_slice(payload);
        self.held = self.held.saturating_add(payload.len());
        if block.more {
            let before = std::mem::replace(came, now);
            self.by_age.remove(&(before, false, id.clone()));
            self.by_age.insert((now, false, id));
            return Ok(None);
        }
        let body = std::mem::take(body);
        self.held = self.held.saturating_sub(body.len());
        self.drop_transfer(false, &id);
        Ok(Some(body))
    }

    /// Cuts an answer into blocks, where it is too long or the client asked for smaller ones; the first of
    /// them goes out, the others are kept.
    pub(crate) fn response(
        &mut self,
        now: Duration,
        owner: &Owner,
        request: &Message,
        mut response: Message,
        block1: Option<Block>,
    ) -> Message {
        if let Some(block) = block1 {
            response.options.push_uint(option::BLOCK1, block.to_uint());
        }
        let asked = request.options.uint(option::BLOCK2).and_then(Block::from_uint);
        let own = self.limits.szx.min(Block::MAX_SZX);
        let szx = asked.map_or(own, |block| block.szx.min(own));
        let wanted = asked.map_or(Block { num: 0, more: false, szx }, |block| shrink(block, own));
        let num = wanted.num;
        // What is no success is not a later block of anything.
        if num > 0 && !response.code.is_success() || response.payload.len() <= wanted.size() && num == 0 {
            return response;
        }
        let body: Arc<[u8]> = std::mem::take(&mut response.payload).into();
        if !response.options.has(option::ETAG) && !response.options.has(option::OSCORE) {
            // Made of the content alone: the same after a restart, and another one for another content.
            let hash = Sha256::digest(&body);
            response.options.push(option::ETAG, hash.get(..8).unwrap_or_default());
        }
        let id = (owner.clone(), answer_identity(request));
        let first = cut(&response, &body, wanted, true);
        self.drop_transfer(true, &id);
        if self.make_room(now, owner, body.len()).is_ok() {
            self.remember(now, true, &id);
            self.held = self.held.saturating_add(body.len());
            let without_payload = (request.code == Code::FETCH).then(|| (owner.clone(), identity(request)));
            if let Some(without_payload) = &without_payload {
                self.latest.insert(without_payload.clone(), id.clone());
            }
            let mut kept = response;
            kept.options.remove(option::BLOCK1);
            kept.options.remove(option::OBSERVE);
            self.going.insert(id, Transfer { begun: now, came: now, body, response: kept, without_payload });
        }
        first.unwrap_or_else(behind_the_end)
    }

    /// What is kept of an answer to this request goes: its peer may not have it any more.
    pub(crate) fn withdraw(&mut self, owner: &Owner, request: &Message) {
        let id = (owner.clone(), answer_identity(request));
        let latest = self.latest.get(&id).cloned();
        for id in latest.into_iter().chain([id]) {
            self.drop_transfer(true, &id);
        }
    }

    /// One block of a body that is kept.
    fn serve(&mut self, now: Duration, id: &Id, block: Block) -> Option<Message> {
        // What was true when it began is not told for ever: another process may have ended what its owner may do.
        if now.saturating_sub(self.going.get(id)?.begun) > self.limits.exchange_lifetime {
            self.drop_transfer(true, id);
            return None;
        }
        let transfer = self.going.get_mut(id)?;
        let before = std::mem::replace(&mut transfer.came, now);
        self.by_age.remove(&(before, true, id.clone()));
        self.by_age.insert((now, true, id.clone()));
        let block = shrink(block, self.limits.szx.min(Block::MAX_SZX));
        let answer = cut(&transfer.response, &transfer.body, block, false);
        Some(answer.unwrap_or_else(behind_the_end))
    }

    /// Whether one more transfer of this owner fits, with a body of so many bytes.
    fn make_room(&mut self, now: Duration, owner: &Owner, bytes: usize) -> Result<(), Full> {
        let all = self.coming.len().saturating_add(self.going.len());
        if self.shares.of(owner) >= self.limits.transfers_unknown || all >= self.limits.transfers {
            // The oldest of the same share makes room; others are not touched.
            let oldest = self.by_age.iter().find(|(_, _, (other, _))| Shares::are_one(owner, other)).cloned();
            let Some((came, going, id)) = oldest else { return Err(Full::All) };
            if matches!(owner, Owner::Stranger(_)) && now.saturating_sub(came) < YOUNG {
                return Err(Full::Strangers);
            }
            self.drop_transfer(going, &id);
        }
        if self.held.saturating_add(bytes) > self.limits.bodies { Err(Full::All) } else { Ok(()) }
    }

    fn remember(&mut self, now: Duration, going: bool, id: &Id) {
        self.by_age.insert((now, going, id.clone()));
        self.shares.take(&id.0);
    }

    fn drop_transfer(&mut self, going: bool, id: &Id) {
        let dropped = if going {
            self.going.remove(id).map(|transfer| {
                if let Some(name) = transfer.without_payload.filter(|name| self.latest.get(name) == Some(id)) {
                    self.latest.remove(&name);
                }
                (transfer.came, transfer.body.len())
            })
        } else {
            self.coming.remove(id).map(|(came, body)| (came, body.len()))
        };
        let Some((came, bytes)) = dropped else { return };
        self.by_age.remove(&(came, going, id.clone()));
        self.held = self.held.saturating_sub(bytes);
        self.shares.give(&id.0);
    }

    /// Drops all transfers of an owner.
    pub(crate) fn forget(&mut self, owner: &Owner) {
        let own: Vec<(bool, Id)> = self
            .by_age
            .iter()
            .filter(|(_, _, (other, _))| other == owner)
            .map(|(_, going, id)| (*going, id.clone()))
            .collect();
        for (going, id) in own {
            self.drop_transfer(going, &id);
        }
    }

    fn expire(&mut self, now: Duration) {
        while let Some((came, going, id)) = self.by_age.first().cloned() {
            if now.saturating_sub(came) < self.limits.transfer_time {
                break;
            }
            self.drop_transfer(going, &id);
        }
    }
}

/// Whether a client says that its body is longer than one may be.
fn is_too_large(message: &Message, limits: &Limits) -> bool {
    let announced = message.options.uint(option::SIZE1).unwrap_or(0);
    usize::try_from(announced).unwrap_or(usize::MAX) > limits.body
}

/// The answer to who asks for a block behind the end.
fn behind_the_end() -> Message {
    bad_option(option::BLOCK2)
}

/// The answer 4.02, and in words which option it is about (RFC 7252 section 5.4.1).
#[must_use]
pub fn bad_option(number: u16) -> Message {
    Message { payload: format!("option {number}").into_bytes(), ..Message::response(Code::BAD_OPTION) }
}

fn busy() -> BlockStep {
    let mut answer = Message::response(Code::SERVICE_UNAVAILABLE);
    answer.options.push_uint(option::MAX_AGE, 2);
    BlockStep::Answer(answer)
}

/// The same place in blocks of at most this size (RFC 7959 section 2.4).
pub(crate) fn shrink(block: Block, szx: u8) -> Block {
    let less = block.szx.saturating_sub(szx);
    // A number has 20 bits: what leaves them lies behind the end of any body, and so does the last one.
    let num = block.num.saturating_mul(1 << less).min(Block::MAX_NUM);
    Block { num, more: false, szx: block.szx.saturating_sub(less) }
}

/// One block of a body, with the options of its answer; `None` behind the end.
fn cut(response: &Message, body: &[u8], block: Block, with_size: bool) -> Option<Message> {
    let rest = body.get(block.offset()..).filter(|rest| !rest.is_empty())?;
    let piece = rest.get(..block.size()).unwrap_or(rest);
    let mut answer = response.clone();
    answer.payload = piece.to_vec();
    let more = rest.len() > piece.len();
    answer.options.push_uint(option::BLOCK2, Block { more, ..block }.to_uint());
    if with_size {
        answer.options.push_uint(option::SIZE2, u32::try_from(body.len()).unwrap_or(u32::MAX));
    }
    Some(answer)
}

#[cfg(test)]
mod tests;
