//! Requests of the KDC at a member's control URI (RFC 9594 sections 5 and 6.1, Group OSCORE profile sections 10 and 11): a rekeying message,
//! or the end of the membership.

use super::{Effect, Member};
use crate::refusal::Refusal;
use crate::time::UnixTime;
use crate::{Method, Request, Response, Status};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::{GroupcommError, RekeyingMessage};
use rand_core::CryptoRng;

impl Member {
    /// Returns the answer to a request of the KDC at the control URI. One that is answered with a success is handed in by
    /// [`Self::asked`]: the answer says that it has come.
    #[must_use]
    pub fn answer_to(request: &Request) -> Status {
        match request.method {
            Method::Delete => Status::Deleted,
            Method::Post if request.content_format.is_some_and(|format| format != ACE_GROUPCOMM_CBOR) => {
                Status::UnsupportedContentFormat
            }
            Method::Post if RekeyingMessage::decode(&request.payload).is_err() => Status::BadRequest,
            Method::Post => Status::Changed,
            _ => Status::MethodNotAllowed,
        }
    }

    /// Takes a request of the KDC at the control URI, verified and in plain text. It is an operation as the others. A rekeying message
    /// that comes twice, or late, changes nothing. A DELETE ends the membership that there is: whoever has joined since it came drops it.
    pub fn asked(&mut self, unix: UnixTime, request: &Request, rng: &mut dyn CryptoRng) -> Effect {
        let told = match request.method {
            Method::Delete => Refusal::Groupcomm(GroupcommError::MembershipTerminated).response(),
            _ => Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, request.payload.clone()),
        };
        self.notified(unix, told, rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_groupcomm_messages::labels::content_format::CBOR;
    use ace_groupcomm_messages::{KeyDistribution, Label, RawCbor};

    #[test]
    fn what_is_no_rekeying_message_and_no_end_is_refused() {
        let material = KeyDistribution {
            gkty: Label::Int(1),
            key: RawCbor::bytes(&[7; 16]),
            num: 3,
            ace_groupcomm_profile: None,
            exp: None,
            exi: None,
            rekeying_scheme: None,
            mgt_key_material: None,
        };
        let message = RekeyingMessage { material, joined: None, stale_node_ids: None, extra: Vec::new() };
        let post = Request::new(Method::Post, ["control"]);
        for (request, status) in [
            (post.clone().with_payload(ACE_GROUPCOMM_CBOR, message.encode()), Status::Changed),
            (post.clone().with_payload(CBOR, message.encode()), Status::UnsupportedContentFormat),
            (post.clone().with_payload(ACE_GROUPCOMM_CBOR, vec![0xa0]), Status::BadRequest),
            (post, Status::BadRequest),
            (Request::new(Method::Delete, ["control"]), Status::Deleted),
            (Request::new(Method::Get, ["control"]), Status::MethodNotAllowed),
        ] {
            assert_eq!(Member::answer_to(&request), status, "{request:?}");
        }
    }
}
