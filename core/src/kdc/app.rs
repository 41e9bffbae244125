//! What the KDC holds in memory, and how it is set up.

use crate::access::Resource;
use crate::command::{Command, Figure};
use crate::delivery::{Delivered, Delivery};
use crate::engine::store::view::{Stop, View};
use crate::engine::{App, Engine, Input, Outcome, wraps_engine};
use crate::kdc::association::ownership::Owned;
use crate::kdc::association::pending::Pendings;
use crate::kdc::association::rate::{Challenges, FailedProofs, Posts};
use crate::kdc::config::{KdcConfig, SetupError};
use crate::kdc::delivery::body::Bodies;
use crate::kdc::delivery::schedule::{Deliveries, Step, Told};
use crate::kdc::delivery::send::{Configured, DeliveryKey, Sending};
use crate::kdc::event::{Event, Task};
use crate::kdc::group::{Group, Groups};
use crate::kdc::keying::heads::Heads;
use crate::kdc::keying::look::Looks;
use crate::kdc::keying::material::Lives;
use crate::kdc::keying::rekey::Rekeyings;
use crate::kdc::scene::Scene;
use crate::kdc::start::{Accepts, Start};
use crate::kdc::token::expiry::Expiries;
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::request::{Caller, Method, Request};
use crate::time::Now;
use crate::token::Trust;
use crate::traits::crypto::CryptoProvider;
use crate::traits::storage::Sharing;
use crate::traits::token::TokenValidator;
use crate::traits::transport::{AssociationNeed, AssociationNotice, TransportProfile};
use ace_groupcomm_messages::CreationHints;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// The KDC's handlers and what they hold in memory.
pub(crate) struct KdcApp {
    pub(super) hints: CreationHints,
    /// The groups of the configuration: what is stored is compared with them.
    pub(super) configured: BTreeMap<String, Arc<Group>>,
    pub(super) groups: Groups,
    pub(super) transports: Vec<&'static dyn TransportProfile>,
    pub(super) validator: Box<dyn TokenValidator>,
    /// The issuers that the validator trusts.
    pub(super) trust: Option<Trust>,
    pub(super) accepts: Accepts,
    pub(super) start: Start,
    pub(super) pendings: Pendings,
    pub(super) posts: Posts,
    pub(super) failed_proofs: FailedProofs,
    pub(super) challenges: Challenges,
    pub(super) lives: Lives,
    pub(super) rekeyings: Rekeyings,
    pub(super) looks: Looks,
    pub(super) heads: Heads,
    pub(super) deliveries: Deliveries,
    pub(super) bodies: Bodies,
    /// What leaves with the next effects.
    pub(super) outbox: Vec<(DeliveryKey, Delivery)>,
    pub(super) changes_per_hour: u32,
    pub(super) expiry_notice: Duration,
    pub(super) process: Option<u16>,
    /// The incarnation in which this process has started: groups of others get new keys first.
    pub(super) incarnation: Option<u32>,
    pub(super) sharing: Sharing,
    pub(super) owned: Owned,
    pub(super) expiry: Expiries,
    /// Groups that are not known to be there.
    pub(super) missing: BTreeSet<String>,
}

impl App for KdcApp {
    type Task = Task;
    type Event = Event;
    type Notice = AssociationNotice;
    type Delivery = DeliveryKey;

    fn admit(&mut self, now: Now, caller: &Caller, request: &Request) -> Result<(), Refusal> {
        match (caller, Resource::of(&request.path)) {
            (Caller::Anonymous(_), Some((Resource::AuthzInfo, _))) if request.method == Method::Post => {
                self.posts.admit(now, caller)
            }
            _ => Ok(()),
        }
    }

    fn handle(&self, view: &View<'_>, input: &Input<Task>) -> Result<Outcome<Event>, Stop> {
        match input {
            Input::Request(caller, request) => self.request(&Scene { view, caller, request }),
            Input::Task(task) => self.run_task(view, task),
            Input::Command(command) => self.command(view, command),
        }
    }

