//! A member's side of the profiles: what it sends to join, and what it takes of the answers.

use crate::Secret;
use crate::traits::crypto::{CryptoProvider, Identity, PublicKey};
use crate::traits::profile::{ApplicationProfile, Roles};
use ace_groupcomm_messages::{
    Confirmation, DecodeError, GetCreds, JoinRequest, JoinResponse, KdcCred, KeyDistribution, Label, PeerCred, RawCbor,
    ScopeEntry, TokenResponse, TokenTransferRequest, TokenTransferResponse, pop,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use thiserror::Error;

/// Why a member does not go on with what it was sent, or cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unsuitable(pub String);

impl Unsuitable {
    /// Returns a refusal for this reason, told to people.
    pub fn new(reason: impl std::fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl From<DecodeError> for Unsuitable {
    fn from(error: DecodeError) -> Self {
        Self::new(error)
    }
}

/// What a Join Response gives, after all checks of the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupJoined {
    /// The keying material, with what is the member's own in it.
    pub key: RawCbor,
    /// The version of the keying material.
    pub num: i64,
    /// When it ends, in seconds since 1970.
    pub exp: Option<u64>,
    /// In how many seconds it ends.
    pub exi: Option<u64>,
    /// The KDC's credential, empty where the group has none.
    pub kdc_cred: Vec<u8>,
    /// The other members, where they were asked for.
    pub peers: Vec<PeerCred>,
}

impl GroupJoined {
    /// What a Join Response says that was checked. `key` is its `key` object, or what the profile has made of that.
    #[must_use]
    pub fn new(response: JoinResponse, key: RawCbor) -> Self {
        let JoinResponse { material, peers, kdc_cred, .. } = response;
        Self {
            key,
            num: material.num,
            exp: material.exp,
            exi: material.exi,
            kdc_cred: kdc_cred.map(|kdc| kdc.kdc_cred).unwrap_or_default(),
            peers: peers.unwrap_or_default(),
        }
    }
}

/// A part of keying material, as people and other stacks take it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPart {
    /// It is not set.
    Absent,
    /// A number, e.g. of a COSE algorithm.
    Int(i64),
    /// A text, e.g. the name of an algorithm.
    Text(String),
    /// Bytes that everybody may see.
    Bytes(Vec<u8>),
    /// Bytes that are shown to nobody who has not asked for keys.
    Secret(Secret),
}

/// What verifies the signatures of a group, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationParts {
    /// The version of the keying material.
    pub num: i64,
    /// The other parts by name, as people and other stacks take them.
    pub parts: Vec<(&'static str, KeyPart)>,
}

impl From<Option<&Label>> for KeyPart {
    fn from(label: Option<&Label>) -> Self {
        match label {
            None => Self::Absent,
            Some(Label::Int(number)) => Self::Int(*number),
            Some(Label::Text(text)) => Self::Text(text.clone()),
        }
    }
}

impl From<Option<&[u8]>> for KeyPart {
    fn from(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::Absent, |bytes| Self::Bytes(bytes.to_vec()))
    }
}

/// An application profile for one member of one group: its identity and roles are within.
///
/// A profile makes it of a member's parameters. The Join Request has a proof that the KDC can verify:
///
/// ```
/// use ace_backend_aws_lc::AwsLc;
/// use ace_groupcomm::config::{ConfigMap, ConfigValue};
/// use ace_groupcomm::messages::pop;
/// use ace_groupcomm::testkit::toy::{TALKER, Toy};
/// use ace_groupcomm::traits::crypto::CryptoProvider;
/// use ace_groupcomm::traits::profile::ApplicationProfile;
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut parameters = ConfigMap::default();
/// parameters.insert("key", ConfigValue::Text("11".repeat(32)));
/// let member = Toy.member("lamps", TALKER, parameters, Arc::new(AwsLc))?;
///
/// let (challenge, cnonce) = ([1; 8], [2; 8]);
/// let join = member.join(&challenge, &cnonce, None)?;
/// let scope = join.scope.clone().ok_or("a scope")?;
/// let identity = member.identity().ok_or("a talker has one")?;
/// let key = member.key_of(&identity.cred).ok_or("a key")?;
/// let proof = join.client_cred_verify.clone().ok_or("a proof")?;
/// assert!(AwsLc.verifies(&key, pop::client_input(&scope, &challenge, &cnonce), proof));
/// # Ok(())
/// # }
/// ```
pub trait MemberRules: Send + Sync {
    /// Returns the GROUPNAME.
    fn gname(&self) -> &str;

