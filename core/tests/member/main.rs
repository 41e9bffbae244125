//! A member on its way with an AS and a KDC: whatever fails in between, nothing is used twice.

mod device;
mod ends;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::UnixTime;
use ace_groupcomm::member::{
    Bytes, Effect, ExchangeError, FormerGroup, Member, MemberError, MemberEvent, Operation, Peer, Session, State,
};
use ace_groupcomm::testkit::build::{TestClient, join_post, token};
use ace_groupcomm::testkit::world::{Crash, Fate, World};
use ace_groupcomm::traits::member::Unsuitable;
use ace_groupcomm::{Response, Status};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::{
    CredsResponse, JoinRefusal, JoinResponse, KeyDistribution, Label, RawCbor, Scope, ScopeEntry, ScopeValue,
    TokenResponse, TokenTransferResponse,
};
use device::Device;
use std::time::Duration;

/// The toy profile's.
const TALKER: u64 = 1;
const ALL: [Operation; 5] = [Operation::Token, Operation::Upload, Operation::Join, Operation::Keys, Operation::Creds];

/// What is still missing, and then the keys; the identifier under which they are handed out.
fn keys(device: &mut Device) -> Vec<u8> {
    let state = device.member.state();
    let (token, session, group) = (state.token.is_some(), state.current().is_some(), device.member.group().is_some());
    if !token {
        assert_eq!(device.run(Operation::Token), Some(Ok(())));
    }
    if !group {
        if !session {
            assert_eq!(device.run(Operation::Upload), Some(Ok(())));
        }
        assert_eq!(device.run(Operation::Join), Some(Ok(())));
    }
    assert_eq!(device.run(Operation::Keys), Some(Ok(())));
    device.id()
}

// Covers: AF-5-07, AF-5.10.1-02, OP-4.1-06
// Covers: AF-5.8.2-04, AF-5.8.2-05
#[test]
fn a_device_comes_from_its_registration_to_the_keys() {
    let mut device = Device::new();
    for operation in ALL {
        assert_eq!(device.run(operation), Some(Ok(())), "{operation:?}");
    }
    let group = device.member.group().unwrap();
    assert_eq!((group.num, group.peers.len(), group.spent.len(), device.posts), (0, 0, 1, 1));
    assert!(device.member.state().offered.is_none() && device.member.state().session.is_some());
    // What was handed out once is handed out under another identifier only.
    let mut seen = vec![device.id()];
    for round in 0..3 {
        device.restart(true);
        let id = keys(&mut device);
        assert!(!seen.contains(&id), "{round}");
        seen.push(id);
    }
    assert_eq!(device.posts, 1);
}

// Covers: TH-7-02/new-sender-id, TH-7-02/token-anew
#[test]
fn a_device_that_fails_anywhere_uses_nothing_twice() {
    let mut steps = Device::new();
    for operation in ALL {
        steps.run(operation);
    }
    assert!(steps.effects > 12, "{}", steps.effects);
    for number in 0..steps.effects {
        for crash in [Crash::Before(number), Crash::After(number)] {
            let mut device = Device::new();
            device.crash = Some(crash);
            let mut ended = Vec::new();
            for operation in ALL {
                let Some(result) = device.run(operation) else { break };
                result.unwrap();
                ended.push(operation);
            }
            assert!(ended.len() < ALL.len(), "{crash:?}");
            // Keys that were marked as handed out may be in use by then.
            let before = ended.contains(&Operation::Join).then(|| device.id());
            device.crash = None;
            let posts = device.posts;
            device.restart(false);
            assert!(device.member.state().current().is_none(), "no association goes on");
            let id = keys(&mut device);
            assert_ne!(before.as_ref(), Some(&id), "{crash:?}");
            assert_eq!(device.posts, posts + 1, "another association, {crash:?}");
            assert_eq!(device.run(Operation::Creds), Some(Ok(())));
        }
    }
}

#[test]
fn lost_messages_cost_an_operation_and_nothing_else() {
    let mut device = Device::new();
    device.run(Operation::Token);
    for operation in [Operation::Upload, Operation::Join, Operation::Keys, Operation::Creds] {
        device.fate = [Fate::Lost].into();
        let lost = Some(Err(MemberError::Exchange(ExchangeError::Failed("no answer".into()))));
        assert_eq!(device.run(operation), lost, "{operation:?}");
        assert_eq!(device.run(operation), Some(Ok(())), "{operation:?}");
    }
}

