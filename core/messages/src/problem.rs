//! Error responses of a KDC: problem details (RFC 9290) with `ace-groupcomm-error` (RFC 9594 section 4.1.2).

use crate::cbor::{DecodeError, Item, MapReader, MapWriter, int};
use crate::labels::problem;
use alloc::string::String;
use alloc::vec::Vec;

/// Error identifiers: RFC 9594 section 9, from 7 on Group OSCORE profile section 17.11 (suggested).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GroupcommError {
    /// Operation permitted only to group members.
    NotAMember = 0,
    /// Request inconsistent with the current roles.
    InconsistentWithRoles = 1,
    /// Authentication credential incompatible with the group configuration.
    IncompatibleCredential = 2,
    /// Invalid proof-of-possession evidence.
    InvalidProof = 3,
    /// No available individual keying material.
    NoIndividualKeyingMaterial = 4,
    /// Group membership terminated.
    MembershipTerminated = 5,
    /// Group deleted.
    GroupDeleted = 6,
    /// Signatures not used in the group.
    SignaturesNotUsed = 7,
    /// Operation permitted only to signature verifiers.
    NotAVerifier = 8,
    /// Group currently not active.
    GroupInactive = 9,
}

impl GroupcommError {
    /// The error with this number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::NotAMember,
            1 => Self::InconsistentWithRoles,
            2 => Self::IncompatibleCredential,
            3 => Self::InvalidProof,
            4 => Self::NoIndividualKeyingMaterial,
            5 => Self::MembershipTerminated,
            6 => Self::GroupDeleted,
            7 => Self::SignaturesNotUsed,
            8 => Self::NotAVerifier,
            9 => Self::GroupInactive,
            _ => return None,
        })
    }

    /// Its description in the registry.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::NotAMember => "Operation permitted only to group members",
            Self::InconsistentWithRoles => "Request inconsistent with the current roles",
            Self::IncompatibleCredential => "Authentication credential incompatible with the group configuration",
            Self::InvalidProof => "Invalid proof-of-possession evidence",
            Self::NoIndividualKeyingMaterial => "No available individual keying material",
            Self::MembershipTerminated => "Group membership terminated",
            Self::GroupDeleted => "Group deleted",
            Self::SignaturesNotUsed => "Signatures not used in the group",
            Self::NotAVerifier => "Operation permitted only to signature verifiers",
            Self::GroupInactive => "Group currently not active",
        }
    }
}

/// A problem-details object (RFC 9290 section 2), with the Custom Problem Detail of RFC 9594 section 4.1.2.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProblemDetails {
    /// A short summary, for people.
    pub title: Option<String>,
    /// What went wrong this time, for people.
    pub detail: Option<String>,
    /// The number of the error; one may be known to a profile alone.
    pub error_id: Option<i64>,
}

impl From<GroupcommError> for ProblemDetails {
    fn from(error: GroupcommError) -> Self {
        Self { title: Some(error.description().into()), detail: None, error_id: Some(i64::from(error as u8)) }
    }
}

impl ProblemDetails {
    /// Reads the payload. Unknown entries are ignored.
    ///
    /// # Errors
    /// [`DecodeError`] where a known entry has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        let error_id = |item: Item<'_>| {
            MapReader::from_item(item, "ace-groupcomm-error")?.required(problem::ERROR_ID, "error-id", int("error-id"))
        };
        // A title or detail may come with language information (RFC 9290 section 2); then it is left out.
        let untagged = |item: Option<Item<'_>>| item.and_then(Item::text);
        Ok(Self {
            title: untagged(map.take(problem::TITLE)),
            detail: untagged(map.take(problem::DETAIL)),
            error_id: map.optional(problem::ACE_GROUPCOMM_ERROR, error_id)?,
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        if let Some(error_id) = self.error_id {
            let mut inner = MapWriter::new();
            inner.int(problem::ERROR_ID, Some(error_id));
            inner.write(map.entry(problem::ACE_GROUPCOMM_ERROR));
        }
        map.text(problem::TITLE, self.title.as_deref());
        map.text(problem::DETAIL, self.detail.as_deref());
        map.finish()
    }

    /// The error, where its number is known here.
    #[must_use]
    pub fn error(&self) -> Option<GroupcommError> {
        GroupcommError::from_number(self.error_id?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: KG-4.1.2-10, KG-4.1.2-11, KG-4.1.2-12
    #[test]
    fn the_error_stands_in_a_map_of_its_own() {
        let bare = ProblemDetails { title: None, detail: None, error_id: Some(9) };
        assert_eq!(hex::encode(bare.encode()), "a100a10009");
        for number in 0..=9 {
            let error = GroupcommError::from_number(number).unwrap();
            assert!(error.description().len() > 10, "{number}");
            let details = ProblemDetails::from(error);
            let read = ProblemDetails::decode(&details.encode()).unwrap();
            assert_eq!((read.error(), &read), (Some(error), &details));
        }
        assert_eq!(GroupcommError::from_number(10), None);
        assert_eq!(GroupcommError::from_number(-1), None);
        let unknown =
            ProblemDetails::decode(&hex::decode("a300a1001863206178 1864f6".replace(' ', "")).unwrap()).unwrap();
        assert_eq!((unknown.error_id, unknown.error(), unknown.title.as_deref()), (Some(99), None, Some("x")));
        for bad in ["80", "a10000", "a100a0", "a100a10060"] {
            assert!(ProblemDetails::decode(&hex::decode(bad).unwrap()).is_err(), "{bad}");
        }
        let tagged = ProblemDetails::decode(&hex::decode("a120d82682626465617a").unwrap()).unwrap();
        assert_eq!(tagged.title, None);
    }
}
