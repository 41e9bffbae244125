//! The suites that every storage backend passes: [`suite`] over one storage, [`reopening_suite`] over one that is closed and opened
//! again.
//!
//! ```
//! use ace_groupcomm::testkit::{TestStore, storage::suite};
//! use ace_groupcomm::traits::storage::Sharing;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), String> {
//! suite(&TestStore::new(Sharing::Exclusive)).await
//! # }
//! ```

mod reopen;

pub use reopen::reopening_suite;

use crate::traits::storage::{CommitOutcome, Key, Page, Record, Revision, Storage, StorageError, Txn};
use bytes::Bytes;

use super::{Failure, require};

fn key(text: &str) -> Key {
    Key::new(text.as_bytes().to_vec())
}

fn write(entries: &[(&str, Option<&str>)]) -> Vec<(Key, Option<Bytes>)> {
    entries.iter().map(|(k, v)| (key(k), v.map(|v| Bytes::copy_from_slice(v.as_bytes())))).collect()
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
    any_bytes(store).await?;
    expectations(store).await?;
    absences(store).await?;
    revisions_grow(store).await?;
    batches(store).await?;
    one_key_twice_in_a_batch(store).await?;
    pages(store).await?;
    full_pages(store).await?;
    prefixes(store).await?;
    snapshots(store).await
}

/// Reads pages until there are no more. A store that never says so is caught, and does not keep the suite.
async fn drain(
    page: impl AsyncFn(Option<&Key>) -> Result<Page, StorageError>,
    from: Option<Key>,
    limit: usize,
) -> Result<Vec<(Key, Record)>, Failure> {
    let (mut seen, mut after): (Vec<(Key, Record)>, _) = (Vec::new(), from);
    loop {
        let page = page(after.as_ref()).await.map_err(|error| error.to_string())?;
        require(page.records.len() <= limit, "a page has at most as many records as asked for")?;
        require(!page.more || !page.records.is_empty(), "a page that says there are more has at least one")?;
        for (key, record) in page.records {
            require(
                after.as_ref().is_none_or(|last| *last < key),
                "keys ascend, and lie behind the one that was named",
            )?;
            after = Some(key.clone());
            seen.push((key, record));
        }
        if !page.more {
            return Ok(seen);
        }
    }
}

async fn scanned(store: &dyn Storage, prefix: &Key, limit: usize) -> Result<Vec<Key>, Failure> {
    let page = async |after: Option<&Key>| store.scan(prefix, after, limit).await;
    Ok(drain(page, None, limit).await?.into_iter().map(|(key, _)| key).collect())
}

