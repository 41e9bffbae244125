//! Servers of one engine on one or more sockets, from start to clean stop.

use crate::control::{self, Control};
use crate::{Opened, ProgramError, Role, audit, figures};
use ace_backend_coap::{Limits, Link, Links, Server};
use ace_backend_tokio::{EngineService, Followed, Handle, os_random};
use ace_coap::security::{MessageSecurity, PeerId};
use ace_groupcomm::command::{Command, GroupSummary, MAX_PAGE, Page, PageAfter, Report};
use ace_groupcomm::kdc::registrations;
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::traits::transport::AssociationNeed;
use rand_core::Rng;
use sd_notify::NotifyState;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;

/// What a program serves, and how.
pub struct Serving<'a> {
    /// Where it listens.
    pub listen: &'a [SocketAddr],
    /// What protects its messages: one table for all sockets, so that a message is accepted once, wherever it comes in.
    pub security: Arc<dyn MessageSecurity>,
    /// What follows associations.
    pub followed: &'a Followed,
    /// Links to resources that are always there, for discovery.
    pub links: Vec<Link>,
    /// The link to a group.
    pub group_link: fn(&GroupSummary) -> Link,
    /// The engine.
    pub handle: Handle,
    /// What drives it.
    pub driver: JoinHandle<()>,
    /// Its storage.
    pub opened: Opened,
    /// What it is.
    pub role: Role,
    /// Where it takes commands, if it takes any.
    pub control: Option<PathBuf>,
    /// Where figures are served, if they are.
    pub figures: Option<SocketAddr>,
}

/// How often what others may have made over the same storage is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// How often the audit log is kept.
const KEEP: Duration = Duration::from_secs(1);

/// A program that runs.
pub struct Running {
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    handle: Handle,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    commands: Option<JoinHandle<()>>,
    /// What goes on beside: discovery, figures, the audit log.
    beside: Vec<JoinHandle<()>>,
    /// What has ended by itself.
    ended: mpsc::UnboundedReceiver<String>,
}

impl Running {
    /// Serves an engine.
    ///
    /// # Errors
    /// [`ProgramError::Listen`] where an address cannot be bound, [`ProgramError::Start`] where the engine refuses what is
    /// stored.
    pub async fn serve(serving: Serving<'_>) -> Result<Self, ProgramError> {
        let Serving { listen, security, followed, links, group_link, handle, driver, opened, role, .. } = serving;
        if let Some(address) = serving.figures {
            figures::serve(address)?;
        }
        let kept = match role {
            Role::Kdc => {
                registrations(&*opened.storage).await.map_err(|error| ProgramError::Other(error.to_string()))?
            }
            Role::AuthServer => Vec::new(),
        };
        let mut resumed = vec![false; kept.len()];
        let shared = opened.storage.sharing() == Sharing::Shared;
        let (groups, come_or_gone) = watch::channel(());
        // Whoever sees it listen can give it commands.
        let mut commands = None;
        if let Some(path) = serving.control
            && let Some(listener) = control::listen(&path).await
        {
            let (handle, durable) = (handle.clone(), opened.durable);
            let control = Control { path, durable, role, handle, groups, storage: Mutex::default() };
            commands = Some(tokio::spawn(control::serve(listener, control)));
        }
        if let Err(error) = handle.ready().await {
            handle.stop().await;
            // Whoever learns of it may open the storage again.
            let _ = driver.await;
            if let Some(commands) = commands {
                commands.abort();
                let _ = commands.await;
            }
            return Err(ProgramError::Start(error));
        }
        let all_links = Links::new(links.clone());
        let mut beside = vec![tokio::spawn(keep_audit())];
        if role == Role::Kdc {
            let (handle, all) = (handle.clone(), all_links.clone());
            beside.push(tokio::spawn(async move {
                keep_links(&handle, &all, &links, group_link, come_or_gone, shared).await
            }));
        }
        if serving.figures.is_some() {
            beside.push(figures::keep(handle.clone()));
        }
        let (stop, _) = watch::channel(false);
        let (end, ended) = mpsc::unbounded_channel();
        let of_engine = end.clone();
        let engine = tokio::spawn(async move {
            let _ = driver.await;
            let _ = of_engine.send("the engine has ended".into());
        });
        let mut running = Self { addresses: Vec::new(), handle, stop, tasks: vec![engine], commands, beside, ended };
        for &address in listen {
            let mut seed = [0; 32];
            os_random().fill_bytes(&mut seed);
            let failed = |source| ProgramError::Listen { address, source };
            let security = Arc::clone(&security);
            let service = Arc::new(EngineService::of_next(running.handle.clone(), followed));
            let server = Server::bind(address, security, service, Limits::default(), seed).await.map_err(failed)?;
            let mut server = server.with_links(all_links.clone());
            // Where processes share storage, an address that stands for all of a machine says not whose observations these are.
            let is_own = !shared || !address.ip().is_unspecified();
            for ((peer, registration), resumed) in kept.iter().zip(&mut resumed).filter(|_| is_own) {
                let kept = ace_backend_coap::Registration {
                    name: registration.name.to_vec(),
                    state: registration.state.to_vec(),
                };
                *resumed |= server.resume(&PeerId::new(peer.as_bytes()), &kept);
            }
            followed.add_server(&server);
            let local = server.local_addr().map_err(failed)?;
            tracing::info!(address = %local, "listening");
            running.addresses.push(local);
            let mut stopped = running.stop.subscribe();
            let end = end.clone();
            running.tasks.push(tokio::spawn(async move {
                let result = server.run(async move { drop(stopped.changed().await) }).await;
                let _ =
                    end.send(result.map_or_else(|error| format!("{local}: {error}"), |()| format!("{local}: closed")));
            }));
        }
        // What was registered at another process's address is that process's to end.
        let lost = kept.into_iter().zip(resumed).filter(|(_, resumed)| !resumed && !shared);
        for ((peer, registration), _) in lost {
            running.handle.need(AssociationNeed::Unobserved(peer, registration));
        }
        Ok(running)
    }

