//! What has nothing to show, or secrets, shows its name alone.

use crate::{Opened, Running, Serving, StorageOf};
use ace_groupcomm::opaque_debug;

opaque_debug! {
    "Opened": Opened,
    "Running": Running,
    "Serving": Serving<'_>,
    "StorageOf": StorageOf<'_>,
}
