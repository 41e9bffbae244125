//! Token posts and proofs of others than the owner: a listener who replays, a flood, a peer that proves falsely.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::kdc::{KdcConfig, PendingLimits, PostLimits};
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token, token_post_with};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::crypto::CryptoJob;
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Endpoint, Method, Response, Status};
use ace_groupcomm_messages::{JoinRequest, TokenTransferResponse};
use std::time::Duration;

const LATER: u64 = 2_000_000;

fn desk() -> Desk {
    Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), desk::config(&["g1"])).unwrap()
}

fn at(host: u8, proven: bool) -> Caller {
    Caller::Anonymous(Some(Endpoint::new(vec![host], proven)))
}

/// Posts a token as a client does: where it is asked for a proof of its address, it gives one.
fn post(desk: &mut Desk, host: u8, token: &[u8], nonce: u8) -> Response {
    let request = token_post_with(token, &[nonce; 8]);
    let answer = desk.ask(&at(host, false), request.clone());
    if answer.asks_for_proof {
        assert_eq!(answer.status, Status::Unauthorized);
        return desk.ask(&at(host, true), request);
    }
    answer
}

fn association(answer: &Response) -> Caller {
    assert_eq!(answer.status, Status::Created);
    Caller::peer(TokenTransferResponse::decode(&answer.payload).unwrap().server_recipient_id.unwrap())
}

fn is_live(desk: &mut Desk, caller: &Caller) -> bool {
    // Its client is no member.
    desk.ask(caller, group_request(Method::Get, "g1", &["num"])).status == Status::Forbidden
}

#[test]
fn a_listener_who_replays_a_post_does_not_keep_its_client_out() {
    for proves in [false, true] {
        let mut desk = desk();
        let client = TestClient::new(&AwsLc, 1).unwrap();
        let (old, new) =
            (token(1, &client.claims(&[("g1", 1)], LATER)), token(1, &client.claims(&[("g1", 1)], LATER + 1)));
        // The listener is first, and posts what it has heard as often as it may, from three hosts.
        let mut taken = 0;
        for nonce in 0..90 {
            let request = token_post_with(&old, &[nonce; 8]);
            taken += u32::from(desk.ask(&at(90 + nonce % 3, proves), request).status == Status::Created);
        }
        assert_eq!((taken >= 3, desk.kdc.pending()), (true, if proves { 3 } else { 4 }));
        // Its client posts the token that everybody has seen, and one that nobody has.
        let with_old = association(&post(&mut desk, 1, &old, 100));
        let with_new = association(&post(&mut desk, 1, &new, 101));
        assert!(is_live(&mut desk, &with_old) && is_live(&mut desk, &with_new));
    }
}

#[test]
fn a_host_that_has_proven_its_address_has_one_place_for_a_token() {
    let mut desk = desk();
    let bytes = token(1, &TestClient::new(&AwsLc, 1).unwrap().claims(&[("g1", 1)], LATER));
    let callers: Vec<Caller> =
        (0..10).map(|nonce| association(&desk.ask(&at(1, true), token_post_with(&bytes, &[nonce; 8])))).collect();
    assert_eq!(desk.kdc.pending(), 1);
    assert!(is_live(&mut desk, &callers[9]));
    let unauthorized = desk.ask(&callers[8], group_request(Method::Get, "g1", &["num"]));
    assert_eq!(unauthorized.status, Status::Unauthorized, "it has given way");
}

// Covers: TH-6-01/rate
// Covers: AF-5.10.1.2-02
#[test]
fn a_flood_of_posts_meets_a_rate_before_any_token_is_looked_at() {
    let posts = PostLimits { unproven: 50, proven: 5 };
    let config = KdcConfig { posts, ..desk::config(&["g1"]) };
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config).unwrap();
    let bounded = desk.kdc.stats().bounded;
    let answers: Vec<Status> = (0..=255)
        .map(|nonce| desk.ask(&at(nonce, false), token_post_with(b"no token at all", &[nonce; 8])).status)
        .collect();
    // What is looked at is malformed; the rest is not looked at.
    let count = |status| answers.iter().filter(|other| **other == status).count();
    assert_eq!((count(Status::BadRequest), count(Status::Unauthorized)), (100, 156));
    assert_eq!(desk.kdc.stats().bounded - bounded, 156);
    // An honest client proves its address, and is served.
    let bytes = token(1, &TestClient::new(&AwsLc, 1).unwrap().claims(&[("g1", 1)], LATER));
    let caller = association(&post(&mut desk, 1, &bytes, 1));
    assert!(is_live(&mut desk, &caller));
    // A host that floods with a proof meets a rate of its own, and those who are known none.
    let answers: Vec<Status> =
        (0..20).map(|_| desk.ask(&at(66, true), token_post_with(b"no token", &[1; 8])).status).collect();
    assert_eq!(answers.iter().filter(|status| **status == Status::TooManyRequests).count(), 10);
    assert!((0..1_000).all(|_| is_live(&mut desk, &caller)));
}

