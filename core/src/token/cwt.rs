//! CWTs in COSE_Encrypt0, checked by the keys of configured issuers (RFC 8392, RFC 9200 section 5.10.1.1).

use super::{TokenRefusal, Trust, TrustedIssuer, ValidToken};
use crate::Secret;
use crate::engine::store::view::{Stop, View};
use crate::keys::KeyFingerprint;
use crate::time::UnixTime;
use crate::traits::token::TokenValidator;
use ace_groupcomm_messages::labels::cose_alg;
use ace_groupcomm_messages::{Claims, CoseKind, Cwt, Strictness};
use ace_oscore::Aead;
use std::time::Duration;
use thiserror::Error;
use zeroize::Zeroizing;

/// A key that an issuer encrypts tokens with.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// The name of the key in the token's header; one key may have none.
    pub kid: Option<Vec<u8>>,
    /// The algorithm. A key serves one algorithm.
    pub aead: Aead,
    /// The key that the issuer encrypts with.
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
    /// The keys that the issuer may use.
    pub keys: Vec<TokenKey>,
    /// The groups of the configuration that it may speak for. A KDC notes them with each group, and checks them there.
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
    leeway: Duration,
}

/// By how many seconds an issuer's clock may be ahead, where nothing else is said.
pub const LEEWAY: Duration = Duration::from_secs(30);

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
    /// Returns a validator that trusts nobody.
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

    /// Takes tokens that are good (`nbf`) or were issued (`iat`) so much later than now: clocks differ. A token's end is
    /// never put off.
    #[must_use]
    pub const fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
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

impl CwtValidator {
    /// Checks a token at this time; nothing of it takes long.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub fn check(&self, token: &[u8], now: UnixTime) -> Result<ValidToken, TokenRefusal> {
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
        let mut valid = ValidToken::with_exi(&issuer.name, &self.audience, token, claims, now, self.leeway)?;
        valid.issuer_key = Some(key.fingerprint());
        valid.sequence = sequence;
        Ok(valid.confidential())
    }
}

impl TokenValidator for CwtValidator {
    fn validate(&self, _view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
        Ok(self.check(token, now)?)
    }

    fn leeway(&self) -> Duration {
        self.leeway
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
