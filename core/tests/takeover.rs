//! Associations that outlive their process, and that pass from one process to another.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::AssociationId;
use ace_groupcomm::UnixTime;
use ace_groupcomm::engine::Machine;
use ace_groupcomm::keys;
use ace_groupcomm::records::{Association, Meta};
use ace_groupcomm::testkit::build::{TestClient, group_request, token, token_post_with};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice};
use ace_groupcomm::{Caller, Method, Request, Status};
use ace_groupcomm_messages::TokenTransferResponse;

fn on(store: &TestStore) -> Desk {
    let mut desk = Desk::new(&AwsLc, store.clone(), desk::config(&["g1"])).unwrap();
    desk.notices.clear();
    desk
}

/// A client that has shown its token here. Returns the name of its association.
fn admitted(desk: &mut Desk, number: u16) -> AssociationId {
    let client = TestClient::new(&AwsLc, number).unwrap();
    let (caller, _) = desk.post_token(&token(1, &client.claims(&[("g1", 1)], 2_000_000))).unwrap();
    assert_eq!(desk.ask(&caller, num()).status, Status::Forbidden, "known, and no member");
    let Caller::Peer(name, _) = caller else { panic!("a peer") };
    name
}

fn num() -> Request {
    group_request(Method::Get, "g1", &["num"])
}

fn status(desk: &mut Desk, id: &AssociationId) -> (Status, Option<u32>) {
    desk.notices.clear();
    let answer = desk.ask(&Caller::peer(id), num());
    (answer.status, answer.max_age)
}

fn stored(store: &TestStore, id: &AssociationId) -> Association {
    store.record(&keys::association(id)).unwrap()
}

/// What became of a need.
fn need(desk: &mut Desk, need: AssociationNeed) -> AssociationNotice {
    desk.notices.clear();
    desk.need(need);
    assert_eq!(desk.notices.len(), 1, "{:?}", desk.notices);
    desk.notices.remove(0)
}

// Covers: TH-1-04/reserved-blocks
#[test]
fn a_process_takes_up_what_a_former_one_has_stored() {
    let store = TestStore::new(Sharing::Exclusive);
    let id = admitted(&mut on(&store), 1);
    let mut desk = on(&store);
    let before = stored(&store, &id);
    let notice = need(&mut desk, AssociationNeed::Unknown(id.clone()));
    let after = stored(&store, &id);
    let AssociationNotice::Loaded { id: of, profile, material, owned } = notice else { panic!("{notice:?}") };
    assert_eq!(after, before, "who names an association changes nothing");
    assert_eq!((of, profile, material, owned), (id.clone(), before.profile, before.material, true));
    let notice = need(&mut desk, AssociationNeed::Challenge(id.clone()));
    let after = stored(&store, &id);
    assert_eq!((before.sequence_limit, after.sequence_limit), (64, 80), "few, and none that was used before");
    assert_eq!(notice, AssociationNotice::Sequence { id: id.clone(), start: 64, limit: 80 });
    assert_eq!(status(&mut desk, &id), (Status::Forbidden, None), "known, without another token");
    let nobody = need(&mut desk, AssociationNeed::Unknown(b"nobody".into()));
    assert_eq!(nobody, AssociationNotice::Gone { id: b"nobody".into() });
    // What is too long for a name of ours is not looked for.
    store.set_unreadable(true);
    let id = AssociationId::from(vec![b'n'; 100_000]);
    assert_eq!(need(&mut desk, AssociationNeed::Unknown(id.clone())), AssociationNotice::Gone { id });
}

#[test]
fn whoever_replays_causes_so_many_commits_an_hour() {
    let store = TestStore::new(Sharing::Exclusive);
    let id = admitted(&mut on(&store), 1);
    let mut desk = on(&store);
    let mut commits = || {
        let before = desk.kdc.stats().commits;
        for _ in 0..100 {
            need(&mut desk, AssociationNeed::Challenge(id.clone()));
        }
        let last = desk.notices.clone();
        let unavailable = need(&mut desk, AssociationNeed::Challenge(id.clone()));
        assert_eq!(unavailable, AssociationNotice::Unavailable { id: id.clone() }, "{last:?}");
        let commits = desk.kdc.stats().commits - before;
        desk.pass(std::time::Duration::from_secs(3_600));
        commits
    };
    assert_eq!((commits(), commits()), (16, 16));
    // Its client, once it is proven, has as many numbers as it needs.
    assert!(matches!(need(&mut desk, AssociationNeed::Sequence(id.clone())), AssociationNotice::Sequence { .. }));
}

