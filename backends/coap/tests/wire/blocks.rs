//! Bodies in blocks (RFC 7959).

use crate::lab::{Lab, Raw, get, of, request, unwrap, wrap};
use ace_backend_coap::{Limits, Purpose};
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
    for (first, name) in [(1, None), (11, Some(&b"a"[..]))] {
        let answer = raw.ask(&part(first, 0, true, name)).await;
        assert_eq!((answer.code, answer.options.uint(option::BLOCK1)), (Code::CONTINUE, Some(0xa)));
        assert_eq!(raw.ask(&part(first, 0, true, name)).await, answer, "the same block again");
        assert_eq!(raw.ask(&part(first + 1, 1, true, name)).await.code, Code::CONTINUE);
        assert_eq!(raw.ask(&part(first + 1, 1, true, name)).await.code, Code::CONTINUE, "the same block again");
        let answer = raw.ask(&part(first + 2, 2, false, name)).await;
        assert_eq!((answer.payload.as_slice(), answer.options.uint(option::BLOCK1)), (&b"133"[..], Some(0x22)));
        assert_eq!(raw.ask(&part(first + 3, 2, false, name)).await.code, Code::REQUEST_ENTITY_INCOMPLETE);
    }
    // What a proxy cuts is the protected message.
    let mut whole = of(b"c", request(Type::Confirmable, 31, Code::POST, "body"));
    whole.payload = vec![1; 133];
    let whole = wrap(&whole);
    let pieces: Vec<&[u8]> = whole.payload.chunks(64).collect();
    for (num, piece) in pieces.iter().enumerate() {
        let (num, more) = (num as u32, num + 1 < pieces.len());
        let mut message = Message { id: 31 + num as u16, payload: piece.to_vec(), ..whole.clone() };
        message.options.push_uint(option::BLOCK1, Block { num, more, szx: 2 }.to_uint());
        raw.send_as_it_is(&message.encode()).await;
        let answer = raw.message_as_it_is().await;
        assert_eq!(answer.options.uint(option::BLOCK1), message.options.uint(option::BLOCK1));
        if more {
            assert_eq!(answer.code, Code::CONTINUE);
        } else {
            assert_eq!(unwrap(&answer).unwrap().payload, b"133");
        }
    }
}

// Covers: OS-4.1.3.4.2-04
#[tokio::test]
async fn a_proxy_gets_the_answer_in_the_blocks_that_it_asks_for() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    // A resource whose answer is long, so that it comes in inner blocks of 1,024 bytes, each of which is cut.
    let asked = wrap(&of(b"a", get(1, "big")));
    let piece = async |id: u16, num: u32, payload: &[u8]| {
        let mut message = Message { id, token: get(id, "x").token, payload: payload.to_vec(), ..asked.clone() };
        message.options.push_uint(option::BLOCK2, Block { num, more: false, szx: 0 }.to_uint());
        raw.send_as_it_is(&message.encode()).await;
        raw.message_as_it_is().await
    };
    let first = piece(1, 0, &asked.payload).await;
    assert_eq!((first.code, first.payload.len()), (Code::CHANGED, 16));
    assert_eq!(first.options.first(option::OSCORE), Some(&b"a"[..]));
    let mut whole = first.clone();
    for num in 1..200_u32 {
        let next = piece(1 + num as u16, num, &[]).await;
        let block = next.options.uint(option::BLOCK2).and_then(Block::from_uint).unwrap();
        assert_eq!((next.code, block.num, next.options.has(option::OSCORE)), (Code::CHANGED, num, true));
        whole.payload.extend(next.payload);
        if !block.more {
            break;
        }
    }
    let inner = unwrap(&whole).unwrap();
    assert_eq!((inner.code, inner.payload.len()), (Code::CONTENT, 1_024));
    assert_eq!(inner.options.uint(option::BLOCK2).and_then(Block::from_uint).map(|block| block.more), Some(true));
    assert_eq!(*lab.resources.big.lock().unwrap(), 1, "it was asked for once");
    // Whoever does not ask for blocks gets none.
    raw.send_as_it_is(&Message { id: 999, ..asked.clone() }.encode()).await;
    assert!(raw.message_as_it_is().await.payload.len() > 1_024);
}

// Covers: TH-6-03/inner-blocks
#[tokio::test]
async fn each_later_block_is_given_to_who_may_have_it_still() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    let block = |id, num| {
        let mut message = of(b"a", get(id, "mine"));
        message.options.push_uint(option::BLOCK2, Block { num, more: false, szx: 6 }.to_uint());
        message
    };
    assert_eq!(raw.ask(&block(1, 0)).await.payload.len(), 1_024);
    assert_eq!(raw.ask(&block(2, 1)).await.payload.len(), 1_024);
    // Its rights end, and nobody tells the server.
    *lab.resources.gone.lock().unwrap() = true;
    let refused = raw.ask(&block(3, 2)).await;
    assert_eq!((refused.code, refused.payload.len()), (Code::FORBIDDEN, 0));
    *lab.resources.gone.lock().unwrap() = false;
    assert_eq!(raw.ask(&block(4, 2)).await.code, Code::CONTENT, "asked for anew");
    assert_eq!(
        *lab.resources.purposes.lock().unwrap(),
        [Purpose::Answer, Purpose::Permission, Purpose::Permission, Purpose::Answer]
    );
}

#[tokio::test]
async fn the_reserved_block_size_is_a_bad_request() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    for number in [option::BLOCK1, option::BLOCK2] {
        let mut message = get(1, "count");
        message.options.push_uint(number, 7);
        assert_eq!(raw.ask(&Message { id: number, ..message.clone() }).await.code, Code::BAD_REQUEST, "{number}");
        let inner = raw.ask(&of(b"a", Message { id: number + 100, ..message.clone() })).await;
        assert_eq!((inner.code, inner.options.has(option::OSCORE)), (Code::BAD_REQUEST, true), "{number}");
        let mut outer = wrap(&of(b"a", get(number + 200, "count")));
        outer.options.push_uint(number, 7);
        raw.send_as_it_is(&outer.encode()).await;
        assert_eq!(raw.message_as_it_is().await.code, Code::BAD_REQUEST, "{number}, outside");
    }
    assert_eq!(*lab.resources.count.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_at_once_with_the_size_that_fits() {
    let lab = Lab::new(Limits { body: 100, ..Limits::default() }).await;
    let raw = Raw::new(&lab).await;
    let part = |id, num, size: Option<u32>| {
        let mut message = request(Type::Confirmable, id, Code::POST, "body");
        message.options.push_uint(option::BLOCK1, Block { num, more: true, szx: 1 }.to_uint());
        size.into_iter().for_each(|size| message.options.push_uint(option::SIZE1, size));
        message.payload = vec![1; 32];
        message
    };
    for (id, size) in [(1, 101), (2, 1 << 31), (3, u32::MAX)] {
        let refused = raw.ask(&part(id, 0, Some(size))).await;
        assert_eq!(
            (refused.code, refused.options.uint(option::SIZE1)),
            (Code::REQUEST_ENTITY_TOO_LARGE, Some(100)),
            "{size}"
        );
    }
    // Who does not say it is refused when it is seen.
    for (id, num) in [(11, 0), (12, 1), (13, 2)] {
        assert_eq!(raw.ask(&part(id, num, (num == 0).then_some(100))).await.code, Code::CONTINUE);
    }
    let refused = raw.ask(&part(14, 3, None)).await;
    assert_eq!((refused.code, refused.options.uint(option::SIZE1)), (Code::REQUEST_ENTITY_TOO_LARGE, Some(100)));
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
