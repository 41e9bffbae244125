//! Observations (RFC 7641).

use crate::lab::{Lab, Raw, get, of, request};
use ace_backend_coap::Limits;
use ace_coap::numbers::option;
use ace_coap::{Block, Code, Message, Type};
use std::time::Duration;

// Covers: TH-6-02/confirmable-probes
// Covers: OS-4.1.3.5-06
#[tokio::test]
async fn observers_are_told_one_thing_at_a_time() {
    let lab = Lab::new(Limits { ack_timeout: Duration::from_secs(1), ..Limits::default() }).await;
    let (raw, other) = (Raw::new(&lab).await, Raw::new(&lab).await);
    let register = |id, value: &[u8]| {
        let mut message = of(b"a", get(id, "state"));
        message.options.push(option::OBSERVE, value);
        message
    };
    let first = raw.ask(&register(1, &[])).await;
    assert!(first.options.has(option::OBSERVE) && first.payload == b"0");
    lab.resources.change();
    let told = raw.message().await;
    assert_eq!((told.kind, told.token.clone(), told.payload.as_slice()), (Type::Confirmable, first.token, &b"1"[..]));
    assert_eq!(told.options.first(option::OSCORE), Some(&b"a"[..]), "protected");
    for _ in 0..3 {
        lab.resources.change();
    }
    assert!(raw.is_quiet().await, "the first was not acknowledged yet");
    raw.send(&Message::empty(Type::Acknowledgement, told.id).encode()).await;
    let second = raw.message().await;
    assert_eq!(second.payload, b"4", "all that happened meanwhile, once");
    assert!(second.options.uint(option::OBSERVE) > told.options.uint(option::OBSERVE));
    raw.send(&Message::empty(Type::Acknowledgement, second.id).encode()).await;

    // Another request with the same token does not end it.
    let mut same = of(b"a", get(9, "who"));
    same.token = told.token.clone();
    raw.ask(&same).await;
    // Another peer cannot end it, from wherever; the peer itself can.
    let mut foreign = of(b"b", get(1, "state"));
    (foreign.id, foreign.token) = (7, told.token);
    foreign.options.push(option::OBSERVE, &[1]);
    assert_eq!(raw.ask(&foreign).await.payload, b"4");
    lab.resources.change();
    let third = raw.message().await;
    assert_eq!(third.payload, b"5");
    raw.send(&Message::empty(Type::Acknowledgement, third.id).encode()).await;
    let mut end = register(8, &[1]);
    end.token = third.token;
    assert!(!raw.ask(&end).await.options.has(option::OBSERVE));
    lab.resources.change();
    assert!(raw.is_quiet().await);

    // Only what is asked for can be observed, by whom it can be told, and protected where it has to be.
    for (id, code, name, path) in
        [(31, Code::PUT, "a", "state"), (32, Code::GET, "o", "state"), (33, Code::GET, "a", "bare")]
    {
        let mut message = of(name.as_bytes(), request(Type::Confirmable, id, code, path));
        message.options.push(option::OBSERVE, &[]);
        assert!(!raw.ask(&message).await.options.has(option::OBSERVE), "{id}");
    }
    // A reset ends it as well.
    other.ask(&register(2, &[])).await;
    lab.resources.change();
    let told = other.message().await;
    other.send(&Message::empty(Type::Reset, told.id).encode()).await;
    assert!(other.is_quiet().await);
    lab.resources.change();
    assert!(other.is_quiet().await);
}

