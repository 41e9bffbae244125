//! The keying material's end: nobody may use it from then on, so that nobody gets it any more. There is no rekeying that
//! comes before it yet; the log says when it is near, and when it has come.

use crate::engine::store::view::{Stop, View};
use crate::kdc::KdcApp;
use crate::refusal::Refusal;
use crate::schema::records::GroupSecret;
use crate::time::{Now, UnixTime};
use std::collections::BTreeMap;
use std::time::Duration;

/// The part of its life before its end in which material is said to be near it.
const NEAR: u32 = 10;

/// What has been said of a group's keying material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Nothing,
    Near,
    Ended,
}

struct Life {
    /// When it counts as near its end, and when that is.
    near: UnixTime,
    end: UnixTime,
    said: Said,
}

impl Life {
    /// When something is to be said next, and what.
    fn next(&self) -> Option<(UnixTime, Said)> {
        match self.said {
            Said::Nothing if self.near < self.end => Some((self.near, Said::Near)),
            Said::Nothing | Said::Near => Some((self.end, Said::Ended)),
            Said::Ended => None,
        }
    }
}

/// When the keying material of each group ends.
#[derive(Default)]
pub(in crate::kdc) struct Lives(BTreeMap<String, Life>);

impl Lives {
    /// A group has this material from now on.
    pub(in crate::kdc) fn begin(&mut self, gname: &str, created: UnixTime, end: UnixTime) {
        let near = end.minus(created.until(end).checked_div(NEAR).unwrap_or_default());
        self.0.insert(gname.into(), Life { near, end, said: Said::Nothing });
    }

    /// A group is gone.
    pub(in crate::kdc) fn end(&mut self, gname: &str) {
        self.0.remove(gname);
    }

    /// When something is to be said.
    pub(in crate::kdc) fn next(&self, now: Now) -> Option<Duration> {
        if now.has_jumped() {
            return None;
        }
        let next = self.0.values().filter_map(Life::next).map(|(at, _)| at).min()?;
        Some(now.mono.saturating_add(now.unix.until(next)))
    }

    /// Says what is due. Returns the groups it was said of, each with whether its material has ended.
    pub(in crate::kdc) fn say(&mut self, now: Now) -> Vec<(String, bool)> {
        let mut told = Vec::new();
        if now.has_jumped() {
            return told;
        }
        for (gname, life) in &mut self.0 {
            while let Some((_, said)) = life.next().filter(|(at, _)| *at <= now.unix) {
                life.said = said;
                // Who starts after the end is told that alone.
                if said == Said::Near && life.end <= now.unix {
                    continue;
                }
                let (group, expires) = (gname.as_str(), life.end);
                if said == Said::Near {
                    tracing::warn!(group, expires = expires.seconds(), "the keying material comes to its end");
                } else {
                    tracing::error!(
                        group,
                        expires = expires.seconds(),
                        "the keying material has come to its end: nobody gets it any more"
                    );
                }
                told.push((gname.clone(), said == Said::Ended));
            }
        }
        told
    }
}

impl KdcApp {
    /// Refuses to give out material that nobody may use any more.
    pub(in crate::kdc) fn usable(&self, view: &View<'_>, secret: &GroupSecret) -> Result<(), Stop> {
        if secret.expires > self.expiry.time(view.now()) {
            return Ok(());
        }
        Err(Refusal::Unavailable("the keying material has come to its end", 60).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix: u64) -> Now {
        Now::new(unix, Duration::from_secs(unix))
    }

    #[test]
    fn the_end_is_said_once_before_it_and_once_when_it_comes() {
        let mut lives = Lives::default();
        assert_eq!((lives.next(at(0)), lives.say(at(0))), (None, vec![]));
        lives.begin("g", UnixTime::new(1_000), UnixTime::new(2_000));
        assert_eq!(lives.next(at(1_000)), Some(Duration::from_secs(1_900)));
        assert_eq!(lives.say(at(1_899)), []);
        assert_eq!(lives.say(at(1_900)), [("g".into(), false)]);
        assert_eq!((lives.say(at(1_999)), lives.next(at(1_999))), (vec![], Some(Duration::from_secs(2_000))));
        assert_eq!(lives.say(at(2_000)), [("g".into(), true)]);
        assert_eq!((lives.say(at(3_000)), lives.next(at(3_000))), (vec![], None));
        lives.begin("g", UnixTime::new(3_000), UnixTime::new(4_000));
        assert_eq!(lives.say(at(5_000)), [("g".into(), true)], "whoever starts late");
        // Material of a moment is near its end never.
        lives.begin("h", UnixTime::new(10), UnixTime::new(10));
        assert_eq!(lives.say(at(10)), [("h".into(), true)]);
    }
}
