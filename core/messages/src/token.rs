//! The token endpoint of the Authorization Server (RFC 9200 sections 5.8.1 to 5.8.3).

use crate::aif::ScopeValue;
use crate::cbor::{DecodeError, Label, MapReader, MapWriter, RawCbor, bytes, int, text, uint};
use crate::cnf::Confirmation;
use crate::labels::{grant_type, oauth};
use alloc::string::String;
use alloc::vec::Vec;

/// Access Token Request, client to AS.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TokenRequest {
    /// The kind of grant; client_credentials where absent.
    pub grant_type: Option<u64>,
    /// The resource server that the token is for.
    pub audience: Option<String>,
    /// What the client wants to do.
    pub scope: Option<ScopeValue>,
    /// The client's name, where the channel does not tell.
    pub client_id: Option<String>,
    /// The key to be bound to the token, or the name of one already known.
    pub req_cnf: Option<Confirmation>,
    /// Whether the client asks which profile to use: the parameter with value null.
    pub asks_profile: bool,
    /// A nonce of the resource server, from its creation hints.
    pub cnonce: Option<Vec<u8>>,
    /// Parameters that are not known here.
    pub extra: Vec<(Label, RawCbor)>,
}

impl TokenRequest {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a known parameter has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            grant_type: map.optional(oauth::GRANT_TYPE, uint("grant_type"))?,
            audience: map.optional(oauth::AUDIENCE, text("audience"))?,
            scope: map.optional(oauth::SCOPE, ScopeValue::from_item)?,
            client_id: map.optional(oauth::CLIENT_ID, text("client_id"))?,
            req_cnf: map.optional(oauth::REQ_CNF, Confirmation::from_item)?,
            asks_profile: map.optional(oauth::ACE_PROFILE, crate::cbor::null("ace_profile"))?.is_some(),
            cnonce: map.optional(oauth::CNONCE, bytes("cnonce"))?,
            extra: map.rest(),
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        if let Some(cnf) = &self.req_cnf {
            cnf.write(map.entry(oauth::REQ_CNF));
        }
        map.text(oauth::AUDIENCE, self.audience.as_deref());
        if let Some(scope) = &self.scope {
            scope.write(map.entry(oauth::SCOPE));
        }
        map.text(oauth::CLIENT_ID, self.client_id.as_deref());
        map.uint(oauth::GRANT_TYPE, self.grant_type);
        map.null(oauth::ACE_PROFILE, self.asks_profile);
        map.bytes(oauth::CNONCE, self.cnonce.as_deref());
        map.rest(&self.extra);
        map.finish()
    }

    /// The kind of grant, with its default.
    #[must_use]
    pub fn grant(&self) -> u64 {
        self.grant_type.unwrap_or(grant_type::CLIENT_CREDENTIALS)
    }
}

/// Access Token Response, AS to client.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TokenResponse {
    /// The token, for the resource server to read.
    pub access_token: Vec<u8>,
    /// For how many seconds it is good.
    pub expires_in: Option<u64>,
    /// What the client was granted, where that differs from what it asked for.
    pub scope: Option<ScopeValue>,
    /// The kind of token; PoP where absent.
    pub token_type: Option<i64>,
    /// The key that the token is bound to, where the client does not have it yet.
    pub cnf: Option<Confirmation>,
    /// The key of the resource server.
    pub rs_cnf: Option<Confirmation>,
    /// The transport profile to be used with the resource server.
    pub ace_profile: Option<i64>,
    /// Parameters that are not known here.
    pub extra: Vec<(Label, RawCbor)>,
}

impl core::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .field("ace_profile", &self.ace_profile)
            .finish_non_exhaustive()
    }
}

impl TokenResponse {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a known parameter has a wrong form, or the token is missing.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            access_token: map.required(oauth::ACCESS_TOKEN, "access_token", bytes("access_token"))?,
            expires_in: map.optional(oauth::EXPIRES_IN, uint("expires_in"))?,
            scope: map.optional(oauth::SCOPE, ScopeValue::from_item)?,
            token_type: map.optional(oauth::TOKEN_TYPE, int("token_type"))?,
            cnf: map.optional(oauth::CNF, Confirmation::from_item)?,
            rs_cnf: map.optional(oauth::RS_CNF, Confirmation::from_item)?,
            ace_profile: map.optional(oauth::ACE_PROFILE, int("ace_profile"))?,
            extra: map.rest(),
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.bytes(oauth::ACCESS_TOKEN, Some(&self.access_token));
        map.uint(oauth::EXPIRES_IN, self.expires_in);
        if let Some(cnf) = &self.cnf {
            cnf.write(map.entry(oauth::CNF));
        }
        if let Some(scope) = &self.scope {
            scope.write(map.entry(oauth::SCOPE));
        }
        map.int(oauth::TOKEN_TYPE, self.token_type);
        map.int(oauth::ACE_PROFILE, self.ace_profile);
        if let Some(cnf) = &self.rs_cnf {
            cnf.write(map.entry(oauth::RS_CNF));
        }
        map.rest(&self.extra);
        map.finish()
    }
}

