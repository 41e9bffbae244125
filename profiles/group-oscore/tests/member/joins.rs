//! What the member asks for itself: joins, credentials, Sender IDs, the KDC's credential.

use super::*;

// Covers: GO-9.4-01
#[test]
fn another_credential_is_told_with_a_proof_over_the_challenge_and_nothing_else() {
    let mut house = House::new(REQUESTER);
    let refusal = JoinRefusal { kdcchallenge: Some(vec![5; 8]), ..JoinRefusal::default() };
    let refusal = Response::new(Status::BadRequest).with_payload(ACE_GROUPCOMM_CBOR, refusal.encode());
    assert_eq!(house.run(Operation::ChangeCredential, &[refusal, Response::new(Status::Changed)]), Ok(()));
    assert_eq!(house.events, [MemberEvent::CredentialChanged]);
    let asked: Vec<&Request> = house
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Asked(request) => Some(request),
            _ => None,
        })
        .collect();
    let mut nonces = Vec::new();
    for (request, challenge) in asked.iter().zip([&[][..], &[5; 8]]) {
        assert_eq!((request.method, request.path.join("/")), (Method::Post, "ace-group/g/nodes/n/cred".into()));
        assert_eq!(request.content_format, Some(ACE_GROUPCOMM_CBOR));
        let update = JoinRequest::decode(&request.payload).unwrap();
        assert_eq!((&update.scope, &update.get_creds, update.extra.len()), (&None, &None, 0));
        let identity = house.setup.rules.identity().unwrap();
        assert_eq!(update.client_cred.as_ref(), Some(&identity.cred));
        let cnonce = update.cnonce.unwrap();
        let input = pop::client_input(&house.setup.rules.scope().encode(), challenge, &cnonce);
        let key = house.setup.rules.key_of(&identity.cred).unwrap();
        assert!(AwsLc.verifies(&key, input, update.client_cred_verify.unwrap()));
        nonces.push(cnonce);
    }
    assert!(nonces.len() == 2 && nonces[0] != nonces[1] && nonces[0].len() == 8);
}

// Covers: GO-12-02
#[test]
fn another_sender_id_keeps_all_else() {
    let answer = |id: &[u8]| {
        let map = RawCbor::map(&[(Label::Int(21), RawCbor::bytes(id))]).unwrap();
        Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, map.as_bytes().to_vec())
    };
    let whole = |num: i64, sender_id| {
        let key = material(u8::try_from(num).unwrap(), Some(sender_id)).encode();
        told(&RekeyingMessage { material: distribution(num, key), ..message(num, None) })
    };
    let mut house = House::new(REQUESTER);
    assert_eq!(house.run(Operation::Renew, &[answer(&[5]), whole(0, 5)]), Ok(()));
    assert!(house.material() == material(0, Some(5)));
    assert_eq!((house.peers(), house.events.clone()), (vec![1, 2, 3], vec![MemberEvent::Renewed]));
    let asked = house.steps.iter().find_map(|step| match step {
        Step::Asked(request) => Some((request.method, request.path.join("/"), request.payload.len())),
        _ => None,
    });
    assert_eq!(asked, Some((Method::Post, "ace-group/g/nodes/n".into(), 0)));
    // The former one comes late: it is not taken again.
    assert_eq!(house.notified(whole(0, 9), &[]), Ok(()));
    assert_eq!((house.material() == material(0, Some(5)), house.events.len()), (true, 0));
    // One that does not fit, or none.
    for wrong in [answer(&[1; 8]), Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, vec![0xa0])] {
        assert!(matches!(house.run(Operation::Renew, &[wrong]), Err(MemberError::Unsuitable(_))));
    }
    assert!(house.material() == material(0, Some(5)));
    // It is of another version than the member's: nothing of the two is put together.
    assert_eq!(house.run(Operation::Renew, &[answer(&[6]), whole(1, 6), stale(&[])]), Ok(()));
    assert!(house.material() == material(1, Some(6)));
    // The KDC may rekey the group instead.
    assert_eq!(house.run(Operation::Renew, &[told(&message(2, Some(&[])))]), Ok(()));
    assert_eq!((house.num(), house.material().group_sender_id.clone()), (2, Some(vec![6])));
}

