//! What verifies, what is refused, where sequence numbers come from, and what is kept.

use crate::lab::*;
use ace_coap::numbers::option;
use ace_coap::security::{Inbound, MessageSecurity, ObservationBinding, PeerId, ProtectError, ReplyBinding};
use ace_coap::{Code, Message};
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use ace_groupcomm_messages::labels::ace_profile::{COAP_DTLS, COAP_OSCORE};
use ace_oscore::{Context, Error, Sequence};
use ace_profile_oscore::Responses;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

// Covers: OP-4.3-01, OP-4.3-07
#[test]
fn a_request_verifies_once_and_has_an_answer() {
    let server = server(Responses::ReuseNonce).with_hints(HINTS, b"hints".to_vec());
    let (mut client, new) = agree(None);
    let (first, _) = request(&mut client);
    let unknown = answer(server.unprotect(first));
    assert_eq!((unknown.code, unknown.payload.as_slice()), (Code::UNAUTHORIZED, &b"hints"[..]));
    assert_eq!(
        (unknown.options.uint(option::CONTENT_FORMAT), unknown.options.uint(option::MAX_AGE)),
        (Some(19), Some(0))
    );
    assert_eq!((server.is_empty(), server.len()), (true, 0));
    admit(&server, &new);
    assert_eq!((server.is_empty(), server.len()), (false, 1));
    let (protected, mut pending) = request(&mut client);
    let (peer, binding, fresh) = verified(server.unprotect(protected.clone()));
    assert_eq!((peer, fresh), (PeerId::new(new.id.as_bytes()), false));
    let protected_answer = server.protect(content(), binding).unwrap();
    assert_eq!(client.unprotect_response(&protected_answer, &mut pending).unwrap().payload, b"content");
    assert!(sequences(&server).is_empty(), "the request's nonce is enough");
    let again = answer(server.unprotect(protected));
    assert_eq!((again.code, again.payload.as_slice()), (Code::UNAUTHORIZED, &b"Replay detected"[..]));
    let plain = Message::request(Code::GET);
    assert!(matches!(server.unprotect(plain.clone()), Inbound::Plain(message) if message == plain));
}

#[test]
fn an_association_that_is_in_use_is_not_replaced() {
    let server = server(Responses::ReuseNonce);
    let (mut client, new) = agree(None);
    server.notice(AssociationNotice::New { id: new.id.clone(), profile: COAP_DTLS, material: new.material.clone() });
    assert!(server.is_empty(), "another profile's");
    admit(&server, &new);
    let (protected, _) = request(&mut client);
    verified(server.unprotect(protected.clone()));
    admit(&server, &new);
    assert_eq!(answer(server.unprotect(protected)).payload, b"Replay detected");
    server.notice(AssociationNotice::Restricted { id: new.id.clone() });
    let held = binding(&server, &mut client);
    let watched = observed(&server, &mut client);
    server.notice(AssociationNotice::Gone { id: new.id.clone() });
    assert_eq!(server.protect(content(), held), Err(ProtectError::NoAssociation));
    assert_eq!(server.notify(content(), &watched), Err(ProtectError::NoAssociation));
    assert_eq!(answer(server.unprotect(request(&mut client).0)).payload, b"Security context not found");
}

#[test]
fn another_kid_context_names_no_context() {
    let server = server(Responses::ReuseNonce);
    let (mut client, new) = agree(Some(b"one"));
    admit(&server, &new);
    let (mut other, _) = agree(Some(b"two"));
    assert_eq!(answer(server.unprotect(request(&mut other).0)).payload, b"Security context not found");
    let (mut without, _) = agree(None);
    assert_eq!(answer(server.unprotect(request(&mut without).0)).payload, b"Decryption failed");
    verified(server.unprotect(request(&mut client).0));
}