    /// Returns the roles to take.
    fn roles(&self) -> Roles;

    /// The same member with other roles.
    fn with_roles(&self, roles: Roles) -> Arc<dyn MemberRules>;

    /// Returns the application profile, which knows Tperms.
    fn profile(&self) -> &'static dyn ApplicationProfile;

    /// Returns what verifies for the member.
    fn crypto(&self) -> &dyn CryptoProvider;

    /// Who the member is in the group, by a key that signs; `None` where its roles show no credential.
    fn identity(&self) -> Option<&Identity>;

    /// Parameters of the profile's own for the Join Request.
    fn join_parameters(&self) -> Vec<(Label, RawCbor)> {
        Vec::new()
    }

    /// What the Join Request asks of the credentials of others: all that its roles need, where the profile says nothing else.
    fn get_creds(&self) -> Option<GetCreds> {
        Some(GetCreds::All)
    }

    /// The public key in a credential of the KDC; `None` where it is none of this profile.
    fn key_of(&self, cred: &[u8]) -> Option<PublicKey>;

    /// Checks keying material, of a Join Response or asked for later. Returns the `key` object that is kept.
    ///
    /// # Errors
    /// [`Unsuitable`]; it is not installed then.
    fn key(&self, distribution: &KeyDistribution) -> Result<RawCbor, Unsuitable>;

    /// The member's own identifier in keying material, where it has one.
    fn own_id(&self, key: &RawCbor) -> Option<Vec<u8>>;

    /// The group and the roles that are asked for.
    fn scope(&self) -> ScopeEntry {
        ScopeEntry { gname: self.gname().into(), permissions: self.profile().permissions(self.roles()) }
    }

    /// The same with the roles that an AS has granted, where those are not all that were asked for (RFC 9200 section 5.8.2).
    ///
    /// # Errors
    /// [`Unsuitable`] where none of them is left.
    fn narrowed(&self, granted: &ScopeEntry) -> Result<Arc<dyn MemberRules>, Unsuitable> {
        let granted = self.profile().roles(&granted.permissions);
        let granted = granted.ok_or_else(|| Unsuitable::new("roles of another profile"))?;
        let roles = Roles(self.roles().0 & granted.0);
        if roles.0 == 0 {
            return Err(Unsuitable::new(format_args!("none of the roles for {:?} was granted", self.gname())));
        }
        Ok(self.with_roles(roles))
    }

    /// A Join Request over N_S and N_C, with a signature as proof of possession.
    ///
    /// # Errors
    /// [`Unsuitable`] where no proof can be made.
    fn join(&self, challenge: &[u8], cnonce: &[u8], get_creds: Option<GetCreds>) -> Result<JoinRequest, Unsuitable> {
        let join = join_request(&self.scope(), self.identity(), challenge, cnonce, get_creds)?;
        Ok(JoinRequest { extra: self.join_parameters(), ..join })
    }

    /// Checks that the KDC has the key of its credential: its proof is over this N_C and its own nonce.
    ///
    /// # Errors
    /// [`Unsuitable`]; the credential is not taken then.
    fn kdc_proven(&self, kdc: &KdcCred, cnonce: &[u8]) -> Result<(), Unsuitable> {
        let key = self.key_of(&kdc.kdc_cred).ok_or_else(|| Unsuitable::new("the KDC's credential does not fit"))?;
        let message = pop::kdc_input(cnonce, &kdc.kdc_nonce);
        if !self.crypto().verifies(&key, message, kdc.kdc_cred_verify.clone()) {
            return Err(Unsuitable::new("the KDC's proof of possession does not verify"));
        }
        Ok(())
    }

    /// Checks a Join Response to a request with this N_C: the KDC's proof, and the keying material.
    ///
    /// # Errors
    /// [`Unsuitable`]; the node has not joined then.
    fn joined(&self, response: JoinResponse, cnonce: &[u8]) -> Result<GroupJoined, Unsuitable> {
        let kdc = response.kdc_cred.as_ref().ok_or_else(|| Unsuitable::new("the KDC has not proven itself"))?;
        self.kdc_proven(kdc, cnonce)?;
        let key = self.key(&response.material)?;
        Ok(GroupJoined::new(response, key))
    }