#[test]
fn what_cannot_be_claimed_is_said_so_and_not_tried_again() {
    let store = TestStore::new(Sharing::Shared);
    let id = admitted(&mut on(&store), 1);
    let mut desk = on(&store);
    let asked = AssociationNeed::Claim(id.clone());
    store.fail_next(Fault::NotDone);
    assert_eq!(need(&mut desk, asked.clone()), AssociationNotice::Unavailable { id: id.clone() });
    desk.notices.clear();
    desk.pass(std::time::Duration::from_secs(10));
    assert!(desk.notices.is_empty(), "{:?}", desk.notices);
    assert!(!matches!(need(&mut desk, asked), AssociationNotice::Unavailable { .. }));
    // Numbers are what an association that lives cannot do without.
    store.fail_next(Fault::NotDone);
    assert_eq!(need(&mut desk, AssociationNeed::Sequence(id.clone())), AssociationNotice::Unavailable { id });
    desk.notices.clear();
    desk.pass(std::time::Duration::from_secs(10));
    assert!(matches!(desk.notices[..], [AssociationNotice::Sequence { .. }]), "{:?}", desk.notices);
}

// Covers: TH-1-02/term-reread
#[test]
fn an_association_is_one_processs_at_a_time() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (on(&store), on(&store));
    let id = admitted(&mut one, 1);
    let restored = need(&mut other, AssociationNeed::Unknown(id.clone()));
    assert!(matches!(restored, AssociationNotice::Loaded { owned: false, .. }), "{restored:?}");
    assert_eq!(stored(&store, &id).term, 1, "to look at it takes nothing from anybody");
    assert_eq!(status(&mut one, &id).0, Status::Forbidden);
    assert_eq!(status(&mut other, &id), (Status::ServiceUnavailable, Some(1)));
    assert_eq!(other.notices, [AssociationNotice::Lost { id: id.clone() }]);

    let claimed = AssociationNotice::Claimed { id: id.clone() };
    assert_eq!(need(&mut other, AssociationNeed::Claim(id.clone())), claimed);
    assert_eq!(status(&mut other, &id).0, Status::Forbidden);
    assert!(other.notices.is_empty());
    for _ in 0..2 {
        assert_eq!(status(&mut one, &id), (Status::ServiceUnavailable, Some(1)));
        assert_eq!(one.notices, [AssociationNotice::Lost { id: id.clone() }]);
    }
    assert_eq!(need(&mut one, AssociationNeed::Claim(id.clone())), claimed, "and back");
    assert_eq!((status(&mut one, &id).0, status(&mut other, &id).0), (Status::Forbidden, Status::ServiceUnavailable));
    assert_eq!(stored(&store, &id).term, 3);
}

#[test]
fn an_association_that_ended_elsewhere_is_forgotten() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (on(&store), on(&store));
    let former = admitted(&mut one, 1);
    admitted(&mut other, 1);
    assert_eq!(status(&mut one, &former).0, Status::Unauthorized);
    assert_eq!(one.notices, [AssociationNotice::Gone { id: former.clone() }]);
    let claim = need(&mut one, AssociationNeed::Claim(former.clone()));
    assert_eq!(claim, AssociationNotice::Gone { id: former });
}

/// Posts a token anew. Returns the name of the association that waits.
fn posted(desk: &mut Desk, nonce: u8) -> Caller {
    let claims = TestClient::new(&AwsLc, 1).unwrap().claims(&[("g1", 1)], 2_000_000);
    let answer = desk.ask(&Caller::anonymous(), token_post_with(&token(1, &claims), &[nonce; 8]));
    let response = TokenTransferResponse::decode(&answer.payload).unwrap();
    Caller::peer(response.server_recipient_id.unwrap())
}

#[test]
fn a_proof_that_comes_late_ends_no_newer_association() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (on(&store), on(&store));
    let before = posted(&mut one, 0);
    let (late, later) = (posted(&mut one, 1), posted(&mut one, 2));
    let newer = posted(&mut other, 3);
    assert_eq!(other.ask(&newer, num()).status, Status::Forbidden, "proven");
    for caller in [&before, &late, &later] {
        assert_eq!(one.ask(caller, num()).status, Status::Unauthorized);
    }
    assert_eq!(other.ask(&newer, num()).status, Status::Forbidden, "it lives");
    // What is posted after it takes its place.
    let next = posted(&mut one, 4);
    assert_eq!(one.ask(&next, num()).status, Status::Forbidden);
    assert_eq!(other.ask(&newer, num()).status, Status::Unauthorized);
}

#[test]
fn of_several_that_wait_the_later_ones_may_follow() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store);
    let waiting: Vec<Caller> = (0..4).map(|nonce| posted(&mut desk, nonce)).collect();
    desk.notices.clear();
    assert_eq!(desk.ask(&waiting[1], num()).status, Status::Forbidden);
    let gone = |caller: &Caller| match caller {
        Caller::Peer(id, _) => AssociationNotice::Gone { id: id.clone() },
        other => panic!("{other:?}"),
    };
    assert!(desk.notices.contains(&gone(&waiting[0])), "nobody waits for an earlier one: {:?}", desk.notices);
    assert_eq!(desk.ask(&waiting[0], num()).status, Status::Unauthorized);
    assert_eq!(desk.ask(&waiting[1], num()).status, Status::Forbidden);
    assert_eq!(desk.ask(&waiting[3], num()).status, Status::Forbidden);
    assert!(desk.notices.contains(&gone(&waiting[1])) && desk.notices.contains(&gone(&waiting[2])));
}

