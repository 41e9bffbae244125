//! `ace-crash [--kills N] [--json]`: kills a KDC again and again while clients use it.

use ace_crash::{Options, Report, Sabotage, Serve};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::task::LocalSet;

/// A KDC that is killed again and again, and what must hold all the same.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// How often.
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Clients.
    #[arg(long, default_value_t = 32)]
    clients: u32,
    /// Where the KDC keeps its state; a folder of its own where nothing is said.
    #[arg(long)]
    storage: Option<String>,
    /// Decides when to kill, and what is asked.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop processes for a while now and then, too, so that another one takes their clients over.
    #[arg(long)]
    pause: bool,
    /// What is broken on purpose.
    #[arg(long, default_value = "none")]
    sabotage: Sabotage,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// The KDC: the tester starts itself so.
    #[command(hide = true)]
    Serve(Serve),
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A folder that goes with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("ace-crash-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn test(arguments: &Arguments) -> Result<Report, Error> {
    let folder = Folder::new()?;
    let own = || format!("disk:{}", folder.0.join("state").display());
    let options = Options {
        kills: arguments.kills,
        clients: arguments.clients,
        storage: arguments.storage.clone().unwrap_or_else(own),
        folder: folder.0.clone(),
        seed: arguments.seed,
        pause: arguments.pause,
        sabotage: arguments.sabotage,
    };
    LocalSet::new().run_until(ace_crash::run(&options)).await
}

fn object(report: &Report) -> Value {
    let counts = &report.counts;
    json!({
        "kills": report.kills,
        "pauses": report.pauses,
        "between_commit_and_answer": report.between,
        "seconds": report.seconds,
        "acknowledged": {
            "proven_associations": counts.proven,
            "joins": counts.joins,
            "rejoins": counts.rejoins,
            "retrievals": counts.retrievals,
            "leaves": counts.leaves,
            "sum": counts.acknowledged(),
        },
        "evictions": counts.evictions,
        "rekeyings": counts.rekeyings,
        "unknown": counts.unknown,
        "echoes": counts.echoes,
        "replayed": counts.replayed,
        "lost": counts.lost,
        "repeated_identifiers": counts.repeated_identifiers,
        "repeated_nonces": counts.repeated_nonces,
        "versions_back": counts.versions_back,
        "not_started": counts.not_started,
        "forward_security": counts.forward,
        "failure": report.failure(),
    })
}

fn print(report: &Report, as_json: bool) {
    if as_json {
        return println!("{}", object(report));
    }
    let counts = &report.counts;
    println!("{} kills in {:.0} s, {} between a commit and its answer", report.kills, report.seconds, report.between);
    println!(
        "acknowledged: {} associations, {} joins, {} re-joins, {} retrievals, {} leaves; {} requests of which nobody knows",
        counts.proven, counts.joins, counts.rejoins, counts.retrievals, counts.leaves, counts.unknown
    );
    println!("{} evictions, {} rekeyings ordered", counts.evictions, counts.rekeyings);
    println!("{} echoes, {} messages replayed", counts.echoes, counts.replayed);
    println!(
        "lost {}, repeated identifiers {}, repeated nonces {}, versions that went back {}, read by who was out {}, not started {}",
        counts.lost,
        counts.repeated_identifiers,
        counts.repeated_nonces,
        counts.versions_back,
        counts.forward,
        counts.not_started
    );
    println!("{}", report.failure().map_or_else(|| "all held".into(), |why| format!("FAILED: {why}")));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Some(Command::Serve(serve)) => ace_crash::serve(serve).await.map(|()| ExitCode::SUCCESS),
        None => test(&arguments).await.map(|report| {
            print(&report, arguments.json);
            if report.failure().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}
