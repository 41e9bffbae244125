//! The records of a KDC and of an Authorization Server. Those of a group are in `group`.

mod group;

pub use group::{
    Ban, BanEnd, Deletion, GidOwner, GroupConfiguration, GroupSecret, Head, Leaving, MemberRecord, NameState,
    NamedGroup, Provoked, ProvokedEnd, RekeyDue, RekeyReason, SenderIdRecord,
};

use crate::Secret;
use crate::id::AssociationId;
use crate::id::TokenHash;
use crate::schema::keys::{self, GroupId, KeyFingerprint, PrincipalId};
use crate::schema::record::{self, Corrupt, FIRST_FORMAT, RecordType};
use crate::time::UnixTime;
use crate::token::Trust;
use crate::traits::storage::Key;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

/// When a token expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// When the token ends (`exp`).
    pub at: UnixTime,
    /// Whose token it is.
    pub principal: PrincipalId,
    /// The hash of the token; none where it was noted when a client had one token alone.
    #[serde(default)]
    pub hash: Option<TokenHash>,
}

impl Expiry {
    /// Returns the key of the record in storage: by time first, so that a scan finds those that end next.
    #[must_use]
    pub fn key(&self) -> Key {
        match &self.hash {
            Some(hash) => keys::expiry(self.at, hash),
            None => keys::expiry_of_client(self.at, self.principal),
        }
    }
}

/// What the whole KDC shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Raised by each restore.
    pub incarnation: u32,
    /// How many groups were made; part of every Gid.
    pub groups: u32,
    /// The time at which tokens were ended last: it is never earlier again.
    pub latest: UnixTime,
    /// How often a process has started, modulo 2^16.
    #[serde(default)]
    pub starts: u16,
    /// Tokens that were issued before this time are refused; [`UnixTime::EPOCH`] where none are for that.
    #[serde(default)]
    pub tokens_since: UnixTime,
    /// Drawn by the last restore, so that no other one of the same backup has the same Gids; part of them.
    #[serde(default)]
    pub tag: Option<[u8; 6]>,
    /// When the last restore was: of tokens from before it nobody knows when they came first.
    #[serde(default)]
    pub restored: UnixTime,
}

impl Default for Meta {
    fn default() -> Self {
        Self {
            incarnation: 1,
            groups: 0,
            latest: UnixTime::EPOCH,
            starts: 0,
            tokens_since: UnixTime::EPOCH,
            tag: None,
            restored: UnixTime::EPOCH,
        }
    }
}

/// That a token was revoked, or must not begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// When the token ends by itself, and this goes with it; none where nobody knows, or where its
    /// time would begin anew.
    pub until: Option<UnixTime>,
}

/// The form in which it is written since the second format; the first one was a [`Mark`].
#[derive(Serialize, Deserialize)]
struct StoredRevoked {
    until: Option<UnixTime>,
}

impl RecordType for Revoked {
    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        if bytes.first() == Some(&FIRST_FORMAT) {
            return Mark::decode(bytes).map(|Mark| Self { until: None });
        }
        record::from_bytes(bytes, 2).map(|StoredRevoked { until }| Self { until })
    }

    fn encode(&self) -> Vec<u8> {
        record::to_bytes(&StoredRevoked { until: self.until }, 2)
    }
}

/// When a record of a revoked token goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationEnd {
    /// When the record goes: the token has ended then by itself.
    pub at: UnixTime,
    /// The hash of the token.
    pub hash: TokenHash,
}

/// Whose credential, or group, or token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BelongsTo<T>(pub T);

/// Where a challenge N_S comes from (RFC 9594 section 3.3, Group OSCORE profile section 6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChallengeOrigin {
    /// Sent in the answer to a token that was posted.
    TokenTransfer,
    /// Sent in a 4.00 to a Join Request.
    JoinRefusal,
}

/// N_S: what a client signs to prove possession of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// N_S as it was sent, without its CBOR head.
    pub value: ByteBuf,
    /// Where it comes from.
    pub origin: ChallengeOrigin,
}

/// What a token says, once it was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredToken {
    /// Its hash (RFC 9770 section 4).
    pub hash: TokenHash,
    /// Its scope: each group's name and the encoded Tperm.
    pub scope: Vec<(String, ByteBuf)>,
    /// When the token ends.
    pub expires: UnixTime,
    /// From when on nobody is a member by it, so that members are told before it ends; none where that is its end.
    #[serde(default)]
    pub notice: Option<UnixTime>,
    /// Its number among the issuer's tokens whose time begins when they are received (`exi`).
    #[serde(default)]
    pub sequence: Option<u64>,
    /// Which of the issuer's keys verified it; none where that was not recorded.
    #[serde(default)]
    pub issuer_key: Option<KeyFingerprint>,
    /// When it was issued (`iat`); none where it does not say.
    #[serde(default)]
    pub issued: Option<UnixTime>,
}

impl StoredToken {
    /// Until when somebody may be a member by it.
    #[must_use]
    pub fn covers_until(&self) -> UnixTime {
        self.notice.unwrap_or(self.expires)
    }
}

