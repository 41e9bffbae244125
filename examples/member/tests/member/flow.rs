//! A member on its way, with a real AS and a real KDC, and with what may happen in between.

use crate::house::{House, Mischief, joined, keys, open, run};
use ace_coap::Code;
use ace_groupcomm::Status;
use ace_groupcomm::member::{Bytes, ExchangeError, MemberError, Operation};
use ace_groupcomm_messages::{Confirmation, GroupOscoreInputMaterial, RawCbor};
use ace_member::export;

fn sender_id(material: &GroupOscoreInputMaterial) -> u8 {
    material.group_sender_id.as_ref().unwrap()[0]
}

// Covers: KG-4.3.1.1-03, KG-2-01, KG-3-01, OP-2-01, OP-2-02, OP-3.2-02, OP-4.3-08, OP-5-01, TH-7-04/first-number
// Covers: TH-7-04/marked-file, TH-7-04/second-export, KG-4.3.1.1-02
// Covers: AF-5-01
#[tokio::test]
async fn keys_are_handed_out_once_under_each_sender_id() {
    let house = House::new().await;
    let settings = house.settings();
    let mut member = open(&settings);
    joined(&mut member).await.unwrap();
    let first = keys(&mut member).await.unwrap();
    let shown = export::group(&settings, member.group().unwrap(), true).unwrap();
    assert_eq!((shown["sender_id"].as_str(), shown["first_sequence"].as_u64()), (Some("00"), Some(0)));
    member.close().unwrap();
    // Also by another process, and however often.
    let mut seen = vec![sender_id(&first)];
    for _ in 0..3 {
        let mut member = open(&settings);
        let again = keys(&mut member).await.unwrap();
        assert_eq!((&again.ms, &again.context_id), (&first.ms, &first.context_id));
        assert!(!seen.contains(&sender_id(&again)));
        seen.push(sender_id(&again));
        member.close().unwrap();
    }
    assert_eq!(seen, [0, 1, 2, 3]);
    assert_eq!(house.posts(), 1, "the token was posted once");
    // All else was protected, both ways.
    assert_eq!(*house.way_to_as.bare.lock().unwrap(), []);
    let post = (Code::POST, "authz-info".into());
    assert_eq!(*house.way.bare.lock().unwrap(), [post, (Code::CREATED, String::new())]);
}

// Covers: TH-7-02/new-sender-id, TH-7-02/token-anew, TH-7-03/other-place, TH-7-03/two-copies
#[tokio::test]
async fn after_a_crash_a_reboot_or_in_a_copy_there_is_a_new_sender_id() {
    let house = House::new().await;
    let settings = house.settings();
    let mut member = open(&settings);
    joined(&mut member).await.unwrap();
    drop(member);
    let posts = house.posts();
    let mut member = open(&settings);
    assert_eq!(sender_id(&keys(&mut member).await.unwrap()), 1, "a crash");
    assert_eq!(house.posts(), posts + 1, "and another association");
    member.close().unwrap();
    let posts = house.posts();
    house.edit(|state| state.boot = "another".into());
    let mut member = open(&settings);
    assert_eq!(sender_id(&keys(&mut member).await.unwrap()), 2, "a reboot");
    assert_eq!(house.posts(), posts + 1, "and another association");
    member.close().unwrap();

    let other = settings.state.with_file_name("copy.state");
    std::fs::copy(&settings.state, &other).unwrap();
    let mut copy = settings.clone();
    copy.state = other;
    let (mut first, mut second) = (open(&settings), open(&copy));
    let (one, two) = (sender_id(&keys(&mut first).await.unwrap()), sender_id(&keys(&mut second).await.unwrap()));
    assert_ne!(one, two, "a copy");
}

// Covers: TH-7-05/reset, TH-7-05/unprotected-error
#[tokio::test]
async fn what_anybody_can_send_drops_nothing() {
    let house = House::new().await;
    let settings = house.settings();
    let mut member = open(&settings);
    *house.way.mischief.lock().unwrap() = Mischief::Flood;
    joined(&mut member).await.unwrap();
    keys(&mut member).await.unwrap();
    run(&mut member, Operation::Creds).await.unwrap();
    assert_eq!(house.posts(), 1);
    // A token post is answered in the KDC's place: the association that works is kept.
    *house.way.mischief.lock().unwrap() = Mischief::FalseAnswer;
    run(&mut member, Operation::Upload).await.unwrap();
    run(&mut member, Operation::Creds).await.unwrap();
    assert_eq!(house.posts(), 2);
    run(&mut member, Operation::Upload).await.unwrap();
    member.close().unwrap();
    let mut member = open(&settings);
    keys(&mut member).await.unwrap();
    // Where there is none to go back to, the token is posted anew, and that is tried once.
    member.close().unwrap();
    house.edit(|state| state.member.session = None);
    let mut member = open(&settings);
    assert!(matches!(run(&mut member, Operation::Creds).await, Err(MemberError::Exchange(ExchangeError::Doubtful(_)))));
    *house.way.mischief.lock().unwrap() = Mischief::None;
    run(&mut member, Operation::Creds).await.unwrap();
}

