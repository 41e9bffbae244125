//! The smallest profiles that go through every trait, at the KDC and at a member: a group whose key is 16 bytes, whose members sign with
//! Ed25519 or ES256 and whose credential is the bare public key; and a transport whose association is named by the KDC and
//! proven by using that name. Nothing in the engine knows more of OSCORE than of this.

mod notes;

pub use notes::{EMPTY_NOTE, ROUTES};

use crate::Secret;
use crate::config::{ConfigError, ConfigMap, Parameter, Parameters};
use crate::engine::store::view::{Stop, View};
use crate::id::{Gid, SenderId};
use crate::registry::{ApplicationProfileDescriptor, Registry, TransportProfileDescriptor};
use crate::traits::crypto::{CryptoProvider, Identity, PublicKey, SignatureAlgorithm, is_sound_ed25519};
use crate::traits::member::{BegunTransfer, ClientTransport, MemberRules, Unsuitable};
use crate::traits::profile::{
    ApplicationProfile, CallingMember, EligibleCredential, GroupRules, KeyAudience, KeyingMaterialProducer, NamedRole,
    OwnChanges, OwnRecords, ParameterChange, ProfileJoin, ProfileJoined, ProfileOutcome, ProfileRequest, ProfileRoute,
    Roles,
};
use crate::traits::transport::{NewAssociation, Offer, TransportProfile, TransportRefusal};
use ace_groupcomm_messages::labels::oauth;
use ace_groupcomm_messages::{
    AlgorithmInfo, Confirmation, CredentialInfo, KeyDistribution, Label, RawCbor, TokenResponse, TokenTransferRequest,
    TokenTransferResponse,
};
use serde_bytes::ByteBuf;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// The role of members that talk; the others only listen.
pub const TALKER: Roles = Roles(1);
/// Who only listens, and has no credential.
pub const LISTENER: Roles = Roles(2);
/// Who reads credentials from outside.
pub const READER: Roles = Roles(4);

/// The roles, with the names that policies and configurations have for them.
pub const ROLES: &[NamedRole] = &[
    NamedRole { name: "talker", roles: TALKER },
    NamedRole { name: "listener", roles: LISTENER },
    NamedRole { name: "reader", roles: READER },
];

/// A parameter of a Join Request: text that the group keeps as the joiner's note, and that comes back in the Join Response.
pub const NOTE: Label = Label::Int(-70_002);

/// The Sender ID in the answer to who asks for another one.
pub const TOY_ID: Label = Label::Int(-70_003);

/// The application profile.
pub struct Toy;

impl ApplicationProfile for Toy {
    fn named_roles(&self) -> &'static [NamedRole] {
        ROLES
    }

    fn member(
        &self,
        gname: &str,
        roles: Roles,
        mut config: ConfigMap,
        crypto: Arc<dyn CryptoProvider>,
    ) -> Result<Arc<dyn MemberRules>, ConfigError> {
        let key = config.signing_key("key", SignatureAlgorithm::Ed25519, &*crypto)?;
        config.finish()?;
        let identity = Identity { cred: key.public().to_vec(), key };
        Ok(Arc::new(ToyMember { gname: gname.into(), roles, identity, crypto }))
    }

    fn change(&self, parameter: &str) -> ParameterChange {
        if parameter == "max_id" { ParameterChange::NextVersion } else { ParameterChange::AnotherGroup }
    }

    fn configure(
        &self,
        gname: &str,
        mut config: ConfigMap,
        crypto: &dyn CryptoProvider,
    ) -> Result<Arc<dyn GroupRules>, ConfigError> {
        let max_id = config.uint("max_id")?.unwrap_or(7);
        let scope_tag = config.uint("scope_tag")?;
        let default_scope = config.uint("default_scope")?.unwrap_or(1);
        let signs = config.text("signs")?.unwrap_or_else(|| "EdDSA".into());
        config.finish()?;
        let algorithm = match signs.as_str() {
            "EdDSA" => SignatureAlgorithm::Ed25519,
            "ES256" => SignatureAlgorithm::Es256,
            _ => return Err(ConfigError::new("signs", "must be EdDSA or ES256")),
        };
        let named = [("max_id", Some(max_id)), ("scope_tag", scope_tag), ("default_scope", Some(default_scope))];
        let parameters = named.into_iter().fold(Parameters::default(), |parameters, (name, value)| match value {
            Some(value) => parameters.with(name, Parameter::Uint(value)),
            None => parameters,
        });
        let parameters = parameters.with("signs", Parameter::Text(signs));
        let key = crypto.signing_key(algorithm, &Secret::new(vec![0x44; 32]));
        let key = key.ok_or_else(|| ConfigError::new("signs", "is an algorithm that the provider does not have"))?;
        let identity = Identity { cred: key.public().to_vec(), key };
        let max_id = usize::try_from(max_id).unwrap_or(7);
        let default_scope = default_scope == 1;
        Ok(Arc::new(ToyRules { gname: gname.into(), parameters, identity, max_id, scope_tag, default_scope }))
    }
}

