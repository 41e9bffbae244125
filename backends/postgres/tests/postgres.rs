//! The contract of storage on a real PostgreSQL, several processes on one, and a server that fails.

use ace_backend_postgres::{OpenError, PostgresSettings, PostgresStorage};
use ace_groupcomm::Secret;
use ace_groupcomm::testkit::storage::{reopening_suite, suite};
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Record, Revision, Sharing, Storage, Txn};
use ace_peers::Postgres;
use std::sync::Arc;
use std::time::Duration;

async fn open(server: &Postgres) -> PostgresStorage {
    PostgresStorage::open(&server.url(), quick()).await.unwrap()
}

fn quick() -> PostgresSettings {
    PostgresSettings { patience: Duration::from_secs(3), ..PostgresSettings::default() }
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
    let elsewhere = PostgresSettings { schema: "other".into(), ..quick() };
    let elsewhere = PostgresStorage::open(&server.url(), elsewhere).await.unwrap();
    assert_eq!(get(&elsewhere, "rw/a").await, None);
    assert_eq!(suite(&elsewhere).await, Ok(()));
    let settings = PostgresSettings { schema: "again".into(), ..quick() };
    let url = server.url();
    let open = async || PostgresStorage::open(&url, settings.clone()).await.map_err(|error| error.to_string());
    assert_eq!(reopening_suite(open).await, Ok(()));
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

// Covers: TH-5-03/lossy-settings
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
    drop(open(&server).await);
    server.sql("ALTER SEQUENCE ace_groupcomm.order_probe CACHE 50");
    let refused = PostgresStorage::open(&server.url(), quick()).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Unsafe(why) if why.contains("CACHE")), "{refused}");
}

/// The primary ends at once, and its standby takes over.
fn fail_over(mut primary: Postgres, standby: &Postgres) {
    primary.stop(false);
    assert_eq!(standby.sql("SELECT pg_promote()"), "t");
}

