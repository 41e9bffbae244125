//! GET of /ace-group/GROUPNAME/num: the version of the keying material (RFC 9594 section 4.7).

use crate::kdc::KdcApp;
use crate::kdc::resource::{content, group};
use crate::kdc::route::Answer;
use crate::kdc::scene::{MemberScene, Scene};
use ace_groupcomm_messages::retrieval;

impl KdcApp {
    pub(in crate::kdc) fn num(&self, _: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        Ok(content(retrieval::encode_num(group::num(member.group)?)))
    }
}