    /// The keying material of a newer version: what the member holds, with what a rekeying message gives. A message may leave out
    /// what stays as it is. Where a profile says nothing, a message has all of it.
    ///
    /// # Errors
    /// [`Unsuitable`]; it is not installed then.
    fn rekeyed(&self, held: &RawCbor, told: &KeyDistribution) -> Result<RawCbor, Unsuitable> {
        let _ = held;
        self.key(told)
    }

    /// Whether a message at the control URI says the group's parameters alone, which are those of its version: the member asks for
    /// all of that version then.
    fn is_configuration(&self, _told: &KeyDistribution) -> bool {
        false
    }

    /// The keying material with new individual material of the member's own (RFC 9594 section 4.8.2), out of the answer. The member
    /// gets all of it anew then, since the answer does not say which version it is for.
    ///
    /// # Errors
    /// [`Unsuitable`] where the profile has none, or the answer is none.
    fn renewed(&self, held: &RawCbor, answer: &[u8]) -> Result<RawCbor, Unsuitable> {
        let _ = (held, answer);
        Err(Unsuitable::new("the profile has no individual keying material"))
    }

    /// The resource of a group that says which identifiers went stale since a version, where the profile has one. It takes a FETCH with the
    /// version, and answers with an array of them; with an empty answer all other members' are stale. Where there is none a member
    /// that missed a version asks for all credentials anew.
    fn stale_resource(&self) -> Option<&'static str> {
        None
    }

    /// Whether a rekeying message says which identifiers went stale. Where not, a member takes all credentials for former ones with each
    /// version, and asks for those of its members: who is not among them has left.
    fn names_who_left(&self) -> bool {
        true
    }

    /// The resource of a group that says whether it is active, where the profile has one. It takes a GET, and answers with true or
    /// false.
    fn status_resource(&self) -> Option<&'static str> {
        None
    }

    /// The resource of a group that gives signature verifiers what they need, where the profile has one. It takes a GET of who is no
    /// member.
    fn verification_resource(&self) -> Option<&'static str> {
        None
    }

    /// What that resource answers.
    ///
    /// # Errors
    /// [`Unsuitable`] where the profile has no verifiers, or the answer is none of it.
    fn verification_parts(&self, answer: &[u8]) -> Result<VerificationParts, Unsuitable> {
        let _ = answer;
        Err(Unsuitable::new("the profile has no verifiers"))
    }

    /// The parts of keying material by name, e.g. for another stack that is to use it. Where a profile says nothing it is the
    /// `key` object as a whole, and secret.
    ///
    /// # Errors
    /// [`Unsuitable`] where the material is of another profile.
    fn key_parts(&self, key: &RawCbor) -> Result<Vec<(&'static str, KeyPart)>, Unsuitable> {
        Ok(vec![("key", KeyPart::Secret(Secret::from(key.as_bytes())))])
    }

    /// Names what sequence numbers belong to: the secrets and the member's identifier. It is no secret itself. `None` where
    /// nothing can be sent with the key. Where a profile says nothing it is the hash of a `key` object with an identifier.
    fn key_name(&self, key: &RawCbor) -> Option<Vec<u8>> {
        self.own_id(key)?;
        Some(Sha256::digest(key.as_bytes()).to_vec())
    }
}

/// A Join Request with a signature over N_S and N_C, where there is a credential to prove.
///
/// # Errors
/// [`Unsuitable`] where nothing can be signed.
pub fn join_request(
    scope: &ScopeEntry,
    identity: Option<&Identity>,
    challenge: &[u8],
    cnonce: &[u8],
    get_creds: Option<GetCreds>,
) -> Result<JoinRequest, Unsuitable> {
    let scope = scope.encode();
    let mut join = JoinRequest { get_creds, cnonce: Some(cnonce.to_vec()), ..JoinRequest::default() };
    if let Some(identity) = identity {
        let proof = identity.key.sign(&pop::client_input(&scope, challenge, cnonce));
        join.client_cred_verify = Some(proof.ok_or_else(|| Unsuitable::new("nothing can be signed"))?);
        join.client_cred = Some(identity.cred.clone());
    }
    Ok(JoinRequest { scope: Some(scope), ..join })
}