    fn lane(&self, input: &Input<Task>) -> Option<String> {
        match input {
            // Names that a stranger makes up get no lane.
            Input::Request(_, request) => match Resource::of(&request.path) {
                Some((_, gname)) if self.is_known(gname) => Some(format!("g/{gname}")),
                _ => None,
            },
            Input::Task(Task::Create(_) | Task::Enter | Task::Compare | Task::TakeUp { .. }) => Some("create".into()),
            // Their commits must not fight each other.
            Input::Task(Task::Expire | Task::Issuers(_) | Task::Clear(_)) | Input::Command(Command::Revoke(_)) => {
                Some("evict".into())
            }
            Input::Task(Task::Rekey { gname, .. } | Task::Look(gname) | Task::PutOut { gname, .. }) => {
                Some(format!("g/{gname}"))
            }
            Input::Command(Command::Create { .. }) => Some("create".into()),
            Input::Command(
                Command::Evict { group: gname, .. }
                | Command::Lift { group: gname, .. }
                | Command::Activate(gname)
                | Command::Deactivate(gname)
                | Command::Rekey(gname)
                | Command::Delete { group: gname, .. },
            ) if self.is_known(gname) => Some(format!("g/{gname}")),
            Input::Task(_) | Input::Command(_) => None,
        }
    }

    fn apply(&mut self, now: Now, event: Event, out: &mut Vec<AssociationNotice>) {
        match event {
            Event::Pending(pending) => {
                out.push(AssociationNotice::New {
                    id: pending.id.clone(),
                    profile: pending.profile,
                    material: pending.material.clone(),
                });
                out.extend(self.pendings.insert(now, *pending).into_iter().map(|id| AssociationNotice::Gone { id }));
            }
            Event::Established { id, material } => out.push(match self.pendings.establish(&id, material.clone()) {
                Some(profile) => AssociationNotice::New { id, profile, material },
                None => AssociationNotice::Unavailable { id },
            }),
            Event::Entered { process, incarnation } => {
                (self.process, self.incarnation) = (Some(process), Some(incarnation));
            }
            Event::Proven { id, term, start, limit } => {
                let earlier = self.pendings.proven(&id);
                out.extend(earlier.into_iter().map(|id| AssociationNotice::Gone { id }));
                self.owned.take(id.clone(), term, Duration::ZERO);
                if start < limit {
                    out.push(AssociationNotice::Sequence { id, start, limit });
                }
            }
            Event::Loaded { id, profile, material, owned } => {
                out.push(AssociationNotice::Loaded { id, profile, material, owned });
            }
            Event::Challenges { id, start, limit } => {
                self.challenges.note(now, &id);
                out.push(AssociationNotice::Sequence { id, start, limit });
            }
            Event::Ended(id) => {
                self.pendings.remove(&id);
                self.owned.lose(&id);
                out.push(AssociationNotice::Ended { id });
            }
            Event::Claimed { id, term } => {
                self.owned.take(id.clone(), term, now.mono);
                out.push(AssociationNotice::Claimed { id });
            }
            Event::Lost(id) => {
                self.pendings.remove(&id);
                self.owned.lose(&id);
                out.push(AssociationNotice::Lost { id });
            }
            Event::Gone(id) => {
                self.pendings.remove(&id);
                self.owned.lose(&id);
                out.push(AssociationNotice::Gone { id });
            }
            Event::Restricted(id) => out.push(AssociationNotice::Restricted { id }),
            Event::Sequence { id, start, limit } => out.push(AssociationNotice::Sequence { id, start, limit }),
            Event::Expires(at) => self.expiry.expires(at),
            Event::Swept { next, time } => self.expiry.swept(now, next, time),
            Event::Start(event) => self.note_start(event),
            Event::Created { gname, group, num, created, expires, interval } => {
                self.missing.remove(&gname);
                self.looks.learn(now.mono, &gname, group, num);
                self.lives.begin(&gname, created, expires, interval);
            }
            Event::Rekeyed { gname, group, num, audience, created, expires, interval } => {
                self.lives.begin(&gname, created, expires, interval);
                self.note_rekeyed(now.mono, &gname, group, (num, audience), out);
            }
            Event::RekeyDue { gname, delay, why } => {
                self.looks.begin(now.mono, &gname);
                self.rekeyings.note(&gname, now.mono.saturating_add(delay), why);
            }
            Event::Distributes { gname, group, num, after } => self.deliveries.begin(&gname, group, num, after),
            Event::ControlsRead { gname, num, clients, more } => {
                self.deliveries.read(&gname, num, clients, more);
                let over = self.deliveries.ended(&gname);
                self.note_distributed(over);
            }
            Event::Deliver(key, delivery) => self.outbox.push((key, *delivery)),
            Event::Told { gname, num, client, told } => self.note_told_one(now.mono, &gname, num, client, told),
            Event::Unobserved { id, path } => out.push(AssociationNotice::Unobserved { id, path }),
            Event::Audit(entry) => entry.say(),
            Event::Absent { gname, why } => self.note_absent(&gname, why),
            Event::Deleted { gname, group } => self.note_deleted(&gname, group, out),
            Event::Clears(group) => self.start.todo(Task::Clear(group)),
            Event::ProofFailed(client) => self.failed_proofs.note(now, client),
            Event::Changed(path) => out.push(AssociationNotice::Changed { path }),
            Event::Watched { gname, seen } => self.note_watched(now.mono, &gname, seen),
            Event::HeadChanged { gname, seen } => self.note_head(&gname, seen, out),
            Event::Leaving { gname, group } => self.start.put_out(gname, group),
            Event::FindsLeaving { after } => self.start.todo(Task::FindLeaving { after }),
            Event::Encoded { key, num, at, encoded } => self.bodies.keep(key, num, at, encoded),
            Event::Vanished { gname, group } => self.note_vanished(&gname, group, out),
        }
    }

