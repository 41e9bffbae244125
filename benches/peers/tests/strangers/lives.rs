//! Members observe, or take requests at a control_uri; one leaves, the others get the next version and go on.

use super::*;
use ace_groupcomm::TokenHash;
use ace_groupcomm::command::{Command, PageAfter, Report};
use ace_groupcomm::config::from_hex;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};

/// A member, as a process.
struct Member {
    process: process::Child,
    lines: Lines<BufReader<process::ChildStdout>>,
    joined: Value,
}

impl Member {
    async fn start(how: &str, auth_server: &Running, kdc: &Running, who: &Registered) -> Self {
        let mut command = process::Command::new(ace_peers::python().unwrap());
        command.arg(ace_peers::scripts().join("live.py")).arg(how);
        command.args(arguments(auth_server.addresses[0], kdc.addresses[0], who, "lamps"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut member = Self { process, lines, joined: Value::Null };
        member.joined = member.next("joined").await;
        if how == "observe" {
            for _ in 0..2 {
                assert_eq!(member.next("observes").await["max_age"], 3600);
            }
        }
        member
    }

    /// What happens next, which has to be this.
    async fn next(&mut self, event: &str) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(30), self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{event:?} does not come")).unwrap().unwrap();
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], event, "{line}");
        value
    }

    async fn order(&mut self, order: &str, event: &str) -> Value {
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(format!("{order}\n").as_bytes()).await.unwrap();
        self.next(event).await
    }

    fn node(&self) -> String {
        self.joined["node"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }
}

// Covers: TH-4-05/protected-request, TH-4-05/echo-again
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_stranger_leaves_the_others_get_the_next_version_and_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let (auth_server, kdc) = (start_as().await, start_kdc(Path::new(""), any(), "memory:").await);
    let mut observer = Member::start("observe", &auth_server, &kdc, &LAMP).await;
    let mut reached = Member::start("control", &auth_server, &kdc, &SWITCH).await;
    let mut leaver = Member::start("observe", &auth_server, &kdc, &SENSOR).await;
    let files: Vec<_> = ["observer", "reached", "gone"].iter().map(|name| folder.path().join(name)).collect();
    leaver.order(&format!("keys {}", files[2].display()), "wrote").await;
    assert_eq!(leaver.joined["key_digest"], observer.joined["key_digest"]);

    assert_eq!(leaver.order("leave", "left").await["code"], "2.02");
    assert_eq!(leaver.order("get", "got").await["code"], "4.03");

    let (told, posted) = (observer.next("notified").await, reached.next("posted").await);
    for version in [&told, &posted] {
        assert_eq!((&version["num"], &version["stale"]), (&json!(1), &json!([leaver.joined["sender_id"]])));
        assert_ne!(version["key_digest"], leaver.joined["key_digest"]);
    }
    assert_eq!(told["key_digest"], posted["key_digest"]);
    observer.next("notified").await;

    observer.order(&format!("keys {}", files[0].display()), "wrote").await;
    reached.order(&format!("keys {}", files[1].display()), "wrote").await;
    let paths: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let read: Value = serde_json::from_str(&python("unreadable.py", &paths).await).unwrap();
    assert_eq!(read, json!({"other": "dim it", "gone": "unknown Gid", "gone_with_new_gid": "refused"}));
    assert_eq!(python("group.py", &paths[..2]).await.trim(), "ok");
    kdc.stop().await;
    auth_server.stop().await;
}

// Covers: TH-8-04/observer-stops
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_are_put_out_are_told_in_the_way_that_each_has() {
    let (auth_server, kdc) = (start_as().await, start_kdc(Path::new(""), any(), "memory:").await);
    let mut observer = Member::start("observe", &auth_server, &kdc, &LAMP).await;
    let mut reached = Member::start("control", &auth_server, &kdc, &SWITCH).await;
    for member in [&observer, &reached] {
        let evict = Command::Evict { group: "lamps".into(), node: member.node().into() };
        kdc.handle().command(evict).await.unwrap();
    }
    let mut ends = Vec::new();
    for _ in 0..2 {
        let ended = observer.next("ended").await;
        assert_eq!(ended["observe"], false);
        ends.push((ended["what"].to_string(), ended["code"].clone(), ended["error"].clone()));
    }
    ends.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(ends, [("\"group\"".into(), json!("4.03"), json!(0)), ("\"node\"".into(), json!("4.04"), json!(5))]);
    reached.next("deleted").await;
    for member in [&mut observer, &mut reached] {
        assert_eq!(member.order("get", "got").await["code"], "4.03");
    }
    kdc.stop().await;
    auth_server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_whose_token_is_revoked_is_told_under_the_association_that_has_ended() {
    let (auth_server, kdc) = (start_as().await, start_kdc(Path::new(""), any(), "memory:").await);
    let mut observer = Member::start("observe", &auth_server, &kdc, &LAMP).await;
    let mut reached = Member::start("control", &auth_server, &kdc, &SWITCH).await;
    let page = PageAfter { after: None, limit: 10 };
    let report = kdc.handle().command(Command::Members("lamps".into(), page)).await.unwrap();
    let Report::Members(members) = report else { panic!("no members") };
    let member = members.entries.iter().find(|member| member.node.as_str() == reached.node()).unwrap();
    let hash = TokenHash::from(&from_hex(&member.token_hash).unwrap()[..]);
    kdc.handle().command(Command::Revoke(hash)).await.unwrap();
    reached.next("deleted").await;
    for _ in 0..2 {
        assert_eq!(observer.next("notified").await["num"], 1);
    }
    kdc.stop().await;
    auth_server.stop().await;
}
