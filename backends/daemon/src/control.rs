//! Commands to a process that runs: a socket for its owner alone.
//!
//! A command is a line: `backup` is answered with a backup, `rotate N`, to the key of this number, with how many values were
//! sealed anew, line by line, and `done` or what has failed; `command JSON` with a line of JSON.

use crate::key_file::StorageKeys;
use crate::operator::{self, Wire};
use crate::storage::Durable;
use crate::{ProgramError, Role};
use ace_backend_tokio::{Handle, backup};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// The longest command: a group's file is part of one.
const LONGEST: u64 = 1 << 16;
/// How long a command may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long who has given a command may take to read on.
const STALLED: Duration = Duration::from_secs(60);
/// Bytes on their way to who has given a command.
const PIPE: usize = 1 << 16;
/// Commands at the same time.
const AT_ONCE: usize = 16;

/// What a process can be told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlRequest {
    Backup,
    /// To the key of this number: who is told has to have it.
    Rotate(u32),
    /// What a KDC does.
    Command(Box<Wire>),
}

/// What comes of a command to a KDC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ControlReply {
    /// It is done.
    Report { report: Value },
    /// It came to nothing; the key is that of the group's file that is wrong.
    Error { error: String, key: Option<String> },
}

impl fmt::Display for ControlRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backup => f.write_str("backup"),
            Self::Rotate(key) => write!(f, "rotate {key}"),
            Self::Command(wire) => {
                write!(f, "command {}", serde_json::to_string(wire).map_err(|_| fmt::Error)?)
            }
        }
    }
}

impl FromStr for ControlRequest {
    type Err = ProgramError;

    fn from_str(line: &str) -> Result<Self, ProgramError> {
        let request = match line.split_once(' ') {
            None if line == "backup" => Some(Self::Backup),
            Some(("rotate", key)) => key.parse().ok().map(Self::Rotate),
            Some(("command", wire)) => serde_json::from_str(wire).ok().map(|wire| Self::Command(Box::new(wire))),
            _ => None,
        };
        request.ok_or_else(|| ProgramError::Other("this is no command".into()))
    }
}

/// What takes commands.
pub(crate) struct Control {
    pub(crate) path: PathBuf,
    pub(crate) durable: Option<Durable>,
    pub(crate) role: Role,
    pub(crate) handle: Handle,
    /// Told when groups have come or gone.
    pub(crate) groups: watch::Sender<()>,
    /// A backup or a rotation is made one after the other.
    pub(crate) storage: Mutex<()>,
}

