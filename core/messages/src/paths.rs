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
/// A member's own credential, below its resource (RFC 9594 section 4.1).
pub const CRED: &str = "cred";
/// What a signature verifier needs (Group OSCORE profile section 8.3).
pub const VERIF_DATA: &str = "verif-data";
/// Which Sender IDs have gone stale (Group OSCORE profile section 8.4).
pub const STALE_SIDS: &str = "stale-sids";
/// Whether the group is active (Group OSCORE profile section 8.2).
pub const ACTIVE: &str = "active";
