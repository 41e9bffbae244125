//! What the profile adds to rekeying: stale Sender IDs, another Sender ID, and what verifiers are given.

#[path = "../bench/mod.rs"]
mod bench;
mod reconfigured;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::command::Command;
use ace_groupcomm::testkit::Desk;
use ace_groupcomm::testkit::build::group_request;
use ace_groupcomm::traits::crypto::{CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm};
use ace_groupcomm::{Caller, Method, Purpose, Request, Response, Roles, Status};
use ace_groupcomm_messages::labels::content_format::{ACE_GROUPCOMM_CBOR, CBOR};
use ace_groupcomm_messages::labels::osc;
use ace_groupcomm_messages::{
    GroupOscoreInputMaterial, GroupcommError, JoinRequest, KdcCred, KeyDistribution, Label, RawCbor, RekeyingMessage,
    VerifData, pop, retrieval,
};
use ace_profile_group_oscore::member;
use ace_profile_group_oscore::scope::{MONITOR, REQUESTER, RESPONDER, VERIFIER};
use bench::{N_C, admitted, desk, error_of, joined};

fn get(desk: &mut Desk, caller: &Caller, gname: &str, resource: &[&str]) -> Response {
    desk.ask(caller, group_request(Method::Get, gname, resource))
}

fn rekey(desk: &mut Desk, gname: &str) {
    desk.command(Command::Rekey(gname.into())).unwrap();
}

/// The node of a member, and its Sender ID.
struct Node(Caller, String, Vec<u8>);

fn node(desk: &mut Desk, number: u16, roles: Roles) -> Node {
    let (caller, joined, response) = joined(desk, number, "lamps", roles);
    let id = joined.material.group_sender_id.clone().unwrap_or_default();
    Node(caller, response.location_path[3].clone(), id)
}

impl Node {
    fn request(&self, method: Method) -> Request {
        group_request(method, "lamps", &["nodes", &self.1])
    }

    /// The notification of the group-membership resource.
    fn notified(&self, desk: &mut Desk) -> RekeyingMessage {
        let request = Request { purpose: Purpose::Notification, ..group_request(Method::Get, "lamps", &[]) };
        let answer = desk.ask(&self.0, request);
        assert_eq!(answer.content_format, Some(ACE_GROUPCOMM_CBOR));
        RekeyingMessage::decode(&answer.payload).unwrap()
    }

    /// What stale-sids answers to this version.
    fn stale_since(&self, desk: &mut Desk, version: &[u8], format: Option<u16>) -> Response {
        let mut request = group_request(Method::Fetch, "lamps", &["stale-sids"]);
        (request.payload, request.content_format) = (version.to_vec().into(), format);
        desk.ask(&self.0, request)
    }
}

// Covers: GO-7-04, GO-7-05, GO-7-06, GO-7-07, GO-7-08, GO-10-05, GO-10-06, GO-11-01, GO-11-08, KG-6-01, KG-6-04, KG-6-05, KG-6-06
// Covers: GO-7-01
// Covers: GO-7-02
#[test]
fn a_rekeying_gives_another_secret_gid_and_salt_and_nobody_another_sender_id() {
    let mut desk = desk();
    let (one, two) = (node(&mut desk, 1, REQUESTER), node(&mut desk, 2, RESPONDER));
    let read = |desk: &mut Desk, resource: &[&str]| {
        let answer = get(desk, &one.0, "lamps", resource);
        let given = KeyDistribution::decode(&answer.payload).unwrap();
        let material = member::material(&given).unwrap();
        (given.num, given.exp.is_some() && given.exi.is_some(), material)
    };
    let (_, _, before) = read(&mut desk, &["nodes", &one.1]);
    assert_eq!(desk.ask(&two.0, two.request(Method::Delete)).status, Status::Deleted);
    desk.pass(std::time::Duration::from_secs(5));
    let (num, has_end, after) = read(&mut desk, &["nodes", &one.1]);
    assert!(num == 1 && has_end);
    assert!(after.ms != before.ms && after.context_id != before.context_id && after.salt != before.salt);
    assert_eq!(after.group_sender_id, before.group_sender_id);
    assert_eq!((&after.sign, &after.gp_enc_alg), (&before.sign, &before.gp_enc_alg), "what is configured stays");
    let told = one.notified(&mut desk);
    assert_eq!((told.material.num, told.stale_node_ids), (1, Some(vec![two.2.clone()])));
    assert_eq!(told.material.ace_groupcomm_profile, Some(1));
}