// Covers: TH-1-04/reserved-blocks, TH-5-02/commits-then-errors
#[test]
fn an_activation_whose_outcome_was_unknown_gives_no_number_twice() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (on(&store), on(&store));
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let (caller, _) = one.post_token(&token(1, &client.claims(&[("g1", 1)], 2_000_000))).unwrap();
    let Caller::Peer(id, _) = &caller else { panic!("a peer") };
    store.fail_next(Fault::UnknownDone);
    assert_eq!(one.ask(&caller, num()).status, Status::ServiceUnavailable);
    need(&mut other, AssociationNeed::Unknown(id.clone()));
    let used = stored(&store, id);
    assert_eq!(status(&mut one, id).0, Status::Forbidden, "the request proves it again");
    let AssociationNotice::Sequence { start, .. } = one.notices[0] else { panic!("{:?}", one.notices) };
    assert_eq!(start, used.sequence_limit);
    assert_eq!(status(&mut other, id).0, Status::ServiceUnavailable);
}

// Covers: TH-1-02/takeover-term
#[test]
fn an_activation_whose_outcome_was_unknown_takes_nothing_from_who_has_claimed_since() {
    let store = TestStore::new(Sharing::Shared);
    let (mut one, mut other) = (on(&store), on(&store));
    let caller = posted(&mut one, 1);
    let Caller::Peer(id, _) = &caller else { panic!("a peer") };
    store.fail_next(Fault::UnknownDone);
    assert_eq!(one.ask(&caller, num()).status, Status::ServiceUnavailable);
    need(&mut other, AssociationNeed::Unknown(id.clone()));
    need(&mut other, AssociationNeed::Claim(id.clone()));
    let claimed = stored(&store, id);
    for _ in 0..2 {
        assert_eq!(status(&mut one, id), (Status::ServiceUnavailable, Some(1)), "a replay, for all that it knows");
        assert_eq!(one.notices, [AssociationNotice::Lost { id: id.clone() }]);
    }
    assert_eq!((stored(&store, id), status(&mut other, id).0), (claimed, Status::Forbidden));
}

// Covers: TH-1-04/reserved-blocks
#[test]
fn who_needs_numbers_to_answer_has_verified_what_proves_the_association() {
    for sharing in [Sharing::Shared, Sharing::Exclusive] {
        let store = TestStore::new(sharing);
        let mut desk = on(&store);
        let caller = posted(&mut desk, 1);
        let Caller::Peer(id, _) = &caller else { panic!("a peer") };
        store.fail_next(Fault::NotDone);
        let asked = AssociationNeed::Sequence(id.clone());
        assert_eq!(need(&mut desk, asked.clone()), AssociationNotice::Unavailable { id: id.clone() });
        let AssociationNotice::Sequence { start, limit, .. } = need(&mut desk, asked) else { panic!("no numbers") };
        assert_eq!(stored(&store, id).sequence_limit, limit);
        assert!(start < limit);
        assert_eq!(desk.ask(&caller, num()).status, Status::Forbidden, "known, and no member");
    }
    // One that can no longer be proven is gone.
    let mut desk = on(&TestStore::new(Sharing::Shared));
    let caller = posted(&mut desk, 1);
    let Caller::Peer(id, _) = &caller else { panic!("a peer") };
    desk.pass(std::time::Duration::from_secs(1));
    desk.now.unix = UnixTime::new(2_000_001);
    assert_eq!(need(&mut desk, AssociationNeed::Sequence(id.clone())), AssociationNotice::Gone { id: id.clone() });
    assert_eq!(desk.ask(&caller, num()).status, Status::Unauthorized);
}

// Covers: TH-1-05/server-id-processes
#[test]
fn each_process_gets_a_number_before_it_is_ready() {
    let store = TestStore::new(Sharing::Shared);
    let prefixes: Vec<Vec<u8>> =
        (1..=3).map(|number| admitted(&mut on(&store), number).as_bytes()[..2].to_vec()).collect();
    assert_eq!(prefixes, [[0, 1], [0, 2], [0, 3]]);
    let meta: Meta = store.record(&keys::meta()).unwrap();
    store.plant(&keys::meta(), &Meta { starts: u16::MAX, ..meta });
    assert_eq!(admitted(&mut on(&store), 4).as_bytes()[..2], [0, 0], "it begins again");
    store.fail_next(Fault::NotDone);
    let mut desk = on(&store);
    assert!(!desk.kdc.is_ready());
    let post = token(1, &TestClient::new(&AwsLc, 5).unwrap().claims(&[("g1", 1)], 2_000_000));
    assert_eq!(desk.post_token(&post).map(|(caller, _)| caller), None, "no name can be given");
    desk.pass(std::time::Duration::from_secs(10));
    assert!(desk.kdc.is_ready());
    assert!(desk.post_token(&post).is_some());
}
