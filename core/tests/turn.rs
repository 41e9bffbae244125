//! Two engines over one store, of which one is always too late: it claims the lane's turn, and the other lets it go
//! first, for a while.

use ace_groupcomm::engine::{Completion, Effect, Limits, Machine, Reply};
use ace_groupcomm::kdc::{Kdc, KdcConfig};
use ace_groupcomm::testkit::build::{Client, join_post, token, token_post_with};
use ace_groupcomm::testkit::{TestStore, build, desk, toy};

use ace_groupcomm::traits::crypto::{AwsLc, CryptoProvider};
use ace_groupcomm::traits::storage::{CommitOutcome, Sharing, Txn};
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm::{Caller, Now, Response, Status};
use ace_groupcomm_messages::TokenTransferResponse;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use std::time::Duration;

struct Process {
    kdc: Kdc,
    store: TestStore,
    now: Now,
    rng: ChaCha12Rng,
    /// Commits that have not happened yet.
    held: Vec<(ace_groupcomm::engine::OpId, Txn)>,
    answers: Vec<Response>,
}

impl Process {
    fn new(store: &TestStore, number: u8) -> Self {
        Self::with(store, number, Limits::default())
    }

    fn with(store: &TestStore, number: u8, limits: Limits) -> Self {
        let config = KdcConfig { process: number, limits, ..desk::config(&["g1"]) };
        let kdc = Kdc::new(config, &toy::registry(), Box::new(build::validator(&["g1"])), Sharing::Shared).unwrap();
        let (now, rng) = (Now::new(1_000, Duration::from_secs(1)), ChaCha12Rng::seed_from_u64(u64::from(number)));
        let mut process = Self { kdc, store: store.clone(), now, rng, held: Vec::new(), answers: Vec::new() };
        let mut out = Vec::new();
        process.kdc.start(process.now, &mut process.rng, &mut out);
        process.run(out);
        process.commit_all();
        process
    }

    /// Does all that is asked for, except commits.
    fn run(&mut self, mut out: Vec<Effect<AssociationNotice>>) {
        loop {
            self.kdc.flush(self.now, &mut out);
            if out.is_empty() {
                return;
            }
            for effect in std::mem::take(&mut out) {
                let done = match effect {
                    Effect::Load(op, keys) => Completion::Loaded(op, self.store.read_now(&keys)),
                    Effect::Scan(op, prefix, after, limit) => {
                        Completion::Scanned(op, self.store.scan_now(&prefix, after.as_ref(), limit))
                    }
                    Effect::Crypto(op, jobs) => Completion::Crypto(op, AwsLc.run(&jobs)),
                    Effect::Commit(op, txn) => {
                        self.held.push((op, txn));
                        continue;
                    }
                    Effect::Answer(_, durable) => {
                        self.answers.push(durable.into_inner());
                        continue;
                    }
                    Effect::Notice(_) => continue,
                };
                self.kdc.complete(self.now, done, &mut out);
            }
        }
    }

    /// The commits that are held back happen; answers how they ended.
    fn commit(&mut self) -> Vec<bool> {
        let mut ended = Vec::new();
        for (op, txn) in std::mem::take(&mut self.held) {
            let outcome = self.store.commit_now(txn);
            ended.push(matches!(outcome, CommitOutcome::Done(_)));
            let mut out = Vec::new();
            self.kdc.complete(self.now, Completion::Committed(op, outcome), &mut out);
            self.run(out);
        }
        ended
    }

