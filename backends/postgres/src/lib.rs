//! Storage of ace-groupcomm in PostgreSQL: several KDCs share one, and each serves all groups.
//!
//! ```no_run
//! use ace_backend_postgres::{PostgresStorage, PostgresSettings};
//! use ace_groupcomm::traits::storage::{Key, Storage};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = PostgresStorage::open("postgres://kdc@db.example/kdc?sslmode=require", PostgresSettings::default()).await?;
//! let found = storage.read(&[Key::new("meta")]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it asks of the server
//!
//! Plain SQL: two tables and a sequence in a schema of their own, transactions that are serializable. A batch of commits
//! is one transaction: it reads what they expect, judges them one after the other, and writes what all of them change. A
//! serialization failure (40001, 40P01) is a definite abort and is tried again; a commit whose answer is lost is unknown,
//! and never tried again.
//!
//! A server that may lose what it has acknowledged is refused ([`OpenError::Unsafe`]): `fsync` or
//! `synchronous_commit` off, a server in recovery, or one that took over from another that did not wait for a synchronous
//! standby, so that commits may be missing. The last is a restore: see [`PostgresSettings::accept_timeline`]. Where there are
//! several standbys, it is for whoever promotes one to choose a synchronous one. A server whose sequences give each
//! connection numbers of its own is refused, too.
//!
//! Connections use TLS with the system's certificates or those of [`PostgresSettings::certificates`]; the URL's `sslmode` says
//! whether they must. Each is made again when it is lost, and nothing waits longer than [`PostgresSettings::patience`].

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::print_stdout
    )
)]

mod commit;
mod error;
mod link;
mod rows;
mod schema;
mod settings;
mod snapshot;
mod storage;
mod tls;

pub use error::OpenError;
pub use settings::PostgresSettings;
pub use storage::PostgresStorage;
