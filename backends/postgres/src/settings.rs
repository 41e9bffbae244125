//! How PostgreSQL is used.

use ace_groupcomm::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// How PostgreSQL is used.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// The schema with the tables, which is made where it is not there: letters, digits and `_`.
    pub schema: String,
    /// A PEM file with the certificates of those that may vouch for the server; the system's where absent.
    pub certificates: Option<PathBuf>,
    /// The password, where it is not in the URL.
    pub password: Option<Secret>,
    /// For how long anything is waited for.
    pub patience: Duration,
    /// That another server took over from one without a synchronous standby is known, and nothing was lost, or a restore has
    /// followed: the timeline that it is on now.
    pub accept_timeline: Option<i32>,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            schema: "ace_groupcomm".into(),
            certificates: None,
            password: None,
            patience: Duration::from_secs(10),
            accept_timeline: None,
        }
    }
}
