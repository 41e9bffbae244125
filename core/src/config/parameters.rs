//! A group's parameters in the form in which they are stored and compared.

use super::{ConfigMap, ConfigValue};
use crate::Secret;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One parameter of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Parameter {
    /// true or false
    Bool(bool),
    /// A whole number, not negative, in the units of its parameter.
    Uint(u64),
    /// A whole number that may be negative, e.g. the number of a COSE algorithm.
    Int(i64),
    /// A string, in UTF-8; no secret.
    Text(String),
    /// Several parameters, in their order; no secret among them.
    List(Vec<Parameter>),
    /// A secret, and what is shown of it: a public key or a fingerprint.
    Secret {
        /// The secret, which is stored sealed and never shown.
        value: Secret,
        /// What everybody may see.
        shown: String,
    },
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(Self::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Secret { shown, .. } => f.write_str(shown),
        }
    }
}

/// All parameters of a group: what a file leaves out stands here with its default.
///
/// A profile makes them of what it has read ([`GroupRules::parameters`]); [`Self::to_config`] gives them back to it. A
/// KDC stores them with the group, and refuses to start where a file says something else.
///
/// [`GroupRules::parameters`]: crate::traits::profile::GroupRules::parameters
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(BTreeMap<String, Parameter>);

impl Parameters {
    /// Returns the parameters with one more; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, name: &str, value: Parameter) -> Self {
        self.0.insert(name.into(), value);
        self
    }

    /// A parameter by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.get(name)
    }

    /// All parameters, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Parameter)> {
        self.0.iter()
    }

    /// The parameters as a file could hold them, for [`ApplicationProfile::configure`].
    ///
    /// [`ApplicationProfile::configure`]: crate::traits::profile::ApplicationProfile::configure
    #[must_use]
    pub fn to_config(&self) -> ConfigMap {
        self.0.iter().map(|(name, parameter)| (name.clone(), value(parameter))).collect()
    }

    /// In what these, which are stored, differ from those that are configured.
    #[must_use]
    pub fn differences(&self, configured: &Self) -> Vec<Difference> {
        let names: BTreeSet<&String> = self.0.keys().chain(configured.0.keys()).collect();
        let differing = names.into_iter().filter(|name| self.get(name) != configured.get(name));
        let shown = |parameter: Option<&Parameter>| parameter.map(Parameter::to_string);
        let difference = |name: &String| Difference {
            parameter: name.clone(),
            stored: shown(self.get(name)),
            configured: shown(configured.get(name)),
        };
        differing.map(difference).collect()
    }
}

/// A parameter as a file could hold it.
fn value(parameter: &Parameter) -> ConfigValue {
    match parameter {
        Parameter::Bool(value) => ConfigValue::Bool(*value),
        Parameter::Uint(value) => ConfigValue::Int(i64::try_from(*value).unwrap_or(i64::MAX)),
        Parameter::Int(value) => ConfigValue::Int(*value),
        Parameter::Text(value) => ConfigValue::Text(value.clone()),
        Parameter::List(values) => ConfigValue::List(values.iter().map(value).collect()),
        Parameter::Secret { value, .. } => ConfigValue::Secret(value.clone()),
    }
}

/// A parameter that is stored otherwise than it is configured. Of a secret it holds what may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name that it has in a configuration file.
    pub parameter: String,
    /// The value that is stored, if there is one.
    pub stored: Option<String>,
    /// The value that is configured, if there is one.
    pub configured: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |value: &Option<String>| value.clone().unwrap_or_else(|| "not there".into());
        write!(f, "{} is {} in storage, and {} here", self.parameter, words(&self.stored), words(&self.configured))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{from_bytes, to_bytes};

    fn parameters(seed: u8) -> Parameters {
        let (value, shown) = (Secret::new(vec![seed; 4]), format!("public key {seed:02x}"));
        Parameters::default()
            .with("mode", Parameter::Text("group".into()))
            .with("life", Parameter::Uint(7))
            .with("strict", Parameter::Bool(true))
            .with("alg", Parameter::Int(-7))
            .with("codecs", Parameter::List(vec![Parameter::Text("opus".into()), Parameter::Uint(8)]))
            .with("key", Parameter::Secret { value, shown })
    }

    #[test]
    fn parameters_come_back_from_storage_and_can_be_read_as_a_file() {
        let parameters = parameters(0xab);
        assert_eq!(from_bytes::<Parameters>(&to_bytes(&parameters, 1), 1).as_ref(), Ok(&parameters));
        let mut config = parameters.to_config();
        assert_eq!(config.text("mode"), Ok(Some("group".into())));
        assert_eq!(config.uint("life"), Ok(Some(7)));
        assert_eq!(config.bool("strict"), Ok(Some(true)));
        assert_eq!(config.int("alg"), Ok(Some(-7)));
        let codecs = vec![ConfigValue::Text("opus".into()), ConfigValue::Int(8)];
        assert_eq!(config.list("codecs"), Ok(Some(codecs)));
        assert_eq!(config.secret("key"), Ok(Some(Secret::new(vec![0xab; 4]))));
        assert_eq!(config.finish(), Ok(()));
    }

    #[test]
    fn a_difference_shows_both_values_and_no_secret() {
        assert_eq!(parameters(1).differences(&parameters(1)), []);
        let other = parameters(2).with("life", Parameter::Uint(8)).with("more", Parameter::Text("a\nb".into()));
        let parameters_of_one = parameters(1);
        let words: Vec<String> = parameters_of_one.differences(&other).iter().map(Difference::to_string).collect();
        assert_eq!(
            words,
            [
                "key is public key 01 in storage, and public key 02 here",
                "life is 7 in storage, and 8 here",
                "more is not there in storage, and \"a\\nb\" here",
            ]
        );
        assert_eq!(parameters_of_one.get("codecs").map(ToString::to_string), Some("[\"opus\", 8]".into()));
        let shown = format!("{:?}", parameters(0x5e));
        assert!(shown.contains("public key 5e") && !shown.contains("94, 94"), "{shown}");
    }
}
