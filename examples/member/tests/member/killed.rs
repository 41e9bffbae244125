//! The program, killed by SIGKILL before each of the calls by which its state gets on disk and its requests on the
//! network. What it does afterwards is seen on the way to the AS and the KDC.

use crate::house::{House, Protected};
use ace_groupcomm_messages::TokenTransferRequest;
use ace_member::Content;
use ace_peers::Strace;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MEMBER: &str = env!("CARGO_BIN_EXE_ace-member");
/// The calls that make a write of the state safe. The member is killed before each of them, however often it is made.
const WRITES: [&str; 5] = ["openat", "ftruncate", "write", "fsync", "rename"];
/// The calls that send and receive.
const NETWORK: [&str; 2] = ["sendto", "recvfrom"];

/// The files of the state: itself, the one that takes its place, the lock, and the folder.
fn files(folder: &Path) -> [PathBuf; 4] {
    [folder.join("lamp.state"), folder.join("lamp.new"), folder.join("lamp.lock"), folder.to_path_buf()]
}

/// The member as a process, and all that was seen of it.
struct Watched<'a> {
    house: &'a House,
    strace: Strace,
    config: PathBuf,
    /// ms, Gid and Sender ID of the keys that were handed out.
    handed: HashSet<[String; 3]>,
    kills: usize,
}

impl<'a> Watched<'a> {
    fn new(house: &'a House, strace: Strace) -> Self {
        Self { house, strace, config: house.config(), handed: HashSet::new(), kills: 0 }
    }

