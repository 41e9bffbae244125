//! A member that stays: it observes, gets new keys as they come, renews its token, and tells what happens.

use crate::show::hex;
use crate::{Member, ProgramError};
use ace_backend_daemon::stop_signal;
use ace_groupcomm::UnixTime;
use ace_groupcomm::member::{ExchangeError, MemberError, MemberEvent, Operation};
use serde_json::{Map, Value, json};
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

/// How long it waits after something came to nothing.
const PAUSE: Duration = Duration::from_secs(5);
/// After how long it asks where nobody tells it of changes.
const ASK: Duration = Duration::from_secs(60);
/// After how long it asks for the keying material although nothing was told: an observation may be lost unnoticed.
const LOOK: Duration = Duration::from_secs(600);

/// What has happened, for people and programs.
#[must_use]
pub fn event(member: &Member<'_>, event: &MemberEvent) -> Value {
    let (name, more) = match event {
        MemberEvent::Joined { num } => ("joined", json!({ "num": num })),
        MemberEvent::Rekeyed { num } => ("rekeyed", json!({ "num": num })),
        MemberEvent::Missed { had, num } => ("missed", json!({ "had": had, "num": num })),
        MemberEvent::KeysEnded { num } => ("keys-ended", json!({ "num": num })),
        MemberEvent::Older { num } => ("older", json!({ "num": num })),
        MemberEvent::Stale(ids) => {
            ("stale", json!({ "sender_ids": ids.iter().map(|id| hex(&id.0)).collect::<Vec<_>>() }))
        }
        MemberEvent::OthersForgotten => ("others-forgotten", json!({})),
        MemberEvent::Renewed => ("renewed", json!({})),
        MemberEvent::CredentialChanged => ("credential-changed", json!({})),
        MemberEvent::KdcCredChanged => ("kdc-cred-changed", json!({})),
        MemberEvent::Inactive => ("inactive", json!({})),
        MemberEvent::Active => ("active", json!({})),
        MemberEvent::Left => ("left", json!({})),
        MemberEvent::Ended => ("ended", json!({})),
        MemberEvent::GroupDeleted => ("group-deleted", json!({})),
        _ => ("other", json!({})),
    };
    let mut fields = Map::new();
    fields.insert("event".into(), json!(name));
    fields.insert("name".into(), json!(member.settings().config.name));
    fields.insert("group".into(), json!(member.settings().config.group.name));
    if let Value::Object(more) = more {
        fields.extend(more);
    }
    Value::Object(fields)
}

fn unix() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::new(since.as_secs())
}

/// Where a watch is.
struct Watch {
    /// It was put out, or its group was deleted, since it joined last.
    ended: bool,
    /// The end of the token with which it has tried to join again: once a token is enough.
    rejoined_with: Option<UnixTime>,
    /// The end of the token that was posted last.
    posted: Option<UnixTime>,
    /// When a token may be asked for, or posted, again after that came to nothing.
    not_before: UnixTime,
    /// When the keying material was asked for.
    looked: Option<Instant>,
    /// Whether the KDC has told something since the last join.
    told: bool,
}

impl Watch {
    /// Goes on where the member stands: who is out of the group has one try.
    fn new(member: &Member<'_>) -> Self {
        let posted = member.token().filter(|_| member.has_association()).map(|token| token.expires);
        let ended = member.group().is_none() && member.was_member();
        Self { ended, rejoined_with: None, posted, not_before: UnixTime::EPOCH, looked: None, told: false }
    }