// Covers: OS-7.2.1-02, TH-1-04/exhaustion, TH-1-04/half-use
#[test]
fn who_runs_low_is_named_once_until_numbers_come() {
    let server = server(Responses::ReuseNonce);
    let (mut client, new) = agree(None);
    admit(&server, &new);
    let watched = observed(&server, &mut client);
    assert!(sequences(&server).is_empty());
    for named in [true, false] {
        assert_eq!(server.notify(content(), &watched), Err(ProtectError::NeedSequence));
        assert_eq!(sequences(&server).contains(&new.id), named);
    }
    numbers(&server, &new, 0, 4);
    for named in [false, true, false, false] {
        server.notify(content(), &watched).unwrap();
        assert_eq!(sequences(&server), if named { vec![new.id.clone()] } else { vec![] });
    }
    assert_eq!(server.notify(content(), &watched), Err(ProtectError::NeedSequence));
    // It asked already: what comes ends the need, also where nobody has looked.
    numbers(&server, &new, 4, 5);
    server.notify(content(), &watched).unwrap();
    numbers(&server, &new, 5, 100);
    assert!(sequences(&server).is_empty());
    numbers(&server, &new, 1 << 40, u64::MAX);
    assert_eq!(server.notify(content(), &watched), Err(ProtectError::NoAssociation), "no number is left at all");
    assert_eq!(answer(server.unprotect(request(&mut client).0)).code, Code::UNAUTHORIZED, "the association has ended");
}

#[test]
fn where_others_answer_too_each_answer_has_a_number_of_its_own() {
    let server = server(Responses::Numbered);
    let (mut client, new) = agree(None);
    admit(&server, &new);
    // Never under the request's nonce: what cannot be answered yet waits, where it verifies.
    let (protected, mut pending) = request(&mut client);
    let mut forged = protected.clone();
    forged.payload[0] ^= 1;
    assert_eq!(answer(server.unprotect(forged)).code, Code::BAD_REQUEST);
    assert!(sequences(&server).is_empty(), "a stranger asks for nothing");
    let waits = later(server.unprotect(protected.clone()));
    later(server.unprotect(protected));
    assert_eq!(sequences(&server), std::slice::from_ref(&new.id), "once");
    numbers(&server, &new, 7, 20);
    let held = verified(server.unprotect_again(waits)).1;
    let answered = server.protect(content(), held).unwrap();
    assert_eq!(answered.options.first(option::OSCORE), Some(&[1, 7][..]), "Partial IV 7");
    assert_eq!(client.unprotect_response(&answered, &mut pending).unwrap().payload, b"content");
    let foreign = ReplyBinding::new("another protocol's");
    assert_eq!(server.protect(content(), foreign), Err(ProtectError::ForeignBinding));
    assert!(server.observe(&ReplyBinding::new("another protocol's")).is_none());
    assert_eq!(server.notify(content(), &ObservationBinding::new(1)), Err(ProtectError::ForeignBinding));
}

// Covers: TH-8-03/one-echo
#[test]
fn a_context_that_outlived_its_window_asks_for_an_echo() {
    let server = server(Responses::ReuseNonce);
    let peer = PeerId::new(b"client1");
    server.add_restored(peer.clone(), &configured(false), Sequence::none()).unwrap();
    let twice = server.add_fresh(peer.clone(), &configured(false), Sequence::all());
    assert_eq!((twice, server.len()), (Err(Error::Parameter), 1));
    let mut client = Context::fresh(&configured(true), Sequence::all()).unwrap();
    let (protected, mut pending) = request(&mut client);
    let mut forged = protected.clone();
    forged.payload[0] ^= 1;
    assert_eq!(answer(server.unprotect(forged)).code, Code::BAD_REQUEST);
    assert!(needs(&server).is_empty(), "who names a context and holds no key costs nothing");
    let held = later(server.unprotect(protected));
    assert_eq!(needs(&server), [AssociationNeed::Challenge(vec![1].into())], "without a number it cannot ask");
    server.notice(AssociationNotice::Sequence { id: vec![1].into(), start: 10, limit: 100 });
    let asked = answer(server.unprotect_again(held));
    let asked = client.unprotect_response(&asked, &mut pending).unwrap();
    let echo = asked.options.first(option::ECHO).unwrap().to_vec();
    assert_eq!((asked.code, echo.len()), (Code::UNAUTHORIZED, 8));
    let mut proof = Message::request(Code::GET).with_path(["a"]);
    proof.options.push(option::ECHO, &echo);
    let (protected, _) = client.protect_request(&proof).unwrap();
    let (who, _, fresh) = verified(server.unprotect(protected));
    assert_eq!((who, fresh), (peer, true));
    assert!(!verified(server.unprotect(request(&mut client).0)).2);
}