/// Takes commands for as long as it is polled.
pub(crate) async fn serve(listener: UnixListener, control: Control) {
    let path = control.path.clone();
    let _socket = Socket(path.clone());
    let (control, places) = (Arc::new(control), Arc::new(Semaphore::new(AT_ONCE)));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) if is_owner(&stream, &path) => {
                let control = Arc::clone(&control);
                tokio::spawn(async move {
                    if let Err(error) = obey(stream, &control).await {
                        tracing::warn!(%error, "a command has failed");
                    }
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("a command of another user is not taken"),
            Err(error) => {
                tracing::warn!(%error, "a command cannot be taken");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Listens for commands at this path; `None` where that cannot be, which is said.
pub(crate) async fn listen(path: &Path) -> Option<UnixListener> {
    // One is left where a process was killed. Whatever else a configuration names is not ours to remove.
    if is_socket(path) && !is_served(Some(path)).await {
        let _ = std::fs::remove_file(path);
    }
    let bound = bind(path);
    bound.inspect_err(|error| tracing::error!(%error, path = %path.display(), "no commands can be taken")).ok()
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Listens there, for the owner alone: the socket has its mode before it has its name.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::symlink_metadata(path).is_ok() {
        return Err(std::io::ErrorKind::AddrInUse.into());
    }
    let mut name = path.as_os_str().to_owned();
    name.push("~");
    let unnamed = PathBuf::from(name);
    if is_socket(&unnamed) {
        let _ = std::fs::remove_file(&unnamed);
    }
    let listener = UnixListener::bind(&unnamed)?;
    std::fs::set_permissions(&unnamed, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unnamed, path)?;
    Ok(listener)
}

/// Whether the other side is the user to whom the socket belongs, or the one who may do everything.
fn is_owner(stream: &UnixStream, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(path).map(|socket| socket.uid());
    match (stream.peer_cred(), owner) {
        (Ok(peer), Ok(owner)) => peer.uid() == owner || peer.uid() == 0,
        _ => false,
    }
}

/// The socket's name, which goes with this value.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn other(error: &dyn fmt::Display) -> ProgramError {
    ProgramError::Other(error.to_string())
}

async fn obey(stream: UnixStream, control: &Control) -> Result<(), ProgramError> {
    let (input, output) = stream.into_split();
    // A group's file may hold a key.
    let mut request = Zeroizing::new(String::new());
    let mut input = BufReader::new(input.take(LONGEST));
    let read = timeout(PATIENCE, input.read_line(&mut request)).await;
    read.map_err(|error| other(&error))?.map_err(|error| other(&error))?;
    let request: ControlRequest = request.trim().parse()?;
    let (answer, pipe) = tokio::io::duplex(PIPE);
    let nothing = || ProgramError::Other("nothing is stored on disk: there is nothing to keep or to seal".into());
    let done = async {
        match request {
            ControlRequest::Command(wire) => command(control, *wire, answer).await,
            ControlRequest::Backup => {
                let _one = control.storage.lock().await;
                backup(control.durable.as_ref().ok_or_else(nothing)?, control.role, answer).await
            }
            ControlRequest::Rotate(key) => {
                let _one = control.storage.lock().await;
                rotate(control.durable.as_ref().ok_or_else(nothing)?, key, answer).await
            }
        }
    };
    let (done, passed) = tokio::join!(done, pass_on(pipe, output));
    done.and(passed.map_err(|error| other(&error)))
}

/// Has the engine do it. Whoever has asked may be gone by the time that it is done.
async fn command(control: &Control, wire: Wire, mut answer: DuplexStream) -> Result<(), ProgramError> {
    let answered = match wire.clone().into_command() {
        Ok(command) => match control.handle.command(command).await {
            Ok(report) => {
                if matches!(wire, Wire::Create { .. } | Wire::Delete { .. }) {
                    let _ = control.groups.send(());
                }
                operator::done(&report)
            }
            Err(error) => operator::error(&error),
        },
        Err(error) => ControlReply::Error { error: error.to_string(), key: None },
    };
    let line = serde_json::to_string(&answered).map_err(|error| other(&error))?;
    answer.write_all(format!("{line}\n").as_bytes()).await.map_err(|error| other(&error))
}

/// Reads what has come of a command to a KDC.
pub(crate) async fn answer(stream: UnixStream) -> std::io::Result<ControlReply> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.map_err(as_not_taken)?;
    if line.is_empty() {
        return Err(not_taken());
    }
    serde_json::from_str(&line).map_err(std::io::Error::from)
}

/// Hands an answer on, for as long as somebody reads it: one who does not must not keep others waiting.
async fn pass_on(mut from: DuplexStream, mut to: OwnedWriteHalf) -> std::io::Result<()> {
    let mut buffer = vec![0; PIPE];
    loop {
        let length = from.read(&mut buffer).await?;
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { return Ok(()) };
        timeout(STALLED, to.write_all(read)).await??;
    }
}

async fn backup(durable: &Durable, role: Role, mut answer: DuplexStream) -> Result<(), ProgramError> {
    let snapshot = durable.raw.snapshot().await.map_err(|error| other(&error))?;
    let count = backup::write(&*snapshot, role.name(), &mut answer, |_| ()).await.map_err(|error| other(&error))?;
    tracing::info!(records = count, "a backup was made");
    Ok(())
}

async fn rotate(durable: &Durable, key: u32, mut answer: DuplexStream) -> Result<(), ProgramError> {
    let (told, mut news) = tokio::sync::mpsc::unbounded_channel();
    let rotate = async {
        let keys = StorageKeys::read(&durable.keys)?;
        if keys.active() != key {
            let (known, file) = (keys.active(), durable.keys.display());
            return Err(ProgramError::Other(format!("the process seals with key {known} of {file}, not with {key}")));
        }
        let rotated = durable.sealed.rotate(keys.ring()?, move |count| {
            let _ = told.send(count);
        });
        rotated.await.map_err(|error| other(&error))
    };
    // A rotation goes on where nobody reads how far it is.
    let tell = async {
        while let Some(count) = news.recv().await {
            let _ = answer.write_all(format!("{count}\n").as_bytes()).await;
        }
        answer
    };
    let (rotated, mut answer) = tokio::join!(rotate, tell);
    let last = rotated.as_ref().map_or_else(ToString::to_string, |_| "done".into());
    let told = answer.write_all(format!("{last}\n").as_bytes()).await;
    tracing::info!(values = rotated?, "the storage key was rotated");
    told.map_err(|error| other(&error))
}

/// Gives a command to the process whose socket this is; `None` where there is none.
pub(crate) async fn request(control: Option<&Path>, request: ControlRequest) -> std::io::Result<Option<UnixStream>> {
    let Some(path) = control else { return Ok(None) };
    let line = Zeroizing::new(format!("{request}\n"));
    if u64::try_from(line.len()).map_or(true, |length| length > LONGEST) {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the command is too long"));
    }
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if is_nobody(error.kind()) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.write_all(line.as_bytes()).await.map_err(as_not_taken)?;
    Ok(Some(stream))
}

/// Tells a close of the other side in words. One that leaves unread what was sent shows as a reset, at the write or at the read.
fn as_not_taken(error: std::io::Error) -> std::io::Error {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    if matches!(error.kind(), BrokenPipe | ConnectionReset) { not_taken() } else { error }
}

/// What is said where the other side closes without a word.
fn not_taken() -> std::io::Error {
    let why = "the process has ended, or takes no commands of this user";
    std::io::Error::new(std::io::ErrorKind::BrokenPipe, why)
}

/// Whether a process takes commands there.
pub(crate) async fn is_served(control: Option<&Path>) -> bool {
    match control {
        Some(path) => UnixStream::connect(path).await.is_ok(),
        None => false,
    }
}

/// Whether nobody listens, or nobody can: a path may be too long for a socket.
const fn is_nobody(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, InvalidInput, NotFound};
    matches!(kind, NotFound | ConnectionRefused | InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_close_before_the_command_was_read_is_told_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let asked = request(Some(&path), ControlRequest::Backup).await.unwrap().unwrap();
        // The command lies there unread: the reader sees a reset, and no end of file.
        drop(listener.accept().await.unwrap());
        let refused = answer(asked).await.unwrap_err();
        assert!(refused.to_string().contains("takes no commands of this user"), "{refused}");
    }

    #[test]
    fn commands_are_lines() {
        for request in
            [ControlRequest::Backup, ControlRequest::Rotate(7), ControlRequest::Command(Box::new(Wire::Status))]
        {
            assert_eq!(request.to_string().parse::<ControlRequest>().unwrap(), request);
        }
        for line in ["", "rotate", "rotate x", "backup 1", "dance", "command", "command {}", "command 1"] {
            assert!(line.parse::<ControlRequest>().is_err(), "{line:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_waited_for_in_vain_but_not_for_ever() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut answer, pipe) = tokio::io::duplex(PIPE);
        let tell = async move { while answer.write_all(&[0; 4_096]).await.is_ok() {} };
        let ((), passed) = tokio::join!(tell, pass_on(pipe, ours.into_split().1));
        assert_eq!(passed.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        drop(theirs);
    }
}
