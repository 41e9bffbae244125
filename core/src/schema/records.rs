//! The records of a KDC and of an Authorization Server.

use crate::Secret;
use crate::config::Parameters;
use crate::schema::keys::{GroupId, KeyFingerprint, PrincipalId};
use crate::schema::record::{self, Corrupt, FIRST_FORMAT, RecordType};
use crate::token::Trust;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

/// Why a group has to be rekeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RekeyReason {
    /// A token expired.
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
}

/// A rekeying that has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RekeyDue {
    /// Why.
    pub why: RekeyReason,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// The state of a group that each change of it replaces. It stays small: members have records of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the keying material.
    pub num: u64,
    /// The group identifier under which it is used.
    pub gid: ByteBuf,
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
    /// When the group was deleted, in seconds since 1970: what is stored of it goes, page by page.
    #[serde(default)]
    pub deleted: Option<u64>,
}

impl RecordType for Head {
    /// In the first format incarnation and serial stood in the Gid alone; the third one knows of deleted groups.
    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut head: Self = record::from_bytes(bytes, 3)?;
        if bytes.first() == Some(&FIRST_FORMAT) {
            let (incarnation, rest) = head.gid.split_first_chunk().ok_or(Corrupt)?;
            let (serial, _) = rest.split_first_chunk().ok_or(Corrupt)?;
            (head.incarnation, head.serial) = (u32::from_be_bytes(*incarnation), u32::from_be_bytes(*serial));
        }
        Ok(head)
    }

    fn encode(&self) -> Vec<u8> {
        record::to_bytes(self, 3)
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
    /// It is. Tokens that were issued before this time, in seconds since 1970, do not mean it; 0 where all do: no other group
    /// had the name.
    Live(u64),
    /// It was deleted, at this time in seconds since 1970.
    Deleted(u64),
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
            return BelongsTo::<GroupId>::decode(bytes).map(|BelongsTo(id)| Self { id, state: NameState::Live(0) });
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
}

/// The secrets of one version, in the form of the application profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSecret {
    /// The secrets.
    pub material: Secret,
    /// When they were made, in seconds since 1970.
    pub created: u64,
    /// When they end, in seconds since 1970.
    pub expires: u64,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// NODENAME.
    pub node: String,
    /// The Sender ID; who only monitors has none.
    pub sender_id: Option<ByteBuf>,
    /// The roles, as the profile numbers them.
    pub roles: u64,
    /// The credential; who only monitors has none.
    pub cred: Option<ByteBuf>,
    /// The public key in the credential: it belongs to one principal in a group, in whatever credential.
    pub key: Option<ByteBuf>,
    /// The scope of the latest Join Request, as received.
    pub scope: ByteBuf,
    /// N_C of the latest Join Request, for later proofs of the KDC.
    pub clientchallenge: ByteBuf,
    /// The Gid that was in use at the latest join.
    pub birth_gid: ByteBuf,
    /// Where the member takes requests of the KDC.
    pub control_uri: Option<String>,
    /// How often it has joined again since that moment, in seconds since 1970.
    #[serde(default)]
    pub rejoins: (u32, u64),
}

/// Who holds a Sender ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderId {
    /// The member, while it is one.
    pub holder: Option<PrincipalId>,
    /// The last epoch in which somebody held it: under that Gid it is not given again.
    pub epoch: u64,
}

/// Whose Gid it is, or was: a Gid is never given to another group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GidOwner {
    /// The group.
    pub group: GroupId,
    /// Its name.
    pub gname: String,
}

/// A group that was deleted, and of which something is stored still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// The group.
    pub group: GroupId,
    /// The name that it had.
    pub gname: String,
    /// When it was deleted, in seconds since 1970.
    pub at: u64,
}

/// A client that the operator has put out of a group: it may not join again for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The NODENAME that it had, and would have again.
    pub node: String,
    /// Its issuer, by the name in the configuration.
    pub issuer: String,
    /// Its name at the issuer.
    pub subject: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// When the ban ends: with the token that the client had, in seconds since 1970.
    pub until: u64,
}

