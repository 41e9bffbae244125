//! Tokens: from bytes that a stranger posted to claims that an issuer vouches for.

mod trust;

pub use trust::{Trust, TrustChange, TrustedIssuer};

use crate::Secret;
use crate::keys::KeyFingerprint;
use crate::refusal::Refusal;
use ace_groupcomm_messages::labels::cose_alg;
use ace_groupcomm_messages::{Claims, Confirmation, CoseKind, Cwt, Scope, ScopeValue, Strictness, token_hash};
use ace_oscore::Aead;
use thiserror::Error;
use zeroize::Zeroizing;

/// A token that was verified. Third parties build it from their own formats with [`ValidToken::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidToken {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) hash: Vec<u8>,
    pub(crate) expires: u64,
    pub(crate) scope: Scope,
    pub(crate) cnf: Confirmation,
    pub(crate) confidential: bool,
    pub(crate) ace_profile: Option<i64>,
    pub(crate) scope_tag: Option<u64>,
    pub(crate) sequence: Option<u64>,
    pub(crate) issued: Option<u64>,
    pub(crate) issuer_key: Option<KeyFingerprint>,
}

impl ValidToken {
    /// A token that an issuer vouches for. The issuer is the one whose key verified it, by its name in the
    /// configuration, whatever the token says of itself.
    #[must_use]
    pub fn new(issuer: &str, subject: &str, token: &[u8], expires: u64, scope: Scope, cnf: Confirmation) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
            hash: token_hash(token).to_vec(),
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

    /// Tells when it was issued (`iat`), in seconds since 1970.
    #[must_use]
    pub const fn issued(mut self, at: u64) -> Self {
        self.issued = Some(at);
        self
    }

    /// Tells which key of the issuer verified it: one of those that [`TokenValidator::trust`] names. Once that is not
    /// among them any more, the token ends.
    #[must_use]
    pub const fn verified_by(mut self, key: KeyFingerprint) -> Self {
        self.issuer_key = Some(key);
        self
    }

    /// What it allows.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// Why a token is refused; where several reasons hold, the first in this order (RFC 9200 section 5.10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// The bytes are no token of a kind that is taken.
    Malformed,
    /// No key of an issuer verifies it.
    Unverified,
    /// A claim is missing or cannot be used.
    Claims,
    /// The issuer calls itself otherwise, or speaks for a group that is not its own.
    Issuer,
    /// It has expired, or is not good yet.
    Expired,
    /// It is for somebody else.
    Audience,
    /// Its scope cannot be read.
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

/// Checks tokens.
pub trait TokenValidator: Send + Sync {
    /// Checks a token at this time, in seconds since 1970.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    fn validate(&self, token: &[u8], now: u64) -> Result<ValidToken, TokenRefusal>;

    /// The issuers whose tokens it takes. A KDC stores them, and does not start with others unless that is allowed; it ends
    /// then what is not vouched for any more. `None`: who is trusted is not the KDC's business, and no token ends for it.
    fn trust(&self) -> Option<Trust> {
        None
    }
}

/// A key that an issuer encrypts tokens with.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// The name of the key in the token's header; one key may have none.
    pub kid: Option<Vec<u8>>,
    /// The algorithm. A key serves one algorithm.
    pub aead: Aead,
    /// The key.
    pub key: Secret,
}

impl TokenKey {
    /// What names it where it is stored that it verified a token.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::of(self.aead.cose(), &self.key)
    }
}

/// An Authorization Server that is trusted.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its name in the configuration: state is kept under it.
    pub name: String,
    /// What it calls itself in `iss`; not checked where absent.
    pub iss: Option<String>,
    /// Its keys.
    pub keys: Vec<TokenKey>,
    /// The groups that it may speak for.
    pub groups: Vec<String>,
    /// Which encodings of tokens are taken from it. Where they are lax, anybody can give a token another encoding, and
    /// with it another hash: revoking it by its hash does not hold then, and tokens with `exi` are refused.
    pub strictness: Strictness,
}

