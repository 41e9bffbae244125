//! A server as it looks from the wire: bytes in, bytes out (RFC 7252, RFC 7959, RFC 7641).

mod addresses;
mod blocks;
mod lab;
mod messages;
mod observations;
mod resumed;

use ace_backend_coap::Limits;
use ace_coap::numbers::option;
use ace_coap::security::PeerId;
use ace_coap::{Block, Code, Message, Token, Type};
use lab::{Lab, Raw, get, of, request, unwrap};
use std::time::Duration;

#[tokio::test]
async fn what_is_no_message_ends_nothing() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    raw.send(&[]).await;
    raw.send(&[0x40]).await;
    raw.send(&[0x00; 65_507]).await;
    // Version 2; an acknowledgement and a reset for nothing; an answer that nobody asked for.
    raw.send(&[0x80, 1, 0, 1]).await;
    raw.send(&[0x60, 0, 0, 1]).await;
    raw.send(&[0x70, 0, 0, 1]).await;
    raw.send(&[0x51, 0x45, 0, 2, 9]).await;
    assert!(raw.is_quiet().await, "none of that is answered");
    // Confirmable, and broken: a token of 9 bytes, an option that is cut, a marker without payload, an answer.
    for bytes in [&[0x49, 1, 0, 3][..], &[0x40, 1, 0, 4, 0xb5, b'a'], &[0x40, 1, 0, 5, 0xff], &[0x40, 0x45, 0, 6]] {
        raw.send(bytes).await;
        assert_eq!(raw.receive().await.unwrap(), [0x70, 0, 0, bytes[3]], "{bytes:?}");
    }
    let mut long = vec![0x40, 3, 0, 7, 0xb4];
    long.extend_from_slice(b"body");
    long.push(0xff);
    long.resize(65_507, 1);
    raw.send(&long).await;
    assert_eq!(raw.message().await.payload, (65_507 - 10).to_string().as_bytes());
    assert_eq!(raw.ask(&get(8, "count")).await.payload, b"1");
}

// Covers: TH-1-03/identical-bytes
#[tokio::test]
async fn the_same_message_again_gets_the_same_bytes() {
    let lab = Lab::new(Limits::default()).await;
    let (raw, other) = (Raw::new(&lab).await, Raw::new(&lab).await);
    let first = get(1, "count").encode();
    raw.send(&first).await;
    let answer = raw.receive().await.unwrap();
    assert_eq!(answer[0] >> 4, 6, "on the acknowledgement");
    for _ in 0..3 {
        raw.send(&first).await;
        assert_eq!(raw.receive().await.unwrap(), answer);
    }
    assert_eq!(other.ask(&get(1, "count")).await.payload, b"2", "another place");
    let unreliable = request(Type::NonConfirmable, 2, Code::GET, "count");
    let answer = raw.ask(&unreliable).await;
    assert_eq!(
        (answer.kind, answer.payload.as_slice(), answer.token),
        (Type::NonConfirmable, &b"3"[..], unreliable.token)
    );
    assert_ne!(answer.id, 2, "the server's own message ID");
    raw.send(&request(Type::NonConfirmable, 2, Code::GET, "count").encode()).await;
    assert_eq!(raw.message().await.payload, b"3");
    assert_eq!(*lab.resources.count.lock().unwrap(), 3);
    // Other bytes under the same ID are another message, and take nothing from the first.
    let mut other_bytes = get(1, "count");
    other_bytes.token = Token::new(&[9]);
    assert_eq!(raw.ask(&other_bytes).await.payload, b"4");
    raw.send(&first).await;
    assert_eq!(raw.message().await.payload, b"1");
    let again = raw.ask(&request(Type::NonConfirmable, 3, Code::GET, "count")).await;
    assert_ne!(again.id, raw.ask(&request(Type::NonConfirmable, 4, Code::GET, "count")).await.id);
    let stats = lab.stats.get();
    assert_eq!((stats.datagrams, stats.duplicates, stats.malformed, stats.unprotectable), (11, 5, 0, 0));
}