/// When a ban ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanEnd {
    /// In seconds since 1970.
    pub at: u64,
    /// The group.
    pub group: GroupId,
    /// The client.
    pub principal: PrincipalId,
}

/// When a token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// In seconds since 1970.
    pub at: u64,
    /// Whose token it is.
    pub principal: PrincipalId,
}

/// What the whole KDC shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Raised by each restore.
    pub incarnation: u32,
    /// How many groups were made; part of every Gid.
    pub groups: u32,
    /// The time at which tokens were ended last, in seconds since 1970: it is never earlier again.
    pub latest: u64,
    /// How often a process has started, modulo 2^16.
    #[serde(default)]
    pub starts: u16,
    /// Tokens that were issued before this time are refused, in seconds since 1970; 0 where none are for that.
    #[serde(default)]
    pub tokens_since: u64,
    /// Drawn by the last restore, so that no other one of the same backup has the same Gids; part of them.
    #[serde(default)]
    pub tag: Option<[u8; 6]>,
    /// When the last restore was, in seconds since 1970: of tokens from before it nobody knows when they came first.
    #[serde(default)]
    pub restored: u64,
}

impl Default for Meta {
    fn default() -> Self {
        Self { incarnation: 1, groups: 0, latest: 0, starts: 0, tokens_since: 0, tag: None, restored: 0 }
    }
}

/// That a token was revoked, or must not begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// When the token ends by itself, in seconds since 1970, and this goes with it; none where nobody knows, or where its
    /// time would begin anew.
    pub until: Option<u64>,
}

/// The form in which it is written since the second format; the first one was a [`Mark`].
#[derive(Serialize, Deserialize)]
struct StoredRevoked {
    until: Option<u64>,
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
    /// In seconds since 1970.
    pub at: u64,
    /// The token's hash.
    pub hash: ByteBuf,
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
    /// Its bytes.
    pub value: ByteBuf,
    /// Where it comes from.
    pub origin: ChallengeOrigin,
}

/// What a token says, once it was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredToken {
    /// Its hash (RFC 9770 section 4).
    pub hash: ByteBuf,
    /// Its scope: each group's name and the encoded Tperm.
    pub scope: Vec<(String, ByteBuf)>,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// Its number among the issuer's tokens whose time begins when they are received (`exi`).
    #[serde(default)]
    pub sequence: Option<u64>,
    /// Which of the issuer's keys verified it; none where that was not recorded.
    #[serde(default)]
    pub issuer_key: Option<KeyFingerprint>,
    /// When it was issued (`iat`), in seconds since 1970; none where it does not say.
    #[serde(default)]
    pub issued: Option<u64>,
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

/// A client of an issuer: its one current token, and where it is a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The issuer, by its name in the configuration.
    pub issuer: String,
    /// Its name at the issuer.
    pub subject: String,
    /// Its current token.
    pub token: StoredToken,
    /// N_S; gone where an update of rights found none.
    pub kdcchallenge: Option<Challenge>,
    /// The association that it uses.
    pub association: ByteBuf,
    /// The groups that it is a member of, by name: bounded by the groups of its token.
    pub memberships: Vec<(String, GroupId)>,
}

/// A security association that was proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// Who is at the other end.
    pub principal: PrincipalId,
    /// The transport profile.
    pub profile: i64,
    /// What the transport profile derives its keys from.
    pub material: Secret,
    /// The name of the input material at the issuer, by which an update of rights names it.
    pub input_id: ByteBuf,
    /// Raised each time another process takes the association over.
    pub term: u64,
    /// Sequence numbers below this one are reserved.
    pub sequence_limit: u64,
}

/// A client's registration as an observer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The association under which it is told of changes.
    pub association: ByteBuf,
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
    /// Its name.
    pub id: ByteBuf,
    /// The client.
    pub client: String,
    /// The audience.
    pub audience: String,
    /// When the latest token bound to it ends, in seconds since 1970.
    pub expires: u64,
}

