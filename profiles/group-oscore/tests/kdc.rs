//! A KDC with OSCORE groups: what joining nodes, members and verifiers get of it.

mod bench;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::testkit::Desk;
use ace_groupcomm::testkit::build::{group_request, join_post, token, token_post, update_post};
use ace_groupcomm::{Caller, Method, Roles, Status};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::{
    CredsResponse, GetCreds, GroupOscoreInputMaterial, GroupcommError, JoinRefusal, JoinRequest, JoinResponse,
    KeyDistribution, RawCbor, TokenTransferResponse, retrieval,
};
use ace_profile_group_oscore::DESCRIPTOR;
use ace_profile_group_oscore::member;
use ace_profile_group_oscore::scope::{MONITOR, REQUESTER, RESPONDER, VERIFIER};
use bench::{LATER, N_C, admitted, client, desk, error_of, joined, request};

/// The material without what is the member's own.
fn shared(material: &GroupOscoreInputMaterial) -> GroupOscoreInputMaterial {
    let mut material = material.clone();
    material.group_sender_id = None;
    material
}

fn stale_records(desk: &Desk) -> usize {
    desk.store.dump().iter().filter(|(key, _)| key.as_bytes().windows(7).any(|w| w == b"/stale/")).count()
}

// Covers: GO-6.3-12, GO-6.3-15, GO-6.3-17, GO-6.3-18, GO-6.3-20, GO-6.3-21, GO-6.3-22, GO-6.3-23, GO-6.3-25
// Covers: GO-6.3-26, GO-6.3-28, GO-7-03, GO-6.3-19
// Covers: GO-6.3-16
#[test]
fn members_get_one_key_and_identifiers_of_their_own() {
    let mut desk = desk();
    let (_, first, response) = joined(&mut desk, 1, "lamps", REQUESTER);
    let (_, second, _) = joined(&mut desk, 2, "lamps", Roles(REQUESTER.0 | RESPONDER.0));
    assert_eq!(first.num, 0);
    assert!(first.exi.is_some() && first.exp.is_some());
    assert!(first.has_group_mode() && first.has_pairwise_mode());
    assert_ne!(first.material.group_sender_id, second.material.group_sender_id);
    assert_eq!(shared(&first.material), shared(&second.material));
    let answer = JoinResponse::decode(&response.payload).unwrap();
    assert_eq!(answer.material.ace_groupcomm_profile, Some(DESCRIPTOR.number));
    assert_eq!(answer.material.rekeying_scheme, None);
    assert!(answer.group_policies.is_some());

    let (_, alarm, _) = joined(&mut desk, 3, "alarms", RESPONDER);
    assert!(alarm.has_group_mode() && !alarm.has_pairwise_mode());
    assert!(alarm.material.alg.is_none() && alarm.material.ecdh.is_none());
}

// Covers: GO-6.3-13
// Covers: GO-6.3-01
#[test]
fn a_monitor_has_neither_credential_nor_sender_id() {
    let mut desk = desk();
    joined(&mut desk, 1, "lamps", REQUESTER);
    let (caller, monitor, _) = joined(&mut desk, 2, "lamps", MONITOR);
    assert_eq!(monitor.material.group_sender_id, None);
    let creds = desk.ask(&caller, group_request(Method::Get, "lamps", &["creds"]));
    let peers = CredsResponse::decode(&creds.payload).unwrap().unwrap().peers;
    assert_eq!(peers.len(), 1, "it is not among those that have one");

    let (caller, challenge) = admitted(&mut desk, 3, "lamps", MONITOR);
    let mut shown = request(3, "lamps", MONITOR, &challenge);
    assert_eq!(shown.client_cred, None);
    shown.client_cred = Some(client(3).1.cred);
    assert_eq!(desk.ask(&caller, join_post("lamps", &shown)).status, Status::Created);
    let creds = desk.ask(&caller, group_request(Method::Get, "lamps", &["creds"]));
    let peers = CredsResponse::decode(&creds.payload).unwrap().unwrap().peers;
    assert_eq!(peers.len(), 1, "also not if it shows one");
    let (_, next, _) = joined(&mut desk, 4, "lamps", REQUESTER);
    assert_eq!(next.material.group_sender_id.as_deref(), Some(&[1][..]), "the monitors took none");
}

