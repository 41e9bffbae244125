//! CoAP messages and their options.

use ace_coap::numbers::option;
use ace_coap::{Block, Message, decode_body, encode_body, peek};

/// Reads the bytes as a datagram, and as the body inside an OSCORE message.
pub fn coap(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        assert_eq!(peek(bytes), Some((message.kind, message.id)), "its first bytes say the same");
        for number in [option::BLOCK1, option::BLOCK2] {
            if let Some(block) = message.options.uint(number).and_then(Block::from_uint) {
                assert_eq!(Block::from_uint(block.to_uint()), Some(block));
            }
        }
        let _ = (message.options.uri_path(), message.options.uri_query(), message.options.content_format());
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
    if let Ok((options, payload)) = decode_body(bytes) {
        let mut again = Vec::new();
        encode_body(&options, &payload, &mut again);
        assert_eq!(decode_body(&again), Ok((options, payload)));
    }
}
