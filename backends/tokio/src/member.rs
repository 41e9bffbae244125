//! Drives a member's engine over CoAP: state that is saved, exchanges with the AS and the KDC, keys that are handed out.

mod control;

pub use control::MemberControl;

use crate::{Clock, os_random};
use ace_backend_coap::{Client, ClientError, Limits, Observation};
use ace_coap::numbers::option;
use ace_coap::security::ClientSecurity;
use ace_coap::{Code, Message};
use ace_groupcomm::member::{
    Effect, Exchange, ExchangeError, Exchanged, JoinedGroup, Member, MemberError, MemberEvent, Numbers, Operation,
    Session, State,
};
use ace_groupcomm::{Method, Request, Response, Secret, Status};
use ace_groupcomm_messages::RawCbor;
use ace_oscore::{Context, Parameters, Sequence};
use control::{Asked, answer, joins};
use rand_core::Rng;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// Where a member's state is kept.
///
/// ```
/// use ace_backend_tokio::MemberStore;
/// use ace_groupcomm::member::State;
///
/// /// Keeps it in memory: whoever starts anew gets a token and joins anew.
/// #[derive(Default)]
/// struct InMemory(Option<State>);
///
/// impl MemberStore for InMemory {
///     type Error = std::convert::Infallible;
///
///     fn save(&mut self, state: State) -> Result<(), Self::Error> {
///         self.0 = Some(state);
///         Ok(())
///     }
/// }
/// ```
pub trait MemberStore: Send {
    /// Why it cannot be kept.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Writes the state, which outlives a crash when this returns. Nothing else is done meanwhile: it may block.
    ///
    /// # Errors
    /// The store's own. Nothing is known then of what is written.
    fn save(&mut self, state: State) -> Result<(), Self::Error>;
}

/// The servers that a member asks, and the keys that it has with them.
#[derive(Clone, Debug)]
pub struct MemberServers {
    /// The address of the AS.
    pub auth_server: SocketAddr,
    /// The OSCORE parameters that the client was given when it was registered at the AS. The ID Context is put in for each
    /// run.
    pub registration: Parameters,
    /// The address of the KDC.
    pub kdc: SocketAddr,
    /// Where the member takes requests of the KDC, if it takes any.
    pub control: Option<MemberControl>,
    /// Makes the security of an association from its stored material, with these sequence numbers: that of the transport profile.
    /// `None` where the material cannot be read.
    pub association: fn(&Secret, Numbers) -> Option<Box<dyn ClientSecurity>>,
}

/// For how long is listened before it is looked what has come.
const SLICE: Duration = Duration::from_secs(1);

/// The server of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberServer {
    /// The AS: asked for tokens, under the context of the registration.
    AuthServer,
    /// The KDC: posted to, and asked under an association.
    Kdc,
}

/// One exchange, in plain text.
#[derive(Clone, Copy, Debug)]
pub struct SeenExchange<'a> {
    /// The server that was asked.
    pub server: MemberServer,
    /// Whether request and response were protected by OSCORE.
    pub protected: bool,
    /// The path of the request, segment by segment.
    pub path: &'a [String],
    /// The request as the member made it, before its protection.
    pub sent: &'a Message,
    /// The response after its protection was taken off; one that came unprotected to a protected request is shown, and not
    /// believed. `None` where nothing came.
    pub received: Option<&'a Message>,
}

