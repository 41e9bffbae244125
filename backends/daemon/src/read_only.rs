//! Storage on a disk that takes nothing, e.g. a snapshot that is mounted: it is read from a copy.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use tempfile::TempDir;

/// A copy of a folder, which goes with this value. The folder itself is locked meanwhile.
pub(crate) struct Copied {
    copy: TempDir,
    _lock: Option<File>,
}

/// Whether nothing can be written there.
pub(crate) fn takes_nothing(folder: &Path) -> bool {
    let probe = folder.join("probe");
    match OpenOptions::new().write(true).create(true).truncate(false).open(&probe) {
        Ok(_) => {
            let _ = std::fs::remove_file(&probe);
            false
        }
        Err(error) => matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied),
    }
}

impl Copied {
    /// Copies a folder to a place for temporary files, with the anchor that it has elsewhere.
    pub(crate) fn of(folder: &Path, anchor: Option<&Path>) -> Result<Self> {
        let lock = File::open(folder.join("lock")).ok();
        if let Some(Err(TryLockError::WouldBlock)) = lock.as_ref().map(File::try_lock) {
            return Err(Error::new(ErrorKind::ResourceBusy, "it is in use by another process"));
        }
        let temporary = tempfile::tempdir()?;
        copy(folder, temporary.path())?;
        if let Some(anchor) = anchor.filter(|anchor| anchor.exists()) {
            std::fs::copy(anchor, temporary.path().join("anchor"))?;
        }
        Ok(Self { copy: temporary, _lock: lock })
    }

    /// What names the copy.
    pub(crate) fn url(&self) -> String {
        format!("disk:{}", self.copy.path().display())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            std::fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
