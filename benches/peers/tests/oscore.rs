//! aiocoap against our OSCORE and CoAP, both ways round.

use ace_backend_coap::{Answer, Client, Limits, Notifier, Received, Responder, Server, Service};
use ace_backend_tokio::os_random;
use ace_coap::security::PeerId;
use ace_coap::{Code, Message};
use ace_oscore::{Aead, Context, Hkdf, Parameters, Sequence};
use ace_profile_oscore::{OscoreServer, Responses};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

fn parameters(sender: u8, recipient: u8) -> Parameters {
    Parameters {
        master_secret: vec![1; 16],
        master_salt: vec![2; 8],
        sender_id: vec![sender],
        recipient_id: vec![recipient],
        id_context: None,
        aead: Aead::default(),
        hkdf: Hkdf::default(),
    }
}

#[derive(Default)]
struct Resources {
    store: Mutex<Vec<u8>>,
    counter: Mutex<u32>,
    notifier: OnceLock<Notifier>,
}

impl Service for Resources {
    fn call(&self, request: Received, responder: Responder) {
        let path = request.message.options.uri_path().unwrap_or_default();
        let mut answer = Message::response(Code::CONTENT);
        let mut observable = false;
        match (path.first().map(String::as_str), request.message.code) {
            _ if request.peer != Some(PeerId::new(b"aiocoap")) => answer.code = Code::UNAUTHORIZED,
            (Some("small"), Code::GET) => answer.payload = b"small".to_vec(),
            (Some("big"), Code::GET) => answer.payload = (0..5_000_u32).map(|i| (i % 251) as u8).collect(),
            (Some("store"), Code::PUT) => {
                *self.store.lock().unwrap() = request.message.payload;
                answer.code = Code::CHANGED;
            }
            (Some("store"), Code::GET) => answer.payload = self.store.lock().unwrap().clone(),
            (Some("counter"), Code::PUT) => {
                *self.counter.lock().unwrap() += 1;
                self.notifier.get().unwrap().changed(&["counter"]);
                answer.code = Code::CHANGED;
            }
            (Some("counter"), Code::GET) => {
                observable = true;
                answer.payload = self.counter.lock().unwrap().to_string().into_bytes();
            }
            _ => answer.code = Code::NOT_FOUND,
        }
        responder.send(Answer { observable, ..Answer::from(answer) });
    }
}

/// Our server, which knows its replay window or does not.
async fn server(known: bool, sequence: Sequence) -> SocketAddr {
    let security = OscoreServer::new(Box::new(os_random()), Responses::ReuseNonce);
    let peer = PeerId::new(b"aiocoap");
    let added = if known {
        security.add_fresh(peer, &parameters(2, 1), sequence)
    } else {
        security.add_restored(peer, &parameters(2, 1), sequence)
    };
    added.unwrap();
    let resources = Arc::new(Resources::default());
    let any = "127.0.0.1:0".parse().unwrap();
    let server =
        Server::bind(any, Arc::new(security), Arc::clone(&resources) as _, Limits::default(), [1; 32]).await.unwrap();
    resources.notifier.set(server.notifier()).ok();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(std::future::pending()));
    address
}

async fn aiocoap_client(address: SocketAddr, folder: &Path, part: &str) {
    let python = ace_peers::python().unwrap();
    let script = ace_peers::scripts().join("oscore_client.py");
    let mut command = Command::new(python);
    command.arg(script).arg(address.port().to_string()).arg(folder).arg(part).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok");
}

// Covers: OS-4.1.3.4.1-01, OS-4.1.3.4.1-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aiocoap_asks_us_also_after_we_have_lost_our_window() {
    let folder = tempfile::tempdir().unwrap();
    let first = server(true, Sequence::block(0, 1_000)).await;
    aiocoap_client(first, folder.path(), "first").await;
    let restarted = server(false, Sequence::block(1_000, 2_000)).await;
    aiocoap_client(restarted, folder.path(), "again").await;
}

// Covers: OS-4.1.3.4.1-02, OS-4.1.3.5-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_ask_aiocoap_which_has_lost_its_window() {
    let python = ace_peers::python().unwrap();
    let script = ace_peers::scripts().join("oscore_server.py");
    let mut process =
        Command::new(python).arg(script).stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let port: u16 = lines.next_line().await.unwrap().unwrap().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let client = Client::connect(address, Limits::default(), 5).await.unwrap();
    let mut client = client.protect_with(Context::fresh(&parameters(1, 2), Sequence::all()).unwrap());

    let get = |path: &str| Message::request(Code::GET).with_path([path]);
    let small = client.request(get("small")).await.unwrap();
    assert_eq!((small.code, small.payload.as_slice()), (Code::CONTENT, &b"small"[..]));
    let big = client.request(get("big")).await.unwrap();
    assert_eq!(big.payload, (0..5_000_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    let body: Vec<u8> = (0..4_000_u32).map(|i| (i % 253) as u8).collect();
    let mut put = Message::request(Code::PUT).with_path(["store"]);
    put.payload = body.clone();
    assert_eq!(client.request(put).await.unwrap().code, Code::CHANGED);
    assert_eq!(client.request(get("store")).await.unwrap().payload, body);
    assert_eq!(client.request(get("missing")).await.unwrap().code, Code::NOT_FOUND);

    let (first, observation) = client.observe(get("counter")).await.unwrap();
    let mut observation = observation.unwrap();
    assert_eq!(first.payload, b"0");
    for expected in [&b"1"[..], b"2", b"3"] {
        client.request(Message::request(Code::PUT).with_path(["counter"])).await.unwrap();
        let notification = client.notification(&mut observation).await.unwrap();
        assert_eq!(notification.payload, expected);
    }
    assert_eq!(client.cancel(observation).await.unwrap().payload, b"3");
}
