//! A disk in memory that loses what was not synced, and fails when told to.

use ace_backend_disk::{Appending, Disk};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard};

/// What the disk does not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    #[default]
    None,
    /// A write stops in the middle: the disk is full. Nothing can be made either.
    Full,
    /// A sync fails, though all was written; nothing can be made either.
    Sync,
    /// A sync fails once; then all is well.
    SyncOnce,
}

#[derive(Clone, Default)]
struct Entry {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Entry>,
    trouble: Trouble,
    syncs: usize,
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct TestDisk(Arc<Mutex<State>>);

struct TestFile(TestDisk, String);

impl TestDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set(&self, trouble: Trouble) {
        self.lock().trouble = trouble;
    }

    pub(crate) fn syncs(&self) -> usize {
        self.lock().syncs
    }

    /// The disk as a loss of power leaves it: of what was not synced in each file so many bytes are there.
    pub(crate) fn after_power_loss(&self, left: impl Fn(usize) -> usize) -> Self {
        let mut files = self.lock().files.clone();
        for file in files.values_mut() {
            let unsynced = file.bytes.len() - file.synced;
            file.bytes.truncate(file.synced + left(unsynced).min(unsynced));
        }
        Self(Arc::new(Mutex::new(State { files, ..State::default() })))
    }

    /// The same disk with one file changed.
    pub(crate) fn changed(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut files = self.lock().files.clone();
        change(&mut files.get_mut(name).unwrap().bytes);
        Self(Arc::new(Mutex::new(State { files, ..State::default() })))
    }

    /// The same disk without one file.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut files = self.lock().files.clone();
        files.remove(name).unwrap();
        Self(Arc::new(Mutex::new(State { files, ..State::default() })))
    }

    /// The name of the log's last file, and how many bytes of it are synced.
    pub(crate) fn last(&self) -> (String, usize) {
        self.files().pop().unwrap()
    }

    /// The names of the files, and how many bytes of each are synced.
    pub(crate) fn files(&self) -> Vec<(String, usize)> {
        self.lock().files.iter().map(|(name, file)| (name.clone(), file.synced)).collect()
    }
}

impl Disk for TestDisk {
    fn create(&self, name: &str) -> Result<Box<dyn Appending>> {
        let mut state = self.lock();
        if matches!(state.trouble, Trouble::Full | Trouble::Sync) {
            return Err(ErrorKind::StorageFull.into());
        }
        if state.files.insert(name.into(), Entry::default()).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        Ok(Box::new(TestFile(self.clone(), name.into())))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.lock().files.get(name).ok_or(ErrorKind::NotFound)?.bytes.clone())
    }

    fn sync(&self, name: &str) -> Result<()> {
        let mut state = self.lock();
        let file = state.files.get_mut(name).ok_or(ErrorKind::NotFound)?;
        file.synced = file.bytes.len();
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.lock().files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.lock().files.remove(name).map(|_| ()).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Appending for TestFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let mut state = self.0.lock();
        let full = state.trouble == Trouble::Full;
        let file = state.files.get_mut(&self.1).unwrap();
        if full {
            file.bytes.extend(&bytes[..bytes.len() / 2]);
            return Err(ErrorKind::StorageFull.into());
        }
        file.bytes.extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let mut state = self.0.lock();
        state.syncs += 1;
        if state.trouble == Trouble::SyncOnce {
            state.trouble = Trouble::None;
            return Err(Error::other("the disk has lost it"));
        }
        if state.trouble == Trouble::Sync {
            return Err(Error::other("the disk has lost it"));
        }
        let file = state.files.get_mut(&self.1).unwrap();
        file.synced = file.bytes.len();
        Ok(())
    }
}
