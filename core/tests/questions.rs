//! A validator that asks a service: its answer comes late, never, twice, or is outdated.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::engine::{Answered, Effect, Machine, Question, Reply};
use ace_groupcomm::testkit::build::{AUDIENCE, TestClient, group_request, token, token_post_with, validator};
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::token::{CwtValidator, TokenRefusal, ValidToken};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::traits::token::TokenValidator;
use ace_groupcomm::{Caller, Endpoint, Method, Now, Response, Secret, Status, Stop, UnixTime, View};
use ace_groupcomm_messages::{Claims, TokenTransferResponse};
use std::time::Duration;

const LATER: u64 = 2_000_000;

/// Takes reference tokens: a service says what they mean.
struct Introspection(CwtValidator);

impl TokenValidator for Introspection {
    fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
        let answer = view.asked(Question { service: "introspection", content: token.to_vec() })?;
        let claims = Claims::decode(answer.expose()).map_err(|_| TokenRefusal::Unverified)?;
        Ok(ValidToken::of_claims("as1", AUDIENCE, token, claims, now, self.leeway())?.confidential())
    }

    fn leeway(&self) -> Duration {
        self.0.leeway()
    }
}

fn new() -> Desk {
    let store = TestStore::new(Sharing::Exclusive);
    let validator = Box::new(Introspection(validator(&["g1"])));
    let now = Now::new(1_000_000, Duration::from_secs(1));
    Desk::start(&AwsLc, store, desk::config(&["g1"]), &toy::registry(), validator, now).unwrap()
}

/// What the service knows of the token of a client.
fn claims(number: u16) -> Secret {
    let client = TestClient::new(&AwsLc, number).unwrap();
    Secret::new(client.claims(&[("g1", 1)], LATER).encode())
}

fn known(number: u16, seconds: u64) -> Answered {
    Answered::Known { content: claims(number), good_for: Duration::from_secs(seconds) }
}

fn at(host: u8) -> Caller {
    Caller::Anonymous(Some(Endpoint::new(vec![host], true)))
}

fn post(token: &[u8], nonce: u8) -> ace_groupcomm::Request {
    token_post_with(token, &[nonce; 8])
}

fn association(answer: &Response) -> Caller {
    assert_eq!(answer.status, Status::Created, "{answer:?}");
    Caller::peer(TokenTransferResponse::decode(&answer.payload).unwrap().server_recipient_id.unwrap())
}

// Covers: AF-5.9-02, AF-5.10.1-10
#[test]
fn a_post_waits_for_the_service_and_goes_on_with_its_answer() {
    let mut desk = new();
    let ticket = desk.begin(&at(1), post(b"reference", 1));
    assert_eq!(desk.answer_to(ticket), None);
    let (op, question) = desk.questions[0].clone();
    assert_eq!((question.service, question.content.as_slice()), ("introspection", &b"reference"[..]));
    assert!(!format!("{question:?}").contains("114, 101"), "a token is shown to nobody");
    // Others are served meanwhile.
    assert_eq!(desk.ask(&at(2), group_request(Method::Get, "g1", &["num"])).status, Status::Unauthorized);
    desk.answer(op, known(1, 5));
    let caller = association(&desk.answer_to(ticket).unwrap());
    assert_eq!(desk.ask(&caller, group_request(Method::Get, "g1", &["num"])).status, Status::Forbidden, "no member");
    assert_eq!(desk.questions.len(), 1);
}

#[test]
fn an_answer_that_does_not_come_is_5_03_and_later_it_changes_nothing() {
    let mut desk = new();
    let ticket = desk.begin(&at(1), post(b"reference", 1));
    let (op, _) = desk.questions[0].clone();
    assert!(desk.kdc.next_timeout(desk.now).is_some_and(|at| at <= Duration::from_secs(11)));
    desk.pass(Duration::from_secs(9));
    assert_eq!(desk.answer_to(ticket), None);
    desk.pass(Duration::from_secs(1));
    let given_up = desk.answer_to(ticket).unwrap();
    assert_eq!((given_up.status, given_up.max_age), (Status::ServiceUnavailable, Some(5)));
    desk.answer(op, known(1, 5));
    assert!(desk.notices.is_empty(), "nobody is let in by an answer that came too late");
}

