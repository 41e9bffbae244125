//! The file of storage keys.

use crate::{Loaded, ProgramError, SecretHex, is_readable_by_others};
use ace_backend_sealed::{KeyRing, StorageKey};
use ace_backend_tokio::os_random;
use ace_groupcomm::Secret;
use rand_core::Rng;
use serde::Deserialize;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file of storage keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// The number of the key that new values are sealed with.
    active: u32,
    /// The keys.
    key: Vec<KeyEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    number: u32,
    secret: SecretHex,
}

/// The keys of a file, as they are to be written again.
pub(crate) struct StorageKeys {
    path: PathBuf,
    keys: Vec<StorageKey>,
    active: u32,
}

impl StorageKeys {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, ProgramError> {
        let loaded: Loaded<KeyFile> = Loaded::read(path)?;
        if is_readable_by_others(path) {
            let reason = "the file holds keys and can be read by others: chmod 600".to_owned();
            return Err(ProgramError::Config { path: path.to_path_buf(), reason });
        }
        let entry = |entry: &KeyEntry| StorageKey { number: entry.number, key: entry.secret.0.clone() };
        let keys = loaded.config.key.iter().map(entry).collect();
        let read = Self { path: path.to_path_buf(), keys, active: loaded.config.active };
        KeyRing::new(read.keys.clone(), read.active).map_err(|error| loaded.error(&[], error))?;
        Ok(read)
    }

    /// The ring of these keys.
    pub(crate) fn ring(&self) -> Result<KeyRing, ProgramError> {
        KeyRing::new(self.keys.clone(), self.active).map_err(|error| ProgramError::Other(error.to_string()))
    }

    /// The number of the key that new values are sealed with.
    pub(crate) const fn active(&self) -> u32 {
        self.active
    }

    fn highest(&self) -> u32 {
        self.keys.iter().map(|key| key.number).max().unwrap_or(0)
    }

    /// Adds a new key, which nothing is sealed with yet: so it can be brought to all who need it. Where there is one
    /// already, that is it.
    pub(crate) fn prepare(&mut self) -> Result<(), ProgramError> {
        let highest = self.highest();
        if highest > self.active {
            return Ok(());
        }
        let number = highest.checked_add(1).ok_or_else(|| ProgramError::Other("no number is left for a key".into()))?;
        let mut key = vec![0; 32];
        os_random().fill_bytes(&mut key);
        self.keys.push(StorageKey { number, key: Secret::new(key) });
        self.replace()
    }

    /// The newest key is the one to seal with. One that was not prepared is made, unless a rotation has not ended, which
    /// is to be brought to its end.
    pub(crate) fn advance(&mut self) -> Result<(), ProgramError> {
        if self.keys.len() < 2 {
            self.prepare()?;
        }
        self.active = self.highest();
        self.replace()
    }

    /// Takes all keys out but the active one. Backups need them still: they go to a file beside this one, in which those
    /// of earlier rotations are.
    pub(crate) fn drop_former(&mut self) -> Result<PathBuf, ProgramError> {
        let mut former = if beside(&self.path, "former").exists() {
            Self::read(&beside(&self.path, "former"))?
        } else {
            Self { path: beside(&self.path, "former"), keys: Vec::new(), active: self.active }
        };
        former.active = self.active;
        former.keys.retain(|known| self.keys.iter().all(|key| key.number != known.number));
        former.keys.extend(self.keys.iter().cloned());
        former.replace_like(&self.path)?;
        self.keys.retain(|key| key.number == self.active);
        self.replace()?;
        Ok(former.path)
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(256 + 128 * self.keys.len()));
        text.push_str("# What is stored is sealed with these keys: who loses them loses all that is stored.\n");
        let _ = writeln!(text, "active = {}", self.active);
        for StorageKey { number, key } in &self.keys {
            let _ = write!(text, "\n[[key]]\nnumber = {number}\nsecret = \"");
            for byte in key.expose() {
                let _ = write!(text, "{byte:02x}");
            }
            text.push_str("\"\n");
        }
        text
    }

    fn replace(&self) -> Result<(), ProgramError> {
        self.replace_like(&self.path)
    }

    /// Writes the file anew: whoever reads it meets the former or the new one, whole. It belongs to whom this other file
    /// belongs to: the service reads it as another user than who changes it.
    fn replace_like(&self, other: &Path) -> Result<(), ProgramError> {
        let new = beside(&self.path, "new");
        let _ = std::fs::remove_file(&new);
        write_new(&new, &self.text())?;
        #[cfg(unix)]
        give_like(&new, other).map_err(|source| ProgramError::File { path: other.to_path_buf(), source })?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let rename = || {
            std::fs::rename(&new, &self.path)?;
            File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
        };
        rename().map_err(|source| ProgramError::File { path: self.path.clone(), source })
    }
}

/// Gives a file the owner of another one.
#[cfg(unix)]
fn give_like(file: &Path, other: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let (own, like) = (std::fs::metadata(file)?, std::fs::metadata(other)?);
    if (own.uid(), own.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    chown(file, Some(like.uid()), Some(like.gid()))
}

/// A name that begins as this one, and ends so.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Writes a file that must not be there, readable by its owner alone.
fn write_new(path: &Path, text: &str) -> Result<(), ProgramError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || {
        let mut file = options.open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| ProgramError::File { path: path.to_path_buf(), source })
}

/// Makes a file with a new storage key, readable by its owner alone.
///
/// # Errors
/// [`ProgramError::File`], also where the file is there.
pub fn new_storage_keys(path: &Path) -> Result<(), ProgramError> {
    let mut key = vec![0; 32];
    os_random().fill_bytes(&mut key);
    let keys = vec![StorageKey { number: 1, key: Secret::new(key) }];
    write_new(path, &StorageKeys { path: path.to_path_buf(), keys, active: 1 }.text())
}
