//! Where a program keeps its state. Storage that a program was built without is an error with the feature's name.

#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "postgres")]
mod postgres;

use crate::key_file::StorageKeys;
use crate::{ProgramError, Role};
use ace_backend_memory::MemoryStorage;
use ace_backend_sealed::Sealed;
use ace_backend_tokio::os_random;
use ace_groupcomm::records::Meta;
use ace_groupcomm::traits::storage::{Key, Storage, StorageError};
use ace_groupcomm::{RecordType, keys};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The table `[storage]` of a configuration. Relative paths begin where the configuration file is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// The file with the keys that what is stored is sealed with. Where absent: the credential `storage-keys` of a
    /// service of systemd.
    pub keys: Option<PathBuf>,
    /// Where it is noted what was acknowledged, so that storage that has lost something is seen. Best on another disk, and
    /// in no backup; each process has a file of its own. Where absent: in the folder of embedded storage, and nowhere for
    /// PostgreSQL.
    pub anchor: Option<PathBuf>,
    /// A PEM file with the certificates of those that may vouch for a PostgreSQL server. Where absent: the system's.
    pub certificates: Option<PathBuf>,
    /// A file with the password of a PostgreSQL server. One in the URL is shown to whoever lists processes.
    pub password: Option<PathBuf>,
    /// The timeline that a PostgreSQL server is on after another took over, where it is known that nothing was lost.
    pub accept_timeline: Option<i32>,
}

impl StorageConfig {
    pub(crate) fn beside(config: &Path, file: &Path) -> PathBuf {
        config.parent().map_or_else(|| file.to_path_buf(), |folder| folder.join(file))
    }

    /// Where the anchor is, if it has a place of its own.
    pub(crate) fn anchor(&self, config: &Path) -> Option<PathBuf> {
        self.anchor.as_ref().map(|anchor| Self::beside(config, anchor))
    }

    /// The file with the keys.
    pub(crate) fn key_file(&self, config: &Path) -> Result<PathBuf, ProgramError> {
        let credential = || Some(PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL));
        let keys = self.keys.as_ref().map(|keys| Self::beside(config, keys)).or_else(credential);
        keys.ok_or_else(|| {
            let why = "storage on disk is sealed: name a file of keys in the configuration, keys = \"FILE\" under \
                       [storage], and make it with new-storage-keys FILE";
            ProgramError::Other(why.into())
        })
    }
}

/// Storage that is open.
pub struct Opened {
    /// As an engine uses it.
    pub storage: Arc<dyn Storage>,
    /// What stands under the sealing, where it is on disk.
    pub(crate) durable: Option<Durable>,
}

/// Storage that outlives the process.
#[derive(Clone)]
pub(crate) struct Durable {
    /// The values as they are stored.
    pub(crate) raw: Arc<dyn Storage>,
    pub(crate) sealed: Arc<Sealed>,
    /// The file with the storage keys.
    pub(crate) keys: PathBuf,
}

/// What a URL names.
pub(crate) enum Place<'a> {
    Memory,
    Disk(&'a Path),
    Postgres,
}

impl<'a> Place<'a> {
    pub(crate) fn of(url: &'a str) -> Result<Self, ProgramError> {
        if url == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(folder) = url.strip_prefix("disk:").filter(|folder| !folder.is_empty()) {
            return Ok(Self::Disk(Path::new(folder)));
        }
        if ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Ok(Self::Postgres);
        }
        let known = "there are memory:, disk:FOLDER and postgres://USER@HOST/DATABASE";
        // What follows may hold a password.
        let scheme = url.split(':').next().unwrap_or_default();
        Err(ProgramError::Other(format!("storage \"{scheme}:\" is not known; {known}")))
    }

    /// Where a process that has it takes commands, if nothing else is said.
    pub(crate) fn control(&self) -> Option<PathBuf> {
        match self {
            Self::Disk(folder) => Some(folder.join("control")),
            // Others can have it at the same time.
            Self::Memory | Self::Postgres => None,
        }
    }
}

/// Where a process takes commands: at the place that its configuration names, else in the folder of its storage; none where
/// there is neither.
///
/// # Errors
/// [`ProgramError`] where the URL is none of storage.
pub fn control_path(named: Option<&Path>, config: &Path, url: &str) -> Result<Option<PathBuf>, ProgramError> {
    let named = named.map(|path| StorageConfig::beside(config, path));
    Ok(named.or(Place::of(url)?.control()))
}

/// An error of storage. A URL may hold a password: of that of a database only the kind is shown.
pub(crate) fn failed(url: &str, error: impl std::fmt::Display) -> ProgramError {
    let shown = url.strip_prefix("disk:").unwrap_or_else(|| url.split(':').next().unwrap_or_default());
    ProgramError::Other(format!("storage {shown}: {error}"))
}

/// The name of the file among the credentials that systemd hands to a service.
const CREDENTIAL: &str = "storage-keys";

