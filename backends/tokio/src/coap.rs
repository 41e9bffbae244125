//! An engine behind CoAP: requests and responses in the one form and the other.

use crate::driver::Handle;
use ace_backend_coap::{Answer, Received, Responder, Service};
use ace_coap::numbers::option;
use ace_coap::{Code, Message};
use ace_groupcomm::{Caller, Method, Request, Response};

/// Serves an engine's resources.
pub struct EngineService(Handle);

impl EngineService {
    /// Serves the engine with this handle.
    #[must_use]
    pub const fn new(handle: Handle) -> Self {
        Self(handle)
    }
}

const fn method(code: Code) -> Option<Method> {
    Some(match code {
        Code::GET => Method::Get,
        Code::POST => Method::Post,
        Code::PUT => Method::Put,
        Code::DELETE => Method::Delete,
        Code::FETCH => Method::Fetch,
        Code::PATCH => Method::Patch,
        Code::IPATCH => Method::IPatch,
        _ => return None,
    })
}

fn uint16(message: &Message, number: u16) -> Option<u16> {
    message.options.uint(number).map(|value| u16::try_from(value).unwrap_or(u16::MAX))
}

/// The request without its transport; otherwise the code that refuses an unknown method (RFC 7252 section 5.8), or
/// a path that is not text.
fn request(message: Message) -> Result<Request, Code> {
    Ok(Request {
        method: method(message.code).ok_or(Code::METHOD_NOT_ALLOWED)?,
        path: message.options.uri_path().ok_or(Code::BAD_OPTION)?,
        content_format: uint16(&message, option::CONTENT_FORMAT),
        accept: uint16(&message, option::ACCEPT),
        payload: message.payload.into(),
    })
}

fn answer(response: &Response) -> Answer {
    let mut message = Message::response(Code(response.status.coap()));
    for segment in &response.location_path {
        message.options.push(option::LOCATION_PATH, segment.as_bytes());
    }
    if let Some(format) = response.content_format {
        message.options.push_uint(option::CONTENT_FORMAT, u32::from(format));
    }
    if let Some(seconds) = response.max_age {
        message.options.push_uint(option::MAX_AGE, seconds);
    }
    message.payload = response.payload.to_vec();
    Answer { message, unprotected: response.unprotected, observable: false }
}

impl Service for EngineService {
    fn call(&self, received: Received, responder: Responder) {
        let caller = received.peer.map_or(Caller::Anonymous, |peer| Caller::peer(peer.as_bytes()));
        match request(received.message) {
            Err(code) => responder.send(Message::response(code)),
            Ok(request) => {
                self.0.submit(caller, request, move |response| responder.send(answer(&response)));
            }
        }
    }
}
