//! Groups get new keys: when a member goes, when somebody comes, and when it is time (RFC 9594 section 6, Group OSCORE profile
//! sections 7, 10 and 11).

mod causes;
mod delivery;
mod joins;
mod killed;
mod leave;
mod notice;
#[path = "../process/mod.rs"]
mod process;
mod processes;
mod put_out;
mod renewal;
mod rounds;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::kdc::{GroupConfig, KdcConfig};
use ace_groupcomm::keys;
use ace_groupcomm::records::{Head, NamedGroup};
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm::{Caller, Method, Purpose, Request, Response, Status};
use ace_groupcomm_messages::{JoinResponse, KeyDistribution, ProblemDetails, RekeyingMessage};

const TALKER: u64 = 1;
const LISTENER: u64 = 2;
const LATER: u64 = 2_000_000;
/// The delay of a group for which nothing else is said, in seconds.
const DELAY: u64 = 5;

/// A KDC whose group g1 has these parameters.
fn config(parameters: &[(&str, ConfigValue)]) -> KdcConfig {
    let mut config = desk::config(&["g1"]);
    let parameters: ConfigMap = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    config.groups = vec![GroupConfig { gname: "g1".into(), profile: "toy".into(), parameters }];
    config
}

fn desk_with(parameters: &[(&str, ConfigValue)]) -> Desk {
    Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config(parameters)).unwrap()
}

/// A group that is rekeyed for each join.
fn backward() -> Desk {
    desk_with(&[("backward_security", ConfigValue::Bool(true)), ("rekey_delay", ConfigValue::Int(0))])
}

/// A member, as it has joined.
struct Joined {
    client: TestClient,
    caller: Caller,
    challenge: Vec<u8>,
    node: String,
    num: i64,
    sender_id: Vec<u8>,
    key: Vec<u8>,
}

fn client(number: u16) -> TestClient {
    TestClient::new(&AwsLc, number).unwrap()
}

fn token_of(number: u16) -> Vec<u8> {
    token(1, &client(number).claims(&[("g1", TALKER | LISTENER)], LATER))
}

/// A client with a token, and N_S.
fn admitted(desk: &mut Desk, number: u16) -> (TestClient, Caller, Vec<u8>) {
    let (caller, challenge) = desk.post_token(&token_of(number)).unwrap();
    (client(number), caller, challenge)
}

fn read_join(response: &Response) -> (i64, Vec<u8>, Vec<u8>) {
    let joined = JoinResponse::decode(&response.payload).unwrap();
    let id = toy::id_in(&joined.material.key).unwrap_or_default();
    (joined.material.num, id, joined.material.key.to_byte_string().unwrap()[..16].to_vec())
}

fn join(desk: &mut Desk, number: u16) -> Joined {
    let (client, caller, challenge) = admitted(desk, number);
    let answer = desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[7; 8])));
    assert_eq!(answer.status, Status::Created, "{answer:?}");
    let (num, sender_id, key) = read_join(&answer);
    Joined { client, caller, challenge, node: answer.location_path[3].clone(), num, sender_id, key }
}

impl Joined {
    fn request(&self, method: Method, below: &[&str]) -> Request {
        group_request(method, "g1", &[&["nodes", &self.node], below].concat())
    }

    fn leave(&self, desk: &mut Desk) -> Response {
        desk.ask(&self.caller, self.request(Method::Delete, &[]))
    }

    fn renew(&self, desk: &mut Desk) -> Response {
        desk.ask(&self.caller, self.request(Method::Post, &[]))
    }

    fn get(&self, desk: &mut Desk) -> Response {
        desk.ask(&self.caller, group_request(Method::Get, "g1", &[]))
    }

    /// The version that the member gets, with its key.
    fn keys(&self, desk: &mut Desk) -> (i64, Vec<u8>) {
        let answer = self.get(desk);
        let given = KeyDistribution::decode(&answer.payload).unwrap();
        (given.num, given.key.to_byte_string().unwrap()[..16].to_vec())
    }

    /// What a notification of the group would say.
    fn notified(&self, desk: &mut Desk) -> RekeyingMessage {
        let request = Request { purpose: Purpose::Notification, ..group_request(Method::Get, "g1", &[]) };
        RekeyingMessage::decode(&desk.ask(&self.caller, request).payload).unwrap()
    }
}

fn head(desk: &Desk) -> Head {
    let NamedGroup { id, .. } = desk.store.record(&keys::name("g1")).unwrap();
    desk.store.record(&keys::head(id)).unwrap()
}

fn error_id(response: &Response) -> Option<i64> {
    ProblemDetails::decode(&response.payload).ok()?.error_id
}

fn changed(path: &[&str]) -> AssociationNotice {
    AssociationNotice::Changed { path: path.iter().map(|segment| (*segment).into()).collect() }
}

fn assert_clean(desk: &Desk) {
    let mut check = ace_groupcomm::check::Check::default();
    desk.store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    let findings = check.finish();
    assert!(findings.is_clean(), "{findings}");
}
