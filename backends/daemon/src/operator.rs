//! What an operator has a KDC do that runs: the command line, and the form in which it goes over the control socket.

use crate::control::{self, ControlReply, ControlRequest};
use crate::{Loaded, ProgramError, show, tell};
use ace_groupcomm::command::{Command, CommandError, PageAfter, Report};
use ace_groupcomm::config::{ConfigMap, from_hex};
use ace_groupcomm::kdc::{GroupConfig, SetupError};
use ace_groupcomm::{NodeName, TokenHash};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

/// How many entries are shown at once, where nothing else is said.
const SHOWN: usize = 50;

/// A part of a list.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageOptions {
    /// Go on behind what the last line of the page before names.
    #[arg(long)]
    after: Option<String>,
    /// How many to show.
    #[arg(long, default_value_t = SHOWN)]
    limit: usize,
}

impl From<PageOptions> for PageAfter {
    fn from(PageOptions { after, limit }: PageOptions) -> Self {
        Self { after, limit }
    }
}

/// What a KDC that runs is told to do, or asked.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum Operator {
    /// Lists the groups.
    Groups(PageOptions),
    /// Shows a group.
    Group {
        /// GROUPNAME.
        name: String,
    },
    /// Lists the members of a group.
    Members {
        /// GROUPNAME.
        name: String,
        /// The page.
        #[command(flatten)]
        page: PageOptions,
    },
    /// Lists who was put out of a group and may not join again yet.
    Bans {
        /// GROUPNAME.
        name: String,
        /// The page.
        #[command(flatten)]
        page: PageOptions,
    },
    /// Puts a member out of a group. It may not join again until its token ends, or until `lift`.
    Evict {
        /// GROUPNAME.
        name: String,
        /// NODENAME, as `members` lists it.
        node: String,
    },
    /// Lets who was put out join again.
    Lift {
        /// GROUPNAME.
        name: String,
        /// NODENAME, as `bans` lists it.
        node: String,
    },
    /// Revokes a token: what it allows ends, and it is refused from now on.
    Revoke {
        /// The token's hash, as `members` lists it, in hexadecimal.
        #[arg(required_unless_present = "file", conflicts_with = "file")]
        hash: Option<String>,
        /// A file of hashes, one a line.
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Has a group take members again.
    Activate {
        /// GROUPNAME.
        name: String,
    },
    /// Has a group take no members. Those that it has stay.
    Deactivate {
        /// GROUPNAME.
        name: String,
    },
    /// Gives a group its next version now, and tells its members.
    Rekey {
        /// GROUPNAME.
        name: String,
    },
    /// Makes a group of a file: name, profile, issuers and parameters, as a `[[group]]` of the configuration has them.
    Create {
        /// The file.
        file: PathBuf,
    },
    /// Deletes a group.
    Delete {
        /// GROUPNAME.
        name: String,
        /// Also where it has members.
        #[arg(long)]
        yes: bool,
    },
    /// Shows how the KDC does.
    Status,
}

/// A command on its way through the control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command")]
pub(crate) enum Wire {
    Groups(PageOptions),
    Group { name: String },
    Members { name: String, page: PageOptions },
    Bans { name: String, page: PageOptions },
    Evict { name: String, node: String },
    Lift { name: String, node: String },
    Revoke { hash: String },
    Activate { name: String },
    Deactivate { name: String },
    Rekey { name: String },
    Create { text: GroupFile },
    Delete { name: String, with_members: bool },
    Status,
}

/// The text of a group's file: it may hold a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct GroupFile(String);

impl std::fmt::Debug for GroupFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupFile").finish_non_exhaustive()
    }
}

impl Drop for GroupFile {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A group as the file of a `create` has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    name: String,
    profile: String,
    issuers: BTreeSet<String>,
    #[serde(default)]
    parameters: ConfigMap,
}

