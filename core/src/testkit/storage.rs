//! The suite that every storage backend passes.

use crate::traits::storage::{CommitOutcome, Key, Record, Revision, Storage, Txn};
use bytes::Bytes;

/// A check of the contract that did not hold: what was expected and what came.
pub type Failure = String;

fn key(text: &str) -> Key {
    Key::new(text.as_bytes().to_vec())
}

fn write(entries: &[(&str, Option<&str>)]) -> Vec<(Key, Option<Bytes>)> {
    entries.iter().map(|(k, v)| (key(k), v.map(|v| Bytes::copy_from_slice(v.as_bytes())))).collect()
}

fn require(holds: bool, what: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

async fn put(store: &dyn Storage, entries: &[(&str, Option<&str>)]) -> Result<Revision, Failure> {
    let outcome = store.commit(vec![Txn { expect: Vec::new(), write: write(entries) }]).await;
    match outcome.as_slice() {
        [CommitOutcome::Done(revision)] => Ok(*revision),
        other => Err(format!("a commit without expectations is done, not {other:?}")),
    }
}

async fn get(store: &dyn Storage, name: &str) -> Result<Option<Record>, Failure> {
    let mut records = store.read(&[key(name)]).await.map_err(|error| error.to_string())?;
    require(records.len() == 1, "one record a key")?;
    Ok(records.pop().flatten())
}

/// Runs the whole suite against an empty store.
///
/// # Errors
/// The first thing that the contract asks for and that did not hold.
pub async fn suite(store: &dyn Storage) -> Result<(), Failure> {
    reads_and_writes(store).await?;
    expectations(store).await?;
    revisions_grow(store).await?;
    batches(store).await?;
    pages(store).await?;
    snapshots(store).await
}

async fn snapshots(store: &dyn Storage) -> Result<(), Failure> {
    put(store, &[("sn/a", Some("1")), ("sn/b", Some("1")), ("sn/c", Some("1"))]).await?;
    let snapshot = store.snapshot().await.map_err(|error| error.to_string())?;
    for round in 0..50 {
        put(store, &[("sn/a", Some("2")), ("sn/b", None), ("sn/d", Some("2"))]).await?;
        let later = store.snapshot().await.map_err(|error| error.to_string())?;
        put(store, &[("sn/b", Some("3"))]).await?;
        drop(later);
        let (mut seen, mut after) = (Vec::new(), Some(key("sn/")));
        loop {
            let page = snapshot.page(after.as_ref(), 2).await.map_err(|error| error.to_string())?;
            require(page.records.len() <= 2, "a page is no longer than asked")?;
            after = page.records.last().map(|(key, _)| key.clone());
            let of_test = page.records.iter().filter(|(name, _)| name.starts_with(&key("sn/")));
            seen.extend(of_test.map(|(name, record)| (name.clone(), record.value.clone())));
            if !page.more {
                break;
            }
        }
        let one = Bytes::from_static(b"1");
        let expected = [(key("sn/a"), one.clone()), (key("sn/b"), one.clone()), (key("sn/c"), one)];
        require(seen == expected, &format!("round {round}: a snapshot is of one moment"))?;
    }
    Ok(())
}

async fn reads_and_writes(store: &dyn Storage) -> Result<(), Failure> {
    require(get(store, "rw/none").await?.is_none(), "an unknown key has no record")?;
    let revision = put(store, &[("rw/a", Some("1")), ("rw/b", Some(""))]).await?;
    let read = store.read(&[key("rw/b"), key("rw/x"), key("rw/a")]).await.map_err(|error| error.to_string())?;
    let expected = vec![
        Some(Record { revision, value: Bytes::new() }),
        None,
        Some(Record { revision, value: Bytes::from_static(b"1") }),
    ];
    require(read == expected, "records come in the order of their keys, with the commit's revision")
}

async fn expectations(store: &dyn Storage) -> Result<(), Failure> {
    let revision = put(store, &[("ex/a", Some("1"))]).await?;
    let attempt = |expect: Vec<(Key, Option<Revision>)>, value: &'static str| Txn {
        expect,
        write: write(&[("ex/a", Some(value)), ("ex/b", Some(value))]),
    };
    let stale = Some(Revision(revision.0.wrapping_sub(1)));
    let wrong = vec![(key("ex/a"), stale), (key("ex/none"), Some(revision)), (key("ex/free"), None)];
    let outcome = store.commit(vec![attempt(wrong, "2")]).await;
    let there = Record { revision, value: Bytes::from_static(b"1") };
    let expected = [CommitOutcome::Conflict(vec![(key("ex/a"), Some(there)), (key("ex/none"), None)])];
    require(outcome == expected, "a conflict names every expectation that failed, with what stands there")?;
    require(get(store, "ex/b").await?.is_none(), "a conflict writes nothing")?;
    let outcome = store.commit(vec![attempt(vec![(key("ex/a"), None)], "2")]).await;
    require(matches!(outcome.as_slice(), [CommitOutcome::Conflict(_)]), "a key that is there is not absent")?;
    let right = vec![(key("ex/a"), Some(revision)), (key("ex/free"), None)];
    let outcome = store.commit(vec![attempt(right, "3")]).await;
    require(matches!(outcome.as_slice(), [CommitOutcome::Done(_)]), "expectations that hold commit")
}

