//! Backups: everything of one moment in a file.
//!
//! A file is a line with the format's name, whose state it is, the records, their count, and a SHA-256 of all that stands
//! before it. Values are as they are stored: sealed ones stay sealed, and need the keys that they were sealed with.
//! Integers are big-endian.
//!
//! ```text
//!   "ace-groupcomm backup 1\n"
//!   u16 length, whose state it is: "kdc" or "as"
//!   for each record: u8 1, u32 length of the key, u32 length of the value, key, value
//!   u8 0, u64 count of the records, SHA-256
//! ```
//!
//! ```
//! use ace_backend_memory::MemoryStorage;
//! use ace_backend_tokio::backup::{self, Reader};
//! use ace_groupcomm::traits::storage::{Key, Storage, Txn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = MemoryStorage::new();
//! storage.commit(vec![Txn { expect: vec![], write: vec![(Key::new("a"), Some("1".into()))] }]).await;
//! let mut file = Vec::new();
//! assert_eq!(backup::write(&*storage.snapshot().await?, "kdc", &mut file, |_| ()).await?, 1);
//!
//! let mut reader = Reader::open(&file[..]).await?;
//! assert_eq!(reader.whose(), "kdc");
//! assert_eq!(reader.next().await?, Some((Key::new("a"), "1".into())));
//! assert_eq!(reader.next().await?, None); // and the file is whole
//! # Ok(())
//! # }
//! ```

use ace_groupcomm::traits::storage::{Key, Snapshot, StorageError};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::io;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const FORMAT: &[u8] = b"ace-groupcomm backup 1\n";
/// Records that are read at once.
const PAGE: usize = 1_000;
/// The longest key and value: more is no backup of ours.
const LONGEST: usize = 4 << 20;

/// Why a backup cannot be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The file cannot be written or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Storage cannot be read.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// It is no backup, or one of another version.
    #[error("this is no backup of a version that is known")]
    Format,
    /// It ends too early, or was changed.
    #[error("the backup is damaged, or not whole")]
    Damaged,
}

/// Writes what a snapshot shows. Returns how many records that are. `progress` is told how many there are so far.
///
/// # Errors
/// [`BackupError`].
pub async fn write(
    snapshot: &dyn Snapshot,
    whose: &str,
    out: &mut (impl AsyncWrite + Unpin),
    mut progress: impl FnMut(u64),
) -> Result<u64, BackupError> {
    let mut hash = Sha256::new();
    let mut buffer = FORMAT.to_vec();
    let length = u16::try_from(whose.len()).map_err(|_| BackupError::Format)?;
    buffer.extend(length.to_be_bytes());
    buffer.extend(whose.as_bytes());
    let (mut count, mut after) = (0_u64, None);
    loop {
        let page = snapshot.page(after.as_ref(), PAGE).await?;
        for (key, record) in &page.records {
            buffer.push(1);
            for bytes in [key.as_bytes(), &record.value] {
                buffer.extend(u32::try_from(bytes.len()).map_err(|_| BackupError::Format)?.to_be_bytes());
            }
            buffer.extend(key.as_bytes());
            buffer.extend(&record.value);
            count = count.saturating_add(1);
        }
        progress(count);
        if !page.more {
            break;
        }
        hash.update(&buffer);
        out.write_all(&buffer).await?;
        buffer.clear();
        after = page.records.last().map(|(key, _)| key.clone());
    }
    buffer.push(0);
    buffer.extend(count.to_be_bytes());
    hash.update(&buffer);
    buffer.extend(hash.finalize());
    out.write_all(&buffer).await?;
    out.flush().await?;
    Ok(count)
}

/// Reads a backup.
pub struct Reader<R> {
    input: R,
    hash: Sha256,
    whose: String,
    count: u64,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn open(input: R) -> Result<Self, BackupError> {
        let mut reader = Self { input, hash: Sha256::new(), whose: String::new(), count: 0 };
        if reader.take(FORMAT.len()).await.map_err(|_| BackupError::Format)? != FORMAT {
            return Err(BackupError::Format);
        }
        let length = u16::from_be_bytes(reader.array().await?);
        let whose = reader.take(usize::from(length)).await?;
        reader.whose = String::from_utf8(whose).map_err(|_| BackupError::Damaged)?;
        Ok(reader)
    }

    /// Whose state it is.
    #[must_use]
    pub fn whose(&self) -> &str {
        &self.whose
    }

    /// The next record; none at the end of a file that is whole.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn next(&mut self) -> Result<Option<(Key, Bytes)>, BackupError> {
        match self.array().await? {
            [1] => {
                let lengths = [u32::from_be_bytes(self.array().await?), u32::from_be_bytes(self.array().await?)];
                let [key, value] = lengths.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
                if key.max(value) > LONGEST {
                    return Err(BackupError::Damaged);
                }
                let (key, value) = (self.take(key).await?, self.take(value).await?);
                self.count = self.count.saturating_add(1);
                Ok(Some((Key::new(key), value.into())))
            }
            [0] => {
                let count = u64::from_be_bytes(self.array().await?);
                let expected = self.hash.clone().finalize();
                let found: [u8; 32] = self.array().await?;
                let is_whole = count == self.count && found == *expected && self.input.read(&mut [0]).await? == 0;
                if is_whole { Ok(None) } else { Err(BackupError::Damaged) }
            }
            _ => Err(BackupError::Damaged),
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes).await?;
        Ok(bytes)
    }

    async fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes).await?;
        Ok(bytes)
    }

    async fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        match self.input.read_exact(bytes).await {
            Ok(_) => {
                self.hash.update(bytes);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(BackupError::Damaged),
            Err(error) => Err(error.into()),
        }
    }
}
