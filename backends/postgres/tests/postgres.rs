//! The contract of storage on a real PostgreSQL, several processes on one, and a server that fails.

use ace_backend_postgres::{OpenError, PostgresStorage, Settings};
use ace_groupcomm::testkit::storage::suite;
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Record, Revision, Sharing, Storage, Txn};
use ace_peers::Postgres;
use std::sync::Arc;
use std::time::Duration;

async fn open(server: &Postgres) -> PostgresStorage {
    PostgresStorage::open(&server.url(), quick()).await.unwrap()
}

fn quick() -> Settings {
    Settings { patience: Duration::from_secs(3), ..Settings::default() }
}

fn key(text: &str) -> Key {
    Key::new(text.to_owned())
}

fn put(name: &str, expect: Option<Option<Revision>>, value: &str) -> Txn {
    let expect = expect.map(|revision| (key(name), revision)).into_iter().collect();
    Txn { expect, write: vec![(key(name), Some(value.to_owned().into()))] }
}

async fn commit(storage: &PostgresStorage, txn: Txn) -> CommitOutcome {
    storage.commit(vec![txn]).await.pop().unwrap()
}

async fn get(storage: &PostgresStorage, name: &str) -> Option<Record> {
    storage.read(&[key(name)]).await.unwrap().pop().unwrap()
}

