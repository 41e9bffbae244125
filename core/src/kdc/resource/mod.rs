//! The resources of the KDC, a file for each (RFC 9594 section 4.1).

pub(in crate::kdc) mod authz_info;
pub(in crate::kdc) mod creds;
pub(in crate::kdc) mod group;
pub(in crate::kdc) mod groups;
pub(in crate::kdc) mod join;
pub(in crate::kdc) mod kdc_cred;
pub(in crate::kdc) mod node;
pub(in crate::kdc) mod node_cred;
pub(in crate::kdc) mod num;
pub(in crate::kdc) mod observe;
pub(in crate::kdc) mod own;
pub(in crate::kdc) mod policies;

use crate::engine::Outcome;
use crate::kdc::Event;
use crate::request::{Response, Status};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;

/// The answer 2.05 with a body of application/ace-groupcomm+cbor.
fn content(payload: Vec<u8>) -> Outcome<Event> {
    Outcome::answer(Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, payload))
}
