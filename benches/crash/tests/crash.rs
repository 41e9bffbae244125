//! The crash tester finds nothing in the KDC, and finds what is broken on purpose.

use ace_peers::Postgres;
use serde_json::Value;
use std::process::Command;

/// What the tester reports. Returns whether it was content, too.
fn crash(arguments: &[&str]) -> (bool, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_ace-crash")).arg("--json").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.success(), report)
}

// Covers: TH-1-04/random-kills
#[test]
fn what_was_acknowledged_survives_and_nothing_comes_twice() {
    let (content, report) = crash(&["--kills", "12"]);
    // How much is acknowledged between two kills is a matter of the machine.
    let is_slow = report["failure"].as_str().is_some_and(|why| why.contains("operations a kill"));
    assert!(content || is_slow, "{report}");
    let all = ["lost", "repeated_identifiers", "repeated_nonces", "versions_back", "forward_security", "not_started"];
    for wrong in all {
        assert_eq!(report[wrong], 0, "{report}");
    }
    assert_eq!(report["kills"], 12);
    for kind in ["proven_associations", "joins", "rejoins", "retrievals", "leaves"] {
        assert!(report["acknowledged"][kind].as_u64().unwrap() > 0, "{report}");
    }
    assert!(report["between_commit_and_answer"].as_u64() >= Some(4) && report["replayed"].as_u64() > Some(100));
}

#[test]
fn each_sabotage_is_found() {
    for (sabotage, found) in [
        ("answer-first", ["lost", "repeated_identifiers"]),
        ("cursor-lost", ["repeated_identifiers"; 2]),
        ("window-kept", ["repeated_nonces"; 2]),
    ] {
        let (content, report) = crash(&["--kills", "40", "--sabotage", sabotage]);
        assert!(!content, "{sabotage}: {report}");
        assert!(found.iter().any(|what| report[what].as_u64() > Some(0)), "{sabotage}: {report}");
    }
}

#[test]
fn a_rekeying_that_is_due_and_forgotten_is_found() {
    // It shows where the process is killed between the last leave and the rekeying: in every second run.
    let is_found = (1..=10).any(|seed: u32| {
        let (content, report) = crash(&["--kills", "4", "--sabotage", "due-lost", "--seed", &seed.to_string()]);
        !content && report["forward_security"].as_u64() > Some(0)
    });
    assert!(is_found);
}

// Covers: TH-1-01/two-kdcs, TH-1-02/paused-owner
#[test]
fn two_processes_over_one_database_are_as_good_as_one() {
    let Some(server) = Postgres::start() else { return };
    let (content, report) = crash(&["--kills", "8", "--pause", "--storage", &server.url()]);
    assert!(content, "{report}");
    assert!(report["pauses"].as_u64() > Some(0) && report["echoes"].as_u64() > Some(20), "{report}");
}

#[test]
fn a_second_owner_is_found() {
    let Some(server) = Postgres::start() else { return };
    let arguments = ["--kills", "40", "--pause", "--sabotage", "second-owner", "--storage", &server.url()];
    let (content, report) = crash(&arguments);
    // Two that each take the storage for their own spoil each other's work in whatever way comes first.
    let found = ["lost", "repeated_nonces", "repeated_identifiers", "versions_back", "not_started"];
    assert!(!content && found.iter().any(|what| report[what].as_u64() > Some(0)), "{report}");
}
