//! `ace-demo [--json] [--show-secrets]`

use ace_demo::{Options, Step, run};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

/// Authorization Server, KDC and three members in one process, over real UDP.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// End with one JSON object, and print nothing else.
    #[arg(long)]
    json: bool,
    /// Show secrets in the messages.
    #[arg(long)]
    show_secrets: bool,
}

fn show(step: &Step, out: &mut impl Write) -> std::io::Result<()> {
    match step {
        Step::Heading(text) => writeln!(out, "\n== {text}"),
        Step::Exchange(event) => {
            let lock = if event.protected { "OSCORE" } else { "not protected" };
            writeln!(out, "\n{} -> {}: {} ({lock})", event.from, event.to, event.request)?;
            if !event.sent.is_empty() {
                writeln!(out, "    {}", event.sent)?;
            }
            writeln!(out, "{} <- {}: {}", event.from, event.to, event.code)?;
            if !event.received.is_empty() {
                writeln!(out, "    {}", event.received)?;
            }
            Ok(())
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout();
    let json = arguments.json;
    let tell = |step: Step| {
        if !json {
            let _ = show(&step, &mut std::io::stdout());
        }
    };
    match run(Options { show_secrets: arguments.show_secrets }, tell).await {
        Ok(outcome) if json => {
            let _ = writeln!(out, "{}", outcome.json());
            if outcome.equal { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(outcome) => {
            let _ = writeln!(out, "\n== what the members hold");
            for member in &outcome.members {
                let _ = writeln!(out, "{}", ace_member::export::lines(member));
            }
            let _ = writeln!(out, "keys are equal: {}", if outcome.equal { "yes" } else { "NO" });
            if outcome.equal { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
