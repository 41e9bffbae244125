//! The registered numbers of CoAP that this workspace uses, each with its source.

/// CoAP option numbers.
pub mod option {
    /// If-Match, RFC 7252 section 5.10.8.1.
    pub const IF_MATCH: u16 = 1;
    /// Uri-Host, RFC 7252 section 5.10.1.
    pub const URI_HOST: u16 = 3;
    /// ETag, RFC 7252 section 5.10.6.
    pub const ETAG: u16 = 4;
    /// If-None-Match, RFC 7252 section 5.10.8.2.
    pub const IF_NONE_MATCH: u16 = 5;
    /// Observe, RFC 7641 section 2.
    pub const OBSERVE: u16 = 6;
    /// Uri-Port, RFC 7252 section 5.10.1.
    pub const URI_PORT: u16 = 7;
    /// Location-Path, RFC 7252 section 5.10.7.
    pub const LOCATION_PATH: u16 = 8;
    /// OSCORE, RFC 8613 section 2.
    pub const OSCORE: u16 = 9;
    /// Uri-Path, RFC 7252 section 5.10.1.
    pub const URI_PATH: u16 = 11;
    /// Content-Format, RFC 7252 section 5.10.3.
    pub const CONTENT_FORMAT: u16 = 12;
    /// Max-Age, RFC 7252 section 5.10.5.
    pub const MAX_AGE: u16 = 14;
    /// Hop-Limit, RFC 8768 section 3.
    pub const HOP_LIMIT: u16 = 16;
    /// Uri-Query, RFC 7252 section 5.10.1.
    pub const URI_QUERY: u16 = 15;
    /// Accept, RFC 7252 section 5.10.4.
    pub const ACCEPT: u16 = 17;
    /// Location-Query, RFC 7252 section 5.10.7.
    pub const LOCATION_QUERY: u16 = 20;
    /// Block2, RFC 7959 section 2.1.
    pub const BLOCK2: u16 = 23;
    /// Block1, RFC 7959 section 2.1.
    pub const BLOCK1: u16 = 27;
    /// Size2, RFC 7959 section 4.
    pub const SIZE2: u16 = 28;
    /// Proxy-Uri, RFC 7252 section 5.10.2.
    pub const PROXY_URI: u16 = 35;
    /// Proxy-Scheme, RFC 7252 section 5.10.2.
    pub const PROXY_SCHEME: u16 = 39;
    /// Size1, RFC 7252 section 5.10.9.
    pub const SIZE1: u16 = 60;
    /// Echo, RFC 9175 section 2.2.
    pub const ECHO: u16 = 252;
    /// No-Response, RFC 7967 section 2.
    pub const NO_RESPONSE: u16 = 258;
    /// Request-Tag, RFC 9175 section 3.2.
    pub const REQUEST_TAG: u16 = 292;
}

/// Content-Format of application/link-format, RFC 6690 section 7.2.
pub const LINK_FORMAT: u16 = 40;

/// The default port of `coap`, RFC 7252 section 6.1.
pub const DEFAULT_PORT: u16 = 5683;

/// Whether an option may stand outside of OSCORE's protection and has a meaning there: class U (RFC 8613 section 4.1,
/// figure 5, RFC 8768 section 4, RFC 9175 sections 2.2.1 and 3.2.1). What else stands there belongs inside, and is discarded.
#[must_use]
pub const fn is_unprotected(number: u16) -> bool {
    matches!(
        number,
        option::URI_HOST
            | option::OBSERVE
            | option::URI_PORT
            | option::OSCORE
            | option::MAX_AGE
            | option::HOP_LIMIT
            | option::BLOCK2
            | option::BLOCK1
            | option::SIZE2
            | option::PROXY_URI
            | option::PROXY_SCHEME
            | option::SIZE1
            | option::ECHO
            | option::NO_RESPONSE
            | option::REQUEST_TAG
    )
}

/// What the definition of an option allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Whether a message may hold it several times.
    pub repeatable: bool,
    /// The least length of its value in bytes.
    pub min: u16,
    /// The largest length of its value in bytes.
    pub max: u16,
}

/// The definition of an option of this module; `None` for any other (RFC 7252 section 5.10, RFC 7641 section 2,
/// RFC 7959 sections 2.1 and 4, RFC 8613 section 2, RFC 7967 section 2, RFC 9175 sections 2.2 and 3.2).
#[must_use]
pub const fn definition(number: u16) -> Option<Definition> {
    let (repeatable, min, max) = match number {
        option::IF_MATCH | option::REQUEST_TAG => (true, 0, 8),
        option::URI_HOST | option::PROXY_SCHEME => (false, 1, 255),
        option::ETAG => (true, 1, 8),
        option::IF_NONE_MATCH => (false, 0, 0),
        option::URI_PORT | option::CONTENT_FORMAT | option::ACCEPT => (false, 0, 2),
        option::LOCATION_PATH | option::URI_PATH | option::URI_QUERY | option::LOCATION_QUERY => (true, 0, 255),
        option::OBSERVE | option::BLOCK1 | option::BLOCK2 => (false, 0, 3),
        option::OSCORE => (false, 0, 255),
        option::MAX_AGE | option::SIZE1 | option::SIZE2 => (false, 0, 4),
        option::PROXY_URI => (false, 1, 1034),
        option::ECHO => (false, 1, 40),
        option::NO_RESPONSE => (false, 0, 1),
        option::HOP_LIMIT => (false, 1, 1),
        _ => return None,
    };
    Some(Definition { repeatable, min, max })
}
