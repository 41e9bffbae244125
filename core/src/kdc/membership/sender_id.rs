//! Sender IDs: none is given twice under one Gid, nor one that was held when that Gid came into use.
//!
//! A cursor in the group's head says where to look next; that an identifier is free is said by its own record,
//! which the commit expects to be as it was read. So neither a cursor that went wrong nor a second KDC can give
//! one twice.

use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::SenderId;
use crate::schema::keys::{self, GroupId, PrincipalId};
use crate::schema::records::{Head, RekeyReason, SenderIdRecord};
use crate::time::UnixTime;
use std::ops::RangeInclusive;

/// How many are looked at in all before the group counts as full.
const TRIES: usize = 1_024;
/// How many are looked up at once.
const WINDOW: usize = 64;

/// More bytes of an identifier than this do not differ: there are enough without.
const COUNTED: usize = 7;

/// The identifier at a place: all of the shortest length first, then all of one byte more, and so on; `None` behind the last one.
fn at(place: u64, len: &RangeInclusive<usize>) -> Option<SenderId> {
    let mut rest = place;
    for length in len.clone() {
        let count = 1_u64 << (8_usize.saturating_mul(length.min(COUNTED)));
        if rest < count {
            let number = rest.to_be_bytes();
            let bytes = std::iter::repeat_n(&0, length.saturating_sub(number.len())).chain(&number);
            let skipped = number.len().saturating_sub(length);
            return Some(SenderId::from(bytes.skip(skipped).copied().collect::<Vec<u8>>()));
        }
        rest = rest.saturating_sub(count);
    }
    None
}

/// The places to look at: the one at the cursor, and those behind it. Behind the last one comes the first again.
fn places(cursor: u64, len: &RangeInclusive<usize>) -> impl Iterator<Item = (u64, SenderId)> {
    let mut next = cursor;
    std::iter::from_fn(move || {
        let place = if at(next, len).is_some() { next } else { 0 };
        next = place.saturating_add(1);
        at(place, len).map(|id| (place, id))
    })
}

/// What has come of looking for a free identifier. The cursor stands behind what was looked at.
#[derive(Debug)]
pub(in crate::kdc) enum Allocated {
    /// This one is free.
    Id(SenderId),
    /// None of those is free; there are others.
    NotYet,
    /// None is free.
    None,
}

/// Whether there are no more identifiers than are looked at.
fn is_small(len: &RangeInclusive<usize>) -> bool {
    at(u64::try_from(TRIES).unwrap_or(u64::MAX), len).is_none()
}

/// Whether all identifiers that were given up to this cursor are of a length that may be.
pub(in crate::kdc) fn is_within(cursor: u64, len: &RangeInclusive<usize>) -> bool {
    cursor <= count(len)
}

/// How many identifiers there are.
fn count(len: &RangeInclusive<usize>) -> u64 {
    len.clone().fold(0, |all: u64, length| all.saturating_add(1 << (8_usize.saturating_mul(length.min(COUNTED)))))
}

/// The part of all identifiers that is left when a group is rekeyed for more of them.
const LEFT: u64 = 16;

/// A member holds this identifier from now on.
pub(in crate::kdc) fn take(group: GroupId, head: &mut Head, holder: PrincipalId, id: &SenderId, changes: &mut Changes) {
    (head.held, head.taken) = (head.held.saturating_add(1), head.taken.saturating_add(1));
    changes.put(keys::sender_id(group, id), SenderIdRecord { holder: Some(holder), epoch: head.epoch });
}

/// Notes that the group has to be rekeyed where hardly an identifier is left, and a new Gid frees enough of them: those that
/// were given up. Returns whether it is so.
pub(in crate::kdc) fn note_scarce(head: &mut Head, len: &RangeInclusive<usize>, at: UnixTime) -> bool {
    let all = count(len);
    let (margin, freed) = (all.div_ceil(LEFT), head.taken.saturating_sub(head.held));
    let is_low = head.taken >= all.saturating_sub(margin) && freed >= margin;
    let is_scarce = freed > 0 && (head.taken >= all || is_low);
    if is_scarce {
        head.note_due(RekeyReason::IdentifiersUsedUp, at);
    }
    is_scarce
}

