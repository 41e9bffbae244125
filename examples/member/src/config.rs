//! The member's configuration file.

use ace_backend_aws_lc::AwsLc;
use ace_backend_daemon::{Loaded, ProgramError, SecretHex, StaticContext, check_keys};
use ace_groupcomm::Roles;
use ace_groupcomm::traits::crypto::{CryptoProvider, SignatureAlgorithm};
use ace_profile_group_oscore::member::{Identity, OscoreMember};
use ace_profile_group_oscore::scope;
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
    /// Who the member is in the group.
    pub identity: IdentityConfig,
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
}

/// The group to join, and the roles to take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// The GROUPNAME.
    pub name: String,
    /// The roles to take, e.g. `requester+responder`.
    pub roles: String,
}

/// Who the member is in the group.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// The subject of its credential.
    pub subject: String,
    /// The seed of its Ed25519 key.
    pub key: SecretHex,
}

/// What a configuration says, checked.
#[derive(Clone, Debug)]
pub struct MemberSettings {
    /// The content of the file.
    pub config: Config,
    /// Where the state is kept.
    pub state: PathBuf,
    /// The roles to ask for, as bits of the profile.
    pub roles: Roles,
    /// The member's credential, and the key in it.
    pub identity: Identity,
}

impl MemberSettings {
    /// The member's side of the profile, for its group.
    #[must_use]
    pub fn rules(&self) -> OscoreMember {
        let (gname, identity) = (self.config.group.name.clone(), self.identity.clone());
        OscoreMember { gname, roles: self.roles, identity, crypto: Arc::new(AwsLc) }
    }
}

impl MemberSettings {
    /// Checks a configuration.
    ///
    /// # Errors
    /// [`ProgramError::Config`], with line and reason.
    pub fn new(loaded: &Loaded<Config>) -> Result<Self, ProgramError> {
        let config = loaded.config.clone();
        check_keys(
            loaded,
            &[config.auth_server.address, config.kdc.address],
            &[&config.auth_server.oscore.master_secret, &config.identity.key],
        )?;
        let roles = scope::from_names(&config.group.roles)
            .map_err(|error| loaded.error(&["[group]", "roles"], error.to_string()))?;
        let key = AwsLc
            .signing_key(SignatureAlgorithm::Ed25519, &config.identity.key.0)
            .ok_or_else(|| loaded.error(&["[identity]", "key"], "the key must have 32 bytes"))?;
        let identity = Identity::ccs(&config.identity.subject, key);
        let folder = loaded.path.parent().map(PathBuf::from).unwrap_or_default();
        Ok(Self { state: folder.join(&config.state), roles, identity, config })
    }
}