/// The KDC's credential with a proof over these nonces.
fn kdc_cred(seed: u8, cnonce: &[u8], proven_nonce: &[u8]) -> Response {
    let key = AwsLc.signing_key(SignatureAlgorithm::Ed25519, &Secret::new(vec![seed; 32])).unwrap();
    let kdc_cred_verify = key.sign(&pop::kdc_input(cnonce, proven_nonce)).unwrap();
    let kdc_cred = Identity::kccs("gm", key).cred;
    let answer = KdcCred { kdc_cred, kdc_nonce: vec![4; 8], kdc_cred_verify };
    Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, answer.encode())
}

// Covers: KG-4.5.1.1-01, KG-4.5.1.1-02
#[test]
fn the_kdcs_credential_takes_the_place_of_the_former_one_when_the_kdc_has_proven_it() {
    let mut house = House::new(REQUESTER);
    let mut state = house.member.state().clone();
    let cnonce = [7; 8];
    state.groups.get_mut("g").unwrap().cnonce = Bytes(cnonce.to_vec());
    house.member = Member::new(house.setup.clone(), state);
    let kept = |house: &House| house.member.group().unwrap().kdc_cred.0.clone();
    // Over another N_C or another N_KDC it proves nothing, and neither does a credential that cannot be read.
    let mut unreadable = KdcCred::decode(&kdc_cred(1, &cnonce, &[4; 8]).payload).unwrap();
    unreadable.kdc_cred = vec![0xa0];
    let unreadable = Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, unreadable.encode());
    for wrong in [kdc_cred(1, &[8; 8], &[4; 8]), kdc_cred(1, &cnonce, &[5; 8]), unreadable] {
        assert!(matches!(house.run(Operation::KdcCred, &[wrong]), Err(MemberError::Unsuitable(_))));
        assert_eq!((kept(&house), house.events.len()), (vec![], 0));
    }
    let proven = kdc_cred(1, &cnonce, &[4; 8]);
    let expected = KdcCred::decode(&proven.payload).unwrap().kdc_cred;
    assert_eq!(house.run(Operation::KdcCred, std::slice::from_ref(&proven)), Ok(()));
    assert_eq!((kept(&house), house.events.clone()), (expected.clone(), vec![MemberEvent::KdcCredChanged]));
    assert_eq!(house.run(Operation::KdcCred, &[proven]), Ok(()));
    assert_eq!((kept(&house), house.events.clone()), (expected, vec![]), "the same is nothing new");
    assert!(house.run(Operation::KdcCred, &[refusal(GroupcommError::GroupDeleted)]).is_err());
    assert_eq!(house.member.group(), None);
}

/// A house that the KDC has proven itself to, by its next Join Response.
fn rejoins(house: &mut House, response: impl Fn(&[u8]) -> JoinResponse) -> Result<JoinRequest, MemberError> {
    let mut asked = None;
    let mut effect = house.member.begin(NOW, Operation::Join, &mut house.rng);
    let result = loop {
        effect = match effect {
            Effect::Save(_) => house.member.saved(NOW),
            Effect::Exchange(Exchange::Protected { request, .. }) => {
                let join = JoinRequest::decode(&request.payload).unwrap();
                let mut answer = Response::new(Status::Changed)
                    .with_payload(ACE_GROUPCOMM_CBOR, response(join.cnonce.as_ref().unwrap()).encode());
                answer.location_path = ["ace-group", "g", "nodes", "n"].map(Into::into).into();
                asked = Some(join);
                house.member.exchanged(NOW, Ok(Exchanged { response: answer, runs_low: false }))
            }
            Effect::Done(result) => break result,
            other => panic!("{other:?}"),
        };
    };
    house.events = house.member.take_events();
    result.map(|()| asked.unwrap())
}

fn join_response(num: i64, byte: u8, sender_id: u8, peers: &[u8], cnonce: &[u8]) -> JoinResponse {
    let kdc = KdcCred::decode(&kdc_cred(1, cnonce, &[4; 8]).payload).unwrap();
    let peer = |id: &u8| PeerCred { cred: vec![*id; 9], roles: Some(RawCbor::uint(2)), id: vec![*id] };
    JoinResponse {
        material: distribution(num, material(byte, Some(sender_id)).encode()),
        peers: Some(peers.iter().map(peer).collect()),
        group_policies: None,
        kdc_cred: Some(kdc),
        control_group_uri: None,
        extra: Vec::new(),
    }
}

