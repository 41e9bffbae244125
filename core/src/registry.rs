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
use std::fmt;
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
    /// The implementation: rules of groups for the KDC, members' sides, and names of roles for an AS.
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
    /// The implementation at the KDC, which makes associations of posts.
    pub profile: &'static dyn TransportProfile,
}

/// Profiles of one name and number are one: a registry has no two.
impl PartialEq for ApplicationProfileDescriptor {
    fn eq(&self, other: &Self) -> bool {
        (self.name, self.number, self.crate_name) == (other.name, other.number, other.crate_name)
    }
}

impl Eq for ApplicationProfileDescriptor {}

/// Name, number and crate.
impl fmt::Debug for ApplicationProfileDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) of {}", self.name, self.number, self.crate_name)
    }
}

/// Name, number and crate.
impl fmt::Debug for TransportProfileDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) of {}", self.name, self.number, self.crate_name)
    }
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
        /// The name that was asked for.
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
    /// Returns a registry without profiles.
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

    /// Returns all transport profiles. Those of [`Registry::linked`] are in the order that the linker gave them.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::toy::{Toy, ToyTransport};

    fn application(name: &'static str, number: i64) -> ApplicationProfileDescriptor {
        ApplicationProfileDescriptor { name, number, crate_name: name, profile: &Toy }
    }

    fn transport(name: &'static str, number: i64) -> TransportProfileDescriptor {
        TransportProfileDescriptor { name, number, crate_name: name, profile: &ToyTransport }
    }

    // Covers: AF-5.8.4.3-05
    // Covers: KG-4.3.1-44
    #[test]
    fn names_and_numbers_are_there_once_in_each_kind() {
        let registry = Registry::empty().with_application(application("a", 1)).unwrap();
        let registry = registry.with_transport(transport("a", 1)).unwrap();
        for (name, number) in [("a", 1), ("a", 2), ("b", 1)] {
            let first = "a";
            let expected = Some(RegistryError::Twice { name, number, first, second: name });
            assert_eq!(registry.clone().with_application(application(name, number)).err(), expected);
            assert_eq!(registry.clone().with_transport(transport(name, number)).err(), expected);
        }
        let registry = registry.with_application(application("b", 2)).unwrap();
        let registry = registry.with_transport(transport("b", 2)).unwrap();
        assert_eq!(registry.application("b").unwrap().number, 2);
        assert_eq!(registry.transport("b").unwrap().number, 2);
        assert_eq!(registry.transports().iter().map(|profile| profile.name).collect::<Vec<_>>(), ["a", "b"]);
        for error in [registry.application("c").err().unwrap(), registry.transport("c").err().unwrap()] {
            assert_eq!(error, RegistryError::Unknown { name: "c".into(), linked: "a, b".into() });
            assert!(error.to_string().contains("use ace_profile_x as _"));
        }
        let none = Registry::empty().application("c").err().unwrap().to_string();
        assert!(none.contains("linked are: none"), "{none}");
    }
}
