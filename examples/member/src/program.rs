//! The program `ace-member`: `ace-member --config FILE COMMAND`.

use crate::show::{self, Style};
use crate::watch::watch;
use crate::{Config, Member, MemberSettings, ProgramError, export};
use ace_backend_daemon::{Loaded, escaped, say, tell};
use ace_groupcomm::member::{ExchangeError, JoinedGroup, MemberError, MemberEvent, Operation};
use ace_groupcomm_messages::GroupName;
use clap::{CommandFactory, Parser, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// A member of a group.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file, in TOML; paths in it begin where it is.
    #[arg(long)]
    config: PathBuf,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    /// Show secrets in the exchanges that are told on standard error.
    #[arg(long, global = true)]
    show_secrets: bool,
    /// Tell exchanges in CBOR diagnostic notation, with labels as numbers.
    #[arg(long, global = true)]
    diagnostic: bool,
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Subcommand)]
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
    /// Ask for the version of the keys, and get them where they are newer.
    Version,
    /// Get another Sender ID, without another token or join.
    Renew,
    /// Tell the group the credential that the configuration names now.
    ChangeCredential,
    /// Get the KDC's credential anew, with a proof that it has the key.
    KdcCred,
    /// Get what verifies signatures of the group, for who has the role of a verifier and is no member; secrets included.
    VerifyData,
    /// Ask whether the group is active.
    Status,
    /// Leave the group; its keys are dropped.
    Leave,
    /// Get the names of groups by their Gids, in hexadecimal; the token has to name them.
    Names {
        /// The Gids.
        #[arg(required = true)]
        gids: Vec<String>,
    },
    /// Stay a member, and tell what happens to the group, until it is stopped: with --json one object a line.
    Watch,
}

impl Arguments {
    /// Writes a result to standard output.
    fn write(&self, value: &Value) -> Result<(), ace_backend_daemon::ProgramError> {
        let text = if self.json { format!("{value}\n") } else { export::diagnostic(value) };
        tell(&export::printable(&text))
    }
}

async fn run(arguments: &Arguments, settings: &MemberSettings) -> Result<(), ProgramError> {
    let observer = |event: show::ShownExchange| {
        let lock = if event.protected { "OSCORE" } else { "unprotected" };
        say(format_args!("{} -> {} {} ({lock})\n  {}", event.from, event.to, event.request, event.sent));
        say(format_args!("{} <- {} {}\n  {}", event.from, event.to, event.code, event.received));
    };
    let style = Style { secrets: arguments.show_secrets, diagnostic: arguments.diagnostic, ..Style::default() };
    let mut member = Member::open(settings, style, observer)?;
    let operation = match &arguments.command {
        Command::Names { gids } => {
            let named = names(&mut member, gids).await;
            member.close()?;
            return Ok(arguments.write(&named?)?);
        }
        Command::Watch => {
            let ended = watch(&mut member, |value| arguments.write(&value)).await;
            member.close()?;
            return ended;
        }
        Command::Token => Operation::Token,
        Command::Upload => Operation::Upload,
        Command::Join => Operation::Join,
        Command::Creds => Operation::Creds,
        Command::Keys => Operation::Keys,
        Command::Version => Operation::Version,
        Command::Renew => Operation::Renew,
        Command::ChangeCredential => Operation::ChangeCredential,
        Command::KdcCred => Operation::KdcCred,
        Command::VerifyData => Operation::VerifyData,
        Command::Status => Operation::Status,
        Command::Leave => Operation::Leave,
    };
    // Keys are written before they are marked as handed out.
    let (mut outcome, mut took) = (Ok(()), false);
    let mut hand_out = |group: &JoinedGroup| {
        outcome = export::group(settings, group, true).and_then(|value| Ok(arguments.write(&value)?));
        took = match &outcome {
            Ok(()) => true,
            Err(ProgramError::Program(ace_backend_daemon::ProgramError::Output { written, .. })) => *written > 0,
            Err(_) => false,
        };
        took
    };
    let done = member.run_with(operation, &mut hand_out).await;
    let group = member.group().cloned();
    let verifies = member.take_events().into_iter().find_map(|event| match event {
        MemberEvent::VerificationData(data) => Some(data),
        _ => None,
    });
    // Also where it came to nothing: all that was used is in the file.
    let closed = member.close();
    if outcome.is_err() && took {
        say("a part of the keys was written, so that they count as handed out");
    }
    outcome?;
    closed?;
    done?;
    if let Some(data) = verifies {
        return Ok(arguments.write(&export::verification(settings, &data)?)?);
    }
    match (&arguments.command, group) {
        (Command::Keys, _) => Ok(()),
        (Command::Token | Command::Upload, _) | (_, None) => {
            Ok(arguments.write(&json!({ "name": settings.config.name, "done": true }))?)
        }
        (Command::Status, Some(group)) => {
            let (name, of) = (&settings.config.name, &settings.config.group.name);
            Ok(arguments.write(&json!({ "name": name, "group": of, "active": !group.inactive }))?)
        }
        (_, Some(group)) => Ok(arguments.write(&export::group(settings, &group, false)?)?),
    }
}

/// The names of groups with these Gids.
async fn names(member: &mut Member<'_>, gids: &[String]) -> Result<Value, ProgramError> {
    let wrong = |gid: &String| ace_backend_daemon::ProgramError::Other(format!("{gid:?} is no Gid in hexadecimal"));
    let read = |gid: &String| ace_groupcomm::config::from_hex(gid).ok_or_else(|| wrong(gid));
    let gids = gids.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    member.look_up(&gids).await?;
    let groups = member.take_events().into_iter().find_map(|event| match event {
        MemberEvent::Names(groups) => Some(groups),
        _ => None,
    });
    let shown = |group: GroupName| {
        json!({
            "gid": show::hex(&group.gid.to_byte_string().unwrap_or_default()),
            "group": group.gname,
            "uri": group.guri,
        })
    };
    let groups: Vec<Value> = groups.unwrap_or_default().into_iter().map(shown).collect();
    Ok(json!({ "name": member.settings().config.name, "groups": groups }))
}

/// The exit status where nobody has answered: it may go better later.
const NO_ANSWER: u8 = 3;

/// The program `ace-member`, with the profiles that are linked: with one of one's own it is `use my_profile as _;` and this.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    ace_backend_daemon::init_log();
    let arguments: Arguments = match ace_backend_daemon::parsed(Arguments::command()) {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let settings = match Loaded::<Config>::read(&arguments.config).and_then(|loaded| MemberSettings::new(&loaded)) {
        Ok(settings) => settings,
        Err(error) => return error.complain(),
    };
    match run(&arguments, &settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(ProgramError::Program(error)) => error.complain(),
        Err(error) => {
            say(escaped(&error.to_string()));
            match error {
                ProgramError::Member(MemberError::Exchange(ExchangeError::Silent(_))) => NO_ANSWER.into(),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
