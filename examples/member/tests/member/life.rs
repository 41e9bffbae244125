//! A member that lives: it leaves, gets another Sender ID or credential, misses versions, is put out.

use crate::house::{House, joined, keys, open, run};
use ace_backend_daemon::Loaded;
use ace_groupcomm::command::Command;
use ace_groupcomm::member::{Bytes, MemberError, MemberEvent, Operation};
use ace_groupcomm::{NodeName, Status};
use ace_member::export::{group, verification};
use ace_member::show::Style;
use ace_member::{Config, Member, MemberSettings, ProgramError, watch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

fn ids(ids: &[u8]) -> Vec<Bytes> {
    ids.iter().map(|id| Bytes(vec![*id])).collect()
}

/// Evicts a member.
async fn evict(house: &House, member: &Member<'_>) {
    let node = NodeName::new(&member.group().unwrap().node);
    house.command(Command::Evict { group: "lamps".into(), node }).await;
}

fn is_refused(result: &Result<(), MemberError>, with: Status) -> bool {
    matches!(result, Err(MemberError::Refused { status, .. }) if *status == with)
}

#[tokio::test]
async fn who_leaves_is_refused_and_the_others_get_the_next_version() {
    let house = House::new().await;
    let (lamp, switch) = (house.settings(), house.switch());
    let (mut leaver, mut other) = (open(&lamp), open(&switch));
    for member in [&mut leaver, &mut other] {
        joined(member).await.unwrap();
    }
    run(&mut other, Operation::Creds).await.unwrap();
    run(&mut other, Operation::Observe).await.unwrap();
    let before = keys(&mut other).await.unwrap();
    other.take_events();
    leaver.take_events();

    run(&mut leaver, Operation::Leave).await.unwrap();
    assert_eq!(leaver.take_events(), [MemberEvent::Left]);
    assert_eq!(run(&mut leaver, Operation::Keys).await, Err(MemberError::NotAMember));
    assert!(is_refused(&run(&mut leaver, Operation::Version).await, Status::Forbidden));
    assert!(other.told().await.unwrap());
    assert_eq!(other.take_events(), [MemberEvent::Stale(ids(&[0])), MemberEvent::Rekeyed { num: 1 }]);
    let after = keys(&mut other).await.unwrap();
    assert!(after.ms != before.ms && after.context_id != before.context_id);
    assert_eq!(after.group_sender_id, before.group_sender_id, "it was handed out under the former Gid alone");
    assert_eq!(house.posts(), 1, "under the association of before");

    // It may come back, with the token that it has.
    run(&mut leaver, Operation::Join).await.unwrap();
    assert_eq!(leaver.take_events(), [MemberEvent::Joined { num: 1 }]);
    assert!(keys(&mut leaver).await.unwrap().ms == after.ms);
}

// Covers: TH-7-02/new-sender-id
#[tokio::test]
async fn another_sender_id_is_had_without_a_join_also_after_a_crash() {
    let house = House::new().await;
    let settings = house.settings();
    let mut member = open(&settings);
    joined(&mut member).await.unwrap();
    let mut seen = vec![keys(&mut member).await.unwrap().group_sender_id.clone().unwrap()];
    let node = member.group().unwrap().node.clone();
    member.take_events();
    for round in 0..3 {
        run(&mut member, Operation::Renew).await.unwrap();
        assert_eq!(member.take_events(), [MemberEvent::Renewed], "{round}");
        let id = keys(&mut member).await.unwrap().group_sender_id.clone().unwrap();
        assert!(!seen.contains(&id));
        seen.push(id);
        assert_eq!(member.take_events(), [], "no join was needed");
        // It ends without a word.
        drop(member);
        member = open(&settings);
    }
    assert_eq!(member.group().unwrap().node, node);
}

// Covers: GO-11.3-06, GO-11.3-07, GO-11.3-08
#[tokio::test]
async fn who_missed_versions_drops_what_went_stale() {
    let house = House::new().await;
    let (lamp, switch) = (house.settings(), house.switch());
    let (mut sleeper, mut other) = (open(&lamp), open(&switch));
    for member in [&mut sleeper, &mut other] {
        joined(member).await.unwrap();
    }
    run(&mut sleeper, Operation::Creds).await.unwrap();
    sleeper.take_events();
    run(&mut other, Operation::Renew).await.unwrap();
    for _ in 0..2 {
        house.command(Command::Rekey("lamps".into())).await;
    }
    run(&mut sleeper, Operation::Version).await.unwrap();
    let wanted =
        [MemberEvent::Missed { had: 0, num: 2 }, MemberEvent::Stale(ids(&[1])), MemberEvent::Rekeyed { num: 2 }];
    assert_eq!(sleeper.take_events(), wanted);
    assert!(sleeper.group().unwrap().peers.is_empty());
    run(&mut sleeper, Operation::Creds).await.unwrap();
    assert_eq!(sleeper.group().unwrap().peers[0].id, Bytes(vec![2]));
    // More versions than there are sets of stale Sender IDs.
    for _ in 0..4 {
        house.command(Command::Rekey("lamps".into())).await;
    }
    run(&mut sleeper, Operation::Version).await.unwrap();
    assert_eq!(sleeper.take_events()[1], MemberEvent::OthersForgotten);
    assert_eq!(sleeper.group().unwrap().num, 6);
}

#[tokio::test]
async fn another_credential_replaces_the_former_one_and_the_keys_stay() {
    let house = House::new().await;
    let (lamp, switch) = (house.settings(), house.switch());
    let mut member = open(&lamp);
    joined(&mut member).await.unwrap();
    let before = keys(&mut member).await.unwrap();
    member.close().unwrap();
    let text = std::fs::read_to_string(house.config()).unwrap().replace("6b65792d6c616d70", "6b65792d6e657765");
    let loaded = ace_backend_daemon::Loaded::<Config>::parse(&house.folder.path().join("member.toml"), text).unwrap();
    let changed = MemberSettings::new(&loaded).unwrap();
    let mut member = open(&changed);
    run(&mut member, Operation::ChangeCredential).await.unwrap();
    assert_eq!(member.take_events(), [MemberEvent::CredentialChanged]);
    run(&mut member, Operation::Version).await.unwrap();
    assert_eq!(member.group().unwrap().num, 0, "the group is not rekeyed");
    let mut other = open(&switch);
    joined(&mut other).await.unwrap();
    run(&mut other, Operation::Creds).await.unwrap();
    let peer = &other.group().unwrap().peers[0];
    assert_eq!(Some(&peer.id.0), before.group_sender_id.as_ref());
    assert_eq!(peer.cred.0, changed.rules().unwrap().identity().unwrap().cred);
    assert_ne!(peer.cred.0, lamp.rules().unwrap().identity().unwrap().cred);
}

#[tokio::test]
async fn a_member_asks_for_the_status_of_its_group_and_for_the_kdcs_credential() {
    let house = House::new().await;
    let lamp = house.settings();
    let mut member = open(&lamp);
    joined(&mut member).await.unwrap();
    member.take_events();
    let before = member.group().unwrap().kdc_cred.clone();
    run(&mut member, Operation::KdcCred).await.unwrap();
    assert_eq!((member.group().unwrap().kdc_cred.clone(), member.take_events()), (before, vec![]));
    for (command, event) in [
        (Command::Deactivate("lamps".into()), MemberEvent::Inactive),
        (Command::Activate("lamps".into()), MemberEvent::Active),
    ] {
        house.command(command).await;
        run(&mut member, Operation::Status).await.unwrap();
        assert_eq!(member.take_events(), [event]);
    }
    // After another join the proof is over another N_C.
    run(&mut member, Operation::Join).await.unwrap();
    run(&mut member, Operation::KdcCred).await.unwrap();
}

// Covers: GO-9.5.2-03, GO-12-05
#[tokio::test]
async fn a_verifier_of_signatures_gets_what_verifies_them_and_is_no_member() {
    let house = House::new().await;
    let (lamp, gate) = (house.settings(), house.verifier());
    let mut member = open(&lamp);
    joined(&mut member).await.unwrap();
    let fetched = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&fetched);
    let style = Style { secrets: true, ..Style::default() };
    let mut verifier = Member::open(&gate, style, move |event| {
        if event.request.starts_with("FETCH") {
            seen.lock().unwrap().push(event.sent);
        }
    })
    .unwrap();
    for operation in [Operation::Token, Operation::Upload, Operation::VerifyData] {
        run(&mut verifier, operation).await.unwrap();
    }
    let [MemberEvent::VerificationData(data)] = &verifier.take_events()[..] else { panic!("nothing was told") };
    let shown = verification(&gate, data).unwrap();
    let of_member = group(&lamp, member.group().unwrap(), true).unwrap();
    for field in ["num", "gid", "cred_fmt", "gp_enc_alg", "sign_alg", "kdc_cred"] {
        assert_eq!((&shown[field], shown[field].is_null()), (&of_member[field], false), "{field}: {shown}");
    }
    assert_eq!(shown["sign_enc_key"].as_str().unwrap().len(), 32);
    assert!(shown.get("ms").is_none() && !shown.to_string().contains(of_member["ms"].as_str().unwrap()));
    assert_eq!(shown["peers"][0]["cred"], of_member["cred"]);
    assert!(run(&mut verifier, Operation::Join).await.is_err(), "the role joins nothing");
    // Each proof of the KDC is over a new N_C of eight bytes.
    run(&mut verifier, Operation::VerifyData).await.unwrap();
    let fetched = std::mem::take(&mut *fetched.lock().unwrap());
    let cnonce =
        |sent: &String| sent.split_once("cnonce: h'").and_then(|(_, rest)| Some(rest.split_once('\'')?.0.len()));
    assert_eq!(fetched.iter().map(cnonce).collect::<Vec<_>>(), [Some(16); 2], "{fetched:?}");
    assert_ne!(fetched[0], fetched[1]);

    // Who is a member, or has not the role, gets nothing of it.
    let refused = run(&mut member, Operation::VerifyData).await;
    assert!(is_refused(&refused, Status::Forbidden), "{refused:?}");
}

