//! The command line of a program with storage.

use crate::maintenance::{Maintenance, Role, maintain};
use crate::{Loaded, ProgramError, StorageConfig, init_log, tell};
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What all programs with storage take, and what one takes besides.
#[derive(Parser)]
struct Arguments<O: Args> {
    /// The configuration file.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// Where state is kept: `memory:`, `disk:FOLDER`, or, for a KDC, `postgres://USER@HOST/DATABASE`.
    #[arg(long, global = true, default_value = "memory:")]
    storage: String,
    #[command(flatten)]
    own: O,
    #[command(subcommand)]
    command: Option<Maintenance>,
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
    /// Takes the command line, and serves, or does what a command says. `storage` finds the table in the
    /// configuration; `O` are options of the program's own.
    pub async fn run<C: DeserializeOwned, O: Args>(
        self,
        storage: impl Fn(&C) -> &StorageConfig,
        serve: impl AsyncFn(&Loaded<C>, &str, &O) -> Result<(), ProgramError>,
    ) -> ExitCode {
        init_log();
        if std::env::current_dir().is_err() {
            // It was removed. Absolute paths are good still.
            let _ = std::env::set_current_dir("/");
        }
        let command = Arguments::<O>::command().name(self.name).version(self.version).about(self.about);
        let arguments = match parsed(command) {
            Ok(arguments) => arguments,
            Err(exit) => return exit,
        };
        match self.act(&arguments, storage, serve).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error @ ProgramError::Output { .. }) => error.complain(),
            Err(error) => {
                tracing::error!("{error}");
                ExitCode::FAILURE
            }
        }
    }

    async fn act<C: DeserializeOwned, O: Args>(
        self,
        Arguments { config, storage: url, own, command }: &Arguments<O>,
        storage: impl Fn(&C) -> &StorageConfig,
        serve: impl AsyncFn(&Loaded<C>, &str, &O) -> Result<(), ProgramError>,
    ) -> Result<(), ProgramError> {
        let missing = || ProgramError::Other("--config is missing".into());
        let Some(command) = command else {
            return serve(&Loaded::read(config.as_ref().ok_or_else(missing)?)?, url, own).await;
        };
        let table = match config {
            Some(file) => storage(&Loaded::read(file)?.config).clone(),
            None if matches!(command, Maintenance::NewStorageKeys { .. }) => StorageConfig::default(),
            None => return Err(missing()),
        };
        let file = config.as_deref().unwrap_or_else(|| Path::new(""));
        let mut tell = |words: String| tell(&format!("{words}\n"));
        maintain(self.role, command, url, &table, file, &mut tell).await
    }
}
