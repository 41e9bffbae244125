//! Commits: all that wait are one transaction, with a verdict for each.

use crate::error::{is_definite_abort, unavailable, words};
use crate::link::{BEGIN, Connection, Link};
use crate::rows::record;
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Record, Revision, StorageError, Txn};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

/// How often a transaction is tried that was undone for the sake of others.
const TRIES: u32 = 20;

/// The exponent of the longest pause between two tries, in milliseconds.
const LONGEST_PAUSE: u32 = 6;

/// Spreads numbers that follow on each other: 2^64 by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Commits on a connection of its own.
pub(crate) struct Committer {
    link: Link,
    patience: Duration,
    /// Held by the transaction that is on the connection: there is one at a time.
    turn: Mutex<()>,
    /// A number that was drawn: no other process has drawn it.
    drawn: AtomicU64,
}

/// How a transaction ended that was not committed.
enum Ended {
    /// It was undone for the sake of others.
    Aborted,
    /// It did not happen.
    NotDone(String),
    /// Nobody knows.
    Unknown(String),
}

/// What stands, or will stand, under the keys of a batch.
type Found = BTreeMap<Key, Record>;

/// What a batch comes to: a verdict for each, and what is written. The revision comes later.
struct Judged {
    verdicts: Vec<Verdict>,
    write: BTreeMap<Key, (usize, Option<Bytes>)>,
}

enum Verdict {
    /// The place of its revision among those of the batch.
    Goes(usize),
    Conflict(Vec<(Key, Option<Record>)>),
}

/// Judges transactions one after the other, each on what the ones before change.
fn judge(txns: &[Txn], found: &Found, revisions: &[Revision]) -> Judged {
    let mut now = found.clone();
    let mut judged = Judged { verdicts: Vec::with_capacity(txns.len()), write: BTreeMap::new() };
    let mut going = 0_usize;
    for txn in txns {
        let stands = |key: &Key| now.get(key).map(|record| record.revision);
        let failed: Vec<_> = txn.expect.iter().filter(|(key, expected)| stands(key) != *expected).collect();
        let revision = revisions.get(going).copied();
        let Some(revision) = revision.filter(|_| failed.is_empty()) else {
            let failed = failed.into_iter().map(|(key, _)| (key.clone(), now.get(key).cloned())).collect();
            judged.verdicts.push(Verdict::Conflict(failed));
            continue;
        };
        for (key, value) in &txn.write {
            match value {
                Some(value) => drop(now.insert(key.clone(), Record { revision, value: value.clone() })),
                None => drop(now.remove(key)),
            }
            judged.write.insert(key.clone(), (going, value.clone()));
        }
        judged.verdicts.push(Verdict::Goes(going));
        going = going.saturating_add(1);
    }
    judged
}

impl Committer {
    pub(crate) fn new(link: Link, patience: Duration) -> Self {
        Self { link, patience, turn: Mutex::default(), drawn: AtomicU64::new(0) }
    }

    pub(crate) async fn commit(&self, txns: &[Txn]) -> Vec<CommitOutcome> {
        let all = |outcome: CommitOutcome| vec![outcome; txns.len()];
        if txns.is_empty() {
            return Vec::new();
        }
        let _turn = self.turn.lock().await;
        for attempt in 0..TRIES {
            pause(attempt, self.drawn.load(Ordering::Relaxed)).await;
            let connection = match self.link.connection().await {
                Ok(connection) => connection,
                Err(error) => return all(CommitOutcome::NotDone(error)),
            };
            match self.once(&connection, txns).await {
                Ok(outcomes) => return outcomes,
                Err(Ended::Aborted) => (),
                // Nobody knows what such a connection is in the middle of.
                Err(Ended::NotDone(why)) => {
                    self.link.give_up(&connection).await;
                    return all(CommitOutcome::NotDone(unavailable(why)));
                }
                Err(Ended::Unknown(why)) => {
                    self.link.give_up(&connection).await;
                    return all(CommitOutcome::Unknown(unavailable(why)));
                }
            }
        }
        all(CommitOutcome::NotDone(unavailable("others were faster, again and again")))
    }

