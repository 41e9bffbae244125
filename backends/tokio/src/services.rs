//! Services outside that parts of an engine ask.

use ace_groupcomm::engine::{Answered, Question};
use async_trait::async_trait;

/// Asks services outside: whatever a [`Question`] names. It is asked for each question once at a time, and the engine gives a
/// question up that is not answered in time.
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
