//! A member of an OSCORE group, alone with what it is sent: versions in any order, stale Sender IDs, other Sender IDs, and ends.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::member::{
    Bytes, Effect, Exchange, Exchanged, JoinedGroup, Member, MemberError, MemberEvent, Operation, Peer, Session, Setup,
    State, Token,
};
use ace_groupcomm::testkit::toy::ToyClient;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, SignatureAlgorithm};
use ace_groupcomm::{Method, Request, Response, Roles, Secret, Status, UnixTime};
use ace_groupcomm_messages::labels::content_format::{ACE_GROUPCOMM_CBOR, CBOR, PROBLEM_DETAILS_CBOR};
use ace_groupcomm_messages::{
    GetCreds, GroupOscoreInputMaterial, GroupcommError, JoinRefusal, JoinRequest, JoinResponse, KdcCred,
    KeyDistribution, Label, PeerCred, ProblemDetails, RawCbor, RekeyingMessage, pop, retrieval,
};
use ace_profile_group_oscore::member::OscoreMember;
use ace_profile_group_oscore::scope::{MONITOR, REQUESTER};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use std::sync::Arc;
use std::time::Duration;

const NOW: UnixTime = UnixTime::new(1_000);

fn material(byte: u8, sender_id: Option<u8>) -> GroupOscoreInputMaterial {
    GroupOscoreInputMaterial {
        ms: vec![byte; 16],
        hkdf: Some(Label::Int(5)),
        alg: None,
        salt: Some(vec![byte; 8]),
        context_id: vec![byte],
        group_sender_id: sender_id.map(|id| vec![id]),
        cred_fmt: Some(14),
        gp_enc_alg: Some(Label::Int(10)),
        sign: Some(ace_groupcomm_messages::AlgorithmParameters {
            algorithm: Label::Int(-8),
            parameters: vec![RawCbor::array(&[RawCbor::uint(1)])],
        }),
        ecdh: None,
    }
}

fn distribution(num: i64, key: RawCbor) -> KeyDistribution {
    KeyDistribution {
        gkty: Label::Int(1),
        key,
        num,
        ace_groupcomm_profile: Some(1),
        exp: None,
        exi: Some(100),
        rekeying_scheme: None,
        mgt_key_material: None,
    }
}

/// A rekeying message as section 11.1 has it: secret, salt and Gid, and no algorithms.
fn message(num: i64, stale: Option<&[u8]>) -> RekeyingMessage {
    let version = u8::try_from(num).unwrap();
    let bare = GroupOscoreInputMaterial {
        ms: vec![version; 16],
        salt: Some(vec![version; 8]),
        context_id: vec![version],
        hkdf: None,
        alg: None,
        group_sender_id: None,
        cred_fmt: None,
        gp_enc_alg: None,
        sign: None,
        ecdh: None,
    };
    RekeyingMessage {
        material: distribution(num, bare.encode()),
        joined: None,
        stale_node_ids: stale.map(|ids| ids.iter().map(|id| vec![*id]).collect()),
        extra: Vec::new(),
    }
}

fn told(message: &RekeyingMessage) -> Response {
    Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, message.encode())
}

fn refusal(error: GroupcommError) -> Response {
    let details = ProblemDetails::from(error);
    Response::new(Status::Forbidden).with_payload(PROBLEM_DETAILS_CBOR, details.encode())
}

/// A member, and what it has done.
#[derive(Debug)]
struct House {
    member: Member,
    setup: Setup,
    rng: ChaCha12Rng,
    /// What was asked of the KDC, and what was saved, in order.
    steps: Vec<Step>,
    events: Vec<MemberEvent>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Asked(Request),
    /// The version that is kept, with its key.
    Saved(Option<i64>),
    /// A version without its key.
    Dropped(i64),
}

