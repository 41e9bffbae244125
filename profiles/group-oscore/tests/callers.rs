//! Which caller gets which answer at the resources of an OSCORE group: verifiers, monitors, members under another token, and nobody.

mod bench;

use ace_groupcomm::command::Command;
use ace_groupcomm::testkit::Desk;
use ace_groupcomm::testkit::build::{group_request, join_post, token};
use ace_groupcomm::{Caller, Method, Request, Response, Roles, Status};
use ace_groupcomm_messages::labels::content_format::{ACE_GROUPCOMM_CBOR, CBOR};
use ace_groupcomm_messages::{
    Claims, Confirmation, CredsResponse, GroupcommError, JoinRefusal, JoinRequest, JoinResponse, KdcCredRequest,
    KeyDistribution, OscoreInputMaterial, RekeyingMessage, retrieval,
};
use ace_profile_group_oscore::member;
use ace_profile_group_oscore::scope::{MONITOR, REQUESTER, RESPONDER, VERIFIER};
use bench::{LATER, N_C, admitted, client, desk, error_of, joined, request};

fn both(one: Roles, other: Roles) -> Roles {
    Roles(one.0 | other.0)
}

/// The same client, by another token that grants this.
fn by_another_token(desk: &mut Desk, number: u16, roles: Roles) -> Caller {
    let material = OscoreInputMaterial::new(vec![0xee, number.to_be_bytes()[1]], vec![0xee; 16]);
    let claims = client(number).0.claims(&[("lamps", roles.0)], LATER);
    let claims = Claims { cnf: Some(Confirmation::Osc(material)), ..claims };
    desk.post_token(&token(1, &claims)).unwrap().0
}

fn get(path: &[&str]) -> Request {
    group_request(Method::Get, "lamps", path)
}

fn kdc_cred() -> Request {
    let payload = KdcCredRequest { cnonce: N_C.to_vec() }.encode();
    group_request(Method::Fetch, "lamps", &["kdc-cred"]).with_payload(ACE_GROUPCOMM_CBOR, payload)
}

fn stale_sids() -> Request {
    group_request(Method::Fetch, "lamps", &["stale-sids"]).with_payload(CBOR, vec![0])
}

/// The rows that the profile adds for verifiers, and those that it adds for members.
fn own() -> ([Request; 2], [Request; 2]) {
    ([get(&["verif-data"]), kdc_cred()], [get(&["active"]), stale_sids()])
}

/// The status, and the error of the problem details, where there are any.
fn told(response: &Response) -> (Status, Option<GroupcommError>) {
    (response.status, if response.content_format == Some(257) { error_of(response) } else { None })
}

// Covers: GO-8.1.1-02, GO-8.3.1-02
#[test]
fn a_member_is_no_verifier_under_another_token_either() {
    let mut desk = desk();
    joined(&mut desk, 1, "lamps", REQUESTER);
    let verifier = by_another_token(&mut desk, 1, VERIFIER);
    let (for_verifiers, for_members) = own();
    for request in for_verifiers {
        let refused = desk.ask(&verifier, request);
        assert_eq!(told(&refused), (Status::Forbidden, Some(GroupcommError::NotAVerifier)));
    }
    // It is a member, and this token does not say so.
    for request in for_members.into_iter().chain([get(&["num"]), get(&[])]) {
        assert_eq!(told(&desk.ask(&verifier, request)), (Status::Forbidden, None));
    }
    // Who has left is one again.
    let (other, left, response) = joined(&mut desk, 2, "lamps", REQUESTER);
    assert!(left.material.group_sender_id.is_some());
    let verifier = by_another_token(&mut desk, 2, VERIFIER);
    desk.ask(&other, group_request(Method::Delete, "lamps", &["nodes", &response.location_path[3]]));
    assert_eq!(desk.ask(&verifier, get(&["verif-data"])).status, Status::Content);
}

