//! Keys for media groups, as an application profile of one's own: senders and receivers of protected streams, in the way of
//! SRTP. Nothing of it is in `ace-groupcomm`.
//!
//! | what | here |
//! | --- | --- |
//! | roles | `sender`, with an ES256 credential and a synchronisation source (SSRC); `receiver`, with neither |
//! | `key` | `[master key, master salt, Gid]`, and for a sender its SSRC behind that |
//! | identifiers | the SSRC: always 4 bytes |
//! | a parameter of its own | [`BITRATE`]: how many kbit/s a sender will need. The group has a limit |
//! | a resource of its own | GET `streams`: a CBOR array of `[SSRC (4 bytes), kbit/s, title]`. A sender POSTs the title of its stream, as CBOR text, to `streams/SSRC`, in 8 lower-case hexadecimal digits. A sender that leaves gives its kbit/s back |
//!
//! `src/bin` has a KDC, an AS and a member with such groups, each in three lines.

mod kdc;
mod member;

use ace_groupcomm::Roles;
use ace_groupcomm::config::{ConfigError, ConfigMap};
use ace_groupcomm::registry::{ApplicationProfileDescriptor, submit};
use ace_groupcomm::traits::crypto::CryptoProvider;
use ace_groupcomm::traits::member::MemberRules;
use ace_groupcomm::traits::profile::{ApplicationProfile, GroupRules, NamedRole};
use ace_groupcomm_messages::Label;
use std::sync::Arc;

/// The number of the profile, and of its key type: from the range for private use.
pub const NUMBER: i64 = -70_010;
/// The parameter of a Join Request with the kbit/s that a sender needs; in the Join Response it is what the group has left.
pub const BITRATE: Label = Label::Int(-70_011);
/// The error-id of a join that asks for more than the group has left.
pub const NO_BITRATE: i64 = -70_012;

/// Who sends a stream.
pub const SENDER: Roles = Roles(1);
/// Who receives streams.
pub const RECEIVER: Roles = Roles(2);

/// Groups for media streams, at the KDC and at members.
pub struct Media;

/// Name and number under which KDC, AS and member find the profile.
pub const DESCRIPTOR: ApplicationProfileDescriptor =
    ApplicationProfileDescriptor { name: "media", number: NUMBER, crate_name: env!("CARGO_PKG_NAME"), profile: &Media };

submit! { DESCRIPTOR }

impl ApplicationProfile for Media {
    fn named_roles(&self) -> &'static [NamedRole] {
        &[NamedRole { name: "sender", roles: SENDER }, NamedRole { name: "receiver", roles: RECEIVER }]
    }

    fn configure(
        &self,
        gname: &str,
        config: ConfigMap,
        crypto: &dyn CryptoProvider,
    ) -> Result<Arc<dyn GroupRules>, ConfigError> {
        Ok(Arc::new(kdc::MediaGroup::configure(gname, config, crypto)?))
    }

    fn member(
        &self,
        gname: &str,
        roles: Roles,
        config: ConfigMap,
        crypto: Arc<dyn CryptoProvider>,
    ) -> Result<Arc<dyn MemberRules>, ConfigError> {
        Ok(Arc::new(member::MediaMember::configure(gname, roles, config, crypto)?))
    }
}
