//! `ace-load retrieve|join|rekey [--json]`: operations a second of a KDC, beside their floor; and how long a group takes to be rekeyed.

use ace_load::load::{Operation, Report, join_all, prepare, run, version};
use ace_load::{cpu, floor, rekey, server};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Load on a KDC over real UDP.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What is asked for.
    operation: Wanted,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// For how many seconds at most.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Clients with contexts of their own; for `join` as many joins.
    #[arg(long, default_value_t = 40_000)]
    clients: u32,
    /// Members that are there before.
    #[arg(long, default_value_t = 1_000)]
    members: u32,
    /// Requests in flight.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// For `join`: backward security, with joins gathered for so many seconds.
    #[arg(long, value_name = "SECONDS")]
    gather: Option<u32>,
    /// Where the KDC keeps its state, e.g. `disk:FOLDER`; the same in memory is measured before it.
    #[arg(long)]
    storage: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Wanted {
    /// The group's keying material, by members.
    Retrieve,
    /// First joins.
    Join,
    /// One member leaves, and all others, who observe, get the next version. Each has a socket.
    Rekey,
}

/// After which time without any answer what is in flight is lost.
const LOST: Duration = Duration::from_millis(200);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The figures, beside those of the same load on a KDC that keeps nothing.
fn measure(arguments: &Arguments) -> Result<Value, Error> {
    let in_memory = measure_on(arguments, "memory:")?;
    let Some(url) = &arguments.storage else { return Ok(in_memory) };
    let mut measured = measure_on(arguments, url)?;
    let per_second = |value: &Value| value["per_second"].as_f64().unwrap_or(0.0);
    let share = per_second(&measured) / per_second(&in_memory);
    measured["storage"] = json!({ "in_memory_per_second": per_second(&in_memory), "of_memory": share });
    Ok(measured)
}

/// Two leaves: without loss, and with 5 % of the messages to members lost.
fn measure_rekeying(arguments: &Arguments) -> Result<Value, Error> {
    let address = server::start(arguments.storage.as_deref().unwrap_or("memory:"), None)?;
    let [mut without_loss, with_loss] = rekey::run(address, arguments.members)?.map(|round| {
        let at = |quantile: f64| round.latencies.value_at_quantile(quantile);
        json!({
            "told": round.told,
            "errors": round.missed,
            "seconds": round.time.as_secs_f64(),
            "latency_us": { "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": round.latencies.max() },
            "messages": round.messages,
            "retransmissions": round.messages.saturating_sub(round.told),
            "cpu_us": { "kdc": round.cpu * 1e6 / round.told as f64 },
        })
    });
    without_loss["operation"] = json!("rekey");
    without_loss["members"] = json!(arguments.members);
    without_loss["with_loss"] = with_loss;
    Ok(without_loss)
}

fn measure_on(arguments: &Arguments, url: &str) -> Result<Value, Error> {
    let gathering = arguments.gather.filter(|_| matches!(arguments.operation, Wanted::Join));
    let address = server::start(url, gathering)?;
    // Where joins wait for others, those who come one after the other would wait each time: one is there before.
    let mut members = prepare(address, 0, if gathering.is_some() { 1 } else { arguments.members })?;
    join_all(address, &mut members)?;
    let time = Duration::from_secs(arguments.seconds);
    let (name, operation) = match arguments.operation {
        Wanted::Retrieve => ("retrieve", Operation::Retrieve),
        _ => ("join", Operation::Join),
    };
    let mut clients = match operation {
        Operation::Retrieve => std::mem::take(&mut members),
        Operation::Join => prepare(address, arguments.members, arguments.clients)?,
    };
    let before = Cpu::now();
    let patience = LOST + Duration::from_secs(gathering.unwrap_or(0).into());
    let report = run(address, operation, &mut clients, arguments.in_flight, (time, patience))?;
    let cpu = before.since(report.done);
    // The server has nothing to do any more, so the floor is not disturbed.
    let (verify, sign) = match arguments.operation {
        Wanted::Join => floor::signatures(),
        _ => (0.0, 0.0),
    };
    let (request, answer) = report.sizes;
    let aead = floor::aead(request.saturating_sub(30), answer.saturating_sub(20));
    let exchange = floor::exchange(request, answer)?;
    let mut measured = object(name, &report, verify, sign, aead, exchange);
    measured["cpu_us"] = cpu;
    if let (Some(seconds), Some(member)) = (gathering, members.first_mut()) {
        let versions = version(address, member)?;
        measured["gathered"] = json!({ "seconds": seconds, "versions": versions });
    }
    Ok(measured)
}