/// Error codes of the token endpoint (RFC 9200 section 8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum TokenErrorCode {
    /// The request is malformed, or names a key that the client does not have.
    InvalidRequest = 1,
    /// The client is not authenticated.
    InvalidClient = 2,
    /// The grant is not good.
    InvalidGrant = 3,
    /// The client may not do this.
    UnauthorizedClient = 4,
    /// The kind of grant is not supported.
    UnsupportedGrantType = 5,
    /// The scope is malformed, unknown, or beyond what the client may have.
    InvalidScope = 6,
    /// The resource server cannot use the key.
    UnsupportedPopKey = 7,
    /// Client and resource server have no profile in common.
    IncompatibleAceProfiles = 8,
}

impl TokenErrorCode {
    /// The code with this number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::InvalidRequest,
            2 => Self::InvalidClient,
            3 => Self::InvalidGrant,
            4 => Self::UnauthorizedClient,
            5 => Self::UnsupportedGrantType,
            6 => Self::InvalidScope,
            7 => Self::UnsupportedPopKey,
            8 => Self::IncompatibleAceProfiles,
            _ => return None,
        })
    }
}

/// The error answer of the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    /// The number of the code; [`Self::code`] tells it where it is known here.
    pub error: i64,
    /// What went wrong, for people.
    pub description: Option<String>,
}

impl TokenError {
    /// The error with this code, and what went wrong.
    #[must_use]
    pub fn new(code: TokenErrorCode, description: &str) -> Self {
        Self { error: i64::from(code as u8), description: Some(description.into()) }
    }

    /// The code, where it is known here.
    #[must_use]
    pub const fn code(&self) -> Option<TokenErrorCode> {
        TokenErrorCode::from_number(self.error)
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where it is no such map.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            error: map.required(oauth::ERROR, "error", int("error"))?,
            description: map.optional(oauth::ERROR_DESCRIPTION, text("error_description"))?,
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.int(oauth::ERROR, Some(self.error));
        map.text(oauth::ERROR_DESCRIPTION, self.description.as_deref());
        map.finish()
    }
}

/// AS Request Creation Hints, resource server to client (RFC 9200 section 5.3).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CreationHints {
    /// Where the AS is, an absolute URI.
    pub as_uri: Option<String>,
    /// A key that both sides know.
    pub kid: Option<Vec<u8>>,
    /// The audience to ask for.
    pub audience: Option<String>,
    /// The scope to ask for.
    pub scope: Option<ScopeValue>,
    /// A nonce to be put into the token.
    pub cnonce: Option<Vec<u8>>,
}

/// Labels of the hints (RFC 9200 section 5.3, table 1); those above 2 are OAuth's.
mod hint {
    pub(super) const AS: i64 = 1;
    pub(super) const KID: i64 = 2;
}

impl CreationHints {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a hint has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            as_uri: map.optional(hint::AS, text("AS"))?,
            kid: map.optional(hint::KID, bytes("kid"))?,
            audience: map.optional(oauth::AUDIENCE, text("audience"))?,
            scope: map.optional(oauth::SCOPE, ScopeValue::from_item)?,
            cnonce: map.optional(oauth::CNONCE, bytes("cnonce"))?,
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.text(hint::AS, self.as_uri.as_deref());
        map.bytes(hint::KID, self.kid.as_deref());
        map.text(oauth::AUDIENCE, self.audience.as_deref());
        if let Some(scope) = &self.scope {
            scope.write(map.entry(oauth::SCOPE));
        }
        map.bytes(oauth::CNONCE, self.cnonce.as_deref());
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    // Covers: AF-5.8.1-07
    /// RFC 9203 section 3.1: the second example asks for other rights under the same context.
    #[test]
    fn an_update_of_rights_names_the_input_material() {
        let request = TokenRequest {
            audience: Some("tempSensor4711".into()),
            scope: Some(ScopeValue::Text("write".into())),
            req_cnf: Some(Confirmation::Kid(vec![1])),
            ..TokenRequest::default()
        };
        let bytes = hex("a3 04 a1034101 05 6e 74656d7053656e736f7234373131 09 65 7772697465");
        assert_eq!(request.encode(), bytes);
        assert_eq!(TokenRequest::decode(&bytes), Ok(request));
    }

    // Covers: AF-5.8.4.1-01
    #[test]
    fn requests_come_back_and_unknown_parameters_are_kept() {
        let request = TokenRequest {
            grant_type: Some(grant_type::CLIENT_CREDENTIALS),
            client_id: Some("lamp".into()),
            asks_profile: true,
            cnonce: Some(vec![1; 8]),
            extra: vec![(Label::Int(49), RawCbor::uint(1))],
            ..TokenRequest::default()
        };
        assert_eq!(TokenRequest::decode(&request.encode()), Ok(request));
        assert_eq!(TokenRequest::default().grant(), 2);
        assert_eq!(TokenRequest::decode(&hex("a1182102")).unwrap().grant(), 2);
        assert_eq!(TokenRequest::decode(&hex("a1182100")).unwrap().grant(), 0);
        for bad in ["80", "a10501", "a1182660", "a1182120", "a10900", "a104a0"] {
            assert!(TokenRequest::decode(&hex(bad)).is_err(), "{bad}");
        }
    }

