//! GET of /ace-group/GROUPNAME: the group's keying material (RFC 9594 section 4.3.2).

use crate::engine::store::view::{Stop, View};
use crate::kdc::KdcApp;
use crate::kdc::resource::content;
use crate::kdc::route::Answer;
use crate::kdc::scene::{Authorised, GroupState, MemberScene, Scene};
use crate::refusal::Refusal;
use crate::schema::keys;
use crate::schema::records::GroupSecret;
use crate::traits::profile::KeyAudience;
use ace_groupcomm_messages::KeyDistribution;

impl KdcApp {
    pub(in crate::kdc) fn get_group(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        let material = self.distribution(scene.view, member.authorised, member.group, KeyAudience::Group)?;
        Ok(content(material.encode()))
    }

    /// The keying material of the current version, as somebody is to see it.
    pub(in crate::kdc) fn distribution(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
        audience: KeyAudience<'_>,
    ) -> Result<KeyDistribution, Stop> {
        let broken = || Refusal::Internal("the keying material cannot be read");
        let secret = view.get::<GroupSecret>(&keys::secret(group.id, group.head.num))?.ok_or_else(broken)?;
        self.usable(view, secret)?;
        let rules = &authorised.group.rules;
        let producer = rules.material();
        let key = producer.key(&secret.material, &group.head.gid, audience).ok_or_else(broken)?;
        Ok(KeyDistribution {
            gkty: producer.key_type(),
            key,
            num: num(group)?,
            ace_groupcomm_profile: Some(authorised.group.profile.number),
            exp: Some(secret.expires.seconds()),
            exi: Some(view.arrived().unix.until(secret.expires).as_secs()),
            rekeying_scheme: None,
            mgt_key_material: None,
        })
    }
}

/// The version number as messages have it.
pub(in crate::kdc) fn num(group: &GroupState<'_>) -> Result<i64, Refusal> {
    i64::try_from(group.head.num).map_err(|_| Refusal::Internal("version numbers are used up"))
}
