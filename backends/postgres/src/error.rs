//! Why storage cannot be opened, and what an error of the server means.

use ace_groupcomm::traits::storage::StorageError;
use thiserror::Error;
use tokio_postgres::error::SqlState;

/// Why storage cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL cannot be understood, or names no server.
    #[error("the URL cannot be used: {0}")]
    Url(String),
    /// Certificates cannot be read.
    #[error("certificates cannot be read: {0}")]
    Certificates(String),
    /// The server cannot be reached, or refuses.
    #[error("the server cannot be used: {0}")]
    Server(String),
    /// The server may lose what it has acknowledged.
    #[error("the server may lose commits: {0}")]
    Unsafe(String),
    /// The tables are of a later version.
    #[error("the tables have version {found}, and {known} is known here")]
    Version {
        /// Their version.
        found: i32,
        /// The latest that is known here.
        known: i32,
    },
}

/// An error of the server in one line: its own words, or those of the connection.
pub(crate) fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} ({})", error.message(), error.code().code()),
        None => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default())
        }
    }
}

pub(crate) fn unavailable(why: impl Into<String>) -> StorageError {
    StorageError::Unavailable(why.into())
}

/// Whether a transaction was undone for the sake of others: it did not happen, and may be tried again.
pub(crate) fn is_definite_abort(error: &tokio_postgres::Error) -> bool {
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED]
        .iter()
        .any(|state| error.code() == Some(state))
}
