//! Who checks tokens. [`crate::token`] has the types, and a validator of CWTs.

use crate::engine::store::view::{Stop, View};
use crate::time::UnixTime;
use crate::token::{LEEWAY, Trust, ValidToken};
use std::time::Duration;

/// Checks access tokens that clients post (RFC 9200 section 5.10.1).
///
/// A validator that takes reference tokens asks the Authorization Server what they mean:
///
/// ```
/// use ace_groupcomm::engine::Question;
/// use ace_groupcomm::token::{TokenRefusal, ValidToken};
/// use ace_groupcomm::traits::token::TokenValidator;
/// use ace_groupcomm::{Stop, UnixTime, View};
/// use ace_groupcomm_messages::Claims;
///
/// struct Introspection;
///
/// impl TokenValidator for Introspection {
///     fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
///         // The run ends here until the service has answered, and begins anew then.
///         let answer = view.asked(Question { service: "introspection", content: token.to_vec() })?;
///         let claims = Claims::decode(answer.expose()).map_err(|_| TokenRefusal::Unverified)?;
///         Ok(ValidToken::of_claims("as", "kdc", token, claims, now, self.leeway())?.confidential())
///     }
/// }
/// ```
pub trait TokenValidator: Send + Sync {
    /// Checks a token at this time. It is called several times for one post, and must not block: what takes time it asks the
    /// view for, [signatures](View::verified) and [services outside](View::asked).
    ///
    /// # Errors
    /// [`Stop`] until what is needed is known, and where the token is refused: [`TokenRefusal`](crate::token::TokenRefusal).
    fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop>;

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