// Covers: TH-7-05/old-context
// Covers: TH-7-05/post-anew
#[test]
fn what_anybody_can_send_drops_an_association_only_for_a_better_one() {
    let mut device = Device::new();
    for operation in ALL {
        device.run(operation);
    }
    let session = device.disk.session.clone();
    // Twice is no matter; three times, and the token is posted anew.
    device.fate = [Fate::Doubtful, Fate::Doubtful].into();
    assert_eq!(device.run(Operation::Creds), Some(Ok(())));
    assert_eq!(device.posts, 1);
    device.fate = [Fate::Doubtful, Fate::Doubtful, Fate::Doubtful].into();
    assert_eq!(device.run(Operation::Creds), Some(Ok(())));
    assert_eq!(device.posts, 2);
    assert_ne!(device.disk.session.as_ref().map(|s| &s.client_id), session.as_ref().map(|s| &s.client_id));
    // An answer to the post that is not the KDC's: the association that works is kept.
    let session = device.disk.session.clone();
    let lie = TokenTransferResponse { nonce2: Some(vec![0; 8]), ..TokenTransferResponse::default() };
    let lie = Response::new(Status::Created).with_payload(19, lie.encode());
    device.fate = [Fate::Answer(lie)].into();
    assert!(matches!(device.run(Operation::Upload), Some(Err(MemberError::Unsuitable(_)))));
    assert_eq!(device.disk.session, session);
    device.disk.offered = session.clone();
    device.disk.offered.as_mut().unwrap().association.0 = vec![9; 6];
    device.restart(true);
    assert_eq!(device.run(Operation::Creds), Some(Ok(())));
    assert!(device.disk.offered.is_none() && device.posts == 3);
    // Where nothing works it ends.
    device.fate = (0..20).map(|_| Fate::Doubtful).collect();
    let result = device.run(Operation::Creds);
    assert!(matches!(result, Some(Err(MemberError::Exchange(ExchangeError::Doubtful(_))))), "{result:?}");
    assert!(device.posts <= 5, "{}", device.posts);
}

fn distribution(num: i64, secret: u8) -> Response {
    // Cut off in the Gid, so that it has no identifier.
    let key = [vec![secret; 16], vec![11], vec![1; 10]].concat();
    let distribution = KeyDistribution {
        gkty: Label::Int(-70_000),
        key: RawCbor::bytes(&key),
        num,
        ace_groupcomm_profile: Some(-70_000),
        exp: None,
        exi: Some(1_000),
        rekeying_scheme: None,
        mgt_key_material: None,
    };
    Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, distribution.encode())
}

// Covers: TH-7-06/any-order
#[test]
fn versions_come_in_any_order_and_none_goes_back() {
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1], [1, 1, 2], [3, 3, 1]] {
        let mut device = Device::new();
        for operation in [Operation::Token, Operation::Upload, Operation::Join] {
            device.run(operation);
        }
        let mut newest = 0;
        for num in order {
            device.fate = [Fate::Answer(distribution(num, u8::try_from(num).unwrap()))].into();
            // A second time under one identifier it would have to join first: that is as if it had not been used.
            let mut fresh = device.disk.clone();
            fresh.groups.values_mut().for_each(|group| group.spent.clear());
            device.disk = fresh;
            device.restart(true);
            let result = device.run(Operation::Keys).unwrap();
            assert_eq!(result.is_ok(), num >= newest, "{order:?}: {num} after {newest}");
            newest = newest.max(num);
            assert_eq!(device.member.group().unwrap().num, newest);
        }
    }
}

#[test]
fn credentials_are_those_of_one_version() {
    let mut device = Device::new();
    for operation in ALL {
        device.run(operation);
    }
    let creds = |num| {
        let answer = CredsResponse { num, peers: vec![] };
        Fate::Answer(Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, answer.encode()))
    };
    device.fate = [creds(-1)].into();
    assert!(matches!(device.run(Operation::Creds), Some(Err(MemberError::Unusable(text))) if text.contains("older")));
    // Those of a newer one: the keys first, then once more.
    device.fate = [creds(4), Fate::Answer(distribution(4, 4)), creds(4)].into();
    assert_eq!(device.run(Operation::Creds), Some(Ok(())));
    assert_eq!(device.member.group().unwrap().num, 4);
    device.fate = [creds(5), Fate::Answer(distribution(5, 5)), creds(6), Fate::Answer(distribution(6, 6))].into();
    assert!(matches!(device.run(Operation::Creds), Some(Err(MemberError::Unusable(_)))), "it never ends otherwise");
}

