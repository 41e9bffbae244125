//! A member of a group as a program: it starts with its registration at the Authorization Server, and ends with the
//! group's keys in its hand.
//!
//! [`Member`] does one step after the other and keeps its state in a file; the program `ace-member` does one step a
//! call, the demo all of them.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)
)]

mod config;
pub mod export;
mod flow;
mod group;
pub mod show;
mod state;

pub use config::{AuthServer, Config, GroupConfig, IdentityConfig, Kdc, Settings};
pub use flow::Member;
pub use group::{Group, Peer};
pub use state::{Bytes, Session, State, StateFile, Token};

use ace_coap::Code;
use std::path::PathBuf;
use thiserror::Error;

/// Why a step came to nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MemberError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The state cannot be used.
    #[error("state: {0}")]
    State(String),
    /// There is no token yet.
    #[error("there is no token: run `token` first")]
    NoToken,
    /// Something has come to its end.
    #[error("the {0} has expired")]
    Expired(&'static str),
    /// There is no association with the KDC yet.
    #[error("there is no association with the KDC: run `upload` first")]
    NoSession,
    /// The group was not joined yet.
    #[error("the group was not joined: run `join` first")]
    NotAMember,
    /// The other side refused.
    #[error("refused with {0} {1}")]
    Refused(Code, String),
    /// An answer cannot be used.
    #[error("{0}")]
    Unusable(&'static str),
    /// A message cannot be read.
    #[error(transparent)]
    Decode(#[from] ace_groupcomm_messages::DecodeError),
    /// No context can be made of the KDC's answer.
    #[error(transparent)]
    Upload(#[from] ace_profile_oscore::UploadError),
    /// What the KDC sent does not hold.
    #[error(transparent)]
    Group(#[from] ace_profile_group_oscore::member::MemberError),
    /// A message cannot be protected.
    #[error(transparent)]
    Oscore(#[from] ace_oscore::Error),
    /// Nobody answered, or not as it should be.
    #[error(transparent)]
    Client(#[from] ace_backend_coap::ClientError),
    /// A socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
