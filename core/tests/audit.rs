//! What stands in the audit log, and what never does.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::NodeName;
use ace_groupcomm::TokenHash;
use ace_groupcomm::audit::TARGET;
use ace_groupcomm::command::{Command, PageAfter, Report};
use ace_groupcomm::config::ConfigMap;
use ace_groupcomm::kdc::GroupConfig;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Method, Status};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing::subscriber::with_default;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The entries that are made meanwhile, each from its event on.
fn entries(act: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let lines = layer().with_ansi(false).without_time().with_writer(move || writer.clone());
    with_default(registry().with(lines.with_filter(dynamic_filter_fn(|event, _| event.target() == TARGET))), act);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| line.split_once("event=").unwrap().1.to_owned()).collect()
}

fn node(desk: &mut Desk) -> NodeName {
    let page = PageAfter { after: None, limit: 1 };
    match desk.command(Command::Members("g1".into(), page)) {
        Ok(Report::Members(page)) => page.entries[0].node.clone(),
        other => panic!("{other:?}"),
    }
}

// Covers: TH-9-01/audit-log, GO-15.1-01
#[test]
fn who_came_who_went_and_why_is_told_when_it_is_durable_and_no_secret_is() {
    let mut desk = Desk::new(&AwsLc, TestStore::new(Sharing::Exclusive), desk::config(&["g1"])).unwrap();
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let bytes = token(1, &client.claims(&[("g1", 1)], 2_000_000));
    let (caller, challenge) = desk.post_token(&bytes).unwrap();
    let join = || join_post("g1", &client.join("g1", 1, &challenge, &[7; 8]));
    desk.ask(&caller, group_request(Method::Get, "g1", &["num"]));
    let mut all = Vec::new();
    desk.store.fail_next(Fault::NotDone);
    let told = entries(|| assert_eq!(desk.ask(&caller, join()).status, Status::ServiceUnavailable));
    assert!(told.len() == 1 && told[0].starts_with("\"refused\""), "nobody has joined: {told:?}");
    desk.pass(std::time::Duration::from_secs(2));
    all.extend(entries(|| assert_eq!(desk.ask(&caller, join()).status, Status::Created)));
    all.extend(entries(|| assert_eq!(desk.ask(&caller, join()).status, Status::Changed)));
    let node = node(&mut desk);
    for command in [
        Command::Evict { group: "g1".into(), node: node.clone() },
        Command::Lift { group: "g1".into(), node: node.clone() },
        Command::Revoke(TokenHash::of(&bytes)),
        Command::Revoke(TokenHash::from(&[9; 33])),
        Command::Create {
            config: GroupConfig { gname: "g2".into(), profile: "toy".into(), parameters: ConfigMap::default() },
            issuers: Some(["as1".to_owned()].into()),
        },
        Command::Deactivate("g2".into()),
        Command::Activate("g2".into()),
        Command::Delete { group: "g2".into(), with_members: false },
    ] {
        all.extend(entries(|| drop(desk.command(command).unwrap())));
    }
    let who = "issuer=\"as1\" subject=\"client1\"";
    let member = format!("group=\"g1\" {who} node=\"{node}\"");
    assert_eq!(
        all,
        [
            format!("\"joined\" {member} sender_id=\"00\" num=0 gid=\"010000\""),
            format!("\"joined again\" {member} sender_id=\"01\" num=0 gid=\"010000\""),
            format!("\"membership ended\" {member} sender_id=\"01\" reason=\"the operator has put the member out\""),
            format!("\"ban lifted\" {member}"),
            format!("\"token revoked\" {who}"),
            "\"unknown token revoked\"".into(),
            "\"group created\" group=\"g2\" num=0 gid=\"020000\"".into(),
            "\"group deactivated\" group=\"g2\"".into(),
            "\"group activated\" group=\"g2\"".into(),
            "\"group deleted\" group=\"g2\"".into(),
        ]
    );
}
