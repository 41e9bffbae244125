//! What is done with storage beside serving: keys, backups, restores, checks.

use crate::ProgramError;
use crate::control::{self, ControlRequest};
use crate::key_file::{StorageKeys, beside, new_storage_keys};
use crate::operator::read_hashes;
use crate::read_only::{Copied, takes_nothing};
use crate::storage::{Durable, Place, StorageConfig, failed, open_durable};
use ace_backend_tokio::backup::{self, BackupError, Reader};
use ace_backend_tokio::{Clock, os_random};
use ace_groupcomm::check::{Check, Findings};
use ace_groupcomm::kdc::Restore;
use ace_groupcomm::keys;
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Snapshot, Storage, Txn};
use bytes::Bytes;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use rand_core::Rng;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, BufWriter, DuplexStream, duplex};

/// Records that a restore commits at once.
const PAGE: usize = 256;
/// Bytes on their way from storage to who reads them.
const PIPE: usize = 1 << 20;

/// Whose storage it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A Key Distribution Center's.
    Kdc,
    /// An Authorization Server's.
    AuthServer,
}

impl Role {
    /// What it is called.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Kdc => "a KDC",
            Self::AuthServer => "an Authorization Server",
        }
    }

    /// Its name in a backup.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kdc => "kdc",
            Self::AuthServer => "as",
        }
    }
}

/// What is done with storage beside serving.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum Maintenance {
    /// Makes a file with a new key, for `[storage] keys` in the configuration.
    NewStorageKeys {
        /// The file, which must not be there.
        file: PathBuf,
    },
    /// Writes all that is stored to a file, also while it is in use.
    Backup {
        /// The file, which must not be there.
        file: PathBuf,
    },
    /// Fills an empty storage from a backup. A KDC goes on in a new incarnation then: all groups get new keys, and
    /// members join again.
    Restore {
        /// The backup.
        file: PathBuf,
        /// A file with the hashes of all tokens that were revoked since the backup, one a line, in hexadecimal. Without
        /// it tokens from before the restore are refused.
        #[arg(long)]
        revoked: Option<PathBuf>,
    },
    /// Reads all that is stored, also while it is in use, and tells what does not fit together.
    Check,
    /// Seals all that is stored with a new key, also while it is in use, and takes the former one out of the file of keys.
    RotateStorageKey {
        /// Only makes the new key. Where several KDCs have files of their own, bring it to all of them, and then rotate: who
        /// has not got the key can write nothing from then on.
        #[arg(long)]
        prepare: bool,
    },
}

/// A bar without an end: how much there is shows at the end.
fn bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::no_length().with_message(what);
    let style = ProgressStyle::with_template("{spinner} {msg}: {human_pos} records, {per_sec}, {elapsed}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The storage that a command is about.
#[derive(Clone, Copy)]
pub struct StorageOf<'a> {
    /// Whose it is.
    pub role: Role,
    /// What names it.
    pub url: &'a str,
    /// What the configuration says of it.
    pub config: &'a StorageConfig,
    /// Where the configuration stands.
    pub file: &'a Path,
    /// Where a process that has it takes commands.
    pub control: Option<&'a Path>,
}

/// Does it. What there is to tell goes to `tell`.
///
/// # Errors
/// [`ProgramError`]; also where a check has found something.
pub async fn maintain(
    target: StorageOf<'_>,
    command: &Maintenance,
    tell: &mut (dyn FnMut(String) -> Result<(), ProgramError> + Send),
) -> Result<(), ProgramError> {
    match command {
        Maintenance::NewStorageKeys { file } => new_storage_keys(file),
        Maintenance::Backup { file } => {
            let count = target.backup(file).await?;
            tell(format!("{count} records in {}", file.display()))
        }
        Maintenance::Restore { file, revoked } => {
            let count = target.restore(file, revoked.as_deref()).await?;
            tell(format!("{count} records restored"))
        }
        Maintenance::Check => {
            let findings = target.check().await?;
            tell(findings.to_string())?;
            let wrong = format!("{} of what is stored is wrong", findings.wrong);
            if findings.is_clean() { Ok(()) } else { Err(ProgramError::Other(wrong)) }
        }
        Maintenance::RotateStorageKey { prepare: true } => {
            let mut keys = StorageKeys::read(&target.config.key_file(target.file)?)?;
            keys.prepare()?;
            tell("the new key is in the file, and nothing is sealed with it yet".into())
        }
        Maintenance::RotateStorageKey { prepare: false } => {
            let (count, key, former) = target.rotate().await?;
            let former = former.display();
            tell(format!(
                "{count} values sealed with key {key}; the former key, which older backups need, is in {former}"
            ))
        }
    }
}

