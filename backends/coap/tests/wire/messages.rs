//! Single messages: options outside and inside of the protection, tokens, refusals in words.

use crate::lab::{Lab, Raw, get, of, request, unwrap, wrap};
use ace_backend_coap::Limits;
use ace_coap::numbers::option;
use ace_coap::{Code, Message, Token, Type};
use std::time::Duration;

// Covers: OS-8.2-01
#[tokio::test]
async fn what_belongs_inside_means_nothing_outside() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    for (id, number, values) in [
        (1, option::IF_MATCH, vec![vec![1]]),
        (2, option::IF_NONE_MATCH, vec![vec![]]),
        (3, option::ACCEPT, vec![vec![60], vec![61]]),
        (4, option::ACCEPT, vec![vec![0, 0, 60]]),
        (5, option::URI_PATH, vec![vec![b'x'; 256]]),
        (7, 99, vec![vec![]]),
        (8, 65_001, vec![vec![7; 9]]),
        (9, option::CONTENT_FORMAT, vec![vec![0; 3]]),
    ] {
        let mut outer = wrap(&of(b"a", get(id, "who")));
        values.iter().for_each(|value| outer.options.push(number, value));
        raw.send_as_it_is(&outer.encode()).await;
        let answer = unwrap(&raw.message_as_it_is().await).expect("an answer under protection");
        assert_eq!(answer.code, Code::CONTENT, "option {number}");
        // Inside, it is what it always was.
        let mut inner = of(b"a", get(id + 100, "who"));
        values.iter().for_each(|value| inner.options.push(number, value));
        let answer = raw.ask(&inner).await;
        let refused = number % 2 == 1 && number != 65_000;
        assert_eq!(answer.code, if refused { Code::BAD_OPTION } else { Code::CONTENT }, "option {number}, inside");
    }
    // What is meant for proxies, and not as it is defined, is refused outside as well.
    let mut outer = wrap(&of(b"a", get(50, "who")));
    outer.options.push(option::URI_PORT, &[1, 2, 3]);
    raw.send_as_it_is(&outer.encode()).await;
    assert_eq!(raw.message_as_it_is().await.code, Code::BAD_OPTION);
}

#[tokio::test]
async fn a_refused_option_is_named() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    for number in [99, option::IF_NONE_MATCH] {
        let mut message = get(number, "count");
        message.options.push(number, &[]);
        // Long enough for an answer in words.
        message.options.push(60_000, &[0; 20]);
        let refused = raw.ask(&message).await;
        assert_eq!((refused.code, refused.payload), (Code::BAD_OPTION, format!("option {number}").into_bytes()));
        assert!(!refused.options.has(option::CONTENT_FORMAT), "a diagnostic payload has none");
    }
}

#[tokio::test]
async fn a_token_that_is_too_long_is_answered_and_not_reset() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    let core = [&[0xbb][..], b".well-known", &[0x04], b"core"].concat();
    for (length, head) in [(65_usize, vec![0x4d, 1, 0, 4, 52]), (300, vec![0x4e, 1, 0, 5, 0, 31])] {
        let datagram = [&head[..], &vec![0; length], &core].concat();
        raw.send(&datagram).await;
        let answer = raw.message().await;
        assert_eq!((answer.kind, answer.code, answer.id), (Type::Acknowledgement, Code::BAD_REQUEST, head[3].into()));
        assert_eq!(answer.token, Token::new(&vec![0; length]));
    }
    let mut longest = get(7, "count");
    longest.token = Token::new(&[7; 64]);
    assert_eq!(raw.ask(&longest).await.code, Code::CONTENT);
    (longest.kind, longest.id, longest.token) = (Type::NonConfirmable, 8, Token::new(&[7; 65]));
    let answer = raw.ask(&longest).await;
    assert_eq!((answer.kind, answer.code, &answer.token), (Type::NonConfirmable, Code::BAD_REQUEST, &longest.token));
    assert_eq!(*lab.resources.count.lock().unwrap(), 1);
}

