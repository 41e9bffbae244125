//! A client joins with a token of our AS; two of them then talk Group OSCORE.

use super::*;
use ace_backend_daemon::new_storage_keys;
use ace_groupcomm::command::Command;
use serde_json::Value;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};

async fn join(auth_server: SocketAddr, kdc: SocketAddr, who: &Registered, group: &str) -> Value {
    let arguments = arguments(auth_server, kdc, who, group);
    serde_json::from_str(&python("join.py", &arguments.each_ref().map(String::as_str)).await).unwrap()
}

// Covers: KG-4.3.1-53, KG-4.3.1.1-04, KG-4.4.2-01, OP-4.4-01, GO-6.3-18, GO-6.3-20, GO-6.3-21, GO-6.3-22, GO-6.3-23
// Covers: GO-6.3-25, GO-6.3-26, GO-7-03, AF-3.2-01, AF-5-10, AF-5-11, AF-5-12, AF-5.8.4.3-05, AF-5.8.4.3-06, GO-2-01
// Covers: KG-2-03, OP-4.2-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_join_and_talk_with_the_groups_keys() {
    let (auth_server, kdc) = (start_as().await, start_kdc(Path::new(""), any(), "memory:").await);
    let a = join(auth_server.addresses[0], kdc.addresses[0], &LAMP, "lamps").await;
    let b = join(auth_server.addresses[0], kdc.addresses[0], &SWITCH, "lamps").await;
    assert_eq!((a["key_digest"].clone(), a["gid"].clone()), (b["key_digest"].clone(), b["gid"].clone()));
    assert_ne!(a["sender_id"], b["sender_id"]);
    assert_eq!(a["modes"], serde_json::json!([true, true]));

    // The group that signs alone has no algorithms of the pairwise mode.
    let alarm = join(auth_server.addresses[0], kdc.addresses[0], &SENSOR, "alarms").await;
    assert_eq!(alarm["modes"], serde_json::json!([true, false]));
    assert_ne!(alarm["key_digest"], a["key_digest"]);

    let folder = tempfile::tempdir().unwrap();
    let (path_a, path_b) = (folder.path().join("a.json"), folder.path().join("b.json"));
    std::fs::write(&path_a, a.to_string()).unwrap();
    std::fs::write(&path_b, b.to_string()).unwrap();
    let talked = python("group.py", &[path_a.to_str().unwrap(), path_b.to_str().unwrap()]).await;
    assert_eq!(talked.trim(), "ok");
    kdc.stop().await;
    auth_server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_observes_is_told_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    new_storage_keys(&folder.path().join("storage-keys.toml")).unwrap();
    let storage = format!("disk:{}", folder.path().join("state").display());
    let (auth_server, kdc) = (start_as().await, start_kdc(folder.path(), any(), &storage).await);
    let (to_as, to_kdc) = (auth_server.addresses[0], kdc.addresses[0]);
    let mut command = process::Command::new(ace_peers::python().unwrap());
    command.arg(ace_peers::scripts().join("join.py")).args(arguments(to_as, to_kdc, &LAMP, "lamps")).arg("2");
    let mut observer = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(observer.stdout.take().unwrap()).lines();
    let mut told = async || tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap();
    assert_eq!(told().await.as_deref(), Some("0"), "the first version");
    kdc.stop().await;
    let kdc = start_kdc(folder.path(), to_kdc, &storage).await;
    assert_eq!(told().await.as_deref(), Some("0"), "how it is after the restart");
    kdc.handle().command(Command::Rekey("lamps".into())).await.unwrap();
    assert_eq!(told().await.as_deref(), Some("1"), "it is rekeyed");
    // It goes on under its association, for an Echo.
    let joined: Value = serde_json::from_str(&told().await.unwrap()).unwrap();
    assert_eq!(joined["num"], 1);
    assert!(observer.wait().await.unwrap().success());
    kdc.stop().await;
    auth_server.stop().await;
}