struct ToyRules {
    gname: String,
    parameters: Parameters,
    identity: Identity,
    max_id: usize,
    scope_tag: Option<u64>,
    default_scope: bool,
}

impl GroupRules for ToyRules {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn resource_type(&self) -> &'static str {
        "toy"
    }

    fn scope_tag(&self) -> Option<u64> {
        self.scope_tag
    }

    fn has_default_scope(&self) -> bool {
        self.default_scope
    }

    fn may_join_with(&self, roles: Roles) -> bool {
        roles == TALKER || roles == LISTENER
    }

    fn shows_credential(&self, roles: Roles) -> bool {
        roles.meets(TALKER)
    }

    fn reads_creds_as_non_member(&self, granted: Roles) -> bool {
        granted.meets(READER)
    }

    fn peers_of(&self, _joiner: Roles) -> Roles {
        TALKER
    }

    fn identifier_len(&self) -> RangeInclusive<usize> {
        1..=self.max_id
    }

    fn credential_info(&self) -> CredentialInfo {
        let entry = AlgorithmInfo {
            groups: vec![self.gname.clone()],
            algorithm: Label::Int(self.identity.key.algorithm().number()),
            parameters: vec![RawCbor::uint(1)],
            key_parameters: vec![RawCbor::uint(1), RawCbor::uint(6)],
            cred_fmt: Some(14),
        };
        CredentialInfo { sign_info: vec![entry], ..CredentialInfo::default() }
    }

    fn eligible(&self, _view: &View<'_>, cred: &[u8]) -> Result<Option<EligibleCredential>, Stop> {
        let algorithm = self.identity.key.algorithm();
        let is_sound = algorithm != SignatureAlgorithm::Ed25519 || is_sound_ed25519(cred);
        let key = PublicKey::Signature(algorithm, ByteBuf::from(cred));
        Ok((is_sound && cred.len() == self.identity.cred.len()).then(|| EligibleCredential::new(cred, key)))
    }

    fn kdc_identity(&self) -> Option<&Identity> {
        Some(&self.identity)
    }

    fn joins(&self, join: &ProfileJoin<'_, '_>) -> Result<ProfileJoined, Stop> {
        notes::joins(join)
    }

    fn leaves(&self, member: CallingMember<'_>) -> OwnChanges {
        notes::leaves(member)
    }

    fn stale_sets(&self) -> u64 {
        3
    }

    fn individual(&self, sender_id: &SenderId) -> Option<(Label, RawCbor)> {
        Some((TOY_ID, RawCbor::bytes(sender_id.as_bytes())))
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(1_000_000)
    }

    fn material(&self) -> &dyn KeyingMaterialProducer {
        self
    }

    fn routes(&self) -> &'static [ProfileRoute] {
        ROUTES
    }

    fn serve(&self, request: &ProfileRequest<'_, '_>) -> Result<ProfileOutcome, Stop> {
        notes::serve(request)
    }

    fn renew(&self, records: &OwnRecords<'_, '_>) -> Result<OwnChanges, Stop> {
        notes::renew(records)
    }
}

impl KeyingMaterialProducer for ToyRules {
    fn configuration(&self) -> Option<RawCbor> {
        u64::try_from(self.max_id).ok().map(RawCbor::uint)
    }

    fn key_type(&self) -> Label {
        Label::Int(-70_000)
    }

    fn fresh(&self, random: &dyn Fn(&'static str) -> [u8; 32]) -> Secret {
        Secret::from(random("toy key").get(..16).unwrap_or_default())
    }

    fn key(&self, secret: &Secret, gid: &Gid, audience: KeyAudience<'_>) -> Option<RawCbor> {
        let id = match audience {
            KeyAudience::Node { sender_id: Some(id), .. } => id.as_bytes(),
            KeyAudience::Node { .. } | KeyAudience::Group | KeyAudience::Rekeying => &[],
        };
        let length = u8::try_from(gid.as_bytes().len()).ok()?;
        Some(RawCbor::bytes(&[secret.expose(), &[length], gid.as_bytes(), id].concat()))
    }
}

/// The identifier of the member in its `key` object: behind 16 bytes of secret, the length of the Gid, and that.
#[must_use]
pub fn id_in(key: &RawCbor) -> Option<Vec<u8>> {
    let bytes = key.to_byte_string()?;
    let (length, rest) = bytes.get(16..)?.split_first()?;
    rest.get(usize::from(*length)..).map(<[u8]>::to_vec).filter(|id| !id.is_empty())
}

/// The transport profile: N1 is echoed, and the KDC's name differs from the client's.
pub struct ToyTransport;

impl TransportProfile for ToyTransport {
    fn number(&self) -> i64 {
        -70_000
    }

