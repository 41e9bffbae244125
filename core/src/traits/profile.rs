//! Application profiles: what a kind of group has of its own.
//!
//! A profile crate submits a [`crate::registry::ApplicationProfileDescriptor`]; its [`ApplicationProfile`] turns a
//! group's parameters into [`GroupRules`], which the KDC's handlers ask wherever RFC 9594 leaves something to the
//! profile. Everything here is a pure function: what needs a signature asks the [`View`] for it.
//!
//! `testkit::toy` is the smallest profile that goes through all of it.

mod own;

pub use own::{
    CallingMember, GroupState, OnRestore, OwnChanges, OwnRecords, ProfileOutcome, ProfileRequest, ProfileRoute,
    ProfileWho, RecordKind,
};

use crate::Secret;
use crate::config::{ConfigError, ConfigMap, Parameters};
use crate::engine::store::view::{Stop, View};
use crate::id::Gid;
use crate::id::SenderId;
use crate::refusal::Refusal;
use crate::traits::crypto::CryptoProvider;
use ace_groupcomm_messages::{CredentialInfo, GroupPolicies, Label, RawCbor};
use std::sync::Arc;
use std::time::Duration;

/// Roles in a group: a set of bits whose meaning is the profile's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Roles(pub u64);

impl Roles {
    /// Whether all of the other's roles are among these.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether they have a role in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A kind of group.
pub trait ApplicationProfile: Send + Sync {
    /// Makes the rules of one group out of its parameters; keys among them by this provider.
    ///
    /// # Errors
    /// [`ConfigError`] for what the profile does not know or does not do.
    fn configure(
        &self,
        gname: &str,
        config: ConfigMap,
        crypto: &dyn CryptoProvider,
    ) -> Result<Arc<dyn GroupRules>, ConfigError>;
}

/// A credential that fits a group, whose holder has not yet proven to have the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EligibleCredential {
    /// The credential, as it was received.
    pub cred: Vec<u8>,
    /// The public key in it.
    pub key: Vec<u8>,
}

/// The KDC's own credential in a group, and a proof that it has the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KdcProof {
    /// The credential, as it was sent.
    pub cred: Vec<u8>,
    /// The proof of possession.
    pub evidence: Vec<u8>,
}

/// Who sees a `key` object: each sees another part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyAudience<'a> {
    /// Any member: GET of the group.
    Group,
    /// One member, with its Sender ID if it has one: Join Response, GET of the node.
    Node(Option<&'a SenderId>),
}

/// Makes the secrets of an epoch, and shows them.
pub trait KeyingMaterialProducer: Send + Sync {
    /// The key type, `gkty` (RFC 9594 REQ18).
    fn key_type(&self) -> Label;

    /// New secrets, made of random bytes. Ask with a label of its own for each.
    fn fresh(&self, random: &dyn Fn(&'static str) -> [u8; 32]) -> Secret;

    /// The `key` object (RFC 9594 REQ17); `None` where the secrets cannot be read.
    fn key(&self, secret: &Secret, gid: &Gid, audience: KeyAudience<'_>) -> Option<RawCbor>;
}

/// The rules of one group.
pub trait GroupRules: Send + Sync {
    /// The parameters that the group was configured with, all of them, with defaults where nothing was said. A group that
    /// is configured with [`Parameters::to_config`] has the same rules and the same parameters.
    fn parameters(&self) -> &Parameters;

    /// The profile's number, `ace_groupcomm_profile` (RFC 9594 REQ19).
    fn profile_number(&self) -> i64;

    /// The resource type of the group-membership resource (RFC 9594 REQ10).
    fn resource_type(&self) -> &'static str;

    /// The roles that the Tperm of a scope entry stands for; `None` where it is malformed or unknown.
    fn roles(&self, permissions: &RawCbor) -> Option<Roles>;

    /// The Tperm of roles.
    fn permissions(&self, roles: Roles) -> RawCbor;

    /// The names of roles, for an operator.
    fn role_names(&self, roles: Roles) -> Vec<String> {
        vec![format!("{:#x}", roles.0)]
    }

    /// The tag of the extended format of a scope that means this profile's roles (RFC 9594 REQ28).
    fn scope_tag(&self) -> Option<u64>;

    /// Whether a Join Request may leave the scope out where the token leaves no doubt.
    fn has_default_scope(&self) -> bool;

    /// Whether somebody to whom these roles are granted can join at all.
    fn can_join(&self, granted: Roles) -> bool;

    /// Whether a client can join with these roles at once.
    fn may_join_with(&self, roles: Roles) -> bool;

    /// Whether a client with these roles shows a credential, and gets an identifier of its own.
    fn has_credential(&self, roles: Roles) -> bool;

    /// Whether a client that is no member, but was granted these roles, may read members' credentials.
    fn reads_creds_as_non_member(&self, granted: Roles) -> bool;

    /// Whose credentials a joining client gets that asks for all.
    fn peers_of(&self, joiner: Roles) -> Roles;

    /// How long an identifier may be at most, in bytes (RFC 9594 REQ25).
    fn max_identifier_len(&self) -> usize;

    /// What a client has to know about credentials before it joins (RFC 9594 section 3.3.1).
    fn credential_info(&self) -> CredentialInfo;

    /// Checks that a credential fits the group (RFC 9594 REQ6); `None` where it does not.
    fn eligible(&self, cred: &[u8]) -> Option<EligibleCredential>;

    /// Checks the proof of possession of a credential over `input` (RFC 9594 REQ14).
    ///
    /// # Errors
    /// [`Stop`] until it is known.
    fn client_proves(
        &self,
        view: &View<'_>,
        credential: &EligibleCredential,
        input: Vec<u8>,
        evidence: &[u8],
    ) -> Result<bool, Stop>;

    /// The KDC's credential with its proof over `input` (RFC 9594 REQ21); `None` where the KDC has none.
    ///
    /// # Errors
    /// [`Stop`] until it is made.
    fn kdc_proves(&self, view: &View<'_>, input: Vec<u8>) -> Result<Option<KdcProof>, Stop>;

    /// The group's policies (RFC 9594 REQ20).
    fn policies(&self) -> GroupPolicies;

    /// How long keying material is good; counted in whole seconds.
    fn lifetime(&self) -> Duration;

    /// What makes the keying material.
    fn material(&self) -> &dyn KeyingMaterialProducer;

    /// Routes of the profile's own.
    fn routes(&self) -> &'static [ProfileRoute] {
        &[]
    }

    /// Serves one of them. The caller is one of those that the route is for.
    ///
    /// # Errors
    /// [`Stop`] until what is needed is known, and where the request is refused; [`Refusal::Problem`] for errors of the
    /// profile's own.
    fn serve(&self, _request: &ProfileRequest<'_, '_>) -> Result<ProfileOutcome, Stop> {
        Err(Refusal::NotFound.into())
    }

    /// What becomes of records that a restore has kept ([`OnRestore::Renew`]), when the group gets a new secret and Gid.
    ///
    /// # Errors
    /// [`Stop`] until they are known.
    fn renew(&self, _records: &OwnRecords<'_, '_>) -> Result<OwnChanges, Stop> {
        Ok(OwnChanges::default())
    }
}
