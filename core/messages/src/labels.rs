//! Every registered number that the messages use, by registry, each with its source.
//!
//! "IANA" marks numbers that the RFCs themselves do not print; "suggested" those that a draft proposes and
//! that may still change.

/// Media types as CoAP Content-Formats.
pub mod content_format {
    /// application/ace+cbor, RFC 9200 section 8.16.
    pub const ACE_CBOR: u16 = 19;
    /// application/cbor, RFC 8949 section 9.3; used by the Group OSCORE profile for bare items.
    pub const CBOR: u16 = 60;
    /// application/cwt, RFC 8392 section 9.2.
    pub const CWT: u16 = 61;
    /// application/concise-problem-details+cbor, RFC 9290 section 6.3 (IANA).
    pub const PROBLEM_DETAILS_CBOR: u16 = 257;
    /// application/ace-groupcomm+cbor, RFC 9594 section 11.2 (IANA).
    pub const ACE_GROUPCOMM_CBOR: u16 = 261;
    /// application/ace-trl+cbor, RFC 9770 (IANA).
    pub const ACE_TRL_CBOR: u16 = 262;
    /// application/aif+cbor with toid=pubsub-group and tperm=pubsub-perm, pub-sub profile (suggested).
    pub const AIF_PUBSUB_GROUPCOMM_CBOR: u16 = 294;
    /// application/aif+cbor with toid=oscore-gname and tperm=oscore-gperm, Group OSCORE profile (suggested).
    pub const AIF_OSCORE_GROUPCOMM_CBOR: u16 = 295;

    /// The media types that HTTP has for them.
    const MEDIA_TYPES: [(u16, &str); 6] = [
        (ACE_CBOR, "application/ace+cbor"),
        (CBOR, "application/cbor"),
        (CWT, "application/cwt"),
        (PROBLEM_DETAILS_CBOR, "application/concise-problem-details+cbor"),
        (ACE_GROUPCOMM_CBOR, "application/ace-groupcomm+cbor"),
        (ACE_TRL_CBOR, "application/ace-trl+cbor"),
    ];

    /// The media type of a Content-Format; `None` where it is not known here.
    #[must_use]
    pub fn media_type(format: u16) -> Option<&'static str> {
        MEDIA_TYPES.iter().find(|(known, _)| *known == format).map(|(_, name)| *name)
    }

    /// The Content-Format of a media type without parameters, in whatever case; `None` where it is not known here.
    #[must_use]
    pub fn of_media_type(name: &str) -> Option<u16> {
        MEDIA_TYPES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name.trim())).map(|(format, _)| *format)
    }
}

/// CBOR tags.
pub mod tag {
    /// COSE_Encrypt0, RFC 9052 section 2.
    pub const COSE_ENCRYPT0: u64 = 16;
    /// COSE_Mac0, RFC 9052 section 2.
    pub const COSE_MAC0: u64 = 17;
    /// COSE_Sign1, RFC 9052 section 2.
    pub const COSE_SIGN1: u64 = 18;
    /// CWT, RFC 8392 section 6.
    pub const CWT: u64 = 61;
}

/// OAuth parameters in application/ace+cbor, RFC 9200 section 8.10.
pub mod oauth {
    /// access_token, RFC 9200.
    pub const ACCESS_TOKEN: i64 = 1;
    /// expires_in, RFC 9200.
    pub const EXPIRES_IN: i64 = 2;
    /// req_cnf, RFC 9201.
    pub const REQ_CNF: i64 = 4;
    /// audience, RFC 9200.
    pub const AUDIENCE: i64 = 5;
    /// cnf, RFC 9201.
    pub const CNF: i64 = 8;
    /// scope, RFC 9200.
    pub const SCOPE: i64 = 9;
    /// client_id, RFC 9200.
    pub const CLIENT_ID: i64 = 24;
    /// client_secret, RFC 9200.
    pub const CLIENT_SECRET: i64 = 25;
    /// error, RFC 9200.
    pub const ERROR: i64 = 30;
    /// error_description, RFC 9200.
    pub const ERROR_DESCRIPTION: i64 = 31;
    /// error_uri, RFC 9200.
    pub const ERROR_URI: i64 = 32;
    /// grant_type, RFC 9200.
    pub const GRANT_TYPE: i64 = 33;
    /// token_type, RFC 9200.
    pub const TOKEN_TYPE: i64 = 34;
    /// ace_profile, RFC 9200.
    pub const ACE_PROFILE: i64 = 38;
    /// cnonce, RFC 9200.
    pub const CNONCE: i64 = 39;
    /// nonce1, RFC 9203 section 9.3.
    pub const NONCE1: i64 = 40;
    /// rs_cnf, RFC 9201.
    pub const RS_CNF: i64 = 41;
    /// nonce2, RFC 9203 section 9.3.
    pub const NONCE2: i64 = 42;
    /// ace_client_recipientid, RFC 9203 section 9.3.
    pub const ACE_CLIENT_RECIPIENTID: i64 = 43;
    /// ace_server_recipientid, RFC 9203 section 9.3.
    pub const ACE_SERVER_RECIPIENTID: i64 = 44;
    /// sign_info, RFC 9594 section 11.4 (IANA).
    pub const SIGN_INFO: i64 = 45;
    /// kdcchallenge, RFC 9594 section 11.4 (IANA).
    pub const KDCCHALLENGE: i64 = 46;
    /// ecdh_info, Group OSCORE profile section 17.3 (suggested).
    pub const ECDH_INFO: i64 = 47;
    /// kdc_dh_creds, Group OSCORE profile section 17.3 (suggested).
    pub const KDC_DH_CREDS: i64 = 48;
}

