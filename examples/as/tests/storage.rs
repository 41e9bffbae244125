//! State on disk: what an AS has issued, another process knows.

use ace_backend_coap::{Client, Limits};
use ace_backend_daemon::{Loaded, Running, new_storage_keys};
use ace_backend_tokio::os_random;
use ace_coap::numbers::option;
use ace_coap::{Code, Message};
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{Confirmation, RawCbor, Scope, ScopeEntry, ScopeValue, TokenRequest, TokenResponse};
use ace_oscore::{Context, Sequence};
use ace_peers::Postgres;
use ace_profile_group_oscore::scope;
use rand_core::Rng;
use std::path::Path;
use tempfile::TempDir;

fn loaded(folder: &TempDir) -> Loaded<ace_as::Config> {
    let text = include_str!("../as.toml").replace("# storage =", "storage =");
    let mut loaded: Loaded<ace_as::Config> = Loaded::parse(&folder.path().join("as.toml"), text).unwrap();
    loaded.config.listen = vec![([127, 0, 0, 1], 0).into()];
    loaded
}

async fn start(loaded: &Loaded<ace_as::Config>, storage: &str) -> Running {
    ace_as::start(loaded, storage).await.unwrap()
}

/// Asks as the client `lamp`; the sequence numbers begin there.
async fn ask(running: &Running, loaded: &Loaded<ace_as::Config>, start: u64, req_cnf: Option<Confirmation>) -> Message {
    let permissions = RawCbor::uint(scope::RESPONDER.0);
    let scope = Scope::from(ScopeEntry { gname: "lamps".into(), permissions });
    let asked = TokenRequest {
        audience: Some("kdc1".into()),
        scope: Some(ScopeValue::Bytes(scope.encode())),
        req_cnf,
        ..TokenRequest::default()
    };
    post(running, loaded, start, asked.encode()).await
}

async fn post(running: &Running, loaded: &Loaded<ace_as::Config>, start: u64, payload: Vec<u8>) -> Message {
    let client = Client::connect(running.addresses[0], Limits::default(), os_random().next_u64()).await.unwrap();
    let sequence = Sequence::block(start, start + 100);
    let mut client =
        client.protect_with(Context::restored(&loaded.config.clients[0].oscore.client(), sequence).unwrap());
    let mut request = Message::request(Code::POST).with_path(["token"]).with_payload(ACE_CBOR, payload);
    request.options.push_uint(option::ACCEPT, u32::from(ACE_CBOR));
    client.request(request).await.unwrap()
}

// Covers: AF-5.8-06
#[tokio::test]
async fn rights_can_be_updated_at_another_process() {
    let folder = tempfile::tempdir().unwrap();
    new_storage_keys(&folder.path().join("storage-keys.toml")).unwrap();
    let loaded = loaded(&folder);
    let on_disk = format!("disk:{}", folder.path().join("state").display());
    for (url, known) in [(on_disk.as_str(), Code::CREATED), ("memory:", Code::BAD_REQUEST)] {
        let first = start(&loaded, url).await;
        let answer = ask(&first, &loaded, 0, None).await;
        assert_eq!(answer.code, Code::CREATED);
        let Some(Confirmation::Osc(material)) = TokenResponse::decode(&answer.payload).unwrap().cnf else {
            panic!("no input material")
        };
        first.stop().await;
        let second = start(&loaded, url).await;
        let answer = ask(&second, &loaded, 100, Some(Confirmation::Kid(material.id.clone()))).await;
        assert_eq!(answer.code, known, "{url}");
        second.stop().await;
    }
}

#[tokio::test]
async fn a_field_that_is_not_known_may_have_any_value() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = loaded(&folder);
    let running = start(&loaded, "memory:").await;
    for (at, value) in ["f7", "f0", "f863", "c24100", "01"].into_iter().enumerate() {
        let text = format!("a418210205646b64633109498182656c616d7073041903e7{value}");
        let payload = ace_groupcomm::config::from_hex(&text).unwrap();
        let answer = post(&running, &loaded, 100 * at as u64, payload).await;
        assert_eq!(answer.code, Code::CREATED, "{value}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_as_shares_its_storage_with_nobody() {
    let Some(server) = Postgres::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    new_storage_keys(&folder.path().join("storage-keys.toml")).unwrap();
    let refused = ace_as::start(&loaded(&folder), &server.url()).await.err().unwrap().to_string();
    assert!(refused.contains("disk:FOLDER"), "{refused}");
}

/// Copies the files of a folder that has no others in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

// Covers: TH-5-01/as-anchor
#[tokio::test]
async fn an_as_does_not_start_on_a_folder_that_is_older_than_its_anchor() {
    let folder = tempfile::tempdir().unwrap();
    new_storage_keys(&folder.path().join("storage-keys.toml")).unwrap();
    let mut loaded = loaded(&folder);
    loaded.config.storage.anchor = Some("anchor".into());
    let (state, old) = (folder.path().join("state"), folder.path().join("old"));
    let url = format!("disk:{}", state.display());
    for number in 0..2 {
        let running = start(&loaded, &url).await;
        assert_eq!(ask(&running, &loaded, number * 100, None).await.code, Code::CREATED);
        running.stop().await;
        if number == 0 {
            copy(&state, &old);
        }
    }
    assert!(folder.path().join("anchor").exists());
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::rename(&old, &state).unwrap();
    let error = ace_as::start(&loaded, &url).await.err().unwrap().to_string();
    assert!(error.contains("was acknowledged"), "{error}");
}
