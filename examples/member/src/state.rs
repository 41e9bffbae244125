//! What a member keeps, in a file that survives: locked while it is used, readable by its owner alone, written to a
//! second file that then takes the first one's name, with both file and folder synced.
//!
//! Sequence numbers are reserved in blocks before they are used. The file says whether it is open, and on which
//! boot: who finds it open, or on another boot, does not know what was used, and gets new identifiers before it
//! uses any. The lock file holds the generation of the last write: a copy, or an older file put back, differs from it
//! and keeps no association either.

use crate::MemberError;
use crate::group::Group;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// How many sequence numbers are reserved at once with the KDC: each block of a large answer takes one.
const BLOCK: u64 = 4096;

/// How many are reserved at once with the AS, and for each second since 1970.
const AS_BLOCK: u64 = 64;

/// Bytes, in hexadecimal.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ace_program::Hex::deserialize(deserializer).map(|hex| Self(hex.0))
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token and the key that it is bound to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// The token.
    pub access_token: Bytes,
    /// The encoded `cnf` that came with it.
    pub cnf: Bytes,
    /// When it ends, in seconds since 1970, by the member's clock.
    pub expires: u64,
}

/// The association with the KDC.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Session {
    /// The Master Secret.
    pub master_secret: Bytes,
    /// The Master Salt.
    pub master_salt: Bytes,
    /// The member's Sender ID.
    pub sender_id: Bytes,
    /// The KDC's Sender ID.
    pub recipient_id: Bytes,
    /// The ID Context.
    pub id_context: Option<Bytes>,
    /// The AEAD algorithm, its COSE number.
    pub aead: i64,
    /// Whether keys are derived with SHA-512.
    pub sha512: bool,
    /// The first sequence number that was not reserved.
    pub next: u64,
    /// N_S.
    pub kdcchallenge: Option<Bytes>,
}

/// All that a member keeps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Raised with each write.
    pub generation: u64,
    /// On which boot of which machine it was written.
    pub boot: String,
    /// Which lock file goes with it, where the operating system numbers them: a copy of the folder has another.
    #[serde(default)]
    pub lock: Option<(u64, u64)>,
    /// Whether somebody uses it, or used it and did not come to an end.
    pub open: bool,
    /// The first sequence number with the AS that was not reserved.
    pub as_next: u64,
    /// The token.
    pub token: Option<Token>,
    /// The association with the KDC, in which an answer has verified.
    pub session: Option<Session>,
    /// One that the KDC, or somebody in its place, has offered: nothing has verified in it yet.
    pub offered: Option<Session>,
    /// The groups.
    pub groups: BTreeMap<String, Group>,
}

impl State {
    /// The association to use: one that was offered is tried first.
    #[must_use]
    pub fn current(&self) -> Option<&Session> {
        self.offered.as_ref().or(self.session.as_ref())
    }

    /// The same, to change it.
    pub fn current_mut(&mut self) -> Option<&mut Session> {
        self.offered.as_mut().or(self.session.as_mut())
    }
}

