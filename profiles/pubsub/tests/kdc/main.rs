//! A KDC with security groups, and clients that join them (sections 3 to 5 of the profile).

mod joins;
mod members;
mod sides;
mod tokens;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::kdc::GroupConfig;
use ace_groupcomm::registry::ApplicationProfileDescriptor;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::traits::member::MemberRules;
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Method, Request, Response, Roles, Status};
use ace_groupcomm_messages::labels::content_format::{ACE_GROUPCOMM_CBOR, PROBLEM_DETAILS_CBOR};
use ace_groupcomm_messages::{
    GetCreds, GroupcommError, JoinRequest, JoinResponse, KeyDistribution, ProblemDetails, PubsubKeyingMaterial,
};
use ace_profile_pubsub::scope::{PUBLISHER, SUBSCRIBER};
use ace_profile_pubsub::{COAP, MQTT};
use std::sync::Arc;

const LATER: u64 = 2_000_000;
const N_C: [u8; 8] = [7; 8];
const BOTH: Roles = Roles(PUBLISHER.0 | SUBSCRIBER.0);

/// The groups: `weather` for a broker over CoAP, which signs with EdDSA, and `alarm` for one over MQTT with ES256.
const GROUPS: [(&str, ApplicationProfileDescriptor, &str); 2] = [("weather", COAP, "EdDSA"), ("alarm", MQTT, "ES256")];

fn text(value: &str) -> ConfigValue {
    ConfigValue::Text(value.into())
}

fn desk_with(others: &[(&str, ConfigValue)]) -> Desk {
    desk_on(TestStore::new(Sharing::Exclusive), others)
}

/// The next process on what this one has stored, whose groups take these parameters.
fn restarted(desk: &Desk, others: &[(&str, ConfigValue)]) -> Desk {
    desk_on(desk.store.clone(), others)
}

fn desk_on(store: TestStore, others: &[(&str, ConfigValue)]) -> Desk {
    let mut config = desk::config(&[]);
    config.accept_parameters = true;
    for (gname, profile, sign_alg) in GROUPS {
        let mut parameters = ConfigMap::default();
        parameters.insert("sign_alg", text(sign_alg));
        parameters.insert("kdc_key", text(&"11".repeat(32)));
        others.iter().for_each(|(name, value)| parameters.insert(*name, value.clone()));
        config.groups.push(GroupConfig { gname: gname.into(), profile: profile.name.into(), parameters });
    }
    let registry = toy::registry().with_application(COAP).unwrap().with_application(MQTT).unwrap();
    Desk::with(&AwsLc, store, config, &registry).unwrap()
}

fn desk() -> Desk {
    desk_with(&[])
}

fn client(number: u16) -> TestClient {
    TestClient::new(&AwsLc, number).unwrap()
}

/// A member's side.
fn rules(number: u16, gname: &str, roles: Roles) -> Arc<dyn MemberRules> {
    let (_, profile, sign_alg) = GROUPS.into_iter().find(|(known, ..)| *known == gname).unwrap();
    let mut config = ConfigMap::default();
    config.insert("subject", text(&client(number).name));
    config.insert("sign_alg", text(sign_alg));
    config.insert("key", text(&format!("{:02x}", number + 0x20).repeat(32)));
    profile.profile.member(gname, roles, config, Arc::new(AwsLc)).unwrap()
}

fn admitted(desk: &mut Desk, number: u16, gname: &str, roles: Roles) -> (Caller, Vec<u8>) {
    desk.post_token(&token(1, &client(number).claims(&[(gname, roles.0)], LATER))).unwrap()
}

fn request(number: u16, gname: &str, roles: Roles, challenge: &[u8]) -> JoinRequest {
    rules(number, gname, roles).join(challenge, &N_C, None).unwrap()
}

/// A member, with what it was answered.
struct Member {
    caller: Caller,
    challenge: Vec<u8>,
    node: String,
    response: JoinResponse,
    rules: Arc<dyn MemberRules>,
}

impl Member {
    fn material(&self) -> PubsubKeyingMaterial {
        PubsubKeyingMaterial::decode(&self.response.material.key).unwrap()
    }

    fn sender_id(&self) -> Vec<u8> {
        self.material().group_sender_id.clone().unwrap()
    }

    fn get(&self, desk: &mut Desk, path: &[&str]) -> Response {
        desk.ask(&self.caller, group_request(Method::Get, self.rules.gname(), path))
    }

    fn node(&self, method: Method) -> Request {
        group_request(method, self.rules.gname(), &["nodes", &self.node])
    }

    /// Its own keying material, as the KDC has it now.
    fn own(&self, desk: &mut Desk) -> KeyDistribution {
        KeyDistribution::decode(&desk.ask(&self.caller, self.node(Method::Get)).payload).unwrap()
    }
}

fn joined(desk: &mut Desk, number: u16, gname: &str, roles: Roles) -> Member {
    let (caller, challenge) = admitted(desk, number, gname, roles);
    let rules = rules(number, gname, roles);
    let join = rules.join(&challenge, &N_C, rules.get_creds()).unwrap();
    let answer = desk.ask(&caller, join_post(gname, &join));
    assert_eq!(answer.status, Status::Created, "{answer:?}");
    let response = JoinResponse::decode(&answer.payload).unwrap();
    rules.joined(response.clone(), &N_C).unwrap();
    Member { caller, challenge, node: answer.location_path[3].clone(), response, rules }
}

/// The status, and the error of problem details, where there are any.
fn told(response: &Response) -> (Status, Option<GroupcommError>) {
    let has_problem = response.content_format == Some(PROBLEM_DETAILS_CBOR);
    let error = has_problem.then(|| ProblemDetails::decode(&response.payload).unwrap().error());
    (response.status, error.flatten())
}
