//! From a request to its handler: the table of routes, and the way along it.
//!
//! The way goes from who calls to what its token says, to the group, to the membership, as far as the row asks for. The type
//! of a handler says how far that is: a handler for members is handed a membership, and cannot be called without one.

use crate::access::{Resource, Route, Who};
use crate::engine::Outcome;
use crate::engine::store::view::Stop;
use crate::kdc::scene::{Authorised, GroupState, MemberScene, Scene, TokenHolder};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::request::{Caller, Method, Purpose, Request};
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR};
use ace_groupcomm_messages::paths::KDC_CRED;

/// What a handler comes to.
pub(in crate::kdc) type Answer = Result<Outcome<Event>, Stop>;

/// A handler, by what it needs.
#[derive(Clone, Copy)]
enum Handler {
    Anyone(fn(&KdcApp, &Scene<'_, '_>) -> Answer),
    TokenHolder(fn(&KdcApp, &Scene<'_, '_>, &TokenHolder<'_>) -> Answer),
    Authorised(fn(&KdcApp, &Scene<'_, '_>, &Authorised<'_>) -> Answer),
    Reader(fn(&KdcApp, &Scene<'_, '_>, &Authorised<'_>, &GroupState<'_>) -> Answer),
    Member(fn(&KdcApp, &Scene<'_, '_>, &MemberScene<'_>) -> Answer),
}

#[derive(Clone, Copy)]
struct Row {
    route: Route,
    handler: Handler,
}

/// A row of a resource about groups, which gives application/ace-groupcomm+cbor; and takes it, where it takes anything.
const fn row(resource: Resource<'static>, method: Method, who: Who, handler: Handler) -> Row {
    let takes = match method {
        Method::Post | Method::Fetch => Some(ACE_GROUPCOMM_CBOR),
        _ => None,
    };
    Row { route: Route { resource, method, who, takes, gives: Some(ACE_GROUPCOMM_CBOR) }, handler }
}

const AUTHZ_INFO: Route = Route {
    resource: Resource::AuthzInfo,
    method: Method::Post,
    who: Who::Anyone,
    takes: Some(ACE_CBOR),
    gives: Some(ACE_CBOR),
};

/// A request for another Sender ID has no payload, and neither has who leaves.
const RENEWAL: Route = Route {
    resource: Resource::Node(""),
    method: Method::Post,
    who: Who::Owner,
    takes: None,
    gives: Some(ACE_GROUPCOMM_CBOR),
};

const LEAVING: Route = Route { method: Method::Delete, gives: None, ..RENEWAL };

const NODE_CRED: Route =
    Route { resource: Resource::NodeCred(""), takes: Some(ACE_GROUPCOMM_CBOR), gives: None, ..RENEWAL };

/// The table.
const ROWS: &[Row] = &[
    // What is wrong with the form of an update is a 4.01, so that the handler looks at it.
    Row { route: AUTHZ_INFO, handler: Handler::Anyone(KdcApp::authz_info) },
    row(Resource::Groups, Method::Fetch, Who::TokenHolder, Handler::TokenHolder(KdcApp::fetch_groups)),
    row(Resource::Group, Method::Post, Who::Authorised, Handler::Authorised(KdcApp::join)),
    row(Resource::Group, Method::Get, Who::Member, Handler::Member(KdcApp::get_group)),
    row(Resource::Creds, Method::Get, Who::CredsReader, Handler::Reader(KdcApp::get_creds)),
    row(Resource::Creds, Method::Fetch, Who::CredsReader, Handler::Reader(KdcApp::fetch_creds)),
    row(Resource::KdcCred, Method::Get, Who::Member, Handler::Member(KdcApp::kdc_cred)),
    row(Resource::Policies, Method::Get, Who::Member, Handler::Member(KdcApp::policies)),
    row(Resource::Num, Method::Get, Who::Member, Handler::Member(KdcApp::num)),
    row(Resource::Node(""), Method::Get, Who::Owner, Handler::Member(KdcApp::get_node)),
    Row { route: RENEWAL, handler: Handler::Member(KdcApp::renew_node) },
    Row { route: LEAVING, handler: Handler::Member(KdcApp::leave) },
    Row { route: NODE_CRED, handler: Handler::Member(KdcApp::update_cred) },
];

/// All routes of the KDC's own.
pub fn routes() -> impl Iterator<Item = Route> {
    ROWS.iter().map(|row| row.route)
}

impl KdcApp {
    pub(super) fn request(&self, scene: &Scene<'_, '_>) -> Answer {
        let request = scene.request;
        let Some((resource, gname)) = Resource::of(&request.path) else { return Err(Refusal::NotFound.into()) };
        let outcome = self.serve(scene, resource, gname);
        let outcome = outcome.map_err(|stop| self.ended_meanwhile(scene, resource, stop))?;
        if request.observe.is_none() && request.purpose != Purpose::Notification {
            return Ok(outcome);
        }
        let is_observable = match resource {
            Resource::Own(name) => self.is_own_observable(scene.view, gname, name, None)?,
            Resource::Below(name, below) => self.is_own_observable(scene.view, gname, name, Some(below))?,
            other => other.is_observable(),
        };
        if !is_observable {
            return Ok(outcome);
        }
        let group = self.observable(scene.view, gname)?;
        Ok(self.observed(scene.caller, request, outcome, group))
    }

    fn serve(&self, scene: &Scene<'_, '_>, resource: Resource<'_>, gname: &str) -> Answer {
        if let Caller::Peer(id, _) = scene.caller {
            if let Some(pending) = self.pendings.get(id) {
                return self.activate(scene.view, pending);
            }
            if let Some(refused) = self.turned_away(scene.view, id, scene.request.purpose)? {
                return Ok(refused);
            }
        }
        let row = ROWS
            .iter()
            .copied()
            .find(|Row { route, .. }| route.resource.is_kind_of(resource) && route.method == scene.request.method);
        if resource == Resource::AuthzInfo {
            let Some(Row { handler: Handler::Anyone(handler), .. }) = row else {
                return Err(Refusal::MethodNotAllowed.into());
            };
            return if scene.asks_permission() { Ok(Outcome::done()) } else { handler(self, scene) };
        }
        let holder = self.token_holder(scene.view, scene.caller)?;
        if resource == Resource::Groups {
            let Some(Row { route, handler: Handler::TokenHolder(handler) }) = row else {
                return Err(Refusal::MethodNotAllowed.into());
            };
            settle_formats(route.takes, route.gives, scene.request)?;
            return if scene.asks_permission() { Ok(Outcome::done()) } else { handler(self, scene, &holder) };
        }
        let authorised = self.authorised(scene.view, &holder, gname)?;
        match resource {
            Resource::Own(name) => self.own(scene, &authorised, name, None),
            Resource::Below(name, below) => self.own(scene, &authorised, name, Some(below)),
            // A method that RFC 9594 does not have there, and the profile adds.
            Resource::KdcCred if row.is_none() && authorised.adds(KDC_CRED, scene.request.method) => {
                self.own(scene, &authorised, KDC_CRED, None)
            }
            _ => self.within_group(scene, resource, row, &authorised),
        }
    }

    fn within_group(
        &self,
        scene: &Scene<'_, '_>,
        resource: Resource<'_>,
        row: Option<Row>,
        authorised: &Authorised<'_>,
    ) -> Answer {
        let Row { route, handler } = row_of_group(resource, row, authorised)?;
        if matches!(handler, Handler::Authorised(_)) && !authorised.group.rules.can_join(authorised.granted) {
            return Err(NO_ROLE.into());
        }
        if let Handler::Authorised(handler) = handler
            && !scene.asks_permission()
        {
            settle_formats(route.takes, route.gives, scene.request)?;
            return handler(self, scene, authorised);
        }
        let group = self.group_state(scene.view, authorised)?;
        let member = self.member_for(route.who, resource, scene.view, authorised, &group)?;
        if scene.asks_permission() {
            return Ok(Outcome::done());
        }
        settle_formats(route.takes, route.gives, scene.request)?;
        match (handler, member) {
            (Handler::Reader(handler), _) => handler(self, scene, authorised, &group),
            (Handler::Member(handler), Some(member)) => {
                handler(self, scene, &MemberScene { authorised, group: &group, member })
            }
            _ => Err(Refusal::NotFound.into()),
        }
    }
}

const NO_ROLE: Refusal = Refusal::Forbidden("the token grants no role that joins");

/// The row of a resource under a group. Who can be no member of the group is told no more than what is not for it (Group
/// OSCORE profile section 8.5.1).
fn row_of_group(resource: Resource<'_>, row: Option<Row>, authorised: &Authorised<'_>) -> Result<Row, Refusal> {
    match (row, resource) {
        (Some(row), _) => Ok(row),
        (None, _) if !authorised.group.rules.can_join(authorised.granted) => Err(NO_ROLE),
        (None, Resource::Nothing) => Err(Refusal::NotFound),
        (None, _) => Err(Refusal::MethodNotAllowed),
    }
}

/// Refuses a payload of another form than the route takes, and a client that takes another one only than it gives (RFC 7252
/// sections 5.10.3 and 5.10.4).
pub(in crate::kdc) fn settle_formats(takes: Option<u16>, gives: Option<u16>, request: &Request) -> Result<(), Refusal> {
    let differs = |route: Option<u16>, request: Option<u16>| route.is_some() && request.is_some() && route != request;
    if differs(takes, request.content_format) {
        return Err(Refusal::UnsupportedContentFormat);
    }
    if differs(gives, request.accept) {
        return Err(Refusal::NotAcceptable);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_table_as_it_is() {
        let page = include_str!("../access.rs");
        let shown: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("//! | /")).collect();
        let rows: Vec<String> = routes().map(|route| route.to_string()).collect();
        assert_eq!(shown.iter().map(|row| format!("| /{row}")).collect::<Vec<_>>(), rows);
    }

    // Covers: AF-5.10.1.2-01
    #[test]
    fn a_handler_gets_what_its_row_asks_for() {
        for Row { route, handler } in ROWS {
            let fits = match handler {
                Handler::Anyone(_) => route.who == Who::Anyone,
                Handler::TokenHolder(_) => route.who == Who::TokenHolder,
                Handler::Authorised(_) => route.who == Who::Authorised,
                Handler::Reader(_) => route.who == Who::CredsReader,
                Handler::Member(_) => [Who::Member, Who::Owner].contains(&route.who),
            };
            assert!(fits, "{route}");
        }
        let mut seen: Vec<(Resource<'_>, Method)> = routes().map(|route| (route.resource, route.method)).collect();
        let rows = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), rows, "no row stands behind another of its resource and method");
    }
}