impl House {
    /// A member of version 0 with Sender ID 9, which knows the members 1, 2 and 3.
    fn new(roles: Roles) -> Self {
        let key = AwsLc.signing_key(SignatureAlgorithm::Ed25519, &Secret::new(vec![3; 32])).unwrap();
        let rules =
            OscoreMember { gname: "g".into(), roles, identity: Identity::kccs("lamp", key), crypto: Arc::new(AwsLc) };
        let peer = |id| Peer { id: Bytes(vec![id]), cred: Bytes(vec![id; 9]), roles: 2 };
        let sender_id = (roles != MONITOR).then_some(9);
        let group = JoinedGroup {
            cnonce: Bytes::default(),
            inactive: false,
            key: Bytes(material(0, sender_id).encode().as_bytes().to_vec()),
            num: 0,
            expires: Some(UnixTime::new(2_000)),
            node: "n".into(),
            kdc_cred: Bytes::default(),
            peers: [1, 2, 3].map(peer).into(),
            spent: Vec::new(),
            doubtful: false,
        };
        let token = Token {
            access_token: Bytes(vec![1]),
            cnf: Bytes::default(),
            expires: UnixTime::new(9_999),
            asked: None,
            scope: None,
        };
        let mut state = State { token: Some(token), session: Some(Session::default()), ..State::default() };
        state.groups.insert("g".into(), group);
        let setup = Setup { audience: "kdc1".into(), rules: Arc::new(rules), transport: Arc::new(ToyClient) };
        let rng = ChaCha12Rng::seed_from_u64(1);
        Self { member: Member::new(setup.clone(), state), setup, rng, steps: Vec::new(), events: Vec::new() }
    }

    fn go_on(&mut self, begun: Effect, answers: &[Response]) -> Result<(), MemberError> {
        let (mut effect, mut answers) = (begun, answers.iter().cloned());
        let result = loop {
            effect = match effect {
                Effect::Save(state) => {
                    let group = state.groups.get("g");
                    let dropped = group.filter(|group| group.key.0.is_empty());
                    self.steps.push(match dropped {
                        Some(group) => Step::Dropped(group.num),
                        None => Step::Saved(group.map(|group| group.num)),
                    });
                    self.member.saved(NOW)
                }
                Effect::Exchange(Exchange::Protected { request, .. }) => {
                    self.steps.push(Step::Asked(request));
                    let response = answers.next().expect("nothing more was to be asked");
                    self.member.exchanged(NOW, Ok(Exchanged { response, runs_low: false }))
                }
                Effect::Done(result) => break result,
                other => panic!("{other:?}"),
            };
        };
        assert!(answers.next().is_none(), "all was asked");
        self.events = self.member.take_events();
        result
    }

    fn notified(&mut self, told: Response, answers: &[Response]) -> Result<(), MemberError> {
        let begun = self.member.notified(NOW, told, &mut self.rng);
        self.go_on(begun, answers)
    }

    fn run(&mut self, operation: Operation, answers: &[Response]) -> Result<(), MemberError> {
        let begun = self.member.begin(NOW, operation, &mut self.rng);
        self.go_on(begun, answers)
    }

    fn num(&self) -> i64 {
        self.member.group().unwrap().num
    }

    fn material(&self) -> GroupOscoreInputMaterial {
        let key = RawCbor::new(&self.member.group().unwrap().key.0).unwrap();
        GroupOscoreInputMaterial::decode(&key).unwrap()
    }

    fn peers(&self) -> Vec<u8> {
        self.member.group().unwrap().peers.iter().map(|peer| peer.id.0[0]).collect()
    }
}

fn stale(ids: &[u8]) -> Response {
    let ids: Vec<Vec<u8>> = ids.iter().map(|id| vec![*id]).collect();
    Response::new(Status::Content).with_payload(CBOR, retrieval::encode_stale_sids(&ids))
}

fn gone(ids: &[u8]) -> MemberEvent {
    MemberEvent::Stale(ids.iter().map(|id| Bytes(vec![*id])).collect())
}

// Covers: GO-11.2-01
// Covers: GO-12-06
#[test]
fn the_next_version_keeps_what_its_message_leaves_out() {
    for roles in [REQUESTER, MONITOR] {
        let mut house = House::new(roles);
        assert_eq!(house.notified(told(&message(1, Some(&[2, 7]))), &[]), Ok(()));
        let before = material(0, (roles != MONITOR).then_some(9));
        let mut wanted = material(1, (roles != MONITOR).then_some(9));
        wanted.hkdf = before.hkdf.clone();
        assert!(house.material() == wanted, "algorithms and Sender ID stay");
        assert_eq!((house.num(), house.peers()), (1, vec![1, 3]));
        assert_eq!(house.events, [gone(&[2]), MemberEvent::Rekeyed { num: 1 }]);
        assert_eq!(house.steps, [Step::Saved(Some(1))], "and it was safe before it was told");
    }
    // Where there is no new salt, the former one stays.
    let mut house = House::new(REQUESTER);
    let mut bare = message(1, Some(&[]));
    let mut key = GroupOscoreInputMaterial::decode(&bare.material.key).unwrap();
    key.salt = None;
    bare.material.key = key.encode();
    house.notified(told(&bare), &[]).unwrap();
    assert_eq!(house.material().salt, Some(vec![0; 8]));
    assert_eq!(house.events, [MemberEvent::Rekeyed { num: 1 }]);
}