/// The issuers that a KDC trusts, over this storage: those of one configuration, whoever starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedIssuers {
    /// Those of the configuration that was accepted last.
    pub trust: Trust,
    /// Which keys of an issuer count as that of a token of which none is recorded.
    pub unrecorded: BTreeMap<String, BTreeSet<KeyFingerprint>>,
    /// Whether what former issuers vouched for is still being ended.
    pub ending: bool,
    /// How often they were replaced.
    #[serde(default)]
    pub generation: u64,
}

/// Of an issuer's tokens with `exi`, the highest number of one that has expired (RFC 9200 section 5.10.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiredSequence(pub u64);

/// A token that a client holds, with the association that it came with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldToken {
    /// What was checked of the token when it was posted: hash, scope, end, and which key of the issuer verified it.
    pub token: StoredToken,
    /// The association under which the client uses it.
    pub association: AssociationId,
    /// The name, at the issuer, of the key that it is bound to. A newer token for the same key takes its place. Empty where that
    /// was not recorded.
    pub input_id: ByteBuf,
}

impl HeldToken {
    /// Whether a new token takes the place of this one: it is the same one, came with the same association, or is for the same
    /// key.
    #[must_use]
    pub fn gives_way_to(&self, new: &Self) -> bool {
        self.token.hash == new.token.hash
            || self.association == new.association
            || !self.input_id.is_empty() && self.input_id == new.input_id
    }
}

/// A client of an issuer: its tokens, and where it is a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The issuer, by its name in the configuration.
    pub issuer: String,
    /// Its name at the issuer.
    pub subject: String,
    /// Its tokens, in the order in which they came.
    pub tokens: Vec<HeldToken>,
    /// The groups that it is a member of, by name: bounded by the groups of its tokens.
    pub memberships: Vec<(String, GroupId)>,
}

impl Principal {
    /// Whether it is a member of a group.
    #[must_use]
    pub fn is_member(&self, group: GroupId) -> bool {
        self.memberships.iter().any(|(_, id)| *id == group)
    }

    /// The token with this hash.
    #[must_use]
    pub fn held(&self, hash: &TokenHash) -> Option<&HeldToken> {
        self.tokens.iter().find(|held| held.token.hash == *hash)
    }

    /// The token that came with an association.
    #[must_use]
    pub fn of_association(&self, id: &AssociationId) -> Option<&HeldToken> {
        self.tokens.iter().find(|held| held.association == *id)
    }

    /// The place of the first token that gives way to a new one.
    #[must_use]
    pub fn place_of(&self, new: &HeldToken) -> Option<usize> {
        self.tokens.iter().position(|held| held.gives_way_to(new))
    }
}

/// A client in the first two formats: it had one token.
#[derive(Deserialize)]
struct FirstPrincipal {
    issuer: String,
    subject: String,
    token: StoredToken,
    association: AssociationId,
    memberships: Vec<(String, GroupId)>,
}

impl RecordType for Principal {
    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        const SEVERAL: u8 = 3;
        if bytes.first().is_some_and(|format| *format < SEVERAL) {
            let first = record::from_bytes::<FirstPrincipal>(bytes, SEVERAL)?;
            let FirstPrincipal { issuer, subject, token, association, memberships } = first;
            let tokens = vec![HeldToken { token, association, input_id: ByteBuf::default() }];
            return Ok(Self { issuer, subject, tokens, memberships });
        }
        record::from_bytes(bytes, SEVERAL)
    }

    fn encode(&self) -> Vec<u8> {
        record::to_bytes(self, 3)
    }
}

/// A security association that was proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// Who is at the other end.
    pub principal: PrincipalId,
    /// The transport profile, `ace_profile`.
    pub profile: i64,
    /// What the transport profile derives its keys from.
    pub material: Secret,
    /// The name of the input material at the issuer, by which an update of rights names it.
    pub input_id: ByteBuf,
    /// Raised each time another process takes the association over.
    pub term: u64,
    /// Sequence numbers below this one are reserved.
    pub sequence_limit: u64,
    /// N_S of its client; gone where an update of rights found none.
    #[serde(default)]
    pub kdcchallenge: Option<Challenge>,
}

/// A client's registration as an observer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The association under which it is told of changes.
    pub association: AssociationId,
    /// Which of the client's observations it is, in the network side's form.
    pub name: ByteBuf,
    /// The registration, in the same form.
    pub state: ByteBuf,
}

/// A record whose existence is all that it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark;

/// Sequence numbers of an Authorization Server below this one are reserved, for each of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceLimit(pub u64);

/// OSCORE input material that an Authorization Server issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The name of the input material, `id`.
    pub id: ByteBuf,
    /// The client that it was issued to, by the name of its registration.
    pub client: String,
    /// The resource server that it is for.
    pub audience: String,
    /// When the latest token bound to it ends.
    pub expires: UnixTime,
}

crate::plain_record!(
    Expiry,
    RevocationEnd,
    // The second one kept an older program off, which would have lost what later records hold; the third one holds the tag.
    Meta = 3,
    TrustedIssuers,
    BelongsTo<PrincipalId>,
    BelongsTo<GroupId>,
    // The second one names the key that verified the token.
    Association,
    Mark,
    Issued,
    ExpiredSequence,
    Observation,
    SequenceLimit,
);

#[cfg(test)]
mod tests;
