//! Two transports in one CoAP server: OSCORE, and the toy transport of the test kit, whose messages name their association.

use ace_backend_aws_lc::AwsLc;
use ace_backend_coap::{Client, Limits, Server};
use ace_backend_memory::MemoryStorage;
use ace_backend_tokio::{Clock, CryptoPool, EngineService, Followed, Handle, Transports, os_random, spawn};
use ace_coap::security::{Inbound, MessageSecurity, ObservationBinding, PeerId, ProtectError, ReplyBinding};
use ace_coap::{Code, Message, SecurityProtocols};
use ace_groupcomm::kdc::Kdc;
use ace_groupcomm::testkit::{build, desk, toy};
use ace_groupcomm::traits::storage::Storage;
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use ace_groupcomm_messages::labels::ace_profile::COAP_OSCORE;
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{Claims, Confirmation, OscoreInputMaterial, TokenTransferRequest, TokenTransferResponse};
use ace_oscore::{Context, Sequence};
use ace_profile_oscore::{DESCRIPTOR, OscoreServer, Responses, Upload};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use tokio::task::JoinHandle;

const TOY: i64 = -70_000;
/// The name of the association in a request: a critical option, so that a server without the transport refuses it.
const NAME: u16 = 65_001;
/// The name in a response, as an elective option: a client may leave it unread.
const OF: u16 = 65_000;

/// The network side of the toy transport.
#[derive(Default)]
struct ToyWire(Mutex<Table>);

#[derive(Default)]
struct Table {
    known: BTreeSet<Vec<u8>>,
    needs: Vec<AssociationNeed>,
    waker: Option<Waker>,
}

impl ToyWire {
    fn take(&self, mut message: Message, is_last_try: bool) -> Inbound {
        let Some(name) = message.options.first(NAME).map(<[u8]>::to_vec) else { return Inbound::Plain(message) };
        let (peer, mut table) = (PeerId::new(&name), self.0.lock().unwrap());
        if table.known.contains(&name) {
            message.options.remove(NAME);
            return Inbound::Verified { peer, message, binding: ReplyBinding::new(name), fresh: true };
        }
        if is_last_try {
            return Inbound::Answer(Message::response(Code::UNAUTHORIZED));
        }
        table.needs.push(AssociationNeed::Unknown(name.into()));
        table.waker.take().into_iter().for_each(Waker::wake);
        Inbound::Later(peer, message)
    }
}

impl MessageSecurity for ToyWire {
    fn unprotect(&self, outer: Message) -> Inbound {
        self.take(outer, false)
    }

    fn unprotect_again(&self, outer: Message) -> Inbound {
        self.take(outer, true)
    }

    fn protect(&self, mut response: Message, binding: ReplyBinding) -> Result<Message, ProtectError> {
        let name = binding.into_inner::<Vec<u8>>().ok_or(ProtectError::ForeignBinding)?;
        response.options.set(OF, &name);
        Ok(response)
    }

    fn knows_option(&self, number: u16) -> bool {
        number == NAME
    }

    fn observe(&self, _: &ReplyBinding) -> Option<ObservationBinding> {
        None
    }

    fn notify(&self, _: Message, _: &ObservationBinding) -> Result<Message, ProtectError> {
        Err(ProtectError::ForeignBinding)
    }
}

impl Associations for ToyWire {
    fn notice(&self, notice: AssociationNotice) {
        let mut table = self.0.lock().unwrap();
        match notice {
            AssociationNotice::New { id, profile: TOY, .. } | AssociationNotice::Loaded { id, profile: TOY, .. } => {
                table.known.insert(id.as_bytes().to_vec());
            }
            AssociationNotice::Gone { id } | AssociationNotice::Ended { id } => {
                table.known.remove(id.as_bytes());
            }
            _ => (),
        }
    }

    fn poll_needs(&self, context: &mut std::task::Context<'_>) -> Poll<Vec<AssociationNeed>> {
        let mut table = self.0.lock().unwrap();
        if table.needs.is_empty() {
            table.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut table.needs))
    }
}

