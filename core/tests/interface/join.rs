//! Joining and what a member can ask.

use crate::{LATER, TALKER, admitted, client, desk, error_of, member};
use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::records::Head;
use ace_groupcomm::testkit::build::{group_request, join_post, scope, token, token_post};
use ace_groupcomm::testkit::{self, Desk, TestStore};
use ace_groupcomm::traits::crypto::{CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Method, RecordType, Response, Status};
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR};
use ace_groupcomm_messages::{
    CredsResponse, GetCreds, GroupcommError, JoinRefusal, JoinRequest, JoinResponse, KdcCred, KeyDistribution,
    PeerCred, RawCbor, ScopeEntry, TokenTransferRequest, TokenTransferResponse, pop, retrieval,
};

const LISTENER: u64 = 2;

fn sender_id(joined: &JoinResponse) -> Vec<u8> {
    testkit::toy::id_in(&joined.material.key).unwrap()
}

fn head(desk: &Desk) -> Head {
    let heads: Vec<_> = desk.store.dump().into_iter().filter(|(key, _)| key.as_bytes().ends_with(b"/head")).collect();
    let decoded = heads.iter().map(|(_, record)| Head::decode(&record.value).unwrap());
    decoded.max_by_key(|head| (head.members, head.cursor)).unwrap()
}

// Covers: OP-4.2-06, KG-3.3-04, KG-3.3-05, KG-3.3-09, KG-3.3.2-01, AF-5.10.1-05, AF-5.2-02
// Covers: KG-3.3.1-01
// Covers: AF-5-09
#[test]
fn a_token_brings_a_challenge_and_what_to_know_about_credentials() {
    let mut desk = desk();
    let response =
        desk.ask(&Caller::anonymous(), token_post(&token(1, &client(1).claims(&[("g1", 1), ("g2", 2)], LATER))));
    assert_eq!((response.status, response.content_format), (Status::Created, Some(ACE_CBOR)));
    let answer = TokenTransferResponse::decode(&response.payload).unwrap();
    assert_eq!(answer.nonce2, Some(vec![0x11; 8]), "the toy transport echoes N1");
    assert_eq!(answer.kdcchallenge.map(|n_s| n_s.len()), Some(8));
    assert_eq!(answer.server_recipient_id.map(|id| (id.len(), id[1])), Some((6, 1)));
    let groups: Vec<_> = answer.info.sign_info.iter().flat_map(|entry| entry.groups.clone()).collect();
    assert_eq!(groups, ["g1", "g2"]);
    assert!(answer.info.ecdh_info.is_empty());

    let listener = desk.ask(&Caller::anonymous(), token_post(&token(1, &client(2).claims(&[("g1", LISTENER)], LATER))));
    assert_eq!(TokenTransferResponse::decode(&listener.payload).unwrap().kdcchallenge, None);

    // Who does not ask is told nothing of algorithms.
    let mut bare = token_post(&token(1, &client(3).claims(&[("g1", TALKER)], LATER)));
    let transfer = TokenTransferRequest::decode(&bare.payload).unwrap();
    bare.payload = TokenTransferRequest { asks_sign_info: false, ..transfer }.encode().into();
    let bare = desk.ask(&Caller::anonymous(), bare);
    assert_eq!(bare.status, Status::Created);
    assert!(TokenTransferResponse::decode(&bare.payload).unwrap().info.sign_info.is_empty());
}

// Covers: KG-4.3.1-33, KG-4.3.1-38, KG-4.3.1-31, KG-4.3.1-32, KG-4.3.1-40, KG-4.3.1-55, KG-4.3.1-56
#[test]
fn a_join_gives_the_key_an_identifier_and_the_kdcs_proof() {
    let mut desk = desk();
    let (_, joined, response) = member(&mut desk, 1, "g1", TALKER);
    assert_eq!(response.content_format, Some(ACE_GROUPCOMM_CBOR));
    let [root, gname, nodes, node] = response.location_path.as_slice() else { panic!("{response:?}") };
    assert_eq!((root.as_str(), gname.as_str(), nodes.as_str(), node.len()), ("ace-group", "g1", "nodes", 16));
    assert_eq!((joined.material.num, joined.material.ace_groupcomm_profile), (0, Some(-70_000)));
    assert_eq!(joined.material.exp, Some(2_000_000));
    assert_eq!(joined.material.exi, Some(1_000_000));
    assert_eq!(joined.peers, None);
    assert_eq!(sender_id(&joined), [0]);
    let kdc = joined.kdc_cred.unwrap();
    let proof = CryptoJob::Verify {
        algorithm: SignatureAlgorithm::Ed25519,
        key: kdc.kdc_cred,
        message: pop::kdc_input(&[7; 8], &kdc.kdc_nonce),
        signature: kdc.kdc_cred_verify,
    };
    assert_eq!(AwsLc.run(&[proof]), [CryptoOutput::Verified(true)]);
    assert_eq!(head(&desk).members, 1);
}

