//! Sender IDs: none is given twice under one Gid, nor one that was held when that Gid came into use.
//!
//! A cursor in the group's head says where to look next; that an identifier is free is said by its own record,
//! which the commit expects to be as it was read. So neither a cursor that went wrong nor a second KDC can give
//! one twice.

use crate::refusal::Refusal;
use crate::state::keys::{self, GroupId};
use crate::state::records::{Head, SenderId};
use crate::view::{Stop, View};
use ace_groupcomm_messages::GroupcommError;

/// How many are looked at in all before the group counts as full.
const TRIES: u64 = 1_024;

/// The identifier at a place: all of one byte first, then all of two, and so on; `None` behind the last one.
fn at(place: u64, max_len: usize) -> Option<Vec<u8>> {
    let mut rest = place;
    for length in 1..=max_len.min(7) {
        let count = 1_u64 << (8_usize.saturating_mul(length));
        if rest < count {
            let bytes = rest.to_be_bytes();
            return bytes.get(bytes.len().saturating_sub(length)..).map(<[u8]>::to_vec);
        }
        rest = rest.saturating_sub(count);
    }
    None
}

/// Finds a free identifier and moves the cursor behind it.
///
/// # Errors
/// Error 4 with 5.03 where none is free.
pub(super) fn allocate(view: &View<'_>, group: GroupId, head: &mut Head, max_len: usize) -> Result<Vec<u8>, Stop> {
    let mut next = head.cursor;
    for _ in 0..TRIES {
        // Behind the last identifier comes the first one again.
        let place = if at(next, max_len).is_some() { next } else { 0 };
        next = place.saturating_add(1);
        let Some(id) = at(place, max_len) else { break };
        let free = match view.assume_absent::<SenderId>(&keys::sender_id(group, &id))? {
            None => true,
            Some(state) => state.holder.is_none() && state.epoch < head.epoch,
        };
        if free {
            head.cursor = place.saturating_add(1);
            return Ok(id);
        }
    }
    Err(Refusal::Groupcomm(GroupcommError::NoIndividualKeyingMaterial).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_grow_byte_by_byte() {
        assert_eq!(at(0, 7), Some(vec![0]));
        assert_eq!(at(255, 7), Some(vec![255]));
        assert_eq!(at(256, 7), Some(vec![0, 0]));
        assert_eq!(at(256 + 65_535, 7), Some(vec![255, 255]));
        assert_eq!(at(256 + 65_536, 7), Some(vec![0, 0, 0]));
        assert_eq!(at(255, 1), Some(vec![255]));
        assert_eq!(at(256, 1), None);
        assert_eq!(at(0, 0), None);
    }
}
