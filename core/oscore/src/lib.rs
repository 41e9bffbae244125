//! OSCORE (RFC 8613): CoAP messages protected from end to end, through proxies and translators.
//!
//! A [`Context`] is derived from what both endpoints know and serves both roles. It holds no clock, no
//! randomness and no storage: sequence numbers come in blocks that the caller reserved durably
//! ([`Sequence`]), and a context that outlived its process ([`Context::restored`]) proves by Echo that
//! requests are new before it accepts one.
//!
//! ```
//! use ace_coap::{Code, Message};
//! use ace_oscore::{Aead, Context, Hkdf, Incoming, Parameters, Sequence};
//!
//! let ours = Parameters {
//!     master_secret: vec![7; 16],
//!     master_salt: Vec::new(),
//!     sender_id: vec![1],
//!     recipient_id: vec![2],
//!     id_context: None,
//!     aead: Aead::default(),
//!     hkdf: Hkdf::default(),
//! };
//! let mut theirs = ours.clone();
//! theirs.sender_id = vec![2];
//! theirs.recipient_id = vec![1];
//! let mut client = Context::fresh(&ours, Sequence::all())?;
//! let mut server = Context::fresh(&theirs, Sequence::all())?;
//!
//! let request = Message::request(Code::GET).with_path(["temperature"]);
//! let (protected, mut pending) = client.protect_request(&request)?;
//!
//! let Incoming::Accepted { message, right, .. } = server.unprotect_request(&protected)? else {
//!     unreachable!("a fresh context knows its replay window")
//! };
//! assert_eq!(message, request);
//! let mut response = Message::response(Code::CONTENT);
//! response.payload = b"21".to_vec();
//! let protected = server.protect_response(&response, right)?;
//!
//! assert_eq!(client.unprotect_response(&protected, &mut pending)?.payload, b"21");
//! # Ok::<(), ace_oscore::Error>(())
//! ```
//!
//! # Nonces
//!
//! No pair of key and nonce is used twice: a [`Context`] cannot be cloned, a [`ResponseRight`] is used up by
//! the response, numbers never go back, and where another process may answer the same request,
//! [`ResponseRight::numbered`] gives the response a number of its own.
//!
//! # Not here
//!
//! Appendix B.2 (contexts derived several times) and Proxy-Uri: such messages are refused.

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
#[cfg(test)]
extern crate std;

mod algorithm;
mod cbor;
mod context;
mod error;
mod notification;
mod option;
mod protect;
mod security;
mod sequence;
mod window;

pub use algorithm::{Aead, Hkdf};
pub use context::{Context, Parameters};
pub use error::Error;
pub use notification::NotificationRight;
pub use option::{OscoreOption, PartialIv};
pub use protect::{Challenge, Incoming, PendingRequest, RequestId, ResponseRight};
pub use sequence::Sequence;
pub use window::ReplayWindow;
