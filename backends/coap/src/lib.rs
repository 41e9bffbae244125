//! CoAP over UDP on tokio, for servers and clients: confirmable and non-confirmable messages, retransmission and
//! de-duplication (RFC 7252), block-wise transfer both ways (RFC 7959), Observe (RFC 7641), discovery (RFC 6690),
//! and message security between the layers (OSCORE, RFC 8613). It knows nothing of ACE.
//!
//! ```
//! use ace_backend_coap::{Client, Limits, Received, Responder, Server, Service};
//! use ace_coap::{Code, Message, security::Unprotected};
//! use std::sync::Arc;
//!
//! struct Hello;
//!
//! impl Service for Hello {
//!     fn call(&self, request: Received, responder: Responder) {
//!         let mut answer = Message::response(Code::CONTENT);
//!         answer.payload = format!("hello {:?}", request.message.options.uri_path()).into_bytes();
//!         responder.send(answer);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let any = "127.0.0.1:0".parse()?;
//! let server = Server::bind(any, Arc::new(Unprotected), Arc::new(Hello), Limits::default(), [1; 32]).await?;
//! let address = server.local_addr()?;
//! tokio::spawn(server.run(std::future::pending()));
//!
//! let mut client = Client::connect(address, Limits::default(), 7).await?;
//! let answer = client.request(Message::request(Code::GET).with_path(["you"])).await?;
//! assert_eq!(answer.payload, b"hello Some([\"you\"])");
//! # Ok(())
//! # }
//! ```
//!
//! A service that answers with [`Answer::observable`] has the client told of each change ([`Notifier::changed`]). Those
//! observations go on after a restart whose [`Registration`] the service keeps: it comes with the request
//! ([`Received::registration`]), ends with [`Service::ended`], and is taken up by [`Server::resume`].

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

mod block;
mod client;
mod datagrams;
mod debug;
mod discovery;
pub mod endpoint;
mod exchange;
mod held;
mod ids;
mod limits;
mod observe;
mod owner;
mod retransmit;
mod server;
mod service;
mod socket;

pub use block::bad_option;
pub use client::{Client, ClientError, Observation};
pub use datagrams::DatagramSecurity;
pub use discovery::{Link, Links, link_format};
pub use endpoint::{Endpoint, Input, Inputs, RequestError, Requester, ServerStats, StatsHandle, Transmit};
pub use limits::Limits;
pub use server::Server;
pub use service::{Answer, LastWord, Notifier, Purpose, Received, Registration, Responder, Service};
pub use socket::AddressPair;
