//! A CoAP server on one UDP socket: an [`Endpoint`] on tokio.
//!
//! Everything runs in one task. A tick takes all datagrams that wait and all answers that are ready, so that
//! under load the cost of waking up is shared.

use crate::datagrams::DatagramSecurity;
use crate::endpoint::{Endpoint, Inputs, Requester, StatsHandle};
use crate::service::{Notifier, Registration, Service};
use crate::socket::{AddressPair, Buffers, Socket};
use crate::{Limits, Links};
use ace_coap::security::{MessageSecurity, PeerId};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Datagrams and answers that one tick takes at most.
const TICK: usize = 64;

/// A CoAP server.
pub struct Server {
    socket: Socket,
    endpoint: Endpoint,
    inputs: Inputs,
    begun: Instant,
}

impl Server {
    /// Binds a socket. `seed` is random and secret: message IDs and Echo values are made with it.
    ///
    /// # Errors
    /// [`io::Error`] where the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        security: Arc<dyn MessageSecurity>,
        service: Arc<dyn Service>,
        limits: Limits,
        seed: [u8; 32],
    ) -> io::Result<Self> {
        let socket = Socket::bind(address)?;
        let (endpoint, inputs) = Endpoint::new(socket.local_addr()?, security, service, limits, seed);
        Ok(Self { socket, endpoint, inputs, begun: Instant::now() })
    }

    /// Serves these links at `/.well-known/core`.
    #[must_use]
    pub fn with_links(mut self, links: Links) -> Self {
        self.endpoint = self.endpoint.with_links(links);
        self
    }

    /// Has datagrams protected below CoAP: see [`Endpoint::with_datagram_security`].
    #[must_use]
    pub fn with_datagram_security(mut self, datagrams: Box<dyn DatagramSecurity>) -> Self {
        self.endpoint = self.endpoint.with_datagram_security(datagrams);
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Tells the server of changed resources.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        self.endpoint.notifier()
    }

    /// Returns the handle by which clients are asked.
    #[must_use]
    pub fn requester(&self) -> Requester {
        self.endpoint.requester()
    }

    /// Figures since the start, to be read while it runs.
    #[must_use]
    pub fn stats(&self) -> StatsHandle {
        self.endpoint.stats()
    }

    /// Takes up an observation that another process at this address has kept: see [`Endpoint::resume`].
    pub fn resume(&mut self, peer: &PeerId, registration: &Registration) -> bool {
        self.endpoint.resume(peer, registration)
    }

    /// Serves until `stop` is ready. Answers that are ready by then still go out.
    ///
    /// # Errors
    /// [`io::Error`] where the socket fails for good.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let mut buffers = Buffers::new();
        let mut received = VecDeque::new();
        let mut inputs = Vec::with_capacity(TICK);
        tokio::pin!(stop);
        loop {
            let due = self.endpoint.next_timeout();
            if due.is_some_and(|at| at <= self.now()) {
                // Before what comes in: a flood must not hold up acknowledgements and retransmissions.
                self.endpoint.timeout(self.now());
                self.send().await;
                continue;
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                count = self.inputs.next_many(&mut inputs, TICK) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for input in inputs.drain(..) {
                        self.endpoint.input(self.begun.elapsed(), input);
                        send(&self.socket, &mut self.endpoint).await;
                    }
                }
                ready = self.socket.readable() => {
                    ready?;
                    self.receive(&mut buffers, &mut received).await?;
                }
                () = sleep_until(self.begun, due) => {
                    self.endpoint.timeout(self.now());
                    self.send().await;
                }
            }
        }
        while let Some(input) = self.inputs.try_next() {
            self.endpoint.input(self.now(), input);
            self.send().await;
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    async fn receive(
        &mut self,
        buffers: &mut Buffers,
        received: &mut VecDeque<(AddressPair, Vec<u8>)>,
    ) -> io::Result<()> {
        let mut taken = 0_usize;
        while taken < TICK {
            match self.socket.receive(buffers, |from, datagram| received.push_back((from, datagram.to_vec()))) {
                Ok(count) => {
                    taken = taken.saturating_add(count.max(1));
                    for (from, datagram) in received.drain(..) {
                        self.endpoint.handle(self.now(), from, &datagram);
                        self.send().await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if concerns_one_peer(&error) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn send(&mut self) {
        send(&self.socket, &mut self.endpoint).await;
    }
}

/// Sends all that is to be sent.
async fn send(socket: &Socket, endpoint: &mut Endpoint) {
    while let Some(transmit) = endpoint.poll_transmit() {
        if let Err(error) = socket.send(transmit.to, &transmit.bytes).await {
            tracing::debug!(%error, "an answer could not be sent");
        }
    }
}

/// An earlier answer met a closed port or an unreachable network: that concerns nobody else.
pub(crate) fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted | NetworkDown | NetworkUnreachable
    )
}

async fn sleep_until(begun: Instant, due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due.saturating_sub(begun.elapsed())).await,
        None => std::future::pending().await,
    }
}
