//! The one place where it is logged that a request was refused, and why.

use super::{Input, Ticket};
use crate::refusal::Refusal;

/// Logs a refusal: at debug, and as an error where something is broken here. What the peer has chosen is escaped.
pub(super) fn refused<T>(Ticket(ticket): Ticket, input: &Input<T>, refusal: &Refusal) {
    let (caller, request) = match input {
        Input::Request(caller, request) => (caller, request),
        Input::Task(_) => return tracing::debug!(ticket, reason = %refusal, "a task came to nothing"),
        Input::Command(_) => return tracing::warn!(ticket, reason = %refusal, "a command came to nothing"),
    };
    let (method, path) = (request.method, request.path.join("/"));
    if matches!(refusal, Refusal::Internal(_)) {
        tracing::error!(ticket, %caller, ?method, ?path, reason = %refusal, "a request has failed");
    } else {
        tracing::debug!(ticket, %caller, ?method, ?path, reason = %refusal, "a request is refused");
    }
}