    fn commit_all(&mut self) {
        while !self.held.is_empty() {
            self.commit();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        let mut out = Vec::new();
        self.kdc.timeout(self.now, &mut self.rng, &mut out);
        self.run(out);
    }

    fn ask(&mut self, caller: &Caller, request: ace_groupcomm::Request) {
        let mut out = Vec::new();
        if let Reply::Now(durable) = self.kdc.request(self.now, caller.clone(), request, &mut self.rng, &mut out) {
            self.answers.push(durable.into_inner());
        }
        self.run(out);
    }

    /// A client that has shown its token, and not joined yet.
    fn client(&mut self, number: u16) -> (Client, Caller, Vec<u8>) {
        let client = Client::new(number).unwrap();
        let bytes = token(1, &client.claims(&[("g1", 1)], 2_000_000));
        self.ask(&Caller::Anonymous, token_post_with(&bytes, &number.to_be_bytes()));
        let answer = TokenTransferResponse::decode(&self.answers.pop().unwrap().payload).unwrap();
        let caller = Caller::peer(&answer.server_recipient_id.unwrap());
        self.ask(&caller, build::group_request(ace_groupcomm::Method::Get, "g1", &["num"]));
        self.commit_all();
        self.answers.clear();
        (client, caller, answer.kdcchallenge.unwrap())
    }

    fn join(&mut self, (client, caller, challenge): &(Client, Caller, Vec<u8>)) {
        self.ask(caller, join_post("g1", &client.join("g1", 1, challenge, &[7; 8])));
    }
}

#[test]
fn who_loses_again_and_again_claims_the_turn() {
    let store = TestStore::new(Sharing::Shared);
    let (mut slow, mut fast) = (Process::new(&store, 1), Process::new(&store, 2));
    let unlucky = slow.client(1);
    slow.join(&unlucky);
    let lucky: Vec<_> = (2..=5).map(|number| fast.client(number)).collect();
    for client in &lucky[..3] {
        assert_eq!(slow.held.len(), 1);
        fast.join(client);
        fast.commit_all();
        assert_eq!(fast.answers.pop().unwrap().status, Status::Created);
        assert_eq!(slow.commit(), [false], "somebody else was faster");
    }
    // The claim expects nothing that the others change.
    fast.join(&lucky[3]);
    assert_eq!(slow.commit(), [true]);
    assert_eq!(fast.commit(), [false]);
    assert!(fast.held.is_empty() && fast.answers.is_empty(), "it has seen the claim, and holds back");
    assert_eq!(slow.commit(), [true]);
    assert_eq!(slow.answers.pop().unwrap().status, Status::Created);
    // It looks every now and then whether the claim is gone.
    assert!(fast.kdc.next_timeout(fast.now).is_some_and(|at| at <= fast.now.mono + Duration::from_millis(10)));
    fast.pass(Duration::from_millis(10));
    fast.commit_all();
    assert_eq!(fast.answers.pop().unwrap().status, Status::Created);
    assert!(store.dump().iter().all(|(key, _)| !key.as_bytes().starts_with(b"turn/")), "the claim is gone");
}

#[test]
fn who_never_wins_is_told_so() {
    let store = TestStore::new(Sharing::Shared);
    let limits = Limits { conflicts: 2, ..Limits::default() };
    let (mut slow, mut fast) = (Process::with(&store, 1, limits), Process::new(&store, 2));
    let unlucky = slow.client(1);
    let lucky: Vec<_> = (2..=4).map(|number| fast.client(number)).collect();
    slow.join(&unlucky);
    for client in &lucky {
        assert!(slow.answers.is_empty());
        fast.join(client);
        fast.commit_all();
        assert_eq!(slow.commit(), [false]);
    }
    let answer = slow.answers.pop().unwrap();
    assert_eq!((answer.status, answer.max_age), (Status::ServiceUnavailable, Some(1)));
    assert_eq!((slow.kdc.stats().conflicts, slow.kdc.lanes(), slow.kdc.waiting()), (3, 0, 0));
}

#[test]
fn who_claims_and_dies_holds_others_back_for_a_moment() {
    let store = TestStore::new(Sharing::Shared);
    let (mut slow, mut fast) = (Process::new(&store, 1), Process::new(&store, 2));
    let unlucky = slow.client(1);
    slow.join(&unlucky);
    let lucky: Vec<_> = (2..=5).map(|number| fast.client(number)).collect();
    for client in &lucky[..3] {
        fast.join(client);
        fast.commit_all();
        slow.commit();
    }
    assert_eq!(slow.commit(), [true]);
    drop(slow);
    fast.answers.clear();
    fast.join(&lucky[3]);
    fast.commit();
    for _ in 0..24 {
        fast.pass(Duration::from_millis(10));
        assert!(fast.held.is_empty() && fast.answers.is_empty());
    }
    fast.pass(Duration::from_millis(10));
    fast.commit_all();
    assert_eq!(fast.answers.pop().unwrap().status, Status::Created);
    assert!(store.dump().iter().all(|(key, _)| !key.as_bytes().starts_with(b"turn/")));
}
