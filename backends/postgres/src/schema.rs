//! The tables, their version, and servers that are refused.

use crate::error::{OpenError, words};
use crate::settings::PostgresSettings;
use tokio_postgres::{Client, Error};

/// The latest version of the tables.
const VERSION: i32 = 2;
/// The timeline that is written now. The control file has it only after a checkpoint.
const TIMELINE: &str = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer";
/// Held while tables are made: two processes that start at once do not meet.
const LOCK: i64 = 0x6163_6567_7263_6f6d;

fn server(error: &Error) -> OpenError {
    OpenError::Server(words(error))
}

/// Makes the tables where they are not there, or brings them to the latest version.
pub(crate) async fn migrate(client: &Client, settings: &PostgresSettings) -> Result<(), OpenError> {
    let schema = &settings.schema;
    let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK}); CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
    client.batch_execute(&begin).await.map_err(|error| server(&error))?;
    match steps(client).await {
        Ok(()) => client.batch_execute("COMMIT").await.map_err(|error| server(&error)),
        Err(error) => {
            let _ = client.batch_execute("ROLLBACK").await;
            Err(error)
        }
    }
}

async fn steps(client: &Client) -> Result<(), OpenError> {
    let there =
        client.query_one("SELECT to_regclass('about') IS NOT NULL", &[]).await.map_err(|error| server(&error))?;
    let found: i32 = if there.get(0) {
        client.query_one("SELECT version FROM about", &[]).await.map_err(|error| server(&error))?.get(0)
    } else {
        0
    };
    if found > VERSION {
        return Err(OpenError::Version { found, known: VERSION });
    }
    if found < 1 {
        // A sequence without a cache grows in the order in which numbers are taken.
        let first = format!(
            "CREATE TABLE about (version integer NOT NULL, timeline integer NOT NULL);
             CREATE TABLE record (key bytea PRIMARY KEY, revision bigint NOT NULL, value bytea NOT NULL);
             CREATE SEQUENCE revision CACHE 1;
             INSERT INTO about SELECT 1, {TIMELINE}"
        );
        client.batch_execute(&first).await.map_err(|error| server(&error))?;
    }
    if found < 2 {
        let second = "ALTER TABLE about ADD COLUMN synchronous boolean NOT NULL DEFAULT false;
             CREATE SEQUENCE order_probe CACHE 1;
             UPDATE about SET version = 2";
        client.batch_execute(second).await.map_err(|error| server(&error))?;
    }
    Ok(())
}

async fn setting(client: &Client, name: &str) -> Result<String, OpenError> {
    let row = client.query_one("SELECT current_setting($1)", &[&name]).await.map_err(|error| server(&error))?;
    Ok(row.get(0))
}

/// Refuses a server that may lose what it has acknowledged.
pub(crate) async fn refuse_unsafe(client: &Client) -> Result<(), OpenError> {
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        if setting(client, name).await? == "off" {
            return Err(OpenError::Unsafe(format!("{name} is off")));
        }
    }
    let row = client.query_one("SELECT pg_is_in_recovery()", &[]).await.map_err(|error| server(&error))?;
    if row.get(0) {
        return Err(OpenError::Unsafe("it is a standby".into()));
    }
    Ok(())
}

/// Refuses a server that took over from one that did not wait for a synchronous standby; notes which one this is.
pub(crate) async fn refuse_takeover(client: &Client, settings: &PostgresSettings) -> Result<(), OpenError> {
    let lines = format!(
        "SELECT timeline, synchronous, {TIMELINE}, current_setting('synchronous_standby_names') <> '' FROM about"
    );
    let row = client.query_one(&lines, &[]).await.map_err(|error| server(&error))?;
    let (known, waited): (i32, bool) = (row.get(0), row.get(1));
    let (now, waits): (i32, bool) = (row.get(2), row.get(3));
    if known != now {
        // What a synchronous standby had not got was not acknowledged.
        if !waited && settings.accept_timeline != Some(now) {
            return Err(OpenError::Unsafe(format!(
                "it is on timeline {now} and was on {known}: what was committed last may be missing, and no standby was \
                 synchronous"
            )));
        }
        tracing::warn!(known, now, "another database server has taken over");
    }
    if (known, waited) != (now, waits) {
        let note = "UPDATE about SET timeline = $1, synchronous = $2";
        client.execute(note, &[&now, &waits]).await.map_err(|error| server(&error))?;
    }
    Ok(())
}

/// Refuses a server that gives numbers in another order than they are asked for: revisions would go back. It is tried on
/// another sequence: each revision is a commit's.
pub(crate) async fn refuse_unordered(one: &Client, other: &Client) -> Result<(), OpenError> {
    let mut drawn = Vec::new();
    for client in [one, other, one] {
        let row = client.query_one("SELECT nextval('order_probe')", &[]).await.map_err(|error| server(&error))?;
        drawn.push(row.get::<_, i64>(0));
    }
    if drawn.is_sorted() {
        return Ok(());
    }
    let why = "its sequences keep numbers for each connection (CACHE, or ysql_sequence_cache_minval, is not 1)";
    Err(OpenError::Unsafe(why.into()))
}