/// A client's side of a transport profile.
///
/// That of the bearer in the guide, `guide::write_a_transport`:
///
/// ```
/// use ace_groupcomm::Secret;
/// use ace_groupcomm::messages::{
///     Confirmation, Label, RawCbor, TokenResponse, TokenTransferRequest, TokenTransferResponse,
/// };
/// use ace_groupcomm::traits::member::{BegunTransfer, ClientTransport, Unsuitable};
///
/// const NUMBER: i64 = -70_020;
/// const BEARER: Label = Label::Int(-70_021);
///
/// struct BearerOverTls;
///
/// impl ClientTransport for BearerOverTls {
///     fn takes(&self, response: &TokenResponse) -> Result<(), Unsuitable> {
///         let is_ours = response.ace_profile == Some(NUMBER);
///         is_ours.then_some(()).ok_or_else(|| Unsuitable::new("the token is for another profile"))
///     }
///
///     fn begin(
///         &self,
///         access_token: Vec<u8>,
///         _cnf: &Confirmation,
///         _nonce: [u8; 8],
///         _client_id: Vec<u8>,
///     ) -> Result<(TokenTransferRequest, Box<dyn BegunTransfer>), Unsuitable> {
///         let post = TokenTransferRequest { access_token, ..TokenTransferRequest::default() };
///         Ok((post, Box::new(Posted)))
///     }
/// }
///
/// struct Posted;
///
/// impl BegunTransfer for Posted {
///     fn finish(self: Box<Self>, response: &TokenTransferResponse) -> Result<Secret, Unsuitable> {
///         let bearer = response.extra.iter().find(|(label, _)| *label == BEARER);
///         let bearer = bearer.and_then(|(_, value)| value.to_byte_string());
///         bearer.map(Secret::new).ok_or_else(|| Unsuitable::new("there is no bearer"))
///     }
/// }
///
/// # fn main() -> Result<(), Unsuitable> {
/// let (post, begun) = BearerOverTls.begin(vec![1], &Confirmation::Kid(vec![2]), [3; 8], vec![4])?;
/// assert_eq!(post.access_token, [1]);
/// let extra = vec![(BEARER, RawCbor::bytes(&[5; 32]))];
/// let kept = begun.finish(&TokenTransferResponse { extra, ..TokenTransferResponse::default() })?;
/// assert_eq!(kept.expose(), [5; 32]);
/// # Ok(())
/// # }
/// ```
pub trait ClientTransport: Send + Sync {
    /// Whether the token of an answer can be used with this profile: the profile that the AS names, and the keys.
    ///
    /// # Errors
    /// [`Unsuitable`], with the reason by name.
    fn takes(&self, response: &TokenResponse) -> Result<(), Unsuitable>;

    /// Begins a token post: the request, and what becomes of its answer. `nonce` was never used before, `client_id`
    /// names no other association of the client.
    ///
    /// # Errors
    /// [`Unsuitable`] where the key is for another profile.
    fn begin(
        &self,
        access_token: Vec<u8>,
        cnf: &Confirmation,
        nonce: [u8; 8],
        client_id: Vec<u8>,
    ) -> Result<(TokenTransferRequest, Box<dyn BegunTransfer>), Unsuitable>;
}

/// A token post under way. [`ClientTransport`] has an example of both.
///
/// ```
/// use ace_groupcomm::Secret;
/// use ace_groupcomm::messages::TokenTransferResponse;
/// use ace_groupcomm::traits::member::{BegunTransfer, Unsuitable};
///
/// /// The association's key is a pre-shared one that the client had before.
/// struct PreShared(Secret);
///
/// impl BegunTransfer for PreShared {
///     fn finish(self: Box<Self>, _response: &TokenTransferResponse) -> Result<Secret, Unsuitable> {
///         Ok(self.0)
///     }
/// }
///
/// let begun: Box<dyn BegunTransfer> = Box::new(PreShared(Secret::new(vec![7; 16])));
/// assert_eq!(begun.finish(&TokenTransferResponse::default())?.expose(), [7; 16]);
/// # Ok::<(), Unsuitable>(())
/// ```
pub trait BegunTransfer {
    /// What the association is made of, in the profile's own form.
    ///
    /// # Errors
    /// [`Unsuitable`]; the client may begin anew.
    fn finish(self: Box<Self>, response: &TokenTransferResponse) -> Result<Secret, Unsuitable>;
}
