//! All that a member keeps from one operation to the next.

use super::bytes::Bytes;
use super::group::{FormerGroup, JoinedGroup};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// How many sequence numbers are reserved at once with the KDC: each block of a large answer takes one.
const BLOCK: u64 = 4_096;

/// Sequence numbers that nobody else uses: from the first up to, not including, the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The first number that may be used.
    pub start: u64,
    /// The first one behind them.
    pub limit: u64,
}

/// A token and the key that it is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The access token, as the AS gave it.
    pub access_token: Bytes,
    /// The encoded `cnf` that came with it.
    pub cnf: Bytes,
    /// When it ends, by the member's clock.
    pub expires: UnixTime,
    /// When it was asked for.
    #[serde(default)]
    pub asked: Option<UnixTime>,
    /// The encoded scope that was granted, where the AS says that it is not what was asked for.
    #[serde(default)]
    pub scope: Option<Bytes>,
}

impl Token {
    /// When another one is to be got: when about four fifths of its life are over, and not for all tokens at the same part of it, so that
    /// members which began together do not ask together.
    #[must_use]
    pub fn renews_at(&self) -> UnixTime {
        let Some(asked) = self.asked else { return self.expires };
        let part = Sha256::digest(&self.access_token.0).first().copied().unwrap_or_default();
        // 75 % and up to 5 % more.
        let thousandths = u32::from(part).saturating_mul(50).div_ceil(255).saturating_add(750);
        let life = asked.until(self.expires);
        asked.plus(life.saturating_mul(thousandths).checked_div(1_000).unwrap_or(life))
    }
}

/// An association with the KDC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What its keys are derived from, in the transport profile's form.
    pub association: Bytes,
    /// The client's own name for it.
    pub client_id: Bytes,
    /// The first sequence number that was not reserved.
    pub next: u64,
    /// N_S, over which the next Join Request has to prove possession; none where it is used up.
    pub kdcchallenge: Option<Bytes>,
}

/// All that a member keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The token that was got last.
    pub token: Option<Token>,
    /// The association with the KDC, in which an answer has verified.
    pub session: Option<Session>,
    /// One that the KDC, or somebody in its place, has offered: nothing has verified in it yet.
    pub offered: Option<Session>,
    /// The groups, by name.
    pub groups: BTreeMap<String, JoinedGroup>,
    /// Groups that it is out of, by name.
    #[serde(default)]
    pub former: BTreeMap<String, FormerGroup>,
}

impl State {
    /// The association to use: one that was offered is tried first.
    #[must_use]
    pub fn current(&self) -> Option<&Session> {
        self.offered.as_ref().or(self.session.as_ref())
    }

    /// The same, to change it.
    pub(super) fn current_mut(&mut self) -> Option<&mut Session> {
        self.offered.as_mut().or(self.session.as_mut())
    }

    /// What was used since this was written nobody knows: neither association nor identifier goes on (Group OSCORE
    /// section 2.6.1.1). Whoever finds a state that was not closed, or that may be a copy, calls this.
    pub fn distrust(&mut self) {
        (self.session, self.offered) = (None, None);
        for group in self.groups.values_mut() {
            group.doubtful = true;
        }
    }

    /// Reserves sequence numbers with the KDC; `None` where there is no association.
    pub fn reserve_kdc(&mut self) -> Option<Numbers> {
        let session = self.current_mut()?;
        let start = session.next;
        session.next = start.saturating_add(BLOCK);
        Some(Numbers { start, limit: session.next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: TH-1-04/reserved-blocks
    #[test]
    fn numbers_of_an_association_are_reserved_once() {
        let mut state = State::default();
        assert_eq!(state.reserve_kdc(), None);
        state.session = Some(Session::default());
        assert_eq!(state.reserve_kdc(), Some(Numbers { start: 0, limit: 4_096 }));
        state.offered = Some(Session { next: 7, ..Session::default() });
        assert_eq!(state.reserve_kdc(), Some(Numbers { start: 7, limit: 4_103 }), "each association has its own");
        assert_eq!(state.session.map(|session| session.next), Some(4_096));
    }

    #[test]
    fn a_token_is_renewed_when_three_to_four_fifths_of_its_life_are_over() {
        let token = |byte, asked| Token {
            access_token: Bytes(vec![byte; 9]),
            cnf: Bytes::default(),
            expires: UnixTime::new(3_000),
            asked,
            scope: None,
        };
        let times: Vec<u64> =
            (0..64).map(|byte| token(byte, Some(UnixTime::new(2_000))).renews_at().seconds()).collect();
        assert!(times.iter().all(|time| (2_750..=2_800).contains(time)), "{times:?}");
        let (first, last) = (times.iter().min(), times.iter().max());
        assert!(first < Some(&2_760) && last > Some(&2_790), "{times:?}");
        assert_eq!(token(0, None).renews_at(), UnixTime::new(3_000), "one that a former release has kept");
    }

    #[test]
    fn debug_shows_no_key() {
        let token = Token {
            access_token: Bytes(vec![0x5e; 9]),
            cnf: Bytes(vec![0x5e; 16]),
            expires: UnixTime::new(1),
            asked: None,
            scope: None,
        };
        let session = Session { association: Bytes(vec![0x5e; 40]), ..Session::default() };
        let state = State { token: Some(token), session: Some(session), ..State::default() };
        assert!(!format!("{state:?}").contains("94") && format!("{state:?}").contains("40 bytes"));
    }
}
