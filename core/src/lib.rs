//! Key provisioning to groups with ACE (RFC 9594), as engines without I/O: a Key Distribution Center ([`kdc`]), an
//! Authorization Server ([`auth_server`]) and a [`member`]. The [`guide`] begins with what that is, and goes on to parts of your own.
//!
//! An engine is a value. Requests, answers of storage and the time go in; what it wants done comes out as effects:
//! records to read, transactions to commit, signatures to make, answers to send. So one KDC runs behind CoAP, behind
//! something else, or in a test that fails at every step. Drivers do what effects ask for; `ace-backend-tokio` is one.
//!
//! | to do this | look at |
//! | --- | --- |
//! | run a KDC of one's own | [`kdc::Kdc`], [`kdc::KdcConfig`]; [`engine::Machine`] says what a driver does |
//! | add a kind of group, or a transport profile | [`traits::profile`], [`traits::transport`], [`registry`]; [`testkit::profile`] and [`testkit::transport`] check them |
//! | store elsewhere | [`traits::storage`]; [`testkit::storage`] checks it |
//! | take other tokens, or other cryptography | [`traits::token`], [`token`], [`traits::crypto`]; [`testkit::token`] checks a validator |
//! | be a member | [`member::Member`], [`traits::member`] |
//! | see who may do what | [`access`] |
//! | have a KDC that runs do something | [`command`] |
//! | know which refusal has which code | [`refusal`] |
//!
//! The traits, each with an example:
//!
//! | trait | who implements it |
//! | --- | --- |
//! | [`ApplicationProfile`](traits::profile::ApplicationProfile), [`GroupRules`](traits::profile::GroupRules), [`KeyingMaterialProducer`](traits::profile::KeyingMaterialProducer) | a kind of group, at the KDC |
//! | [`RekeyingScheme`](traits::rekeying::RekeyingScheme) | how members get the next keys |
//! | [`MemberRules`](traits::member::MemberRules), [`ClientTransport`](traits::member::ClientTransport), [`BegunTransfer`](traits::member::BegunTransfer) | a kind of group, and a transport, at a member |
//! | [`TransportProfile`](traits::transport::TransportProfile), [`Associations`](traits::transport::Associations) | a transport, at the KDC |
//! | [`TokenValidator`](traits::token::TokenValidator) | tokens of another form |
//! | [`Storage`](traits::storage::Storage), [`Snapshot`](traits::storage::Snapshot), [`RecordType`] | state, and what is in it |
//! | [`CryptoProvider`](traits::crypto::CryptoProvider), [`SigningKey`](traits::crypto::SigningKey), [`AgreementKey`](traits::crypto::AgreementKey) | cryptography, and keys that a device holds |
//! | [`Machine`](engine::Machine) | an engine, as its driver sees it |
//!
//! [`testkit`] needs the feature of that name.
//!
//! What holds: nothing is acknowledged before it is durable; a Sender ID is given once under a Gid; versions of keying
//! material only grow; whoever is out of a group gets no newer key. [`testkit::sim`] runs engines over one store with
//! loss, conflicts and crashes and looks after these rules.
//!
//! A client posts its token and joins a group, with the toy profiles of the test kit:
//!
//! ```
//! use ace_backend_aws_lc::AwsLc;
//! use ace_groupcomm::Status;
//! use ace_groupcomm::testkit::build::{TestClient, join_post, token};
//! use ace_groupcomm::testkit::{Desk, TestStore, desk};
//! use ace_groupcomm::traits::storage::Sharing;
//! use ace_groupcomm_messages::JoinResponse;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), desk::config(&["lamps"]))?;
//! let client = TestClient::new(&AwsLc, 1).ok_or("no key")?;
//! let talker = 1;
//!
//! // Phase 1 was with the Authorization Server: this is the token that it gave.
//! let token = token(1, &client.claims(&[("lamps", talker)], 2_000_000));
//! // Phase 2: the token makes an association and brings a challenge; the Join Request proves the credential.
//! let (caller, challenge) = desk.post_token(&token).ok_or("the token is refused")?;
//! let response = desk.ask(&caller, join_post("lamps", &client.join("lamps", talker, &challenge, &[7; 8])));
//! assert_eq!(response.status, Status::Created);
//! assert_eq!(JoinResponse::decode(&response.payload)?.material.num, 0);
//! # Ok(())
//! # }
//! ```

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

pub mod access;
pub mod audit;
pub mod auth_server;
pub mod check;
pub mod command;
pub mod config;
mod debug;
pub mod delivery;
pub mod engine;
#[cfg(any(test, feature = "testkit"))]
pub mod guide;
mod id;
pub mod kdc;
pub mod member;
pub mod refusal;
pub mod registry;
mod request;
mod schema;
mod secret;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod time;
pub mod token;
pub mod traits;

pub use engine::store::changes::Changes;
pub use engine::store::view::{Stop, View};
pub use id::{AssociationId, Gid, NodeName, SenderId, TokenHash};
pub use request::{Caller, Endpoint, Method, Purpose, Registration, Request, Response, Status};
pub use schema::record::{self, Corrupt, RecordType};
pub use schema::{keys, records};
pub use secret::Secret;
pub use time::{Now, UnixTime};
pub use traits::profile::Roles;

/// Crates whose types are in the public API of this one, so that who uses it needs no version of its own.
pub use {ace_groupcomm_messages as messages, ace_oscore as oscore, async_trait::async_trait, bytes, rand_core};
