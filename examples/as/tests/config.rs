//! The shipped configuration works; a mistake in it is refused, with the line that it stands in.

use ace_backend_daemon::Loaded;
use std::path::Path;

const SAMPLE: &str = include_str!("../as.toml");

/// What comes of the sample in which a text was replaced, wherever it stands.
async fn with(from: &str, to: &str) -> Result<(), String> {
    let text = SAMPLE.replace("[\"127.0.0.1:5783\", \"[::1]:5783\"]", "[\"127.0.0.1:0\"]");
    assert!(text.contains(from), "{from}");
    let loaded: Loaded<ace_as::Config> =
        Loaded::parse(Path::new("as.toml"), text.replace(from, to)).map_err(|error| error.to_string())?;
    let running = ace_as::start(&loaded, "memory:").await.map_err(|error| error.to_string())?;
    running.stop().await;
    Ok(())
}

#[tokio::test]
async fn mistakes_are_named_with_their_line() {
    assert_eq!(with("issuer", "issuer").await, Ok(()));
    for (from, to, line, reason) in [
        ("issuer =", "isuer =", 10, "isuer"),
        ("client_id = \"02\"", "client_id = \"0\"", 20, "hexadecimal"),
        ("client_id = \"02\"", "client_id = \"01\"", 20, "used twice"),
        ("client_id = \"02\"", "client_id = \"0102030405060708\"", 20, "too long"),
        ("name = \"switch\"", "name = \"lamp\"", 19, "twice"),
        ("key = \"73616d706c65746f6b656e2e2e2e2e2e\"", "key = \"73616d706c65\"", 30, "16 bytes"),
        ("lifetime = 3600", "lifetime = 0", 32, "while"),
        ("lifetime = 3600", "lifetime = -1", 32, "u64"),
        ("lifetime = 3600", "lifetime = 9223372036854775807", 32, "136 years"),
        ("[\"127.0.0.1:0\"]", "[]", 5, "address to listen at"),
        ("issuer = \"coap://127.0.0.1:5783\"", "issuer = \"\"", 10, "empty"),
        ("name = \"kdc1\"", "name = \"\"", 29, "empty"),
        ("group = \"lamps\"\nroles = \"responder\"", "group = \"\"\nroles = \"responder\"", 38, "empty"),
        ("roles = \"requester+responder\"", "roles = \"painter\"", 45, "painter"),
        ("[[policy]]\nclient = \"switch\"", "[[policy]]\nclient = \"stranger\"", 42, "not registered"),
        (
            "audience = \"kdc1\"\ngroup = \"alarms\"\nroles = \"requester\"",
            "audience = \"kdc9\"\ngroup = \"a\"\nroles = \"requester\"",
            55,
            "kdc9",
        ),
    ] {
        let error = with(from, to).await.unwrap_err();
        assert!(error.starts_with(&format!("as.toml: line {line}: ")) && error.contains(reason), "{to}: {error}");
    }
}

// Covers: TH-9-02/sample-keys
#[tokio::test]
async fn sample_keys_stay_on_loopback() {
    let error = with("[\"127.0.0.1:0\"]", "[\"0.0.0.0:0\"]").await;
    assert!(error.is_err_and(|error| error.contains("line 5") && error.contains("sample keys")));
}
