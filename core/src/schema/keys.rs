//! The keys of all records. Text in front tells the kind; identifiers follow as bytes of fixed length or
//! length-prefixed, so that no name can reach into another's keys.

use crate::Secret;
use crate::id::AssociationId;
use crate::id::Gid;
use crate::id::SenderId;
use crate::id::TokenHash;
use crate::time::UnixTime;
use crate::traits::crypto::Thumbprint;
use crate::traits::profile::{OnRestore, RecordKind};
use crate::traits::storage::Key;
use sha2::{Digest, Sha256};
use std::fmt;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub struct $name(#[serde(with = "serde_bytes")] [u8; 16]);

        impl $name {
            /// The identifier with these bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Returns its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
    };
}

identifier! {
    /// One group, from its creation to its deletion. A group of the same name made later is another group.
    GroupId
}

identifier! {
    /// One client of one issuer, whatever tokens and associations it has.
    PrincipalId
}

impl PrincipalId {
    /// The principal that an issuer names so.
    #[must_use]
    pub fn of(issuer: &str, subject: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(u64::try_from(issuer.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(issuer);
        hash.update(subject);
        Self(first_16(&hash.finalize()))
    }
}

identifier! {
    /// Names a key, and tells nothing of it.
    KeyFingerprint
}

impl KeyFingerprint {
    /// That of a key for this algorithm, by its COSE number.
    #[must_use]
    pub fn of(algorithm: i64, key: &Secret) -> Self {
        let hash = Sha256::new().chain_update("ace-groupcomm key").chain_update(algorithm.to_be_bytes());
        Self(first_16(&hash.chain_update(key.expose()).finalize()))
    }
}

/// The first half of a hash.
fn first_16(hash: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    out
}

fn key(parts: &[&[u8]]) -> Key {
    Key::new(parts.concat())
}

/// The group of a name.
#[must_use]
pub fn name(gname: &str) -> Key {
    key(&[b"n/", gname.as_bytes()])
}

/// The state of a group that each change of it replaces.
#[must_use]
pub fn head(group: GroupId) -> Key {
    key(&[b"g/", group.as_bytes(), b"/head"])
}

/// The configuration of a group.
#[must_use]
pub fn config(group: GroupId) -> Key {
    key(&[b"g/", group.as_bytes(), b"/config"])
}

/// The secrets of one version of a group's keying material.
#[must_use]
pub fn secret(group: GroupId, num: u64) -> Key {
    key(&[b"g/", group.as_bytes(), b"/secret/", &num.to_be_bytes()])
}

/// All members of a group.
#[must_use]
pub fn members(group: GroupId) -> Key {
    key(&[b"g/", group.as_bytes(), b"/m/"])
}

/// One member of a group.
#[must_use]
pub fn member(group: GroupId, principal: PrincipalId) -> Key {
    key(&[b"g/", group.as_bytes(), b"/m/", principal.as_bytes()])
}

/// Who holds a Sender ID, and under which Gid it was held last.
#[must_use]
pub fn sender_id(group: GroupId, id: &SenderId) -> Key {
    key(&[b"g/", group.as_bytes(), b"/sid/", id.as_bytes()])
}

/// Whose public key it is, in whatever credential.
#[must_use]
pub fn credential(group: GroupId, thumbprint: &Thumbprint) -> Key {
    key(&[b"g/", group.as_bytes(), b"/cred/", &first_16(thumbprint.as_bytes())])
}

/// A Sender ID that went stale under one version.
#[must_use]
pub fn stale(group: GroupId, num: u64, id: &SenderId) -> Key {
    key(&[b"g/", group.as_bytes(), b"/stale/", &num.to_be_bytes(), b"/", id.as_bytes()])
}

/// All Sender IDs that went stale under one version.
#[must_use]
pub fn stale_under(group: GroupId, num: u64) -> Key {
    key(&[b"g/", group.as_bytes(), b"/stale/", &num.to_be_bytes(), b"/"])
}

/// All members of a group that take requests.
#[must_use]
pub fn controls(group: GroupId) -> Key {
    key(&[b"g/", group.as_bytes(), b"/ctl/"])
}

/// Where a member takes requests.
#[must_use]
pub fn control(group: GroupId, principal: PrincipalId) -> Key {
    key(&[b"g/", group.as_bytes(), b"/ctl/", principal.as_bytes()])
}

/// How far the members of a group were told of its version.
#[must_use]
pub fn rekey_progress(group: GroupId) -> Key {
    key(&[b"g/", group.as_bytes(), b"/rk"])
}

/// How often a member has done what costs others.
#[must_use]
pub fn provoked(group: GroupId, principal: PrincipalId) -> Key {
    key(&[b"pv/", group.as_bytes(), b"/", principal.as_bytes()])
}

/// All ends of hours in which that is counted, in their order.
#[must_use]
pub fn provoked_ends() -> Key {
    key(&[b"px/"])
}

/// When such an hour ends.
#[must_use]
pub fn provoked_end(at: UnixTime, group: GroupId, principal: PrincipalId) -> Key {
    key(&[b"px/", &at.seconds().to_be_bytes(), b"/", group.as_bytes(), b"/", principal.as_bytes()])
}

/// Claimed by a batch that lost several times, and expected by every batch (see the engine's documentation).
#[must_use]
pub fn turn(lane: &str) -> Key {
    key(&[b"turn/", lane.as_bytes()])
}

/// What a kind of a profile's records has in the keys of them: what a restore does, and the number.
fn own_kind(kind: RecordKind) -> [u8; 3] {
    let on_restore = match kind.on_restore {
        OnRestore::Drop => b'd',
        OnRestore::Keep => b'k',
        OnRestore::Renew => b'r',
    };
    let [high, low] = kind.number.to_be_bytes();
    [on_restore, high, low]
}

/// All records of a kind of a profile's own, of a group.
#[must_use]
pub fn own_records(group: GroupId, kind: RecordKind) -> Key {
    key(&[b"g/", group.as_bytes(), b"/x/", &own_kind(kind), b"/"])
}

/// A record of a profile's own.
#[must_use]
pub fn own_record(group: GroupId, kind: RecordKind, id: &[u8]) -> Key {
    key(&[b"g/", group.as_bytes(), b"/x/", &own_kind(kind), b"/", id])
}

/// Written with every change of a record of that kind.
#[must_use]
pub fn own_guard(group: GroupId, kind: RecordKind) -> Key {
    key(&[b"g/", group.as_bytes(), b"/xg/", &own_kind(kind)])
}

/// The group that has, or had, a Gid.
#[must_use]
pub fn gid(gid: &Gid) -> Key {
    key(&[b"gid/", gid.as_bytes()])
}

/// The prefix of all principals.
#[must_use]
pub fn principals() -> Key {
    key(&[b"p/"])
}

/// A principal: its current token and its memberships.
#[must_use]
pub fn principal(principal: PrincipalId) -> Key {
    key(&[b"p/", principal.as_bytes()])
}

/// All groups that were deleted and of which something is stored still.
#[must_use]
pub fn deletions() -> Key {
    key(&[b"d/"])
}

/// A group that was deleted and of which something is stored still.
#[must_use]
pub fn deletion(group: GroupId) -> Key {
    key(&[b"d/", group.as_bytes()])
}

/// All that is stored of a group.
#[must_use]
pub fn of_group(group: GroupId) -> Key {
    key(&[b"g/", group.as_bytes(), b"/"])
}

/// All GROUPNAMEs that were ever given.
#[must_use]
pub fn names() -> Key {
    key(&[b"n/"])
}

/// All clients that may not join a group.
#[must_use]
pub fn bans(group: GroupId) -> Key {
    key(&[b"ban/", group.as_bytes(), b"/"])
}

/// A client that may not join a group.
#[must_use]
pub fn ban(group: GroupId, principal: PrincipalId) -> Key {
    key(&[b"ban/", group.as_bytes(), b"/", principal.as_bytes()])
}

/// All bans in the order in which they end.
#[must_use]
pub fn ban_ends() -> Key {
    key(&[b"bx/"])
}

/// When a ban ends.
#[must_use]
pub fn ban_end(at: UnixTime, group: GroupId, principal: PrincipalId) -> Key {
    key(&[b"bx/", &at.seconds().to_be_bytes(), b"/", group.as_bytes(), b"/", principal.as_bytes()])
}

/// All memberships that have ended with their tokens, and of which their groups are not rid yet.
#[must_use]
pub fn all_leaving() -> Key {
    key(&[b"lv/"])
}

/// Those of one group.
#[must_use]
pub fn leaving_of(group: GroupId) -> Key {
    key(&[b"lv/", group.as_bytes(), b"/"])
}

/// One of them.
#[must_use]
pub fn leaving(group: GroupId, principal: PrincipalId) -> Key {
    key(&[b"lv/", group.as_bytes(), b"/", principal.as_bytes()])
}

/// Whose token has this hash.
#[must_use]
pub fn token(hash: &TokenHash) -> Key {
    key(&[b"t/", hash.as_bytes()])
}

/// All tokens in the order in which they expire.
#[must_use]
pub fn expiries() -> Key {
    key(&[b"x/"])
}

/// When a token expires.
#[must_use]
pub fn expiry(at: UnixTime, hash: &TokenHash) -> Key {
    key(&[b"x/", &at.seconds().to_be_bytes(), b"/", hash.as_bytes()])
}

/// When the one token of a client expires: as it was noted when a client had no more than one.
#[must_use]
pub fn expiry_of_client(at: UnixTime, principal: PrincipalId) -> Key {
    key(&[b"x/", &at.seconds().to_be_bytes(), b"/", principal.as_bytes()])
}

/// A token that was revoked.
#[must_use]
pub fn revoked(hash: &TokenHash) -> Key {
    key(&[b"rv/", hash.as_bytes()])
}

/// All records of revoked tokens that go, in the order in which they do.
#[must_use]
pub fn revocation_ends() -> Key {
    key(&[b"rx/"])
}

/// When the record of a revoked token goes.
#[must_use]
pub fn revocation_end(at: UnixTime, hash: &TokenHash) -> Key {
    key(&[b"rx/", &at.seconds().to_be_bytes(), b"/", hash.as_bytes()])
}

/// The highest number of an expired token with `exi`, of this issuer.
#[must_use]
pub fn expired_sequence(issuer: &str) -> Key {
    key(&[b"exi/", issuer.as_bytes()])
}

/// A security association, by the name under which the peer is known.
#[must_use]
pub fn association(id: &AssociationId) -> Key {
    key(&[b"a/", id.as_bytes()])
}

/// The prefix of all observations.
#[must_use]
pub fn observations() -> Key {
    key(&[b"o/"])
}

/// An observation of the client with this association, by its name there.
#[must_use]
pub fn observation(association: &AssociationId, name: &[u8]) -> Key {
    key(&[b"o/", &first_16(&Sha256::digest(name)), b"/", association.as_bytes()])
}

/// Format, incarnation, highest time seen.
#[must_use]
pub fn meta() -> Key {
    key(&[b"meta"])
}

/// The issuers that are trusted.
#[must_use]
pub fn issuers() -> Key {
    key(&[b"issuers"])
}

/// A record that is written to find out whether storage works.
#[must_use]
pub fn probe() -> Key {
    key(&[b"probe"])
}

/// The number of the storage key that all processes seal with, where values are sealed.
#[must_use]
pub fn ring() -> Key {
    key(&[b"ring"])
}

/// There while a restore is under way: what is stored is not whole then.
#[must_use]
pub fn restoring() -> Key {
    key(&[b"restoring"])
}

/// The sequence numbers that an Authorization Server has reserved.
#[must_use]
pub fn sequence_limit() -> Key {
    key(&[b"sequence"])
}

/// All OSCORE input material that an Authorization Server issued.
#[must_use]
pub fn all_issued() -> Key {
    key(&[b"ai/"])
}

/// OSCORE input material that an Authorization Server issued.
#[must_use]
pub fn issued(id: &[u8]) -> Key {
    key(&[b"ai/", id])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: RecordKind = RecordKind { number: 1, on_restore: OnRestore::Keep };

    #[test]
    fn no_two_records_share_a_key() {
        let (group, other) = (GroupId::new([1; 16]), GroupId::new([2; 16]));
        let someone = PrincipalId::of("as", "lamp");
        let keys = [
            name("g"),
            name("g/head"),
            expired_sequence("as"),
            head(group),
            head(other),
            config(group),
            secret(group, 1),
            secret(group, 256),
            member(group, someone),
            member(other, someone),
            sender_id(group, &vec![].into()),
            sender_id(group, &vec![0].into()),
            sender_id(group, &vec![0, 0].into()),
            credential(group, &Thumbprint::new([7; 32])),
            stale(group, 1, &vec![1].into()),
            own_record(group, KEPT, &[1]),
            own_record(group, RecordKind { number: 0x2f, ..KEPT }, &[1]),
            own_record(group, RecordKind { on_restore: OnRestore::Drop, ..KEPT }, &[1]),
            own_guard(group, KEPT),
            gid(&vec![1].into()),
            principal(someone),
            token(&vec![1].into()),
            expiry(UnixTime::new(1), &b"h".into()),
            revoked(&vec![1].into()),
            association(&b"\x01".into()),
            meta(),
            issuers(),
            turn("g"),
            issued(&[1]),
            deletion(group),
            ban(group, someone),
            ban(other, someone),
            ban_end(UnixTime::new(1), group, someone),
            provoked(group, someone),
            control(group, someone),
            rekey_progress(group),
            provoked_end(UnixTime::new(1), group, someone),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{key:?}");
        }
        assert!(own_record(group, KEPT, b"/").starts_with(&own_records(group, KEPT)));
        assert!(ban(group, someone).starts_with(&bans(group)) && head(group).starts_with(&of_group(group)));
        assert!(member(group, someone).starts_with(&members(group)));
        assert!(stale(group, 1, &vec![].into()).starts_with(&stale_under(group, 1)));
        assert!(!member(other, someone).starts_with(&members(group)));
        assert!(expiry(UnixTime::new(255), &b"b".into()) < expiry(UnixTime::new(256), &b"a".into()));
    }

    #[test]
    fn issuer_and_subject_cannot_be_confused() {
        assert_ne!(PrincipalId::of("as", "1x"), PrincipalId::of("as1", "x"));
        assert_eq!(PrincipalId::of("as", "x"), PrincipalId::of("as", "x"));
        assert_eq!(format!("{:?}", GroupId::new([0xab; 16])), "ab".repeat(16));
    }
}
