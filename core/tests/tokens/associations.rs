//! Associations that come with token posts: which values they have, and how one takes the place of another.

use super::*;

// Covers: TH-1-06/same-token, TH-6-01/token-bound
#[test]
fn replayed_posts_disturb_nobody_and_write_nothing() {
    let mut desk = desk();
    let client = client(1);
    let bytes = token(1, &client.claims(&[("g1", TALKER)], LATER));
    let owner = member(&mut desk, &client, &[("g1", TALKER)], LATER);
    let before = desk.store.dump();
    // The very same post gives the very same answer, and one association.
    let first = desk.ask(&Caller::anonymous(), post(&bytes));
    for _ in 0..1_000 {
        assert_eq!(desk.ask(&Caller::anonymous(), post(&bytes)), first);
    }
    assert_eq!(desk.kdc.pending(), 1);
    let mine = TokenTransferResponse::decode(&first.payload).unwrap();
    // With other nonces there are a few, and then no more: the first one stays.
    let answers: Vec<Status> =
        (2..=100).map(|n| desk.ask(&Caller::anonymous(), token_post_with(&bytes, &[n; 8])).status).collect();
    assert_eq!(answers.iter().filter(|status| **status == Status::Created).count(), 3);
    assert_eq!((desk.kdc.pending(), desk.store.dump() == before), (4, true));
    assert_eq!(num(&mut desk, &owner, "g1").status, Status::Content, "the owner notices nothing");
    let new = Caller::peer(mine.server_recipient_id.unwrap());
    assert_eq!(num(&mut desk, &new, "g1").status, Status::Content, "and can go over to the new one");
    let gone = num(&mut desk, &owner, "g1");
    assert_eq!((gone.status, gone.unprotected), (Status::Unauthorized, true), "the old one is gone then");
}

// Covers: OP-6-02, TH-1-06/same-token
#[test]
fn the_first_proven_request_swaps_associations() {
    let mut desk = desk();
    let client = client(1);
    let claims = client.claims(&[("g1", TALKER)], LATER);
    let (first, challenge) = desk.post_token(&token(1, &claims)).unwrap();
    assert_eq!(join(&mut desk, &client, &first, &challenge, "g1", TALKER).status, Status::Created);
    desk.notices.clear();
    let (second, _) = desk.post_token(&token(1, &claims)).unwrap();
    assert!(matches!(desk.notices.as_slice(), [AssociationNotice::New { .. }]));
    assert_eq!(num(&mut desk, &first, "g1").status, Status::Content, "the old one lives until the new one is proven");
    assert_eq!(num(&mut desk, &second, "g1").status, Status::Content, "and it is the same member");
    let Caller::Peer(old, _) = &first else { panic!() };
    assert!(desk.notices.contains(&AssociationNotice::Gone { id: old.clone() }));
    assert!(
        desk.notices.iter().any(|notice| matches!(notice, AssociationNotice::Sequence { start: 0, limit: 64, .. }))
    );
    assert_eq!(num(&mut desk, &first, "g1").status, Status::Unauthorized);
    let principals = records::<Principal>(&desk, b"p/");
    assert_eq!(principals.len(), 1);
}

// Covers: TH-1-06/own-values, TH-1-06/one-swap
#[test]
fn a_post_has_values_of_its_own_and_one_commit_swaps_all() {
    let mut desk = desk();
    let client = client(1);
    let bytes = token(1, &client.claims(&[("g1", TALKER)], LATER));
    let posted = |desk: &mut Desk, nonce: u8| {
        let answer = desk.ask(&Caller::anonymous(), token_post_with(&bytes, &[nonce; 8]));
        TokenTransferResponse::decode(&answer.payload).unwrap()
    };
    let (first, second) = (posted(&mut desk, 1), posted(&mut desk, 2));
    assert_ne!(first.nonce2, second.nonce2);
    assert_ne!(first.server_recipient_id, second.server_recipient_id);
    assert_ne!(first.kdcchallenge, second.kdcchallenge);
    let caller = |response: &TokenTransferResponse| Caller::peer(response.server_recipient_id.clone().unwrap());
    let old = caller(&first);
    // It observes its group under the first one, and joins with its challenge, though another one was posted for since.
    assert_eq!(num(&mut desk, &old, "g1").status, Status::Forbidden, "proven, and no member");
    let third = posted(&mut desk, 3);
    let challenge = first.kdcchallenge.clone().unwrap();
    assert_eq!(join(&mut desk, &client, &old, &challenge, "g1", TALKER).status, Status::Created);
    let mut observe = group_request(Method::Get, "g1", &[]);
    observe.observe = Some(Registration { name: vec![1].into(), state: vec![1].into() });
    assert!(desk.ask(&old, observe).observed);
    let commits = desk.kdc.stats().commits;
    let (associations, principal) = (records::<Association>(&desk, b"a/"), records::<Principal>(&desk, b"p/"));
    assert_eq!((associations.len(), principal[0].tokens.len()), (1, 1));
    assert_eq!(num(&mut desk, &caller(&third), "g1").status, Status::Content);
    assert_eq!(desk.kdc.stats().commits - commits, 1);
    let after = records::<Association>(&desk, b"a/");
    assert!(after.len() == 1 && after[0].material != associations[0].material);
    assert_eq!(after[0].kdcchallenge.as_ref().map(|kept| kept.value.to_vec()), third.kdcchallenge);
    assert_eq!(num(&mut desk, &old, "g1").status, Status::Unauthorized);
}