/// Values of grant_type, RFC 9200 section 8.5.
pub mod grant_type {
    /// password
    pub const PASSWORD: u64 = 0;
    /// authorization_code
    pub const AUTHORIZATION_CODE: u64 = 1;
    /// client_credentials, the default.
    pub const CLIENT_CREDENTIALS: u64 = 2;
    /// refresh_token
    pub const REFRESH_TOKEN: u64 = 3;
}

/// Values of token_type, RFC 9200 section 8.7.
pub mod token_type {
    /// Bearer
    pub const BEARER: i64 = 1;
    /// PoP, the default.
    pub const POP: i64 = 2;
}

/// Values of ace_profile.
pub mod ace_profile {
    /// coap_dtls, RFC 9202 section 8.1.
    pub const COAP_DTLS: i64 = 1;
    /// coap_oscore, RFC 9203 section 9.1.
    pub const COAP_OSCORE: i64 = 2;
    /// mqtt_tls, RFC 9431.
    pub const MQTT_TLS: i64 = 3;
    /// coap_edhoc_oscore, EDHOC and OSCORE profile (suggested).
    pub const COAP_EDHOC_OSCORE: i64 = 4;
}

/// CWT claims.
pub mod claim {
    /// iss, RFC 8392 section 3.1.1.
    pub const ISS: i64 = 1;
    /// sub, RFC 8392 section 3.1.2.
    pub const SUB: i64 = 2;
    /// aud, RFC 8392 section 3.1.3.
    pub const AUD: i64 = 3;
    /// exp, RFC 8392 section 3.1.4.
    pub const EXP: i64 = 4;
    /// nbf, RFC 8392 section 3.1.5.
    pub const NBF: i64 = 5;
    /// iat, RFC 8392 section 3.1.6.
    pub const IAT: i64 = 6;
    /// cti, RFC 8392 section 3.1.7.
    pub const CTI: i64 = 7;
    /// cnf, RFC 8747 section 3.1.
    pub const CNF: i64 = 8;
    /// scope, RFC 9200 section 8.14.
    pub const SCOPE: i64 = 9;
    /// ace_profile, RFC 9200 section 8.14.
    pub const ACE_PROFILE: i64 = 38;
    /// cnonce, RFC 9200 section 8.14.
    pub const CNONCE: i64 = 39;
    /// exi, RFC 9200 section 8.14.
    pub const EXI: i64 = 40;
}

/// Confirmation methods within cnf.
pub mod cnf {
    /// COSE_Key, RFC 8747 section 3.2.
    pub const COSE_KEY: i64 = 1;
    /// Encrypted_COSE_Key, RFC 8747 section 3.3.
    pub const ENCRYPTED_COSE_KEY: i64 = 2;
    /// kid, RFC 8747 section 3.4.
    pub const KID: i64 = 3;
    /// osc, RFC 9203 section 9.5.
    pub const OSC: i64 = 4;
    /// x5t, EDHOC and OSCORE profile (suggested).
    pub const X5T: i64 = 6;
    /// x5u (suggested).
    pub const X5U: i64 = 7;
    /// c5t (suggested).
    pub const C5T: i64 = 8;
    /// c5u (suggested).
    pub const C5U: i64 = 9;
    /// kcwt (suggested).
    pub const KCWT: i64 = 10;
    /// kccs (suggested).
    pub const KCCS: i64 = 11;
    /// x5chain (suggested).
    pub const X5CHAIN: i64 = 24;
    /// x5bag (suggested).
    pub const X5BAG: i64 = 25;
    /// c5c (suggested).
    pub const C5C: i64 = 26;
    /// c5b (suggested).
    pub const C5B: i64 = 27;
}

