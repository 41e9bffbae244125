//! What must hold, whatever is killed: watched on all that clients get.

use ace_coap::Message;
use ace_coap::numbers::option;
use ace_oscore::{OscoreOption, RequestId};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// What clients were told, and what should not have been.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Associations that were proven.
    pub proven: u64,
    /// First joins.
    pub joins: u64,
    /// Joins of members.
    pub rejoins: u64,
    /// Retrievals of the group's, or the member's own, keys.
    pub retrievals: u64,
    /// Leaves that were acknowledged.
    pub leaves: u64,
    /// Evictions that were acknowledged.
    pub evictions: u64,
    /// Rekeyings that the operator ordered, and that were acknowledged.
    pub rekeyings: u64,
    /// Keys that somebody got who was out, or that stayed in use although somebody was out who has them.
    pub forward: u64,
    /// Requests of which nobody knows what became.
    pub unknown: u64,
    /// Requests that were answered with an Echo first.
    pub echoes: u64,
    /// Messages that were replayed to another process.
    pub replayed: u64,
    /// Things that were acknowledged and are not there.
    pub lost: u64,
    /// Sender IDs that were given twice.
    pub repeated_identifiers: u64,
    /// (key, nonce) pairs that came with two ciphertexts, and replays that were acted on.
    pub repeated_nonces: u64,
    /// Versions that went back.
    pub versions_back: u64,
    /// Starts of the KDC that did not come about.
    pub not_started: u64,
    /// The first of these, in words.
    pub first: Option<String>,
}

impl Counts {
    /// Operations that were acknowledged.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        let of_members = self.joins.saturating_add(self.rejoins).saturating_add(self.leaves);
        self.proven.saturating_add(of_members).saturating_add(self.retrievals)
    }
}

/// A nonce under the key that the KDC has in an association: the request's, or one with a number of the KDC's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Nonce {
    /// The master secret's stand-in: the association's name is given once.
    association: Vec<u8>,
    own: bool,
    number: u64,
}

/// How far the member has come that leaves last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Nobody,
    Chosen,
    Left,
}

/// Gid and Sender ID.
type Identifier = (Vec<u8>, Vec<u8>);

/// Sees all that comes, and says what should not have been.
pub struct Oracle {
    /// Whether two processes serve at once: then what one got and did not act on may be new to the other.
    is_shared: bool,
    counts: RefCell<Counts>,
    /// The encryption log: each nonce, with a hash of what was encrypted under it.
    encryptions: RefCell<HashMap<Nonce, u64>>,
    /// Requests that were acted on, by name of the association and number: with a hash of the first answer.
    acted: RefCell<HashMap<(Vec<u8>, u64), u64>>,
    hasher: RandomState,
    /// Gid and Sender ID, and who got it in which of its attempts.
    identifiers: RefCell<HashMap<Identifier, (u32, u64)>>,
    /// What clients sent lately, and to which process in the row.
    heard: RefCell<VecDeque<(u32, RequestId, Vec<u8>)>>,
    /// The nodes of members, and those of them that were ordered out: with whether that is known to be done.
    nodes: RefCell<BTreeMap<u32, String>>,
    ordered_out: RefCell<HashMap<u32, bool>>,
    /// The newest version that somebody has who is out.
    held_outside: Cell<i64>,
    /// The member that leaves when all others finish, and whether it may.
    last: Cell<Last>,
    lets_leave: Cell<bool>,
    process: Cell<u32>,
    num: Cell<i64>,
    stopped: Cell<bool>,
}

impl Oracle {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(is_shared: bool) -> Self {
        Self {
            is_shared,
            counts: RefCell::default(),
            encryptions: RefCell::default(),
            acted: RefCell::default(),
            hasher: RandomState::new(),
            identifiers: RefCell::default(),
            nodes: RefCell::default(),
            ordered_out: RefCell::default(),
            held_outside: Cell::new(-1),
            last: Cell::default(),
            lets_leave: Cell::default(),
            heard: RefCell::default(),
            process: Cell::default(),
            num: Cell::default(),
            stopped: Cell::default(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.borrow().first.is_none()
    }

    /// Whether two processes serve at once.
    pub(super) const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Clients finish now.
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get() || !self.is_clean()
    }

    pub(super) fn count(&self, what: impl FnOnce(&mut Counts) -> &mut u64) {
        *what(&mut self.counts.borrow_mut()) += 1;
    }

    /// A client has sent this. Whoever listens has it.
    pub(super) fn heard(&self, request: RequestId, datagram: &[u8]) {
        let mut heard = self.heard.borrow_mut();
        if heard.len() >= HEARD {
            heard.pop_front();
        }
        heard.push_back((self.process.get(), request, datagram.to_vec()));
    }

    /// The process is about to be killed.
    pub(super) fn next_process(&self) {
        self.process.set(self.process.get() + 1);
    }

    /// What was sent to former processes.
    pub(super) fn heard_before(&self) -> Vec<(RequestId, Vec<u8>)> {
        let heard = self.heard.borrow();
        let before = heard.iter().filter(|(process, ..)| *process < self.process.get());
        before.map(|(_, request, datagram)| (request.clone(), datagram.clone())).collect()
    }

    fn wrong(&self, what: impl FnOnce(&mut Counts) -> &mut u64, words: String) {
        let mut counts = self.counts.borrow_mut();
        *what(&mut counts) += 1;
        counts.first.get_or_insert(words);
    }

