//! What one party may cost: token posts of those who have proven nothing, and proofs that fail.
//!
//! A post is decrypted before anybody knows who sent it. So there is a rate for all who have proven nothing together, and
//! whoever meets it proves its address and has a rate of its own. A peer whose proof of possession fails waits before the
//! next one is verified, longer each time.

use crate::id::AssociationId;
use crate::refusal::Refusal;
use crate::request::Caller;
use crate::schema::keys::PrincipalId;
use crate::time::Now;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// How many token posts are looked at.
#[derive(Clone, Copy, Debug)]
pub struct PostLimits {
    /// A second, of all who have proven nothing.
    pub unproven: u32,
    /// A second, of one host that has proven its address.
    pub proven: u32,
}

impl Default for PostLimits {
    fn default() -> Self {
        Self { unproven: 1_000, proven: 20 }
    }
}

/// A rate and what it leaves: as much as comes in two seconds may come at once.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths that are left.
    left: u64,
    at: Duration,
}

/// How many seconds' worth may come at once.
const BURST: u64 = 2;
/// Thousandths of one.
const ONE: u64 = 1_000;

impl Bucket {
    const fn full(rate: u32, now: Duration) -> Self {
        Self { left: (rate as u64).saturating_mul(BURST).saturating_mul(ONE), at: now }
    }

    /// Takes one, if it is left.
    fn take(&mut self, rate: u32, now: Duration) -> bool {
        let passed = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        let full = Self::full(rate, now);
        // One a second is one thousandth a millisecond.
        self.left = self.left.saturating_add(passed.saturating_mul(u64::from(rate))).min(full.left);
        self.at = now;
        match self.left.checked_sub(ONE) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// As many entries as fit: the oldest goes for a new one.
struct Recent<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

/// How many hosts and peers are remembered.
const REMEMBERED: usize = 16_384;

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn new() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }

    fn entry(&mut self, key: &K, new: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(key) {
            if self.order.len() >= REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        self.entries.entry(key.clone()).or_insert_with(new)
    }
}

/// How often tokens were posted of late.
pub(in crate::kdc) struct Posts {
    limits: PostLimits,
    unproven: Bucket,
    proven: Recent<Bytes, Bucket>,
}

impl Posts {
    pub(in crate::kdc) fn new(limits: PostLimits) -> Self {
        Self { limits, unproven: Bucket::full(limits.unproven, Duration::ZERO), proven: Recent::new() }
    }

    /// Counts a post, and refuses one too many.
    pub(in crate::kdc) fn admit(&mut self, now: Now, caller: &Caller) -> Result<(), Refusal> {
        const WHY: &str = "too many tokens are posted";
        let now = now.mono;
        match caller.proven_host() {
            Some(host) => {
                let rate = self.limits.proven;
                let bucket = self.proven.entry(host, || Bucket::full(rate, now));
                if bucket.take(rate, now) { Ok(()) } else { Err(Refusal::TooMany(WHY, 1)) }
            }
            None if self.unproven.take(self.limits.unproven, now) => Ok(()),
            None if caller.can_prove() => Err(Refusal::ProofNeeded(WHY)),
            None => Err(Refusal::Bound(WHY, 1)),
        }
    }
}

/// How many commits an hour an association is worth that others may have replayed messages of. Each gives numbers for
/// several Echo values; a client that is out of step needs one.
const CHALLENGES: u32 = 16;
const HOUR: Duration = Duration::from_secs(3_600);

/// How often numbers were reserved of late, to ask for an Echo.
pub(in crate::kdc) struct Challenges(Recent<AssociationId, (Duration, u32)>);

impl Challenges {
    pub(in crate::kdc) fn new() -> Self {
        Self(Recent::new())
    }

    /// Numbers were reserved.
    pub(in crate::kdc) fn note(&mut self, now: Now, id: &AssociationId) {
        let entry = self.0.entry(id, || (now.mono, 0));
        let (since, count) = *entry;
        *entry = if now.mono.saturating_sub(since) >= HOUR { (now.mono, 1) } else { (since, count.saturating_add(1)) };
    }

    /// Refuses an association for which there were too many.
    pub(in crate::kdc) fn check(&self, now: Now, id: &AssociationId) -> Result<(), Refusal> {
        let Some((since, count)) = self.0.entries.get(id) else { return Ok(()) };
        if *count < CHALLENGES || now.mono.saturating_sub(*since) >= HOUR {
            return Ok(());
        }
        Err(Refusal::Bound("an association is asked for an Echo again and again", 60))
    }
}

/// How long a peer waits after its second failed proof, and at most. One alone may be an accident: the challenge that it
/// was made over came unprotected.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// After which time a failed proof is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// Whose proofs of possession have failed of late.
pub(in crate::kdc) struct FailedProofs(Recent<PrincipalId, Failed>);

struct Failed {
    /// When the last one has.
    at: Duration,
    wait: Duration,
}

impl FailedProofs {
    pub(in crate::kdc) fn new() -> Self {
        Self(Recent::new())
    }

