//! Clients that have none of our code are members of our groups, with tokens of our AS.

mod joins;
mod lives;

use ace_backend_daemon::{Loaded, Running};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::process;

const AS: &str = include_str!("../../../../examples/as/as.toml");
const KDC: &str = include_str!("../../../../examples/kdc/kdc.toml");

/// A registered client of the samples.
struct Registered {
    name: &'static str,
    client_id: &'static str,
    roles: u64,
}

async fn python(script: &str, arguments: &[&str]) -> String {
    let mut command = process::Command::new(ace_peers::python().unwrap());
    command.arg(ace_peers::scripts().join(script)).args(arguments).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn padded(text: &str, length: usize) -> String {
    let mut bytes = format!("sample{text}").into_bytes();
    bytes.resize(length, b'.');
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The arguments of a client that joins.
fn arguments(auth_server: SocketAddr, kdc: SocketAddr, who: &Registered, group: &str) -> [String; 8] {
    let (as_port, kdc_port) = (auth_server.port().to_string(), kdc.port().to_string());
    let (secret, seed) = (padded(who.name, 16), padded(&format!("key-{}", who.name), 32));
    let roles = who.roles.to_string();
    [as_port, kdc_port, who.client_id.into(), secret, group.into(), roles, seed, who.name.into()]
}

async fn start_as() -> Running {
    let mut config: Loaded<ace_as::Config> = Loaded::parse(Path::new("as.toml"), AS.into()).unwrap();
    config.config.listen = vec![any()];
    ace_as::start(&config, "memory:").await.unwrap()
}

/// A KDC; what it needs beside it is in this folder.
async fn start_kdc(folder: &Path, listen: SocketAddr, storage: &str) -> Running {
    let mut config: Loaded<ace_kdc::Config> = Loaded::parse(&folder.join("kdc.toml"), KDC.into()).unwrap();
    config.config.listen = vec![listen];
    config.config.storage.keys = Some("storage-keys.toml".into());
    ace_kdc::start(&config, storage, &ace_kdc::Options::default()).await.unwrap()
}

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

const LAMP: Registered = Registered { name: "lamp", client_id: "01", roles: 4 };
const SWITCH: Registered = Registered { name: "switch", client_id: "02", roles: 6 };
const SENSOR: Registered = Registered { name: "sensor", client_id: "03", roles: 2 };
