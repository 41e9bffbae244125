//! `ace-kdc --config FILE [--storage URL]`

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// A Key Distribution Center for groups.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Where state is kept.
    #[arg(long, default_value = "memory:")]
    storage: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    ace_program::init_log();
    let arguments = Arguments::parse();
    let result = match ace_program::Loaded::read(&arguments.config) {
        Ok(loaded) => ace_kdc::run(&loaded, &arguments.storage).await,
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
