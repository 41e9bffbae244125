//! Members that are told of changes (RFC 7641, RFC 9594 section 6.1). A registration is stored before it is answered,
//! and ends with its association at the latest.
//!
//! On storage that several processes write to, each tells those who observe at its own addresses, and reads the heads of their
//! groups each second for what the others change ([`heads`]). What a profile stores beside them it would not learn of: such
//! resources are not observed there, and members ask now and then.
//!
//! [`heads`]: crate::kdc::keying::heads

use crate::access::Resource;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::engine::{Outcome, Said};
use crate::id::AssociationId;
use crate::kdc::keying::heads::SeenHead;
use crate::kdc::scene::Scene;
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::request::{Caller, Method, Purpose, Registration, Request, Response, Status};
use crate::schema::keys;
use crate::schema::records::{Head, Observation};
use crate::traits::storage::{Storage, StorageError};
use crate::{Corrupt, RecordType};
use ace_groupcomm_messages::GroupcommError;
use bytes::Bytes;
use serde_bytes::ByteBuf;

/// How many registrations are read at once.
const PAGE: usize = 256;

/// A group of which something is observed.
pub(in crate::kdc) struct Observable {
    gname: String,
    seen: SeenHead,
    /// In seconds.
    check_interval: Option<i64>,
}

impl Observable {
    fn watched(self) -> Event {
        Event::Watched { gname: self.gname, seen: self.seen }
    }
}

impl KdcApp {
    /// The outcome of a request of a member that wants to observe what it got.
    pub(in crate::kdc) fn observed(
        &self,
        caller: &Caller,
        request: &Request,
        mut outcome: Outcome<Event>,
        group: Option<Observable>,
    ) -> Outcome<Event> {
        let check_interval = group.as_ref().and_then(|group| group.check_interval);
        // As long as a notification is good, its client does not register anew: the default of a minute would have all of them do
        // so each minute (RFC 7641 section 3.3.1).
        let max_age = check_interval.and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        if let Some(Said::Response(response)) = &mut outcome.said
            && request.purpose == Purpose::Notification
            && response.status.is_success()
        {
            response.max_age = max_age;
            outcome.events.extend(group.map(Observable::watched));
            return outcome;
        }
        let (Some(registration), Caller::Peer(id, _)) = (&request.observe, caller) else { return outcome };
        if let Some(Said::Response(response)) = &mut outcome.said
            && request.method == Method::Get
            && response.status.is_success()
        {
            response.observed = true;
            response.max_age = max_age;
            let bytes = |bytes: &Bytes| ByteBuf::from(bytes.to_vec());
            let observation = Observation {
                association: id.clone(),
                name: bytes(&registration.name),
                state: bytes(&registration.state),
            };
            outcome.changes.put(keys::observation(id, &registration.name), observation);
            outcome.events.extend(group.map(Observable::watched));
        }
        outcome
    }

    /// The group of a resource that may be observed, where it is there.
    pub(in crate::kdc) fn observable(&self, view: &View<'_>, gname: &str) -> Result<Option<Observable>, Stop> {
        let Some(live) = self.group(view, gname)? else { return Ok(None) };
        let Some(head) = view.get::<Head>(&keys::head(live.id))? else { return Ok(None) };
        let check_interval = live.group.rules.policies().key_update_check_interval;
        let seen = SeenHead { group: live.id, num: head.num, active: head.active };
        Ok(Some(Observable { gname: gname.into(), seen, check_interval }))
    }

    /// A registration has come to its end, unless a later one has taken its place.
    pub(in crate::kdc) fn unobserve(
        &self,
        view: &View<'_>,
        id: &AssociationId,
        registration: &Registration,
    ) -> Result<Outcome<Event>, Stop> {
        let key = keys::observation(id, &registration.name);
        let stored = view.get::<Observation>(&key)?;
        if stored.is_none_or(|stored| *stored.state != *registration.state) {
            return Ok(Outcome::done());
        }
        let mut changes = Changes::new();
        changes.delete(key);
        Ok(Outcome::done_with(changes))
    }

    /// Why a member is told no more of what it observes: its membership has ended meanwhile (RFC 9594 section 5). Of its own resource it
    /// is told that; what else it observes is not for it any more, and where its token ends soon, it needs another one.
    pub(in crate::kdc) fn ended_meanwhile(&self, scene: &Scene<'_, '_>, resource: Resource<'_>, stop: Stop) -> Stop {
        let is_ended =
            matches!(stop, Stop::Refuse(Refusal::Forbidden(_) | Refusal::Groupcomm(GroupcommError::NotAMember)));
        if !is_ended || scene.request.purpose != Purpose::Notification {
            return stop;
        }
        if matches!(resource, Resource::Node(_)) {
            return Refusal::Groupcomm(GroupcommError::MembershipTerminated).into();
        }
        match self.token_holder(scene.view, scene.caller) {
            Ok(holder) if self.is_expiring(scene.view, &holder) => self.no_token(false).into(),
            _ => stop,
        }
    }
}

/// The last answer to who observes the resource with this path when its token has ended (RFC 9200 section 5.10.3, RFC 9594
/// section 4.8.1): 4.01, and of its own node that the membership has ended.
#[must_use]
pub fn last_word(path: &[String]) -> Response {
    match Resource::of(path) {
        Some((Resource::Node(_), _)) => Refusal::Groupcomm(GroupcommError::MembershipTerminated).response(),
        _ => Response::new(Status::Unauthorized),
    }
}

/// The registrations that a former process has stored, each with the name of its association. Hand them to the network
/// side when a KDC starts.
///
/// # Errors
/// [`StorageError`] where they cannot be read.
pub async fn registrations(storage: &dyn Storage) -> Result<Vec<(AssociationId, Registration)>, StorageError> {
    let prefix = keys::observations();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = storage.scan(&prefix, after.as_ref(), PAGE).await?;
        for (_, record) in &page.records {
            let read: Result<Observation, Corrupt> = Observation::decode(&record.value);
            // One that cannot be read is nobody's loss but its client's, who asks again.
            let Ok(Observation { association, name, state }) = read else { continue };
            let registration = Registration { name: name.into_vec().into(), state: state.into_vec().into() };
            found.push((association, registration));
        }
        match page.records.into_iter().last().filter(|_| page.more) {
            Some((last, _)) => after = Some(last),
            None => return Ok(found),
        }
    }
}
