//! Clients that ask: each has a token, an association and a context of its own; requests are in flight from many of
//! them at once.

use crate::server::{AUDIENCE, GROUP, token_key};
use ace_backend_aws_lc::AwsLc;
use ace_coap::numbers::option;
use ace_coap::{Code, Message, Token, Type};
use ace_groupcomm::Roles;
use ace_groupcomm::Secret;
use ace_groupcomm::token::seal_cwt;
use ace_groupcomm::traits::crypto::Identity;
use ace_groupcomm::traits::crypto::{CryptoProvider, SignatureAlgorithm};
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR};
use ace_groupcomm_messages::paths::{AUTHZ_INFO, ROOT};
use ace_groupcomm_messages::{
    Claims, Confirmation, OscoreInputMaterial, RawCbor, Scope, ScopeEntry, ScopeValue, TokenTransferResponse, retrieval,
};
use ace_oscore::{Context, PendingRequest, Sequence};
use ace_profile_group_oscore::member::join_request;
use ace_profile_group_oscore::scope::{REQUESTER, RESPONDER};
use ace_profile_oscore::Upload;
use hdrhistogram::Histogram;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The group's keying material.
    Retrieve,
    /// Membership: a first join of a client that is known.
    Join,
}

/// A client with its context.
pub struct LoadClient {
    pub(crate) context: Context,
    join: Vec<u8>,
    /// NODENAME, once it has joined.
    pub(crate) node: String,
}

/// What came of a run.
pub struct Report {
    /// Answers that were right.
    pub done: u64,
    /// Answers that were wrong, or did not come.
    pub errors: u64,
    /// For how long it ran.
    pub time: Duration,
    /// Latencies in microseconds.
    pub latencies: Histogram<u64>,
    /// Bytes of a request and of an answer.
    pub sizes: (usize, usize),
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Returns 16 bytes that follow from the number of a client and from what they are for.
pub fn bytes(number: u32, label: u8) -> Vec<u8> {
    number.to_be_bytes().into_iter().chain([label]).cycle().take(16).collect()
}

/// Returns the token of a client, bound to this input material, for both roles in [`GROUP`]. `None` where it cannot be sealed.
pub fn token(number: u32, material: &OscoreInputMaterial) -> Option<Vec<u8>> {
    let roles = RawCbor::uint(REQUESTER.0 | RESPONDER.0);
    let claims = Claims {
        sub: Some(format!("client{number}")),
        aud: vec![AUDIENCE.into()],
        exp: Some(4_000_000_000),
        cnf: Some(Confirmation::Osc(material.clone())),
        scope: Some(ScopeValue::Bytes(Scope::from(ScopeEntry { gname: GROUP.into(), permissions: roles }).encode())),
        ..Claims::default()
    };
    let nonce: Vec<u8> = bytes(number, 9).into_iter().take(13).collect();
    seal_cwt(&token_key(), &nonce, &claims)
}

/// One request after the other.
struct Line {
    server: SocketAddr,
    socket: UdpSocket,
    id: u16,
}

impl Line {
    fn new(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self { server, socket, id: 0 })
    }

    fn ask(&mut self, mut message: Message) -> io::Result<Message> {
        if u32::from(self.id) >= PER_SOCKET {
            *self = Self::new(self.server)?;
        }
        self.id += 1;
        (message.kind, message.id) = (Type::NonConfirmable, self.id);
        message.token = Token::new(&self.id.to_be_bytes());
        self.socket.send(&message.encode())?;
        let mut buffer = [0; 2_048];
        let length = self.socket.recv(&mut buffer)?;
        Message::decode(buffer.get(..length).unwrap_or_default()).map_err(io::Error::other)
    }
}

/// Prepares clients: each posts its token and proves its association.
///
/// # Errors
/// Where the server does not do its part.
pub fn prepare(server: SocketAddr, first: u32, count: u32) -> Result<Vec<LoadClient>, Error> {
    let mut line = Line::new(server)?;
    let mut clients = Vec::new();
    for number in first..first.saturating_add(count) {
        let mut client = posted(&mut line, number)?;
        // The first request proves the association.
        let num = Message::request(Code::GET).with_path([ROOT, GROUP, "num"]);
        let (protected, mut pending) = client.context.protect_request(&num)?;
        let answer = line.ask(protected)?;
        client.context.unprotect_response(&answer, &mut pending)?;
        clients.push(client);
    }
    Ok(clients)
}