// Covers: GO-11.3-09, GO-11.3-10, GO-11.3-11
#[test]
fn who_joins_again_asks_for_all_credentials_and_drops_those_that_are_not_among_them() {
    let mut house = House::new(REQUESTER);
    let asked = rejoins(&mut house, |cnonce| join_response(2, 2, 4, &[1, 5], cnonce)).unwrap();
    assert_eq!(asked.scope, Some(house.setup.rules.scope().encode()), "the same roles");
    assert_eq!(asked.get_creds, Some(GetCreds::All));
    assert_eq!((house.num(), house.peers()), (2, vec![1, 5]));
    let told = [MemberEvent::KdcCredChanged, gone(&[2, 3]), MemberEvent::Joined { num: 2 }];
    assert_eq!(house.events, told, "what belongs to those that are gone goes too");
}

#[test]
fn a_group_with_another_rekeying_scheme_is_not_joined() {
    let mut house = House::new(REQUESTER);
    let with = |scheme| {
        move |cnonce: &[u8]| {
            let mut response = join_response(2, 2, 4, &[1], cnonce);
            response.material.rekeying_scheme = scheme;
            response
        }
    };
    assert!(matches!(rejoins(&mut house, with(Some(1))), Err(MemberError::Unusable(_))));
    assert_eq!(house.num(), 0);
    assert!(rejoins(&mut house, with(Some(0))).is_ok());
}

// Covers: TH-7-01/by-get, TH-7-01/by-observe, TH-7-01/by-post, TH-7-01/by-rejoin
#[test]
fn keys_that_were_handed_out_count_as_used_by_whatever_way_they_come_again() {
    let used = || {
        let mut house = House::new(REQUESTER);
        let mut state = house.member.state().clone();
        let group = state.groups.get_mut("g").unwrap();
        let key = RawCbor::new(&group.key.0).unwrap();
        group.spent = vec![Bytes(house.setup.rules.key_name(&key).unwrap())];
        house.member = Member::new(house.setup.clone(), state);
        house
    };
    let whole =
        || told(&RekeyingMessage { material: distribution(0, material(0, Some(9)).encode()), ..message(0, None) });
    let spent = used().member.group().unwrap().spent.clone();
    let is_used = |house: &House| house.member.group().unwrap().spent == spent && house.events.is_empty();
    let mut house = used();
    for _ in 0..2 {
        assert_eq!(house.run(Operation::Observe, &[whole()]), Ok(()));
        assert!(is_used(&house), "asked for and observed");
        assert_eq!(house.notified(whole(), &[]), Ok(()));
        assert!(is_used(&house), "notified, or posted");
        // A join that gives the same Sender ID under the same keys is not taken.
        let again = rejoins(&mut house, |cnonce| join_response(0, 0, 9, &[1, 2, 3], cnonce));
        assert!(matches!(again, Err(MemberError::Unusable(_))), "{again:?}");
        assert!(is_used(&house));
    }
}

// Covers: GO-6.1-05, GO-6.2.1-02, GO-6.2.1-06
#[test]
fn each_join_request_has_a_new_nonce_and_a_proof_over_the_challenge_of_the_refusal_before() {
    let mut house = House::new(REQUESTER);
    let refuse = |challenge: [u8; 8]| {
        let refusal = JoinRefusal { kdcchallenge: Some(challenge.to_vec()), ..JoinRefusal::default() };
        Response::new(Status::BadRequest).with_payload(ACE_GROUPCOMM_CBOR, refusal.encode())
    };
    let result = house.run(Operation::Join, &[refuse([5; 8]), refuse([6; 8]), refuse([7; 8])]);
    assert!(matches!(result, Err(MemberError::Unusable(_))), "{result:?}");
    let mut nonces = std::collections::BTreeSet::new();
    let asked = house.steps.iter().filter_map(|step| match step {
        Step::Asked(request) => Some(JoinRequest::decode(&request.payload).unwrap()),
        _ => None,
    });
    let identity = house.setup.rules.identity().unwrap();
    let key = house.setup.rules.key_of(&identity.cred).unwrap();
    for (join, challenge) in asked.zip([&[][..], &[5; 8], &[6; 8]]) {
        let cnonce = join.cnonce.unwrap();
        let input = pop::client_input(&house.setup.rules.scope().encode(), challenge, &cnonce);
        assert!(cnonce.len() == 8 && AwsLc.verifies(&key, input, join.client_cred_verify.unwrap()));
        assert!(nonces.insert(cnonce));
    }
    assert_eq!(nonces.len(), 3);
}
