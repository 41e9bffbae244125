//! `custom-kdc ADDRESS DATABASE INTROSPECTION_URL GM_KEY_HEX`: a KDC with the OSCORE group `lamps`. GM_KEY_HEX is the seed of its
//! Ed25519 key, 32 bytes in hexadecimal.

use ace_backend_aws_lc::AwsLc;
use ace_backend_tokio::{AssociationTable, Clock, CryptoPool, Outside, spawn_with};
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::kdc::{GroupConfig, Kdc, KdcConfig};
use ace_groupcomm::registry::Registry;
use ace_groupcomm::traits::storage::Storage;
use ace_groupcomm_messages::CreationHints;
use ace_profile_group_oscore::DESCRIPTOR;
use custom_kdc::bearer;
use custom_kdc::server::{Shared, router};
use custom_kdc::sqlite::SqliteStorage;
use custom_kdc::validator::{AuthServer, Introspection};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, database, url, gm_key] = arguments.as_slice() else {
        return Err("custom-kdc ADDRESS DATABASE INTROSPECTION_URL GM_KEY_HEX".into());
    };
    let parameters = ConfigMap::from_iter([("gm_key".into(), ConfigValue::Text(gm_key.clone()))]);
    let lamps = GroupConfig { gname: "lamps".into(), profile: DESCRIPTOR.name.into(), parameters };
    let config = KdcConfig::new(CreationHints::default(), vec![lamps]);
    let storage = Arc::new(SqliteStorage::open(Path::new(database))?);
    let kdc = Kdc::new(config, &Registry::linked()?, Box::new(Introspection), storage.sharing(), Arc::new(AwsLc))?;
    let (known, pool) =
        (Arc::new(AssociationTable::new(bearer::NUMBER)), CryptoPool::for_this_machine(Arc::new(AwsLc)));
    let outside = Outside::services(Arc::new(AuthServer { url: url.clone(), client: reqwest::Client::new() }));
    let (handle, engine) = spawn_with(kdc, storage, Arc::clone(&known) as _, pool, Clock::system(), outside);
    handle.ready().await?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    let service = router(Shared { handle, known }).into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        ended = engine => Err(format!("the engine has ended: {ended:?}").into()),
        served = axum::serve(listener, service) => Ok(served?),
    }
}
