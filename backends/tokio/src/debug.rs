//! What has nothing to show, or secrets, shows its name alone.

use crate::backup::Reader;
use crate::{Clock, CryptoPool, EngineService, Followed, Handle, MemberDriver, MemberHooks, Transports};
use ace_groupcomm::opaque_debug;
use std::fmt;

opaque_debug! {
    "Clock": Clock,
    "CryptoPool": CryptoPool,
    "EngineService": EngineService,
    "Followed": Followed,
    "Handle": Handle,
    "MemberHooks": MemberHooks<'_>,
    "Transports": Transports,
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for MemberDriver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberDriver").finish_non_exhaustive()
    }
}
