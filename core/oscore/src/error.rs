//! What can go wrong, and the answer that a server gives (RFC 8613 sections 7.4 and 8.2).

use ace_coap::{Code, Message, numbers::option};
use thiserror::Error;

/// Why a message could not be protected or verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The message has no OSCORE option.
    #[error("message is not protected")]
    NotProtected,
    /// The OSCORE option or the message around it cannot be read.
    #[error("OSCORE option or message is malformed")]
    Malformed,
    /// No context has this kid and kid context.
    #[error("no security context for this kid")]
    NoContext,
    /// The Partial IV was seen before, or lies behind the replay window.
    #[error("message is a replay")]
    Replay,
    /// The ciphertext does not verify.
    #[error("decryption failed")]
    Decryption,
    /// The ciphertext verified, but what it holds is no CoAP message of the kind expected here.
    #[error("protected content is malformed")]
    Content,
    /// No sequence number is left of those reserved; give the context the next block.
    #[error("no sequence number is left of those reserved")]
    NeedSequence,
    /// All sequence numbers are used; the context is at its end (RFC 8613 section 7.2.1).
    #[error("sequence numbers are exhausted")]
    Exhausted,
    /// The message to be protected holds an OSCORE or a Proxy-Uri option.
    #[error("message cannot be protected")]
    Unprotectable,
    /// An input to the derivation has a length that the algorithm does not allow.
    #[error("parameter has an invalid length")]
    Parameter,
}

impl Error {
    /// The unprotected answer of a server to a request that failed so, with Max-Age 0.
    /// `None` where there is nothing to answer.
    ///
    /// The diagnostic payloads are those of RFC 8613 section 8.2; they tell a stranger nothing that the
    /// code does not.
    #[must_use]
    pub fn response(self) -> Option<Message> {
        let (code, diagnostic) = match self {
            Self::Malformed => (Code::BAD_OPTION, "Failed to decode COSE"),
            Self::NoContext => (Code::UNAUTHORIZED, "Security context not found"),
            Self::Replay => (Code::UNAUTHORIZED, "Replay detected"),
            Self::Decryption | Self::Content => (Code::BAD_REQUEST, "Decryption failed"),
            Self::NeedSequence | Self::Exhausted => (Code::SERVICE_UNAVAILABLE, ""),
            Self::NotProtected | Self::Unprotectable | Self::Parameter => return None,
        };
        let mut message = Message::response(code);
        message.options.push_uint(option::MAX_AGE, 0);
        message.payload = diagnostic.as_bytes().to_vec();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: OS-D.5.3-01
    // Covers: OS-8.2-04, OS-8.2-05, OS-8.2-06, OS-8.2-07, OS-8.2-08, OS-8.2-09, OS-8.2-11, OS-8.2-12,
    // Covers: OS-7.4-03, OS-7.4-04, OS-4.1.3.1-02
    #[test]
    fn a_server_answers_with_the_codes_of_section_8_2() {
        for (error, code, text) in [
            (Error::Malformed, Code::BAD_OPTION, "Failed to decode COSE"),
            (Error::NoContext, Code::UNAUTHORIZED, "Security context not found"),
            (Error::Replay, Code::UNAUTHORIZED, "Replay detected"),
            (Error::Decryption, Code::BAD_REQUEST, "Decryption failed"),
        ] {
            let response = error.response().unwrap();
            assert_eq!(response.code, code);
            assert_eq!(response.payload, text.as_bytes());
            assert_eq!(response.options.uint(option::MAX_AGE), Some(0));
        }
        assert!(Error::NotProtected.response().is_none());
    }
}
