//! Requests and responses without a transport: CoAP, HTTP and tests use them alike.

use crate::delivery::ReturnAddress;
use crate::id::AssociationId;
use bytes::Bytes;
use std::net::IpAddr;

/// What a request wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET: read.
    Get,
    /// POST: act.
    Post,
    /// PUT: replace.
    Put,
    /// DELETE: remove.
    Delete,
    /// Read, with parameters in the body (RFC 8132).
    Fetch,
    /// Change (RFC 8132).
    Patch,
    /// Change, idempotently (RFC 8132).
    IPatch,
}

impl Method {
    /// The method with this name in HTTP; FETCH has the name that it has in CoAP. `None` for others.
    #[must_use]
    pub fn from_http(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "FETCH" => Self::Fetch,
            "PATCH" => Self::Patch,
            _ => return None,
        })
    }

    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Fetch)
    }
}

/// What is wanted with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// The answer, for the client.
    #[default]
    Answer,
    /// The answer for a notification of an observation that was granted before.
    Notification,
    /// Whether the caller may have such an answer, which it was given in part: any success will do, and nothing is done.
    Permission,
}

/// One request. Its body may hold a token: Debug shows how long it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, of CoAP or of what takes its place.
    pub method: Method,
    /// The path, segment by segment, decoded.
    pub path: Vec<String>,
    /// The Content-Format of the body.
    pub content_format: Option<u16>,
    /// The Content-Format that the answer should have.
    pub accept: Option<u16>,
    /// Whether the client wants to be told when what it gets here changes.
    pub observe: Option<Registration>,
    /// What is wanted of the handler.
    pub purpose: Purpose,
    /// The body; empty where there is none.
    pub payload: Bytes,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("content_format", &self.content_format)
            .field("accept", &self.accept)
            .field("observe", &self.observe.is_some())
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .finish()
    }
}

/// A client's registration as an observer (RFC 7641), in the network side's own form. It is stored with the answer, so
/// that notifications go on after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registration {
    /// Which of the client's observations it is: a later registration of this name takes its place.
    pub name: Bytes,
    /// What is asked for, and what notifications are protected with.
    pub state: Bytes,
}

impl Registration {
    /// What a client asks for: the network side gives it its form.
    #[must_use]
    pub const fn asked() -> Self {
        Self { name: Bytes::new(), state: Bytes::new() }
    }
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new<S: Into<String>>(method: Method, path: impl IntoIterator<Item = S>) -> Self {
        Self {
            method,
            path: path.into_iter().map(Into::into).collect(),
            content_format: None,
            accept: None,
            observe: None,
            purpose: Purpose::Answer,
            payload: Bytes::new(),
        }
    }

    /// The same request with a body.
    #[must_use]
    pub fn with_payload(mut self, content_format: u16, payload: impl Into<Bytes>) -> Self {
        self.content_format = Some(content_format);
        self.payload = payload.into();
        self
    }
}

/// Where an unprotected request came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Names the host, in the network side's own form: requests with the same name came from the same host.
    pub host: Bytes,
    /// Whether the sender has proven that it is reachable there: by Echo (RFC 9175 section 2.3), or by a handshake of
    /// the transport.
    pub proven: bool,
    /// Where the client can be sent requests, if the network side can do that.
    pub at: Option<ReturnAddress>,
}

impl Endpoint {
    /// A host that has this name in the network side's own form.
    #[must_use]
    pub fn new(host: impl Into<Bytes>, proven: bool) -> Self {
        Self { host: host.into(), proven, at: None }
    }

    /// A host, by its IP address. A handshake has proven it, of TCP or TLS; a datagram has not.
    #[must_use]
    pub fn of_ip(ip: IpAddr, proven: bool) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::new(Bytes::copy_from_slice(&ip.octets()), proven),
            IpAddr::V6(ip) => Self::new(Bytes::copy_from_slice(&ip.octets()), proven),
        }
    }
}

/// Who sends a request. A peer is known by its security association, never by an address.
///
/// [`Self::Peer`] is the embedder's own assertion: a message came that only the other end of the association can have made, or
/// have made for this server now. The engine asks nothing further. The name of an association is no secret and proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Caller {
    /// Nobody is known to have sent it; where it came from, if the network side tells.
    Anonymous(Option<Endpoint>),
    /// The other end of this association, and where its request came from, if the network side tells. An address proves nothing:
    /// it says where answers go, and what else is for the peer.
    Peer(AssociationId, Option<Endpoint>),
}

