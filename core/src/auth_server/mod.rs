//! The Authorization Server: who may take which roles in which groups (RFC 9200 section 5.8, RFC 9203 section 3).
//!
//! [`AuthServer`] is an engine of the same kind as the KDC. A caller is a registered client, known by the
//! association that its messages come under; requests that are not protected are refused.

mod token;

use crate::command::CommandError;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::engine::{App, Engine, Input, Limits, Outcome, wraps_engine};
use crate::refusal::Refusal;
use crate::registry::ApplicationProfileDescriptor;
use crate::request::{Caller, Method, Purpose, Request};
use crate::schema::keys;
use crate::schema::records::Issued;
use crate::time::{Now, UnixTime};
use crate::token::TokenKey;
use crate::traits::profile::Roles;
use crate::traits::storage::Sharing;
use crate::traits::transport::{AssociationNeed, AssociationNotice};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The path of the token endpoint.
pub const TOKEN: &str = "token";

/// A resource server that tokens are made for.
#[derive(Clone, Debug)]
pub struct Audience {
    /// The name by which clients ask for it, `audience`.
    pub name: String,
    /// The key that it shares with the AS.
    pub key: TokenKey,
    /// How long a token is good; counted in whole seconds.
    pub lifetime: Duration,
    /// The transport profile that clients use with it, `ace_profile`.
    pub profile: i64,
}

/// That a client may take roles in a group.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The client, by the name of its registration.
    pub client: String,
    /// The resource server, by its name.
    pub audience: String,
    /// The GROUPNAME.
    pub gname: String,
    /// The application profile of the group: all policies for one group of one resource server have the same.
    pub profile: ApplicationProfileDescriptor,
    /// The roles, as the profile numbers them.
    pub roles: Roles,
}

/// How an Authorization Server is set up.
#[derive(Clone, Debug)]
pub struct AuthServerConfig {
    /// What it calls itself in `iss`; left out where absent.
    pub iss: Option<String>,
    /// The names of registered clients.
    pub clients: Vec<String>,
    /// The resource servers that tokens are made for.
    pub audiences: Vec<Audience>,
    /// Who may do what.
    pub policies: Vec<Policy>,
    /// Bounds of the engine.
    pub limits: Limits,
}

/// What the AS does of its own accord.
#[derive(Clone, Debug)]
enum Task {
    /// Takes up what storage knows of issued material.
    Start,
    /// Forgets material whose tokens have all expired.
    Expire(Vec<u8>),
}

/// What becomes true in memory when something is durable.
#[derive(Debug)]
enum Event {
    /// Material is good until then.
    Issued(Vec<(UnixTime, Vec<u8>)>),
    /// The start is done.
    Started,
}

/// The AS's handlers and what they hold in memory.
struct AuthServerApp {
    iss: Option<String>,
    clients: BTreeSet<String>,
    audiences: BTreeMap<String, Audience>,
    policies: Vec<Policy>,
    expiries: BTreeSet<(UnixTime, Vec<u8>)>,
    started: bool,
}

impl App for AuthServerApp {
    type Task = Task;
    type Event = Event;
    type Notice = AssociationNotice;
    type Delivery = std::convert::Infallible;

    fn admit(&mut self, _now: Now, _caller: &Caller, _request: &Request) -> Result<(), Refusal> {
        Ok(())
    }

    fn handle(&self, view: &View<'_>, input: &Input<Task>) -> Result<Outcome<Event>, Stop> {
        match input {
            Input::Request(caller, request) => {
                if request.path != [TOKEN] {
                    return Err(Refusal::NotFound.into());
                }
                if request.method != Method::Post {
                    return Err(Refusal::MethodNotAllowed.into());
                }
                if request.purpose == Purpose::Permission {
                    return self.authenticate(caller).map(|_| Outcome::done()).map_err(Stop::from);
                }
                self.token(view, caller, request)
            }
            Input::Task(Task::Start) => {
                let issued = view.list::<Issued>(&keys::all_issued(), &keys::meta())?;
                let issued = issued.into_iter().map(|issued| (issued.expires, issued.id.to_vec())).collect();
                Ok(Outcome::done().with_event(Event::Issued(issued)).with_event(Event::Started))
            }
            Input::Task(Task::Expire(id)) => self.expire(view, id),
            Input::Command(_) => Ok(Outcome::report(Err(CommandError::NoKdc), Changes::new())),
        }
    }

    fn lane(&self, _input: &Input<Task>) -> Option<String> {
        None
    }

    fn apply(&mut self, _now: Now, event: Event, _out: &mut Vec<AssociationNotice>) {
        match event {
            Event::Issued(issued) => self.expiries.extend(issued),
            Event::Started => self.started = true,
        }
    }

    fn first(&self) -> Vec<Task> {
        vec![Task::Start]
    }

    fn is_ready(&self) -> bool {
        self.started
    }

    /// Associations of clients are agreed on at their registration; who adds them gives them their numbers.
    fn provide(&self, _need: AssociationNeed) -> Option<Task> {
        None
    }

    fn failed(&mut self, _now: Duration, task: &Task, _out: &mut Vec<AssociationNotice>) -> Option<Task> {
        Some(task.clone())
    }

    fn next_due(&self, now: Now) -> Option<Duration> {
        let (at, _) = self.expiries.first().filter(|_| !now.has_jumped())?;
        Some(now.mono.saturating_add(now.unix.until(*at)))
    }

    fn due(&mut self, now: Now, _out: &mut Vec<AssociationNotice>) -> Vec<Task> {
        let mut due = Vec::new();
        while self.next_due(now).is_some_and(|at| at <= now.mono) {
            due.extend(self.expiries.pop_first().map(|(_, id)| Task::Expire(id)));
        }
        due
    }
}

impl AuthServerApp {
    fn expire(&self, view: &View<'_>, id: &[u8]) -> Result<Outcome<Event>, Stop> {
        let key = keys::issued(id);
        match view.get::<Issued>(&key)? {
            Some(issued) if issued.expires <= view.now().unix => {
                let mut changes = Changes::new();
                changes.delete(key);
                Ok(Outcome::done_with(changes))
            }
            // A later token was bound to it.
            Some(issued) => Ok(Outcome::done().with_event(Event::Issued(vec![(issued.expires, id.to_vec())]))),
            None => Ok(Outcome::done()),
        }
    }
}

/// An Authorization Server: a [`Machine`].
///
/// [`Machine`]: crate::engine::Machine
pub struct AuthServer(Engine<AuthServerApp>);

wraps_engine!(AuthServer, AssociationNotice);

impl AuthServer {
    /// Sets an AS up over storage that is shared so. Call [`Machine::start`] before any request.
    ///
    /// [`Machine::start`]: crate::engine::Machine::start
    #[must_use]
    pub fn new(config: AuthServerConfig, sharing: Sharing) -> Self {
        let app = AuthServerApp {
            iss: config.iss,
            clients: config.clients.into_iter().collect(),
            audiences: config.audiences.into_iter().map(|audience| (audience.name.clone(), audience)).collect(),
            policies: config.policies,
            expiries: BTreeSet::new(),
            started: false,
        };
        Self(Engine::over(app, sharing, config.limits))
    }
}

#[cfg(test)]
mod tests;