#[test]
fn a_version_with_the_gid_of_the_former_one_or_of_another_profile_is_not_installed() {
    let mut house = House::new(REQUESTER);
    let mut same = message(1, Some(&[]));
    let mut key = GroupOscoreInputMaterial::decode(&same.material.key).unwrap();
    key.context_id = vec![0];
    same.material.key = key.encode();
    let mut other = message(1, Some(&[]));
    other.material.gkty = Label::Int(2);
    for wrong in [same, other] {
        assert!(matches!(house.notified(told(&wrong), &[]), Err(MemberError::Unsuitable(_))));
        assert!(house.num() == 0 && house.material() == material(0, Some(9)) && house.steps.is_empty());
    }
}

// Covers: TH-7-06/stale-first, TH-7-06/empty-answer, GO-11.2-02, GO-11.3-01, GO-11.3-02, GO-11.3-03, GO-11.3-04, GO-11.3-05
// Covers: GO-11.3.1-01
#[test]
fn who_missed_a_version_asks_first_which_sender_ids_went_stale() {
    for (answer, kept, event) in [
        (stale(&[1, 2]), vec![3], gone(&[1, 2])),
        (Response::new(Status::Content), vec![], MemberEvent::OthersForgotten),
        (refusal(GroupcommError::GroupInactive), vec![], MemberEvent::OthersForgotten),
    ] {
        let mut house = House::new(REQUESTER);
        house.notified(told(&message(2, Some(&[3]))), &[answer]).unwrap();
        // The former key goes, numbers for the request are reserved.
        let [Step::Dropped(0), Step::Dropped(0), Step::Asked(request), Step::Saved(Some(2))] = &house.steps[..] else {
            panic!("{:?}", house.steps)
        };
        assert_eq!((request.method, request.path.join("/")), (Method::Fetch, "ace-group/g/stale-sids".into()));
        assert_eq!(retrieval::decode_num(&request.payload), Ok(0), "since the version that it has");
        assert_eq!(house.peers(), kept);
        assert_eq!(house.events, [MemberEvent::Missed { had: 0, num: 2 }, event, MemberEvent::Rekeyed { num: 2 }]);
    }
    // The next version, without saying what went stale: a plain answer of GET.
    let mut house = House::new(REQUESTER);
    house.run(Operation::Observe, &[told(&message(1, None)), stale(&[])]).unwrap();
    assert_eq!((house.num(), house.peers()), (1, vec![1, 2, 3]));
    assert_eq!(house.events, [MemberEvent::Missed { had: 0, num: 1 }, MemberEvent::Rekeyed { num: 1 }]);
}

#[test]
fn who_observes_registers_and_who_asks_does_not() {
    let whole =
        || told(&RekeyingMessage { material: distribution(0, material(0, Some(9)).encode()), ..message(0, None) });
    let num = Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, retrieval::encode_num(0));
    for (operation, answer, registers) in [(Operation::Observe, whole(), true), (Operation::Version, num, false)] {
        let mut house = House::new(REQUESTER);
        house.run(operation, &[answer]).unwrap();
        let registered = house.steps.iter().find_map(|step| match step {
            Step::Asked(request) => Some(request.observe.is_some()),
            _ => None,
        });
        assert_eq!((registered, house.events.len()), (Some(registers), 0), "{operation:?}");
    }
}

#[test]
fn the_version_that_it_has_is_taken_again_where_its_own_part_or_its_end_is_another() {
    let whole = |sender_id, exi| {
        let mut material = distribution(0, material(0, Some(sender_id)).encode());
        material.exi = Some(exi);
        told(&RekeyingMessage { material, ..message(0, None) })
    };
    let mut house = House::new(REQUESTER);
    house.notified(whole(9, 500), &[]).unwrap();
    assert_eq!(
        (house.events.len(), house.member.group().unwrap().expires),
        (0, Some(NOW.plus(Duration::from_secs(500))))
    );
    house.notified(whole(7, 500), &[]).unwrap();
    assert_eq!(house.events, [MemberEvent::Renewed]);
    let group = house.member.group().unwrap();
    assert!(house.material() == material(0, Some(7)) && group.spent.len() == 1 && house.peers() == [1, 2, 3]);
    // One that may have been used without a record of it stays so, until there is another Sender ID.
    for (sender_id, spent, doubtful) in [(9, 0, true), (7, 1, false)] {
        let mut house = House::new(REQUESTER);
        let mut state = house.member.state().clone();
        state.groups.get_mut("g").unwrap().doubtful = true;
        house.member = Member::new(house.setup.clone(), state);
        house.notified(whole(sender_id, 500), &[]).unwrap();
        let group = house.member.group().unwrap();
        assert_eq!((group.spent.len(), group.doubtful), (spent, doubtful), "{sender_id}");
    }
}

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

