//! Resources that an application profile adds, for members.

use crate::engine::store::view::Stop;
use crate::kdc::KdcApp;
use crate::kdc::resource::content;
use crate::kdc::scene::{Authorised, Standing};
use crate::refusal::Refusal;
use crate::request::{Request, Response};
use crate::traits::profile::GroupState;

impl KdcApp {
    pub(in crate::kdc) fn extra(
        &self,
        authorised: &Authorised<'_>,
        group: &Standing<'_>,
        name: &str,
        request: &Request,
    ) -> Result<Response, Stop> {
        let rules = &authorised.group.rules;
        let mut known = rules.extra_resources().iter().filter(|resource| resource.name == name).peekable();
        known.peek().ok_or(Refusal::NotFound)?;
        known.find(|resource| resource.method == request.method).ok_or(Refusal::MethodNotAllowed)?;
        let state = GroupState { active: group.head.active, num: group.head.num };
        let (format, payload) = rules.extra(name, state).ok_or(Refusal::NotFound)?;
        Ok(content(format, payload))
    }
}
