//! What is stored of a group: its name, its head, its keying material, its members, and who was put out.

use super::BelongsTo;
use crate::Secret;
use crate::config::Parameters;
use crate::id::Gid;
use crate::id::NodeName;
use crate::id::SenderId;
use crate::schema::keys::{GroupId, PrincipalId};
use crate::schema::record::{self, Corrupt, FIRST_FORMAT, RecordType};
use crate::time::UnixTime;
use crate::traits::crypto::{PublicKey, SignatureAlgorithm, Thumbprint};
use crate::traits::profile::EligibleCredential;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Why a group has to be rekeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RekeyReason {
    /// The token of a member has expired.
    Expired,
    /// A newer token of the member no longer covers its membership.
    Narrowed,
    /// A token was revoked.
    Revoked,
    /// The application profile asked for it.
    Profile,
    /// The issuer of a token is not trusted any more, not with its key or not for its groups.
    Distrusted,
    /// The operator has put a member out.
    Evicted,
    /// A member has left.
    Left,
    /// A client has joined a group that has backward security.
    Joined,
    /// The keying material comes to its end.
    MaterialEnds,
    /// The group is rekeyed at regular times.
    Scheduled,
    /// Hardly a Sender ID is free under this Gid, and some were given back.
    IdentifiersUsedUp,
    /// The operator wants it.
    Commanded,
    /// The KDC has started, and the group's policy asks for it.
    Restarted,
    /// The group has other parameters.
    Configured,
}

impl RekeyReason {
    /// Whether somebody may be meant to read no more of what the group says: such a rekeying waits for the group's delay alone.
    #[must_use]
    pub const fn is_forced(self) -> bool {
        match self {
            Self::Expired
            | Self::Narrowed
            | Self::Revoked
            | Self::Distrusted
            | Self::Evicted
            | Self::Left
            | Self::Profile => true,
            Self::Joined
            | Self::MaterialEnds
            | Self::Scheduled
            | Self::IdentifiersUsedUp
            | Self::Commanded
            | Self::Restarted
            | Self::Configured => false,
        }
    }

    /// Returns the reason in a few fixed words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Expired => "the token has expired",
            Self::Narrowed => "a newer token does not cover the membership",
            Self::Revoked => "the token was revoked",
            Self::Profile => "the application profile asked for it",
            Self::Distrusted => "the issuer is not trusted any more",
            Self::Evicted => "the operator has put the member out",
            Self::Left => "the member has left",
            Self::Joined => "a client has joined",
            Self::MaterialEnds => "the keying material comes to its end",
            Self::Scheduled => "it is time",
            Self::IdentifiersUsedUp => "the Sender IDs are used up",
            Self::Commanded => "the operator wants it",
            Self::Restarted => "the KDC has started",
            Self::Configured => "the group has other parameters",
        }
    }
}

/// A rekeying that has to be done. What becomes due meanwhile becomes part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredDue")]
pub struct RekeyDue {
    /// The reasons: there is one at least.
    pub reasons: BTreeSet<RekeyReason>,
    /// When it became due first.
    pub since: UnixTime,
}

/// What is due, in this form or the former one, which had the first reason alone.
#[derive(Deserialize)]
struct StoredDue {
    #[serde(default)]
    why: Option<RekeyReason>,
    #[serde(default)]
    reasons: BTreeSet<RekeyReason>,
    since: UnixTime,
}

impl From<StoredDue> for RekeyDue {
    fn from(StoredDue { why, mut reasons, since }: StoredDue) -> Self {
        reasons.extend(why);
        Self { reasons, since }
    }
}

/// The state of a group that each change of it replaces. It stays small: members have records of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the keying material.
    pub num: u64,
    /// The group identifier under which it is used.
    pub gid: Gid,
    /// How many Gids the group had before.
    pub epoch: u64,
    /// The next Sender ID to try.
    pub cursor: u64,
    /// How many members there are.
    pub members: u64,
    /// Whether the group is active.
    pub active: bool,
    /// A rekeying that has to be done.
    pub rekey_due: Option<RekeyDue>,
    /// The incarnation of the KDC in which its version began.
    #[serde(default)]
    pub incarnation: u32,
    /// Which group it is, of all that were made: part of its Gids.
    #[serde(default)]
    pub serial: u32,
    /// When the group was deleted: what is stored of it goes, page by page.
    #[serde(default)]
    pub deleted: Option<UnixTime>,
    /// How many Sender IDs members hold.
    #[serde(default)]
    pub held: u64,
    /// How many Sender IDs are not free under this Gid: they were held when it came into use, or were given since.
    #[serde(default)]
    pub taken: u64,
}

