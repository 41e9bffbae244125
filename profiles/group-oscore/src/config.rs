//! The parameters of a group, and the profile's place in the registry.

use crate::member::OscoreMember;
use crate::rules::{OscoreGroup, Pairwise};
use crate::scope;
use ace_groupcomm::config::{ConfigError, ConfigMap, ParameterReader};
use ace_groupcomm::registry::ApplicationProfileDescriptor;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, SignatureAlgorithm};
use ace_groupcomm::traits::member::MemberRules;
use ace_groupcomm::traits::profile::{ApplicationProfile, GroupRules, NamedRole, ParameterChange, Roles};
use ace_groupcomm_messages::RawCbor;
use ace_groupcomm_messages::labels::groupcomm_profile::COAP_GROUP_OSCORE_APP;
use ace_groupcomm_messages::labels::{cose_alg, cose_header};
use std::sync::Arc;

/// The application profile `coap_group_oscore_app`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupOscore;

/// What the registry of profiles is told.
pub const DESCRIPTOR: ApplicationProfileDescriptor = ApplicationProfileDescriptor {
    name: "coap_group_oscore_app",
    number: COAP_GROUP_OSCORE_APP,
    crate_name: env!("CARGO_PKG_NAME"),
    profile: &GroupOscore,
};

ace_groupcomm::registry::submit! { DESCRIPTOR }

/// An encryption algorithm: its COSE number and the length of its nonce.
const ENCRYPTION: [(&str, (i64, usize)); 4] = [
    ("AES-CCM-16-64-128", (cose_alg::AES_CCM_16_64_128, 13)),
    ("A128GCM", (cose_alg::A128GCM, 12)),
    ("A256GCM", (cose_alg::A256GCM, 12)),
    ("ChaCha20/Poly1305", (cose_alg::CHACHA20_POLY1305, 12)),
];

/// The length of the nonce of an encryption algorithm, by its COSE number; `None` where it is not known.
pub(crate) fn nonce_len(number: i64) -> Option<usize> {
    ENCRYPTION.iter().find(|(_, (known, _))| *known == number).map(|(_, (_, length))| *length)
}

/// The length of the key of an encryption algorithm, by its COSE number; `None` where it is not known.
pub(crate) fn key_len(number: i64) -> Option<usize> {
    nonce_len(number).and_then(|_| ace_oscore::Aead::from_cose(number)).map(ace_oscore::Aead::key_len)
}

/// For how many seconds keys can be good at most: 136 years.
const MAX_KEY_LIFETIME: u64 = 0xffff_ffff;
/// The longest time that a policy can say, in seconds: what a configuration file can hold.
const MAX_POLICY: u64 = i64::MAX.unsigned_abs();

/// Of so many versions stale Sender IDs are kept at most: who has missed more drops all that it has.
const MAX_STALE_SETS: u64 = 1_000;

/// An HKDF: its HMAC algorithm, and the key agreement that goes with it.
const HKDF: [(&str, (i64, i64)); 2] = [
    ("HKDF SHA-256", (cose_alg::HMAC_256_256, cose_alg::ECDH_SS_HKDF_256)),
    ("HKDF SHA-512", (cose_alg::HMAC_512_512, cose_alg::ECDH_SS_HKDF_512)),
];