crate::plain_record!(
    GidOwner,
    Expiry,
    RevocationEnd,
    Deletion,
    Ban,
    BanEnd,
    // The second one kept an older program off, which would have lost what later records hold; the third one holds the tag.
    Meta = 3,
    // The second one holds the issuers.
    GroupConfiguration = 2,
    GroupSecret,
    TrustedIssuers,
    Member,
    SenderId,
    BelongsTo<PrincipalId>,
    BelongsTo<GroupId>,
    // The second one names the key that verified the token.
    Principal = 2,
    Association,
    Mark,
    Issued,
    ExpiredSequence,
    Observation,
    SequenceLimit,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_others_are_refused() {
        let head = Head {
            num: 3,
            gid: ByteBuf::from([1, 2]),
            epoch: 1,
            cursor: 9,
            members: 2,
            active: true,
            rekey_due: Some(RekeyDue { why: RekeyReason::Expired, since: 5 }),
            incarnation: 1,
            serial: 7,
            deleted: None,
        };
        let bytes = head.encode();
        assert_eq!(bytes.first(), Some(&3), "the format stands in front");
        assert_eq!(Head::decode(&bytes).as_ref(), Ok(&head));
        assert!(bytes.len() < 1_024);
        assert_eq!(Member::decode(&bytes), Err(Corrupt));
        assert_eq!(Head::decode(&bytes[..bytes.len() - 1]), Err(Corrupt));
        assert_eq!(Head::decode(&[]), Err(Corrupt));
        let mut later = bytes;
        later[0] = 4;
        assert_eq!(Head::decode(&later), Err(Corrupt));
        later[0] = 1;
        assert_eq!(Head::decode(&later), Err(Corrupt), "a Gid of the first format has 12 bytes");
        let old = Head { gid: ByteBuf::from([0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 0]), ..head };
        let mut bytes = old.encode();
        bytes[0] = 1;
        assert_eq!(Head::decode(&bytes), Ok(Head { incarnation: 9, serial: 4, ..old }));
        let id = GroupId::new([7; 16]);
        assert_eq!(NamedGroup::decode(&BelongsTo(id).encode()), Ok(NamedGroup { id, state: NameState::Live(0) }));
        for (state, live) in [(NameState::Live(5), Some(id)), (NameState::Deleted(5), None)] {
            let name = NamedGroup { id, state };
            assert_eq!((NamedGroup::decode(&name.encode()), name.live()), (Ok(name), live));
            assert_eq!(BelongsTo::<GroupId>::decode(&name.encode()), Err(Corrupt), "an older program does not take it");
        }
        let secret = GroupSecret { material: Secret::new(vec![7; 16]), created: 1, expires: 2 };
        assert_eq!(GroupSecret::decode(&secret.encode()).as_ref(), Ok(&secret));
        assert!(!format!("{secret:?}").contains("7, 7"));
        assert_eq!(Mark::decode(&Mark.encode()), Ok(Mark));
    }

    #[test]
    fn a_record_of_the_first_format_is_read_and_one_of_a_later_one_is_refused() {
        assert_eq!(Revoked::decode(&Mark.encode()), Ok(Revoked { until: None }));
        for until in [None, Some(7)] {
            let bytes = Revoked { until }.encode();
            assert_eq!((bytes.first(), Revoked::decode(&bytes)), (Some(&2), Ok(Revoked { until })));
            assert_eq!(Mark::decode(&bytes), Err(Corrupt), "an older program does not take it for its own");
        }
        let mut meta = Meta { starts: 3, ..Meta::default() }.encode();
        assert_eq!(meta.first(), Some(&3));
        for format in 0..5 {
            meta[0] = format;
            let read = Meta::decode(&meta).map(|meta| meta.starts);
            assert_eq!(read, if (1..=3).contains(&format) { Ok(3) } else { Err(Corrupt) }, "{format}");
        }
    }
}