// Covers: GO-8.1.1-02, GO-8.3.1-02, GO-8.5.1-01
#[test]
fn who_a_resource_is_not_for_is_told_so_before_the_form_of_its_request() {
    let mut desk = desk();
    let (member, ..) = joined(&mut desk, 1, "lamps", REQUESTER);
    for mut request in own().0 {
        request.accept = Some(60);
        let refused = desk.ask(&member, request.clone());
        assert_eq!(told(&refused), (Status::Forbidden, Some(GroupcommError::NotAVerifier)));
        request.content_format = Some(60);
        let refused = desk.ask(&member, request);
        assert_eq!(told(&refused), (Status::Forbidden, Some(GroupcommError::NotAVerifier)));
    }
    let (verifier, challenge) = admitted(&mut desk, 2, "lamps", VERIFIER);
    let join = join_post("lamps", &bench::request(2, "lamps", VERIFIER, &challenge));
    for request in [Request { accept: Some(60), ..join.clone() }, Request { content_format: Some(60), ..join }] {
        assert_eq!(told(&desk.ask(&verifier, request)), (Status::Forbidden, None));
    }
}

#[test]
fn the_profiles_rows_are_for_those_that_they_name() {
    let mut desk = desk();
    joined(&mut desk, 1, "lamps", REQUESTER);
    let (for_verifiers, for_members) = own();
    let all = || for_verifiers.iter().chain(&for_members).cloned();
    let (of_others, _) = admitted(&mut desk, 2, "alarms", both(REQUESTER, VERIFIER));
    let (verifier, _) = admitted(&mut desk, 3, "lamps", VERIFIER);
    let (to_be, challenge) = admitted(&mut desk, 4, "lamps", both(REQUESTER, VERIFIER));
    let (may_monitor, _) = admitted(&mut desk, 5, "lamps", MONITOR);
    let (monitor, ..) = joined(&mut desk, 6, "lamps", MONITOR);
    for request in all() {
        for stranger in [Caller::anonymous(), Caller::peer(b"nobody")] {
            let refused = desk.ask(&stranger, request.clone());
            assert_eq!((refused.status, refused.content_format), (Status::Unauthorized, Some(19)));
        }
        assert_eq!(told(&desk.ask(&of_others, request)), (Status::Forbidden, None));
    }
    for request in &for_verifiers {
        for caller in [&verifier, &to_be] {
            assert_eq!(desk.ask(caller, request.clone()).status, Status::Content);
        }
        for caller in [&may_monitor, &monitor] {
            let refused = desk.ask(caller, request.clone());
            assert_eq!(told(&refused), (Status::Forbidden, Some(GroupcommError::NotAVerifier)));
        }
    }
    for request in &for_members {
        for caller in [&verifier, &to_be, &may_monitor] {
            let refused = desk.ask(caller, request.clone());
            assert_eq!(told(&refused), (Status::Forbidden, Some(GroupcommError::NotAMember)), "{request:?}");
        }
    }
    assert_eq!(desk.ask(&monitor, for_members[0].clone()).status, Status::Content);
    // Who may join and verify joins, with the roles that do.
    assert_eq!(desk.ask(&to_be, get(&["creds"])).status, Status::Content);
    for roles in [VERIFIER, both(REQUESTER, VERIFIER), Roles(REQUESTER.0 | RESPONDER.0 | MONITOR.0)] {
        let mut join = request(4, "lamps", REQUESTER, &challenge);
        join.scope = Some(
            ace_groupcomm_messages::ScopeEntry {
                gname: "lamps".into(),
                permissions: ace_groupcomm_messages::RawCbor::uint(roles.0),
            }
            .encode(),
        );
        let refused = desk.ask(&to_be, join_post("lamps", &join));
        let expected = if roles.0 & VERIFIER.0 != 0 { Status::BadRequest } else { refused.status };
        assert_eq!((refused.status, refused.content_format), (expected, Some(ACE_GROUPCOMM_CBOR)), "{roles:?}");
    }
    let join = request(4, "lamps", REQUESTER, &challenge);
    assert_eq!(desk.ask(&to_be, join_post("lamps", &join)).status, Status::Created);
    // An expired token is none.
    desk.pass(std::time::Duration::from_secs(LATER - 1_000_000 + 1));
    for request in all() {
        for caller in [&verifier, &monitor] {
            assert_eq!(desk.ask(caller, request.clone()).status, Status::Unauthorized);
        }
    }
}

