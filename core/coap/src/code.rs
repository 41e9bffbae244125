//! Codes of requests and responses (RFC 7252 section 12.1).

use core::fmt;

/// The code byte of a CoAP message: class in the upper three bits, detail in the lower five.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8);

/// Makes the codes below readable: `code(4, 4)` is 4.04.
const fn code(class: u8, detail: u8) -> Code {
    Code((class << 5) | (detail & 0x1f))
}

impl Code {
    /// 0.00, an empty message.
    pub const EMPTY: Self = code(0, 0);
    /// 0.01
    pub const GET: Self = code(0, 1);
    /// 0.02
    pub const POST: Self = code(0, 2);
    /// 0.03
    pub const PUT: Self = code(0, 3);
    /// 0.04
    pub const DELETE: Self = code(0, 4);
    /// 0.05, RFC 8132
    pub const FETCH: Self = code(0, 5);
    /// 0.06, RFC 8132
    pub const PATCH: Self = code(0, 6);
    /// 0.07, RFC 8132
    pub const IPATCH: Self = code(0, 7);
    /// 2.01
    pub const CREATED: Self = code(2, 1);
    /// 2.02
    pub const DELETED: Self = code(2, 2);
    /// 2.03
    pub const VALID: Self = code(2, 3);
    /// 2.04
    pub const CHANGED: Self = code(2, 4);
    /// 2.05
    pub const CONTENT: Self = code(2, 5);
    /// 2.31, RFC 7959
    pub const CONTINUE: Self = code(2, 31);
    /// 4.00
    pub const BAD_REQUEST: Self = code(4, 0);
    /// 4.01
    pub const UNAUTHORIZED: Self = code(4, 1);
    /// 4.02
    pub const BAD_OPTION: Self = code(4, 2);
    /// 4.03
    pub const FORBIDDEN: Self = code(4, 3);
    /// 4.04
    pub const NOT_FOUND: Self = code(4, 4);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Self = code(4, 5);
    /// 4.06
    pub const NOT_ACCEPTABLE: Self = code(4, 6);
    /// 4.08, RFC 7959
    pub const REQUEST_ENTITY_INCOMPLETE: Self = code(4, 8);
    /// 4.13
    pub const REQUEST_ENTITY_TOO_LARGE: Self = code(4, 13);
    /// 4.15
    pub const UNSUPPORTED_CONTENT_FORMAT: Self = code(4, 15);
    /// 4.29, RFC 8516
    pub const TOO_MANY_REQUESTS: Self = code(4, 29);
    /// 5.00
    pub const INTERNAL_SERVER_ERROR: Self = code(5, 0);
    /// 5.03
    pub const SERVICE_UNAVAILABLE: Self = code(5, 3);
    /// 5.05
    pub const PROXYING_NOT_SUPPORTED: Self = code(5, 5);

    /// The class, 0 to 7.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The detail, 0 to 31.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    /// Whether the code is one of a request (class 0, not 0.00).
    #[must_use]
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.detail() != 0
    }

    /// Whether the code is one of a response (class 2, 4 or 5).
    #[must_use]
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }

    /// Whether the code tells success (class 2).
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::EMPTY => "Empty",
            Self::GET => return f.write_str("GET"),
            Self::POST => return f.write_str("POST"),
            Self::PUT => return f.write_str("PUT"),
            Self::DELETE => return f.write_str("DELETE"),
            Self::FETCH => return f.write_str("FETCH"),
            Self::PATCH => return f.write_str("PATCH"),
            Self::IPATCH => return f.write_str("iPATCH"),
            Self::CREATED => "Created",
            Self::DELETED => "Deleted",
            Self::VALID => "Valid",
            Self::CHANGED => "Changed",
            Self::CONTENT => "Content",
            Self::CONTINUE => "Continue",
            Self::BAD_REQUEST => "Bad Request",
            Self::UNAUTHORIZED => "Unauthorized",
            Self::BAD_OPTION => "Bad Option",
            Self::FORBIDDEN => "Forbidden",
            Self::NOT_FOUND => "Not Found",
            Self::METHOD_NOT_ALLOWED => "Method Not Allowed",
            Self::NOT_ACCEPTABLE => "Not Acceptable",
            Self::REQUEST_ENTITY_INCOMPLETE => "Request Entity Incomplete",
            Self::REQUEST_ENTITY_TOO_LARGE => "Request Entity Too Large",
            Self::UNSUPPORTED_CONTENT_FORMAT => "Unsupported Content-Format",
            Self::TOO_MANY_REQUESTS => "Too Many Requests",
            Self::INTERNAL_SERVER_ERROR => "Internal Server Error",
            Self::SERVICE_UNAVAILABLE => "Service Unavailable",
            Self::PROXYING_NOT_SUPPORTED => "Proxying Not Supported",
            _ => return write!(f, "{self:?}"),
        };
        write!(f, "{self:?} ({name})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn codes_read_as_the_rfc_writes_them() {
        assert_eq!(Code::BAD_REQUEST.to_string(), "4.00 (Bad Request)");
        assert_eq!(Code::FETCH.to_string(), "FETCH");
        assert_eq!(Code(0x45), Code::CONTENT);
        assert_eq!(Code(0x9d), Code::TOO_MANY_REQUESTS);
        assert_eq!(Code(0xff).to_string(), "7.31");
    }

    #[test]
    fn classes_tell_requests_from_responses() {
        assert!(Code::GET.is_request() && !Code::GET.is_response());
        assert!(!Code::EMPTY.is_request() && !Code::EMPTY.is_response());
        assert!(Code::NOT_FOUND.is_response() && !Code::NOT_FOUND.is_success());
        assert!(Code::CONTENT.is_success());
        assert!(!Code(0x21).is_request() && !Code(0x60).is_response());
    }
}