// Covers: KG-4.3.1-30, KG-4.3.1-31, TH-2-03/repeated-token
#[test]
fn a_second_join_is_the_same_member_with_a_new_identifier() {
    let mut desk = desk();
    let (caller, first, created) = member(&mut desk, 1, "g1", TALKER);
    let client = client(1);
    // The same credential needs no new proof; empty or equal, both will do.
    for (cred, id) in [(vec![], 1_u8), (client.key.public().to_vec(), 2)] {
        let join =
            JoinRequest { client_cred: Some(cred), client_cred_verify: None, ..client.join("g1", 1, &[], &[id; 8]) };
        let again = desk.ask(&caller, join_post("g1", &join));
        assert_eq!((again.status, &again.location_path), (Status::Changed, &created.location_path));
        assert_eq!(sender_id(&JoinResponse::decode(&again.payload).unwrap()), [id]);
    }
    assert_eq!(sender_id(&first), [0]);

    // A new association from the same token is the same member.
    let (caller, challenge) = admitted(&mut desk, &client, &[("g1", TALKER)]);
    let again = desk.ask(&caller, join_post("g1", &client.join("g1", TALKER, &challenge, &[9; 8])));
    assert_eq!((again.status, &again.location_path), (Status::Changed, &created.location_path));
    assert_eq!(sender_id(&JoinResponse::decode(&again.payload).unwrap()), [3]);
    assert_eq!((head(&desk).members, head(&desk).cursor), (1, 4));
    let stale: Vec<_> =
        desk.store.dump().into_iter().filter(|(key, _)| key.as_bytes().windows(7).any(|w| w == b"/stale/")).collect();
    assert_eq!(stale.len(), 3, "each identifier that was given up is stale");
}

