//! A member of a group as a program: it starts with its registration at the Authorization Server, and ends with the
//! group's keys in its hand.
//!
//! [`Member`] runs the engine of `ace-groupcomm` on UDP and keeps its state in a file; the program `ace-member` does one
//! operation a call, or stays a member ([`watch`]); the demo does all of them.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)
)]

mod config;
pub mod export;
mod flow;
mod program;
pub mod show;
mod state;
mod watch;

pub use config::{AuthServer, Config, GroupConfig, Kdc, MemberSettings};
pub use flow::Member;
pub use program::main;
pub use state::{Content, StateFile};
pub use watch::{event, watch};

use ace_groupcomm::member::MemberError;
use std::path::PathBuf;
use thiserror::Error;

/// Why the program comes to nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The state cannot be used.
    #[error("{}: {reason}", path.display())]
    State {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What all programs share has failed, e.g. a result could not be written.
    #[error(transparent)]
    Program(#[from] ace_backend_daemon::ProgramError),
    /// An operation came to nothing.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// No context can be made.
    #[error(transparent)]
    Oscore(#[from] ace_oscore::Error),
    /// The profile does not take what the member is, or what it holds.
    #[error(transparent)]
    Profile(#[from] ace_groupcomm::config::ConfigError),
    /// The state is of another profile.
    #[error(transparent)]
    Unsuitable(#[from] ace_groupcomm::traits::member::Unsuitable),
    /// A message cannot be read.
    #[error(transparent)]
    Decode(#[from] ace_groupcomm_messages::DecodeError),
    /// A socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
