//! A whole KDC, and what strangers can send it over UDP: each gets the answer that the specification names, and the
//! KDC goes on.

use ace_backend_daemon::{Loaded, Running};
use ace_coap::numbers::option;
use ace_coap::{Code, Message, Token, Type};
use ace_groupcomm_messages::CreationHints;
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR};
use std::path::Path;
use std::time::Duration;
use tokio::net::UdpSocket;

async fn kdc() -> (Running, UdpSocket) {
    let text = include_str!("../kdc.toml").replace("[\"127.0.0.1:5683\", \"[::1]:5683\"]", "[\"127.0.0.1:0\"]");
    let loaded: Loaded<ace_kdc::Config> = Loaded::parse(Path::new("kdc.toml"), text).unwrap();
    let running = ace_kdc::start(&loaded, "memory:", &ace_kdc::Options::default()).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(running.addresses[0]).await.unwrap();
    (running, socket)
}

async fn receive(socket: &UdpSocket) -> Message {
    let mut buffer = vec![0; 65_536];
    let length =
        tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.expect("no answer").unwrap();
    Message::decode(&buffer[..length]).unwrap()
}

fn request(id: u16, code: Code, path: &[&str]) -> Message {
    let message = Message::request(code).with_path(path.iter().copied());
    Message { kind: Type::Confirmable, id, token: Token::new(&id.to_be_bytes()), ..message }
}

async fn ask(socket: &UdpSocket, message: &Message) -> Message {
    socket.send(&message.encode()).await.unwrap();
    let answer = receive(socket).await;
    assert_eq!((answer.kind, answer.id, &answer.token), (Type::Acknowledgement, message.id, &message.token));
    answer
}

// Covers: AF-5.1-02, AF-5.2-04
// Covers: AF-5.2-03, AF-5.3-02
#[tokio::test]
async fn who_has_no_token_is_told_where_to_get_one() {
    let (running, socket) = kdc().await;
    for (id, path) in
        [&["ace-group"][..], &["ace-group", "lamps"], &["ace-group", "nowhere"], &["ace-group", "lamps", "num"]]
            .into_iter()
            .enumerate()
    {
        let code = if path.len() == 1 { Code::FETCH } else { Code::GET };
        let answer = ask(&socket, &request(id as u16, code, path)).await;
        assert_eq!((answer.code, answer.options.content_format()), (Code::UNAUTHORIZED, Some(ACE_CBOR)), "{path:?}");
        let hints = CreationHints::decode(&answer.payload).unwrap();
        assert_eq!(hints.as_uri.as_deref(), Some("coap://127.0.0.1:5783/token"));
        assert_eq!(hints.audience.as_deref(), Some("kdc1"));
    }
    running.stop().await;
}

// Covers: OS-9-01
#[tokio::test]
async fn resources_are_found_by_what_they_are() {
    let (running, socket) = kdc().await;
    let mut found = Vec::new();
    for (id, query) in ["rt=core.osc.gm", "if=ace.groups", "if=ace.group", "rt=ace.ai", "rt=nothing"].iter().enumerate()
    {
        let mut core = request(id as u16, Code::GET, &[".well-known", "core"]);
        core.options.push(option::URI_QUERY, query.as_bytes());
        // Long enough for the whole answer: others get it in blocks.
        core.options.push(60_000, &[0; 200]);
        let answer = ask(&socket, &core).await;
        assert_eq!((answer.code, answer.options.content_format()), (Code::CONTENT, Some(40)));
        found.push(String::from_utf8(answer.payload).unwrap());
    }
    let group = |name: &str| format!("</ace-group/{name}>;rt=\"core.osc.gm\";if=\"ace.group\";osc");
    let groups = format!("{},{}", group("alarms"), group("lamps"));
    assert_eq!(found, [&groups, "</ace-group>;if=\"ace.groups\";osc", &groups, "</authz-info>;rt=\"ace.ai\"", ""]);
    running.stop().await;
}