/// A client that has posted its token, and not used its association yet.
fn posted(line: &mut Line, number: u32) -> Result<LoadClient, Error> {
    let mut material = OscoreInputMaterial::new(bytes(number, 1), bytes(number, 2));
    material.salt = Some(vec![1; 8]);
    let token = token(number, &material).ok_or("no token")?;
    let upload = Upload::new(material, bytes(number, 3).into_iter().take(8).collect(), vec![1]);
    let post = Message::request(Code::POST).with_path([AUTHZ_INFO]);
    let answer = line.ask(post.with_payload(ACE_CBOR, upload.request(token).encode()))?;
    let response = TokenTransferResponse::decode(&answer.payload)?;
    let challenge = response.kdcchallenge.clone().unwrap_or_default();
    let context = Context::fresh(&upload.finish(&response)?, Sequence::all())?;
    let seed: Vec<u8> = bytes(number, 4).into_iter().cycle().take(32).collect();
    let key = AwsLc.signing_key(SignatureAlgorithm::Ed25519, &Secret::new(seed)).ok_or("no key")?;
    let identity = Identity::kccs(&format!("client{number}"), key);
    let roles = Roles(REQUESTER.0 | RESPONDER.0);
    let join = join_request(GROUP, roles, &identity, &challenge, &bytes(number, 5), None)?.encode();
    Ok(LoadClient { context, join, node: String::new() })
}

fn request(operation: Operation, client: &LoadClient) -> Message {
    let (code, expected_payload) = match operation {
        Operation::Retrieve => (Code::GET, None),
        Operation::Join => (Code::POST, Some(client.join.clone())),
    };
    let message = Message::request(code).with_path([ROOT, GROUP]);
    match expected_payload {
        Some(payload) => message.with_payload(ACE_GROUPCOMM_CBOR, payload),
        None => message,
    }
}

/// Makes members of clients, one after the other.
///
/// # Errors
/// Where one is refused.
pub fn join_all(server: SocketAddr, clients: &mut [LoadClient]) -> Result<(), Error> {
    let mut line = Line::new(server)?;
    for client in clients {
        let (protected, mut pending) = client.context.protect_request(&request(Operation::Join, client))?;
        let answer = client.context.unprotect_response(&line.ask(protected)?, &mut pending)?;
        if !answer.code.is_success() {
            return Err(format!("a join was answered {}", answer.code).into());
        }
        client.node = answer.options.strings(option::LOCATION_PATH).and_then(|mut path| path.pop()).unwrap_or_default();
    }
    Ok(())
}

/// One request in flight.
struct InFlight {
    client: usize,
    pending: PendingRequest,
    sent: Instant,
}

/// Messages that one socket sends: their IDs must not come back while the server remembers them (RFC 7252 section
/// 4.4), so that a new socket takes over before they do.
const PER_SOCKET: u32 = 60_000;

/// A run under way.
struct Run<'a> {
    operation: Operation,
    clients: &'a mut [LoadClient],
    next: usize,
    until: Instant,
    /// For how long any answer is waited for.
    patience: Duration,
    report: Report,
}