/// A KDC with both transports.
struct Running {
    address: SocketAddr,
    handle: Handle,
    driver: JoinHandle<()>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn start(storage: &Arc<dyn Storage>) -> Self {
        let (oscore, toy_wire) =
            (Arc::new(OscoreServer::new(Box::new(os_random()), Responses::ReuseNonce)), Arc::new(ToyWire::default()));
        let registry = toy::registry().with_transport(DESCRIPTOR).unwrap();
        let validator = Box::new(build::validator(&["g1"]));
        let kdc = Kdc::new(desk::config(&["g1"]), &registry, validator, storage.sharing(), Arc::new(AwsLc)).unwrap();
        let tables = Transports::new([Arc::clone(&oscore) as Arc<dyn Associations>, Arc::clone(&toy_wire) as _]);
        let followed = Arc::new(Followed::new(Arc::new(tables)));
        let pool = CryptoPool::inline(Arc::new(AwsLc));
        let (handle, driver) = spawn(kdc, Arc::clone(storage), Arc::clone(&followed) as _, pool, Clock::system());
        handle.ready().await.unwrap();
        let security = Arc::new(SecurityProtocols::new([oscore as Arc<dyn MessageSecurity>, toy_wire]));
        let (any, service) = ("127.0.0.1:0".parse().unwrap(), Arc::new(EngineService::new(handle.clone())));
        let server = Server::bind(any, security, service, Limits::default(), [7; 32]).await.unwrap();
        followed.add(server.notifier());
        let address = server.local_addr().unwrap();
        Self { address, handle, driver, server: tokio::spawn(server.run(std::future::pending())) }
    }

    async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
        self.handle.stop().await;
        self.driver.await.unwrap();
    }

    async fn client(&self) -> Client {
        Client::connect(self.address, Limits::default(), 7).await.unwrap()
    }

    async fn post(&self, post: TokenTransferRequest) -> TokenTransferResponse {
        let request = Message::request(Code::POST).with_path(["authz-info"]).with_payload(ACE_CBOR, post.encode());
        let answer = self.client().await.request(request).await.unwrap();
        assert_eq!(answer.code, Code::CREATED);
        TokenTransferResponse::decode(&answer.payload).unwrap()
    }
}

fn material(number: u8) -> OscoreInputMaterial {
    OscoreInputMaterial::new(vec![number], vec![number; 16])
}

/// A token for one of the transports.
fn token(number: u8, profile: i64) -> Vec<u8> {
    let client = build::TestClient::new(&AwsLc, u16::from(number)).unwrap();
    let expires = Clock::system().now().unix.seconds() + 1_000;
    let cnf = Some(Confirmation::Osc(material(number)));
    build::token(1, &Claims { cnf, ace_profile: Some(profile), ..client.claims(&[("g1", 1)], expires) })
}

fn num() -> Message {
    Message::request(Code::GET).with_path(["ace-group", "g1", "num"])
}

async fn ask_as_toy(running: &Running, name: &[u8]) -> Message {
    let mut request = num();
    request.options.push(NAME, name);
    running.client().await.request(request).await.unwrap()
}

#[tokio::test]
async fn oscore_and_a_second_transport_serve_their_peers_at_once_and_after_a_restart() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let running = Running::start(&storage).await;
    let upload = Upload::new(material(1), vec![4; 8], vec![5]);
    let by_oscore = running.post(upload.request(token(1, COAP_OSCORE))).await;
    let parameters = upload.finish(&by_oscore).unwrap();
    let context = Context::fresh(&parameters, Sequence::all()).unwrap();
    let mut protected = running.client().await;
    protected.protect_with(context);
    let post = build::transfer(&token(2, TOY), &[1; 8]);
    let name = running.post(post).await.server_recipient_id.unwrap();
    // Both are known, and are no members. Whoever is not known is told so, without protection.
    assert_eq!(protected.request(num()).await.unwrap().code, Code::FORBIDDEN);
    let answer = ask_as_toy(&running, &name).await;
    assert_eq!((answer.code, answer.options.first(OF)), (Code::FORBIDDEN, Some(name.as_slice())));
    assert_eq!(ask_as_toy(&running, b"nobody").await.code, Code::UNAUTHORIZED);
    assert_eq!(running.client().await.request(num()).await.unwrap().code, Code::UNAUTHORIZED);
    // The name of the other one's association proves nothing here.
    let oscores = by_oscore.server_recipient_id.unwrap();
    assert_eq!(ask_as_toy(&running, &oscores).await.code, Code::UNAUTHORIZED);
    running.stop().await;

    // Another process: either transport has its own looked up.
    let running = Running::start(&storage).await;
    assert_eq!(ask_as_toy(&running, &name).await.code, Code::FORBIDDEN);
    assert_eq!(ask_as_toy(&running, &oscores).await.code, Code::UNAUTHORIZED);
    let (start, limit) = protected.context().unwrap().sequence().range();
    let mut again = running.client().await;
    again.protect_with(Context::restored(&parameters, Sequence::block(start, limit)).unwrap());
    assert_eq!(again.request(num()).await.unwrap().code, Code::FORBIDDEN);
    running.stop().await;
}
