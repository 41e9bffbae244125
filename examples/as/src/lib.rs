//! An Authorization Server as a program: clients ask for tokens over CoAP, protected by the OSCORE contexts that
//! they were given at their registration.
//!
//! [`start`] runs it within a program of one's own, e.g. the demo.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)
)]

mod config;
mod numbers;

pub use config::{AudienceConfig, Config, PolicyConfig, RegisteredClient};

use ace_backend_aws_lc::AwsLc;
use ace_backend_coap::Link;
use ace_backend_daemon::{
    Loaded, Maintenance, NoOptions, Program, ProgramError, Role, Running, Serving, control_path, open_storage,
};
use ace_backend_tokio::{Clock, CryptoPool, Followed, os_random, spawn};
use ace_coap::security::PeerId;
use ace_groupcomm::AssociationId;
use ace_groupcomm::auth_server::{AuthServer, TOKEN};
use ace_groupcomm::registry::Registry;
use ace_groupcomm::traits::storage::{Sharing, StorageError};
use ace_groupcomm::traits::transport::{AssociationNotice, Associations};
use ace_oscore::Sequence;
use ace_profile_oscore::{OscoreServer, Responses};
use numbers::Numbers;
use std::process::ExitCode;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Waits for the second after this one: a process that ended in this one may have used its numbers.
async fn next_second(clock: &Clock) {
    let begun = clock.now().unix;
    while clock.now().unix == begun {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Gives each client's association the numbers of each second, as long as somebody uses it.
async fn renew_numbers(associations: Weak<Followed>, clients: Vec<AssociationId>, mut numbers: Numbers) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut failing = false;
    loop {
        second.tick().await;
        let Some(associations) = associations.upgrade() else { return };
        match numbers.of_this_second().await {
            Ok((start, limit)) => {
                failing = false;
                for id in &clients {
                    associations.notice(AssociationNotice::Sequence { id: id.clone(), start, limit });
                }
            }
            Err(error) if !std::mem::replace(&mut failing, true) => {
                tracing::error!(%error, "no sequence numbers can be reserved: nobody can be asked for an Echo");
            }
            Err(_) => (),
        }
    }
}

/// Starts an AS.
///
/// # Errors
/// [`ProgramError`].
pub async fn start(loaded: &Loaded<Config>, storage_url: &str) -> Result<Running, ProgramError> {
    let registry = Registry::linked().map_err(|error| ProgramError::Other(error.to_string()))?;
    let engine = config::engine(loaded, &registry)?;
    let clock = Clock::system();
    next_second(&clock).await;
    let echoes = clock.clone();
    let security = OscoreServer::new(Box::new(os_random()), Responses::ReuseNonce);
    let security = Arc::new(security.with_clock(move || echoes.now().mono));
    let opened = open_storage(storage_url, &loaded.config.storage, &loaded.path, Role::AuthServer).await?;
    let storage = Arc::clone(&opened.storage);
    if storage.sharing() == Sharing::Shared {
        // Two processes would answer under one client's context, with the same nonces.
        let why = "an AS needs storage that is its alone: disk:FOLDER";
        return Err(ProgramError::Other(why.into()));
    }
    let failed = |error: StorageError| ProgramError::Other(format!("sequence numbers: {error}"));
    let mut numbers = Numbers::open(&storage, clock.clone()).await.map_err(failed)?;
    let (start, limit) = numbers.of_this_second().await.map_err(failed)?;
    let mut associations = Vec::new();
    for client in &loaded.config.clients {
        let parameters = client.oscore.server();
        associations.push(AssociationId::from(parameters.recipient_id.clone()));
        let peer = PeerId::new(client.name.as_bytes());
        security.add_with_runs(peer, &parameters, Sequence::block(start, limit)).map_err(|_| {
            loaded.error(&["[[client]]", &client.name, "client_id"], "the identifier is too long, or used twice")
        })?;
    }
    let machine = AuthServer::new(engine, storage.sharing());
    let followed = Arc::new(Followed::new(Arc::clone(&security) as _));
    tokio::spawn(renew_numbers(Arc::downgrade(&followed), associations, numbers));
    let pool = CryptoPool::inline(Arc::new(AwsLc));
    let (handle, driver) = spawn(machine, storage, Arc::clone(&followed) as _, pool, clock);
    Running::serve(Serving {
        listen: &loaded.config.listen,
        security,
        followed: &followed,
        links: vec![Link::new(format!("/{TOKEN}")).with("osc", "")],
        group_link: |group| Link::new(&*group.name),
        handle,
        driver,
        opened,
        role: Role::AuthServer,
        control: control_path(None, &loaded.path, storage_url)?,
        figures: None,
    })
    .await
}

/// Runs an AS until it is told to stop.
///
/// # Errors
/// [`ProgramError`].
pub async fn run(loaded: &Loaded<Config>, storage_url: &str) -> Result<(), ProgramError> {
    start(loaded, storage_url).await?.until_stopped().await
}

/// The program `ace-as`, with the profiles that are linked: with one of one's own it is `use my_profile as _;` and this.
#[tokio::main]
pub async fn main() -> ExitCode {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let program = Program { name, version, about: "An Authorization Server for groups", role: Role::AuthServer };
    program.run::<Config, NoOptions, Maintenance>(async |loaded, url, _| run(loaded, url).await).await
}
