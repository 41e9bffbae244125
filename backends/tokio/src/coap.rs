//! An engine behind CoAP: requests and responses in the one form and the other.

use crate::deliver::Deliverer;
use crate::driver::Handle;
use ace_backend_coap::{
    AddressPair, Answer, Notifier, Received, RequestError, Requester, Responder, Server, Service, bad_option,
};
use ace_coap::numbers::option;
use ace_coap::security::PeerId;
use ace_coap::{Code, Message};
use ace_groupcomm::delivery::{Delivered, Delivery, ReturnAddress};
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use ace_groupcomm::{Caller, Endpoint, Method, Purpose, Registration, Request, Response};
use async_trait::async_trait;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// Serves an engine's resources.
pub struct EngineService {
    handle: Handle,
    /// Which of the servers that follow the engine's associations it is for, if its clients may be sent requests.
    number: Option<usize>,
}

impl EngineService {
    /// Serves the engine with this handle.
    #[must_use]
    pub const fn new(handle: Handle) -> Self {
        Self { handle, number: None }
    }

    /// The same for a server by which clients may be sent requests: the one that is added to these next
    /// ([`Followed::add_server`]).
    #[must_use]
    pub fn of_next(handle: Handle, followed: &Followed) -> Self {
        Self { handle, number: Some(followed.each_server(|_| ()).len()) }
    }
}

/// Where a message came from, as the engine keeps it: which server, both addresses, and the session.
fn return_address(number: usize, from: AddressPair) -> Option<ReturnAddress> {
    // What is kept outlives the session that it was received in.
    if from.session.is_some() {
        return None;
    }
    let remote = SocketAddr::new(from.remote.ip().to_canonical(), from.remote.port());
    let local = from.local.map(|local| local.to_string()).unwrap_or_default();
    let opaque = format!("{number} {} {local}", from.remote);
    Some(ReturnAddress { base: format!("coap://{remote}"), opaque: opaque.into() })
}

/// The server and the addresses that [`return_address`] has written.
fn sent_to(opaque: &[u8]) -> Option<(usize, AddressPair)> {
    let mut parts = std::str::from_utf8(opaque).ok()?.split(' ');
    let (number, remote, local) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    let local = if local.is_empty() { None } else { Some(local.parse().ok()?) };
    Some((number, AddressPair { remote, local, session: None }))
}

const fn method(code: Code) -> Option<Method> {
    Some(match code {
        Code::GET => Method::Get,
        Code::POST => Method::Post,
        Code::PUT => Method::Put,
        Code::DELETE => Method::Delete,
        Code::FETCH => Method::Fetch,
        Code::PATCH => Method::Patch,
        Code::IPATCH => Method::IPatch,
        _ => return None,
    })
}

/// Names a host. A network of 64 bits is one host's: it has all the addresses in it.
fn host(address: IpAddr) -> Bytes {
    match address.to_canonical() {
        IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
        IpAddr::V6(address) => Bytes::copy_from_slice(address.octets().get(..8).unwrap_or_default()),
    }
}

fn uint16(message: &Message, number: u16) -> Option<u16> {
    message.options.uint(number).map(|value| u16::try_from(value).unwrap_or(u16::MAX))
}

/// The request without its transport; otherwise the answer that refuses an unknown method (RFC 7252 section 5.8), or
/// a path that is not text.
fn request(message: Message) -> Result<Request, Message> {
    Ok(Request {
        method: method(message.code).ok_or_else(|| Message::response(Code::METHOD_NOT_ALLOWED))?,
        path: message.options.uri_path().ok_or_else(|| bad_option(option::URI_PATH))?,
        content_format: uint16(&message, option::CONTENT_FORMAT),
        accept: uint16(&message, option::ACCEPT),
        observe: None,
        purpose: Purpose::Answer,
        payload: message.payload.into(),
    })
}

fn registration(kept: ace_backend_coap::Registration) -> Registration {
    Registration { name: kept.name.into(), state: kept.state.into() }
}