// Covers: GO-9.2-07, GO-11.1-01, GO-11.1-02, GO-11.1-03, GO-11.1-04, GO-11.1-05
// Covers: GO-12-01
#[test]
fn a_renewal_while_a_rekeying_is_due_is_answered_with_the_rekeying_message() {
    let mut desk = desk();
    let (one, two) = (node(&mut desk, 1, REQUESTER), node(&mut desk, 2, RESPONDER));
    desk.ask(&two.0, two.request(Method::Delete));
    let answer = desk.ask(&one.0, one.request(Method::Post));
    assert_eq!((answer.status, answer.content_format), (Status::Content, Some(ACE_GROUPCOMM_CBOR)));
    let message = RekeyingMessage::decode(&answer.payload).unwrap();
    assert_eq!((message.stale_node_ids.as_deref(), message.joined.is_none()), (Some(&[two.2.clone()][..]), true));
    let labels: Vec<Label> = message.material.key.to_map().unwrap().into_iter().map(|(label, _)| label).collect();
    assert_eq!(labels, [osc::MS, osc::SALT, osc::CONTEXT_ID].map(Label::Int), "what members know is left out");
    let key = GroupOscoreInputMaterial::decode(&message.material.key).unwrap();
    let whole = get(&mut desk, &one.0, "lamps", &["nodes", &one.1]);
    let whole = member::material(&KeyDistribution::decode(&whole.payload).unwrap()).unwrap();
    assert_eq!((&key.ms, &key.salt, &key.context_id), (&whole.ms, &whole.salt, &whole.context_id));
    assert_eq!(whole.group_sender_id, Some(one.2.clone()));
    assert!(message.material.exp.is_some() && message.material.exi.is_some() && message.material.num == 1);
    // The labels of the message are those that the profile lists.
    let all = RawCbor::new(&answer.payload).unwrap().to_map().unwrap();
    let all: Vec<Label> = all.into_iter().map(|(label, _)| label).collect();
    assert_eq!(all, [7, 8, 9, 10, 11, 12, 34].map(Label::Int));
}

// Covers: GO-9.2-02, GO-9.2-03, GO-9.2-04, GO-9.2-05, GO-9.2-06, GO-9.2-08, GO-9.2-09, GO-9.2-10
// Covers: GO-7-02
#[test]
fn a_renewal_gives_a_sender_id_and_nothing_else() {
    let mut desk = desk();
    let (one, two, monitor) =
        (node(&mut desk, 1, REQUESTER), node(&mut desk, 2, RESPONDER), node(&mut desk, 3, MONITOR));
    let answer = desk.ask(&one.0, one.request(Method::Post));
    // {21: h'02'}: those before it are held, and the monitor has none.
    assert_eq!((answer.status, answer.payload.to_vec()), (Status::Content, vec![0xa1, 0x15, 0x41, 0x02]));
    let whole = get(&mut desk, &one.0, "lamps", &["nodes", &one.1]);
    assert_eq!(KeyDistribution::decode(&whole.payload).unwrap().num, 0, "the keys stay");
    let refused = desk.ask(&monitor.0, monitor.request(Method::Post));
    assert_eq!((refused.status, error_of(&refused)), (Status::BadRequest, Some(GroupcommError::InconsistentWithRoles)));
    rekey(&mut desk, "lamps");
    assert_eq!(two.notified(&mut desk).stale_node_ids, Some(vec![one.2.clone()]));
    desk.command(Command::Deactivate("lamps".into())).unwrap();
    // Inactive comes before the roles.
    for node in [&one, &monitor] {
        let refused = desk.ask(&node.0, node.request(Method::Post));
        assert_eq!(
            (refused.status, error_of(&refused)),
            (Status::ServiceUnavailable, Some(GroupcommError::GroupInactive))
        );
    }
}

