//! Block-wise transfer (RFC 7959) at a server: bodies that come in blocks, and bodies that go in blocks.
//!
//! Where messages are protected this is done inside the protection, and a transfer belongs to the peer; otherwise
//! to the address, with a small pool of its own.

use crate::Limits;
use ace_coap::numbers::option;
use ace_coap::security::PeerId;
use ace_coap::{Block, Code, Message};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Whose transfer it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Owner {
    /// A peer that is known.
    Peer(PeerId),
    /// A stranger, at an address.
    Address(SocketAddr),
}

/// Names a transfer: its owner, and all of the request that is the same in each of its blocks.
type Id = (Owner, Vec<u8>);

/// What a block of a request comes to.
#[derive(Debug)]
pub(crate) enum Step {
    /// The whole request is there; the answer to a Block1 carries this option back.
    Whole(Message, Option<Block>),
    /// This is the answer.
    Answer(Message),
}

struct Transfer {
    came: Duration,
    body: Arc<[u8]>,
    /// The answer that the body belongs to, without its payload.
    response: Option<Message>,
}

/// Bodies that come or go block by block.
pub(crate) struct Transfers {
    limits: Limits,
    /// Bodies that come; each has been told so many bytes so far.
    coming: HashMap<Id, (Duration, Vec<u8>)>,
    going: HashMap<Id, Transfer>,
    by_age: BTreeSet<(Duration, bool, Id)>,
    counts: HashMap<Option<Owner>, usize>,
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

fn error(code: Code) -> Step {
    Step::Answer(Message::response(code))
}

impl Transfers {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            coming: HashMap::new(),
            going: HashMap::new(),
            by_age: BTreeSet::new(),
            counts: HashMap::new(),
        }
    }

    /// Takes a request in: a block of it is put to the others, a block of an answer is looked up.
    pub(crate) fn request(&mut self, now: Duration, owner: &Owner, mut message: Message) -> Step {
        self.expire(now);
        let id = (owner.clone(), identity(&message));
        let block = |number| message.options.uint(number).map(Block::from_uint);
        let (block1, block2) = (block(option::BLOCK1), block(option::BLOCK2));
        if let Some(block2) = block2 {
            match block2 {
                None => return error(Code::BAD_OPTION),
                Some(block) if block.num > 0 => {
                    if let Some(answer) = self.serve(now, &id, block) {
                        return Step::Answer(answer);
                    }
                    // What was asked can be asked again, if asking changes nothing.
                    if ![Code::GET, Code::FETCH].contains(&message.code) {
                        return error(Code::REQUEST_ENTITY_INCOMPLETE);
                    }
                }
                Some(_) => (),
            }
        }
        match block1 {
            None => Step::Whole(message, None),
            Some(None) => error(Code::BAD_OPTION),
            Some(Some(block)) => {
                let payload = std::mem::take(&mut message.payload);
                match self.collect(now, id, block, &payload) {
                    Ok(Some(body)) => {
                        message.payload = body;
                        Step::Whole(message, Some(Block { more: false, ..block }))
                    }
                    Ok(None) => {
                        let mut answer = Message::response(Code::CONTINUE);
                        answer.options.push_uint(option::BLOCK1, block.to_uint());
                        Step::Answer(answer)
                    }
                    Err(code) => error(code),
                }
            }
        }
    }

    /// Puts a block behind those that are there; the body, when it was the last one.
    fn collect(&mut self, now: Duration, id: Id, block: Block, payload: &[u8]) -> Result<Option<Vec<u8>>, Code> {
        if block.more && payload.len() != block.size() {
            return Err(Code::BAD_REQUEST);
        }
        if block.num == 0 {
            self.drop_transfer(false, &id);
            if !block.more {
                return Ok(Some(payload.to_vec()));
            }
            self.make_room(&id.0)?;
            self.remember(now, false, &id);
            self.coming.insert(id, (now, payload.to_vec()));
            return Ok(None);
        }
        let Some((came, body)) = self.coming.get_mut(&id) else { return Err(Code::REQUEST_ENTITY_INCOMPLETE) };
        if block.offset() != body.len() {
            return Err(Code::REQUEST_ENTITY_INCOMPLETE);
        }
        if body.len().saturating_add(payload.len()) > self.limits.body {
            self.drop_transfer(false, &id);
            return Err(Code::REQUEST_ENTITY_TOO_LARGE);
        }
        body.extend_from_slice(payload);
        if block.more {
            let before = std::mem::replace(came, now);
            self.by_age.remove(&(before, false, id.clone()));
            self.by_age.insert((now, false, id));
            return Ok(None);
        }
        let body = std::mem::take(body);
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
        if !response.options.has(option::ETAG) {
            // Made of the content alone: the same after a restart, and another one for another content.
            let hash = Sha256::digest(&body);
            response.options.push(option::ETAG, hash.get(..8).unwrap_or_default());
        }
        let id = (owner.clone(), identity(request));
        let first = cut(&response, &body, wanted, true);
        self.drop_transfer(true, &id);
        if self.make_room(owner).is_ok() {
            self.remember(now, true, &id);
            let mut kept = response;
            kept.options.remove(option::BLOCK1);
            kept.options.remove(option::OBSERVE);
            self.going.insert(id, Transfer { came: now, body, response: Some(kept) });
        }
        first.unwrap_or_else(|| Message::response(Code::BAD_OPTION))
    }

    /// One block of a body that is kept.
    fn serve(&mut self, now: Duration, id: &Id, block: Block) -> Option<Message> {
        let transfer = self.going.get_mut(id)?;
        let before = std::mem::replace(&mut transfer.came, now);
        self.by_age.remove(&(before, true, id.clone()));
        self.by_age.insert((now, true, id.clone()));
        let block = shrink(block, self.limits.szx.min(Block::MAX_SZX));
        let answer = cut(transfer.response.as_ref()?, &transfer.body, block, false);
        Some(answer.unwrap_or_else(|| Message::response(Code::BAD_OPTION)))
    }

    fn pool(owner: &Owner) -> Option<Owner> {
        // Strangers share one pool; each known peer has its own share.
        match owner {
            Owner::Peer(_) => Some(owner.clone()),
            Owner::Address(_) => None,
        }
    }

    /// Whether one more transfer of this owner fits.
    fn make_room(&mut self, owner: &Owner) -> Result<(), Code> {
        let own = self.counts.get(&Self::pool(owner)).copied().unwrap_or(0);
        let all = self.coming.len().saturating_add(self.going.len());
        if own >= self.limits.transfers_unknown || all >= self.limits.transfers {
            // The oldest of the same pool makes room; others are not touched.
            let pool = Self::pool(owner);
            let oldest = self.by_age.iter().find(|(_, _, (other, _))| Self::pool(other) == pool).cloned();
            let Some((_, going, id)) = oldest else { return Err(Code::SERVICE_UNAVAILABLE) };
            self.drop_transfer(going, &id);
        }
        Ok(())
    }

    fn remember(&mut self, now: Duration, going: bool, id: &Id) {
        self.by_age.insert((now, going, id.clone()));
        let count = self.counts.entry(Self::pool(&id.0)).or_default();
        *count = count.saturating_add(1);
    }

    fn drop_transfer(&mut self, going: bool, id: &Id) {
        let came = if going {
            self.going.remove(id).map(|transfer| transfer.came)
        } else {
            self.coming.remove(id).map(|(came, _)| came)
        };
        let Some(came) = came else { return };
        self.by_age.remove(&(came, going, id.clone()));
        let pool = Self::pool(&id.0);
        if let Some(count) = self.counts.get_mut(&pool) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&pool);
            }
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

/// The same place in blocks of at most this size (RFC 7959 section 2.4).
pub(crate) const fn shrink(block: Block, szx: u8) -> Block {
    let less = block.szx.saturating_sub(szx);
    // A number has 20 bits: what leaves them lies behind the end of any body.
    let num = block.num.saturating_mul(1 << less);
    Block { num, more: false, szx: block.szx.saturating_sub(less) }
}

/// One block of a body, with the options of its answer; `None` behind the end.
fn cut(response: &Message, body: &[u8], block: Block, with_size: bool) -> Option<Message> {
    let rest = body.get(block.offset()..).filter(|rest| !rest.is_empty() || block.num == 0)?;
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
