//! Who checks tokens. [`crate::token`] has the types, and a validator of CWTs.

use crate::token::{TokenRefusal, Trust, ValidToken};

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
