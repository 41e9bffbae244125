//! The application profiles for topics of a publish-subscribe broker: the keys, Sender IDs and credentials of a security group, by the
//! draft "Publish-Subscribe Profile for Authentication and Authorization for Constrained Environments (ACE)" on top of RFC 9594.
//!
//! What is published goes through a broker that must not read it. Publishers and subscribers of a topic are members of one security
//! group: they get its group key of the KDC, and publishers have a Sender ID and a credential besides, by which subscribers know
//! who has published something.
//!
//! A KDC that links this crate (`use ace_profile_pubsub as _;`) knows two profiles by their names: `coap_group_pubsub_app` for
//! a broker over CoAP, and `mqtt_pubsub_app` for one over MQTT. They differ in their names and numbers alone. A group's
//! parameters are in its configuration:
//!
//! ```
//! use ace_backend_aws_lc::AwsLc;
//! use ace_groupcomm::config::{ConfigMap, ConfigValue};
//! use ace_groupcomm::traits::profile::ApplicationProfile;
//! use ace_profile_pubsub::Pubsub;
//! use ace_profile_pubsub::scope::{PUBLISHER, SUBSCRIBER};
//!
//! let mut parameters = ConfigMap::default();
//! parameters.insert("kdc_key", ConfigValue::Text("11".repeat(32)));
//! let rules = Pubsub::COAP.configure("weather", parameters, &AwsLc)?;
//! assert_eq!(rules.resource_type(), "core.ps.gm");
//! assert!(rules.gets_identifier(PUBLISHER) && !rules.gets_identifier(SUBSCRIBER));
//! # Ok::<(), ace_groupcomm::config::ConfigError>(())
//! ```
//!
//! | parameter | default | meaning |
//! | --- | --- | --- |
//! | `kdc_key` | none, required | the KDC's key for this group, of the algorithm `sign_alg`: its seed or scalar, 32 bytes in hexadecimal |
//! | `kdc_subject` | `kdc` | the subject in its credential |
//! | `alg` | `AES-CCM-16-64-128` | encryption: or `A128GCM`, `A256GCM`, `ChaCha20/Poly1305` |
//! | `sign_alg` | `EdDSA` | how publishers and the KDC sign: `EdDSA` with Ed25519, or `ES256` |
//! | `cred_fmt` | `kccs` | CWT Claims Sets |
//! | `key_lifetime` | 2592000 | how long keying material is good, in seconds |
//!
//! Each group has the parameters of `ace-groupcomm` beside these: `backward_security`, `rekey_delay`, `rekey_interval` and
//! `rekey_on_restart`. The profile has no group policies.
//!
//! A member's side is in [`member`]. What is published under these keys is made and read by [`protect`], which needs nothing of the
//! rest: with `default-features = false` it is all that is there, without the standard library.

#![cfg_attr(not(any(feature = "profile", test)), no_std)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::print_stdout
    )
)]

extern crate alloc;

#[cfg(feature = "profile")]
mod config;
#[cfg(feature = "profile")]
mod credential;
#[cfg(feature = "profile")]
pub mod member;
pub mod protect;
#[cfg(feature = "profile")]
mod rules;
#[cfg(feature = "profile")]
pub mod scope;

#[cfg(feature = "profile")]
pub use config::{COAP, MQTT, Pubsub};
#[cfg(feature = "profile")]
pub use credential::PublisherCredential;
