//! Application profiles: what a kind of group has of its own.
//!
//! A profile crate submits a [`crate::registry::ApplicationProfileDescriptor`]; its [`ApplicationProfile`] turns a
//! group's parameters into [`GroupRules`], which the KDC's handlers ask wherever RFC 9594 leaves something to the
//! profile. Everything here is a pure function: what needs a signature asks the [`View`] for it.
//!
//! `testkit::toy` is the smallest profile that goes through all of it.

pub(crate) mod check;
mod join;
mod own;
mod roles;

pub use check::{ProfileFault, check_rules};
pub use join::{ProfileJoin, ProfileJoined};
pub use own::{
    CallingMember, CurrentMaterial, GroupKeying, GroupState, OnRestore, OwnChanges, OwnRecords, ProfileOutcome,
    ProfileRequest, ProfileRoute, ProfileWho, RecordKind,
};
pub use roles::{NamedRole, Roles, UnknownRole};

use crate::Secret;
use crate::config::{ConfigError, ConfigMap, Parameters};
use crate::engine::store::view::{Stop, View};
use crate::id::Gid;
use crate::id::SenderId;
use crate::refusal::Refusal;
use crate::time::UnixTime;
use crate::traits::crypto::{CryptoProvider, Identity, PublicKey, Thumbprint};
use crate::traits::member::MemberRules;
use crate::traits::rekeying::{PointToPoint, RekeyingScheme};
use ace_groupcomm_messages::{CredentialInfo, GetCreds, GroupPolicies, Label, RawCbor};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// A kind of group: what RFC 9594 leaves to an application profile (its appendix A), at the KDC and at members.
///
/// A whole one is in the guide, `guide::write_a_profile`. Roles have three forms, which are the same:
///
/// ```
/// use ace_groupcomm::Roles;
/// use ace_groupcomm::testkit::toy::Toy;
/// use ace_groupcomm::traits::profile::ApplicationProfile;
///
/// let roles = Toy.roles_from_names("talker+listener")?;
/// assert_eq!((roles, Toy.role_names(roles)), (Roles(3), vec!["talker", "listener"]));
/// assert_eq!(Toy.roles(&Toy.permissions(roles)), Some(roles));
/// assert!(Toy.roles_from_names("sender").is_err());
/// # Ok::<(), ace_groupcomm::traits::profile::UnknownRole>(())
/// ```
pub trait ApplicationProfile: Send + Sync {
    /// Returns each role with the name that configurations, policies and command lines have for it.
    fn named_roles(&self) -> &'static [NamedRole];

    /// The roles that the Tperm of a scope entry stands for; `None` where it is malformed, empty or names a role that is none.
    /// Of a profile that does not say otherwise a Tperm is an unsigned integer, with the bits of [`Self::named_roles`].
    fn roles(&self, permissions: &RawCbor) -> Option<Roles> {
        let known = self.named_roles().iter().fold(0, |known, role| known | role.roles.0);
        permissions.as_uint().filter(|bits| *bits != 0 && bits & !known == 0).map(Roles)
    }

    /// Whether a scope entry with this Tperm grants nothing at a KDC: it is for administrators, or for another server. In a token it is
    /// passed over; nobody joins with it.
    fn is_for_others(&self, _permissions: &RawCbor) -> bool {
        false
    }

    /// The Tperm of roles: [`Self::roles`] reads it.
    fn permissions(&self, roles: Roles) -> RawCbor {
        RawCbor::uint(roles.0)
    }

    /// The roles with these names, with + in between: `sender+receiver`.
    ///
    /// # Errors
    /// [`UnknownRole`], with the first name that is none.
    fn roles_from_names(&self, names: &str) -> Result<Roles, UnknownRole> {
        roles::from_names(self.named_roles(), names)
    }

