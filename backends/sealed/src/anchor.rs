//! The anchor: the last acknowledged revision, outside of what a backup of the folder may have.
//!
//! It is written after each commit and never synced: after a loss of power it may be behind, never ahead. So a log that
//! ends before it has lost something.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why an anchor cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// Another storage has it, in this process or in another one.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file cannot be read or made.
    #[error("{} cannot be opened: {source}", path.display())]
    Io {
        /// The path of the anchor.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// The file with the anchor: the last revision that was acknowledged.
pub struct Anchor {
    file: File,
    failed: bool,
}

impl std::fmt::Debug for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Anchor").finish_non_exhaustive()
    }
}

fn sealed(revision: u64) -> [u8; 12] {
    let mut out = [0; 12];
    let bytes = revision.to_le_bytes();
    let sum = crc32fast::hash(&bytes).to_le_bytes();
    out.iter_mut().zip(bytes.iter().chain(&sum)).for_each(|(to, from)| *to = *from);
    out
}

impl Anchor {
    /// Opens it, and reads what stands there; 0 where there is none, or one that was torn. As long as this lives it is of
    /// no use to another storage.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn open(path: &Path) -> Result<(Self, u64), AnchorError> {
        let io = |source| AnchorError::Io { path: path.to_owned(), source };
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(io)?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(AnchorError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let revision = bytes.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        let revision = revision.filter(|revision| bytes == sealed(*revision)).unwrap_or(0);
        Ok((Self { file, failed: false }, revision))
    }

    /// Notes what has been acknowledged. That it cannot be written is said, and no failure: it is behind then.
    pub fn set(&mut self, revision: u64) {
        let result = self.write(&sealed(revision));
        if let Err(error) = &result
            && !self.failed
        {
            tracing::warn!(%error, "the anchor cannot be written: the loss of later commits may stay unseen");
        }
        self.failed = result.is_err();
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(bytes)
    }
}