// Covers: GO-7.1-01, GO-7.1-02, GO-7.1-04, GO-11.3.1-02, GO-11.3.1-03, GO-11.3.1-04, GO-11.3.1-05, GO-11.3.1-06, GO-11.3.1-07
// Covers: GO-8.4.1-01, GO-8.4.1-02, GO-8.4.1-03
// Covers: TH-8-01/content-formats
#[test]
fn stale_sender_ids_are_those_of_the_versions_since_as_many_as_there_are_sets() {
    let mut desk = desk();
    let stays = node(&mut desk, 1, REQUESTER);
    // Under each version one member leaves, or gets another Sender ID; under 4 both.
    let mut stale: Vec<Vec<Vec<u8>>> = Vec::new();
    for version in 0..5_u16 {
        let leaver = node(&mut desk, 10 + version, RESPONDER);
        desk.ask(&leaver.0, leaver.request(Method::Delete));
        stale.push(vec![leaver.2.clone()]);
        rekey(&mut desk, "lamps");
    }
    let now = node(&mut desk, 20, RESPONDER);
    desk.ask(&now.0, now.request(Method::Post));
    stale.push(vec![now.2.clone()]);
    let told = |desk: &mut Desk, version: u8| {
        let answer = stays.stale_since(desk, &[version], Some(CBOR));
        assert_eq!((answer.status, answer.content_format), (Status::Content, Some(CBOR)));
        retrieval::decode_stale_sids(&answer.payload).unwrap()
    };
    let of = |versions: std::ops::RangeInclusive<usize>| {
        let mut all: Vec<Vec<u8>> = stale[versions].concat();
        all.sort();
        all.dedup();
        Some(all)
    };
    assert_eq!(told(&mut desk, 4), of(4..=5));
    assert_eq!(told(&mut desk, 3), of(3..=5));
    assert_eq!((told(&mut desk, 2), told(&mut desk, 0)), (None, None), "it has missed too much: it drops all");
    for (version, format) in
        [(&[5][..], None), (&[6], None), (&[0x20], None), (&[], None), (&[0x41, 1], None), (&[4, 4], None)]
    {
        assert_eq!(stays.stale_since(&mut desk, version, format).status, Status::BadRequest, "{version:?}");
    }
    assert_eq!(stays.stale_since(&mut desk, &[4], Some(ACE_GROUPCOMM_CBOR)).status, Status::Content, "both forms");
    assert_eq!(stays.stale_since(&mut desk, &[4], Some(0)).status, Status::UnsupportedContentFormat);
    let (stranger, _) = admitted(&mut desk, 40, "lamps", REQUESTER);
    let answer = Node(stranger, String::new(), vec![]).stale_since(&mut desk, &[4], None);
    assert_eq!((answer.status, error_of(&answer)), (Status::Forbidden, Some(GroupcommError::NotAMember)));
    // What no answer can hold any more is not stored either.
    let kept =
        desk.store.dump().iter().filter(|(key, _)| key.as_bytes().windows(7).any(|part| part == b"/stale/")).count();
    assert_eq!(kept, 3);
    let mut check = ace_groupcomm::check::Check::default();
    desk.store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    assert!(check.finish().is_clean());
}

#[test]
fn nothing_stale_is_an_empty_array_and_not_nothing() {
    let mut desk = desk();
    let one = node(&mut desk, 1, REQUESTER);
    rekey(&mut desk, "lamps");
    let answer = one.stale_since(&mut desk, &[0], None);
    assert_eq!((answer.status, answer.payload.to_vec()), (Status::Content, vec![0x80]));
    assert_eq!(one.notified(&mut desk).stale_node_ids, Some(vec![]));
}

// Covers: GO-8.3.1-01, GO-8.3.1-02, GO-8.3.1-03, GO-8.3.1-07, GO-9.6-01, GO-9.6-02, GO-9.6-03, GO-9.6-04
// Covers: GO-12-01
#[test]
fn a_verifier_is_given_what_it_verifies_signatures_with_and_no_secret_of_the_group() {
    for (gname, is_pairwise) in [("lamps", true), ("alarms", false)] {
        let mut desk = desk();
        let (verifier, _) = admitted(&mut desk, 1, gname, VERIFIER);
        let read = |desk: &mut Desk| {
            let answer = get(desk, &verifier, gname, &["verif-data"]);
            assert_eq!((answer.status, answer.content_format), (Status::Content, Some(ACE_GROUPCOMM_CBOR)));
            VerifData::decode(&answer.payload).unwrap()
        };
        let data = read(&mut desk);
        let labels: Vec<Label> = data.key.to_map().unwrap().into_iter().map(|(label, _)| label).collect();
        let mut expected =
            vec![osc::HKDF, osc::CONTEXT_ID, osc::CRED_FMT, osc::GP_ENC_ALG, osc::SIGN_ALG, osc::SIGN_PARAMS];
        expected.extend(if is_pairwise { vec![osc::ALG, osc::ECDH_ALG] } else { vec![] });
        assert_eq!(labels, expected.into_iter().map(Label::Int).collect::<Vec<_>>(), "{gname}");
        assert_eq!((data.num, data.sign_enc_key.len(), data.exi.is_some()), (0, 16, true));
        rekey(&mut desk, gname);
        let next = read(&mut desk);
        assert!(next.num == 1 && next.sign_enc_key != data.sign_enc_key);
        // Members have it otherwise, and others have nothing of it.
        let (member, _, _) = joined(&mut desk, 2, gname, REQUESTER);
        let (authorised, _) = admitted(&mut desk, 3, gname, RESPONDER);
        for caller in [&member, &authorised] {
            let refused = get(&mut desk, caller, gname, &["verif-data"]);
            assert_eq!((refused.status, error_of(&refused)), (Status::Forbidden, Some(GroupcommError::NotAVerifier)));
        }
        // A member whose token allows it to verify as well is a member all the same.
        let (both, _, _) = joined_with(&mut desk, 4, gname);
        let refused = get(&mut desk, &both, gname, &["verif-data"]);
        assert_eq!((refused.status, error_of(&refused)), (Status::Forbidden, Some(GroupcommError::NotAVerifier)));
    }
}

