//! GET of /ace-group/GROUPNAME/num: the version of the keying material (RFC 9594 section 4.7).

use super::caller::Standing;
use super::{KdcApp, content, group};
use crate::request::Response;
use crate::view::Stop;
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::retrieval;

impl KdcApp {
    pub(super) fn num(&self, standing: &Standing<'_>) -> Result<Response, Stop> {
        Ok(content(ACE_GROUPCOMM_CBOR, retrieval::encode_num(group::num(standing)?)))
    }
}
