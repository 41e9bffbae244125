//! Parameters of a group, as a configuration file holds them; each profile reads its own.

mod parameters;
mod reader;
mod value;

pub use parameters::{Difference, Parameter, Parameters};
pub use reader::ParameterReader;

use crate::Secret;
use crate::traits::crypto::{CryptoProvider, SignatureAlgorithm, SigningKey};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use zeroize::Zeroizing;

/// One value of a configuration.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum ConfigValue {
    /// true or false
    Bool(bool),
    /// A whole number, in the units of its parameter.
    Int(i64),
    /// A string, in UTF-8.
    Text(String),
    /// Several values, in their order.
    List(Vec<ConfigValue>),
    /// Values by name: a table of the file.
    Map(BTreeMap<String, ConfigValue>),
    /// A secret out of storage; in a file it is text.
    Secret(Secret),
    /// A number with a fraction: no parameter takes one, and each says so by its own name.
    Fraction(f64),
}

/// What kind of value it is: it may be a key.
impl std::fmt::Debug for ConfigValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(_) => f.write_str("text"),
            Self::List(values) => f.debug_list().entries(values).finish(),
            Self::Map(values) => f.debug_map().entries(values).finish(),
            Self::Secret(secret) => secret.fmt(f),
            Self::Fraction(value) => write!(f, "{value}"),
        }
    }
}

/// Named values. Reading takes a value out, so that [`ConfigMap::finish`] can refuse what nobody read.
///
/// ```
/// use ace_groupcomm::config::{ConfigMap, ConfigValue};
///
/// let mut config = ConfigMap::default();
/// config.insert("codec", ConfigValue::Text("opus".into()));
/// config.insert("seed", ConfigValue::Text("00".repeat(32)));
/// let secrets = config.secrets_taken();
///
/// assert_eq!(config.text("codec")?.as_deref(), Some("opus"));
/// assert_eq!(config.required("seed", ConfigMap::secret)?.expose().len(), 32);
/// config.finish()?;
/// assert_eq!(secrets.to_vec().len(), 1, "who reads files knows now that this one holds a key");
/// # Ok::<(), ace_groupcomm::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "BTreeMap<String, ConfigValue>")]
pub struct ConfigMap {
    values: BTreeMap<String, ConfigValue>,
    taken: SecretsTaken,
}

/// The secrets that were read of a [`ConfigMap`], of its clones and of the tables in it: the file that they came from must not
/// be readable by others.
#[derive(Clone, Debug, Default)]
pub struct SecretsTaken(Arc<Mutex<Vec<Secret>>>);

impl SecretsTaken {
    fn note(&self, secret: &Secret) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(secret.clone());
    }

    /// Returns the secrets that were read so far, in the order in which that happened.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Secret> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Maps with the same values are the same, whatever was read of them.
impl PartialEq for ConfigMap {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl From<BTreeMap<String, ConfigValue>> for ConfigMap {
    fn from(values: BTreeMap<String, ConfigValue>) -> Self {
        Self { values, taken: SecretsTaken::default() }
    }
}

impl FromIterator<(String, ConfigValue)> for ConfigMap {
    fn from_iter<I: IntoIterator<Item = (String, ConfigValue)>>(values: I) -> Self {
        BTreeMap::from_iter(values).into()
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {reason}")]
pub struct ConfigError {
    /// The key that is wrong.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl ConfigError {
    /// An error about a key.
    #[must_use]
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }

    /// A value of another kind than is wanted.
    fn kind(key: &str, wanted: &str, found: &ConfigValue) -> Self {
        Self::new(key, format!("must be {wanted}, and is {}", found.kind()))
    }
}

impl ConfigMap {
    /// Sets a value; one of the same name is replaced.
    pub fn insert(&mut self, key: impl Into<String>, value: ConfigValue) {
        self.values.insert(key.into(), value);
    }

    /// Returns the secrets that were read of it, and of its clones, until the result is looked at.
    #[must_use]
    pub fn secrets_taken(&self) -> SecretsTaken {
        self.taken.clone()
    }