/// Why an operation came to nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MemberRunError<E: std::error::Error + 'static> {
    /// The state could not be saved.
    #[error("the state cannot be saved")]
    Store(#[source] E),
    /// The member's engine says so.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The material of the association cannot be read.
    #[error("the association cannot be read")]
    Association,
    /// No OSCORE context can be made.
    #[error(transparent)]
    Oscore(#[from] ace_oscore::Error),
    /// A UDP socket could not be opened.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A client of the KDC under an association, and the numbers that it has.
struct Protected {
    client: Client<Box<dyn ClientSecurity>>,
    client_id: Vec<u8>,
    numbers: Numbers,
    observation: Option<Observation>,
}

/// Runs a [`Member`] over CoAP on UDP, protected by OSCORE. It holds the client of the KDC from one operation to the next, as long
/// as the association is the same.
pub struct MemberDriver<S> {
    engine: Member,
    store: S,
    servers: MemberServers,
    clock: Clock,
    kdc: Option<Protected>,
    asked: Asked,
}

/// What an operation needs of who has it done.
pub struct MemberHooks<'a> {
    /// Sees each exchange when it is over.
    pub observer: &'a mut (dyn FnMut(SeenExchange<'_>) + Send),
    /// Takes the keys of [`Operation::Keys`]. Returns whether it took any of them: if not, they count as not used.
    pub hand_out: &'a mut (dyn FnMut(&JoinedGroup) -> bool + Send),
}

impl<S: MemberStore> MemberDriver<S> {
    /// A member with the state that this store holds.
    pub fn new(engine: Member, store: S, servers: MemberServers, clock: Clock) -> Self {
        Self { engine, store, servers, clock, kdc: None, asked: Asked::default() }
    }

    /// Returns the engine, which knows what is kept.
    pub const fn engine(&self) -> &Member {
        &self.engine
    }

    /// Ends the member. Returns its store, which knows all that was used.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Does one thing, with all that it takes.
    ///
    /// # Errors
    /// [`MemberRunError`].
    pub async fn run(
        &mut self,
        operation: Operation,
        mut hooks: MemberHooks<'_>,
    ) -> Result<(), MemberRunError<S::Error>> {
        let begun = self.engine.begin(self.clock.now().unix, operation, &mut os_random());
        self.complete(begun, &mut hooks).await
    }

    /// Asks for the names of groups with these identifiers, as the profile encodes them ([`MemberEvent::Names`]).
    ///
    /// # Errors
    /// [`MemberRunError`].
    pub async fn look_up(
        &mut self,
        gids: Vec<RawCbor>,
        mut hooks: MemberHooks<'_>,
    ) -> Result<(), MemberRunError<S::Error>> {
        let begun = self.engine.look_up(self.clock.now().unix, gids, &mut os_random());
        self.complete(begun, &mut hooks).await
    }

    /// Returns what has happened since this was asked last.
    pub fn take_events(&mut self) -> Vec<MemberEvent> {
        self.engine.take_events()
    }

    /// Whether the KDC has taken the registration of [`Operation::Observe`], and has not ended it.
    #[must_use]
    pub fn is_observing(&self) -> bool {
        self.kdc.as_ref().is_some_and(|protected| protected.observation.is_some())
    }

    /// Whether the KDC can ask it: there is an association with which it does, and an address for that.
    #[must_use]
    pub const fn takes_requests(&self) -> bool {
        self.servers.control.is_some() && self.kdc.is_some()
    }

    /// Waits for what the observation tells next, or the KDC asks for, and takes it. Returns whether something was told in the time that
    /// [`Limits::response_timeout`] gives, or in a second where the KDC may ask. It may be given up while it waits.
    ///
    /// # Errors
    /// [`MemberRunError`]. A member that was told of its end gets the KDC's refusal here.
    pub async fn told(&mut self, mut hooks: MemberHooks<'_>) -> Result<bool, MemberRunError<S::Error>> {
        let takes_requests = self.takes_requests();
        let Some(protected) = &mut self.kdc else { return Ok(false) };
        if takes_requests {
            // Notifications that come meanwhile are kept. That nobody listens there now says nothing of what comes later.
            match protected.client.listen(SLICE).await {
                Ok(()) | Err(ClientError::Refused(_)) => (),
                Err(error) => return Err(MemberError::from(ExchangeError::Failed(error.to_string())).into()),
            }
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(request) = asked {
                let begun = self.engine.asked(self.clock.now().unix, &request, &mut os_random());
                return self.complete(begun, &mut hooks).await.map(|()| true);
            }
        }
        let Some(observation) = &mut protected.observation else { return Ok(false) };
        if takes_requests && !protected.client.has_notification(observation) {
            return Ok(false);
        }
        let message = match protected.client.notification(observation).await {
            Ok(message) => message,
            Err(ClientError::Timeout) => return Ok(false),
            Err(_) => {
                protected.observation = None;
                return Ok(false);
            }
        };
        if !message.code.is_success() {
            protected.observation = None;
        }
        let told = response(message).map_err(MemberError::from)?;
        let begun = self.engine.notified(self.clock.now().unix, told, &mut os_random());
        self.complete(begun, &mut hooks).await.map(|()| true)
    }