    async fn output(&mut self, mut command: Command, what: &str) -> Output {
        command.args(["--config".as_ref(), self.config.as_os_str()]).args(["--json", what]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        if let Ok(told) = serde_json::from_slice::<Value>(&output.stdout)
            && let Some(ms) = told["ms"].as_str()
        {
            assert_eq!(told["first_sequence"].as_u64(), Some(0));
            let text = |name: &str| told[name].as_str().unwrap().to_owned();
            let keys = [ms.to_owned(), text("gid"), text("sender_id")];
            assert!(self.handed.insert(keys), "handed out twice: {told}");
        }
        output
    }

    /// Runs it to its end.
    async fn run(&mut self, what: &str) {
        let output = self.output(Command::new(MEMBER), what).await;
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs it and kills it before a call is made for this time; whether it came to that.
    async fn kill(&mut self, what: &str, call: &str, nth: usize) -> bool {
        let files = files(self.house.folder.path());
        let on = if WRITES.contains(&call) { &files[..] } else { &[] };
        let command = self.strace.killing(MEMBER, call, nth, on);
        let output = self.output(command, what).await;
        if output.status.code().is_some() {
            assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
            return false;
        }
        // Keys are written before they are marked as handed out; what was not marked is given out no more either.
        assert!(what == "keys" || output.stdout.is_empty(), "it said that it was done before it was");
        self.kills += 1;
        true
    }

    /// What was sent to the KDC under an association.
    fn sent(&self) -> Vec<Protected> {
        self.house.way.protected.lock().unwrap().clone()
    }

    fn file_is_whole(&self) {
        for path in files(self.house.folder.path()).into_iter().take(3).filter(|path| path.exists()) {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
        if let Ok(text) = std::fs::read(self.house.state()) {
            serde_json::from_slice::<Content>(&text).unwrap();
        }
    }

    /// Kills a command before each of its calls, and has it done again by the commands in `then`.
    async fn kill_everywhere(&mut self, first: &[&str], what: &str, then: &[&str]) {
        for call in WRITES.into_iter().chain(NETWORK) {
            for nth in 1.. {
                for command in first {
                    self.run(command).await;
                }
                let before = self.sent();
                if !self.kill(what, call, nth).await {
                    break;
                }
                self.file_is_whole();
                let after = self.sent();
                let posts = self.house.posts();
                for command in then {
                    self.run(command).await;
                }
                if after.len() > before.len() {
                    assert!(self.house.posts() > posts, "{what} {call} {nth}: the token was not posted anew");
                    let former: HashSet<&[u8]> = after.iter().map(|request| &request.kid[..]).collect();
                    let since = &self.sent()[after.len()..];
                    assert!(since.iter().all(|request| !former.contains(&request.kid[..])), "{what} {call} {nth}");
                }
            }
        }
    }
}

/// Nothing was encrypted twice under one key and nonce; what is sent again is the same.
pub(crate) fn nonces_are_used_once(sent: &[Protected]) {
    let mut seen = HashMap::new();
    for request in sent {
        let former = seen.insert((&request.kid, &request.id_context, &request.partial_iv), &request.ciphertext);
        assert!(former.is_none_or(|former| *former == request.ciphertext), "{request:?}");
    }
}

// Covers: TH-7-02/token-anew, TH-7-03/file-mode, TH-7-04/first-number, TH-7-04/marked-file, TH-7-04/second-export
#[tokio::test]
async fn a_member_that_is_killed_anywhere_uses_nothing_twice() {
    let Some(strace) = Strace::find() else { return };
    let house = House::new().await;
    let mut member = Watched::new(&house, strace);
    // Before it is a member.
    member.kill_everywhere(&[], "token", &["token"]).await;
    member.kill_everywhere(&[], "upload", &["upload"]).await;
    member.kill_everywhere(&["upload"], "join", &["upload", "join", "keys"]).await;
    // As one.
    member.run("keys").await;
    for command in ["token", "upload", "join", "creds", "keys"] {
        member.kill_everywhere(&[], command, &["keys"]).await;
    }
    println!("{} kills, {} times keys", member.kills, member.handed.len());
    assert!(member.kills > 200, "{}", member.kills);
    nonces_are_used_once(&member.sent());
    nonces_are_used_once(&house.way_to_as.protected.lock().unwrap());
}

/// How far the last write of the state has come, by the calls that were made of it.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    /// Also when the power fails.
    Safe,
    Begun,
    Synced,
    Renamed,
}

// Covers: TH-7-03/atomic-write
#[tokio::test]
async fn what_is_sent_was_written_for_good_before() {
    let Some(strace) = Strace::find() else { return };
    let house = House::new().await;
    let mut member = Watched::new(&house, strace);
    for command in ["token", "upload", "join"] {
        member.run(command).await;
    }
    let trace = house.folder.path().join("trace");
    let command = strace.tracing(MEMBER, "write,fsync,fdatasync,rename,renameat2,sendto", &trace);
    assert!(member.output(command, "keys").await.status.success());
    let [state, new, _, folder] = files(house.folder.path()).map(|path| path.display().to_string());
    let (mut written, mut writes, mut sent) = (Written::Safe, 0, 0);
    for line in std::fs::read_to_string(&trace).unwrap().lines() {
        let is = |call: &str, path: &str| line.contains(&format!(" {call}(")) && line.contains(path);
        let sync = |path: &str| is("fsync", &format!("<{path}>")) || is("fdatasync", &format!("<{path}>"));
        written = match written {
            Written::Safe if is("write", &format!("<{new}>")) => Written::Begun,
            Written::Begun if sync(&new) => Written::Synced,
            Written::Synced if line.contains(&format!("\"{new}\"")) && line.contains(&format!("\"{state}\"")) => {
                Written::Renamed
            }
            Written::Renamed if sync(&folder) => {
                writes += 1;
                Written::Safe
            }
            other => other,
        };
        if line.contains(" sendto(") {
            assert_eq!(written, Written::Safe, "{line}");
            sent += 1;
        }
    }
    assert_eq!(written, Written::Safe);
    assert!(writes >= 4 && sent >= 1, "{writes} writes, {sent} datagrams");
}

// Covers: OP-4.1-01, OP-4.1-02, OP-4.1-04, TH-1-07/state-image
#[tokio::test]
async fn two_processes_started_from_one_image_of_state_draw_other_values() {
    let house = House::new().await;
    let config = house.config();
    let run = async |what: &str| {
        let mut command = Command::new(MEMBER);
        command.args(["--config".as_ref(), config.as_os_str()]).args(["--json", what]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("token").await;
    let image = std::fs::read(house.state()).unwrap();
    for _ in 0..3 {
        std::fs::write(house.state(), &image).unwrap();
        run("upload").await;
    }
    let posts = house.way.posts.lock().unwrap().clone();
    let posts: Vec<_> = posts.iter().map(|post| TokenTransferRequest::decode(post).unwrap()).collect();
    assert_eq!(posts.len(), 3);
    for (number, post) in posts.iter().enumerate() {
        assert!(post.nonce1.is_some() && post.client_recipient_id.is_some());
        for other in &posts[..number] {
            assert_eq!(post.access_token, other.access_token, "one image");
            assert!(post.nonce1 != other.nonce1 && post.client_recipient_id != other.client_recipient_id);
        }
    }
}