// Covers: KG-4.1.2-07
#[test]
fn a_verifiers_request_may_have_what_is_not_expected() {
    let mut desk = desk();
    let (verifier, _) = admitted(&mut desk, 1, "lamps", VERIFIER);
    // {3: 0, 4: 1, 5: 7, 6: N_C}
    let payload = [&[0xa4, 3, 0, 4, 1, 5, 7, 6, 0x48][..], &N_C].concat();
    let fetch = group_request(Method::Fetch, "lamps", &["kdc-cred"]).with_payload(ACE_GROUPCOMM_CBOR, payload);
    assert_eq!(desk.ask(&verifier, fetch).status, Status::Content);
}

/// A member that joins again, with these roles.
fn again(desk: &mut Desk, number: u16, caller: &Caller, roles: Roles) -> (Status, member::Joined) {
    let join = request(number, "lamps", roles, &[0; 8]);
    let join = match join.client_cred {
        Some(_) => JoinRequest { client_cred: Some(vec![]), client_cred_verify: None, ..join },
        None => join,
    };
    let answer = desk.ask(caller, join_post("lamps", &join));
    let response = JoinResponse::decode(&answer.payload).unwrap();
    (answer.status, member::joined(&ace_backend_aws_lc::AwsLc, response, roles, &N_C).unwrap())
}

#[test]
fn a_requester_that_joins_again_as_monitor_gives_sender_id_and_credential_up() {
    let mut desk = desk();
    let (watcher, ..) = joined(&mut desk, 9, "lamps", RESPONDER);
    let (caller, challenge) = admitted(&mut desk, 1, "lamps", both(REQUESTER, MONITOR));
    let first = desk.ask(&caller, join_post("lamps", &request(1, "lamps", REQUESTER, &challenge)));
    let node = first.location_path[3].clone();
    let first = JoinResponse::decode(&first.payload).unwrap();
    let first = member::joined(&ace_backend_aws_lc::AwsLc, first, REQUESTER, &N_C).unwrap();
    let (status, monitor) = again(&mut desk, 1, &caller, MONITOR);
    assert_eq!((status, monitor.material.group_sender_id.clone()), (Status::Changed, None));
    let creds = desk.ask(&watcher, get(&["creds"]));
    assert_eq!(CredsResponse::decode(&creds.payload).unwrap().unwrap().peers.len(), 1, "the watcher's own");
    // Its node has no Sender ID, and it can have neither another one nor a credential.
    let own = KeyDistribution::decode(&desk.ask(&caller, get(&["nodes", &node])).payload).unwrap();
    assert_eq!(member::material(&own).unwrap().group_sender_id, None);
    let renewal = group_request(Method::Post, "lamps", &["nodes", &node]);
    let update = group_request(Method::Post, "lamps", &["nodes", &node, "cred"])
        .with_payload(ACE_GROUPCOMM_CBOR, request(1, "lamps", REQUESTER, &challenge).encode());
    for request in [&renewal, &update] {
        let refused = desk.ask(&caller, request.clone());
        assert_eq!(told(&refused), (Status::BadRequest, Some(GroupcommError::InconsistentWithRoles)));
    }
    // Its Sender ID is stale.
    desk.command(Command::Rekey("lamps".into())).unwrap();
    let notified = Request { purpose: ace_groupcomm::Purpose::Notification, ..get(&[]) };
    let message = RekeyingMessage::decode(&desk.ask(&watcher, notified).payload).unwrap();
    assert_eq!(message.stale_node_ids, Some(vec![first.material.group_sender_id.clone().unwrap()]));
    // What it had proven is gone: as requester it has to prove it again.
    let join = request(1, "lamps", REQUESTER, &challenge);
    let empty = JoinRequest { client_cred: Some(vec![]), client_cred_verify: None, ..join.clone() };
    let refused = desk.ask(&caller, join_post("lamps", &empty));
    assert_eq!((refused.status, refused.content_format), (Status::BadRequest, Some(ACE_GROUPCOMM_CBOR)));
    assert_eq!(desk.ask(&caller, join_post("lamps", &join)).status, Status::Changed);
    // In a group that rests the state of the group counts first.
    desk.command(Command::Deactivate("lamps".into())).unwrap();
    for request in [&renewal, &update] {
        let refused = desk.ask(&caller, request.clone());
        assert_eq!(told(&refused), (Status::ServiceUnavailable, Some(GroupcommError::GroupInactive)));
    }
}