#[tokio::test]
async fn a_peer_that_waits_is_told_so_and_its_answer_follows() {
    let limits = Limits {
        separate_after: Duration::from_millis(50),
        ack_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let lab = Lab::new(limits).await;
    let raw = Raw::new(&lab).await;
    let slow = of(b"a", get(1, "slow")).encode();
    raw.send(&slow).await;
    assert_eq!(raw.receive().await.unwrap(), [0x60, 0, 0, 1]);
    raw.send(&slow).await;
    assert_eq!(raw.receive().await.unwrap(), [0x60, 0, 0, 1], "also when that was lost");
    lab.resources.release();
    let answer = raw.receive().await.unwrap();
    let message = unwrap(&Message::decode(&answer).unwrap()).unwrap();
    assert_eq!((message.kind, message.payload.as_slice()), (Type::Confirmable, &b"at last"[..]));
    assert_eq!(raw.receive().await.unwrap(), answer, "until it is acknowledged");
    raw.send(&Message::empty(Type::Acknowledgement, message.id).encode()).await;
    assert!(raw.is_quiet().await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(raw.is_quiet().await, "not once more");
}

// Covers: TH-6-02/answer-size
#[tokio::test]
async fn an_address_that_has_proven_nothing_gets_three_times_what_it_sent() {
    let limits = Limits { separate_after: Duration::from_millis(50), ..Limits::default() };
    let lab = Lab::new(limits).await;
    let (raw, other) = (Raw::new(&lab).await, Raw::new(&lab).await);
    // In blocks, and each of them is small.
    let mut body = Vec::new();
    for num in 0.. {
        let mut core = Message { id: num, ..Message::request(Code::GET).with_path([".well-known", "core"]) };
        if num > 0 {
            core.options.push_uint(option::BLOCK2, Block { num: u32::from(num), more: false, szx: 0 }.to_uint());
        }
        core.kind = Type::Confirmable;
        let bytes = core.encode();
        raw.send(&bytes).await;
        let answer = raw.receive().await.unwrap();
        assert!(answer.len() <= 3 * bytes.len(), "{} for {}", answer.len(), bytes.len());
        let answer = Message::decode(&answer).unwrap();
        body.extend_from_slice(&answer.payload);
        if !Block::from_uint(answer.options.uint(option::BLOCK2).unwrap()).unwrap().more {
            break;
        }
    }
    assert!(body.starts_with(b"</group/0>;rt=\"other\",</group/1>") && body.ends_with(b"</group/8>;rt=\"other\""));
    // A refusal in many words needs proof.
    let refused = raw.ask(&get(100, "no")).await;
    assert!(refused.code == Code::UNAUTHORIZED && refused.payload.is_empty());
    let echo = refused.options.first(option::ECHO).unwrap().to_vec();
    let again = |id| {
        let mut again = get(id, "no");
        again.options.push(option::ECHO, &echo);
        again
    };
    assert_eq!(raw.ask(&again(101)).await.payload.len(), 200);
    assert_eq!(other.ask(&again(102)).await.payload.len(), 0, "proof of another address");
    let mut who = get(103, "who");
    assert_eq!(raw.ask(&who).await.payload, b"None false");
    (who.id, who.payload) = (104, Vec::new());
    who.options.push(option::ECHO, &echo);
    assert_eq!(raw.ask(&who).await.payload, b"None true");
    // Nothing is sent twice of the server's own accord.
    raw.send(&get(105, "slow").encode()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(raw.is_quiet().await, "no acknowledgement before the answer");
    lab.resources.release();
    assert_eq!(raw.message().await.kind, Type::Acknowledgement);
    // Too little to answer with anything.
    let tiny = Message { kind: Type::Confirmable, id: 107, ..Message::request(Code::GET).with_path(["big"]) };
    let refused = raw.ask(&tiny).await;
    assert!(refused.code == Code::UNAUTHORIZED && refused.options.first(option::ECHO) == Some(&echo[..]));
    let mut proven = Message { id: 108, ..tiny };
    proven.options.push(option::ECHO, &echo);
    assert_eq!(raw.ask(&proven).await.payload.len(), 1_024);
    // The same for what is refused before anybody is known.
    let refused = raw.ask(&of(b"r", get(109, "who"))).await;
    assert!(refused.payload.is_empty() && refused.options.has(option::ECHO));
    let mut proven = of(b"r", get(110, "who"));
    proven.options.push(option::ECHO, &echo);
    assert_eq!(raw.ask(&proven).await.payload.len(), 300);
    // Nobody is told of changes at an address that has proven nothing.
    let mut register = get(111, "state");
    register.options.push(option::OBSERVE, &[]);
    assert!(!raw.ask(&register).await.options.has(option::OBSERVE));
    register.id = 112;
    register.options.push(option::ECHO, &echo);
    assert!(raw.ask(&register).await.options.has(option::OBSERVE));
    lab.resources.change();
    let told = raw.message().await;
    assert_eq!(told.payload, b"1");
    raw.send(&Message::empty(Type::Reset, told.id).encode()).await;
    // Who is known gets all at once.
    assert_eq!(raw.ask(&of(b"a", get(106, "big"))).await.payload.len(), 1_024);
}

#[tokio::test]
async fn resources_are_found() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    let mut core = of(
        b"a",
        Message { id: 1, kind: Type::Confirmable, ..Message::request(Code::GET) }.with_path([".well-known", "core"]),
    );
    core.options.push(option::URI_QUERY, b"rt=three");
    let answer = raw.ask(&core).await;
    assert_eq!(
        (answer.options.content_format(), answer.payload.as_slice()),
        (Some(40), &b"</group/3>;rt=\"three\""[..])
    );
    (core.id, core.code) = (4, Code::GET);
    core.options.push_uint(option::ACCEPT, 60);
    assert_eq!(raw.ask(&core).await.code, Code::NOT_ACCEPTABLE);
    core.options.remove(option::ACCEPT);
    core.options.push_uint(option::ACCEPT, 40);
    core.id = 5;
    assert_eq!(raw.ask(&core).await.code, Code::CONTENT);
    (core.id, core.code) = (2, Code::POST);
    assert_eq!(raw.ask(&core).await.code, Code::METHOD_NOT_ALLOWED);
    assert_eq!(raw.ask(&get(3, "nowhere")).await.code, Code::NOT_FOUND);
}

#[tokio::test]
async fn options_that_must_be_understood_are_understood_or_refused() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    let mut id = 0;
    let mut with = |options: &[(u16, &[u8])]| {
        id += 1;
        let mut message = get(id, "count");
        options.iter().for_each(|(number, value)| message.options.push(*number, value));
        message
    };
    for (options, code) in [
        (&[(65_001, &b"?"[..])][..], Code::BAD_OPTION),
        (&[(option::IF_MATCH, b"")], Code::BAD_OPTION),
        (&[(option::ACCEPT, b"\x3c"), (option::ACCEPT, b"\x3c")], Code::BAD_OPTION),
        (&[(option::BLOCK2, &[0, 0, 0, 0, 1])], Code::BAD_OPTION),
        (&[(option::PROXY_URI, b"coap://elsewhere/")], Code::PROXYING_NOT_SUPPORTED),
        (&[(option::PROXY_SCHEME, b"coap")], Code::PROXYING_NOT_SUPPORTED),
        (
            &[(65_000, b"?"), (option::CONTENT_FORMAT, &[0; 5]), (option::SIZE1, b"1"), (option::SIZE1, b"1")],
            Code::CONTENT,
        ),
    ] {
        assert_eq!(raw.ask(&with(options)).await.code, code, "{options:?}");
        assert_eq!(raw.ask(&of(b"a", with(options))).await.code, code, "protected: {options:?}");
    }
    assert_eq!(*lab.resources.count.lock().unwrap(), 2);
    // Without confirmation nobody is told, but that it was rejected.
    for message in [with(&[(65_001, b"?")]), of(b"a", with(&[(65_001, b"?")]))] {
        let message = Message { kind: Type::NonConfirmable, ..message };
        raw.send(&message.encode()).await;
        assert_eq!(raw.message().await, Message::empty(Type::Reset, message.id));
    }
}

#[tokio::test]
async fn requests_have_a_bound_and_none_is_forgotten() {
    let lab = Lab::new(Limits { requests: 2, ..Limits::default() }).await;
    let raw = Raw::new(&lab).await;
    for id in 1..10 {
        assert_eq!(raw.ask(&get(id, "drop")).await.code, Code::INTERNAL_SERVER_ERROR);
    }
    raw.send(&get(11, "slow").encode()).await;
    raw.send(&get(12, "slow").encode()).await;
    let busy = raw.ask(&get(13, "count")).await;
    assert_eq!((busy.code, busy.options.uint(option::MAX_AGE)), (Code::SERVICE_UNAVAILABLE, Some(2)));
    lab.resources.release();
    assert_eq!((raw.message().await.id, raw.message().await.id), (11, 12));
    assert_eq!(raw.ask(&get(14, "count")).await.payload, b"1");
}

// Covers: TH-6-01/share
#[tokio::test]
async fn strangers_and_each_peer_have_a_share_of_the_requests() {
    let lab = Lab::new(Limits { requests_unknown: 2, ..Limits::default() }).await;
    let raw = Raw::new(&lab).await;
    for (first, name) in [(1, None), (11, Some(&b"a"[..]))] {
        let named = |id, path| name.map_or_else(|| get(id, path), |name| of(name, get(id, path)));
        raw.send(&named(first, "slow").encode()).await;
        raw.send(&named(first + 1, "slow").encode()).await;
        assert_eq!(raw.ask(&named(first + 2, "count")).await.code, Code::SERVICE_UNAVAILABLE);
    }
    assert_eq!(raw.ask(&of(b"b", get(21, "count"))).await.payload, b"1", "another peer");
    lab.resources.release();
    for _ in 0..4 {
        assert_eq!(raw.message().await.payload, b"at last");
    }
    assert_eq!(raw.ask(&get(22, "count")).await.payload, b"2");
}

#[tokio::test]
async fn who_acknowledges_nothing_is_sent_each_answer_once() {
    let limits = Limits { separate_after: Duration::ZERO, unacknowledged: 2, ..Limits::default() };
    let lab = Lab::new(limits).await;
    let raw = Raw::new(&lab).await;
    let mut kinds = Vec::new();
    for id in 1..=4 {
        assert_eq!(raw.ask(&of(b"a", get(id, "slow"))).await, Message::empty(Type::Acknowledgement, id));
        lab.resources.release();
        kinds.push(raw.message().await.kind);
    }
    assert_eq!(kinds, [Type::Confirmable, Type::Confirmable, Type::NonConfirmable, Type::NonConfirmable]);
}

#[tokio::test]
async fn an_exchange_without_answer_ends_too() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    // No-Response: 2.xx is not wanted.
    let mut quiet = get(1, "count");
    quiet.options.push(option::NO_RESPONSE, &[2]);
    raw.send(&quiet.encode()).await;
    assert_eq!(raw.receive().await.unwrap(), [0x60, 0, 0, 1]);
    quiet.id = 2;
    quiet.options.set(option::NO_RESPONSE, &[8 + 16]);
    assert_eq!(raw.ask(&quiet).await.payload, b"2");
    let unwanted = |id, path: &str, value: u8| {
        let mut message = get(id, path);
        message.options.push(option::NO_RESPONSE, &[value]);
        message.encode()
    };
    raw.send(&unwanted(3, "nowhere", 8)).await;
    assert_eq!(raw.receive().await.unwrap(), [0x60, 0, 0, 3]);
    raw.send(&unwanted(4, "drop", 16)).await;
    assert_eq!(raw.receive().await.unwrap(), [0x60, 0, 0, 4]);
    // An answer that cannot be protected.
    raw.send(&of(b"z", get(5, "count")).encode()).await;
    assert_eq!(raw.receive().await.unwrap(), [0x70, 0, 0, 5]);
    let unconfirmed = request(Type::NonConfirmable, 15, Code::GET, "count");
    raw.send(&of(b"z", unconfirmed).encode()).await;
    assert!(raw.is_quiet().await, "nobody sends that again");
    // A message that nobody has acted on is worth another try.
    raw.send(&of(b"x", get(6, "count")).encode()).await;
    assert!(raw.is_quiet().await);
    assert_eq!(raw.ask(&get(6, "count")).await.payload, b"5");
}

