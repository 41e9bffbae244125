//! The program's member: the driver of `ace-backend-tokio` over a state file, and exchanges that are shown.

use crate::ProgramError;
use crate::config::MemberSettings;
use crate::show::{self, ShownExchange, Style};
use crate::state::StateFile;
use ace_backend_tokio::{
    Clock, MemberDriver, MemberHooks, MemberRunError, MemberServer, MemberServers, MemberStore, SeenExchange,
};
use ace_groupcomm::member::{JoinedGroup, MemberEvent, Operation, Setup, State, Token};
use ace_groupcomm_messages::RawCbor;
use ace_profile_oscore::{OscoreClient, client_security};
use std::sync::Arc;

/// A member at work. It holds the state file until [`Member::close`].
pub struct Member<'a> {
    settings: &'a MemberSettings,
    driver: MemberDriver<StateFile>,
    style: Style,
    observer: Box<dyn FnMut(ShownExchange) + Send + 'a>,
}

impl std::fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").finish_non_exhaustive()
    }
}

impl MemberStore for StateFile {
    type Error = ProgramError;

    fn save(&mut self, state: State) -> Result<(), ProgramError> {
        Self::save(self, state)
    }
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
        let config = &settings.config;
        let setup = Setup {
            audience: config.kdc.audience.clone(),
            rules: settings.rules()?,
            transport: Arc::new(OscoreClient),
            control_uri: settings.control().map(|control| control.uri()),
        };
        let engine = ace_groupcomm::member::Member::new(setup, file.content.member.clone());
        let servers = MemberServers {
            auth_server: config.auth_server.address,
            registration: config.auth_server.oscore.client(),
            kdc: config.kdc.address,
            control: settings.control(),
            association: client_security,
        };
        let driver = MemberDriver::new(engine, file, servers, Clock::system());
        Ok(Self { settings, driver, style, observer: Box::new(observer) })
    }

    /// Closes the state.
    ///
    /// # Errors
    /// [`ProgramError::File`].
    pub fn close(self) -> Result<(), ProgramError> {
        self.driver.into_store().close()
    }

    /// Returns what the configuration says.
    #[must_use]
    pub const fn settings(&self) -> &MemberSettings {
        self.settings
    }

    /// Returns the token as it is kept.
    #[must_use]
    pub const fn token(&self) -> Option<&Token> {
        self.driver.engine().token()
    }

    /// Whether there is an association with the KDC, or one that was offered.
    #[must_use]
    pub fn has_association(&self) -> bool {
        self.driver.engine().state().current().is_some()
    }

    /// Whether it was a member of the group before, and is not any more.
    #[must_use]
    pub fn was_member(&self) -> bool {
        self.driver.engine().state().former.contains_key(&self.settings.config.group.name)
    }

    /// Returns the group as it is kept.
    #[must_use]
    pub fn group(&self) -> Option<&JoinedGroup> {
        self.driver.engine().group()
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
        let (settings, style, observer) = (self.settings, self.style, &mut self.observer);
        let mut observer = |seen: SeenExchange<'_>| observer(shown(settings, style, seen));
        let result = self.driver.run(operation, MemberHooks { observer: &mut observer, hand_out }).await;
        result.map_err(|error| program_error(settings, error))
    }

    /// Asks for the names of groups with these Gids ([`MemberEvent::Names`]).
    ///
    /// # Errors
    /// [`ProgramError`].
    pub async fn look_up(&mut self, gids: &[Vec<u8>]) -> Result<(), ProgramError> {
        let (settings, style, observer) = (self.settings, self.style, &mut self.observer);
        let mut observer = |seen: SeenExchange<'_>| observer(shown(settings, style, seen));
        let hooks = MemberHooks { observer: &mut observer, hand_out: &mut |_| true };
        let gids = gids.iter().map(|gid| RawCbor::bytes(gid)).collect();
        self.driver.look_up(gids, hooks).await.map_err(|error| program_error(settings, error))
    }

    /// Waits for what the KDC tells next, once [`Operation::Observe`] was done, and takes it. Returns whether something was told
    /// in half a minute.
    ///
    /// # Errors
    /// [`ProgramError`]. A member that was told of its end gets the KDC's refusal here.
    pub async fn told(&mut self) -> Result<bool, ProgramError> {
        let (settings, style, observer) = (self.settings, self.style, &mut self.observer);
        let mut observer = |seen: SeenExchange<'_>| observer(shown(settings, style, seen));
        let hooks = MemberHooks { observer: &mut observer, hand_out: &mut |_| true };
        self.driver.told(hooks).await.map_err(|error| program_error(settings, error))
    }

    /// Whether the KDC tells of changes: [`Operation::Observe`] was done, and has not ended.
    #[must_use]
    pub fn is_observing(&self) -> bool {
        self.driver.is_observing()
    }

    /// Whether the KDC can ask it where the configuration says, once something was done under an association.
    #[must_use]
    pub const fn takes_requests(&self) -> bool {
        self.driver.takes_requests()
    }

    /// Returns what has happened since this was asked last.
    pub fn take_events(&mut self) -> Vec<MemberEvent> {
        self.driver.take_events()
    }
}

fn program_error(settings: &MemberSettings, error: MemberRunError<ProgramError>) -> ProgramError {
    match error {
        MemberRunError::Store(error) => error,
        MemberRunError::Member(error) => error.into(),
        MemberRunError::Oscore(error) => error.into(),
        MemberRunError::Io(error) => error.into(),
        other => ProgramError::State { path: settings.state.clone(), reason: other.to_string() },
    }
}

/// An exchange as people see it.
fn shown(settings: &MemberSettings, style: Style, seen: SeenExchange<'_>) -> ShownExchange {
    let style = Style { profile: Some(settings.profile), ..style };
    let payload = |message| show::payload(seen.path, message, true, style);
    ShownExchange {
        from: settings.config.name.clone(),
        to: match seen.server {
            MemberServer::AuthServer => "AS",
            _ => "KDC",
        },
        protected: seen.protected,
        request: show::request_line(seen.sent),
        sent: show::payload(seen.path, seen.sent, false, style),
        code: seen.received.map_or_else(|| "no answer".into(), |message| message.code.to_string()),
        received: seen.received.map(payload).unwrap_or_default(),
    }
}