    /// Returns the handle of its engine, e.g. for commands.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether it can answer what it is asked now: its start is done, and storage works.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.handle.is_ready()
    }

    /// Stops it, and waits until requests under way are done.
    pub async fn stop(self) {
        self.handle.stop().await;
        let _ = self.stop.send(true);
        if let Some(commands) = self.commands {
            commands.abort();
            let _ = commands.await;
        }
        self.beside.iter().for_each(JoinHandle::abort);
        for task in self.tasks {
            let _ = task.await;
        }
        audit::flush(true);
    }

    /// Runs until SIGTERM, SIGHUP or Ctrl-C. A service manager that waits for it (`Type=notify` of systemd) learns when it is
    /// ready, and when it stops.
    ///
    /// # Errors
    /// [`ProgramError`] where it has ended by itself: whoever has started the process starts it again.
    pub async fn until_stopped(mut self) -> Result<(), ProgramError> {
        let stop = crate::stop_signal();
        notify(NotifyState::Ready);
        let why = tokio::select! {
            () = stop => None,
            why = self.ended.recv() => why,
        };
        tracing::info!("stopping");
        notify(NotifyState::Stopping);
        self.stop().await;
        why.map_or(Ok(()), |why| Err(ProgramError::Other(why)))
    }
}

/// Has the disk keep what was written to the audit log.
async fn keep_audit() {
    let mut second = tokio::time::interval(KEEP);
    loop {
        second.tick().await;
        let _ = tokio::task::spawn_blocking(|| audit::flush(false)).await;
    }
}

/// Keeps the links to groups: they come and go.
async fn keep_links(
    handle: &Handle,
    all: &Links,
    fixed: &[Link],
    group_link: fn(&GroupSummary) -> Link,
    mut come_or_gone: watch::Receiver<()>,
    shared: bool,
) {
    loop {
        if let Some(groups) = groups(handle).await {
            all.set(fixed.iter().cloned().chain(groups.iter().map(group_link)).collect());
        }
        // Where nobody gives commands here, others may all the same.
        let told = async {
            if come_or_gone.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let look = async {
            if !shared {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LOOK).await;
        };
        tokio::select! {
            () = told => (),
            () = look => (),
        }
    }
}

/// All groups; nothing where they cannot be listed now.
async fn groups(handle: &Handle) -> Option<Vec<GroupSummary>> {
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = PageAfter { after, limit: MAX_PAGE };
        let Ok(Report::Groups(Page { entries, more })) = handle.command(Command::Groups(page)).await else {
            return None;
        };
        all.extend(entries);
        match more {
            Some(last) => after = Some(last),
            None => return Some(all),
        }
    }
}

/// Tells the service manager, where there is one.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_backend_aws_lc::AwsLc;
    use ace_backend_memory::MemoryStorage;
    use ace_backend_tokio::{Clock, CryptoPool, NoAssociations, spawn};
    use ace_coap::security::Unprotected;
    use ace_groupcomm::kdc::Kdc;
    use ace_groupcomm::testkit::{build, desk, toy};

    #[tokio::test]
    async fn a_process_whose_engine_is_gone_ends_with_an_error() {
        let storage = Arc::new(MemoryStorage::new());
        let validator = Box::new(build::validator(&["g1"]));
        let kdc =
            Kdc::new(desk::config(&["g1"]), &toy::registry(), validator, Sharing::Exclusive, Arc::new(AwsLc)).unwrap();
        let (pool, none) = (CryptoPool::inline(Arc::new(AwsLc)), Arc::new(NoAssociations));
        let (handle, driver) = spawn(kdc, Arc::clone(&storage) as _, Arc::clone(&none) as _, pool, Clock::system());
        let kill = driver.abort_handle();
        let opened = Opened { storage, durable: None };
        let (security, followed) = (Arc::new(Unprotected), Followed::new(none));
        let listen = ["127.0.0.1:0".parse().unwrap()];
        let running = Running::serve(Serving {
            listen: &listen,
            security,
            followed: &followed,
            links: Vec::new(),
            group_link: |group| Link::new(&*group.name),
            handle,
            driver,
            opened,
            role: Role::Kdc,
            control: None,
            figures: None,
        });
        let running = running.await.unwrap();
        kill.abort();
        let why = running.until_stopped().await.unwrap_err();
        assert!(why.to_string().contains("engine"), "{why}");
    }
}
