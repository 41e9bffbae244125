//! Bounds of what a request may ask: the largest that is taken, and the smallest that is not.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::records::MemberRecord;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token, token_post};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Method, RecordType, Request, Response, Status};
use ace_groupcomm_messages::{
    CredsResponse, GetCreds, GroupNamesRequest, GroupNamesResponse, JoinRequest, JoinResponse, RawCbor,
    TokenTransferResponse, retrieval,
};

const TALKER: u64 = 1;
const LISTENER: u64 = 2;

fn desk() -> Desk {
    Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), desk::config(&["g1", "g2"])).unwrap()
}

fn admitted(desk: &mut Desk, number: u16, roles: u64) -> (TestClient, Caller, Vec<u8>) {
    let client = TestClient::new(&AwsLc, number).unwrap();
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", roles)], 2_000_000))).unwrap();
    (client, caller, challenge)
}

fn member(desk: &mut Desk, number: u16, roles: u64) -> (Caller, Response) {
    let (client, caller, challenge) = admitted(desk, number, roles);
    let response = desk.ask(&caller, join_post("g1", &client.join("g1", roles, &challenge, &[7; 8])));
    assert_eq!(response.status, Status::Created);
    (caller, response)
}

#[test]
fn filters_hold_1024_elements_each() {
    let mut desk = desk();
    let (caller, _) = member(&mut desk, 1, TALKER);
    let mut fetch = |roles: usize, ids: usize| {
        let wanted = GetCreds::Filter {
            inclusive: true,
            roles: vec![RawCbor::uint(TALKER); roles],
            ids: (0..ids).map(|id| (id + 5_000).to_be_bytes().to_vec()).collect(),
        };
        let request = group_request(Method::Fetch, "g1", &["creds"]).with_payload(261, wanted.encode_request());
        desk.ask(&caller, request)
    };
    assert_eq!(fetch(1_024, 1_024).status, Status::Content);
    assert_eq!(fetch(1_025, 0).status, Status::BadRequest);
    assert_eq!(fetch(0, 1_025).status, Status::BadRequest);
    let mut wrong = group_request(Method::Fetch, "g1", &["creds"]).with_payload(261, GetCreds::All.encode_request());
    assert_eq!(desk.ask(&caller, wrong.clone()).status, Status::Content);
    wrong.content_format = Some(60);
    assert_eq!(desk.ask(&caller, wrong.clone()).status, Status::UnsupportedContentFormat);
    wrong.content_format = None;
    assert_eq!(desk.ask(&caller, wrong).status, Status::Content, "without a format it is taken at its word");
}

#[test]
fn a_group_is_found_by_64_identifiers_at_once_and_each_of_16_bytes() {
    let mut desk = desk();
    let (caller, _) = member(&mut desk, 1, TALKER);
    let gids =
        desk.store.dump().into_iter().filter_map(|(key, _)| key.as_bytes().strip_prefix(b"gid/").map(<[u8]>::to_vec));
    let gids: Vec<Vec<u8>> = gids.collect();
    assert_eq!(gids.len(), 2);
    let mut fetch = |gids: Vec<Vec<u8>>| {
        let gids = gids.iter().map(|gid| RawCbor::bytes(gid)).collect();
        let request = Request::new(Method::Fetch, ["ace-group"]).with_payload(261, GroupNamesRequest { gids }.encode());
        let response = desk.ask(&caller, request);
        (response.status, GroupNamesResponse::decode(&response.payload).map_or(0, |found| found.groups.len()))
    };
    let padded = |count: usize, length: usize| {
        let mut all = gids.clone();
        all.resize(count, vec![9; length]);
        all
    };
    assert_eq!(fetch(padded(64, 16)), (Status::Content, 1), "the group of the token, and not the other one");
    assert_eq!(fetch(padded(65, 16)).0, Status::BadRequest);
    assert_eq!(fetch(padded(64, 17)), (Status::Content, 1), "what no identifier can be is just not there");
    assert_eq!(fetch([gids.clone(), gids.clone()].concat()), (Status::Content, 1), "asked for twice, named once");
    let mut wrong = Request::new(Method::Fetch, ["ace-group"]).with_payload(60, vec![0xa1, 0x00, 0x80]);
    assert_eq!(desk.ask(&caller, wrong.clone()).status, Status::UnsupportedContentFormat);
    wrong.content_format = None;
    assert_ne!(desk.ask(&caller, wrong.clone()).status, Status::UnsupportedContentFormat);
    wrong.accept = Some(60);
    assert_eq!(desk.ask(&caller, wrong).status, Status::NotAcceptable);
}

