//! GET of /ace-group/GROUPNAME: the group's keying material (RFC 9594 section 4.3.2).

use crate::engine::Outcome;
use crate::engine::store::view::{Stop, View};
use crate::id::SenderId;
use crate::kdc::membership::stale::stale_under;
use crate::kdc::resource::content;
use crate::kdc::resource::creds::peer;
use crate::kdc::route::Answer;
use crate::kdc::scene::{Authorised, GroupState, MemberScene, Scene};
use crate::kdc::{Group, KdcApp};
use crate::refusal::Refusal;
use crate::request::Purpose;
use crate::schema::keys;
use crate::schema::records::{GroupSecret, Head, MemberRecord};
use crate::traits::profile::KeyAudience;
use ace_groupcomm_messages::labels::rekeying_scheme::POINT_TO_POINT;
use ace_groupcomm_messages::{KeyDistribution, PeerCred, RekeyingMessage};

impl KdcApp {
    pub(in crate::kdc) fn get_group(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        self.keys_of_version(scene, member, KeyAudience::Group)
    }

    /// The keying material of the current version, as somebody is to see it. A notification also says what a rekeying message
    /// does; a plain answer does not, so that a member can tell them apart.
    pub(in crate::kdc) fn keys_of_version(
        &self,
        scene: &Scene<'_, '_>,
        member: &MemberScene<'_>,
        audience: KeyAudience<'_>,
    ) -> Answer {
        let (view, authorised, state) = (scene.view, member.authorised, member.group);
        if scene.request.purpose == Purpose::Notification {
            let key = keys::secret(state.id, state.head.num);
            let secret = view.get::<GroupSecret>(&key)?.ok_or(BROKEN)?;
            self.usable(view, secret)?;
            let (body, kept) = self.rekeying_body(view, &authorised.group, state, secret, audience)?;
            return Ok(kept.into_iter().fold(content(body), Outcome::with_event));
        }
        Ok(content(self.distribution(view, authorised, state, audience)?.encode()))
    }

    /// What members are sent that have the version before (Group OSCORE profile section 11.1).
    pub(in crate::kdc) fn rekeying_message(
        &self,
        view: &View<'_>,
        group: &Group,
        state: &GroupState<'_>,
        secret: &GroupSecret,
        audience: KeyAudience<'_>,
    ) -> Result<RekeyingMessage, Stop> {
        let material = self.distribution_of(view, group, state.head, secret, audience)?;
        let former = state.head.num.checked_sub(1).filter(|_| group.rules.stale_sets() > 0);
        let stale = former.map(|num| stale_under(view, state.id, num)).transpose();
        let joined: Vec<_> =
            secret.admitted().iter().map(|id| view.get::<MemberRecord>(&keys::member(state.id, *id))).collect();
        let ids = |stale: Vec<SenderId>| stale.iter().map(|id| id.as_bytes().to_vec()).collect();
        let stale_node_ids = stale?.map(ids);
        let joined = joined.into_iter().collect::<Result<Vec<_>, Stop>>()?;
        let joined: Vec<PeerCred> = joined.into_iter().flatten().filter_map(|member| peer(group, member)).collect();
        let joined = Some(joined).filter(|joined| !joined.is_empty());
        Ok(RekeyingMessage { material, joined, stale_node_ids, extra: Vec::new() })
    }

    /// The keying material of the current version, as somebody is to see it.
    pub(in crate::kdc) fn distribution(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
        audience: KeyAudience<'_>,
    ) -> Result<KeyDistribution, Stop> {
        let secret = view.get::<GroupSecret>(&keys::secret(group.id, group.head.num))?.ok_or(BROKEN)?;
        self.usable(view, secret)?;
        self.distribution_of(view, &authorised.group, group.head, secret, audience)
    }

    /// The keying material of a version.
    pub(in crate::kdc) fn distribution_of(
        &self,
        view: &View<'_>,
        group: &Group,
        head: &Head,
        secret: &GroupSecret,
        audience: KeyAudience<'_>,
    ) -> Result<KeyDistribution, Stop> {
        let producer = group.rules.material();
        let key = producer.key(&secret.material, &head.gid, audience).ok_or(BROKEN)?;
        Ok(KeyDistribution {
            gkty: producer.key_type(),
            key,
            num: num_of(head)?,
            ace_groupcomm_profile: Some(group.profile.number),
            exp: Some(secret.expires.seconds()),
            exi: Some(view.arrived().unix.until(secret.expires).as_secs()),
            rekeying_scheme: Some(group.rules.rekeying_scheme().number()).filter(|scheme| *scheme != POINT_TO_POINT),
            mgt_key_material: None,
        })
    }
}

const BROKEN: Refusal = Refusal::Internal("the keying material cannot be read");

/// The version number as messages have it.
pub(in crate::kdc) fn num(group: &GroupState<'_>) -> Result<i64, Refusal> {
    num_of(group.head)
}

fn num_of(head: &Head) -> Result<i64, Refusal> {
    i64::try_from(head.num).map_err(|_| Refusal::Internal("version numbers are used up"))
}
