//! What the program says where nobody can take it: a log is lost, a result is not.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const KDC: &str = env!("CARGO_BIN_EXE_ace-kdc");

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../kdc.toml")
        .replace("[\"127.0.0.1:5683\", \"[::1]:5683\"]", "[\"127.0.0.1:0\"]")
        .replace("# storage =", "storage =");
    std::fs::write(folder.path().join("kdc.toml"), text).unwrap();
    assert!(kdc(folder.path(), &["new-storage-keys", "storage-keys.toml"]).status().unwrap().success());
    folder
}

fn kdc(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(KDC);
    command.current_dir(folder).args(["--config", "kdc.toml", "--storage", "disk:state"]).args(arguments);
    command
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// Waits until it takes commands.
fn serves(folder: &Path, child: &mut Child) {
    for _ in 0..500 {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        if std::os::unix::net::UnixStream::connect(folder.join("state/control")).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it does not start");
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let folder = folder();
    let mut child = kdc(folder.path(), &[]).env("RUST_LOG", "trace").stderr(full()).spawn().unwrap();
    serves(folder.path(), &mut child);
    assert!(kdc(folder.path(), &["backup", "one"]).stderr(full()).status().unwrap().success());
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_log_whose_reader_has_gone_lets_it_stop_cleanly() {
    for name in ["-TERM", "-HUP", "-INT"] {
        let folder = folder();
        let mut child = kdc(folder.path(), &[]).stderr(Stdio::piped()).spawn().unwrap();
        serves(folder.path(), &mut child);
        drop(child.stderr.take());
        assert!(kdc(folder.path(), &["backup", "one"]).status().unwrap().success());
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
        assert!(!folder.path().join("state/control").exists(), "it has cleaned up");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure_in_one_line() {
    let folder = folder();
    let mut child = kdc(folder.path(), &[]).stderr(Stdio::null()).spawn().unwrap();
    serves(folder.path(), &mut child);
    signal(&child, "-TERM");
    child.wait().unwrap();
    let commands: [&[&str]; 5] =
        [&["check"], &["backup", "one"], &["rotate-storage-key", "--prepare"], &["--help"], &["--version"]];
    for arguments in commands {
        let output = kdc(folder.path(), arguments).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {told}");
        assert!(told.contains("No space left") && !told.contains("panicked"), "{arguments:?} {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    // Where nobody reads, nobody is told.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = kdc(folder.path(), &["check"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), &b""[..]));
}

#[test]
fn a_service_manager_learns_when_it_is_ready_and_when_it_stops() {
    let folder = folder();
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut child = kdc(folder.path(), &[]).env("NOTIFY_SOCKET", &path).stderr(Stdio::null()).spawn().unwrap();
    let heard = || {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert!(heard().contains("READY=1"));
    signal(&child, "-TERM");
    assert!(heard().contains("STOPPING=1"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_working_directory_absolute_paths_are_good() {
    let folder = folder();
    let (config, state) = (folder.path().join("kdc.toml"), folder.path().join("state"));
    let run = |storage: &str| {
        let gone = folder.path().join("gone");
        std::fs::create_dir(&gone).unwrap();
        let script = format!(
            "rmdir {} && exec timeout -s TERM 3 {KDC} --config {} --storage {storage}",
            gone.display(),
            config.display()
        );
        let mut child = Command::new("sh");
        let mut child = child.current_dir(&gone).args(["-c", &script]).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        child.wait().unwrap();
        told
    };
    let told = run(&format!("disk:{}", state.display()));
    assert!(told.contains("stopping") && !told.contains("panicked"), "{told}");
}

#[test]
fn storage_of_another_program_is_refused_by_name() {
    let folder = folder();
    let mut child = kdc(folder.path(), &[]).stderr(Stdio::null()).spawn().unwrap();
    serves(folder.path(), &mut child);
    signal(&child, "-TERM");
    child.wait().unwrap();
    let config = ace_backend_daemon::StorageConfig {
        keys: Some(folder.path().join("storage-keys.toml")),
        ..ace_backend_daemon::StorageConfig::default()
    };
    let url = format!("disk:{}", folder.path().join("state").display());
    let open = ace_backend_daemon::open_storage(&url, &config, Path::new(""), ace_backend_daemon::Role::AuthServer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(open).err().unwrap().to_string();
    assert!(error.contains("is that of a KDC, and not of an Authorization Server"), "{error}");
}

#[test]
fn what_is_on_a_disk_that_takes_nothing_is_checked_and_backed_up() {
    let folder = folder();
    let mut child = kdc(folder.path(), &[]).stderr(Stdio::null()).spawn().unwrap();
    serves(folder.path(), &mut child);
    let has_groups = || {
        let groups = kdc(folder.path(), &["groups"]).output().unwrap();
        String::from_utf8_lossy(&groups.stdout).contains("lamps")
    };
    while !has_groups() {
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "-TERM");
    child.wait().unwrap();
    // A namespace of its own, in which the folder is mounted read-only.
    let script = format!(
        "mount --bind state state && mount -o remount,bind,ro state && ! touch state/x 2>/dev/null && \
         {KDC} --config kdc.toml --storage disk:state check && {KDC} --config kdc.toml --storage disk:state backup one"
    );
    let mut command = Command::new("unshare");
    let output = command.current_dir(folder.path()).args(["-rm", "sh", "-c", &script]).output();
    let Some(output) =
        output.ok().filter(|output| !String::from_utf8_lossy(&output.stderr).contains("Operation not permitted"))
    else {
        eprintln!("\n!!! NO MOUNT NAMESPACE HERE: THIS TEST SHOWS NOTHING\n");
        return;
    };
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("2 groups") && told.contains("records in one"), "{told}");
    assert!(told.contains("a copy of it is read"), "{told}");
    assert!(folder.path().join("one").exists());
}
