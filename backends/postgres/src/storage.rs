//! Storage in PostgreSQL.

use crate::commit::Committer;
use crate::error::{OpenError, unavailable, words};
use crate::link::{Connection, Link, Server};
use crate::rows::{one_more, page, record};
use crate::settings::PostgresSettings;
use crate::snapshot::Moment;
use crate::tls;
use ace_groupcomm::traits::storage::{CommitOutcome, Key, Page, Record, Sharing, Snapshot, Storage, StorageError, Txn};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Row};

/// Storage in PostgreSQL; see the crate's documentation.
pub struct PostgresStorage {
    server: Arc<Server>,
    reads: Link,
    committer: Committer,
}

impl std::fmt::Debug for PostgresStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStorage").finish_non_exhaustive()
    }
}

impl PostgresStorage {
    /// Opens the storage of this URL, `postgres://USER@HOST/DATABASE`, and makes its tables where they are not there.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(url: &str, settings: PostgresSettings) -> Result<Self, OpenError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if settings.schema.is_empty() || !settings.schema.bytes().all(fits) {
            return Err(OpenError::Url(format!("schema {:?} must be letters, digits or _", settings.schema)));
        }
        let config: Config = url.parse().map_err(|error: tokio_postgres::Error| OpenError::Url(words(&error)))?;
        let tls = tls::connector(settings.certificates.as_deref())?;
        let server = Arc::new(Server::new(config, tls, settings));
        server.prepare().await?;
        let committer = Committer::new(Link::new(Arc::clone(&server)), server.settings.patience);
        Ok(Self { reads: Link::new(Arc::clone(&server)), committer, server })
    }

    /// What became of a read on the connection for reads.
    async fn rows(
        &self,
        connection: &Arc<Connection>,
        query: impl Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send,
    ) -> Result<Vec<Row>, StorageError> {
        match timeout(self.server.settings.patience, query).await {
            Ok(rows) => rows.map_err(|error| unavailable(words(&error))),
            Err(_) => {
                self.reads.give_up(connection).await;
                Err(unavailable("the database does not answer in time"))
            }
        }
    }
}

/// The first key behind all that begin with this prefix; none where there is no such key.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=kept)?.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    Some(end)
}

#[async_trait]
impl Storage for PostgresStorage {
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StorageError> {
        let names: Vec<&[u8]> = keys.iter().map(Key::as_bytes).collect();
        let connection = self.reads.connection().await?;
        let parameters: [&(dyn ToSql + Sync); 1] = [&names];
        let rows = self.rows(&connection, connection.client.query(&connection.read, &parameters)).await?;
        let found: std::collections::HashMap<Key, Record> = rows.iter().map(record).collect::<Result<_, _>>()?;
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let (from, end) = (after.unwrap_or(prefix).as_bytes(), end_of(prefix.as_bytes()));
        let is_behind = after.is_some();
        let most = one_more(limit);
        let connection = self.reads.connection().await?;
        let parameters: [&(dyn ToSql + Sync); 4] = [&from, &is_behind, &end, &most];
        let rows = self.rows(&connection, connection.client.query(&connection.scan, &parameters)).await?;
        page(&rows, limit)
    }

    async fn commit(&self, txns: Vec<Txn>) -> Vec<CommitOutcome> {
        self.committer.commit(&txns).await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        Ok(Box::new(Moment::begin(&self.server).await?))
    }

    fn sharing(&self) -> Sharing {
        Sharing::Shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next() {
        assert_eq!(end_of(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end_of(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!((end_of(&[0xff, 0xff]), end_of(b"")), (None, None));
    }
}
