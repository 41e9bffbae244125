//! What endpoints see: replays, lost windows, observations, tampering, and arbitrary bytes.

mod properties;

use ace_coap::numbers::option;
use ace_coap::{Code, Message};
use ace_oscore::{
    Aead, Context, Error, Hkdf, Incoming, OscoreOption, Parameters, PartialIv, RequestId, ResponseRight, Sequence,
};

fn parameters(sender: &[u8], recipient: &[u8]) -> Parameters {
    Parameters {
        master_secret: vec![3; 16],
        master_salt: vec![4; 8],
        sender_id: sender.to_vec(),
        recipient_id: recipient.to_vec(),
        id_context: None,
        aead: Aead::default(),
        hkdf: Hkdf::default(),
    }
}

fn client() -> Context {
    Context::fresh(&parameters(b"c", b"s"), Sequence::all()).unwrap()
}

fn server() -> Context {
    Context::fresh(&parameters(b"s", b"c"), Sequence::all()).unwrap()
}

fn get() -> Message {
    Message::request(Code::GET).with_path(["lamps"])
}

fn accept(server: &mut Context, request: &Message) -> (Message, ResponseRight, bool) {
    match server.unprotect_request(request) {
        Ok(Incoming::Accepted { message, right, echoed }) => (message, right, echoed),
        other => panic!("{other:?}"),
    }
}

fn content(text: &str) -> Message {
    let mut response = Message::response(Code::CONTENT);
    response.payload = text.as_bytes().to_vec();
    response
}

// Covers: OS-7.4-01, OS-7.4-02, TH-1-03/verified-window
// Covers: AF-5-01, AF-5.8.4.3-02
#[test]
fn a_request_is_accepted_once_and_a_forged_number_moves_nothing() {
    let (mut client, mut server) = (client(), server());
    let (first, _) = client.protect_request(&get()).unwrap();
    let (second, _) = client.protect_request(&get()).unwrap();
    accept(&mut server, &second);
    assert_eq!(server.unprotect_request(&second).unwrap_err(), Error::Replay);

    let mut forged = first.clone();
    let value =
        OscoreOption { partial_iv: PartialIv::new(PartialIv::MAX), kid_context: None, kid: Some(b"c".to_vec()) };
    forged.options.set(option::OSCORE, &value.encode().unwrap());
    assert_eq!(server.unprotect_request(&forged).unwrap_err(), Error::Decryption);
    accept(&mut server, &first);
    assert_eq!(server.unprotect_request(&first).unwrap_err(), Error::Replay);
}

// Covers: OS-8.2-03, OS-8.2-10
// Covers: OS-2-02
#[test]
fn what_cannot_be_read_or_verified_is_told_apart() {
    let (mut client, mut server) = (client(), server());
    let (good, _) = client.protect_request(&get()).unwrap();
    let refused = |server: &mut Context, change: &dyn Fn(&mut Message)| {
        let mut message = good.clone();
        change(&mut message);
        server.unprotect_request(&message).unwrap_err()
    };
    assert_eq!(refused(&mut server, &|m| m.options.remove(option::OSCORE)), Error::NotProtected);
    assert_eq!(refused(&mut server, &|m| m.payload.clear()), Error::Malformed);
    assert_eq!(refused(&mut server, &|m| m.options.set(option::OSCORE, &[0xff])), Error::Malformed);
    assert_eq!(refused(&mut server, &|m| m.options.set(option::OSCORE, &[])), Error::Malformed);
    assert_eq!(refused(&mut server, &|m| m.options.set(option::OSCORE, &[0x01, 0])), Error::Malformed, "no kid");
    assert_eq!(refused(&mut server, &|m| m.options.push(option::OSCORE, &[0x09, 0])), Error::Malformed, "twice");
    assert_eq!(refused(&mut server, &|m| m.options.set(option::OSCORE, b"\x09\x00x")), Error::NoContext);
    assert_eq!(refused(&mut server, &|m| m.payload[0] ^= 1), Error::Decryption);
    assert_eq!(refused(&mut server, &|m| m.payload.truncate(3)), Error::Decryption);
    accept(&mut server, &good);
}

