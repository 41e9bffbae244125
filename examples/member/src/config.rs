//! The member's configuration file.

use ace_backend_aws_lc::AwsLc;
use ace_backend_daemon::{Loaded, ProgramError, SecretHex, StaticContext, check_keys};
use ace_backend_tokio::MemberControl;
use ace_groupcomm::Roles;
use ace_groupcomm::config::{ConfigError, ConfigMap};
use ace_groupcomm::registry::{ApplicationProfileDescriptor, Registry};
use ace_groupcomm::traits::member::MemberRules;
use ace_profile_group_oscore::DESCRIPTOR;
use ace_profile_pubsub as _;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The configuration file of `ace-member`, in TOML.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The client's name at the AS.
    pub name: String,
    /// Where the state is kept; beside the configuration file where it is not absolute.
    pub state: PathBuf,
    /// Where the AS is, and how this client is known there.
    #[serde(rename = "as")]
    pub auth_server: AuthServer,
    /// The Key Distribution Center.
    pub kdc: Kdc,
    /// The group to join, and the roles to take.
    pub group: GroupConfig,
    /// Who the member is in the group: what the profile wants to know of a member.
    pub identity: ConfigMap,
}

/// Where the AS is, and how this client is known there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthServer {
    /// The address and UDP port.
    pub address: SocketAddr,
    /// The context that the client was given at its registration.
    pub oscore: StaticContext,
}

/// The Key Distribution Center.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kdc {
    /// The address and UDP port.
    pub address: SocketAddr,
    /// Its name at the AS.
    pub audience: String,
    /// The address and UDP port at which the member takes requests of the KDC (`control_uri`); none are taken where that is left out.
    /// It is the address that the KDC sees, or `0.0.0.0` or `[::]` behind a translation of addresses. `watch` is told so, in the place
    /// of an observation.
    #[serde(default)]
    pub control: Option<SocketAddr>,
}

/// The group to join, and the roles to take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// The GROUPNAME.
    pub name: String,
    /// The application profile, by its name.
    #[serde(default = "group_oscore")]
    pub profile: String,
    /// The roles to take, e.g. `requester+responder`.
    pub roles: String,
}

/// The path at which requests of the KDC are taken.
const CONTROL: &str = "control";

fn group_oscore() -> String {
    DESCRIPTOR.name.into()
}

/// What a configuration says, checked.
#[derive(Clone, Debug)]
pub struct MemberSettings {
    /// The content of the file.
    pub config: Config,
    /// Where the state is kept.
    pub state: PathBuf,
    /// The application profile of the group.
    pub profile: ApplicationProfileDescriptor,
    /// The roles to ask for, as the profile numbers them.
    pub roles: Roles,
}

impl MemberSettings {
    /// Makes the member's side of the profile, for its group.
    ///
    /// # Errors
    /// [`ConfigError`] where the profile does not take the identity.
    pub fn rules(&self) -> Result<Arc<dyn MemberRules>, ConfigError> {
        let (group, identity) = (&self.config.group, self.config.identity.clone());
        self.profile.profile.member(&group.name, self.roles, identity, Arc::new(AwsLc))
    }

    /// Where the member takes requests of the KDC.
    #[must_use]
    pub fn control(&self) -> Option<MemberControl> {
        let local = self.config.kdc.control?;
        Some(MemberControl { local, path: CONTROL.into() })
    }

    /// Checks a configuration, with the profiles that are linked.
    ///
    /// # Errors
    /// [`ProgramError::Config`], with line and reason.
    pub fn new(loaded: &Loaded<Config>) -> Result<Self, ProgramError> {
        let config = loaded.config.clone();
        let registry = Registry::linked().map_err(|error| ProgramError::Other(error.to_string()))?;
        let profile = registry
            .application(&config.group.profile)
            .map_err(|error| loaded.error(&["[group]", "profile"], error.to_string()))?;
        let roles = profile
            .profile
            .roles_from_names(&config.group.roles)
            .map_err(|error| loaded.error(&["[group]", "roles"], error.to_string()))?;
        if let Some(control) = config.kdc.control {
            let is_none = control.port() == 0 || control.ip().is_multicast();
            if is_none || control.is_ipv4() != config.kdc.address.is_ipv4() {
                let reason = "is no address and port at which the KDC could reach the member";
                return Err(loaded.error(&["[kdc]", "control"], reason));
            }
        }
        let taken = config.identity.secrets_taken();
        let folder = loaded.path.parent().map(PathBuf::from).unwrap_or_default();
        let settings = Self { state: folder.join(&config.state), profile, roles, config };
        settings.rules().map_err(|error| match error.key.as_str() {
            "profile" => loaded.error(&["[group]", "profile"], error),
            key => loaded.error(&["[identity]", key], &error.reason),
        })?;
        let own: Vec<SecretHex> = taken.to_vec().into_iter().map(SecretHex).collect();
        let keys: Vec<&SecretHex> =
            [&settings.config.auth_server.oscore.master_secret].into_iter().chain(&own).collect();
        check_keys(loaded, &[settings.config.auth_server.address, settings.config.kdc.address], &keys)?;
        Ok(settings)
    }
}
