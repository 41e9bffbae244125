//! A process gets a number of its own when it starts: the names of its associations begin with it, so that no two
//! processes over one storage can choose the same.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys;
use crate::schema::records::Meta;

impl KdcApp {
    /// Takes the next number.
    pub(in crate::kdc) fn enter(&self, view: &View<'_>) -> Result<Outcome<Event>, Stop> {
        let mut meta = view.get::<Meta>(&keys::meta())?.copied().unwrap_or_default();
        // After so many starts the first ones are long gone; the random rest of a name differs anyway.
        meta.starts = meta.starts.wrapping_add(1);
        let mut changes = Changes::new();
        changes.put(keys::meta(), meta);
        Ok(Outcome::done_with(changes)
            .with_event(Event::Entered { process: meta.starts, incarnation: meta.incarnation }))
    }

    /// The number of this process.
    pub(in crate::kdc) fn process(&self) -> Result<u16, Stop> {
        self.process.ok_or_else(|| Refusal::Unavailable("the start is not done", 1).into())
    }
}