async fn snapshots(store: &dyn Storage) -> Result<(), Failure> {
    put(store, &[("sn/a", Some("1")), ("sn/b", Some("1")), ("sn/c", Some("1"))]).await?;
    let snapshot = store.snapshot().await.map_err(|error| error.to_string())?;
    for round in 0..50 {
        put(store, &[("sn/a", Some("2")), ("sn/b", None), ("sn/d", Some("2"))]).await?;
        let later = store.snapshot().await.map_err(|error| error.to_string())?;
        put(store, &[("sn/b", Some("3"))]).await?;
        drop(later);
        let page = async |after: Option<&Key>| snapshot.page(after, 2).await;
        let read = drain(page, Some(key("sn/")), 2).await?;
        let of_test = read.into_iter().filter(|(name, _)| name.starts_with(&key("sn/")));
        let seen: Vec<_> = of_test.map(|(name, record)| (name, record.value)).collect();
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
    require(read == expected, "records come in the order in which they were asked for, with the commit's revision")
}

/// Keys and values are bytes: long ones, none, and those that end a string or an order.
async fn any_bytes(store: &dyn Storage) -> Result<(), Failure> {
    let keys = [
        &b"by/\0"[..],
        b"by/\0\0",
        b"by/a",
        b"by/a\0",
        b"by/\xff",
        b"by/\xff\xff",
        &[b"by/".as_slice(), &[7; 300]].concat(),
    ];
    let value = |number: usize| Bytes::from(vec![u8::try_from(number).unwrap_or(0); number.saturating_mul(700)]);
    let keys: Vec<Key> = keys.into_iter().map(|key| Key::new(key.to_vec())).collect();
    let write = keys.iter().enumerate().map(|(number, key)| (key.clone(), Some(value(number)))).collect();
    let outcome = store.commit(vec![Txn { expect: Vec::new(), write }]).await;
    require(matches!(outcome.as_slice(), [CommitOutcome::Done(_)]), "any bytes are a key, and any a value")?;
    let read = store.read(&keys).await.map_err(|error| error.to_string())?;
    let values = read.into_iter().enumerate().map(|(number, record)| record.is_some_and(|r| r.value == value(number)));
    require(values.into_iter().all(|same| same), "keys and values are bytes, and come back as they were")?;
    let mut expected = keys;
    expected.sort();
    require(scanned(store, &key("by/"), 3).await? == expected, "keys are ordered by their bytes")
}

/// What is not there can be expected and removed.
async fn absences(store: &dyn Storage) -> Result<(), Failure> {
    put(store, &[("ab/a", Some("1"))]).await?;
    put(store, &[("ab/a", None), ("ab/none", None)]).await?;
    let absent = vec![(key("ab/a"), None), (key("ab/none"), None)];
    let outcome = store.commit(vec![Txn { expect: absent, write: Vec::new() }]).await;
    require(matches!(outcome.as_slice(), [CommitOutcome::Done(_)]), "what was removed is absent, written or not")?;
    require(scanned(store, &key("ab/"), 4).await?.is_empty(), "a scan does not show what was removed")
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
    let [CommitOutcome::Done(first), _, CommitOutcome::Done(last)] = outcome.as_slice() else {
        return Err("transactions of one call have a verdict each".into());
    };
    let read = store.read(&[key("ba/a"), key("ba/b")]).await.map_err(|error| error.to_string())?;
    let record = |revision: &Revision| Some(Record { revision: *revision, value: Bytes::from_static(b"x") });
    require(read == [record(first), record(last)], "what is said to be done is there, whatever became of the others")?;
    require(store.commit(Vec::new()).await.is_empty(), "no transactions, no verdicts")
}

/// Transactions of one call see each other, and each has a revision of its own.
async fn one_key_twice_in_a_batch(store: &dyn Storage) -> Result<(), Failure> {
    let of = |value: &str| Txn { expect: Vec::new(), write: write(&[("tw/a", Some(value))]) };
    let absent = Txn { expect: vec![(key("tw/a"), None)], write: write(&[("tw/a", Some("3"))]) };
    let outcome = store.commit(vec![of("1"), absent, of("2")]).await;
    let [CommitOutcome::Done(first), CommitOutcome::Conflict(found), CommitOutcome::Done(second)] = outcome.as_slice()
    else {
        return Err(format!("a transaction sees what those before it in its batch have written: {outcome:?}"));
    };
    let there = |revision: &Revision, value| Some(Record { revision: *revision, value: Bytes::from_static(value) });
    require(
        *found == [(key("tw/a"), there(first, b"1"))],
        "a conflict shows what the transaction before it has written",
    )?;
    require(second > first, "each transaction of a batch has a revision of its own")?;
    require(get(store, "tw/a").await? == there(second, b"2"), "the last write of a batch stays")
}

async fn pages(store: &dyn Storage) -> Result<(), Failure> {
    let names: Vec<String> = (0..10).map(|n| format!("pg/{n}")).collect();
    let entries: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), Some("v"))).collect();
    put(store, &entries).await?;
    put(store, &[("pg", Some("before")), ("ph", Some("behind"))]).await?;
    let prefix = key("pg/");
    let seen = scanned(store, &prefix, 4).await?;
    let expected: Vec<Key> = names.iter().map(|name| key(name)).collect();
    require(seen == expected, "pages hold each key under the prefix once, in order")?;
    let none = store.scan(&key("nothing/"), None, 4).await.map_err(|error| error.to_string())?;
    require(none.records.is_empty() && !none.more, "a prefix without keys gives an empty page")
}

/// A page that is exactly full says whether more follow.
async fn full_pages(store: &dyn Storage) -> Result<(), Failure> {
    put(store, &[("fu/a", Some("1")), ("fu/b", Some("1")), ("fu/c", Some("1")), ("fu/d", Some("1"))]).await?;
    let (first, last) = (store.scan(&key("fu/"), None, 2).await, store.scan(&key("fu/"), Some(&key("fu/b")), 2).await);
    let (first, last) = (first.map_err(|error| error.to_string())?, last.map_err(|error| error.to_string())?);
    require(first.records.len() == 2 && first.more, "a full page before others says that there are more")?;
    require(last.records.len() == 2 && !last.more, "a full page that is the last one says so")
}

/// A prefix takes its own keys and no others, also where its last byte is the highest.
async fn prefixes(store: &dyn Storage) -> Result<(), Failure> {
    let names = [&b"pr\xfe"[..], b"pr\xff", b"pr\xff\0", b"pr\xff\xff\xff", b"ps"].map(|name| Key::new(name.to_vec()));
    let write = names.iter().map(|name| (name.clone(), Some(Bytes::from_static(b"v")))).collect();
    let outcome = store.commit(vec![Txn { expect: Vec::new(), write }]).await;
    require(matches!(outcome.as_slice(), [CommitOutcome::Done(_)]), "a commit without expectations is done")?;
    let found = scanned(store, &Key::new(b"pr\xff".to_vec()), 2).await?;
    require(found == names[1..4], "a prefix that ends in the highest byte has its own keys")?;
    let all = scanned(store, &Key::new(Vec::new()), 7).await?;
    require(names.iter().all(|name| all.contains(name)), "the empty prefix has all keys")
}