// Covers: OS-4.1.3.6-03, OS-4.1.3.6-04
// Covers: OS-4.2-04, OS-4.1.3.7-01, OS-4.1.3.6-02, OS-4.1.3.6-05, OS-4.1-01
// Covers: AF-5.8.4.3-02
#[test]
fn inner_options_are_hidden_and_outer_forgeries_dropped() {
    let (mut client, mut server) = (client(), server());
    let mut request = get();
    request.options.push(option::URI_HOST, b"kdc");
    request.options.push(option::URI_QUERY, b"secret=1");
    request.options.push_uint(option::NO_RESPONSE, 26);
    request.options.push(2_000, b"unknown");
    let (mut protected, _) = client.protect_request(&request).unwrap();
    let outside: Vec<u16> = protected.options.iter().map(|(n, _)| n).collect();
    assert_eq!(outside, [option::URI_HOST, option::OSCORE]);
    assert_eq!(protected.code, Code::POST);

    protected.code = Code::DELETE;
    protected.options.push(option::URI_PATH, b"forged");
    protected.options.push(option::IF_MATCH, b"forged");
    protected.options.push_uint(option::NO_RESPONSE, 2);
    let (message, ..) = accept(&mut server, &protected);
    assert_eq!(message, request);

    let (twice, _) = client.protect_request(&get()).unwrap();
    assert_eq!(client.protect_request(&twice).map(|_| ()).unwrap_err(), Error::Unprotectable);
    let mut proxied = get();
    proxied.options.push(option::PROXY_URI, b"coap://x");
    assert_eq!(client.protect_request(&proxied).map(|_| ()).unwrap_err(), Error::Unprotectable);
}

// Covers: OS-B.1.2-01
// Covers: OS-7.5-01
#[test]
fn a_restored_server_challenges_once_and_then_refuses_what_came_before() {
    let mut client = client();
    let (before, _) = client.protect_request(&get()).unwrap();
    let mut former = Context::fresh(&parameters(b"s", b"c"), Sequence::block(0, 64)).unwrap();
    accept(&mut former, &before);
    let mut server = Context::restored(&parameters(b"s", b"c"), Sequence::block(64, 128)).unwrap();

    let (asked, mut pending) = client.protect_request(&get()).unwrap();
    let Ok(Incoming::Unsynchronised(challenge)) = server.unprotect_request(&asked) else { panic!("no challenge") };
    let answer = server.challenge(&asked, challenge, [9; 8]).unwrap();
    let value = OscoreOption::decode(answer.options.first(option::OSCORE).unwrap()).unwrap();
    assert_eq!(value.partial_iv.map(PartialIv::number), Some(64), "a Partial IV of its own");

    // A replayed request gets a challenge too, and does not change the value that the client was given.
    let Ok(Incoming::Unsynchronised(challenge)) = server.unprotect_request(&before) else { panic!("no challenge") };
    server.challenge(&before, challenge, [1; 8]).unwrap();

    let response = client.unprotect_response(&answer, &mut pending).unwrap();
    assert_eq!(response.code, Code::UNAUTHORIZED);
    assert!(response.payload.is_empty() && response.options.len() == 1);
    let echo = response.options.first(option::ECHO).unwrap();
    assert_eq!(echo, [9; 8]);

    let mut again = get();
    again.options.push(option::ECHO, echo);
    let (again, _) = client.protect_request(&again).unwrap();
    let (_, _, echoed) = accept(&mut server, &again);
    assert!(echoed);
    for old in [&before, &asked, &again] {
        assert_eq!(server.unprotect_request(old).unwrap_err(), Error::Replay);
    }
    let (next, _) = client.protect_request(&get()).unwrap();
    accept(&mut server, &next);
}

#[test]
fn a_wrong_echo_is_challenged_again() {
    let mut client = client();
    let mut server = Context::restored(&parameters(b"s", b"c"), Sequence::all()).unwrap();
    let mut request = get();
    request.options.push(option::ECHO, &[0; 8]);
    let (request, _) = client.protect_request(&request).unwrap();
    assert!(matches!(server.unprotect_request(&request), Ok(Incoming::Unsynchronised(_))));
    let Ok(Incoming::Unsynchronised(challenge)) = server.unprotect_request(&request) else { panic!() };
    server.challenge(&request, challenge, [0; 8]).unwrap();
    let (_, _, echoed) = accept(&mut server, &request);
    assert!(echoed, "the value that was sent fits");
}