// Covers: AF-5.10.2-01
// Covers: KG-4.3.1-39, KG-4.3.1-41
#[test]
fn what_has_ended_is_not_used() {
    let mut device = Device::new();
    for operation in [Operation::Token, Operation::Upload, Operation::Join] {
        device.run(operation);
    }
    device.pass(3_539);
    assert_eq!(device.run(Operation::Creds), Some(Ok(())), "a minute before the end it is told that it is out");
    device.pass(61);
    let posts = device.posts;
    for operation in [Operation::Creds, Operation::Keys, Operation::Join, Operation::Upload] {
        assert_eq!(device.run(operation), Some(Err(MemberError::Expired("token"))), "{operation:?}");
        assert!(device.member.group().is_none(), "the membership has ended with it");
    }
    assert_eq!(device.member.take_events().last(), Some(&MemberEvent::Ended));
    assert!(device.disk.session.is_none() && device.posts == posts);
    // Keys without an end, or behind it.
    for operation in [Operation::Token, Operation::Upload, Operation::Join] {
        assert_eq!(device.run(operation), Some(Ok(())), "{operation:?}");
    }
    let num = device.member.group().unwrap().num;
    let mut ended = KeyDistribution::decode(&distribution(num, 1).payload).unwrap();
    for (exi, exp, taken) in [
        (None, None, false),
        (Some(0), None, false),
        (Some(0), Some(u64::MAX), false),
        (Some(9), Some(1), false),
        (Some(9), Some(u64::MAX), true),
    ] {
        (ended.exi, ended.exp) = (exi, exp);
        let answer = Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, ended.encode());
        device.fate = [Fate::Answer(answer)].into();
        let result = device.run(Operation::Keys).unwrap();
        assert_eq!(result.is_ok(), taken, "{exi:?} {exp:?}: {result:?}");
    }
}

/// Changes a token response.
fn with_token(response: &mut Response, change: impl FnOnce(&mut TokenResponse)) {
    let mut token = TokenResponse::decode(&response.payload).unwrap();
    change(&mut token);
    response.payload = token.encode().into();
}

/// A scope of one entry.
fn granted(gname: &str, roles: u64) -> Option<ScopeValue> {
    let entry = ScopeEntry { gname: gname.into(), permissions: RawCbor::uint(roles) };
    Some(ScopeValue::Bytes(Scope::from(entry).encode()))
}

#[test]
fn each_exchange_with_the_as_has_a_context_of_its_own_whatever_the_clock_and_the_state_say() {
    let mut device = Device::new();
    for _ in 0..3 {
        // The clock stands, and the state is what it was, or gone; the device looks whether a context comes again.
        assert_eq!(device.run(Operation::Token), Some(Ok(())));
        device.disk = State::default();
        device.restart(false);
    }
    device.world.desk.now.unix = device.world.desk.now.unix.minus(Duration::from_secs(1_000));
    assert_eq!(device.run(Operation::Token), Some(Ok(())));
}

// Covers: AF-5.8.2-05, AF-5.8.4.2-02, AF-5.10.4-02
#[test]
fn a_token_that_is_not_what_it_should_be_is_refused_before_it_is_kept() {
    type Change = fn(&mut Response);
    let cases: [(Change, MemberError); 8] = [
        (|r| with_token(r, |token| token.expires_in = None), MemberError::Unusable("the token has no end")),
        (|r| r.content_format = Some(0), MemberError::NoTokenResponse(Some(0))),
        (|r| r.content_format = None, MemberError::NoTokenResponse(None)),
        (
            |r| with_token(r, |token| token.token_type = Some(1)),
            MemberError::Unusable("the token is no PoP token: nobody proves to have its key"),
        ),
        (
            |r| with_token(r, |token| token.scope = granted("g9", 1)),
            MemberError::Unusable("the token is not for this group"),
        ),
        (
            |r| with_token(r, |token| token.scope = granted("g1", 4)),
            MemberError::Unsuitable(Unsuitable::new("none of the roles for \"g1\" was granted")),
        ),
        (
            |r| with_token(r, |token| token.scope = granted("g1", 8)),
            MemberError::Unsuitable(Unsuitable::new("roles of another profile")),
        ),
        (|r| with_token(r, |token| token.cnf = None), MemberError::Unusable("the token response has no key")),
    ];
    for (change, error) in cases {
        let mut device = Device::new();
        device.changed_token = Some(change);
        assert_eq!(device.run(Operation::Token), Some(Err(error)));
        assert!(device.disk.token.is_none());
    }
    let mut device = Device::new();
    device.changed_token = Some(|r| with_token(r, |token| token.token_type = Some(2)));
    assert_eq!(device.run(Operation::Token), Some(Ok(())), "a PoP token may say that it is one");
}

