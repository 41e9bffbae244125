//! Orders to a process that has its storage for itself: a socket in the storage's folder, for its owner alone.
//!
//! An order is a line: `backup` is answered with a backup, `rotate N`, to the key of this number, with how many values were
//! sealed anew, line by line, and `done` or what has failed.

use crate::key_file::StorageKeys;
use crate::storage::Durable;
use crate::{ProgramError, Role};
use ace_backend_tokio::backup;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// The longest order.
const LONGEST: u64 = 64;
/// How long an order may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long who has given an order may take to read on.
const STALLED: Duration = Duration::from_secs(60);
/// Bytes on their way to who has given an order.
const PIPE: usize = 1 << 16;

/// What a process can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Backup,
    /// To the key of this number: who is told has to have it.
    Rotate(u32),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backup => f.write_str("backup"),
            Self::Rotate(key) => write!(f, "rotate {key}"),
        }
    }
}

impl FromStr for Order {
    type Err = ProgramError;

    fn from_str(line: &str) -> Result<Self, ProgramError> {
        let order = match line.split_once(' ') {
            None if line == "backup" => Some(Self::Backup),
            Some(("rotate", key)) => key.parse().ok().map(Self::Rotate),
            _ => None,
        };
        order.ok_or_else(|| ProgramError::Other(format!("{line:?} is no order")))
    }
}

/// Takes orders, one at a time, for as long as it is polled.
pub(crate) async fn serve(durable: Durable, role: Role) {
    let Some(path) = &durable.control else { return };
    // One is left where a process was killed; nobody else can have the storage now.
    let _ = std::fs::remove_file(path);
    let listener = match UnixListener::bind(path) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no orders can be taken: backups need a stop"),
    };
    let _socket = Socket(path.clone());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = obey(stream, &durable, role).await {
                    tracing::warn!(%error, "an order has failed");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "an order cannot be taken");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
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

async fn obey(stream: UnixStream, durable: &Durable, role: Role) -> Result<(), ProgramError> {
    let (input, output) = stream.into_split();
    let mut order = String::new();
    let mut input = BufReader::new(input.take(LONGEST));
    let read = timeout(PATIENCE, input.read_line(&mut order)).await;
    read.map_err(|error| other(&error))?.map_err(|error| other(&error))?;
    let order: Order = order.trim().parse()?;
    let (answer, pipe) = tokio::io::duplex(PIPE);
    let done = async {
        match order {
            Order::Backup => backup(durable, role, answer).await,
            Order::Rotate(key) => rotate(durable, key, answer).await,
        }
    };
    let (done, passed) = tokio::join!(done, pass_on(pipe, output));
    done.and(passed.map_err(|error| other(&error)))
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

/// Gives an order to the process that has the storage; `None` where there is none.
pub(crate) async fn order(control: Option<&Path>, order: Order) -> std::io::Result<Option<UnixStream>> {
    let Some(path) = control else { return Ok(None) };
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if is_nobody(error.kind()) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.write_all(format!("{order}\n").as_bytes()).await?;
    Ok(Some(stream))
}

/// Whether a process has the storage and takes orders.
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

    #[test]
    fn orders_are_lines() {
        for order in [Order::Backup, Order::Rotate(7)] {
            assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
        }
        for line in ["", "rotate", "rotate x", "backup 1", "dance"] {
            assert!(line.parse::<Order>().is_err(), "{line:?}");
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