/// A request with this Echo value.
fn with_echo(client: &mut Context, echo: &[u8]) -> Message {
    let mut request = get();
    request.options.push(option::ECHO, echo);
    client.protect_request(&request).unwrap().0
}

fn challenged(server: &mut Context, request: &Message, echo: [u8; 8]) {
    let Ok(Incoming::Unsynchronised(challenge)) = server.unprotect_request(request) else { panic!("no challenge") };
    server.challenge(request, challenge, echo).unwrap();
}

#[test]
fn an_echo_of_another_process_is_not_acted_on() {
    let (mut client, mut server) = (client(), server());
    server.sequence().extend(0, 10);
    let elsewhere = with_echo(&mut client, &[7; 8]);
    challenged(&mut server, &elsewhere, [1; 8]);
    challenged(&mut server, &elsewhere, [2; 8]);
    let here = with_echo(&mut client, &[1; 8]);
    assert!(!server.would_synchronise(&here).unwrap(), "its window is whole");
    assert!(accept(&mut server, &here).2);
    assert!(accept(&mut server, &with_echo(&mut client, &[1; 8])).2, "a client may repeat it");
    challenged(&mut server, &with_echo(&mut client, &[2; 8]), [3; 8]);
    accept(&mut server, &client.protect_request(&get()).unwrap().0);
}

// Covers: TH-1-02/takeover-term
#[test]
fn a_window_that_is_forgotten_comes_back_with_an_echo_alone() {
    let (mut client, mut server) = (client(), server());
    server.sequence().extend(0, 10);
    let (first, _) = client.protect_request(&get()).unwrap();
    accept(&mut server, &first);
    server.forget_window();
    assert!(!server.would_synchronise(&first).unwrap(), "no Echo was sent");
    challenged(&mut server, &first, [1; 8]);
    assert_eq!(server.sequence().range().0, 1, "numbers go on");
    let again = with_echo(&mut client, &[1; 8]);
    assert!(!server.would_synchronise(&with_echo(&mut client, &[2; 8])).unwrap());
    assert!(!server.would_synchronise(&first).unwrap());
    for _ in 0..2 {
        assert!(server.would_synchronise(&again).unwrap(), "which changes nothing");
    }
    let mut forged = again.clone();
    forged.payload[0] ^= 1;
    assert_eq!(server.would_synchronise(&forged), Err(Error::Decryption));
    assert!(accept(&mut server, &again).2);
    assert_eq!(server.unprotect_request(&first).unwrap_err(), Error::Replay);
}

#[test]
fn a_context_that_is_taken_over_takes_what_carries_its_own_echo_until_a_new_one_is_answered() {
    let (mut client, mut server) = (client(), server());
    server.sequence().extend(0, 10);
    server.forget_window();
    let (first, _) = client.protect_request(&get()).unwrap();
    challenged(&mut server, &first, [1; 8]);
    let claims = with_echo(&mut client, &[1; 8]);
    let repeats = with_echo(&mut client, &[1; 8]);
    let [early, elsewhere, between] = [0; 3].map(|_| client.protect_request(&get()).unwrap().0);

    server.take_over();
    assert!(accept(&mut server, &claims).2);
    assert!(accept(&mut server, &repeats).2, "its own value, once more");
    challenged(&mut server, &early, [2; 8]);
    challenged(&mut server, &elsewhere, [3; 8]);
    challenged(&mut server, &with_echo(&mut client, &[3; 8]), [4; 8]);
    let proof = with_echo(&mut client, &[2; 8]);
    assert!(accept(&mut server, &proof).2);
    for old in [&claims, &repeats, &early, &elsewhere, &between, &proof] {
        assert_eq!(server.unprotect_request(old).unwrap_err(), Error::Replay);
    }
    let (next, _) = client.protect_request(&get()).unwrap();
    assert!(!accept(&mut server, &next).2);
}

#[test]
fn a_request_can_be_verified_beforehand() {
    let (mut client, mut server) = (client(), server());
    let (request, _) = client.protect_request(&get()).unwrap();
    let mut forged = request.clone();
    forged.payload[0] ^= 1;
    for _ in 0..2 {
        assert_eq!(server.would_verify(&request), Ok(()), "which changes nothing");
    }
    assert_eq!(server.would_verify(&forged), Err(Error::Decryption));
    accept(&mut server, &request);
    assert_eq!(server.would_verify(&request), Err(Error::Replay));
}

