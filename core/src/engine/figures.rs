//! What the `metrics` facade is told of requests. No label is made of what a client has chosen.

use crate::refusal::Refusal;
use crate::request::{Method, Request, Status};

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

/// A request was answered.
pub(super) fn answered(resource: &'static str, request: &Request, status: Status) {
    let code = status.coap();
    let code = format!("{}.{:02}", code >> 5, code & 0x1f);
    metrics::counter!("ace_answers_total", "resource" => resource, "method" => method(request.method), "code" => code)
        .increment(1);
}

/// A request was refused.
pub(super) fn refused(refusal: &Refusal) {
    metrics::counter!("ace_refusals_total", "reason" => refusal.reason()).increment(1);
}