/// CPU time of all but the load.
struct Cpu {
    kdc: f64,
    postgres: f64,
}

impl Cpu {
    fn now() -> Self {
        // The load is this thread's alone.
        Self { kdc: cpu::process() - cpu::thread(), postgres: cpu::named("postgres") }
    }

    /// Microseconds an operation since then.
    fn since(&self, done: u64) -> Value {
        let (now, each) = (Self::now(), 1e6 / done as f64);
        json!({ "kdc": (now.kdc - self.kdc) * each, "postgres": (now.postgres - self.postgres) * each })
    }
}

fn object(name: &str, report: &Report, verify: f64, sign: f64, aead: f64, exchange: f64) -> Value {
    let per_second = report.done as f64 / report.time.as_secs_f64();
    let floor = verify + sign + aead + exchange;
    let at = |quantile: f64| report.latencies.value_at_quantile(quantile);
    json!({
        "operation": name,
        "done": report.done,
        "errors": report.errors,
        "seconds": report.time.as_secs_f64(),
        "per_second": per_second,
        "latency_us": { "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": report.latencies.max() },
        "bytes": { "request": report.sizes.0, "answer": report.sizes.1 },
        "floor_us": { "verify": verify, "sign": sign, "aead": aead, "exchange": exchange, "sum": floor },
        "floor_per_second": 1e6 / floor,
        "of_floor": per_second * floor / 1e6,
    })
}

fn show_rekeying(value: &Value) {
    for (name, under) in [("nothing lost", ""), ("5 % lost", "/with_loss")] {
        let number = |pointer: &str| value.pointer(&format!("{under}{pointer}")).and_then(Value::as_f64).unwrap_or(0.0);
        println!(
            "{name}: {} told in {:.2} s, {} not; p50 {:.0} ms, p99 {:.0} ms; {} messages, {} of them again; CPU of the KDC {:.1} us a member",
            number("/told"),
            number("/seconds"),
            number("/errors"),
            number("/latency_us/p50") / 1e3,
            number("/latency_us/p99") / 1e3,
            number("/messages"),
            number("/retransmissions"),
            number("/cpu_us/kdc"),
        );
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let rekeys = matches!(arguments.operation, Wanted::Rekey);
    let measured = if rekeys { measure_rekeying(&arguments) } else { measure(&arguments) };
    match measured {
        Ok(value) if arguments.json => println!("{value}"),
        Ok(value) if rekeys => show_rekeying(&value),
        Ok(value) => {
            let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
            println!("{:.0} a second, {} errors", number("/per_second"), number("/errors"));
            println!(
                "latency us: p50 {}, p99 {}, p99.9 {}",
                number("/latency_us/p50"),
                number("/latency_us/p99"),
                number("/latency_us/p999")
            );
            println!(
                "floor us: verify {:.1} + sign {:.1} + AEAD {:.2} + exchange {:.2} = {:.1}, {:.0} a second",
                number("/floor_us/verify"),
                number("/floor_us/sign"),
                number("/floor_us/aead"),
                number("/floor_us/exchange"),
                number("/floor_us/sum"),
                number("/floor_per_second")
            );
            println!("{:.0}% of the floor", number("/of_floor") * 100.0);
            if let (Some(seconds), Some(versions)) =
                (value.pointer("/gathered/seconds"), value.pointer("/gathered/versions"))
            {
                println!("gathered for {seconds} s: {versions} versions");
            }
            println!("CPU us: KDC {:.1}, PostgreSQL {:.1}", number("/cpu_us/kdc"), number("/cpu_us/postgres"));
            if arguments.storage.is_some() {
                let (memory, share) = (number("/storage/in_memory_per_second"), number("/storage/of_memory"));
                println!("in memory {memory:.0} a second: {:.0}% of it", share * 100.0);
            }
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