    pub(super) fn lost(&self, client: u32, words: &str) {
        self.wrong(|counts| &mut counts.lost, format!("client {client}: {words}"));
    }

    /// A client is a member with this node, or is none as far as it knows.
    pub(super) fn member(&self, client: u32, node: Option<&str>) {
        let mut nodes = self.nodes.borrow_mut();
        match node {
            Some(node) => nodes.insert(client, node.to_owned()),
            None => nodes.remove(&client),
        };
    }

    /// The member that comes behind so many others.
    pub(super) fn any_member(&self, number: u64) -> Option<(u32, String)> {
        let nodes = self.nodes.borrow();
        let count = u64::try_from(nodes.len()).ok()?;
        let at = usize::try_from(number.checked_rem(count)?).ok()?;
        nodes.iter().nth(at).map(|(client, node)| (*client, node.clone()))
    }

    /// The operator has ordered that a client is put out; that is known to be done, or not.
    pub(super) fn ordered_out(&self, client: u32, is_done: bool) {
        self.ordered_out.borrow_mut().insert(client, is_done);
    }

    /// Whether the operator has ordered that a client is put out, and where that is so, whether it is known to be done.
    pub(super) fn is_ordered_out(&self, client: u32) -> Option<bool> {
        self.ordered_out.borrow().get(&client).copied()
    }

    /// Somebody is out who has this version.
    pub(super) fn out_with(&self, num: i64) {
        self.held_outside.set(self.held_outside.get().max(num));
    }

    /// The newest version that somebody has who is out.
    pub(super) fn held_outside(&self) -> i64 {
        self.held_outside.get()
    }

    /// Whether this is the one member that leaves when all others finish: what it has must give way to another version.
    pub(super) fn leaves_last(&self) -> bool {
        let is_first = self.last.get() == Last::Nobody;
        if is_first {
            self.last.set(Last::Chosen);
        }
        is_first
    }

    /// The last one may leave now.
    pub(super) fn let_last_leave(&self) {
        self.lets_leave.set(true);
    }

    /// Whether it may.
    pub(super) fn lets_last_leave(&self) -> bool {
        self.lets_leave.get()
    }

    /// It has left.
    pub(super) fn last_has_left(&self) {
        self.last.set(Last::Left);
    }

    /// Whether it has.
    pub(super) fn has_last_left(&self) -> bool {
        self.last.get() == Last::Left
    }

    /// The KDC did not start again.
    pub(super) fn does_not_start(&self) {
        self.wrong(|counts| &mut counts.not_started, "the KDC does not start".into());
    }

    /// Somebody can read on who is out.
    pub(super) fn reads_on(&self, client: u32, words: &str) {
        self.wrong(|counts| &mut counts.forward, format!("client {client}: {words}"));
    }

    /// A protected response to this request came in. `replayed`: the request was one that another process had got.
    pub(super) fn encrypted(&self, request: &RequestId, response: &Message, replayed: bool) {
        let Some(Ok(value)) = response.options.first(option::OSCORE).map(OscoreOption::decode) else { return };
        let (own, number) = match value.partial_iv {
            Some(number) => (true, number.number()),
            None => (false, request.partial_iv.number()),
        };
        let nonce = Nonce { association: request.kid.clone(), own, number };
        let hash = self.hasher.hash_one(&response.payload);
        let known = *self.encryptions.borrow_mut().entry(nonce.clone()).or_insert(hash);
        if known != hash {
            return self.wrong(|counts| &mut counts.repeated_nonces, format!("two ciphertexts under {nonce:?}"));
        }
        let has_acted = !own || response.payload.len() > LONGEST_CHALLENGE;
        let name = (request.kid.clone(), request.partial_iv.number());
        // The same bytes again are what was sent before: de-duplication has resent them, and nobody has acted.
        let before = self.acted.borrow().get(&name).copied().filter(|before| *before != hash);
        if replayed && has_acted && (!self.is_shared || before.is_some()) {
            let words = format!("a replay of request {number} was answered as if it were new");
            return self.wrong(|counts| &mut counts.repeated_nonces, words);
        }
        if has_acted {
            self.acted.borrow_mut().entry(name).or_insert(hash);
        }
    }

    /// A client has a Sender ID, from this attempt of its joins.
    pub(super) fn identifier(&self, gid: &[u8], id: &[u8], client: u32, attempt: u64) {
        let holder = (client, attempt);
        let mut identifiers = self.identifiers.borrow_mut();
        let known = *identifiers.entry((gid.to_vec(), id.to_vec())).or_insert(holder);
        if known != holder {
            let words =
                format!("Sender ID {id:02x?} of client {}, attempt {}, came again to {holder:?}", known.0, known.1);
            self.wrong(|counts| &mut counts.repeated_identifiers, words);
        }
    }

    /// The highest version that anybody was told of.
    pub(super) fn version(&self) -> i64 {
        self.num.get()
    }

    /// An answer told of a version; before it was asked for, the highest was `before`.
    pub(super) fn told_version(&self, before: i64, num: i64) {
        if num < before {
            self.wrong(|counts| &mut counts.versions_back, format!("version {num} after {before}"));
        }
        self.num.set(self.num.get().max(num));
    }
}

/// How many messages are kept for replays.
const HEARD: usize = 4_096;
/// A challenge has a code, an Echo of eight bytes and a tag: an answer to a replay is no longer.
const LONGEST_CHALLENGE: usize = 48;
