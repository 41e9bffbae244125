//! The KDC that is killed: the tester, started again as another process.

use crate::sabotage::{self, Sabotage, Tampered};
use crate::say::say;
use crate::{Error, Options};
use ace_backend_daemon::{Role, StorageConfig, new_storage_keys, open_storage};
use ace_groupcomm::command::Command;
use ace_groupcomm::traits::storage::{Sharing, Storage};
use ace_load::server::{GROUP, Setup};
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncBufReadExt, BufReader};

/// What the process is told. On its standard input, `hold` keeps the answers of the next commit back; `rekey`, and `evict` with a
/// NODENAME, are commands of an operator. It says `ready`, `held`, and `done` or `refused`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Where state is kept.
    #[arg(long)]
    pub storage: String,
    /// The file with the storage keys.
    #[arg(long)]
    pub keys: PathBuf,
    /// Where to listen.
    #[arg(long)]
    pub address: SocketAddr,
    /// What is broken.
    #[arg(long, default_value = "none")]
    pub sabotage: Sabotage,
}

impl Serve {
    pub(super) fn new(options: &Options, address: SocketAddr) -> Result<Self, Error> {
        let keys = options.folder.join("storage-keys.toml");
        if !keys.exists() {
            new_storage_keys(&keys)?;
        }
        Ok(Self { storage: options.storage.clone(), keys, address, sabotage: options.sabotage })
    }

    pub(super) fn arguments(&self) -> Vec<String> {
        let pairs = [
            ("--storage", self.storage.clone()),
            ("--keys", self.keys.display().to_string()),
            ("--address", self.address.to_string()),
            ("--sabotage", self.sabotage.to_string()),
        ];
        let flags = pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        std::iter::once("serve".to_owned()).chain(flags).collect()
    }
}

/// Serves until it is killed.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn serve(serve: &Serve) -> Result<(), Error> {
    ace_backend_daemon::init_log();
    let config = StorageConfig { keys: Some(serve.keys.clone()), ..StorageConfig::default() };
    let storage = open_storage(&serve.storage, &config, Path::new(""), Role::Kdc).await?.storage;
    let tampered = Arc::new(Tampered::new(storage, serve.sabotage));
    let hold = tampered.hold();
    let sharing = match serve.sabotage {
        Sabotage::SecondOwner => Sharing::Exclusive,
        _ => tampered.sharing(),
    };
    let between = sabotage::between(serve.sabotage);
    let setup = Setup { storage: tampered, sharing, between, address: serve.address, gathering: None };
    let (server, handle) = setup.start_with_handle().await?;
    say("ready")?;
    tokio::spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let group = || GROUP.to_owned();
            let command = match line.split_once(' ') {
                Some(("evict", node)) => Command::Evict { group: group(), node: node.into() },
                _ if line == "rekey" => Command::Rekey(group()),
                _ => {
                    hold.store(line == "hold", Ordering::SeqCst);
                    continue;
                }
            };
            let handle = handle.clone();
            tokio::spawn(async move {
                let done = handle.command(command).await;
                let _ = say(if done.is_ok() { "done" } else { "refused" });
            });
        }
        // Whoever started it is gone.
        std::process::exit(0);
    });
    server.run(std::future::pending()).await?;
    Ok(())
}