// Covers: TH-2-06/cnonce-bound
#[test]
fn a_join_is_bounded_in_each_part() {
    let mut desk = desk();
    let (client, caller, challenge) = admitted(&mut desk, 1, TALKER);
    let store = desk.store.clone();
    let mut join = |change: &dyn Fn(JoinRequest) -> JoinRequest, cnonce: &[u8]| {
        let request = change(client.join("g1", TALKER, &challenge, cnonce));
        desk.ask(&caller, join_post("g1", &request)).status
    };
    assert!(join(&|join| join, &[7; 64]).is_success());
    assert_eq!(join(&|join| join, &[7; 65]), Status::BadRequest);
    assert!(join(&|join| join, &[7]).is_success());
    // A control URI that is too long is as if it were not there; the join is not refused for it.
    for length in [512, 513] {
        let uri = "u".repeat(length);
        assert!(join(&|join| JoinRequest { control_uri: Some(uri.clone()), ..join }, &[7; 8]).is_success());
        let members = members_of(&store);
        assert_eq!(members[0].control_uri.is_some(), length == 512);
    }
}

fn members_of(store: &TestStore) -> Vec<MemberRecord> {
    let all = store.dump().into_iter().filter(|(key, _)| key.as_bytes().windows(3).any(|part| part == b"/m/"));
    all.map(|(_, record)| MemberRecord::decode(&record.value).unwrap()).collect()
}

#[test]
fn who_joins_asks_for_peers_by_role() {
    let mut desk = desk();
    member(&mut desk, 1, TALKER);
    member(&mut desk, 2, LISTENER);
    let (client, caller, challenge) = admitted(&mut desk, 3, TALKER);
    let by_role = |role: u64| GetCreds::Filter { inclusive: true, roles: vec![RawCbor::uint(role)], ids: vec![] };
    for (wanted, count) in [(by_role(TALKER), 1), (by_role(LISTENER), 0), (GetCreds::All, 1)] {
        let join = JoinRequest { get_creds: Some(wanted), ..client.join("g1", TALKER, &challenge, &[7; 8]) };
        let response = desk.ask(&caller, join_post("g1", &join));
        let joined = JoinResponse::decode(&response.payload).unwrap();
        assert_eq!(joined.peers.map(|peers| peers.len()), Some(count), "others, never oneself");
    }
    let many = GetCreds::Filter { inclusive: true, roles: vec![RawCbor::uint(TALKER); 1_025], ids: vec![] };
    for wrong in [by_role(99), many] {
        let join = JoinRequest { get_creds: Some(wrong), ..client.join("g1", TALKER, &challenge, &[7; 8]) };
        let refused = desk.ask(&caller, join_post("g1", &join));
        assert_eq!((refused.status, refused.content_format), (Status::BadRequest, Some(261)), "it can be mended");
    }
    let all = desk.ask(&caller, group_request(Method::Get, "g1", &["creds"]));
    assert_eq!(CredsResponse::decode(&all.payload).unwrap().unwrap().num, 0);
    let num = desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    assert_eq!(retrieval::decode_num(&num.payload), Ok(0));
}

// Covers: TH-1-05/server-id-space
#[test]
fn nodes_have_names_of_their_own_and_associations_too() {
    let mut desk = desk();
    let mut names = std::collections::BTreeSet::new();
    for number in 1..=20 {
        let (_, response) = member(&mut desk, number, TALKER);
        let node = response.location_path[3].clone();
        assert!(node.len() == 16 && node.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(names.insert(node));
    }
    // The name of an association differs from the client's own, whichever that is.
    for number in 50..70 {
        let post =
            token_post(&token(1, &TestClient::new(&AwsLc, number).unwrap().claims(&[("g1", TALKER)], 2_000_000)));
        let answer = TokenTransferResponse::decode(&desk.ask(&Caller::anonymous(), post).payload).unwrap();
        let id = answer.server_recipient_id.unwrap();
        assert_eq!((id.len(), &id[..2]), (6, &[0, 1][..]), "the process comes first");
        // What may wait for its proof uses up a part of the rest that nobody notices.
        let space = 1_u64 << (8 * (id.len() - 2));
        assert!(space > 1_000 * u64::try_from(desk::config(&[]).pending.total).unwrap());
        assert!(names.insert(format!("{id:?}")));
    }
}

#[test]
fn a_member_joins_again_as_often_as_it_may() {
    let config = ace_groupcomm::kdc::KdcConfig { changes_per_hour: 3, ..desk::config(&["g1"]) };
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config).unwrap();
    let (caller, _) = member(&mut desk, 1, TALKER);
    let again = JoinRequest {
        client_cred: Some(vec![]),
        client_cred_verify: None,
        ..TestClient::new(&AwsLc, 1).unwrap().join("g1", TALKER, &[], &[7; 8])
    };
    let join = |desk: &mut Desk| {
        let response = desk.ask(&caller, join_post("g1", &again));
        (response.status, response.max_age)
    };
    for _ in 0..3 {
        assert_eq!(join(&mut desk).0, Status::Changed);
        desk.pass(std::time::Duration::from_secs(600));
    }
    let records = desk.store.dump().len();
    for _ in 0..100 {
        assert_eq!(join(&mut desk), (Status::TooManyRequests, Some(1_800)));
    }
    assert_eq!(desk.store.dump().len(), records, "nothing more is kept of it");
    member(&mut desk, 2, TALKER);
    desk.pass(std::time::Duration::from_secs(1_800));
    for _ in 0..3 {
        assert_eq!(join(&mut desk).0, Status::Changed, "another hour");
    }
    assert_eq!(join(&mut desk).0, Status::TooManyRequests);
}
