//! How a KDC is set up.

use crate::config::ConfigMap;
use crate::engine::Limits;
use crate::kdc::{PendingLimits, PostLimits};
use crate::registry::RegistryError;
use crate::traits::profile::ProfileFault;
use ace_groupcomm_messages::CreationHints;
use std::time::Duration;
use thiserror::Error;

/// One group as it is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConfig {
    /// The GROUPNAME.
    pub gname: String,
    /// The name of its application profile.
    pub profile: String,
    /// The parameters of the application profile, by name.
    pub parameters: ConfigMap,
}

/// How often in an hour a member may do what costs others, where nothing else is said.
pub const CHANGES_PER_HOUR: u32 = 6;

/// How long before its token ends a membership does, where nothing else is said.
pub const EXPIRY_NOTICE: Duration = Duration::from_secs(60);

/// How a KDC is set up.
#[derive(Clone, Debug)]
pub struct KdcConfig {
    /// Where clients get tokens: the hints of a 4.01.
    pub hints: CreationHints,
    /// The groups that are made at the start, where they are not there yet.
    pub groups: Vec<GroupConfig>,
    /// Bounds of the engine.
    pub limits: Limits,
    /// Bounds of associations that are not proven.
    pub pending: PendingLimits,
    /// How many token posts are looked at.
    pub posts: PostLimits,
    /// How often in an hour a member may leave, join again, or ask for another Sender ID or credential: above that, 4.29. A leave
    /// counts, and is never refused.
    pub changes_per_hour: u32,
    /// How long before its token ends a membership does: the member is told of it as long as the token is good. For a token that
    /// is good for less than ten times that it is a tenth of its life.
    pub expiry_notice: Duration,
    /// Whether it starts also where its issuers are others than those that storage knows. Clients that nobody vouches for
    /// any more are ended then; otherwise the start is refused ([`StartRefusal::Issuers`](crate::kdc::StartRefusal::Issuers)).
    pub accept_issuers: bool,
    /// Whether groups that are stored take the parameters that they are configured with here, where they can; otherwise the
    /// start is refused ([`StartRefusal::Parameters`](crate::kdc::StartRefusal::Parameters)). What members are told of comes with
    /// a new version.
    pub accept_parameters: bool,
}

impl KdcConfig {
    /// A KDC with these groups, and the bounds that fit most.
    #[must_use]
    pub fn new(hints: CreationHints, groups: Vec<GroupConfig>) -> Self {
        Self {
            hints,
            groups,
            limits: Limits::default(),
            pending: PendingLimits::default(),
            posts: PostLimits::default(),
            changes_per_hour: CHANGES_PER_HOUR,
            expiry_notice: EXPIRY_NOTICE,
            accept_issuers: false,
            accept_parameters: false,
        }
    }
}

/// Why a KDC cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A profile is not there.
    #[error("group {gname:?}: {source}")]
    Profile {
        /// The GROUPNAME.
        gname: String,
        /// What the registry or the profile says.
        source: RegistryError,
    },
    /// A parameter of a group is wrong.
    #[error("group {gname:?}: {source}")]
    Parameters {
        /// The GROUPNAME.
        gname: String,
        /// What the registry or the profile says.
        source: crate::config::ConfigError,
    },
    /// The profile of a group contradicts itself: whoever writes the profile has to mend it.
    #[error("group {gname:?}: the profile {profile:?} cannot be served: {fault}")]
    Unfit {
        /// The GROUPNAME.
        gname: String,
        /// The profile, by its name in the registry.
        profile: &'static str,
        /// The first contradiction that was found; its text says what to change.
        fault: ProfileFault,
    },
    /// Two groups have one name.
    #[error("group {0:?} is configured twice")]
    GroupTwice(String),
    /// A name that cannot be one path segment as it is.
    #[error("group name {0:?} must be 1 to 255 letters, digits or any of - . _ ~, and not . or ..")]
    GroupName(String),
    /// No transport profile is there.
    #[error("no transport profile is linked: clients could not reach the KDC")]
    NoTransport,
}
