//! The contract of storage on SQLite: revisions that only grow, commits that are checked against what they expect, and a file that
//! is one process's.

use ace_groupcomm::traits::storage::{
    CommitOutcome, Key, Page, Record, Revision, Sharing, Snapshot, Storage, StorageError, Txn,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const TABLES: &str = "
    PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS latest (revision INTEGER NOT NULL);
    INSERT INTO latest SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM latest);";

/// Storage in a file.
pub struct SqliteStorage {
    connection: Arc<Mutex<Connection>>,
    path: PathBuf,
    _lock: File,
}

fn failed(error: rusqlite::Error) -> StorageError {
    StorageError::Unavailable(error.to_string())
}

/// Does something with a connection, where it may block.
async fn on<T: Send + 'static>(
    connection: &Arc<Mutex<Connection>>,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StorageError> {
    let connection = Arc::clone(connection);
    let work = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner)).map_err(failed);
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(StorageError::Unavailable(error.to_string())))
}

fn get(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Record>> {
    let sql = "SELECT value, revision FROM records WHERE key = ?";
    connection.query_row(sql, [key.as_bytes()], |row| record(row, 0)).optional()
}

fn record(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Record> {
    let (value, revision): (Vec<u8>, i64) = (row.get(at)?, row.get(at + 1)?);
    Ok(Record { value: value.into(), revision: Revision(revision.unsigned_abs()) })
}

/// The keys behind one of them, or from one on, while they begin with the prefix.
fn page(connection: &Connection, prefix: &Key, after: Option<&Key>, limit: usize) -> rusqlite::Result<Page> {
    let sql =
        "SELECT key, value, revision FROM records WHERE key >= ?1 AND (?2 IS NULL OR key > ?2) ORDER BY key LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let rows = statement.query_map(params![prefix.as_bytes(), after.map(Key::as_bytes), wanted], |row| {
        Ok((Key::new(row.get::<_, Vec<u8>>(0)?), record(row, 1)?))
    })?;
    let is_below = |row: &rusqlite::Result<(Key, Record)>| {
        row.as_ref().map_or(true, |(key, _)| key.as_bytes().starts_with(prefix.as_bytes()))
    };
    let mut records = rows.take_while(is_below).collect::<rusqlite::Result<Vec<_>>>()?;
    let more = records.len() > limit;
    records.truncate(limit);
    Ok(Page { records, more })
}

/// One transaction among those of a batch.
fn apply(connection: &Connection, txn: Txn) -> rusqlite::Result<CommitOutcome> {
    let mut found = Vec::new();
    for (key, expected) in txn.expect {
        let stored = get(connection, &key)?;
        if stored.as_ref().map(|record| record.revision) != expected {
            found.push((key, stored));
        }
    }
    if !found.is_empty() {
        return Ok(CommitOutcome::Conflict(found));
    }
    let next = "UPDATE latest SET revision = revision + 1 RETURNING revision";
    let revision: i64 = connection.query_row(next, [], |row| row.get(0))?;
    for (key, value) in txn.write {
        let put = "INSERT OR REPLACE INTO records VALUES (?, ?, ?)";
        match value {
            Some(value) => connection.execute(put, params![key.as_bytes(), &value[..], revision])?,
            None => connection.execute("DELETE FROM records WHERE key = ?", [key.as_bytes()])?,
        };
    }
    Ok(CommitOutcome::Done(Revision(revision.unsigned_abs())))
}

impl SqliteStorage {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let lock = File::create(path.with_extension("lock"));
        let lock = lock.map_err(|error| StorageError::Unavailable(error.to_string()))?;
        lock.try_lock().map_err(|_| StorageError::Unavailable("another process has the file".into()))?;
        let connection = Connection::open(path).map_err(failed)?;
        connection.execute_batch(TABLES).map_err(failed)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), path: path.into(), _lock: lock })
    }
}

#[async_trait]
impl Storage for SqliteStorage {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        let keys = keys.to_vec();
        on(&self.connection, move |connection| keys.iter().map(|key| get(connection, key)).collect()).await
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let (prefix, after) = (prefix.clone(), after.cloned());
        on(&self.connection, move |connection| page(connection, &prefix, after.as_ref(), limit)).await
    }

    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome> {
        let count = txns.len();
        let done = on(&self.connection, move |connection| {
            let batch = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcomes = txns.into_iter().map(|txn| apply(&batch, txn)).collect::<rusqlite::Result<Vec<_>>>()?;
            batch.commit()?;
            Ok(outcomes)
        });
        // Whether a commit that has failed is in the file nobody knows.
        done.await.unwrap_or_else(|error| vec![CommitOutcome::Unknown(error); count])
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        let connection = Connection::open(&self.path).map_err(failed)?;
        // What the first read sees is what all see.
        connection.execute_batch("BEGIN; SELECT 1 FROM latest").map_err(failed)?;
        Ok(Box::new(OneMoment(Arc::new(Mutex::new(connection)))))
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

/// A read transaction on a connection of its own.
struct OneMoment(Arc<Mutex<Connection>>);

#[async_trait]
impl Snapshot for OneMoment {
    async fn page(&self, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let after = after.cloned();
        on(&self.0, move |connection| page(connection, &Key::new(Vec::new()), after.as_ref(), limit)).await
    }
}