/// The file, locked.
pub struct StateFile {
    path: PathBuf,
    lock: File,
    /// What it says.
    pub state: State,
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

impl StateFile {
    /// Opens the file, or begins one. Nobody else has it open then.
    ///
    /// # Errors
    /// [`MemberError::State`] where it cannot be read, or is in use.
    pub fn open(path: &Path) -> Result<Self, MemberError> {
        let failed = |source| MemberError::File { path: path.to_path_buf(), source };
        let mut lock = private(&path.with_extension("lock")).map_err(failed)?;
        lock.try_lock().map_err(|_| MemberError::State("the state file is in use".into()))?;
        let mut written = String::new();
        lock.read_to_string(&mut written).map_err(failed)?;
        let mut text = Zeroizing::new(String::new());
        let state = match File::open(path) {
            Ok(mut file) => {
                file.read_to_string(&mut text).map_err(failed)?;
                serde_json::from_str(&text).map_err(|error| MemberError::State(error.to_string()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(failed(error)),
        };
        let mut file = Self { path: path.to_path_buf(), lock, state };
        let (here, number) = (boot(), number(&file.lock));
        // The file of another place or time: its numbers may be used already, by a copy or after it was saved. Where
        // nobody can tell, it counts as that.
        let is_ours = written == file.state.generation.to_string()
            && (file.state.boot == here && !here.is_empty())
            && (file.state.lock == number && number.is_some());
        // What was used after the last write, nobody knows: neither association nor Sender ID goes on (Group OSCORE
        // section 2.6.1.1).
        if file.state.open || !is_ours {
            (file.state.session, file.state.offered) = (None, None);
            for group in file.state.groups.values_mut() {
                group.spend();
            }
        }
        (file.state.boot, file.state.lock) = (here, number);
        file.state.open = true;
        file.save()?;
        Ok(file)
    }

    /// Writes the state; it is safe when this returns.
    ///
    /// # Errors
    /// [`MemberError::File`].
    pub fn save(&mut self) -> Result<(), MemberError> {
        let failed = |source| MemberError::File { path: self.path.clone(), source };
        self.state.generation = self.state.generation.saturating_add(1);
        let text = serde_json::to_vec_pretty(&self.state).map_err(|error| MemberError::State(error.to_string()))?;
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
        self.lock.write_all(self.state.generation.to_string().as_bytes()).map_err(failed)
    }

    /// Closes the file: all that was used is in it.
    ///
    /// # Errors
    /// [`MemberError::File`].
    pub fn close(mut self) -> Result<(), MemberError> {
        self.state.open = false;
        self.save()
    }

    /// Reserves sequence numbers with the AS: from the first up to, not including, the second. The key with the
    /// AS outlives the file, so the numbers also follow the time, `unix` in seconds since 1970: they do not begin
    /// again when the file is lost.
    ///
    /// # Errors
    /// [`MemberError::File`]; nothing may be used then.
    pub fn reserve_as(&mut self, unix: u64) -> Result<(u64, u64), MemberError> {
        let start = self.state.as_next.max(unix.saturating_mul(AS_BLOCK));
        self.state.as_next = start.saturating_add(AS_BLOCK);
        self.save()?;
        Ok((start, self.state.as_next))
    }

    /// Reserves sequence numbers with the KDC.
    ///
    /// # Errors
    /// [`MemberError`]; nothing may be used then.
    pub fn reserve_kdc(&mut self) -> Result<(u64, u64), MemberError> {
        let session = self.state.current_mut().ok_or(MemberError::NoSession)?;
        let start = session.next;
        session.next = start.saturating_add(BLOCK);
        let limit = session.next;
        self.save()?;
        Ok((start, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::tests::group;

    // Covers: TH-7-03
    #[test]
    fn one_at_a_time_and_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.state");
        let file = StateFile::open(&path).unwrap();
        assert!(matches!(StateFile::open(&path), Err(MemberError::State(_))), "locked");
        file.close().unwrap();
        let again = StateFile::open(&path).unwrap();
        assert!(again.state.generation > 2);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        drop(again);
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(StateFile::open(&path), Err(MemberError::State(_))), "damaged");
    }

    // Covers: TH-7-02, TH-7-03
    #[test]
    fn after_a_crash_or_on_another_boot_identifiers_are_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.state");
        let mut file = StateFile::open(&path).unwrap();
        file.state.groups.insert("g".into(), group());
        file.close().unwrap();
        let file = StateFile::open(&path).unwrap();
        assert!(!file.state.groups["g"].is_spent(), "closed as it should be");
        drop(file);
        let mut file = StateFile::open(&path).unwrap();
        assert!(file.state.groups["g"].is_spent(), "it was open");
        file.state.groups.insert("g".into(), group());
        file.close().unwrap();
        let text = std::fs::read_to_string(&path).unwrap().replace(&boot(), "another-boot");
        std::fs::write(&path, text).unwrap();
        assert!(StateFile::open(&path).unwrap().state.groups["g"].is_spent(), "another boot");
    }

    // Covers: TH-1-04
    #[test]
    fn numbers_are_reserved_before_they_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.state");
        let mut file = StateFile::open(&path).unwrap();
        assert_eq!(file.reserve_as(0).unwrap(), (0, 64));
        assert!(matches!(file.reserve_kdc(), Err(MemberError::NoSession)));
        drop(file);
        let mut file = StateFile::open(&path).unwrap();
        assert_eq!(file.reserve_as(1).unwrap(), (64, 128), "also after a crash");
        assert_eq!(file.reserve_as(1).unwrap(), (128, 192), "also within a second");
        drop(file);
        std::fs::remove_file(&path).unwrap();
        let mut file = StateFile::open(&path).unwrap();
        assert_eq!(file.reserve_as(100).unwrap(), (6400, 6464), "also when the file is lost");
    }

    // Covers: TH-7-03
    #[test]
    fn a_copy_or_an_older_file_keeps_no_association() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("x.state"), folder.path().join("y.state"));
        let mut file = StateFile::open(&path).unwrap();
        file.state.groups.insert("g".into(), group());
        file.state.session = Some(Session::default());
        file.close().unwrap();
        std::fs::copy(&path, &other).unwrap();
        let old = std::fs::read(&path).unwrap();

        let file = StateFile::open(&path).unwrap();
        assert!(file.state.session.is_some() && !file.state.groups["g"].is_spent(), "the file itself");
        file.close().unwrap();
        let copy = StateFile::open(&other).unwrap();
        assert!(copy.state.session.is_none() && copy.state.groups["g"].is_spent(), "a copy");
        // A copy of the whole folder.
        let whole = folder.path().join("copy");
        std::fs::create_dir(&whole).unwrap();
        for name in ["x.state", "x.lock"] {
            std::fs::copy(folder.path().join(name), whole.join(name)).unwrap();
        }
        let copy = StateFile::open(&whole.join("x.state")).unwrap();
        assert!(copy.state.session.is_none() && copy.state.groups["g"].is_spent(), "a copy with its lock file");
        std::fs::write(&path, old).unwrap();
        let older = StateFile::open(&path).unwrap();
        assert!(older.state.session.is_none() && older.state.groups["g"].is_spent(), "an older one");
    }
}
