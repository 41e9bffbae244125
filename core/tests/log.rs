//! Why a request was refused stands in the log, and nothing that could harm who reads it.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::audit::TARGET;
use ace_groupcomm::records::Mark;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token, token_post};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Endpoint, Method, Now, Request, Status};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::Level;
use tracing::subscriber::with_default;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged meanwhile, without colours. The audit log is another one.
fn logged(level: Level, act: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let is_shown = dynamic_filter_fn(move |event, _| *event.level() <= level && event.target() != TARGET);
    let lines = layer().with_ansi(false).with_writer(move || writer.clone()).with_filter(is_shown);
    with_default(registry().with(lines), act);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn desk() -> Desk {
    Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), desk::config(&["g1"])).unwrap()
}

// Covers: KG-4.1.2-13
#[test]
fn each_refusal_is_logged_with_who_what_and_why() {
    let mut desk = desk();
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let bytes = token(1, &client.claims(&[("g1", 1)], 2_000_000));
    let (caller, challenge) = desk.post_token(&bytes).unwrap();
    let at = Caller::Anonymous(Some(Endpoint::new(vec![192, 0, 2, 1], false)));
    let wrong = client.join("g1", 2, &challenge, &[7; 8]);
    let false_proof = client.join("g1", 1, &[0; 8], &[7; 8]);
    let mut all = String::new();
    for (caller, request, words) in [
        (&at, token_post(b"no token"), &["anonymous c0000201", "Post", "authz-info", "the token is malformed"][..]),
        (&at, group_request(Method::Get, "g1", &[]), &["anonymous c0000201", "Get", "ace-group/g1", "no valid token"]),
        (&caller, join_post("g1", &wrong), &["Post", "ace-group/g1", "the token grants fewer roles"]),
        (&caller, join_post("g1", &false_proof), &["Invalid proof-of-possession evidence"]),
        (&caller, group_request(Method::Delete, "g1", &[]), &["Delete", "method not allowed"]),
        (&caller, Request::new(Method::Get, ["nowhere"]), &["nowhere", "not found"]),
    ] {
        let mut status = None;
        let text = logged(Level::DEBUG, || status = Some(desk.ask(caller, request).status));
        assert!(!status.unwrap().is_success());
        assert_eq!(text.lines().count(), 1, "{text}");
        for word in words.iter().chain(&["DEBUG", "ticket=", "reason="]) {
            assert!(text.contains(word), "{word}: {text}");
        }
        all.push_str(&text);
    }
    let caller = caller.to_string();
    assert_eq!(all.matches(&caller).count(), 4, "{caller}: {all}");
    // Nothing of it without being asked for, and no token.
    let quiet = logged(Level::INFO, || drop(desk.ask(&at, token_post(b"no token"))));
    assert_eq!(quiet, "");
    let hex: String = bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    assert!(!all.contains(&hex));
}

#[test]
fn what_is_broken_is_logged_as_an_error() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", 1)], 2_000_000))).unwrap();
    desk.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[7; 8])));
    // The secret is damaged, and the KDC starts anew.
    let (key, _) =
        store.dump().into_iter().find(|(key, _)| key.as_bytes().windows(8).any(|w| w == b"/secret/")).unwrap();
    store.plant(&key, &Mark);
    let mut status = None;
    let text = logged(Level::ERROR, || {
        let mut again = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
        status = Some(again.ask(&caller, group_request(Method::Get, "g1", &[])).status);
        assert!(again.kdc.stats().internal > 0);
    });
    assert_eq!(status, Some(Status::InternalServerError));
    assert!(text.contains("ERROR") && text.contains("a record cannot be read"), "{text}");
}

#[test]
fn what_a_stranger_writes_is_escaped() {
    let mut desk = desk();
    let path = ["ace-group", "\u{1b}[2J\u{1b}]0;evil\u{7}\r\nERROR all is lost", "\u{202e}"];
    let text = logged(Level::DEBUG, || drop(desk.ask(&Caller::anonymous(), Request::new(Method::Get, path))));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'), "{text:?}");
    assert!(text.contains("\\u{1b}[2J"), "{text}");
}

#[test]
fn bounds_and_failures_are_counted_apart() {
    let mut desk = desk();
    let bounded = |desk: &Desk| desk.kdc.stats().bounded;
    let token = |number| token(1, &TestClient::new(&AwsLc, number).unwrap().claims(&[("g1", 1)], 2_000_000));
    desk.store.fail_next(Fault::NotDone);
    let (caller, _) = desk.post_token(&token(1)).unwrap();
    let away = desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    assert_eq!((away.status, bounded(&desk)), (Status::ServiceUnavailable, 0), "storage was away");
    let posts = |desk: &mut Desk, count: u8| {
        let post = |nonce: u8| ace_groupcomm::testkit::build::token_post_with(&token(2), &[nonce; 8]);
        (0..count).filter(|nonce| desk.ask(&Caller::anonymous(), post(*nonce)).status.is_success()).count()
    };
    assert_eq!((posts(&mut desk, 10), bounded(&desk)), (4, 6), "the bound of a token was reached");
}

// Covers: TH-2-07/jump-alarm
#[test]
fn a_clock_that_jumps_by_years_raises_an_alarm() {
    let mut desk = desk();
    let jump = |desk: &mut Desk, seconds: u64| {
        let mono = desk.now.mono + Duration::from_secs(1);
        desk.now = Now::new(desk.now.unix.seconds() + seconds, mono);
        desk.due();
    };
    assert_eq!(logged(Level::WARN, || jump(&mut desk, 1)), "");
    let alarm = logged(Level::ERROR, || jump(&mut desk, 10 * 365 * 86_400));
    assert!(alarm.contains("ERROR") && alarm.contains("the time of day has jumped"), "{alarm:?}");
    assert_eq!(logged(Level::ERROR, || jump(&mut desk, 1)), "", "once");
}