#[tokio::test]
async fn ids_of_what_is_sent_to_one_endpoint_do_not_depend_on_others() {
    let lab = Lab::new(Limits { exchange_lifetime: Duration::from_secs(1), ..Limits::default() }).await;
    let (raw, other) = (Raw::new(&lab).await, Raw::new(&lab).await);
    let ask = async |raw: &Raw, id| raw.ask(&request(Type::NonConfirmable, id, Code::GET, "count")).await.id;
    let first = ask(&raw, 1).await;
    for id in 0..300 {
        ask(&other, id).await;
    }
    assert_eq!(ask(&raw, 2).await, first.wrapping_add(1));
}

#[tokio::test]
async fn who_wants_no_answer_gets_no_notification_of_that_class() {
    let lab = Lab::new(Limits::default()).await;
    let (raw, other) = (Raw::new(&lab).await, Raw::new(&lab).await);
    let register = |id, unwanted: u32| {
        let mut message = of(b"a", get(id, "state"));
        message.options.push(option::OBSERVE, &[]);
        message.options.push_uint(option::NO_RESPONSE, unwanted);
        message
    };
    // Only errors are unwanted, or only successes.
    assert_eq!(raw.ask(&register(1, 8)).await.payload, b"0");
    other.send(&register(2, 2).encode()).await;
    assert_eq!(other.message().await.code, Code::EMPTY);
    lab.resources.change();
    let told = raw.message().await;
    assert_eq!(told.payload, b"1");
    raw.send(&Message::empty(Type::Acknowledgement, told.id).encode()).await;
    assert!(other.is_quiet().await);
    *lab.resources.gone.lock().unwrap() = true;
    lab.resources.change();
    let last = other.message().await;
    assert_eq!(last.code, Code::NOT_FOUND);
    other.send(&Message::empty(Type::Acknowledgement, last.id).encode()).await;
    assert!(raw.is_quiet().await);
}

#[tokio::test]
async fn whoever_lost_its_rights_is_told_so_once_and_under_protection() {
    let lab = Lab::new(Limits { ack_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    let (raw, other) = (Raw::new(&lab).await, Raw::new(&lab).await);
    for (raw, name, path) in [(&raw, b"a", "state"), (&raw, b"a", "late"), (&other, b"b", "state")] {
        let mut register = of(name, get(path.len() as u16, path));
        register.options.push(option::OBSERVE, &[]);
        raw.send(&register.encode()).await;
        if path == "late" {
            assert!(raw.is_quiet().await);
            lab.resources.release();
        }
        assert!(raw.message().await.options.has(option::OBSERVE));
    }
    lab.notifier().ended(ace_coap::security::PeerId::new(b"a"), |path| {
        let code = if path == ["late"] { Code::NOT_FOUND } else { Code::UNAUTHORIZED };
        Message { payload: path.concat().into_bytes(), ..Message::response(code) }
    });
    let mut told = std::collections::BTreeMap::new();
    for _ in 0..4 {
        let last = raw.message().await;
        assert_eq!((last.kind, last.options.first(option::OSCORE)), (Type::Confirmable, Some(&b"a"[..])));
        assert!(!last.options.has(option::OBSERVE));
        told.entry((last.code.0, last.payload, last.id)).and_modify(|count| *count += 1).or_insert(1);
    }
    for (_, _, id) in told.keys() {
        raw.send(&Message::empty(Type::Acknowledgement, *id).encode()).await;
    }
    let told: Vec<_> = told.into_iter().map(|((code, payload, _), count)| (Code(code), payload, count)).collect();
    let expected = [(Code::UNAUTHORIZED, b"state".to_vec(), 2), (Code::NOT_FOUND, b"late".to_vec(), 2)];
    assert_eq!(told, expected, "each until it is acknowledged");
    lab.resources.change();
    assert!(raw.is_quiet().await, "once");
    assert_eq!(other.message().await.payload, b"1", "others go on");
}
