//! `ace-demo [--json] [--show-secrets]`

use ace_backend_daemon::tell;
use ace_demo::{Held, Options, Outcome, Shown, run};
use ace_member::export;
use ace_member::show::ShownExchange;
use clap::{CommandFactory, Parser};
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

fn show(step: &Shown) -> String {
    match step {
        Shown::Heading(text) => format!("\n== {text}\n"),
        Shown::Event(event) => format!("\nevent: {event}\n"),
        Shown::Exchange(event) => {
            let lock = if event.protected { "OSCORE" } else { "not protected" };
            let line = |text: &str| if text.is_empty() { String::new() } else { format!("    {text}\n") };
            let ShownExchange { from, to, request, code, .. } = event;
            let (sent, received) = (line(&event.sent), line(&event.received));
            format!("\n{from} -> {to}: {request} ({lock})\n{sent}{from} <- {to}: {code}\n{received}")
        }
    }
}

fn held(held: &Held) -> String {
    let members: String = held.members.iter().map(|member| format!("{}\n", export::lines(member))).collect();
    format!("{members}keys are equal: {}\n", if held.equal { "yes" } else { "NO" })
}

fn end(outcome: &Outcome, json: bool) -> String {
    if json {
        return format!("{}\n", outcome.json());
    }
    let (left, revoked) = (outcome.left.join(", "), outcome.revoked.join(", "));
    let has_still = |who: &str, held: &Held| {
        let num = held.members.iter().find(|member| member.get("name").is_some_and(|name| name == who));
        let num = num.and_then(|member| member.get("num")).map(ToString::to_string).unwrap_or_default();
        format!("{who} has no key that is newer than num {num}\n")
    };
    format!(
        "\n== what the members hold\n{}\n== after {left} has left\n{}{}\n== after the token of {revoked} was revoked\n{}{}",
        held(&outcome.joined),
        held(&outcome.after),
        has_still(&left, &outcome.joined),
        held(&outcome.after_revocation),
        has_still(&revoked, &outcome.after),
    )
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Arguments = match ace_backend_daemon::parsed(Arguments::command()) {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let (json, mut told) = (arguments.json, Ok(()));
    let observer = |step: Shown| {
        if !json && told.is_ok() {
            told = tell(&export::printable(&show(&step)));
        }
    };
    let outcome = run(Options { show_secrets: arguments.show_secrets }, observer).await;
    let told = told.and(outcome.as_ref().map_or(Ok(()), |outcome| tell(&export::printable(&end(outcome, json)))));
    match (outcome, told) {
        (Err(error), _) | (Ok(_), Err(error)) => error.complain(),
        (Ok(outcome), Ok(())) if outcome.is_right() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
