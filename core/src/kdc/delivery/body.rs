//! Rekeying messages, encoded once for all members: what they hold does not depend on the member, but for its own resource. They say for
//! how long the keys are good still, so that one is made anew each second.

use crate::Secret;
use crate::engine::store::view::{Stop, View};
use crate::kdc::scene::GroupState;
use crate::kdc::{Event, Group, KdcApp};
use crate::schema::keys::GroupId;
use crate::schema::records::GroupSecret;
use crate::time::UnixTime;
use crate::traits::profile::KeyAudience;
use std::collections::BTreeMap;

/// Of how many groups they are kept.
const GROUPS: usize = 64;

/// An encoded rekeying message.
struct Body {
    num: u64,
    at: UnixTime,
    encoded: Secret,
}

/// The last ones of groups: what observers get, and what goes to those who take requests.
#[derive(Default)]
pub(in crate::kdc) struct Bodies(BTreeMap<(GroupId, bool), Body>);

impl Bodies {
    fn of(&self, key: (GroupId, bool), num: u64, at: UnixTime) -> Option<Vec<u8>> {
        let body = self.0.get(&key).filter(|body| (body.num, body.at) == (num, at))?;
        Some(body.encoded.expose().to_vec())
    }

    /// Keeps one. What it was made of held at one moment.
    pub(in crate::kdc) fn keep(&mut self, key: (GroupId, bool), num: u64, at: UnixTime, encoded: Secret) {
        self.0.retain(|_, body| body.at == at);
        if self.0.len() < GROUPS {
            self.0.insert(key, Body { num, at, encoded });
        }
    }

    /// A group has another version, or is gone.
    pub(in crate::kdc) fn forget(&mut self, group: GroupId) {
        self.0.retain(|(of, _), _| *of != group);
    }
}

impl KdcApp {
    /// The rekeying message of the current version, encoded; and what has it kept for the other members.
    pub(in crate::kdc) fn rekeying_body(
        &self,
        view: &View<'_>,
        group: &Group,
        state: &GroupState<'_>,
        secret: &GroupSecret,
        audience: KeyAudience<'_>,
    ) -> Result<(Vec<u8>, Option<Event>), Stop> {
        let at = view.arrived().unix;
        let key = match audience {
            KeyAudience::Group => (state.id, false),
            KeyAudience::Rekeying => (state.id, true),
            KeyAudience::Node { .. } => {
                return Ok((self.rekeying_message(view, group, state, secret, audience)?.encode(), None));
            }
        };
        if let Some(encoded) = self.bodies.of(key, state.head.num, at) {
            return Ok((encoded, None));
        }
        let encoded = self.rekeying_message(view, group, state, secret, audience)?.encode();
        let kept = Event::Encoded { key, num: state.head.num, at, encoded: Secret::from(encoded.as_slice()) };
        Ok((encoded, Some(kept)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_good_for_its_version_and_its_second() {
        let (mut bodies, group) = (Bodies::default(), GroupId::new([7; 16]));
        let at = UnixTime::new;
        bodies.keep((group, false), 3, at(100), Secret::from(&b"three"[..]));
        assert_eq!(bodies.of((group, false), 3, at(100)), Some(b"three".to_vec()));
        for (key, num, second) in [((group, true), 3, 100), ((group, false), 4, 100), ((group, false), 3, 101)] {
            assert_eq!(bodies.of(key, num, at(second)), None);
        }
        // Those of former seconds go, and there are so many at most.
        bodies.keep((group, true), 3, at(101), Secret::from(&b"three"[..]));
        assert_eq!(bodies.0.len(), 1);
        for number in 0..100 {
            bodies.keep((GroupId::new([number; 16]), true), 3, at(101), Secret::from(&b"x"[..]));
        }
        assert_eq!(bodies.0.len(), GROUPS);
        bodies.forget(GroupId::new([3; 16]));
        assert_eq!((bodies.0.len(), bodies.of((GroupId::new([3; 16]), true), 3, at(101))), (GROUPS - 1, None));
    }
}
