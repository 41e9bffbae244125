//! GET of /ace-group/GROUPNAME/policies (RFC 9594 section 4.6).

use crate::kdc::KdcApp;
use crate::kdc::resource::content;
use crate::kdc::scene::Authorised;
use crate::request::Response;
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::retrieval;

impl KdcApp {
    pub(in crate::kdc) fn policies(&self, authorised: &Authorised<'_>) -> Response {
        content(ACE_GROUPCOMM_CBOR, retrieval::encode_policies(&authorised.group.rules.policies()))
    }
}
