//! The Key Distribution Center: tokens in, keys out (RFC 9594 section 4).
//!
//! [`Kdc`] is an engine with the KDC's handlers on it.
//!
//! | where | what |
//! | --- | --- |
//! | `app`, `event`, `start`, `tasks` | what the KDC holds in memory, what it does of its own accord |
//! | `command` | what an operator has it do |
//! | `group` | groups and their rules, as they are stored |
//! | `route`, `scene` | from a request to its handler: who calls, for which group |
//! | `resource` | a file for each resource of section 4.1 |
//! | `association` | associations with clients, and the bounds of those that are not proven |
//! | `token` | tokens that end, and whose issuers are trusted |
//! | `membership` | Sender IDs, and the end of a membership |
//! | `keying` | groups and their keying material |

mod app;
mod association;
mod command;
mod config;
mod delivery;
mod event;
mod group;
mod keying;
mod membership;
mod resource;
mod route;
mod scene;
mod start;
mod tasks;
mod token;

pub use app::Kdc;
pub use association::pending::PendingLimits;
pub use association::rate::PostLimits;
pub use config::{CHANGES_PER_HOUR, EXPIRY_NOTICE, GroupConfig, KdcConfig, SetupError};
pub(crate) use keying::policy;
pub use keying::restore::Restore;
pub(crate) use membership::stale::stale_under;
pub use resource::observe::{last_word, registrations};
pub use route::routes;
pub use start::{GroupDifferences, StartRefusal};

use app::KdcApp;
use association::pending::Pending;
use event::{Event, Task};
use group::Group;
