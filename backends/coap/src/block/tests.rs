//! Transfers as a client sees them, and their bounds.

use super::*;
use ace_coap::security::PeerId;

fn stranger(port: u16) -> Owner {
    Owner::Stranger(([127, 0, 0, 1], port).into())
}

fn peer(name: u8) -> Owner {
    Owner::Peer(PeerId::new(&[name]))
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn limits() -> Limits {
    Limits { szx: 0, transfers_unknown: 2, transfers: 5, body: 64, ..Limits::default() }
}

fn post(num: u32, more: bool, payload: &[u8]) -> Message {
    let mut message = Message::request(Code::POST).with_path(["x"]);
    message.options.push_uint(option::BLOCK1, Block { num, more, szx: 0 }.to_uint());
    message.payload = payload.to_vec();
    message
}

fn code(step: &BlockStep) -> Code {
    match step {
        BlockStep::Answer(message) => message.code,
        BlockStep::Kept(kept) => kept.0.code,
        BlockStep::Whole(..) | BlockStep::Crowded => panic!("{step:?}"),
    }
}

#[test]
fn a_body_in_blocks_is_put_together() {
    let mut transfers = Transfers::new(&limits());
    let owner = peer(1);
    let step = transfers.request(at(0), &owner, post(0, true, &[1; 16]));
    assert_eq!(code(&step), Code::CONTINUE);
    assert_eq!(code(&transfers.request(at(1), &owner, post(1, true, &[2; 16]))), Code::CONTINUE);
    let BlockStep::Whole(message, block) = transfers.request(at(2), &owner, post(2, false, &[3; 5])) else { panic!() };
    assert_eq!(message.payload, [vec![1; 16], vec![2; 16], vec![3; 5]].concat());
    assert_eq!(block, Some(Block { num: 2, more: false, szx: 0 }));
    let answer = transfers.response(at(2), &owner, &message, Message::response(Code::CREATED), block);
    assert_eq!(answer.options.uint(option::BLOCK1), Some(0x20));
    assert_eq!(code(&transfers.request(at(3), &owner, post(2, false, &[3; 5]))), Code::REQUEST_ENTITY_INCOMPLETE);
}

// Covers: TH-6-03/unfragmented-size
#[test]
fn gaps_overlaps_and_excess_are_refused() {
    let mut transfers = Transfers::new(&limits());
    let owner = peer(1);
    assert_eq!(code(&transfers.request(at(0), &owner, post(1, true, &[0; 16]))), Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(code(&transfers.request(at(0), &owner, post(0, true, &[0; 15]))), Code::BAD_REQUEST);
    transfers.request(at(0), &owner, post(0, true, &[0; 16]));
    assert_eq!(code(&transfers.request(at(0), &owner, post(2, true, &[0; 16]))), Code::REQUEST_ENTITY_INCOMPLETE);
    for num in 1..4 {
        assert_eq!(code(&transfers.request(at(0), &owner, post(num, true, &[0; 16]))), Code::CONTINUE);
    }
    assert_eq!(code(&transfers.request(at(0), &owner, post(4, false, &[0]))), Code::REQUEST_ENTITY_TOO_LARGE);
    let mut reserved = post(0, true, &[]);
    reserved.options.set(option::BLOCK1, &[7]);
    assert_eq!(code(&transfers.request(at(0), &owner, reserved)), Code::BAD_REQUEST);
    transfers.request(at(0), &owner, post(0, true, &[0; 16]));
    assert_eq!(code(&transfers.request(at(30), &owner, post(1, true, &[0; 16]))), Code::REQUEST_ENTITY_INCOMPLETE);
}

fn get(num: u32, szx: u8) -> Message {
    let mut message = Message::request(Code::GET).with_path(["creds"]);
    message.options.push_uint(option::BLOCK2, Block { num, more: false, szx }.to_uint());
    message
}

fn content(length: u8) -> Message {
    let mut message = Message::response(Code::CONTENT);
    message.payload = (0..length).collect();
    message
}

// Covers: TH-6-03/one-snapshot
#[test]
fn a_long_answer_goes_in_blocks_of_one_snapshot() {
    let mut transfers = Transfers::new(&limits());
    let owner = peer(1);
    let request = Message::request(Code::GET).with_path(["creds"]);
    let first = transfers.response(at(0), &owner, &request, content(40), None);
    assert_eq!((first.payload.len(), first.options.uint(option::BLOCK2)), (16, Some(0x08)));
    assert_eq!(first.options.uint(option::SIZE2), Some(40));
    let etag = first.options.first(option::ETAG).unwrap().to_vec();
    let mut body = first.payload;
    for num in 1..3 {
        let BlockStep::Kept(kept) = transfers.request(at(1), &owner, get(num, 0)) else { panic!() };
        let answer = kept.0;
        assert_eq!(answer.options.first(option::ETAG), Some(&etag[..]));
        assert_eq!(answer.options.uint(option::BLOCK2), Some(num << 4 | u32::from(num < 2) << 3));
        body.extend(answer.payload);
    }
    assert_eq!(body, (0..40).collect::<Vec<u8>>());
    assert_eq!(code(&transfers.request(at(1), &owner, get(3, 0))), Code::BAD_OPTION);
    let BlockStep::Kept(kept) = transfers.request(at(1), &owner, get(1, 1)) else { panic!() };
    let scaled = kept.0;
    assert_eq!((scaled.payload[0], scaled.options.uint(option::BLOCK2)), (32, Some(0x20)), "the same place");
    assert_eq!(code(&transfers.request(at(1), &owner, get(1, 6))), Code::BAD_OPTION, "behind the end");
    assert!(matches!(transfers.request(at(1), &peer(2), get(1, 0)), BlockStep::Whole(..)), "another peer asks anew");
    assert!(matches!(transfers.request(at(31), &owner, get(1, 0)), BlockStep::Whole(..)), "too late: asked anew");
    // Asked anew, the block that was wanted is cut out of the new answer.
    let second = transfers.response(at(31), &owner, &get(1, 0), content(40), None);
    assert_eq!((second.payload[0], second.options.uint(option::BLOCK2)), (16, Some(0x18)));
}

#[test]
fn a_transfer_lives_as_long_as_it_is_used() {
    let mut transfers = Transfers::new(&limits());
    let owner = peer(1);
    let request = Message::request(Code::GET).with_path(["creds"]);
    transfers.response(at(0), &owner, &request, content(40), None);
    for seconds in [20, 40, 60] {
        assert_eq!(code(&transfers.request(at(seconds), &owner, get(1, 0))), Code::CONTENT);
    }
    assert_eq!(transfers.by_age.len(), 1);
    assert!(matches!(transfers.request(at(90), &owner, get(1, 0)), BlockStep::Whole(..)));
    assert_eq!(transfers.by_age.len(), 0);
}

#[test]
fn a_later_block_has_no_observe_and_a_refusal_is_not_cut() {
    let mut transfers = Transfers::new(&limits());
    let owner = peer(1);
    let request = Message::request(Code::GET).with_path(["creds"]);
    let mut observed = content(40);
    observed.options.set(option::OBSERVE, &[]);
    observed.options.push(option::ETAG, &[7]);
    let first = transfers.response(at(0), &owner, &request, observed, None);
    assert!(first.options.has(option::OBSERVE));
    assert_eq!(first.options.all(option::ETAG).collect::<Vec<_>>(), [[7]], "an ETag of its own stays alone");
    let BlockStep::Kept(kept) = transfers.request(at(0), &owner, get(1, 0)) else { panic!() };
    let second = kept.0;
    assert!(!second.options.has(option::OBSERVE));
    let refusal = Message::response(Code::NOT_FOUND);
    assert_eq!(transfers.response(at(0), &owner, &get(1, 0), refusal, None).code, Code::NOT_FOUND);
}

#[test]
fn a_post_is_not_done_again_for_its_second_block() {
    let mut transfers = Transfers::new(&limits());
    let mut next = Message::request(Code::POST).with_path(["x"]);
    next.options.push_uint(option::BLOCK2, 0x10);
    assert_eq!(code(&transfers.request(at(0), &peer(1), next.clone())), Code::REQUEST_ENTITY_INCOMPLETE);
    let request = Message::request(Code::POST).with_path(["x"]);
    transfers.response(at(0), &peer(1), &request, content(20), None);
    assert_eq!(code(&transfers.request(at(0), &peer(1), next)), Code::CONTENT);
}

#[test]
fn short_answers_go_whole_and_small_blocks_are_given_when_asked_for() {
    let mut transfers = Transfers::new(&Limits::default());
    let request = Message::request(Code::GET).with_path(["creds"]);
    let whole = transfers.response(at(0), &peer(1), &request, content(200), None);
    assert_eq!((whole.payload.len(), whole.options.len()), (200, 0));
    let small = transfers.response(at(0), &peer(1), &get(0, 2), content(200), None);
    assert_eq!((small.payload.len(), small.options.uint(option::BLOCK2)), (64, Some(0x0a)));
}

#[test]
fn an_answer_is_not_given_out_for_ever() {
    let mut transfers = Transfers::new(&limits());
    let request = Message::request(Code::GET).with_path(["creds"]);
    transfers.response(at(0), &peer(1), &request, content(40), None);
    for seconds in (0..=240).step_by(20) {
        let step = transfers.request(at(seconds), &peer(1), get(1, 0));
        assert_eq!(code(&step), Code::CONTENT, "{seconds}: each block keeps it for a while");
    }
    assert_eq!(code(&transfers.request(at(247), &peer(1), get(1, 0))), Code::CONTENT);
    assert!(matches!(transfers.request(at(248), &peer(1), get(1, 0)), BlockStep::Whole(..)), "it is asked for anew");
    assert_eq!((transfers.held, transfers.by_age.len()), (0, 0));
}

// Covers: TH-6-03/stranger-pool
// Covers: TH-6-03/transfer-caps
#[test]
fn half_transfers_have_a_bound_and_strangers_a_pool_of_their_own() {
    let mut transfers = Transfers::new(&limits());
    transfers.request(at(0), &peer(1), post(0, true, &[1; 16]));
    for port in 0..2 {
        assert_eq!(code(&transfers.request(at(0), &stranger(port), post(0, true, &[0; 16]))), Code::CONTINUE);
    }
    for port in (2..60_000).chain(2..42_000) {
        let step = transfers.request(at(4), &stranger(port), post(0, true, &[0; 16]));
        assert!(matches!(step, BlockStep::Crowded) && transfers.coming.len() == 3, "the young do not give way");
    }
    let proven = Owner::Proven(([127, 0, 0, 1], 9).into());
    assert_eq!(code(&transfers.request(at(4), &proven, post(0, true, &[0; 16]))), Code::CONTINUE);
    assert_eq!(code(&transfers.request(at(4), &stranger(0), post(1, true, &[0; 16]))), Code::CONTINUE, "it goes on");
    assert_eq!(code(&transfers.request(at(5), &stranger(7), post(0, true, &[0; 16]))), Code::CONTINUE);
    let step = transfers.request(at(5), &stranger(1), post(1, true, &[0; 16]));
    assert_eq!(code(&step), Code::REQUEST_ENTITY_INCOMPLETE, "the oldest has given way");
    assert_eq!(transfers.by_age.len(), 4);
    assert_eq!(code(&transfers.request(at(5), &peer(1), post(1, true, &[1; 16]))), Code::CONTINUE, "untouched");
    for name in 2..=9 {
        transfers.request(at(5), &peer(name), post(0, true, &[1; 16]));
    }
    assert_eq!(transfers.coming.len(), 5, "no more than in all");
    assert_eq!(code(&transfers.request(at(5), &peer(10), post(0, true, &[1; 16]))), Code::SERVICE_UNAVAILABLE);
}

#[test]
fn all_bodies_together_have_a_bound() {
    let mut transfers = Transfers::new(&Limits { bodies: 88, ..limits() });
    for num in 0..3 {
        assert_eq!(code(&transfers.request(at(0), &peer(1), post(num, true, &[1; 16]))), Code::CONTINUE);
    }
    assert_eq!(transfers.held, 48);
    let request = Message::request(Code::GET).with_path(["creds"]);
    transfers.response(at(0), &peer(2), &request, content(40), None);
    assert_eq!(transfers.held, 88);
    let first = transfers.response(at(0), &peer(3), &request, content(40), None);
    assert_eq!((first.payload.len(), transfers.held), (16, 88), "it goes out, and is not kept");
    assert_eq!(code(&transfers.request(at(0), &peer(4), post(0, true, &[1; 16]))), Code::SERVICE_UNAVAILABLE);
    assert_eq!(code(&transfers.request(at(0), &peer(1), post(3, true, &[1; 16]))), Code::SERVICE_UNAVAILABLE);
    assert_eq!(transfers.held, 40, "given up");
    transfers.request(at(0), &peer(1), post(0, true, &[1; 16]));
    transfers.request(at(0), &peer(1), post(0, true, &[1; 16]));
    assert_eq!(transfers.held, 56, "begun anew");
    transfers.request(at(0), &peer(1), post(1, true, &[1; 16]));
    assert_eq!(code(&transfers.request(at(0), &peer(1), post(2, true, &[1; 16]))), Code::CONTINUE);
    assert_eq!(transfers.held, 88, "to the last byte");
    transfers.request(at(0), &peer(1), post(0, true, &[1; 16]));
    let BlockStep::Whole(..) = transfers.request(at(0), &peer(1), post(1, false, &[1; 3])) else { panic!() };
    assert_eq!(transfers.held, 40);
    transfers.request(at(40), &peer(9), Message::request(Code::GET));
    assert_eq!((transfers.held, transfers.by_age.len()), (0, 0), "all is over");
}

#[test]
fn answers_to_different_questions_are_kept_apart() {
    let mut transfers = Transfers::new(&limits());
    let owner = peer(1);
    let fetch = |payload: &[u8], num| {
        let mut message = Message::request(Code::FETCH).with_path(["creds"]);
        message.payload = payload.to_vec();
        message.options.push_uint(option::BLOCK2, Block { num, more: false, szx: 0 }.to_uint());
        message
    };
    let answer = |byte| Message { payload: vec![byte; 40], ..Message::response(Code::CONTENT) };
    for (question, byte) in [(b"one", 1), (b"two", 2)] {
        transfers.response(at(0), &owner, &fetch(question, 0), answer(byte), None);
    }
    let next = |transfers: &mut Transfers, seconds, question: &[u8]| match transfers.request(
        at(seconds),
        &owner,
        fetch(question, 1),
    ) {
        BlockStep::Answer(answer) => Some(answer.payload[0]),
        BlockStep::Kept(kept) => Some(kept.0.payload[0]),
        _ => None,
    };
    assert_eq!(next(&mut transfers, 1, b"one"), Some(1));
    assert_eq!(next(&mut transfers, 2, b"two"), Some(2));
    assert_eq!(next(&mut transfers, 2, b"three"), None, "asked anew");
    assert_eq!(next(&mut transfers, 3, b""), Some(2), "without the question: the latest");
    transfers.response(at(4), &owner, &fetch(b"four", 0), answer(4), None);
    assert_eq!(next(&mut transfers, 5, b"one"), None, "the share is full, and the oldest has gone");
    assert_eq!(next(&mut transfers, 5, b""), Some(4));
    // Another transfer takes the place of an older one: the latest stays the latest.
    let other = Message::request(Code::GET).with_path(["other"]);
    transfers.response(at(6), &owner, &fetch(b"four", 0), answer(4), None);
    transfers.response(at(7), &owner, &other, answer(9), None);
    assert_eq!(next(&mut transfers, 8, b""), Some(4));
    transfers.expire(at(60));
    assert!(next(&mut transfers, 60, b"").is_none() && transfers.latest.is_empty());
}

#[test]
fn a_place_that_no_block_number_names_lies_behind_the_end() {
    let far = shrink(Block { num: 0x4000, more: false, szx: 6 }, 0);
    assert_eq!((far.num, far.szx), (Block::MAX_NUM, 0));
    assert_eq!(shrink(Block { num: 3, more: true, szx: 2 }, 0), Block { num: 12, more: false, szx: 0 });
    assert_eq!(shrink(Block { num: 3, more: true, szx: 2 }, 6), Block { num: 3, more: false, szx: 2 });
}

#[test]
fn transfers_of_one_peer_are_told_apart_by_all_that_they_ask() {
    let mut transfers = Transfers::new(&limits());
    let owner = peer(1);
    let on = |path: &str, num, more, byte| {
        let mut message = Message::request(Code::POST).with_path([path]);
        message.options.push_uint(option::BLOCK1, Block { num, more, szx: 0 }.to_uint());
        message.payload = vec![byte; 16];
        message
    };
    for (path, byte) in [("a", 1), ("b", 2)] {
        assert_eq!(code(&transfers.request(at(0), &owner, on(path, 0, true, byte))), Code::CONTINUE);
    }
    for (path, byte) in [("a", 1), ("b", 2)] {
        let BlockStep::Whole(message, _) = transfers.request(at(0), &owner, on(path, 1, false, byte)) else { panic!() };
        assert_eq!(message.payload, [byte; 32]);
    }
}

// Covers: TH-6-03/request-tag, TH-6-03/transfer-caps
#[test]
fn transfers_to_one_resource_are_told_apart_by_their_request_tags() {
    let mut transfers = Transfers::new(&limits());
    let owner = peer(1);
    let tagged = |tag: &[u8], num, more, byte| {
        let mut message = post(num, more, &[byte; 16]);
        message.options.push(option::REQUEST_TAG, tag);
        message
    };
    for (tag, byte) in [(&[1][..], 1), (&[2], 2)] {
        assert_eq!(code(&transfers.request(at(0), &owner, tagged(tag, 0, true, byte))), Code::CONTINUE);
    }
    for (tag, byte) in [(&[2][..], 2), (&[1], 1)] {
        let step = transfers.request(at(0), &owner, tagged(tag, 1, false, byte));
        let BlockStep::Whole(message, _) = step else { panic!("{step:?}") };
        assert_eq!(message.payload, [byte; 32]);
    }
    // One client has two at once: a third one takes the place of the oldest.
    for (tag, byte) in [(&[1][..], 1), (&[2], 2), (&[3], 3)] {
        assert_eq!(code(&transfers.request(at(0), &owner, tagged(tag, 0, true, byte))), Code::CONTINUE);
    }
    let step = transfers.request(at(0), &owner, tagged(&[1], 1, false, 1));
    assert_eq!(code(&step), Code::REQUEST_ENTITY_INCOMPLETE);
    // One without a tag is another one than that with an empty tag.
    transfers.request(at(0), &owner, tagged(&[], 0, true, 4));
    let step = transfers.request(at(0), &owner, post(1, false, &[4; 16]));
    assert_eq!(code(&step), Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn a_body_may_be_as_large_as_the_bound() {
    let mut transfers = Transfers::new(&limits());
    for num in 0..3 {
        assert_eq!(code(&transfers.request(at(0), &peer(1), post(num, true, &[1; 16]))), Code::CONTINUE);
    }
    let BlockStep::Whole(message, _) = transfers.request(at(0), &peer(1), post(3, false, &[1; 16])) else { panic!() };
    assert_eq!(message.payload.len(), 64);
    // A long refusal is cut as well, where it is the first that is asked for.
    let refusal = Message { payload: vec![1; 40], ..Message::response(Code::NOT_FOUND) };
    let first = transfers.response(at(0), &peer(1), &Message::request(Code::GET), refusal, None);
    assert_eq!((first.payload.len(), first.options.uint(option::BLOCK2)), (16, Some(8)));
}