#[test]
fn a_challenge_that_is_forgotten_is_answered_in_vain() {
    let (mut client, mut server) = (client(), server());
    server.sequence().extend(0, 10);
    server.forget_window();
    let (first, _) = client.protect_request(&get()).unwrap();
    challenged(&mut server, &first, [1; 8]);
    server.forget_challenge();
    let late = with_echo(&mut client, &[1; 8]);
    assert!(!server.would_synchronise(&late).unwrap());
    challenged(&mut server, &late, [2; 8]);
    assert!(accept(&mut server, &with_echo(&mut client, &[2; 8])).2);
    // A value that is forgotten shows no more that a request is new; it is ours all the same.
    assert!(accept(&mut server, &with_echo(&mut client, &[2; 8])).2);
    server.forget_challenge();
    assert!(!accept(&mut server, &with_echo(&mut client, &[2; 8])).2);
}

// Covers: OS-7.2.1-02
#[test]
fn a_context_without_numbers_takes_nothing_any_more() {
    let (mut client, mut server) = (client(), server());
    let (request, _) = client.protect_request(&get()).unwrap();
    server.sequence().extend(PartialIv::MAX + 1, u64::MAX);
    assert_eq!(server.unprotect_request(&request).unwrap_err(), Error::NoContext);
    assert_eq!(server.would_verify(&request), Err(Error::NoContext));
    assert_eq!(server.protect_request(&get()).map(|_| ()).unwrap_err(), Error::Exhausted);
    // What was accepted before is not answered any more either.
    let mut server = Context::fresh(&parameters(b"s", b"c"), Sequence::all()).unwrap();
    let (_, right, _) = accept(&mut server, &request);
    server.sequence().extend(PartialIv::MAX + 1, u64::MAX);
    assert_eq!(server.protect_response(&content("x"), right).unwrap_err(), Error::Exhausted);
}

// Covers: TH-1-04/none-left
#[test]
fn without_numbers_nothing_is_sent() {
    let mut client = Context::fresh(&parameters(b"c", b"s"), Sequence::block(5, 6)).unwrap();
    let mut server = Context::fresh(&parameters(b"s", b"c"), Sequence::none()).unwrap();
    let (request, _) = client.protect_request(&get()).unwrap();
    assert_eq!(client.protect_request(&get()).map(|_| ()).unwrap_err(), Error::NeedSequence);
    let (_, right, _) = accept(&mut server, &request);
    let registration = right.notification_right();
    assert_eq!(format!("{registration:?}"), "NotificationRight", "and no more: it holds a nonce");
    assert_eq!(server.protect_notification(&content("1"), &registration).unwrap_err(), Error::NeedSequence);
    server.sequence().extend(0, 10);
    server.protect_notification(&content("1"), &registration).unwrap();
    server.protect_response(&content("1"), right).unwrap();
}

fn observing() -> Message {
    let mut request = get();
    request.options.push_uint(option::OBSERVE, 0);
    request
}

fn notification(number: u32, text: &str) -> Message {
    let mut message = content(text);
    message.options.push_uint(option::OBSERVE, number);
    message
}

