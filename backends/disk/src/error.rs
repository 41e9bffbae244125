//! Why storage cannot be opened.

use ace_backend_sealed::AnchorError;
use ace_groupcomm::traits::storage::StorageError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why storage cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It was written by another version of this crate.
    #[error("{} has format {found:?}; this version reads {known:?}", path.display())]
    Format {
        /// The folder.
        path: PathBuf,
        /// What stands there.
        found: String,
        /// What can be read.
        known: &'static str,
    },
    /// Something that was acknowledged cannot be read: it was damaged, or files are missing.
    #[error("storage is damaged: {0}")]
    Damaged(String),
    /// The disk does not do what it is asked.
    #[error("{} cannot be opened: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a reader is told when the tables fail.
pub(crate) fn read_error(error: &lsm_tree::Error) -> StorageError {
    match error {
        lsm_tree::Error::Io(error) => StorageError::Unavailable(error.to_string()),
        other => StorageError::Corrupt(other.to_string()),
    }
}

impl From<AnchorError> for OpenError {
    fn from(error: AnchorError) -> Self {
        match error {
            AnchorError::InUse(path) => Self::InUse(path),
            AnchorError::Io { path, source } => Self::Io { path, source },
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl OpenError {
    /// What the tree says when it is opened.
    pub(crate) fn of_tree(error: lsm_tree::Error) -> Self {
        match error {
            lsm_tree::Error::Io(source) => Self::Io { path: PathBuf::new(), source },
            other => Self::Damaged(other.to_string()),
        }
    }
}
