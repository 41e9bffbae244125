//! A member's side of a media group.

use crate::{BITRATE, Media, NUMBER, SENDER};
use ace_groupcomm::Secret;
use ace_groupcomm::config::{ConfigError, ConfigMap};
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, PublicKey, SignatureAlgorithm};
use ace_groupcomm::traits::member::{KeyPart, MemberRules, Unsuitable};
use ace_groupcomm::traits::profile::{ApplicationProfile, Roles};
use ace_groupcomm_messages::{KeyDistribution, Label, RawCbor};
use std::sync::Arc;

/// A member of one media group; the identity of a receiver is used for nothing.
#[derive(Clone)]
pub struct MediaMember {
    gname: String,
    roles: Roles,
    identity: Identity,
    bitrate: u64,
    crypto: Arc<dyn CryptoProvider>,
}

impl MediaMember {
    /// Reads the parameters: `key`, a P-256 scalar; `subject`; `bitrate` in kbit/s.
    pub fn configure(
        gname: &str,
        roles: Roles,
        mut config: ConfigMap,
        crypto: Arc<dyn CryptoProvider>,
    ) -> Result<Self, ConfigError> {
        let key = config.signing_key("key", SignatureAlgorithm::Es256, &*crypto)?;
        let identity = Identity::kccs(&config.required("subject", ConfigMap::text)?, key);
        let bitrate = config.uint("bitrate")?.unwrap_or(64);
        config.finish()?;
        Ok(Self { gname: gname.into(), roles, identity, bitrate, crypto })
    }
}

/// Master key, master salt, Gid, and for a sender its SSRC.
fn parts(key: &RawCbor) -> Option<Vec<Vec<u8>>> {
    let parts: Vec<Vec<u8>> = key.to_array()?.iter().map(RawCbor::to_byte_string).collect::<Option<_>>()?;
    (parts.len() == 3 || parts.get(3).is_some_and(|ssrc| ssrc.len() == 4 && parts.len() == 4)).then_some(parts)
}

impl MemberRules for MediaMember {
    fn gname(&self) -> &str {
        &self.gname
    }

    fn roles(&self) -> Roles {
        self.roles
    }

    fn with_roles(&self, roles: Roles) -> Arc<dyn MemberRules> {
        Arc::new(Self { roles, ..self.clone() })
    }

    fn profile(&self) -> &'static dyn ApplicationProfile {
        &Media
    }

    fn crypto(&self) -> &dyn CryptoProvider {
        &*self.crypto
    }

    fn identity(&self) -> Option<&Identity> {
        self.roles.meets(SENDER).then_some(&self.identity)
    }

    fn join_parameters(&self) -> Vec<(Label, RawCbor)> {
        self.identity().map(|_| (BITRATE, RawCbor::uint(self.bitrate))).into_iter().collect()
    }

    fn key_of(&self, cred: &[u8]) -> Option<PublicKey> {
        PublicKey::of_kccs(SignatureAlgorithm::Es256, cred)
    }

    fn key(&self, distribution: &KeyDistribution) -> Result<RawCbor, Unsuitable> {
        let is_sender = self.roles.meets(SENDER);
        let fits = parts(&distribution.key).is_some_and(|parts| is_sender == (parts.len() == 4));
        if fits && distribution.gkty == Label::Int(NUMBER) {
            return Ok(distribution.key.clone());
        }
        Err(Unsuitable::new("the key is of another kind"))
    }

    fn own_id(&self, key: &RawCbor) -> Option<Vec<u8>> {
        parts(key)?.get(3).cloned()
    }

    fn key_parts(&self, key: &RawCbor) -> Result<Vec<(&'static str, KeyPart)>, Unsuitable> {
        let parts = parts(key).ok_or_else(|| Unsuitable::new("the key is of another kind"))?;
        let names = ["master_key", "master_salt", "gid", "ssrc"];
        let part = |(name, part): (&'static str, Vec<u8>)| match name {
            "gid" | "ssrc" => (name, KeyPart::Bytes(part)),
            _ => (name, KeyPart::Secret(Secret::new(part))),
        };
        Ok(names.into_iter().zip(parts).map(part).collect())
    }
}
