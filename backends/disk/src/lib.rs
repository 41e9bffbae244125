//! Embedded storage: durable, for one process, in a folder.
//!
//! ```
//! use ace_backend_disk::{DiskStorage, DiskSettings};
//! use ace_groupcomm::traits::storage::{Key, Storage, Txn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("store");
//! let storage = DiskStorage::open(&path, &DiskSettings::default())?;
//! let key = Key::new("lamp");
//! storage.commit(vec![Txn { expect: vec![(key.clone(), None)], write: vec![(key.clone(), Some("on".into()))] }]).await;
//! drop(storage);
//!
//! let again = DiskStorage::open(&path, &DiskSettings::default())?;
//! let found = again.read(&[key]).await?;
//! assert_eq!(found[0].as_ref().map(|record| &record.value[..]), Some(&b"on"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # What it is made of
//!
//! Tables of the crate `lsm-tree`, which is what the database fjall consists of beside its journal; and a log of our
//! own in front of them. A commit is done when the log is synced. Tables are flushed in the background, and files of the
//! log go when what they hold is in the tables.
//!
//! # Why this and not another
//!
//! Tried with the mix of a KDC (three records a join, 64 joins a commit, a million members in 1,000 groups, a sync each
//! commit), on two cores of another machine than the README's: the database fjall 3.1 took 13 to 17 microseconds of CPU a
//! join, redb 4.6 35 to 40. But fjall's journal cannot tell torn from damaged: eight garbled bytes in its middle, and it opened without a word with half of
//! what had been synced; a garbled last batch, which a loss of power may leave, and it did not open at all. Both break
//! what [`Storage`] promises, and there is no seam below it for a test to lose what was not synced. So the tables are
//! fjall's, and the log is here: a few hundred lines that know which commits were acknowledged. The README says what a join
//! costs with it, and how to measure that again.
//!
//! # What is promised
//!
//! - What was acknowledged is there after a crash or a loss of power; what was not may be there or not, whole.
//! - A torn end of the log is no error. A damaged middle, a missing file, or an end before the last acknowledged commit
//!   ([`DiskSettings::anchor`]) is [`OpenError::Damaged`].
//! - A second process gets [`OpenError::InUse`].
//! - After a write or sync that failed nothing is read or committed until a new file of the log is begun, which is tried
//!   at each call. It says of the commit that failed that it did not happen.
//! - Memory: the cache, and at most five times the write buffer, whatever the tables hold.

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::print_stdout
    )
)]

mod disk;
mod error;
mod frame;
mod housekeeper;
mod log;
mod storage;
mod tables;
mod writer;

pub use disk::{Appending, Disk, Folder};
pub use error::OpenError;
pub use storage::{DiskSettings, DiskStorage};

#[cfg(doc)]
use ace_groupcomm::traits::storage::Storage;