    fn key_is_public(&self, _cnf: &Confirmation) -> bool {
        false
    }

    fn associate(
        &self,
        post: &TokenTransferRequest,
        cnf: &Confirmation,
        offer: Offer<'_>,
    ) -> Result<NewAssociation, TransportRefusal> {
        let Confirmation::Osc(material) = cnf else { return Err(TransportRefusal::OtherProfile) };
        let nonce2 = post.nonce1.clone().ok_or(TransportRefusal::Missing)?;
        let mut others = offer.names.filter(|name| post.client_recipient_id.as_deref() != Some(name.as_bytes()));
        let id = others.next().ok_or(TransportRefusal::NoName)?;
        let answer = vec![
            (Label::Int(oauth::NONCE2), RawCbor::bytes(&nonce2)),
            (Label::Int(oauth::ACE_SERVER_RECIPIENTID), RawCbor::bytes(id.as_bytes())),
        ];
        let keys = Secret::new([material.ms.as_slice(), &offer.random].concat());
        Ok(NewAssociation { id, input_id: material.id.clone(), material: keys, answer })
    }
}

/// A member of a toy group.
#[derive(Clone)]
pub struct ToyMember {
    /// The GROUPNAME.
    pub gname: String,
    /// The roles to take.
    pub roles: Roles,
    /// Its credential, which is the public key, and the private key.
    pub identity: Identity,
    /// What verifies for it.
    pub crypto: Arc<dyn CryptoProvider>,
}

impl MemberRules for ToyMember {
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
        &Toy
    }

    fn crypto(&self) -> &dyn CryptoProvider {
        &*self.crypto
    }

    fn identity(&self) -> Option<&Identity> {
        Some(&self.identity).filter(|_| self.roles.meets(TALKER))
    }

    fn key_of(&self, cred: &[u8]) -> Option<PublicKey> {
        Some(PublicKey::Signature(self.identity.key.algorithm(), ByteBuf::from(cred)))
    }

    fn key(&self, distribution: &KeyDistribution) -> Result<RawCbor, Unsuitable> {
        let is_toys = distribution.key.to_byte_string().is_some_and(|bytes| bytes.len() > 16);
        is_toys.then(|| distribution.key.clone()).ok_or_else(|| Unsuitable::new("a key of another profile"))
    }

    fn own_id(&self, key: &RawCbor) -> Option<Vec<u8>> {
        id_in(key)
    }
}

/// The client's side of the transport: N1 has to come back, and the association is the KDC's name for it.
pub struct ToyClient;

struct Begun([u8; 8]);

impl ClientTransport for ToyClient {
    fn takes(&self, _response: &TokenResponse) -> Result<(), Unsuitable> {
        Ok(())
    }

    fn begin(
        &self,
        access_token: Vec<u8>,
        _cnf: &Confirmation,
        nonce: [u8; 8],
        client_id: Vec<u8>,
    ) -> Result<(TokenTransferRequest, Box<dyn BegunTransfer>), Unsuitable> {
        let post = TokenTransferRequest {
            access_token,
            nonce1: Some(nonce.to_vec()),
            client_recipient_id: Some(client_id),
            ..TokenTransferRequest::default()
        };
        Ok((post, Box::new(Begun(nonce))))
    }
}

impl BegunTransfer for Begun {
    fn finish(self: Box<Self>, response: &TokenTransferResponse) -> Result<Secret, Unsuitable> {
        let id = response.server_recipient_id.clone().filter(|_| response.nonce2.as_deref() == Some(&self.0));
        id.map(Secret::new).ok_or_else(|| Unsuitable::new("another post's answer"))
    }
}

/// The application profile, for a registry and for policies of an AS.
pub const DESCRIPTOR: ApplicationProfileDescriptor =
    ApplicationProfileDescriptor { name: "toy", number: -70_000, crate_name: env!("CARGO_PKG_NAME"), profile: &Toy };

/// The transport profile, for a registry.
pub const TRANSPORT: TransportProfileDescriptor = TransportProfileDescriptor {
    name: "toy",
    number: -70_000,
    crate_name: env!("CARGO_PKG_NAME"),
    profile: &ToyTransport,
};

/// A registry with both.
#[must_use]
pub fn registry() -> Registry {
    let with = Registry::empty().with_application(DESCRIPTOR).and_then(|r| r.with_transport(TRANSPORT));
    with.unwrap_or_default()
}
