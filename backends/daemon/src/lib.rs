//! What a program around an engine needs: a configuration file and the secrets in it, storage by URL, sealed with the keys of a
//! file, commands for what is stored, logging, and a clean stop.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)
)]

mod audit;
mod cli;
mod control;
mod debug;
mod figures;
mod key_file;
mod maintenance;
mod operator;
mod output;
mod read_only;
mod server;
mod show;
mod storage;

pub use audit::open_audit;
pub use cli::{Act, NoOptions, Program, ProgramConfig, parsed};
pub use key_file::new_storage_keys;
pub use maintenance::{Maintenance, Role, StorageOf, maintain};
pub use operator::{Operator, PageOptions, operate};
pub use output::{escaped, say, tell};
pub use server::{Running, Serving};
pub use storage::{Opened, StorageConfig, control_path, open_storage};

use ace_backend_tokio::StartError;
use ace_groupcomm::Secret;
use ace_groupcomm::config::from_hex;
use ace_oscore::{Aead, Hkdf, Parameters};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use thiserror::Error;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Why a program does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A configuration is refused: the file, the line where it can be told, and the reason.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The reason, with the line.
        reason: String,
    },
    /// An address cannot be used.
    #[error("{address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The start is refused for what is stored.
    #[error("{0}")]
    Start(StartError),
    /// A result could not be written to standard output.
    #[error("standard output: {source}")]
    Output {
        /// Why.
        source: std::io::Error,
        /// How many of its bytes were.
        written: usize,
    },
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl ProgramError {
    /// Says it to whoever runs the program; where standard output has no reader, nobody is there to be told.
    #[must_use]
    pub fn complain(&self) -> std::process::ExitCode {
        if !matches!(self, Self::Output { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe) {
            say(escaped(&self.to_string()));
        }
        std::process::ExitCode::FAILURE
    }
}

/// A configuration as it was read, with the file it came from.
#[derive(Clone)]
pub struct Loaded<T> {
    /// The file.
    pub path: PathBuf,
    /// Its text, to find lines in.
    text: String,
    /// What it says.
    pub config: T,
}

/// Without the text: it holds keys.
impl<T: std::fmt::Debug> std::fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("path", &self.path).field("config", &self.config).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Loaded<T> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ProgramError`], with line and reason.
    pub fn read(path: &Path) -> Result<Self, ProgramError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ProgramError::File { path: path.to_path_buf(), source })?;
        Self::parse(path, text)
    }

    /// Reads a text as if it came from this file.
    ///
    /// # Errors
    /// [`ProgramError::Config`], with line and reason.
    pub fn parse(path: &Path, text: String) -> Result<Self, ProgramError> {
        match toml::from_str(&text) {
            Ok(config) => Ok(Self { path: path.to_path_buf(), text, config }),
            Err(error) => {
                let line = error.span().map_or(1, |span| line_at(&text, span.start));
                let reason = format!("line {line}: {}", error.message());
                Err(ProgramError::Config { path: path.to_path_buf(), reason })
            }
        }
    }
}

impl<T> Loaded<T> {
    /// An error about the entry in which these words stand, one behind the other: the line of the last.
    #[must_use]
    pub fn error(&self, words: &[&str], reason: impl std::fmt::Display) -> ProgramError {
        let mut at = 0;
        for word in words {
            at = self.find(at, word).unwrap_or(at);
        }
        let reason = format!("line {}: {reason}", line_at(&self.text, at));
        ProgramError::Config { path: self.path.clone(), reason }
    }
}

impl<T> Loaded<T> {
    /// Where a word stands at or behind a place, outside of comments.
    fn find(&self, at: usize, word: &str) -> Option<usize> {
        let mut places = self.text.match_indices(word).map(|(place, _)| place).filter(|place| *place >= at);
        places.find(|&place| {
            let line = self.text.get(..place).and_then(|before| before.rsplit('\n').next());
            !line.is_some_and(|line| line.contains('#'))
        })
    }
}

/// Refuses a configuration in which a name stands twice in a list of tables.
///
/// # Errors
/// [`ProgramError::Config`].
pub fn check_names<'a, T>(
    loaded: &Loaded<T>,
    table: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), ProgramError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        let quoted = format!("{name:?}");
        if !seen.insert(name) {
            return Err(loaded.error(&[table, &quoted, table, &quoted], format!("{quoted} stands here twice")));
        }
    }
    Ok(())
}

fn line_at(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count().saturating_add(1)
}

/// Bytes, written in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Hex(pub Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).map(Self).ok_or_else(|| D::Error::custom("must be hexadecimal, two digits a byte"))
    }
}

/// A secret, written in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretHex(pub Secret);

impl<'de> Deserialize<'de> for SecretHex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Hex(bytes) = Hex::deserialize(deserializer)?;
        if bytes.is_empty() {
            return Err(D::Error::custom("must not be empty"));
        }
        Ok(Self(Secret::new(bytes)))
    }
}

/// What the shipped samples' keys begin with: everybody knows them.
const SAMPLE: &[u8] = b"sample";

impl SecretHex {
    /// Whether it is one of the keys that the samples ship with.
    #[must_use]
    pub fn is_sample(&self) -> bool {
        self.0.expose().starts_with(SAMPLE)
    }
}

/// An OSCORE context that two programs agree on beforehand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticContext {
    /// The client's Sender ID.
    pub client_id: Hex,
    /// The server's Sender ID.
    pub server_id: Hex,
    /// The Master Secret.
    pub master_secret: SecretHex,
    /// The Master Salt.
    #[serde(default)]
    pub master_salt: Hex,
}

impl StaticContext {
    /// The parameters of the client's context.
    #[must_use]
    pub fn client(&self) -> Parameters {
        Parameters {
            master_secret: self.master_secret.0.expose().to_vec(),
            master_salt: self.master_salt.0.clone(),
            sender_id: self.client_id.0.clone(),
            recipient_id: self.server_id.0.clone(),
            id_context: None,
            aead: Aead::default(),
            hkdf: Hkdf::default(),
        }
    }

    /// The parameters of the server's context.
    #[must_use]
    pub fn server(&self) -> Parameters {
        let mut parameters = self.client();
        let client_id = std::mem::take(&mut parameters.sender_id);
        parameters.sender_id = std::mem::replace(&mut parameters.recipient_id, client_id);
        parameters
    }
}

/// Refuses a text that says nothing.
///
/// # Errors
/// [`ProgramError::Config`].
pub fn check_filled<T>(loaded: &Loaded<T>, words: &[&str], text: &str) -> Result<(), ProgramError> {
    if text.trim().is_empty() { Err(loaded.error(words, "must not be empty")) } else { Ok(()) }
}

/// Refuses a URI that is none: it has no scheme, or characters that no URI has (RFC 3986).
///
/// # Errors
/// [`ProgramError::Config`].
pub fn check_uri<T>(loaded: &Loaded<T>, words: &[&str], text: &str) -> Result<(), ProgramError> {
    match fluent_uri::Uri::parse(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(loaded.error(words, format_args!("{text:?} is no URI: {error}"))),
    }
}

/// Refuses a program that nobody can reach.
///
/// # Errors
/// [`ProgramError::Config`].
pub fn check_listen<T>(loaded: &Loaded<T>, listen: &[SocketAddr]) -> Result<(), ProgramError> {
    if listen.is_empty() { Err(loaded.error(&["listen"], "there must be an address to listen at")) } else { Ok(()) }
}

/// Refuses keys that everybody knows on sockets that everybody reaches, and key files that everybody reads.
///
/// # Errors
/// [`ProgramError::Config`].
pub fn check_keys<T>(loaded: &Loaded<T>, listen: &[SocketAddr], keys: &[&SecretHex]) -> Result<(), ProgramError> {
    let samples = keys.iter().filter(|key| key.is_sample()).count();
    if samples > 0 && listen.iter().any(|address| !address.ip().is_loopback()) {
        return Err(loaded.error(&["listen"], "sample keys are for loopback addresses only: make keys of your own"));
    }
    if samples < keys.len() && is_readable_by_others(&loaded.path) {
        let reason = "the file holds keys and can be read by others: chmod 600".to_owned();
        return Err(ProgramError::Config { path: loaded.path.clone(), reason });
    }
    Ok(())
}

#[cfg(unix)]
fn is_readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others(_path: &Path) -> bool {
    false
}

/// Sends the log to standard error; `RUST_LOG` chooses what is told. A line that cannot be written is dropped, and the next
/// one says how many were.
pub fn init_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(output::Log::default)
        .with_filter(filter)
        .with_filter(filter_fn(|event| !audit::is_entry(event)));
    let entries = audit::AuditLayer.with_filter(filter_fn(audit::is_entry));
    let _ = tracing_subscriber::registry().with(lines).with(entries).try_init();
}

/// Waits for SIGTERM, SIGHUP or Ctrl-C: a terminal that closes ends the program as cleanly as a service manager does.
///
/// The signals are caught from the call on, before anybody polls.
pub fn stop_signal() -> impl Future<Output = ()> + Send {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal)
    };
    async move {
        #[cfg(unix)]
        if let [Ok(mut terminate), Ok(mut hangup), Ok(mut interrupt)] = signals {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = hangup.recv() => (),
                _ = interrupt.recv() => (),
            }
            return;
        }
        let _ = tokio::signal::ctrl_c().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only read from text")]
        listen: Vec<SocketAddr>,
        key: SecretHex,
    }

    fn parse(text: &str) -> Result<Loaded<Sample>, ProgramError> {
        Loaded::parse(Path::new("x.toml"), text.into())
    }

    #[test]
    fn errors_name_file_line_and_reason() {
        for (text, line) in [
            ("listen = []\nkey = \"zz\"", 2),
            ("listen = []\n\nkey = \"\"", 3),
            ("listen = [\"nowhere\"]\nkey = \"00\"", 1),
            ("listen = []\nkey = \"00\"\ncolour = 1", 3),
            ("listen = [", 1),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("x.toml: line {line}: ")), "{error}");
        }
        let loaded = parse("listen = []\n# one\nkey = \"00\"\n").unwrap();
        assert_eq!(loaded.error(&["key"], "is short").to_string(), "x.toml: line 3: is short");
        let commented = parse("# key and listen\nlisten = [] # key\nkey = \"00\"\n").unwrap();
        assert_eq!(commented.error(&["listen", "key"], "x").to_string(), "x.toml: line 3: x");
        assert_eq!(commented.error(&["nothing"], "x").to_string(), "x.toml: line 1: x");
        assert!(check_names(&loaded, "listen", ["a", "b"]).is_ok());
        assert!(
            Loaded::<Sample>::read(Path::new("/nonexistent/x.toml")).unwrap_err().to_string().contains("nonexistent")
        );
    }

    #[test]
    fn debug_shows_no_key() {
        let loaded = parse("listen = []\nkey = \"8badf00d8badf00d\"").unwrap();
        let shown = format!("{loaded:?}");
        assert!(shown.contains("x.toml"));
        for form in ["8badf00d", "139, 173", "8b, ad"] {
            assert!(!shown.contains(form), "{shown}");
        }
    }

    // Covers: TH-9-02/sample-keys
    #[test]
    fn sample_keys_stay_on_loopback() {
        let sample = parse("listen = []\nkey = \"73616d706c6501\"").unwrap();
        let own = parse("listen = []\nkey = \"00112233\"").unwrap();
        let (loopback, any) =
            (["127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap()], ["0.0.0.0:1".parse().unwrap()]);
        assert!(check_keys(&sample, &loopback, &[&sample.config.key]).is_ok());
        assert!(check_keys(&sample, &any, &[&sample.config.key]).is_err());
        assert!(check_keys(&own, &any, &[&own.config.key]).is_ok());
    }

    // Covers: TH-9-02/readable-keys
    #[cfg(unix)]
    #[test]
    fn a_file_with_keys_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("ace-backend-daemon-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("x.toml");
        let mut verdicts = Vec::new();
        for (key, mode) in [("00112233", 0o644), ("00112233", 0o640), ("00112233", 0o600), ("73616d706c65", 0o644)] {
            std::fs::write(&path, format!("listen = []\nkey = \"{key}\"")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let loaded = Loaded::<Sample>::read(&path).unwrap();
            let verdict = check_keys(&loaded, &[], &[&loaded.config.key]);
            verdicts.push(verdict.map_err(|error| error.to_string().contains("chmod 600")));
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(verdicts, [Err(true), Err(true), Ok(()), Ok(())], "what everybody knows may be read by everybody");
    }

    #[test]
    fn both_sides_of_a_context_fit() {
        let context = StaticContext {
            client_id: Hex(vec![1]),
            server_id: Hex(vec![2]),
            master_secret: SecretHex(Secret::new(vec![3; 16])),
            master_salt: Hex(vec![4]),
        };
        let (client, server) = (context.client(), context.server());
        assert_eq!((client.sender_id.as_slice(), client.recipient_id.as_slice()), (&[1][..], &[2][..]));
        assert_eq!((server.sender_id.as_slice(), server.recipient_id.as_slice()), (&[2][..], &[1][..]));
        assert_eq!(server.master_salt, [4]);
    }
}
