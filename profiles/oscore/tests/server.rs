//! The contexts of a server: what verifies, what is refused, and where sequence numbers come from.

use ace_coap::numbers::option;
use ace_coap::security::{Inbound, MessageSecurity, ObservationBinding, PeerId, ProtectError, ReplyBinding};
use ace_coap::{Code, Message};
use ace_groupcomm::traits::transport::{AssociationNotice, Associations, NewAssociation, Offer, TransportProfile};
use ace_groupcomm_messages::labels::ace_profile::{COAP_DTLS, COAP_OSCORE};
use ace_groupcomm_messages::{Confirmation, OscoreInputMaterial, TokenTransferResponse};
use ace_oscore::{Aead, Context, Error, Hkdf, Parameters, PendingRequest, Sequence};
use ace_profile_oscore::{CoapOscore, OscoreServer, Responses, Upload};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

const HINTS: u16 = 19;

fn server(responses: Responses) -> OscoreServer {
    OscoreServer::new(Box::new(ChaCha12Rng::seed_from_u64(1)), responses)
}

/// Client and server agree on an association over a token with this ID Context.
fn agree(context_id: Option<&[u8]>) -> (Context, NewAssociation) {
    let material = OscoreInputMaterial {
        id: vec![1],
        version: None,
        ms: vec![3; 16],
        hkdf: None,
        alg: None,
        salt: None,
        context_id: context_id.map(<[u8]>::to_vec),
    };
    let upload = Upload::new(material.clone(), vec![4; 8], vec![5]);
    assert_eq!(format!("{upload:?}"), "Upload { client_id: [5], .. }");
    let mut names = std::iter::once(b"server".to_vec());
    let offer = Offer { random: [6; 32], names: &mut names };
    let new = CoapOscore.associate(&upload.request(vec![0]), &Confirmation::Osc(material), offer).unwrap();
    let answer = TokenTransferResponse {
        nonce2: Some(new.nonce2.clone()),
        server_recipient_id: Some(new.id.clone()),
        ..TokenTransferResponse::default()
    };
    (Context::fresh(&upload.finish(&answer).unwrap(), Sequence::all()).unwrap(), new)
}

fn admit(server: &OscoreServer, new: &NewAssociation) {
    let (id, material) = (new.id.clone(), new.material.clone());
    server.notice(AssociationNotice::New { id, profile: COAP_OSCORE, material });
}

fn numbers(server: &OscoreServer, new: &NewAssociation, start: u64, limit: u64) {
    server.notice(AssociationNotice::Sequence { id: new.id.clone(), start, limit });
}

fn request(client: &mut Context) -> (Message, PendingRequest) {
    client.protect_request(&Message::request(Code::GET).with_path(["a"])).unwrap()
}

fn content() -> Message {
    Message { payload: b"content".to_vec(), ..Message::response(Code::CONTENT) }
}

fn verified(inbound: Inbound) -> (PeerId, ReplyBinding, bool) {
    match inbound {
        Inbound::Verified { peer, message, binding, fresh } => {
            assert_eq!(message.options.uri_path(), Some(vec!["a".to_owned()]));
            (peer, binding, fresh)
        }
        other => panic!("{other:?}"),
    }
}

fn answer(inbound: Inbound) -> Message {
    match inbound {
        Inbound::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// A binding of the next request.
fn binding(server: &OscoreServer, client: &mut Context) -> ReplyBinding {
    verified(server.unprotect(request(client).0)).1
}

fn observed(server: &OscoreServer, client: &mut Context) -> ObservationBinding {
    server.observe(&binding(server, client)).unwrap()
}

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
    assert_eq!((peer, fresh), (PeerId::new(&new.id), false));
    let protected_answer = server.protect(content(), binding).unwrap();
    assert_eq!(client.unprotect_response(&protected_answer, &mut pending).unwrap().payload, b"content");
    assert!(server.in_need().is_empty(), "the request's nonce is enough");
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

// Covers: TH-1-04
#[test]
fn who_runs_low_is_named_once_until_numbers_come() {
    let server = server(Responses::ReuseNonce);
    let (mut client, new) = agree(None);
    admit(&server, &new);
    let watched = observed(&server, &mut client);
    assert!(server.in_need().is_empty());
    for named in [true, false] {
        assert_eq!(server.notify(content(), &watched), Err(ProtectError::NeedSequence));
        assert_eq!(server.in_need().contains(&new.id), named);
    }
    numbers(&server, &new, 0, 4);
    for named in [false, true, false, false] {
        server.notify(content(), &watched).unwrap();
        assert_eq!(server.in_need(), if named { vec![new.id.clone()] } else { vec![] });
    }
    assert_eq!(server.notify(content(), &watched), Err(ProtectError::NeedSequence));
    // It asked already: what comes ends the need, also where nobody has looked.
    numbers(&server, &new, 4, 5);
    server.notify(content(), &watched).unwrap();
    numbers(&server, &new, 5, 100);
    assert!(server.in_need().is_empty());
    numbers(&server, &new, 1 << 40, u64::MAX);
    assert_eq!(server.notify(content(), &watched), Err(ProtectError::NoAssociation), "no number is left at all");
}

#[test]
fn where_others_answer_too_each_answer_has_a_number_of_its_own() {
    let server = server(Responses::Numbered);
    let (mut client, new) = agree(None);
    admit(&server, &new);
    let held = binding(&server, &mut client);
    assert_eq!(server.protect(content(), held), Err(ProtectError::NeedSequence), "never under the request's nonce");
    assert_eq!(server.in_need(), [new.id.as_slice()]);
    numbers(&server, &new, 7, 20);
    let (protected, mut pending) = request(&mut client);
    let held = verified(server.unprotect(protected)).1;
    let answered = server.protect(content(), held).unwrap();
    assert_eq!(answered.options.first(option::OSCORE), Some(&[1, 7][..]), "Partial IV 7");
    assert_eq!(client.unprotect_response(&answered, &mut pending).unwrap().payload, b"content");
    let foreign = ReplyBinding::new("another protocol's");
    assert_eq!(server.protect(content(), foreign), Err(ProtectError::ForeignBinding));
    assert!(server.observe(&ReplyBinding::new("another protocol's")).is_none());
    assert_eq!(server.notify(content(), &ObservationBinding::new(1)), Err(ProtectError::ForeignBinding));
}

fn configured(swap: bool) -> Parameters {
    let (sender_id, recipient_id) = if swap { (vec![1], vec![2]) } else { (vec![2], vec![1]) };
    let (aead, hkdf) = (Aead::default(), Hkdf::default());
    let (master_secret, master_salt) = (vec![1; 16], vec![]);
    Parameters { master_secret, master_salt, sender_id, recipient_id, id_context: None, aead, hkdf }
}

#[test]
fn a_context_that_outlived_its_window_asks_for_an_echo() {
    let server = server(Responses::ReuseNonce);
    let peer = PeerId::new(b"client1");
    server.add(peer.clone(), &configured(false), Sequence::none(), false).unwrap();
    let twice = server.add(peer.clone(), &configured(false), Sequence::all(), true);
    assert_eq!((twice, server.len()), (Err(Error::Parameter), 1));
    let mut client = Context::fresh(&configured(true), Sequence::all()).unwrap();
    let (protected, _) = request(&mut client);
    assert!(matches!(server.unprotect(protected), Inbound::Discard), "without a number it cannot ask");
    assert_eq!(server.in_need(), [vec![1]]);
    server.notice(AssociationNotice::Sequence { id: vec![1], start: 10, limit: 100 });
    let (protected, mut pending) = request(&mut client);
    let asked = answer(server.unprotect(protected));
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
