//! Opening a folder, and the storage in it.

use crate::disk::{Disk, Folder};
use crate::error::OpenError;
use crate::housekeeper;
use crate::log;
use crate::tables::{Moment, Tables};
use crate::writer::{Command, Writer};
use ace_backend_sealed::Anchor;
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Page, Record, Sharing, Snapshot, Storage, StorageError, Txn};
use async_trait::async_trait;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The format of the folder. A later version reads this one and writes its own.
const FORMAT: &str = "ace-backend-disk 1\n";

/// How storage is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// Bytes of records in memory before they are written to tables.
    pub write_buffer: u64,
    /// Bytes of tables that are kept in memory.
    pub cache: u64,
    /// The file that knows which commit was acknowledged last; in the folder where nothing is said. Elsewhere it also
    /// shows that the folder was rolled back to what it was before.
    pub anchor: Option<PathBuf>,
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self { write_buffer: 16 << 20, cache: 32 << 20, anchor: None }
    }
}

/// Storage in a folder, for one process.
pub struct DiskStorage {
    tables: Arc<Tables>,
    broken: Arc<AtomicBool>,
    commands: Sender<Command>,
    threads: Vec<JoinHandle<()>>,
    /// Held as long as the storage lives.
    _lock: File,
}

impl std::fmt::Debug for DiskStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStorage").finish_non_exhaustive()
    }
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> OpenError + '_ {
    |source| OpenError::Io { path: path.to_owned(), source }
}

/// Makes the folder, for its owner alone, unless it is there.
fn make_folder(path: &Path) -> Result<(), OpenError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let make = || {
        builder.create(path)?;
        // Its name has to survive a loss of power as well.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    if path.is_dir() { Ok(()) } else { make().map_err(io(path)) }
}

/// Locks the folder against other processes.
fn lock(path: &Path) -> Result<File, OpenError> {
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(path.join("lock"));
    let file = open.map_err(io(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(io(path)(source)),
    }
}

/// Whether the folder is in use already; another format is refused.
fn is_known(path: &Path) -> Result<bool, OpenError> {
    match std::fs::read_to_string(path.join("format")) {
        Ok(found) if found == FORMAT => Ok(true),
        Ok(found) => Err(OpenError::Format { path: path.to_owned(), found, known: FORMAT }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(io(path)(source)),
    }
}

/// Notes that the folder is in use from now on.
fn note_format(path: &Path) -> Result<(), OpenError> {
    let (new, named) = (path.join("format.new"), path.join("format"));
    let write = || {
        std::fs::write(&new, FORMAT)?;
        File::open(&new)?.sync_all()?;
        std::fs::rename(&new, &named)?;
        File::open(path)?.sync_all()
    };
    write().map_err(io(path))
}

impl DiskStorage {
    /// Opens the storage in this folder, or begins one where there is none.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, settings: &DiskSettings) -> Result<Self, OpenError> {
        make_folder(path)?;
        let log = path.join("log");
        std::fs::create_dir_all(&log).map_err(io(&log))?;
        Self::open_on(path, settings, Box::new(Folder::new(&log)))
    }

    /// The same, with the log on this disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_on(path: &Path, settings: &DiskSettings, disk: Box<dyn Disk>) -> Result<Self, OpenError> {
        // The tables need one, also where all paths are absolute.
        std::env::current_dir().map_err(|source| io(Path::new("the working directory"))(source))?;
        make_folder(path)?;
        let lock = lock(path)?;
        let known = is_known(path)?;
        let anchor_path = settings.anchor.clone().unwrap_or_else(|| path.join("anchor"));
        let (anchor, acknowledged) = Anchor::open(&anchor_path)?;
        let found = log::recover(&*disk, acknowledged)?;
        if known && found.is_empty() {
            return Err(OpenError::Damaged("there is no log".into()));
        }
        // Where there are none they would be begun anew, with what the log has of late.
        if known && !Tables::are_there(&path.join("tables")) {
            return Err(OpenError::Damaged("there are no tables".into()));
        }
        let tables = Arc::new(Tables::open(&path.join("tables"), settings.cache)?);
        found.replay(|entry| tables.apply(&[entry]))?;
        tables.go_on_from(found.next);
        let log = found.resume(disk, tables.revision()).map_err(io(path))?;
        if !known {
            note_format(path)?;
        }
        let (commands, incoming) = channel();
        let (sealed, to_flush) = channel();
        tables.seal();
        let _ = sealed.send(log.number());
        let broken = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            log,
            tables: Arc::clone(&tables),
            anchor,
            broken: Arc::clone(&broken),
            sealed,
            buffer: settings.write_buffer,
        };
        let (housekept, flushed) = (Arc::clone(&tables), commands.clone());
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let housekeeper = thread("storage-tables")
            .spawn(move || housekeeper::run(&housekept, &to_flush, &flushed))
            .map_err(io(path))?;
        let writer = thread("storage-log").spawn(move || writer.run(&incoming)).map_err(io(path))?;
        Ok(Self { tables, broken, commands, threads: vec![writer, housekeeper], _lock: lock })
    }

    /// Whether it may be read: what became of every commit is settled.
    async fn settled(&self) -> Result<(), StorageError> {
        if !self.broken.load(Ordering::Acquire) {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        let _ = self.commands.send(Command::Repair(sender));
        match receiver.await {
            Ok(true) => Ok(()),
            _ => Err(StorageError::Unavailable("the log cannot be written".into())),
        }
    }
}

impl Drop for DiskStorage {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Storage for DiskStorage {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        self.settled().await?;
        self.tables.read(keys)
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.settled().await?;
        self.tables.scan(prefix, after, limit)
    }

    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome> {
        let count = txns.len();
        let (sender, receiver) = oneshot::channel();
        let ended = || StorageError::Unavailable("the storage's thread has ended".into());
        if self.commands.send(Command::Commit(txns, sender)).is_err() {
            return vec![CommitOutcome::NotDone(ended()); count];
        }
        receiver.await.unwrap_or_else(|_| vec![CommitOutcome::Unknown(ended()); count])
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.settled().await?;
        Ok(Box::new(Moment::of(&self.tables)))
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}
