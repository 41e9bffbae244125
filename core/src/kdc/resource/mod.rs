//! The resources of the KDC, a file for each (RFC 9594 section 4.1).

pub(in crate::kdc) mod authz_info;
pub(in crate::kdc) mod creds;
pub(in crate::kdc) mod extra;
pub(in crate::kdc) mod group;
pub(in crate::kdc) mod groups;
pub(in crate::kdc) mod join;
pub(in crate::kdc) mod kdc_cred;
pub(in crate::kdc) mod node;
pub(in crate::kdc) mod num;
pub(in crate::kdc) mod observe;
pub(in crate::kdc) mod policies;

use crate::request::Response;

/// The answer 2.05 with a body.
pub(in crate::kdc) fn content(format: u16, payload: Vec<u8>) -> Response {
    Response::new(crate::Status::Content).with_payload(format, payload)
}
