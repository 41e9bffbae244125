//! `ace-as --config FILE [--storage URL]`, and `ace-as new-storage-keys FILE`

use ace_program::ProgramError;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// An Authorization Server for groups.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    /// The configuration file.
    #[arg(long, required = true)]
    config: Option<PathBuf>,
    /// Where state is kept: `memory:`, or `fjall:FOLDER`.
    #[arg(long, default_value = "memory:")]
    storage: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a file with a new key, for `[storage] keys` in the configuration.
    NewStorageKeys {
        /// The file, which must not be there.
        file: PathBuf,
    },
}

async fn run(arguments: Arguments) -> Result<(), ProgramError> {
    match (arguments.command, arguments.config) {
        (Some(Command::NewStorageKeys { file }), _) => ace_program::new_storage_keys(&file),
        (None, Some(config)) => ace_as::run(&ace_program::Loaded::read(&config)?, &arguments.storage).await,
        (None, None) => Err(ProgramError::Other("--config is missing".into())),
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
