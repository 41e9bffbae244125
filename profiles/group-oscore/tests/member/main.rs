//! A member of an OSCORE group, alone with what it is sent: versions in any order, stale Sender IDs, other Sender IDs, and ends.

mod ends;
mod joins;
mod versions;

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
            control_uri: None,
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
        let setup = Setup {
            audience: "kdc1".into(),
            rules: Arc::new(rules),
            transport: Arc::new(ToyClient),
            control_uri: None,
        };
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
