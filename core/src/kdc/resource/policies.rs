//! GET of /ace-group/GROUPNAME/policies (RFC 9594 section 4.6).

use crate::kdc::KdcApp;
use crate::kdc::resource::content;
use crate::kdc::route::Answer;
use crate::kdc::scene::{MemberScene, Scene};
use ace_groupcomm_messages::retrieval;

impl KdcApp {
    pub(in crate::kdc) fn policies(&self, _: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        Ok(content(retrieval::encode_policies(&member.authorised.group.rules.policies())))
    }
}
