//! Clients whose runs have contexts of their own, and contexts whose associations have ended.

use crate::lab::*;
use ace_coap::numbers::option;
use ace_coap::security::{Inbound, MessageSecurity, PeerId, ProtectError};
use ace_coap::{Code, Message};
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use ace_oscore::{Context, OscoreOption, PendingRequest, Sequence};
use ace_profile_oscore::{OscoreServer, Responses};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A run of the client, which begins at the first number whatever was used before.
fn run(id_context: &[u8]) -> Context {
    let mut parameters = configured(true);
    parameters.id_context = Some(id_context.to_vec());
    Context::fresh(&parameters, Sequence::all()).unwrap()
}

fn with_runs(server: OscoreServer) -> OscoreServer {
    server.add_with_runs(PeerId::new(b"client1"), &configured(false), Sequence::block(10, 1_000)).unwrap();
    server
}

/// The Partial IV of an answer.
fn number(answer: &Message) -> Vec<u8> {
    OscoreOption::decode(answer.options.first(option::OSCORE).unwrap()).unwrap().partial_iv.unwrap().bytes()
}

/// The request of a run that answers the Echo that its first one was asked for.
fn proven(server: &OscoreServer, client: &mut Context) -> (Message, PendingRequest, Vec<u8>) {
    let (first, pending) = request(client);
    let asked = answer(server.unprotect(first));
    let (again, pending) = echoing(client, &asked, pending);
    (again, pending, number(&asked))
}

#[test]
fn each_run_has_a_context_of_its_own_and_proves_that_it_is_one() {
    let server = with_runs(server(Responses::ReuseNonce));
    let mut numbers = BTreeSet::new();
    // The state was rolled back each time: three runs begin with the same number, and no two have one key.
    for name in [&b"run one"[..], b"run two", b"run three"] {
        let mut client = run(name);
        let (again, mut pending, number) = proven(&server, &mut client);
        assert!(numbers.insert(number), "no Partial IV of ours comes twice, whatever the context");
        let (peer, binding, fresh) = verified(server.unprotect(again.clone()));
        assert_eq!((peer, fresh), (PeerId::new(b"client1"), true));
        let answered = server.protect(content(), binding).unwrap();
        assert_eq!(client.unprotect_response(&answered, &mut pending).unwrap().payload, b"content");
        assert_eq!(answer(server.unprotect(again)).payload, b"Replay detected");
        assert!(!verified(server.unprotect(request(&mut client).0)).2);
    }
    // Clients without such a name go on as before.
    let mut plain = Context::fresh(&configured(true), Sequence::all()).unwrap();
    let (again, _, number) = proven(&server, &mut plain);
    assert!(numbers.insert(number));
    verified(server.unprotect(again));
}

#[test]
fn a_message_of_a_run_that_was_forgotten_is_not_taken_for_new() {
    let first = with_runs(server(Responses::ReuseNonce));
    let mut client = run(b"a run");
    let (acted, ..) = proven(&first, &mut client);
    verified(first.unprotect(acted.clone()));
    let (later_one, _) = request(&mut client);
    verified(first.unprotect(later_one.clone()));
    // Seven others, and one more: the context of this one goes, and is derived anew.
    for other in 0..8_u8 {
        let (again, ..) = proven(&first, &mut run(&[other; 8]));
        verified(first.unprotect(again));
    }
    let again = server(Responses::ReuseNonce);
    again.add_with_runs(PeerId::new(b"client1"), &configured(false), Sequence::block(5_000, 6_000)).unwrap();
    for server in [first, again] {
        let mut asked = BTreeSet::new();
        for old in [&acted, &later_one] {
            let challenge = answer(server.unprotect(old.clone()));
            assert_eq!(challenge.code, Code::CHANGED, "asked for an Echo, under protection");
            assert!(asked.insert(number(&challenge)));
        }
        // The client itself is asked, and goes on.
        let (next, ..) = proven(&server, &mut client);
        assert!(verified(server.unprotect(next)).2);
    }
}

// Covers: AF-5-02
#[test]
fn who_holds_no_key_makes_no_context_and_names_that_are_too_long_none() {
    let server = with_runs(server(Responses::ReuseNonce));
    let mut forged = request(&mut run(b"somebody")).0;
    forged.payload[0] ^= 1;
    assert_eq!(answer(server.unprotect(forged)).payload, b"Decryption failed");
    assert!(matches!(server.unprotect(request(&mut run(&[7; 32])).0), Inbound::Answer(_)));
    assert_eq!(answer(server.unprotect(request(&mut run(&[7; 33])).0)).payload, b"Security context not found");
    assert!(needs(&server).is_empty());
}

