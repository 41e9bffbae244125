//! A group is made: its identifier, its first Gid, its first secrets, in one commit. One that is there is taken up.

use crate::delivery::RekeyProgress;
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::event::Absence;
use crate::kdc::keying::epoch::Begun;
use crate::kdc::keying::rekey::Rekeyed;
use crate::kdc::start::{StartEvent, StartRefusal};
use crate::kdc::{Event, Group, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, GroupId};
use crate::schema::kind::Kind;
use crate::schema::records::{GroupConfiguration, GroupSecret, Head, Meta, NameState, NamedGroup, RekeyReason};
use crate::time::UnixTime;
use crate::traits::profile::ParameterChange;
use crate::traits::rekeying::Audience;
use crate::traits::storage::Key;
use std::time::Duration;

/// How many names are looked at in one step.
const PAGE: usize = 64;
/// How many groups that were deleted are taken up at a start; more are at the next one.
const DELETIONS: usize = 512;

/// A group whose version has begun.
fn created(of: &Group, Begun { changes, group, num, created, expires, .. }: Begun) -> Outcome<Event> {
    let (gname, interval) = (of.gname.clone(), of.policy.interval);
    Outcome::done_with(changes).with_event(Event::Created { gname, group, num, created, expires, interval })
}

/// What was due when the former process ended is due at once; a start itself is a cause after the delay, where the policy says so.
fn due_at_start(group: &Group, head: &Head) -> Option<Event> {
    let gname = group.gname.clone();
    if head.rekey_due.is_some() {
        return Some(Event::RekeyDue { gname, delay: Duration::ZERO, why: None });
    }
    let (delay, why) = (group.policy.delay, Some(RekeyReason::Restarted));
    group.policy.on_restart.then_some(Event::RekeyDue { gname, delay, why })
}

const BROKEN: Refusal = Refusal::Internal("a group has no head, or no secret of its version");

impl KdcApp {
    /// Makes a group that is configured, or takes up one that is stored.
    pub(in crate::kdc) fn create(&self, view: &View<'_>, gname: &str) -> Result<Outcome<Event>, Stop> {
        let configured = self.configured.get(gname);
        let (known, meta) = (view.get::<NamedGroup>(&keys::name(gname)), view.get::<Meta>(&keys::meta()));
        let (known, meta) = (known?, meta?.copied().unwrap_or_default());
        let absent = |why| Outcome::done().with_event(Event::Absent { gname: gname.into(), why });
        let Some(known) = known else {
            let group = configured.ok_or(Refusal::NotFound)?;
            return Ok(created(group, self.begin_group(view, group, NameState::Live(UnixTime::EPOCH), meta)?));
        };
        let Some(id) = known.live() else { return Ok(absent(Absence::Deleted)) };
        if let Some(group) = configured {
            return self.take_up(view, group, id, meta);
        }
        match view.get::<GroupConfiguration>(&keys::config(id))?.map(|stored| self.groups.of(gname, stored)) {
            Some(Ok(group)) => self.take_up(view, &group, id, meta),
            Some(Err(_)) | None => Ok(absent(Absence::Unknown)),
        }
    }

    /// A new group, and its name.
    pub(in crate::kdc) fn begin_group(
        &self,
        view: &View<'_>,
        group: &Group,
        state: NameState,
        meta: Meta,
    ) -> Result<Begun, Stop> {
        let id = GroupId::new(view.random_bytes("group"));
        let mut begun = self.first_epoch(view, group, id, meta)?;
        begun.changes.put(keys::name(&group.gname), NamedGroup { id, state });
        Ok(begun)
    }

