//! What has nothing to show, or secrets, shows its name alone.

use crate::auth_server::AuthServer;
use crate::check::Check;
use crate::engine::store::view::View;
use crate::kdc::{Kdc, Restore};
use crate::member::{Member, Setup};
use crate::registry::Registry;
use crate::traits::profile::{OwnChanges, OwnRecords, ProfileJoin, ProfileJoined, ProfileOutcome, ProfileRequest};
use crate::traits::transport::Offer;

/// Implements `Debug` for types that show their name alone: because of secrets in them, or because there is nothing to
/// show.
///
/// ```
/// struct Door(#[allow(dead_code)] [u8; 16]);
///
/// ace_groupcomm::opaque_debug!("Door": Door);
/// assert_eq!(format!("{:?}", Door([7; 16])), "Door { .. }");
/// ```
#[macro_export]
macro_rules! opaque_debug {
    ($($name:literal: $type:ty),* $(,)?) => {$(
        impl ::core::fmt::Debug for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct($name).finish_non_exhaustive()
            }
        }
    )*};
}

opaque_debug! {
    "AuthServer": AuthServer,
    "Check": Check,
    "View": View<'_>,
    "Kdc": Kdc,
    "Restore": Restore,
    "Member": Member,
    "Setup": Setup,
    "Registry": Registry,
    "OwnChanges": OwnChanges,
    "OwnRecords": OwnRecords<'_, '_>,
    "ProfileJoin": ProfileJoin<'_, '_>,
    "ProfileJoined": ProfileJoined,
    "ProfileOutcome": ProfileOutcome,
    "ProfileRequest": ProfileRequest<'_, '_>,
    "Offer": Offer<'_>,
}
