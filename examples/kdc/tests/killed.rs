//! Restores and rotations that are killed by SIGKILL before one of their calls: what is left is refused or whole, and
//! they can be begun again.

use ace_backend_daemon::{Loaded, Role, StorageConfig, new_storage_keys, open_storage};
use ace_groupcomm::RecordType;
use ace_groupcomm::keys;
use ace_groupcomm::records::Mark;
use ace_groupcomm::traits::storage::{Storage, Txn};
use ace_peers::Strace;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const KDC: &str = env!("CARGO_BIN_EXE_ace-kdc");

/// Tokens that were revoked: records, more of them than one commit takes.
const REVOKED: u16 = 1_500;

/// A KDC's folder, with its state, its configuration and its keys.
struct House {
    folder: TempDir,
    strace: Strace,
}

impl House {
    async fn new(strace: Strace) -> Self {
        let house = Self { folder: tempfile::tempdir().unwrap(), strace };
        new_storage_keys(&house.path("storage-keys.toml")).unwrap();
        let text = include_str!("../kdc.toml").replace("# storage =", "storage =");
        let text = text.replace("\"127.0.0.1:5683\", \"[::1]:5683\"", "\"127.0.0.1:0\"");
        std::fs::write(house.path("kdc.toml"), text).unwrap();
        let loaded = Loaded::<ace_kdc::Config>::read(&house.path("kdc.toml")).unwrap();
        ace_kdc::start(&loaded, &house.url("state"), &ace_kdc::Options::default()).await.unwrap().stop().await;
        let storage = house.open("state").await.unwrap();
        let mark = Mark.encode();
        let revoked =
            (0..REVOKED).map(|number| (keys::revoked(&(&number.to_be_bytes()).into()), Some(mark.clone().into())));
        storage.commit(vec![Txn { expect: vec![], write: revoked.collect() }]).await;
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("disk:{}", self.path(name).display())
    }

    async fn open(&self, name: &str) -> Result<std::sync::Arc<dyn Storage>, String> {
        let config = StorageConfig { keys: Some(self.path("storage-keys.toml")), ..StorageConfig::default() };
        let opened = open_storage(&self.url(name), &config, Path::new(""), Role::Kdc).await;
        opened.map(|opened| opened.storage).map_err(|error| error.to_string())
    }

    /// Has the KDC do something with a state.
    fn run(&self, mut command: Command, state: &str, words: &[&str]) -> Output {
        command.arg("--config").arg(self.path("kdc.toml")).args(["--storage", &self.url(state)]);
        command.args(words).env("NO_COLOR", "1").output().unwrap()
    }

    fn done(&self, state: &str, words: &[&str]) -> String {
        let output = self.run(Command::new(KDC), state, words);
        assert!(output.status.success(), "{words:?}: {}", told(&output));
        told(&output)
    }

    /// Kills it before a call; whether it came to that.
    fn kill(&self, state: &str, words: &[&str], call: &str, nth: usize) -> bool {
        let output = self.run(self.strace.killing::<&Path>(KDC, call, nth, &[]), state, words);
        assert!(output.status.success() || output.status.code().is_none(), "{words:?}: {}", told(&output));
        !output.status.success()
    }
}

fn told(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// Kills by each of these calls: the first ones, and then fewer and fewer of the many.
fn everywhere(mut kill: impl FnMut(&str, usize) -> bool) -> usize {
    let mut kills = 0;
    for call in ["openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "unlink"] {
        let mut nth = 1;
        while kill(call, nth) {
            kills += 1;
            nth += 1 + nth / 4;
        }
    }
    kills
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

#[tokio::test]
async fn a_rotation_that_is_killed_anywhere_loses_nothing_and_is_begun_again() {
    let Some(strace) = Strace::find() else { return };
    let house = House::new(strace).await;
    let (state, keys) = (house.path("state"), house.path("storage-keys.toml"));
    let (whole, first) = (house.path("whole"), house.path("first.toml"));
    copy(&state, &whole);
    copy(&keys, &first);
    let kills = everywhere(|call, nth| {
        for path in [&state, &house.path("storage-keys.toml.former")] {
            let _ = std::fs::remove_dir_all(path).or_else(|_| std::fs::remove_file(path));
        }
        copy(&whole, &state);
        std::fs::copy(&first, &keys).unwrap();
        let killed = house.kill("state", &["rotate-storage-key"], call, nth);
        let checked = house.done("state", &["check"]);
        assert!(checked.contains("2 groups"), "{call} {nth}: {checked}");
        if killed {
            house.done("state", &["rotate-storage-key"]);
            assert!(house.done("state", &["check"]).contains("2 groups"), "{call} {nth}");
        }
        killed
    });
    println!("{kills} kills");
    assert!(kills > 30, "{kills}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_anywhere_is_no_state_to_start_from() {
    let Some(strace) = Strace::find() else { return };
    let house = House::new(strace).await;
    let (backup, other) = (house.path("a.backup"), house.path("other"));
    let backup = backup.to_str().unwrap();
    house.done("state", &["backup", backup]);
    let mut refused = 0;
    let kills = everywhere(|call, nth| {
        let _ = std::fs::remove_dir_all(&other);
        let killed = house.kill("other", &["restore", backup], call, nth);
        let opened = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async { house.open("other").await.map(drop) })
        });
        match opened {
            // All of it is there, or nothing at all.
            Ok(()) => {
                let text = told(&house.run(Command::new(KDC), "other", &["check"]));
                let nothing = killed && text.contains("nothing is stored here");
                assert!(text.contains("2 groups") && !text.contains("wrong") || nothing, "{call} {nth}: {text}");
            }
            Err(why) => {
                assert!(killed && why.contains("a restore has not ended"), "{call} {nth}: {why}");
                let checked = house.run(Command::new(KDC), "other", &["check"]);
                assert!(!checked.status.success() && told(&checked).contains("a restore has not ended"));
                refused += 1;
            }
        }
        if killed {
            let _ = std::fs::remove_dir_all(&other);
            assert!(house.done("other", &["restore", backup]).contains("restored"));
        }
        killed
    });
    println!("{kills} kills, {refused} refused");
    assert!(kills > 30 && refused > 3, "{kills} kills, {refused} refused");
}