    /// Tries it once.
    async fn once(&self, connection: &Connection, txns: &[Txn]) -> Result<Vec<CommitOutcome>, Ended> {
        let silent = || "the database does not answer in time".to_owned();
        let read = timeout(self.patience, read(connection, txns)).await;
        let (found, revisions) = match read.unwrap_or_else(|_| Err(Ended::NotDone(silent()))) {
            Ok(read) => read,
            Err(Ended::Aborted) => {
                let undone = timeout(self.patience, connection.client.batch_execute("ROLLBACK")).await;
                let undone = undone.map_err(|_| Ended::NotDone(silent()))?;
                return Err(undone.map_or_else(|error| Ended::NotDone(words(&error)), |()| Ended::Aborted));
            }
            Err(ended) => return Err(ended),
        };
        if let Some(last) = revisions.last() {
            self.drawn.store(last.0, Ordering::Relaxed);
        }
        let judged = judge(txns, &found, &revisions);
        let written = timeout(self.patience, write(connection, &judged, &revisions)).await;
        written.unwrap_or_else(|_| Err(Ended::Unknown(silent())))?;
        let happened = |verdict| match verdict {
            Verdict::Conflict(found) => CommitOutcome::Conflict(found),
            Verdict::Goes(place) => match revisions.get(place) {
                Some(revision) => CommitOutcome::Done(*revision),
                None => CommitOutcome::Unknown(unavailable("a revision is missing")),
            },
        };
        Ok(judged.verdicts.into_iter().map(happened).collect())
    }
}

/// Waits before another try, longer each time, and not as long as who has drawn another number: those who undid each
/// other would do so again.
async fn pause(attempt: u32, drawn: u64) {
    if attempt > 0 {
        let most = 1_000_u64 << attempt.min(LONGEST_PAUSE);
        let spread = drawn.wrapping_mul(SPREAD).wrapping_shr(32).checked_rem(most).unwrap_or(0);
        tokio::time::sleep(Duration::from_micros(spread)).await;
    }
}

/// How a transaction ended of which a statement before the commit failed.
fn undone(error: &Error) -> Ended {
    if is_definite_abort(error) { Ended::Aborted } else { Ended::NotDone(words(error)) }
}

/// Begins, and reads what is expected, in one journey. Numbers are taken behind the moment that is read: so they grow in
/// the order of commits.
async fn read(connection: &Connection, txns: &[Txn]) -> Result<(Found, Vec<Revision>), Ended> {
    let Connection { client, read, numbers, .. } = connection;
    let expected: BTreeSet<&[u8]> = txns.iter().flat_map(|txn| &txn.expect).map(|(key, _)| key.as_bytes()).collect();
    let expected: Vec<&[u8]> = expected.into_iter().collect();
    let count = i64::try_from(txns.len()).map_err(|_| Ended::NotDone("too many commits at once".into()))?;
    let (of_read, of_numbers): ([&(dyn ToSql + Sync); 1], [&(dyn ToSql + Sync); 1]) = ([&expected], [&count]);
    let (begun, rows, drawn) =
        tokio::join!(client.batch_execute(BEGIN), client.query(read, &of_read), client.query(numbers, &of_numbers),);
    begun.map_err(|error| undone(&error))?;
    let (rows, drawn) = (rows.map_err(|error| undone(&error))?, drawn.map_err(|error| undone(&error))?);
    let corrupt = |error: StorageError| Ended::NotDone(error.to_string());
    let found: Found = rows.iter().map(record).collect::<Result<_, _>>().map_err(corrupt)?;
    let number = |row: &Row| u64::try_from(row.try_get::<_, i64>(0).ok()?).ok().map(Revision);
    let revisions: Option<Vec<Revision>> = drawn.iter().map(number).collect();
    let mut revisions = revisions.ok_or_else(|| Ended::NotDone("a revision cannot be read".into()))?;
    revisions.sort_unstable();
    Ok((found, revisions))
}

/// Writes what a batch changes, and commits, in one journey.
async fn write(connection: &Connection, judged: &Judged, revisions: &[Revision]) -> Result<(), Ended> {
    let (mut keys, mut numbers, mut values, mut gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, (place, value)) in &judged.write {
        match value {
            Some(value) => {
                let revision = revisions.get(*place).map_or(0, |revision| revision.0);
                keys.push(key.as_bytes());
                numbers.push(i64::try_from(revision).unwrap_or(i64::MAX));
                values.push(value.as_ref());
            }
            None => gone.push(key.as_bytes()),
        }
    }
    let Connection { client, put, delete, .. } = connection;
    let (of_put, of_delete): ([&(dyn ToSql + Sync); 3], [&(dyn ToSql + Sync); 1]) =
        ([&keys, &numbers, &values], [&gone]);
    let putting = async { if keys.is_empty() { Ok(0) } else { client.execute(put, &of_put).await } };
    let deleting = async { if gone.is_empty() { Ok(0) } else { client.execute(delete, &of_delete).await } };
    let (put, deleted, committed) = tokio::join!(putting, deleting, client.batch_execute("COMMIT"));
    // A statement that the server refused has undone it all, whatever it was told behind that.
    if let Some(error) = put.err().or(deleted.err()) {
        return Err(match (error.as_db_error(), &committed) {
            (Some(_), Ok(())) => undone(&error),
            _ => Ended::Unknown(words(&error)),
        });
    }
    match committed {
        Ok(()) => Ok(()),
        Err(error) if is_definite_abort(&error) => Err(Ended::Aborted),
        Err(error) => Err(Ended::Unknown(words(&error))),
    }
}
