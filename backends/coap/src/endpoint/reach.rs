//! What goes to addresses that have proven nothing: at most three times what came from there, until an Echo has
//! come back from it (RFC 9175 section 2.4, RFC 7252 section 11.3).

use crate::block::shrink;
use ace_coap::numbers::option;
use ace_coap::{Block, Code, Message};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::net::SocketAddr;
use std::time::Duration;

/// How many times the request an answer may be.
const FACTOR: usize = 3;
/// What an answer in blocks needs beside its payload and the token: header, marker, Content-Format, ETag, Block2 and
/// Size2.
const OVERHEAD: usize = 26;
/// Length of a slot of time, in seconds. An Echo value is taken in its slot and in the next one: for 128 to 256 s.
const SLOT: u64 = 128;
/// Length of an Echo value.
const ECHO: usize = 8;

/// Makes and checks Echo values that prove an address. Nothing is kept of them.
pub(super) struct Reach {
    seed: [u8; 32],
}

impl Reach {
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed }
    }

    /// Where the message IDs to an address begin: who sees those that it gets itself cannot tell those of others.
    /// Each time that an address comes to be known they begin at another place.
    pub(super) fn first_id(&self, address: SocketAddr, serial: u64) -> u16 {
        let mac = self.mac(address, serial | 1 << 63).map(|mac| mac.finalize().into_bytes());
        mac.iter().flatten().take(2).fold(0, |id, byte| (id << 8) | u16::from(*byte))
    }

    fn mac(&self, address: SocketAddr, slot: u64) -> Option<Hmac<Sha256>> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.seed).ok()?;
        mac.update(&slot.to_be_bytes());
        mac.update(address.to_string().as_bytes());
        Some(mac)
    }

    const fn slot(now: Duration) -> u64 {
        now.as_secs() / SLOT
    }

    /// An Echo value for this address.
    pub(super) fn challenge(&self, now: Duration, address: SocketAddr) -> Vec<u8> {
        let mac = self.mac(address, Self::slot(now)).map(|mac| mac.finalize().into_bytes());
        mac.iter().flatten().take(ECHO).copied().collect()
    }

    /// Whether a request carries an Echo value that was made for its address not long ago.
    pub(super) fn is_proven(&self, now: Duration, address: SocketAddr, request: &Message) -> bool {
        let Some(echo) = request.options.first(option::ECHO).filter(|echo| echo.len() == ECHO) else { return false };
        let slot = Self::slot(now);
        let fits = |slot| self.mac(address, slot).is_some_and(|mac| mac.verify_truncated_left(echo).is_ok());
        fits(slot) || slot.checked_sub(1).is_some_and(fits)
    }
}

/// How many bytes may answer so many.
pub(super) const fn budget(datagram: usize) -> usize {
    datagram.saturating_mul(FACTOR)
}

/// Asks for no larger blocks than the budget allows, as if the client had.
pub(super) fn shrink_blocks(request: &mut Message, budget: usize) {
    let room = budget.saturating_sub(OVERHEAD).saturating_sub(request.token.as_bytes().len());
    let szx = (0..=Block::MAX_SZX).rev().find(|&szx| Block { num: 0, more: false, szx }.size() <= room).unwrap_or(0);
    let asked = request.options.uint(option::BLOCK2).map(Block::from_uint);
    let largest = Block { num: 0, more: false, szx: Block::MAX_SZX };
    if let Some(asked) = asked.unwrap_or(Some(largest)) {
        request.options.remove(option::BLOCK2);
        request.options.push_uint(option::BLOCK2, shrink(asked, szx).to_uint());
    }
}