#[tokio::test]
async fn answers_that_are_ready_go_out_before_the_end() {
    let mut lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    raw.send(&get(1, "slow").encode()).await;
    assert!(raw.is_quiet().await);
    lab.resources.release();
    lab.stop.take().unwrap().send(()).unwrap();
    assert_eq!(raw.message().await.payload, b"at last");
    lab.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn nothing_that_is_kept_of_a_peer_outlives_its_rights() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    let block = |id, name: &[u8], num| {
        let mut message = of(name, request(Type::Confirmable, id, Code::POST, "big"));
        if num > 0 {
            message.options.push_uint(option::BLOCK2, Block { num, more: false, szx: 6 }.to_uint());
        }
        message
    };
    for (id, name) in [(1, b"a"), (2, b"b")] {
        assert_eq!(raw.ask(&block(id, name, 0)).await.payload.len(), 1_024);
        assert_eq!(raw.ask(&block(id + 10, name, 1)).await.payload.len(), 1_024);
        let mut register = of(name, get(id + 20, "state"));
        register.options.push(option::OBSERVE, &[]);
        assert!(raw.ask(&register).await.options.has(option::OBSERVE));
    }
    lab.resources.forget(b"a");
    assert_eq!(raw.ask(&block(31, b"a", 2)).await.code, Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(raw.ask(&block(32, b"b", 2)).await.payload.len(), 1_024, "another peer's");
    lab.resources.change();
    let told = raw.message().await;
    assert_eq!(told.options.first(option::OSCORE), Some(&b"b"[..]));
    raw.send(&Message::empty(Type::Acknowledgement, told.id).encode()).await;
    assert!(raw.is_quiet().await);
}

#[tokio::test]
async fn messages_wait_until_more_is_known_of_their_peers() {
    let lab = Lab::new(Limits { held: 3_000, ..Limits::default() }).await;
    let raw = Raw::new(&lab).await;
    let first = of(b"l1", get(1, "count")).encode();
    for message in [&first, &first, &of(b"l2", get(2, "count")).encode(), &of(b"l1", get(3, "count")).encode()] {
        raw.send(message).await;
    }
    assert!(raw.is_quiet().await);
    assert_eq!(lab.stats.get().duplicates, 1, "the same message waits once");
    lab.learn(b"l1");
    let answers = [raw.message().await, raw.message().await];
    assert_eq!(answers.map(|answer| (answer.id, answer.payload)), [(1, b"1".to_vec()), (3, b"2".to_vec())]);
    raw.send(&first).await;
    assert_eq!(raw.message().await.payload, b"1", "the same answer, without another look");

    lab.notifier().unavailable(PeerId::new(b"l2"));
    let answer = raw.message().await;
    assert_eq!((answer.id, answer.code), (2, Code::SERVICE_UNAVAILABLE));
    assert_eq!(answer.options.uint(option::MAX_AGE), Some(2));
    raw.send(&of(b"l3", get(4, "count")).encode()).await;
    assert!(raw.is_quiet().await);
    lab.notifier().gone(PeerId::new(b"l3"));
    assert_eq!(raw.message().await.code, Code::UNAUTHORIZED);

    // What there is no room for is dropped, and is worth another try.
    let ids = 10..16;
    for id in ids.clone() {
        raw.send(&of(b"l4", get(id, "count")).encode()).await;
    }
    assert!(raw.is_quiet().await);
    lab.learn(b"l4");
    let mut answered = Vec::new();
    while answered.len() < 5 {
        answered.push(raw.message().await.id);
    }
    assert_eq!(answered, [10, 11, 12, 13, 14]);
    assert!(raw.is_quiet().await);
    assert_eq!(raw.ask(&of(b"l4", get(15, "count"))).await.payload, b"8");
}
