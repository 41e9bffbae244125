//! GET of /ace-group/GROUPNAME/nodes/NODENAME: the group's and the member's own keying material (RFC 9594
//! section 4.8.1).

use crate::engine::store::view::{Stop, View};
use crate::kdc::KdcApp;
use crate::kdc::resource::content;
use crate::kdc::scene::{Authorised, Standing};
use crate::request::Response;
use crate::schema::records::Member;
use crate::traits::profile::KeyAudience;
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;

impl KdcApp {
    pub(in crate::kdc) fn get_node(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &Standing<'_>,
        member: &Member,
    ) -> Result<Response, Stop> {
        let sender_id = member.sender_id.as_ref().map(|id| id.as_slice());
        let material = self.distribution(view, authorised, group, KeyAudience::Node(sender_id))?;
        Ok(content(ACE_GROUPCOMM_CBOR, material.encode()))
    }
}
