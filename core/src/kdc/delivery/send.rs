//! What a member is sent, made when it is sent: of the head, and then of membership and token. So a queue holds no key, and nobody
//! who is out meanwhile gets one.

use crate::delivery::{ControlRecord, Delivered, Delivery, RekeyProgress};
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::AssociationId;
use crate::kdc::delivery::schedule::{Distributed, Step, Told, page};
use crate::kdc::scene::GroupState;
use crate::kdc::{Event, Group, KdcApp, Task};
use crate::refusal::Refusal;
use crate::request::{Method, Request};
use crate::schema::keys::{self, GroupId, PrincipalId};
use crate::schema::kind::Kind;
use crate::schema::records::{Association, GroupSecret, Head, MemberRecord, Principal};
use crate::traits::profile::KeyAudience;
use ace_groupcomm_messages::RawCbor;
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::paths::{NODES, ROOT};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long the answer of a member that was put out is waited for.
const EVICTED_PATIENCE: Duration = Duration::from_secs(60);

/// What a delivery is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryKey {
    /// A member is told of a version.
    Rekeyed {
        /// The GROUPNAME.
        gname: String,
        /// The version that it is told of.
        num: u64,
        /// The principal that is the member.
        client: PrincipalId,
    },
    /// A member is told of the parameters that began with a version; then of the version.
    Configured {
        /// The GROUPNAME.
        gname: String,
        /// The version that it is told of.
        num: u64,
        /// The principal that is the member.
        client: PrincipalId,
        /// The group that it is about.
        group: GroupId,
        /// The version whose parameters these are.
        since: u64,
    },
    /// A member is told that it is one no more. Nothing follows of it.
    Evicted,
}

/// One send for a member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    pub(in crate::kdc) gname: String,
    pub(in crate::kdc) group: GroupId,
    pub(in crate::kdc) client: PrincipalId,
    pub(in crate::kdc) num: u64,
    pub(in crate::kdc) patience: Duration,
}

/// A member of a group that knows the parameters which began with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configured {
    pub(in crate::kdc) gname: String,
    pub(in crate::kdc) group: GroupId,
    pub(in crate::kdc) num: u64,
    pub(in crate::kdc) client: PrincipalId,
    pub(in crate::kdc) since: u64,
}

impl Step {
    /// The task that does it.
    pub(in crate::kdc) fn task(self) -> Task {
        match self {
            Self::Read { gname, group, num, after } => Task::Controls { gname, group, num, after },
            Self::Send { gname, group, client, num, patience } => {
                Task::Deliver(Sending { gname, group, client, num, patience })
            }
            Self::Note { group, num, after } => Task::Progress { group, num, after },
        }
    }
}

impl KdcApp {
    /// Reads a page of members that take requests.
    pub(in crate::kdc) fn read_controls(
        &self,
        view: &View<'_>,
        gname: &str,
        group: GroupId,
        num: u64,
        after: Option<PrincipalId>,
    ) -> Result<Outcome<Event>, Stop> {
        let after = after.map(|client| keys::control(group, client));
        let (page, more) = view.hint_after::<ControlRecord>(&keys::controls(group), after.as_ref(), page())?;
        let client = |key: &_| match Kind::of(key) {
            Some(Kind::Control(_, client)) => Some(client),
            _ => None,
        };
        let clients = page.iter().filter_map(|(key, _)| client(key)).collect();
        let read = Event::ControlsRead { gname: gname.into(), num, clients, more: more.is_some() };
        Ok(Outcome::done().with_event(read))
    }

