//! What a client answers its server.

use crate::lab::{Other, context, quick};
use ace_backend_coap::{Client, ClientError};
use ace_coap::numbers::option;
use ace_coap::{Block, Code, Message, Token, Type};
use ace_oscore::{Aead, Context, Hkdf, Parameters, PendingRequest, Sequence};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the client was asked.
type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

fn serve(client: &mut Client<Context>) -> Seen {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    client.serve(move |request| {
        noted.lock().unwrap().push(request.payload.clone());
        Message { payload: request.payload, ..Message::response(Code::CHANGED) }
    });
    seen
}

/// A request of the server with this ID, protected.
fn control(server: &mut Context, id: u16, payload: &[u8]) -> (Message, PendingRequest) {
    let mut request = Message::request(Code::POST).with_path(["control"]);
    (request.kind, request.id, request.token) = (Type::Confirmable, id, Token::new(&id.to_be_bytes()));
    request.payload = payload.to_vec();
    server.protect_request(&request).unwrap()
}

/// The server knows where its client is: it was asked.
async fn met(other: &mut Other, client: &mut Client<Context>, server: &mut Context) {
    let get = Message::request(Code::GET).with_path(["num"]);
    let serve = async {
        let request = other.receive().await;
        let ace_oscore::Incoming::Accepted { right, .. } = server.unprotect_request(&request).unwrap() else {
            panic!()
        };
        let answer = server.protect_response(&Message::response(Code::CONTENT), right).unwrap();
        other.answer(&request, answer).await;
    };
    assert_eq!(tokio::join!(client.request(get), serve).0.unwrap().code, Code::CONTENT);
}

async fn listen(client: &mut Client<Context>) {
    client.listen(Duration::from_millis(100)).await.unwrap();
}

#[tokio::test]
async fn a_request_of_the_server_is_acted_on_once_and_answered_as_often_as_it_comes() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await.protect_with(context(1, 2));
    let mut server = context(2, 1);
    met(&mut other, &mut client, &mut server).await;
    let seen = serve(&mut client);
    let (request, mut pending) = control(&mut server, 7, b"one");
    other.send(&request).await;
    other.send(&request).await;
    listen(&mut client).await;
    let (answer, again) = (other.receive().await, other.receive().await);
    assert_eq!((answer.kind, answer.id, &answer.token), (Type::Acknowledgement, 7, &request.token));
    assert_eq!(answer.encode(), again.encode());
    let answer = server.unprotect_response(&answer, &mut pending).unwrap();
    assert_eq!((answer.code, answer.payload.as_slice()), (Code::CHANGED, &b"one"[..]));
    assert_eq!(*seen.lock().unwrap(), [b"one"]);

    // While the client waits for something else, and without an acknowledgement.
    let (mut request, mut pending) = control(&mut server, 8, b"two");
    request.kind = Type::NonConfirmable;
    let ask = client.request(Message::request(Code::GET).with_path(["num"]));
    let serve = async {
        let get = other.receive().await;
        other.send(&request).await;
        let answer = other.receive().await;
        assert_eq!((answer.kind, &answer.token), (Type::NonConfirmable, &request.token));
        assert_eq!(server.unprotect_response(&answer, &mut pending).unwrap().payload, b"two");
        let ace_oscore::Incoming::Accepted { right, .. } = server.unprotect_request(&get).unwrap() else { panic!() };
        let answer = server.protect_response(&Message::response(Code::CONTENT), right).unwrap();
        other.answer(&get, answer).await;
    };
    assert_eq!(tokio::join!(ask, serve).0.unwrap().code, Code::CONTENT);
    assert_eq!(*seen.lock().unwrap(), [b"one", b"two"]);
}

