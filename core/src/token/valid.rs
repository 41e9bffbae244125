//! A token that somebody vouches for, and why one is refused.

use crate::engine::store::view::Stop;
use crate::id::TokenHash;
use crate::keys::KeyFingerprint;
use crate::refusal::Refusal;
use crate::time::UnixTime;
use ace_groupcomm_messages::{Claims, Confirmation, Scope, ScopeValue};
use std::time::Duration;
use thiserror::Error;

/// A token that was verified. Third parties build it from their own formats with [`ValidToken::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidToken {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) hash: TokenHash,
    pub(crate) expires: UnixTime,
    pub(crate) scope: Scope,
    pub(crate) cnf: Confirmation,
    pub(crate) confidential: bool,
    pub(crate) ace_profile: Option<i64>,
    pub(crate) scope_tag: Option<u64>,
    pub(crate) sequence: Option<u64>,
    pub(crate) issued: Option<UnixTime>,
    pub(crate) issuer_key: Option<KeyFingerprint>,
}

impl ValidToken {
    /// A token that an issuer vouches for. The issuer is the one whose key verified it, by its name in the
    /// configuration, whatever the token says of itself.
    #[must_use]
    pub fn new(issuer: &str, subject: &str, token: &[u8], expires: UnixTime, scope: Scope, cnf: Confirmation) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
            hash: TokenHash::of(token),
            expires,
            scope,
            cnf,
            confidential: false,
            ace_profile: None,
            scope_tag: None,
            sequence: None,
            issued: None,
            issuer_key: None,
        }
    }

    /// A token that says this, from an issuer that vouches for it: for formats of third parties that come to claims, and for
    /// reference tokens, whose claims the issuer was asked for. `leeway` is by how much the issuer's clock may be ahead.
    ///
    /// # Errors
    /// [`TokenRefusal`] for what RFC 9200 section 5.10.1.1 refuses; also where its time begins when it is received (`exi`): see
    /// [`Self::counted`].
    pub fn of_claims(
        issuer: &str,
        audience: &str,
        token: &[u8],
        claims: Claims,
        now: UnixTime,
        leeway: Duration,
    ) -> Result<Self, TokenRefusal> {
        if claims.exi.is_some() {
            return Err(TokenRefusal::Claims);
        }
        Self::with_exi(issuer, audience, token, claims, now, leeway)
    }

    /// The same of one whose time may begin now.
    pub(super) fn with_exi(
        issuer: &str,
        audience: &str,
        token: &[u8],
        claims: Claims,
        now: UnixTime,
        leeway: Duration,
    ) -> Result<Self, TokenRefusal> {
        let relative = claims.exi.map(|exi| now.plus(Duration::from_secs(exi)));
        let expires = claims.exp.map(UnixTime::new).into_iter().chain(relative).min().ok_or(TokenRefusal::Claims)?;
        let subject = claims.sub.ok_or(TokenRefusal::Claims)?;
        let cnf = claims.cnf.ok_or(TokenRefusal::Claims)?;
        let latest = now.plus(leeway);
        if expires <= now || claims.nbf.into_iter().chain(claims.iat).any(|from| UnixTime::new(from) > latest) {
            return Err(TokenRefusal::Expired);
        }
        if !claims.aud.iter().any(|known| known == audience) {
            return Err(TokenRefusal::Audience);
        }
        let value = claims.scope.ok_or(TokenRefusal::Scope)?;
        let scope = value.decode().map_err(|_| TokenRefusal::Scope)?;
        if scope.entries().is_empty() {
            return Err(TokenRefusal::Scope);
        }
        let mut valid = Self::new(issuer, &subject, token, expires, scope, cnf);
        valid.ace_profile = claims.ace_profile;
        valid.issued = claims.iat.map(UnixTime::new);
        if let ScopeValue::Extended { tag, .. } = value {
            valid.scope_tag = Some(tag);
        }
        Ok(valid)
    }

    /// Tells that nobody but the resource server can have read it.
    #[must_use]
    pub const fn confidential(mut self) -> Self {
        self.confidential = true;
        self
    }

    /// Tells that its time began when it was received, and its number among such tokens of its issuer (`exi`, RFC
    /// 9200 section 5.10.3). `expires` counts from now then; the KDC remembers when it was first received.
    #[must_use]
    pub const fn counted(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// Tells when it was issued (`iat`).
    #[must_use]
    pub const fn issued(mut self, at: UnixTime) -> Self {
        self.issued = Some(at);
        self
    }

    /// Tells which key of the issuer verified it: one of those that [`TokenValidator::trust`](crate::traits::token::TokenValidator::trust) names. Once that is not
    /// among them any more, the token ends.
    #[must_use]
    pub const fn verified_by(mut self, key: KeyFingerprint) -> Self {
        self.issuer_key = Some(key);
        self
    }

    /// Returns what the token allows.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// Why a token is refused; where several reasons hold, the first in this order (RFC 9200 section 5.10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// The bytes are no token of a kind that is taken.
    #[error("the token is malformed")]
    Malformed,
    /// No key of an issuer verifies it.
    #[error("the token does not verify")]
    Unverified,
    /// A claim is missing or cannot be used.
    #[error("a claim is missing or unusable")]
    Claims,
    /// The issuer calls itself otherwise, or speaks for a group that is not its own.
    #[error("the token's issuer may not say so")]
    Issuer,
    /// It has expired, or is not good yet.
    #[error("the token has expired, or is not good yet")]
    Expired,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Its scope cannot be read.
    #[error("the token's scope cannot be read")]
    Scope,
}

impl From<TokenRefusal> for Refusal {
    /// The codes of RFC 9200 section 5.10.1.1.
    fn from(refusal: TokenRefusal) -> Self {
        match refusal {
            TokenRefusal::Malformed => Self::BadRequest("the token is malformed"),
            TokenRefusal::Unverified => Self::TokenRejected("it does not verify"),
            TokenRefusal::Claims => Self::BadRequest("a claim is missing or unusable"),
            TokenRefusal::Issuer => Self::TokenRejected("its issuer may not say so"),
            TokenRefusal::Expired => Self::TokenRejected("it has expired"),
            TokenRefusal::Audience => Self::WrongAudience,
            TokenRefusal::Scope => Self::BadRequest("the token's scope cannot be read"),
        }
    }
}

impl From<TokenRefusal> for Stop {
    fn from(refusal: TokenRefusal) -> Self {
        Refusal::from(refusal).into()
    }
}
