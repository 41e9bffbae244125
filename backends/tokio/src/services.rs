//! Services outside that parts of an engine ask.

use ace_groupcomm::engine::{Answered, Question};
use async_trait::async_trait;

/// Asks services outside: whatever a [`Question`] names. It is asked for each question once at a time, and the engine gives a
/// question up that is not answered in time.
///
/// ```
/// use ace_backend_tokio::Services;
/// use ace_groupcomm::Secret;
/// use ace_groupcomm::engine::{Answered, Question};
/// use std::time::Duration;
///
/// /// A service for tests: it knows one token.
/// struct OneToken;
///
/// #[ace_groupcomm::async_trait]
/// impl Services for OneToken {
///     async fn ask(&self, question: &Question) -> Answered {
///         if (question.service, question.content.as_slice()) != ("introspection", b"token") {
///             return Answered::Failed;
///         }
///         Answered::Known { content: Secret::new(vec![0xa0]), good_for: Duration::from_secs(5) }
///     }
/// }
/// ```
#[async_trait]
pub trait Services: Send + Sync {
    /// Asks, and says what came of it. [`Answered::Failed`] where there is no such service, or it says nothing of use.
    async fn ask(&self, question: &Question) -> Answered;
}

/// There are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoServices;

#[async_trait]
impl Services for NoServices {
    async fn ask(&self, _question: &Question) -> Answered {
        Answered::Failed
    }
}
