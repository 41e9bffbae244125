//! The programs of this crate as processes: a KDC, an AS and a member with media groups, and a member in Python.

use serde_json::{Value, json};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

const SECRET: &str = "73616d706c6573637265656e2e2e2e2e";

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A sample of this crate, with other ports.
fn sample(folder: &Path, name: &str, (auth_server, kdc): (u16, u16)) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let text = text.replace("127.0.0.1:5783", &format!("127.0.0.1:{auth_server}"));
    let path = folder.join(name);
    std::fs::write(&path, text.replace("127.0.0.1:5683", &format!("127.0.0.1:{kdc}"))).unwrap();
    path.to_str().unwrap().to_owned()
}

fn member(config: &str, command: &str) -> Output {
    let mut member = Command::new(env!("CARGO_BIN_EXE_media-member"));
    member.args(["--config", config, "--json", command]).output().unwrap()
}

/// What a command of the member says; it is asked again until the servers are up.
fn told(config: &str, command: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let output = member(config, command);
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).unwrap();
        }
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(Instant::now() < end, "{command}: {error}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn our_member_and_one_in_python_join_a_media_group() {
    let folder = tempfile::tempdir().unwrap();
    let ports = (free_port(), free_port());
    let start = |program: &str, name: &str| {
        let config = sample(folder.path(), name, ports);
        Process(Command::new(program).args(["--config", &config]).spawn().unwrap())
    };
    let _auth_server = start(env!("CARGO_BIN_EXE_media-as"), "as.toml");
    let _kdc = start(env!("CARGO_BIN_EXE_media-kdc"), "kdc.toml");
    let config = sample(folder.path(), "member.toml", ports);
    for command in ["token", "upload"] {
        told(&config, command);
    }
    let joined = told(&config, "join");
    assert_eq!((&joined["group"], &joined["ssrc"]), (&json!("stage"), &json!("00000000")));
    assert_eq!((joined.get("master_key"), &joined["num"]), (None, &json!(0)), "nobody has asked for keys");

    let python = ace_peers::python().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client.py");
    let (auth_server, kdc) = (ports.0.to_string(), ports.1.to_string());
    let client = Command::new(python).arg(script).args([&auth_server, &kdc, SECRET]).output().unwrap();
    assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
    let client: Value = serde_json::from_slice(&client.stdout).unwrap();
    assert_eq!(client["streams"], json!([["00000000", 2000, ""], ["00000001", 400, "screen share"]]));

    let creds = told(&config, "creds");
    let peers: Vec<_> =
        creds["peers"].as_array().unwrap().iter().map(|peer| (&peer["sender_id"], &peer["roles"])).collect();
    assert_eq!(peers, [(&json!("00000001"), &json!("sender"))]);
    let keys = told(&config, "keys");
    assert_eq!(
        (&keys["master_key"], &keys["gid"]),
        (&client["master_key"], &client["gid"]),
        "both have the group's key"
    );
}

#[test]
fn a_wrong_parameter_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (right, wrong, line, word) in [
        ("AEAD_AES_256_GCM", "ROT13", 17, "AES_CM_128_HMAC_SHA1_80, AEAD_AES_256_GCM"),
        ("max_bitrate = 3000", "max_bitrate = \"much\"", 17, "max_bitrate: must be a whole number"),
        ("max_bitrate = 3000", "codec = \"opus\"", 17, "codec: is not known"),
        ("key = \"73616d706c656b64", "key = \"616d706c656b64", 17, "key: must be 32 bytes"),
        ("profile = \"media\"", "profile = \"medium\"", 16, "linked are: "),
    ] {
        let config = sample(folder.path(), "kdc.toml", (free_port(), free_port()));
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains(right), "{right}");
        std::fs::write(&config, text.replace(right, wrong)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_media-kdc")).args(["--config", &config]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(&format!("line {line}")) && told.contains(word), "{told}");
    }
    let config = sample(folder.path(), "member.toml", (free_port(), free_port()));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("roles = \"sender\"", "roles = \"singer\"")).unwrap();
    let told = String::from_utf8_lossy(&member(&config, "token").stderr).into_owned();
    assert!(told.contains("\"singer\"") && told.contains("sender, receiver"), "{told}");
}