    /// A proof has failed.
    pub(in crate::kdc) fn note(&mut self, now: Now, client: PrincipalId) {
        let failed = self.0.entry(&client, || Failed { at: Duration::ZERO, wait: Duration::ZERO });
        let is_first = failed.at.is_zero() || now.mono.saturating_sub(failed.at) > FORGOTTEN;
        let longer = failed.wait.saturating_mul(2).clamp(FIRST_WAIT, LONGEST_WAIT);
        *failed = Failed { at: now.mono, wait: if is_first { Duration::ZERO } else { longer } };
    }

    /// Refuses a client that has to wait still.
    pub(in crate::kdc) fn check(&self, now: Now, client: PrincipalId) -> Result<(), Refusal> {
        let Some(failed) = self.0.entries.get(&client) else { return Ok(()) };
        let wait = failed.at.saturating_add(failed.wait).saturating_sub(now.mono);
        if wait.is_zero() {
            return Ok(());
        }
        // Whole seconds, and no less than the client has to wait.
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        Err(Refusal::TooMany("a proof of possession has failed", seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Endpoint;

    fn at(seconds: u64) -> Now {
        Now::new(0, Duration::from_secs(seconds))
    }

    fn host(name: u8, proven: bool) -> Caller {
        Caller::Anonymous(Some(Endpoint::new(Bytes::copy_from_slice(&[name]), proven)))
    }

    #[test]
    fn who_meets_the_rate_of_all_proves_its_address_and_has_its_own() {
        let mut posts = Posts::new(PostLimits { unproven: 5, proven: 2 });
        for name in 0..10 {
            assert_eq!(posts.admit(at(0), &host(name, false)), Ok(()));
        }
        let refused = posts.admit(at(0), &host(7, false));
        assert!(matches!(refused, Err(Refusal::ProofNeeded(_))), "{refused:?}");
        assert!(matches!(posts.admit(at(0), &Caller::anonymous()), Err(Refusal::Bound(_, 1))), "nothing to prove");
        for _ in 0..4 {
            assert_eq!(posts.admit(at(0), &host(7, true)), Ok(()));
        }
        assert!(matches!(posts.admit(at(0), &host(7, true)), Err(Refusal::TooMany(_, 1))));
        assert_eq!(posts.admit(at(0), &host(8, true)), Ok(()), "each host has its own");
        // A second later there is a second's worth again, and after many seconds no more than two.
        for (second, count) in [(1, 5), (100, 10)] {
            let taken = (0..100).filter(|_| posts.admit(at(second), &host(1, false)).is_ok()).count();
            assert_eq!(taken, count);
        }
        assert_eq!((0..100).filter(|_| posts.admit(at(101), &host(7, true)).is_ok()).count(), 4);
    }

    #[test]
    fn hosts_that_are_remembered_have_a_bound() {
        let mut posts = Posts::new(PostLimits { unproven: 1, proven: 1 });
        for name in 0..2 * REMEMBERED {
            let host = Endpoint::new(Bytes::copy_from_slice(&name.to_be_bytes()), true);
            assert_eq!(posts.admit(at(0), &Caller::Anonymous(Some(host))), Ok(()));
        }
        assert_eq!((posts.proven.entries.len(), posts.proven.order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn an_association_is_worth_so_many_commits_an_hour() {
        let mut challenges = Challenges::new();
        for _ in 0..CHALLENGES {
            assert_eq!(challenges.check(at(10), &b"one".into()), Ok(()));
            challenges.note(at(10), &b"one".into());
        }
        assert!(
            challenges.check(at(10), &b"one".into()).is_err() && challenges.check(at(10), &b"other".into()).is_ok()
        );
        assert!(
            challenges.check(at(3_609), &b"one".into()).is_err() && challenges.check(at(3_610), &b"one".into()).is_ok()
        );
        challenges.note(at(3_610), &b"one".into());
        assert!(challenges.check(at(3_700), &b"one".into()).is_ok());
    }

    #[test]
    fn who_fails_waits_longer_each_time() {
        let mut failed = FailedProofs::new();
        let (one, other) = (PrincipalId::of("as", "1"), PrincipalId::of("as", "2"));
        assert_eq!(failed.check(at(0), one), Ok(()));
        let mut now = 1;
        failed.note(at(now), one);
        assert_eq!(failed.check(at(now), one), Ok(()), "once is an accident");
        for wait in [1, 2, 4, 8, 16, 32, 64, 64] {
            failed.note(at(now), one);
            let refused = failed.check(at(now + wait - 1), one);
            assert!(matches!(refused, Err(Refusal::TooMany(_, 2))), "{wait}: {refused:?}");
            assert_eq!((failed.check(at(now + wait), one), failed.check(at(now), other)), (Ok(()), Ok(())));
            now += wait;
        }
        failed.note(at(now + 601), one);
        assert_eq!(failed.check(at(now + 601), one), Ok(()), "long ago");
    }
}
