//! What a driver needs of an engine, whichever it is.

use super::{Completion, Effect, Reply, Ticket};
use crate::command::Command;
use crate::request::{Caller, Request};
use crate::time::Now;
use crate::traits::transport::AssociationNeed;
use rand_core::CryptoRng;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// An engine as its driver sees it: a KDC, an Authorization Server, or somebody's own.
pub trait Machine: Send {
    /// What the world outside learns, in order with the answers.
    type Notice: Send;

    /// Begins; what was stored is taken up.
    fn start(&mut self, now: Now, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<Self::Notice>>);

    /// Whether the start is done, and storage works. Requests before the start is done may find nothing.
    fn is_ready(&self) -> bool;

    /// Why it must not be used, where the start has found that out; it is never ready then. Whoever drives it gives up.
    fn refused(&self) -> Option<Arc<dyn Error + Send + Sync>>;

    /// Takes a request. The notices in `out` are to be followed before the answer is sent.
    fn request(
        &mut self,
        now: Now,
        caller: Caller,
        request: Request,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Effect<Self::Notice>>,
    ) -> Reply;

    /// Takes a command. What comes of it is an [`Effect::Report`].
    fn command(
        &mut self,
        now: Now,
        command: Command,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Effect<Self::Notice>>,
    ) -> Ticket;

    /// Sees to what the network side needs.
    fn need(&mut self, now: Now, need: AssociationNeed, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<Self::Notice>>);

    /// Takes in what became of an effect.
    fn complete(&mut self, now: Now, done: Completion, out: &mut Vec<Effect<Self::Notice>>);

    /// Ends a tick.
    fn flush(&mut self, now: Now, out: &mut Vec<Effect<Self::Notice>>);

    /// When [`Self::timeout`] has to be called, at the latest.
    fn next_timeout(&self, now: Now) -> Option<Duration>;

    /// Does what is due.
    fn timeout(&mut self, now: Now, rng: &mut dyn CryptoRng, out: &mut Vec<Effect<Self::Notice>>);
}
