//! Drives the engines of `ace-groupcomm` on tokio.
//!
//! [`spawn`] runs a KDC or an Authorization Server: it reads and commits, has signatures made and verified, keeps
//! the time, and hands answers back through a [`Handle`]. [`EngineService`] puts the handle behind CoAP; observations
//! that a former process has stored ([`registrations`](ace_groupcomm::kdc::registrations)) are for the server's
//! [`resume`](ace_backend_coap::Server::resume).
//!
//! [`MemberDriver`] runs a member: it keeps its state in a [`MemberStore`], and talks with AS and KDC over CoAP and OSCORE.
//!
//! ```
//! use ace_backend_memory::MemoryStorage;
//! use ace_backend_tokio::{Clock, CryptoPool, NoAssociations, spawn};
//! use ace_backend_aws_lc::AwsLc;
//! use ace_groupcomm::{Caller, Method, Request, Status};
//! use ace_groupcomm::kdc::Kdc;
//! use ace_groupcomm::testkit::{build, desk, toy};
//! use ace_groupcomm::traits::storage::Sharing;
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let validator = Box::new(build::validator(&["lamps"]));
//! let kdc = Kdc::new(desk::config(&["lamps"]), &toy::registry(), validator, Sharing::Exclusive, Arc::new(AwsLc))?;
//! let pool = CryptoPool::inline(Arc::new(AwsLc));
//! let (handle, task) =
//!     spawn(kdc, Arc::new(MemoryStorage::new()), Arc::new(NoAssociations), pool, Clock::system());
//! handle.ready().await?;
//!
//! let answer = handle.call(Caller::anonymous(), Request::new(Method::Get, ["ace-group", "lamps"])).await;
//! assert_eq!(answer.status, Status::Unauthorized);
//! handle.stop().await;
//! task.await?;
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)
)]

pub mod backup;
mod clock;
mod coap;
mod committer;
mod crypto_pool;
mod debug;
mod deliver;
mod driver;
mod member;
mod services;
mod table;
mod transports;

pub use clock::{Clock, OsRandom, os_random};
pub use coap::{EngineService, Followed};
pub use crypto_pool::CryptoPool;
pub use deliver::{Deliverer, NoDeliverer};
pub use driver::{Handle, Outside, Resolved, StartError, spawn, spawn_with};
pub use member::{
    MemberControl, MemberDriver, MemberHooks, MemberRunError, MemberServer, MemberServers, MemberStore, SeenExchange,
};
pub use services::{NoServices, Services};
pub use table::AssociationTable;
pub use transports::Transports;

use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use std::task::{Context, Poll};

/// Follows no notices: for an engine whose callers are known in another way.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAssociations;

impl Associations for NoAssociations {
    fn notice(&self, _notice: AssociationNotice) {}

    fn poll_needs(&self, _context: &mut Context<'_>) -> Poll<Vec<AssociationNeed>> {
        Poll::Pending
    }
}
