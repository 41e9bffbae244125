//! Reads the parameters of a group, and notes them in the form in which they are stored.

use super::{ConfigError, ConfigMap, Parameter, Parameters};
use crate::traits::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Reads the parameters of a group one by one, each with its default, and makes the [`Parameters`] of them that a profile has to
/// keep.
///
/// ```
/// use ace_groupcomm::config::{ConfigMap, ConfigValue, ParameterReader};
///
/// let mut config = ConfigMap::default();
/// config.insert("codec", ConfigValue::Text("opus".into()));
/// let mut read = ParameterReader::new(config);
/// assert_eq!(read.choose("codec", &[("opus", 1), ("speex", 2)], "speex")?, 1);
/// assert_eq!(read.uint("kbits", 64, 1..=1_000)?, 64);
/// let parameters = read.finish()?;
/// assert_eq!(parameters.get("kbits").map(ToString::to_string), Some("64".into()));
/// # Ok::<(), ace_groupcomm::config::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct ParameterReader {
    config: ConfigMap,
    parameters: Parameters,
}

impl ParameterReader {
    /// Reads this configuration.
    #[must_use]
    pub fn new(config: ConfigMap) -> Self {
        Self { config, parameters: Parameters::default() }
    }

    /// Returns the configuration, for a parameter that is read in another way; [`Self::note`] it.
    pub fn config(&mut self) -> &mut ConfigMap {
        &mut self.config
    }

    /// Notes a parameter that was read in another way.
    pub fn note(&mut self, key: &str, value: Parameter) {
        self.parameters = std::mem::take(&mut self.parameters).with(key, value);
    }

    /// Reads a name out of a list.
    ///
    /// # Errors
    /// [`ConfigError`] where it is not in the list, with the names that are.
    pub fn choose<T: Copy>(&mut self, key: &str, known: &[(&str, T)], default: &str) -> Result<T, ConfigError> {
        let name = self.config.text(key)?.unwrap_or_else(|| default.into());
        let Some(&(_, value)) = known.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = known.iter().map(|(known, _)| *known).collect();
            let reason = format!("{name:?} is not available; known are: {}", known.join(", "));
            return Err(ConfigError::new(key, reason));
        };
        self.note(key, Parameter::Text(name));
        Ok(value)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else.
    pub fn text(&mut self, key: &str, default: &str) -> Result<String, ConfigError> {
        let text = self.config.text(key)?.unwrap_or_else(|| default.into());
        self.note(key, Parameter::Text(text.clone()));
        Ok(text)
    }

    /// Reads a whole number within these bounds.
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else, or out of bounds.
    pub fn uint(&mut self, key: &str, default: u64, within: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let value = self.config.uint(key)?.unwrap_or(default);
        if !within.contains(&value) {
            return Err(ConfigError::new(key, format!("must be {} to {}", within.start(), within.end())));
        }
        self.note(key, Parameter::Uint(value));
        Ok(value)
    }

    /// Reads a time in whole seconds, within these bounds.
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else, or out of bounds.
    pub fn seconds(&mut self, key: &str, default: u64, within: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let bounds = format!("must be {} to {} seconds", within.start(), within.end());
        let value = self.config.uint(key)?.unwrap_or(default);
        if !within.contains(&value) {
            return Err(ConfigError::new(key, bounds));
        }
        self.note(key, Parameter::Uint(value));
        Ok(value)
    }

    /// Reads true or false.
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else.
    pub fn bool(&mut self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let value = self.config.bool(key)?.unwrap_or(default);
        self.note(key, Parameter::Bool(value));
        Ok(value)
    }

    /// Reads the secret of a signing key, which must be there. What may be shown of it is its public key.
    ///
    /// # Errors
    /// [`ConfigError`] where it is missing, or is no key of the algorithm.
    pub fn signing_key(
        &mut self,
        key: &str,
        algorithm: SignatureAlgorithm,
        crypto: &dyn CryptoProvider,
    ) -> Result<Arc<dyn SigningKey>, ConfigError> {
        let (signing, value) = self.config.signing_key_and_secret(key, algorithm, crypto)?;
        let public: String = signing.public().iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = format!("the key with the public key {public}");
        self.note(key, Parameter::Secret { value, shown });
        Ok(signing)
    }

    /// Refuses what nobody has read, and returns the parameters.
    ///
    /// # Errors
    /// [`ConfigError`] with the first key that is left.
    pub fn finish(self) -> Result<Parameters, ConfigError> {
        self.config.finish()?;
        Ok(self.parameters)
    }
}
