//! Several transports behind one engine.

use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use std::sync::Arc;
use std::task::{Context, Poll};

/// The tables of several transport profiles. Each gets every notice, and ignores associations of other profiles; what is needed is
/// what all of them need.
#[derive(Clone)]
pub struct Transports(Vec<Arc<dyn Associations>>);

impl Transports {
    /// These tables.
    #[must_use]
    pub fn new(each: impl IntoIterator<Item = Arc<dyn Associations>>) -> Self {
        Self(each.into_iter().collect())
    }
}

impl Associations for Transports {
    fn notice(&self, notice: AssociationNotice) {
        self.0.iter().for_each(|each| each.notice(notice.clone()));
    }

    fn poll_needs(&self, context: &mut Context<'_>) -> Poll<Vec<AssociationNeed>> {
        // All are polled, so that each that has nothing keeps the waker.
        let polled: Vec<_> = self.0.iter().map(|each| each.poll_needs(context)).collect();
        if polled.iter().all(Poll::is_pending) {
            return Poll::Pending;
        }
        let ready = polled.into_iter().filter_map(|needs| match needs {
            Poll::Ready(needs) => Some(needs),
            Poll::Pending => None,
        });
        Poll::Ready(ready.flatten().collect())
    }
}
