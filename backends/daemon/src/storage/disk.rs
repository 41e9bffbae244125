//! Storage in a folder.

use ace_backend_disk::{DiskSettings, DiskStorage};
use ace_groupcomm::traits::storage::Storage;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) fn open(folder: &Path, anchor: Option<PathBuf>) -> Result<Arc<dyn Storage>, impl std::fmt::Display> {
    let settings = DiskSettings { anchor, ..DiskSettings::default() };
    DiskStorage::open(folder, &settings).map(|storage| Arc::new(storage) as Arc<dyn Storage>)
}
