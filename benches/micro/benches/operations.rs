//! What single operations cost, without sockets: codecs, OSCORE, and the KDC's engine.
//!
//! `cargo bench -p ace-micro`; the load generator measures the same over UDP.

use ace_backend_aws_lc::AwsLc;
use ace_coap::{Code, Message};
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::kdc::GroupConfig;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::traits::crypto::Identity;
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Method, Request, Status};
use ace_groupcomm_messages::{JoinRequest, JoinResponse};
use ace_oscore::{Aead, Context, Hkdf, Incoming, Parameters, Sequence};
use ace_profile_group_oscore::DESCRIPTOR;
use ace_profile_group_oscore::member::{join_request, joined};
use ace_profile_group_oscore::scope::REQUESTER;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const GROUP: &str = "bench";
const N_C: [u8; 8] = [7; 8];

fn contexts() -> (Context, Context) {
    let side = |sender: u8, recipient: u8| Parameters {
        master_secret: vec![1; 16],
        master_salt: vec![2; 8],
        sender_id: vec![sender],
        recipient_id: vec![recipient],
        id_context: None,
        aead: Aead::default(),
        hkdf: Hkdf::default(),
    };
    let context = |side| Context::fresh(&side, Sequence::all()).expect("the parameters are sound");
    (context(side(1, 2)), context(side(2, 1)))
}

fn messages(criterion: &mut Criterion) {
    let request = Message::request(Code::GET).with_path(["ace-group", GROUP, "nodes", "0123456789abcdef"]);
    let bytes = request.encode();
    criterion.bench_function("CoAP message, decoded", |b| b.iter(|| Message::decode(black_box(&bytes))));
    criterion.bench_function("CoAP message, encoded", |b| b.iter(|| black_box(&request).encode()));
    criterion.bench_function("OSCORE request and response, both sides", |b| {
        let (mut client, mut server) = contexts();
        let answer = Message { payload: vec![5; 100], ..Message::response(Code::CONTENT) };
        b.iter(|| {
            let (sent, mut pending) = client.protect_request(&request).expect("numbers are left");
            let Ok(Incoming::Accepted { right, .. }) = server.unprotect_request(&sent) else {
                panic!("the request is new")
            };
            let sent = server.protect_response(&answer, right).expect("it can be protected");
            client.unprotect_response(&sent, &mut pending).expect("it verifies")
        });
    });
}

/// A KDC with an OSCORE group of so many members; the last of them, and its node.
fn kdc(members: u16) -> (Desk, Caller, String) {
    let mut parameters = ConfigMap::default();
    parameters.insert("gm_key", ConfigValue::Text("33".repeat(32)));
    let mut config = desk::config(&[]);
    config.groups.push(GroupConfig { gname: GROUP.into(), profile: DESCRIPTOR.name.into(), parameters });
    let registry = toy::registry().with_application(DESCRIPTOR).expect("it is there once");
    let mut desk =
        Desk::with(&AwsLc, TestStore::new(Sharing::Exclusive), config, &registry).expect("the group is sound");
    let mut last = (Caller::anonymous(), String::new());
    for number in 0..members {
        let (caller, join) = joiner(&mut desk, number);
        let response = desk.ask(&caller, join_post(GROUP, &join));
        assert_eq!(response.status, Status::Created);
        last = (caller, response.location_path.last().cloned().unwrap_or_default());
    }
    (desk, last.0, last.1)
}

/// A client whose association is proven, and its Join Request.
fn joiner(desk: &mut Desk, number: u16) -> (Caller, JoinRequest) {
    let client = TestClient::new(&AwsLc, number).expect("any seed makes a key");
    let bytes = token(1, &client.claims(&[(GROUP, REQUESTER.0)], 2_000_000));
    let (caller, challenge) = desk.post_token(&bytes).expect("the token is good");
    desk.ask(&caller, group_request(Method::Get, GROUP, &["num"]));
    let identity = Identity::kccs(&client.name, client.key);
    let join = join_request(GROUP, REQUESTER, &identity, &challenge, &N_C, None).expect("it can be signed");
    (caller, join)
}

fn engine(criterion: &mut Criterion) {
    let (mut desk, caller, node) = kdc(1_000);
    let get = |resource: &[&str]| group_request(Method::Get, GROUP, resource);
    let mut ask = |name: &str, request: Request| {
        criterion.bench_function(name, |b| b.iter(|| desk.ask(&caller, black_box(request.clone()))));
    };
    ask("KDC: num", get(&["num"]));
    ask("KDC: keying material", get(&["nodes", &node]));
    ask("KDC: credentials of 1,000 members", get(&["creds"]));
    let (mut desk, ..) = kdc(1_000);
    let mut number = 1_000;
    criterion.bench_function("KDC: join of a group of 1,000 and more", |b| {
        let next = |desk: &mut Desk| {
            number += 1;
            joiner(desk, number)
        };
        let desk = std::cell::RefCell::new(&mut desk);
        let next = std::cell::RefCell::new(next);
        b.iter_batched(
            || (next.borrow_mut())(&mut desk.borrow_mut()),
            |(caller, join)| desk.borrow_mut().ask(&caller, join_post(GROUP, &join)),
            BatchSize::PerIteration,
        );
    });
}

fn member(criterion: &mut Criterion) {
    let (mut desk, ..) = kdc(1);
    let (caller, join) = joiner(&mut desk, 2);
    let payload = desk.ask(&caller, join_post(GROUP, &join)).payload;
    criterion.bench_function("member: Join Response, decoded and checked", |b| {
        b.iter(|| {
            joined(&AwsLc, JoinResponse::decode(black_box(&payload)).expect("it decodes"), REQUESTER, &N_C)
                .expect("it verifies")
        });
    });
}

criterion_group!(operations, messages, engine, member);
criterion_main!(operations);