/// Fields of OSCORE_Input_Material, RFC 9203 section 3.2.1; from 7 on of Group_OSCORE_Input_Material, Group
/// OSCORE profile section 17.6 (suggested).
pub mod osc {
    /// id
    pub const ID: i64 = 0;
    /// version
    pub const VERSION: i64 = 1;
    /// ms
    pub const MS: i64 = 2;
    /// hkdf
    pub const HKDF: i64 = 3;
    /// alg
    pub const ALG: i64 = 4;
    /// salt
    pub const SALT: i64 = 5;
    /// contextId
    pub const CONTEXT_ID: i64 = 6;
    /// group_SenderId
    pub const GROUP_SENDER_ID: i64 = 7;
    /// cred_fmt
    pub const CRED_FMT: i64 = 8;
    /// gp_enc_alg
    pub const GP_ENC_ALG: i64 = 9;
    /// sign_alg
    pub const SIGN_ALG: i64 = 10;
    /// sign_params
    pub const SIGN_PARAMS: i64 = 11;
    /// ecdh_alg
    pub const ECDH_ALG: i64 = 12;
    /// ecdh_params
    pub const ECDH_PARAMS: i64 = 13;
}

/// ACE Groupcomm Parameters, RFC 9594 section 8; from 31 on Group OSCORE profile section 17.5 (suggested).
pub mod groupcomm {
    /// gid
    pub const GID: i64 = 0;
    /// gname
    pub const GNAME: i64 = 1;
    /// guri
    pub const GURI: i64 = 2;
    /// scope
    pub const SCOPE: i64 = 3;
    /// get_creds
    pub const GET_CREDS: i64 = 4;
    /// client_cred
    pub const CLIENT_CRED: i64 = 5;
    /// cnonce
    pub const CNONCE: i64 = 6;
    /// gkty
    pub const GKTY: i64 = 7;
    /// key
    pub const KEY: i64 = 8;
    /// num
    pub const NUM: i64 = 9;
    /// ace_groupcomm_profile
    pub const ACE_GROUPCOMM_PROFILE: i64 = 10;
    /// exp
    pub const EXP: i64 = 11;
    /// exi
    pub const EXI: i64 = 12;
    /// creds
    pub const CREDS: i64 = 13;
    /// peer_roles
    pub const PEER_ROLES: i64 = 14;
    /// peer_identifiers
    pub const PEER_IDENTIFIERS: i64 = 15;
    /// group_policies
    pub const GROUP_POLICIES: i64 = 16;
    /// kdc_cred
    pub const KDC_CRED: i64 = 17;
    /// kdc_nonce
    pub const KDC_NONCE: i64 = 18;
    /// kdc_cred_verify
    pub const KDC_CRED_VERIFY: i64 = 19;
    /// rekeying_scheme
    pub const REKEYING_SCHEME: i64 = 20;
    /// group_SenderId, Group OSCORE profile (suggested).
    pub const GROUP_SENDER_ID: i64 = 21;
    /// client_cred_verify
    pub const CLIENT_CRED_VERIFY: i64 = 24;
    /// creds_repo
    pub const CREDS_REPO: i64 = 25;
    /// control_uri
    pub const CONTROL_URI: i64 = 26;
    /// mgt_key_material
    pub const MGT_KEY_MATERIAL: i64 = 27;
    /// control_group_uri
    pub const CONTROL_GROUP_URI: i64 = 28;
    /// sign_info
    pub const SIGN_INFO: i64 = 29;
    /// kdcchallenge
    pub const KDCCHALLENGE: i64 = 30;
    /// ecdh_info (suggested)
    pub const ECDH_INFO: i64 = 31;
    /// kdc_dh_creds (suggested)
    pub const KDC_DH_CREDS: i64 = 32;
    /// sign_enc_key (suggested)
    pub const SIGN_ENC_KEY: i64 = 33;
    /// stale_node_ids (suggested)
    pub const STALE_NODE_IDS: i64 = 34;
}

/// ACE Groupcomm Policies, RFC 9594 section 11.11.
pub mod policy {
    /// Sequence Number Synchronization Method
    pub const SN_SYNCHRONIZATION_METHOD: i64 = 0;
    /// Key Update Check Interval, in seconds
    pub const KEY_UPDATE_CHECK_INTERVAL: i64 = 1;
    /// Expiration Delta, in seconds after exp
    pub const EXPIRATION_DELTA: i64 = 2;
}

/// ACE Groupcomm Rekeying Schemes, RFC 9594 section 11.14.
pub mod rekeying_scheme {
    /// Point-to-Point, the default.
    pub const POINT_TO_POINT: i64 = 0;
}