#[tokio::test]
async fn an_observation_ends_with_its_resource_its_peer_or_its_association() {
    let limits = Limits { ack_timeout: Duration::from_millis(20), max_retransmit: 1, ..Limits::default() };
    let lab = Lab::new(limits).await;
    let register = |id, name: &[u8]| {
        let mut message = of(name, get(id, "state"));
        message.options.push(option::OBSERVE, &[]);
        message
    };
    // Silence.
    let raw = Raw::new(&lab).await;
    raw.ask(&register(1, b"a")).await;
    lab.resources.change();
    let first = raw.message().await;
    assert_eq!(raw.message().await, first, "once more");
    tokio::time::sleep(Duration::from_millis(200)).await;
    lab.resources.change();
    assert!(raw.is_quiet().await);
    // The association is gone.
    let raw = Raw::new(&lab).await;
    raw.ask(&register(1, b"g")).await;
    lab.resources.change();
    assert!(raw.is_quiet().await);
    assert_eq!(lab.stats.get().unprotectable, 1);
    lab.resources.change();
    assert!(raw.is_quiet().await);
    assert_eq!(lab.stats.get().unprotectable, 1, "nobody is asked any more");
    // No number was left: it is told when there is one.
    let raw = Raw::new(&lab).await;
    raw.ask(&register(1, b"n")).await;
    lab.resources.change();
    assert!(raw.is_quiet().await);
    let told = raw.message().await;
    assert_eq!(told.payload, lab.resources.count.lock().unwrap().to_string().as_bytes());
    raw.send(&Message::empty(Type::Reset, told.id).encode()).await;
    // The resource is gone: that is the last that is told, without a number.
    let raw = Raw::new(&lab).await;
    raw.ask(&register(1, b"a")).await;
    *lab.resources.gone.lock().unwrap() = true;
    lab.resources.change();
    let last = raw.message().await;
    assert!(last.code == Code::NOT_FOUND && !last.options.has(option::OBSERVE));
    raw.send(&Message::empty(Type::Acknowledgement, last.id).encode()).await;
    *lab.resources.gone.lock().unwrap() = false;
    lab.resources.change();
    assert!(raw.is_quiet().await);
}

#[tokio::test]
async fn what_changes_before_a_registration_is_answered_is_told_after_it() {
    let lab = Lab::new(Limits { separate_after: Duration::ZERO, ..Limits::default() }).await;
    let raw = Raw::new(&lab).await;
    let mut register = of(b"a", get(1, "late"));
    register.options.push(option::OBSERVE, &[]);
    assert_eq!(raw.ask(&register).await, Message::empty(Type::Acknowledgement, 1));
    lab.resources.change();
    assert!(raw.is_quiet().await, "nobody observes yet");
    lab.resources.release();
    let first = raw.message().await;
    assert!(first.kind == Type::Confirmable && first.options.has(option::OBSERVE));
    assert!(raw.is_quiet().await && lab.resources.held.lock().unwrap().is_empty(), "one thing at a time");
    raw.send(&Message::empty(Type::Acknowledgement, first.id).encode()).await;
    assert!(raw.is_quiet().await);
    assert_eq!(lab.resources.held.lock().unwrap().len(), 1, "asked again");
    lab.resources.release();
    assert!(raw.message().await.options.uint(option::OBSERVE) > first.options.uint(option::OBSERVE));
}

#[tokio::test]
async fn a_later_block_that_asks_to_observe_takes_no_room_for_observations() {
    let lab = Lab::new(Limits { observations_per_peer: 2, ..Limits::default() }).await;
    let raw = Raw::new(&lab).await;
    let first = raw.ask(&of(b"k1", get(1, "big"))).await;
    let more =
        |answer: &Message| answer.options.uint(option::BLOCK2).and_then(Block::from_uint).map(|block| block.more);
    assert_eq!(more(&first), Some(true));
    for id in 2..=6 {
        let mut next = of(b"k1", get(id, "big"));
        next.options.push(option::OBSERVE, &[]);
        next.options.push_uint(option::BLOCK2, Block { num: 1, more: false, szx: 6 }.to_uint());
        let answer = raw.ask(&next).await;
        assert!(answer.options.uint(option::BLOCK2).and_then(Block::from_uint).is_some_and(|block| block.num == 1));
    }
    let mut register = of(b"k1", get(7, "state"));
    register.options.push(option::OBSERVE, &[]);
    assert!(raw.ask(&register).await.options.has(option::OBSERVE));
    assert_eq!(lab.resources.kept.lock().unwrap().len(), 1);
}