// Covers: KG-4.3.1-04, KG-4.3.1-07, KG-4.3.1-18, KG-4.3.1-19, KG-4.3.1-20, KG-4.3.1-27, KG-4.3.1.1-05, KG-4.3.1-06
// Covers: KG-4.3.1-14, KG-4.3.1-15, KG-4.3.1-22, KG-4.3.1-23, KG-4.3.1-24, KG-4.3.1-25, KG-3.3-06
// Covers: KG-4.1.2-06
#[test]
fn join_requests_that_are_refused_change_nothing() {
    let mut desk = desk();
    let client = client(1);
    let (caller, challenge) = admitted(&mut desk, &client, &[("g1", TALKER), ("g2", TALKER | LISTENER)]);
    desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    let before = desk.store.dump();
    let good = || client.join("g1", TALKER, &challenge, &[7; 8]);
    let mut refused = |what: &str, status: Status, gname: &str, join: JoinRequest| {
        // Who proves falsely has to wait.
        desk.now = desk.now.plus(std::time::Duration::from_secs(70));
        let response = desk.ask(&caller, join_post(gname, &join));
        assert_eq!(response.status, status, "{what}");
        response
    };
    let entry = |gname: &str, roles| Some(scope(&[(gname, roles)]).entries()[0].encode());
    let mended = |response: &Response| {
        assert_eq!((response.status, response.content_format), (Status::BadRequest, Some(ACE_GROUPCOMM_CBOR)));
        let refusal = JoinRefusal::decode(&response.payload).unwrap();
        assert_eq!(refusal.info.sign_info.len(), 1);
        refusal
    };
    for (what, join) in [
        ("no scope, roles in doubt", JoinRequest { scope: None, ..client.join("g2", 3, &challenge, &[7; 8]) }),
        ("scope of another group", JoinRequest { scope: entry("g2", TALKER), ..good() }),
        ("scope is no entry", JoinRequest { scope: Some(vec![0x80]), ..good() }),
        ("roles unknown", JoinRequest { scope: entry("g1", 64), ..good() }),
        ("roles that do not join", JoinRequest { scope: entry("g1", 3), ..good() }),
        ("no cnonce", JoinRequest { cnonce: None, ..good() }),
        ("empty cnonce", JoinRequest { cnonce: Some(vec![]), ..good() }),
        ("cnonce too long", JoinRequest { cnonce: Some(vec![0; 65]), ..good() }),
        ("no credential", JoinRequest { client_cred: None, client_cred_verify: None, ..good() }),
        ("no credential, proof", JoinRequest { client_cred: None, ..good() }),
        ("credential, no proof", JoinRequest { client_cred_verify: None, ..good() }),
        ("empty credential, proof", JoinRequest { client_cred: Some(vec![]), ..good() }),
        (
            "empty credential of a stranger",
            JoinRequest { client_cred: Some(vec![]), client_cred_verify: None, ..good() },
        ),
        (
            "exclusive filter",
            JoinRequest {
                get_creds: Some(GetCreds::Filter { inclusive: false, roles: vec![RawCbor::uint(1)], ids: vec![] }),
                ..good()
            },
        ),
        (
            "filter without roles",
            JoinRequest { get_creds: Some(GetCreds::Filter { inclusive: true, roles: vec![], ids: vec![] }), ..good() },
        ),
        (
            "filter with identifiers",
            JoinRequest {
                get_creds: Some(GetCreds::Filter {
                    inclusive: true,
                    roles: vec![RawCbor::uint(1)],
                    ids: vec![vec![1]],
                }),
                ..good()
            },
        ),
    ] {
        let gname = if what.starts_with("no scope") { "g2" } else { "g1" };
        let response = refused(what, Status::BadRequest, gname, join);
        assert_eq!(mended(&response).kdcchallenge, None, "{what}");
    }
    let response = refused(
        "roles beyond the token",
        Status::Forbidden,
        "g1",
        JoinRequest { scope: entry("g1", LISTENER), ..good() },
    );
    assert!(response.payload.is_empty());
    for (what, error, join) in [
        (
            "small order",
            GroupcommError::IncompatibleCredential,
            JoinRequest { client_cred: Some(vec![0; 32]), ..good() },
        ),
        (
            "wrong length",
            GroupcommError::IncompatibleCredential,
            JoinRequest { client_cred: Some(vec![5; 31]), ..good() },
        ),
        ("empty proof", GroupcommError::InvalidProof, JoinRequest { client_cred_verify: Some(vec![]), ..good() }),
        ("proof over another nonce", GroupcommError::InvalidProof, JoinRequest { cnonce: Some(vec![8; 8]), ..good() }),
        (
            "proof of another group",
            GroupcommError::InvalidProof,
            JoinRequest { client_cred_verify: client.join("g2", 1, &challenge, &[7; 8]).client_cred_verify, ..good() },
        ),
        ("proof over another challenge", GroupcommError::InvalidProof, client.join("g1", TALKER, &[0; 8], &[7; 8])),
    ] {
        assert_eq!(error_of(&refused(what, Status::BadRequest, "g1", join)), Some(error), "{what}");
    }
    for payload in [&b""[..], &[0x80], &[0xa1], &[0xa1, 0x03, 0x00]] {
        let request = group_request(Method::Post, "g1", &[]).with_payload(ACE_GROUPCOMM_CBOR, payload.to_vec());
        mended(&desk.ask(&caller, request));
    }
    let mut wrong = join_post("g1", &good());
    wrong.content_format = Some(60);
    assert_eq!(desk.ask(&caller, wrong).status, Status::UnsupportedContentFormat);
    assert_eq!(desk.store.dump(), before, "nothing was written");
    desk.now = desk.now.plus(std::time::Duration::from_secs(70));
    assert_eq!(desk.ask(&caller, join_post("g1", &good())).status, Status::Created, "and the good one still joins");
}

// Covers: KG-3.3-07, KG-3.3-08
#[test]
fn one_challenge_serves_more_than_one_join() {
    let mut desk = desk();
    let client = client(1);
    let (caller, challenge) = admitted(&mut desk, &client, &[("g1", TALKER), ("g2", TALKER)]);
    for (gname, status) in [("g1", Status::Created), ("g2", Status::Created), ("g1", Status::Changed)] {
        let join = client.join(gname, TALKER, &challenge, &[7; 8]);
        assert_eq!(desk.ask(&caller, join_post(gname, &join)).status, status, "{gname}");
    }
}

