//! The KDC's configuration file.

use ace_backend_aws_lc::AwsLc;
use ace_backend_daemon::{
    Hex, Loaded, ProgramConfig, ProgramError, SecretHex, StorageConfig, check_filled, check_keys, check_listen,
    check_names, check_uri,
};
use ace_backend_tokio::StartError;
use ace_groupcomm::config::ConfigMap;
use ace_groupcomm::engine::Limits;
use ace_groupcomm::kdc::{
    CHANGES_PER_HOUR, EXPIRY_NOTICE, GroupConfig, KdcConfig, PendingLimits, PostLimits, SetupError, StartRefusal,
};
use ace_groupcomm::registry::Registry;
use ace_groupcomm::token::{CwtValidator, Issuer, LEEWAY, TokenKey};
use ace_groupcomm::traits::profile::ParameterChange;
use ace_groupcomm_messages::{CreationHints, Strictness};
use ace_oscore::Aead;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// By how many seconds an issuer's clock may be said to be ahead at most.
const MAX_LEEWAY: u64 = 3_600;

/// The configuration file of `ace-kdc`, in TOML.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The addresses and UDP ports to listen on.
    pub listen: Vec<SocketAddr>,
    /// The audience that tokens have to be for.
    pub audience: String,
    /// Where clients get tokens.
    pub as_uri: Option<String>,
    /// Who may issue tokens.
    #[serde(rename = "issuer", default)]
    pub issuers: Vec<IssuerConfig>,
    /// The groups that are made at the start, where they are not there yet.
    #[serde(rename = "group", default)]
    pub groups: Vec<GroupEntry>,
    /// What storage on disk needs.
    #[serde(default)]
    pub storage: StorageConfig,
    /// Where commands are taken; where absent, in the folder of embedded storage.
    pub control: Option<PathBuf>,
    /// The file of the audit log; beside this one where it is not absolute.
    pub audit: Option<PathBuf>,
    /// Where figures for Prometheus are served.
    pub figures: Option<SocketAddr>,
    /// Bounds of memory, rates and times.
    #[serde(default)]
    pub limits: LimitsConfig,
}

impl ProgramConfig for Config {
    fn storage(&self) -> &StorageConfig {
        &self.storage
    }

    fn control(&self) -> Option<&Path> {
        self.control.as_deref()
    }
}

/// An Authorization Server that is trusted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The name by which this file and its records know the issuer.
    pub name: String,
    /// What it calls itself in tokens.
    pub iss: Option<String>,
    /// The key that its tokens are encrypted with, AES-CCM-16-64-128.
    pub key: SecretHex,
    /// The name of the key.
    pub kid: Option<Hex>,
    /// The groups that it may speak for.
    pub groups: Vec<String>,
    /// Whether tokens without tags, or with header parameters outside, are taken from it.
    #[serde(default)]
    pub lax: bool,
}

/// A group, with the issuers that may speak for it and the parameters of its profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupEntry {
    /// The GROUPNAME.
    pub name: String,
    /// The name of its application profile.
    pub profile: String,
    /// The parameters of the application profile, by name.
    #[serde(default)]
    pub parameters: ConfigMap,
}

/// Bounds of memory, rates and times; each has a default.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// How many requests may wait at once; further ones are answered 5.03.
    pub waiting: usize,
    /// Associations of one token that are not proven.
    pub pending_per_token: usize,
    /// The same of one client.
    pub pending_per_client: usize,
    /// The same in all.
    pub pending: usize,
    /// How often a member may join again, leave, or get another Sender ID or credential in an hour.
    pub changes_per_hour: u32,
    /// How many seconds before its token ends a membership does, so that the member can be told.
    pub expiry_notice: u64,
    /// Token posts a second of all who have proven no address.
    pub posts_per_second: u32,
    /// Token posts a second of one host that has proven its address.
    pub posts_per_second_and_host: u32,
    /// By how many seconds an issuer's clock may be ahead.
    pub leeway: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let (pending, posts) = (PendingLimits::default(), PostLimits::default());
        Self {
            waiting: Limits::default().waiting,
            pending_per_token: pending.per_token,
            pending_per_client: pending.per_client,
            pending: pending.total,
            changes_per_hour: CHANGES_PER_HOUR,
            expiry_notice: EXPIRY_NOTICE.as_secs(),
            posts_per_second: posts.unproven,
            posts_per_second_and_host: posts.proven,
            leeway: LEEWAY.as_secs(),
        }
    }
}

