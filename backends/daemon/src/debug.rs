//! What has nothing to show, or secrets, shows its name alone.

use crate::{Opened, Running, Serving, StorageOf};
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
    "Opened": Opened,
    "Running": Running,
    "Serving": Serving<'_>,
    "StorageOf": StorageOf<'_>,
}