impl Caller {
    /// Somebody unknown, at a place that is not told.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self::Anonymous(None)
    }

    /// The host that the caller has proven to be reachable at, where it is not known otherwise.
    #[must_use]
    pub(crate) fn proven_host(&self) -> Option<&Bytes> {
        match self {
            Self::Anonymous(Some(Endpoint { host, proven: true, .. })) => Some(host),
            _ => None,
        }
    }

    /// Whether the caller could prove its address, and has not.
    pub(crate) const fn can_prove(&self) -> bool {
        matches!(self, Self::Anonymous(Some(Endpoint { proven: false, .. })))
    }

    /// The other end of an association.
    #[must_use]
    pub fn peer(association: impl Into<AssociationId>) -> Self {
        Self::Peer(association.into(), None)
    }

    /// Where the other end of an association can be sent requests.
    pub(crate) fn return_address(&self) -> Option<&ReturnAddress> {
        match self {
            Self::Peer(_, Some(endpoint)) => endpoint.at.as_ref(),
            _ => None,
        }
    }
}

/// For logs: a peer's name, or where somebody unknown is, in hexadecimal.
impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous(None) => f.write_str("anonymous"),
            Self::Anonymous(Some(endpoint)) => {
                f.write_str("anonymous ")?;
                endpoint.host.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Peer(id, _) => write!(f, "peer {id}"),
        }
    }
}

/// The kind of answer: the CoAP codes that the engines give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// 2.01
    Created,
    /// 2.02
    Deleted,
    /// 2.04
    Changed,
    /// 2.05
    Content,
    /// 4.00
    BadRequest,
    /// 4.01
    Unauthorized,
    /// 4.03
    Forbidden,
    /// 4.04
    NotFound,
    /// 4.05
    MethodNotAllowed,
    /// 4.06
    NotAcceptable,
    /// 4.13
    RequestEntityTooLarge,
    /// 4.15
    UnsupportedContentFormat,
    /// 4.29
    TooManyRequests,
    /// 5.00
    InternalServerError,
    /// 5.03
    ServiceUnavailable,
}

impl Status {
    /// The code of CoAP: class in the upper three bits, detail in the lower five (RFC 7252 section 12.1.2).
    #[must_use]
    pub const fn coap(self) -> u8 {
        let (class, detail) = match self {
            Self::Created => (2, 1),
            Self::Deleted => (2, 2),
            Self::Changed => (2, 4),
            Self::Content => (2, 5),
            Self::BadRequest => (4, 0),
            Self::Unauthorized => (4, 1),
            Self::Forbidden => (4, 3),
            Self::NotFound => (4, 4),
            Self::MethodNotAllowed => (4, 5),
            Self::NotAcceptable => (4, 6),
            Self::RequestEntityTooLarge => (4, 13),
            Self::UnsupportedContentFormat => (4, 15),
            Self::TooManyRequests => (4, 29),
            Self::InternalServerError => (5, 0),
            Self::ServiceUnavailable => (5, 3),
        };
        (class << 5) | detail
    }

    /// The status of a code of CoAP; `None` for one that no response of ours has.
    #[must_use]
    pub fn from_coap(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.coap() == code)
    }

    /// All of them.
    const ALL: [Self; 15] = [
        Self::Created,
        Self::Deleted,
        Self::Changed,
        Self::Content,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestEntityTooLarge,
        Self::UnsupportedContentFormat,
        Self::TooManyRequests,
        Self::InternalServerError,
        Self::ServiceUnavailable,
    ];

    /// The status code of HTTP (RFC 8075 section 7, RFC 9110 section 15).
    #[must_use]
    pub const fn http(self) -> u16 {
        match self {
            Self::Created => 201,
            Self::Content => 200,
            Self::Deleted | Self::Changed => 204,
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedContentFormat => 415,
            Self::TooManyRequests => 429,
            Self::InternalServerError => 500,
            Self::ServiceUnavailable => 503,
        }
    }

    /// Whether the request was done.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.coap() >> 5 == 2
    }
}