// Covers: GO-11.1-09
#[tokio::test]
async fn what_is_not_the_servers_is_not_acted_on() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await.protect_with(context(1, 2));
    let mut server = context(2, 1);
    met(&mut other, &mut client, &mut server).await;
    // Before it serves it takes nothing.
    other.send(&control(&mut server, 1, b"early").0).await;
    listen(&mut client).await;
    assert_eq!(other.receive().await.kind, Type::Reset);
    let seen = serve(&mut client);
    let mut bare = Message::request(Code::POST).with_path(["control"]);
    (bare.kind, bare.id) = (Type::Confirmable, 2);
    other.send(&bare).await;
    other.send(&Message { kind: Type::NonConfirmable, ..bare }).await;
    // What is garbled is refused without protection; the true message with its ID is answered.
    let (true_one, mut pending) = control(&mut server, 3, b"true");
    let mut garbled = true_one.clone();
    garbled.payload.reverse();
    other.send(&garbled).await;
    other.send(&true_one).await;
    listen(&mut client).await;
    assert_eq!(other.receive().await.kind, Type::Reset);
    let refusal = other.receive().await;
    assert_eq!((refusal.code, refusal.id), (Code::BAD_REQUEST, 3));
    assert_eq!(server.unprotect_response(&other.receive().await, &mut pending).unwrap().payload, b"true");
    // The same under another message ID is a replay; with an option for a proxy it is nobody's.
    let mut proxied = true_one.clone();
    proxied.options.push(option::PROXY_SCHEME, b"coap");
    other.send(&proxied).await;
    other.send(&Message { id: 4, ..true_one }).await;
    // What cannot be understood is refused, and under protection.
    let mut request = Message::request(Code::POST);
    (request.kind, request.id) = (Type::Confirmable, 5);
    request.options.push_uint(option::BLOCK2, 8);
    let (request, mut pending) = server.protect_request(&request).unwrap();
    other.send(&request).await;
    listen(&mut client).await;
    assert_eq!(other.receive().await.code, Code::UNAUTHORIZED);
    assert_eq!(server.unprotect_response(&other.receive().await, &mut pending).unwrap().code, Code::BAD_OPTION);
    assert_eq!(*seen.lock().unwrap(), [b"true"]);
}

#[tokio::test]
async fn a_request_that_comes_in_blocks_is_handed_on_whole() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await.protect_with(context(1, 2));
    let mut server = context(2, 1);
    met(&mut other, &mut client, &mut server).await;
    let seen = serve(&mut client);
    let body: Vec<u8> = (0..40).collect();
    let mut codes = Vec::new();
    // The second one comes again: it is no other block. The third one belongs to no body.
    for (id, num, tag) in [(5_u16, 0_u32, 1_u8), (6, 1, 1), (7, 1, 9), (8, 2, 1)] {
        let block = Block { num, more: num < 2, szx: 0 };
        let mut request = Message::request(Code::POST).with_path(["control"]);
        (request.kind, request.id, request.token) = (Type::Confirmable, id, Token::new(&id.to_be_bytes()));
        request.options.push_uint(option::BLOCK1, block.to_uint());
        request.options.push(option::REQUEST_TAG, &[tag]);
        let rest = &body[block.offset()..];
        request.payload = rest[..rest.len().min(16)].to_vec();
        let (request, mut pending) = server.protect_request(&request).unwrap();
        for _ in 0..u16::from(num == 1 && tag == 1) + 1 {
            other.send(&request).await;
            listen(&mut client).await;
            let answer = other.receive().await;
            if id != 6 || codes.len() < 2 {
                let answer = server.unprotect_response(&answer, &mut pending).unwrap();
                assert_eq!(answer.options.uint(option::BLOCK1).is_some(), tag == 1);
                assert_eq!(answer.payload.is_empty(), num < 2);
                codes.push(answer.code);
            }
        }
    }
    let incomplete = Code::REQUEST_ENTITY_INCOMPLETE;
    assert_eq!(codes, [Code::CONTINUE, Code::CONTINUE, incomplete, Code::CHANGED]);
    assert_eq!(*seen.lock().unwrap(), [body]);
}

