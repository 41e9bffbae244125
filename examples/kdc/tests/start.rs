//! A file that has changed: the program says what differs from what is stored, and does not start.

#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const KDC: &str = env!("CARGO_BIN_EXE_ace-kdc");
const SAMPLE: &str = include_str!("../kdc.toml");

struct House(TempDir);

impl House {
    fn new() -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        house.write("", "");
        let keys = house.kdc(&["new-storage-keys", "storage-keys.toml"]).output().unwrap();
        assert!(keys.status.success());
        house
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Writes the file, with a text replaced wherever it stands.
    fn write(&self, from: &str, to: &str) {
        let text = SAMPLE
            .replace("[\"127.0.0.1:5683\", \"[::1]:5683\"]", "[\"127.0.0.1:0\"]")
            .replace("# storage =", "storage =");
        assert!(text.contains(from), "{from}");
        let text = if from.is_empty() { text } else { text.replace(from, to) };
        let file = self.folder().join("kdc.toml");
        std::fs::write(&file, text).unwrap();
        // Keys that are not those of the sample are for nobody else to read.
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn kdc(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(KDC);
        command.current_dir(self.folder()).env("NO_COLOR", "1");
        command.args(["--config", "kdc.toml", "--storage", "disk:state"]).args(arguments);
        command
    }

    /// Starts it, and ends it once it serves; or what it said where it does not.
    fn start(&self, arguments: &[&str]) -> Result<(), String> {
        let mut child = self.kdc(arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut words = String::new();
        while std::io::BufRead::read_line(&mut log, &mut words).unwrap() > 0 {
            if words.contains("listening") {
                child.kill().unwrap();
                child.wait().unwrap();
                return Ok(());
            }
        }
        assert_eq!(child.wait().unwrap().code(), Some(1));
        Err(words)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_changed_parameter_is_refused_with_its_line_and_both_values() {
    let house = House::new();
    house.start(&[]).unwrap();
    let key = SAMPLE.lines().find_map(|line| line.split("gm_key = \"").nth(1)).unwrap()[..64].to_owned();
    for (from, to, line, reason) in [
        (
            "mode = \"group\"",
            "mode = \"group+pairwise\"",
            41,
            "mode is \"group\" in storage, and \"group+pairwise\" here",
        ),
        (
            "mode = \"group\"",
            "mode = \"group\", key_lifetime = 60",
            41,
            "key_lifetime is 2592000 in storage, and 60 here. Start once with --accept-parameters if that is meant",
        ),
        (&key, &"12".repeat(32), 36, "gm_key is the key with the public key "),
    ] {
        house.write(from, to);
        let words = house.start(&[]).unwrap_err();
        assert!(words.contains(&format!("kdc.toml: line {line}: ")) && words.contains(reason), "{to}: {words}");
        assert!(!words.contains(&key) && !words.contains(&"12".repeat(32)), "no private key: {words}");
    }
    house.write("", "");
    house.start(&[]).unwrap();
    let check = house.kdc(&["check"]).output().unwrap();
    assert!(check.status.success(), "{}", said(&check));
}

#[test]
fn other_parameters_are_taken_when_that_is_allowed_and_members_can_follow() {
    let house = House::new();
    house.start(&[]).unwrap();
    house.write("mode = \"group\"", "mode = \"group\", gp_enc_alg = \"A128GCM\", rekey_delay = 1");
    let words = house.start(&[]).unwrap_err();
    let reason = "gp_enc_alg is \"AES-CCM-16-64-128\" in storage, and \"A128GCM\" here; rekey_delay is 5 in storage, and 1 here. \
                  Start once with --accept-parameters if that is meant";
    assert!(words.contains("kdc.toml: line 41: ") && words.contains(reason), "{words}");
    house.start(&["--accept-parameters"]).unwrap();
    house.start(&[]).unwrap();
    house.write("mode = \"group\"", "mode = \"group+pairwise\"");
    let words = house.start(&["--accept-parameters"]).unwrap_err();
    assert!(words.contains("mode is") && !words.contains("--accept-parameters"), "{words}");
    let check = house.kdc(&["check"]).output().unwrap();
    assert!(check.status.success(), "{}", said(&check));
}

#[test]
fn other_issuers_are_refused_until_that_is_allowed_once() {
    let house = House::new();
    house.start(&[]).unwrap();
    house.write("73616d706c65746f6b656e2e2e2e2e2e", "73616d706c65746f6b656e2e2e2e2e2f");
    let words = house.start(&[]).unwrap_err();
    let reason = "has other keys): 0 clients would end. Start once with --accept-issuers if that is meant";
    assert!(words.contains("kdc.toml: line 24: ") && words.contains(reason), "{words}");
    assert!(!words.contains("73616d706c65746f"), "{words}");
    house.start(&["--accept-issuers"]).unwrap();
    house.start(&[]).unwrap();
    house.write("", "");
    assert!(house.start(&[]).unwrap_err().contains("--accept-issuers"));
}