impl Head {
    /// Notes that a rekeying has to be done. One that is due already gets the reason too, and stays due since it was.
    pub fn note_due(&mut self, why: RekeyReason, at: UnixTime) {
        let due = self.rekey_due.get_or_insert_with(|| RekeyDue { reasons: BTreeSet::new(), since: at });
        due.reasons.insert(why);
    }
}

impl RecordType for Head {
    /// In the first format incarnation and serial stood in the Gid alone; the third one knows of deleted groups, the fourth one of
    /// rekeying.
    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        const REKEYS: u8 = 4;
        let mut head: Self = record::from_bytes(bytes, REKEYS)?;
        if bytes.first() == Some(&FIRST_FORMAT) {
            let (incarnation, rest) = head.gid.as_bytes().split_first_chunk().ok_or(Corrupt)?;
            let (serial, _) = rest.split_first_chunk().ok_or(Corrupt)?;
            (head.incarnation, head.serial) = (u32::from_be_bytes(*incarnation), u32::from_be_bytes(*serial));
        }
        if bytes.first().is_some_and(|format| *format < REKEYS) {
            // Not more than these: who only monitors holds none.
            (head.held, head.taken) = (head.members, head.members.max(head.cursor));
        }
        Ok(head)
    }

    fn encode(&self) -> Vec<u8> {
        record::to_bytes(self, 4)
    }
}

/// What a GROUPNAME stands for. A name that was given once keeps its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedGroup {
    /// The group that has the name, or had it last.
    pub id: GroupId,
    /// Whether the group is there.
    pub state: NameState,
}

/// Whether the group of a name is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameState {
    /// It is. Tokens that were issued before this time do not mean it; [`UnixTime::EPOCH`] where all do: no other group
    /// had the name.
    Live(UnixTime),
    /// It was deleted, at this time.
    Deleted(UnixTime),
}

impl NamedGroup {
    /// The group, unless it was deleted.
    #[must_use]
    pub const fn live(&self) -> Option<GroupId> {
        match self.state {
            NameState::Live(_) => Some(self.id),
            NameState::Deleted(_) => None,
        }
    }
}

impl RecordType for NamedGroup {
    /// The first format knew no deleted groups.
    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        if bytes.first() == Some(&FIRST_FORMAT) {
            return BelongsTo::<GroupId>::decode(bytes)
                .map(|BelongsTo(id)| Self { id, state: NameState::Live(UnixTime::EPOCH) });
        }
        record::from_bytes(bytes, 2)
    }

    fn encode(&self) -> Vec<u8> {
        record::to_bytes(self, 2)
    }
}

/// What a group was configured with when its keying material was made: what goes out with a version never differs from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfiguration {
    /// The application profile, by its name in the registry.
    pub profile: String,
    /// The parameters, in canonical form.
    pub parameters: Parameters,
    /// The issuers that may speak for the group, by their names in the configuration; none where any that the validator takes
    /// may, or where that is not recorded.
    #[serde(default)]
    pub issuers: Option<BTreeSet<String>>,
    /// The version that began with these parameters; none where the group was made with them.
    #[serde(default)]
    pub since: Option<u64>,
}

/// The secrets of one version, in the form of the application profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSecret {
    /// The secrets, in the form of the application profile.
    pub material: Secret,
    /// When they were made.
    pub created: UnixTime,
    /// When they end: members use them no longer.
    pub expires: UnixTime,
    /// The members that were admitted with this version, under backward security; none where they are too many to be told of.
    #[serde(default)]
    pub joined: Vec<PrincipalId>,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The NODENAME, which a member keeps when it joins again.
    pub node: NodeName,
    /// The Sender ID; who only monitors has none.
    pub sender_id: Option<SenderId>,
    /// The roles, as the profile numbers them.
    pub roles: u64,
    /// The credential; who only monitors has none.
    pub credential: Option<EligibleCredential>,
    /// Whether the member has proven to have the private key of its credential.
    pub is_proven: bool,
    /// The scope of the latest Join Request, as received.
    pub scope: ByteBuf,
    /// N_C of the latest Join Request, for later proofs of the KDC.
    pub clientchallenge: ByteBuf,
    /// The Gid that was in use at the latest join.
    pub birth_gid: Gid,
    /// Where the member takes requests of the KDC.
    pub control_uri: Option<String>,
}

