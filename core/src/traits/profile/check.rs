//! What is looked at of a profile before a group is served: a mistake in it is told at the start, and not to clients.

use super::{GroupRules, KeyAudience, NamedRole, ProfileRoute, Roles};
use crate::access::Resource;
use crate::id::{Gid, SenderId};
use crate::kdc::policy;
use crate::registry::ApplicationProfileDescriptor;
use crate::request::Method;
use crate::traits::crypto::CryptoProvider;
use ace_groupcomm_messages::paths::{KDC_CRED, ROOT};
use sha2::{Digest, Sha256};
use std::ops::RangeInclusive;
use std::time::Duration;
use thiserror::Error;

/// The longest identifier.
const MAX_IDENTIFIER: usize = 255;
/// The longest lifetime of keying material, in seconds: 136 years.
const MAX_LIFETIME: u64 = 0xffff_ffff;
/// Of so many named roles all sums are looked at; of more, pairs alone.
const SUMMED: usize = 8;

/// A mistake in a profile: what it says of itself does not go together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProfileFault {
    /// The resource type cannot stand in a link.
    #[error("`resource_type` is {0:?}: it must be one or more letters, digits and any of - . _")]
    ResourceType(&'static str),
    /// A resource has a name that RFC 9594 uses.
    #[error("`routes` has {0:?}, which is a resource of RFC 9594: choose another name")]
    RouteTaken(&'static str),
    /// A resource has a name that is not one path segment.
    #[error("`routes` has {0:?}: a name must be one or more letters, digits and any of - . _ ~")]
    RouteName(&'static str),
    /// Two routes are one.
    #[error("`routes` has {1:?} of {0:?} twice: leave one of them out")]
    RouteTwice(&'static str, Method),
    /// No identifier has such a length.
    #[error("`identifier_len` is {0:?}: it must not be empty, and be within 1..={MAX_IDENTIFIER}")]
    IdentifierLen(RangeInclusive<usize>),
    /// Keying material would be good for no time, or for ever.
    #[error("`lifetime` is {0:?}: it must be 1 second to 136 years")]
    Lifetime(Duration),
    /// No role can be written down.
    #[error("`named_roles` is empty: without a role nobody joins")]
    NoRoles,
    /// Names of roles cannot be told apart, or not be written.
    #[error(
        "`named_roles` has {0:?}: each name must be there once, of lower-case letters, digits and -, and have a role"
    )]
    RoleName(&'static str),
    /// A Tperm does not come back as the roles that it was made of.
    #[error("`permissions` makes a Tperm of roles {made:?} that `roles` reads as {read:?}: it must give the same back")]
    Permissions {
        /// The roles that the Tperm was made of.
        made: Roles,
        /// The roles that were read of it.
        read: Option<Roles>,
    },
    /// Two secrets of one epoch would be the same bytes.
    #[error("`fresh` asks for {0:?} twice: a second use of a label gives the same bytes")]
    LabelTwice(&'static str),
    /// New secrets are none.
    #[error("`fresh` makes an empty secret")]
    NoSecret,
    /// Two epochs would have the same secrets, so that whoever has left reads on.
    #[error("`fresh` makes the same secret of other random bytes: ask `random` for all that is secret")]
    NotFresh,
    /// One set of stale Sender IDs is of no use: it is that of the current version.
    #[error("`stale_sets` is 1: it must be 0, or 2 and more")]
    StaleSets,
    /// There is no `key` object of new secrets.
    #[error("`key` gives no object of a secret that `fresh` has made, for {0}")]
    NoKey(&'static str),
    /// A parameter has a name that each group has of its own.
    #[error("`parameters` has {0:?}, which each group has, whatever its profile: choose another name")]
    ParameterTaken(&'static str),
    /// The parameters do not make the same group again.
    #[error("`configure` does not make the same parameters of what `parameters` says: {0}")]
    Parameters(String),
}

/// Looks at the rules that a profile has made for a group.
///
/// # Errors
/// [`ProfileFault`], the first that there is.
pub fn check_rules(
    descriptor: &ApplicationProfileDescriptor,
    gname: &str,
    rules: &dyn GroupRules,
    crypto: &dyn CryptoProvider,
) -> Result<(), ProfileFault> {
    let (kind, lifetime, len) = (rules.resource_type(), rules.lifetime(), rules.identifier_len());
    if kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(ProfileFault::ResourceType(kind));
    }
    if !(1..=MAX_LIFETIME).contains(&lifetime.as_secs()) {
        return Err(ProfileFault::Lifetime(lifetime));
    }
    if len.is_empty() || *len.start() == 0 || *len.end() > MAX_IDENTIFIER {
        return Err(ProfileFault::IdentifierLen(len));
    }
    if let Some(taken) = policy::NAMES.into_iter().find(|name| rules.parameters().get(name).is_some()) {
        return Err(ProfileFault::ParameterTaken(taken));
    }
    if rules.stale_sets() == 1 {
        return Err(ProfileFault::StaleSets);
    }
    routes(rules.routes())?;
    roles(descriptor)?;
    keys(descriptor.profile.named_roles(), rules)?;
    let again = descriptor.profile.configure(gname, rules.parameters().to_config(), crypto);
    let again = again.map_err(|error| ProfileFault::Parameters(error.to_string()))?;
    match rules.parameters().differences(again.parameters()).first() {
        Some(difference) => Err(ProfileFault::Parameters(format!("{:?} is another", difference.parameter))),
        None => Ok(()),
    }
}

fn routes(routes: &[ProfileRoute]) -> Result<(), ProfileFault> {
    for (index, route) in routes.iter().enumerate() {
        let name = route.name;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
            return Err(ProfileFault::RouteName(name));
        }
        let path = [ROOT, "g", name].map(String::from);
        // Group OSCORE has FETCH there for verifiers, who are no members.
        let is_added = (name, route.is_below, route.method) == (KDC_CRED, false, Method::Fetch);
        if !is_added && !matches!(Resource::of(&path), Some((Resource::Own(_), _))) {
            return Err(ProfileFault::RouteTaken(name));
        }
        let is_same =
            |other: &ProfileRoute| (other.name, other.is_below, other.method) == (name, route.is_below, route.method);
        if routes.iter().take(index).any(is_same) {
            return Err(ProfileFault::RouteTwice(name, route.method));
        }
    }
    Ok(())
}

/// Names, and each Tperm that they give.
fn roles(descriptor: &ApplicationProfileDescriptor) -> Result<(), ProfileFault> {
    let named = descriptor.profile.named_roles();
    if named.is_empty() {
        return Err(ProfileFault::NoRoles);
    }
    for (index, role) in named.iter().enumerate() {
        let is_written =
            role.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let is_twice = named.iter().take(index).any(|other| other.name == role.name);
        if role.name.is_empty() || !is_written || is_twice || role.roles.0 == 0 {
            return Err(ProfileFault::RoleName(role.name));
        }
    }
    for made in sums(named) {
        let read = descriptor.profile.roles(&descriptor.profile.permissions(made));
        if read != Some(made) {
            return Err(ProfileFault::Permissions { made, read });
        }
    }
    Ok(())
}

/// The sums of named roles: all of them where there are few, else each with each.
pub(crate) fn sums(named: &[NamedRole]) -> Vec<Roles> {
    if named.len() > SUMMED {
        let pairs = named.iter().flat_map(|one| named.iter().map(|other| one.roles.with(other.roles)));
        return pairs.collect();
    }
    named.iter().fold(vec![], |mut sums, role| {
        let with: Vec<Roles> = sums.iter().map(|sum: &Roles| sum.with(role.roles)).collect();
        sums.extend(with);
        sums.push(role.roles);
        sums
    })
}

/// New secrets, and what each audience would see of them.
fn keys(named: &[NamedRole], rules: &dyn GroupRules) -> Result<(), ProfileFault> {
    let material = rules.material();
    let asked = std::cell::RefCell::new(Vec::new());
    let secret = material.fresh(&|label| {
        asked.borrow_mut().push(label);
        Sha256::digest(label).into()
    });
    let mut asked = asked.into_inner();
    asked.sort_unstable();
    if let Some(twice) = asked.windows(2).find_map(|pair| pair.first().filter(|label| pair.last() == Some(label))) {
        return Err(ProfileFault::LabelTwice(twice));
    }
    if secret.expose().is_empty() {
        return Err(ProfileFault::NoSecret);
    }
    if material.fresh(&|label| Sha256::digest([label.as_bytes(), b"another epoch"].concat()).into()) == secret {
        return Err(ProfileFault::NotFresh);
    }
    let gid = Gid::from(&[0, 0, 1]);
    let ids = [*rules.identifier_len().start(), *rules.identifier_len().end()].map(|len| SenderId::from(vec![0; len]));
    if material.key(&secret, &gid, KeyAudience::Group).is_none() {
        return Err(ProfileFault::NoKey("the group"));
    }
    if material.key(&secret, &gid, KeyAudience::Rekeying).is_none() {
        return Err(ProfileFault::NoKey("a rekeying message"));
    }
    for roles in sums(named).into_iter().filter(|roles| rules.may_join_with(*roles)) {
        for id in &ids {
            let sender_id = rules.gets_identifier(roles).then_some(id);
            if material.key(&secret, &gid, KeyAudience::Node { roles, sender_id }).is_none() {
                return Err(ProfileFault::NoKey("a member"));
            }
        }
    }
    Ok(())
}