    /// Does what the engine wants until it is done.
    async fn complete(&mut self, begun: Effect, hooks: &mut MemberHooks<'_>) -> Result<(), MemberRunError<S::Error>> {
        let mut effect = begun;
        loop {
            effect = match effect {
                Effect::Save(state) => {
                    self.store.save(state).map_err(MemberRunError::Store)?;
                    self.engine.saved(self.clock.now().unix)
                }
                Effect::Exchange(exchange) => {
                    let result = self.exchange(exchange, hooks).await?;
                    self.engine.exchanged(self.clock.now().unix, result)
                }
                Effect::HandOut(group) => {
                    let done = (hooks.hand_out)(&group);
                    self.engine.handed_out(self.clock.now().unix, done)
                }
                Effect::Done(result) => return Ok(result?),
            };
        }
    }

    async fn exchange(
        &mut self,
        exchange: Exchange,
        hooks: &mut MemberHooks<'_>,
    ) -> Result<Result<Exchanged, ExchangeError>, MemberRunError<S::Error>> {
        match exchange {
            Exchange::AuthServer { id_context, request } => {
                let mut parameters = self.servers.registration.clone();
                parameters.id_context = Some(id_context.0.clone());
                let context = Context::fresh(&parameters, Sequence::all())?;
                let mut client = connect(self.servers.auth_server).await?.protect_with(context);
                Ok(ask(&mut client, MemberServer::AuthServer, true, &request, hooks).await)
            }
            Exchange::Unprotected { request } => {
                let mut client = connect(self.servers.kdc).await?;
                Ok(ask(&mut client, MemberServer::Kdc, false, &request, hooks).await)
            }
            Exchange::Protected { session, numbers, request } => {
                let mut protected = self.protected(&session, numbers).await?;
                let result = if request.observe.is_some() {
                    protected.observation = None;
                    observe(&mut protected, &request, hooks).await
                } else {
                    ask(&mut protected.client, MemberServer::Kdc, true, &request, hooks).await
                };
                if result.as_ref().is_ok_and(|exchanged| joins(&request, &exchanged.response)) {
                    // What has ended before is another membership.
                    let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
                    asked.retain(|request| request.method != Method::Delete);
                }
                let runs_low = protected.client.security_mut().runs_low();
                self.kdc = Some(protected);
                Ok(result.map(|exchanged| Exchanged { runs_low, ..exchanged }))
            }
        }
    }

