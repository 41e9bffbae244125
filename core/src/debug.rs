//! What has nothing to show, or secrets, shows its name alone.

use crate::auth_server::AuthServer;
use crate::check::Check;
use crate::engine::store::view::View;
use crate::kdc::{Kdc, Restore};
use crate::member::{Member, Setup};
use crate::registry::Registry;
use crate::traits::profile::{OwnChanges, OwnRecords, ProfileJoin, ProfileJoined, ProfileOutcome, ProfileRequest};
use crate::traits::transport::Offer;
use std::fmt;

macro_rules! opaque {
    ($($name:literal: $type:ty),* $(,)?) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name).finish_non_exhaustive()
            }
        }
    )*};
}

opaque! {
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
