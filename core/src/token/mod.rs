//! Tokens: from bytes that a stranger posted to claims that an issuer vouches for.

mod cwt;
mod trust;
mod valid;

pub use cwt::{CwtValidator, Issuer, IssuersClash, LEEWAY, TokenKey, hkdf_from_cose, seal_cwt};
pub use trust::{Trust, TrustChange, TrustedIssuer};
pub use valid::{TokenRefusal, ValidToken};
