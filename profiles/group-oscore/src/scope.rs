//! Roles in an OSCORE group (section 3 of the profile): a set of bits, encoded as an unsigned integer.

use ace_groupcomm::traits::profile::{NamedRole, Roles};

/// Requester: sends protected requests (Group OSCORE profile section 3).
pub const REQUESTER: Roles = Roles(1 << 1);
/// Responder: sends protected responses (Group OSCORE profile section 3).
pub const RESPONDER: Roles = Roles(1 << 2);
/// Only listens, and has no credential.
pub const MONITOR: Roles = Roles(1 << 3);
/// Verifies signatures from outside the group.
pub const VERIFIER: Roles = Roles(1 << 4);

/// Whether a client joins with these roles: a monitor is nothing else, and a verifier does not join.
#[must_use]
pub const fn may_join(roles: Roles) -> bool {
    let talks = roles.0 & (REQUESTER.0 | RESPONDER.0) == roles.0 && roles.0 != 0;
    talks || roles.0 == MONITOR.0
}

/// Whose credentials somebody with these roles needs: a requester those of responders, and the other way round.
#[must_use]
pub const fn peers_of(roles: Roles) -> Roles {
    let mut peers = 0;
    if roles.meets(REQUESTER) {
        peers |= RESPONDER.0;
    }
    if roles.meets(RESPONDER) || roles.meets(MONITOR) {
        peers |= REQUESTER.0;
    }
    Roles(peers)
}

/// The roles by name. Bit 0 of a Tperm marks an entry for administrators, which is no set of roles.
pub const NAMED: &[NamedRole] = &[
    NamedRole { name: "requester", roles: REQUESTER },
    NamedRole { name: "responder", roles: RESPONDER },
    NamedRole { name: "monitor", roles: MONITOR },
    NamedRole { name: "verifier", roles: VERIFIER },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupOscore;
    use ace_groupcomm::traits::profile::ApplicationProfile;
    use ace_groupcomm_messages::{RawCbor, Scope, ScopeEntry, ScopeValue};

    #[test]
    fn sets_of_roles_are_those_of_the_profile() {
        for (tperm, known, joins) in [
            (0, false, false),
            (1, false, false),
            (2, true, true),
            (3, false, false),
            (4, true, true),
            (6, true, true),
            (8, true, true),
            (10, true, false),
            (12, true, false),
            (14, true, false),
            (16, true, false),
            (18, true, false),
            (32, false, false),
        ] {
            assert_eq!(GroupOscore.roles(&RawCbor::uint(tperm)).is_some(), known, "{tperm}");
            assert_eq!(may_join(Roles(tperm)), joins, "{tperm}");
        }
        assert_eq!(GroupOscore.roles(&RawCbor::bytes(&[2])), None);
        assert!(!may_join(Roles(0)));
    }

    // Covers: GO-5.1-01
    #[test]
    fn a_scope_has_the_form_of_the_profiles_data_model() {
        let entry = |gname: &str, roles: Roles| ScopeEntry { gname: gname.into(), permissions: RawCbor::uint(roles.0) };
        let scope = Scope::new([entry("lamps", RESPONDER), entry("g", Roles(REQUESTER.0 | MONITOR.0))]).unwrap();
        // [["lamps", 4], ["g", 10]]: bit 1 is the requester, bit 2 the responder, bit 3 the monitor.
        assert_eq!(scope.encode(), b"\x82\x82\x65lamps\x04\x82\x61g\x0a");
        assert_eq!(ScopeValue::Bytes(scope.encode()).decode(), Ok(scope));
    }

    #[test]
    fn peers_are_those_one_talks_with() {
        assert_eq!(peers_of(REQUESTER), RESPONDER);
        assert_eq!(peers_of(RESPONDER), REQUESTER);
        assert_eq!(peers_of(MONITOR), REQUESTER);
        assert_eq!(peers_of(Roles(6)), Roles(6));
        assert_eq!(peers_of(VERIFIER), Roles(0));
    }

    #[test]
    fn names_come_back() {
        for roles in [2, 4, 6, 8, 16, 30].map(Roles) {
            assert_eq!(GroupOscore.roles_from_names(&GroupOscore.role_names(roles).join("+")), Ok(roles));
        }
        assert_eq!(GroupOscore.roles_from_names("requester + king").map_err(|error| error.name), Err("king".into()));
        let told = GroupOscore.roles_from_names("").unwrap_err().to_string();
        assert!(NAMED.iter().all(|role| told.contains(role.name)), "{told}");
    }
}
