//! Who checks tokens. [`crate::token`] has the types, and a validator of CWTs.

use crate::token::{LEEWAY, TokenRefusal, Trust, ValidToken};

/// Checks tokens.
pub trait TokenValidator: Send + Sync {
    /// Checks a token at this time, in seconds since 1970.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    fn validate(&self, token: &[u8], now: u64) -> Result<ValidToken, TokenRefusal>;

    /// By how many seconds the clock of an issuer may be ahead. What a token says of its time (`iat`) is compared with moments
    /// of the KDC, e.g. a restore: so much later it has to be.
    fn leeway(&self) -> u64 {
        LEEWAY
    }

    /// The issuers whose tokens it takes, and the groups of the configuration that each may speak for; the KDC checks the
    /// latter, by what is stored of a group. A KDC stores them, and does not start with others unless that is allowed; it ends
    /// then what is not vouched for any more. `None`: who is trusted is not the KDC's business, and no token ends for it.
    fn trust(&self) -> Option<Trust> {
        None
    }
}
