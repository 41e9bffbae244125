//! The seam between the log and the disk: where a test loses what was not synced.

use std::fs::{File, OpenOptions, remove_file};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that grows at its end.
pub trait Appending: Send {
    /// Writes at the end. After an error nobody knows how much of it was written.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when all that was written survives a loss of power.
    ///
    /// # Errors
    /// Whatever the disk says. What was written since the last time may then be there or not.
    fn sync(&mut self) -> io::Result<()>;
}

/// The folder in which the log's files are.
pub trait Disk: Send {
    /// Makes a file, which must not be there; its name survives a loss of power.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn create(&self, name: &str) -> io::Result<Box<dyn Appending>>;

    /// Reads a file whole.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Returns when all that can be read of a file survives a loss of power: the process that wrote it may have ended
    /// before it had it synced.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// The names of all files.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A folder of the operating system's.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at this path, which has to be there.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Appending for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Disk for Folder {
    fn create(&self, name: &str) -> io::Result<Box<dyn Appending>> {
        let file = OpenOptions::new().append(true).create_new(true).open(self.0.join(name))?;
        File::open(&self.0)?.sync_all()?;
        Ok(Box::new(file))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.0.join(name))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        File::open(self.0.join(name))?.sync_data()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.0)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        remove_file(self.0.join(name))
    }
}