    fn first(&self) -> Vec<Task> {
        vec![Task::Enter, Task::Compare]
    }

    fn is_ready(&self) -> bool {
        let groups = self.start.has_seen_all() && self.missing.is_empty();
        self.process.is_some() && groups && self.expiry.is_known() && self.start.refused().is_none()
    }

    fn refused(&self) -> Option<Arc<dyn Error + Send + Sync>> {
        self.start.refused().map(|why| Arc::new(why.clone()) as _)
    }

    fn provide(&self, need: AssociationNeed) -> Option<Task> {
        Some(Task::Association(need))
    }

    fn failed(&mut self, now: Duration, task: &Task, out: &mut Vec<AssociationNotice>) -> Option<Task> {
        match task {
            // A client waits, and asks again.
            Task::Association(
                AssociationNeed::Unknown(id)
                | AssociationNeed::Claim(id)
                | AssociationNeed::Challenge(id)
                | AssociationNeed::Established(id, _),
            ) => {
                out.push(AssociationNotice::Unavailable { id: id.clone() });
                None
            }
            // So does one here; but an association that lives cannot do without numbers.
            Task::Association(AssociationNeed::Sequence(id)) => {
                out.push(AssociationNotice::Unavailable { id: id.clone() });
                Some(task.clone())
            }
            // Both come again by themselves.
            Task::Look(_) | Task::Heads { .. } => {
                self.looks.doubt(now);
                None
            }
            // The member is tried again, as one that has not answered.
            Task::Deliver(Sending { gname, num, client, .. })
            | Task::Configured(Configured { gname, num, client, .. }) => {
                self.note_told_one(now, gname, *num, *client, Told::Not);
                None
            }
            other => Some(other.clone()),
        }
    }

    fn releases(&self, event: &Event) -> bool {
        matches!(event, Event::Rekeyed { .. })
    }

    fn doubts(&mut self, now: Duration) {
        self.looks.doubt(now);
    }

    fn take_deliveries(&mut self) -> Vec<(DeliveryKey, Delivery)> {
        std::mem::take(&mut self.outbox)
    }

    fn delivered(&mut self, now: Now, key: DeliveryKey, delivered: Delivered) {
        self.note_delivered(now.mono, key, delivered);
    }

