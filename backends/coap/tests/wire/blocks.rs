//! Bodies in blocks (RFC 7959).

use crate::lab::{Lab, Raw, get, of, request};
use ace_backend_coap::Limits;
use ace_coap::numbers::option;
use ace_coap::{Block, Code, Message, Type};

#[tokio::test]
async fn strangers_who_find_no_room_for_blocks_prove_their_address() {
    let lab = Lab::new(Limits { transfers_unknown: 1, ..Limits::default() }).await;
    let (raw, other) = (Raw::new(&lab).await, Raw::new(&lab).await);
    let begin = |id| {
        let mut message = request(Type::Confirmable, id, Code::POST, "body");
        message.options.push_uint(option::BLOCK1, Block { num: 0, more: true, szx: 2 }.to_uint());
        message.payload = vec![1; 64];
        message
    };
    assert_eq!(raw.ask(&begin(1)).await.code, Code::CONTINUE);
    let refused = other.ask(&begin(2)).await;
    assert_eq!(refused.code, Code::UNAUTHORIZED);
    let mut proven = begin(3);
    proven.options.push(option::ECHO, refused.options.first(option::ECHO).unwrap());
    assert_eq!(other.ask(&proven).await.code, Code::CONTINUE);
}

// Covers: OS-4.1.3.4.2-04
#[tokio::test]
async fn bodies_go_in_blocks_both_ways_and_a_proxy_may_cut_what_is_protected() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    let part = |id, num, more, name: Option<&[u8]>| {
        let mut message = request(Type::Confirmable, id, Code::POST, "body");
        message.options.push_uint(option::BLOCK1, Block { num, more, szx: 2 }.to_uint());
        message.payload = vec![1; if more { 64 } else { 5 }];
        name.into_iter().for_each(|name| message.options.set(option::OSCORE, name));
        message
    };
    for (first, name) in [(1, None), (11, Some(&b"a"[..])), (21, Some(b"c"))] {
        let answer = raw.ask(&part(first, 0, true, name)).await;
        assert_eq!((answer.code, answer.options.uint(option::BLOCK1)), (Code::CONTINUE, Some(0xa)));
        assert_eq!(raw.ask(&part(first, 0, true, name)).await, answer, "the same block again");
        assert_eq!(raw.ask(&part(first + 1, 1, true, name)).await.code, Code::CONTINUE);
        assert_eq!(raw.ask(&part(first + 1, 1, true, name)).await.code, Code::CONTINUE, "the same block again");
        let answer = raw.ask(&part(first + 2, 2, false, name)).await;
        assert_eq!((answer.payload.as_slice(), answer.options.uint(option::BLOCK1)), (&b"133"[..], Some(0x22)));
        assert_eq!(raw.ask(&part(first + 3, 2, false, name)).await.code, Code::REQUEST_ENTITY_INCOMPLETE);
    }
}

#[tokio::test]
async fn later_blocks_are_those_of_what_was_asked_for() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    let mut next = of(b"a", get(31, "big"));
    let first = raw.ask(&next).await;
    next.options.push_uint(option::BLOCK2, Block { num: 4, more: false, szx: 6 }.to_uint());
    next.id = 32;
    let last = raw.ask(&next).await;
    assert_eq!(last.payload.len(), 5_000 - 4 * 1_024);
    let etag = |message: &Message| message.options.first(option::ETAG).unwrap().to_vec();
    assert_eq!(etag(&first), etag(&last));
    // Two answers to FETCH on their way: what is asked is in the payload.
    let fetch = |id, payload: &[u8], num| {
        let mut fetch = of(b"a", request(Type::Confirmable, id, Code::FETCH, "big"));
        fetch.options.push_uint(option::BLOCK2, Block { num, more: false, szx: 6 }.to_uint());
        fetch.payload = payload.to_vec();
        fetch
    };
    for (id, payload, num, begins) in [(41, &[1][..], 0, 1), (42, &[2], 0, 2), (43, &[1], 1, 21), (44, &[], 1, 22)] {
        assert_eq!(raw.ask(&fetch(id, payload, num)).await.payload.first(), Some(&begins), "{id}");
    }
    assert_eq!(*lab.resources.big.lock().unwrap(), 3, "each was asked for once");
    let other = Lab::new(Limits::default()).await;
    let again = Raw::new(&other).await.ask(&of(b"a", get(1, "big"))).await;
    assert_eq!(etag(&again), etag(&first), "the same content at another server, or after a restart");
}
