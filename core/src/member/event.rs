//! What an application is told of its groups.

use super::bytes::Bytes;
use super::verify::VerificationData;
use ace_groupcomm_messages::GroupName;

/// Something that has happened to the member or its group, in the order in which it was safe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberEvent {
    /// It is a member, of this version.
    Joined {
        /// The version of the keying material.
        num: i64,
    },
    /// The group has another version. It sends under that alone from now on.
    Rekeyed {
        /// The version of the keying material.
        num: i64,
    },
    /// A version was missed: what is protected with the former one counts no longer.
    Missed {
        /// The version that the member had.
        had: i64,
        /// The version that there is.
        num: i64,
    },
    /// The keying material of this version has come to its end, and is dropped.
    KeysEnded {
        /// The version of the keying material.
        num: i64,
    },
    /// Identifiers of others went stale: their security contexts and credentials are dropped.
    Stale(Vec<Bytes>),
    /// All that was known of others is dropped, since nobody can tell which of it is stale.
    OthersForgotten,
    /// The member has other individual keying material, e.g. another Sender ID; its own sequence numbers begin anew.
    Renewed,
    /// The member has another credential. Its sequence numbers go on.
    CredentialChanged,
    /// Groups that were looked up by their identifiers; those that the KDC does not tell of are left out.
    Names(Vec<GroupName>),
    /// What verifies the signatures of a group that it is no member of.
    VerificationData(Box<VerificationData>),
    /// The KDC has another credential than before, and has proven it.
    KdcCredChanged,
    /// The group is not active: nothing is to be sent to it, and nothing taken from it, until it is active again.
    Inactive,
    /// The group is active again.
    Active,
    /// It has left.
    Left,
    /// It was put out, or is no member any more: its keys are dropped.
    Ended,
    /// The group was deleted: its keys are dropped.
    GroupDeleted,
    /// Keying material that is older than the member's came, and was not taken.
    Older {
        /// The version that came.
        num: i64,
    },
}
