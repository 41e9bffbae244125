//! The KDC's interface of RFC 9594, with the toy profiles.

mod access;
mod join;
mod routes;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::testkit::build::{TestClient, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Response, Status};
use ace_groupcomm_messages::labels::content_format::PROBLEM_DETAILS_CBOR;
use ace_groupcomm_messages::{GroupcommError, JoinResponse, ProblemDetails};

const TALKER: u64 = 1;
const LATER: u64 = 2_000_000;

fn desk() -> Desk {
    Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), desk::config(&["g1", "g2"])).unwrap()
}

fn client(number: u16) -> TestClient {
    TestClient::new(&AwsLc, number).unwrap()
}

/// A client with a token for these groups. Returns who it is to the KDC, and N_S.
fn admitted(desk: &mut Desk, client: &TestClient, scope: &[(&str, u64)]) -> (Caller, Vec<u8>) {
    desk.post_token(&token(1, &client.claims(scope, LATER))).unwrap()
}

/// A member of a group.
fn member(desk: &mut Desk, number: u16, gname: &str, roles: u64) -> (Caller, JoinResponse, Response) {
    let client = client(number);
    let (caller, challenge) = admitted(desk, &client, &[(gname, roles)]);
    let response = desk.ask(&caller, join_post(gname, &client.join(gname, roles, &challenge, &[7; 8])));
    assert_eq!(response.status, Status::Created, "{response:?}");
    let joined = JoinResponse::decode(&response.payload).unwrap();
    (caller, joined, response)
}

fn error_of(response: &Response) -> Option<GroupcommError> {
    assert_eq!(response.content_format, Some(PROBLEM_DETAILS_CBOR));
    ProblemDetails::decode(&response.payload).unwrap().error()
}
