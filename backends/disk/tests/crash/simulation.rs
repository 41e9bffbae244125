//! The engine's simulation over this storage: one process, crashes, losses of power.

use crate::disk::TestDisk;
use ace_backend_disk::{DiskSettings, DiskStorage};
use ace_groupcomm::testkit::sim::{Backing, Options, Simulation};
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Page, Record, Sharing, Storage, StorageError, Txn};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Storage that loses, at each crash, some of what was not synced.
struct Crashing {
    folder: TempDir,
    disk: TestDisk,
    storage: Option<DiskStorage>,
    runtime: Runtime,
    crashes: usize,
}

impl Crashing {
    fn new() -> Self {
        let (folder, disk) = (tempfile::tempdir().unwrap(), TestDisk::default());
        let runtime = Builder::new_current_thread().build().unwrap();
        let mut crashing = Self { folder, disk, storage: None, runtime, crashes: 0 };
        crashing.open();
        crashing
    }

    fn open(&mut self) {
        // Small tables: they are written out now and then.
        let settings = DiskSettings { write_buffer: 64 << 10, ..DiskSettings::default() };
        let path = self.folder.path().join("store");
        self.storage = Some(DiskStorage::open_on(&path, &settings, Box::new(self.disk.clone())).unwrap());
    }

    fn storage(&self) -> &DiskStorage {
        self.storage.as_ref().unwrap()
    }
}

impl Backing for Crashing {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        self.runtime.block_on(self.storage().read(keys))
    }

    fn scan(&mut self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.runtime.block_on(self.storage().scan(prefix, after, limit))
    }

    fn commit(&mut self, txn: Txn) -> CommitOutcome {
        self.runtime.block_on(self.storage().commit(vec![txn])).pop().unwrap()
    }

    fn reopen(&mut self) {
        self.storage = None;
        self.crashes += 1;
        let crashes = self.crashes;
        self.disk = self.disk.after_power_loss(|unsynced| unsynced * (crashes % 3) / 2);
        self.open();
    }
}

#[test]
fn the_rules_hold_through_crashes_and_losses_of_power() {
    let options = Options { hosts: 1, clients: 40, sharing: Sharing::Exclusive, page: 3, ..Options::default() };
    let options = Options { crashes: 50, ..options };
    let (mut joins, mut crashes) = (0, 0);
    for seed in 0..20 {
        let simulation = Simulation::over(seed, options, Box::new(Crashing::new())).unwrap();
        let summary = simulation.run().unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        joins += summary.joins;
        crashes += summary.crashes;
    }
    assert!(joins > 200 && crashes > 200, "{joins} joins, {crashes} crashes");
}
