//! A group is made: its identifier, its first Gid, its first secrets, in one commit.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::keying::restore::gid;
use crate::kdc::start::{StartEvent, StartRefusal};
use crate::kdc::{Event, Group, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, GroupId};
use crate::schema::records::{BelongsTo, GidOwner, GroupConfiguration, GroupSecret, Head, Meta};
use serde_bytes::ByteBuf;

const BROKEN: Refusal = Refusal::Internal("a group has no head, or no secret of its version");

impl KdcApp {
    pub(in crate::kdc) fn create(&self, view: &View<'_>, gname: &str) -> Result<Outcome<Event>, Stop> {
        let group = self.groups.get(gname).ok_or(Refusal::NotFound)?;
        let (known, meta) = (view.get::<BelongsTo<GroupId>>(&keys::name(gname)), view.get::<Meta>(&keys::meta()));
        let (known, meta) = (known?, meta?);
        let mut meta = meta.copied().unwrap_or_default();
        if let Some(BelongsTo(id)) = known {
            return self.take_up(view, group, *id, meta);
        }
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
        changes.put(keys::config(id), group.configuration());
        changes
            .put(keys::head(id), Head { num: 0, gid, epoch: 0, cursor: 0, members: 0, active: true, rekey_due: None });
        Ok(Outcome::done_with(changes).with_event(Event::Created { gname: gname.into(), created, expires }))
    }

    /// A group that is there goes on as it is, if it is as it is configured. One of a former incarnation is renewed, and one
    /// of which no configuration is stored takes what is configured.
    fn take_up(&self, view: &View<'_>, group: &Group, id: GroupId, meta: Meta) -> Result<Outcome<Event>, Stop> {
        let event = |created, expires| Event::Created { gname: group.gname.clone(), created, expires };
        if let Some((changes, created, expires)) = self.renew(view, group, id, meta)? {
            return Ok(Outcome::done_with(changes).with_event(event(created, expires)));
        }
        let (head, stored) = (view.get::<Head>(&keys::head(id)), view.get::<GroupConfiguration>(&keys::config(id)));
        let (head, stored) = (head?.ok_or(BROKEN)?, stored?);
        let secret = view.get::<GroupSecret>(&keys::secret(id, head.num))?.ok_or(BROKEN)?;
        let event = event(secret.created, secret.expires);
        let Some(stored) = stored else {
            let mut changes = Changes::new();
            changes.put(keys::config(id), group.configuration());
            return Ok(Outcome::done_with(changes).with_event(event));
        };
        // Another process may have made it since all was compared.
        let event = match group.differences(stored) {
            Some(differing) => Event::Start(StartEvent::Refused(StartRefusal::Parameters(vec![differing]))),
            None => event,
        };
        Ok(Outcome::done().with_event(event))
    }
}
