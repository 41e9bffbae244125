//! Groups and their rules: what is stored of a group says how it is served, whoever has made it.
//!
//! Each run reads a group's configuration through its view, so that its commit expects the configuration to be as the run
//! found it. The rules that a profile makes of one are kept in memory, and made anew when it has changed.

use crate::config::{ConfigError, ConfigMap, Parameters};
use crate::engine::store::view::{Stop, View};
use crate::kdc::keying::policy::RekeyPolicy;
use crate::kdc::{GroupConfig, KdcApp, SetupError};
use crate::refusal::Refusal;
use crate::registry::{ApplicationProfileDescriptor, Registry};
use crate::schema::keys::{self, GroupId};
use crate::schema::records::{GroupConfiguration, NameState, NamedGroup};
use crate::time::UnixTime;
use crate::traits::crypto::CryptoProvider;
use crate::traits::profile::{GroupRules, Roles, check_rules};
use crate::traits::storage::Revision;
use ace_groupcomm_messages::RawCbor;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A group as it is configured: its name, its profile, and the rules of that.
pub(super) struct Group {
    pub(super) gname: String,
    pub(super) profile: ApplicationProfileDescriptor,
    pub(super) rules: Arc<dyn GroupRules>,
    pub(super) policy: RekeyPolicy,
    /// Those of the profile, and those that each group has.
    pub(super) parameters: Parameters,
    /// The issuers that may speak for it; none where any may, or where that is not recorded.
    pub(super) issuers: Option<BTreeSet<String>>,
    /// The version that began with these parameters, as it is stored.
    pub(super) since: Option<u64>,
}

impl Group {
    /// The roles that a Tperm stands for; none where it is no Tperm of the group's profile.
    pub(super) fn roles(&self, permissions: &RawCbor) -> Option<Roles> {
        self.profile.profile.roles(permissions)
    }

    /// The Tperm of roles.
    pub(super) fn permissions(&self, roles: Roles) -> RawCbor {
        self.profile.profile.permissions(roles)
    }

    /// What is stored of it.
    pub(super) fn configuration(&self) -> GroupConfiguration {
        GroupConfiguration {
            profile: self.profile.name.into(),
            parameters: self.parameters.clone(),
            issuers: self.issuers.clone(),
            since: self.since,
        }
    }
}

/// A group that is there.
#[derive(Clone)]
pub(super) struct LiveGroup {
    pub(super) id: GroupId,
    /// Tokens that were issued before this time do not mean it; `UnixTime::EPOCH` where all do.
    pub(super) tokens_since: UnixTime,
    pub(super) group: Arc<Group>,
}

/// What a name stands for, and the rules of the group, where it is there and can be served.
type Named = (NamedGroup, Option<Arc<Group>>);

/// The rules of groups that runs have met, each with what they were made of.
pub(super) struct Groups {
    registry: Registry,
    crypto: Arc<dyn CryptoProvider>,
    met: RefCell<BTreeMap<String, Met>>,
}

/// What the rules of a group were made of, and the revision of that, where it had one.
struct Met {
    of: GroupConfiguration,
    at: Option<(GroupId, Revision)>,
    group: Arc<Group>,
}

/// What a configuration makes of a group.
pub(super) struct Configured {
    rules: Arc<dyn GroupRules>,
    policy: RekeyPolicy,
    /// All parameters, with their defaults.
    pub(super) parameters: Parameters,
}

/// Reads a group's configuration: the parameters that each group has, and those of its profile.
///
/// # Errors
/// [`ConfigError`] where one is refused.
pub(super) fn configure(
    profile: ApplicationProfileDescriptor,
    gname: &str,
    mut config: ConfigMap,
    crypto: &dyn CryptoProvider,
) -> Result<Configured, ConfigError> {
    let (policy, parameters) = RekeyPolicy::take(&mut config)?;
    let rules = profile.profile.configure(gname, config, crypto)?;
    let parameters = rules.parameters().iter().fold(parameters, |all, (name, value)| all.with(name, value.clone()));
    Ok(Configured { rules, policy, parameters })
}

impl GroupConfig {
    /// Checks the parameters: those that each group has, and those of the profile.
    ///
    /// # Errors
    /// [`ConfigError`] for the first one that is refused.
    pub fn check(&self, profile: ApplicationProfileDescriptor, crypto: &dyn CryptoProvider) -> Result<(), ConfigError> {
        configure(profile, &self.gname, self.parameters.clone(), crypto).map(|_| ())
    }
}

impl Groups {
    pub(super) fn new(registry: &Registry, crypto: Arc<dyn CryptoProvider>) -> Self {
        Self { registry: registry.clone(), crypto, met: RefCell::default() }
    }