fn answer(response: &Response) -> Answer {
    let mut message = Message::response(Code(response.status.coap()));
    for segment in &response.location_path {
        message.options.push(option::LOCATION_PATH, segment.as_bytes());
    }
    if let Some(format) = response.content_format {
        message.options.push_uint(option::CONTENT_FORMAT, u32::from(format));
    }
    if let Some(seconds) = response.max_age {
        message.options.push_uint(option::MAX_AGE, seconds);
    }
    message.payload = response.payload.to_vec();
    Answer {
        message,
        unprotected: response.unprotected,
        observable: response.observed,
        asks_for_proof: response.asks_for_proof,
    }
}

impl Service for EngineService {
    fn call(&self, received: Received, responder: Responder) {
        let proven = if received.peer.is_some() { received.fresh } else { received.proven };
        let at = self.number.and_then(|number| return_address(number, received.from));
        let endpoint = Endpoint { at, ..Endpoint::new(host(received.from.remote.ip()), proven) };
        let caller = match received.peer {
            Some(peer) => Caller::Peer(peer.as_bytes().into(), Some(endpoint)),
            None => Caller::Anonymous(Some(endpoint)),
        };
        match request(received.message) {
            Err(refusal) => responder.send(refusal),
            Ok(mut request) => {
                request.observe = received.registration.map(registration);
                request.purpose = match received.purpose {
                    ace_backend_coap::Purpose::Answer => Purpose::Answer,
                    ace_backend_coap::Purpose::Notification => Purpose::Notification,
                    ace_backend_coap::Purpose::Permission => Purpose::Permission,
                };
                self.handle.submit(caller, request, move |response| responder.send(answer(&response)));
            }
        }
    }

    fn ended(&self, peer: &PeerId, ended: ace_backend_coap::Registration) {
        self.handle.need(AssociationNeed::Unobserved(peer.as_bytes().into(), registration(ended)));
    }
}

/// Associations that CoAP servers follow too: what a server keeps of a peer ends with the peer's association, or with
/// the rights that it had.
pub struct Followed {
    associations: Arc<dyn Associations>,
    servers: Mutex<Vec<(Notifier, Option<Requester>)>>,
}

impl Followed {
    /// These associations, without a server yet.
    #[must_use]
    pub const fn new(associations: Arc<dyn Associations>) -> Self {
        Self { associations, servers: Mutex::new(Vec::new()) }
    }

    /// One more server follows.
    pub fn add(&self, server: Notifier) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push((server, None));
    }

    /// One more server follows, by which clients may be sent requests.
    pub fn add_server(&self, server: &Server) {
        let (notifier, requester) = (server.notifier(), Some(server.requester()));
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push((notifier, requester));
    }

    fn each(&self, tell: impl Fn(&Notifier)) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|(server, _)| tell(server));
    }

    /// What this makes of each server.
    fn each_server<T>(&self, make: impl Fn(&(Notifier, Option<Requester>)) -> T) -> Vec<T> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).iter().map(make).collect()
    }
}

#[async_trait]
impl Deliverer for Followed {
    async fn deliver(&self, delivery: Delivery) -> Delivered {
        let Delivery { association, observed, to, request, .. } = delivery;
        let peer = PeerId::new(association.as_bytes());
        if !observed.is_empty() {
            for notifier in self.each_server(|(notifier, _)| notifier.clone()) {
                if notifier.observes(peer.clone(), observed.clone()).await {
                    return Delivered::Observed;
                }
            }
        }
        let Some((number, to)) = sent_to(&to) else { return Delivered::NotSent };
        let requester = self.each_server(|(_, requester)| requester.clone()).into_iter().nth(number).flatten();
        let Some(requester) = requester else { return Delivered::NotSent };
        let mut message = Message::request(match request.method {
            Method::Delete => Code::DELETE,
            _ => Code::POST,
        });
        message = message.with_path(request.path.iter().map(String::as_str));
        if let Some(format) = request.content_format {
            message.options.push_uint(option::CONTENT_FORMAT, u32::from(format));
        }
        message.payload = request.payload.to_vec();
        match requester.request(peer, to, message).await {
            Ok(answer) if answer.code.is_success() => Delivered::Confirmed,
            Ok(_) => Delivered::Refused,
            Err(RequestError::Silent | RequestError::Reset | RequestError::Blocks | RequestError::Option(_)) => {
                Delivered::Silent
            }
            Err(_) => Delivered::NotSent,
        }
    }
}

