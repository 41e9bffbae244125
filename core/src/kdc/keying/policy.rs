//! When a group is rekeyed: parameters that each group has, whatever its profile. They stand beside those of the profile in a
//! configuration, and are stored and compared with them.

use crate::config::{ConfigError, ConfigMap, ParameterReader, Parameters};
use std::time::Duration;

/// Their names: no profile has a parameter of one of these.
pub(crate) const NAMES: [&str; 5] =
    ["backward_security", "forward_security", "rekey_delay", "rekey_interval", "rekey_on_restart"];

/// The longest delay, in seconds: so long whoever has left can read on.
pub(in crate::kdc) const MAX_DELAY: u64 = 600;
/// The longest time between scheduled rekeyings, in seconds: 10 years.
const MAX_INTERVAL: u64 = 315_360_000;

/// When a group is rekeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kdc) struct RekeyPolicy {
    /// How long causes are gathered before they are met by one rekeying.
    pub(in crate::kdc) delay: Duration,
    /// Whether a new member gets a version that begins with its membership, so that it cannot read what was said before.
    pub(in crate::kdc) backward_security: bool,
    /// After how long a version gives way to the next one, whatever happens.
    pub(in crate::kdc) interval: Option<Duration>,
    /// Whether a start of the KDC is a cause.
    pub(in crate::kdc) on_restart: bool,
}

impl RekeyPolicy {
    /// Takes the parameters out of a configuration; the others are the profile's.
    ///
    /// # Errors
    /// [`ConfigError`] where one is something else, or out of bounds.
    pub(in crate::kdc) fn take(config: &mut ConfigMap) -> Result<(Self, Parameters), ConfigError> {
        let mut read = ParameterReader::new(config.take_all(&NAMES));
        // There is no other way (Group OSCORE profile section 7): the word is there for those who look for it.
        if read.config().bool("forward_security")? == Some(false) {
            return Err(ConfigError::new(
                "forward_security",
                "cannot be turned off: a group is rekeyed when a member leaves or is put out",
            ));
        }
        let delay = Duration::from_secs(read.seconds("rekey_delay", 5, 0..=MAX_DELAY)?);
        let backward_security = read.bool("backward_security", false)?;
        let interval = read.seconds("rekey_interval", 0, 0..=MAX_INTERVAL)?;
        let on_restart = read.bool("rekey_on_restart", false)?;
        let interval = Some(Duration::from_secs(interval)).filter(|interval| !interval.is_zero());
        Ok((Self { delay, backward_security, interval, on_restart }, read.finish()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigValue, Parameter};

    fn take(entries: &[(&str, ConfigValue)]) -> Result<(RekeyPolicy, Parameters, ConfigMap), ConfigError> {
        let mut config: ConfigMap = entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let (policy, parameters) = RekeyPolicy::take(&mut config)?;
        Ok((policy, parameters, config))
    }

    #[test]
    fn a_group_without_a_word_is_rekeyed_after_five_seconds_and_never_for_a_join() {
        let (policy, parameters, rest) = take(&[("mode", ConfigValue::Int(1))]).unwrap();
        let delay = Duration::from_secs(5);
        assert_eq!(policy, RekeyPolicy { delay, backward_security: false, interval: None, on_restart: false });
        assert_eq!(parameters.get("rekey_delay"), Some(&Parameter::Uint(5)));
        assert_eq!(rest.clone().int("mode"), Ok(Some(1)), "the profile's own is left");
        assert_eq!(rest.finish().unwrap_err().key, "mode");
    }

    #[test]
    fn what_is_said_counts_and_makes_the_same_policy_again() {
        let entries = [
            ("rekey_delay", ConfigValue::Int(0)),
            ("backward_security", ConfigValue::Bool(true)),
            ("rekey_interval", ConfigValue::Int(3_600)),
            ("rekey_on_restart", ConfigValue::Bool(true)),
            ("forward_security", ConfigValue::Bool(true)),
        ];
        let (policy, parameters, _) = take(&entries).unwrap();
        assert_eq!((policy.delay, policy.interval), (Duration::ZERO, Some(Duration::from_secs(3_600))));
        assert!(policy.backward_security && policy.on_restart);
        let mut again = parameters.to_config();
        assert_eq!(RekeyPolicy::take(&mut again), Ok((policy, parameters)));
        assert_eq!(again.finish(), Ok(()));
    }

    // Covers: TH-4-01/config-refused
    #[test]
    fn what_would_let_those_who_are_out_read_on_is_refused() {
        for (name, value) in [
            ("forward_security", ConfigValue::Bool(false)),
            ("rekey_delay", ConfigValue::Int(601)),
            ("rekey_interval", ConfigValue::Int(-1)),
            ("backward_security", ConfigValue::Int(1)),
        ] {
            assert_eq!(take(&[(name, value)]).unwrap_err().key, name);
        }
    }
}