// Covers: KG-4.3.1-16, KG-4.3.1-17
#[test]
fn who_can_prove_nothing_for_want_of_a_challenge_gets_one_whatever_proof_it_sends() {
    for evidence in [None, Some(vec![]), Some(vec![1; 64])] {
        let mut desk = desk();
        // A token for a monitor brings no N_S; a newer one that grants more brings none either.
        let (caller, none) = admitted(&mut desk, 1, "lamps", MONITOR);
        assert!(none.is_empty());
        desk.ask(&caller, get(&["num"]));
        let wider = token(1, &client(1).0.update(&[("lamps", both(MONITOR, REQUESTER).0)], LATER));
        desk.ask(&caller, ace_groupcomm::testkit::build::update_post(&wider));
        let join = JoinRequest { client_cred_verify: evidence, ..request(1, "lamps", REQUESTER, &[0; 8]) };
        let refused = desk.ask(&caller, join_post("lamps", &join));
        assert_eq!((refused.status, refused.content_format), (Status::BadRequest, Some(ACE_GROUPCOMM_CBOR)));
        let challenge = JoinRefusal::decode(&refused.payload).unwrap().kdcchallenge.unwrap();
        let join = request(1, "lamps", REQUESTER, &challenge);
        assert_eq!(desk.ask(&caller, join_post("lamps", &join)).status, Status::Created);
    }
}

// Covers: GO-8.2.1-02
#[test]
fn members_of_a_group_that_rests_read_on_and_may_leave_and_nobody_joins_again() {
    let mut desk = desk();
    let (caller, _, created) = joined(&mut desk, 1, "lamps", REQUESTER);
    let node = created.location_path[3].clone();
    desk.command(Command::Deactivate("lamps".into())).unwrap();
    let active = desk.ask(&caller, get(&["active"]));
    assert_eq!(retrieval::decode_active(&active.payload), Ok(false));
    for path in [&[][..], &["nodes", &node], &["kdc-cred"], &["policies"], &["creds"], &["num"]] {
        assert_eq!(desk.ask(&caller, get(path)).status, Status::Content, "{path:?}");
    }
    let join = join_post("lamps", &request(1, "lamps", REQUESTER, &[0; 8]));
    let refused = desk.ask(&caller, join.clone());
    assert_eq!(told(&refused), (Status::ServiceUnavailable, Some(GroupcommError::GroupInactive)));
    let refused = desk.ask(&caller, Request { payload: vec![].into(), ..join });
    assert_eq!((refused.status, refused.content_format), (Status::BadRequest, Some(ACE_GROUPCOMM_CBOR)));
    assert_eq!(desk.ask(&caller, group_request(Method::Delete, "lamps", &["nodes", &node])).status, Status::Deleted);
}

#[test]
fn everything_of_a_group_that_was_deleted_is_answered_so() {
    let mut desk = desk();
    let (caller, _, created) = joined(&mut desk, 1, "lamps", REQUESTER);
    let node = created.location_path[3].clone();
    desk.command(Command::Delete { group: "lamps".into(), with_members: true }).unwrap();
    let (for_verifiers, for_members) = own();
    let of_node = |method| group_request(method, "lamps", &["nodes", &node]);
    let others = [
        join_post("lamps", &request(1, "lamps", REQUESTER, &[0; 8])),
        get(&[]),
        get(&["creds"]),
        get(&["kdc-cred"]),
        of_node(Method::Get),
        of_node(Method::Post),
        of_node(Method::Delete),
        group_request(Method::Post, "lamps", &["nodes", &node, "cred"]),
    ];
    for request in for_verifiers.into_iter().chain(for_members).chain(others) {
        let refused = desk.ask(&caller, request);
        assert_eq!(told(&refused), (Status::NotFound, Some(GroupcommError::GroupDeleted)));
    }
}