#[test]
fn without_scope_the_token_decides_where_it_leaves_no_doubt() {
    let mut desk = desk();
    let client = client(1);
    let (caller, challenge) = admitted(&mut desk, &client, &[("g1", TALKER)]);
    let join = JoinRequest { scope: None, ..client.join("g1", TALKER, &challenge, &[7; 8]) };
    assert_eq!(desk.ask(&caller, join_post("g1", &join)).status, Status::Created);
}

// Covers: TH-2-10/one-principal
#[test]
fn a_credential_belongs_to_one_principal() {
    let mut desk = desk();
    member(&mut desk, 1, "g1", TALKER);
    // Client 2 can prove client 1's key, as a rogue KDC could have made it do.
    let mut thief = client(2);
    thief.key = client(1).key;
    let (caller, challenge) = admitted(&mut desk, &thief, &[("g1", TALKER), ("g2", TALKER)]);
    let stolen = desk.ask(&caller, join_post("g1", &thief.join("g1", TALKER, &challenge, &[7; 8])));
    assert_eq!((stolen.status, error_of(&stolen)), (Status::BadRequest, Some(GroupcommError::IncompatibleCredential)));
    assert_eq!(
        desk.ask(&caller, join_post("g2", &thief.join("g2", TALKER, &challenge, &[7; 8]))).status,
        Status::Created
    );
}

#[test]
fn a_new_credential_takes_the_place_of_the_old_one() {
    let mut desk = desk();
    let (_, _, _) = member(&mut desk, 1, "g1", TALKER);
    let mut changed = client(1);
    changed.key = client(9).key;
    let (caller, challenge) = admitted(&mut desk, &changed, &[("g1", TALKER)]);
    let again = desk.ask(&caller, join_post("g1", &changed.join("g1", TALKER, &challenge, &[7; 8])));
    assert_eq!(again.status, Status::Changed);
    // The old credential is free for another now.
    let mut heir = client(2);
    heir.key = client(1).key;
    let (caller, challenge) = admitted(&mut desk, &heir, &[("g1", TALKER)]);
    assert_eq!(
        desk.ask(&caller, join_post("g1", &heir.join("g1", TALKER, &challenge, &[7; 8]))).status,
        Status::Created
    );
}

// Covers: KG-4.3.1-46, KG-4.3.1-48, KG-4.3.1-50, KG-4.4.1-01, KG-4.4.1-02, KG-4.4.1-03
// Covers: KG-4.4.1-06, KG-4.4.1-05
#[test]
fn credentials_come_with_a_join_and_by_filter() {
    let mut desk = desk();
    // Without creds the decoder refuses peer_roles and peer_identifiers.
    let (first, alone, _) = member(&mut desk, 1, "g1", TALKER);
    assert_eq!(alone.peers, None, "nobody asked");
    member(&mut desk, 2, "g1", LISTENER);
    let client3 = client(3);
    let (third, challenge) = admitted(&mut desk, &client3, &[("g1", TALKER)]);
    let join = JoinRequest { get_creds: Some(GetCreds::All), ..client3.join("g1", TALKER, &challenge, &[7; 8]) };
    let joined = JoinResponse::decode(&desk.ask(&third, join_post("g1", &join)).payload).unwrap();
    let peers = joined.peers.unwrap();
    assert_eq!(peers.len(), 1, "the listener has no credential, and one's own is not sent");
    assert_eq!((peers[0].cred.as_slice(), peers[0].id.as_slice()), (client(1).key.public(), &[0][..]));
    assert_eq!(peers[0].roles, Some(RawCbor::uint(TALKER)));
    let again = JoinRequest { client_cred: Some(vec![]), client_cred_verify: None, ..join };
    let again = JoinResponse::decode(&desk.ask(&third, join_post("g1", &again)).payload).unwrap();
    assert_eq!(again.peers.unwrap().len(), 1, "also when it joins again");

    let all = desk.ask(&first, group_request(Method::Get, "g1", &["creds"]));
    assert_eq!((all.status, all.content_format), (Status::Content, Some(ACE_GROUPCOMM_CBOR)));
    let ids = |response: &Response| {
        let creds = CredsResponse::decode(&response.payload).unwrap();
        let id = |peer: PeerCred| {
            assert_eq!(peer.roles, Some(RawCbor::uint(TALKER)));
            peer.id[0]
        };
        creds.map(|creds| creds.peers.into_iter().map(id).collect::<Vec<_>>())
    };
    assert_eq!(
        ids(&all).map(|mut ids| {
            ids.sort_unstable();
            ids
        }),
        Some(vec![0, 2])
    );
    let mut fetch = |inclusive, roles: &[u64], named: &[u8]| {
        let wanted = GetCreds::Filter {
            inclusive,
            roles: roles.iter().map(|&role| RawCbor::uint(role)).collect(),
            ids: named.iter().map(|&id| vec![id]).collect(),
        };
        let request = group_request(Method::Fetch, "g1", &["creds"]).with_payload(261, wanted.encode_request());
        let response = desk.ask(&first, request);
        if response.status == Status::BadRequest {
            Err(())
        } else {
            Ok(ids(&response).map(|mut ids| {
                ids.sort_unstable();
                ids
            }))
        }
    };
    assert_eq!(fetch(true, &[], &[2]), Ok(Some(vec![2])));
    assert_eq!(fetch(true, &[], &[9]), Ok(None), "nobody: an empty byte string");
    assert_eq!(fetch(true, &[LISTENER], &[0]), Ok(Some(vec![0])), "role or identifier");
    assert_eq!(fetch(true, &[LISTENER], &[]), Ok(Some(vec![])));
    assert_eq!(fetch(true, &[TALKER], &[]), Ok(Some(vec![0, 2])));
    assert_eq!(fetch(false, &[], &[0]), Ok(Some(vec![2])));
    assert_eq!(fetch(false, &[TALKER], &[2]), Ok(Some(vec![0])), "role and not named");
    assert_eq!(fetch(false, &[LISTENER], &[2]), Ok(Some(vec![])));
    assert_eq!(fetch(true, &[3], &[]), Ok(Some(vec![])), "both roles at once");
    assert_eq!(fetch(true, &[], &[]), Err(()));
    assert_eq!(fetch(false, &[], &[]), Err(()));
    assert_eq!(fetch(true, &[99], &[]), Err(()));
    let bare = group_request(Method::Fetch, "g1", &["creds"]).with_payload(261, vec![0xa0]);
    assert_eq!(desk.ask(&first, bare).status, Status::BadRequest, "without get_creds");
}