/// A requester whose token allows it to verify as well.
fn joined_with(desk: &mut Desk, number: u16, gname: &str) -> (Caller, (), ()) {
    let (caller, challenge) = admitted(desk, number, gname, Roles(REQUESTER.0 | VERIFIER.0));
    let join = bench::request(number, gname, REQUESTER, &challenge);
    let answer = desk.ask(&caller, ace_groupcomm::testkit::build::join_post(gname, &join));
    assert_eq!(answer.status, Status::Created);
    (caller, (), ())
}

// Covers: GO-8.1.1-01, GO-8.1.1-02, GO-8.1.1-03, GO-9.5.2-02
// Covers: GO-9.5.2-01
#[test]
fn a_verifier_gets_the_managers_credential_with_a_proof_over_its_nonce() {
    let mut desk = desk();
    let (verifier, _) = admitted(&mut desk, 1, "lamps", VERIFIER);
    let fetch = |cnonce: Option<Vec<u8>>| {
        let payload = JoinRequest { cnonce, ..JoinRequest::default() }.encode();
        group_request(Method::Fetch, "lamps", &["kdc-cred"]).with_payload(ACE_GROUPCOMM_CBOR, payload)
    };
    let answer = desk.ask(&verifier, fetch(Some(N_C.to_vec())));
    assert_eq!((answer.status, answer.content_format), (Status::Content, Some(ACE_GROUPCOMM_CBOR)));
    let told = KdcCred::decode(&answer.payload).unwrap();
    assert_eq!(told.kdc_nonce.len(), 8);
    let key = ace_groupcomm::traits::crypto::PublicKey::of_kccs(SignatureAlgorithm::Ed25519, &told.kdc_cred).unwrap();
    let ace_groupcomm::traits::crypto::PublicKey::Signature(algorithm, key) = key else { panic!("a signature key") };
    let verify = |input: Vec<u8>| {
        let signature = told.kdc_cred_verify.clone();
        let job = CryptoJob::Verify { algorithm, key: key.to_vec(), message: input, signature };
        AwsLc.run(&[job]) == [CryptoOutput::Verified(true)]
    };
    assert!(verify(pop::kdc_input(&N_C, &told.kdc_nonce)) && !verify(pop::kdc_input(&[8; 8], &told.kdc_nonce)));
    let again = KdcCred::decode(&desk.ask(&verifier, fetch(Some(N_C.to_vec()))).payload).unwrap();
    assert_ne!(again.kdc_nonce, told.kdc_nonce);
    for cnonce in [None, Some(vec![]), Some(vec![1; 65])] {
        assert_eq!(desk.ask(&verifier, fetch(cnonce)).status, Status::BadRequest);
    }
    let (member, _, _) = joined(&mut desk, 2, "lamps", REQUESTER);
    let (authorised, _) = admitted(&mut desk, 3, "lamps", RESPONDER);
    for caller in [&member, &authorised] {
        let refused = desk.ask(caller, fetch(Some(N_C.to_vec())));
        assert_eq!((refused.status, error_of(&refused)), (Status::Forbidden, Some(GroupcommError::NotAVerifier)));
    }
    // A verifier has no GET there, and nothing else is added.
    assert_eq!(get(&mut desk, &verifier, "lamps", &["kdc-cred"]).status, Status::Forbidden);
    assert_eq!(get(&mut desk, &member, "lamps", &["kdc-cred"]).status, Status::Content);
    let put = group_request(Method::Put, "lamps", &["kdc-cred"]);
    assert_eq!(desk.ask(&member, put).status, Status::MethodNotAllowed);
    // The form of its request is settled as everywhere.
    let other = Request { content_format: Some(CBOR), ..fetch(Some(N_C.to_vec())) };
    assert_eq!(desk.ask(&verifier, other).status, Status::UnsupportedContentFormat);
}

// Covers: GO-8.5.1-01
#[test]
fn a_verifier_is_let_nowhere_else() {
    let mut desk = desk();
    let one = node(&mut desk, 2, REQUESTER);
    let (verifier, _) = admitted(&mut desk, 1, "lamps", VERIFIER);
    let methods =
        [Method::Get, Method::Post, Method::Put, Method::Delete, Method::Fetch, Method::Patch, Method::IPatch];
    let (node, cred) = (["nodes", &one.1], ["nodes", &one.1, "cred"]);
    let paths: [&[&str]; 8] = [&[], &["active"], &["stale-sids"], &["policies"], &["num"], &["other"], &node, &cred];
    for path in paths {
        for method in methods {
            let answer = desk.ask(&verifier, group_request(method, "lamps", path));
            assert_eq!(answer.status, Status::Forbidden, "{method:?} {path:?}");
        }
    }
    assert_eq!(get(&mut desk, &verifier, "lamps", &["creds"]).status, Status::Content);
}
