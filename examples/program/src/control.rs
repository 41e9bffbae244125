//! Orders to a process that has its storage for itself: a socket in the storage's folder, for its owner alone.
//!
//! An order is a line: `backup` is answered with a backup, `rotate` with how many values were sealed anew, line by line,
//! and `done` or what has failed.

use crate::key_file::StorageKeys;
use crate::storage::Durable;
use crate::{ProgramError, Role};
use ace_backend_tokio::backup;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// The longest order.
const LONGEST: u64 = 64;
/// How long an order may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a process can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Backup,
    Rotate,
}

impl Order {
    const fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Rotate => "rotate",
        }
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

async fn obey(stream: UnixStream, durable: &Durable, role: Role) -> Result<(), ProgramError> {
    let other = |error: &dyn std::fmt::Display| ProgramError::Other(error.to_string());
    let (input, mut output) = stream.into_split();
    let mut order = String::new();
    let mut input = BufReader::new(input.take(LONGEST));
    let read = timeout(PATIENCE, input.read_line(&mut order)).await;
    read.map_err(|error| other(&error))?.map_err(|error| other(&error))?;
    let order = order.trim();
    if order == Order::Backup.word() {
        let snapshot = durable.raw.snapshot().await.map_err(|error| other(&error))?;
        let count = backup::write(&*snapshot, role.name(), &mut output, |_| ()).await.map_err(|error| other(&error))?;
        tracing::info!(records = count, "a backup was made");
    } else if order == Order::Rotate.word() {
        let (told, mut news) = tokio::sync::mpsc::unbounded_channel();
        let rotate = async {
            let ring = StorageKeys::read(&durable.keys)?.ring()?;
            let rotated = durable.sealed.rotate(ring, move |count| {
                let _ = told.send(count);
            });
            let rotated = rotated.await;
            rotated.map_err(|error| other(&error))
        };
        let tell = async {
            while let Some(count) = news.recv().await {
                output.write_all(format!("{count}\n").as_bytes()).await?;
            }
            Ok::<_, std::io::Error>(output)
        };
        let (rotated, output) = tokio::join!(rotate, tell);
        let last = rotated.as_ref().map_or_else(ToString::to_string, |_| "done".into());
        output
            .map_err(|error| other(&error))?
            .write_all(format!("{last}\n").as_bytes())
            .await
            .map_err(|error| other(&error))?;
        tracing::info!(values = rotated?, "the storage key was rotated");
    }
    Ok(())
}

/// Gives an order to the process that has the storage; `None` where there is none.
pub(crate) async fn order(control: Option<&Path>, order: Order) -> std::io::Result<Option<UnixStream>> {
    let Some(path) = control else { return Ok(None) };
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if is_nobody(error.kind()) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.write_all(format!("{}\n", order.word()).as_bytes()).await?;
    Ok(Some(stream))
}

/// Whether a process has the storage and takes orders.
pub(crate) async fn is_served(control: Option<&Path>) -> bool {
    match control {
        Some(path) => UnixStream::connect(path).await.is_ok(),
        None => false,
    }
}

const fn is_nobody(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}