impl Wire {
    /// The command, as an engine takes it.
    pub(crate) fn into_command(self) -> Result<Command, ProgramError> {
        Ok(match self {
            Self::Groups(page) => Command::Groups(page.into()),
            Self::Group { name } => Command::Group(name),
            Self::Members { name, page } => Command::Members(name, page.into()),
            Self::Bans { name, page } => Command::Bans(name, page.into()),
            Self::Evict { name, node } => Command::Evict { group: name, node: NodeName::new(node) },
            Self::Lift { name, node } => Command::Lift { group: name, node: NodeName::new(node) },
            Self::Revoke { hash } => Command::Revoke(token_hash(&hash)?),
            Self::Activate { name } => Command::Activate(name),
            Self::Deactivate { name } => Command::Deactivate(name),
            Self::Rekey { name } => Command::Rekey(name),
            Self::Create { text } => {
                let NewGroup { name: gname, profile, issuers, parameters } =
                    Loaded::parse(Path::new("the group's file"), text.0.clone())?.config;
                Command::Create { config: GroupConfig { gname, profile, parameters }, issuers: Some(issuers) }
            }
            Self::Delete { name, with_members } => Command::Delete { group: name, with_members },
            Self::Status => Command::Status,
        })
    }
}

/// The shortest and the longest hash of a token (RFC 9770 section 4: it names its algorithm in the first byte).
const HASH_LEN: std::ops::RangeInclusive<usize> = 2..=65;

fn token_hash(text: &str) -> Result<TokenHash, ProgramError> {
    from_hex(text.trim())
        .filter(|hash| HASH_LEN.contains(&hash.len()))
        .map(TokenHash::from)
        .ok_or_else(|| ProgramError::Other(format!("{text:?} is no hash of a token in hexadecimal")))
}

/// What is said of a command that came to nothing.
pub(crate) fn error(error: &CommandError) -> ControlReply {
    let key = match error {
        CommandError::Setup(SetupError::Parameters { source, .. }) => Some(source.key.clone()),
        CommandError::Setup(SetupError::Profile { .. }) => Some("profile".into()),
        CommandError::Setup(SetupError::GroupName(_)) | CommandError::Exists(_) => Some("name".into()),
        CommandError::NoIssuer(_) | CommandError::NobodySpeaks => Some("issuers".into()),
        _ => None,
    };
    let more = match error {
        CommandError::HasMembers(_) => "; --yes deletes it with them",
        _ => "",
    };
    ControlReply::Error { error: format!("{error}{more}"), key }
}

/// What is said of one that is done.
pub(crate) fn done(report: &Report) -> ControlReply {
    serde_json::to_value(report).map_or_else(
        |error| ControlReply::Error { error: error.to_string(), key: None },
        |report| ControlReply::Report { report },
    )
}

/// Has the KDC do it whose control socket this is, and tells what came of it.
///
/// # Errors
/// [`ProgramError`] where nobody is there, or it came to nothing.
pub async fn operate(operator: &Operator, control: &Path, json: bool) -> Result<(), ProgramError> {
    match operator {
        Operator::Revoke { file: Some(file), .. } => revoke_all(file, control, json).await,
        Operator::Create { file } => {
            let failed = |source| ProgramError::File { path: file.clone(), source };
            let text = std::fs::read_to_string(file).map_err(failed)?;
            // Where its form is wrong, that is said with the line, before anybody is asked.
            let loaded: Loaded<NewGroup> = Loaded::parse(file, text.clone())?;
            match ask(Wire::Create { text: GroupFile(text) }, control).await? {
                ControlReply::Report { report } => print(&report, json),
                ControlReply::Error { error, key: Some(key) } => Err(loaded.error(&[&key], error)),
                ControlReply::Error { error, key: None } => Err(ProgramError::Other(error)),
            }
        }
        other => print(&reported(ask(wire(other), control).await?)?, json),
    }
}

