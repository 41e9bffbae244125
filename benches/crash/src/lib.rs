//! A KDC that is killed again and again while real clients use it, and what must hold all the same.
//!
//! The tester starts itself as the KDC, a process of its own, and kills it with SIGKILL: at random moments, and between
//! a commit and its answer. Where processes share their storage there are two, and either is killed, or stopped for a
//! while, so that the other one takes its clients over. Clients on real sockets post tokens, join, join again, retrieve and
//! leave, and an operator puts some out and has the group rekeyed; whoever replays what it has heard does so to each new process.
//! What was acknowledged has to be there, no (key, nonce) may come twice, and in the end nobody who is out has keys that members
//! use: the [`Oracle`] sees all that comes in, and says what should not have been.
//!
//! [`Sabotage`] breaks a KDC in one place, from outside. The tester is worth something as it finds each.

mod client;
mod oracle;
mod process;
mod replay;
mod sabotage;
mod say;
mod serve;
mod wire;

pub use oracle::{Counts, Oracle};
pub use sabotage::Sabotage;
pub use serve::{Serve, serve};

use client::CrashClient;
use process::Process;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use replay::Replayer;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How a run is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often the KDC is killed.
    pub kills: u32,
    /// Clients.
    pub clients: u32,
    /// Where the KDC keeps its state.
    pub storage: String,
    /// A folder for storage keys.
    pub folder: PathBuf,
    /// Decides when to kill, and what clients ask.
    pub seed: u64,
    /// Whether processes are stopped for a while now and then, instead of killed.
    pub pause: bool,
    /// What is broken.
    pub sabotage: Sabotage,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How often the KDC was killed.
    pub kills: u32,
    /// How often one was stopped for a while.
    pub pauses: u32,
    /// How often of these between a commit and its answer.
    pub between: u32,
    /// What the clients saw.
    pub counts: Counts,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Report {
    /// Why the KDC has failed; `None` where it has not.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if let Some(what) = &self.counts.first {
            return Some(what.clone());
        }
        if self.counts.acknowledged() < u64::from(self.kills + self.pauses) * 50 {
            return Some("fewer than 50 operations a kill were acknowledged".into());
        }
        (self.between * 3 < self.kills)
            .then(|| "fewer than a third of the kills were between a commit and its answer".into())
    }
}

/// How long a kill waits for a commit to happen.
const COMMIT: Duration = Duration::from_secs(2);

/// In which time clients have done what they were doing.
const QUIET: Duration = Duration::from_secs(1);

/// How long the report of a command is waited for.
const ORDER: Duration = Duration::from_secs(2);

/// How long a process is stopped: long enough that its clients turn to the other one.
const PAUSE: Duration = Duration::from_millis(900);

/// Runs it. It stops at the first thing that must not be.
///
/// # Errors
/// Where the tester itself cannot go on.
pub async fn run(options: &Options) -> Result<Report, Error> {
    let begun = Instant::now();
    let mut rng = ChaCha12Rng::seed_from_u64(options.seed);
    let is_shared = options.storage.starts_with("postgres");
    let mut addresses = Vec::new();
    for _ in 0..if is_shared { 2 } else { 1 } {
        addresses.push(free_address()?);
    }
    let oracle = Rc::new(Oracle::new(is_shared));
    let (mut serves, mut processes) = (Vec::new(), Vec::new());
    for address in &addresses {
        let serve = Serve::new(options, *address)?;
        processes.push(Process::start(&serve).await?.ok_or("the KDC does not start")?);
        serves.push(serve);
    }
    let mut clients = Vec::new();
    for number in 0..options.clients {
        let client = CrashClient::new(number, &addresses, Rc::clone(&oracle), rng.next_u64()).await?;
        clients.push(tokio::task::spawn_local(client.run()));
    }
    let replayer = Replayer::new(Rc::clone(&oracle), rng.next_u64()).await?;
    let mut report = Report::default();
    while report.kills < options.kills && oracle.is_clean() {
        tokio::time::sleep(Duration::from_millis(60 + rng.next_u64() % 180)).await;
        let chosen = usize::try_from(rng.next_u64())? % processes.len();
        if options.pause && rng.next_u64() % 2 == 0 {
            processes[chosen].signal("STOP").await?;
            tokio::time::sleep(PAUSE).await;
            oracle.next_process();
            processes[chosen].signal("CONT").await?;
            report.pauses += 1;
        } else {
            operate(&mut processes[chosen], &oracle, rng.next_u64()).await?;
            // Two of five are kept for moments that have nothing to do with commits.
            if rng.next_u64() % 5 >= 2 && processes[chosen].hold(COMMIT).await? {
                report.between += 1;
            }
            processes[chosen].kill().await?;
            oracle.next_process();
            report.kills += 1;
            if !restart(&mut processes[chosen], &serves[chosen], &oracle).await? {
                break;
            }
        }
        for address in &addresses {
            replayer.replay(*address).await?;
        }
    }
    oracle.stop();
    if oracle.is_clean() {
        finish(&mut processes, &serves, &oracle, clients).await?;
    } else {
        clients.iter().for_each(tokio::task::JoinHandle::abort);
    }
    for process in &mut processes {
        process.kill().await?;
    }
    report.counts = oracle.counts();
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// Starts a KDC that was killed once more. Returns whether it has started; the oracle is told where it has not.
async fn restart(process: &mut Process, serve: &Serve, oracle: &Oracle) -> Result<bool, Error> {
    let Some(started) = Process::start(serve).await? else {
        oracle.does_not_start();
        return Ok(false);
    };
    *process = started;
    Ok(true)
}

/// In the end each client looks once more after what it was told. Before that one leaves, and the KDC is killed between the commit
/// of that and its answer.
async fn finish(
    processes: &mut [Process],
    serves: &[Serve],
    oracle: &Oracle,
    clients: Vec<JoinHandle<Result<(), Error>>>,
) -> Result<(), Error> {
    tokio::time::sleep(QUIET).await;
    for process in &mut *processes {
        process.arm().await?;
    }
    oracle.let_last_leave();
    for (process, serve) in processes.iter_mut().zip(serves) {
        process.is_held(COMMIT).await?;
        process.kill().await?;
        if !restart(process, serve, oracle).await? {
            clients.iter().for_each(JoinHandle::abort);
            return Ok(());
        }
    }
    for client in clients {
        client.await??;
    }
    Ok(())
}

/// The operator puts a member out, or has the group rekeyed, now and then. The process may be killed before that is done.
async fn operate(process: &mut Process, oracle: &Oracle, number: u64) -> Result<(), Error> {
    match number % 4 {
        0 => {
            let Some((client, node)) = oracle.any_member(number / 4) else { return Ok(()) };
            oracle.ordered_out(client, false);
            if process.command(&format!("evict {node}"), ORDER).await? {
                oracle.ordered_out(client, true);
                oracle.count(|counts| &mut counts.evictions);
            }
        }
        1 if process.command("rekey", ORDER).await? => oracle.count(|counts| &mut counts.rekeyings),
        _ => (),
    }
    Ok(())
}

/// An address that nobody listens on.
fn free_address() -> std::io::Result<SocketAddr> {
    std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()
}
