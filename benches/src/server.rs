//! The KDC under load: the real one, with storage in memory, on a thread of its own.

use ace_backend_coap::{Limits, Server};
use ace_backend_memory::MemoryStorage;
use ace_backend_tokio::{Clock, CryptoPool, EngineService, os_random, spawn};
use ace_groupcomm::Secret;
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::kdc::{GroupConfig, Kdc, KdcConfig, PendingLimits};
use ace_groupcomm::registry::Registry;
use ace_groupcomm::traits::crypto::AwsLc;
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::traits::token::{CwtValidator, Issuer, TokenKey};
use ace_groupcomm_messages::{CreationHints, Strictness};
use ace_oscore::Aead;
use ace_profile_oscore::{OscoreServer, Responses};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;

// Linked for the profiles that they register.
use ace_profile_group_oscore as _;

/// The name of the group.
pub const GROUP: &str = "bench";
/// The audience of tokens.
pub const AUDIENCE: &str = "kdc";

/// The key of the tokens.
#[must_use]
pub fn token_key() -> TokenKey {
    TokenKey { kid: Some(b"k".to_vec()), aead: Aead::AesCcm16_64_128, key: Secret::new(vec![7; 16]) }
}

fn kdc() -> Result<Kdc, Box<dyn std::error::Error + Send + Sync>> {
    let mut parameters = ConfigMap::default();
    parameters.0.insert("gm_key".into(), ConfigValue::Text("33".repeat(32)));
    let group = GroupConfig { gname: GROUP.into(), profile: "coap_group_oscore_app".into(), parameters };
    let config = KdcConfig {
        hints: CreationHints::default(),
        groups: vec![group],
        limits: ace_groupcomm::engine::Limits::default(),
        pending: PendingLimits { total: 1_000_000, ..PendingLimits::default() },
        rejoins_per_hour: u32::MAX,
    };
    let issuer = Issuer {
        name: "as".into(),
        iss: None,
        keys: vec![token_key()],
        groups: vec![GROUP.into()],
        strictness: Strictness::Strict,
    };
    let validator = CwtValidator::new(AUDIENCE, vec![issuer])?;
    Ok(Kdc::new(config, &Registry::linked()?, Box::new(validator), Sharing::Exclusive)?)
}

/// Starts the KDC on a thread of its own, with everything it does on that thread; answers where it listens. It ends
/// with the process.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn start() -> Result<SocketAddr, Box<dyn std::error::Error + Send + Sync>> {
    let (sender, receiver) = channel();
    let kdc = kdc()?;
    let security = Arc::new(OscoreServer::new(Box::new(os_random()), Responses::ReuseNonce));
    std::thread::Builder::new().name("kdc".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let storage = Arc::new(MemoryStorage::new());
            let pool = CryptoPool::inline(Arc::new(AwsLc));
            let (handle, _driver) = spawn(kdc, storage, Arc::clone(&security) as _, pool, Clock::system());
            handle.ready().await;
            let service = Arc::new(EngineService::new(handle));
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let server = Server::bind(any, security, service, Limits::default(), [1; 32]).await?;
            let _ = sender.send(server.local_addr()?);
            server.run(std::future::pending()).await
        })
    })?;
    Ok(receiver.recv()?)
}
