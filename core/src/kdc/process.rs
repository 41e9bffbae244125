//! A process gets a number of its own when it starts: the names of its associations begin with it, so that no two
//! processes over one storage can choose the same.

use super::{Event, KdcApp};
use crate::engine::Outcome;
use crate::refusal::Refusal;
use crate::state::changes::Changes;
use crate::state::keys;
use crate::state::records::Meta;
use crate::view::{Stop, View};

impl KdcApp {
    /// Takes the next number.
    pub(super) fn enter(&self, view: &View<'_>) -> Result<Outcome<Event>, Stop> {
        let mut meta = view.get::<Meta>(&keys::meta())?.copied().unwrap_or_default();
        // After so many starts the first ones are long gone; the random rest of a name differs anyway.
        meta.starts = meta.starts.wrapping_add(1);
        let mut changes = Changes::new();
        changes.put(keys::meta(), meta);
        Ok(Outcome::done_with(changes).with_event(Event::Entered(meta.starts)))
    }

    /// The number of this process.
    pub(super) fn process(&self) -> Result<u16, Stop> {
        self.process.ok_or_else(|| Refusal::Unavailable("the start is not done", 1).into())
    }
}
