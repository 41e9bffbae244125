//! What became of requests, counted. No label is made of what a client has chosen.

use crate::command::Figure;
use crate::refusal::Refusal;
use crate::request::{Method, Request, Status};
use foldhash::fast::FixedState;
use std::collections::HashMap;

const fn method(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Fetch => "FETCH",
        Method::Patch => "PATCH",
        Method::IPatch => "iPATCH",
    }
}

/// Counts since the start.
#[derive(Default)]
pub(super) struct Counts {
    answers: HashMap<(&'static str, Method, Status), u64, FixedState>,
    refusals: HashMap<&'static str, u64, FixedState>,
}

impl Counts {
    /// A request was answered.
    pub(super) fn answered(&mut self, resource: &'static str, request: &Request, status: Status) {
        let count = self.answers.entry((resource, request.method, status)).or_default();
        *count = count.saturating_add(1);
    }

    /// A request was refused.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        let count = self.refusals.entry(refusal.reason()).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn figures(&self) -> impl Iterator<Item = Figure> {
        let answers = self.answers.iter().map(|((resource, of, status), value)| {
            let code = status.coap();
            let code = format!("{}.{:02}", code >> 5, code & 0x1f);
            let labels = [("resource", (*resource).to_owned()), ("method", method(*of).into()), ("code", code)];
            Figure { name: "answers_total", labels: labels.into(), value: *value }
        });
        let refusals = self.refusals.iter().map(|(reason, value)| {
            let labels = [("reason", (*reason).to_owned())];
            Figure { name: "refusals_total", labels: labels.into(), value: *value }
        });
        answers.chain(refusals)
    }
}