/// Opens what a URL names: `memory:`, or `disk:FOLDER` or `postgres://USER@HOST/DATABASE`, which are sealed. `file` is
/// where the configuration stands.
///
/// # Errors
/// [`ProgramError`].
pub async fn open_storage(url: &str, config: &StorageConfig, file: &Path, role: Role) -> Result<Opened, ProgramError> {
    if matches!(Place::of(url)?, Place::Memory) {
        tracing::warn!("storage is in memory: nothing survives the end of this process");
        return Ok(Opened { storage: Arc::new(MemoryStorage::new()), durable: None });
    }
    let durable = open_durable(url, config, file, role, config.anchor(file).as_deref()).await?;
    let sealed = &durable.sealed;
    let under_way = sealed.read(&[keys::restoring()]).await.map_err(|error| failed(url, error))?;
    if under_way.iter().flatten().next().is_some() {
        return Err(failed(url, "a restore has not ended: begin it again, in an empty place"));
    }
    is_readable(&**sealed, role).await.map_err(|why| failed(url, why))?;
    // A record that does not open is empty. Better no start than one that can answer nothing.
    let first = sealed.scan(&Key::new(""), None, 1).await.map_err(|error| failed(url, error))?;
    if first.records.iter().any(|(_, record)| record.value.is_empty()) {
        let reason = "what is stored does not open with these keys".into();
        return Err(ProgramError::Config { path: durable.keys, reason });
    }
    Ok(Opened { storage: Arc::clone(sealed) as _, durable: Some(durable) })
}

/// Opens storage that outlives the process. What others can have at the same time is opened without an anchor by who does
/// not serve.
pub(crate) async fn open_durable(
    url: &str,
    config: &StorageConfig,
    file: &Path,
    role: Role,
    anchor: Option<&Path>,
) -> Result<Durable, ProgramError> {
    let place = Place::of(url)?;
    let keys = config.key_file(file)?;
    let ring = StorageKeys::read(&keys)?.ring()?;
    let raw: Arc<dyn Storage> = match &place {
        Place::Memory => return Err(ProgramError::Other("nothing is kept in memory:".into())),
        Place::Disk(folder) => disk::open(folder, config.anchor(file)).map_err(|why| failed(url, why))?,
        Place::Postgres => postgres::open(url, config, file, role, anchor).await?,
    };
    is_of(&*raw, role).await.map_err(|why| failed(url, why))?;
    let source = keys.clone();
    let sealed = Sealed::new(Arc::clone(&raw), ring, Box::new(os_random()))
        .with_source(move || StorageKeys::read(&source).and_then(|keys| keys.ring()).ok());
    Ok(Durable { raw, sealed: Arc::new(sealed), keys })
}

#[cfg(not(feature = "disk"))]
mod disk {
    use super::{Arc, Path, PathBuf, Storage};

    pub(super) fn open(_folder: &Path, _anchor: Option<PathBuf>) -> Result<Arc<dyn Storage>, &'static str> {
        Err("this program was built without the feature `disk`")
    }
}

#[cfg(not(feature = "postgres"))]
mod postgres {
    use super::{Arc, Path, ProgramError, Role, Storage, StorageConfig, failed};

    pub(super) async fn open(
        url: &str,
        _config: &StorageConfig,
        _file: &Path,
        _role: Role,
        _anchor: Option<&Path>,
    ) -> Result<Arc<dyn Storage>, ProgramError> {
        Err(failed(url, "this program was built without the feature `postgres`"))
    }
}

/// Refuses storage of another program: what the one records the other knows nothing of.
async fn is_of(raw: &dyn Storage, role: Role) -> Result<(), String> {
    let words = |error: StorageError| error.to_string();
    let found = raw.read(&[keys::meta(), keys::sequence_limit()]).await.map_err(words)?;
    let issued = raw.scan(&keys::all_issued(), None, 1).await.map_err(words)?;
    let owner = match found.as_slice() {
        [Some(_), _] => Role::Kdc,
        [None, Some(_)] => Role::AuthServer,
        _ if !issued.records.is_empty() => Role::AuthServer,
        _ => return Ok(()),
    };
    if owner == role { Ok(()) } else { Err(format!("is that of {}, and not of {}", owner.words(), role.words())) }
}

/// Refuses what a later version has stored: it has fields that this one would lose.
async fn is_readable(sealed: &dyn Storage, role: Role) -> Result<(), String> {
    let found = sealed.read(&[keys::meta()]).await.map_err(|error| error.to_string())?;
    match found.first() {
        Some(Some(meta)) if role == Role::Kdc && !meta.value.is_empty() => {
            Meta::decode(&meta.value).map(|_| ()).map_err(|_| "was used by a later version of this program".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_is_mistyped_is_not_shown_whole() {
        let config = StorageConfig::default();
        for url in ["postgress://user:sesame@host/db", "postgres://user:sesame@host:x/db"] {
            let error = open_storage(url, &config, Path::new("x.toml"), Role::Kdc).await.err().unwrap().to_string();
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
