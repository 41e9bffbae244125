//! A Key Distribution Center as a program: tokens in, keys out, over CoAP and OSCORE.
//!
//! [`start`] runs it within a program of one's own, e.g. the demo. [`main_with`] is the program with other [`Parts`]: a token
//! validator, services that it asks, transports beside OSCORE.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)
)]

mod config;
mod parts;

pub use config::{Config, GroupEntry, IssuerConfig, LimitsConfig};
pub use parts::Parts;

// Linked for the profiles that they register.
use ace_profile_group_oscore as _;
use ace_profile_pubsub as _;

use ace_backend_aws_lc::AwsLc;
use ace_backend_coap::Link;
use ace_backend_daemon::{
    Act, Loaded, Maintenance, Operator, Program, ProgramError, Role, Running, Serving, control_path, open_audit,
    open_storage,
};
use ace_backend_tokio::{Clock, CryptoPool, Followed, Outside, Transports, os_random, spawn_with};
use ace_coap::SecurityProtocols;
use ace_coap::security::MessageSecurity;
use ace_groupcomm::command::GroupSummary;
use ace_groupcomm::kdc::Kdc;
use ace_groupcomm::registry::Registry;
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::paths::{AUTHZ_INFO, ROOT};
use ace_profile_oscore::{OscoreServer, Responses};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Links to what the KDC serves beside groups (RFC 9594 section 4.1).
fn links() -> Vec<Link> {
    vec![
        Link::new(format!("/{AUTHZ_INFO}")).with("rt", "ace.ai"),
        Link::new(format!("/{ROOT}")).with("if", "ace.groups").with("osc", ""),
    ]
}

/// The link to a group (Group OSCORE profile section 17.1).
fn group_link(group: &GroupSummary) -> Link {
    let link = Link::new(format!("/{ROOT}/{}", group.name));
    link.with("rt", &group.resource_type).with("if", "ace.group").with("osc", "")
}

/// A command of the program.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Command {
    /// Something is done with what is stored.
    #[command(flatten)]
    Maintenance(Maintenance),
    /// A KDC that runs is told something.
    #[command(flatten)]
    Operator(Operator),
    /// Looks whether an audit log is whole: no line is missing, and none is another than it was.
    CheckAudit {
        /// The file.
        file: PathBuf,
    },
}

impl From<Command> for Act {
    fn from(command: Command) -> Self {
        match command {
            Command::Maintenance(maintenance) => Self::Maintain(maintenance),
            Command::Operator(operator) => Self::Operate(operator),
            Command::CheckAudit { file } => Self::CheckAudit(file),
        }
    }
}

/// What is decided where the program is called, for this start alone.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Options {
    /// Start also where the issuers are others than those that storage knows, and end the clients that no issuer vouches for
    /// any more.
    #[arg(long)]
    pub accept_issuers: bool,
    /// Give groups that are stored the parameters of the file, where they can have them; others are refused as ever.
    #[arg(long)]
    pub accept_parameters: bool,
}

/// Starts a KDC.
///
/// # Errors
/// [`ProgramError`].
pub async fn start(loaded: &Loaded<Config>, storage_url: &str, options: &Options) -> Result<Running, ProgramError> {
    start_with(loaded, storage_url, options, &Parts::default()).await
}

/// Starts a KDC with parts of one's own.
///
/// # Errors
/// [`ProgramError`].
pub async fn start_with(
    loaded: &Loaded<Config>,
    storage_url: &str,
    options: &Options,
    parts: &Parts,
) -> Result<Running, ProgramError> {
    let registry = Registry::linked().map_err(|error| ProgramError::Other(error.to_string()))?;
    let (mut engine, validator) = config::engine(loaded, &registry)?;
    engine.accept_issuers = options.accept_issuers;
    engine.accept_parameters = options.accept_parameters;
    let hints = engine.hints.encode();
    if let Some(audit) = &loaded.config.audit {
        open_audit(audit, &loaded.path)?;
    }
    let opened = open_storage(storage_url, &loaded.config.storage, &loaded.path, Role::Kdc).await?;
    let storage = Arc::clone(&opened.storage);
    let validator = (parts.validate)(validator);
    if !loaded.config.issuers.is_empty() && validator.trust().is_none() {
        let reason = "the validator names no issuers, so that nobody looks for which groups each may speak: it has to hand on `trust`";
        return Err(loaded.error(&["[[issuer]]"], reason));
    }
    let kdc = Kdc::new(engine, &registry, validator, storage.sharing(), Arc::new(AwsLc))
        .map_err(|error| config::setup_error(loaded, &error))?;
    let responses = match storage.sharing() {
        Sharing::Exclusive => Responses::ReuseNonce,
        Sharing::Shared => Responses::Numbered,
    };
    let (clock, echoes) = (Clock::system(), Clock::system());
    let security = OscoreServer::new(Box::new(os_random()), responses).with_look_up().with_hints(ACE_CBOR, hints);
    let oscore = Arc::new(security.with_clock(move || echoes.now().mono));
    let (security, followed) = transports(parts, oscore);
    let pool = CryptoPool::for_this_machine(Arc::new(AwsLc));
    let outside = Outside { services: Arc::clone(&parts.services), deliverer: Arc::clone(&followed) as _ };
    let (handle, driver) = spawn_with(kdc, storage, Arc::clone(&followed) as _, pool, clock, outside);
    let running = Running::serve(Serving {
        listen: &loaded.config.listen,
        security,
        followed: &followed,
        links: links(),
        group_link,
        handle,
        driver,
        opened,
        role: Role::Kdc,
        control: control_path(loaded.config.control.as_deref(), &loaded.path, storage_url)?,
        figures: loaded.config.figures,
    })
    .await;
    running.map_err(|error| config::start_error(loaded, error))
}

/// OSCORE, behind the transports of the parts.
fn transports(parts: &Parts, oscore: Arc<OscoreServer>) -> (Arc<dyn MessageSecurity>, Arc<Followed>) {
    if parts.transports.is_empty() {
        return (Arc::clone(&oscore) as _, Arc::new(Followed::new(oscore)));
    }
    let (mut protocols, mut tables): (Vec<_>, Vec<_>) = parts.transports.iter().cloned().unzip();
    protocols.push(Arc::clone(&oscore) as _);
    tables.push(oscore);
    let followed = Followed::new(Arc::new(Transports::new(tables)));
    (Arc::new(SecurityProtocols::new(protocols)), Arc::new(followed))
}

/// The program `ace-kdc`, with the profiles that are linked: a KDC with a profile of one's own is
/// `use my_profile as _;` and this. It runs until it is told to stop.
pub fn main() -> ExitCode {
    main_with(Parts::default())
}

/// The program `ace-kdc` with parts of one's own.
#[tokio::main]
pub async fn main_with(parts: Parts) -> ExitCode {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let program = Program { name, version, about: "A Key Distribution Center for groups", role: Role::Kdc };
    let serve = async |loaded: &Loaded<Config>, url: &str, options: &Options| {
        start_with(loaded, url, options, &parts).await?.until_stopped().await
    };
    program.run::<Config, Options, Command>(serve).await
}
