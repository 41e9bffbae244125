//! What a server asks under the associations by which it is asked.

use crate::lab::*;
use ace_coap::security::{ClientSecurity, Inbound, MessageSecurity, PeerId, ProtectError, ResponseError, SentRequest};
use ace_coap::{Code, Message};
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations, NewAssociation};
use ace_groupcomm_messages::labels::ace_profile::COAP_OSCORE;
use ace_oscore::{Context, Sequence};
use ace_profile_oscore::{OscoreServer, Responses};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn peer(new: &NewAssociation) -> PeerId {
    PeerId::new(new.id.as_bytes())
}

fn control() -> Message {
    Message::request(Code::POST).with_path(["a"])
}

/// The client's answer to a request of the server.
fn answered(client: &mut Context, request: Message) -> Message {
    match ClientSecurity::unprotect_request(client, request, None) {
        Inbound::Verified { message, binding, .. } => {
            assert_eq!(message.options.uri_path(), Some(vec!["a".to_owned()]));
            ClientSecurity::protect_response(client, content(), binding).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn asks(server: &OscoreServer, peer: &PeerId, client: &mut Context) {
    let (request, mut sent) = server.protect_request(peer, &control()).unwrap();
    let answer = answered(client, request);
    assert_eq!(server.unprotect_response(&answer, &mut sent).unwrap(), content());
}

#[test]
fn client_and_server_ask_each_other_under_one_association() {
    let server = server(Responses::ReuseNonce);
    let (mut client, new) = agree(None);
    admit(&server, &new);
    // Its client has not proven itself: nothing is asked for, and nothing sent.
    assert_eq!(server.protect_request(&peer(&new), &control()).unwrap_err(), ProtectError::NoAssociation);
    assert!(needs(&server).is_empty());
    numbers(&server, &new, 0, 2);
    asks(&server, &peer(&new), &mut client);
    verified(server.unprotect(request(&mut client).0));
    asks(&server, &peer(&new), &mut client);
    assert_eq!(server.protect_request(&peer(&new), &control()).unwrap_err(), ProtectError::NeedSequence);
    assert_eq!(sequences(&server), std::slice::from_ref(&new.id), "asked for before they come to an end");
    // What does not verify, or belongs to something else, is no answer.
    numbers(&server, &new, 2, 9);
    let (request, mut sent) = server.protect_request(&peer(&new), &control()).unwrap();
    let answer = answered(&mut client, request);
    let mut garbled = answer.clone();
    garbled.payload.reverse();
    assert_eq!(server.unprotect_response(&garbled, &mut sent), Err(ResponseError::NotVerified));
    assert_eq!(server.unprotect_response(&content(), &mut sent), Err(ResponseError::NotProtected));
    let mut foreign = SentRequest::new(1_u8);
    assert_eq!(server.unprotect_response(&answer, &mut foreign), Err(ResponseError::NotVerified));
    server.notice(AssociationNotice::Gone { id: new.id.clone() });
    assert_eq!(server.unprotect_response(&answer, &mut sent), Err(ResponseError::NotVerified));
    assert_eq!(server.protect_request(&peer(&new), &control()).unwrap_err(), ProtectError::NoAssociation);
}

#[test]
fn a_client_whose_association_has_ended_is_told_that_it_is_out_and_asked_nothing_else() {
    let seconds = Arc::new(AtomicU64::new(1_000));
    let clock = Arc::clone(&seconds);
    let server = server(Responses::ReuseNonce).with_clock(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
    let (mut client, new) = agree(None);
    admit(&server, &new);
    numbers(&server, &new, 0, 10);
    verified(server.unprotect(request(&mut client).0));
    server.notice(AssociationNotice::Ended { id: new.id.clone() });
    let out = Message::request(Code::DELETE).with_path(["a"]);
    let (asked, mut sent) = server.protect_request(&peer(&new), &out).unwrap();
    let answer = answered(&mut client, asked);
    assert_eq!(server.unprotect_response(&answer, &mut sent).unwrap(), content());
    assert_eq!(server.protect_request(&peer(&new), &control()).unwrap_err(), ProtectError::NoAssociation);
    seconds.fetch_add(61, Ordering::Relaxed);
    assert_eq!(server.protect_request(&peer(&new), &out).unwrap_err(), ProtectError::NoAssociation, "long ago");
    assert_eq!(server.unprotect_response(&answer, &mut sent), Err(ResponseError::NotVerified));
}

#[test]
fn the_process_that_owns_an_association_asks_and_no_other() {
    let server = server(Responses::Numbered).with_look_up();
    let (mut client, new) = agree(None);
    // It is looked up first.
    assert_eq!(server.protect_request(&peer(&new), &control()).unwrap_err(), ProtectError::NeedSequence);
    assert_eq!(needs(&server), [AssociationNeed::Unknown(new.id.clone())]);
    restored(&server, &new, 64, false);
    assert_eq!(server.protect_request(&peer(&new), &control()).unwrap_err(), ProtectError::NotOwned);
    server.notice(AssociationNotice::Claimed { id: new.id.clone() });
    asks(&server, &peer(&new), &mut client);
}

#[test]
fn a_server_that_has_lost_its_window_spends_no_challenge_on_its_own_requests() {
    let server = server(Responses::ReuseNonce).with_look_up();
    let (mut client, new) = agree(None);
    let (id, material) = (new.id.clone(), new.material.clone());
    server.notice(AssociationNotice::Loaded { id, profile: COAP_OSCORE, material, owned: true });
    assert_eq!(server.protect_request(&peer(&new), &control()).unwrap_err(), ProtectError::NeedSequence);
    assert_eq!(needs(&server), [AssociationNeed::Sequence(new.id.clone())]);
    numbers(&server, &new, 64, 128);
    asks(&server, &peer(&new), &mut client);
}

#[test]
fn a_client_that_was_registered_is_asked_under_its_context_unless_it_has_one_for_each_run() {
    let (registered, runs) = (server(Responses::ReuseNonce), server(Responses::ReuseNonce));
    let peer = PeerId::new(b"client");
    registered.add_fresh(peer.clone(), &configured(false), Sequence::all()).unwrap();
    let mut client = Context::fresh(&configured(true), Sequence::all()).unwrap();
    asks(&registered, &peer, &mut client);
    runs.add_with_runs(peer.clone(), &configured(false), Sequence::all()).unwrap();
    assert_eq!(runs.protect_request(&peer, &control()).unwrap_err(), ProtectError::NoAssociation);
    // The kid is no name of a peer.
    assert_eq!(registered.protect_request(&PeerId::new(&[1]), &control()).unwrap_err(), ProtectError::NoAssociation);
}
