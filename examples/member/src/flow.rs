//! A member on UDP: the engine of `ace-groupcomm`, and what it wants done.

use crate::ProgramError;
use crate::config::MemberSettings;
use crate::show::{self, ShownExchange, Style};
use crate::state::StateFile;
use ace_backend_coap::{Client, ClientError, Limits};
use ace_backend_tokio::{Clock, os_random};
use ace_coap::numbers::option;
use ace_coap::{Code, Message};
use ace_groupcomm::member::{
    Effect, Exchange, ExchangeError, Exchanged, JoinedGroup, Numbers, Operation, Session, Setup, Token,
};
use ace_groupcomm::{Method, Request, Response, Secret, Status};
use ace_oscore::{Context, Sequence};
use ace_profile_oscore::{OscoreClient, client_parameters};
use rand_core::Rng;
use std::sync::Arc;

/// A client of the KDC under an association, and the numbers that it has.
struct Protected {
    client: Client,
    client_id: Vec<u8>,
    numbers: Numbers,
}

/// A member at work. It holds the state file until [`Member::close`].
pub struct Member<'a> {
    settings: &'a MemberSettings,
    engine: ace_groupcomm::member::Member,
    file: StateFile,
    clock: Clock,
    style: Style,
    observer: Box<dyn FnMut(ShownExchange) + Send + 'a>,
    kdc: Option<Protected>,
}

impl<'a> Member<'a> {
    /// Opens the state. `observer` sees each exchange.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn open(
        settings: &'a MemberSettings,
        style: Style,
        observer: impl FnMut(ShownExchange) + Send + 'a,
    ) -> Result<Self, ProgramError> {
        let file = StateFile::open(&settings.state)?;
        let setup = Setup {
            audience: settings.config.kdc.audience.clone(),
            rules: Arc::new(settings.rules()),
            transport: Arc::new(OscoreClient),
        };
        let engine = ace_groupcomm::member::Member::new(setup, file.content.member.clone());
        let observer = Box::new(observer);
        Ok(Self { settings, engine, file, clock: Clock::system(), style, observer, kdc: None })
    }

    /// Closes the state.
    ///
    /// # Errors
    /// [`ProgramError::File`].
    pub fn close(self) -> Result<(), ProgramError> {
        self.file.close()
    }

    /// The token as it is kept.
    #[must_use]
    pub const fn token(&self) -> Option<&Token> {
        self.engine.token()
    }

    /// The group as it is kept.
    #[must_use]
    pub fn group(&self) -> Option<&JoinedGroup> {
        self.engine.group()
    }

    /// Does one thing, with all that it takes.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub async fn run(&mut self, operation: Operation) -> Result<(), ProgramError> {
        self.run_with(operation, &mut |_| true).await
    }

    /// The same, with a place where [`Operation::Keys`] hands the keys out. It says whether it took any of them: if not, they
    /// count as not used.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub async fn run_with(
        &mut self,
        operation: Operation,
        hand_out: &mut (dyn FnMut(&JoinedGroup) -> bool + Send),
    ) -> Result<(), ProgramError> {
        let mut effect = self.engine.begin(self.clock.now().unix, operation, &mut os_random());
        loop {
            effect = match effect {
                Effect::Save(state) => {
                    self.file.save(state)?;
                    self.engine.saved(self.clock.now().unix)
                }
                Effect::Exchange(exchange) => {
                    let result = self.exchange(exchange).await?;
                    self.engine.exchanged(self.clock.now().unix, result)
                }
                Effect::HandOut(group) => {
                    let done = hand_out(&group);
                    self.engine.handed_out(self.clock.now().unix, done)
                }
                Effect::Done(result) => return Ok(result?),
            };
        }
    }

    async fn exchange(&mut self, exchange: Exchange) -> Result<Result<Exchanged, ExchangeError>, ProgramError> {
        let config = &self.settings.config;
        let (kdc, auth_server) = (config.kdc.address, config.auth_server.address);
        match exchange {
            Exchange::AuthServer { id_context, request } => {
                let mut parameters = config.auth_server.oscore.client();
                parameters.id_context = Some(id_context.0.clone());
                let context = Context::fresh(&parameters, Sequence::all())?;
                let mut client = Client::connect(auth_server, Limits::default(), os_random().next_u64()).await?;
                client.protect_with(context);
                Ok(self.ask(&mut client, "AS", true, &request).await)
            }
            Exchange::Unprotected { request } => {
                let mut client = Client::connect(kdc, Limits::default(), os_random().next_u64()).await?;
                Ok(self.ask(&mut client, "KDC", false, &request).await)
            }
            Exchange::Protected { session, numbers, request } => {
                let mut protected = self.protected(&session, numbers).await?;
                let result = self.ask(&mut protected.client, "KDC", true, &request).await;
                let runs_low = protected.client.context().is_some_and(|context| context.sequence().runs_low());
                self.kdc = Some(protected);
                Ok(result.map(|exchanged| Exchanged { runs_low, ..exchanged }))
            }
        }
    }

    /// A client under an association: the one that there is, or a new one.
    async fn protected(&mut self, session: &Session, numbers: Numbers) -> Result<Protected, ProgramError> {
        if let Some(mut protected) = self.kdc.take().filter(|protected| protected.client_id == session.client_id.0) {
            if protected.numbers != numbers {
                if let Some(context) = protected.client.context() {
                    context.sequence().extend(numbers.start, numbers.limit);
                }
                protected.numbers = numbers;
            }
            return Ok(protected);
        }
        let association = Secret::from(session.association.0.as_slice());
        let parameters = client_parameters(&association).ok_or_else(|| ProgramError::State {
            path: self.settings.state.clone(),
            reason: "the association cannot be read".into(),
        })?;
        let context = Context::restored(&parameters, Sequence::block(numbers.start, numbers.limit))?;
        let address = self.settings.config.kdc.address;
        let mut client = Client::connect(address, Limits::default(), os_random().next_u64()).await?;
        client.protect_with(context);
        Ok(Protected { client, client_id: session.client_id.0.clone(), numbers })
    }

    /// Sends a request, and shows what is sent and what comes.
    async fn ask(
        &mut self,
        client: &mut Client,
        to: &'static str,
        protected: bool,
        request: &Request,
    ) -> Result<Exchanged, ExchangeError> {
        let message = message(request);
        let answer = client.request(message.clone()).await;
        let seen = match &answer {
            Ok(message) => Some(message),
            Err(ClientError::Unprotected(_, message)) => Some(&**message),
            Err(_) => None,
        };
        (self.observer)(ShownExchange {
            from: self.settings.config.name.clone(),
            to,
            protected,
            request: show::request_line(&message),
            sent: show::payload(&request.path, &message, false, self.style),
            code: seen.map_or_else(|| "no answer".into(), |message| message.code.to_string()),
            received: seen.map(|message| show::payload(&request.path, message, true, self.style)).unwrap_or_default(),
        });
        match answer {
            Ok(answer) => Ok(Exchanged { response: response(answer)?, runs_low: false }),
            Err(error @ (ClientError::Unprotected(..) | ClientError::Reset)) => {
                Err(ExchangeError::Doubtful(error.to_string()))
            }
            Err(error @ (ClientError::Timeout | ClientError::Refused(_))) => {
                Err(ExchangeError::Silent(error.to_string()))
            }
            Err(error) => Err(ExchangeError::Failed(error.to_string())),
        }
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