#[tokio::test]
async fn who_is_put_out_or_loses_its_group_is_told_and_drops_its_keys() {
    let house = House::new().await;
    let (lamp, switch) = (house.settings(), house.switch());
    let (mut evicted, mut other) = (open(&lamp), open(&switch));
    for member in [&mut evicted, &mut other] {
        joined(member).await.unwrap();
        run(member, Operation::Observe).await.unwrap();
        member.take_events();
    }
    evict(&house, &evicted).await;
    let told = evicted.told().await;
    assert!(
        matches!(told, Err(ProgramError::Member(MemberError::Refused { status: Status::NotFound, .. }))),
        "{told:?}"
    );
    assert_eq!((evicted.take_events(), evicted.group()), (vec![MemberEvent::Ended], None));
    assert!(!evicted.is_observing() && run(&mut evicted, Operation::Join).await.is_err(), "it was put out");

    house.command(Command::Delete { group: "lamps".into(), with_members: true }).await;
    let ended = loop {
        match other.told().await {
            Ok(told) => assert!(told, "it is told before long"),
            Err(ended) => break ended,
        }
    };
    assert!(matches!(ended, ProgramError::Member(MemberError::Refused { status: Status::NotFound, .. })), "{ended}");
    assert_eq!((other.take_events().last(), other.group()), (Some(&MemberEvent::GroupDeleted), None));
}

