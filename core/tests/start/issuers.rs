//! Issuers: a start with others is refused, or ends the clients that nobody vouches for.

use super::*;
use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::records::{Challenge, ChallengeOrigin, HeldToken, StoredToken};
use ace_groupcomm::{AssociationId, Stop, UnixTime, View, record};
use serde::Serialize;

/// Issuers, each with the numbers of its keys and its groups.
type Issuers<'a> = &'a [(u8, &'a [u8], &'a [&'a str])];

fn validator(issuers: Issuers<'_>) -> CwtValidator {
    let issuer = |(name, keys, groups): &(u8, &[u8], &[&str])| Issuer {
        name: format!("as{name}"),
        iss: None,
        keys: keys.iter().map(|&number| TokenKey { kid: Some(vec![number]), ..build::token_key(number) }).collect(),
        groups: groups.iter().map(|&group| group.into()).collect(),
        strictness: Strictness::Strict,
    };
    CwtValidator::new(AUDIENCE, issuers.iter().map(issuer).collect()).unwrap()
}

fn start(store: &TestStore, accept_issuers: bool, issuers: Issuers<'_>) -> Desk {
    let config = KdcConfig { accept_issuers, ..desk::config(&["g1", "g2"]) };
    let now = Now::new(1_000_000, Duration::from_secs(1));
    Desk::start(&AwsLc, store.clone(), config, &toy::registry(), Box::new(validator(issuers)), now).unwrap()
}

/// The token of a client of the key with this number.
fn token_of(key: u8, client: u16, groups: &[(&str, u64)]) -> Vec<u8> {
    let claims = TestClient::new(&AwsLc, client).unwrap().claims(groups, LATER);
    let nonce = [u8::try_from(client).unwrap(); 13];
    let key = TokenKey { kid: Some(vec![key]), ..build::token_key(key) };
    ace_groupcomm::token::seal_cwt(&key, &nonce, &claims).unwrap()
}

fn joined(desk: &mut Desk, key: u8, number: u16, groups: &[(&str, u64)]) -> Caller {
    let client = TestClient::new(&AwsLc, number).unwrap();
    let (caller, challenge) = desk.post_token(&token_of(key, number, groups)).unwrap();
    let join = client.join(groups[0].0, groups[0].1, &challenge, &number.to_be_bytes().repeat(4));
    assert_eq!(desk.ask(&caller, join_post(groups[0].0, &join)).status, Status::Created);
    caller
}

fn num(desk: &mut Desk, caller: &Caller) -> Status {
    desk.ask(caller, group_request(Method::Get, "g1", &["num"])).status
}

fn issuers_refused(desk: &Desk) -> (Vec<TrustChange>, u64) {
    match refusal(desk) {
        Some(StartRefusal::Issuers { changes, clients }) => (changes, clients),
        other => panic!("{other:?}"),
    }
}

const BOTH: Issuers<'_> = &[(1, &[1], &["g1", "g2"]), (2, &[2], &["g1"])];

#[test]
fn other_issuers_end_the_start_and_it_says_how_many_clients_would_end() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    assert!(desk.kdc.is_ready());
    let one = joined(&mut desk, 1, 1, &[("g1", 1), ("g2", 1)]);
    let two = joined(&mut desk, 2, 2, &[("g1", 1)]);
    for number in 100..170 {
        joined(&mut desk, 1, number, &[("g1", 1)]);
    }
    let change = |change: fn(String) -> TrustChange, issuer: &str| vec![change(issuer.into())];
    for (issuers, changes, clients) in [
        (&[(1, &[1][..], &["g1", "g2"][..])][..], change(TrustChange::Removed, "as2"), 1),
        (&[(1, &[3], &["g1", "g2"]), (2, &[2], &["g1"])], change(TrustChange::Keys, "as1"), 71),
        (&[(1, &[1], &["g1"]), (2, &[2], &["g1"])], change(TrustChange::GroupsLost, "as1"), 1),
        (&[(1, &[1, 3], &["g1", "g2"]), (2, &[2], &["g1"])], change(TrustChange::Keys, "as1"), 0),
        (&[(1, &[1], &["g1", "g2"]), (2, &[2], &["g1"]), (3, &[3], &["g1"])], change(TrustChange::Added, "as3"), 0),
    ] {
        let before = store.dump().len();
        assert_eq!(issuers_refused(&start(&store, false, issuers)), (changes, clients), "{issuers:?}");
        assert_eq!(store.dump().len(), before, "nobody has ended");
    }
    let words = refusal(&start(&store, false, &[(1, &[1], &["g1", "g2"])])).unwrap().to_string();
    assert_eq!(words, "the issuers are not those that storage knows (issuer \"as2\" is gone): 1 client would end");
    let words = refusal(&start(&store, false, &[(2, &[2], &["g1"])])).unwrap().to_string();
    assert!(words.ends_with("(issuer \"as1\" is gone): 71 clients would end"), "{words}");
    // The former file is good still, and so are those who were there.
    let mut desk = start(&store, false, BOTH);
    assert_eq!((num(&mut desk, &one), num(&mut desk, &two)), (Status::Content, Status::Content));
}

#[test]
fn what_is_no_longer_vouched_for_ends_where_that_is_allowed_and_its_client_may_come_again() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    let one = joined(&mut desk, 1, 1, &[("g1", 1)]);
    let gone: Vec<Caller> = (2..90).map(|number| joined(&mut desk, 2, number, &[("g1", 1)])).collect();
    assert_eq!(head(&store).members, 89);
    drop(desk);
    let one_issuer: Issuers<'_> = &[(1, &[1], &["g1", "g2"])];
    let mut desk = start(&store, true, one_issuer);
    assert!(desk.kdc.is_ready());
    assert_eq!((num(&mut desk, &one), num(&mut desk, &gone[0])), (Status::Content, Status::Unauthorized));
    assert!(gone.iter().all(|caller| num(&mut desk, caller) == Status::Unauthorized));
    let ended = |notice: &&AssociationNotice| matches!(notice, AssociationNotice::Ended { .. });
    assert_eq!(desk.notices.iter().filter(ended).count(), 88, "the network side knows");
    let head = head(&store);
    assert_eq!((head.members, head.num, head.rekey_due), (1, 1, None), "and who is left has new keys");
    let marks = store.dump().iter().filter(|(key, _)| key.as_bytes().starts_with(b"rv/")).count();
    assert_eq!(marks, 0, "their tokens are not revoked");
    assert_clean(&store);
    // The next start needs no permission, and one with a corrected file takes the token again.
    assert!(start(&store, false, one_issuer).kdc.is_ready());
    let mut desk = start(&store, true, BOTH);
    assert!(joined(&mut desk, 2, 2, &[("g1", 1)]) != gone[0]);
    assert_eq!(desk.kdc.refused().map(|_| ()), None);
}

#[test]
fn a_token_whose_time_begins_with_its_post_is_not_taken_again_after_its_end() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    let mut claims = TestClient::new(&AwsLc, 2).unwrap().claims(&[("g1", 1)], 0);
    (claims.exp, claims.exi, claims.cti) = (None, Some(600), Some([AUDIENCE.as_bytes(), &[1]].concat()));
    let key = TokenKey { kid: Some(vec![2]), ..build::token_key(2) };
    let bytes = ace_groupcomm::token::seal_cwt(&key, &[9; 13], &claims).unwrap();
    let (caller, _) = desk.post_token(&bytes).unwrap();
    assert_eq!(num(&mut desk, &caller), Status::Forbidden);
    assert!(start(&store, true, &[(1, &[1], &["g1", "g2"])]).kdc.is_ready());
    let mut desk = start(&store, true, BOTH);
    assert!(desk.post_token(&bytes).is_none(), "its time would begin anew");
}

