//! The rules of one OSCORE group.

use crate::resources;
use crate::scope;
use ace_groupcomm::config::Parameters;
use ace_groupcomm::traits::crypto::{Identity, PublicKey, SignatureAlgorithm};
use ace_groupcomm::traits::profile::{
    EligibleCredential, GroupRules, KeyingMaterialProducer, ProfileOutcome, ProfileRequest, ProfileRoute,
};
use ace_groupcomm::{Roles, SenderId, Stop, View};
use ace_groupcomm_messages::labels::content_format::AIF_OSCORE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::labels::{cose_alg, cose_key, groupcomm};
use ace_groupcomm_messages::{
    AlgorithmInfo, AlgorithmParameters, CredentialInfo, GroupPolicies, Label, RawCbor, extended_scope_tag,
};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Algorithms of the pairwise mode.
pub(crate) struct Pairwise {
    pub(crate) alg: i64,
    pub(crate) ecdh_alg: i64,
}

/// One group, as it is configured.
pub(crate) struct OscoreGroup {
    pub(crate) gname: String,
    pub(crate) parameters: Parameters,
    pub(crate) hkdf: i64,
    pub(crate) cred_fmt: i64,
    pub(crate) gp_enc_alg: i64,
    pub(crate) pairwise: Option<Pairwise>,
    pub(crate) identity: Identity,
    pub(crate) key_update_check_interval: u64,
    pub(crate) expiration_delta: u64,
    pub(crate) key_lifetime: u64,
    pub(crate) max_stale_sets: u64,
    pub(crate) nonce_len: usize,
}

/// `[kty]` or `[kty, crv]`, as capabilities are written.
fn capabilities(values: &[i64]) -> Vec<RawCbor> {
    values.iter().filter_map(|&value| u64::try_from(value).ok()).map(RawCbor::uint).collect()
}

fn array(values: &[i64]) -> RawCbor {
    RawCbor::array(&capabilities(values))
}

impl OscoreGroup {
    /// HKDF SHA-256 may be left out, and is.
    pub(crate) fn hkdf_parameter(&self) -> Option<Label> {
        (self.hkdf != cose_alg::HMAC_256_256).then_some(Label::Int(self.hkdf))
    }

    pub(crate) fn needs_long_secret(&self) -> bool {
        let algorithms = [Some(self.gp_enc_alg), self.pairwise.as_ref().map(|pairwise| pairwise.alg)];
        algorithms.into_iter().flatten().any(|alg| [cose_alg::A256GCM, cose_alg::CHACHA20_POLY1305].contains(&alg))
    }

    pub(crate) fn sign_parameters(&self) -> AlgorithmParameters {
        let parameters = vec![array(&[cose_key::OKP]), array(&[cose_key::OKP, cose_key::ED25519])];
        AlgorithmParameters { algorithm: Label::Int(cose_alg::EDDSA), parameters }
    }

    pub(crate) fn ecdh_parameters(&self, pairwise: &Pairwise) -> AlgorithmParameters {
        let parameters = vec![array(&[cose_key::OKP]), array(&[cose_key::OKP, cose_key::X25519])];
        AlgorithmParameters { algorithm: Label::Int(pairwise.ecdh_alg), parameters }
    }

    fn info(&self, algorithm: i64, curve: i64) -> AlgorithmInfo {
        AlgorithmInfo {
            groups: vec![self.gname.clone()],
            algorithm: Label::Int(algorithm),
            parameters: capabilities(&[cose_key::OKP]),
            key_parameters: capabilities(&[cose_key::OKP, curve]),
            cred_fmt: Some(self.cred_fmt),
        }
    }
}

impl GroupRules for OscoreGroup {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn resource_type(&self) -> &'static str {
        "core.osc.gm"
    }

    fn scope_tag(&self) -> Option<u64> {
        Some(extended_scope_tag(AIF_OSCORE_GROUPCOMM_CBOR))
    }

    /// The scope is part of every Join Request (section 6.1 of the profile).
    fn has_default_scope(&self) -> bool {
        false
    }

    fn may_join_with(&self, roles: Roles) -> bool {
        scope::may_join(roles)
    }

    fn shows_credential(&self, roles: Roles) -> bool {
        roles.meets(scope::REQUESTER) || roles.meets(scope::RESPONDER)
    }

    fn reads_creds_as_non_member(&self, granted: Roles) -> bool {
        granted.meets(scope::VERIFIER)
    }

    fn peers_of(&self, joiner: Roles) -> Roles {
        scope::peers_of(joiner)
    }

    /// At most nonce length minus 6, the smaller one where there are two algorithms (Group OSCORE section 2.2).
    fn identifier_len(&self) -> RangeInclusive<usize> {
        1..=self.nonce_len.saturating_sub(6)
    }

    fn credential_info(&self) -> CredentialInfo {
        let ecdh = self.pairwise.as_ref().map(|pairwise| self.info(pairwise.ecdh_alg, cose_key::X25519));
        CredentialInfo {
            sign_info: vec![SignatureAlgorithm::Ed25519.info(&self.gname, self.cred_fmt)],
            ecdh_info: ecdh.into_iter().collect(),
            kdc_dh_creds: Vec::new(),
        }
    }

    fn eligible(&self, _view: &View<'_>, cred: &[u8]) -> Result<Option<EligibleCredential>, Stop> {
        let key = PublicKey::of_kccs(SignatureAlgorithm::Ed25519, cred);
        Ok(key.map(|key| EligibleCredential::new(cred, key)))
    }

    fn kdc_identity(&self) -> Option<&Identity> {
        Some(&self.identity)
    }

    fn policies(&self) -> GroupPolicies {
        GroupPolicies {
            key_update_check_interval: i64::try_from(self.key_update_check_interval).ok(),
            expiration_delta: Some(self.expiration_delta),
            ..GroupPolicies::default()
        }
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.key_lifetime)
    }

    fn material(&self) -> &dyn KeyingMaterialProducer {
        self
    }

    fn stale_sets(&self) -> u64 {
        self.max_stale_sets
    }

    /// The new Sender ID, and nothing else (section 9.2 of the profile).
    fn individual(&self, sender_id: &SenderId) -> Option<(Label, RawCbor)> {
        Some((Label::Int(groupcomm::GROUP_SENDER_ID), RawCbor::bytes(sender_id.as_bytes())))
    }

    fn routes(&self) -> &'static [ProfileRoute] {
        resources::ROUTES
    }

    fn serve(&self, request: &ProfileRequest<'_, '_>) -> Result<ProfileOutcome, Stop> {
        resources::serve(self, request)
    }
}
