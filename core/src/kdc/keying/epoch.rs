//! The one place where a version of a group's keying material begins: num, Gid and secret, in one commit. Creation, rekeying
//! and restore call it.
//!
//! # Gids
//!
//! A Gid travels in every message of the group, so it is short: 3 bytes for the first 250 groups and 65,000 epochs of a KDC
//! that was never restored. What stands in it: the incarnation, which group it is of all that were made, and how many Gids
//! the group had before. Each part says how long it is, so that no Gid is equal to another one, or the beginning of it.
//!
//! | bytes | what |
//! | --- | --- |
//! | `fd` and 6 random bytes | the incarnation; nothing in the first one, before any restore |
//! | one byte up to 250; `fb` and 2 bytes; or `fc` and 4 bytes | the group |
//! | 2 bytes below 65,000; or `ffff` and 4 bytes | the epoch |
//!
//! Two restores of one backup know nothing of each other, and may happen in the same second: the random bytes alone tell
//! their Gids apart. Gids of the first release have 12 bytes and begin with the number of the incarnation, 1 or a time;
//! `fd` would be a time in the year 2104.
//!
//! As no Gid comes twice, no member has to be evicted because a Gid is that of its join again (Group OSCORE profile section
//! 3.2.1.2 has it for Gids that do).

use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::Gid;
use crate::kdc::{Group, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, GroupId};
use crate::schema::records::{GidOwner, GroupSecret, Head, Meta};
use crate::time::UnixTime;

/// The incarnation of a KDC that was never restored.
const FIRST_INCARNATION: u32 = 1;

/// In front of an incarnation.
const INCARNATION: u8 = 0xfd;
/// In front of a group's number of 2 bytes, and of 4.
const GROUP_16: u8 = 0xfb;
const GROUP_32: u8 = 0xfc;
/// Group numbers up to this one, from 1 on, have one byte.
const SHORT_GROUPS: u32 = 250;
/// Epochs below this one have two bytes.
const SHORT_EPOCHS: u32 = 65_000;
const LONG_EPOCH: [u8; 2] = [0xff, 0xff];

/// A Gid; see the module's documentation.
fn gid(tag: Option<[u8; 6]>, serial: u32, epoch: u32) -> Vec<u8> {
    let mut gid = Vec::with_capacity(10);
    if let Some(tag) = tag {
        gid.push(INCARNATION);
        gid.extend(tag);
    }
    match (u8::try_from(serial), u16::try_from(serial)) {
        (Ok(short), _) if serial <= SHORT_GROUPS => gid.push(short),
        (_, Ok(short)) => {
            gid.push(GROUP_16);
            gid.extend(short.to_be_bytes());
        }
        _ => {
            gid.push(GROUP_32);
            gid.extend(serial.to_be_bytes());
        }
    }
    match u16::try_from(epoch) {
        Ok(short) if epoch < SHORT_EPOCHS => gid.extend(short.to_be_bytes()),
        _ => {
            gid.extend(LONG_EPOCH);
            gid.extend(epoch.to_be_bytes());
        }
    }
    gid
}

/// Whether a group is of a former incarnation: its keying material is not served any more.
pub(in crate::kdc) const fn is_former(head: &Head, meta: &Meta) -> bool {
    head.incarnation != meta.incarnation
}

/// What the KDC shares, with what tells its incarnation from all others.
fn tagged(view: &View<'_>, mut meta: Meta) -> Meta {
    if meta.incarnation != FIRST_INCARNATION && meta.tag.is_none() {
        // It was restored by the first release, as others may have been from the same backup.
        meta.tag = Some(view.random_bytes("incarnation"));
    }
    meta
}

/// A version that begins: when its keying material was made, and when that ends.
pub(in crate::kdc) struct Begun {
    pub(in crate::kdc) group: GroupId,
    pub(in crate::kdc) changes: Changes,
    pub(in crate::kdc) num: u64,
    pub(in crate::kdc) created: UnixTime,
    pub(in crate::kdc) expires: UnixTime,
    pub(in crate::kdc) gid: Gid,
}

impl KdcApp {
    /// The first version of a new group.
    pub(in crate::kdc) fn first_epoch(
        &self,
        view: &View<'_>,
        group: &Group,
        id: GroupId,
        meta: Meta,
    ) -> Result<Begun, Stop> {
        let mut meta = tagged(view, meta);
        let serial = meta.groups.checked_add(1).ok_or(Refusal::Internal("no more groups can be made"))?;
        meta.groups = serial;
        let head = Head {
            num: 0,
            gid: Gid::from(&[]),
            epoch: 0,
            cursor: 0,
            members: 0,
            active: true,
            rekey_due: None,
            incarnation: meta.incarnation,
            serial,
            deleted: None,
            held: 0,
            taken: 0,
        };
        let mut begun = self.begin(view, group, id, head, meta)?;
        begun.changes.put(keys::meta(), meta);
        Ok(begun)
    }

