//! One life of the KDC.

use crate::{Error, Serve};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// How long a start may take.
const START: Duration = Duration::from_secs(30);

/// A KDC that runs.
pub(super) struct Process {
    child: Child,
    commands: ChildStdin,
    words: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts one, and waits until it is ready. Returns `None` where it does not become so in time.
    pub(super) async fn start(serve: &Serve) -> Result<Option<Self>, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "error");
        }
        command.args(serve.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (commands, words) = (child.stdin.take().ok_or("no input")?, child.stdout.take().ok_or("no output")?);
        let mut process = Self { child, commands, words: BufReader::new(words).lines() };
        let word = timeout(START, process.words.next_line()).await;
        Ok(matches!(word, Ok(Ok(Some(word))) if word == "ready").then_some(process))
    }

    /// Has it commit once more, and keep the answers back. Returns whether that came about in time.
    pub(super) async fn hold(&mut self, patience: Duration) -> Result<bool, Error> {
        self.arm().await?;
        self.is_held(patience).await
    }

    /// Has it commit once more, and keep the answers back.
    pub(super) async fn arm(&mut self) -> Result<(), Error> {
        Ok(self.commands.write_all(b"hold\n").await?)
    }

    /// Whether that came about in time.
    pub(super) async fn is_held(&mut self, patience: Duration) -> Result<bool, Error> {
        match timeout(patience, self.words.next_line()).await {
            Ok(word) => Ok(word?.as_deref() == Some("held")),
            Err(_) => Ok(false),
        }
    }

    /// Gives an operator's command. Returns whether it is known to be done.
    pub(super) async fn command(&mut self, line: &str, patience: Duration) -> Result<bool, Error> {
        self.commands.write_all(format!("{line}\n").as_bytes()).await?;
        match timeout(patience, self.words.next_line()).await {
            Ok(word) => Ok(word?.as_deref() == Some("done")),
            Err(_) => Ok(false),
        }
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        Ok(self.child.kill().await?)
    }

    /// Another signal.
    pub(super) async fn signal(&self, name: &str) -> Result<(), Error> {
        let id = self.child.id().ok_or("the process has ended")?.to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status().await?;
        if status.success() { Ok(()) } else { Err("kill has failed".into()) }
    }
}