#[tokio::test]
async fn a_member_that_watches_joins_gets_new_versions_and_ends_in_good_order() {
    let house = House::new().await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ace-member"));
    command.arg("--config").arg(house.config()).args(["--json", "watch"]).kill_on_drop(true);
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap().unwrap();
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["name"], &value["group"]), (&"lamp".into(), &"lamps".into()));
        (value["event"].as_str().unwrap().to_owned(), value["num"].as_i64())
    };
    assert_eq!(next().await, ("joined".into(), Some(0)));
    // The join, the registration, and the same with an Echo; then the KDC answers.
    while house.way.protected.lock().unwrap().len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    house.command(Command::Rekey("lamps".into())).await;
    assert_eq!(next().await, ("rekeyed".into(), Some(1)));
    let pid = watch.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    assert!(watch.wait().await.unwrap().success());
    // It has closed its state: what it has is trusted.
    let settings = house.settings();
    let member = open(&settings);
    let group = member.group().unwrap();
    assert_eq!((group.num, group.doubtful), (1, false));
}

// Covers: KG-6.1-04, KG-8-03
#[tokio::test]
async fn a_member_that_watches_is_told_at_its_control_uri() {
    let house = House::new().await;
    let mut switch = house.switch();
    // It has joined before, and has said no address then.
    let mut member = open(&switch);
    joined(&mut member).await.unwrap();
    member.close().unwrap();
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    switch.config.kdc.control = Some(free);
    let mut member = open(&switch);
    let (told, mut events) = tokio::sync::mpsc::unbounded_channel();
    let watching = watch(&mut member, move |value| {
        let _ = told.send((value["event"].as_str().unwrap().to_owned(), value["num"].as_i64()));
        Ok(())
    });
    let happens = async {
        let mut next = async || tokio::time::timeout(Duration::from_secs(30), events.recv()).await.unwrap().unwrap();
        assert_eq!(next().await, ("joined".into(), Some(0)));
        // It asks for the version once, and for the status.
        tokio::time::sleep(Duration::from_millis(500)).await;
        for num in 1..3 {
            house.command(Command::Rekey("lamps".into())).await;
            assert_eq!(next().await, ("rekeyed".into(), Some(num)));
        }
        house.command(Command::Delete { group: "lamps".into(), with_members: true }).await;
        assert_eq!(next().await, ("ended".into(), None));
    };
    tokio::select! {
        ended = watching => panic!("{ended:?}"),
        () = happens => (),
    }
    let held = member.group().map(|group| group.num);
    assert_eq!(held, None, "its keys are dropped");
}

