//! GET of /ace-group/GROUPNAME/nodes/NODENAME: the group's and the member's own keying material (RFC 9594
//! section 4.8.1).

use crate::kdc::KdcApp;
use crate::kdc::resource::content;
use crate::kdc::route::Answer;
use crate::kdc::scene::{MemberScene, Scene};
use crate::traits::profile::{KeyAudience, Roles};

impl KdcApp {
    pub(in crate::kdc) fn get_node(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        let sender_id = member.member.sender_id.as_ref();
        let audience = KeyAudience::Node { roles: Roles(member.member.roles), sender_id };
        let material = self.distribution(scene.view, member.authorised, member.group, audience)?;
        Ok(content(material.encode()))
    }
}