// Covers: GO-6.3-02, GO-6.3-03
// Covers: GO-6.3-04
#[test]
fn who_joins_again_gives_its_sender_id_up() {
    let mut desk = desk();
    let (caller, first, _) = joined(&mut desk, 1, "lamps", REQUESTER);
    let mut seen = vec![first.material.group_sender_id.clone().unwrap()];
    let again =
        JoinRequest { client_cred: Some(vec![]), client_cred_verify: None, ..request(1, "lamps", REQUESTER, &[0; 8]) };
    for round in 1..=5 {
        let response = desk.ask(&caller, join_post("lamps", &again));
        assert_eq!(response.status, Status::Changed);
        let now = member::joined(&AwsLc, JoinResponse::decode(&response.payload).unwrap(), REQUESTER, &N_C).unwrap();
        let id = now.material.group_sender_id.clone().unwrap();
        assert!(!seen.contains(&id), "{id:?} was used before");
        seen.push(id);
        assert_eq!(stale_records(&desk), round);
        let stale = [&b"/stale/"[..], &0_u64.to_be_bytes(), b"/", &seen[round - 1]].concat();
        assert!(desk.store.dump().iter().any(|(key, _)| key.as_bytes().ends_with(&stale)), "under its version");
    }
}

// Covers: GO-6.2-14, GO-6.2-15, GO-6.2-16, TH-2-09/group-match
// Covers: GO-6.1-01
// Covers: GO-12-01
// Covers: GO-6.1-02, GO-6.2-12
#[test]
fn a_request_that_can_be_mended_says_with_which_algorithms() {
    let mut desk = desk();
    let (caller, challenge) = admitted(&mut desk, 1, "lamps", Roles(REQUESTER.0 | MONITOR.0));
    let good = || request(1, "lamps", REQUESTER, &challenge);
    let both = Roles(REQUESTER.0 | MONITOR.0);
    let (no_key, other_group) = (vec![0xa0], request(1, "alarms", REQUESTER, &challenge));
    for (what, join) in [
        ("no scope", JoinRequest { scope: None, ..good() }),
        ("requester and monitor", request(1, "lamps", both, &challenge)),
        ("responder and monitor", request(1, "lamps", Roles(RESPONDER.0 | MONITOR.0), &challenge)),
        ("scope of another group", other_group),
        ("no cnonce", JoinRequest { cnonce: None, ..good() }),
        ("no credential", JoinRequest { client_cred: None, client_cred_verify: None, ..good() }),
        ("credential without proof", JoinRequest { client_cred_verify: None, ..good() }),
    ] {
        let response = desk.ask(&caller, join_post("lamps", &join));
        assert_eq!(
            (response.status, response.content_format),
            (Status::BadRequest, Some(ACE_GROUPCOMM_CBOR)),
            "{what}"
        );
        let info = JoinRefusal::decode(&response.payload).unwrap().info;
        assert_eq!((info.sign_info.len(), info.ecdh_info.len()), (1, 1), "{what}");
    }
    let wrong = JoinRequest { client_cred: Some(no_key), ..good() };
    let response = desk.ask(&caller, join_post("lamps", &wrong));
    assert_eq!(
        (response.status, error_of(&response)),
        (Status::BadRequest, Some(GroupcommError::IncompatibleCredential))
    );

    let (caller, _) = admitted(&mut desk, 2, "alarms", REQUESTER);
    let join = JoinRequest { scope: None, ..request(2, "alarms", REQUESTER, &challenge) };
    let response = desk.ask(&caller, join_post("alarms", &join));
    assert_eq!((response.status, response.content_format), (Status::BadRequest, Some(ACE_GROUPCOMM_CBOR)));
    let info = JoinRefusal::decode(&response.payload).unwrap().info;
    assert_eq!((info.sign_info.len(), info.ecdh_info.len()), (1, 0), "no pairwise mode, no ECDH algorithm");
}