/// Looks for a free identifier.
///
/// The one at the cursor is nearly always free, and is taken without a look. Where it is not, the others are looked up,
/// many at once. A group may have many members whose identifiers are neighbours, so that the cursor moves also where none
/// is found. Those that are barred are not given.
pub(in crate::kdc) fn allocate(
    view: &View<'_>,
    group: GroupId,
    head: &mut Head,
    len: &RangeInclusive<usize>,
    barred: &[SenderId],
) -> Result<Allocated, Stop> {
    let epoch = head.epoch;
    let is_free = |id: &SenderId, state: Option<&SenderIdRecord>| {
        !barred.contains(id) && state.is_none_or(|state| state.holder.is_none() && state.epoch < epoch)
    };
    let mut places = places(head.cursor, len).take(TRIES);
    if let Some((place, id)) = places.next()
        && is_free(&id, view.assume_absent(&keys::sender_id(group, &id))?)
    {
        head.cursor = place.saturating_add(1);
        return Ok(Allocated::Id(id));
    }
    loop {
        let window: Vec<_> = places.by_ref().take(WINDOW).collect();
        if window.is_empty() {
            return Ok(if is_small(len) { Allocated::None } else { Allocated::NotYet });
        }
        // All of them are asked for before the first is looked at.
        let states: Vec<_> = window.iter().map(|(_, id)| view.get(&keys::sender_id(group, id))).collect();
        for ((place, id), state) in window.into_iter().zip(states) {
            head.cursor = place.saturating_add(1);
            if is_free(&id, state?) {
                return Ok(Allocated::Id(id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_grow_byte_by_byte() {
        let longest = 1..=7;
        assert_eq!(at(0, &longest), Some(vec![0].into()));
        assert_eq!(at(255, &longest), Some(vec![255].into()));
        assert_eq!(at(256, &longest), Some(vec![0, 0].into()));
        assert_eq!(at(256 + 65_535, &longest), Some(vec![255, 255].into()));
        assert_eq!(at(256 + 65_536, &longest), Some(vec![0, 0, 0].into()));
        assert_eq!(at(255, &(1..=1)), Some(vec![255].into()));
        assert_eq!(at(256, &(1..=1)), None);
        assert!(is_small(&(1..=1)) && !is_small(&(1..=2)));
    }

    #[test]
    fn a_group_is_rekeyed_for_identifiers_where_a_new_gid_frees_some() {
        let scarce = |held, taken, len: RangeInclusive<usize>| {
            let mut head = Head {
                num: 0,
                gid: vec![1].into(),
                epoch: 0,
                cursor: 0,
                members: held,
                active: true,
                rekey_due: None,
                incarnation: 1,
                serial: 1,
                deleted: None,
                held,
                taken,
            };
            let is_scarce = note_scarce(&mut head, &len, UnixTime::new(7));
            assert_eq!(head.rekey_due.is_some(), is_scarce);
            is_scarce
        };
        assert!(!scarce(10, 239, 1..=1) && scarce(10, 240, 1..=1));
        assert!(!scarce(225, 240, 1..=1) && scarce(224, 240, 1..=1), "a part is freed, and not one alone");
        assert!(!scarce(256, 256, 1..=1) && scarce(255, 256, 1..=1), "unless none is left");
        assert!(!scarce(0, 60_000, 1..=2) && scarce(0, 65_792, 1..=2));
        assert_eq!((count(&(1..=1)), count(&(1..=2)), count(&(9..=9))), (256, 65_792, 1 << 56));
    }

    #[test]
    fn identifiers_of_one_length_have_it_from_the_first() {
        let four = 4..=4;
        assert_eq!(at(0, &four), Some(vec![0; 4].into()));
        assert_eq!(at(0x0102_0304, &four), Some(vec![1, 2, 3, 4].into()));
        assert_eq!((at(1 << 32, &four), is_small(&four)), (None, false));
        assert_eq!(at(0x0102, &(16..=16)), Some([vec![0; 14], vec![1, 2]].concat().into()));
        assert_eq!(at(u64::MAX, &(255..=255)), None, "as many as 7 bytes give");
        assert_eq!(at(257, &(1..=1_000)), Some(vec![0, 1].into()));
    }
}