/// Checks CWTs in COSE_Encrypt0 by the keys of configured issuers.
#[derive(Clone, Debug)]
pub struct CwtValidator {
    audience: String,
    issuers: Vec<Issuer>,
    leeway: u64,
}

/// By how many seconds an issuer's clock may be ahead, where nothing else is said.
pub const LEEWAY: u64 = 30;

/// Why issuers cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IssuersClash {
    /// Two issuers have one name: their clients would be mixed up.
    #[error("two issuers are named {0:?}")]
    Name(String),
    /// A key is another issuer's too: nobody could tell whose token it is.
    #[error("issuer {0:?} has a key that stands elsewhere too")]
    Key(String),
}

impl CwtValidator {
    /// Trusts nobody.
    #[must_use]
    pub fn none(audience: &str) -> Self {
        Self { audience: audience.into(), issuers: Vec::new(), leeway: LEEWAY }
    }

    /// Trusts these issuers, if they can be told apart.
    ///
    /// # Errors
    /// [`IssuersClash`].
    pub fn new(audience: &str, issuers: Vec<Issuer>) -> Result<Self, IssuersClash> {
        for (at, issuer) in issuers.iter().enumerate() {
            let before = issuers.get(..at).unwrap_or_default();
            if before.iter().any(|other| other.name == issuer.name) {
                return Err(IssuersClash::Name(issuer.name.clone()));
            }
            let is_known = |key: &TokenKey| before.iter().flat_map(|other| &other.keys).any(|k| k.key == key.key);
            if issuer.keys.iter().any(is_known) {
                return Err(IssuersClash::Key(issuer.name.clone()));
            }
        }
        Ok(Self { audience: audience.into(), issuers, leeway: LEEWAY })
    }

    /// Takes tokens that are good (`nbf`) or were issued (`iat`) so many seconds from now: clocks differ. A token's end is
    /// never put off.
    #[must_use]
    pub const fn with_leeway(mut self, seconds: u64) -> Self {
        self.leeway = seconds;
        self
    }