    fn resource(&self, request: &Request) -> &'static str {
        Resource::of(&request.path).map_or("none", |(resource, _)| resource.kind())
    }

    fn figures(&self) -> Vec<Figure> {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let own = [
            ("associations_waiting_for_proof", count(self.pendings.len())),
            ("groups_not_taken_up", count(self.missing.len())),
            ("deliveries_under_way", count(self.deliveries.under_way())),
        ];
        own.into_iter().map(|(name, value)| Figure::new(name, value)).collect()
    }

    fn next_due(&self, now: Now) -> Option<Duration> {
        let own = [
            self.expiry.next(now),
            self.pendings.next_timeout(),
            self.lives.next(now),
            self.rekeyings.next(),
            self.looks.next(),
            self.heads.next(),
            self.deliveries.next(now.mono),
        ];
        self.start.next(now).into_iter().chain(own.into_iter().flatten()).min()
    }

    fn due(&mut self, now: Now, out: &mut Vec<AssociationNotice>) -> Vec<Task> {
        let gone = self.pendings.expire(now);
        out.extend(gone.into_iter().map(|id| AssociationNotice::Gone { id }));
        let mut tasks = self.start.take();
        let lives = self.lives.take(now).into_iter().map(|(gname, why)| Task::Rekey { gname, why: Some(why) });
        tasks.extend(lives);
        tasks.extend(self.rekeyings.take(now.mono).into_iter().map(|(gname, why)| Task::Rekey { gname, why }));
        tasks.extend(self.looks.take(now.mono).into_iter().chain(self.heads.take(now.mono)));
        tasks.extend(self.deliveries.take(now.mono).into_iter().map(Step::task));
        tasks.extend(self.expiry.begins(now).then_some(Task::Expire));
        tasks
    }
}

/// A Key Distribution Center: a [`Machine`].
///
/// [`Machine`]: crate::engine::Machine
pub struct Kdc(Engine<KdcApp>);

wraps_engine!(Kdc, AssociationNotice);

impl Kdc {
    /// Sets a KDC up over storage that is shared so. Keys of groups are made by this provider; what drives the engine may do its
    /// work by another one. Call [`Machine::start`] before any request.
    ///
    /// [`Machine::start`]: crate::engine::Machine::start
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(
        config: KdcConfig,
        registry: &Registry,
        validator: Box<dyn TokenValidator>,
        sharing: Sharing,
        crypto: Arc<dyn CryptoProvider>,
    ) -> Result<Self, SetupError> {
        let (groups, trust) = (Groups::new(registry, crypto), validator.trust());
        let mut configured = BTreeMap::new();
        for config in config.groups {
            let gname = config.gname.clone();
            let issuers = trust.as_ref().map(|trust| trust.speakers(&gname));
            let group = Arc::new(groups.define(config, issuers)?);
            if configured.insert(gname.clone(), group).is_some() {
                return Err(SetupError::GroupTwice(gname));
            }
        }
        if registry.transports().is_empty() {
            return Err(SetupError::NoTransport);
        }
        let app = KdcApp {
            hints: config.hints,
            missing: configured.keys().cloned().collect(),
            configured,
            groups,
            transports: registry.transports().iter().map(|transport| transport.profile).collect(),
            trust,
            validator,
            accepts: Accepts { issuers: config.accept_issuers, parameters: config.accept_parameters },
            start: Start::default(),
            pendings: Pendings::new(config.pending),
            posts: Posts::new(config.posts),
            failed_proofs: FailedProofs::new(),
            challenges: Challenges::new(),
            lives: Lives::default(),
            rekeyings: Rekeyings::default(),
            looks: Looks::new(sharing),
            heads: Heads::new(sharing),
            deliveries: Deliveries::default(),
            bodies: Bodies::default(),
            outbox: Vec::new(),
            changes_per_hour: config.changes_per_hour,
            expiry_notice: config.expiry_notice,
            process: None,
            incarnation: None,
            sharing,
            owned: Owned::new(sharing),
            expiry: Expiries::new(sharing),
        };
        Ok(Self(Engine::over(app, sharing, config.limits)))
    }

    /// How many associations wait for their proof.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.app().pendings.len()
    }
}
