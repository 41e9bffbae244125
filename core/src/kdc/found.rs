//! A group is made: its identifier, its first Gid, its first secrets, in one commit.

use super::{Event, KdcApp};
use crate::engine::Outcome;
use crate::refusal::Refusal;
use crate::state::changes::Changes;
use crate::state::keys::{self, GroupId};
use crate::state::records::{BelongsTo, GidOwner, GroupSecret, Head, Meta};
use crate::view::{Stop, View};
use serde_bytes::ByteBuf;

/// A Gid: the incarnation, which group it is of all that were made, and how many Gids it had before. None is
/// ever equal to another, also after a restore.
fn gid(incarnation: u16, serial: u32, epoch: u32) -> Vec<u8> {
    [&incarnation.to_be_bytes()[..], &serial.to_be_bytes(), &epoch.to_be_bytes()].concat()
}

impl KdcApp {
    pub(super) fn found(&self, view: &View<'_>, gname: &str) -> Result<Outcome<Event>, Stop> {
        let (known, meta) = (view.get::<BelongsTo<GroupId>>(&keys::name(gname)), view.get::<Meta>(&keys::meta()));
        let (known, meta) = (known?, meta?);
        if known.is_some() {
            return Ok(Outcome::done().with_event(Event::Founded(gname.into())));
        }
        let group = self.groups.get(gname).ok_or(Refusal::NotFound)?;
        let mut meta = meta.copied().unwrap_or_default();
        meta.groups = meta.groups.checked_add(1).ok_or(Refusal::Internal("no more groups can be made"))?;
        let id = GroupId::new(view.random_bytes("group"));
        let gid = ByteBuf::from(gid(meta.incarnation, meta.groups, 0));
        let created = view.arrived().unix;
        let material = group.rules.material().fresh(&|label| view.random(label));
        let expires = created.saturating_add(group.rules.lifetime());
        let mut changes = Changes::new();
        changes.put(keys::meta(), meta);
        changes.put(keys::name(gname), BelongsTo(id));
        changes.put(keys::gid(&gid), GidOwner { group: id, gname: gname.into() });
        changes.put(keys::secret(id, 0), GroupSecret { material, created, expires });
        changes
            .put(keys::head(id), Head { num: 0, gid, epoch: 0, cursor: 0, members: 0, active: true, rekey_due: None });
        Ok(Outcome::done_with(changes).with_event(Event::Founded(gname.into())))
    }
}
