//! CoAP messages for clients and servers that bring their own network: the codec of RFC 7252 with the
//! options of RFC 7641, RFC 7959, RFC 8613 and RFC 9175, and the seam where messages are protected.
//!
//! Without `std`, it needs `alloc` alone. It holds no sockets and no timers: the endpoint with
//! retransmission, de-duplication, block-wise transfer and Observe is a crate of its own.
//!
//! ```
//! use ace_coap::{Code, Message, Token, Type};
//!
//! let mut request = Message::request(Code::GET).with_path(["ace-group", "lamps", "num"]);
//! request.id = 0x1234;
//! request.token = Token::new(b"t");
//!
//! let bytes = request.encode();
//! let read = Message::decode(&bytes)?;
//! assert_eq!(read, request);
//! assert_eq!(read.kind, Type::Confirmable);
//! assert_eq!(read.options.uri_path().as_deref(), Some(&["ace-group", "lamps", "num"].map(String::from)[..]));
//! # Ok::<(), ace_coap::DecodeError>(())
//! ```
//!
//! Decoding is strict: other versions, reserved code classes, an empty payload behind its marker and
//! empty messages with content are errors, and [`DecodeError`] says which.

#![no_std]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::print_stdout
    )
)]

extern crate alloc;

mod block;
mod code;
mod message;
pub mod numbers;
mod option;
pub mod security;
mod security_protocols;

pub use block::Block;
pub use code::Code;
pub use message::{DecodeError, MAX_OPTIONS, MAX_TOKEN, Message, Token, Type, decode_body, encode_body, peek};
pub use option::{Options, is_critical};
pub use security_protocols::SecurityProtocols;