#[test]
fn more_groups_for_an_issuer_are_no_reason_to_stop() {
    let store = store();
    let mut desk = start(&store, false, &[(1, &[1], &["g1"])]);
    let one = joined(&mut desk, 1, 1, &[("g1", 1)]);
    let mut desk = start(&store, false, &[(1, &[1], &["g1", "g2"])]);
    assert!(desk.kdc.is_ready());
    assert_eq!(num(&mut desk, &one), Status::Content);
    joined(&mut desk, 1, 2, &[("g2", 1)]);
    assert_eq!(issuers_refused(&start(&store, false, &[(1, &[1], &["g1"])])).1, 1);
}

#[test]
fn an_end_of_clients_that_was_broken_off_goes_on_with_the_next_start() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    for number in 1..90 {
        joined(&mut desk, 2, number, &[("g1", 1)]);
    }
    let one_issuer: Issuers<'_> = &[(1, &[1], &["g1", "g2"])];
    let mut broken = process(&store, KdcConfig { accept_issuers: true, ..desk::config(&["g1", "g2"]) });
    let registry = toy::registry();
    let config = KdcConfig { accept_issuers: true, ..desk::config(&["g1", "g2"]) };
    broken.kdc = ace_groupcomm::kdc::Kdc::new(
        config,
        &registry,
        Box::new(validator(one_issuer)),
        Sharing::Exclusive,
        Arc::new(AwsLc),
    )
    .unwrap();
    let mut out = Vec::new();
    broken.kdc.start(broken.now, &mut broken.rng, &mut out);
    broken.settle(out);
    // The issuers are stored, and one page is ended; then the process dies.
    for _ in 0..2 {
        let mut out = Vec::new();
        broken.kdc.timeout(broken.now, &mut broken.rng, &mut out);
        broken.settle(out);
    }
    assert!(!broken.kdc.is_ready());
    let clients = store.dump().into_iter().filter(|(key, _)| key.as_bytes().starts_with(b"p/"));
    assert_eq!(clients.count(), 89 - 64);
    assert!(store.record::<TrustedIssuers>(&keys::issuers()).unwrap().ending);
    // It needs no permission any more.
    assert!(start(&store, false, one_issuer).kdc.is_ready());
    assert_eq!(head(&store).members, 0);
    assert!(!store.record::<TrustedIssuers>(&keys::issuers()).unwrap().ending);
    assert_clean(&store);
}

