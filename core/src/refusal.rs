//! Why a request is refused, and the one place where that becomes an answer (RFC 9594 section 4.1.2).

use crate::{Response, Status};
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR, PROBLEM_DETAILS_CBOR};
use ace_groupcomm_messages::{CreationHints, GroupcommError, JoinRefusal, ProblemDetails, TokenError, TokenErrorCode};
use thiserror::Error;

/// After how many seconds a client may ask again whose commit has ended unknown.
const UNKNOWN_AGAIN: u32 = 5;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No valid token is known of the caller: 4.01, with hints where to get one (RFC 9200 section 5.3).
    #[error("no valid token")]
    NoToken {
        /// Where to get one.
        hints: Box<CreationHints>,
        /// Whether the caller's association may no longer be used.
        unprotected: bool,
    },
    /// A token that was posted does not verify, has expired or is not for here to use: 4.01.
    #[error("token is not accepted: {0}")]
    TokenRejected(&'static str),
    /// A token that was posted is for another audience: 4.03.
    #[error("token is for another audience")]
    WrongAudience,
    /// The token does not cover the group, the roles or the operation: 4.03.
    #[error("not authorised: {0}")]
    Forbidden(&'static str),
    /// The request, or the token in it, cannot be read or used: 4.00.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// A Join Request that may succeed once it follows the hints of the map: 4.00.
    #[error("join refused: {0}")]
    Join(&'static str, Box<JoinRefusal>),
    /// An error with a number of its own (RFC 9594 section 9).
    #[error("{}", .0.description())]
    Groupcomm(GroupcommError),
    /// An error of a profile's own, with a number and a title that it has registered (RFC 9290 section 2, RFC 9594 section
    /// 11.9).
    #[error("{title}")]
    Problem {
        /// The code of the answer.
        status: Status,
        /// The number, `error-id`.
        id: i64,
        /// The `title` of the problem details, in English.
        title: &'static str,
    },
    /// The token endpoint's error (RFC 9200 section 5.8.3): 4.00, or 4.01 for a client that is not known.
    #[error("token request refused: {1}")]
    Token(TokenErrorCode, &'static str),
    /// Nothing is here: 4.04.
    #[error("not found")]
    NotFound,
    /// The resource does not do this: 4.05.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The answer has another form than the one asked for: 4.06.
    #[error("not acceptable")]
    NotAcceptable,
    /// The body has another form than the resource takes: 4.15.
    #[error("unsupported content format")]
    UnsupportedContentFormat,
    /// The client asks too often: 4.29 with Max-Age, in seconds (RFC 8516).
    #[error("too many requests: {0}")]
    TooMany(&'static str, u32),
    /// A bound was reached: 5.03 with Max-Age, in seconds.
    #[error("a bound was reached: {0}")]
    Bound(&'static str, u32),
    /// Something that is needed is away, e.g. storage: 5.03 with Max-Age, in seconds.
    #[error("unavailable for now: {0}")]
    Unavailable(&'static str, u32),
    /// A commit was under way when storage failed: what was asked for may have been done. 5.03 with Max-Age.
    #[error("the outcome of a commit is unknown")]
    CommitUnknown,
    /// A bound was reached for those whose address proves nothing: 4.01, and the network side asks for a proof by Echo
    /// (RFC 9175 section 2.3).
    #[error("proof of the address is needed: {0}")]
    ProofNeeded(&'static str),
    /// Something is broken here: 5.00.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl Refusal {
    /// The reason in words that no client has chosen, for figures.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoToken { .. } => "no valid token",
            Self::TokenRejected(why)
            | Self::Forbidden(why)
            | Self::BadRequest(why)
            | Self::Join(why, _)
            | Self::Token(_, why)
            | Self::TooMany(why, _)
            | Self::Bound(why, _)
            | Self::Unavailable(why, _)
            | Self::ProofNeeded(why)
            | Self::Internal(why) => why,
            Self::WrongAudience => "token is for another audience",
            Self::Groupcomm(error) => error.description(),
            Self::Problem { title, .. } => title,
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "method not allowed",
            Self::NotAcceptable => "not acceptable",
            Self::UnsupportedContentFormat => "unsupported content format",
            Self::CommitUnknown => "the outcome of a commit is unknown",
        }
    }

    /// Whether a bound was reached.
    pub(crate) const fn is_bound(&self) -> bool {
        matches!(self, Self::TooMany(..) | Self::Bound(..) | Self::ProofNeeded(_))
    }

    /// Returns the answer to a client: the one place that makes a refusal a CoAP code.
    #[must_use]
    pub fn response(&self) -> Response {
        match self {
            Self::NoToken { hints, unprotected } => {
                let mut response = Response::new(Status::Unauthorized).with_payload(ACE_CBOR, hints.encode());
                response.unprotected = *unprotected;
                response
            }
            Self::TokenRejected(_) => Response::new(Status::Unauthorized),
            Self::WrongAudience | Self::Forbidden(_) => Response::new(Status::Forbidden),
            Self::BadRequest(_) => Response::new(Status::BadRequest),
            Self::Join(_, map) => Response::new(Status::BadRequest).with_payload(ACE_GROUPCOMM_CBOR, map.encode()),
            Self::Groupcomm(error) => {
                Response::new(status(*error)).with_payload(PROBLEM_DETAILS_CBOR, ProblemDetails::from(*error).encode())
            }
            Self::Problem { status, id, title } => {
                let problem = ProblemDetails { title: Some((*title).into()), detail: None, error_id: Some(*id) };
                Response::new(*status).with_payload(PROBLEM_DETAILS_CBOR, problem.encode())
            }
            Self::Token(code, detail) => {
                let unauthorized = *code == TokenErrorCode::InvalidClient;
                let status = if unauthorized { Status::Unauthorized } else { Status::BadRequest };
                Response::new(status).with_payload(ACE_CBOR, TokenError::new(*code, detail).encode())
            }
            Self::NotFound => Response::new(Status::NotFound),
            Self::MethodNotAllowed => Response::new(Status::MethodNotAllowed),
            Self::NotAcceptable => Response::new(Status::NotAcceptable),
            Self::UnsupportedContentFormat => Response::new(Status::UnsupportedContentFormat),
            Self::ProofNeeded(_) => Response { asks_for_proof: true, ..Response::new(Status::Unauthorized) },
            Self::TooMany(_, seconds) | Self::Bound(_, seconds) | Self::Unavailable(_, seconds) => {
                let many = matches!(self, Self::TooMany(..));
                let status = if many { Status::TooManyRequests } else { Status::ServiceUnavailable };
                let mut response = Response::new(status);
                response.max_age = Some(*seconds);
                response
            }
            Self::CommitUnknown => {
                Response { max_age: Some(UNKNOWN_AGAIN), ..Response::new(Status::ServiceUnavailable) }
            }
            Self::Internal(_) => Response::new(Status::InternalServerError),
        }
    }
}

/// The code that goes with an error (RFC 9594 section 9, Group OSCORE profile section 17.11).
const fn status(error: GroupcommError) -> Status {
    match error {
        GroupcommError::NotAMember | GroupcommError::NotAVerifier => Status::Forbidden,
        GroupcommError::InconsistentWithRoles
        | GroupcommError::IncompatibleCredential
        | GroupcommError::InvalidProof
        | GroupcommError::SignaturesNotUsed => Status::BadRequest,
        GroupcommError::NoIndividualKeyingMaterial | GroupcommError::GroupInactive => Status::ServiceUnavailable,
        GroupcommError::MembershipTerminated | GroupcommError::GroupDeleted => Status::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: KG-4.1.2-09
    #[test]
    fn each_refusal_has_its_code_and_body() {
        let errors = [0x83, 0x80, 0x80, 0x80, 0xa3, 0x84, 0x84, 0x80, 0x83, 0xa3];
        for (number, code) in errors.into_iter().enumerate() {
            let error = GroupcommError::from_number(i64::try_from(number).unwrap()).unwrap();
            let response = Refusal::Groupcomm(error).response();
            assert_eq!((response.status.coap(), response.content_format), (code, Some(PROBLEM_DETAILS_CBOR)));
            assert_eq!(ProblemDetails::decode(&response.payload).unwrap().error(), Some(error));
        }
        for (refusal, code, format) in [
            (Refusal::NoToken { hints: Box::default(), unprotected: true }, 0x81, Some(ACE_CBOR)),
            (Refusal::TokenRejected("x"), 0x81, None),
            (Refusal::WrongAudience, 0x83, None),
            (Refusal::Forbidden("x"), 0x83, None),
            (Refusal::BadRequest("x"), 0x80, None),
            (Refusal::Join("x", Box::default()), 0x80, Some(ACE_GROUPCOMM_CBOR)),
            (Refusal::Token(TokenErrorCode::InvalidScope, "x"), 0x80, Some(ACE_CBOR)),
            (Refusal::Problem { status: Status::BadRequest, id: 4_242, title: "x" }, 0x80, Some(PROBLEM_DETAILS_CBOR)),
            (Refusal::NotFound, 0x84, None),
            (Refusal::MethodNotAllowed, 0x85, None),
            (Refusal::NotAcceptable, 0x86, None),
            (Refusal::UnsupportedContentFormat, 0x8f, None),
            (Refusal::Unavailable("x", 5), 0xa3, None),
            (Refusal::Bound("x", 5), 0xa3, None),
            (Refusal::CommitUnknown, 0xa3, None),
            (Refusal::TooMany("x", 5), 0x9d, None),
            (Refusal::ProofNeeded("x"), 0x81, None),
            (Refusal::Internal("x"), 0xa0, None),
        ] {
            let response = refusal.response();
            assert_eq!((response.status.coap(), response.content_format), (code, format), "{refusal}");
            assert_eq!(response.unprotected, matches!(refusal, Refusal::NoToken { .. }));
            assert!(!response.status.is_success());
            let waits = matches!(
                refusal,
                Refusal::Unavailable(..) | Refusal::Bound(..) | Refusal::TooMany(..) | Refusal::CommitUnknown
            );
            assert_eq!(response.max_age, waits.then_some(5));
            assert_eq!(response.asks_for_proof, refusal == Refusal::ProofNeeded("x"));
            let bounds = [Refusal::Bound("x", 5), Refusal::TooMany("x", 5), Refusal::ProofNeeded("x")];
            assert_eq!(refusal.is_bound(), bounds.contains(&refusal), "{refusal}");
        }
    }
}
