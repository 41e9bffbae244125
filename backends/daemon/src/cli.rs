//! The command line of a program with storage.

use crate::maintenance::{Maintenance, Role, StorageOf, maintain};
use crate::{Loaded, Operator, ProgramError, StorageConfig, audit, control_path, init_log, operate, tell};
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What all programs with storage take, and what one takes besides.
#[derive(Parser)]
struct Arguments<O: Args, S: Subcommand> {
    /// The configuration file.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// Where state is kept: `memory:`, `disk:FOLDER`, or, for a KDC, `postgres://USER@HOST/DATABASE`.
    #[arg(long, global = true, default_value = "memory:")]
    storage: String,
    /// Tell what has come of a command as a line of JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    own: O,
    #[command(subcommand)]
    command: Option<S>,
}

/// What a command of a program is.
pub enum Act {
    /// Something is done with storage.
    Maintain(Maintenance),
    /// A KDC that runs is told something.
    Operate(Operator),
    /// It is looked whether an audit log is whole.
    CheckAudit(PathBuf),
}

impl From<Maintenance> for Act {
    fn from(maintenance: Maintenance) -> Self {
        Self::Maintain(maintenance)
    }
}

/// What a configuration says to all programs alike.
///
/// ```
/// use ace_backend_daemon::{ProgramConfig, StorageConfig};
///
/// #[derive(serde::Deserialize)]
/// struct Config {
///     #[serde(default)]
///     storage: StorageConfig,
/// }
///
/// impl ProgramConfig for Config {
///     fn storage(&self) -> &StorageConfig {
///         &self.storage
///     }
/// }
/// ```
pub trait ProgramConfig: DeserializeOwned {
    /// What storage on disk needs.
    fn storage(&self) -> &StorageConfig;

    /// Where commands are taken, where that is not the folder of the storage.
    fn control(&self) -> Option<&Path> {
        None
    }
}

/// The options of a program that has none of its own.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct NoOptions {}

/// Takes the command line of a program.
///
/// # Errors
/// The exit status, after help, a version or a complaint: help that nobody could read is a failure.
pub fn parsed<A: FromArgMatches>(command: Command) -> Result<A, ExitCode> {
    let matches = command.try_get_matches().and_then(|matches| A::from_arg_matches(&matches));
    matches.map_err(|told| match told.print() {
        Ok(()) => u8::try_from(told.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
        Err(source) => ProgramError::Output { source, written: 0 }.complain(),
    })
}

/// A program: its name and version, and what it says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What it is called.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Whose storage it has.
    pub role: Role,
}

impl Program {
    /// Takes the command line, and serves, or does what a command says. `O` are options of the program's own, `S` its
    /// commands.
    pub async fn run<C: ProgramConfig, O: Args, S: Subcommand + Clone + Into<Act>>(
        self,
        serve: impl AsyncFn(&Loaded<C>, &str, &O) -> Result<(), ProgramError>,
    ) -> ExitCode {
        init_log();
        if std::env::current_dir().is_err() {
            // It was removed. Absolute paths are good still.
            let _ = std::env::set_current_dir("/");
        }
        let command = Arguments::<O, S>::command().name(self.name).version(self.version).about(self.about);
        let arguments: Arguments<O, S> = match parsed(command) {
            Ok(arguments) => arguments,
            Err(exit) => return exit,
        };
        match self.act(&arguments, serve).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error @ ProgramError::Output { .. }) => error.complain(),
            Err(error) => {
                tracing::error!("{error}");
                ExitCode::FAILURE
            }
        }
    }

    async fn act<C: ProgramConfig, O: Args, S: Subcommand + Clone + Into<Act>>(
        self,
        Arguments { config, storage: url, json, own, command }: &Arguments<O, S>,
        serve: impl AsyncFn(&Loaded<C>, &str, &O) -> Result<(), ProgramError>,
    ) -> Result<(), ProgramError> {
        let missing = || ProgramError::Other("--config is missing".into());
        let Some(command) = command else {
            return serve(&Loaded::read(config.as_ref().ok_or_else(missing)?)?, url, own).await;
        };
        let file = config.as_deref().unwrap_or_else(|| Path::new(""));
        let loaded = config.as_ref().map(|file| Loaded::<C>::read(file)).transpose();
        match command.clone().into() {
            Act::CheckAudit(log) => tell(&format!("{} lines, and none is missing\n", audit::check(&log)?)),
            Act::Operate(operator) => {
                let loaded = loaded?.ok_or_else(missing)?;
                let control = control_path(loaded.config.control(), file, url)?;
                let nowhere = || {
                    let why =
                        "commands need a place: name one in the configuration, control = \"FILE\", or storage on disk";
                    ProgramError::Other(why.into())
                };
                operate(&operator, &control.ok_or_else(nowhere)?, *json).await
            }
            Act::Maintain(maintenance) => {
                let (table, control) = match loaded? {
                    Some(loaded) => {
                        let control = control_path(loaded.config.control(), file, url)?;
                        (loaded.config.storage().clone(), control)
                    }
                    None if matches!(maintenance, Maintenance::NewStorageKeys { .. }) => Default::default(),
                    None => return Err(missing()),
                };
                let mut tell = |words: String| {
                    let words = if *json { serde_json::json!({ "told": words }).to_string() } else { words };
                    tell(&format!("{words}\n"))
                };
                let storage = StorageOf { role: self.role, url, config: &table, file, control: control.as_deref() };
                maintain(storage, &maintenance, &mut tell).await
            }
        }
    }
}
