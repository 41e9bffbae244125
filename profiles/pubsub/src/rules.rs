//! The rules of one security group, and its keying material (section 4.1.2 of the profile).

use crate::scope::{PUBLISHER, SUBSCRIBER};
use ace_groupcomm::config::Parameters;
use ace_groupcomm::traits::crypto::{Identity, PublicKey, SignatureAlgorithm};
use ace_groupcomm::traits::profile::{EligibleCredential, GroupRules, KeyAudience, KeyingMaterialProducer};
use ace_groupcomm::{Gid, Roles, Secret, SenderId, Stop, View};
use ace_groupcomm_messages::labels::content_format::AIF_PUBSUB_GROUPCOMM_CBOR;
use ace_groupcomm_messages::labels::groupcomm;
use ace_groupcomm_messages::labels::key_type::GROUP_PUBSUB_KEYING_MATERIAL;
use ace_groupcomm_messages::{
    AlgorithmParameters, CredentialInfo, GetCreds, Label, PubsubGroupKey, PubsubKeyingMaterial, RawCbor,
    extended_scope_tag,
};
use ace_oscore::Aead;
use std::ops::RangeInclusive;
use std::time::Duration;

/// One group, as it is configured.
pub(crate) struct PubsubGroup {
    pub(crate) gname: String,
    pub(crate) parameters: Parameters,
    pub(crate) aead: Aead,
    pub(crate) sign_alg: SignatureAlgorithm,
    pub(crate) cred_fmt: i64,
    pub(crate) identity: Identity,
    pub(crate) key_lifetime: u64,
}

impl PubsubGroup {
    /// The algorithm with its capabilities: `[sign_alg_capab, sign_key_type_capab]`.
    fn sign_parameters(&self) -> AlgorithmParameters {
        let info = self.sign_alg.info(&self.gname, self.cred_fmt);
        let parameters = vec![RawCbor::array(&info.parameters), RawCbor::array(&info.key_parameters)];
        AlgorithmParameters { algorithm: info.algorithm, parameters }
    }

    fn group_key(&self, secret: &Secret, gid: &Gid) -> Option<PubsubGroupKey> {
        let (base_iv, k) = secret.expose().split_at_checked(self.aead.nonce_len())?;
        if k.len() != self.aead.key_len() {
            return None;
        }
        Some(PubsubGroupKey {
            kid: gid.as_bytes().to_vec(),
            alg: Label::Int(self.aead.cose()),
            base_iv: base_iv.to_vec(),
            k: k.to_vec(),
        })
    }
}

impl KeyingMaterialProducer for PubsubGroup {
    fn key_type(&self) -> Label {
        Label::Int(GROUP_PUBSUB_KEYING_MATERIAL)
    }

    fn fresh(&self, random: &dyn Fn(&'static str) -> [u8; 32]) -> Secret {
        let (base_iv, k) = (random("Base IV"), random("group key"));
        let base_iv = base_iv.iter().take(self.aead.nonce_len());
        Secret::new(base_iv.chain(k.iter().take(self.aead.key_len())).copied().collect())
    }

    fn key(&self, secret: &Secret, gid: &Gid, audience: KeyAudience<'_>) -> Option<RawCbor> {
        let group_key = self.group_key(secret, gid)?;
        let bare = PubsubKeyingMaterial { group_key, group_sender_id: None, cred_fmt: None, sign: None };
        let group_sender_id = match audience {
            // Section 5 of the profile: the group key alone.
            KeyAudience::Rekeying => return Some(bare.encode()),
            KeyAudience::Group => None,
            KeyAudience::Node { sender_id, .. } => sender_id.map(|id| id.as_bytes().to_vec()),
            // Somebody to whom this version has nothing to show.
            _ => return None,
        };
        let mut whole = bare;
        (whole.group_sender_id, whole.cred_fmt) = (group_sender_id, Some(self.cred_fmt));
        whole.sign = Some(self.sign_parameters());
        Some(whole.encode())
    }
}

impl GroupRules for PubsubGroup {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn resource_type(&self) -> &'static str {
        "core.ps.gm"
    }

    fn scope_tag(&self) -> Option<u64> {
        Some(extended_scope_tag(AIF_PUBSUB_GROUPCOMM_CBOR))
    }

    /// The scope is part of every Join Request (section 4.1.1 of the profile).
    fn has_default_scope(&self) -> bool {
        false
    }

    fn may_join_with(&self, roles: Roles) -> bool {
        roles.0 != 0 && roles.0 & !(PUBLISHER.0 | SUBSCRIBER.0) == 0
    }

    /// Whoever only reads has no credential in the group: one that it shows is ignored (section 4.1.1.1).
    fn shows_credential(&self, roles: Roles) -> bool {
        roles.meets(PUBLISHER)
    }

    /// Section 4.1.1.1: a publisher whose credential the KDC has may leave it out.
    fn remembers_credential(&self) -> bool {
        true
    }

    fn peers_of(&self, _joiner: Roles) -> Roles {
        PUBLISHER
    }

    /// Section 4.1.1: who reads may ask for the credentials of all publishers, and nobody for a part of them.
    fn may_ask_for(&self, joiner: Roles, get_creds: &GetCreds) -> bool {
        joiner.meets(SUBSCRIBER) && *get_creds == GetCreds::All
    }

    /// At most nonce length minus 6 (section 4.1.2).
    fn identifier_len(&self) -> RangeInclusive<usize> {
        1..=self.aead.max_id_len()
    }

    fn credential_info(&self) -> CredentialInfo {
        CredentialInfo { sign_info: vec![self.sign_alg.info(&self.gname, self.cred_fmt)], ..CredentialInfo::default() }
    }

    fn eligible(&self, _view: &View<'_>, cred: &[u8]) -> Result<Option<EligibleCredential>, Stop> {
        let key = PublicKey::of_kccs(self.sign_alg, cred);
        Ok(key.map(|key| EligibleCredential::new(cred, key)))
    }

    fn kdc_identity(&self) -> Option<&Identity> {
        Some(&self.identity)
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.key_lifetime)
    }

    fn material(&self) -> &dyn KeyingMaterialProducer {
        self
    }

    /// The new Sender ID, and nothing else (section 4.2.2 of the profile).
    fn individual(&self, sender_id: &SenderId) -> Option<(Label, RawCbor)> {
        Some((Label::Int(groupcomm::GROUP_SENDER_ID), RawCbor::bytes(sender_id.as_bytes())))
    }
}
