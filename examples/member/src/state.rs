//! What a member keeps, in a file that survives: locked while it is used, readable by its owner alone, written to a
//! second file that then takes the first one's name, with both file and folder synced.
//!
//! The file says whether it is open, and on which boot: who finds it open, or on another boot, does not know what was
//! used, and the member begins anew as far as it has to. The lock file holds the generation of the last write: a copy, or an older file in its place, differs from it
//! and keeps no association either.

use crate::ProgramError;
use ace_groupcomm::member::State;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How many links lead to a file at most.
const LINKS: usize = 40;

/// What stands in the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Content {
    /// Raised with each write.
    pub generation: u64,
    /// On which boot of which machine it was written.
    pub boot: String,
    /// Which lock file goes with it, where the operating system numbers them: a copy of the folder has another.
    pub lock: Option<(u64, u64)>,
    /// Whether somebody uses it, or used it and did not come to an end.
    pub open: bool,
    /// What the member keeps.
    pub member: State,
}

/// The file, locked.
pub struct StateFile {
    path: PathBuf,
    lock: File,
    /// The content of the file.
    pub content: Content,
}

impl std::fmt::Debug for StateFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateFile").finish_non_exhaustive()
    }
}

/// Names this boot of this machine; empty where the operating system does not say.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The numbers of a file's device and of the file.
#[cfg(unix)]
fn number(file: &File) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    file.metadata().ok().map(|data| (data.dev(), data.ino()))
}

#[cfg(not(unix))]
fn number(_file: &File) -> Option<(u64, u64)> {
    None
}

fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The file that a name is for, where links lead to it: the file is replaced, and no link to it.
fn behind_links(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        match std::fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // No link, or nothing at all yet.
            Err(_) => return Ok(path),
        }
    }
    Err(std::io::Error::other("too many links"))
}

impl StateFile {
    /// Opens the file, or begins one. Nobody else has it open then.
    ///
    /// # Errors
    /// [`ProgramError::State`] where it cannot be read, or is in use.
    pub fn open(path: &Path) -> Result<Self, ProgramError> {
        let failed = |source| ProgramError::File { path: path.to_path_buf(), source };
        let path = &behind_links(path).map_err(failed)?;
        let unusable = |reason: String| ProgramError::State { path: path.clone(), reason };
        let mut lock = private(&path.with_extension("lock")).map_err(failed)?;
        lock.try_lock().map_err(|_| unusable("the state file is in use".into()))?;
        let mut written = String::new();
        lock.read_to_string(&mut written).map_err(failed)?;
        let mut text = Zeroizing::new(String::new());
        let content = match File::open(path) {
            Ok(mut file) => {
                file.read_to_string(&mut text).map_err(failed)?;
                serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(failed(error)),
        };
        let mut file = Self { path: path.to_path_buf(), lock, content };
        let (here, number) = (boot(), number(&file.lock));
        // The file of another place or time: its numbers may be used already, by a copy or after it was saved. Where
        // nobody can tell, it counts as that.
        let is_ours = written == file.content.generation.to_string()
            && (file.content.boot == here && !here.is_empty())
            && (file.content.lock == number && number.is_some());
        if file.content.open || !is_ours {
            file.content.member.distrust();
        }
        (file.content.boot, file.content.lock) = (here, number);
        file.content.open = true;
        file.write()?;
        Ok(file)
    }

    /// Writes the state; it is safe when this returns.
    ///
    /// # Errors
    /// [`ProgramError::File`].
    pub fn save(&mut self, state: State) -> Result<(), ProgramError> {
        self.content.member = state;
        self.write()
    }

    fn write(&mut self) -> Result<(), ProgramError> {
        let failed = |source| ProgramError::File { path: self.path.clone(), source };
        self.content.generation = self.content.generation.saturating_add(1);
        let text = serde_json::to_vec_pretty(&self.content)
            .map_err(|error| ProgramError::State { path: self.path.clone(), reason: error.to_string() })?;
        let text = Zeroizing::new(text);
        let new = self.path.with_extension("new");
        let mut file = private(&new).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&new, &self.path).map_err(failed)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        self.lock.set_len(0).and_then(|()| self.lock.rewind()).map_err(failed)?;
        self.lock.write_all(self.content.generation.to_string().as_bytes()).map_err(failed)
    }

