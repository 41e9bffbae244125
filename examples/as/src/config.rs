//! The AS's configuration file.

use ace_backend_daemon::{
    Hex, Loaded, ProgramConfig, ProgramError, SecretHex, StaticContext, StorageConfig, check_filled, check_keys,
    check_listen, check_names,
};
use ace_groupcomm::auth_server::{Audience, AuthServerConfig, Policy};
use ace_groupcomm::engine::Limits;
use ace_groupcomm::registry::Registry;
use ace_groupcomm::token::TokenKey;
use ace_groupcomm_messages::labels::ace_profile::COAP_OSCORE;
use ace_oscore::Aead;
use ace_profile_group_oscore::DESCRIPTOR;
use ace_profile_pubsub as _;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;

/// For how many seconds a token can be good at most.
const MAX_LIFETIME: u64 = 0xffff_ffff;

/// The configuration file of `ace-as`, in TOML.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The addresses and UDP ports to listen on.
    pub listen: Vec<SocketAddr>,
    /// What the AS calls itself in tokens.
    pub issuer: Option<String>,
    /// What storage on disk needs.
    #[serde(default)]
    pub storage: StorageConfig,
    /// The clients that may ask for tokens.
    #[serde(rename = "client", default)]
    pub clients: Vec<RegisteredClient>,
    /// The resource servers that tokens are made for.
    #[serde(rename = "audience", default)]
    pub audiences: Vec<AudienceConfig>,
    /// Who may do what.
    #[serde(rename = "policy", default)]
    pub policies: Vec<PolicyConfig>,
}

impl ProgramConfig for Config {
    fn storage(&self) -> &StorageConfig {
        &self.storage
    }
}

/// A client that was registered, with the OSCORE context that it was given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredClient {
    /// The name, by which policies and tokens (`sub`) know it.
    pub name: String,
    /// The OSCORE context that it was given at its registration.
    pub oscore: StaticContext,
}

/// A resource server, with the key that tokens are encrypted with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudienceConfig {
    /// The name, by which policies and tokens (`sub`) know it.
    pub name: String,
    /// The key that tokens for it are encrypted with, AES-CCM-16-64-128.
    pub key: SecretHex,
    /// The name of the key.
    pub kid: Option<Hex>,
    /// For how many seconds a token is good.
    #[serde(default = "an_hour")]
    pub lifetime: u64,
}

const fn an_hour() -> u64 {
    3_600
}

/// That a client may take roles in a group.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The client, by its name.
    pub client: String,
    /// The resource server, by its name.
    pub audience: String,
    /// The GROUPNAME.
    pub group: String,
    /// The application profile of the group, by its name.
    #[serde(default = "group_oscore")]
    pub profile: String,
    /// The roles, e.g. `requester+responder`.
    pub roles: String,
}

fn group_oscore() -> String {
    DESCRIPTOR.name.into()
}

/// What the engine is set up with.
///
/// # Errors
/// [`ProgramError::Config`], with line and reason.
pub(crate) fn engine(loaded: &Loaded<Config>, registry: &Registry) -> Result<AuthServerConfig, ProgramError> {
    let config = &loaded.config;
    let keys: Vec<&SecretHex> = config
        .clients
        .iter()
        .map(|client| &client.oscore.master_secret)
        .chain(config.audiences.iter().map(|audience| &audience.key))
        .collect();
    check_listen(loaded, &config.listen)?;
    check_keys(loaded, &config.listen, &keys)?;
    if let Some(issuer) = &config.issuer {
        check_filled(loaded, &["issuer"], issuer)?;
    }
    for client in &config.clients {
        check_filled(loaded, &["[[client]]", "name"], &client.name)?;
    }
    for audience in &config.audiences {
        check_filled(loaded, &["[[audience]]", "name"], &audience.name)?;
    }
    check_names(loaded, "[[client]]", config.clients.iter().map(|client| client.name.as_str()))?;
    check_names(loaded, "[[audience]]", config.audiences.iter().map(|audience| audience.name.as_str()))?;
    let mut audiences = Vec::new();
    for audience in &config.audiences {
        let aead = Aead::AesCcm16_64_128;
        if audience.key.0.expose().len() != aead.key_len() {
            return Err(loaded.error(&["[[audience]]", &audience.name, "key"], "the key must have 16 bytes"));
        }
        if audience.lifetime == 0 {
            return Err(loaded.error(&["[[audience]]", &audience.name, "lifetime"], "tokens must be good for a while"));
        }
        if audience.lifetime > MAX_LIFETIME {
            let reason = format_args!("must not be more than {MAX_LIFETIME}, 136 years");
            return Err(loaded.error(&["[[audience]]", &audience.name, "lifetime"], reason));
        }
        audiences.push(Audience {
            name: audience.name.clone(),
            key: TokenKey { kid: audience.kid.clone().map(|kid| kid.0), aead, key: audience.key.0.clone() },
            lifetime: Duration::from_secs(audience.lifetime),
            profile: COAP_OSCORE,
        });
    }
    let mut policies = Vec::new();
    for policy in &config.policies {
        let wrong = |word: &str, reason: String| loaded.error(&["[[policy]]", word], reason);
        let profile =
            registry.application(&policy.profile).map_err(|error| wrong(&policy.profile, error.to_string()))?;
        let roles = profile.profile.roles_from_names(&policy.roles);
        let roles = roles.map_err(|error| wrong(&policy.roles, error.to_string()))?;
        check_filled(loaded, &["[[policy]]", "group = \"\""], &policy.group)?;
        if !config.clients.iter().any(|client| client.name == policy.client) {
            return Err(wrong(&policy.client, format!("client {:?} is not registered", policy.client)));
        }
        if !config.audiences.iter().any(|audience| audience.name == policy.audience) {
            return Err(wrong(&policy.audience, format!("audience {:?} is not known", policy.audience)));
        }
        let is_other = |other: &Policy| {
            (&other.audience, &other.gname) == (&policy.audience, &policy.group) && other.profile != profile
        };
        if policies.iter().any(is_other) {
            return Err(wrong(&policy.profile, format!("group {:?} has two profiles", policy.group)));
        }
        policies.push(Policy {
            client: policy.client.clone(),
            audience: policy.audience.clone(),
            gname: policy.group.clone(),
            profile,
            roles,
        });
    }
    Ok(AuthServerConfig {
        iss: config.issuer.clone(),
        clients: config.clients.iter().map(|client| client.name.clone()).collect(),
        audiences,
        policies,
        limits: Limits::default(),
    })
}