/// One answer. Its body may hold keys: Debug shows how long it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// What became of the request.
    pub status: Status,
    /// The Content-Format of the body.
    pub content_format: Option<u16>,
    /// Where what was made is to be found, segment by segment.
    pub location_path: Vec<String>,
    /// For how many seconds the answer is good, or after how many to ask again.
    pub max_age: Option<u32>,
    /// The body; empty where there is none.
    pub payload: Bytes,
    /// Whether it goes out unprotected although the request was protected: the token of the association
    /// has expired, so that its keys may not be used (RFC 9203 section 4.3).
    pub unprotected: bool,
    /// Whether the client is told of changes from now on: its registration is stored.
    pub observed: bool,
    /// Whether the client is to ask again with a proof that it is reachable where it says (RFC 9175 section 2.3).
    pub asks_for_proof: bool,
    /// The association that a token post has made. It is for the program, whose handshake has brought the token, and goes out
    /// nowhere: what the client has to know of it is in the body.
    pub association: Option<AssociationId>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("content_format", &self.content_format)
            .field("location_path", &self.location_path)
            .field("max_age", &self.max_age)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("unprotected", &self.unprotected)
            .field("observed", &self.observed)
            .field("asks_for_proof", &self.asks_for_proof)
            .field("association", &self.association)
            .finish()
    }
}

impl Response {
    /// An answer without a body.
    #[must_use]
    pub const fn new(status: Status) -> Self {
        Self {
            status,
            content_format: None,
            location_path: Vec::new(),
            max_age: None,
            payload: Bytes::new(),
            unprotected: false,
            observed: false,
            asks_for_proof: false,
            association: None,
        }
    }

    /// The same answer with a body.
    #[must_use]
    pub fn with_payload(mut self, content_format: u16, payload: impl Into<Bytes>) -> Self {
        self.content_format = Some(content_format);
        self.payload = payload.into();
        self
    }

    /// Returns the status code of HTTP: that of [`Status::http`], but 200 instead of 204, which has no body (RFC 9110 section 15.3.5),
    /// where there is one.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self.status.http() {
            204 if !self.payload.is_empty() => 200,
            code => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_what_is_asked_and_no_body() {
        let mut request = Request::new(Method::Post, ["authz-info"]).with_payload(19, vec![0x5e; 77]);
        request.observe = Some(Registration { name: Bytes::new(), state: Bytes::new() });
        let text = format!("{request:?}");
        assert!(text.contains("authz-info") && text.contains("77 bytes") && text.contains("observe: true"), "{text}");
        assert!(!text.contains('^') && !text.contains("94"), "{text}");
        let text = format!("{:?}", Response::new(Status::Created).with_payload(19, vec![0x5e; 77]));
        assert!(text.contains("Created") && text.contains("77 bytes") && !text.contains('^'), "{text}");
    }

    #[test]
    fn a_caller_is_shown_in_hexadecimal() {
        let at = |proven| Caller::Anonymous(Some(Endpoint::new(vec![127, 0, 0, 1], proven)));
        assert_eq!(Caller::anonymous().to_string(), "anonymous");
        assert_eq!(at(false).to_string(), "anonymous 7f000001");
        assert_eq!(Caller::peer(b"\x1b[2J").to_string(), "peer 1b5b324a");
        assert_eq!(
            (at(false).can_prove(), at(true).can_prove(), Caller::anonymous().can_prove()),
            (true, false, false)
        );
        assert!(at(true).proven_host().is_some() && at(false).proven_host().is_none());
    }

    #[test]
    fn http_has_its_own_names_for_methods_and_codes() {
        for status in Status::ALL {
            assert_eq!(status.http() / 100, u16::from(status.coap() >> 5), "{status:?}");
        }
        assert_eq!([Status::Content, Status::Changed, Status::Created].map(Status::http), [200, 204, 201]);
        let changed = Response::new(Status::Changed);
        assert_eq!((changed.http_status(), changed.with_payload(60, vec![1]).http_status()), (204, 200));
        assert_eq!(Method::from_http("FETCH"), Some(Method::Fetch));
        assert_eq!((Method::from_http("get"), Method::from_http("HEAD")), (None, None));
    }
}
