//! Permissions at a security group (section 3.4.1 of the profile): a set of bits, encoded as an unsigned integer.
//!
//! One data model is for the KDC and the broker. At the KDC two permissions count: to publish, and to read. An entry that names a
//! topic (AppGroup) is for the broker, and one for administrators is for neither.

use ace_groupcomm::traits::profile::{NamedRole, Roles};
use ace_groupcomm_messages::RawCbor;

/// An entry for administrators: bit 0.
const ADMIN: u64 = 1;
/// The entry names an application group, a topic: bit 1.
const APP_GROUP: u64 = 1 << 1;
/// Publishes to the topic: bit 2.
pub const PUBLISHER: Roles = Roles(1 << 2);
/// Subscribes to the topic, and reads it: bit 3.
pub const SUBSCRIBER: Roles = Roles(1 << 3);
/// Deletes what is published, which concerns the broker alone: bit 4.
const DELETE: u64 = 1 << 4;

/// The permissions by name.
pub const NAMED: &[NamedRole] =
    &[NamedRole { name: "publisher", roles: PUBLISHER }, NamedRole { name: "subscriber", roles: SUBSCRIBER }];

/// The roles in a security group that a Tperm stands for; `None` where it stands for none. To delete is no role there, and is ignored.
pub(crate) fn roles(permissions: &RawCbor) -> Option<Roles> {
    let known = PUBLISHER.0 | SUBSCRIBER.0;
    let bits = permissions.as_uint().filter(|bits| bits & !(known | DELETE) == 0)?;
    Some(Roles(bits & known)).filter(|roles| roles.0 != 0)
}

/// Whether a scope entry with this Tperm is for administrators, or for the broker.
pub(crate) fn is_for_others(permissions: &RawCbor) -> bool {
    permissions.as_uint().is_some_and(|bits| bits & (ADMIN | APP_GROUP) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pubsub;
    use ace_groupcomm::traits::profile::ApplicationProfile;
    use ace_groupcomm_messages::{Scope, ScopeEntry};

    // Covers: PS-3.4.1-02
    #[test]
    fn permissions_are_those_of_the_profiles_data_model() {
        for (tperm, known, others) in [
            (0, None, false),
            (1, None, true),
            (2, None, true),
            (4, Some(4), false),
            (5, None, true),
            (6, None, true),
            (8, Some(8), false),
            (12, Some(12), false),
            (14, None, true),
            (16, None, false),
            (20, Some(4), false),
            (28, Some(12), false),
            (32, None, false),
            (36, None, false),
        ] {
            let tperm = RawCbor::uint(tperm);
            assert_eq!(Pubsub::COAP.roles(&tperm).map(|roles| roles.0), known, "{tperm:?}");
            assert_eq!(Pubsub::MQTT.is_for_others(&tperm), others, "{tperm:?}");
        }
        for other in [RawCbor::bytes(&[4]), RawCbor::int(-5), RawCbor::text("publisher")] {
            assert!(Pubsub::COAP.roles(&other).is_none() && !Pubsub::COAP.is_for_others(&other));
        }
        for roles in [4, 8, 12].map(Roles) {
            assert_eq!(Pubsub::COAP.roles(&Pubsub::COAP.permissions(roles)), Some(roles));
            assert_eq!(Pubsub::COAP.roles_from_names(&Pubsub::COAP.role_names(roles).join("+")), Ok(roles));
        }
    }

    // Covers: PS-3.4-01, PS-3.4.1-01
    #[test]
    fn a_scope_has_the_form_of_the_profiles_data_model() {
        let entry =
            |gname: &str, roles| ScopeEntry { gname: gname.into(), permissions: Pubsub::COAP.permissions(roles) };
        let both = Roles(PUBLISHER.0 | SUBSCRIBER.0);
        let scope = Scope::new([entry("weather", PUBLISHER), entry("t", both)]).unwrap();
        assert_eq!(scope.encode(), b"\x82\x82\x67weather\x04\x82\x61t\x0c");
    }
}