    /// A client under an association: the one that there is, or a new one.
    async fn protected(&mut self, session: &Session, numbers: Numbers) -> Result<Protected, MemberRunError<S::Error>> {
        if let Some(mut protected) = self.kdc.take().filter(|protected| protected.client_id == session.client_id.0) {
            if protected.numbers != numbers {
                protected.client.security_mut().extend(numbers.start, numbers.limit);
                protected.numbers = numbers;
            }
            return Ok(protected);
        }
        let association = Secret::from(session.association.0.as_slice());
        let security = (self.servers.association)(&association, numbers).ok_or(MemberRunError::Association)?;
        let client = match &self.servers.control {
            None => connect(self.servers.kdc).await?.protect_with(security),
            Some(MemberControl { local, path }) => {
                let seed = os_random().next_u64();
                let client = Client::connect_from(*local, self.servers.kdc, Limits::default(), seed).await?;
                let (mut client, path, asked) = (client.protect_with(security), path.clone(), Arc::clone(&self.asked));
                client.serve(move |message| answer(message, &path, &asked));
                client
            }
        };
        Ok(Protected { client, client_id: session.client_id.0.clone(), numbers, observation: None })
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<Client> {
    Client::connect(address, Limits::default(), os_random().next_u64()).await
}

/// Sends a request, and shows what is sent and what comes.
async fn ask<S: ClientSecurity>(
    client: &mut Client<S>,
    server: MemberServer,
    protected: bool,
    request: &Request,
    hooks: &mut MemberHooks<'_>,
) -> Result<Exchanged, ExchangeError> {
    let sent = message(request);
    let answer = client.request(sent.clone()).await;
    answered(server, protected, request, &sent, answer, hooks)
}

/// The same for a request that registers an observation.
async fn observe(
    protected: &mut Protected,
    request: &Request,
    hooks: &mut MemberHooks<'_>,
) -> Result<Exchanged, ExchangeError> {
    let sent = message(request);
    let (answer, observation) = match protected.client.observe(sent.clone()).await {
        Ok((answer, observation)) => (Ok(answer), observation),
        Err(error) => (Err(error), None),
    };
    protected.observation = observation;
    answered(MemberServer::Kdc, true, request, &sent, answer, hooks)
}

/// Shows an exchange that is over. Returns what came of it.
fn answered(
    server: MemberServer,
    protected: bool,
    request: &Request,
    sent: &Message,
    answer: Result<Message, ClientError>,
    hooks: &mut MemberHooks<'_>,
) -> Result<Exchanged, ExchangeError> {
    let received = match &answer {
        Ok(message) => Some(message),
        Err(ClientError::Unprotected(_, message)) => Some(&**message),
        Err(_) => None,
    };
    (hooks.observer)(SeenExchange { server, protected, path: &request.path, sent, received });
    match answer {
        Ok(answer) => Ok(Exchanged { response: response(answer)?, runs_low: false }),
        Err(error @ (ClientError::Unprotected(..) | ClientError::Reset)) => {
            Err(ExchangeError::Doubtful(error.to_string()))
        }
        Err(error @ (ClientError::Timeout | ClientError::Refused(_))) => Err(ExchangeError::Silent(error.to_string())),
        Err(error) => Err(ExchangeError::Failed(error.to_string())),
    }
}

fn message(request: &Request) -> Message {
    let code = match request.method {
        Method::Get => Code::GET,
        Method::Post => Code::POST,
        Method::Put => Code::PUT,
        Method::Delete => Code::DELETE,
        Method::Fetch => Code::FETCH,
        Method::Patch => Code::PATCH,
        Method::IPatch => Code::IPATCH,
    };
    let mut message = Message::request(code).with_path(request.path.iter().map(String::as_str));
    for (number, format) in [(option::CONTENT_FORMAT, request.content_format), (option::ACCEPT, request.accept)] {
        if let Some(format) = format {
            message.options.push_uint(number, u32::from(format));
        }
    }
    message.payload = request.payload.to_vec();
    message
}

fn response(message: Message) -> Result<Response, ExchangeError> {
    let status = Status::from_coap(message.code.0);
    let status = status.ok_or_else(|| ExchangeError::Failed(format!("answered with {}", message.code)))?;
    let mut response = Response::new(status);
    response.content_format = message.options.content_format();
    response.location_path = message.options.strings(option::LOCATION_PATH).unwrap_or_default();
    response.max_age = message.options.uint(option::MAX_AGE);
    response.payload = message.payload.into();
    Ok(response)
}