#[test]
fn a_run_that_is_proven_stays_while_old_messages_of_others_come_in() {
    let server = with_runs(server(Responses::ReuseNonce));
    let mut client = run(b"in use");
    let (again, ..) = proven(&server, &mut client);
    verified(server.unprotect(again));
    for other in 0..100_u8 {
        answer(server.unprotect(request(&mut run(&[other; 8])).0));
    }
    assert!(!verified(server.unprotect(request(&mut client).0)).2);
}

#[test]
fn an_echo_of_a_run_grows_old() {
    let seconds = Arc::new(AtomicU64::new(1_000));
    let clock = Arc::clone(&seconds);
    let with_clock = server(Responses::ReuseNonce);
    let server = with_runs(with_clock.with_clock(move || Duration::from_secs(clock.load(Ordering::Relaxed))));
    let mut client = run(b"slow");
    let (in_time, ..) = proven(&server, &mut client);
    seconds.fetch_add(60, Ordering::Relaxed);
    verified(server.unprotect(in_time));
    let mut client = run(b"too slow");
    let (too_late, ..) = proven(&server, &mut client);
    seconds.fetch_add(61, Ordering::Relaxed);
    answer(server.unprotect(too_late));
}

#[test]
fn an_association_that_has_ended_protects_its_last_words_and_verifies_nothing() {
    let seconds = Arc::new(AtomicU64::new(1_000));
    let clock = Arc::clone(&seconds);
    let server = server(Responses::ReuseNonce).with_clock(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
    let (mut client, new) = agree(None);
    admit(&server, &new);
    numbers(&server, &new, 0, 10);
    let (protected, mut pending) = registration(&mut client);
    let held = verified(server.unprotect(protected)).1;
    let watched = server.observe(&held).unwrap();
    server.notice(AssociationNotice::Ended { id: new.id.clone() });
    assert_eq!(server.len(), 0);
    assert_eq!(answer(server.unprotect(request(&mut client).0)).payload, b"Security context not found");
    assert_eq!(server.protect(content(), held), Err(ProtectError::NoAssociation));
    let last = server.notify(Message::response(Code::UNAUTHORIZED), &watched).unwrap();
    assert_eq!(client.unprotect_response(&last, &mut pending).unwrap().code, Code::UNAUTHORIZED);
    seconds.fetch_add(61, Ordering::Relaxed);
    assert_eq!(server.notify(content(), &watched), Err(ProtectError::NoAssociation), "long ago");
}

#[test]
fn a_peer_can_be_asked_where_it_is() {
    let server = server(Responses::ReuseNonce);
    let (mut client, new) = agree(None);
    admit(&server, &new);
    let (protected, pending) = request(&mut client);
    let held = verified(server.unprotect(protected)).1;
    assert!(server.can_challenge(&held));
    let asked = server.challenge(held).unwrap();
    let (again, mut pending) = echoing(&mut client, &asked, pending);
    let (_, held, fresh) = verified(server.unprotect(again));
    assert!(fresh);
    let answered = server.protect(content(), held).unwrap();
    assert_eq!(client.unprotect_response(&answered, &mut pending).unwrap().payload, b"content");
    assert!(needs(&server).is_empty(), "no numbers are needed for that");
}

#[test]
fn whoever_replays_is_worth_few_numbers_until_its_client_proves_itself() {
    let server = server(Responses::ReuseNonce).with_look_up();
    let (mut client, new) = agree(None);
    let (first, pending) = request(&mut client);
    let held = later(server.unprotect(first));
    assert_eq!(needs(&server), [AssociationNeed::Unknown(new.id.clone())]);
    let (id, material) = (new.id.clone(), new.material.clone());
    server.notice(AssociationNotice::Loaded { id, profile: 2, material, owned: true });
    let mut forged = held.clone();
    forged.payload[0] ^= 1;
    assert!(matches!(server.unprotect_again(forged), Inbound::Answer(_)));
    assert!(needs(&server).is_empty());
    let held = later(server.unprotect_again(held));
    assert_eq!(needs(&server), [AssociationNeed::Challenge(new.id.clone())]);
    numbers(&server, &new, 64, 80);
    let asked = answer(server.unprotect_again(held));
    verified(server.unprotect(echoing(&mut client, &asked, pending).0));
    // From then on it has numbers as before.
    let watched = observed(&server, &mut client);
    (0..8).for_each(|_| drop(server.notify(content(), &watched).unwrap()));
    assert_eq!(needs(&server), [AssociationNeed::Sequence(new.id)]);
}