    /// Makes the rekeying message for one member, if it is one still.
    pub(in crate::kdc) fn deliver(&self, view: &View<'_>, sending: &Sending) -> Result<Outcome<Event>, Stop> {
        let Sending { gname, group, client, num, patience } = sending;
        let needs_nothing = || {
            let (gname, client) = (gname.clone(), *client);
            Outcome::done().with_event(Event::Told { gname, num: *num, client, told: Told::Done })
        };
        // The head first: whoever is a member afterwards may have what it says.
        let Some(head) = view.get::<Head>(&keys::head(*group))? else { return Ok(needs_nothing()) };
        let (live, control, member, principal) = (
            self.group(view, gname),
            view.get::<ControlRecord>(&keys::control(*group, *client)),
            view.get::<MemberRecord>(&keys::member(*group, *client)),
            view.get::<Principal>(&keys::principal(*client)),
        );
        let (live, control, member, principal) = (live?, control?, member?, principal?);
        let (Some(live), Some(control), Some(member), Some(principal)) = (live, control, member, principal) else {
            return Ok(needs_nothing());
        };
        let Some(held) = self.covering(view, *client, principal, gname, *group, &control.association)? else {
            return Ok(needs_nothing());
        };
        if !principal.is_member(*group)
            || live.id != *group
            || head.num < *num
            || !self.is_owned(view, &held.association)?
        {
            return Ok(needs_nothing());
        }
        let broken = Refusal::Internal("the keying material cannot be read");
        let secret = view.get::<GroupSecret>(&keys::secret(*group, head.num))?.ok_or(broken)?;
        self.usable(view, secret)?;
        let state = GroupState { id: *group, head };
        let unknown = live.group.since.filter(|since| control.configured < *since);
        // What no rekeying message says is said first.
        let parameters = unknown.and_then(|since| Some((since, live.group.rules.material().configuration()?)));
        let (body, kept) = match &parameters {
            Some((_, key)) => (self.configuration_body(view, &live.group, head, secret, key.clone())?, None),
            None => self.rekeying_body(view, &live.group, &state, secret, KeyAudience::Rekeying)?,
        };
        let path = |segments: &[&str]| segments.iter().map(|segment| (*segment).to_owned()).collect::<Vec<String>>();
        let delivery = Delivery {
            association: held.association.clone(),
            observed: vec![path(&[ROOT, gname]), path(&[ROOT, gname, NODES, member.node.as_str()])],
            to: control.to.to_vec().into(),
            request: Request::new(Method::Post, control.path.clone()).with_payload(ACE_GROUPCOMM_CBOR, body),
            patience: *patience,
        };
        let (gname, num, client) = (gname.clone(), *num, *client);
        let key = match parameters {
            Some((since, _)) => DeliveryKey::Configured { gname, num, client, group: *group, since },
            None => DeliveryKey::Rekeyed { gname, num, client },
        };
        let outcome = Outcome::done().with_event(Event::Deliver(key, Box::new(delivery)));
        Ok(kept.into_iter().fold(outcome, Outcome::with_event))
    }

    /// The message that says the parameters of a group (draft-ietf-ace-oscore-gm-admin section 6.6.3). It has `exi` too: RFC 9594
    /// has no `exp` without it.
    fn configuration_body(
        &self,
        view: &View<'_>,
        group: &Group,
        head: &Head,
        secret: &GroupSecret,
        key: RawCbor,
    ) -> Result<Vec<u8>, Stop> {
        let mut material = self.distribution_of(view, group, head, secret, KeyAudience::Group)?;
        (material.key, material.rekeying_scheme) = (key, None);
        Ok(material.encode())
    }

    /// Stores that a member knows the parameters that began with a version: it is told of the version now.
    pub(in crate::kdc) fn note_configured(
        &self,
        view: &View<'_>,
        configured: &Configured,
    ) -> Result<Outcome<Event>, Stop> {
        let Configured { gname, group, num, client, since } = configured;
        let told = Event::Told { gname: gname.clone(), num: *num, client: *client, told: Told::Next };
        let key = keys::control(*group, *client);
        let Some(control) = view.get::<ControlRecord>(&key)? else { return Ok(Outcome::done().with_event(told)) };
        let mut changes = Changes::new();
        changes.put(key, ControlRecord { configured: control.configured.max(*since), ..control.clone() });
        Ok(Outcome::done_with(changes).with_event(told))
    }

    /// Whether this process sends under an association: each of several tells its own.
    fn is_owned(&self, view: &View<'_>, id: &AssociationId) -> Result<bool, Stop> {
        if self.owned.all() {
            return Ok(true);
        }
        let stored = view.get::<Association>(&keys::association(id))?;
        Ok(stored.is_some_and(|stored| self.owned.has(id, stored.term)))
    }

    /// What a member is told that was put out; nothing where it takes no requests. It is told in one way alone (Group OSCORE profile
    /// section 10): what it observes ends without a word. `has_ended` says that its association has ended too, a moment ago.
    pub(in crate::kdc) fn tell_evicted(
        &self,
        view: &View<'_>,
        id: PrincipalId,
        client: &Principal,
        (gname, group): (&str, GroupId),
        has_ended: bool,
    ) -> Result<Vec<Event>, Stop> {
        let Some(control) = view.get::<ControlRecord>(&keys::control(group, id))? else { return Ok(Vec::new()) };
        let held = client.of_association(&control.association);
        let held = if has_ended { held } else { held.or_else(|| client.tokens.first()) };
        let association = match held {
            Some(held) => held.association.clone(),
            None if has_ended => control.association.clone(),
            None => return Ok(Vec::new()),
        };
        let path: Vec<String> = [ROOT, gname].map(Into::into).to_vec();
        let own = client.tokens.iter().map(|held| held.association.clone());
        let associations: BTreeSet<AssociationId> = own.chain([association.clone()]).collect();
        let mut events: Vec<Event> =
            associations.into_iter().map(|id| Event::Unobserved { id, path: path.clone() }).collect();
        events.push(deletion(association, control));
        Ok(events)
    }