// Covers: TH-7-04/second-export
#[test]
fn keys_that_could_not_be_handed_out_are_kept_for_the_next_time() {
    let mut device = Device::new();
    for operation in [Operation::Token, Operation::Upload, Operation::Join] {
        device.run(operation);
    }
    let id = device.id();
    device.hands_out = false;
    assert_eq!(device.run(Operation::Keys), Some(Err(MemberError::NotHandedOut)));
    device.hands_out = true;
    device.restart(true);
    assert_eq!(device.run(Operation::Keys), Some(Ok(())));
    assert_eq!(device.id(), id, "nobody has seen them");
    assert_eq!(device.run(Operation::Keys), Some(Ok(())));
    assert_ne!(device.id(), id);
}

#[test]
fn steps_out_of_order_say_what_is_missing_and_nothing_answers_nothing() {
    let mut device = Device::new();
    assert_eq!(device.run(Operation::Upload), Some(Err(MemberError::NoToken)));
    assert_eq!(device.run(Operation::Join), Some(Err(MemberError::NoToken)));
    assert_eq!(device.run(Operation::Keys), Some(Err(MemberError::NotAMember)));
    assert_eq!(device.run(Operation::Creds), Some(Err(MemberError::NotAMember)));
    device.run(Operation::Token);
    assert_eq!(device.run(Operation::Join), Some(Err(MemberError::NoSession)));
    assert_eq!(device.member.saved(UnixTime::new(5)), Effect::Done(Err(MemberError::Idle)));
    assert_eq!(MemberError::NoToken.to_string(), "there is no token: run `token` first");
    let refused = MemberError::Refused { status: Status::Forbidden, detail: "why".into() };
    assert_eq!(refused.to_string(), "refused with 4.03 why");
}

#[test]
fn a_member_that_is_told_another_thing_begins_anew() {
    let mut device = Device::new();
    device.run(Operation::Token);
    // Its upload is under way when it is told to get a token.
    device.crash = Some(Crash::Before(device.effects));
    assert_eq!(device.run(Operation::Upload), None);
    device.crash = None;
    assert_eq!(device.run(Operation::Token), Some(Ok(())));
    assert_eq!(device.run(Operation::Upload), Some(Ok(())));
    let kept: State = device.disk.clone();
    assert_eq!(Member::state(&device.member), &kept);
    // What was given up with an exchange under way may have used numbers of any block: they are not gone on with.
    assert_eq!(device.run(Operation::Join), Some(Ok(())));
    let next = |device: &Device| device.disk.session.as_ref().map(|session| session.next);
    let before = next(&device);
    device.crash = Some(Crash::After(device.effects));
    assert_eq!(device.run(Operation::Creds), None);
    device.crash = None;
    assert_eq!((device.run(Operation::Creds), next(&device)), (Some(Ok(())), before.map(|next| next + 4_096)));
    assert_eq!((device.run(Operation::Creds), next(&device)), (Some(Ok(())), before.map(|next| next + 4_096)));
}

// Covers: GO-6.2.1-06, GO-12-08
#[test]
fn a_challenge_that_is_wrong_or_gone_is_replaced() {
    let mut device = Device::new();
    device.run(Operation::Token);
    device.run(Operation::Upload);
    // Somebody has changed it on its way.
    device.disk.offered.as_mut().unwrap().kdcchallenge = Some(Bytes(vec![9; 8]));
    device.restart(true);
    assert_eq!(device.run(Operation::Join), Some(Ok(())));
    assert_eq!(device.posts, 2);
    // The KDC has a new one to offer.
    let refusal = |challenge: Option<Vec<u8>>, format| {
        let refusal = JoinRefusal { kdcchallenge: challenge, ..JoinRefusal::default() };
        Fate::Answer(Response::new(Status::BadRequest).with_payload(format, refusal.encode()))
    };
    let good = device.disk.session.as_ref().and_then(|session| session.kdcchallenge.clone()).unwrap();
    device.disk.session.as_mut().unwrap().kdcchallenge = None;
    device.restart(true);
    device.fate = [refusal(Some(good.0.clone()), ACE_GROUPCOMM_CBOR)].into();
    assert_eq!(device.run(Operation::Join), Some(Ok(())));
    assert_eq!(device.posts, 2);
    // What is no such offer is a refusal.
    for fate in [refusal(Some(good.0.clone()), 60), refusal(None, ACE_GROUPCOMM_CBOR)] {
        device.fate = [fate].into();
        let refused = device.run(Operation::Join);
        assert!(matches!(refused, Some(Err(MemberError::Refused { status: Status::BadRequest, .. }))), "{refused:?}");
    }
    // And it does not go on for ever.
    device.fate = (0..9).map(|_| refusal(Some(good.0.clone()), ACE_GROUPCOMM_CBOR)).collect();
    assert!(matches!(device.run(Operation::Join), Some(Err(MemberError::Unusable(_)))));
    assert_eq!(device.fate.len(), 6);
}