#[test]
fn a_step_that_cannot_be_stored_is_tried_again() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    joined(&mut desk, 2, 2, &[("g1", 1)]);
    store.fail_next(Fault::NotDone);
    let mut desk = start(&store, true, &[(1, &[1], &["g1", "g2"])]);
    assert!(!desk.kdc.is_ready());
    desk.pass(Duration::from_secs(60));
    assert!(desk.kdc.is_ready());
    assert_eq!(head(&store).members, 0);
}

#[test]
fn a_process_that_goes_on_with_former_issuers_takes_none_of_their_tokens() {
    let store = TestStore::new(Sharing::Shared);
    let mut old = start(&store, false, BOTH);
    let one = joined(&mut old, 1, 1, &[("g1", 1)]);
    let two = joined(&mut old, 2, 2, &[("g1", 1)]);
    let late = TestClient::new(&AwsLc, 3).unwrap();
    let (pending, challenge) = old.post_token(&token_of(2, 3, &[("g1", 1)])).unwrap();
    assert!(start(&store, true, &[(1, &[1], &["g1", "g2"])]).kdc.is_ready());
    assert_eq!((num(&mut old, &one), num(&mut old, &two)), (Status::Content, Status::Unauthorized));
    let refused = Status::InternalServerError;
    let join = join_post("g1", &late.join("g1", 1, &challenge, &[3; 8]));
    assert_eq!(old.ask(&pending, join).status, refused, "one that was posted before");
    assert_eq!(old.ask(&Caller::anonymous(), token_post_with(&token_of(2, 4, &[("g1", 1)]), &[4; 8])).status, refused);
    joined(&mut old, 1, 5, &[("g1", 1)]);
    assert!(store.record::<Principal>(&keys::principal(PrincipalId::of("as2", "client4"))).is_none());
    // It notices when it starts anew, and ends nobody.
    let members = head(&store).members;
    assert_eq!(issuers_refused(&start(&store, false, BOTH)), (vec![TrustChange::Added("as2".into())], 0));
    assert_eq!(head(&store).members, members);
}

/// A process that begins its start, and does the first steps of it.
fn beginning(store: &TestStore, issuers: Issuers<'_>, steps: usize) -> Desk {
    let mut desk = process(store, desk::config(&["g1", "g2"]));
    let (config, validator) = (desk::config(&["g1", "g2"]), Box::new(validator(issuers)));
    desk.kdc =
        ace_groupcomm::kdc::Kdc::new(config, &toy::registry(), validator, store.sharing(), Arc::new(AwsLc)).unwrap();
    let mut out = Vec::new();
    desk.kdc.start(desk.now, &mut desk.rng, &mut out);
    desk.settle(out);
    for _ in 0..steps {
        let mut out = Vec::new();
        desk.kdc.timeout(desk.now, &mut desk.rng, &mut out);
        desk.settle(out);
    }
    desk
}

