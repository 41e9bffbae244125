//! The parameters of a group, and the profiles' places in the registry.

use crate::member::PubsubMember;
use crate::rules::PubsubGroup;
use crate::scope;
use ace_groupcomm::config::{ConfigError, ConfigMap, ParameterReader};
use ace_groupcomm::registry::ApplicationProfileDescriptor;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, SignatureAlgorithm};
use ace_groupcomm::traits::member::MemberRules;
use ace_groupcomm::traits::profile::{ApplicationProfile, GroupRules, NamedRole, ParameterChange, Roles};
use ace_groupcomm_messages::RawCbor;
use ace_groupcomm_messages::labels::cose_header;
use ace_groupcomm_messages::labels::groupcomm_profile::{COAP_GROUP_PUBSUB_APP, MQTT_PUBSUB_APP};
use ace_oscore::Aead;
use std::sync::Arc;

/// An application profile for topics: `coap_group_pubsub_app` or `mqtt_pubsub_app`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pubsub {
    number: i64,
}

impl Pubsub {
    /// Of a broker over CoAP.
    pub const COAP: Self = Self { number: COAP_GROUP_PUBSUB_APP };
    /// Of a broker over MQTT.
    pub const MQTT: Self = Self { number: MQTT_PUBSUB_APP };

    /// Returns its number among the ACE Groupcomm Profiles.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.number
    }

    /// The same in the registry.
    fn linked(self) -> &'static dyn ApplicationProfile {
        if self == Self::MQTT { &Self::MQTT } else { &Self::COAP }
    }
}

/// What the registry of profiles is told of the one over CoAP.
pub const COAP: ApplicationProfileDescriptor = ApplicationProfileDescriptor {
    name: "coap_group_pubsub_app",
    number: COAP_GROUP_PUBSUB_APP,
    crate_name: env!("CARGO_PKG_NAME"),
    profile: &Pubsub::COAP,
};

/// What it is told of the one over MQTT.
pub const MQTT: ApplicationProfileDescriptor = ApplicationProfileDescriptor {
    name: "mqtt_pubsub_app",
    number: MQTT_PUBSUB_APP,
    crate_name: env!("CARGO_PKG_NAME"),
    profile: &Pubsub::MQTT,
};

ace_groupcomm::registry::submit! { COAP }
ace_groupcomm::registry::submit! { MQTT }

const ENCRYPTION: [(&str, Aead); 4] = [
    ("AES-CCM-16-64-128", Aead::AesCcm16_64_128),
    ("A128GCM", Aead::A128Gcm),
    ("A256GCM", Aead::A256Gcm),
    ("ChaCha20/Poly1305", Aead::ChaCha20Poly1305),
];

const SIGNATURES: [(&str, SignatureAlgorithm); 2] =
    [("EdDSA", SignatureAlgorithm::Ed25519), ("ES256", SignatureAlgorithm::Es256)];

/// For how many seconds keys can be good at most: 136 years.
const MAX_KEY_LIFETIME: u64 = 0xffff_ffff;

impl ApplicationProfile for Pubsub {
    fn named_roles(&self) -> &'static [NamedRole] {
        scope::NAMED
    }

    fn roles(&self, permissions: &RawCbor) -> Option<Roles> {
        scope::roles(permissions)
    }

    fn is_for_others(&self, permissions: &RawCbor) -> bool {
        scope::is_for_others(permissions)
    }

    /// A member's parameters: `subject`, that of its credential, `sign_alg`, as the group has it, and `key`, the seed or scalar of its
    /// key (32 bytes in hexadecimal).
    fn member(
        &self,
        gname: &str,
        roles: Roles,
        mut config: ConfigMap,
        crypto: Arc<dyn CryptoProvider>,
    ) -> Result<Arc<dyn MemberRules>, ConfigError> {
        let subject = config.required("subject", ConfigMap::text)?;
        let named = config.text("sign_alg")?.unwrap_or_else(|| "EdDSA".into());
        let sign_alg = SIGNATURES.iter().find(|(name, _)| *name == named).map(|(_, algorithm)| *algorithm);
        let sign_alg = sign_alg.ok_or_else(|| ConfigError::new("sign_alg", "must be EdDSA or ES256"))?;
        let key = config.signing_key("key", sign_alg, &*crypto)?;
        config.finish()?;
        let identity = Identity::kccs(&subject, key);
        Ok(Arc::new(PubsubMember { profile: *self, gname: gname.into(), roles, sign_alg, identity, crypto }))
    }

    /// How long a version is good concerns the next one. Another encryption comes with another version.
    fn change(&self, parameter: &str) -> ParameterChange {
        match parameter {
            "key_lifetime" => ParameterChange::None,
            "alg" => ParameterChange::NextVersion,
            _ => ParameterChange::AnotherGroup,
        }
    }

    fn configure(
        &self,
        gname: &str,
        config: ConfigMap,
        crypto: &dyn CryptoProvider,
    ) -> Result<Arc<dyn GroupRules>, ConfigError> {
        let mut read = ParameterReader::new(config);
        let aead = read.choose("alg", &ENCRYPTION, "AES-CCM-16-64-128")?;
        let sign_alg = read.choose("sign_alg", &SIGNATURES, "EdDSA")?;
        let cred_fmt = read.choose("cred_fmt", &[("kccs", cose_header::KCCS)], "kccs")?;
        let key = read.signing_key("kdc_key", sign_alg, crypto)?;
        let subject = read.text("kdc_subject", "kdc")?;
        let key_lifetime = read.seconds("key_lifetime", 2_592_000, 1..=MAX_KEY_LIFETIME)?;
        let parameters = read.finish()?;
        Ok(Arc::new(PubsubGroup {
            gname: gname.into(),
            parameters,
            aead,
            sign_alg,
            cred_fmt,
            identity: Identity::kccs(&subject, key),
            key_lifetime,
        }))
    }
}

impl PubsubMember {
    pub(crate) fn registered(&self) -> &'static dyn ApplicationProfile {
        self.profile.linked()
    }
}