impl Run<'_> {
    /// The client that asks next; `None` when the time is up or all have joined.
    fn next_client(&mut self) -> Option<usize> {
        let all_asked = self.operation == Operation::Join && self.next >= self.clients.len();
        if all_asked || Instant::now() > self.until || self.clients.is_empty() {
            return None;
        }
        let client = self.next.checked_rem(self.clients.len())?;
        self.next += 1;
        Some(client)
    }

    fn send(&mut self, socket: &UdpSocket, slot: usize, id: u16) -> Result<Option<InFlight>, Error> {
        let Some(client) = self.next_client() else { return Ok(None) };
        let mut message = request(self.operation, &self.clients[client]);
        (message.kind, message.id) = (Type::NonConfirmable, id);
        message.token = Token::new(&u16::try_from(slot)?.to_be_bytes());
        let (protected, pending) = self.clients[client].context.protect_request(&message)?;
        let datagram = protected.encode();
        self.report.sizes.0 = datagram.len();
        socket.send(&datagram)?;
        Ok(Some(InFlight { client, pending, sent: Instant::now() }))
    }

    fn take(&mut self, mut flying: InFlight, message: &Message, length: usize) {
        let answer = self.clients[flying.client].context.unprotect_response(message, &mut flying.pending);
        if answer.is_ok_and(|answer| answer.code.is_success()) {
            self.report.done += 1;
            self.report.sizes.1 = length;
        } else {
            self.report.errors += 1;
        }
        let latency = u64::try_from(flying.sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.report.latencies.saturating_record(latency);
    }

    /// Asks from one socket, until its message IDs or the clients' requests are used up.
    fn one_socket(&mut self, server: SocketAddr, in_flight: usize) -> Result<(), Error> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(self.patience))?;
        let (mut sent, mut buffer) = (0_u32, [0; 2_048]);
        let mut slots: Vec<Option<InFlight>> = Vec::new();
        for slot in 0..in_flight {
            slots.push(self.send(&socket, slot, u16::try_from(sent)?)?);
            sent += 1;
        }
        while slots.iter().any(Option::is_some) {
            let Ok(length) = socket.recv(&mut buffer) else {
                // Nothing in the time of a read: what is still in flight was lost.
                self.report.errors += slots.iter().flatten().count() as u64;
                break;
            };
            let message = Message::decode(&buffer[..length])?;
            let slot = message.token.as_bytes().try_into().map(u16::from_be_bytes).map(usize::from)?;
            let Some(flying) = slots.get_mut(slot).and_then(Option::take) else { continue };
            self.take(flying, &message, length);
            if sent < PER_SOCKET {
                slots[slot] = self.send(&socket, slot, u16::try_from(sent)?)?;
                sent += 1;
            }
        }
        Ok(())
    }
}

/// The version of the group, as a member is told.
///
/// # Errors
/// Where it is not told.
pub fn version(server: SocketAddr, member: &mut LoadClient) -> Result<i64, Error> {
    let num = Message::request(Code::GET).with_path([ROOT, GROUP, "num"]);
    let (protected, mut pending) = member.context.protect_request(&num)?;
    let answer = member.context.unprotect_response(&Line::new(server)?.ask(protected)?, &mut pending)?;
    Ok(retrieval::decode_num(&answer.payload)?)
}

/// Runs operations until the time is up, or each client has joined. So many requests are in flight at once. Where no answer has come
/// for the second time, what is in flight is lost.
///
/// # Errors
/// Where a socket fails.
pub fn run(
    server: SocketAddr,
    operation: Operation,
    clients: &mut [LoadClient],
    in_flight: usize,
    (time, patience): (Duration, Duration),
) -> Result<Report, Error> {
    let begun = Instant::now();
    let latencies = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let report = Report { done: 0, errors: 0, time, latencies, sizes: (0, 0) };
    let mut run = Run { operation, clients, next: 0, until: begun + time, patience, report };
    while Instant::now() < run.until && !(operation == Operation::Join && run.next >= run.clients.len()) {
        run.one_socket(server, in_flight)?;
    }
    run.report.time = begun.elapsed();
    Ok(run.report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Setup;
    use ace_backend_coap::{Client, Limits};
    use ace_backend_memory::MemoryStorage;
    use ace_groupcomm::traits::storage::Sharing;
    use std::sync::Arc;

    // Covers: OP-4.2.1-01, OP-4.2.2-01, OP-4.3-16
    /// What a client asks first may be answered before the KDC has heard of it: a block, say.
    #[tokio::test]
    async fn the_first_request_under_an_association_may_come_in_blocks() {
        for sharing in [Sharing::Shared, Sharing::Exclusive] {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let setup = Setup { sharing, ..Setup::on(Arc::new(MemoryStorage::new()), any) };
            let server = setup.start().await.unwrap();
            let address = server.local_addr().unwrap();
            let serving = tokio::spawn(server.run(std::future::pending()));
            let client = tokio::task::spawn_blocking(move || posted(&mut Line::new(address).unwrap(), 1).unwrap());
            let client = client.await.unwrap();
            let join = request(Operation::Join, &client);
            let mut line = Client::connect(address, Limits { szx: 1, ..Limits::default() }, 1)
                .await
                .unwrap()
                .protect_with(client.context);
            assert_eq!(line.request(join).await.unwrap().code, Code::CREATED, "{sharing:?}");
            serving.abort();
        }
    }
}
