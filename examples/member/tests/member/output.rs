//! What the program says where nobody can take it, and to whom.

use crate::house::House;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const MEMBER: &str = env!("CARGO_BIN_EXE_ace-member");

async fn member(config: &Path, what: &[&str], change: impl FnOnce(&mut Command) -> &mut Command) -> Output {
    let mut command = Command::new(MEMBER);
    command.arg("--config").arg(config).args(what).stdout(Stdio::piped()).stderr(Stdio::piped());
    change(&mut command);
    tokio::task::spawn_blocking(move || command.spawn().unwrap().wait_with_output().unwrap()).await.unwrap()
}

fn full() -> std::fs::File {
    std::fs::File::options().write(true).open("/dev/full").unwrap()
}

// Covers: TH-7-04/second-export
#[cfg(target_os = "linux")]
#[tokio::test]
async fn keys_that_could_not_be_written_are_not_handed_out() {
    let house = House::new().await;
    let config = house.config();
    for what in ["token", "upload", "join"] {
        assert!(member(&config, &[what], |command| command).await.status.success());
    }
    let lost = member(&config, &["keys"], |command| command.stdout(full())).await;
    let told = String::from_utf8(lost.stderr).unwrap();
    assert!(lost.status.code() == Some(1) && told.contains("standard output: No space left"), "{told}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let lost = member(&config, &["keys"], |command| command.stdout(writer)).await;
    assert_eq!(lost.status.code(), Some(1));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let keys: Value =
            serde_json::from_slice(&member(&config, &["--json", "keys"], |command| command).await.stdout).unwrap();
        ids.push(keys["sender_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids, ["00", "01"], "no Sender ID was spent");
    // What it tells of its exchanges may be lost.
    let creds = member(&config, &["--json", "creds"], |command| command.stderr(full())).await;
    assert!(creds.status.success() && serde_json::from_slice::<Value>(&creds.stdout).is_ok());
}

#[tokio::test]
async fn where_nobody_listens_it_is_said_soon_and_with_a_status_of_its_own() {
    let house = House::new().await;
    let config = house.config();
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut text = std::fs::read_to_string(&config).unwrap();
    let address = text.lines().find(|line| line.starts_with("address")).unwrap().to_owned();
    text = text.replacen(&address, &format!("address = \"{nobody}\""), 1);
    std::fs::write(&config, text).unwrap();
    let output = member(&config, &["token"], |command| command).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(&format!("nobody listens at {nobody}")), "{told}");
}

#[tokio::test]
async fn an_exchange_is_told_by_name_or_in_diagnostic_notation() {
    let house = House::new().await;
    let config = house.config();
    let told = async |what: &[&str]| String::from_utf8(member(&config, what, |command| command).await.stderr).unwrap();
    let token = told(&["token"]).await;
    assert!(token.contains("scope: [[\"lamps\", responder]]") && token.contains("audience: \"kdc1\""), "{token}");
    assert!(token.contains("access_token: <hidden, ") && token.contains("ms: <hidden, 16 bytes>"), "{token}");
    let raw = told(&["token", "--diagnostic"]).await;
    assert!(raw.contains("9: h'8182656c616d707304'") && raw.contains("1: <hidden, "), "{raw}");
    assert!(!told(&["token", "--show-secrets"]).await.contains("hidden"));
}