/// ACE Groupcomm Profiles.
pub mod groupcomm_profile {
    /// coap_group_oscore_app, Group OSCORE profile section 17.9 (suggested).
    pub const COAP_GROUP_OSCORE_APP: i64 = 1;
    /// coap_group_pubsub_app, pub-sub profile (suggested).
    pub const COAP_GROUP_PUBSUB_APP: i64 = 2;
    /// mqtt_pubsub_app, pub-sub profile (suggested).
    pub const MQTT_PUBSUB_APP: i64 = 3;
}

/// ACE Groupcomm Key Types.
pub mod key_type {
    /// Group_OSCORE_Input_Material object, Group OSCORE profile section 17.8 (suggested).
    pub const GROUP_OSCORE_INPUT_MATERIAL: i64 = 1;
    /// Group_PubSub_Keying_Material, pub-sub profile (suggested).
    pub const GROUP_PUBSUB_KEYING_MATERIAL: i64 = 2;
}

/// Group_PubSub_Keying_Material, pub-sub profile section 4.1.2.
pub mod pubsub {
    /// group_key
    pub const GROUP_KEY: i64 = 0;
    /// group_SenderId
    pub const GROUP_SENDER_ID: i64 = 1;
    /// cred_fmt
    pub const CRED_FMT: i64 = 2;
    /// sign_alg
    pub const SIGN_ALG: i64 = 3;
    /// sign_params
    pub const SIGN_PARAMS: i64 = 4;
}

/// Problem details, RFC 9290.
pub mod problem {
    /// title, section 2.1.
    pub const TITLE: i64 = -1;
    /// detail, section 2.1.
    pub const DETAIL: i64 = -2;
    /// ace-groupcomm-error, RFC 9594 section 11.7 (IANA).
    pub const ACE_GROUPCOMM_ERROR: i64 = 0;
    /// error-id within ace-groupcomm-error, RFC 9594 section 4.1.2.
    pub const ERROR_ID: i64 = 0;
}

/// COSE header parameters, as values of cred_fmt.
pub mod cose_header {
    /// kcwt, RFC 9528 (IANA).
    pub const KCWT: i64 = 13;
    /// kccs, RFC 9528 (IANA); the default of the Group OSCORE profile.
    pub const KCCS: i64 = 14;
    /// x5bag, RFC 9360.
    pub const X5BAG: i64 = 32;
    /// x5chain, RFC 9360.
    pub const X5CHAIN: i64 = 33;
}

/// COSE algorithms, RFC 9053.
pub mod cose_alg {
    /// A128GCM, section 4.1.
    pub const A128GCM: i64 = 1;
    /// A256GCM, section 4.1.
    pub const A256GCM: i64 = 3;
    /// HMAC 256/256, section 3.1.
    pub const HMAC_256_256: i64 = 5;
    /// HMAC 512/512, section 3.1.
    pub const HMAC_512_512: i64 = 7;
    /// AES-CCM-16-64-128, section 4.2.
    pub const AES_CCM_16_64_128: i64 = 10;
    /// ChaCha20/Poly1305, section 4.3.
    pub const CHACHA20_POLY1305: i64 = 24;
    /// EdDSA, section 2.2.
    pub const EDDSA: i64 = -8;
    /// ES256, section 2.1.
    pub const ES256: i64 = -7;
    /// direct+HKDF-SHA-256, section 6.1.2.
    pub const DIRECT_HKDF_SHA_256: i64 = -10;
    /// direct+HKDF-SHA-512, section 6.1.2.
    pub const DIRECT_HKDF_SHA_512: i64 = -11;
    /// ECDH-SS + HKDF-256, section 6.3.1.
    pub const ECDH_SS_HKDF_256: i64 = -27;
    /// ECDH-SS + HKDF-512, section 6.3.1.
    pub const ECDH_SS_HKDF_512: i64 = -28;
}

/// COSE_Key: parameters, key types and curves, RFC 9052 section 7 and RFC 9053 section 7.
pub mod cose_key {
    /// kty
    pub const KTY: i64 = 1;
    /// kid
    pub const KID: i64 = 2;
    /// alg
    pub const ALG: i64 = 3;
    /// Base IV
    pub const BASE_IV: i64 = 5;
    /// crv of OKP and EC2
    pub const CRV: i64 = -1;
    /// x of OKP and EC2
    pub const X: i64 = -2;
    /// y of EC2
    pub const Y: i64 = -3;
    /// d of OKP and EC2
    pub const D: i64 = -4;
    /// k of Symmetric
    pub const K: i64 = -1;
    /// Key type OKP
    pub const OKP: i64 = 1;
    /// Key type EC2
    pub const EC2: i64 = 2;
    /// Key type Symmetric
    pub const SYMMETRIC: i64 = 4;
    /// Curve P-256
    pub const P256: i64 = 1;
    /// Curve X25519
    pub const X25519: i64 = 4;
    /// Curve Ed25519
    pub const ED25519: i64 = 6;
}
