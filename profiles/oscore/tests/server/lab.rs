//! A client and a server that share a context, and what tests ask of them.

use ace_coap::numbers::option;
use ace_coap::security::{Inbound, MessageSecurity, ObservationBinding, PeerId, ReplyBinding};
use ace_coap::{Code, Message};
use ace_groupcomm::AssociationId;
use ace_groupcomm::traits::transport::{
    AssociationNeed, AssociationNotice, Associations, NewAssociation, Offer, TransportProfile,
};
use ace_groupcomm_messages::labels::ace_profile::COAP_OSCORE;
use ace_groupcomm_messages::{Confirmation, OscoreInputMaterial, TokenTransferResponse};
use ace_oscore::{Aead, Context, Hkdf, Parameters, PendingRequest, Sequence};
use ace_profile_oscore::{CoapOscore, OscoreServer, Responses, Upload};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use std::task::{Poll, Waker};

pub(crate) const HINTS: u16 = 19;

pub(crate) fn server(responses: Responses) -> OscoreServer {
    OscoreServer::new(Box::new(ChaCha12Rng::seed_from_u64(1)), responses)
}

/// Client and server agree on an association over a token with this ID Context.
pub(crate) fn agree(context_id: Option<&[u8]>) -> (Context, NewAssociation) {
    let mut material = OscoreInputMaterial::new(vec![1], vec![3; 16]);
    material.context_id = context_id.map(<[u8]>::to_vec);
    let upload = Upload::new(material.clone(), vec![4; 8], vec![5]);
    assert_eq!(format!("{upload:?}"), "Upload { client_id: [5], .. }");
    let mut names = std::iter::once(b"server".into());
    let offer = Offer { random: [6; 32], secret: ace_groupcomm::Secret::new(vec![]), names: &mut names };
    let new = CoapOscore.associate(&upload.request(vec![0]), &Confirmation::Osc(material), offer).unwrap();
    let answer = TokenTransferResponse { extra: new.answer.clone(), ..TokenTransferResponse::default() };
    let answer = TokenTransferResponse::decode(&answer.encode()).unwrap();
    (Context::fresh(&upload.finish(&answer).unwrap(), Sequence::all()).unwrap(), new)
}

pub(crate) fn admit(server: &OscoreServer, new: &NewAssociation) {
    let (id, material) = (new.id.clone(), new.material.clone());
    server.notice(AssociationNotice::New { id, profile: COAP_OSCORE, material });
}

pub(crate) fn numbers(server: &OscoreServer, new: &NewAssociation, start: u64, limit: u64) {
    server.notice(AssociationNotice::Sequence { id: new.id.clone(), start, limit });
}

/// What is needed now.
pub(crate) fn needs(server: &OscoreServer) -> Vec<AssociationNeed> {
    match server.poll_needs(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(needs) => needs,
        Poll::Pending => Vec::new(),
    }
}

/// Who needs sequence numbers, and nothing else.
pub(crate) fn sequences(server: &OscoreServer) -> Vec<AssociationId> {
    let of = |need| match need {
        AssociationNeed::Sequence(id) => id,
        other => panic!("{other:?}"),
    };
    needs(server).into_iter().map(of).collect()
}

pub(crate) fn later(inbound: Inbound) -> Message {
    match inbound {
        Inbound::Later(_, message) => message,
        other => panic!("{other:?}"),
    }
}

/// An association that was looked up, with numbers from this one on.
pub(crate) fn restored(server: &OscoreServer, new: &NewAssociation, start: u64, owned: bool) {
    let (id, material) = (new.id.clone(), new.material.clone());
    server.notice(AssociationNotice::Loaded { id, profile: COAP_OSCORE, material, owned });
    numbers(server, new, start, start + 50);
}

/// A request that answers the Echo of a challenge to `asked`.
pub(crate) fn echoing(client: &mut Context, asked: &Message, mut pending: PendingRequest) -> (Message, PendingRequest) {
    let challenge = client.unprotect_response(asked, &mut pending).unwrap();
    assert_eq!(challenge.code, Code::UNAUTHORIZED);
    let mut again = Message::request(Code::GET).with_path(["a"]);
    again.options.push(option::ECHO, challenge.options.first(option::ECHO).unwrap());
    client.protect_request(&again).unwrap()
}

pub(crate) fn request(client: &mut Context) -> (Message, PendingRequest) {
    client.protect_request(&Message::request(Code::GET).with_path(["a"])).unwrap()
}

/// A request that registers an observer.
pub(crate) fn registration(client: &mut Context) -> (Message, PendingRequest) {
    let mut message = Message::request(Code::GET).with_path(["a"]);
    message.options.push(option::OBSERVE, &[]);
    client.protect_request(&message).unwrap()
}

pub(crate) fn content() -> Message {
    Message { payload: b"content".to_vec(), ..Message::response(Code::CONTENT) }
}

pub(crate) fn verified(inbound: Inbound) -> (PeerId, ReplyBinding, bool) {
    match inbound {
        Inbound::Verified { peer, message, binding, fresh } => {
            assert_eq!(message.options.uri_path(), Some(vec!["a".to_owned()]));
            (peer, binding, fresh)
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn answer(inbound: Inbound) -> Message {
    match inbound {
        Inbound::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// A binding of the next request.
pub(crate) fn binding(server: &OscoreServer, client: &mut Context) -> ReplyBinding {
    verified(server.unprotect(request(client).0)).1
}

pub(crate) fn observed(server: &OscoreServer, client: &mut Context) -> ObservationBinding {
    server.observe(&binding(server, client)).unwrap()
}

pub(crate) fn configured(swap: bool) -> Parameters {
    let (sender_id, recipient_id) = if swap { (vec![1], vec![2]) } else { (vec![2], vec![1]) };
    let (aead, hkdf) = (Aead::default(), Hkdf::default());
    let (master_secret, master_salt) = (vec![1; 16], vec![]);
    Parameters { master_secret, master_salt, sender_id, recipient_id, id_context: None, aead, hkdf }
}
