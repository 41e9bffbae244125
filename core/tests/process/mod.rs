//! A KDC process whose commits happen when the test says so.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::delivery::Delivered;
use ace_groupcomm::engine::{Answered, Completion, Effect, Limits, Machine, Reply};
use ace_groupcomm::kdc::{Kdc, KdcConfig};
use ace_groupcomm::testkit::build::{TestClient, join_post, token, token_post_with};
use ace_groupcomm::testkit::{TestStore, build, desk, toy};
use std::sync::Arc;

use ace_groupcomm::traits::crypto::CryptoProvider;
use ace_groupcomm::traits::storage::{CommitOutcome, Storage, Txn};
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm::{Caller, Now, Response};
use ace_groupcomm_messages::TokenTransferResponse;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use std::time::Duration;

pub(crate) struct Process {
    pub(crate) kdc: Kdc,
    pub(crate) store: TestStore,
    pub(crate) now: Now,
    pub(crate) rng: ChaCha12Rng,
    /// Commits that have not happened yet.
    pub(crate) held: Vec<(ace_groupcomm::engine::OpId, Txn)>,
    pub(crate) answers: Vec<Response>,
}

impl Process {
    pub(crate) fn new(store: &TestStore, number: u8) -> Self {
        Self::with(store, number, Limits::default())
    }

    pub(crate) fn with(store: &TestStore, number: u8, limits: Limits) -> Self {
        let config = KdcConfig { limits, ..desk::config(&["g1"]) };
        let kdc =
            Kdc::new(config, &toy::registry(), Box::new(build::validator(&["g1"])), store.sharing(), Arc::new(AwsLc))
                .unwrap();
        let (now, rng) = (Now::new(1_000, Duration::from_secs(1)), ChaCha12Rng::seed_from_u64(u64::from(number)));
        let mut process = Self { kdc, store: store.clone(), now, rng, held: Vec::new(), answers: Vec::new() };
        let mut out = Vec::new();
        process.kdc.start(process.now, &mut process.rng, &mut out);
        process.run(out);
        process.commit_all();
        // What the start goes on with is due at once.
        while !process.kdc.is_ready() && process.kdc.next_timeout(process.now).is_some_and(|at| at <= process.now.mono)
        {
            process.pass(Duration::ZERO);
            process.commit_all();
        }
        process
    }

    /// Does all that is asked for, except commits.
    pub(crate) fn run(&mut self, mut out: Vec<Effect<AssociationNotice>>) {
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
                    Effect::Ask(op, ..) => Completion::Answered(op, Answered::Failed),
                    Effect::Commit(op, txn) => {
                        self.held.push((op, txn));
                        continue;
                    }
                    Effect::Answer(_, durable) => {
                        self.answers.push(durable.into_inner());
                        continue;
                    }
                    Effect::Deliver(op, _) => Completion::Delivered(op, Delivered::NotSent),
                    Effect::Report(..) | Effect::Notice(_) => continue,
                };
                self.kdc.complete(self.now, done, &mut out);
            }
        }
    }

    /// The commits that are held back happen. Returns how they ended.
    pub(crate) fn commit(&mut self) -> Vec<bool> {
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

    pub(crate) fn commit_all(&mut self) {
        while !self.held.is_empty() {
            self.commit();
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        let mut out = Vec::new();
        self.kdc.timeout(self.now, &mut self.rng, &mut out);
        self.run(out);
    }

    pub(crate) fn ask(&mut self, caller: &Caller, request: ace_groupcomm::Request) {
        let mut out = Vec::new();
        if let Reply::Now(durable) = self.kdc.request(self.now, caller.clone(), request, &mut self.rng, &mut out) {
            self.answers.push(durable.into_inner());
        }
        self.run(out);
    }

    /// A client that has shown its token, and not joined yet.
    pub(crate) fn client(&mut self, number: u16) -> (TestClient, Caller, Vec<u8>) {
        let client = TestClient::new(&AwsLc, number).unwrap();
        let bytes = token(1, &client.claims(&[("g1", 1)], 2_000_000));
        self.ask(&Caller::anonymous(), token_post_with(&bytes, &number.to_be_bytes()));
        let answer = TokenTransferResponse::decode(&self.answers.pop().unwrap().payload).unwrap();
        let caller = Caller::peer(answer.server_recipient_id.unwrap());
        self.ask(&caller, build::group_request(ace_groupcomm::Method::Get, "g1", &["num"]));
        self.commit_all();
        self.answers.clear();
        (client, caller, answer.kdcchallenge.unwrap())
    }

    pub(crate) fn join(&mut self, (client, caller, challenge): &(TestClient, Caller, Vec<u8>)) {
        self.ask(caller, join_post("g1", &client.join("g1", 1, challenge, &[7; 8])));
    }
}
