//! The write-ahead log: what makes a commit durable.
//!
//! It consists of files `wal-<number>`, each of frames (see `frame`). One batch is one frame, and a batch begins only
//! when the one before is synced. So a broken frame with a whole one behind it is damage; a broken one at the very end
//! is a batch that nobody was told of, unless the anchor says otherwise. A file's header names the last revision that
//! was acknowledged before it, which shows damage at the end of the file before.
//!
//! After a write or sync that failed nothing more goes into that file: the next begins, and its header says that what
//! the former holds behind the last acknowledged revision never happened. That settles what became of the batch that
//! failed.
//!
//! An empty file `from-<number>` names the first file whose batches may not be in the tables: without it the log begins
//! with the first.

use crate::disk::{Appending, Disk};
use crate::error::OpenError;
use crate::frame::{Entry, Header, anywhere, frame, split};
use std::io;

/// The log's files, of which the last one is written.
pub(crate) struct Log {
    disk: Box<dyn Disk>,
    /// The file that is written; none after a failure.
    file: Option<Box<dyn Appending>>,
    /// Its number, or that of the one before.
    number: u64,
    /// How many bytes it has.
    len: u64,
    /// The last revision that was acknowledged.
    acknowledged: u64,
    /// Where the next frame is made.
    buffer: Vec<u8>,
}

/// What a log holds that was opened.
pub(crate) struct Recovered {
    /// Files by number, with their bytes.
    files: Vec<(u64, Vec<u8>)>,
    /// The number of the last file.
    number: u64,
    /// The last revision that was acknowledged, or may have been.
    pub(crate) last: u64,
    /// The next one to be given.
    pub(crate) next: u64,
    /// For each file the last revision that happened, and how many bytes are whole.
    cuts: Vec<(u64, usize)>,
}

fn name(number: u64) -> String {
    format!("wal-{number:016x}")
}

fn from(number: u64) -> String {
    format!("from-{number:016x}")
}

/// The numbers of all files whose names begin so, in order.
fn numbers(disk: &dyn Disk, prefix: &str) -> io::Result<Vec<u64>> {
    let names = disk.list()?;
    let numbers = names.iter().filter_map(|name| u64::from_str_radix(name.strip_prefix(prefix)?, 16).ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a batch is too long")
}

fn entries(body: &[u8]) -> Result<Vec<Entry<'_>>, OpenError> {
    postcard::from_bytes(body).map_err(|_| OpenError::Damaged("a batch of the log cannot be read".into()))
}

/// Reads all files and finds out where the log ends. `anchor` is the last revision that is known to have been
/// acknowledged.
pub(crate) fn recover(disk: &dyn Disk, anchor: u64) -> Result<Recovered, OpenError> {
    let io = |source| OpenError::Io { path: "log".into(), source };
    let first = numbers(disk, "from-").map_err(io)?.pop().unwrap_or(1);
    let mut found =
        Recovered { files: Vec::new(), number: first.saturating_sub(1), last: 0, next: 1, cuts: Vec::new() };
    for number in numbers(disk, "wal-").map_err(io)?.into_iter().filter(|number| *number >= first) {
        if found.number.checked_add(1) != Some(number) {
            return Err(OpenError::Damaged(format!("a file of the log is missing before {}", name(number))));
        }
        // What is found here is relied on from now on, whoever wrote it and had no time to sync it.
        disk.sync(&name(number)).map_err(io)?;
        let bytes = disk.read(&name(number)).map_err(io)?;
        found.take(number, bytes)?;
    }
    if found.last < anchor {
        let why = format!("commit {anchor} was acknowledged, and the log ends with {}", found.last);
        return Err(OpenError::Damaged(why));
    }
    Ok(found)
}

impl Recovered {
    /// Takes in the next file.
    fn take(&mut self, number: u64, bytes: Vec<u8>) -> Result<(), OpenError> {
        self.number = number;
        let header = split(&bytes).and_then(|(body, rest)| Some((postcard::from_bytes::<Header>(body).ok()?, rest)));
        let Some((header, mut rest)) = header else {
            if anywhere(&bytes) {
                return Err(OpenError::Damaged(format!("{} is damaged at its beginning", name(number))));
            }
            // Nothing was acknowledged with a file whose header was never synced.
            return Ok(());
        };
        let known = self.files.is_empty() || self.last >= header.after;
        if header.number != number || !known {
            return Err(OpenError::Damaged(format!("what was committed before {} is not whole", name(number))));
        }
        // What stands behind it comes from a batch that failed.
        for (cut, _) in &mut self.cuts {
            *cut = header.after.min(*cut);
        }
        self.last = header.after;
        self.next = self.next.max(header.first);
        while let Some((body, behind)) = split(rest) {
            for entry in entries(body)? {
                if entry.revision < self.next {
                    return Err(OpenError::Damaged(format!("revisions in {} go back", name(number))));
                }
                self.last = entry.revision;
                self.next = entry.revision.saturating_add(1);
            }
            rest = behind;
        }
        if rest.get(1..).is_some_and(anywhere) {
            return Err(OpenError::Damaged(format!("{} is damaged in the middle", name(number))));
        }
        let whole = bytes.len().saturating_sub(rest.len());
        self.cuts.push((u64::MAX, whole));
        self.files.push((number, bytes));
        Ok(())
    }