#[test]
fn two_that_may_replace_each_others_issuers_do_so_once() {
    let store = TestStore::new(Sharing::Shared);
    let mut desk = start(&store, false, BOTH);
    for number in 1..90 {
        joined(&mut desk, 2, number, &[("g1", 1)]);
    }
    let may = |issuers: Issuers<'_>| {
        let mut desk = beginning(&store, issuers, 0);
        let config = KdcConfig { accept_issuers: true, ..desk::config(&["g1", "g2"]) };
        let validator = Box::new(validator(issuers));
        desk.kdc = ace_groupcomm::kdc::Kdc::new(config, &toy::registry(), validator, Sharing::Shared, Arc::new(AwsLc))
            .unwrap();
        let mut out = Vec::new();
        desk.kdc.start(desk.now, &mut desk.rng, &mut out);
        desk.settle(out);
        desk
    };
    let step = |desk: &mut Desk| {
        let mut out = Vec::new();
        desk.kdc.timeout(desk.now, &mut desk.rng, &mut out);
        desk.settle(out);
    };
    let (mut one, mut other) = (may(&[(1, &[1], &["g1", "g2"])]), may(&[(1, &[5], &["g1", "g2"])]));
    // Both have seen the former issuers, and begin to replace them; the second one sees that others are there.
    for _ in 0..20 {
        step(&mut one);
        step(&mut other);
    }
    assert!(one.kdc.is_ready() && refusal(&one).is_none());
    assert_eq!(issuers_refused(&other).0, [TrustChange::Keys("as1".into())]);
    // One that has replaced them, and sees others at the next page, gives up as well.
    let mut late = may(&[(1, &[6], &["g1", "g2"])]);
    step(&mut late);
    assert!(start(&store, true, &[(1, &[7], &["g1", "g2"])]).kdc.is_ready());
    for _ in 0..20 {
        step(&mut late);
    }
    assert_eq!(issuers_refused(&late).0, [TrustChange::Keys("as1".into())]);
}

#[test]
fn who_loses_the_race_for_the_issuers_of_new_storage_does_not_start() {
    let store = TestStore::new(Sharing::Shared);
    // It has counted nobody, and would store its issuers next.
    let mut slow = beginning(&store, BOTH, 1);
    assert!(start(&store, false, &[(1, &[1], &["g1", "g2"])]).kdc.is_ready());
    slow.due();
    assert_eq!(issuers_refused(&slow).0, [TrustChange::Added("as2".into())]);
}

#[test]
fn who_loses_the_race_for_more_groups_of_an_issuer_does_not_start() {
    let store = TestStore::new(Sharing::Shared);
    assert!(start(&store, false, &[(1, &[1], &["g1"])]).kdc.is_ready());
    let mut slow = beginning(&store, &[(1, &[1], &["g1", "g2"])], 0);
    assert!(start(&store, true, &[(1, &[3], &["g1"])]).kdc.is_ready());
    slow.due();
    assert!(issuers_refused(&slow).0.contains(&TrustChange::Keys("as1".into())));
}

/// A client as the first format had it: with one token, and no key of its issuer.
fn of_first_format(bytes: &[u8]) -> Vec<u8> {
    #[derive(Serialize)]
    struct First {
        issuer: String,
        subject: String,
        token: StoredToken,
        kdcchallenge: Option<Challenge>,
        association: AssociationId,
        memberships: Vec<(String, keys::GroupId)>,
    }
    let Principal { issuer, subject, mut tokens, memberships } = Principal::decode(bytes).unwrap();
    let HeldToken { token, association, .. } = tokens.pop().unwrap();
    let token = StoredToken { issuer_key: None, ..token };
    let kdcchallenge = Some(Challenge { value: vec![1].into(), origin: ChallengeOrigin::TokenTransfer });
    record::to_bytes(&First { issuer, subject, token, kdcchallenge, association, memberships }, 1)
}