// Covers: KG-4.3.1.1-02
#[tokio::test]
async fn nothing_that_a_stranger_sends_ends_the_kdc() {
    let (running, socket) = kdc().await;
    let protected = |id, value: &[u8], payload: &[u8]| {
        let mut message = request(id, Code::POST, &[]);
        message.options.push(option::OSCORE, value);
        message.payload = payload.to_vec();
        message
    };
    let body = |id, path: &[&str], format, payload: &[u8]| {
        request(id, Code::POST, path).with_payload(format, payload.to_vec())
    };
    for (message, code) in [
        (request(1, Code(31), &["ace-group"]), Code::METHOD_NOT_ALLOWED),
        (request(2, Code::PUT, &["authz-info"]), Code::METHOD_NOT_ALLOWED),
        (request(3, Code::GET, &["nowhere"]), Code::NOT_FOUND),
        (request(4, Code::POST, &["authz-info"]), Code::BAD_REQUEST),
        (body(5, &["authz-info"], 60, &[0xa0]), Code::UNSUPPORTED_CONTENT_FORMAT),
        (body(6, &["authz-info"], ACE_CBOR, &[0xa1, 1]), Code::BAD_REQUEST),
        (body(7, &["authz-info"], ACE_CBOR, &[0xff; 900]), Code::BAD_REQUEST),
        (body(8, &["authz-info"], ACE_CBOR, &[0xa1, 1, 0x41, 0]), Code::BAD_REQUEST),
        (body(9, &["ace-group", "lamps"], ACE_GROUPCOMM_CBOR, &[0xa0]), Code::UNAUTHORIZED),
        // OSCORE: unknown kid, no kid, reserved bits, cut, no payload.
        (protected(10, &[9, 0, 1], &[0; 20]), Code::UNAUTHORIZED),
        (protected(11, &[1, 0], &[0; 20]), Code::BAD_OPTION),
        (protected(12, &[0xe9, 0, 1], &[0; 20]), Code::BAD_OPTION),
        (protected(13, &[0x0d, 0], &[0; 20]), Code::BAD_OPTION),
        (protected(14, &[9, 0, 1], &[]), Code::BAD_OPTION),
    ] {
        let answer = ask(&socket, &message).await;
        assert_eq!(answer.code, code, "{message:?}");
    }
    for length in [0, 1, 3, 65_507] {
        socket.send(&vec![0; length]).await.unwrap();
    }
    let mut long = request(20, Code::POST, &["authz-info"]).with_payload(ACE_CBOR, vec![0x81; 65_000]);
    assert_eq!(ask(&socket, &long).await.code, Code::BAD_REQUEST);
    long.id = 21;
    long.payload = vec![0x5a; 65_000];
    assert_eq!(ask(&socket, &long).await.code, Code::BAD_REQUEST);
    assert_eq!(ask(&socket, &request(22, Code::GET, &["ace-group", "lamps"])).await.code, Code::UNAUTHORIZED);
    running.stop().await;
}

/// Sends bytes that are written in hexadecimal; the answer's type, code and token.
async fn ask_raw(socket: &UdpSocket, hex: &str) -> (Type, Code, Vec<u8>) {
    socket.send(&ace_groupcomm::config::from_hex(hex).unwrap()).await.unwrap();
    let mut buffer = vec![0; 2_048];
    let length = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap();
    // Tokens of 13 bytes and more have a length that the codec of these tests does not read (RFC 8974 section 2.1).
    let (kind, extended) = (buffer[0] >> 4 & 3, buffer[0] & 15 == 13);
    let token = if extended {
        &buffer[5..5 + usize::from(buffer[4]) + 13]
    } else {
        &buffer[4..4 + usize::from(buffer[0] & 15)]
    };
    assert!(token.len() <= length);
    (if kind == 2 { Type::Acknowledgement } else { Type::Reset }, Code(buffer[1]), token.to_vec())
}

#[tokio::test]
async fn a_block_size_that_is_reserved_and_a_token_that_is_too_long_are_refused() {
    let (running, socket) = kdc().await;
    let reserved = ask_raw(&socket, "40010001bb2e77656c6c2d6b6e6f776e04636f7265c107").await;
    assert_eq!(reserved, (Type::Acknowledgement, Code::BAD_REQUEST, vec![]));
    let token = "00".repeat(65);
    let long = ask_raw(&socket, &format!("4d01000434{token}bb2e77656c6c2d6b6e6f776e04636f7265")).await;
    assert_eq!((long.0, long.2), (Type::Acknowledgement, vec![0; 65]));
    assert!([Code::BAD_REQUEST, Code::SERVICE_UNAVAILABLE].contains(&long.1), "{:?}", long.1);
    running.stop().await;
}
