//! The KDC as a process, asked over HTTP: a token that the Authorization Server vouches for, a join, a kill, and the same bearer
//! again.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::Secret;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, SignatureAlgorithm};
use ace_groupcomm::traits::member::MemberRules;
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR, media_type};
use ace_groupcomm_messages::{
    Claims, Confirmation, JoinResponse, KeyDistribution, RawCbor, Scope, ScopeEntry, ScopeValue, TokenTransferRequest,
    TokenTransferResponse,
};
use ace_profile_group_oscore::member::OscoreMember;
use ace_profile_group_oscore::scope::REQUESTER;
use axum::body::Bytes;
use axum::http::StatusCode;
use custom_kdc::bearer::BEARER;
use reqwest::{Client, Method, Response};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A KDC that is killed with the test.
struct Kdc {
    process: Child,
    url: String,
}

impl Kdc {
    fn start(folder: &Path, introspection: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_custom-kdc"))
            .args(["127.0.0.1:0", folder.join("kdc.db").to_str().unwrap(), introspection, &"11".repeat(32)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = format!("http://{}", line.trim().strip_prefix("listening on ").expect("it listens"));
        Self { process, url }
    }

    /// kill -9.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    async fn ask(&self, method: Method, path: &str, bearer: Option<&str>, body: Option<(u16, Vec<u8>)>) -> Response {
        let mut request = Client::new().request(method, format!("{}/{path}", self.url));
        if let Some(bearer) = bearer {
            request = request.header("Authorization", format!("Bearer {bearer}"));
        }
        if let Some((format, payload)) = body {
            request = request.header("Content-Type", media_type(format).unwrap()).body(payload);
        }
        request.send().await.unwrap()
    }

    async fn post_token(&self, reference: &[u8]) -> Response {
        let post = TokenTransferRequest { access_token: reference.to_vec(), ..TokenTransferRequest::default() };
        self.ask(Method::POST, "authz-info", None, Some((ACE_CBOR, post.encode()))).await
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An Authorization Server that knows the token `good`. Returns its URL, and how often it was asked.
async fn auth_server() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let introspect = move |token: Bytes| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let entry = ScopeEntry { gname: "lamps".into(), permissions: RawCbor::uint(REQUESTER.0) };
            let claims = Claims {
                sub: Some("switch".into()),
                aud: vec!["kdc".into()],
                exp: Some(now + 1_000),
                cnf: Some(Confirmation::Kid(b"switch".to_vec())),
                scope: Some(ScopeValue::Bytes(Scope::from(entry).encode())),
                ..Claims::default()
            };
            match token.as_ref() {
                b"good" => Ok(claims.encode()),
                b"broken" => Err(StatusCode::INTERNAL_SERVER_ERROR),
                _ => Ok(Vec::new()),
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/introspect", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/introspect", axum::routing::post(introspect));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

fn member() -> OscoreMember {
    let key = AwsLc.signing_key(SignatureAlgorithm::Ed25519, &Secret::new(vec![7; 32])).unwrap();
    let identity = Identity::kccs("switch", key);
    OscoreMember { gname: "lamps".into(), roles: REQUESTER, identity, crypto: Arc::new(AwsLc) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_joins_over_http_and_goes_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (introspection, asked) = auth_server().await;
    let mut kdc = Kdc::start(folder.path(), &introspection);
    let posted = kdc.post_token(b"good").await;
    assert_eq!(
        (posted.status(), posted.headers()["content-type"].as_bytes()),
        (StatusCode::CREATED, &b"application/ace+cbor"[..])
    );
    let answer = TokenTransferResponse::decode(&posted.bytes().await.unwrap()).unwrap();
    let (label, bearer) = &answer.extra[0];
    assert_eq!((label, asked.load(Ordering::SeqCst)), (&BEARER, 1));
    let bearer: String = bearer.to_byte_string().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let join = member().join(&answer.kdcchallenge.unwrap(), &[7; 8], None).unwrap().encode();
    let body = Some((ACE_GROUPCOMM_CBOR, join));
    let joined = kdc.ask(Method::POST, "ace-group/lamps", Some(&bearer), body.clone()).await;
    assert_eq!(joined.status(), StatusCode::CREATED);
    let node = joined.headers()["location"].to_str().unwrap().to_owned();
    assert!(node.starts_with("/ace-group/lamps/nodes/"), "{node}");
    let response = JoinResponse::decode(&joined.bytes().await.unwrap()).unwrap();
    let group = member().joined(response, &[7; 8]).unwrap();

    kdc.kill();
    let kdc = Kdc::start(folder.path(), &introspection);
    let own = kdc.ask(Method::GET, node.trim_start_matches('/'), Some(&bearer), None).await;
    assert_eq!(own.status(), StatusCode::OK, "the bearer of a former process");
    let own = KeyDistribution::decode(&own.bytes().await.unwrap()).unwrap();
    assert_eq!(member().key(&own).unwrap(), group.key, "and the key is the same");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the token is stored");
    let again = kdc.ask(Method::POST, "ace-group/lamps", Some(&bearer), body).await;
    assert_eq!(again.status(), StatusCode::OK, "a second join is 2.04 with a body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_bearer_or_no_token_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let (introspection, _) = auth_server().await;
    let kdc = Kdc::start(folder.path(), &introspection);
    assert_eq!(kdc.post_token(b"bad").await.status(), StatusCode::UNAUTHORIZED);
    let broken = kdc.post_token(b"broken").await;
    assert_eq!(
        (broken.status(), broken.headers()["retry-after"].as_bytes()),
        (StatusCode::SERVICE_UNAVAILABLE, &b"5"[..])
    );
    let posted = kdc.post_token(b"good").await;
    let answer = TokenTransferResponse::decode(&posted.bytes().await.unwrap()).unwrap();
    let bearer = answer.extra[0].1.to_byte_string().unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let status = async |shown: &[u8]| kdc.ask(Method::GET, "ace-group/lamps", Some(&hex(shown)), None).await.status();
    let (name, secret) = bearer.split_at(bearer.len() - 32);
    // The name alone, another secret, another name, none of both.
    for wrong in [name.to_vec(), [name, &[0; 32]].concat(), [&[9; 6], secret].concat(), secret.to_vec(), vec![]] {
        assert_eq!(status(&wrong).await, StatusCode::UNAUTHORIZED, "{}", hex(&wrong));
    }
    assert_eq!(status(&bearer).await, StatusCode::FORBIDDEN, "proven, and no member");
    let no_bearer = kdc.ask(Method::GET, "ace-group/lamps", None, None).await;
    assert_eq!(no_bearer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(kdc.ask(Method::HEAD, "ace-group", None, None).await.status(), StatusCode::NOT_IMPLEMENTED);
}
