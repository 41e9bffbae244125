//! Servers of one engine on one or more sockets, from start to clean stop.

use crate::{Opened, ProgramError, Role, control};
use ace_backend_coap::{Limits, Link, Server};
use ace_backend_tokio::{EngineService, Followed, Handle, os_random};
use ace_coap::security::{MessageSecurity, PeerId};
use ace_groupcomm::kdc::registrations;
use ace_groupcomm::traits::transport::AssociationNeed;
use rand_core::Rng;
use sd_notify::NotifyState;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A program that runs.
pub struct Running {
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    handle: Handle,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    orders: Option<JoinHandle<()>>,
    /// What has ended by itself.
    ended: mpsc::UnboundedReceiver<String>,
}

impl Running {
    /// Serves an engine at these addresses. All sockets share one table of security contexts, so that a message
    /// is accepted once, wherever it comes in. Orders are taken for the storage, where it takes some.
    ///
    /// # Errors
    /// [`ProgramError::Listen`] where an address cannot be bound, [`ProgramError::Start`] where the engine refuses what is
    /// stored.
    pub async fn serve(
        listen: &[SocketAddr],
        security: Arc<dyn MessageSecurity>,
        followed: &Followed,
        links: &[Link],
        handle: Handle,
        driver: JoinHandle<()>,
        (opened, role): (Opened, Role),
    ) -> Result<Self, ProgramError> {
        let kept = match role {
            Role::Kdc => {
                registrations(&*opened.storage).await.map_err(|error| ProgramError::Other(error.to_string()))?
            }
            Role::AuthServer => Vec::new(),
        };
        let mut resumed = vec![false; kept.len()];
        let orders = opened.durable.map(|durable| tokio::spawn(control::serve(durable, role)));
        if let Err(error) = handle.ready().await {
            handle.stop().await;
            // Whoever learns of it may open the storage again.
            let _ = driver.await;
            if let Some(orders) = orders {
                orders.abort();
                let _ = orders.await;
            }
            return Err(ProgramError::Start(error));
        }
        let service = Arc::new(EngineService::new(handle.clone()));
        let (stop, _) = watch::channel(false);
        let (end, ended) = mpsc::unbounded_channel();
        let of_engine = end.clone();
        let engine = tokio::spawn(async move {
            let _ = driver.await;
            let _ = of_engine.send("the engine has ended".into());
        });
        let mut running = Self { addresses: Vec::new(), handle, stop, tasks: vec![engine], orders, ended };
        for &address in listen {
            let mut seed = [0; 32];
            os_random().fill_bytes(&mut seed);
            let failed = |source| ProgramError::Listen { address, source };
            let (security, service) = (Arc::clone(&security), Arc::clone(&service));
            let server = Server::bind(address, security, service, Limits::default(), seed).await.map_err(failed)?;
            let mut server = server.with_links(links.to_vec());
            for ((peer, registration), resumed) in kept.iter().zip(&mut resumed) {
                let kept = ace_backend_coap::Registration {
                    name: registration.name.to_vec(),
                    state: registration.state.to_vec(),
                };
                *resumed |= server.resume(&PeerId::new(peer), &kept);
            }
            followed.add(server.notifier());
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
        let lost = kept.into_iter().zip(resumed).filter(|(_, resumed)| !resumed);
        for ((peer, registration), _) in lost {
            running.handle.need(AssociationNeed::Unobserved(peer, registration));
        }
        Ok(running)
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
        if let Some(orders) = self.orders {
            orders.abort();
            let _ = orders.await;
        }
        for task in self.tasks {
            let _ = task.await;
        }
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

/// Tells the service manager, where there is one.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_backend_memory::MemoryStorage;
    use ace_backend_tokio::{Clock, CryptoPool, NoAssociations, spawn};
    use ace_coap::security::Unprotected;
    use ace_groupcomm::kdc::Kdc;
    use ace_groupcomm::testkit::{build, desk, toy};
    use ace_groupcomm::traits::crypto::AwsLc;
    use ace_groupcomm::traits::storage::Sharing;

    #[tokio::test]
    async fn a_process_whose_engine_is_gone_ends_with_an_error() {
        let storage = Arc::new(MemoryStorage::new());
        let validator = Box::new(build::validator(&["g1"]));
        let kdc = Kdc::new(desk::config(&["g1"]), &toy::registry(), validator, Sharing::Exclusive).unwrap();
        let (pool, none) = (CryptoPool::inline(Arc::new(AwsLc)), Arc::new(NoAssociations));
        let (handle, driver) = spawn(kdc, Arc::clone(&storage) as _, Arc::clone(&none) as _, pool, Clock::system());
        let kill = driver.abort_handle();
        let opened = Opened { storage, durable: None };
        let (security, followed) = (Arc::new(Unprotected), Followed::new(none));
        let listen = ["127.0.0.1:0".parse().unwrap()];
        let running = Running::serve(&listen, security, &followed, &[], handle, driver, (opened, Role::Kdc));
        let running = running.await.unwrap();
        kill.abort();
        let why = running.until_stopped().await.unwrap_err();
        assert!(why.to_string().contains("engine"), "{why}");
    }
}