    /// Takes a text.
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.values.remove(key) {
            None => Ok(None),
            Some(ConfigValue::Text(text)) => Ok(Some(text)),
            Some(other) => Err(ConfigError::kind(key, "a string", &other)),
        }
    }

    /// Takes a whole number.
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else.
    pub fn int(&mut self, key: &str) -> Result<Option<i64>, ConfigError> {
        match self.values.remove(key) {
            None => Ok(None),
            Some(ConfigValue::Int(int)) => Ok(Some(int)),
            Some(other) => Err(ConfigError::kind(key, "a whole number", &other)),
        }
    }

    /// Takes a whole number that is not negative.
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else.
    pub fn uint(&mut self, key: &str) -> Result<Option<u64>, ConfigError> {
        let int = self.int(key)?;
        int.map(|int| u64::try_from(int).map_err(|_| ConfigError::new(key, "must not be negative"))).transpose()
    }

    /// Takes a list.
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else.
    pub fn list(&mut self, key: &str) -> Result<Option<Vec<ConfigValue>>, ConfigError> {
        match self.values.remove(key) {
            None => Ok(None),
            Some(ConfigValue::List(values)) => Ok(Some(values)),
            Some(other) => Err(ConfigError::kind(key, "a list", &other)),
        }
    }

    /// Takes a table, whose values are taken in their turn.
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else.
    pub fn map(&mut self, key: &str) -> Result<Option<Self>, ConfigError> {
        match self.values.remove(key) {
            None => Ok(None),
            Some(ConfigValue::Map(values)) => Ok(Some(Self { values, taken: self.taken.clone() })),
            Some(other) => Err(ConfigError::kind(key, "a table", &other)),
        }
    }

    /// Takes what has to be there: `map.required("name", ConfigMap::text)`.
    ///
    /// # Errors
    /// [`ConfigError`] where it is missing; that of `take`.
    pub fn required<T>(
        &mut self,
        key: &str,
        take: impl FnOnce(&mut Self, &str) -> Result<Option<T>, ConfigError>,
    ) -> Result<T, ConfigError> {
        take(self, key)?.ok_or_else(|| ConfigError::new(key, "is missing"))
    }

