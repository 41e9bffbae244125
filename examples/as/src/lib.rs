//! An Authorization Server as a program: clients ask for tokens over CoAP, protected by the OSCORE contexts that
//! they were given at their registration.
//!
//! [`start`] runs it within a program of one's own, e.g. the demo.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)
)]

mod config;

pub use config::{AudienceConfig, Client, Config, PolicyConfig};

use ace_backend_coap::Link;
use ace_backend_memory::MemoryStorage;
use ace_backend_tokio::{Clock, CryptoPool, os_random, spawn};
use ace_coap::security::PeerId;
use ace_groupcomm::auth_server::{AuthServer, TOKEN};
use ace_groupcomm::traits::crypto::AwsLc;
use ace_groupcomm::traits::storage::Storage;
use ace_oscore::Sequence;
use ace_profile_oscore::{OscoreServer, Responses};
use ace_program::{Loaded, ProgramError, Running};
use std::sync::Arc;

/// The sequence numbers of this run. The AS uses them for Echo alone, a few a run; storage in memory forgets what
/// was used, so they follow the time: 16 a second, which lasts for two thousand years.
fn sequence(clock: &Clock) -> Sequence {
    let start = clock.now().unix.saturating_mul(16);
    Sequence::block(start, start.saturating_add(1_000_000))
}

/// Starts an AS.
///
/// # Errors
/// [`ProgramError`].
pub async fn start(loaded: &Loaded<Config>) -> Result<Running, ProgramError> {
    let engine = config::engine(loaded)?;
    let clock = Clock::system();
    let security = Arc::new(OscoreServer::new(Box::new(os_random()), Responses::ReuseNonce));
    for client in &loaded.config.clients {
        let peer = PeerId::new(client.name.as_bytes());
        security.add(peer, &client.oscore.server(), sequence(&clock), false).map_err(|_| {
            loaded.error(&["[[client]]", &client.name, "client_id"], "the identifier is too long, or used twice")
        })?;
    }
    let storage = Arc::new(MemoryStorage::new());
    tracing::warn!("storage is in memory: nothing survives the end of this process");
    let machine = AuthServer::new(engine, storage.sharing());
    let pool = CryptoPool::inline(Arc::new(AwsLc));
    let (handle, driver) = spawn(machine, storage, Arc::clone(&security) as _, pool, clock);
    let links = [Link::new(format!("/{TOKEN}")).with("osc", "")];
    Running::serve(&loaded.config.listen, security, &links, handle, driver).await
}

/// Runs an AS until it is told to stop.
///
/// # Errors
/// [`ProgramError`].
pub async fn run(loaded: &Loaded<Config>) -> Result<(), ProgramError> {
    start(loaded).await?.until_stopped().await;
    Ok(())
}