// Covers: OS-7.4.1-04, OS-8-02, OS-4.1.3.5-03, OS-4.1.3.5.2-04, OS-4.1.3.5.2-06, OS-7.4.1-02, OS-7.4.1-03
// Covers: OS-7.4.1-05, OS-4.1.3.5.2-01
// Covers: OS-4.1.3.5-02, OS-4.1.3.5.2-05, OS-4.1.3.5.2-07, OS-4.1.3.5-04, OS-4.1.3.5-07, OS-4.1.3.5.2-02
// Covers: OS-8.4.2-01
#[test]
fn notifications_are_ordered_by_their_numbers_and_accepted_once() {
    let (mut client, mut server) = (client(), server());
    let (mut request, mut pending) = client.protect_request(&observing()).unwrap();
    assert_eq!(request.code, Code::FETCH);
    assert_eq!(request.options.uint(option::OBSERVE), Some(0));
    request.options.set(option::OBSERVE, &[1]);
    let (inner, right, _) = accept(&mut server, &request);
    assert_eq!(inner.options.uint(option::OBSERVE), Some(0), "the inner one, whatever stands outside");
    let registration = right.notification_right();
    let (other, mut pending_other) = client.protect_request(&observing()).unwrap();
    let others = accept(&mut server, &other).1.notification_right();
    let mut first = notification(7, "first");
    first.options.set(option::OBSERVE, &[]);
    let first = server.protect_response(&first, right).unwrap();
    let earlier = server.protect_notification(&notification(7, "other"), &others).unwrap();
    let second = server.protect_notification(&notification(8, "second"), &registration).unwrap();
    server.sequence().extend((1 << 24) + 5, u64::MAX);
    let valid = Message { code: Code::VALID, ..notification(9, "third") };
    let third = server.protect_notification(&valid, &registration).unwrap();
    assert_eq!((second.code, second.options.uint(option::OBSERVE)), (Code::CONTENT, Some(8)));
    assert_eq!((first.code, third.code), (Code::CONTENT, Code::CONTENT), "the code travels inside");

    let got = client.unprotect_response(&first, &mut pending).unwrap();
    assert_eq!((got.payload.as_slice(), got.options.uint(option::OBSERVE)), (&b"first"[..], Some(0)));
    assert_eq!(client.unprotect_response(&first, &mut pending).unwrap_err(), Error::Replay);
    let mut forged = third.clone();
    forged.payload[0] ^= 1;
    assert_eq!(client.unprotect_response(&forged, &mut pending).unwrap_err(), Error::Decryption);
    let mut relabelled = third.clone();
    relabelled.options.set(option::OBSERVE, &[6]);
    let got = client.unprotect_response(&relabelled, &mut pending).unwrap();
    // The last three bytes of the number, not what stands outside.
    assert_eq!((got.code, got.options.uint(option::OBSERVE)), (Code::VALID, Some(5)));
    assert_eq!(got.payload, b"third");
    assert!(client.unprotect_response(&earlier, &mut pending_other).is_ok(), "each observation by itself");
    assert_eq!(client.unprotect_response(&second, &mut pending).unwrap_err(), Error::Replay);
    assert_eq!(client.unprotect_response(&third, &mut pending).unwrap_err(), Error::Replay);

    // The error that ends it has no Observe, inside and outside, and a number of its own.
    let end = server.protect_notification(&Message::response(Code::NOT_FOUND), &registration).unwrap();
    assert!(!end.options.has(option::OBSERVE));
    assert_eq!(end.options.first(option::OSCORE), Some(&[4, 1, 0, 0, 6][..]));
    let got = client.unprotect_response(&end, &mut pending).unwrap();
    assert_eq!((got.code, got.options.is_empty()), (Code::NOT_FOUND, true));
}

// Covers: OS-7.4.1-01
#[test]
fn a_response_without_number_cannot_follow_as_a_notification() {
    let (mut client, mut server) = (client(), server());
    let (request, mut pending) = client.protect_request(&observing()).unwrap();
    let (_, right, _) = accept(&mut server, &request);
    let registration = right.notification_right();
    let later = server.protect_notification(&notification(1, "later"), &registration).unwrap();
    let mut first = notification(0, "first");
    first.options.set(option::OBSERVE, &[]);
    let first = server.protect_response(&first, right).unwrap();
    client.unprotect_response(&later, &mut pending).unwrap();
    assert_eq!(client.unprotect_response(&first, &mut pending).unwrap_err(), Error::Replay, "it is the oldest");
}

#[test]
fn an_inner_observe_that_nobody_asked_for_is_refused() {
    let (mut client, mut server) = (client(), server());
    let (request, mut pending) = client.protect_request(&get()).unwrap();
    let (_, right, _) = accept(&mut server, &request);
    let response = server.protect_response(&notification(0, "x"), right).unwrap();
    assert_eq!(client.unprotect_response(&response, &mut pending).unwrap_err(), Error::Content);
}