#[tokio::test]
async fn a_client_that_has_lost_its_window_asks_whether_requests_are_new_once_a_second() {
    let parameters = |sender, recipient| Parameters {
        master_secret: vec![1; 16],
        master_salt: vec![],
        sender_id: vec![sender],
        recipient_id: vec![recipient],
        id_context: None,
        aead: Aead::default(),
        hkdf: Hkdf::default(),
    };
    let mut other = Other::new().await;
    let restored = Context::restored(&parameters(1, 2), Sequence::block(0, 3)).unwrap();
    let mut client = other.client(quick()).await.protect_with(restored);
    let mut server = Context::fresh(&parameters(2, 1), Sequence::all()).unwrap();
    met(&mut other, &mut client, &mut server).await;
    let seen = serve(&mut client);
    let old: Vec<_> = (1..6).map(|id| control(&mut server, id, b"old")).collect();
    for (request, _) in &old {
        other.send(request).await;
    }
    listen(&mut client).await;
    let mut challenges = Vec::new();
    while let Some(answer) = other.next(Duration::from_millis(50)).await {
        challenges.push(answer);
    }
    assert_eq!(challenges.len(), 1, "whoever replays takes one number a second");
    let (_, mut pending) = old.into_iter().next().unwrap();
    let challenge = server.unprotect_response(&challenges[0], &mut pending).unwrap();
    assert_eq!(challenge.code, Code::UNAUTHORIZED);
    let mut request = Message::request(Code::POST);
    (request.kind, request.id, request.payload) = (Type::Confirmable, 9, b"new".to_vec());
    request.options.push(option::ECHO, challenge.options.first(option::ECHO).unwrap());
    let (request, mut pending) = server.protect_request(&request).unwrap();
    other.send(&request).await;
    listen(&mut client).await;
    assert_eq!(server.unprotect_response(&other.receive().await, &mut pending).unwrap().payload, b"new");
    assert_eq!(*seen.lock().unwrap(), [b"new"]);
    // A second later it may ask again; without a number it cannot, and keeps silent.
    assert!(matches!(client.security_mut().sequence().range(), (2, 3)));
    assert!(matches!(client.request(Message::request(Code::GET)).await, Err(ClientError::Timeout)));
    assert!(matches!(client.request(Message::request(Code::GET)).await, Err(ClientError::Protect(_))));
}

#[tokio::test]
async fn the_last_sixteen_answers_are_kept() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await.protect_with(context(1, 2));
    let mut server = context(2, 1);
    met(&mut other, &mut client, &mut server).await;
    let seen = serve(&mut client);
    let requests: Vec<_> = (1..=17).map(|id| control(&mut server, id, b"x").0).collect();
    for request in &requests {
        other.send(request).await;
    }
    listen(&mut client).await;
    let mut answers = Vec::new();
    for _ in &requests {
        answers.push(other.receive().await);
    }
    other.send(&requests[0]).await;
    other.send(&requests[1]).await;
    listen(&mut client).await;
    // The oldest is gone: what comes again is a replay now, and not acted on either.
    assert_eq!(other.receive().await.code, Code::UNAUTHORIZED);
    assert_eq!(other.receive().await, answers[1]);
    assert_eq!(seen.lock().unwrap().len(), 17);
}

#[tokio::test]
async fn another_message_with_the_id_of_an_earlier_one_is_acted_on() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await.protect_with(context(1, 2));
    let mut server = context(2, 1);
    met(&mut other, &mut client, &mut server).await;
    let seen = serve(&mut client);
    for payload in [b"one", b"two"] {
        let (request, mut pending) = control(&mut server, 7, payload);
        other.send(&request).await;
        listen(&mut client).await;
        assert_eq!(server.unprotect_response(&other.receive().await, &mut pending).unwrap().payload, payload);
    }
    assert_eq!(*seen.lock().unwrap(), [b"one", b"two"]);
}