    /// Does what is due. One that fails is tried again.
    async fn step(&mut self, member: &mut Member<'_>) -> Result<(), ProgramError> {
        if self.not_before <= unix()
            && let Err(error) = self.renew(member).await
        {
            self.not_before = unix().plus(ASK);
            // As long as what it has is good, it goes on with that.
            if !member.has_association() || member.token().is_none_or(|token| token.expires <= unix()) {
                self.not_before = UnixTime::EPOCH;
                return Err(error);
            }
            ace_backend_daemon::say(ace_backend_daemon::escaped(&error.to_string()));
        }
        if member.group().is_none() {
            return self.join(member).await;
        }
        // It was told of another address than the configuration names now, or of none.
        let control_uri = member.settings().control().map(|control| control.uri());
        if control_uri.is_some() && member.group().is_some_and(|group| group.control_uri != control_uri) {
            return self.join(member).await;
        }
        let has_ended = member.group().is_some_and(|group| group.expires.is_some_and(|expires| expires <= unix()));
        if has_ended && self.looked.is_some_and(|looked| looked.elapsed() >= PAUSE) {
            self.looked = None;
        }
        // A KDC that keeps no observations is asked now and then.
        let is_told = |member: &Member<'_>| member.is_observing() || member.takes_requests();
        // The KDC does not say whether it takes the control URI: that is seen when it uses it.
        let again = if member.is_observing() || self.told { LOOK } else { ASK };
        if self.looked.is_none_or(|looked| looked.elapsed() >= again) {
            // Who takes requests is told by these.
            let operation = if control_uri.is_some() { Operation::Refresh } else { Operation::Observe };
            member.run(operation).await?;
            self.looked = Some(Instant::now());
            member.run(Operation::Status).await?;
        }
        if !is_told(member) {
            tokio::time::sleep(PAUSE).await;
            return Ok(());
        }
        let told = member.told().await;
        if told.is_err() {
            // What could not be taken is asked for.
            self.looked = None;
        }
        self.told |= *told.as_ref().unwrap_or(&false);
        told.map(|_| ())
    }

    /// Gets another token where it is time, and posts one that the KDC does not have yet.
    async fn renew(&mut self, member: &mut Member<'_>) -> Result<(), ProgramError> {
        if member.token().is_none_or(|token| token.renews_at() <= unix()) {
            member.run(Operation::Token).await?;
        }
        let token = member.token().map(|token| token.expires);
        if self.posted != token || !member.has_association() {
            member.run(Operation::Upload).await?;
            (self.posted, self.looked) = (token, None);
        }
        Ok(())
    }

    async fn join(&mut self, member: &mut Member<'_>) -> Result<(), ProgramError> {
        let token = member.token().map(|token| token.expires);
        if self.ended && self.rejoined_with == token {
            tokio::time::sleep(PAUSE).await;
            return Ok(());
        }
        let joined = member.run(Operation::Join).await;
        // What passes, e.g. 5.03, is tried again.
        let is_settled = match &joined {
            Ok(()) => true,
            Err(ProgramError::Member(MemberError::Refused { status, .. })) => status.coap() >> 5 == 4,
            Err(_) => false,
        };
        if self.ended && is_settled {
            self.rejoined_with = token;
        }
        (self.looked, self.told) = (None, false);
        joined
    }

    fn note(&mut self, happened: &MemberEvent) {
        self.ended = match happened {
            MemberEvent::Ended | MemberEvent::GroupDeleted => true,
            MemberEvent::Joined { .. } => false,
            _ => self.ended,
        };
    }
}

/// Stays a member until the program is told to stop: `tell` gets each event. It renews its token when four fifths of its life are
/// over. A member that was put out tries one join, and no other before it has another token.
///
/// # Errors
/// [`ProgramError`] where the state cannot be kept, or events cannot be told. What the servers refuse, or do not answer, is tried again.
pub async fn watch(
    member: &mut Member<'_>,
    mut tell: impl FnMut(Value) -> Result<(), ace_backend_daemon::ProgramError>,
) -> Result<(), ProgramError> {
    let mut stop = pin!(stop_signal());
    let mut watch = Watch::new(member);
    loop {
        let stepped = tokio::select! {
            () = &mut stop => return Ok(()),
            stepped = watch.step(member) => stepped,
        };
        for happened in member.take_events() {
            watch.note(&happened);
            tell(event(member, &happened))?;
        }
        let pause = match stepped {
            Ok(()) => continue,
            Err(ProgramError::Member(MemberError::Exchange(ExchangeError::Silent(_)))) => PAUSE,
            Err(ProgramError::Member(error)) => {
                ace_backend_daemon::say(ace_backend_daemon::escaped(&error.to_string()));
                PAUSE
            }
            Err(error) => return Err(error),
        };
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(pause) => (),
        }
    }
}