// Covers: TH-7-06/any-order, TH-7-06/num-first, GO-11.2-03
#[test]
fn versions_that_are_told_in_any_order_lost_or_doubled_never_go_back() {
    let orders =
        [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1], [1, 1, 2], [2, 2, 3], [3, 3, 1], [1, 3, 3]];
    for order in orders {
        let mut house = House::new(REQUESTER);
        let mut newest = 0;
        for num in order {
            let answers: &[Response] = if num > newest + 1 { &[stale(&[1])] } else { &[] };
            house.notified(told(&message(num, Some(&[2]))), answers).unwrap();
            newest = newest.max(num);
            let version = u8::try_from(newest).unwrap();
            assert!(house.num() == newest && house.material().ms == [version; 16], "{order:?}");
        }
    }
}

#[test]
fn who_could_not_ask_what_went_stale_has_no_key_and_gets_the_newest_later() {
    let mut house = House::new(REQUESTER);
    let mut effect = house.member.notified(NOW, told(&message(2, Some(&[3]))), &mut house.rng);
    while let Effect::Save(_) = effect {
        effect = house.member.saved(NOW);
    }
    let silent = ace_groupcomm::member::ExchangeError::Silent("nothing".into());
    let Effect::Done(Err(MemberError::Exchange(_))) = house.member.exchanged(NOW, Err(silent)) else {
        panic!("{house:?}")
    };
    assert!(house.member.group().unwrap().key.0.is_empty());
    let whole = RekeyingMessage { material: distribution(2, material(2, Some(9)).encode()), ..message(2, None) };
    house.run(Operation::Observe, &[told(&whole), stale(&[2])]).unwrap();
    assert!(house.material() == material(2, Some(9)) && house.peers() == [1, 3]);
}

