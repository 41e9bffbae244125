//! What the KDC does of its own accord.

use crate::engine::Outcome;
use crate::engine::store::view::{Stop, View};
use crate::kdc::{Event, KdcApp, Task};
use crate::traits::transport::AssociationNeed;

impl KdcApp {
    pub(super) fn run_task(&self, view: &View<'_>, task: &Task) -> Result<Outcome<Event>, Stop> {
        match task {
            Task::Enter => self.enter(view),
            Task::Compare => self.compare(view),
            Task::Issuers(step) => self.issuers(view, step),
            Task::TakeUp { after } => self.take_up_stored(view, after.as_ref()),
            Task::Create(gname) => self.create(view, gname),
            Task::Clear(group) => self.clear(view, *group),
            Task::Rekey { gname, why } => self.rekey(view, gname, *why),
            Task::Look(gname) => self.look(view, gname),
            Task::PutOut { group, .. } => self.put_out_leaving(view, *group),
            Task::FindLeaving { after } => self.find_leaving(view, after.as_ref()),
            Task::Heads { after } => self.read_heads(view, after.as_deref()),
            Task::Controls { gname, group, num, after } => self.read_controls(view, gname, *group, *num, *after),
            Task::Deliver(sending) => self.deliver(view, sending),
            Task::Configured(configured) => self.note_configured(view, configured),
            Task::Progress { group, num, after } => self.note_progress(view, *group, *num, *after),
            Task::Distributed { group, num } => self.note_told(view, *group, *num),
            Task::Expire => self.sweep(view),
            Task::Association(AssociationNeed::Sequence(id)) => self.sequence(view, id),
            Task::Association(AssociationNeed::Challenge(id)) => self.challenge_numbers(view, id),
            Task::Association(AssociationNeed::Unknown(id)) => self.load(view, id),
            Task::Association(AssociationNeed::Claim(id)) => self.claim(view, id),
            Task::Association(AssociationNeed::Established(id, material)) => {
                let (id, material) = (id.clone(), material.clone());
                Ok(Outcome::done().with_event(Event::Established { id, material }))
            }
            Task::Association(AssociationNeed::Unobserved(id, registration)) => self.unobserve(view, id, registration),
        }
    }
}