// Covers: OS-8.2-02, TH-1-01/request-nonce
#[test]
fn an_association_that_is_stored_is_looked_up_and_asks_for_an_echo() {
    let server = server(Responses::ReuseNonce).with_look_up().with_hints(HINTS, b"hints".to_vec());
    let (mut client, new) = agree(None);
    let (first, pending) = request(&mut client);
    let held = later(server.unprotect(first.clone()));
    assert_eq!(held, first);
    later(server.unprotect(request(&mut client).0));
    assert_eq!(needs(&server), [AssociationNeed::Unknown(new.id.clone())], "once");
    restored(&server, &new, 64, true);
    let asked = answer(server.unprotect_again(held));
    assert_eq!(asked.options.first(option::OSCORE), Some(&[1, 64][..]), "under a number of its own");
    let (again, mut pending) = echoing(&mut client, &asked, pending);
    let (peer, held, fresh) = verified(server.unprotect(again.clone()));
    assert_eq!((peer, fresh), (PeerId::new(new.id.as_bytes()), true));
    let answered = server.protect(content(), held).unwrap();
    assert_eq!(client.unprotect_response(&answered, &mut pending).unwrap().payload, b"content");
    for old in [first, again] {
        assert_eq!(answer(server.unprotect(old)).payload, b"Replay detected");
    }
    assert!(!verified(server.unprotect(request(&mut client).0)).2);
    // Restored a second time, it goes on as it was.
    restored(&server, &new, 200, false);
    verified(server.unprotect(request(&mut client).0));
}

#[test]
fn what_is_not_stored_is_refused_and_asked_for_again() {
    let server = server(Responses::ReuseNonce).with_look_up().with_hints(HINTS, b"hints".to_vec());
    let (mut client, new) = agree(None);
    let unknown = || AssociationNeed::Unknown(new.id.clone());
    let held = later(server.unprotect(request(&mut client).0));
    server.notice(AssociationNotice::Gone { id: new.id.clone() });
    assert!(needs(&server).is_empty(), "nobody waits any more");
    assert_eq!(answer(server.unprotect_again(held)).payload, b"hints");
    let held = later(server.unprotect(request(&mut client).0));
    assert_eq!(needs(&server), [unknown()], "by now it may be there");
    server.notice(AssociationNotice::Unavailable { id: new.id.clone() });
    later(server.unprotect(held));
    assert_eq!(needs(&server), [unknown()]);
    let material = new.material.clone();
    let (id, owned) = (new.id.clone(), true);
    server.notice(AssociationNotice::Loaded { id, profile: COAP_DTLS, material, owned });
    assert!(server.is_empty(), "another profile's");
    let plain = Message::request(Code::GET);
    assert!(matches!(server.unprotect_again(plain), Inbound::Plain(_)));
}

#[test]
fn names_that_are_looked_up_have_a_bound() {
    let server = server(Responses::ReuseNonce).with_look_up();
    let from = |number: u32| {
        let mut parameters = configured(true);
        parameters.sender_id = number.to_be_bytes().to_vec();
        let mut stranger = Context::fresh(&parameters, Sequence::all()).unwrap();
        request(&mut stranger).0
    };
    (0..1_024).for_each(|number| drop(later(server.unprotect(from(number)))));
    assert!(matches!(server.unprotect(from(1_024)), Inbound::Discard));
    later(server.unprotect(from(5)));
    assert_eq!(needs(&server).len(), 1_024);
    server.notice(AssociationNotice::Gone { id: (&7_u32.to_be_bytes()).into() });
    later(server.unprotect(from(1_024)));
    assert_eq!(needs(&server), [AssociationNeed::Unknown((&1_024_u32.to_be_bytes()).into())]);
}