    /// Returns the names of roles, in the order of [`Self::named_roles`].
    fn role_names(&self, roles: Roles) -> Vec<&'static str> {
        self.named_roles().iter().filter(|role| roles.includes(role.roles)).map(|role| role.name).collect()
    }

    /// Makes a member's side of one group: its identity and what else the profile wants to know are in the parameters. A
    /// profile that is for KDCs alone leaves it out.
    ///
    /// # Errors
    /// [`ConfigError`] for what the profile does not know or does not do.
    fn member(
        &self,
        _gname: &str,
        _roles: Roles,
        _config: ConfigMap,
        _crypto: Arc<dyn CryptoProvider>,
    ) -> Result<Arc<dyn MemberRules>, ConfigError> {
        Err(ConfigError::new("profile", "has no member's side"))
    }

    /// What it takes to give a group that is there another value of this parameter. One that its members could not follow needs
    /// another group.
    fn change(&self, _parameter: &str) -> ParameterChange {
        ParameterChange::AnotherGroup
    }

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

/// What it takes to give a group that is there another value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ParameterChange {
    /// Nothing: members notice nothing, or read it the next time.
    None,
    /// A new version of the keying material: what goes out with one version is never changed.
    NextVersion,
    /// Another group.
    AnotherGroup,
}

/// A credential that fits a group, whose holder has not yet proven to have the private key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EligibleCredential {
    /// The credential, as it was received.
    #[serde(with = "serde_bytes")]
    pub cred: Vec<u8>,
    /// The public key in it.
    pub key: PublicKey,
    /// The name of the key. In a group it belongs to one client, whatever credentials hold the key.
    pub thumbprint: Thumbprint,
    /// When the credential ends, if it does. From then on its holder does not join with it.
    pub expires: Option<UnixTime>,
}

impl EligibleCredential {
    /// A credential without an end, whose key is named by its thumbprint.
    #[must_use]
    pub fn new(cred: &[u8], key: PublicKey) -> Self {
        Self { cred: cred.to_vec(), thumbprint: key.thumbprint(), key, expires: None }
    }
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
    /// One member: Join Response, GET of the node.
    Node {
        /// The roles that it joined with.
        roles: Roles,
        /// Its Sender ID, if it has one.
        sender_id: Option<&'a SenderId>,
    },
    /// Members that have the version before: a rekeying message. What they know already may be left out (RFC 9594 section 6).
    Rekeying,
}

/// Makes the secrets of an epoch, and shows them.
///
/// A key of 16 bytes, the same for all members:
///
/// ```
/// use ace_groupcomm::messages::{Label, RawCbor};
/// use ace_groupcomm::traits::profile::{KeyAudience, KeyingMaterialProducer};
/// use ace_groupcomm::{Gid, Secret};
///
/// struct OneKey;
///
/// impl KeyingMaterialProducer for OneKey {
///     fn key_type(&self) -> Label {
///         Label::Int(-70_030)
///     }
///     fn fresh(&self, random: &dyn Fn(&'static str) -> [u8; 32]) -> Secret {
///         let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = random("the key");
///         Secret::new(key.to_vec())
///     }
///     fn key(&self, secret: &Secret, _gid: &Gid, _audience: KeyAudience<'_>) -> Option<RawCbor> {
///         Some(RawCbor::bytes(secret.expose()))
///     }
/// }
///
/// let secret = OneKey.fresh(&|_| [7; 32]);
/// let key = OneKey.key(&secret, &Gid::from(vec![1]), KeyAudience::Group);
/// assert_eq!(key, Some(RawCbor::bytes(&[7; 16])));
/// ```
pub trait KeyingMaterialProducer: Send + Sync {
    /// The key type, `gkty` (RFC 9594 REQ18).
    fn key_type(&self) -> Label;

