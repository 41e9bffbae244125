//! An Authorization Server, a KDC and the devices of members, in one world without a network: whatever kind of group they are for.
//!
//! ```
//! use ace_backend_aws_lc::AwsLc;
//! use ace_groupcomm::config::{ConfigMap, ConfigValue};
//! use ace_groupcomm::member::Operation;
//! use ace_groupcomm::testkit::{toy, world::{Device, World}};
//! use ace_groupcomm::traits::profile::ApplicationProfile;
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut world = World::new(&AwsLc, toy::DESCRIPTOR, ConfigMap::default(), &[("lamp", toy::TALKER)])?;
//! let mut parameters = ConfigMap::default();
//! parameters.insert("key", ConfigValue::Text("11".repeat(32)));
//! let rules = toy::Toy.member(World::GROUP, toy::TALKER, parameters, Arc::new(AwsLc))?;
//!
//! let mut lamp = Device::new("lamp", rules);
//! for operation in [Operation::Token, Operation::Upload, Operation::Join, Operation::Keys] {
//!     lamp.run(&mut world, operation).ok_or("the device has failed")??;
//! }
//! assert_eq!(lamp.id(), Some(vec![0]));
//! # Ok(())
//! # }
//! ```

mod device;

pub use device::{Crash, Device, Fate};

use super::{Desk, Failure, TestStore, build, desk, toy};
use crate::auth_server::{Audience, AuthServer, AuthServerConfig, Policy};
use crate::config::ConfigMap;
use crate::engine::{Limits, Machine, Reply};
use crate::kdc::{GroupConfig, KdcConfig};
use crate::registry::{ApplicationProfileDescriptor, Registry};
use crate::request::{Caller, Request, Response, Status};
use crate::traits::crypto::CryptoProvider;
use crate::traits::profile::Roles;
use crate::traits::storage::Sharing;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use std::time::Duration;

/// How long a token is good.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// An AS and a KDC with one group. Client and KDC know each other by the toy transport.
pub struct World {
    /// The KDC.
    pub desk: Desk,
    auth_server: AuthServer,
    as_store: TestStore,
    rng: ChaCha12Rng,
}

impl World {
    /// The GROUPNAME of its group.
    pub const GROUP: &str = "g1";

    /// A world with a group of this profile and with these parameters, in which each client may have these roles.
    ///
    /// # Errors
    /// Why the KDC cannot be set up.
    pub fn new(
        crypto: &'static dyn CryptoProvider,
        profile: ApplicationProfileDescriptor,
        group: ConfigMap,
        clients: &[(&str, Roles)],
    ) -> Result<Self, Failure> {
        let policy = |&(client, roles): &(&str, Roles)| Policy {
            client: client.into(),
            audience: build::AUDIENCE.into(),
            gname: Self::GROUP.into(),
            profile,
            roles,
        };
        Self::with(crypto, profile, group, clients.iter().map(policy).collect())
    }

    /// The same with these policies, which may also be for groups that the KDC does not have.
    ///
    /// # Errors
    /// Why the KDC cannot be set up.
    pub fn with(
        crypto: &'static dyn CryptoProvider,
        profile: ApplicationProfileDescriptor,
        group: ConfigMap,
        policies: Vec<Policy>,
    ) -> Result<Self, Failure> {
        let registry = Registry::empty().with_transport(toy::TRANSPORT).and_then(|r| r.with_application(profile));
        let registry = registry.map_err(|error| error.to_string())?;
        let mut config = KdcConfig { changes_per_hour: u32::MAX, ..desk::config(&[]) };
        let (gname, profile) = (Self::GROUP.into(), profile.name.into());
        config.groups.push(GroupConfig { gname, profile, parameters: group });
        let desk = Desk::with(crypto, TestStore::new(Sharing::Exclusive), config, &registry);
        let desk = desk.map_err(|error| error.to_string())?;
        let audience = Audience {
            name: build::AUDIENCE.into(),
            key: build::token_key(1),
            lifetime: LIFETIME,
            profile: toy::TRANSPORT.number,
        };
        let mut clients: Vec<String> = policies.iter().map(|policy| policy.client.clone()).collect();
        clients.sort_unstable();
        clients.dedup();
        let config =
            AuthServerConfig { iss: None, clients, audiences: vec![audience], policies, limits: Limits::default() };
        let mut world = Self {
            desk,
            auth_server: AuthServer::new(config, Sharing::Exclusive),
            as_store: TestStore::new(Sharing::Exclusive),
            rng: ChaCha12Rng::seed_from_u64(1),
        };
        let mut out = Vec::new();
        world.auth_server.start(world.desk.now, &mut world.rng, &mut out);
        desk::settle(crypto, &mut world.auth_server, &world.as_store, world.desk.now, out);
        Ok(world)
    }

    /// Asks the AS, as a client of this name.
    pub fn ask_auth_server(&mut self, client: &str, request: Request) -> Response {
        let (mut out, now) = (Vec::new(), self.desk.now);
        let caller = Caller::peer(client.as_bytes());
        let reply = self.auth_server.request(now, caller, request, &mut self.rng, &mut out);
        let mut settled = desk::settle(self.desk.crypto, &mut self.auth_server, &self.as_store, now, out);
        match reply {
            Reply::Now(durable) => durable.into_inner(),
            Reply::Later(_) => settled
                .answers
                .pop()
                .map_or_else(|| Response::new(Status::ServiceUnavailable), |(_, durable)| durable.into_inner()),
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.desk.pass(time);
    }
}