// Covers: KG-8-03
#[tokio::test]
async fn a_client_learns_the_name_of_a_group_whose_gid_it_has_heard() {
    let house = House::new().await;
    let (lamp, switch) = (house.settings(), house.switch());
    let (mut member, mut other) = (open(&lamp), open(&switch));
    joined(&mut member).await.unwrap();
    let gid = keys(&mut member).await.unwrap().context_id.clone();
    for operation in [Operation::Token, Operation::Upload] {
        run(&mut other, operation).await.unwrap();
    }
    // It is no member yet: its token names the group.
    other.look_up(&[gid.clone(), vec![9, 9, 9]]).await.unwrap();
    let [MemberEvent::Names(groups)] = &other.take_events()[..] else { panic!("nothing was told") };
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((group.gid.to_byte_string(), group.gname.as_str()), (Some(gid.clone()), "lamps"));
    assert_eq!(group.guri, "/ace-group/lamps");

    drop((member, other));
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ace-member"));
    let hex: String = gid.iter().map(|byte| format!("{byte:02x}")).collect();
    command.arg("--config").arg(house.config()).args(["--json", "names", &hex]);
    let output = command.output().await.unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((&shown["groups"][0]["group"], &shown["groups"][0]["gid"]), (&"lamps".into(), &hex.into()));
}

/// The byte strings that a field had in what was sent and received.
fn values(seen: &[String], field: &str) -> Vec<String> {
    let start = format!("{field}: h'");
    let of_one = |text: &String| {
        let parts = text.split(&start).skip(1).filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned()));
        parts.collect::<Vec<_>>()
    };
    seen.iter().flat_map(of_one).collect()
}

// Covers: TH-1-07/client-nonces, TH-1-07/kdc-nonces
#[tokio::test]
async fn no_nonce_comes_twice_of_either_side_in_uploads_and_joins() {
    const ROUNDS: usize = 20;
    let house = House::new().await;
    let lamp = house.settings();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..ROUNDS {
        // A process of its own each time, with the state of the one before.
        let noted = Arc::clone(&seen);
        let style = Style { secrets: true, ..Style::default() };
        let mut member = Member::open(&lamp, style, move |event| {
            noted.lock().unwrap().extend([event.sent, event.received]);
        })
        .unwrap();
        joined(&mut member).await.unwrap();
        member.close().unwrap();
    }
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    for field in ["nonce1", "cnonce", "nonce2", "kdcchallenge", "kdc_nonce"] {
        let values = values(&seen, field);
        let distinct: BTreeSet<&String> = values.iter().collect();
        assert!(values.len() >= ROUNDS && distinct.len() == values.len(), "{field}: {values:?}");
        assert!(values.iter().all(|value| value.len() >= 16), "{field}: eight bytes at least");
    }
}

#[tokio::test]
async fn a_member_without_a_key_gets_it_with_the_version() {
    let house = House::new().await;
    let lamp = house.settings();
    let mut member = open(&lamp);
    joined(&mut member).await.unwrap();
    let key = member.group().unwrap().key.clone();
    member.close().unwrap();
    house.edit(|content| content.member.groups.get_mut("lamps").unwrap().key = Bytes::default());
    let mut member = open(&lamp);
    run(&mut member, Operation::Version).await.unwrap();
    assert_eq!(member.group().unwrap().key, key);
}

#[test]
fn an_address_at_which_nobody_can_be_reached_is_no_control_address() {
    let with = |control: &str| {
        let text = include_str!("../../member.toml").replace("[kdc]\n", &format!("[kdc]\ncontrol = \"{control}\"\n"));
        MemberSettings::new(&Loaded::<Config>::parse("member.toml".as_ref(), text).unwrap())
    };
    for control in ["127.0.0.1:0", "224.0.1.187:5690", "[::1]:5690"] {
        let error = with(control).err().unwrap().to_string();
        assert!(error.contains("could reach the member"), "{control}: {error}");
    }
    for control in ["127.0.0.1:5690", "0.0.0.0:5690"] {
        assert!(with(control).unwrap().control().is_some(), "{control}");
    }
}
