//! `ace-member --config FILE COMMAND`

use ace_groupcomm::member::Operation;
use ace_member::{Config, Member, ProgramError, Settings, export, show};
use ace_program::Loaded;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// A member of a group.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    /// Show secrets in the exchanges that are told on standard error.
    #[arg(long, global = true)]
    show_secrets: bool,
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Get a token from the Authorization Server.
    Token,
    /// Post the token to the KDC.
    Upload,
    /// Join the group, or join it again.
    Join,
    /// Get the keys and hand them out, secrets included. The second time under a new Sender ID.
    Keys,
    /// Get the credentials of all members.
    Creds,
}

async fn run(arguments: &Arguments, settings: &Settings) -> Result<Value, ProgramError> {
    let tell = |event: show::Event| {
        let lock = if event.protected { "OSCORE" } else { "unprotected" };
        eprintln!("{} -> {} {} ({lock})\n  {}", event.from, event.to, event.request, event.sent);
        eprintln!("{} <- {} {}\n  {}", event.from, event.to, event.code, event.received);
    };
    let mut member = Member::open(settings, arguments.show_secrets, tell)?;
    let operation = match arguments.command {
        Command::Token => Operation::Token,
        Command::Upload => Operation::Upload,
        Command::Join => Operation::Join,
        Command::Creds => Operation::Creds,
        Command::Keys => Operation::Keys,
    };
    let done = member.run(operation).await;
    let group = member.group().cloned();
    // Also where it came to nothing: all that was used is in the file.
    member.close()?;
    done?;
    match (arguments.command, group) {
        (Command::Token | Command::Upload, _) | (_, None) => Ok(json!({ "name": settings.config.name, "done": true })),
        (command, Some(group)) => export::group(settings, &group, matches!(command, Command::Keys)),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ace_program::init_log();
    let arguments = Arguments::parse();
    let settings = match Loaded::<Config>::read(&arguments.config).and_then(|loaded| Settings::new(&loaded)) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match run(&arguments, &settings).await {
        Ok(value) => {
            let text = if arguments.json { format!("{value}\n") } else { export::diagnostic(&value) };
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