#[test]
fn contexts_that_can_be_looked_up_have_a_bound_and_those_in_use_stay() {
    let server = server(Responses::Numbered).with_look_up().with_capacity(10);
    let from = |number: u32| {
        let mut parameters = configured(true);
        parameters.sender_id = number.to_be_bytes().to_vec();
        Context::fresh(&parameters, Sequence::all()).unwrap()
    };
    let new = |number: u32| {
        let (_, new) = agree(None);
        let id = (&number.to_be_bytes()).into();
        server.notice(AssociationNotice::New { id, profile: COAP_OSCORE, material: new.material });
    };
    let proven = |number: u32| {
        let id = (&number.to_be_bytes()).into();
        server.notice(AssociationNotice::Sequence { id, start: 0, limit: 64 });
    };
    let is_known = |number: u32| {
        let inbound = server.unprotect(request(&mut from(number)).0);
        needs(&server);
        !matches!(inbound, Inbound::Later(..))
    };
    for number in 0..10_000 {
        new(number);
        proven(number);
        assert!(is_known(0), "{number}: it is used all the time");
    }
    assert_eq!(server.len(), 10);
    assert!(!is_known(1) && !is_known(9_000) && is_known(9_999));
    // Those that wait for their proof are nowhere else.
    (20_000..20_020).for_each(new);
    assert!(server.len() >= 20);
    (20_000..20_020).for_each(proven);
    new(30_000);
    assert!(server.len() <= 11, "{}", server.len());
}

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whoever_waits_for_needs_is_woken() {
    let server = server(Responses::ReuseNonce).with_look_up();
    let (mut client, _) = agree(None);
    let calls = Arc::new(Calls::default());
    let waker = Waker::from(Arc::clone(&calls));
    let mut context = std::task::Context::from_waker(&waker);
    assert!(server.poll_needs(&mut context).is_pending());
    later(server.unprotect(request(&mut client).0));
    assert_eq!(calls.0.load(Ordering::Relaxed), 1);
    assert!(server.poll_needs(&mut context).is_ready());
    assert!(server.poll_needs(&mut context).is_pending());
}

#[test]
fn an_observation_outlives_its_process() {
    let former = server(Responses::ReuseNonce);
    let (mut client, new) = agree(None);
    admit(&former, &new);
    let (protected, mut pending) = registration(&mut client);
    let held = verified(former.unprotect(protected)).1;
    let watched = former.observe(&held).unwrap();
    let kept = former.keep(&watched).unwrap();
    let mut first = content();
    first.options.set(option::OBSERVE, &[]);
    client.unprotect_response(&former.protect(first.clone(), held).unwrap(), &mut pending).unwrap();

    let server = server(Responses::ReuseNonce).with_look_up();
    let watched = server.resume(&kept).unwrap();
    assert_eq!(server.keep(&watched).as_ref(), Some(&kept));
    assert!(!server.can_notify(&watched) && !server.can_notify(&watched), "not yet");
    assert_eq!(needs(&server), [AssociationNeed::Unknown(new.id.clone())], "looked up, once");
    restored(&server, &new, 64, true);
    assert!(server.can_notify(&watched) && needs(&server).is_empty());
    let told = server.notify(first, &watched).unwrap();
    let told = client.unprotect_response(&told, &mut pending).unwrap();
    assert_eq!((told.payload.as_slice(), told.options.uint(option::OBSERVE)), (&b"content"[..], Some(64)));
    // What is no binding is refused; of a name that is not known nothing comes.
    assert!(server.resume(&[]).is_none() && server.resume(&[200, 1, 2]).is_none());
    assert!(server.keep(&ObservationBinding::new(1)).is_none());
    let strange = server.resume(&[2, 7, 7, 1]).unwrap();
    assert_eq!(server.notify(content(), &strange), Err(ProtectError::NoAssociation));
    assert!(
        !server.can_notify(&strange) && former.can_notify(&strange) && server.can_notify(&ObservationBinding::new(1))
    );
    assert_eq!(needs(&server), [AssociationNeed::Unknown(vec![7, 7].into())]);
}

#[test]
fn what_is_asked_for_a_context_stays_asked_for_when_somebody_else_has_it_looked_up() {
    let server = server(Responses::Numbered);
    let (mut client, new) = agree(None);
    admit(&server, &new);
    let (asked, _) = request(&mut client);
    let Inbound::Later(waiting, asked) = server.unprotect(asked) else { panic!("it has no numbers") };
    assert_eq!(waiting, PeerId::new(new.id.as_bytes()), "it waits under the name that the notice will have");
    // Before the need is taken, the other transport's lookup of the same name is answered.
    let (id, material) = (new.id.clone(), new.material.clone());
    server.notice(AssociationNotice::Loaded { id, profile: COAP_OSCORE, material, owned: true });
    assert_eq!(sequences(&server), std::slice::from_ref(&new.id));
    numbers(&server, &new, 0, 50);
    assert!(matches!(server.unprotect_again(asked), Inbound::Verified { .. }));
}