// Covers: TH-1-06/replayed-post
#[test]
fn an_owner_notices_nothing_of_a_hundred_thousand_replayed_posts() {
    let mut desk = desk();
    let client = client(1);
    let bytes = token(1, &client.claims(&[("g1", TALKER)], LATER));
    let (owner, challenge) = desk.post_token(&bytes).unwrap();
    assert_eq!(join(&mut desk, &client, &owner, &challenge, "g1", TALKER).status, Status::Created);
    let replayed = post(&bytes);
    for round in 1..=10 {
        for _ in 0..10_000 {
            desk.ask(&Caller::anonymous(), replayed.clone());
        }
        assert_eq!(desk.kdc.pending(), 1);
        let again = join(&mut desk, &client, &owner, &challenge, "g1", TALKER);
        assert!([Status::Changed, Status::TooManyRequests].contains(&again.status), "{again:?}");
        desk.command(Command::Rekey("g1".into())).unwrap();
        let told = num(&mut desk, &owner, "g1");
        assert_eq!((told.status, retrieval::decode_num(&told.payload).unwrap()), (Status::Content, round));
    }
}

// Covers: AF-5.10.2-03
#[test]
fn nobody_knows_an_association_that_was_never_made_or_never_proven() {
    let mut desk = desk();
    let (caller, _) = desk.post_token(&token(1, &client(1).claims(&[("g1", TALKER)], LATER))).unwrap();
    desk.pass(Duration::from_secs(601));
    assert_eq!(desk.kdc.pending(), 0);
    for stranger in [caller, Caller::peer(b"nobody")] {
        let response = num(&mut desk, &stranger, "g1");
        assert_eq!((response.status, response.unprotected), (Status::Unauthorized, true));
        let hints = CreationHints::decode(&response.payload).unwrap();
        assert_eq!(hints.audience.as_deref(), Some(build::AUDIENCE));
    }
}

// Covers: KG-4.3.1-16, KG-4.3.1-17, TH-2-05/lost-challenge
#[test]
fn without_a_challenge_a_join_brings_a_new_one() {
    let mut desk = desk();
    let client = client(1);
    // Only a role without credential is in the first token, so that no N_S is sent.
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", LISTENER)], LATER))).unwrap();
    assert!(challenge.is_empty());
    let wider = token(1, &client.update(&[("g1", LISTENER | TALKER)], LATER));
    assert_eq!(num(&mut desk, &caller, "g1").status, Status::Forbidden, "proven");
    assert_eq!(desk.ask(&caller, update_post(&wider)).status, Status::Created);
    let refused = join(&mut desk, &client, &caller, &[0; 8], "g1", TALKER);
    assert_eq!((refused.status, refused.content_format), (Status::BadRequest, Some(261)));
    let refusal = JoinRefusal::decode(&refused.payload).unwrap();
    let challenge = refusal.kdcchallenge.unwrap();
    assert_eq!((challenge.len(), refusal.info.sign_info.len()), (8, 1));
    assert_eq!(join(&mut desk, &client, &caller, &challenge, "g1", TALKER).status, Status::Created);
}

#[test]
fn one_client_with_many_tokens_has_one_clients_share_of_what_waits() {
    let mut desk = desk();
    let client = client(1);
    let posts: Vec<bool> = (0..40)
        .map(|more| desk.post_token(&token(1, &client.claims(&[("g1", TALKER)], LATER + more))).is_some())
        .collect();
    assert_eq!(posts.iter().filter(|taken| **taken).count(), 32);
    assert!(desk.post_token(&token(1, &self::client(2).claims(&[("g1", TALKER)], LATER))).is_some());
    desk.pass(Duration::from_secs(30));
    assert!(
        desk.post_token(&token(1, &client.claims(&[("g1", TALKER)], LATER + 50))).is_some(),
        "the oldest gives way"
    );
}