impl ApplicationProfile for GroupOscore {
    fn named_roles(&self) -> &'static [NamedRole] {
        scope::NAMED
    }

    /// Bit 0 marks an entry for administrators (draft-ietf-ace-oscore-gm-admin section 3).
    fn is_for_others(&self, permissions: &RawCbor) -> bool {
        permissions.as_uint().is_some_and(|bits| bits & 1 == 1)
    }

    /// A member's parameters: `subject`, that of its credential, and `key`, the seed of its Ed25519 key (32 bytes in
    /// hexadecimal).
    fn member(
        &self,
        gname: &str,
        roles: Roles,
        mut config: ConfigMap,
        crypto: Arc<dyn CryptoProvider>,
    ) -> Result<Arc<dyn MemberRules>, ConfigError> {
        let subject = config.required("subject", ConfigMap::text)?;
        let key = config.signing_key("key", SignatureAlgorithm::Ed25519, &*crypto)?;
        config.finish()?;
        Ok(Arc::new(OscoreMember { gname: gname.into(), roles, identity: Identity::kccs(&subject, key), crypto }))
    }

    /// Members read policies the next time, and how long a version is good with each. Other algorithms come with another version.
    /// What credentials there are, who the Group Manager is, in which modes the group is, and how many stale sets there are stays.
    fn change(&self, parameter: &str) -> ParameterChange {
        match parameter {
            "key_lifetime" | "key_update_check_interval" | "expiration_delta" => ParameterChange::None,
            "hkdf" | "gp_enc_alg" | "alg" => ParameterChange::NextVersion,
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
        let is_pairwise = read.choose("mode", &[("group", false), ("group+pairwise", true)], "group+pairwise")?;
        let (hkdf, ecdh_alg) = read.choose("hkdf", &HKDF, "HKDF SHA-256")?;
        let (gp_enc_alg, group_nonce) = read.choose("gp_enc_alg", &ENCRYPTION, "AES-CCM-16-64-128")?;
        read.choose("sign_alg", &[("EdDSA", ())], "EdDSA")?;
        let cred_fmt = read.choose("cred_fmt", &[("kccs", cose_header::KCCS)], "kccs")?;
        let (pairwise, nonce_len) = if is_pairwise {
            let (alg, pairwise_nonce) = read.choose("alg", &ENCRYPTION, "AES-CCM-16-64-128")?;
            (Some(Pairwise { alg, ecdh_alg }), group_nonce.min(pairwise_nonce))
        } else {
            (None, group_nonce)
        };
        let key = read.signing_key("gm_key", SignatureAlgorithm::Ed25519, crypto)?;
        let key_lifetime = read.seconds("key_lifetime", 2_592_000, 1..=MAX_KEY_LIFETIME)?;
        let subject = read.text("gm_subject", "group-manager")?;
        let key_update_check_interval = read.seconds("key_update_check_interval", 3_600, 0..=MAX_POLICY)?;
        let expiration_delta = read.seconds("expiration_delta", 0, 0..=MAX_POLICY)?;
        let max_stale_sets = read.uint("max_stale_sets", 3, 2..=MAX_STALE_SETS)?;
        let parameters = read.finish()?;
        Ok(Arc::new(OscoreGroup {
            gname: gname.into(),
            parameters,
            hkdf,
            cred_fmt,
            gp_enc_alg,
            pairwise,
            identity: Identity::kccs(&subject, key),
            key_update_check_interval,
            expiration_delta,
            key_lifetime,
            max_stale_sets,
            nonce_len,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::{MONITOR, REQUESTER};
    use ace_backend_aws_lc::AwsLc;
    use ace_groupcomm::Secret;
    use ace_groupcomm::config::ConfigValue;
    use ace_groupcomm::traits::profile::KeyAudience;
    use ace_groupcomm_messages::{GroupOscoreInputMaterial, Label, RawCbor};

    fn configure(entries: &[(&str, &str)]) -> Result<Arc<dyn GroupRules>, ConfigError> {
        let mut map = ConfigMap::default();
        map.insert("gm_key", ConfigValue::Text("11".repeat(32)));
        for (key, value) in entries {
            map.insert(*key, ConfigValue::Text((*value).into()));
        }
        GroupOscore.configure("g1", map, &AwsLc)
    }

    fn key(rules: &Arc<dyn GroupRules>, audience: KeyAudience<'_>) -> GroupOscoreInputMaterial {
        let secret = rules.material().fresh(&|label| [u8::try_from(label.len()).unwrap(); 32]);
        let key = rules.material().key(&secret, &b"\x37\xfc".into(), audience).unwrap();
        GroupOscoreInputMaterial::decode(&key).unwrap()
    }

    // Covers: GO-14.1-01, GO-14.1-02, GO-14.2-01, GO-14.2-02, GO-14.2-03, GO-14.3-01, GO-14.3-03, GO-6.3-07
    // Covers: GO-6.3-06, GO-6.3-09, GO-6.3-10, GO-6.3-11, GO-6.3-14, GO-6.3-16
    // Covers: GO-6.3-15, GO-14.3-02
    #[test]
    fn the_key_object_says_what_the_mode_needs() {
        let both = configure(&[]).unwrap();
        let material = key(&both, KeyAudience::Node { roles: REQUESTER, sender_id: Some(&b"\x05".into()) });
        assert_eq!((material.ms.as_slice(), material.salt.as_deref()), (&[13; 16][..], Some(&[11; 8][..])));
        assert_eq!(
            (material.context_id.as_slice(), material.group_sender_id.as_deref()),
            (&[0x37, 0xfc][..], Some(&[5][..]))
        );
        assert_eq!(
            (material.hkdf.clone(), material.alg.clone(), material.gp_enc_alg.clone()),
            (None, Some(Label::Int(10)), Some(Label::Int(10)))
        );
        assert_eq!(material.cred_fmt, Some(14));
        let (sign, ecdh) = (material.sign.clone().unwrap(), material.ecdh.clone().unwrap());
        assert_eq!((sign.algorithm, ecdh.algorithm), (Label::Int(-8), Label::Int(-27)));
        assert_eq!(sign.parameters, [RawCbor::new(&[0x81, 1]).unwrap(), RawCbor::new(&[0x82, 1, 6]).unwrap()]);
        assert_eq!(ecdh.parameters, [RawCbor::new(&[0x81, 1]).unwrap(), RawCbor::new(&[0x82, 1, 4]).unwrap()]);
        assert_eq!(key(&both, KeyAudience::Group).group_sender_id, None);
        assert_eq!(
            key(&both, KeyAudience::Node { roles: MONITOR, sender_id: None }).group_sender_id,
            None,
            "a monitor"
        );

        let group = configure(&[("mode", "group"), ("hkdf", "HKDF SHA-512"), ("gp_enc_alg", "A256GCM")]).unwrap();
        let material = key(&group, KeyAudience::Group);
        assert_eq!(
            (material.alg.clone(), material.ecdh.clone(), material.hkdf.clone()),
            (None, None, Some(Label::Int(7)))
        );
        assert!(material.gp_enc_alg.is_some() && material.sign.is_some());
        let long = configure(&[("hkdf", "HKDF SHA-512")]).unwrap();
        assert_eq!(key(&long, KeyAudience::Group).ecdh.clone().unwrap().algorithm, Label::Int(-28));
        assert_eq!(material.ms.len(), 32);
        assert_eq!((both.identifier_len(), group.identifier_len()), (1..=7, 1..=6));
        assert!(both.material().key(&Secret::new(vec![1]), &b"".into(), KeyAudience::Group).is_none());
    }

    #[test]
    fn what_a_client_is_told_before_it_joins() {
        let info = configure(&[]).unwrap().credential_info();
        assert_eq!((info.sign_info[0].algorithm.clone(), info.sign_info[0].cred_fmt), (Label::Int(-8), Some(14)));
        assert_eq!(info.sign_info[0].key_parameters, [RawCbor::uint(1), RawCbor::uint(6)]);
        assert_eq!(
            (info.ecdh_info[0].algorithm.clone(), info.ecdh_info[0].groups.clone()),
            (Label::Int(-27), vec!["g1".to_owned()])
        );
        assert!(info.kdc_dh_creds.is_empty());
        let group = configure(&[("mode", "group")]).unwrap().credential_info();
        assert!(group.ecdh_info.is_empty() && group.sign_info.len() == 1);
        // Content-Format 295 is 1 * 255 + 40 (RFC 9277 section 4.3).
        assert_eq!(configure(&[]).unwrap().scope_tag(), Some(0x6374_0101 + 0x128), "of an extended scope");
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        for (key, value) in [
            ("mode", "pairwise"),
            ("sign_alg", "ES256"),
            ("cred_fmt", "x5chain"),
            ("hkdf", "HKDF SHA-384"),
            ("gp_enc_alg", "AES-CBC"),
            ("alg", "AES-CBC"),
        ] {
            let error = configure(&[(key, value)]).map(|_| ()).unwrap_err();
            assert!(error.key == key && error.reason.contains(value), "{error}");
        }
        assert_eq!(configure(&[("gm_key", "11")]).map(|_| ()).unwrap_err().key, "gm_key");
        assert_eq!(configure(&[("colour", "red")]).map(|_| ()).unwrap_err().key, "colour");
        assert_eq!(configure(&[("mode", "group"), ("alg", "A128GCM")]).map(|_| ()).unwrap_err().key, "alg");
        let mut map = ConfigMap::default();
        assert_eq!(GroupOscore.configure("g", map.clone(), &AwsLc).map(|_| ()).unwrap_err().key, "gm_key");
        map.insert("gm_key", ConfigValue::Text("11".repeat(32)));
        map.insert("max_stale_sets", ConfigValue::Int(1));
        assert_eq!(GroupOscore.configure("g", map, &AwsLc).map(|_| ()).unwrap_err().key, "max_stale_sets");
    }

    // Covers: GO-14-01, GO-14.1-03
    #[test]
    fn parameters_have_their_defaults_and_make_the_same_group_again() {
        let rules = configure(&[("hkdf", "HKDF SHA-512")]).unwrap();
        let parameters = rules.parameters();
        let shown = |name: &str| parameters.get(name).unwrap().to_string();
        assert_eq!(
            ["mode", "hkdf", "gp_enc_alg", "alg", "sign_alg", "cred_fmt", "gm_subject"].map(shown),
            [
                "\"group+pairwise\"",
                "\"HKDF SHA-512\"",
                "\"AES-CCM-16-64-128\"",
                "\"AES-CCM-16-64-128\"",
                "\"EdDSA\"",
                "\"kccs\"",
                "\"group-manager\""
            ]
        );
        assert_eq!(
            ["max_stale_sets", "key_lifetime", "key_update_check_interval", "expiration_delta"].map(shown),
            ["3", "2592000", "3600", "0"]
        );
        // RFC 8032's algorithm makes this public key of 32 bytes of 0x11.
        let public = "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737";
        assert_eq!(shown("gm_key"), format!("the key with the public key {public}"));
        let again = GroupOscore.configure("g1", parameters.to_config(), &AwsLc).unwrap();
        assert_eq!(again.parameters(), parameters);
        assert_eq!(key(&again, KeyAudience::Group), key(&rules, KeyAudience::Group));
        // What a mode does not have is not a parameter of it.
        assert_eq!(configure(&[("mode", "group")]).unwrap().parameters().get("alg"), None);
    }

    #[test]
    fn policies_and_roles() {
        let rules = configure(&[]).unwrap();
        let policies = rules.policies();
        assert_eq!((policies.key_update_check_interval, policies.expiration_delta), (Some(3_600), Some(0)));
        assert_eq!(
            (rules.lifetime(), rules.resource_type()),
            (std::time::Duration::from_secs(2_592_000), "core.osc.gm")
        );
        let roles = |bits| GroupOscore.roles(&RawCbor::uint(bits)).unwrap();
        assert!(
            rules.shows_credential(roles(2)) && rules.shows_credential(roles(6)) && !rules.shows_credential(roles(8))
        );
        assert!(rules.reads_creds_as_non_member(roles(16)) && !rules.reads_creds_as_non_member(roles(14)));
        assert_eq!(GroupOscore.permissions(roles(6)), RawCbor::uint(6));
        assert_eq!(rules.peers_of(roles(2)), roles(4));
        assert!(rules.may_join_with(roles(8)) && !rules.may_join_with(roles(10)));
    }
}
