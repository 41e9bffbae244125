//! `ace-as --config FILE [--storage URL]`, and commands for what is stored.

use ace_program::{Loaded, Maintenance, ProgramError, Role, StorageConfig, maintain};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// An Authorization Server for groups.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// Where state is kept: `memory:`, or `fjall:FOLDER`.
    #[arg(long, global = true, default_value = "memory:")]
    storage: String,
    #[command(subcommand)]
    command: Option<Maintenance>,
}

async fn run(arguments: Arguments) -> Result<(), ProgramError> {
    let url = &arguments.storage;
    let missing = || ProgramError::Other("--config is missing".into());
    match (&arguments.command, &arguments.config) {
        (None, Some(file)) => ace_as::run(&Loaded::read(file)?, url).await,
        (None, None) => Err(missing()),
        (Some(command), file) => {
            let config = match file {
                Some(file) => Loaded::<ace_as::Config>::read(file)?.config.storage,
                None if matches!(command, Maintenance::NewStorageKeys { .. }) => StorageConfig::default(),
                None => return Err(missing()),
            };
            let file = file.as_deref().unwrap_or_else(|| Path::new(""));
            #[expect(clippy::print_stdout, reason = "what a command has to tell")]
            maintain(Role::AuthServer, command, url, &config, file, &mut |words| println!("{words}")).await
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    ace_program::init_log();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