    /// The number of a token with `exi`: in `cti` it follows the name of the resource server (RFC 9200 section
    /// 5.10.3).
    fn sequence(&self, claims: &Claims) -> Result<u64, TokenRefusal> {
        let cti = claims.cti.as_ref().ok_or(TokenRefusal::Claims)?;
        let number = cti.strip_prefix(self.audience.as_bytes()).ok_or(TokenRefusal::Claims)?;
        if number.is_empty() || number.len() > 8 {
            return Err(TokenRefusal::Claims);
        }
        Ok(number.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    /// The issuer whose key opens the token, that key, and the claims.
    fn open<'a>(&'a self, token: &[u8]) -> Result<(&'a Issuer, &'a TokenKey, Zeroizing<Vec<u8>>), TokenRefusal> {
        let lax = Cwt::decode(token, Strictness::Lax).map_err(|_| TokenRefusal::Malformed)?;
        // A token that is only signed or MACed shows its key to everybody. Refused by its kind, before any
        // cryptography, for no issuer has a key for that.
        if lax.kind != CoseKind::Encrypt0 {
            return Err(TokenRefusal::Malformed);
        }
        let strict = Cwt::decode(token, Strictness::Strict).is_ok();
        let aead = Aead::from_cose(lax.alg).ok_or(TokenRefusal::Unverified)?;
        let mut encoding_refused = false;
        for issuer in &self.issuers {
            for key in issuer.keys.iter().filter(|key| key.aead == aead && key.kid == lax.kid) {
                if issuer.strictness == Strictness::Strict && !strict {
                    encoding_refused = true;
                    continue;
                }
                if let Some(claims) = aead.open(key.key.expose(), &lax.iv, &lax.encrypt0_aad(), &lax.payload) {
                    return Ok((issuer, key, claims));
                }
            }
        }
        Err(if encoding_refused { TokenRefusal::Malformed } else { TokenRefusal::Unverified })
    }
}

impl TokenValidator for CwtValidator {
    fn validate(&self, token: &[u8], now: u64) -> Result<ValidToken, TokenRefusal> {
        let (issuer, key, claims) = self.open(token)?;
        let claims = Claims::decode(&claims).map_err(|_| TokenRefusal::Claims)?;
        if issuer.iss.is_some() && claims.iss.is_some() && issuer.iss != claims.iss {
            return Err(TokenRefusal::Issuer);
        }
        if claims.exi.is_some() && issuer.strictness == Strictness::Lax {
            // In another encoding it would be another token, whose time begins anew.
            return Err(TokenRefusal::Claims);
        }
        let sequence = claims.exi.map(|_| self.sequence(&claims)).transpose()?;
        let relative = claims.exi.map(|exi| now.saturating_add(exi));
        let expires = claims.exp.into_iter().chain(relative).min().ok_or(TokenRefusal::Claims)?;
        let subject = claims.sub.ok_or(TokenRefusal::Claims)?;
        let cnf = claims.cnf.ok_or(TokenRefusal::Claims)?;
        let latest = now.saturating_add(self.leeway);
        if expires <= now || claims.nbf.into_iter().chain(claims.iat).any(|from| from > latest) {
            return Err(TokenRefusal::Expired);
        }
        if !claims.aud.contains(&self.audience) {
            return Err(TokenRefusal::Audience);
        }
        let value = claims.scope.ok_or(TokenRefusal::Scope)?;
        let scope = value.decode().map_err(|_| TokenRefusal::Scope)?;
        if scope.0.is_empty() {
            return Err(TokenRefusal::Scope);
        }
        if let Some(entry) = scope.0.iter().find(|entry| !issuer.groups.contains(&entry.gname)) {
            let is_known = self.issuers.iter().any(|other| other.groups.contains(&entry.gname));
            return Err(if is_known { TokenRefusal::Issuer } else { TokenRefusal::Scope });
        }
        let mut valid = ValidToken::new(&issuer.name, &subject, token, expires, scope, cnf).confidential();
        valid.issuer_key = Some(key.fingerprint());
        valid.ace_profile = claims.ace_profile;
        valid.sequence = sequence;
        valid.issued = claims.iat;
        if let ScopeValue::Extended { tag, .. } = value {
            valid.scope_tag = Some(tag);
        }
        Ok(valid)
    }

    fn trust(&self) -> Option<Trust> {
        let trusted = |issuer: &Issuer| TrustedIssuer {
            keys: issuer.keys.iter().map(TokenKey::fingerprint).collect(),
            groups: issuer.groups.iter().cloned().collect(),
        };
        Some(self.issuers.iter().fold(Trust::default(), |trust, issuer| trust.with(&issuer.name, trusted(issuer))))
    }
}

/// Encrypts claims into a CWT, as an issuer does; `nonce` is used once with the key.
#[must_use]
pub fn seal_cwt(key: &TokenKey, nonce: &[u8], claims: &Claims) -> Option<Vec<u8>> {
    let mut cwt = Cwt::encrypt0(key.aead.cose(), key.kid.as_deref(), nonce);
    cwt.payload = claims.encode();
    let aad = cwt.encrypt0_aad();
    key.aead.seal(key.key.expose(), nonce, &aad, &mut cwt.payload)?;
    Some(cwt.encode())
}

/// The HKDF that a number stands for: RFC 9203 section 3.2.1 names it by its HMAC algorithm, others by the
/// one of direct+HKDF. Here is the one place where both are understood.
#[must_use]
pub const fn hkdf_from_cose(number: i64) -> Option<ace_oscore::Hkdf> {
    match number {
        cose_alg::HMAC_256_256 | cose_alg::DIRECT_HKDF_SHA_256 => Some(ace_oscore::Hkdf::Sha256),
        cose_alg::HMAC_512_512 | cose_alg::DIRECT_HKDF_SHA_512 => Some(ace_oscore::Hkdf::Sha512),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
