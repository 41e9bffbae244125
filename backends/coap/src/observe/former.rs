//! Numbers that observations had which have ended: who registers again under the same token takes no lower one for news (RFC 7641
//! section 3.4).

use super::ObservationId;
use std::collections::{HashMap, VecDeque};

/// How many are remembered; the oldest go first.
const MAX: usize = 4_096;

/// The last numbers of observations that have ended.
#[derive(Default)]
pub(super) struct FormerNumbers {
    known: HashMap<ObservationId, u32>,
    oldest: VecDeque<ObservationId>,
}

impl FormerNumbers {
    /// Notes the last number of an observation that has ended.
    pub(super) fn note(&mut self, id: ObservationId, number: u32) {
        if self.known.insert(id.clone(), number).is_none() {
            self.oldest.push_back(id);
        }
        if self.oldest.len() > MAX
            && let Some(id) = self.oldest.pop_front()
        {
            self.known.remove(&id);
        }
    }

    /// The last number that an observation of this name had, where it is remembered.
    pub(super) fn get(&self, id: &ObservationId) -> Option<u32> {
        self.known.get(id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Owner;
    use ace_coap::Token;

    fn id(number: usize) -> ObservationId {
        let to = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
        ObservationId { owner: Owner::Proven(to), to, token: Token::new(&number.to_be_bytes()) }
    }

    #[test]
    fn the_latest_numbers_are_remembered_within_a_bound() {
        let mut former = FormerNumbers::default();
        former.note(id(0), 5);
        former.note(id(0), 6);
        assert_eq!((former.get(&id(0)), former.get(&id(1))), (Some(6), None));
        for number in 1..=MAX {
            former.note(id(number), 1);
        }
        assert_eq!((former.get(&id(0)), former.get(&id(1)), former.get(&id(MAX))), (None, Some(1), Some(1)));
        assert_eq!((former.known.len(), former.oldest.len()), (MAX, MAX));
    }
}