    /// What a member is sent that takes requests, when its group is deleted; nothing where it has no association any more.
    pub(in crate::kdc) fn tell_deleted(
        &self,
        view: &View<'_>,
        client: PrincipalId,
        group: GroupId,
    ) -> Result<Option<Event>, Stop> {
        let (control, principal) =
            (view.get::<ControlRecord>(&keys::control(group, client)), view.get::<Principal>(&keys::principal(client)));
        let (Some(control), Some(principal)) = (control?, principal?) else { return Ok(None) };
        let held = principal.of_association(&control.association).or_else(|| principal.tokens.first());
        Ok(held.filter(|_| principal.is_member(group)).map(|held| deletion(held.association.clone(), control)))
    }

    /// Stores how far the members of a group were told.
    pub(in crate::kdc) fn note_progress(
        &self,
        view: &View<'_>,
        group: GroupId,
        num: u64,
        after: Option<PrincipalId>,
    ) -> Result<Outcome<Event>, Stop> {
        let key = keys::rekey_progress(group);
        let stored = view.get::<RekeyProgress>(&key)?.copied();
        let told = stored.map_or(0, |stored| stored.told);
        if told >= num || stored.is_some_and(|stored| stored.num > num) {
            return Ok(Outcome::done());
        }
        let mut changes = Changes::new();
        changes.put(key, RekeyProgress { told, num, after });
        Ok(Outcome::done_with(changes))
    }

    /// Stores that all members of a group were told of a version, as far as they could be reached.
    pub(in crate::kdc) fn note_told(&self, view: &View<'_>, group: GroupId, num: u64) -> Result<Outcome<Event>, Stop> {
        let key = keys::rekey_progress(group);
        let stored = view.get::<RekeyProgress>(&key)?.copied();
        if stored.is_some_and(|stored| stored.told >= num) || view.get::<Head>(&keys::head(group))?.is_none() {
            return Ok(Outcome::done());
        }
        let after = stored.and_then(|stored| stored.after);
        let mut changes = Changes::new();
        changes.put(key, RekeyProgress { told: num, num, after });
        Ok(Outcome::done_with(changes))
    }

    /// Takes in what has become of a delivery.
    pub(in crate::kdc) fn note_delivered(&mut self, now: Duration, key: DeliveryKey, delivered: Delivered) {
        let (gname, num, client, told) = match (key, delivered) {
            (DeliveryKey::Evicted, _) => return,
            (DeliveryKey::Configured { gname, num, client, group, since }, Delivered::Confirmed) => {
                self.start.todo(Task::Configured(Configured { gname, group, num, client, since }));
                return;
            }
            (DeliveryKey::Rekeyed { gname, num, client }, Delivered::Confirmed) => (gname, num, client, Told::Done),
            (
                DeliveryKey::Rekeyed { gname, num, client } | DeliveryKey::Configured { gname, num, client, .. },
                Delivered::Observed,
            ) => (gname, num, client, Told::Observes),
            (DeliveryKey::Rekeyed { gname, num, client } | DeliveryKey::Configured { gname, num, client, .. }, _) => {
                (gname, num, client, Told::Not)
            }
        };
        self.note_told_one(now, &gname, num, client, told);
    }

    /// Takes in what has become of one member.
    pub(in crate::kdc) fn note_told_one(
        &mut self,
        now: Duration,
        gname: &str,
        num: u64,
        client: PrincipalId,
        told: Told,
    ) {
        let over = self.deliveries.told(now, gname, num, client, told);
        self.note_distributed(over);
    }

    /// Says that a rekeying has come to its end.
    pub(in crate::kdc) fn note_distributed(&mut self, over: Option<Distributed>) {
        let Some(Distributed { gname, group, num, confirmed, unreached }) = over else { return };
        if confirmed == 0 && unreached == 0 {
            return;
        }
        tracing::info!(
            group = gname,
            num,
            confirmed,
            unreached,
            "the members that take requests were told of the version"
        );
        self.start.todo(Task::Distributed { group, num });
    }
}

/// The DELETE by which a member that takes requests is told that it is one no more.
fn deletion(association: AssociationId, control: &ControlRecord) -> Event {
    let delivery = Delivery {
        association,
        observed: Vec::new(),
        to: control.to.to_vec().into(),
        request: Request::new(Method::Delete, control.path.clone()),
        patience: EVICTED_PATIENCE,
    };
    Event::Deliver(DeliveryKey::Evicted, Box::new(delivery))
}