fn wire(operator: &Operator) -> Wire {
    match operator.clone() {
        Operator::Groups(page) => Wire::Groups(page),
        Operator::Group { name } => Wire::Group { name },
        Operator::Members { name, page } => Wire::Members { name, page },
        Operator::Bans { name, page } => Wire::Bans { name, page },
        Operator::Evict { name, node } => Wire::Evict { name, node },
        Operator::Lift { name, node } => Wire::Lift { name, node },
        Operator::Revoke { hash, .. } => Wire::Revoke { hash: hash.unwrap_or_default() },
        Operator::Activate { name } => Wire::Activate { name },
        Operator::Deactivate { name } => Wire::Deactivate { name },
        Operator::Rekey { name } => Wire::Rekey { name },
        Operator::Delete { name, yes } => Wire::Delete { name, with_members: yes },
        Operator::Create { .. } | Operator::Status => Wire::Status,
    }
}

/// Reads the hashes of tokens, one a line.
pub(crate) fn read_hashes(file: &Path) -> Result<Vec<TokenHash>, ProgramError> {
    let failed = |source| ProgramError::File { path: file.to_path_buf(), source };
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let hashes = lines.map(|(number, line)| {
        token_hash(line).map_err(|error| {
            let reason = format!("line {}: {error}", number.saturating_add(1));
            ProgramError::Config { path: file.to_path_buf(), reason }
        })
    });
    hashes.collect()
}

/// Revokes all tokens whose hashes stand in a file. All lines are read before the first is acted on.
async fn revoke_all(file: &Path, control: &Path, json: bool) -> Result<(), ProgramError> {
    for hash in read_hashes(file)? {
        print(&reported(ask(Wire::Revoke { hash: hash.to_string() }, control).await?)?, json)?;
    }
    Ok(())
}

async fn ask(wire: Wire, control: &Path) -> Result<ControlReply, ProgramError> {
    let failed = |error: &dyn std::fmt::Display| ProgramError::Other(format!("{}: {error}", control.display()));
    let stream = control::request(Some(control), ControlRequest::Command(Box::new(wire)))
        .await
        .map_err(|error| failed(&error))?;
    let stream = stream.ok_or_else(|| failed(&"no KDC runs that takes commands here"))?;
    control::answer(stream).await.map_err(|error| failed(&error))
}

fn reported(answer: ControlReply) -> Result<Value, ProgramError> {
    match answer {
        ControlReply::Report { report } => Ok(report),
        ControlReply::Error { error, .. } => Err(ProgramError::Other(error)),
    }
}

fn print(report: &Value, json: bool) -> Result<(), ProgramError> {
    let text = if json { format!("{report}\n") } else { show::report(report) };
    tell(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_through_the_socket_as_they_went_in() {
        let page = PageOptions { after: Some("a b".into()), limit: 3 };
        let text = "name = \"lamps\"\nprofile = \"toy\"\nissuers = [\"as1\"]\n";
        for wire in [
            Wire::Groups(page.clone()),
            Wire::Members { name: "g".into(), page },
            Wire::Evict { name: "g".into(), node: "n\n".into() },
            Wire::Create { text: GroupFile(text.into()) },
            Wire::Status,
        ] {
            let line = serde_json::to_string(&wire).unwrap();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<Wire>(&line).unwrap(), wire);
        }
        let created = Wire::Create { text: GroupFile(text.into()) }.into_command().unwrap();
        assert!(matches!(created, Command::Create { config, issuers: Some(issuers) }
            if config.gname == "lamps" && issuers.len() == 1));
        for wrong in ["name = 1", "name = \"g\"\nprofile = \"toy\"", &format!("{text}colour = 1")] {
            let error = Wire::Create { text: GroupFile(wrong.into()) }.into_command().unwrap_err().to_string();
            assert!(error.contains("line "), "{error}");
        }
        let shown = format!("{:?}", Wire::Create { text: GroupFile("gm_key".into()) });
        assert!(!shown.contains("gm_key"), "{shown}");
        for hash in ["", "0", "01", "xy", &"00".repeat(66)] {
            assert!(Wire::Revoke { hash: hash.into() }.into_command().is_err(), "{hash:?}");
        }
        assert_eq!(Wire::Revoke { hash: "01ab ".into() }.into_command().unwrap(), Command::Revoke(b"\x01\xab".into()));
    }
}
