//! One device of a talker in a toy group, in a world of its own.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::auth_server::Policy;
use ace_groupcomm::config::ConfigMap;
use ace_groupcomm::member::{MemberError, Operation};
use ace_groupcomm::testkit::build::{AUDIENCE, TestClient};
use ace_groupcomm::testkit::{toy, world};
use ace_groupcomm::traits::crypto::Identity;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Device {
    pub(crate) world: world::World,
    device: world::Device,
}

/// The client may also join another group, which the KDC does not have.
fn policy(gname: &str) -> Policy {
    Policy {
        client: "client1".into(),
        audience: AUDIENCE.into(),
        gname: gname.into(),
        profile: toy::DESCRIPTOR,
        roles: toy::TALKER,
    }
}

impl Device {
    pub(crate) fn new() -> Self {
        let policies = [world::World::GROUP, "g2"].map(policy).into();
        let world = world::World::with(&AwsLc, toy::DESCRIPTOR, ConfigMap::default(), policies).unwrap();
        let client = TestClient::new(&AwsLc, 1).unwrap();
        let rules = toy::ToyMember {
            gname: world::World::GROUP.into(),
            roles: toy::TALKER,
            identity: Identity { cred: client.key.public().to_vec(), key: client.key },
            crypto: Arc::new(AwsLc),
        };
        Self { world, device: world::Device::new("client1", Arc::new(rules)) }
    }

    pub(crate) fn run(&mut self, operation: Operation) -> Option<Result<(), MemberError>> {
        self.device.run(&mut self.world, operation)
    }

    /// The member's identifier.
    pub(crate) fn id(&self) -> Vec<u8> {
        self.device.id().unwrap()
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.world.pass(Duration::from_secs(seconds));
    }
}

impl Deref for Device {
    type Target = world::Device;

    fn deref(&self) -> &world::Device {
        &self.device
    }
}

impl DerefMut for Device {
    fn deref_mut(&mut self) -> &mut world::Device {
        &mut self.device
    }
}
