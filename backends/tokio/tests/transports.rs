//! Two transports in one CoAP server: OSCORE, and the toy transport of the test kit, whose messages name their association.

use ace_backend_aws_lc::AwsLc;
use ace_backend_coap::{Client, Limits, RequestError, Requester, Server};
use ace_backend_memory::MemoryStorage;
use ace_backend_tokio::{Clock, CryptoPool, EngineService, Followed, Handle, Transports, os_random, spawn};
use ace_coap::security::{ClientSecurity, MessageSecurity, PeerId};
use ace_coap::{Code, Message, SecurityProtocols};
use ace_groupcomm::kdc::Kdc;
use ace_groupcomm::testkit::{build, desk, toy};
use ace_groupcomm::traits::storage::Storage;
use ace_groupcomm::traits::transport::Associations;
use ace_groupcomm_messages::labels::ace_profile::COAP_OSCORE;
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{Claims, Confirmation, OscoreInputMaterial, TokenTransferRequest, TokenTransferResponse};
use ace_oscore::{Context, Sequence};
use ace_peers::toy_wire::{NAME, OF, TOY, ToySide, ToyWire};
use ace_profile_oscore::{DESCRIPTOR, OscoreServer, Responses, Upload};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A KDC with both transports.
struct Running {
    address: SocketAddr,
    handle: Handle,
    driver: JoinHandle<()>,
    requester: Requester,
    server: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn start(storage: &Arc<dyn Storage>) -> Self {
        let (oscore, toy_wire) = (
            Arc::new(OscoreServer::new(Box::new(os_random()), Responses::ReuseNonce).with_look_up()),
            Arc::new(ToyWire::default()),
        );
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
        let (address, requester) = (server.local_addr().unwrap(), server.requester());
        Self { address, handle, driver, requester, server: tokio::spawn(server.run(std::future::pending())) }
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
    let mut protected = running.client().await.protect_with(context);
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
    let (start, limit) = protected.security_mut().sequence().range();
    let context = Context::restored(&parameters, Sequence::block(start, limit)).unwrap();
    let mut again = running.client().await.protect_with(context);
    assert_eq!(again.request(num()).await.unwrap().code, Code::FORBIDDEN);
    running.stop().await;
}

/// Has a client answer what it is asked with what it was asked, until the server has its answer.
async fn asked<S: ClientSecurity>(
    running: &Running,
    peer: &[u8],
    client: &mut Client<S>,
    payload: &str,
) -> Result<Message, RequestError> {
    let mut request = Message::request(Code::POST).with_path(["control"]);
    request.payload = payload.into();
    let to = client.local_addr().unwrap().into();
    let answer = running.requester.request(PeerId::new(peer), to, request);
    tokio::select! {
        answer = answer => answer,
        ended = client.listen(Duration::from_secs(60)) => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn the_kdc_asks_its_clients_under_the_associations_by_which_it_is_asked() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let running = Running::start(&storage).await;
    let upload = Upload::new(material(1), vec![4; 8], vec![5]);
    let by_oscore = running.post(upload.request(token(1, COAP_OSCORE))).await;
    let parameters = upload.finish(&by_oscore).unwrap();
    let oscores = by_oscore.server_recipient_id.unwrap();
    let mut lamp = running.client().await.protect_with(Context::fresh(&parameters, Sequence::all()).unwrap());
    let toys = running.post(build::transfer(&token(2, TOY), &[1; 8])).await.server_recipient_id.unwrap();
    let mut toy_client = running.client().await.protect_with(ToySide(toys.clone()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let answer = |name: &'static str| {
        let seen = Arc::clone(&seen);
        move |request: Message| {
            seen.lock().unwrap().push((name, request.options.uri_path().unwrap(), request.payload.clone()));
            Message { payload: request.payload, ..Message::response(Code::CHANGED) }
        }
    };
    lamp.serve(answer("lamp"));
    toy_client.serve(answer("toy"));
    assert_eq!(lamp.request(num()).await.unwrap().code, Code::FORBIDDEN);
    // The first request of a server needs sequence numbers, which it does not have before.
    for round in ["1", "2"] {
        assert_eq!(asked(&running, &oscores, &mut lamp, round).await.unwrap().payload, round.as_bytes());
        assert_eq!(asked(&running, &toys, &mut toy_client, round).await.unwrap().payload, round.as_bytes());
        assert_eq!(lamp.request(num()).await.unwrap().code, Code::FORBIDDEN, "it asks as before");
    }
    let nobody = asked(&running, b"nobody", &mut lamp, "3").await;
    assert!(matches!(nobody, Err(RequestError::Protect(_))), "{nobody:?}");
    let all: Vec<_> = ["lamp", "toy", "lamp", "toy"].into_iter().zip(["1", "1", "2", "2"]).collect();
    let path = vec!["control".to_owned()];
    let expected: Vec<_> = all.iter().map(|(who, what)| (*who, path.clone(), what.as_bytes().to_vec())).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
    running.stop().await;

    // Another process of the KDC: it asks once its client has proven itself to it, and the client takes no message twice.
    let running = Running::start(&storage).await;
    let (start, limit) = lamp.security_mut().sequence().range();
    let context = Context::restored(&parameters, Sequence::block(start, limit)).unwrap();
    let mut lamp = running.client().await.protect_with(context);
    lamp.serve(answer("lamp again"));
    assert_eq!(lamp.request(num()).await.unwrap().code, Code::FORBIDDEN);
    assert_eq!(asked(&running, &oscores, &mut lamp, "4").await.unwrap().payload, b"4");
    assert_eq!(
        seen.lock().unwrap().last().map(|(who, _, what)| (*who, what.as_slice())),
        Some(("lamp again", &b"4"[..]))
    );
    // A client that serves nothing says so.
    let mut lamp = lamp;
    let (start, limit) = lamp.security_mut().sequence().range();
    let context = Context::restored(&parameters, Sequence::block(start, limit)).unwrap();
    let mut deaf = running.client().await.protect_with(context);
    assert_eq!(asked(&running, &oscores, &mut deaf, "5").await, Err(RequestError::Reset));
    running.stop().await;
}
