//! GET of /ace-group/GROUPNAME/num: the version of the keying material (RFC 9594 section 4.7).

use crate::engine::store::view::Stop;
use crate::kdc::KdcApp;
use crate::kdc::resource::content;
use crate::kdc::resource::group;
use crate::kdc::scene::Standing;
use crate::request::Response;
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::retrieval;

impl KdcApp {
    pub(in crate::kdc) fn num(&self, standing: &Standing<'_>) -> Result<Response, Stop> {
        Ok(content(ACE_GROUPCOMM_CBOR, retrieval::encode_num(group::num(standing)?)))
    }
}