    /// Whether there is no log at all.
    pub(crate) const fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Shows all that happened, in order.
    pub(crate) fn replay(&self, mut apply: impl FnMut(Entry<'_>)) -> Result<(), OpenError> {
        for ((_, bytes), (cut, whole)) in self.files.iter().zip(&self.cuts) {
            let mut rest = bytes.get(..*whole).and_then(split).map_or(&[][..], |(_, rest)| rest);
            while let Some((body, behind)) = split(rest) {
                entries(body)?.into_iter().filter(|entry| entry.revision <= *cut).for_each(&mut apply);
                rest = behind;
            }
        }
        Ok(())
    }

    /// The log, to be gone on with in a new file whose revisions begin with this one.
    pub(crate) fn resume(&self, disk: Box<dyn Disk>, first: u64) -> io::Result<Log> {
        let mut log =
            Log { disk, file: None, number: self.number, len: 0, acknowledged: self.last, buffer: Vec::new() };
        log.begin(first)?;
        Ok(log)
    }
}

impl Log {
    /// Begins the next file.
    pub(crate) fn begin(&mut self, first: u64) -> io::Result<()> {
        self.file = None;
        let number = self.number.saturating_add(1);
        let header = frame(&Header { number, after: self.acknowledged, first }, Vec::new()).ok_or_else(too_long)?;
        // What another try has left is in the way. It holds no batch.
        let _ = self.disk.remove(&name(number));
        self.create(number, &header)?;
        self.number = number;
        Ok(())
    }

    fn create(&mut self, number: u64, header: &[u8]) -> io::Result<()> {
        let mut file = self.disk.create(&name(number))?;
        file.append(header)?;
        file.sync()?;
        self.file = Some(file);
        self.len = u64::try_from(header.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Whether the next batch can go into the file.
    pub(crate) const fn is_whole(&self) -> bool {
        self.file.is_some()
    }

    /// The number of the file that is written.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes the file has that is written.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Makes a batch durable. After a failure nothing can be added until the next file is begun.
    ///
    /// # Errors
    /// [`Failed`]: whether it may be found again.
    pub(crate) fn add(&mut self, batch: &[Entry<'_>]) -> Result<(), Failed> {
        let frame = frame(&batch, std::mem::take(&mut self.buffer)).ok_or_else(|| Failed::Written(too_long()))?;
        let file = self.file.as_mut().ok_or_else(|| Failed::Written(io::Error::other("the log is broken")))?;
        let result = file.append(&frame).map_err(Failed::Written).and_then(|()| file.sync().map_err(Failed::Synced));
        if let Err(failed) = result {
            self.file = None;
            return Err(failed);
        }
        self.len = self.len.saturating_add(u64::try_from(frame.len()).unwrap_or(u64::MAX));
        self.buffer = frame;
        self.acknowledged = batch.last().map_or(self.acknowledged, |entry| entry.revision);
        Ok(())
    }

    /// Removes files below a number: what they hold is in the tables.
    pub(crate) fn remove_below(&self, number: u64) {
        if let Err(error) = self.try_remove_below(number) {
            tracing::warn!(%error, "old files of the log cannot be removed");
        }
    }

    fn try_remove_below(&self, kept: u64) -> io::Result<()> {
        let known = numbers(&*self.disk, "from-")?;
        if !known.contains(&kept) {
            self.disk.create(&from(kept))?;
        }
        let old = numbers(&*self.disk, "wal-")?.into_iter().filter(|number| *number < kept).map(name);
        let former = known.into_iter().filter(|number| *number < kept).map(from);
        old.chain(former).try_for_each(|name| self.disk.remove(&name))
    }
}

/// How a batch failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Not all of it was written: it is gone.
    Written(io::Error),
    /// It was written, and may be on the disk.
    Synced(io::Error),
}