    // Covers: AF-5.8.4.2-02
    #[test]
    fn responses_come_back_and_need_a_token() {
        let response = TokenResponse {
            access_token: vec![0xd8, 0x3d],
            expires_in: Some(3600),
            scope: Some(ScopeValue::Bytes(vec![0x80])),
            token_type: Some(2),
            cnf: Some(Confirmation::Kid(vec![1])),
            rs_cnf: Some(Confirmation::Kid(vec![2])),
            ace_profile: Some(2),
            extra: Vec::new(),
        };
        assert_eq!(TokenResponse::decode(&response.encode()), Ok(response.clone()));
        assert_eq!(TokenResponse::decode(&hex("a1021810")), Err(DecodeError::Missing("access_token")));
        assert_eq!(TokenResponse::decode(&hex("a2 01 4101 1822 02")).unwrap().token_type, Some(2));
        assert!(TokenResponse::decode(&hex("a2 01 4101 1822 63 506f50")).is_err(), "a token type is a number");
        assert!(!alloc::format!("{response:?}").contains("216"));
    }

    // Covers: AF-5.8.5-01
    #[test]
    fn all_parameters_have_their_numbers() {
        let request = TokenRequest {
            req_cnf: Some(Confirmation::Kid(vec![1])),
            audience: Some("a".into()),
            scope: Some(ScopeValue::Bytes(vec![0x80])),
            client_id: Some("b".into()),
            grant_type: Some(2),
            asks_profile: true,
            cnonce: Some(vec![1]),
            ..TokenRequest::default()
        };
        let bytes = hex("a7 04a1034101 056161 094180 18186162 182102 1826f6 18274101");
        assert_eq!((request.encode(), TokenRequest::decode(&bytes)), (bytes, Ok(request)));
        let response = TokenResponse {
            access_token: vec![0xd8],
            expires_in: Some(3_600),
            cnf: Some(Confirmation::Kid(vec![1])),
            scope: Some(ScopeValue::Bytes(vec![0x80])),
            token_type: Some(2),
            ace_profile: Some(2),
            rs_cnf: Some(Confirmation::Kid(vec![2])),
            extra: Vec::new(),
        };
        let bytes = hex("a7 0141d8 02190e10 08a1034101 094180 182202 182602 1829a1034102");
        assert_eq!((response.encode(), TokenResponse::decode(&bytes)), (bytes, Ok(response)));
    }

    // Covers: AF-5.8.3-03
    // Covers: AF-5.8.3-04
    #[test]
    fn errors_have_their_numbers() {
        let error = TokenError::new(TokenErrorCode::InvalidScope, "no");
        assert_eq!(error.code(), Some(TokenErrorCode::InvalidScope));
        assert_eq!(hex::encode(error.encode()), "a2181e06181f626e6f");
        assert_eq!(TokenError::decode(&error.encode()), Ok(error));
        for number in 1..=8 {
            assert_eq!(TokenErrorCode::from_number(number).map(|e| e as i64), Some(number));
        }
        use TokenErrorCode::{
            IncompatibleAceProfiles, InvalidClient, InvalidGrant, InvalidRequest, InvalidScope, UnauthorizedClient,
            UnsupportedGrantType, UnsupportedPopKey,
        };
        let first = [InvalidRequest, InvalidClient, InvalidGrant, UnauthorizedClient];
        let last = [UnsupportedGrantType, InvalidScope, UnsupportedPopKey, IncompatibleAceProfiles];
        for (code, number) in first.into_iter().chain(last).zip(1..) {
            assert_eq!(TokenError::new(code, "").encode(), [0xa2, 0x18, 0x1e, number, 0x18, 0x1f, 0x60]);
        }
        assert_eq!(TokenErrorCode::from_number(9), None);
        assert_eq!(TokenError::decode(&hex("a1181e09")).unwrap().code(), None);
        assert!(TokenError::decode(&hex("a0")).is_err());
    }

    // Covers: AF-5.3-01
    /// RFC 9200 section 5.3, figure 3 (the scope of the example is a text string).
    #[test]
    fn hints_have_their_labels() {
        let hints = CreationHints {
            as_uri: Some("coaps://as.example.com/token".into()),
            audience: Some("coaps://rs.example.com".into()),
            scope: Some(ScopeValue::Text("rTempC".into())),
            cnonce: Some(hex("e0a156bb3f")),
            kid: None,
        };
        let bytes = hex("a4 01 781c 636f6170733a2f2f61732e6578616d706c652e636f6d2f746f6b656e
             05 76 636f6170733a2f2f72732e6578616d706c652e636f6d 09 66 7254656d7043 1827 45 e0a156bb3f"
            .replace('\n', "")
            .as_str());
        assert_eq!(hints.encode(), bytes);
        assert_eq!(CreationHints::decode(&bytes), Ok(hints));
    }
}