async fn revisions_grow(store: &dyn Storage) -> Result<(), Failure> {
    let first = put(store, &[("rev/a", Some("1"))]).await?;
    put(store, &[("rev/a", None)]).await?;
    require(get(store, "rev/a").await?.is_none(), "a removed key has no record")?;
    let again = put(store, &[("rev/a", Some("1"))]).await?;
    require(again > first, "revisions of a key grow, also across a delete")?;
    let reuse = Txn { expect: vec![(key("rev/a"), Some(first))], write: write(&[("rev/b", Some("1"))]) };
    let outcome = store.commit(vec![reuse]).await;
    require(matches!(outcome.as_slice(), [CommitOutcome::Conflict(_)]), "an old revision does not come back")
}

async fn batches(store: &dyn Storage) -> Result<(), Failure> {
    let absent = |name: &str| Txn { expect: vec![(key(name), None)], write: write(&[(name, Some("x"))]) };
    let outcome = store.commit(vec![absent("ba/a"), absent("ba/a"), absent("ba/b")]).await;
    require(
        matches!(outcome.as_slice(), [CommitOutcome::Done(_), CommitOutcome::Conflict(_), CommitOutcome::Done(_)]),
        "transactions of one call happen in their order, each with its own verdict",
    )?;
    require(store.commit(Vec::new()).await.is_empty(), "no transactions, no verdicts")
}

async fn pages(store: &dyn Storage) -> Result<(), Failure> {
    let names: Vec<String> = (0..10).map(|n| format!("pg/{n}")).collect();
    let entries: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), Some("v"))).collect();
    put(store, &entries).await?;
    put(store, &[("pg", Some("before")), ("ph", Some("behind"))]).await?;
    let prefix = key("pg/");
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.scan(&prefix, after.as_ref(), 4).await.map_err(|error| error.to_string())?;
        require(page.records.len() <= 4, "a page has at most as many records as asked for")?;
        seen.extend(page.records.iter().map(|(key, _)| key.clone()));
        after = page.records.last().map(|(key, _)| key.clone());
        if !page.more {
            break;
        }
    }
    let expected: Vec<Key> = names.iter().map(|name| key(name)).collect();
    require(seen == expected, "pages hold each key under the prefix once, in order")?;
    let none = store.scan(&key("nothing/"), None, 4).await.map_err(|error| error.to_string())?;
    require(none.records.is_empty() && !none.more, "a prefix without keys gives an empty page")
}