async fn text(storage: &PostgresStorage, name: &str) -> String {
    String::from_utf8(get(storage, name).await.unwrap().value.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    let Some(server) = Postgres::start() else { return };
    let storage = open(&server).await;
    assert_eq!(storage.sharing(), Sharing::Shared);
    assert_eq!(suite(&storage).await, Ok(()));
    assert!(storage.commit(vec![]).await.is_empty());
    // Another process sees the same; another schema is another storage.
    let again = open(&server).await;
    assert_eq!(text(&again, "rw/a").await, "1");
    let elsewhere = Settings { schema: "other".into(), ..quick() };
    let elsewhere = PostgresStorage::open(&server.url(), elsewhere).await.unwrap();
    assert_eq!(get(&elsewhere, "rw/a").await, None);
    assert_eq!(suite(&elsewhere).await, Ok(()));
    // Keys and values are any bytes.
    let strange = Key::new(vec![0, 0xff, b'\'', b'\\']);
    storage.commit(vec![Txn { expect: vec![], write: vec![(strange.clone(), Some(vec![0, 0xff].into()))] }]).await;
    assert_eq!(storage.scan(&Key::new(vec![0]), None, 9).await.unwrap().records[0].0, strange);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_lose_nothing_of_each_other() {
    let Some(server) = Postgres::start() else { return };
    let processes = [Arc::new(open(&server).await), Arc::new(open(&server).await), Arc::new(open(&server).await)];
    commit(&processes[0], put("counter", None, "0")).await;
    let mut tasks = Vec::new();
    for storage in processes.clone() {
        tasks.push(tokio::spawn(async move {
            let (mut done, mut conflicts, mut last) = (0, 0, Revision(0));
            while done < 60 {
                let record = get(&storage, "counter").await.unwrap();
                let number: u64 = String::from_utf8(record.value.to_vec()).unwrap().parse().unwrap();
                let marker = format!("marker {}", number + 1);
                let txns = vec![
                    Txn {
                        expect: vec![(key("counter"), Some(record.revision)), (key(&marker), None)],
                        write: vec![
                            (key("counter"), Some((number + 1).to_string().into())),
                            (key(&marker), Some("x".into())),
                        ],
                    },
                    put("unconditional", None, "y"),
                ];
                match &storage.commit(txns).await[..] {
                    [CommitOutcome::Done(revision), CommitOutcome::Done(_)] => {
                        assert!(*revision > record.revision && *revision > last);
                        last = *revision;
                        done += 1;
                    }
                    [CommitOutcome::Conflict(found), CommitOutcome::Done(_)] => {
                        assert!(found.iter().any(|(name, record)| *name == key("counter") && record.is_some()));
                        conflicts += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            conflicts
        }));
    }
    let mut conflicts = 0;
    for task in tasks {
        conflicts += task.await.unwrap();
    }
    assert_eq!(text(&processes[0], "counter").await, "180");
    assert!(conflicts > 0, "they did meet");
    assert_eq!(processes[0].scan(&key("marker "), None, 1_000).await.unwrap().records.len(), 180);
}

// Covers: TH-5-03
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_lose_commits_is_refused() {
    let Some(mut server) = Postgres::start() else { return };
    drop(open(&server).await);
    for setting in ["fsync=off", "synchronous_commit=off", "full_page_writes=off"] {
        server.stop(true);
        server.resume(&[setting]);
        let refused = PostgresStorage::open(&server.url(), quick()).await.err().unwrap();
        let name = setting.split('=').next().unwrap();
        assert!(matches!(&refused, OpenError::Unsafe(why) if why.contains(name)), "{refused}");
    }
    server.stop(true);
    server.resume(&[]);
    // Another server has taken over: what was committed last may be missing.
    server.sql("UPDATE ace_groupcomm.about SET timeline = 7");
    let refused = PostgresStorage::open(&server.url(), quick()).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Unsafe(why) if why.contains("timeline 1 and was on 7")), "{refused}");
    let accepting = Settings { accept_timeline: Some(1), ..quick() };
    drop(PostgresStorage::open(&server.url(), accepting).await.unwrap());
    drop(open(&server).await);
    server.sql("UPDATE ace_groupcomm.about SET timeline = 7");
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'other'");
    server.stop(true);
    server.resume(&["synchronous_commit=local"]);
    drop(open(&server).await);
    assert_eq!(server.sql("SELECT timeline FROM ace_groupcomm.about"), "1", "a synchronous standby has all");
}

/// Certificates of one who vouches for a server, and the server's own with its key.
fn certificates() -> (String, String, String) {
    let (ca_key, key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = ca.self_signed(&ca_key).unwrap();
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = server.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).unwrap();
    (root.pem(), certificate.pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_secured_and_the_server_is_verified() {
    let Some(mut server) = Postgres::start() else { return };
    let ((root, certificate, key), (stranger, ..)) = (certificates(), certificates());
    let (certificate, key) = (server.file("server.crt", &certificate), server.file("server.key", &key));
    let (root, stranger) = (server.file("root.pem", &root), server.file("stranger.pem", &stranger));
    server.stop(true);
    let setting = |name: &str, path: &std::path::Path| format!("{name}={}", path.display());
    server.resume(&["ssl=on", &setting("ssl_cert_file", &certificate), &setting("ssl_key_file", &key)]);
    let secured = format!("{}?sslmode=require", server.url());
    let vouched = |path: &std::path::Path| Settings { certificates: Some(path.to_path_buf()), ..quick() };
    let storage = PostgresStorage::open(&secured, vouched(&root)).await.unwrap();
    assert!(matches!(commit(&storage, put("a", None, "1")).await, CommitOutcome::Done(_)));
    let query = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = \
                 'ace-groupcomm'";
    assert_eq!(server.sql(query), "t");
    for settings in [vouched(&stranger), quick()] {
        let refused = PostgresStorage::open(&secured, settings).await.err().unwrap().to_string();
        assert!(refused.contains("certificate"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_of_a_database_needs_no_more_rights() {
    let Some(server) = Postgres::start() else { return };
    server.sql("CREATE ROLE kdc LOGIN");
    server.sql("CREATE DATABASE kdc OWNER kdc");
    let url = server.url().replace("ace@", "kdc@").replace("/postgres", "/kdc");
    let storage = PostgresStorage::open(&url, quick()).await.unwrap();
    assert_eq!(suite(&storage).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_says_why() {
    let Some(server) = Postgres::start() else { return };
    drop(open(&server).await);
    server.sql("UPDATE ace_groupcomm.about SET version = 99");
    let later = PostgresStorage::open(&server.url(), quick()).await.err().unwrap();
    assert!(matches!(later, OpenError::Version { found: 99, known: 1 }), "{later}");
    let schema = Settings { schema: "x\"; DROP TABLE record".into(), ..quick() };
    for (url, settings, words) in [
        (server.url(), schema, "schema"),
        ("nonsense".into(), quick(), "URL"),
        ("postgres://ace@127.0.0.1:1/postgres".into(), quick(), "server cannot be used"),
        (format!("{}?sslmode=require", server.url()), quick(), "server cannot be used"),
        (server.url(), Settings { certificates: Some("/nonexistent".into()), ..quick() }, "certificates"),
    ] {
        let refused = PostgresStorage::open(&url, settings).await.err().unwrap().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_is_found_again() {
    let Some(mut server) = Postgres::start() else { return };
    let storage = open(&server).await;
    assert!(matches!(commit(&storage, put("a", None, "1")).await, CommitOutcome::Done(_)));
    let snapshot = storage.snapshot().await.unwrap();
    server.stop(false);
    assert!(storage.read(&[key("a")]).await.is_err() && storage.scan(&key(""), None, 1).await.is_err());
    assert!(snapshot.page(None, 1).await.is_err());
    assert!(storage.snapshot().await.is_err());
    let lost = commit(&storage, put("a", None, "2")).await;
    assert!(matches!(lost, CommitOutcome::NotDone(_)), "{lost:?}");
    server.resume(&[]);
    assert_eq!(text(&storage, "a").await, "1");
    assert!(matches!(commit(&storage, put("a", None, "3")).await, CommitOutcome::Done(_)));
    assert_eq!(text(&storage, "a").await, "3");
}

// Covers: TH-5-02
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_meets_the_end_of_the_server_is_done_or_not_or_unknown() {
    let Some(mut server) = Postgres::start() else { return };
    let storage = Arc::new(open(&server).await);
    let (mut done, mut number, mut seen) = (Vec::new(), 0, [0; 3]);
    for round in 0..6 {
        let writing = Arc::clone(&storage);
        let first = number;
        let task = tokio::spawn(async move {
            let mut outcomes = Vec::new();
            loop {
                let number = first + outcomes.len();
                let outcome = commit(&writing, put(&format!("key {number:06}"), Some(None), "x")).await;
                let ended = !matches!(outcome, CommitOutcome::Done(_));
                outcomes.push(outcome);
                if ended {
                    return outcomes;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(40 + 17 * round)).await;
        server.stop(false);
        for outcome in task.await.unwrap() {
            let name = format!("key {number:06}");
            match outcome {
                CommitOutcome::Done(_) => (done.push(name), seen[0] += 1).1,
                CommitOutcome::NotDone(_) => seen[1] += 1,
                CommitOutcome::Unknown(_) => seen[2] += 1,
                CommitOutcome::Conflict(found) => panic!("its own write, taken for another's: {found:?}"),
            }
            number += 1;
        }
        server.resume(&[]);
    }
    assert!(seen[0] > 20, "{seen:?}");
    let there = storage.scan(&key("key "), None, usize::MAX >> 1).await.unwrap().records;
    let there: std::collections::BTreeSet<Key> = there.into_iter().map(|(key, _)| key).collect();
    assert!(done.iter().all(|name| there.contains(&key(name))), "what was acknowledged is there");
    assert!(there.len() <= done.len() + seen[2], "and nothing that was not done: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_waited_for_in_vain_but_not_for_ever() {
    let Some(server) = Postgres::start() else { return };
    let (url, patience) = (server.url(), Duration::from_secs(1));
    let storage = PostgresStorage::open(&url, Settings { patience, ..quick() }).await.unwrap();
    commit(&storage, put("a", None, "1")).await;
    // Somebody holds the table.
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE ace_groupcomm.record IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert!(storage.read(&[key("a")]).await.is_err());
    let outcome = commit(&storage, put("a", None, "2")).await;
    assert!(matches!(outcome, CommitOutcome::NotDone(_)), "{outcome:?}");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(text(&storage, "a").await, "1");
    assert!(matches!(commit(&storage, put("a", None, "3")).await, CommitOutcome::Done(_)));
}
