//! `storage FOLDER [--json]`: what the embedded storage costs for each join, with the records that a join writes.

use ace_backend_disk::{DiskSettings, DiskStorage};
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Revision, Storage, Txn};
use ace_load::cpu;
use bytes::Bytes;
use clap::Parser;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Joins on embedded storage, without anything beside it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// An empty folder.
    folder: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Joins in all.
    #[arg(long, default_value_t = 1_000_000)]
    members: u32,
    /// Groups that they are spread over.
    #[arg(long, default_value_t = 1_000)]
    groups: u32,
    /// Joins in one commit.
    #[arg(long, default_value_t = 64)]
    batch: u32,
    /// MB of records in memory before they are written to tables.
    #[arg(long, default_value_t = 16)]
    write_buffer: u64,
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A figure of this process's memory, in MB.
fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().nth(1)).and_then(|kb| kb.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1_024.0
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(
            |entry| {
                if entry.path().is_dir() { bytes_in(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) }
            },
        )
        .sum()
}

/// A value that does not compress.
fn value(rng: &mut ChaCha8Rng, length: usize) -> Option<Bytes> {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    Some(bytes.into())
}

fn head(group: u32) -> Key {
    Key::new([&b"g/"[..], &group.to_be_bytes(), b"/head"].concat())
}

/// A join: the group's head, expected as it was; the member, under a random key, and its Sender ID, both new.
fn join(rng: &mut ChaCha8Rng, group: u32, member: u32, expected: Option<Revision>) -> Txn {
    let mut principal = [0; 16];
    rng.fill_bytes(&mut principal);
    let under = |kind: &[u8], id: &[u8]| Key::new([&b"g/"[..], &group.to_be_bytes(), kind, id].concat());
    let (node, sender_id) = (under(b"/m/", &principal), under(b"/sid/", &member.to_be_bytes()));
    Txn {
        expect: vec![(head(group), expected), (node.clone(), None), (sender_id.clone(), None)],
        write: vec![(head(group), value(rng, 300)), (node, value(rng, 350)), (sender_id, value(rng, 40))],
    }
}

async fn measure(arguments: &Arguments) -> Result<Value, Error> {
    let settings = DiskSettings { write_buffer: arguments.write_buffer << 20, ..DiskSettings::default() };
    let storage = DiskStorage::open(&arguments.folder, &settings)?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut heads = vec![None; usize::try_from(arguments.groups)?];
    let (begun, before) = (Instant::now(), cpu::process());
    let mut making = 0.0;
    for first in (0..arguments.members).step_by(usize::try_from(arguments.batch)?) {
        let from = Instant::now();
        let members = first..arguments.members.min(first + arguments.batch);
        let groups: Vec<u32> = members.clone().map(|member| member % arguments.groups).collect();
        let head_of = |group: u32| heads.get(group as usize).copied().flatten();
        let txns = members.zip(&groups).map(|(member, &group)| join(&mut rng, group, member, head_of(group))).collect();
        making += from.elapsed().as_secs_f64();
        for (outcome, group) in storage.commit(txns).await.into_iter().zip(groups) {
            let CommitOutcome::Done(revision) = outcome else { return Err(format!("{outcome:?}").into()) };
            if let Some(head) = heads.get_mut(group as usize) {
                *head = Some(revision);
            }
        }
    }
    let (seconds, used) = (begun.elapsed().as_secs_f64(), cpu::process() - before - making);
    let (resident, peak) = (memory("VmRSS"), memory("VmHWM"));
    drop(storage);
    let reopening = Instant::now();
    let storage = DiskStorage::open(&arguments.folder, &settings)?;
    let found = storage.read(&[head(0)]).await?;
    let first_answer = reopening.elapsed().as_secs_f64();
    if found.iter().any(Option::is_none) {
        return Err("a record is missing".into());
    }
    let joins = f64::from(arguments.members);
    Ok(json!({
        "joins": arguments.members,
        "cpu_us_a_join": used * 1e6 / joins,
        "commit_ms": seconds * 1e3 / (joins / f64::from(arguments.batch)),
        "joins_per_second": joins / seconds,
        "memory_mb": { "resident": resident, "peak": peak },
        "disk_mb": bytes_in(&arguments.folder) as f64 / f64::from(1 << 20),
        "first_answer_seconds": first_answer,
    }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments).await {
        Ok(value) if arguments.json => println!("{value}"),
        Ok(value) => {
            let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
            println!("{:.1} us of CPU a join, {:.2} ms a commit", number("/cpu_us_a_join"), number("/commit_ms"));
            println!("{:.0} MB in memory at most, {:.0} MB on disk", number("/memory_mb/peak"), number("/disk_mb"));
            println!("first answer after {:.2} s", number("/first_answer_seconds"));
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
