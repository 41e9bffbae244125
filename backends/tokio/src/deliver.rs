//! Requests that an engine sends to clients.

use ace_groupcomm::delivery::{Delivered, Delivery};
use async_trait::async_trait;

/// Sends requests to clients, under the association that each is for. [`Followed`](crate::Followed) is one, over CoAP.
///
/// One that notes what it is given, and has all of it confirmed:
///
/// ```
/// use ace_backend_tokio::Deliverer;
/// use ace_groupcomm::delivery::{Delivered, Delivery};
/// use std::sync::{Mutex, PoisonError};
///
/// #[derive(Default)]
/// struct Noted(Mutex<Vec<Delivery>>);
///
/// #[ace_groupcomm::async_trait]
/// impl Deliverer for Noted {
///     async fn deliver(&self, delivery: Delivery) -> Delivered {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
///         Delivered::Confirmed
///     }
/// }
/// ```
#[async_trait]
pub trait Deliverer: Send + Sync {
    /// Sends it now, or not at all, and says what has become of it. Its future is dropped when the delivery's patience is over.
    async fn deliver(&self, delivery: Delivery) -> Delivered;
}

/// Sends nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDeliverer;

#[async_trait]
impl Deliverer for NoDeliverer {
    async fn deliver(&self, _delivery: Delivery) -> Delivered {
        Delivered::NotSent
    }
}
