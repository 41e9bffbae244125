//! A KDC with OSCORE groups, and nodes that join them.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::kdc::GroupConfig;
use ace_groupcomm::testkit::build::{TestClient, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::traits::crypto::Identity;
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Response, Roles, Status};
use ace_groupcomm_messages::labels::content_format::PROBLEM_DETAILS_CBOR;
use ace_groupcomm_messages::{GroupcommError, JoinRequest, JoinResponse, ProblemDetails};
use ace_profile_group_oscore::DESCRIPTOR;
use ace_profile_group_oscore::member::{self, Joined};

pub(crate) const LATER: u64 = 2_000_000;
pub(crate) const N_C: [u8; 8] = [7; 8];

/// A KDC with the group `lamps` in both modes and the group `alarms` that only signs.
pub(crate) fn desk() -> Desk {
    desk_on(TestStore::new(Sharing::Exclusive))
}

/// The same on what a store holds.
pub(crate) fn desk_on(store: TestStore) -> Desk {
    desk_with(store, &[], false)
}

/// The same with other parameters, which those who have the group already take or not.
pub(crate) fn desk_with(store: TestStore, others: &[(&str, ConfigValue)], accept: bool) -> Desk {
    let mut config = desk::config(&[]);
    config.accept_parameters = accept;
    for (gname, mode) in [("lamps", "group+pairwise"), ("alarms", "group")] {
        let mut parameters = ConfigMap::default();
        parameters.insert("mode", ConfigValue::Text(mode.into()));
        parameters.insert("gm_key", ConfigValue::Text("11".repeat(32)));
        others.iter().for_each(|(name, value)| parameters.insert(*name, value.clone()));
        config.groups.push(GroupConfig { gname: gname.into(), profile: DESCRIPTOR.name.into(), parameters });
    }
    let registry = toy::registry().with_application(DESCRIPTOR).unwrap();
    Desk::with(&AwsLc, store, config, &registry).unwrap()
}

pub(crate) fn client(number: u16) -> (TestClient, Identity) {
    let client = TestClient::new(&AwsLc, number).unwrap();
    let identity = Identity::kccs(&client.name, client.key.clone());
    (client, identity)
}

pub(crate) fn admitted(desk: &mut Desk, number: u16, gname: &str, roles: Roles) -> (Caller, Vec<u8>) {
    desk.post_token(&token(1, &client(number).0.claims(&[(gname, roles.0)], LATER))).unwrap()
}

pub(crate) fn request(number: u16, gname: &str, roles: Roles, challenge: &[u8]) -> JoinRequest {
    member::join_request(gname, roles, &client(number).1, challenge, &N_C, None).unwrap()
}

/// A member: who it is to the KDC, what it has, and the answer that gave it.
pub(crate) fn joined(desk: &mut Desk, number: u16, gname: &str, roles: Roles) -> (Caller, Joined, Response) {
    let (caller, challenge) = admitted(desk, number, gname, roles);
    let response = desk.ask(&caller, join_post(gname, &request(number, gname, roles, &challenge)));
    assert_eq!(response.status, Status::Created, "{response:?}");
    let joined = member::joined(&AwsLc, JoinResponse::decode(&response.payload).unwrap(), roles, &N_C).unwrap();
    (caller, joined, response)
}

pub(crate) fn error_of(response: &Response) -> Option<GroupcommError> {
    assert_eq!(response.content_format, Some(PROBLEM_DETAILS_CBOR));
    ProblemDetails::decode(&response.payload).unwrap().error()
}
