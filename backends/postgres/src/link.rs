//! One connection, made when it is needed, and made again when it is lost.

use crate::error::{OpenError, unavailable, words};
use crate::schema;
use crate::settings::PostgresSettings;
use ace_groupcomm::traits::storage::StorageError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How connections are made.
pub(crate) struct Server {
    config: Config,
    tls: MakeRustlsConnect,
    pub(crate) settings: PostgresSettings,
}

impl Server {
    pub(crate) fn new(mut config: Config, tls: MakeRustlsConnect, settings: PostgresSettings) -> Self {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(settings.patience);
        }
        if let Some(password) = &settings.password {
            config.password(password.expose());
        }
        if config.get_application_name().is_none() {
            config.application_name("ace-groupcomm");
        }
        config.keepalives_idle(Duration::from_secs(30));
        Self { config, tls, settings }
    }

    /// What has to end in time.
    async fn in_time<T>(&self, doing: impl Future<Output = Result<T, OpenError>>) -> Result<T, OpenError> {
        let done = tokio::time::timeout(self.settings.patience, doing).await;
        done.unwrap_or_else(|_| Err(OpenError::Server("no answer in time".into())))
    }

    /// A new connection to a server that loses nothing.
    pub(crate) async fn connect(&self) -> Result<Client, OpenError> {
        self.in_time(async {
            let client = self.connect_first().await?;
            schema::refuse_takeover(&client, &self.settings).await?;
            Ok(client)
        })
        .await
    }

    /// Makes the tables where they are not there, and looks whether the server can be used.
    pub(crate) async fn prepare(&self) -> Result<(), OpenError> {
        let client = self.in_time(self.connect_first()).await?;
        self.in_time(schema::migrate(&client, &self.settings)).await?;
        let other = self.connect().await?;
        self.in_time(schema::refuse_unordered(&client, &other)).await
    }

    /// A connection; the tables may not be there yet.
    async fn connect_first(&self) -> Result<Client, OpenError> {
        let server = |error: &tokio_postgres::Error| OpenError::Server(words(error));
        let (client, connection) = self.config.connect(self.tls.clone()).await.map_err(|error| server(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = words(&error), "a connection to the database has ended");
            }
        });
        // The server gives up a little sooner than who waits for it.
        let patience = self.settings.patience.mul_f32(0.8);
        let set = format!(
            "SET statement_timeout = {0}; SET lock_timeout = {0}; SET idle_in_transaction_session_timeout = {1}; SET \
             search_path = \"{2}\"",
            patience.as_millis(),
            self.settings.patience.saturating_mul(4).as_millis(),
            self.settings.schema,
        );
        client.batch_execute(&set).await.map_err(|error| server(&error))?;
        schema::refuse_unsafe(&client).await?;
        // A commit is done when a standby that counts has it, whatever is the rule for others.
        let strict = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') \
                      IN ('local', 'remote_write')";
        client.batch_execute(strict).await.map_err(|error| server(&error))?;
        Ok(client)
    }
}

/// A connection, with what is asked on it again and again.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) read: Statement,
    pub(crate) scan: Statement,
    pub(crate) numbers: Statement,
    pub(crate) put: Statement,
    pub(crate) delete: Statement,
}

impl Connection {
    async fn new(client: Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            read: client.prepare("SELECT key, revision, value FROM record WHERE key = ANY($1)").await?,
            scan: client
                .prepare(
                    "SELECT key, revision, value FROM record WHERE key >= $1 AND NOT ($2 AND key = $1) AND ($3::bytea IS \
                     NULL OR key < $3) ORDER BY key LIMIT $4",
                )
                .await?,
            numbers: client.prepare("SELECT nextval('revision') FROM generate_series(1, $1::bigint)").await?,
            put: client
                .prepare(
                    "INSERT INTO record (key, revision, value) SELECT * FROM unnest($1::bytea[], $2::bigint[], \
                     $3::bytea[]) ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, value = excluded.value",
                )
                .await?,
            delete: client.prepare("DELETE FROM record WHERE key = ANY($1)").await?,
            client,
        })
    }
}

/// A connection that is made when somebody needs it.
pub(crate) struct Link {
    server: Arc<Server>,
    kept: Mutex<Option<Arc<Connection>>>,
}

impl Link {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self { server, kept: Mutex::new(None) }
    }

    /// The connection.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, StorageError> {
        let mut kept = self.kept.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.client.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let client = self.server.connect().await.map_err(|error| unavailable(error.to_string()))?;
        let connection = tokio::time::timeout(self.server.settings.patience, Connection::new(client)).await;
        let connection = connection.map_err(|_| unavailable("the database does not answer in time"))?;
        let connection = Arc::new(connection.map_err(|error| unavailable(words(&error)))?);
        *kept = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// This connection is used no more: something on it did not end as it should.
    pub(crate) async fn give_up(&self, connection: &Arc<Connection>) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            *kept = None;
        }
    }
}

/// Begins a transaction that writes.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE";