/// What the engine is set up with, and how tokens are checked.
///
/// # Errors
/// [`ProgramError::Config`], with line and reason.
pub(crate) fn engine(loaded: &Loaded<Config>, registry: &Registry) -> Result<(KdcConfig, CwtValidator), ProgramError> {
    let config = &loaded.config;
    let group_keys = group_keys(loaded, registry)?;
    let keys: Vec<&SecretHex> = config.issuers.iter().map(|issuer| &issuer.key).chain(&group_keys).collect();
    check_listen(loaded, &config.listen)?;
    check_keys(loaded, &config.listen, &keys)?;
    check_filled(loaded, &["audience"], &config.audience)?;
    if let Some(uri) = &config.as_uri {
        check_uri(loaded, &["as_uri"], uri)?;
    }
    check_names(loaded, "[[issuer]]", config.issuers.iter().map(|issuer| issuer.name.as_str()))?;
    check_names(loaded, "[[group]]", config.groups.iter().map(|group| group.name.as_str()))?;
    check_limits(loaded)?;
    for group in config.groups.iter().filter(|group| !config.issuers.iter().any(|i| i.groups.contains(&group.name))) {
        tracing::warn!(group = %group.name, "no issuer may speak for this group: nobody can join it");
    }
    let mut issuers = Vec::new();
    for issuer in &config.issuers {
        let aead = Aead::AesCcm16_64_128;
        let wrong = |word: &str, reason: String| loaded.error(&["[[issuer]]", &issuer.name, word], reason);
        if issuer.key.0.expose().len() != aead.key_len() {
            return Err(wrong("key", "the key must have 16 bytes".into()));
        }
        check_filled(loaded, &["[[issuer]]", "name"], &issuer.name)?;
        if let Some(iss) = &issuer.iss {
            check_filled(loaded, &["[[issuer]]", &issuer.name, "iss"], iss)?;
        }
        if issuer.groups.is_empty() {
            return Err(wrong("groups", "the issuer may speak for no group".into()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = issuer.groups.iter().find(|name| !seen.insert(*name)) {
            return Err(wrong("groups", format!("group {twice:?} stands here twice")));
        }
        if let Some(unknown) = issuer.groups.iter().find(|name| !config.groups.iter().any(|g| g.name == **name)) {
            return Err(wrong("groups", format!("group {unknown:?} is not configured")));
        }
        issuers.push(Issuer {
            name: issuer.name.clone(),
            iss: issuer.iss.clone(),
            keys: vec![TokenKey { kid: issuer.kid.clone().map(|kid| kid.0), aead, key: issuer.key.0.clone() }],
            groups: issuer.groups.clone(),
            strictness: if issuer.lax { Strictness::Lax } else { Strictness::Strict },
        });
    }
    let groups = config.groups.iter().map(|group| GroupConfig {
        gname: group.name.clone(),
        profile: group.profile.clone(),
        parameters: group.parameters.clone(),
    });
    let engine = KdcConfig {
        hints: CreationHints {
            as_uri: config.as_uri.clone(),
            audience: Some(config.audience.clone()),
            ..CreationHints::default()
        },
        groups: groups.collect(),
        limits: Limits { waiting: config.limits.waiting, ..Limits::default() },
        pending: PendingLimits {
            per_token: config.limits.pending_per_token,
            per_client: config.limits.pending_per_client,
            total: config.limits.pending,
            ..PendingLimits::default()
        },
        posts: PostLimits { unproven: config.limits.posts_per_second, proven: config.limits.posts_per_second_and_host },
        changes_per_hour: config.limits.changes_per_hour,
        expiry_notice: Duration::from_secs(config.limits.expiry_notice),
        accept_issuers: false,
        accept_parameters: false,
    };
    let validator =
        CwtValidator::new(&config.audience, issuers).map_err(|clash| loaded.error(&["[[issuer]]"], clash))?;
    Ok((engine, validator.with_leeway(Duration::from_secs(config.limits.leeway))))
}

/// Refuses bounds under which nothing works.
fn check_limits(loaded: &Loaded<Config>) -> Result<(), ProgramError> {
    let limits = &loaded.config.limits;
    let counts = [
        ("waiting", limits.waiting),
        ("pending_per_token", limits.pending_per_token),
        ("pending_per_client", limits.pending_per_client),
        ("pending =", limits.pending),
        ("posts_per_second =", usize::try_from(limits.posts_per_second).unwrap_or(usize::MAX)),
        ("posts_per_second_and_host", usize::try_from(limits.posts_per_second_and_host).unwrap_or(usize::MAX)),
    ];
    match counts.into_iter().find(|(_, count)| *count == 0) {
        Some((name, _)) => Err(loaded.error(&["[limits]", name], "must not be 0: nothing would be answered")),
        None if limits.leeway > MAX_LEEWAY => {
            let reason =
                format_args!("must not be more than {MAX_LEEWAY}: tokens would be good long before their time");
            Err(loaded.error(&["[limits]", "leeway"], reason))
        }
        None => Ok(()),
    }
}

/// The keys that the profiles of the groups read.
fn group_keys(loaded: &Loaded<Config>, registry: &Registry) -> Result<Vec<SecretHex>, ProgramError> {
    let mut keys = Vec::new();
    for group in &loaded.config.groups {
        let (gname, parameters) = (group.name.clone(), group.parameters.clone());
        let taken = parameters.secrets_taken();
        let configured = GroupConfig { gname: gname.clone(), profile: group.profile.clone(), parameters };
        // What else is wrong with a group is told when it is set up.
        if let Ok(profile) = registry.application(&group.profile) {
            let checked = configured.check(profile, &AwsLc);
            checked.map_err(|source| setup_error(loaded, &SetupError::Parameters { gname, source }))?;
        }
        keys.extend(taken.to_vec().into_iter().map(SecretHex));
    }
    Ok(keys)
}

/// The line of a group that cannot be set up.
pub(crate) fn setup_error(loaded: &Loaded<Config>, error: &SetupError) -> ProgramError {
    match error {
        SetupError::Profile { gname, .. } => loaded.error(&["[[group]]", &format!("{gname:?}"), "profile"], error),
        SetupError::Parameters { gname, source } => {
            loaded.error(&["[[group]]", &format!("{gname:?}"), &source.key], error)
        }
        SetupError::GroupTwice(gname) => {
            let quoted = format!("{gname:?}");
            loaded.error(&["[[group]]", &quoted, "[[group]]", &quoted], error)
        }
        SetupError::GroupName(gname) => loaded.error(&["[[group]]", &format!("{gname:?}")], error),
        _ => loaded.error(&[], error),
    }
}

/// The line of what differs from what is stored.
pub(crate) fn start_error(loaded: &Loaded<Config>, error: ProgramError) -> ProgramError {
    let ProgramError::Start(StartError::Refused(why)) = &error else { return error };
    match why.downcast_ref::<StartRefusal>() {
        Some(StartRefusal::Parameters(groups)) => {
            let Some(group) = groups.first() else { return error };
            // A parameter that one side does not have may stand nowhere in the file.
            let differences = &group.differences;
            let in_both = differences.iter().find(|it| it.stored.is_some() && it.configured.is_some());
            let Some(difference) = in_both.or(differences.first()) else { return error };
            let place = ["[[group]]", &format!("{:?}", group.gname), &difference.parameter];
            if groups.iter().any(|group| group.change == ParameterChange::AnotherGroup) {
                return loaded.error(&place, why);
            }
            loaded.error(&place, format!("{why}. Start once with --accept-parameters if that is meant"))
        }
        Some(StartRefusal::Issuers { .. }) => {
            let reason = format!("{why}. Start once with --accept-issuers if that is meant");
            loaded.error(&["[[issuer]]"], reason)
        }
        _ => error,
    }
}
