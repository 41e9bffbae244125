//! Which profiles a program has: those that its crates submit, and those that it adds by hand.
//!
//! A profile crate submits a `const` descriptor:
//!
//! ```text
//! ace_groupcomm::registry::submit! { ace_groupcomm::registry::ApplicationProfileDescriptor { name: "…", number: 1, crate_name: env!("CARGO_PKG_NAME"), profile: &MyProfile } }
//! ```
//!
//! and a program that uses it says `use ace_profile_x as _;`, so that the crate is linked at all. Where
//! `inventory` does not work, [`Registry::with_application`] does the same by hand.

use crate::traits::profile::ApplicationProfile;
use crate::traits::transport::TransportProfile;
use thiserror::Error;

/// Describes an application profile.
#[derive(Clone, Copy)]
pub struct ApplicationProfileDescriptor {
    /// Its name in configurations and in its registry.
    pub name: &'static str,
    /// Its number, `ace_groupcomm_profile`.
    pub number: i64,
    /// The crate that holds it.
    pub crate_name: &'static str,
    /// The profile.
    pub profile: &'static dyn ApplicationProfile,
}

/// Describes a transport profile.
#[derive(Clone, Copy)]
pub struct TransportProfileDescriptor {
    /// Its name in configurations and in its registry.
    pub name: &'static str,
    /// Its number, `ace_profile`.
    pub number: i64,
    /// The crate that holds it.
    pub crate_name: &'static str,
    /// The profile.
    pub profile: &'static dyn TransportProfile,
}

pub use inventory::submit;

inventory::collect!(ApplicationProfileDescriptor);
inventory::collect!(TransportProfileDescriptor);

/// Why profiles do not go together, or one is not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Two of a kind have one name or one number.
    #[error("profiles {name:?} of {first} and {second} have the same name or number ({number})")]
    Twice {
        /// The name of the second.
        name: &'static str,
        /// The number of the second.
        number: i64,
        /// The crate of the first.
        first: &'static str,
        /// The crate of the second.
        second: &'static str,
    },
    /// No profile has this name.
    #[error(
        "there is no profile {name:?}; linked are: {linked}. A crate that is only named in Cargo.toml is not \
         linked: add `use ace_profile_x as _;` to the program"
    )]
    Unknown {
        /// The name.
        name: String,
        /// Those that are there.
        linked: String,
    },
}

/// The profiles of a program.
#[derive(Clone, Default)]
pub struct Registry {
    applications: Vec<ApplicationProfileDescriptor>,
    transports: Vec<TransportProfileDescriptor>,
}

impl Registry {
    /// No profiles.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// All profiles that the program's crates submit.
    ///
    /// # Errors
    /// [`RegistryError::Twice`].
    pub fn linked() -> Result<Self, RegistryError> {
        let applications = inventory::iter::<ApplicationProfileDescriptor>().copied();
        let registry = applications.into_iter().try_fold(Self::empty(), Self::with_application)?;
        inventory::iter::<TransportProfileDescriptor>().copied().try_fold(registry, Self::with_transport)
    }

    /// Adds an application profile.
    ///
    /// # Errors
    /// [`RegistryError::Twice`].
    pub fn with_application(mut self, new: ApplicationProfileDescriptor) -> Result<Self, RegistryError> {
        if let Some(old) = self.applications.iter().find(|old| old.name == new.name || old.number == new.number) {
            let (name, number) = (new.name, new.number);
            return Err(RegistryError::Twice { name, number, first: old.crate_name, second: new.crate_name });
        }
        self.applications.push(new);
        Ok(self)
    }

    /// Adds a transport profile.
    ///
    /// # Errors
    /// [`RegistryError::Twice`].
    pub fn with_transport(mut self, new: TransportProfileDescriptor) -> Result<Self, RegistryError> {
        if let Some(old) = self.transports.iter().find(|old| old.name == new.name || old.number == new.number) {
            let (name, number) = (new.name, new.number);
            return Err(RegistryError::Twice { name, number, first: old.crate_name, second: new.crate_name });
        }
        self.transports.push(new);
        Ok(self)
    }

    /// The application profile with this name.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`].
    pub fn application(&self, name: &str) -> Result<ApplicationProfileDescriptor, RegistryError> {
        self.applications
            .iter()
            .find(|profile| profile.name == name)
            .copied()
            .ok_or_else(|| unknown(name, self.applications.iter().map(|profile| profile.name)))
    }

    /// The transport profile with this name.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`].
    pub fn transport(&self, name: &str) -> Result<TransportProfileDescriptor, RegistryError> {
        self.transports
            .iter()
            .find(|profile| profile.name == name)
            .copied()
            .ok_or_else(|| unknown(name, self.transports.iter().map(|profile| profile.name)))
    }

    /// All transport profiles.
    #[must_use]
    pub fn transports(&self) -> &[TransportProfileDescriptor] {
        &self.transports
    }
}

fn unknown<'a>(name: &str, linked: impl Iterator<Item = &'a str>) -> RegistryError {
    let linked: Vec<&str> = linked.collect();
    let linked = if linked.is_empty() { "none".into() } else { linked.join(", ") };
    RegistryError::Unknown { name: name.into(), linked }
}
