//! Whoever has heard what clients sent, and sends it again.

use crate::Error;
use crate::oracle::Oracle;
use ace_coap::Message;
use ace_oscore::RequestId;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How many messages are replayed to a process.
const REPLAYED: usize = 48;

/// Replays what was heard.
pub(super) struct Replayer {
    socket: UdpSocket,
    oracle: Rc<Oracle>,
    rng: Mutex<ChaCha12Rng>,
}

impl Replayer {
    pub(super) async fn new(oracle: Rc<Oracle>, seed: u64) -> Result<Self, Error> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        Ok(Self { socket, oracle, rng: Mutex::new(ChaCha12Rng::seed_from_u64(seed)) })
    }

    /// Sends what clients sent before to this process, and shows the oracle what comes.
    pub(super) async fn replay(&self, server: SocketAddr) -> Result<(), Error> {
        let mut requests: HashMap<Vec<u8>, RequestId> = HashMap::new();
        for (request, datagram) in self.choose() {
            let message = Message::decode(&datagram)?;
            requests.insert(message.token.as_bytes().to_vec(), request);
            let _ = self.socket.send_to(&datagram, server).await;
            self.oracle.count(|counts| &mut counts.replayed);
        }
        let mut buffer = [0; 2_048];
        while let Ok(Ok(length)) = timeout(Duration::from_millis(30), self.socket.recv(&mut buffer)).await {
            let Ok(message) = Message::decode(&buffer[..length]) else { continue };
            if let Some(request) = requests.get(message.token.as_bytes()) {
                self.oracle.encrypted(request, &message, true);
            }
        }
        Ok(())
    }

    fn choose(&self) -> Vec<(RequestId, Vec<u8>)> {
        let heard = self.oracle.heard_before();
        let Ok(mut rng) = self.rng.lock() else { return Vec::new() };
        // The last ones, and some of those before.
        let recent = heard.iter().rev().take(REPLAYED / 2).cloned();
        let any = (0..REPLAYED / 2).filter_map(|_| {
            let at = rng.next_u64().checked_rem(u64::try_from(heard.len()).ok()?)?;
            heard.get(usize::try_from(at).ok()?).cloned()
        });
        recent.chain(any).collect()
    }
}