    /// The next version of a group, so many numbers after the one of its head. Whoever is a member stays one, with its Sender
    /// ID. The secret of the version before goes: whoever has not got the new one is given that, and nothing else.
    pub(in crate::kdc) fn next_epoch(
        &self,
        view: &View<'_>,
        group: &Group,
        id: GroupId,
        head: &Head,
        step: u64,
        meta: Meta,
    ) -> Result<Begun, Stop> {
        let used_up = || Refusal::Internal("versions are used up");
        let next = Head {
            num: head.num.checked_add(step).ok_or_else(used_up)?,
            epoch: head.epoch.checked_add(1).ok_or_else(used_up)?,
            rekey_due: None,
            incarnation: meta.incarnation,
            // What was given up is free again.
            taken: head.held,
            ..head.clone()
        };
        let tagged = tagged(view, meta);
        let mut begun = self.begin(view, group, id, next, tagged)?;
        if tagged != meta {
            begun.changes.put(keys::meta(), tagged);
        }
        begun.changes.delete(keys::secret(id, head.num));
        begun.changes.delete(keys::gid(&head.gid));
        Ok(begun)
    }

    fn begin(&self, view: &View<'_>, group: &Group, id: GroupId, mut head: Head, meta: Meta) -> Result<Begun, Stop> {
        let mut changes = Changes::new();
        let epoch = u32::try_from(head.epoch).map_err(|_| Refusal::Internal("Gids are used up"))?;
        head.gid = Gid::from(gid(meta.tag, head.serial, epoch));
        let created = view.arrived().unix;
        let material = group.rules.material().fresh(&|label| view.random_of_profile(label));
        let expires = created.plus(group.rules.lifetime());
        changes.put(keys::gid(&head.gid), GidOwner { group: id, gname: group.gname.clone() });
        changes.put(keys::secret(id, head.num), GroupSecret { material, created, expires, joined: Vec::new() });
        changes.put(keys::config(id), group.configuration());
        let (num, gid) = (head.num, head.gid.clone());
        changes.put(keys::head(id), head);
        Ok(Begun { group: id, changes, num, created, expires, gid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gids_are_as_short_as_they_can_be() {
        let length = |tag, serial, epoch| gid(tag, serial, epoch).len();
        assert_eq!(gid(None, 1, 0), [1, 0, 0]);
        assert_eq!(gid(None, 250, 64_999), [250, 0xfd, 0xe7]);
        assert_eq!(gid(None, 251, 65_000), [0xfb, 0, 251, 0xff, 0xff, 0, 0, 0xfd, 0xe8]);
        assert_eq!(gid(Some([9; 6]), 250, 1), [0xfd, 9, 9, 9, 9, 9, 9, 250, 0, 1]);
        assert_eq!((length(None, 65_535, 0), length(None, 65_536, 0)), (5, 7));
        assert_eq!((length(Some([0; 6]), 250, 64_999), length(None, u32::MAX, u32::MAX)), (10, 11));
    }

    proptest! {
        #[test]
        fn no_gid_is_equal_to_another_or_begins_it(
            one in (any::<Option<[u8; 6]>>(), any::<u32>(), any::<u32>()),
            other in (any::<Option<[u8; 6]>>(), any::<u32>(), any::<u32>()),
            near in 0_u8..8,
        ) {
            // Differs in one part at most, often.
            let pick = |bit: u8| near & bit == 0;
            let other = (
                if pick(1) { one.0 } else { other.0 },
                if pick(2) { one.1 } else { other.1 % 70_000 },
                if pick(4) { one.2 } else { other.2 % 70_000 },
            );
            let (a, b) = (gid(one.0, one.1, one.2), gid(other.0, other.1, other.2));
            prop_assert_eq!(a.starts_with(&b), one == other);
            prop_assert_eq!(b.starts_with(&a), one == other);
        }

        #[test]
        fn no_gid_is_one_of_the_first_release(
            tag in any::<Option<[u8; 6]>>(), serial in any::<u32>(), epoch in any::<u32>(),
        ) {
            let gid = gid(tag, serial, epoch);
            // 1, or a time up to the year 2102.
            let incarnation = gid.first_chunk().copied().map(u32::from_be_bytes);
            prop_assert!(gid.len() != 12 || incarnation.is_some_and(|number| number > 0xf000_0000));
        }
    }
}
