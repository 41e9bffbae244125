//! A group is made: its identifier, its first Gid, its first secrets, in one commit.

use super::restore::gid;
use super::{Event, KdcApp};
use crate::engine::Outcome;
use crate::refusal::Refusal;
use crate::state::changes::Changes;
use crate::state::keys::{self, GroupId};
use crate::state::records::{BelongsTo, GidOwner, GroupSecret, Head, Meta};
use crate::view::{Stop, View};
use serde_bytes::ByteBuf;

const BROKEN: Refusal = Refusal::Internal("a group has no head, or no secret of its version");

impl KdcApp {
    pub(super) fn found(&self, view: &View<'_>, gname: &str) -> Result<Outcome<Event>, Stop> {
        let (known, meta) = (view.get::<BelongsTo<GroupId>>(&keys::name(gname)), view.get::<Meta>(&keys::meta()));
        let (known, meta) = (known?, meta?);
        let mut meta = meta.copied().unwrap_or_default();
        if let Some(BelongsTo(id)) = known {
            let renewed = self.renew(view, gname, *id, meta)?;
            let (outcome, created, expires) = match renewed {
                Some((changes, created, expires)) => (Outcome::done_with(changes), created, expires),
                None => {
                    let head = view.get::<Head>(&keys::head(*id))?.ok_or(BROKEN)?;
                    let secret = view.get::<GroupSecret>(&keys::secret(*id, head.num))?.ok_or(BROKEN)?;
                    (Outcome::done(), secret.created, secret.expires)
                }
            };
            return Ok(outcome.with_event(Event::Founded { gname: gname.into(), created, expires }));
        }
        let group = self.groups.get(gname).ok_or(Refusal::NotFound)?;
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
        Ok(Outcome::done_with(changes).with_event(Event::Founded { gname: gname.into(), created, expires }))
    }
}