    /// New secrets, made of random bytes. Ask with a label of its own for each.
    fn fresh(&self, random: &dyn Fn(&'static str) -> [u8; 32]) -> Secret;

    /// The `key` object (RFC 9594 REQ17); `None` where the secrets cannot be read.
    fn key(&self, secret: &Secret, gid: &Gid, audience: KeyAudience<'_>) -> Option<RawCbor>;

    /// The `key` object with the parameters alone that a [`ParameterChange::NextVersion`] changes, and that a rekeying message does
    /// not have. Members that take requests are sent it first. `None` where a rekeying message says all.
    fn configuration(&self) -> Option<RawCbor> {
        None
    }
}

/// The rules of one group.
///
/// A whole implementation is in the guide, `guide::write_a_profile`. A KDC asks the rules of a group like this:
///
/// ```
/// use ace_backend_aws_lc::AwsLc;
/// use ace_groupcomm::config::ConfigMap;
/// use ace_groupcomm::testkit::toy::{LISTENER, READER, TALKER, Toy};
/// use ace_groupcomm::traits::profile::ApplicationProfile;
///
/// let rules = Toy.configure("lamps", ConfigMap::default(), &AwsLc)?;
/// assert!(rules.shows_credential(TALKER) && rules.gets_identifier(TALKER));
/// assert!(rules.may_join_with(LISTENER) && !rules.shows_credential(LISTENER));
/// assert!(!rules.may_join_with(READER) && rules.reads_creds_as_non_member(READER));
/// assert_eq!(rules.peers_of(LISTENER), TALKER);
/// // What it was configured with makes the same rules again.
/// let again = Toy.configure("lamps", rules.parameters().to_config(), &AwsLc)?;
/// assert_eq!(again.parameters(), rules.parameters());
/// # Ok::<(), ace_groupcomm::config::ConfigError>(())
/// ```
pub trait GroupRules: Send + Sync {
    /// The parameters that the group was configured with, all of them, with defaults where nothing was said. A group that
    /// is configured with [`Parameters::to_config`] has the same rules and the same parameters.
    fn parameters(&self) -> &Parameters;

    /// The resource type of the group-membership resource (RFC 9594 REQ10).
    fn resource_type(&self) -> &'static str;

    /// The tag of the extended format of a scope that means this profile's roles (RFC 9594 REQ28).
    fn scope_tag(&self) -> Option<u64> {
        None
    }

    /// Whether a Join Request may leave the scope out where the token leaves no doubt.
    fn has_default_scope(&self) -> bool {
        true
    }

    /// Whether somebody to whom these roles are granted can join at all: with one of them, where the profile says nothing else.
    fn can_join(&self, granted: Roles) -> bool {
        granted.each().any(|role| self.may_join_with(role))
    }

    /// Whether a client can join with these roles at once.
    fn may_join_with(&self, roles: Roles) -> bool;

    /// Whether a client with these roles shows a credential; whoever shows none has none.
    fn shows_credential(&self, roles: Roles) -> bool;

    /// Whether a client with these roles has to prove that it has the key of its credential. What it does prove counts also
    /// where it need not.
    fn proves_credential(&self, roles: Roles) -> bool {
        self.shows_credential(roles)
    }

    /// Whether a client that joins again may leave its credential out of the Join Request (RFC 9594 section 4.3.1.1): then it keeps
    /// that which it has proven. Where not, it says so with an empty one.
    fn remembers_credential(&self) -> bool {
        false
    }

    /// Whether a client that joins with these roles may ask so for the credentials of others.
    fn may_ask_for(&self, _joiner: Roles, _get_creds: &GetCreds) -> bool {
        true
    }

    /// Whether a client with these roles gets an identifier of its own, a Sender ID. Others learn of the credentials of those
    /// that have one.
    fn gets_identifier(&self, roles: Roles) -> bool {
        self.shows_credential(roles)
    }

    /// Whether a client that is no member, but was granted these roles, may read members' credentials.
    fn reads_creds_as_non_member(&self, _granted: Roles) -> bool {
        false
    }

    /// Whose credentials a joining client gets that asks for all.
    fn peers_of(&self, joiner: Roles) -> Roles;

    /// How long an identifier is, in bytes (RFC 9594 REQ25): 1 to 255. Two identifiers are the same where all of their bytes
    /// are, so that 00 and 0000 are two. The shortest that are free are given first, so that a group whose identifiers have one
    /// length says `4..=4`.
    fn identifier_len(&self) -> RangeInclusive<usize>;

    /// What a client has to know about credentials before it joins (RFC 9594 section 3.3.1).
    fn credential_info(&self) -> CredentialInfo;

    /// Checks that a credential fits the group (RFC 9594 REQ6); `None` where it does not. The view has the time and verifies
    /// the signatures of certificates.
    ///
    /// # Errors
    /// [`Stop`] until it is known.
    fn eligible(&self, view: &View<'_>, cred: &[u8]) -> Result<Option<EligibleCredential>, Stop>;

    /// Checks the proof of possession of a credential over `input` (RFC 9594 REQ14): a signature, where the profile says nothing
    /// else.
    ///
    /// # Errors
    /// [`Stop`] until it is known.
    fn client_proves(
        &self,
        view: &View<'_>,
        credential: &EligibleCredential,
        input: Vec<u8>,
        evidence: &[u8],
    ) -> Result<bool, Stop> {
        view.verified(&credential.key, input, evidence)
    }

    /// Returns who the KDC is in the group; `None` where it has no credential, or none that signs.
    fn kdc_identity(&self) -> Option<&Identity> {
        None
    }

    /// The KDC's credential with its proof over `input` (RFC 9594 REQ21); `None` where the KDC has none. It is a signature of
    /// [`Self::kdc_identity`], where the profile says nothing else. `member` is the credential of who asks, if it has one: a
    /// proof by key agreement is for it alone.
    ///
    /// # Errors
    /// [`Stop`] until it is made.
    fn kdc_proves(
        &self,
        view: &View<'_>,
        _member: Option<&EligibleCredential>,
        input: Vec<u8>,
    ) -> Result<Option<KdcProof>, Stop> {
        let Some(identity) = self.kdc_identity() else { return Ok(None) };
        let evidence = view.signed(&identity.key, input)?.to_vec();
        Ok(Some(KdcProof { cred: identity.cred.clone(), evidence }))
    }

    /// Looks at a client that joins, when all else is settled: at parameters of the profile's own in its Join Request. Says what
    /// the Join Response has of the profile's own, and what it stores.
    ///
    /// # Errors
    /// [`Stop`] until what is needed is known, and where the request is refused.
    fn joins(&self, _join: &ProfileJoin<'_, '_>) -> Result<ProfileJoined, Stop> {
        Ok(ProfileJoined::default())
    }

    /// What is stored of the profile's own changes with the end of a membership, whatever ends it, in the same commit: e.g. a
    /// record about the member goes. It cannot be refused, and sees no records: several members may leave in one commit.
    fn leaves(&self, _member: CallingMember<'_>) -> OwnChanges {
        OwnChanges::default()
    }

    /// The group's policies (RFC 9594 REQ20).
    fn policies(&self) -> GroupPolicies {
        GroupPolicies::default()
    }

    /// Of how many of the latest versions members can learn which Sender IDs went stale under them; 2 at least where the profile has
    /// this at all (Group OSCORE profile section 7.1). None are told of by default.
    fn stale_sets(&self) -> u64 {
        0
    }

    /// A member's own keying material in the answer to its request for another one (RFC 9594 section 4.8.2, REQ27): a parameter and
    /// its value. A profile that has none of it leaves this out.
    fn individual(&self, _sender_id: &SenderId) -> Option<(Label, RawCbor)> {
        None
    }

    /// How long keying material is good; counted in whole seconds.
    fn lifetime(&self) -> Duration;

    /// How members get the next keying material. Point-to-point by default.
    fn rekeying_scheme(&self) -> &dyn RekeyingScheme {
        &PointToPoint
    }

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
