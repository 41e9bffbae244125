//! Who checks tokens. [`crate::token`] has the types, and a validator of CWTs.

use crate::time::UnixTime;
use crate::token::{LEEWAY, TokenRefusal, Trust, ValidToken};
use std::time::Duration;

/// Checks access tokens that clients post (RFC 9200 section 5.10.1).
pub trait TokenValidator: Send + Sync {
    /// Checks a token at this time.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    fn validate(&self, token: &[u8], now: UnixTime) -> Result<ValidToken, TokenRefusal>;

    /// Returns by how much the clock of an issuer may be ahead. What a token says of its time (`iat`) is compared with moments
    /// of the KDC, e.g. a restore: so much later it has to be.
    fn leeway(&self) -> Duration {
        LEEWAY
    }

    /// The issuers whose tokens it takes, and the groups of the configuration that each may speak for; the KDC checks the
    /// latter, by what is stored of a group. A KDC stores them, and does not start with others unless that is allowed; it ends
    /// then what is not vouched for any more. `None`: who is trusted is not the KDC's business, and no token ends for it.
    fn trust(&self) -> Option<Trust> {
        None
    }
}