#[tokio::test]
async fn a_kdc_that_has_forgotten_gets_the_token_again() {
    let mut house = House::new().await;
    let settings = house.settings();
    let mut member = open(&settings);
    joined(&mut member).await.unwrap();
    let before = keys(&mut member).await.unwrap();
    house.restart_kdc().await;
    let refused = run(&mut member, Operation::Creds).await.unwrap_err();
    assert!(
        matches!(refused, MemberError::Refused { status: Status::Forbidden, .. }),
        "known, and not a member: {refused}"
    );
    assert_eq!(house.posts(), 2);
    run(&mut member, Operation::Join).await.unwrap();
    let after = keys(&mut member).await.unwrap();
    assert!(before.ms != after.ms && before.salt != after.salt);
}

// Covers: AF-5.10.1-07
#[tokio::test]
async fn a_kdc_that_remembers_needs_no_new_token() {
    let mut house = House::on_disk().await;
    let settings = house.settings();
    let mut member = open(&settings);
    joined(&mut member).await.unwrap();
    let before = keys(&mut member).await.unwrap();
    house.restart_kdc().await;
    run(&mut member, Operation::Creds).await.unwrap();
    assert_eq!(house.posts(), 1, "the association outlived the process");
    run(&mut member, Operation::Join).await.unwrap();
    let after = keys(&mut member).await.unwrap();
    assert_eq!(house.posts(), 1, "and Joins go on under it");
    assert!(before.ms == after.ms && before.salt == after.salt, "the same group");
    assert!(before.group_sender_id != after.group_sender_id, "no Sender ID comes twice");
}

// Covers: TH-7-06/lower-num
#[tokio::test]
async fn an_older_version_and_a_sender_id_that_was_used_are_not_taken() {
    let house = House::new().await;
    let settings = house.settings();
    let mut member = open(&settings);
    joined(&mut member).await.unwrap();
    member.close().unwrap();
    house.edit(|state| state.member.groups.get_mut("lamps").unwrap().num = 3);
    let mut member = open(&settings);
    for result in [
        run(&mut member, Operation::Join).await,
        keys(&mut member).await.map(drop),
        run(&mut member, Operation::Creds).await,
    ] {
        assert!(matches!(result, Err(MemberError::Unusable(text)) if text.contains("older")), "{result:?}");
    }
    assert_eq!(member.group().unwrap().num, 3, "nothing was installed");
    member.close().unwrap();
    // It knows an older version than the KDC's: the newer one is installed with the credentials that go with it.
    house.edit(|state| {
        let group = state.member.groups.get_mut("lamps").unwrap();
        let mut material = GroupOscoreInputMaterial::decode(&RawCbor::new(&group.key.0).unwrap()).unwrap();
        material.context_id = vec![9];
        (group.num, group.key.0) = (-1, material.encode().as_bytes().to_vec());
    });
    let mut member = open(&settings);
    run(&mut member, Operation::Creds).await.unwrap();
    assert_eq!(member.group().unwrap().num, 0);
    member.close().unwrap();
    // The key comes back that was handed out already, as if the KDC had given the same Sender ID again.
    let mut member = open(&settings);
    let mut next = keys(&mut member).await.unwrap();
    next.group_sender_id = Some(vec![sender_id(&next) + 1]);
    member.close().unwrap();
    house.edit(|state| {
        let group = state.member.groups.get_mut("lamps").unwrap();
        let now = std::mem::replace(&mut group.key.0, next.encode().as_bytes().to_vec());
        group.spend(&*settings.rules().unwrap());
        group.key.0 = now;
    });
    let mut member = open(&settings);
    let again = keys(&mut member).await;
    assert!(matches!(again, Err(MemberError::Unusable(text)) if text.contains("Sender ID")), "{again:?}");
}

// Covers: KG-4.3.1.1-01, KG-2-02
#[tokio::test]
async fn steps_out_of_order_say_what_is_missing() {
    let house = House::new().await;
    let settings = house.settings();
    let mut member = open(&settings);
    assert!(matches!(run(&mut member, Operation::Upload).await, Err(MemberError::NoToken)));
    assert!(matches!(run(&mut member, Operation::Join).await, Err(MemberError::NoToken)));
    assert!(matches!(keys(&mut member).await, Err(MemberError::NotAMember)));
    assert!(matches!(run(&mut member, Operation::Creds).await, Err(MemberError::NotAMember)));
    assert!(member.group().is_none());
    run(&mut member, Operation::Token).await.unwrap();
    assert!(matches!(run(&mut member, Operation::Join).await, Err(MemberError::NoSession)));
    member.close().unwrap();
    // What was done is there for the next one.
    let mut member = open(&settings);
    run(&mut member, Operation::Upload).await.unwrap();
    member.close().unwrap();
    let mut member = open(&settings);
    run(&mut member, Operation::Join).await.unwrap();
    assert_eq!(member.group().unwrap().num, 0);
}

