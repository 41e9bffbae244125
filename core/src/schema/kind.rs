//! What kind of record a key is of: the way back from [`keys`](super::keys), for those who look at all records.

use super::keys::{GroupId, PrincipalId};
use crate::time::UnixTime;
use crate::traits::profile::OnRestore;
use crate::traits::storage::Key;

/// The kind of a record, with what its key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    Name(&'a [u8]),
    Head(GroupId),
    Config(GroupId),
    Secret(GroupId, u64),
    Member(GroupId, PrincipalId),
    SenderId(GroupId, &'a [u8]),
    Credential(GroupId),
    Stale(GroupId),
    Control(GroupId, PrincipalId),
    RekeyProgress(GroupId),
    /// A record of a profile's own, and what a restore does with it.
    Own(GroupId, OnRestore),
    OwnGuard(GroupId),
    Gid(&'a [u8]),
    Principal(PrincipalId),
    Token(&'a [u8]),
    Expiry(UnixTime),
    Revoked(&'a [u8]),
    RevocationEnd(UnixTime, &'a [u8]),
    ExpiredSequence,
    Association(&'a [u8]),
    Observation,
    /// A group that was deleted.
    Deletion(GroupId),
    Ban(GroupId, PrincipalId),
    BanEnd(UnixTime, GroupId, PrincipalId),
    Leaving(GroupId, PrincipalId),
    Provoked(GroupId, PrincipalId),
    ProvokedEnd(UnixTime, GroupId, PrincipalId),
    Turn,
    Meta,
    Issuers,
    Probe,
    Ring,
    Restoring,
    SequenceLimit,
    Issued(&'a [u8]),
}

const fn time(bytes: [u8; 8]) -> UnixTime {
    UnixTime::new(u64::from_be_bytes(bytes))
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn group_and_principal(bytes: &[u8]) -> Option<(GroupId, PrincipalId)> {
    let (group, rest) = bytes.split_first_chunk::<16>()?;
    Some((GroupId::new(*group), principal(rest.strip_prefix(b"/")?)?))
}

/// When something ends, of a client in a group.
fn end_of(bytes: &[u8]) -> Option<(UnixTime, GroupId, PrincipalId)> {
    let (at, rest) = bytes.split_first_chunk::<8>()?;
    let (group, client) = group_and_principal(rest.strip_prefix(b"/")?)?;
    Some((time(*at), group, client))
}

fn principal(bytes: &[u8]) -> Option<PrincipalId> {
    bytes.try_into().ok().map(PrincipalId::new)
}

/// What a restore does, of three bytes that name a kind of a profile's own; `None` where they are others.
const fn on_restore(kind: &[u8]) -> Option<OnRestore> {
    match kind {
        [b'd', _, _] => Some(OnRestore::Drop),
        [b'k', _, _] => Some(OnRestore::Keep),
        [b'r', _, _] => Some(OnRestore::Renew),
        _ => None,
    }
}

fn of_group(bytes: &[u8]) -> Option<Kind<'_>> {
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    let (id, rest) = (GroupId::new(*id), rest.strip_prefix(b"/")?);
    let at = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let (kind, rest) = rest.split_at_checked(at)?;
    let rest = rest.strip_prefix(b"/").unwrap_or_default();
    match kind {
        b"head" if rest.is_empty() => Some(Kind::Head(id)),
        b"config" if rest.is_empty() => Some(Kind::Config(id)),
        b"secret" => number(rest).map(|num| Kind::Secret(id, num)),
        b"m" => principal(rest).map(|principal| Kind::Member(id, principal)),
        b"sid" => Some(Kind::SenderId(id, rest)),
        b"cred" => Some(Kind::Credential(id)),
        b"stale" => Some(Kind::Stale(id)),
        b"ctl" => principal(rest).map(|principal| Kind::Control(id, principal)),
        b"rk" if rest.is_empty() => Some(Kind::RekeyProgress(id)),
        b"x" => {
            let (kind, rest) = rest.split_at_checked(3)?;
            rest.strip_prefix(b"/")?;
            on_restore(kind).map(|on_restore| Kind::Own(id, on_restore))
        }
        b"xg" => on_restore(rest).map(|_| Kind::OwnGuard(id)),
        _ => None,
    }
}

impl<'a> Kind<'a> {
    /// The kind of the record with this key; `None` where there is no such kind.
    pub(crate) fn of(key: &'a Key) -> Option<Self> {
        let bytes = key.as_bytes();
        match bytes {
            b"meta" => return Some(Self::Meta),
            b"issuers" => return Some(Self::Issuers),
            b"probe" => return Some(Self::Probe),
            b"ring" => return Some(Self::Ring),
            b"restoring" => return Some(Self::Restoring),
            b"sequence" => return Some(Self::SequenceLimit),
            _ => (),
        }
        let at = bytes.iter().position(|byte| *byte == b'/')?;
        let (kind, rest) = bytes.split_at_checked(at.saturating_add(1))?;
        match kind {
            b"n/" => Some(Self::Name(rest)),
            b"g/" => of_group(rest),
            b"gid/" => Some(Self::Gid(rest)),
            b"p/" => principal(rest).map(Self::Principal),
            b"t/" => Some(Self::Token(rest)),
            b"x/" => {
                let (at, rest) = rest.split_first_chunk::<8>()?;
                rest.strip_prefix(b"/")?;
                Some(Self::Expiry(time(*at)))
            }
            b"rv/" => Some(Self::Revoked(rest)),
            b"rx/" => {
                let (at, rest) = rest.split_first_chunk::<8>()?;
                Some(Self::RevocationEnd(time(*at), rest.strip_prefix(b"/")?))
            }
            b"exi/" => Some(Self::ExpiredSequence),
            b"a/" => Some(Self::Association(rest)),
            b"o/" => Some(Self::Observation),
            b"d/" => rest.try_into().ok().map(|id| Self::Deletion(GroupId::new(id))),
            b"ban/" => {
                let (group, client) = group_and_principal(rest)?;
                Some(Self::Ban(group, client))
            }
            b"lv/" => {
                let (group, client) = group_and_principal(rest)?;
                Some(Self::Leaving(group, client))
            }
            b"pv/" => {
                let (group, client) = group_and_principal(rest)?;
                Some(Self::Provoked(group, client))
            }
            b"bx/" => {
                let (at, group, client) = end_of(rest)?;
                Some(Self::BanEnd(at, group, client))
            }
            b"px/" => {
                let (at, group, client) = end_of(rest)?;
                Some(Self::ProvokedEnd(at, group, client))
            }
            b"turn/" => Some(Self::Turn),
            b"ai/" => Some(Self::Issued(rest)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;
    use crate::traits::crypto::Thumbprint;
    use crate::traits::profile::RecordKind;

    #[test]
    fn each_key_is_of_its_kind() {
        // The bytes of identifiers are anything, a slash among them.
        let (group, client) = (GroupId::new(*b"0/head/x/m/sid/f"), PrincipalId::new(*b"/m/head/////////"));
        // A slash in the number of a kind, too.
        let own = |on_restore| RecordKind { number: 0x2f2f, on_restore };
        for (key, kind) in [
            (keys::name("a/b"), Kind::Name(b"a/b")),
            (keys::head(group), Kind::Head(group)),
            (keys::config(group), Kind::Config(group)),
            (keys::secret(group, 0x2f2f), Kind::Secret(group, 0x2f2f)),
            (keys::member(group, client), Kind::Member(group, client)),
            (keys::sender_id(group, &b"/".into()), Kind::SenderId(group, b"/")),
            (keys::credential(group, &Thumbprint::new([7; 32])), Kind::Credential(group)),
            (keys::stale(group, 1, &b"/".into()), Kind::Stale(group)),
            (keys::own_record(group, own(OnRestore::Drop), b"/"), Kind::Own(group, OnRestore::Drop)),
            (keys::own_record(group, own(OnRestore::Keep), b""), Kind::Own(group, OnRestore::Keep)),
            (keys::own_record(group, own(OnRestore::Renew), b"x"), Kind::Own(group, OnRestore::Renew)),
            (keys::own_guard(group, own(OnRestore::Renew)), Kind::OwnGuard(group)),
            (keys::gid(&b"/".into()), Kind::Gid(b"/")),
            (keys::principal(client), Kind::Principal(client)),
            (keys::token(&b"t/".into()), Kind::Token(b"t/")),
            (keys::expiry(UnixTime::new(0x2f00), &b"/h".into()), Kind::Expiry(UnixTime::new(0x2f00))),
            (keys::expiry_of_client(UnixTime::new(0x2f00), client), Kind::Expiry(UnixTime::new(0x2f00))),
            (keys::revoked(&b"x".into()), Kind::Revoked(b"x")),
            (keys::revocation_end(UnixTime::new(0x2f), &b"/x".into()), Kind::RevocationEnd(UnixTime::new(0x2f), b"/x")),
            (keys::expired_sequence("as/1"), Kind::ExpiredSequence),
            (keys::association(&b"a/".into()), Kind::Association(b"a/")),
            (keys::observation(&b"a/".into(), b"x"), Kind::Observation),
            (keys::deletion(group), Kind::Deletion(group)),
            (keys::ban(group, client), Kind::Ban(group, client)),
            (keys::ban_end(UnixTime::new(0x2f), group, client), Kind::BanEnd(UnixTime::new(0x2f), group, client)),
            (keys::leaving(group, client), Kind::Leaving(group, client)),
            (keys::provoked(group, client), Kind::Provoked(group, client)),
            (keys::control(group, client), Kind::Control(group, client)),
            (keys::rekey_progress(group), Kind::RekeyProgress(group)),
            (
                keys::provoked_end(UnixTime::new(0x2f), group, client),
                Kind::ProvokedEnd(UnixTime::new(0x2f), group, client),
            ),
            (keys::turn("g/x"), Kind::Turn),
            (keys::meta(), Kind::Meta),
            (keys::issuers(), Kind::Issuers),
            (keys::probe(), Kind::Probe),
            (keys::ring(), Kind::Ring),
            (keys::restoring(), Kind::Restoring),
            (keys::sequence_limit(), Kind::SequenceLimit),
            (keys::issued(b"1"), Kind::Issued(b"1")),
        ] {
            assert_eq!(Kind::of(&key), Some(kind), "{key:?}");
        }
        for strange in [
            "",
            "/",
            "metal",
            "y/",
            "g/0123456789abcdef/config/x",
            "g/short/head",
            "p/short",
            "d/short",
            "ban/0123456789abcdef_0123456789abcdef",
            "bx/01234567/0123456789abcdef/short",
            "x/short",
            "x/01234567_0123456789abcdef",
        ] {
            assert_eq!(Kind::of(&Key::new(strange)), None, "{strange}");
        }
        let mut long = keys::head(group).as_bytes().to_vec();
        long.extend(b"/more");
        assert_eq!(Kind::of(&Key::new(long)), None);
    }
}
