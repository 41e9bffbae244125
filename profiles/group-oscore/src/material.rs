//! The secrets of an epoch, and the Group_OSCORE_Input_Material that shows them (section 6.3 of the profile).

use crate::rules::OscoreGroup;
use ace_groupcomm::traits::profile::{KeyAudience, KeyingMaterialProducer};
use ace_groupcomm::{Gid, Secret};
use ace_groupcomm_messages::labels::key_type::GROUP_OSCORE_INPUT_MATERIAL;
use ace_groupcomm_messages::{GroupOscoreInputMaterial, Label, RawCbor};

/// Length of the Master Secret: that of the strongest key it gives.
pub(crate) const MS_LEN: usize = 32;
/// Length of the Master Salt.
const SALT_LEN: usize = 8;

impl KeyingMaterialProducer for OscoreGroup {
    fn key_type(&self) -> Label {
        Label::Int(GROUP_OSCORE_INPUT_MATERIAL)
    }

    fn fresh(&self, random: &dyn Fn(&'static str) -> [u8; 32]) -> Secret {
        let ms = random("Master Secret");
        let salt = random("Master Salt");
        let length = if self.needs_long_secret() { MS_LEN } else { 16 };
        Secret::new(salt.iter().take(SALT_LEN).chain(ms.iter().take(length)).copied().collect())
    }

    fn key(&self, secret: &Secret, gid: &Gid, audience: KeyAudience<'_>) -> Option<RawCbor> {
        let (salt, ms) = secret.expose().split_at_checked(SALT_LEN)?;
        let sender_id = match audience {
            KeyAudience::Group => None,
            KeyAudience::Node { sender_id, .. } => sender_id,
            // Somebody to whom this version has nothing to show.
            _ => return None,
        };
        let material = GroupOscoreInputMaterial {
            ms: ms.to_vec(),
            hkdf: self.hkdf_parameter(),
            alg: self.pairwise.as_ref().map(|pairwise| Label::Int(pairwise.alg)),
            salt: Some(salt.to_vec()),
            context_id: gid.as_bytes().to_vec(),
            group_sender_id: sender_id.map(|id| id.as_bytes().to_vec()),
            cred_fmt: Some(self.cred_fmt),
            gp_enc_alg: Some(Label::Int(self.gp_enc_alg)),
            sign: Some(self.sign_parameters()),
            ecdh: self.pairwise.as_ref().map(|pairwise| self.ecdh_parameters(pairwise)),
        };
        Some(material.encode())
    }
}