#[test]
fn a_flood_of_good_tokens_writes_nothing_stays_within_its_bound_and_does_not_stop_those_who_are_known() {
    let config = desk::config(&["g1"]);
    let pending = PendingLimits { total: 50, ..config.pending };
    let posts = PostLimits { unproven: u32::MAX, proven: u32::MAX };
    let config = KdcConfig { pending, posts, ..config };
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config).unwrap();
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let known = association(&post(&mut desk, 1, &token(1, &client.claims(&[("g1", 1)], LATER)), 1));
    assert!(is_live(&mut desk, &known));
    let before = desk.store.dump();
    let clients: Vec<TestClient> = (2..42).map(|number| TestClient::new(&AwsLc, number).unwrap()).collect();
    let mut refused = 0;
    for round in 0..40_u8 {
        for client in &clients {
            let bytes = token(1, &client.claims(&[("g1", 1)], LATER + u64::from(round)));
            let answer = desk.ask(&at(round, round % 2 == 0), token_post_with(&bytes, &[round; 8]));
            refused += u32::from(answer.status != Status::Created);
            assert!(desk.kdc.pending() <= 50);
        }
        assert!(is_live(&mut desk, &known), "round {round}");
    }
    assert!(refused > 500, "{refused}");
    assert_eq!(desk.store.dump(), before, "no post has written anything");
}

// Covers: TH-6-01/memory-only, TH-6-01/next-turn
#[test]
fn a_million_hostile_posts_write_nothing_and_a_known_peer_is_served_in_the_turn_in_which_it_asks() {
    let mut desk = desk();
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let known = association(&post(&mut desk, 1, &token(1, &client.claims(&[("g1", 1)], LATER)), 1));
    assert!(is_live(&mut desk, &known));
    let before = desk.store.dump();
    let captured = token(1, &TestClient::new(&AwsLc, 2).unwrap().claims(&[("g1", 1)], LATER));
    let hostile = (at(66, false), token_post_with(&captured, &[1; 8]));
    let asks = (known, group_request(Method::Get, "g1", &["num"]));
    for turn in 0..1_000_u32 {
        // Half of all turns come later, so that the rate lets more of them through to the token.
        desk.pass(Duration::from_millis(u64::from(turn % 2)));
        let mut asked = vec![hostile.clone(); 1_000];
        for (number, (_, request)) in asked.iter_mut().enumerate() {
            if number % 100 == 0 {
                *request = token_post_with(&captured, &(u64::from(turn) << 16 | number as u64).to_be_bytes());
            }
        }
        asked.push(asks.clone());
        let answers = desk.ask_all(asked);
        assert_eq!(answers.last().unwrap().status, Status::Forbidden, "turn {turn}: it is known, and no member");
        assert!(desk.kdc.pending() <= 4);
    }
    assert_eq!(desk.store.dump(), before, "no post has written anything");
}

// Covers: TH-6-04/slowed-peer, TH-6-04/false-signatures
#[test]
fn a_peer_whose_proofs_fail_is_slowed_and_costs_others_little() {
    let mut desk = desk();
    let (falsifier, honest) = (TestClient::new(&AwsLc, 1).unwrap(), 2..92_u16);
    let bytes = token(1, &falsifier.claims(&[("g1", 1)], LATER));
    let (liar, challenge) = desk.post_token(&bytes).unwrap();
    desk.jobs.clear();
    let false_proof = |id: u16| {
        let join = falsifier.join("g1", 1, &challenge, &id.to_be_bytes());
        join_post("g1", &JoinRequest { client_cred_verify: Some(vec![7; 64]), ..join })
    };
    let mut slowed = 0;
    for number in honest.clone() {
        let client = TestClient::new(&AwsLc, number).unwrap();
        let bytes = token(1, &client.claims(&[("g1", 1)], LATER));
        let (caller, challenge) = desk.post_token(&bytes).unwrap();
        let join = desk.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[7; 8])));
        assert_eq!(join.status, Status::Created);
        // One in ten is false; it comes at once, and again.
        if number % 9 == 0 {
            for again in 0..5 {
                let answer = desk.ask(&liar, false_proof(number * 10 + again));
                slowed += u32::from(answer.status == Status::TooManyRequests && answer.max_age.is_some());
            }
        }
    }
    let verified = desk.jobs.iter().filter(|job| matches!(job, CryptoJob::Verify { .. })).count();
    assert!(verified < 2 * honest.len(), "{verified} verifications for {} honest joins", honest.len());
    assert_eq!((verified - honest.len(), slowed), (2, 48), "two in all: the second one at once is slowed");
    // It is not shut out: after its wait it may prove that it is honest now.
    desk.now = desk.now.plus(Duration::from_secs(2));
    let join = desk.ask(&liar, join_post("g1", &falsifier.join("g1", 1, &challenge, &[9; 8])));
    assert_eq!(join.status, Status::Created);
}