#[test]
fn a_second_answer_to_one_question_changes_nothing() {
    let mut desk = new();
    let ticket = desk.begin(&at(1), post(b"reference", 1));
    let (op, _) = desk.questions[0].clone();
    desk.answer(op, Answered::Failed);
    assert_eq!(desk.answer_to(ticket).unwrap().status, Status::ServiceUnavailable);
    desk.answer(op, known(1, 5));
    assert!(desk.notices.is_empty());
    // Whoever asks later has it asked anew.
    desk.begin(&at(1), post(b"reference", 2));
    assert_eq!(desk.questions.len(), 2);
}

#[test]
fn what_is_outdated_is_asked_for_anew_and_not_for_ever() {
    let mut desk = new();
    let ticket = desk.begin(&at(1), post(b"reference", 1));
    desk.answer(desk.questions[0].0, known(1, 0));
    assert_eq!((desk.answer_to(ticket), desk.questions.len()), (None, 2));
    desk.answer(desk.questions[1].0, known(1, 0));
    let refused = desk.answer_to(ticket).unwrap();
    assert_eq!((refused.status, desk.questions.len()), (Status::ServiceUnavailable, 2));
    // An answer is for the request that waited for it: the next one has it asked again, however long it was good for.
    let ticket = desk.begin(&at(1), post(b"reference", 2));
    desk.answer(desk.questions[2].0, known(1, 1_000));
    association(&desk.answer_to(ticket).unwrap());
    desk.begin(&at(1), post(b"reference", 3));
    assert_eq!(desk.questions.len(), 4);
}

#[test]
fn the_same_question_is_asked_once_for_all_who_wait() {
    let mut desk = new();
    let tickets: Vec<_> = (1..=4).map(|host| desk.begin(&at(host), post(b"reference", host))).collect();
    assert_eq!(desk.questions.len(), 1);
    desk.answer(desk.questions[0].0, known(1, 5));
    for ticket in tickets {
        association(&desk.answer_to(ticket).unwrap());
    }
}

#[test]
fn questions_under_way_have_bounds_of_an_address_and_in_all() {
    let mut desk = new();
    for number in 0..8_u8 {
        desk.begin(&at(1), post(&[number], number));
    }
    let refused = desk.begin(&at(1), post(b"one more", 9));
    let refused = desk.answer_to(refused).unwrap();
    assert_eq!((refused.status, refused.max_age), (Status::ServiceUnavailable, Some(2)));
    assert_eq!(desk.questions.len(), 8);
    // One that is under way already costs nothing, and others have their own share.
    let same = desk.begin(&at(1), post(&[3], 10));
    let other = desk.begin(&at(2), post(b"one more", 9));
    assert_eq!((desk.answer_to(same), desk.answer_to(other), desk.questions.len()), (None, None, 9));
    // An answer makes room.
    desk.answer(desk.questions[0].0, Answered::Failed);
    desk.begin(&at(1), post(b"another", 11));
    assert_eq!(desk.questions.len(), 10);
    let mut config = desk::config(&["g1"]);
    config.limits.questions = 3;
    let (store, now) = (TestStore::new(Sharing::Exclusive), Now::new(1_000_000, Duration::from_secs(1)));
    let validator = Box::new(Introspection(validator(&["g1"])));
    let mut desk = Desk::start(&AwsLc, store, config, &toy::registry(), validator, now).unwrap();
    for host in 1..=4 {
        desk.begin(&at(host), post(&[host], host));
    }
    assert_eq!(desk.questions.len(), 3);
}

// Covers: AF-5.10.1-10
#[test]
fn a_service_that_says_no_is_believed() {
    let mut desk = new();
    let ticket = desk.begin(&at(1), post(b"reference", 1));
    let said = Answered::Known { content: Secret::new(b"inactive".to_vec()), good_for: Duration::from_secs(5) };
    desk.answer(desk.questions[0].0, said);
    assert_eq!(desk.answer_to(ticket).unwrap().status, Status::Unauthorized);
}

