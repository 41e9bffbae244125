//! What of each message is known to be public. All else is hidden: who sends a message chooses what stands in it.

use ace_groupcomm_messages::labels::{cnf, cose_key, groupcomm, oauth, osc, problem};

/// How a value is shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// A number, true, false or null.
    Number,
    /// A number or a text, as registries name algorithms.
    Name,
    Text,
    Texts,
    Bytes,
    /// Numbers, texts and bytes, in arrays or not.
    List,
    /// The bytes of a scope, with the roles by name.
    Scope,
    /// A map with these fields.
    Map(&'static [Field]),
    /// As its length alone.
    Hidden,
}

/// A field: its label, its name, and how it is shown.
pub(super) type Field = (i64, &'static str, Rule);

use Rule::{Bytes, Hidden, List, Map, Name, Number, Scope, Text, Texts};

pub(super) const TOKEN_REQUEST: &[Field] = &[
    (oauth::REQ_CNF, "req_cnf", Map(CNF)),
    (oauth::AUDIENCE, "audience", Text),
    (oauth::SCOPE, "scope", Scope),
    (oauth::GRANT_TYPE, "grant_type", Number),
    (oauth::ACE_PROFILE, "ace_profile", Number),
    (oauth::CNONCE, "cnonce", Bytes),
];

pub(super) const TOKEN_RESPONSE: &[Field] = &[
    (oauth::ACCESS_TOKEN, "access_token", Hidden),
    (oauth::EXPIRES_IN, "expires_in", Number),
    (oauth::CNF, "cnf", Map(CNF)),
    (oauth::SCOPE, "scope", Scope),
    (oauth::TOKEN_TYPE, "token_type", Number),
    (oauth::ACE_PROFILE, "ace_profile", Number),
    (oauth::RS_CNF, "rs_cnf", Map(CNF)),
];

pub(super) const TOKEN_ERROR: &[Field] = &[
    (oauth::ERROR, "error", Number),
    (oauth::ERROR_DESCRIPTION, "error_description", Text),
    (oauth::ERROR_URI, "error_uri", Text),
];

pub(super) const TOKEN_POST: &[Field] = &[
    (oauth::ACCESS_TOKEN, "access_token", Hidden),
    (oauth::NONCE1, "nonce1", Bytes),
    (oauth::ACE_CLIENT_RECIPIENTID, "ace_client_recipientid", Bytes),
    (oauth::SIGN_INFO, "sign_info", List),
    (oauth::ECDH_INFO, "ecdh_info", List),
    (oauth::KDC_DH_CREDS, "kdc_dh_creds", List),
];

pub(super) const TOKEN_POST_ANSWER: &[Field] = &[
    (oauth::NONCE2, "nonce2", Bytes),
    (oauth::ACE_SERVER_RECIPIENTID, "ace_server_recipientid", Bytes),
    (oauth::KDCCHALLENGE, "kdcchallenge", Bytes),
    (oauth::SIGN_INFO, "sign_info", List),
    (oauth::ECDH_INFO, "ecdh_info", List),
    (oauth::KDC_DH_CREDS, "kdc_dh_creds", List),
];

/// Where clients get tokens (RFC 9200 section 5.3).
pub(super) const HINTS: &[Field] = &[
    (1, "AS", Text),
    (2, "kid", Bytes),
    (oauth::AUDIENCE, "audience", Text),
    (oauth::SCOPE, "scope", Scope),
    (oauth::CNONCE, "cnonce", Bytes),
];

pub(super) const GROUP: &[Field] = &[
    (groupcomm::GID, "gid", List),
    (groupcomm::GNAME, "gname", Texts),
    (groupcomm::GURI, "guri", Texts),
    (groupcomm::SCOPE, "scope", Scope),
    (groupcomm::GET_CREDS, "get_creds", List),
    (groupcomm::CLIENT_CRED, "client_cred", Bytes),
    (groupcomm::CNONCE, "cnonce", Bytes),
    (groupcomm::GKTY, "gkty", Name),
    (groupcomm::KEY, "key", Map(KEY)),
    (groupcomm::NUM, "num", Number),
    (groupcomm::ACE_GROUPCOMM_PROFILE, "ace_groupcomm_profile", Number),
    (groupcomm::EXP, "exp", Number),
    (groupcomm::EXI, "exi", Number),
    (groupcomm::CREDS, "creds", List),
    (groupcomm::PEER_ROLES, "peer_roles", List),
    (groupcomm::PEER_IDENTIFIERS, "peer_identifiers", List),
    (groupcomm::GROUP_POLICIES, "group_policies", Map(POLICIES)),
    (groupcomm::KDC_CRED, "kdc_cred", Bytes),
    (groupcomm::KDC_NONCE, "kdc_nonce", Bytes),
    (groupcomm::KDC_CRED_VERIFY, "kdc_cred_verify", Bytes),
    (groupcomm::REKEYING_SCHEME, "rekeying_scheme", Number),
    (groupcomm::GROUP_SENDER_ID, "group_SenderId", Bytes),
    (groupcomm::CLIENT_CRED_VERIFY, "client_cred_verify", Bytes),
    (groupcomm::CREDS_REPO, "creds_repo", Text),
    (groupcomm::CONTROL_URI, "control_uri", Text),
    (groupcomm::MGT_KEY_MATERIAL, "mgt_key_material", Hidden),
    (groupcomm::CONTROL_GROUP_URI, "control_group_uri", Text),
    (groupcomm::SIGN_INFO, "sign_info", List),
    (groupcomm::KDCCHALLENGE, "kdcchallenge", Bytes),
    (groupcomm::ECDH_INFO, "ecdh_info", List),
    (groupcomm::KDC_DH_CREDS, "kdc_dh_creds", List),
    (groupcomm::SIGN_ENC_KEY, "sign_enc_key", Hidden),
    (groupcomm::STALE_NODE_IDS, "stale_node_ids", List),
];

pub(super) const PROBLEM: &[Field] = &[
    (problem::TITLE, "title", Text),
    (problem::DETAIL, "detail", Text),
    (problem::ACE_GROUPCOMM_ERROR, "ace-groupcomm-error", Map(PROBLEM_ERROR)),
];

const PROBLEM_ERROR: &[Field] = &[(problem::ERROR_ID, "error-id", Number)];

const POLICIES: &[Field] = &[
    (0, "Sequence Number Synchronization Method", Number),
    (1, "Key Update Check Interval", Number),
    (2, "Expiration Delta", Number),
];

const CNF: &[Field] = &[
    (cnf::COSE_KEY, "COSE_Key", Map(COSE_KEY)),
    (cnf::ENCRYPTED_COSE_KEY, "Encrypted_COSE_Key", Hidden),
    (cnf::KID, "kid", Bytes),
    (cnf::OSC, "osc", Map(KEY)),
];

/// Coordinates are left out: what a label means depends on the type of key, and for some it is private.
const COSE_KEY: &[Field] = &[
    (cose_key::KTY, "kty", Name),
    (cose_key::KID, "kid", Bytes),
    (cose_key::ALG, "alg", Name),
    (cose_key::CRV, "crv", Number),
];

const KEY: &[Field] = &[
    (osc::ID, "id", Bytes),
    (osc::VERSION, "version", Number),
    (osc::MS, "ms", Hidden),
    (osc::HKDF, "hkdf", Name),
    (osc::ALG, "alg", Name),
    (osc::SALT, "salt", Hidden),
    (osc::CONTEXT_ID, "contextId", Bytes),
    (osc::GROUP_SENDER_ID, "group_SenderId", Bytes),
    (osc::CRED_FMT, "cred_fmt", Name),
    (osc::GP_ENC_ALG, "gp_enc_alg", Name),
    (osc::SIGN_ALG, "sign_alg", Name),
    (osc::SIGN_PARAMS, "sign_params", List),
    (osc::ECDH_ALG, "ecdh_alg", Name),
    (osc::ECDH_PARAMS, "ecdh_params", List),
];