#[test]
fn who_joined_is_known_with_the_version() {
    let mut house = House::new(REQUESTER);
    let cred = |id: u8| PeerCred { cred: vec![id; 5], roles: Some(RawCbor::uint(REQUESTER.0)), id: vec![id] };
    // 1 has another credential, 9 is its own Sender ID.
    let message = RekeyingMessage { joined: Some([1, 4, 9].map(cred).into()), ..message(1, Some(&[2])) };
    house.notified(told(&message), &[]).unwrap();
    assert_eq!(house.peers(), [3, 1, 4]);
    assert_eq!(house.member.group().unwrap().peers[1].cred, Bytes(vec![1; 5]));
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

// Covers: KG-4.3.1-39
// Covers: KG-4.8.1.1-01
#[test]
fn keys_that_have_ended_are_dropped_also_where_the_kdc_cannot_be_reached() {
    let mut house = House::new(REQUESTER);
    let end = UnixTime::new(2_000);
    let mut effect = house.member.begin(end, Operation::Observe, &mut house.rng);
    while let Effect::Save(_) = effect {
        effect = house.member.saved(end);
    }
    let silent = ace_groupcomm::member::ExchangeError::Silent("nothing".into());
    assert!(matches!(house.member.exchanged(end, Err(silent)), Effect::Done(Err(MemberError::Exchange(_)))));
    assert!(house.member.group().unwrap().key.0.is_empty());
    assert_eq!(house.member.take_events(), [MemberEvent::KeysEnded { num: 0 }]);
    // A second before it has them, and it gets the next as ever.
    let mut house = House::new(REQUESTER);
    let _ = house.member.begin(UnixTime::new(1_999), Operation::Observe, &mut house.rng);
    assert!(!house.member.group().unwrap().key.0.is_empty());
    let mut house = House::new(REQUESTER);
    let mut state = house.member.state().clone();
    state.groups.get_mut("g").unwrap().expires = Some(NOW);
    house.member = Member::new(house.setup.clone(), state);
    let whole = RekeyingMessage { material: distribution(1, material(1, Some(9)).encode()), ..message(1, Some(&[2])) };
    house.run(Operation::Observe, &[told(&whole)]).unwrap();
    assert_eq!((house.num(), house.peers()), (1, vec![1, 3]));
    assert_eq!(house.events[0], MemberEvent::KeysEnded { num: 0 });
}

// Covers: TH-3-06/error-wipe
// Covers: KG-4.8.1.1-01
#[test]
fn a_membership_that_is_over_leaves_no_key_behind() {
    let cases = [
        (GroupcommError::NotAMember, Some(MemberEvent::Ended)),
        (GroupcommError::MembershipTerminated, Some(MemberEvent::Ended)),
        (GroupcommError::GroupDeleted, Some(MemberEvent::GroupDeleted)),
        (GroupcommError::GroupInactive, None),
        (GroupcommError::NoIndividualKeyingMaterial, None),
    ];
    for (error, event) in cases {
        let mut asked = House::new(REQUESTER);
        let mut observed = House::new(REQUESTER);
        let results = [asked.run(Operation::Observe, &[refusal(error)]), observed.notified(refusal(error), &[])];
        for (result, house) in results.into_iter().zip([asked, observed]) {
            assert!(matches!(result, Err(MemberError::Refused { status: Status::Forbidden, .. })), "{result:?}");
            assert_eq!(house.member.group().is_none(), event.is_some(), "{error:?}");
            assert_eq!(house.events, event.clone().into_iter().collect::<Vec<_>>());
            let former = house.member.state().former.get("g").and_then(|former| former.num);
            assert_eq!(former, event.is_some().then_some(0));
        }
    }
    // Without the Content-Format of problem details nobody knows what it means.
    let mut house = House::new(REQUESTER);
    let bare =
        Response::new(Status::Forbidden).with_payload(CBOR, refusal(GroupcommError::NotAMember).payload.to_vec());
    assert!(house.run(Operation::Observe, &[bare]).is_err() && house.member.group().is_some());
}

#[test]
fn who_leaves_has_left_also_where_the_kdc_knows_no_such_member() {
    for (answer, event) in
        [(Response::new(Status::Deleted), MemberEvent::Left), (refusal(GroupcommError::NotAMember), MemberEvent::Ended)]
    {
        let mut house = House::new(REQUESTER);
        assert_eq!(house.run(Operation::Leave, &[answer]), Ok(()));
        assert_eq!((house.member.group(), house.events.clone()), (None, vec![event]));
        assert_eq!(house.run(Operation::Leave, &[]), Err(MemberError::NotAMember));
    }
    let mut house = House::new(REQUESTER);
    assert!(house.run(Operation::Leave, &[refusal(GroupcommError::GroupInactive)]).is_err());
    assert!(house.member.group().is_some(), "it is a member as long as nobody says otherwise");
}

#[test]
fn who_asks_for_the_version_gets_the_keys_where_they_are_newer() {
    let num = |num| Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, retrieval::encode_num(num));
    let mut house = House::new(REQUESTER);
    assert_eq!(house.run(Operation::Version, &[num(0)]), Ok(()));
    assert_eq!(house.events, []);
    // Where the newer ones do not come, the key that it had is not used any more all the same.
    let missing = Response::new(Status::ServiceUnavailable);
    assert!(house.run(Operation::Version, &[num(3), missing]).is_err());
    assert!(house.member.group().unwrap().key.0.is_empty());
    let whole = RekeyingMessage { material: distribution(3, material(3, Some(9)).encode()), ..message(3, Some(&[])) };
    assert_eq!(house.run(Operation::Version, &[num(3), told(&whole), stale(&[3])]), Ok(()));
    assert_eq!((house.num(), house.peers()), (3, vec![1, 2]));
    assert!(matches!(house.run(Operation::Version, &[num(2)]), Err(MemberError::Unusable(_))));
    assert_eq!((house.num(), house.events.clone()), (3, vec![MemberEvent::Older { num: 2 }]));
}

// Covers: GO-9.9-01
#[test]
fn who_asks_for_the_status_is_told_when_the_group_rests_and_when_it_goes_on() {
    let status = |active| Response::new(Status::Content).with_payload(CBOR, retrieval::encode_active(active));
    let mut house = House::new(REQUESTER);
    let step = Step::Asked(Request::new(Method::Get, ["ace-group", "g", "active"]));
    for (active, events) in
        [(true, vec![]), (false, vec![MemberEvent::Inactive]), (false, vec![]), (true, vec![MemberEvent::Active])]
    {
        house.steps.clear();
        assert_eq!(house.run(Operation::Status, &[status(active)]), Ok(()));
        assert!(house.steps.contains(&step), "{:?}", house.steps);
        assert_eq!((house.events.clone(), house.member.group().unwrap().inactive), (events, !active));
    }
    assert!(house.run(Operation::Status, &[refusal(GroupcommError::NotAMember)]).is_err());
    assert_eq!((house.member.group(), house.events.clone()), (None, vec![MemberEvent::Ended]));
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