// Covers: KG-4.3.2-04, KG-4.5.1-01, KG-4.8.1-01, KG-4.3.1-65
// Covers: KG-4.1-01, KG-8-01
#[test]
fn members_read_what_the_group_has() {
    let mut desk = desk();
    let (caller, joined, response) = member(&mut desk, 1, "g1", TALKER);
    assert_eq!(response.content_format, Some(ACE_GROUPCOMM_CBOR));
    let mut get = |resource: &[&str]| {
        let response = desk.ask(&caller, group_request(Method::Get, "g1", resource));
        assert_eq!(response.status, Status::Content, "{resource:?}");
        if resource != ["active"] {
            assert_eq!(response.content_format, Some(ACE_GROUPCOMM_CBOR), "{resource:?}");
        }
        response
    };
    let group = KeyDistribution::decode(&get(&[]).payload).unwrap();
    let (all, mine) = (group.key.to_byte_string().unwrap(), joined.material.key.to_byte_string().unwrap());
    assert_eq!(all, mine[..20], "the group's part has no identifier");
    let node = KeyDistribution::decode(&get(&["nodes", &response.location_path[3]]).payload).unwrap();
    assert_eq!(node.key, joined.material.key);
    assert!(node.exp.is_some() && node.exi.is_some());
    assert_eq!(retrieval::decode_num(&get(&["num"]).payload), Ok(0));
    assert_eq!(get(&["policies"]).payload.as_ref(), [0x40]);
    assert_eq!(retrieval::decode_active(&get(&["active"]).payload), Ok(true));
    let cred = KdcCred::decode(&get(&["kdc-cred"]).payload).unwrap();
    let again = KdcCred::decode(&get(&["kdc-cred"]).payload).unwrap();
    assert_ne!(cred.kdc_nonce, again.kdc_nonce, "a new nonce each time");
    get(&["creds"]);
    for (method, resource) in [(Method::Post, &[][..]), (Method::Fetch, &["creds"])] {
        let other = group_request(method, "g1", resource).with_payload(60, vec![0xa0]);
        assert_eq!(desk.ask(&caller, other).status, Status::UnsupportedContentFormat, "{method:?}");
    }
    let proof = |cred: KdcCred, cnonce: &[u8]| CryptoJob::Verify {
        algorithm: SignatureAlgorithm::Ed25519,
        key: cred.kdc_cred,
        message: pop::kdc_input(cnonce, &cred.kdc_nonce),
        signature: cred.kdc_cred_verify,
    };
    assert_eq!(AwsLc.run(&[proof(cred, &[7; 8])]), [CryptoOutput::Verified(true)]);
    // A later join has a nonce of its own, and the proof is over that.
    let again = JoinRequest {
        client_cred: Some(vec![]),
        client_cred_verify: None,
        ..client(1).join("g1", TALKER, &[0; 8], &[8; 8])
    };
    assert_eq!(desk.ask(&caller, join_post("g1", &again)).status, Status::Changed);
    let later = desk.ask(&caller, group_request(Method::Get, "g1", &["kdc-cred"]));
    let later = KdcCred::decode(&later.payload).unwrap();
    assert_eq!(AwsLc.run(&[proof(later, &[8; 8])]), [CryptoOutput::Verified(true)]);
}

