//! What has nothing to show, or secrets, shows its name alone.

use crate::{Client, Endpoint, Observation, Server};
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
    "Endpoint": Endpoint,
    "Observation": Observation,
    "Server": Server,
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.server()).finish_non_exhaustive()
    }
}
