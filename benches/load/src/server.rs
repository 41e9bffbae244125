//! The KDC under load: the real one, on a thread of its own.

use ace_backend_aws_lc::AwsLc;
use ace_backend_coap::{Limits, Server};
use ace_backend_daemon::{Role, StorageConfig, open_storage};
use ace_backend_tokio::{Clock, CryptoPool, EngineService, Followed, Handle, os_random, spawn};
use ace_groupcomm::Secret;
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::kdc::{EXPIRY_NOTICE, GroupConfig, Kdc, KdcConfig, PendingLimits, PostLimits};
use ace_groupcomm::registry::Registry;
use ace_groupcomm::token::{CwtValidator, Issuer, TokenKey};
use ace_groupcomm::traits::storage::{Sharing, Storage};
use ace_groupcomm::traits::transport::Associations;
use ace_groupcomm_messages::{CreationHints, Strictness};
use ace_oscore::Aead;
use ace_profile_oscore::{OscoreServer, Responses};
use rand_core::Rng;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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

type Error = Box<dyn std::error::Error + Send + Sync>;

fn kdc(sharing: Sharing, gathering: Option<u32>) -> Result<Kdc, Error> {
    let mut parameters = ConfigMap::default();
    parameters.insert("gm_key", ConfigValue::Text("33".repeat(32)));
    // Where joins are not gathered, what a rekeying takes is measured, not for how long causes are gathered before it.
    parameters.insert("rekey_delay", ConfigValue::Int(gathering.unwrap_or(0).into()));
    parameters.insert("backward_security", ConfigValue::Bool(gathering.is_some()));
    let group = GroupConfig { gname: GROUP.into(), profile: "coap_group_oscore_app".into(), parameters };
    let config = KdcConfig {
        hints: CreationHints::default(),
        groups: vec![group],
        limits: ace_groupcomm::engine::Limits::default(),
        pending: PendingLimits { total: 1_000_000, ..PendingLimits::default() },
        posts: PostLimits { unproven: u32::MAX, ..PostLimits::default() },
        accept_issuers: false,
        accept_parameters: false,
        changes_per_hour: u32::MAX,
        expiry_notice: EXPIRY_NOTICE,
    };
    let issuer = Issuer {
        name: "as".into(),
        iss: None,
        keys: vec![token_key()],
        groups: vec![GROUP.into()],
        strictness: Strictness::Strict,
    };
    let validator = CwtValidator::new(AUDIENCE, vec![issuer])?;
    Ok(Kdc::new(config, &Registry::linked()?, Box::new(validator), sharing, Arc::new(AwsLc))?)
}

/// Storage keys in a file, for as long as this is kept.
struct Keys(PathBuf);

impl Keys {
    fn new() -> Result<Self, Error> {
        let path =
            std::env::temp_dir().join(format!("ace-bench-keys-{}-{:x}", std::process::id(), os_random().next_u64()));
        ace_backend_daemon::new_storage_keys(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Opens storage that a URL names, sealed with a new key.
async fn open(url: &str) -> Result<Arc<dyn Storage>, Error> {
    let keys = Keys::new()?;
    let config = StorageConfig { keys: Some(keys.0.clone()), ..StorageConfig::default() };
    Ok(open_storage(url, &config, Path::new(""), Role::Kdc).await?.storage)
}

/// What the KDC is set up with.
pub struct Setup {
    /// Where it keeps its state.
    pub storage: Arc<dyn Storage>,
    /// Whether it takes the storage for its own.
    pub sharing: Sharing,
    /// What stands between it and its table of associations.
    pub between: fn(Arc<OscoreServer>) -> Arc<dyn Associations>,
    /// Where it listens.
    pub address: SocketAddr,
    /// For how many seconds joins are gathered under backward security; `None` without that.
    pub gathering: Option<u32>,
}

impl Setup {
    /// A KDC on this storage, as it should be.
    #[must_use]
    pub fn on(storage: Arc<dyn Storage>, address: SocketAddr) -> Self {
        Self { sharing: storage.sharing(), storage, between: |table| table, address, gathering: None }
    }

    /// Starts it on the current runtime. Returns the server, bound and ready.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub async fn start(self) -> Result<Server, Error> {
        Ok(self.start_with_handle().await?.0)
    }

    /// The same, with the handle by which commands are given.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub async fn start_with_handle(self) -> Result<(Server, Handle), Error> {
        let kdc = kdc(self.sharing, self.gathering)?;
        let responses = match self.sharing {
            Sharing::Exclusive => Responses::ReuseNonce,
            Sharing::Shared => Responses::Numbered,
        };
        let security = Arc::new(OscoreServer::new(Box::new(os_random()), responses).with_look_up());
        let followed = Arc::new(Followed::new((self.between)(Arc::clone(&security))));
        let pool = CryptoPool::inline(Arc::new(AwsLc));
        let (handle, _driver) = spawn(kdc, self.storage, Arc::clone(&followed) as _, pool, Clock::system());
        handle.ready().await?;
        let service = Arc::new(EngineService::new(handle.clone()));
        let server = Server::bind(self.address, security, service, Limits::default(), [1; 32]).await?;
        followed.add(server.notifier());
        Ok((server, handle))
    }
}

/// Starts the KDC on a thread of its own, with everything it does on that thread, except for what storage does on
/// threads of its own. Returns where it listens. It ends with the process. Under backward security joins are gathered for so many
/// seconds.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn start(url: &str, gathering: Option<u32>) -> Result<SocketAddr, Error> {
    let (sender, receiver) = channel();
    let url = url.to_owned();
    std::thread::Builder::new().name("kdc".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let started = async {
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let server = Setup { gathering, ..Setup::on(open(&url).await?, any) }.start().await?;
                Ok((server.local_addr()?, server))
            };
            match started.await {
                Ok((address, server)) => {
                    let _ = sender.send(Ok(address));
                    server.run(std::future::pending()).await
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                    Ok(())
                }
            }
        })
    })?;
    receiver.recv()?
}
