//! Path segments of a KDC's resources.

/// The authz-info endpoint (RFC 9200 section 5.10.1).
pub const AUTHZ_INFO: &str = "authz-info";
/// The root of all that is about groups (RFC 9594 section 4.1).
pub const ROOT: &str = "ace-group";
/// The members' credentials (RFC 9594 section 4.1).
pub const CREDS: &str = "creds";
/// The KDC's credential (RFC 9594 section 4.1).
pub const KDC_CRED: &str = "kdc-cred";
/// The group's policies (RFC 9594 section 4.1).
pub const POLICIES: &str = "policies";
/// The version of the keying material (RFC 9594 section 4.1).
pub const NUM: &str = "num";
/// Above the members' own resources (RFC 9594 section 4.1).
pub const NODES: &str = "nodes";
/// Whether the group is active (Group OSCORE profile section 8.2).
pub const ACTIVE: &str = "active";
