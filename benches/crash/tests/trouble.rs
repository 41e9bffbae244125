//! A disk on which nothing can be written any more: what clients see, what the log says, and that it passes.

use ace_load::load::{LoadClient, Operation, Report, prepare, run};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn free_address() -> SocketAddr {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A KDC as a process of its own, which lives on where a file would grow too large.
fn start(folder: &Path, address: SocketAddr) -> Child {
    let keys = folder.join("keys.toml");
    ace_backend_daemon::new_storage_keys(&keys).unwrap();
    let storage = format!("disk:{}", folder.join("state").display());
    let program = env!("CARGO_BIN_EXE_ace-crash");
    let mut child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", program, "serve", "--storage", &storage, "--keys"])
        .arg(keys)
        .args(["--address", &address.to_string()])
        .env("RUST_LOG", "info")
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// Files of the process can grow up to this many bytes from now on.
fn limit(child: &Child, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let status = Command::new("prlimit").args(["--pid", &child.id().to_string(), &limit]).status().unwrap();
    assert!(status.success());
}

fn ask(address: SocketAddr, operation: Operation, clients: &mut [LoadClient]) -> Report {
    run(address, operation, clients, 5, (Duration::from_secs(1), Duration::from_millis(200))).unwrap()
}

#[test]
fn a_full_disk_passes() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut kdc = start(folder.path(), address);
    let mut clients = prepare(address, 0, 30).unwrap();
    let (first, rest) = clients.split_at_mut(10);
    let (second, third) = rest.split_at_mut(10);
    assert_eq!(ask(address, Operation::Join, first).done, 10);

    limit(&kdc, "1");
    let refused = ask(address, Operation::Join, second);
    assert_eq!((refused.done, refused.errors), (0, 10));
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(ask(address, Operation::Join, second).done, 0);
    let told = ask(address, Operation::Retrieve, first);
    assert!(told.done > 0 && told.errors == 0, "what is known is told: {} {}", told.done, told.errors);

    limit(&kdc, "unlimited");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(ask(address, Operation::Join, second).done, 10, "nothing of them was half done");
    assert_eq!(ask(address, Operation::Join, third).done, 10);

    kdc.kill().unwrap();
    kdc.wait().unwrap();
    let mut log = String::new();
    kdc.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    for words in ["storage does not work", "storage works again"] {
        assert_eq!(log.lines().filter(|line| line.contains(words)).count(), 1, "{words}: {log}");
    }
    assert!(log.lines().count() < 12, "no line for each request: {log}");
}