fn with_num(response: &mut Response, num: i64) {
    let mut join = JoinResponse::decode(&response.payload).unwrap();
    join.material.num = num;
    response.payload = join.encode().into();
}

#[test]
fn a_join_response_that_cannot_be_right_changes_nothing() {
    let lies: [fn(&mut Response); 5] = [
        |response| response.location_path.clear(),
        |response| response.location_path[0] = "elsewhere".into(),
        |response| response.location_path[2] = "members".into(),
        |response| response.location_path.push("more".into()),
        |response| with_num(response, -1),
    ];
    let mut device = Device::new();
    for operation in [Operation::Token, Operation::Upload, Operation::Join] {
        assert_eq!(device.run(operation), Some(Ok(())));
    }
    let group = device.member.group().cloned();
    for lie in lies {
        device.fate = [Fate::Changed(lie)].into();
        let result = device.run(Operation::Join);
        assert!(matches!(result, Some(Err(MemberError::Unusable(_)))), "{result:?}");
        assert_eq!(device.member.group(), group.as_ref());
    }
    // A newer one is what a rekeying leaves behind.
    device.fate = [Fate::Changed(|response| with_num(response, 7))].into();
    assert_eq!(device.run(Operation::Join), Some(Ok(())));
    assert_eq!(device.member.group().unwrap().num, 7);
}

#[test]
fn with_newer_keys_nobody_is_known_until_asked_for() {
    let mut device = Device::new();
    for operation in [Operation::Token, Operation::Upload, Operation::Join] {
        device.run(operation);
    }
    let peer = Peer { id: Bytes(vec![9]), cred: Bytes(vec![1]), roles: 1 };
    let num = device.member.group().unwrap().num;
    for (ahead, known) in [(0, true), (1, false)] {
        for group in device.disk.groups.values_mut() {
            group.peers = vec![peer.clone()];
            group.spent.clear();
        }
        device.restart(true);
        device.fate = [Fate::Answer(distribution(num + ahead, 3))].into();
        assert_eq!(device.run(Operation::Keys), Some(Ok(())));
        assert_eq!(device.member.group().unwrap().peers.contains(&peer), known, "{ahead} ahead");
    }
}

// Covers: KG-8-04, GO-12-10
#[test]
fn a_member_knows_the_others_and_does_not_count_itself() {
    let mut device = Device::new();
    let other = TestClient::new(&AwsLc, 2).unwrap();
    let post =
        |device: &Device| token(1, &other.claims(&[("g1", TALKER)], device.world.desk.now.unix.seconds() + 1_000));
    let posted = post(&device);
    let (caller, challenge) = device.world.desk.post_token(&posted).unwrap();
    let join = join_post("g1", &other.join("g1", TALKER, &challenge, &[7; 8]));
    assert_eq!(device.world.desk.ask(&caller, join).status, Status::Created);
    for operation in [Operation::Token, Operation::Upload, Operation::Join] {
        assert_eq!(device.run(operation), Some(Ok(())));
    }
    let reserved = device.disk.session.clone();
    for operation in [Operation::Join, Operation::Creds] {
        assert_eq!(device.run(operation), Some(Ok(())));
        let peers = &device.member.group().unwrap().peers;
        assert_eq!(peers.iter().map(|peer| (peer.id.0.len(), peer.roles)).collect::<Vec<_>>(), [(1, TALKER)]);
        assert_ne!(peers[0].id.0, device.id());
    }
    let next = |session: &Option<Session>| session.as_ref().map(|session| session.next);
    assert_eq!(next(&device.disk.session), next(&reserved), "one block of sequence numbers is enough for all of it");
}
