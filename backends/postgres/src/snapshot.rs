//! Everything at one moment: a transaction that only reads, on a connection of its own.

use crate::error::{unavailable, words};
use crate::link::Server;
use crate::rows::{one_more, page};
use ace_groupcomm::traits::storage::{Key, Page, Snapshot, StorageError};
use async_trait::async_trait;
use tokio::time::timeout;
use tokio_postgres::Client;

/// A transaction that shows one moment. It ends with its connection, when this is dropped.
pub(crate) struct Moment {
    client: Client,
    patience: std::time::Duration,
}

impl Moment {
    pub(crate) async fn begin(server: &Server) -> Result<Self, StorageError> {
        let client = server.connect().await.map_err(|error| unavailable(error.to_string()))?;
        let failed = |error: tokio_postgres::Error| unavailable(words(&error));
        // The moment is that of the first statement; who reads may take its time between pages.
        let first = "SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                     SELECT 1 FROM record LIMIT 1";
        let begun = timeout(server.settings.patience, client.batch_execute(first)).await;
        begun.map_err(|_| unavailable("the database does not answer in time"))?.map_err(failed)?;
        Ok(Self { client, patience: server.settings.patience })
    }
}

#[async_trait]
impl Snapshot for Moment {
    async fn page(&self, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let after = after.map(Key::as_bytes);
        let most = one_more(limit);
        let query = "SELECT key, revision, value FROM record WHERE $1::bytea IS NULL OR key > $1 ORDER BY key LIMIT $2";
        let rows = timeout(self.patience, self.client.query(query, &[&after, &most])).await;
        let rows = rows.map_err(|_| unavailable("the database does not answer in time"))?;
        page(&rows.map_err(|error| unavailable(words(&error)))?, limit)
    }
}
