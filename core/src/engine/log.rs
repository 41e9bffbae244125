//! The one place where it is logged that a request was refused, and why.

use super::{Input, Ticket};
use crate::audit::TARGET;
use crate::refusal::Refusal;
use tracing::Span;

/// What the runs of a request are logged in.
pub(super) fn span<T>(Ticket(ticket): Ticket, input: &Input<T>) -> Span {
    match input {
        Input::Request(..) => tracing::debug_span!("request", ticket),
        Input::Command(_) => tracing::info_span!("command", ticket),
        Input::Task(_) => Span::none(),
    }
}

/// Logs a refusal: at debug, and as an error where something is broken here. What the peer has chosen is escaped.
pub(super) fn refused<T>(Ticket(ticket): Ticket, input: &Input<T>, refusal: &Refusal) {
    let (caller, request) = match input {
        Input::Request(caller, request) => (caller, request),
        Input::Task(_) => return tracing::debug!(ticket, reason = %refusal, "a task came to nothing"),
        Input::Command(_) => return tracing::warn!(ticket, reason = %refusal, "a command came to nothing"),
    };
    let (method, path) = (request.method, request.path.join("/"));
    tracing::info!(target: TARGET, event = "refused", %caller, ?method, path, reason = %refusal);
    if matches!(refusal, Refusal::Internal(_)) {
        tracing::error!(ticket, %caller, ?method, ?path, reason = %refusal, "a request has failed");
    } else {
        tracing::debug!(ticket, %caller, ?method, ?path, reason = %refusal, "a request is refused");
    }
}