/// Storage as it was before the keys of issuers were recorded.
fn forget_issuers(store: &TestStore) {
    let mut write = vec![(keys::issuers(), None)];
    for (key, record) in store.dump() {
        if key.as_bytes().starts_with(b"p/") {
            write.push((key, Some(of_first_format(&record.value).into())));
        }
    }
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
}

#[test]
fn tokens_without_a_recorded_key_count_as_verified_by_the_first_ones_that_are() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    let one = joined(&mut desk, 1, 1, &[("g1", 1)]);
    let two = joined(&mut desk, 2, 2, &[("g1", 1)]);
    forget_issuers(&store);
    // With nobody who would end the start asks for nothing.
    let mut desk = start(&store, false, BOTH);
    assert_eq!((num(&mut desk, &one), num(&mut desk, &two)), (Status::Content, Status::Content));
    // From now on the key counts.
    let changed: Issuers<'_> = &[(1, &[1], &["g1", "g2"]), (2, &[4], &["g1"])];
    assert_eq!(issuers_refused(&start(&store, false, changed)).1, 1);
    let mut desk = start(&store, true, changed);
    assert_eq!((num(&mut desk, &one), num(&mut desk, &two)), (Status::Content, Status::Unauthorized));

    // Where somebody would end at once, it asks.
    forget_issuers(&store);
    let refused = start(&store, false, &[(2, &[4], &["g1"])]);
    assert_eq!(issuers_refused(&refused), (vec![], 1));
    assert_eq!(
        refusal(&refused).unwrap().to_string(),
        "the issuers are not those that storage knows (it knows none yet): 1 client would end"
    );
    assert!(store.record::<TrustedIssuers>(&keys::issuers()).is_none());
    let mut desk = start(&store, true, &[(2, &[4], &["g1"])]);
    assert_eq!(num(&mut desk, &one), Status::Unauthorized);
}

#[test]
fn a_validator_that_does_not_say_whom_it_trusts_starts_over_any_storage() {
    struct Silent(CwtValidator);
    impl ace_groupcomm::traits::token::TokenValidator for Silent {
        fn validate(
            &self,
            view: &View<'_>,
            token: &[u8],
            now: UnixTime,
        ) -> Result<ace_groupcomm::token::ValidToken, Stop> {
            self.0.validate(view, token, now)
        }
    }
    let store = store();
    let mut desk = start(&store, false, BOTH);
    let one = joined(&mut desk, 1, 1, &[("g1", 1)]);
    let (config, now) = (desk::config(&["g1", "g2"]), Now::new(1_000_000, Duration::from_secs(1)));
    let validator = Box::new(Silent(validator(&[(2, &[2], &["g1"])])));
    let mut desk = Desk::start(&AwsLc, store, config, &toy::registry(), validator, now).unwrap();
    assert_eq!(num(&mut desk, &one), Status::Content);
    joined(&mut desk, 2, 2, &[("g1", 1)]);
}

#[test]
fn the_key_that_verified_a_token_is_recorded_with_it() {
    let store = store();
    let mut desk = start(&store, false, BOTH);
    joined(&mut desk, 1, 1, &[("g1", 1)]);
    let bytes = token(1, &TestClient::new(&AwsLc, 7).unwrap().claims(&[("g1", 1)], LATER));
    assert!(desk.post_token(&bytes).is_none(), "of a key with another name");
    let own: Principal = store.record(&keys::principal(PrincipalId::of("as1", "client1"))).unwrap();
    let named = TokenKey { kid: None, ..build::token_key(1) }.fingerprint();
    assert_eq!(own.tokens[0].token.issuer_key, Some(named));
}

#[test]
fn a_client_whose_record_cannot_be_read_is_not_counted_as_none() {
    let store = store();
    joined(&mut start(&store, false, BOTH), 1, 1, &[("g1", 1)]);
    let damaged = keys::principal(PrincipalId::of("as1", "client1"));
    let write = vec![(keys::issuers(), None), (damaged, Some(vec![1, 2, 3].into()))];
    assert!(matches!(store.commit_now(Txn { expect: vec![], write }), CommitOutcome::Done(_)));
    let desk = start(&store, false, BOTH);
    assert!(!desk.kdc.is_ready());
    assert!(store.record::<TrustedIssuers>(&keys::issuers()).is_none());
}
