//! Bodies in blocks, of requests and of answers.

use crate::lab::*;
use ace_backend_coap::{ClientError, Limits};
use ace_coap::numbers::option;
use ace_coap::{Block, Code, Message};

#[tokio::test]
async fn a_body_goes_in_the_blocks_that_the_server_wants() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await;
    let body: Vec<u8> = (0..2_500_u32).map(|i| (i % 251) as u8).collect();
    let serve = async {
        let (mut got, mut tags) = (Vec::new(), Vec::new());
        loop {
            let request = other.receive().await;
            let block = Block::from_uint(request.options.uint(option::BLOCK1).unwrap()).unwrap();
            assert_eq!(block.offset(), got.len());
            assert_eq!(request.options.uint(option::SIZE1), (block.num == 0).then_some(2_500));
            got.extend_from_slice(&request.payload);
            tags.push(request.options.first(option::REQUEST_TAG).unwrap().to_vec());
            let mut answer = Message::response(if block.more { Code::CONTINUE } else { Code::CHANGED });
            answer.options.push_uint(option::BLOCK1, Block { szx: 4, ..block }.to_uint());
            other.answer(&request, answer).await;
            if !block.more {
                return (got, tags);
            }
        }
    };
    let post = Message { payload: body.clone(), ..Message::request(Code::POST).with_path(["x"]) };
    let (answer, (got, tags)) = tokio::join!(client.request(post.clone()), serve);
    assert_eq!((answer.unwrap().code, got), (Code::CHANGED, body));
    assert!(tags.len() == 1 + 6 && tags.windows(2).all(|pair| pair[0] == pair[1]), "{}", tags.len());
    let serve = async {
        let request = other.receive().await;
        other.answer(&request, Message::response(Code::REQUEST_ENTITY_TOO_LARGE)).await;
        request.options.first(option::REQUEST_TAG).unwrap().to_vec()
    };
    let (answer, tag) = tokio::join!(client.request(post), serve);
    assert_eq!(answer.unwrap().code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_ne!(tag, tags[0], "another body");
}

#[tokio::test]
async fn blocks_of_two_answers_are_not_put_together() {
    let mut other = Other::new().await;
    let mut client = other.client(quick()).await;
    let part = |num, more, etag: &[u8]| {
        let mut answer = content(&[num as u8; 16]);
        answer.options.push(option::ETAG, etag);
        answer.options.push_uint(option::BLOCK2, Block { num, more, szx: 0 }.to_uint());
        answer
    };
    for (second, whole) in [(part(1, false, b"a"), true), (part(1, false, b"b"), false), (part(2, false, b"a"), false)]
    {
        let serve = async {
            let request = other.receive().await;
            other.answer(&request, part(0, true, b"a")).await;
            let request = other.receive().await;
            assert_eq!(request.options.uint(option::BLOCK2), Some(0x10));
            other.answer(&request, second).await;
        };
        let (answer, ()) = tokio::join!(client.request(get()), serve);
        match answer {
            Ok(answer) => assert!(whole && answer.payload.len() == 32 && !answer.options.has(option::BLOCK2)),
            Err(error) => assert!(!whole && matches!(error, ClientError::Blocks)),
        }
    }
}

#[tokio::test]
async fn an_answer_has_a_bound_to_the_last_byte() {
    for (bound, fits) in [(32, true), (31, false)] {
        let mut other = Other::new().await;
        let mut client = other.client(Limits { body: bound, ..quick() }).await;
        let serve = async {
            for num in 0..2 {
                let request = other.receive().await;
                let mut answer = content(&[7; 16]);
                answer.options.push_uint(option::BLOCK2, Block { num, more: num == 0, szx: 0 }.to_uint());
                other.answer(&request, answer).await;
            }
        };
        let (answer, ()) = tokio::join!(client.request(get()), serve);
        assert_eq!(answer.map(|answer| answer.payload.len()).ok(), fits.then_some(32), "{bound}");
    }
}

#[tokio::test]
async fn later_blocks_may_be_smaller_and_belong_to_the_body_that_was_sent() {
    let mut other = Other::new().await;
    let mut client = other.client(Limits { szx: 0, ..quick() }).await;
    let part = |num, more, szx: u8| {
        let mut answer = content(&vec![num as u8; 16 << szx]);
        answer.options.push_uint(option::BLOCK2, Block { num, more, szx }.to_uint());
        answer
    };
    for code in [Code::POST, Code::FETCH] {
        let serve = async {
            let (mut tag, mut asked) = (None, Vec::new());
            for answer in [None, Some(part(0, true, 2)), Some(part(4, true, 0)), Some(part(5, false, 0))] {
                let request = other.receive().await;
                let its = request.options.first(option::REQUEST_TAG).map(<[u8]>::to_vec);
                assert!(its.is_some() && (tag.is_none() || tag == its));
                tag = its;
                match answer {
                    None => other.answer(&request, Message::response(Code::CONTINUE)).await,
                    Some(answer) => {
                        asked.push((request.options.uint(option::BLOCK2), request.payload.len()));
                        other.answer(&request, answer).await;
                    }
                }
            }
            asked
        };
        let request = Message { payload: vec![7; 20], ..Message::request(code).with_path(["x"]) };
        let (answer, asked) = tokio::join!(client.request(request), serve);
        assert_eq!(answer.unwrap().payload.len(), 64 + 16 + 16);
        assert_eq!(asked, [(None, 4), (Some(0x12), 0), (Some(0x50), 0)]);
    }
    // A last block is the last one, and a body that never ends is given up.
    let serve = async {
        let request = other.receive().await;
        other.answer(&request, part(0, false, 0)).await;
    };
    let (answer, ()) = tokio::join!(client.request(get()), serve);
    assert_eq!(answer.unwrap().payload.len(), 16);
    for (body, last) in [(32, 2), (31, 1)] {
        let mut client = other.client(Limits { body, ..quick() }).await;
        let serve = async {
            for num in 0..=last {
                let request = other.receive().await;
                other.answer(&request, part(num, true, 0)).await;
            }
        };
        let (answer, ()) = tokio::join!(client.request(get()), serve);
        assert!(matches!(answer, Err(ClientError::Blocks)), "{body}: with the block that goes beyond it");
    }
    // A short FETCH is asked again whole, and larger blocks than were asked for do not fit.
    let serve = async {
        let first = other.receive().await;
        other.answer(&first, part(0, true, 0)).await;
        let second = other.receive().await;
        assert_eq!((second.payload.len(), second.options.has(option::REQUEST_TAG)), (3, false));
        other.answer(&second, part(1, false, 1)).await;
    };
    let request = Message { payload: vec![7; 3], ..Message::request(Code::FETCH).with_path(["x"]) };
    let (answer, ()) = tokio::join!(client.request(request), serve);
    assert!(matches!(answer, Err(ClientError::Blocks)));
}