#[test]
fn addresses_that_have_proven_nothing_have_a_share_of_the_questions() {
    let mut config = desk::config(&["g1"]);
    config.limits.questions = 12;
    let (store, now) = (TestStore::new(Sharing::Exclusive), Now::new(1_000_000, Duration::from_secs(1)));
    let validator = Box::new(Introspection(validator(&["g1"])));
    let mut desk = Desk::start(&AwsLc, store, config, &toy::registry(), validator, now).unwrap();
    let forged = |host: u8| Caller::Anonymous(Some(Endpoint::new(vec![host], false)));
    for host in 1..=3 {
        desk.begin(&forged(host), post(&[host], host));
    }
    let asked = desk.begin(&forged(4), post(&[4], 4));
    let asked = desk.answer_to(asked).unwrap();
    assert_eq!((asked.status, asked.asks_for_proof, desk.questions.len()), (Status::Unauthorized, true, 3));
    // With the proof it is asked, and so is what others have asked already.
    desk.begin(&at(4), post(&[4], 4));
    let same = desk.begin(&forged(5), post(&[1], 5));
    assert_eq!((desk.answer_to(same), desk.questions.len()), (None, 4));
}

/// Asks one service after the other.
struct Three;

impl TokenValidator for Three {
    fn validate(&self, view: &View<'_>, token: &[u8], _now: UnixTime) -> Result<ValidToken, Stop> {
        for service in ["introspection", "status list", "keys"] {
            view.asked(Question { service, content: token.to_vec() })?;
        }
        Err(TokenRefusal::Unverified.into())
    }
}

#[test]
fn slow_services_do_not_count_as_storage_that_does_not_work() {
    let (store, now) = (TestStore::new(Sharing::Exclusive), Now::new(1_000_000, Duration::from_secs(1)));
    let mut desk = Desk::start(&AwsLc, store, desk::config(&["g1"]), &toy::registry(), Box::new(Three), now).unwrap();
    let ticket = desk.begin(&at(1), post(b"reference", 1));
    for asked in 0..2 {
        desk.pass(Duration::from_secs(7));
        let (op, _) = desk.questions[asked].clone();
        desk.answer(op, known(1, 60));
    }
    assert_eq!((desk.questions.len(), desk.answer_to(ticket)), (3, None));
    desk.pass(Duration::from_secs(6));
    assert_eq!(desk.answer_to(ticket).unwrap().status, Status::ServiceUnavailable, "its patience has ended");
    assert!(desk.kdc.is_ready());
}

#[test]
fn storage_that_stays_silent_counts_as_storage_that_does_not_work() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = Desk::new(&AwsLc, store, desk::config(&["g1"])).unwrap();
    let token = token(1, &TestClient::new(&AwsLc, 1).unwrap().claims(&[("g1", 1)], LATER));
    let mut out = Vec::new();
    let reply = desk.kdc.request(desk.now, at(1), token_post_with(&token, &[1; 8]), &mut desk.rng, &mut out);
    desk.kdc.flush(desk.now, &mut out);
    assert!(matches!(reply, Reply::Later(_)) && out.iter().any(|effect| matches!(effect, Effect::Load(..))));
    // Nobody completes the load.
    let later = desk.now.plus(Duration::from_secs(60));
    let mut out = Vec::new();
    desk.kdc.timeout(later, &mut desk.rng, &mut out);
    let answered = out.into_iter().find_map(|effect| match effect {
        Effect::Answer(_, durable) => Some(durable.into_inner().status),
        _ => None,
    });
    assert_eq!((answered, desk.kdc.is_ready()), (Some(Status::ServiceUnavailable), false));
}

#[test]
fn a_question_shows_its_service_and_not_what_is_asked() {
    let shown = format!("{:?}", Question { service: "introspection", content: b"token".to_vec() });
    assert_eq!(shown, "Question(introspection, 5 bytes)");
}