// Covers: AF-5-03, AF-5.8.4.3-03
// Covers: OS-2-02, OS-8.4-02
// Covers: AF-5-02
#[test]
fn a_client_tells_unprotected_and_foreign_responses_from_its_own() {
    let (mut client, mut server) = (client(), server());
    let (one, mut pending_one) = client.protect_request(&get()).unwrap();
    let (_, mut pending_two) = client.protect_request(&get()).unwrap();
    let (_, right, _) = accept(&mut server, &one);
    let response = server.protect_response(&content("one"), right).unwrap();
    assert_eq!(client.unprotect_response(&content("x"), &mut pending_one).unwrap_err(), Error::NotProtected);
    assert_eq!(client.unprotect_response(&response, &mut pending_two).unwrap_err(), Error::Decryption);
    let mut bare = response.clone();
    bare.payload.clear();
    assert_eq!(client.unprotect_response(&bare, &mut pending_one).unwrap_err(), Error::Malformed);
    let mut reserved = response.clone();
    reserved.options.set(option::OSCORE, &[0xe0]);
    assert_eq!(client.unprotect_response(&reserved, &mut pending_one).unwrap_err(), Error::Malformed);
    assert_eq!(client.unprotect_response(&response, &mut pending_one).unwrap().payload, b"one");
}

#[test]
fn requests_and_responses_cannot_stand_in_for_each_other() {
    let (mut client, mut server) = (client(), server());
    let (request, _) = client.protect_request(&content("not a request")).unwrap();
    assert_eq!(server.unprotect_request(&request).unwrap_err(), Error::Content);
    let (request, mut pending) = client.protect_request(&get()).unwrap();
    let (_, right, _) = accept(&mut server, &request);
    let response = server.protect_response(&get(), right).unwrap();
    assert_eq!(client.unprotect_response(&response, &mut pending).unwrap_err(), Error::Content);
}

// Covers: OS-4.1.3.1-01
#[test]
fn the_inner_max_age_is_the_servers() {
    let (mut client, mut server) = (client(), server());
    let (request, mut pending) = client.protect_request(&get()).unwrap();
    let (_, right, _) = accept(&mut server, &request);
    let mut answer = content("on");
    answer.options.push_uint(option::MAX_AGE, 9);
    let mut protected = server.protect_response(&answer, right).unwrap();
    assert!(!protected.options.has(option::MAX_AGE), "it travels inside");
    protected.options.push_uint(option::MAX_AGE, 60);
    let read = client.unprotect_response(&protected, &mut pending).unwrap();
    assert_eq!(read.options.uint(option::MAX_AGE), Some(9), "what a proxy added is dropped");
}

#[test]
fn every_algorithm_carries_a_message() {
    for aead in [Aead::AesCcm16_64_128, Aead::A128Gcm, Aead::A256Gcm, Aead::ChaCha20Poly1305] {
        for hkdf in [Hkdf::Sha256, Hkdf::Sha512] {
            let mut ours = parameters(b"c", b"s");
            (ours.aead, ours.hkdf, ours.id_context) = (aead, hkdf, Some(b"ctx".to_vec()));
            let mut theirs = ours.clone();
            (theirs.sender_id, theirs.recipient_id) = (b"s".to_vec(), b"c".to_vec());
            let mut client = Context::fresh(&ours, Sequence::all()).unwrap();
            let mut server = Context::fresh(&theirs, Sequence::all()).unwrap();
            assert_eq!((client.sender_id(), client.recipient_id()), (&b"c"[..], &b"s"[..]));
            assert_eq!(client.id_context(), Some(&b"ctx"[..]));
            let (request, mut pending) = client.protect_request(&get()).unwrap();
            let id = RequestId::of(&request).unwrap();
            assert_eq!((id.kid.as_slice(), id.kid_context.as_deref()), (&b"c"[..], Some(&b"ctx"[..])));
            let (message, right, _) = accept(&mut server, &request);
            assert_eq!(message, get());
            let response = server.protect_response(&content("x"), right).unwrap();
            assert_eq!(client.unprotect_response(&response, &mut pending).unwrap().payload, b"x");
        }
    }
}

// Covers: OS-4.1.3.4.1-02
#[test]
fn block_options_travel_inside() {
    let (mut client, mut server) = (client(), server());
    let mut request = get();
    request.options.push_uint(option::BLOCK1, 0x1e);
    request.options.push_uint(option::BLOCK2, 0x06);
    request.options.push_uint(option::SIZE1, 2_000);
    let (protected, _) = client.protect_request(&request).unwrap();
    assert!(!protected.options.has(option::BLOCK1) && !protected.options.has(option::BLOCK2));
    assert_eq!(accept(&mut server, &protected).0, request);
}
