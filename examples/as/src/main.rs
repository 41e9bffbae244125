//! `ace-as --config FILE`

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// An Authorization Server for groups.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    ace_program::init_log();
    let arguments = Arguments::parse();
    let result = match ace_program::Loaded::read(&arguments.config) {
        Ok(loaded) => ace_as::run(&loaded).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