// Covers: GO-6.1-10, GO-6.2-03, GO-6.2-04, GO-6.2-05
#[test]
fn a_proof_has_to_be_the_credentials_own_signature() {
    let mut desk = desk();
    let (caller, challenge) = admitted(&mut desk, 1, "lamps", REQUESTER);
    let good = request(1, "lamps", REQUESTER, &challenge);
    let mut tampered = good.client_cred_verify.clone().unwrap();
    tampered[0] ^= 1;
    for (what, join) in [
        (
            "another's signature",
            JoinRequest {
                client_cred_verify: request(2, "lamps", REQUESTER, &challenge).client_cred_verify,
                ..good.clone()
            },
        ),
        ("another's credential", JoinRequest { client_cred: Some(client(2).1.cred), ..good.clone() }),
        ("another challenge", request(1, "lamps", REQUESTER, &[9; 8])),
        ("tampered", JoinRequest { client_cred_verify: Some(tampered), ..good.clone() }),
        ("empty, and no member", JoinRequest { client_cred_verify: Some(vec![]), ..good.clone() }),
    ] {
        // Who proves falsely has to wait.
        desk.now = desk.now.plus(std::time::Duration::from_secs(70));
        let response = desk.ask(&caller, join_post("lamps", &join));
        assert_eq!(
            (response.status, error_of(&response)),
            (Status::BadRequest, Some(GroupcommError::InvalidProof)),
            "{what}"
        );
    }
    desk.now = desk.now.plus(std::time::Duration::from_secs(70));
    assert_eq!(desk.ask(&caller, join_post("lamps", &good)).status, Status::Created);
}

// Covers: KG-3.3-01, KG-3.3-11, GO-5.3-03, GO-5.3.1-06, GO-5.3.1-07
// Covers: GO-5.3.1-01
// Covers: GO-5.3.2-04
#[test]
fn the_answer_to_a_token_fits_what_it_allows() {
    let mut desk = desk();
    let mut answer = |number: u16, gname: &str, roles: Roles| {
        let mut post = token_post(&token(1, &client(number).0.claims(&[(gname, roles.0)], LATER)));
        let mut transfer = ace_groupcomm_messages::TokenTransferRequest::decode(&post.payload).unwrap();
        (transfer.asks_ecdh_info, transfer.asks_kdc_dh_creds) = (true, true);
        post.payload = transfer.encode().into();
        TokenTransferResponse::decode(&desk.ask(&Caller::anonymous(), post).payload).unwrap()
    };
    let requester = answer(1, "lamps", REQUESTER);
    assert_eq!((requester.info.sign_info.len(), requester.info.ecdh_info.len()), (1, 1));
    assert!(requester.info.kdc_dh_creds.is_empty(), "the Group Manager has no Diffie-Hellman credential");
    assert_eq!(requester.kdcchallenge.map(|n_s| n_s.len()), Some(8));
    assert_eq!(answer(2, "alarms", REQUESTER).info.ecdh_info.len(), 0);
    for roles in [MONITOR, VERIFIER, Roles(MONITOR.0 | VERIFIER.0)] {
        assert_eq!(answer(3, "lamps", roles).kdcchallenge, None, "{roles:?}");
    }
    let plain = token_post(&token(1, &client(4).0.claims(&[("lamps", REQUESTER.0)], LATER)));
    let plain = desk.ask(&Caller::anonymous(), plain);
    assert_eq!(plain.status, Status::Created);
    let info = TokenTransferResponse::decode(&plain.payload).unwrap().info;
    assert!(info.ecdh_info.is_empty(), "nobody asked");
}

