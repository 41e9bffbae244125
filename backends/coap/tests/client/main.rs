//! A client against a server that does what it is told, and against somebody who only pretends.

mod blocks;
mod lab;
mod serving;

use crate::lab::*;
use ace_backend_coap::{Client, ClientError, Limits};
use ace_coap::numbers::option;
use ace_coap::{Code, Message, Type};
use std::time::Duration;
use tokio::net::UdpSocket;

#[tokio::test]
async fn it_sends_again_until_it_is_heard_and_takes_the_answer_later() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await;
    let server = async {
        let first = other.receive().await;
        assert_eq!(other.receive().await.encode(), first.encode(), "the same once more");
        other.send(&Message::empty(Type::Acknowledgement, first.id)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(other.separate(&first, content(b"late")).await.kind, Type::Acknowledgement);
    };
    let (answer, ()) = tokio::join!(client.request(get()), server);
    assert_eq!(answer.unwrap().payload, b"late");
    // An acknowledgement of something else is none, and an answer in time needs no second try.
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await;
    let server = async {
        let first = other.receive().await;
        other.send(&Message::empty(Type::Acknowledgement, first.id.wrapping_add(1))).await;
        assert_eq!(other.receive().await.id, first.id);
        other.answer(&first, content(b"1")).await;
        let second = loop {
            let message = other.receive().await;
            if message.id != first.id {
                break message;
            }
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        other.answer(&second, content(b"2")).await;
        other.next(Duration::from_millis(5)).await.is_none()
    };
    let client = async {
        let first = client.request(get()).await.unwrap();
        (first, client.request(get()).await.unwrap())
    };
    let ((first, second), quiet) = tokio::join!(client, server);
    assert_eq!((first.payload.as_slice(), second.payload.as_slice(), quiet), (&b"1"[..], &b"2"[..], true));
    // Heard, again and again, and never answered.
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await;
    let server = async {
        let first = other.receive().await;
        loop {
            other.send(&Message::empty(Type::Acknowledgement, first.id)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answer = tokio::select! { answer = client.request(get()) => answer, () = server => unreachable!() };
    assert!(matches!(answer, Err(ClientError::Timeout)));
    // Nobody is there, as the network says, again and again.
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut client = Client::connect(nobody, Limits { max_retransmit: 2, ..quick() }, 5).await.unwrap();
    assert!(matches!(client.request(get()).await, Err(ClientError::Refused(_))));
    // Heard, and never answered; not heard at all.
    let mut other = Other::new().await;
    let mut client = other.client(Limits { max_retransmit: 1, ..quick() }).await;
    let server = async {
        let first = other.receive().await;
        other.send(&Message::empty(Type::Acknowledgement, first.id)).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), server);
    assert!(matches!(answer, Err(ClientError::Timeout)));
    assert!(matches!(client.request(get()).await, Err(ClientError::Timeout)));
    assert_eq!(other.receive().await.encode(), other.receive().await.encode(), "it has tried twice");
}

// Covers: OS-D.5.3-03, TH-7-05/reset, TH-7-05/unprotected-error
#[tokio::test]
async fn what_anybody_can_send_does_not_end_a_protected_request() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await.protect_with(context(1, 2));
    let mut server = context(2, 1);
    let pretend = async |other: &Other, request: &Message| {
        for _ in 0..20 {
            other.send(&Message::empty(Type::Reset, request.id)).await;
            other.answer(request, Message::response(Code::UNAUTHORIZED)).await;
            other.answer(request, content(b"lies")).await;
            let mut garbled = content(b"0123456789abcdef");
            garbled.options.push(option::OSCORE, &[]);
            other.answer(request, garbled).await;
        }
    };
    let serve = async {
        let request = other.receive().await;
        pretend(&other, &request).await;
        let (_, right) = open(&mut server, &request);
        let answer = server.protect_response(&content(b"truth"), right).unwrap();
        other.answer(&request, answer).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert_eq!(answer.unwrap().payload, b"truth");

    // Where nothing else comes, the first of it is what the client is told, soon.
    let serve = async {
        let request = other.receive().await;
        other.answer(&request, Message::response(Code::UNAUTHORIZED)).await;
        other.send(&Message::empty(Type::Reset, request.id)).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert!(matches!(answer, Err(ClientError::Unprotected(Code::UNAUTHORIZED, _))));
    let serve = async {
        let request = other.receive().await;
        other.send(&Message::empty(Type::Reset, request.id)).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert!(matches!(answer, Err(ClientError::Reset)));
    // It does not wait long for something better, also where the request was heard.
    let serve = async {
        let request = other.receive().await;
        other.send(&Message::empty(Type::Acknowledgement, request.id)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        other.answer(&request, Message::response(Code::UNAUTHORIZED)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (_, right) = open(&mut server, &request);
        let answer = server.protect_response(&content(b"too late"), right).unwrap();
        other.answer(&request, answer).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert!(matches!(answer, Err(ClientError::Unprotected(Code::UNAUTHORIZED, _))));
    assert!(!client.security_mut().sequence().runs_low());
    // Without protection nothing better can come.
    let mut client = other.client(Limits { unprotected_wait: Duration::from_secs(60), ..quick() }).await;
    let serve = async {
        let request = other.receive().await;
        other.send(&Message::empty(Type::Reset, request.id)).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert!(matches!(answer, Err(ClientError::Reset)));
}

#[tokio::test]
async fn an_answer_that_cannot_be_understood_is_not_taken() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await;
    let serve = async {
        let request = other.receive().await;
        let mut answer = content(b"x");
        answer.options.push(65_001, b"?");
        other.answer(&request, answer).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert!(matches!(answer, Err(ClientError::Option(65_001))));
}

#[tokio::test]
async fn an_echo_is_answered_once() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await;
    let serve = async {
        let mut values = Vec::new();
        for echo in [b"one", b"two"] {
            let request = other.receive().await;
            values.push(request.options.first(option::ECHO).map(<[u8]>::to_vec));
            let mut challenge = Message::response(Code::UNAUTHORIZED);
            challenge.options.push(option::ECHO, echo);
            other.answer(&request, challenge).await;
        }
        values
    };
    let (answer, values) = tokio::join!(client.request(get()), serve);
    assert_eq!(answer.unwrap().code, Code::UNAUTHORIZED);
    assert_eq!(values, [None, Some(b"one".to_vec())]);
    // Only where it is asked for.
    let serve = async {
        let request = other.receive().await;
        let mut answer = content(b"x");
        answer.options.push(option::ECHO, b"no matter");
        other.answer(&request, answer).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert_eq!(answer.unwrap().payload, b"x");
}

#[tokio::test]
async fn an_observation_lives_as_long_as_it_is_held() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await;
    let told = |number: u32, payload: &[u8]| {
        let mut answer = content(payload);
        answer.options.push_uint(option::OBSERVE, number);
        answer
    };
    let serve = async {
        let registration = other.receive().await;
        assert_eq!(registration.options.uint(option::OBSERVE), Some(0));
        other.answer(&registration, told(0, b"0")).await;
        registration
    };
    let (answer, registration) = tokio::join!(client.observe(get()), serve);
    let (first, observation) = answer.unwrap();
    let mut observation = observation.unwrap();
    assert_eq!(first.payload, b"0");
    // One while it is waited for, and two while something else is.
    let serve = async { assert_eq!(other.separate(&registration, told(1, b"1")).await.kind, Type::Acknowledgement) };
    let (next, ()) = tokio::join!(client.notification(&mut observation), serve);
    assert_eq!(next.unwrap().payload, b"1");
    let serve = async {
        let request = other.receive().await;
        assert!(!request.options.has(option::OBSERVE) && request.token != registration.token);
        for number in [2, 3] {
            let told = told(number, number.to_string().as_bytes());
            assert_eq!(other.separate(&registration, told).await.kind, Type::Acknowledgement);
        }
        other.answer(&request, content(b"x")).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert_eq!(answer.unwrap().payload, b"x");
    assert_eq!(client.notification(&mut observation).await.unwrap().payload, b"3", "the newest");
    // An older one that comes late is not taken for a newer one.
    let serve = async {
        for (number, payload) in [(2, b"2"), (3, b"3"), (4, b"4")] {
            other.separate(&registration, told(number, payload)).await;
        }
    };
    let (next, ()) = tokio::join!(client.notification(&mut observation), serve);
    assert_eq!(next.unwrap().payload, b"4");
    // It is ended under its own token.
    let serve = async {
        let request = other.receive().await;
        assert_eq!((request.options.uint(option::OBSERVE), &request.token), (Some(1), &registration.token));
        other.answer(&request, content(b"end")).await;
    };
    let (answer, ()) = tokio::join!(client.cancel(observation), serve);
    assert_eq!(answer.unwrap().payload, b"end");
    // What nobody holds is reset; so is what nobody asked for.
    let serve = async {
        let registration = other.receive().await;
        other.answer(&registration, told(0, b"0")).await;
        registration
    };
    let (answer, forgotten) = tokio::join!(client.observe(get()), serve);
    drop(answer.unwrap());
    let serve = async {
        let request = other.receive().await;
        assert_eq!(other.separate(&forgotten, told(1, b"1")).await.kind, Type::Reset);
        let ping = Message { kind: Type::Confirmable, id: 900, ..get() };
        other.send(&ping).await;
        assert_eq!(other.receive().await.encode(), [0x70, 0, 3, 132]);
        other.answer(&request, content(b"x")).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert_eq!(answer.unwrap().payload, b"x");
    // A server that does not observe says so.
    let serve = async {
        let registration = other.receive().await;
        other.answer(&registration, content(b"once")).await;
    };
    let (answer, ()) = tokio::join!(client.observe(get()), serve);
    assert!(matches!(answer.unwrap(), (_, None)));
}

#[tokio::test]
async fn an_acknowledgement_of_another_message_is_no_answer() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await;
    let serve = async {
        let request = other.receive().await;
        for wrong in [request.id.wrapping_add(1), 0] {
            let mut lie = content(b"a lie");
            (lie.kind, lie.id, lie.token) = (Type::Acknowledgement, wrong, request.token.clone());
            other.send(&lie).await;
        }
        other.answer(&request, content(b"the truth")).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert_eq!(answer.unwrap().payload, b"the truth");
    // A response by itself has an ID of its own.
    let serve = async {
        let request = other.receive().await;
        let mut separate = content(b"later");
        (separate.kind, separate.id, separate.token) = (Type::NonConfirmable, 7, request.token.clone());
        other.send(&separate).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert_eq!(answer.unwrap().payload, b"later");
}

#[tokio::test]
async fn that_nobody_listens_is_known_soon() {
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let begun = tokio::time::Instant::now();
    let limits = Limits { ack_timeout: Duration::from_millis(100), max_retransmit: 10, ..Limits::default() };
    let mut client = Client::connect(nobody, limits, 5).await.unwrap();
    let refused = client.request(get()).await;
    assert!(matches!(refused, Err(ClientError::Refused(address)) if address == nobody), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "three tries, not ten");
    // Somebody who comes a moment later is found.
    let later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let socket = UdpSocket::bind(nobody).await.unwrap();
        let mut other = Other { socket, from: nobody, next_id: 0 };
        let request = other.receive().await;
        other.answer(&request, content(b"here")).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), later);
    assert_eq!(answer.unwrap().payload, b"here");
}