// Covers: GO-6.2-07, GO-6.2-08, GO-6.2-09, TH-3-04/given-identifiers
#[test]
fn identifiers_of_one_byte_run_out() {
    let mut config = testkit::desk::config(&["g1"]);
    config.changes_per_hour = u32::MAX;
    config.groups[0].parameters.insert("max_id", ace_groupcomm::config::ConfigValue::Int(1));
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), config).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let (caller, joined, _) = member(&mut desk, 1, "g1", TALKER);
    seen.insert(sender_id(&joined));
    let join = |nonce: u8| JoinRequest {
        client_cred: Some(vec![]),
        client_cred_verify: None,
        ..client(1).join("g1", 1, &[], &[nonce; 8])
    };
    for round in 1..=255_u8 {
        let again = desk.ask(&caller, join_post("g1", &join(round)));
        assert!(seen.insert(sender_id(&JoinResponse::decode(&again.payload).unwrap())), "round {round}");
    }
    let full = desk.ask(&caller, join_post("g1", &join(0)));
    assert_eq!(
        (full.status, error_of(&full)),
        (Status::ServiceUnavailable, Some(GroupcommError::NoIndividualKeyingMaterial))
    );
    assert_eq!(seen.len(), 256);
    assert_eq!(desk.ask(&caller, group_request(Method::Get, "g1", &[])).status, Status::Content, "still a member");
}

// Covers: KG-4.1.2-07
#[test]
fn unknown_fields_are_ignored() {
    let mut desk = desk();
    let client = client(1);
    let (caller, challenge) = admitted(&mut desk, &client, &[("g1", TALKER)]);
    let mut join = client.join("g1", TALKER, &challenge, &[7; 8]);
    // One that nobody knows, and kdc_cred, which is none of a request's.
    let (unknown, other) = (ace_groupcomm_messages::Label::Int(999), ace_groupcomm_messages::Label::Int(17));
    join.extra = vec![(unknown, RawCbor::uint(1)), (other, RawCbor::uint(1))];
    assert_eq!(desk.ask(&caller, join_post("g1", &join)).status, Status::Created);
    // get_creds: [true, [1], []], 999: 1
    let fetch = vec![0xa2, 0x04, 0x83, 0xf5, 0x81, 0x01, 0x80, 0x19, 0x03, 0xe7, 0x01];
    let fetch = group_request(Method::Fetch, "g1", &["creds"]).with_payload(261, fetch);
    assert_eq!(desk.ask(&caller, fetch).status, Status::Content);
}

// Covers: TH-2-09/scope-bytes
#[test]
fn a_proof_is_over_the_bytes_of_the_scope_as_they_came() {
    let mut desk = desk();
    let client = client(1);
    let (caller, challenge) = admitted(&mut desk, &client, &[("g1", TALKER)]);
    // ["g1", 1], with 1 in two bytes.
    let long = vec![0x82, 0x62, b'g', b'1', 0x18, 0x01];
    let canonical = ScopeEntry { gname: "g1".into(), permissions: RawCbor::uint(TALKER) }.encode();
    let signed = |scope: &[u8]| client.key.sign(&pop::client_input(scope, &challenge, &[7; 8]));
    let mut ask = |over: &[u8]| {
        let join = client.join("g1", TALKER, &challenge, &[7; 8]);
        let join = JoinRequest { scope: Some(long.clone()), client_cred_verify: signed(over), ..join };
        desk.ask(&caller, join_post("g1", &join))
    };
    assert_eq!(error_of(&ask(&canonical)), Some(GroupcommError::InvalidProof));
    assert_eq!(ask(&long).status, Status::Created);
}