// Covers: TH-5-03/changed-timeline
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_was_not_waited_for_is_refused_as_soon_as_it_takes_over() {
    let Some(primary) = Postgres::start() else { return };
    let storage = open(&primary).await;
    commit(&storage, put("a", None, "1")).await;
    let standby = primary.standby();
    let refused = PostgresStorage::open(&standby.url(), quick()).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Unsafe(why) if why.contains("standby")), "{refused}");
    fail_over(primary, &standby);
    for _ in 0..2 {
        let refused = PostgresStorage::open(&standby.url(), quick()).await.err().unwrap();
        assert!(matches!(&refused, OpenError::Unsafe(why) if why.contains("timeline 2 and was on 1")), "{refused}");
    }
    let accepting = |timeline| PostgresSettings { accept_timeline: Some(timeline), ..quick() };
    assert!(PostgresStorage::open(&standby.url(), accepting(3)).await.is_err());
    drop(PostgresStorage::open(&standby.url(), accepting(2)).await.unwrap());
    assert_eq!(text(&open(&standby).await, "a").await, "1", "it is known from now on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_was_waited_for_takes_over_with_all_that_was_acknowledged() {
    let Some(primary) = Postgres::start() else { return };
    drop(open(&primary).await);
    let standby = primary.standby();
    // For others the server does not wait; for what is committed here it does.
    primary.sql("ALTER SYSTEM SET synchronous_commit = 'local'");
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.sql("SELECT pg_reload_conf()");
    let storage = open(&primary).await;
    for number in 0..50 {
        let outcome = commit(&storage, put(&format!("key {number}"), Some(None), "x")).await;
        assert!(matches!(outcome, CommitOutcome::Done(_)), "{outcome:?}");
    }
    fail_over(primary, &standby);
    let after = open(&standby).await;
    assert_eq!(after.scan(&key("key "), None, 100).await.unwrap().records.len(), 50);
    assert_eq!(standby.sql("SELECT timeline, synchronous FROM ace_groupcomm.about"), "2|f", "nobody follows it");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_the_first_version_are_brought_up_to_date() {
    let Some(server) = Postgres::start() else { return };
    commit(&open(&server).await, put("a", None, "1")).await;
    server.sql("ALTER TABLE ace_groupcomm.about DROP COLUMN synchronous");
    server.sql("DROP SEQUENCE ace_groupcomm.order_probe");
    server.sql("UPDATE ace_groupcomm.about SET version = 1");
    assert_eq!(text(&open(&server).await, "a").await, "1");
    assert_eq!(server.sql("SELECT version, timeline, synchronous FROM ace_groupcomm.about"), "2|1|f");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_on_one_storage_at_once_stay_apart() {
    let Some(server) = Postgres::start() else { return };
    let storage = Arc::new(open(&server).await);
    commit(&storage, put("counter", None, "0")).await;
    let count = |storage: Arc<PostgresStorage>| async move {
        for _ in 0..40 {
            loop {
                let record = get(&storage, "counter").await.unwrap();
                let number: u64 = String::from_utf8(record.value.to_vec()).unwrap().parse().unwrap();
                let next = (number + 1).to_string();
                if let CommitOutcome::Done(_) =
                    commit(&storage, put("counter", Some(Some(record.revision)), &next)).await
                {
                    break;
                }
            }
        }
    };
    let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(count(Arc::clone(&storage)))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(text(&storage, "counter").await, "160");
}

/// Lets a client talk to the server until it is told to go silent.
async fn relay(port: u16) -> (u16, Arc<std::sync::atomic::AtomicBool>) {
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let silent = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&silent);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let heard = Arc::clone(&heard);
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                    if !heard.load(Ordering::Relaxed) {
                        to_client.write_all(&buffer[..length]).await.unwrap();
                    }
                }
            });
        }
    });
    (own, silent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_answers_is_not_waited_for_either() {
    let Some(server) = Postgres::start() else { return };
    let port = server.url().rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    let (relayed, silent) = relay(port).await;
    let url = server.url().replace(&port.to_string(), &relayed.to_string());
    let settings = PostgresSettings { patience: Duration::from_secs(1), ..quick() };
    let storage = PostgresStorage::open(&url, settings.clone()).await.unwrap();
    commit(&storage, put("a", None, "1")).await;
    silent.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(!matches!(commit(&storage, put("a", None, "2")).await, CommitOutcome::Done(_)));
    assert!(matches!(commit(&storage, put("a", None, "3")).await, CommitOutcome::NotDone(_)), "no connection");
    assert!(storage.read(&[key("a")]).await.is_err() && storage.snapshot().await.is_err());
    assert!(PostgresStorage::open(&url, settings).await.is_err());
    silent.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(commit(&storage, put("a", None, "4")).await, CommitOutcome::Done(_)));
    assert_eq!(text(&storage, "a").await, "4");
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
    let vouched = |path: &std::path::Path| PostgresSettings { certificates: Some(path.to_path_buf()), ..quick() };
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
async fn a_password_need_not_stand_in_the_url() {
    let Some(server) = Postgres::start() else { return };
    server.sql("CREATE ROLE kdc LOGIN PASSWORD 'open sesame'");
    server.sql("CREATE DATABASE kdc OWNER kdc");
    server.file("data/pg_hba.conf", "host all kdc all scram-sha-256\nhost all all all trust\n");
    server.sql("SELECT pg_reload_conf()");
    let url = server.url().replace("ace@", "kdc@").replace("/postgres", "/kdc");
    assert!(PostgresStorage::open(&url, quick()).await.is_err());
    let settings = PostgresSettings { password: Some(Secret::new(b"open sesame".to_vec())), ..quick() };
    assert!(!format!("{settings:?}").contains("sesame"));
    drop(PostgresStorage::open(&url, settings).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_says_why() {
    let Some(server) = Postgres::start() else { return };
    drop(open(&server).await);
    server.sql("UPDATE ace_groupcomm.about SET version = 99");
    let later = PostgresStorage::open(&server.url(), quick()).await.err().unwrap();
    assert!(matches!(later, OpenError::Version { found: 99, known: 2 }), "{later}");
    let schema = PostgresSettings { schema: "x\"; DROP TABLE record".into(), ..quick() };
    for (url, settings, words) in [
        (server.url(), schema, "schema"),
        ("nonsense".into(), quick(), "URL"),
        ("postgres://ace@127.0.0.1:1/postgres".into(), quick(), "server cannot be used"),
        (format!("{}?sslmode=require", server.url()), quick(), "server cannot be used"),
        (server.url(), PostgresSettings { certificates: Some("/nonexistent".into()), ..quick() }, "certificates"),
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
    let storage = PostgresStorage::open(&url, PostgresSettings { patience, ..quick() }).await.unwrap();
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