// Covers: OP-4.2-02
#[tokio::test]
async fn two_processes_of_one_configuration_draw_other_values() {
    let (house, other) = (House::new().await, House::new().await);
    let mut drawn = Vec::new();
    for house in [&house, &other] {
        let settings = house.settings();
        let mut member = open(&settings);
        joined(&mut member).await.unwrap();
        let key = keys(&mut member).await.unwrap();
        member.close().unwrap();
        house.edit(|state| {
            let session = state.member.session.take().unwrap();
            drawn.push([
                key.ms.clone(),
                key.salt.clone().unwrap(),
                session.client_id.0.clone(),
                session.association.0.clone(),
                session.kdcchallenge.unwrap().0.clone(),
                state.member.token.take().unwrap().access_token.0.clone(),
                state.member.groups["lamps"].node.clone().into_bytes(),
            ]);
        });
    }
    for (one, two) in drawn[0].iter().zip(&drawn[1]) {
        assert_ne!(one, two);
    }
}

/// All bytes in a folder, file by file.
fn stored(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { stored(&path) } else { vec![std::fs::read(path).unwrap_or_default()] })
        .collect()
}

// Covers: TH-5-04/no-plain-secret
#[tokio::test]
async fn no_secret_of_a_run_is_stored_as_it_is() {
    let mut house = House::on_disk().await;
    let settings = house.settings();
    let mut member = open(&settings);
    joined(&mut member).await.unwrap();
    let key = keys(&mut member).await.unwrap();
    member.close().unwrap();
    let mut secrets = vec![key.ms.clone()];
    house.edit(|state| {
        let Confirmation::Osc(material) = Confirmation::decode(&state.member.token.as_ref().unwrap().cnf.0).unwrap()
        else {
            panic!("another key")
        };
        secrets.push(material.ms.clone());
    });
    // Also when it went from the log into tables.
    house.restart_kdc().await;
    let found = stored(&house.folder.path().join("state"));
    let holds = |bytes: &[u8]| found.iter().any(|file| file.windows(bytes.len()).any(|part| part == bytes));
    assert!(holds(b"n/lamps"), "this is where it is stored");
    assert!(secrets.iter().all(|secret| secret.len() >= 16 && !holds(secret)));
}

#[tokio::test]
async fn what_has_expired_is_not_used() {
    let house = House::new().await;
    let settings = house.settings();
    let mut member = open(&settings);
    joined(&mut member).await.unwrap();
    member.close().unwrap();
    house.edit(|state| state.member.token.as_mut().unwrap().expires = ace_groupcomm::UnixTime::new(1));
    let mut member = open(&settings);
    let upload = run(&mut member, Operation::Upload).await;
    assert!(matches!(upload, Err(MemberError::Expired("token"))), "{upload:?}");
    for result in [
        run(&mut member, Operation::Join).await,
        keys(&mut member).await.map(drop),
        run(&mut member, Operation::Creds).await,
    ] {
        assert!(matches!(result, Err(MemberError::Expired("token"))), "{result:?}");
    }
    assert_eq!(house.posts(), 1, "nobody was asked");
    // With a new token it joins again: the membership has ended with the former one.
    run(&mut member, Operation::Token).await.unwrap();
    assert!(matches!(keys(&mut member).await, Err(MemberError::NotAMember)));
    joined(&mut member).await.unwrap();
    let keys = keys(&mut member).await.unwrap();
    assert_eq!((sender_id(&keys), house.posts()), (1, 2));
    member.close().unwrap();
}

#[tokio::test]
async fn a_challenge_that_was_forged_is_asked_for_again() {
    let house = House::new().await;
    let settings = house.settings();
    let mut member = open(&settings);
    run(&mut member, Operation::Token).await.unwrap();
    run(&mut member, Operation::Upload).await.unwrap();
    member.close().unwrap();
    house.edit(|state| state.member.offered.as_mut().unwrap().kdcchallenge = Some(Bytes(vec![9; 8])));
    let mut member = open(&settings);
    run(&mut member, Operation::Join).await.unwrap();
    assert_eq!(house.posts(), 2);
    assert_eq!(sender_id(&keys(&mut member).await.unwrap()), 0);
}
