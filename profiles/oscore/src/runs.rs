//! Contexts of a client's runs. A client that was given one context at its registration may not know which sequence numbers
//! it has used: its state was lost, rolled back, or copied. So each run draws an ID Context of its own, and both sides derive
//! another context of the same secret (RFC 8613 section 3.2). None of these is stored: the first request under each, and
//! after a restart of the server, is asked for an Echo.

use ace_coap::Message;
use ace_coap::security::PeerId;
use ace_oscore::{Context, Error, Parameters, Sequence};
use std::collections::HashMap;
use std::time::Duration;

/// How many runs of one client are known. Who has captured messages of a former run can have its context derived again.
const RUNS: usize = 8;
/// Longest ID Context of a run.
const LONGEST: usize = 32;

/// A context of one run.
pub(crate) struct Run {
    id_context: Vec<u8>,
    pub(crate) context: Context,
    /// When its client was asked for the Echo value that is out.
    pub(crate) challenged: Duration,
    /// When it was used last.
    used: Duration,
}

/// A client, with what its contexts are derived from.
struct KnownClient {
    peer: PeerId,
    parameters: Parameters,
    runs: Vec<Run>,
}

/// The clients whose runs have contexts of their own, by the name under which their requests come.
#[derive(Default)]
pub(crate) struct Runs(HashMap<Vec<u8>, KnownClient>);

impl Runs {
    pub(crate) fn add(&mut self, kid: Vec<u8>, peer: PeerId, parameters: Parameters) {
        self.0.insert(kid, KnownClient { peer, parameters, runs: Vec::new() });
    }

    /// Whether the client with this kid has a context for each run.
    pub(crate) fn has(&self, kid: &[u8]) -> bool {
        self.0.contains_key(kid)
    }

    /// The context of a run, if it is known.
    pub(crate) fn get(&mut self, kid: &[u8], id_context: &[u8]) -> Option<&mut Run> {
        self.0.get_mut(kid)?.runs.iter_mut().find(|run| run.id_context == id_context)
    }

    /// The context of a run, and whose it is. One that is not known is derived, and kept where the request verifies.
    ///
    /// # Errors
    /// As [`Context::would_verify`]; [`Error::NoContext`] for a client without such contexts.
    pub(crate) fn of_request(
        &mut self,
        now: Duration,
        kid: &[u8],
        id_context: &[u8],
        request: &Message,
    ) -> Result<(PeerId, &mut Run), Error> {
        let client = self.0.get_mut(kid).filter(|_| id_context.len() <= LONGEST).ok_or(Error::NoContext)?;
        if !client.runs.iter().any(|run| run.id_context == id_context) {
            let mut parameters = client.parameters.clone();
            parameters.id_context = Some(id_context.to_vec());
            // Nobody knows what was received under it: it may be one that was forgotten.
            let context = Context::restored(&parameters, Sequence::none())?;
            context.would_verify(request)?;
            client.make_room();
            let id_context = id_context.to_vec();
            client.runs.push(Run { id_context, context, challenged: Duration::ZERO, used: now });
        }
        let run = client.runs.iter_mut().find(|run| run.id_context == id_context).ok_or(Error::NoContext)?;
        run.used = now;
        Ok((client.peer.clone(), run))
    }
}

impl KnownClient {
    /// Drops a run for one more: the one that was used last of those that have proven nothing, or of all.
    fn make_room(&mut self) {
        if self.runs.len() < RUNS {
            return;
        }
        let order = |run: &Run| (run.context.is_synchronised(), run.used);
        let oldest = self.runs.iter().enumerate().min_by_key(|(_, run)| order(run)).map(|(at, _)| at);
        if let Some(at) = oldest {
            self.runs.remove(at);
        }
    }
}