    /// A group that is there goes on as it is, if it is as it is configured or can be made so. One of a former incarnation is renewed, and one
    /// of which no configuration is stored takes what is configured.
    fn take_up(&self, view: &View<'_>, group: &Group, id: GroupId, meta: Meta) -> Result<Outcome<Event>, Stop> {
        if let Some(begun) = self.renew(view, group, id, meta)? {
            return Ok(created(group, begun));
        }
        let (head, stored) = (view.get::<Head>(&keys::head(id)), view.get::<GroupConfiguration>(&keys::config(id)));
        let (head, stored) = (head?.ok_or(BROKEN)?, stored?);
        let secret = view.get::<GroupSecret>(&keys::secret(id, head.num))?.ok_or(BROKEN)?;
        let (gname, interval) = (group.gname.clone(), group.policy.interval);
        let (num, created, expires) = (head.num, secret.created, secret.expires);
        let event = Event::Created { gname, group: id, num, created, expires, interval };
        // What is served from now on stands there: of a parameter that is new the value that it has today. Who may speak for
        // the group was settled before.
        let issuers = stored.and_then(|stored| stored.issuers.clone()).or(group.issuers.clone());
        let configured =
            GroupConfiguration { issuers, since: stored.and_then(|stored| stored.since), ..group.configuration() };
        match stored.and_then(|stored| group.differences(stored, self.groups.crypto())) {
            // Another process may have made it since all was compared.
            Some(differing) if !self.accepts(group, Some(head), &differing) => {
                let refused = StartEvent::Refused(StartRefusal::Parameters(vec![differing]));
                return Ok(Outcome::done().with_event(Event::Start(refused)));
            }
            Some(differing) if differing.change == ParameterChange::NextVersion => {
                return self.reconfigure(view, group, id, (head, meta), configured);
            }
            Some(_) | None => (),
        }
        let told = view.get::<RekeyProgress>(&keys::rekey_progress(id))?.copied();
        let goes_on = told.map_or(0, |told| told.told) < head.num && head.members > 0;
        let goes_on = goes_on && self.resumed_audience(view, group, id, head)? == Audience::EachMember;
        let after = told.filter(|told| told.num == head.num).and_then(|told| told.after);
        let distributes =
            goes_on.then(|| Event::Distributes { gname: group.gname.clone(), group: id, num: head.num, after });
        let due = due_at_start(group, head).into_iter().chain(distributes);
        if stored == Some(&configured) {
            return Ok(due.fold(Outcome::done().with_event(event), Outcome::with_event));
        }
        let mut changes = Changes::new();
        changes.put(keys::config(id), configured);
        Ok(due.fold(Outcome::done_with(changes).with_event(event), Outcome::with_event))
    }

    /// Gives a group other parameters, with the version that begins in the same commit.
    fn reconfigure(
        &self,
        view: &View<'_>,
        group: &Group,
        id: GroupId,
        (head, meta): (&Head, Meta),
        configured: GroupConfiguration,
    ) -> Result<Outcome<Event>, Stop> {
        let mut reasons = head.rekey_due.as_ref().map(|due| due.reasons.clone()).unwrap_or_default();
        reasons.insert(RekeyReason::Configured);
        let Rekeyed { head, secret, mut changes, events } =
            self.begin_rekeying(view, group, id, head, meta, &reasons)?;
        changes.put(keys::config(id), GroupConfiguration { since: Some(head.num), ..configured });
        let (gname, interval) = (group.gname.clone(), group.policy.interval);
        let (num, created, expires) = (head.num, secret.created, secret.expires);
        let taken_up = Event::Created { gname, group: id, num, created, expires, interval };
        Ok(events.into_iter().fold(Outcome::done_with(changes).with_event(taken_up), Outcome::with_event))
    }

    /// Looks at a page of names, for groups that no file names, and for what is left of those that were deleted.
    pub(in crate::kdc) fn take_up_stored(&self, view: &View<'_>, after: Option<&Key>) -> Result<Outcome<Event>, Stop> {
        let names = view.hint_after::<NamedGroup>(&keys::names(), after, PAGE);
        let deleted = match after {
            None => view.hint_keys(&keys::deletions(), DELETIONS),
            Some(_) => Ok(Vec::new()),
        };
        let ((names, more), deleted) = (names?, deleted?);
        let gname = |key: &Key| {
            let bytes = key.as_bytes().strip_prefix(keys::names().as_bytes())?;
            std::str::from_utf8(bytes).ok().map(Into::into)
        };
        let live = names.iter().filter(|(_, name)| name.live().is_some());
        let cleared = deleted.iter().filter_map(|key| match Kind::of(key) {
            Some(Kind::Deletion(group)) => Some(group),
            _ => None,
        });
        let (gnames, cleared) = (live.filter_map(|(key, _)| gname(key)).collect(), cleared.collect());
        Ok(Outcome::done().with_event(Event::Start(StartEvent::Stored { gnames, cleared, more })))
    }
}