    /// Closes the file: all that was used is in it.
    ///
    /// # Errors
    /// [`ProgramError::File`].
    pub fn close(mut self) -> Result<(), ProgramError> {
        self.content.open = false;
        self.write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_groupcomm::member::{Bytes, JoinedGroup, Session};

    /// A member of one group with an association.
    fn state() -> State {
        let group = JoinedGroup {
            cnonce: Bytes::default(),
            inactive: false,
            control_uri: None,
            key: Bytes::default(),
            num: 0,
            expires: None,
            node: "n".into(),
            kdc_cred: Bytes::default(),
            peers: Vec::new(),
            spent: Vec::new(),
            doubtful: false,
        };
        let mut state = State { session: Some(Session::default()), ..State::default() };
        state.groups.insert("g".into(), group);
        state
    }

    fn is_trusted(file: &StateFile) -> bool {
        let member = &file.content.member;
        let doubtful = member.groups["g"].doubtful;
        assert_eq!(member.session.is_some(), !doubtful);
        !doubtful
    }

    // Covers: TH-7-03/file-mode, TH-7-03/generation, TH-7-03/locked-file
    #[test]
    fn one_at_a_time_and_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.state");
        let file = StateFile::open(&path).unwrap();
        assert!(matches!(StateFile::open(&path), Err(ProgramError::State { .. })), "locked");
        file.close().unwrap();
        let again = StateFile::open(&path).unwrap();
        assert!(again.content.generation > 2);
        #[cfg(target_os = "linux")]
        {
            let kernels = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
            assert_eq!(again.content.boot, kernels.trim());
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        drop(again);
        std::fs::write(&path, "{").unwrap();
        let damaged = StateFile::open(&path).err().unwrap().to_string();
        assert!(damaged.contains("x.state") && damaged.contains("EOF"), "{damaged}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_the_file_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (link, path) = (folder.path().join("x.state"), folder.path().join("elsewhere/real.state"));
        std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere/real.state", &link).unwrap();
        for _ in 0..2 {
            let mut file = StateFile::open(&link).unwrap();
            assert!(StateFile::open(&path).is_err(), "locked under both names");
            file.save(state()).unwrap();
            file.close().unwrap();
        }
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(std::fs::read_to_string(&path).unwrap().contains("generation"));
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
        assert!(StateFile::open(&folder.path().join("loop")).is_err());
    }

    #[test]
    fn after_a_crash_or_on_another_boot_nothing_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.state");
        let mut file = StateFile::open(&path).unwrap();
        file.save(state()).unwrap();
        file.close().unwrap();
        let file = StateFile::open(&path).unwrap();
        assert!(is_trusted(&file), "closed as it should be");
        drop(file);
        let mut file = StateFile::open(&path).unwrap();
        assert!(!is_trusted(&file), "it was open");
        file.save(state()).unwrap();
        file.close().unwrap();
        let text = std::fs::read_to_string(&path).unwrap().replace(&boot(), "another-boot");
        std::fs::write(&path, text).unwrap();
        assert!(!is_trusted(&StateFile::open(&path).unwrap()), "another boot");
    }

    // Covers: TH-7-03/generation
    #[test]
    fn a_copy_or_an_older_file_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("x.state"), folder.path().join("y.state"));
        let mut file = StateFile::open(&path).unwrap();
        file.save(state()).unwrap();
        file.close().unwrap();
        std::fs::copy(&path, &other).unwrap();
        let old = std::fs::read(&path).unwrap();

        let file = StateFile::open(&path).unwrap();
        assert!(is_trusted(&file), "the file itself");
        file.close().unwrap();
        assert!(!is_trusted(&StateFile::open(&other).unwrap()), "a copy");
        let whole = folder.path().join("copy");
        std::fs::create_dir(&whole).unwrap();
        for name in ["x.state", "x.lock"] {
            std::fs::copy(folder.path().join(name), whole.join(name)).unwrap();
        }
        assert!(!is_trusted(&StateFile::open(&whole.join("x.state")).unwrap()), "a copy with its lock file");
        std::fs::write(&path, old).unwrap();
        assert!(!is_trusted(&StateFile::open(&path).unwrap()), "an older one");
    }
}
