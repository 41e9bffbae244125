//! Where a member takes requests of the KDC (RFC 9594 section 4.3.1, `control_uri`), and what it answers.

use ace_coap::numbers::option;
use ace_coap::{Code, Message};
use ace_groupcomm::member::Member;
use ace_groupcomm::{Method, Request, Response, Status};
use ace_groupcomm_messages::paths::ROOT;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Where a member takes requests of the KDC: what goes to the KDC under an association leaves from there too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberControl {
    /// The address, which the KDC sees as it is here; or one that stands for all of the machine, where the member does not know how it
    /// is seen.
    pub local: SocketAddr,
    /// The path, one segment.
    pub path: String,
}

impl MemberControl {
    /// Returns the URI, for [`Setup::control_uri`](ace_groupcomm::member::Setup::control_uri): a path alone where only the KDC knows the
    /// address.
    #[must_use]
    pub fn uri(&self) -> String {
        let Self { local, path } = self;
        if local.ip().is_unspecified() { format!("/{path}") } else { format!("coap://{local}/{path}") }
    }
}

/// Requests of the KDC that were answered, and not handed in yet.
pub(super) type Asked = Arc<Mutex<VecDeque<Request>>>;

/// How many of them there may be.
const ASKED: usize = 16;

/// Whether the client has joined a group with this request.
pub(super) fn joins(request: &Request, response: &Response) -> bool {
    request.method == Method::Post
        && request.path.len() == 2
        && request.path.first().is_some_and(|root| root == ROOT)
        && response.status.is_success()
}

/// Answers a request of the KDC, and keeps one that is to be handed in.
pub(super) fn answer(message: Message, path: &str, asked: &Asked) -> Message {
    let with = |status: Status| Message::response(Code(status.coap()));
    let segments = message.options.strings(option::URI_PATH).unwrap_or_default();
    if segments != [path] {
        return with(Status::NotFound);
    }
    let method = match message.code {
        Code::POST => Method::Post,
        Code::DELETE => Method::Delete,
        _ => return with(Status::MethodNotAllowed),
    };
    let mut request = Request::new(method, segments);
    request.content_format = message.options.content_format();
    request.payload = message.payload.into();
    let status = Member::answer_to(&request);
    if status.is_success() {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ASKED {
            return with(Status::ServiceUnavailable);
        }
        asked.push_back(request);
    }
    with(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
    use ace_groupcomm_messages::{KeyDistribution, Label, RawCbor, RekeyingMessage};

    fn rekeying() -> Vec<u8> {
        let material = KeyDistribution {
            gkty: Label::Int(1),
            key: RawCbor::bytes(&[7; 16]),
            num: 3,
            ace_groupcomm_profile: None,
            exp: None,
            exi: None,
            rekeying_scheme: None,
            mgt_key_material: None,
        };
        RekeyingMessage { material, joined: None, stale_node_ids: None, extra: Vec::new() }.encode()
    }

    #[test]
    fn requests_of_the_kdc_are_kept_up_to_a_bound_and_others_are_refused() {
        let asked = Asked::default();
        let control = |code| Message::request(code).with_path(["control"]);
        let with = |message| answer(message, "control", &asked).code;
        assert_eq!(with(Message::request(Code::POST).with_path(["other"])), Code::NOT_FOUND);
        assert_eq!(with(Message::request(Code::POST).with_path(["control", "below"])), Code::NOT_FOUND);
        assert_eq!(with(control(Code::GET)), Code::METHOD_NOT_ALLOWED);
        assert_eq!(with(control(Code::POST).with_payload(ACE_GROUPCOMM_CBOR, vec![0xa0])), Code::BAD_REQUEST);
        assert!(asked.lock().unwrap().is_empty(), "nothing of that is handed in");
        assert_eq!(with(control(Code::DELETE)), Code::DELETED);
        for _ in 1..ASKED {
            assert_eq!(with(control(Code::POST).with_payload(ACE_GROUPCOMM_CBOR, rekeying())), Code::CHANGED);
        }
        assert_eq!(with(control(Code::DELETE)), Code::SERVICE_UNAVAILABLE);
        assert_eq!(asked.lock().unwrap().len(), ASKED);
    }

    #[test]
    fn a_join_is_a_post_to_the_group_that_has_succeeded() {
        let post = |path: &[&str]| Request::new(Method::Post, path.iter().copied());
        let with = |status| Response::new(status);
        assert!(
            joins(&post(&[ROOT, "g"]), &with(Status::Created)) && joins(&post(&[ROOT, "g"]), &with(Status::Changed))
        );
        assert!(!joins(&post(&[ROOT, "g"]), &with(Status::Forbidden)));
        assert!(!joins(&post(&[ROOT, "g", "nodes", "n"]), &with(Status::Content)));
        assert!(!joins(&Request::new(Method::Get, [ROOT, "g"]), &with(Status::Content)));
        assert!(!joins(&post(&["authz-info", "g"]), &with(Status::Created)));
    }

    #[test]
    fn a_member_that_does_not_know_how_it_is_seen_gives_a_path_alone() {
        let uri = |local: &str| MemberControl { local: local.parse().unwrap(), path: "control".into() }.uri();
        assert_eq!(uri("[2001:db8::1]:61616"), "coap://[2001:db8::1]:61616/control");
        assert_eq!((uri("0.0.0.0:61616"), uri("[::]:61616")), ("/control".into(), "/control".into()));
    }
}
