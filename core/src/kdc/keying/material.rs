//! How long keying material is used: a group is rekeyed before it ends, and at regular times where its policy says so. Nobody
//! gets material that has come to its end.

use crate::engine::store::view::{Stop, View};
use crate::kdc::KdcApp;
use crate::refusal::Refusal;
use crate::schema::records::{GroupSecret, RekeyReason};
use crate::time::{Now, UnixTime};
use std::collections::BTreeMap;
use std::time::Duration;

/// The part of its life before its end in which the next material is made.
const NEAR: u32 = 10;
/// That part is not shorter, where the life allows it: so long members may take to learn of the next material.
const LEAST: Duration = Duration::from_secs(120);

/// When material of this life counts as near its end.
fn near(created: UnixTime, end: UnixTime) -> UnixTime {
    let life = created.until(end);
    let part = life.checked_div(NEAR).unwrap_or_default();
    end.minus(part.max(LEAST.min(life.checked_div(2).unwrap_or_default())))
}

/// Whether the material is near its end, or behind it.
pub(in crate::kdc) fn is_near_end(secret: &GroupSecret, now: UnixTime) -> bool {
    near(secret.created, secret.expires) <= now
}

/// When each group is to be rekeyed for its material's sake.
#[derive(Default)]
pub(in crate::kdc) struct Lives(BTreeMap<String, (UnixTime, RekeyReason)>);

impl Lives {
    /// A group has this material from now on, and gives it up after this time where that is earlier than its end.
    pub(in crate::kdc) fn begin(&mut self, gname: &str, created: UnixTime, end: UnixTime, interval: Option<Duration>) {
        let ends = (near(created, end), RekeyReason::MaterialEnds);
        let scheduled = interval.map(|interval| (created.plus(interval), RekeyReason::Scheduled));
        let next = scheduled.filter(|(at, _)| *at < ends.0).unwrap_or(ends);
        self.0.insert(gname.into(), next);
    }

    /// A group is gone.
    pub(in crate::kdc) fn end(&mut self, gname: &str) {
        self.0.remove(gname);
    }

    /// When the next one is due. While the time of day is not plausible none is.
    pub(in crate::kdc) fn next(&self, now: Now) -> Option<Duration> {
        if now.has_jumped() {
            return None;
        }
        let next = self.0.values().map(|(at, _)| *at).min()?;
        Some(now.mono.saturating_add(now.unix.until(next)))
    }

    /// Takes out the groups that are due.
    pub(in crate::kdc) fn take(&mut self, now: Now) -> Vec<(String, RekeyReason)> {
        if now.has_jumped() {
            return Vec::new();
        }
        let is_due = |(_, (at, _)): &(&String, &mut (UnixTime, RekeyReason))| *at <= now.unix;
        let due: Vec<_> = self.0.iter_mut().filter(is_due).map(|(gname, (_, why))| (gname.clone(), *why)).collect();
        for (gname, _) in &due {
            self.0.remove(gname);
        }
        due
    }
}

impl KdcApp {
    /// Refuses to give out material that nobody may use any more.
    pub(in crate::kdc) fn usable(&self, view: &View<'_>, secret: &GroupSecret) -> Result<(), Stop> {
        if self.is_usable(view, secret) {
            return Ok(());
        }
        Err(Refusal::Unavailable("the keying material has come to its end", 5).into())
    }

    pub(in crate::kdc) fn is_usable(&self, view: &View<'_>, secret: &GroupSecret) -> bool {
        secret.expires > self.expiry.time(view.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix: u64) -> Now {
        Now::new(unix, Duration::from_secs(unix))
    }

    #[test]
    fn material_is_replaced_before_its_end() {
        let (start, end) = (UnixTime::new(1_000), UnixTime::new(11_000));
        assert_eq!(near(start, end), UnixTime::new(10_000), "a tenth of its life");
        assert_eq!(near(start, UnixTime::new(2_000)), UnixTime::new(1_880), "two minutes");
        assert_eq!(near(start, UnixTime::new(1_100)), UnixTime::new(1_050), "half of it");
        assert_eq!(near(start, start), start);
        let secret =
            GroupSecret { material: crate::Secret::new(vec![1]), created: start, expires: end, joined: Vec::new() };
        assert!(!is_near_end(&secret, UnixTime::new(9_999)) && is_near_end(&secret, UnixTime::new(10_000)));
    }

    #[test]
    fn a_group_is_due_once_for_its_end_or_its_interval() {
        let (start, end) = (UnixTime::new(1_000), UnixTime::new(11_000));
        let mut lives = Lives::default();
        assert_eq!((lives.next(at(0)), lives.take(at(0))), (None, vec![]));
        lives.begin("g1", start, end, None);
        lives.begin("g2", start, end, Some(Duration::from_secs(3_600)));
        lives.begin("g3", start, end, Some(Duration::from_secs(20_000)));
        assert_eq!(lives.next(at(1_000)), Some(Duration::from_secs(4_600)));
        assert_eq!(lives.take(at(4_599)), []);
        assert_eq!(lives.take(at(4_600)), [("g2".into(), RekeyReason::Scheduled)]);
        assert_eq!(lives.next(at(4_600)), Some(Duration::from_secs(10_000)));
        assert_eq!(
            lives.take(at(20_000)),
            [("g1".into(), RekeyReason::MaterialEnds), ("g3".into(), RekeyReason::MaterialEnds)]
        );
        assert_eq!(lives.next(at(20_000)), None);
        lives.begin("g1", start, end, None);
        lives.end("g1");
        assert_eq!(lives.next(at(0)), None);
    }
}
