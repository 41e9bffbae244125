//! Key provisioning to groups with ACE (RFC 9594), as engines without I/O.

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
pub mod auth_server;
pub mod config;
pub mod engine;
pub mod kdc;
pub mod member;
pub mod refusal;
pub mod registry;
mod request;
mod secret;
mod state;
pub mod testkit;
mod time;
pub mod traits;
mod view;

pub use request::{Caller, Method, Request, Response, Status};
pub use secret::Secret;
pub use state::changes::Changes;
pub use state::record::{self, Corrupt, RecordType};
pub use state::{keys, records};
pub use time::Now;
pub use traits::profile::Roles;
pub use view::{Stop, View};