// Covers: GO-8.5.1-01
#[test]
fn a_verifier_reads_credentials_and_is_no_member() {
    let mut desk = desk();
    let (_, _, created) = joined(&mut desk, 1, "lamps", REQUESTER);
    let node = created.location_path[3].clone();
    let (verifier, challenge) = admitted(&mut desk, 2, "lamps", VERIFIER);
    let join = request(2, "lamps", VERIFIER, &challenge);
    assert_eq!(desk.ask(&verifier, join_post("lamps", &join)).status, Status::Forbidden);
    let creds = desk.ask(&verifier, group_request(Method::Get, "lamps", &["creds"]));
    assert_eq!(CredsResponse::decode(&creds.payload).unwrap().unwrap().peers.len(), 1);
    let filter = GetCreds::Filter { inclusive: true, roles: vec![RawCbor::uint(REQUESTER.0)], ids: vec![] };
    let fetch =
        group_request(Method::Fetch, "lamps", &["creds"]).with_payload(ACE_GROUPCOMM_CBOR, filter.encode_request());
    assert_eq!(desk.ask(&verifier, fetch).status, Status::Content);
    let paths: [&[&str]; 7] =
        [&[], &["num"], &["policies"], &["active"], &["nodes", &node], &["stale-sids"], &["nodes", &node, "cred"]];
    for resource in paths {
        let response = desk.ask(&verifier, group_request(Method::Get, "lamps", resource));
        assert_eq!(response.status, Status::Forbidden, "{resource:?}");
    }
}

// Covers: KG-4.1-05
// Covers: GO-8.2.1-01, GO-8.2.1-02, GO-8.2.1-03
#[test]
fn members_alone_ask_whether_the_group_is_active() {
    let mut desk = desk();
    let (caller, ..) = joined(&mut desk, 1, "lamps", REQUESTER);
    let active = group_request(Method::Get, "lamps", &["active"]);
    let response = desk.ask(&caller, active.clone());
    assert_eq!((response.status, retrieval::decode_active(&response.payload)), (Status::Content, Ok(true)));
    let (outsider, _) = admitted(&mut desk, 2, "lamps", REQUESTER);
    let response = desk.ask(&outsider, active);
    assert_eq!((response.status, error_of(&response)), (Status::Forbidden, Some(GroupcommError::NotAMember)));
}

// Covers: KG-4.3.2-06, KG-4.3.2-07
// Covers: GO-9.1.1-01, GO-9.1.1-02, GO-9.1.1-03, GO-9.1.2-01, GO-9.1.2-02
#[test]
fn keys_that_are_read_again_are_those_of_the_join() {
    let mut desk = desk();
    let (caller, joined, created) = joined(&mut desk, 1, "lamps", REQUESTER);
    let mut read = |resource: &[&str]| {
        let response = desk.ask(&caller, group_request(Method::Get, "lamps", resource));
        assert_eq!((response.status, response.content_format), (Status::Content, Some(ACE_GROUPCOMM_CBOR)));
        let distribution = KeyDistribution::decode(&response.payload).unwrap();
        assert!(distribution.exi.is_some() && distribution.exp.is_some());
        assert_eq!(distribution.num, 0);
        distribution
    };
    let group = read(&[]);
    assert_eq!(group.ace_groupcomm_profile, Some(DESCRIPTOR.number));
    let material = member::material(&group).unwrap();
    assert_eq!(material, shared(&joined.material));
    assert_eq!(member::material(&read(&["nodes", &created.location_path[3]])).unwrap(), joined.material);
}

#[test]
fn fewer_rights_end_the_membership() {
    let mut desk = desk();
    let (caller, ..) = joined(&mut desk, 1, "lamps", REQUESTER);
    let less = token(1, &client(1).0.update(&[("lamps", MONITOR.0)], LATER));
    assert_eq!(desk.ask(&caller, update_post(&less)).status, Status::Created);
    let response = desk.ask(&caller, group_request(Method::Get, "lamps", &[]));
    assert_ne!(response.status, Status::Content, "{response:?}");
}