/// Shortens an answer that is over the budget. A successful answer to GET or FETCH becomes a 4.01 that asks for proof of the address
/// by Echo. All others keep their code and lose their payload; a 4.01 gets an Echo value where there is room for it.
pub(super) fn within(mut answer: Message, request: Code, budget: usize, echo: impl FnOnce() -> Vec<u8>) -> Message {
    if answer.encode().len() <= budget {
        return answer;
    }
    if answer.code.is_success() && [Code::GET, Code::FETCH].contains(&request) {
        answer = Message { token: answer.token, ..Message::response(Code::UNAUTHORIZED) };
    }
    answer.payload.clear();
    let words = [option::CONTENT_FORMAT, option::BLOCK2, option::SIZE2, option::ETAG];
    answer.options.retain(|number| !words.contains(&number));
    if answer.code == Code::UNAUTHORIZED {
        answer.options.set(option::ECHO, &echo());
        // A request without token and options leaves no room for that.
        if answer.encode().len() > budget {
            answer.options.remove(option::ECHO);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_coap::Token;

    fn with_echo(value: &[u8]) -> Message {
        let mut request = Message::request(Code::GET);
        request.options.push(option::ECHO, value);
        request
    }

    #[test]
    fn an_echo_proves_one_address_for_some_minutes() {
        let reach = Reach::new([7; 32]);
        let (here, there) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
        let at = Duration::from_secs;
        let value = reach.challenge(at(0), here);
        assert_eq!(value.len(), 8);
        assert!(reach.is_proven(at(0), here, &with_echo(&value)));
        assert!(reach.is_proven(at(255), here, &with_echo(&value)));
        assert!(!reach.is_proven(at(256), here, &with_echo(&value)), "long ago");
        assert!(!reach.is_proven(at(0), there, &with_echo(&value)), "another address");
        assert!(!reach.is_proven(at(0), here, &with_echo(&[0; 8])) && !reach.is_proven(at(0), here, &with_echo(&[])));
        assert!(!reach.is_proven(at(0), here, &with_echo(&value[..7])), "a part of it");
        assert!(!Reach::new([8; 32]).is_proven(at(0), here, &with_echo(&value)), "another server's");
        assert!(!reach.is_proven(at(0), here, &Message::request(Code::GET)));
    }

    #[test]
    fn blocks_shrink_to_the_budget() {
        let asked = |block: Option<u32>, budget| {
            let mut request = Message::request(Code::GET);
            block.into_iter().for_each(|block| request.options.push_uint(option::BLOCK2, block));
            shrink_blocks(&mut request, budget);
            request.options.uint(option::BLOCK2)
        };
        assert_eq!((asked(None, 0), asked(None, 57), asked(None, 58)), (Some(0), Some(0), Some(1)));
        assert_eq!(asked(None, 5_000), Some(6));
        assert_eq!(asked(Some(0x16), 58), Some(0x201), "the same place in smaller blocks");
        let mut long = Message { token: ace_coap::Token::new(&[0; 8]), ..Message::request(Code::GET) };
        shrink_blocks(&mut long, 58);
        assert_eq!(long.options.uint(option::BLOCK2), Some(0), "a token takes room as well");
        assert_eq!(asked(Some(0x10), 5_000), Some(0x10), "smaller ones stay");
        assert_eq!(asked(Some(7), 72), Some(7), "what is no block stays, and is refused");
    }

    #[test]
    fn an_answer_over_the_budget_says_less() {
        let with = |code: Code| {
            let token = Token::new(&[7; 4]);
            let mut answer = Message { token, payload: vec![1; 50], ..Message::response(code) };
            answer.options.push_uint(option::CONTENT_FORMAT, 60);
            answer.options.push_uint(option::BLOCK2, 8);
            answer.options.push_uint(option::MAX_AGE, 0);
            answer
        };
        let length = with(Code::CONTENT).encode().len();
        let sent = |code, request, budget| {
            let answer = within(with(code), request, budget, || vec![9; 8]);
            assert_eq!(answer.token, Token::new(&[7; 4]), "whatever it says, it answers this request");
            (answer.code, answer.payload.len(), answer.options.first(option::ECHO).is_some(), answer.options.len())
        };
        assert_eq!(sent(Code::CONTENT, Code::GET, length), (Code::CONTENT, 50, false, 3), "it fits");
        assert_eq!(sent(Code::CONTENT, Code::GET, length - 1), (Code::UNAUTHORIZED, 0, true, 1));
        assert_eq!(sent(Code::CONTENT, Code::FETCH, 24), (Code::UNAUTHORIZED, 0, true, 1));
        assert_eq!(sent(Code::CHANGED, Code::POST, 0), (Code::CHANGED, 0, false, 1), "it is done");
        assert_eq!(sent(Code::UNAUTHORIZED, Code::POST, 24), (Code::UNAUTHORIZED, 0, true, 2));
        assert_eq!(sent(Code::NOT_FOUND, Code::GET, 0), (Code::NOT_FOUND, 0, false, 1));
    }

    #[test]
    fn message_ids_begin_elsewhere_for_each_address() {
        let reach = Reach::new([7; 32]);
        let ids: std::collections::BTreeSet<u16> =
            (0..100).map(|port| reach.first_id(SocketAddr::from(([127, 0, 0, 1], port)), 1)).collect();
        assert!(ids.len() > 90);
        let here = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_ne!(reach.first_id(here, 1), reach.first_id(here, 2));
    }

    #[test]
    fn where_there_is_no_room_for_an_echo_there_is_none() {
        let refused = |token: &[u8]| Message { token: Token::new(token), ..Message::response(Code::UNAUTHORIZED) };
        let sent = |token: &[u8]| {
            let answer = Message { payload: vec![1; 50], ..refused(token) };
            within(answer, Code::GET, budget(4 + token.len()), || vec![9; 8])
        };
        assert_eq!(sent(&[]), refused(&[]), "12 bytes may answer 4");
        assert!(sent(&[1]).options.has(option::ECHO));
    }
}