/// A backup under way: from the process that has the storage, or from the storage itself.
enum Source {
    Process(tokio::net::UnixStream),
    Storage(DuplexStream, tokio::task::JoinHandle<Result<u64, BackupError>>),
}

impl StorageOf<'_> {
    fn failed(&self, error: impl std::fmt::Display) -> ProgramError {
        failed(self.url, error)
    }

    async fn request(&self, request: ControlRequest) -> Result<Option<tokio::net::UnixStream>, ProgramError> {
        control::request(self.control, request).await.map_err(|error| self.failed(error))
    }

    async fn open(&self) -> Result<Durable, ProgramError> {
        open_durable(self.url, self.config, self.file, self.role, None).await
    }

    /// Opens storage in which something is: a name that was mistyped must not look like a storage that is well.
    async fn open_filled(&self) -> Result<Durable, ProgramError> {
        let nothing = || self.failed("nothing is stored here");
        if let Place::Disk(folder) = Place::of(self.url)?
            && !folder.join("format").exists()
        {
            return Err(nothing());
        }
        let durable = self.open().await?;
        let first = durable.raw.scan(&Key::new(""), None, 1).await.map_err(|error| self.failed(error))?;
        if first.records.is_empty() { Err(nothing()) } else { Ok(durable) }
    }

    /// The same, to read alone: where the disk takes nothing, a copy is opened.
    async fn open_to_read(&self) -> Result<(Durable, Option<Copied>), ProgramError> {
        let folder = match Place::of(self.url)? {
            Place::Disk(folder) if folder.join("format").exists() && takes_nothing(folder) => folder,
            _ => return Ok((self.open_filled().await?, None)),
        };
        tracing::warn!("nothing can be written to the folder: a copy of it is read");
        let copied =
            Copied::of(folder, self.config.anchor(self.file).as_deref()).map_err(|error| self.failed(error))?;
        let config = StorageConfig { anchor: None, ..self.config.clone() };
        let durable = open_durable(&copied.url(), &config, self.file, self.role, None).await?;
        Ok((durable, Some(copied)))
    }

    async fn source(&self) -> Result<Source, ProgramError> {
        if let Some(stream) = self.request(ControlRequest::Backup).await? {
            return Ok(Source::Process(stream));
        }
        let (durable, copied) = self.open_to_read().await?;
        let snapshot: Box<dyn Snapshot> = durable.raw.snapshot().await.map_err(|error| self.failed(error))?;
        let (mut output, input) = duplex(PIPE);
        let whose = self.role.name();
        let task = tokio::spawn(async move {
            let written = backup::write(&*snapshot, whose, &mut output, |_| ()).await;
            drop((durable, copied));
            written
        });
        Ok(Source::Storage(input, task))
    }

    /// Reads what a source gives, to its end.
    async fn read_source(
        &self,
        each: &mut (dyn FnMut(&Key, &Bytes) -> Result<(), ProgramError> + Send),
    ) -> Result<(), ProgramError> {
        match self.source().await? {
            Source::Process(stream) => self.read(BufReader::new(stream), each).await,
            Source::Storage(stream, task) => {
                let read = self.read(BufReader::new(stream), each).await;
                let written = task.await.map_err(|error| self.failed(error))?;
                written.map_err(|error| self.failed(error))?;
                read
            }
        }
    }

    async fn read(
        &self,
        input: impl AsyncRead + Unpin,
        each: &mut (dyn FnMut(&Key, &Bytes) -> Result<(), ProgramError> + Send),
    ) -> Result<(), ProgramError> {
        let mut reader = Reader::open(input).await.map_err(|error| self.failed(error))?;
        self.is_ours(reader.whose())?;
        while let Some((key, value)) = reader.next().await.map_err(|error| self.failed(error))? {
            each(&key, &value)?;
        }
        Ok(())
    }

    fn is_ours(&self, whose: &str) -> Result<(), ProgramError> {
        let (ours, name) = (self.role.name(), whose);
        if whose == ours { Ok(()) } else { Err(ProgramError::Other(format!("this is of {name:?}, not of {ours:?}"))) }
    }

    /// Refuses what a restore that has not ended has left: nobody knows what is missing.
    fn is_whole(&self, key: &Key) -> Result<(), ProgramError> {
        if *key == keys::restoring() { Err(self.failed("a restore into this has not ended")) } else { Ok(()) }
    }

    async fn backup(&self, file: &Path) -> Result<u64, ProgramError> {
        let io = |source| ProgramError::File { path: file.to_path_buf(), source };
        if file.exists() {
            return Err(io(std::io::ErrorKind::AlreadyExists.into()));
        }
        let new = Unfinished(beside(file, "new"));
        let bar = bar("backup");
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        options.mode(0o600);
        let write = async {
            let mut out = BufWriter::new(options.open(&new.0).await?);
            match self.source().await {
                Ok(Source::Process(mut stream)) => tokio::io::copy(&mut stream, &mut out).await?,
                Ok(Source::Storage(mut stream, _)) => tokio::io::copy(&mut stream, &mut out).await?,
                Err(error) => return Ok(Err(error)),
            };
            tokio::io::AsyncWriteExt::flush(&mut out).await?;
            out.get_ref().sync_all().await?;
            Ok(Ok(()))
        };
        write.await.map_err(io)??;
        // It is a backup when it reads as one.
        let mut count = 0_u64;
        let read = File::open(&new.0).await.map_err(io)?;
        let mut counted = |key: &Key, _: &Bytes| {
            count = count.saturating_add(1);
            bar.set_position(count);
            self.is_whole(key)
        };
        self.read(BufReader::new(read), &mut counted).await?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        std::fs::rename(&new.0, file).and_then(|()| std::fs::File::open(folder)?.sync_all()).map_err(io)?;
        bar.finish_and_clear();
        Ok(count)
    }

    async fn check(&self) -> Result<Findings, ProgramError> {
        let ring = StorageKeys::read(&self.config.key_file(self.file)?)?.ring()?;
        let (mut check, bar) = (Check::default(), bar("check"));
        self.read_source(&mut |key, value| {
            bar.inc(1);
            check.record(key, &ring.open(key, value).unwrap_or_default());
            Ok(())
        })
        .await?;
        bar.finish_and_clear();
        Ok(check.finish())
    }

    async fn rotate(&self) -> Result<(u64, u32, PathBuf), ProgramError> {
        let mut keys = StorageKeys::read(&self.config.key_file(self.file)?)?;
        // The file of keys is changed when it is known that there is something to seal.
        let is_served = control::is_served(self.control).await;
        let durable = if is_served { None } else { Some(self.open_filled().await?) };
        keys.advance()?;
        tracing::info!(key = keys.active(), "everything is sealed with this key");
        let bar = bar("rotation");
        let mut count = 0;
        if let Some(durable) = durable {
            let rotated = durable.sealed.rotate(keys.ring()?, |count| bar.set_position(count)).await;
            count = rotated.map_err(|error| self.failed(error))?;
        } else {
            let stream = self
                .request(ControlRequest::Rotate(keys.active()))
                .await?
                .ok_or_else(|| self.failed("the process has just ended"))?;
            let mut lines = BufReader::new(stream).lines();
            loop {
                match lines.next_line().await.map_err(|error| self.failed(error))?.as_deref() {
                    Some("done") => break,
                    Some(line) => match line.parse() {
                        Ok(number) => count = number,
                        Err(_) => return Err(self.failed(line)),
                    },
                    None => return Err(self.failed("the process has ended before the rotation")),
                }
                bar.set_position(count);
            }
        }
        bar.finish_and_clear();
        let former = keys.drop_former()?;
        Ok((count, keys.active(), former))
    }

    async fn restore(&self, file: &Path, revoked: Option<&Path>) -> Result<u64, ProgramError> {
        let revoked = revoked.map(read_hashes).transpose()?;
        let open = || async {
            let opened = File::open(file).await;
            opened.map(BufReader::new).map_err(|source| ProgramError::File { path: file.to_path_buf(), source })
        };
        let keys = StorageKeys::read(&self.config.key_file(self.file)?)?;
        let ring = keys.ring()?;
        // First it is read to its end: nothing is begun with a backup that is not whole, or does not open.
        let bar = bar("reading");
        let mut random = [0; 6];
        os_random().fill_bytes(&mut random);
        let mut restore = Restore::new(Clock::system().now().unix, random, revoked);
        let mut kept = 0_u64;
        self.read(open().await?, &mut |key, value| {
            bar.inc(1);
            self.is_whole(key)?;
            let opened = ring.open(key, value).map_err(|why| ProgramError::Other(format!("{key:?}: {why}")))?;
            let is_kept = self.kept(&mut restore, key, &opened)?.is_some();
            kept = kept.saturating_add(u64::from(is_kept));
            Ok(())
        })
        .await?;
        bar.finish_and_clear();
        let durable = self.open_empty().await?;
        let bar = self::bar("restore");
        let mut page = vec![(keys::restoring(), Some(Bytes::from_static(b"1")))];
        let mut reader = Reader::open(open().await?).await.map_err(|error| self.failed(error))?;
        while let Some((key, value)) = reader.next().await.map_err(|error| self.failed(error))? {
            let opened = ring.open(&key, &value).map_err(|why| ProgramError::Other(format!("{key:?}: {why}")))?;
            if let Some(value) = self.kept(&mut restore, &key, &opened)? {
                page.push((key, Some(value)));
                bar.inc(1);
            }
            if page.len() >= PAGE {
                self.commit(&durable, std::mem::take(&mut page)).await?;
            }
        }
        self.commit(&durable, page).await?;
        let mut last = vec![(keys::restoring(), None)];
        if self.role == Role::Kdc {
            last.extend(restore.finish().into_iter().map(|(key, value)| (key, Some(value))));
        }
        self.commit(&durable, last).await?;
        bar.finish_and_clear();
        Ok(kept)
    }

    /// What of a record is kept. What an AS has issued it may go on with: its names are random.
    fn kept(&self, restore: &mut Restore, key: &Key, value: &Bytes) -> Result<Option<Bytes>, ProgramError> {
        match self.role {
            Role::Kdc => restore.record(key, value).map_err(|error| ProgramError::Other(format!("{key:?}: {error}"))),
            Role::AuthServer if [keys::ring(), keys::restoring()].contains(key) => Ok(None),
            Role::AuthServer => Ok(Some(value.clone())),
        }
    }

    /// Opens the storage, in which nothing may be. Its anchor is that of what was there before, and goes.
    async fn open_empty(&self) -> Result<Durable, ProgramError> {
        let is_new = matches!(Place::of(self.url)?, Place::Disk(folder) if !folder.join("format").exists());
        if is_new {
            self.forget_anchor()?;
        }
        let durable = self.open().await?;
        let first = durable.raw.scan(&Key::new(""), None, 1).await.map_err(|error| self.failed(error))?;
        if !first.records.is_empty() {
            return Err(self.failed("is not empty: a restore needs a place of its own, or what is there put away"));
        }
        if matches!(Place::of(self.url)?, Place::Postgres) {
            self.forget_anchor()?;
        }
        Ok(durable)
    }

    /// Removes the anchor, unless something that runs has it.
    fn forget_anchor(&self) -> Result<(), ProgramError> {
        let Some(anchor) = self.config.anchor(self.file).filter(|anchor| anchor.exists()) else { return Ok(()) };
        let io = |source| ProgramError::File { path: anchor.clone(), source };
        let file = std::fs::File::open(&anchor).map_err(io)?;
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(self.failed(format!("the anchor {} is in use by what runs", anchor.display())));
        }
        std::fs::remove_file(&anchor).map_err(io)
    }

    async fn commit(&self, durable: &Durable, write: Vec<(Key, Option<Bytes>)>) -> Result<(), ProgramError> {
        match durable.sealed.commit(vec![Txn { expect: Vec::new(), write }]).await.pop() {
            Some(CommitOutcome::Done(_)) => Ok(()),
            other => Err(self.failed(format!("nothing can be written: {other:?}"))),
        }
    }
}

/// A file that is removed with this value, unless it has got its name by then.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
