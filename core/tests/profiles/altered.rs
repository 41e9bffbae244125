//! The toy profile with parts of it in another way.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::config::{ConfigError, ConfigMap, Parameters};
use ace_groupcomm::kdc::SetupError;
use ace_groupcomm::registry::{ApplicationProfileDescriptor, Registry};
use ace_groupcomm::testkit::toy::{TRANSPORT, Toy};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::crypto::{AgreementKey, CryptoProvider};
use ace_groupcomm::traits::member::MemberRules;
use ace_groupcomm::traits::profile::{
    ApplicationProfile, EligibleCredential, GroupRules, KdcProof, KeyAudience, KeyingMaterialProducer, NamedRole,
    ProfileRoute, Roles,
};
use ace_groupcomm::traits::rekeying::RekeyingScheme;
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Gid, Secret, Stop, View};
use ace_groupcomm_messages::{CredentialInfo, GroupPolicies, Label, RawCbor};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

type Member = fn(Arc<dyn MemberRules>) -> Arc<dyn MemberRules>;
type Fresh = fn(&dyn Fn(&'static str) -> [u8; 32]) -> Secret;
type Eligible = fn(&View<'_>, &[u8]) -> Result<Option<EligibleCredential>, Stop>;

/// What differs from the toy profile; `None` is as there.
#[derive(Clone, Default)]
pub(crate) struct Altered {
    pub(crate) resource_type: Option<&'static str>,
    pub(crate) named_roles: Option<&'static [NamedRole]>,
    pub(crate) permissions: Option<fn(Roles) -> RawCbor>,
    pub(crate) routes: Option<&'static [ProfileRoute]>,
    pub(crate) identifier_len: Option<RangeInclusive<usize>>,
    pub(crate) lifetime: Option<Duration>,
    /// What the rules say of the parameters that they were made of.
    pub(crate) parameters: Option<fn(&Parameters) -> Parameters>,
    pub(crate) fresh: Option<Fresh>,
    pub(crate) key: Option<fn(KeyAudience<'_>) -> Option<RawCbor>>,
    pub(crate) proves_credential: Option<bool>,
    pub(crate) gets_identifier: Option<bool>,
    pub(crate) eligible: Option<Eligible>,
    pub(crate) client_proves: Option<bool>,
    /// Parameters that nobody knows are left unread.
    pub(crate) takes_unknown: bool,
    pub(crate) scheme: Option<&'static dyn RekeyingScheme>,
    /// A member's side of its own.
    pub(crate) member: Option<Member>,
    /// The KDC's key, where proofs are by key agreement.
    pub(crate) agreement: Option<Arc<dyn AgreementKey>>,
}

struct Rules {
    parameters: Parameters,
    toy: Arc<dyn GroupRules>,
    altered: Altered,
}

/// A KDC with the group g1 of such a profile.
pub(crate) fn desk_of(altered: Altered) -> Result<Desk, SetupError> {
    on(&TestStore::new(Sharing::Exclusive), altered)
}

pub(crate) fn descriptor(altered: Altered) -> ApplicationProfileDescriptor {
    let profile: &'static Altered = Box::leak(Box::new(altered));
    ApplicationProfileDescriptor { name: "toy", number: -70_000, crate_name: "altered", profile }
}

/// The same on this store.
pub(crate) fn on(store: &TestStore, altered: Altered) -> Result<Desk, SetupError> {
    let descriptor = descriptor(altered);
    let registry = Registry::empty().with_application(descriptor).unwrap().with_transport(TRANSPORT).unwrap();
    Desk::with(&AwsLc, store.clone(), desk::config(&["g1"]), &registry)
}

impl ApplicationProfile for Altered {
    fn named_roles(&self) -> &'static [NamedRole] {
        self.named_roles.unwrap_or(Toy.named_roles())
    }

    fn permissions(&self, roles: Roles) -> RawCbor {
        self.permissions.map_or_else(|| Toy.permissions(roles), |permissions| permissions(roles))
    }

    fn member(
        &self,
        gname: &str,
        roles: Roles,
        mut config: ConfigMap,
        crypto: Arc<dyn CryptoProvider>,
    ) -> Result<Arc<dyn MemberRules>, ConfigError> {
        if self.takes_unknown {
            config.bool("no-profile-knows-this")?;
        }
        let toy = Toy.member(gname, roles, config, crypto)?;
        Ok(self.member.map_or(toy.clone(), |alter| alter(toy)))
    }

    fn configure(
        &self,
        gname: &str,
        mut config: ConfigMap,
        crypto: &dyn CryptoProvider,
    ) -> Result<Arc<dyn GroupRules>, ConfigError> {
        if self.takes_unknown {
            config.bool("no-profile-knows-this")?;
        }
        let toy = Toy.configure(gname, config, crypto)?;
        let parameters = self.parameters.map_or_else(|| toy.parameters().clone(), |alter| alter(toy.parameters()));
        Ok(Arc::new(Rules { parameters, toy, altered: self.clone() }))
    }
}

impl GroupRules for Rules {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
    fn resource_type(&self) -> &'static str {
        self.altered.resource_type.unwrap_or(self.toy.resource_type())
    }
    fn scope_tag(&self) -> Option<u64> {
        self.toy.scope_tag()
    }
    fn has_default_scope(&self) -> bool {
        self.toy.has_default_scope()
    }
    fn can_join(&self, granted: Roles) -> bool {
        self.toy.can_join(granted)
    }
    fn may_join_with(&self, roles: Roles) -> bool {
        self.toy.may_join_with(roles)
    }
    fn shows_credential(&self, roles: Roles) -> bool {
        self.toy.shows_credential(roles)
    }
    fn proves_credential(&self, roles: Roles) -> bool {
        self.altered.proves_credential.unwrap_or(self.toy.proves_credential(roles))
    }
    fn gets_identifier(&self, roles: Roles) -> bool {
        self.altered.gets_identifier.unwrap_or(self.toy.gets_identifier(roles))
    }
    fn reads_creds_as_non_member(&self, granted: Roles) -> bool {
        self.toy.reads_creds_as_non_member(granted)
    }
    fn peers_of(&self, joiner: Roles) -> Roles {
        self.toy.peers_of(joiner)
    }
    fn identifier_len(&self) -> RangeInclusive<usize> {
        self.altered.identifier_len.clone().unwrap_or(self.toy.identifier_len())
    }
    fn credential_info(&self) -> CredentialInfo {
        self.toy.credential_info()
    }
    fn eligible(&self, view: &View<'_>, cred: &[u8]) -> Result<Option<EligibleCredential>, Stop> {
        self.altered.eligible.map_or_else(|| self.toy.eligible(view, cred), |eligible| eligible(view, cred))
    }
    fn client_proves(
        &self,
        view: &View<'_>,
        credential: &EligibleCredential,
        input: Vec<u8>,
        evidence: &[u8],
    ) -> Result<bool, Stop> {
        if let Some(proven) = self.altered.client_proves {
            return Ok(proven);
        }
        match &self.altered.agreement {
            Some(key) => view.verified_mac(key, &credential.key, input, evidence),
            None => self.toy.client_proves(view, credential, input, evidence),
        }
    }
    fn kdc_proves(
        &self,
        view: &View<'_>,
        member: Option<&EligibleCredential>,
        input: Vec<u8>,
    ) -> Result<Option<KdcProof>, Stop> {
        let Some(key) = &self.altered.agreement else { return self.toy.kdc_proves(view, member, input) };
        let Some(member) = member else { return Ok(None) };
        let evidence = view.mac(key, &member.key, input)?.to_vec();
        Ok(Some(KdcProof { cred: key.public().to_vec(), evidence }))
    }
    fn policies(&self) -> GroupPolicies {
        self.toy.policies()
    }
    fn lifetime(&self) -> Duration {
        self.altered.lifetime.unwrap_or(self.toy.lifetime())
    }
    fn rekeying_scheme(&self) -> &dyn RekeyingScheme {
        self.altered.scheme.unwrap_or(self.toy.rekeying_scheme())
    }
    fn material(&self) -> &dyn KeyingMaterialProducer {
        self
    }
    fn routes(&self) -> &'static [ProfileRoute] {
        self.altered.routes.unwrap_or(self.toy.routes())
    }
}

impl KeyingMaterialProducer for Rules {
    fn key_type(&self) -> Label {
        self.toy.material().key_type()
    }
    fn fresh(&self, random: &dyn Fn(&'static str) -> [u8; 32]) -> Secret {
        self.altered.fresh.map_or_else(|| self.toy.material().fresh(random), |fresh| fresh(random))
    }
    fn key(&self, secret: &Secret, gid: &Gid, audience: KeyAudience<'_>) -> Option<RawCbor> {
        self.altered.key.map_or_else(|| self.toy.material().key(secret, gid, audience), |key| key(audience))
    }
}
