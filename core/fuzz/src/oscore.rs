//! OSCORE: what a stranger sends to either end, and whatever an application has protected.

use ace_coap::numbers::option;
use ace_coap::{Code, MAX_OPTIONS, Message, Token, Type};
use ace_oscore::{Aead, Context, Hkdf, Incoming, OscoreOption, Parameters, Sequence};

fn context(sender: &[u8], recipient: &[u8]) -> Option<Context> {
    let parameters = Parameters {
        master_secret: vec![3; 16],
        master_salt: vec![4; 8],
        sender_id: sender.to_vec(),
        recipient_id: recipient.to_vec(),
        id_context: None,
        aead: Aead::default(),
        hkdf: Hkdf::default(),
    };
    Context::fresh(&parameters, Sequence::all()).ok()
}

/// Takes the bytes for an OSCORE option, for a datagram from a stranger, and for a message that is protected.
pub fn oscore(bytes: &[u8]) {
    if let Ok(value) = OscoreOption::decode(bytes) {
        assert_eq!(value.encode().as_deref(), Ok(bytes), "there is one encoding");
    }
    let (Some(mut client), Some(mut server)) = (context(b"c", b"s"), context(b"s", b"c")) else { return };
    let Ok(message) = Message::decode(bytes) else { return };
    assert!(server.unprotect_request(&message).is_err(), "a request that nobody has protected");
    let get = Message::new(Type::Confirmable, Code::GET, 1, Token::new(b"t"));
    if let Ok((_, mut pending)) = client.protect_request(&get) {
        assert!(client.unprotect_response(&message, &mut pending).is_err(), "nor a response");
    }
    request_comes_back(&mut client, &mut server, &message);
}

/// A request that its client protects is the same for the server, and is accepted once.
fn request_comes_back(client: &mut Context, server: &mut Context, message: &Message) {
    // The OSCORE option is one more.
    if !message.code.is_request() || message.options.len() >= MAX_OPTIONS {
        return;
    }
    // An Echo value that was never sent is challenged; the others are the endpoint's own business.
    if [option::OSCORE, option::PROXY_URI, option::ECHO].into_iter().any(|number| message.options.has(number)) {
        return;
    }
    let Ok((protected, _)) = client.protect_request(message) else { return };
    let Ok(sent) = Message::decode(&protected.encode()) else { panic!("what was protected can be read") };
    match server.unprotect_request(&sent) {
        Ok(Incoming::Accepted { message: received, .. }) => assert_eq!(received, *message),
        other => panic!("{other:?}"),
    }
    assert!(server.unprotect_request(&sent).is_err(), "a replay");
}
