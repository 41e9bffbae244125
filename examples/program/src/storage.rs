//! Where a program keeps its state, and the keys that the state is sealed with.

use crate::{Loaded, ProgramError, SecretHex, is_readable_by_others};
use ace_backend_fjall::{FjallStorage, Settings};
use ace_backend_memory::MemoryStorage;
use ace_backend_tokio::os_random;
use ace_groupcomm::traits::storage::{Key, KeyRing, Sealed, Storage, StorageKey};
use rand_core::Rng;
use serde::Deserialize;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The table `[storage]` of a configuration. Relative paths begin where the configuration file is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// The file with the keys that what is stored is sealed with. Where absent: the credential `storage-keys` of a
    /// service of systemd.
    pub keys: Option<PathBuf>,
    /// Where embedded storage notes what was acknowledged, so that it sees when it has lost something. Best on another
    /// disk, and in no backup. Where absent: in the folder.
    pub anchor: Option<PathBuf>,
}

impl StorageConfig {
    fn beside(config: &Path, file: &Path) -> PathBuf {
        config.parent().map_or_else(|| file.to_path_buf(), |folder| folder.join(file))
    }

    /// The file with the keys.
    fn key_file(&self, config: &Path) -> Result<PathBuf, ProgramError> {
        let credential = || Some(PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL));
        let keys = self.keys.as_ref().map(|keys| Self::beside(config, keys)).or_else(credential);
        keys.ok_or_else(|| {
            let why = "storage on disk is sealed: name a file of keys in the configuration, keys = \"FILE\" under \
                       [storage], and make it with new-storage-keys FILE";
            ProgramError::Other(why.into())
        })
    }
}

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

/// The name of the file among the credentials that systemd hands to a service.
const CREDENTIAL: &str = "storage-keys";

/// Opens what a URL names: `memory:`, or `fjall:FOLDER`, which is sealed. `file` is where the configuration stands.
///
/// # Errors
/// [`ProgramError`].
pub async fn open_storage(url: &str, config: &StorageConfig, file: &Path) -> Result<Arc<dyn Storage>, ProgramError> {
    if url == "memory:" {
        tracing::warn!("storage is in memory: nothing survives the end of this process");
        return Ok(Arc::new(MemoryStorage::new()));
    }
    let Some(folder) = url.strip_prefix("fjall:").filter(|folder| !folder.is_empty()) else {
        let known = "there are memory: and fjall:FOLDER";
        return Err(ProgramError::Other(format!("storage {url:?} is not known; {known}")));
    };
    let keys = config.key_file(file)?;
    let ring = key_ring(&keys)?;
    let folder = Path::new(folder);
    let anchor = config.anchor.as_ref().map(|anchor| StorageConfig::beside(file, anchor));
    let storage = FjallStorage::open(folder, &Settings { anchor, ..Settings::default() });
    let storage = storage.map_err(|error| ProgramError::Other(format!("storage {}: {error}", folder.display())))?;
    let sealed = Sealed::new(Arc::new(storage), ring, Box::new(os_random()));
    // A record that does not open is empty. Better no start than one that can answer nothing.
    let first = sealed.scan(&Key::new(""), None, 1).await;
    let first = first.map_err(|error| ProgramError::Other(format!("storage {}: {error}", folder.display())))?;
    if first.records.iter().any(|(_, record)| record.value.is_empty()) {
        let why = "what is stored does not open with these keys";
        return Err(ProgramError::Config { path: keys, reason: why.into() });
    }
    Ok(Arc::new(sealed))
}

fn key_ring(path: &Path) -> Result<KeyRing, ProgramError> {
    let loaded: Loaded<KeyFile> = Loaded::read(path)?;
    if is_readable_by_others(path) {
        let reason = "the file holds keys and can be read by others: chmod 600".to_owned();
        return Err(ProgramError::Config { path: path.to_path_buf(), reason });
    }
    let keys = loaded.config.key.iter().map(|entry| StorageKey { number: entry.number, key: entry.secret.0.clone() });
    KeyRing::new(keys.collect(), loaded.config.active).map_err(|error| loaded.error(&[], error))
}

/// Makes a file with a new storage key, readable by its owner alone.
///
/// # Errors
/// [`ProgramError::File`], also where the file is there.
pub fn new_storage_keys(path: &Path) -> Result<(), ProgramError> {
    let mut key = [0; 32];
    os_random().fill_bytes(&mut key);
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "# What is stored is sealed with these keys: who loses them loses all that is stored.\nactive = 1\n\n[[key]]\nnumber \
         = 1\nsecret = \"{digits}\"\n"
    );
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