    /// Makes the rules of a group.
    ///
    /// # Errors
    /// [`SetupError`] where its name, its profile or a parameter is refused.
    pub(super) fn define(&self, config: GroupConfig, issuers: Option<BTreeSet<String>>) -> Result<Group, SetupError> {
        let GroupConfig { gname, profile, parameters } = config;
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let fits = (1..=255).contains(&gname.len()) && gname.bytes().all(unreserved);
        if !fits || gname == "." || gname == ".." {
            return Err(SetupError::GroupName(gname));
        }
        let name = || gname.clone();
        let profile =
            self.registry.application(&profile).map_err(|source| SetupError::Profile { gname: name(), source })?;
        let Configured { rules, policy, parameters } = configure(profile, &gname, parameters, &*self.crypto)
            .map_err(|source| SetupError::Parameters { gname: name(), source })?;
        check_rules(&profile, &gname, &*rules, &*self.crypto).map_err(|fault| SetupError::Unfit {
            gname: name(),
            profile: profile.name,
            fault,
        })?;
        Ok(Group { gname, profile, rules, policy, parameters, issuers, since: None })
    }

    /// The rules of a group that is stored so.
    ///
    /// # Errors
    /// [`SetupError`] where this program cannot serve it.
    pub(super) fn of(&self, gname: &str, stored: &GroupConfiguration) -> Result<Arc<Group>, SetupError> {
        self.at(gname, stored, None)
    }

    /// The same of one with this revision.
    fn at(
        &self,
        gname: &str,
        stored: &GroupConfiguration,
        at: Option<(GroupId, Revision)>,
    ) -> Result<Arc<Group>, SetupError> {
        if let Some(met) = self.met.borrow_mut().get_mut(gname)
            && (at.is_some() && met.at == at || met.of == *stored)
        {
            met.at = at.or(met.at);
            return Ok(Arc::clone(&met.group));
        }
        let (profile, parameters) = (stored.profile.clone(), stored.parameters.to_config());
        let config = GroupConfig { gname: gname.into(), profile, parameters };
        let group = Arc::new(Group { since: stored.since, ..self.define(config, stored.issuers.clone())? });
        let met = Met { of: stored.clone(), at, group: Arc::clone(&group) };
        self.met.borrow_mut().insert(gname.into(), met);
        Ok(group)
    }

    pub(super) fn crypto(&self) -> &dyn CryptoProvider {
        &*self.crypto
    }

    /// Whether a run has met it.
    pub(super) fn has_met(&self, gname: &str) -> bool {
        self.met.borrow().contains_key(gname)
    }

    pub(super) fn forget(&self, gname: &str) {
        self.met.borrow_mut().remove(gname);
    }
}

impl KdcApp {
    /// Whether a name is that of a group, as far as this process has met it.
    pub(in crate::kdc) fn is_known(&self, gname: &str) -> bool {
        self.configured.contains_key(gname) || self.groups.has_met(gname)
    }

    /// The group of a name; none where there is no such group, or no configuration of it.
    pub(super) fn group(&self, view: &View<'_>, gname: &str) -> Result<Option<LiveGroup>, Stop> {
        let Some((name, Some(group))) = self.named(view, gname)? else { return Ok(None) };
        let NameState::Live(tokens_since) = name.state else { return Ok(None) };
        Ok(Some(LiveGroup { id: name.id, tokens_since, group }))
    }

    /// The configuration that is stored of a group that is there.
    pub(super) fn configuration<'a>(
        &self,
        view: &View<'a>,
        gname: &str,
    ) -> Result<Option<(GroupId, &'a GroupConfiguration)>, Stop> {
        let Some(id) = view.get::<NamedGroup>(&keys::name(gname))?.and_then(NamedGroup::live) else { return Ok(None) };
        Ok(view.get::<GroupConfiguration>(&keys::config(id))?.map(|stored| (id, stored)))
    }

    /// What a name stands for; none where it was never given. A group that was deleted has no rules.
    pub(super) fn named(&self, view: &View<'_>, gname: &str) -> Result<Option<Named>, Stop> {
        let Some(name) = view.get::<NamedGroup>(&keys::name(gname))?.copied() else { return Ok(None) };
        let Some(id) = name.live() else {
            self.groups.forget(gname);
            return Ok(Some((name, None)));
        };
        let key = keys::config(id);
        let Some(stored) = view.get::<GroupConfiguration>(&key)? else { return Ok(Some((name, None))) };
        let group = self.groups.at(gname, stored, view.revision(&key).map(|revision| (id, revision)));
        let group = group.map_err(|_| Refusal::Internal("the profile of a group is not linked, or refuses it"))?;
        Ok(Some((name, Some(group))))
    }
}
