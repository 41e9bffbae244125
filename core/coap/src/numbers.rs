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
