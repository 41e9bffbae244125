//! The shipped configuration works; a mistake in it is refused, with the line that it stands in.

use ace_backend_daemon::Loaded;
use std::path::Path;

const SAMPLE: &str = include_str!("../kdc.toml");

/// What comes of the sample in which a text was replaced, wherever it stands.
async fn with(from: &str, to: &str, storage: &str) -> Result<(), String> {
    let text = SAMPLE.replace("[\"127.0.0.1:5683\", \"[::1]:5683\"]", "[\"127.0.0.1:0\", \"[::1]:0\"]");
    assert!(text.contains(from), "{from}");
    let loaded: Loaded<ace_kdc::Config> =
        Loaded::parse(Path::new("kdc.toml"), text.replace(from, to)).map_err(|error| error.to_string())?;
    let running =
        ace_kdc::start(&loaded, storage, &ace_kdc::Options::default()).await.map_err(|error| error.to_string())?;
    assert_eq!(running.addresses.len(), 2, "on IPv4 and IPv6");
    running.stop().await;
    Ok(())
}

#[tokio::test]
async fn mistakes_are_named_with_their_line() {
    assert_eq!(with("audience", "audience", "memory:").await, Ok(()));
    let twice = SAMPLE.lines().skip_while(|line| !line.contains("[[group]]")).take(4).collect::<Vec<_>>().join("\n");
    let twice = format!("{twice}\n[limits]");
    for (from, to, line, reason) in [
        ("audience =", "audiense =", 7, "audiense"),
        ("key = \"73616d706c65746f6b656e2e2e2e2e2e\"", "key = \"73616d706c65\"", 27, "16 bytes"),
        ("groups = [\"lamps\", \"alarms\"]", "groups = [\"lamps\", \"doors\"]", 29, "doors"),
        ("[limits]", &twice, 45, "lamps"),
        ("name = \"alarms\"\nprof", "name = \"alarms\"\n[[group]]\nname = \"a/b\"\nprof", 38, "profile"),
        (
            "name = \"alarms\"\nprofile = \"coap_group_oscore_app\"",
            "name = \"alarms\"\nprofile = \"coap_nothing\"",
            40,
            "coap_group_oscore_app",
        ),
        ("mode = \"group\"", "mode = \"pairwise\"", 41, "\"pairwise\" is not available"),
        ("mode = \"group\"", "mode = \"group\", forward_security = false", 41, "cannot be turned off"),
        ("mode = \"group\"", "mode = \"group\", rekey_delay = 601", 41, "must be 0 to 600 seconds"),
        ("mode = \"group\"", "mode = \"group\", sign_alg = \"ES256\"", 41, "known are: EdDSA"),
        ("mode = \"group\"", "mode = \"group\", colour = \"red\"", 41, "not known here"),
        ("pending = 65536", "pending = \"many\"", 50, "usize"),
        ("[\"127.0.0.1:0\", \"[::1]:0\"]", "[]", 5, "address to listen at"),
        ("audience = \"kdc1\"", "audience = \"\"", 7, "empty"),
        ("\"coap://127.0.0.1:5783/token\"", "\"nowhere at all\"", 9, "no URI"),
        ("\"coap://127.0.0.1:5783/token\"", "\"127.0.0.1\"", 9, "no URI"),
        ("iss = \"coap://127.0.0.1:5783\"", "iss = \"\"", 26, "empty"),
        ("groups = [\"lamps\", \"alarms\"]", "groups = []", 29, "no group"),
        ("groups = [\"lamps\", \"alarms\"]", "groups = [\"lamps\", \"lamps\"]", 29, "twice"),
        ("waiting = 65536", "waiting = 0", 46, "must not be 0"),
        ("pending_per_token = 4", "pending_per_token = 0", 48, "must not be 0"),
        ("posts_per_second = 1000", "posts_per_second = 0", 52, "must not be 0"),
        ("mode = \"group\"", "mode = \"group\", key_lifetime = 0", 41, "must be 1 to 4294967295 seconds"),
        (
            "mode = \"group\"",
            "mode = \"group\", key_lifetime = 9223372036854775807",
            41,
            "must be 1 to 4294967295 seconds",
        ),
        (
            "mode = \"group\"",
            "mode = \"group\", key_lifetime = 1.5",
            41,
            "key_lifetime: must be a whole number, and is a number",
        ),
        ("mode = \"group\"", "mode = [\"group\"]", 41, "mode: must be a string, and is a list"),
        ("leeway = 30", "leeway = 9999999", 59, "3600"),
        ("gm_key = \"73616d706c65", "gm_key = \"73616d706c6500", 36, "32 bytes"),
    ] {
        let error = with(from, to, "memory:").await.unwrap_err();
        assert!(error.starts_with(&format!("kdc.toml: line {line}: ")) && error.contains(reason), "{to}: {error}");
    }
}

// Covers: TH-9-02/sample-keys
#[tokio::test]
async fn sample_keys_stay_on_loopback_and_storage_is_named() {
    let error = with("\"127.0.0.1:0\"", "\"0.0.0.0:0\"", "memory:").await;
    assert!(error.is_err_and(|error| error.contains("line 5") && error.contains("sample keys")));
    let error = with("audience", "audience", "cloud:").await;
    assert!(error.is_err_and(|error| error.contains("cloud:") && error.contains("memory:")));
}
