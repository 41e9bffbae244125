//! The application profile for groups that protect their messages with Group OSCORE: the keys, identifiers and
//! credentials of an OSCORE group, by the draft "Key Management for Group OSCORE Using ACE" on top of RFC 9594.
//!
//! A KDC that links this crate (`use ace_profile_group_oscore as _;`) knows the profile by its name,
//! `coap_group_oscore_app`, and reads a group's parameters from its configuration:
//!
//! ```
//! use ace_backend_aws_lc::AwsLc;
//! use ace_groupcomm::config::{ConfigMap, ConfigValue};
//! use ace_groupcomm::traits::profile::ApplicationProfile;
//! use ace_profile_group_oscore::GroupOscore;
//!
//! let mut parameters = ConfigMap::default();
//! parameters.insert("mode", ConfigValue::Text("group".into()));
//! parameters.insert("gm_key", ConfigValue::Text("11".repeat(32)));
//! let rules = GroupOscore.configure("lamps", parameters, &AwsLc)?;
//! assert_eq!(rules.resource_type(), "core.osc.gm");
//! # Ok::<(), ace_groupcomm::config::ConfigError>(())
//! ```
//!
//! | parameter | default | meaning |
//! | --- | --- | --- |
//! | `mode` | `group+pairwise` | which modes of Group OSCORE: `group` or `group+pairwise` |
//! | `gm_key` | none, required | the Group Manager's Ed25519 key for this group: its seed, 32 bytes in hexadecimal |
//! | `gm_subject` | `group-manager` | the subject in its credential |
//! | `hkdf` | `HKDF SHA-256` | or `HKDF SHA-512` |
//! | `gp_enc_alg`, `alg` | `AES-CCM-16-64-128` | encryption in group mode and in pairwise mode: or `A128GCM`, `A256GCM`, `ChaCha20/Poly1305` |
//! | `sign_alg` | `EdDSA` | with Ed25519 |
//! | `cred_fmt` | `kccs` | CWT Claims Sets |
//! | `key_update_check_interval` | 3600 | policy, in seconds |
//! | `expiration_delta` | 0 | policy, in seconds |
//! | `key_lifetime` | 2592000 | how long keying material is good, in seconds |
//! | `max_stale_sets` | 3 | of how many versions members can learn which Sender IDs went stale: who has missed more drops all |
//!
//! Each group has the parameters of `ace-groupcomm` beside these: `backward_security`, `rekey_delay`, `rekey_interval` and
//! `rekey_on_restart`.
//!
//! What comes later is refused by name: other signature algorithms and credential formats, and groups that are pairwise-only.
//!
//! A member's side is in [`member`].

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

mod config;
mod material;
pub mod member;
mod resources;
mod rules;
pub mod scope;

pub use config::{DESCRIPTOR, GroupOscore};