    /// Takes true or false.
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else.
    pub fn bool(&mut self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.values.remove(key) {
            None => Ok(None),
            Some(ConfigValue::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(ConfigError::kind(key, "true or false", &other)),
        }
    }

    /// Takes secret bytes, written in hexadecimal. A key that is read in another way is not looked after: see
    /// [`Self::secrets_taken`].
    ///
    /// # Errors
    /// [`ConfigError`] where it is something else.
    pub fn secret(&mut self, key: &str) -> Result<Option<Secret>, ConfigError> {
        if let Some(ConfigValue::Secret(secret)) = self.values.get(key) {
            let secret = secret.clone();
            self.values.remove(key);
            return Ok(Some(secret));
        }
        let Some(text) = self.text(key)?.map(Zeroizing::new) else { return Ok(None) };
        let bytes = from_hex(&text).ok_or_else(|| ConfigError::new(key, "must be hexadecimal, two digits a byte"))?;
        let secret = Secret::new(bytes);
        self.taken.note(&secret);
        Ok(Some(secret))
    }

    /// Reads the secret of a signing key, which must be there: in hexadecimal, 32 bytes for the algorithms that there are.
    ///
    /// # Errors
    /// [`ConfigError`] where it is missing, or is no key of the algorithm.
    pub fn signing_key(
        &mut self,
        key: &str,
        algorithm: SignatureAlgorithm,
        crypto: &dyn CryptoProvider,
    ) -> Result<Arc<dyn SigningKey>, ConfigError> {
        self.signing_key_and_secret(key, algorithm, crypto).map(|(signing, _)| signing)
    }

    fn signing_key_and_secret(
        &mut self,
        key: &str,
        algorithm: SignatureAlgorithm,
        crypto: &dyn CryptoProvider,
    ) -> Result<(Arc<dyn SigningKey>, Secret), ConfigError> {
        let secret = self.required(key, Self::secret)?;
        let signing = crypto.signing_key(algorithm, &secret);
        let signing = signing.ok_or_else(|| ConfigError::new(key, "must be 32 bytes in hexadecimal"))?;
        Ok((signing, secret))
    }

    /// Takes the values of these keys, as a map of its own.
    pub(crate) fn take_all(&mut self, keys: &[&str]) -> Self {
        let taken = keys.iter().filter_map(|key| self.values.remove_entry(*key));
        Self { values: taken.collect(), taken: self.taken.clone() }
    }

    /// Refuses what nobody has taken.
    ///
    /// # Errors
    /// [`ConfigError`] with the first key that is left.
    pub fn finish(self) -> Result<(), ConfigError> {
        match self.values.into_keys().next() {
            None => Ok(()),
            Some(key) => Err(ConfigError::new(key, "is not known here")),
        }
    }
}

/// Reads hexadecimal digits, two a byte.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, ConfigValue)]) -> ConfigMap {
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_value_of_another_kind_is_told_by_its_key_and_both_kinds() {
        let mut read = map(&[
            ("a", ConfigValue::Fraction(1.5)),
            ("b", ConfigValue::List(vec![ConfigValue::Int(1)])),
            ("c", ConfigValue::Map(BTreeMap::from([("d".into(), ConfigValue::Bool(true))]))),
            ("e", ConfigValue::Text("zz".into())),
        ]);
        let told = |error: ConfigError| error.to_string();
        assert_eq!(
            read.clone().uint("a").map_err(told),
            Err("a: must be a whole number, and is a number with a fraction".into())
        );
        assert_eq!(read.clone().text("b").map_err(told), Err("b: must be a string, and is a list".into()));
        assert_eq!(read.clone().list("c").map_err(told), Err("c: must be a list, and is a table".into()));
        assert_eq!(read.clone().map("e").map_err(told), Err("e: must be a table, and is a string".into()));
        assert_eq!(read.clone().bool("e").map_err(told), Err("e: must be true or false, and is a string".into()));
        assert_eq!(read.clone().secret("e").map_err(told), Err("e: must be hexadecimal, two digits a byte".into()));
        assert_eq!(read.clone().required("f", ConfigMap::int).map_err(told), Err("f: is missing".into()));
        assert_eq!(read.list("b"), Ok(Some(vec![ConfigValue::Int(1)])));
        let mut inner = read.required("c", ConfigMap::map).unwrap();
        assert_eq!((inner.required("d", ConfigMap::bool), inner.finish()), (Ok(true), Ok(())));
        assert_eq!((read.int("none"), read.map("none")), (Ok(None), Ok(None)));
    }

    #[test]
    fn values_are_taken_by_kind_and_what_is_left_is_refused() {
        let mut map = ConfigMap::default();
        map.insert("text", ConfigValue::Text("0aFF".into()));
        map.insert("int", ConfigValue::Int(-1));
        map.insert("bool", ConfigValue::Bool(true));
        assert_eq!(map.clone().secret("text"), Ok(Some(Secret::new(vec![10, 255]))));
        assert_eq!(map.clone().text("text"), Ok(Some("0aFF".into())));
        assert_eq!(map.clone().bool("bool"), Ok(Some(true)));
        assert_eq!(map.uint("none"), Ok(None));
        assert_eq!(map.clone().uint("int").unwrap_err().to_string(), "int: must not be negative");
        assert!(
            map.clone().uint("bool").is_err() && map.clone().text("int").is_err() && map.clone().bool("text").is_err()
        );
        assert_eq!(map.uint("int").is_err(), map.clone().finish().is_err());
        assert_eq!(ConfigMap::default().finish(), Ok(()));
    }

    #[test]
    fn hexadecimal_has_two_digits_a_byte() {
        assert_eq!(from_hex(""), Some(vec![]));
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("012"), None);
        assert_eq!(from_hex("é0"), None);
    }
}
