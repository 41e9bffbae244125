//! Resources that an application profile adds, for members.

use crate::access::Resource;
use crate::engine::Outcome;
use crate::kdc::KdcApp;
use crate::kdc::route::Answer;
use crate::kdc::scene::{MemberScene, Scene};
use crate::refusal::Refusal;
use crate::request::{Response, Status};
use crate::traits::profile::GroupState;

impl KdcApp {
    pub(in crate::kdc) fn extra(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        let (request, group) = (scene.request, member.group);
        let Some((Resource::Extra(name), _)) = Resource::of(&request.path) else {
            return Err(Refusal::NotFound.into());
        };
        let rules = &member.authorised.group.rules;
        let mut known = rules.extra_resources().iter().filter(|resource| resource.name == name).peekable();
        known.peek().ok_or(Refusal::NotFound)?;
        known.find(|resource| resource.method == request.method).ok_or(Refusal::MethodNotAllowed)?;
        let state = GroupState { active: group.head.active, num: group.head.num };
        let (format, payload) = rules.extra(name, state).ok_or(Refusal::NotFound)?;
        if request.accept.is_some_and(|accept| accept != format) {
            return Err(Refusal::NotAcceptable.into());
        }
        Ok(Outcome::answer(Response::new(Status::Content).with_payload(format, payload)))
    }
}
