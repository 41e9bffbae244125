//! From a request to its handler.

use crate::access::{Resource, Who};
use crate::engine::Outcome;
use crate::engine::store::view::{Stop, View};
use crate::kdc::resource::observe;
use crate::kdc::scene::Authorised;
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::request::{Caller, Method, Purpose, Request};

impl KdcApp {
    pub(super) fn request(&self, view: &View<'_>, caller: &Caller, request: &Request) -> Result<Outcome<Event>, Stop> {
        let Some((resource, gname)) = Resource::of(&request.path) else { return Err(Refusal::NotFound.into()) };
        let outcome = self.serve(view, caller, request, resource, gname);
        let outcome = outcome.map_err(|stop| observe::ended_meanwhile(request, stop))?;
        Ok(self.observed(caller, resource, request, outcome))
    }

    fn serve(
        &self,
        view: &View<'_>,
        caller: &Caller,
        request: &Request,
        resource: Resource<'_>,
        gname: &str,
    ) -> Result<Outcome<Event>, Stop> {
        if let Caller::Peer(id) = caller {
            if let Some(pending) = self.pendings.get(id) {
                return self.activate(view, pending);
            }
            if let Some(refused) = self.turned_away(view, id)? {
                return Ok(refused);
            }
        }
        if resource == Resource::AuthzInfo {
            resource.who(request.method).ok_or(Refusal::MethodNotAllowed)?;
            if request.purpose == Purpose::Permission {
                return Ok(Outcome::done());
            }
            return self.authz_info(view, caller, request);
        }
        let holder = self.token_holder(view, caller)?;
        if resource == Resource::Groups {
            resource.who(request.method).ok_or(Refusal::MethodNotAllowed)?;
            return self.fetch_groups(view, &holder, request);
        }
        let authorised = self.authorised(&holder, gname)?;
        let who = self.who(resource, request.method, &authorised)?;
        let asks_permission = request.purpose == Purpose::Permission;
        if resource == Resource::Group && who == Who::Authorised && !asks_permission {
            return self.join(view, &authorised, request);
        }
        let group = self.group_state(view, &authorised)?;
        let member = self.member_for(who, resource, view, &authorised, &group)?;
        if asks_permission {
            return Ok(Outcome::done());
        }
        let response = match (resource, member) {
            (Resource::Creds, _) => self.creds(view, &authorised, &group, request)?,
            (Resource::Group, Some(_)) => self.get_group(view, &authorised, &group)?,
            (Resource::KdcCred, Some(member)) => self.kdc_cred(view, &authorised, member)?,
            (Resource::Policies, Some(_)) => self.policies(&authorised),
            (Resource::Num, Some(_)) => self.num(&group)?,
            (Resource::Node(_), Some(member)) => self.get_node(view, &authorised, &group, member)?,
            (Resource::Extra(name), Some(_)) => self.extra(&authorised, &group, name, request)?,
            _ => return Err(Refusal::NotFound.into()),
        };
        // A client that takes another form only gets none (RFC 7252 section 5.10.4).
        if request.accept.is_some() && request.accept != response.content_format {
            return Err(Refusal::NotAcceptable.into());
        }
        Ok(Outcome::answer(response))
    }
}

impl KdcApp {
    /// What a caller has to be. Who can be no member of the group is told no more than what is not for it (Group
    /// OSCORE profile section 8.5.1).
    fn who(&self, resource: Resource<'_>, method: Method, authorised: &Authorised<'_>) -> Result<Who, Refusal> {
        match resource.who(method) {
            Some(who) => Ok(who),
            None if !authorised.group.rules.can_join(authorised.granted) => {
                Err(Refusal::Forbidden("the token grants no role that joins"))
            }
            None if resource == Resource::Nothing => Err(Refusal::NotFound),
            None => Err(Refusal::MethodNotAllowed),
        }
    }
}