impl MemberRecord {
    /// The name of the key that is the member's alone in the group: of the one that it has proven to have.
    #[must_use]
    pub fn claimed(&self) -> Option<&Thumbprint> {
        self.credential.as_ref().filter(|_| self.is_proven).map(|credential| &credential.thumbprint)
    }

    /// The name that the first format had for a key: the hash of its bytes. It knew keys of Ed25519 alone.
    #[must_use]
    pub fn first_name(key: &PublicKey) -> Option<Thumbprint> {
        match key {
            PublicKey::Signature(SignatureAlgorithm::Ed25519, key) => Some(Thumbprint::new(Sha256::digest(key).into())),
            _ => None,
        }
    }
}

/// A member in the first format: all keys were Ed25519's, and were named by the hash of their bytes.
#[derive(Deserialize)]
struct FirstMember {
    node: NodeName,
    sender_id: Option<SenderId>,
    roles: u64,
    cred: Option<ByteBuf>,
    key: Option<ByteBuf>,
    scope: ByteBuf,
    clientchallenge: ByteBuf,
    birth_gid: Gid,
    control_uri: Option<String>,
}

impl From<FirstMember> for MemberRecord {
    fn from(first: FirstMember) -> Self {
        let FirstMember { node, sender_id, roles, cred, key, scope, clientchallenge, birth_gid, control_uri } = first;
        let credential = cred.zip(key).and_then(|(cred, key)| {
            let key = PublicKey::Signature(SignatureAlgorithm::Ed25519, key);
            let thumbprint = Self::first_name(&key)?;
            Some(EligibleCredential { cred: cred.into_vec(), thumbprint, key, expires: None })
        });
        let is_proven = credential.is_some();
        Self { node, sender_id, roles, credential, is_proven, scope, clientchallenge, birth_gid, control_uri }
    }
}

impl RecordType for MemberRecord {
    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        if bytes.first() == Some(&FIRST_FORMAT) {
            return record::from_bytes::<FirstMember>(bytes, FIRST_FORMAT).map(Into::into);
        }
        record::from_bytes(bytes, 2)
    }

    fn encode(&self) -> Vec<u8> {
        record::to_bytes(self, 2)
    }
}

/// Who holds a Sender ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderIdRecord {
    /// The member, while it is one.
    pub holder: Option<PrincipalId>,
    /// The last epoch in which somebody held it: under that Gid it is not given again.
    pub epoch: u64,
}

/// How often a member has done what costs others: it has left, joined again, asked for another Sender ID, or for another
/// credential. It outlives the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provoked {
    /// How often, since then.
    pub count: u32,
    /// When the hour began in which it is counted.
    pub since: UnixTime,
}

/// Leads from the end of that hour to the count, so that a sweep finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvokedEnd {
    /// When the hour ends.
    pub at: UnixTime,
    /// The group that it is about.
    pub group: GroupId,
    /// The client that is counted.
    pub principal: PrincipalId,
}

/// Whose Gid it is, or was: a Gid is never given to another group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GidOwner {
    /// The group that it is about.
    pub group: GroupId,
    /// The GROUPNAME.
    pub gname: String,
}

/// A group that was deleted, and of which something is stored still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// The group that it is about.
    pub group: GroupId,
    /// The name that it had.
    pub gname: String,
    /// When it was deleted.
    pub at: UnixTime,
}

/// A client that the operator has put out of a group: it may not join again for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The NODENAME that it had, and would have again.
    pub node: NodeName,
    /// Its issuer, by the name in the configuration.
    pub issuer: String,
    /// Its name at the issuer.
    pub subject: String,
    /// When it became due.
    pub since: UnixTime,
    /// When the ban ends: with the token that the client had.
    pub until: UnixTime,
}

/// A membership that has ended with its token, and of which the group is not rid yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// The GROUPNAME.
    pub gname: String,
    /// Why it has ended.
    pub why: RekeyReason,
    /// The issuer of the client, by the name in the configuration.
    pub issuer: String,
    /// The name of the client at the issuer.
    pub subject: String,
}

/// Leads from the end of a ban to the ban, so that a sweep finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanEnd {
    /// When the ban ends.
    pub at: UnixTime,
    /// The group that it is about.
    pub group: GroupId,
    /// The client that was put out.
    pub principal: PrincipalId,
}

crate::plain_record!(
    GidOwner,
    Deletion,
    Ban,
    BanEnd,
    Leaving,
    // The second format holds the issuers, the third one the version that began with the parameters.
    GroupConfiguration = 3,
    GroupSecret,
    Provoked,
    ProvokedEnd,
    SenderIdRecord,
);
