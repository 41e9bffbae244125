//! A context as the security of a CoAP client.

use crate::{Context, Error, Incoming, PendingRequest, ResponseRight};
use ace_coap::Message;
use ace_coap::numbers::option;
use ace_coap::security::{ClientSecurity, Inbound, PeerId, ProtectError, ReplyBinding, ResponseError, SentRequest};

impl From<Error> for ProtectError {
    fn from(error: Error) -> Self {
        match error {
            Error::NeedSequence => Self::NeedSequence,
            Error::Exhausted | Error::NoContext => Self::NoAssociation,
            _ => Self::Message,
        }
    }
}

impl From<Error> for ResponseError {
    fn from(error: Error) -> Self {
        if error == Error::NotProtected { Self::NotProtected } else { Self::NotVerified }
    }
}

impl ClientSecurity for Context {
    fn protect_request(&mut self, request: &Message) -> Result<(Message, SentRequest), ProtectError> {
        let (message, pending) = Self::protect_request(self, request)?;
        Ok((message, SentRequest::new(pending)))
    }

    fn unprotect_response(&mut self, response: &Message, sent: &mut SentRequest) -> Result<Message, ResponseError> {
        let pending = sent.inner_mut::<PendingRequest>().ok_or(ResponseError::NotVerified)?;
        Ok(Self::unprotect_response(self, response, pending)?)
    }

    fn unprotect_request(&mut self, request: Message, echo: Option<[u8; 8]>) -> Inbound {
        if !request.options.has(option::OSCORE) {
            return Inbound::Plain(request);
        }
        match Self::unprotect_request(self, &request) {
            Ok(Incoming::Accepted { message, right, echoed }) => Inbound::Verified {
                peer: PeerId::new(self.recipient_id()),
                message,
                binding: ReplyBinding::new(right),
                fresh: echoed,
            },
            Ok(Incoming::Unsynchronised(challenge)) => {
                let answer = echo.map(|echo| self.challenge(&request, challenge, echo));
                answer.and_then(Result::ok).map_or(Inbound::Discard, Inbound::Answer)
            }
            Err(error) => error.response().map_or(Inbound::Discard, Inbound::Answer),
        }
    }

    fn protect_response(&mut self, response: Message, binding: ReplyBinding) -> Result<Message, ProtectError> {
        let right: ResponseRight = binding.into_inner().ok_or(ProtectError::ForeignBinding)?;
        Ok(Self::protect_response(self, &response, right)?)
    }

    fn extend(&mut self, start: u64, limit: u64) {
        self.sequence().extend(start, limit);
    }

    fn runs_low(&self) -> bool {
        self.sequence.runs_low()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Aead, Hkdf, Parameters, Sequence};
    use ace_coap::Code;
    use alloc::vec;

    #[test]
    fn numbers_that_come_are_used_and_their_end_is_seen() {
        let parameters = Parameters {
            master_secret: vec![1; 16],
            master_salt: vec![],
            sender_id: vec![1],
            recipient_id: vec![2],
            id_context: None,
            aead: Aead::default(),
            hkdf: Hkdf::default(),
        };
        let mut context = Context::restored(&parameters, Sequence::none()).unwrap();
        let security: &mut dyn ClientSecurity = &mut context;
        let get = Message::request(Code::GET);
        assert!(security.runs_low() && security.is_protected());
        assert_eq!(security.protect_request(&get).unwrap_err(), ProtectError::NeedSequence);
        security.extend(0, 4_096);
        assert!(!security.runs_low() && security.protect_request(&get).is_ok());
        let foreign = ReplyBinding::new(1_u8);
        assert_eq!(security.protect_response(get.clone(), foreign), Err(ProtectError::ForeignBinding));
        assert_eq!(security.unprotect_response(&get, &mut SentRequest::new(1_u8)), Err(ResponseError::NotVerified));
    }
}