/// The last answer to an observer of this path.
fn last_word(path: &[String]) -> Message {
    answer(&ace_groupcomm::kdc::last_word(path)).message
}

fn ended(server: &Notifier, peer: PeerId) {
    server.ended(peer, last_word);
}

/// What a server is told of a peer.
type Tell = fn(&Notifier, PeerId);

impl Associations for Followed {
    fn notice(&self, notice: AssociationNotice) {
        let tell: Option<(Tell, PeerId)> = match &notice {
            AssociationNotice::Gone { id } => Some((Notifier::gone, PeerId::new(id.as_bytes()))),
            AssociationNotice::Ended { id } => Some((ended, PeerId::new(id.as_bytes()))),
            AssociationNotice::Restricted { id } => Some((Notifier::restricted, PeerId::new(id.as_bytes()))),
            AssociationNotice::New { id, .. }
            | AssociationNotice::Loaded { id, .. }
            | AssociationNotice::Claimed { id }
            | AssociationNotice::Sequence { id, .. } => Some((Notifier::ready, PeerId::new(id.as_bytes()))),
            AssociationNotice::Unavailable { id } => Some((Notifier::unavailable, PeerId::new(id.as_bytes()))),
            AssociationNotice::Unobserved { id, path } => {
                let (peer, path) = (PeerId::new(id.as_bytes()), path.iter().map(String::as_str).collect::<Vec<&str>>());
                return self.each(|server| server.unobserve(peer.clone(), &path));
            }
            AssociationNotice::Changed { path } => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                return self.each(|server| server.changed(&path));
            }
            AssociationNotice::ChangedBelow { path } => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                return self.each(|server| server.changed_below(&path));
            }
            // One that another process has now, and what a later version may tell.
            _ => None,
        };
        // First the table: messages that waited for this are looked at again.
        self.associations.notice(notice);
        if let Some((tell, peer)) = tell {
            self.each(|server| tell(server, peer.clone()));
        }
    }

    fn poll_needs(&self, context: &mut Context<'_>) -> Poll<Vec<AssociationNeed>> {
        self.associations.poll_needs(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_backend_coap::Limits;
    use ace_coap::security::Unprotected;

    #[derive(Default)]
    struct Table(Mutex<Vec<AssociationNotice>>);

    impl Associations for Table {
        fn notice(&self, notice: AssociationNotice) {
            self.0.lock().unwrap().push(notice);
        }

        fn poll_needs(&self, _: &mut Context<'_>) -> Poll<Vec<AssociationNeed>> {
            Poll::Ready(vec![AssociationNeed::Claim(vec![7].into())])
        }
    }

    struct Nobody;

    impl Service for Nobody {
        fn call(&self, _: Received, _: Responder) {}
    }

    #[test]
    fn a_host_has_all_addresses_of_its_network() {
        let of = |text: &str| host(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }

    #[tokio::test]
    async fn the_table_follows_whoever_else_does() {
        let table = Arc::new(Table::default());
        let followed = Followed::new(Arc::clone(&table) as _);
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(any, Arc::new(Unprotected), Arc::new(Nobody), Limits::default(), [1; 32]).await;
        followed.add(server.unwrap().notifier());
        let notices = [
            AssociationNotice::Restricted { id: vec![1].into() },
            AssociationNotice::Gone { id: vec![1].into() },
            AssociationNotice::Sequence { id: vec![2].into(), start: 0, limit: 1 },
        ];
        notices.iter().for_each(|notice| followed.notice(notice.clone()));
        assert_eq!(*table.0.lock().unwrap(), notices);
        let needs = followed.poll_needs(&mut Context::from_waker(std::task::Waker::noop()));
        assert_eq!(needs, Poll::Ready(vec![AssociationNeed::Claim(vec![7].into())]));
    }
}
